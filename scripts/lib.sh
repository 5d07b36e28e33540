# What the scripts that make sure of something share. Sourced; NAME is who speaks.
# shellcheck shell=bash

say() { printf '%s\n' "$NAME: $*" >&2; }
fail() { say "$@"; exit 1; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
has() { command -v "$1" >/dev/null 2>&1; }
debian() { [ -r /etc/os-release ] && grep -Eq '^ID(_LIKE)?="?.*debian' /etc/os-release; }

# YES=1, or no terminal: a yes to everything.
agreed() {
    if [ "${YES:-}" = 1 ] || [ ! -t 0 ]; then return 0; fi
    read -r -p "$1 [Y/n] " answer </dev/tty
    case "$answer" in [nN]*) return 1 ;; esac
}

# Whether this person may install; the arguments are what.
may_install() { [ "$(id -u)" = 0 ] || has sudo || fail "installing $* needs root: run this as root, or install sudo"; }

# Installs packages; shows what apt-get said only when it fails.
install_packages() {
    say "installing $*"
    local out
    out=$(mktemp)
    if ! { root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
            apt-get install -y -qq --no-install-recommends "$@"; } >"$out" 2>&1 </dev/null; then
        tail -n 20 "$out" >&2
        rm -f "$out"
        fail "apt-get failed: mend what it says above, then try again"
    fi
    rm -f "$out"
}

# Asks for packages, which the tests of $1 need.
agree_for_tests() {
    local for=$1
    shift
    debian || fail "the tests of $for need $*, and this is not Debian: install them, and try again"
    may_install "$@"
    agreed "Install $* with apt-get, for tests of $for?" ||
        fail "without them these tests fail: install $*, then try again"
}
