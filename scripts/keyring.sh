#!/usr/bin/env bash
# Makes sure that the tests have a keyring to run in a session of their own: gnome-keyring and dbus-daemon. Nothing is started.
# Without them: offers to install them (Debian). YES=1, or no terminal: does so without asking.
set -euo pipefail

say() { printf '%s\n' "keyring: $*" >&2; }
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
    has gnome-keyring-daemon || echo gnome-keyring
    has dbus-daemon || echo dbus-daemon
}

packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0
debian || fail "the tests of the vault's key need $packages, and this is not Debian: install them, and try again"
[ "$(id -u)" = 0 ] || has sudo || fail "installing $packages needs root: run this as root, or install sudo"
agreed "Install $packages with apt-get, for tests of the vault's key?" ||
    fail "without them these tests fail: install $packages, then try again"
say "installing $packages"
out=$(mktemp)
# Takes the place of dbus-user-session, which would bring systemd with it where that is not there.
dpkg-query -W -f '${Status}' dbus-user-session 2>/dev/null | grep -q 'ok installed' || packages="$packages dbus-x11"
# shellcheck disable=SC2086 # a list of words
if ! { root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
    root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get install -y -qq --no-install-recommends $packages; } >"$out" 2>&1 </dev/null; then
    tail -n 20 "$out" >&2
    rm -f "$out"
    fail "apt-get failed: mend what it says above, then try again"
fi
rm -f "$out"
