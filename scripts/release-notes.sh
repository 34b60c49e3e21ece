#!/usr/bin/env bash
# Writes the notes of a release: what was committed since the last tag, the oldest first.
set -euo pipefail
cd "$(dirname "$0")/.."

last=$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || true)
echo "# rancheros-operator $1"
echo
if [ -n "$last" ]; then
    echo "Since $last:"
else
    echo "The first release:"
fi
echo
git log --no-merges --reverse --format='- %s (%h)' ${last:+"$last.."}HEAD
