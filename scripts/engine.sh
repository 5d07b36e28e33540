#!/usr/bin/env bash
# Makes sure that a Docker engine answers; does nothing when one does.
# Without one: offers to install it (Debian) and to start it. YES=1, or no terminal: does so without asking.
# DOCKERD_FLAGS: flags for a dockerd that this script starts itself. It keeps running afterwards.
set -euo pipefail

log=${DOCKERD_LOG:-/var/log/cofferdam-dockerd.log}
socket=${DOCKER_HOST:-unix:///var/run/docker.sock}

NAME=engine
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

answers() { has docker && docker version >/dev/null 2>&1; }
answers_root() { has docker && root docker version >/dev/null 2>&1; }

# What of the image build is not there. mmdebstrap is needed only where no registry answers, but then at once.
missing() {
    if ! has dockerd && [ "${socket#unix://}" != "$socket" ]; then
        # The last two by name, because recommended packages are not installed: without systemd somebody must mount the
        # cgroups, and a kernel with AppArmor refuses containers without its parser.
        echo docker.io cgroupfs-mount apparmor
    fi
    has mmdebstrap || echo mmdebstrap
    # What mmdebstrap needs where it does not run as root.
    [ "$(id -u)" = 0 ] || has newuidmap || echo uidmap
}

install_missing() {
    local packages
    mapfile -t packages < <(missing | tr ' ' '\n')
    [ "${#packages[@]}" != 0 ] || return 0
    if ! debian; then
        answers && return 0
        fail "no Docker engine, and this is not Debian: install Docker Engine 20.10 or newer, start it, and try again"
    fi
    may_install "${packages[@]}"
    if ! agreed "Install ${packages[*]} with apt-get?"; then
        answers && return 0
        fail "without an engine nothing can run: install ${packages[*]}, then try again"
    fi
    install_packages "${packages[@]}"
}

# Waits up to $1 seconds, as long as the process $2 (if given) lives.
wait_for() {
    local end=$((SECONDS + $1))
    until answers_root; do
        if [ "$SECONDS" -ge "$end" ]; then return 1; fi
        if [ -n "${2:-}" ] && ! root kill -0 "$2" 2>/dev/null; then return 1; fi
        sleep 0.3
    done
}

# An engine that was killed leaves its pid files, and the next one refuses to start, or waits for nothing, while any process
# has such a number, be it a zombie of the old one.
forget_dead_engine() {
    local file pid
    for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
        pid=$(root cat "$file" 2>/dev/null) || continue
        case "$(cat "/proc/$pid/comm" 2>/dev/null)" in
            dockerd | containerd) grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null || continue ;;
        esac
        root rm -f "$file"
    done
}

start() {
    say "starting dockerd"
    if [ -z "${DOCKERD_FLAGS:-}" ]; then
        if [ -d /run/systemd/system ] && has systemctl; then
            root systemctl start docker >/dev/null 2>&1 && wait_for 60 && return 0
            say "systemd could not start docker; starting dockerd directly"
        elif has service && [ -x /etc/init.d/docker ]; then
            root service docker start >/dev/null 2>&1 && wait_for 15 && return 0
        fi
    fi
    if ! mountpoint -q /sys/fs/cgroup && has cgroupfs-mount; then root cgroupfs-mount; fi
    forget_dead_engine
    # In its own session, so that neither the end of this script nor Ctrl-C ends it.
    # shellcheck disable=SC2016,SC2086 # expanded by the inner shell; a list of words
    root sh -c 'log=$1; shift; setsid nohup dockerd "$@" >>"$log" 2>&1 </dev/null & echo $! >"$log.pid"' sh \
        "$log" --host "$socket" ${DOCKERD_FLAGS:-}
    if ! wait_for 60 "$(root cat "$log.pid")"; then
        say "the end of $log:"
        root tail -n 20 "$log" >&2
        fail "dockerd does not run here: mend what its log says (it needs root's rights, cgroups and overlayfs)"
    fi
}

# An engine that answers to root only: let this person use it, now and at the next login.
grant() {
    local path=${socket#unix://}
    [ -S "$path" ] || fail "the engine at $socket answers to root only"
    say "letting $(id -un) use $path (whoever may use Docker has root's rights on this machine)"
    root usermod -aG docker "$(id -un)" 2>/dev/null || true
    root chown "$(id -u)" "$path"
}

if answers && [ -z "$(missing)" ]; then exit 0; fi
install_missing
if ! answers && ! answers_root; then
    agreed "Start the Docker engine?" || fail "start the Docker engine, then try again"
    start
fi
answers || grant
answers || fail "the engine does not answer at $socket: see $log"
say "Docker $(docker version --format '{{.Server.Version}}') answers"
