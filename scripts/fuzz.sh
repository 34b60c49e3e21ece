#!/usr/bin/env bash
# Runs every fuzz target of the repository, each for the given number of seconds (5), and fails when one finds something.
# What it finds lies in the package's testdata/fuzz, and is a test case from then on. A second argument limits the run to
# the targets whose name matches it.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-5}
wanted=${2:-.}
found=0
while read -r file target; do
    [[ $target =~ $wanted ]] || continue
    echo "--- $target (${file%/*})"
    if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -fuzzminimizetime 20x "./${file%/*}"; then
        found=1
    fi
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' pkg cmd tests | sed 's/:func / /' | sort)
exit "$found"
