#!/usr/bin/env bash
# Makes sure that the tests have a keyring to run in a session of their own: gnome-keyring and dbus-daemon. Nothing is started.
# Without them: offers to install them (Debian). YES=1, or no terminal: does so without asking.
set -euo pipefail

NAME=keyring
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

missing() {
    has gnome-keyring-daemon || echo gnome-keyring
    has dbus-daemon || echo dbus-daemon
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" != 0 ] || exit 0
agree_for_tests "the vault's key" "${packages[@]}"
# Takes the place of dbus-user-session, which would bring systemd with it where that is not there.
dpkg-query -W -f '${Status}' dbus-user-session 2>/dev/null | grep -q 'ok installed' || packages+=(dbus-x11)
install_packages "${packages[@]}"
