#!/usr/bin/env bash
# Fetches the Codex that a lock file names into the cache, unless it is there, and prints the path of its binary.
# usage: scripts/codex-fetch.sh LOCK
# The package is checked against the lock's integrity before anything in it is unpacked, and a version is put in place
# whole or not at all. `cofferdam image build` keeps the same cache in the same way.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "codex-fetch: $*" >&2; }
fail() { say "$*"; exit 1; }
value() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" "$lock"; }
# The names under [files]: the path in the cache, and the one in the package.
files() { sed -n '/^\[files\]/,$s/^"\(.*\)" = "\(.*\)"/\1 \2/p' container/codex.lock; }

lock=${1:?a lock file, such as container/codex.lock}
[ -r "$lock" ] || fail "cannot read $lock"
version=$(value version) package=$(value package) integrity=$(value integrity)
[ -n "$version" ] && [ -n "$package" ] && [ -n "$integrity" ] || fail "$lock has no version, package or integrity"
cache=$PWD/data/cache/codex
place=$cache/$version

complete() { [ "$(cat "$place/integrity" 2>/dev/null)" = "$integrity" ]; }
done_if_complete() {
    if complete; then
        echo "$place/bin/codex"
        exit 0
    fi
}
done_if_complete

command -v npm >/dev/null || fail "npm is missing, and Codex comes as an npm package: install Node.js with npm"
install -d -m 700 data data/cache
mkdir -p "$cache"
# One at a time; so what lies around is of a run that was killed.
exec 9>"$PWD/data/cache/codex-fetch.lock"
flock 9
done_if_complete
rm -rf "$cache"/.fetch-*
work=$(mktemp -d "$cache/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "fetching $package (about 170 MB)"
if ! npm pack --silent --ignore-scripts --pack-destination "$work" "$package" >"$work/log" 2>&1 </dev/null; then
    tail -n 5 "$work/log" >&2
    fail "npm does not give $package: see above; try again when the registry answers"
fi
packed=("$work"/*.tgz)
[ -f "${packed[0]}" ] || fail "npm said that it packed $package, and left no package"
found=$(node -e 'const hash = require("crypto").createHash("sha512");
require("fs").createReadStream(process.argv[1]).on("data", (part) => hash.update(part))
    .on("end", () => console.log("sha512-" + hash.digest("base64")))' "${packed[0]}")
[ "$found" = "$integrity" ] || fail "$package is not what $lock names: it has $found; nothing was unpacked"

say "unpacking Codex $version"
mkdir "$work/tree" "$work/package"
mapfile -t wanted < <(files | cut -d ' ' -f 2)
tar -xzf "${packed[0]}" -C "$work/package" --no-same-owner "${wanted[@]}" ||
    fail "$package lacks a file that container/codex.lock names under [files]"
while read -r to from; do
    install -D -m 755 "$work/package/$from" "$work/tree/$to"
done < <(files)
printf '%s' "$integrity" >"$work/tree/integrity"
sync -f "$work/tree"
rm -rf "$place"
mv -T "$work/tree" "$place"
echo "$place/bin/codex"
