#!/usr/bin/env bash
# Checks the commands in README.md's sh blocks: every make target exists, every cofferdam line is a valid command line, and
# those of "Groups and chats" work one after the other in a home of their own. Needs an engine, and the image for the runner.
#   COFFERDAM_RUNNER=RUNNER scripts/readme.sh COFFERDAM-BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
checked=0
bad=0
while IFS= read -r line; do
    line=${line#\$ }
    line=${line%%  #*}
    line=${line%% | *}
    read -r -a assigned <<<"$line"
    # Leading NAME=value words.
    while [[ ${assigned[0]:-} == *=* ]]; do line=${line#* }; assigned=("${assigned[@]:1}"); done
    case ${assigned[0]:-} in
        make)
            checked=$((checked + 1))
            for target in "${assigned[@]:1}"; do
                [[ $target == *=* ]] || make -n "$target" >/dev/null || { echo "README.md: no such target: $line"; bad=1; }
            done ;;
        cofferdam | */cofferdam)
            checked=$((checked + 1))
            eval "set -- ${line#* }"
            "$bin" "$@" --help >/dev/null 2>&1 </dev/null || { echo "README.md: not a command of cofferdam: $line"; bad=1; } ;;
    esac
done < <(awk '/^```/ { inside = ($0 ~ /^```(sh|bash|console)/); next } inside' README.md)
echo "README.md: $checked commands checked"
[ "$checked" -gt 0 ] && [ "$bad" = 0 ]

place=$(mktemp -d)
daemon=
end() {
    if [ -n "$daemon" ]; then
        kill -INT "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    rm -rf "$place"
}
trap end EXIT
ln -s "$(realpath "$bin")" "$place/cofferdam"
export PATH="$place:$PATH" COFFERDAM_HOME="$place/home"
begun=$SECONDS
ran=0
while IFS= read -r line; do
    case $line in
        make* | sudo* | "") continue ;;
        "cofferdam up")
            cofferdam up >"$place/log" 2>&1 &
            daemon=$!
            for _ in {1..150}; do
                cofferdam status 2>/dev/null | grep -q '^daemon: *up' && break
                kill -0 "$daemon" || { cat "$place/log"; exit 1; }
                sleep 0.2
            done ;;
        *)
            # Nobody types: a line editor gets an empty pipe.
            bash -e -o pipefail -c "$line" >"$place/said" 2>&1 </dev/null ||
                { echo "README.md: this does not work: $line"; cat "$place/said"; exit 1; } ;;
    esac
    ran=$((ran + 1))
done < <(awk '/^## / { here = ($0 == "## Groups and chats") } /^```/ { inside = ($0 ~ /^```sh/); next } here && inside' README.md)
echo "README.md: $ran commands of \"Groups and chats\" work, in $((SECONDS - begun)) s"
[ "$ran" -gt 0 ]
