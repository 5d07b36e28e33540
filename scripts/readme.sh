#!/usr/bin/env bash
# Checks the commands in README.md's sh blocks: every make target exists, every cofferdam line is a valid command line.
#   scripts/readme.sh COFFERDAM-BINARY
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
