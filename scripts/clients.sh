#!/usr/bin/env bash
# Makes sure that the tests of what speaks HTTP have their clients: curl and openssl, a Python that makes environments, for
# OpenAI's own client, and Node.js with npm, for those of TypeScript. Without them: offers to install them (Debian). YES=1, or
# no terminal: does so without asking.
set -euo pipefail

NAME=clients
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

missing() {
    has curl || echo curl
    has openssl || echo openssl
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    has node || echo nodejs
    has npm || echo npm
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" != 0 ] || exit 0
agree_for_tests "what speaks HTTP" "${packages[@]}"
install_packages "${packages[@]}"
