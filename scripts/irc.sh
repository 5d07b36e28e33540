#!/usr/bin/env bash
# Makes sure that the tests of the IRC example have what they start for themselves: ngircd, and Python 3.11 or newer.
# Nothing is started, and nothing is left running. Without them: offers to install them (Debian). YES=1, or no terminal:
# does so without asking.
set -euo pipefail

say() { printf '%s\n' "irc: $*" >&2; }
fail() { say "$@"; exit 1; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
has() { command -v "$1" >/dev/null 2>&1; }
debian() { [ -r /etc/os-release ] && grep -Eq '^ID(_LIKE)?="?.*debian' /etc/os-release; }

agreed() {
    if [ "${YES:-}" = 1 ] || [ ! -t 0 ]; then return 0; fi
    read -r -p "$1 [Y/n] " answer </dev/tty
    case "$answer" in [nN]*) return 1 ;; esac
}

missing() {
    [ -x /usr/sbin/ngircd ] || echo ngircd
    has python3 || echo python3
}

# A package's service is not started by its installation where this file says so (Debian's policy-rc.d).
POLICY=/usr/sbin/policy-rc.d
ours=

quiet() {
    [ -e "$POLICY" ] && return
    ours=1
    printf '#!/bin/sh\nexit 101\n' | root tee "$POLICY" >/dev/null
    root chmod 755 "$POLICY"
}

loud() {
    if [ -n "$ours" ]; then root rm -f "$POLICY"; fi
    ours=
}

install() {
    root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
            apt-get install -y -qq --no-install-recommends "$@"
}

recent() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "the IRC example needs Python 3.11 or newer as python3, and this is $(python3 -V): install it, and try again"
}

mapfile -t packages < <(missing)
if [ "${#packages[@]}" = 0 ]; then recent; exit 0; fi
debian || fail "the tests of the IRC example need ${packages[*]}, and this is not Debian: install them, and try again"
[ "$(id -u)" = 0 ] || has sudo || fail "installing ${packages[*]} needs root: run this as root, or install sudo"
agreed "Install ${packages[*]} with apt-get, for tests of the IRC example?" ||
    fail "without them these tests fail: install ${packages[*]}, then try again"
say "installing ${packages[*]}"
out=$(mktemp)
trap 'loud; rm -f "$out"' EXIT
quiet
if ! install "${packages[@]}" >"$out" 2>&1 </dev/null; then
    tail -n 20 "$out" >&2
    fail "apt-get failed: mend what it says above, then try again"
fi
# Not at the machine's next start either.
if has systemctl && [[ " ${packages[*]} " == *" ngircd "* ]]; then
    root systemctl disable ngircd.service >/dev/null 2>&1 || true
fi
recent
