#!/usr/bin/env bash
# All that CI checks, each stage with its time. The last lines are the test runner's own summary.
set -euo pipefail
cd "$(dirname "$0")/.."

stage() {
    local name=$1 started=$SECONDS
    shift
    echo "=== $name"
    "$@"
    echo "=== $name: done in $((SECONDS - started)) s"
}

summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
tests() {
    scripts/test.sh all 2>&1 | tee "$summary"
}

stage "generated files are as committed" scripts/generate.sh --check
stage "lint" scripts/lint.sh
stage "tests" tests
# Long enough to notice a parser that breaks at once; the long runs are at night.
stage "fuzz" scripts/fuzz.sh 1000x
stage "demo" scripts/demo.sh -once
echo "=== all stages passed; the tests' summary once more:"
grep -E '^DONE ' "$summary"
