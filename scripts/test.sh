#!/usr/bin/env bash
# Runs tests: `all`, `unit` (all but those on a control plane), or `e2e [pattern]`.
#
# The unit tests run with the race detector. On a control plane it is the operator that has it, in its own process: in the
# tests' process runs the pretend Rancher, on remotedialer, whose connections have races of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

# The summary at the end is gotestsum's, which runs `go test` and counts.
gotestsum() {
    go run gotest.tools/gotestsum@v1.13.0 --format "${TEST_FORMAT:-pkgname-and-test-fails}" -- -count=1 -timeout 40m "$@"
}
unit() {
    local packages
    mapfile -t packages < <(go list ./... | grep -vE '/tests/(availability|chart|e2e|exactlyonce|joins|withoutrancher)$')
    gotestsum -race "${packages[@]}"
}

case "${1:-all}" in
unit)
    unit
    ;;
e2e)
    gotestsum ${2:+-run "$2"} ./tests/e2e
    ;;
all)
    scripts/build-test.sh
    # Modules of their own: the control plane, and the reference TPM, which is C.
    ( cd tests/controlplane && CGO_ENABLED=0 go test -trimpath -count=1 ./... )
    ( cd tests/tpmsimulator && CGO_ENABLED=1 go test -count=1 ./... )
    unit
    gotestsum ./tests/chart ./tests/e2e ./tests/exactlyonce ./tests/joins ./tests/withoutrancher ./tests/availability
    ;;
*)
    echo "usage: $0 all|unit|e2e [pattern]" >&2
    exit 2
    ;;
esac
