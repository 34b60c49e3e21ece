#!/usr/bin/env bash
# Runs every fuzz target of the repository, each for the given number of seconds (5), or of executions as in 1000x, and fails
# when one finds something. Go at times takes the end of the seconds for a failure, "context deadline exceeded"; never that of executions.
# What it finds lies in the package's testdata/fuzz, and is a test case from then on. A second argument limits the run to
# the targets whose name matches it.
set -euo pipefail
cd "$(dirname "$0")/.."

each=${1:-5}
[[ $each == *x ]] || each+=s
wanted=${2:-.}
cache=$(go env GOCACHE)/fuzz
program=$(mktemp)
trap 'rm -f "$program"' EXIT
found=0
while read -r package; do
    # Built once for all targets of a package, which takes longer than a short run.
    go test -c -fuzz . -o "$program" "./$package"
    while read -r target; do
        echo "--- $target ($package)"
        ( cd "$package" && "$program" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$each" \
            -test.fuzzminimizetime 20x -test.fuzzcachedir "$cache/$package" ) || found=1
    done < <(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$package"/*_test.go | sed 's/^func //' | grep -E "$wanted" | sort)
done < <(grep -rlE --include='*_test.go' '^func Fuzz' pkg cmd tests | xargs dirname | sort -u)
exit "$found"
