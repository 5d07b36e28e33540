#!/usr/bin/env bash
# Makes sure that the tests of the IRC example have what they start for themselves: ngircd, and Python 3.11 or newer.
# Nothing is started, and nothing is left running. Without them: offers to install them (Debian). YES=1, or no terminal:
# does so without asking.
set -euo pipefail

NAME=irc
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

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

recent() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "the IRC example needs Python 3.11 or newer as python3, and this is $(python3 -V): install it, and try again"
}

mapfile -t packages < <(missing)
if [ "${#packages[@]}" = 0 ]; then recent; exit 0; fi
agree_for_tests "the IRC example" "${packages[@]}"
trap loud EXIT
quiet
install_packages "${packages[@]}"
# Not at the machine's next start either.
if has systemctl && [[ " ${packages[*]} " == *" ngircd "* ]]; then
    root systemctl disable ngircd.service >/dev/null 2>&1 || true
fi
recent
