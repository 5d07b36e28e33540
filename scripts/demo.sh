#!/usr/bin/env bash
# From nothing to a first reply: engine, build, image, the group `demo`, two messages, and what they ran in.
# Everything that is there already is used again; interrupting and running again works.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
bin=$target/release/cofferdam
export COFFERDAM_RUNNER=$target/x86_64-unknown-linux-gnu/release/cofferdam-runner
home=$PWD
install -d -m 700 data
log=$home/data/demo-daemon.log
bold='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

daemon=''
cleanup() {
    trap - EXIT INT TERM
    # A daemon that this demo started ends with it, and so does its session: containers outlive a daemon, to be adopted.
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        local session
        session=$(field "$home/data/demo-1.json" session 2>/dev/null || true)
        [ -z "$session" ] || timeout 10 "$bin" --home "$home" session stop "$session" >/dev/null 2>&1 || true
        kill -TERM "$daemon"
        wait "$daemon" || true
    fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now() { date +%s%3N; }
names=() took=()
# Runs a step and notes how long it took.
step() {
    local name=$1 began
    shift
    began=$(now)
    "$@"
    names+=("$name")
    took+=("$(($(now) - began))")
}
seconds() { awk -v ms="$1" 'BEGIN { printf "%8.2f s", ms / 1000 }'; }

cofferdam() { "$bin" --home "$home" "$@"; }

# Whether somebody listens on the daemon's socket.
listening() {
    node -e 'require("net").connect(process.argv[1]).on("connect", () => process.exit(0)).on("error", () => process.exit(1))' \
        "$home/run/admin.sock" 2>/dev/null
}

up() {
    if listening; then return 0; fi
    # Not through the function: its process would be a subshell, and the signal would stop there.
    "$bin" --home "$home" up >"$log" 2>&1 </dev/null &
    daemon=$!
    local end=$((SECONDS + 30))
    until listening; do
        if ! kill -0 "$daemon" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            tail -n 20 "$log" >&2
            echo "demo: the daemon did not start; see $log and run: $bin --home $home doctor" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# Registering a group twice is refused with 5 (exists already), which is what a second run expects.
register() {
    local code=0
    cofferdam group add demo >/dev/null 2>"$home/data/demo-group.log" || code=$?
    if [ "$code" != 0 ] && [ "$code" != 5 ]; then
        cat "$home/data/demo-group.log" >&2
        exit "$code"
    fi
}

# One value of a reply's JSON: field answer.json path.to.it
field() {
    node -e '
        let value = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
        for (const key of process.argv[2].split(".")) value = value == null ? value : value[key];
        if (Array.isArray(value)) value = value.join("\n");
        process.stdout.write(value == null ? "" : typeof value === "number" ? value.toFixed(0) : String(value));' "$1" "$2"
}

say() {
    local answer=$home/data/demo-$1.json code=0
    printf '%syou>%s  %s\n' "$bold" "$plain" "${2//$'\n'/$'\n      '}"
    cofferdam chat demo "$2" --json >"$answer" || code=$?
    local text
    text=$(field "$answer" replies 2>/dev/null || true)
    [ -n "$text" ] || text=$(field "$answer" notices 2>/dev/null || true)
    printf '%sdemo>%s %s\n\n' "$bold" "$plain" "${text//$'\n'/$'\n      '}"
    if [ "$code" != 0 ]; then
        echo "demo: no reply (exit code $code); run: $bin --home $home doctor" >&2
        exit "$code"
    fi
}

sandbox() {
    local id
    id=$(field "$home/data/demo-2.json" container)
    printf '%sThe sandbox they came from%s\n' "$bold" "$plain"
    docker inspect "$id" --format '  container     {{printf "%.12s" .Id}}
  image         {{.Config.Image}}
  network       {{.HostConfig.NetworkMode}}
  user          {{.Config.User}} (capabilities dropped: {{range .HostConfig.CapDrop}}{{.}}{{end}}; {{range .HostConfig.SecurityOpt}}{{.}}{{end}})
  root          {{if .HostConfig.ReadonlyRootfs}}read-only{{else}}WRITABLE{{end}}
  limits        {{.HostConfig.Memory}} bytes of memory, {{.HostConfig.PidsLimit}} processes'
    # The engine names them in any order.
    docker inspect "$id" --format '{{range .Mounts}}  {{if .RW}}read-write{{else}}read-only {{end}}    {{.Destination}}
{{end}}' | sed '/^$/d' | sort --key=2
    echo
}

times() {
    local i
    printf '%sHow long it took%s\n' "$bold" "$plain"
    for i in "${!names[@]}"; do printf '  %-44s %s\n' "${names[$i]}" "$(seconds "${took[$i]}")"; done
    for i in 1 2; do
        local of=$home/data/demo-$i.json part
        for part in container_start:"container started" provider_ready:"Codex ready" provider:"Codex's own turn" \
            total:"accepted to reply"; do
            local value
            value=$(field "$of" "timings_ms.${part%%:*}")
            if [ -n "$value" ]; then
                printf '  %-44s %s\n' "message $i: ${part#*:}" "$(seconds "$value")"
            fi
        done
    done
    echo
}

command -v node >/dev/null || { echo "demo: node is missing: install Node.js with npm" >&2; exit 1; }
step "engine" make engine
step "build" make build
step "image" cofferdam image build
step "daemon" up
step "group" register
echo
say 1 "Hello! Who are you?"
say 2 $'Where do you work? Have a look around.\n!run id; echo "host: $(hostname)"; ls /group; head -1 /etc/os-release; ls /sys/class/net'
sandbox
times
printf '%sNext:%s %s --home . chat demo\n' "$dim" "$plain" "${bin#"$PWD"/}"
