#!/usr/bin/env bash
# Builds the programs in a release's folder (dist/) once more, from a copy of the sources in another folder and with an empty
# build cache, and fails unless each comes out with the same SHA-256. It takes as long as a first build: some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=$(realpath "${1:-dist}")
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)}
commit=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
mkdir -p "$elsewhere/a folder of another name" "$elsewhere/out" "$elsewhere/cache"
# What is committed and what is not yet, as it lies here.
git ls-files -z --cached --others --exclude-standard -- go.mod go.sum cmd pkg chart scripts |
    xargs -0 cp --parents -t "$elsewhere/a folder of another name"
GOCACHE="$elsewhere/cache" "$elsewhere/a folder of another name/scripts/build-release.sh" "$elsewhere/out" "$version" "$commit"

differ=0
for program in "$elsewhere"/out/*; do
    name=$(basename "$program")
    first=$(sha256sum < "$dist/$name") second=$(sha256sum < "$program")
    if [ "$first" = "$second" ]; then
        echo "the same twice: ${first%% *}  $name"
    else
        echo "not the same twice: $name" >&2
        differ=1
    fi
done
exit "$differ"
