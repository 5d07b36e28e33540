#!/usr/bin/env bash
# Tries another version of Codex: what changes in the protocol that the provider uses, and whether the provider's tests
# pass on it. Only then container/codex.lock names it; otherwise the lock stays as it is, and the exit code is not 0.
# usage: VERSION=0.170.0 [KEEP=1] scripts/codex-update.sh      KEEP=1: write the lock although tests fail
# May be interrupted and run again: what was fetched stays in the cache.
set -euo pipefail
cd "$(dirname "$0")/.."

lock=container/codex.lock
bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step() { printf '%s\n' "${bold}$*${plain}"; }
fail() { printf '%s\n' "codex-update: $*" >&2; exit 1; }
value() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$lock"; }

new=${VERSION:-}
[ -n "$new" ] || fail "say which version: make codex-update VERSION=0.170.0"
[[ $new =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "'$new' is not a version such as 0.170.0; $lock is unchanged"
old=$(value version) package=$(value package)
[[ $package == *"@$old"* ]] || fail "$lock does not name the version in its package: $package"
new_package=${package/@"$old"/@"$new"}
command -v npm >/dev/null || fail "npm is missing, and Codex comes as an npm package: install Node.js with npm"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'echo "codex-update: interrupted; $lock is unchanged" >&2; exit 130' INT
trap 'exit 143' TERM

step "Codex $old -> $new"
if ! integrity=$(npm view "$new_package" dist.integrity 2>"$work/npm" </dev/null) || [[ $integrity != sha512-* ]]; then
    # That npm does not know the version is said below in fewer words.
    grep -q 'E404' "$work/npm" || grep -v 'npm warn' "$work/npm" | tail -n 3 >&2 || true
    served=$(npm view "${package%@*}" versions --json 2>/dev/null </dev/null |
        sed -n 's/^ *"\([0-9.]*\)",\{0,1\}$/\1/p' | tail -n 8 | paste -sd ' ' || true)
    fail "npm does not serve $new_package${served:+; the newest that it serves are: $served}; $lock is unchanged"
fi
sed -e "s|^version = .*|version = \"$new\"|" -e "s|^package = .*|package = \"$new_package\"|" \
    -e "s|^integrity = .*|integrity = \"$integrity\"|" "$lock" >"$work/codex.lock"

step "fetch and check"
new_codex=$(scripts/codex-fetch.sh "$work/codex.lock") || fail "Codex $new is not there to try; $lock is unchanged"
old_codex=$(scripts/codex-fetch.sh "$lock") || fail "Codex $old is not there to compare with; $lock is unchanged"
older_codex=$(scripts/codex-fetch.sh container/codex-older.lock) || fail "the older Codex of the tests is not there"

schema() {
    mkdir -p "$work/home"
    CODEX_HOME=$work/home "$1" app-server generate-json-schema --experimental --out "$2" >"$work/schema.log" 2>&1 || {
        tail -n 5 "$work/schema.log" >&2
        fail "$1 does not print its schema: see above; $lock is unchanged"
    }
}
step "what changes in the protocol that the provider uses"
schema "$old_codex" "$work/old"
schema "$new_codex" "$work/new"
cargo run --quiet --locked --package cofferdam-tests --bin codex-schema-diff -- "$work/old" "$work/new" >"$work/changes" ||
    fail "the schemas could not be compared; $lock is unchanged"
sed 's/^/  /' "$work/changes"

step "the provider's tests on Codex $new"
log=$(realpath -m "${CARGO_TARGET_DIR:-target}")/codex-update.log
mkdir -p "$(dirname "$log")"
provider_tests() {
    COFFERDAM_TEST_CODEX=$new_codex COFFERDAM_TEST_CODEX_OLDER=$older_codex \
        cargo test --locked --package cofferdam-agent-runner --no-fail-fast </dev/null 2>&1
}
passed=yes
if [ -t 1 ]; then
    provider_tests | tee "$log" || passed=no
else
    provider_tests >"$log" || passed=no
fi
read -r good bad < <(awk '/^test result:/ { good += $4; bad += $6 } END { print good + 0, bad + 0 }' "$log")

echo
step "Codex $old -> $new: $(tail -n 1 "$work/changes")"
if [ "$passed" = yes ]; then
    echo "All $good tests of the provider passed on it."
else
    if [ "$bad" -gt 0 ]; then
        echo "$bad of the provider's $((good + bad)) tests failed on it:"
        sed -n 's/^test \(.*\) \.\.\. FAILED$/  \1/p' "$log"
    else
        echo "The provider's tests could not be run:"
        tail -n 5 "$log"
    fi
    echo "What they said: $log"
    if [ "${KEEP:-}" != 1 ]; then
        echo "$lock is unchanged: it names $old. (KEEP=1 writes it all the same.)"
        exit 1
    fi
fi
if cmp -s "$work/codex.lock" "$lock"; then
    echo "$lock names $new already."
else
    # Beside it first, so that the lock is never half written.
    cp "$work/codex.lock" "$lock.new"
    mv "$lock.new" "$lock"
    echo "$lock names $new now. Next: make image && make test"
fi
