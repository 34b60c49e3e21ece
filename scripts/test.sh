#!/usr/bin/env bash
# Runs tests: `all`, `unit` (all but those on a control plane), `e2e [pattern]`, or `lab [pattern]`.
#
# The unit tests run with the race detector. On a control plane it is the operator that has it, in its own process: in the
# tests' process runs the pretend Rancher, on remotedialer, whose connections have races of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

# The summary at the end is gotestsum's, which runs `go test` and counts.
gotestsum() {
    go run gotest.tools/gotestsum@v1.13.0 --format "${TEST_FORMAT:-pkgname-and-test-fails}" -- -count=1 -timeout 40m "$@"
}
# What needs a control plane; the lab needs machines, too.
worlds=(availability chart e2e exactlyonce guide joins restore withoutrancher)
unit() {
    local packages
    mapfile -t packages < <(go list ./... | grep -vE "/tests/($(IFS='|'; echo "${worlds[*]}")|lab)\$")
    gotestsum -race "${packages[@]}"
}

# The lab prints what its machines say, also when all is well; and that it is skipped, where it is.
lab() {
    local started=$SECONDS
    TEST_FORMAT=standard-verbose gotestsum ${1:+-run "$1"} ./tests/lab
    echo "lab: took $((SECONDS - started)) s in all"
}

case "${1:-all}" in
unit)
    unit
    ;;
e2e)
    gotestsum ${2:+-run "$2"} ./tests/e2e
    ;;
lab)
    lab "${2:-}"
    ;;
all)
    scripts/build-test.sh
    # Modules of their own: the control plane, the reference TPM, which is C, and Prometheus, which reads our alerts.
    ( cd tests/controlplane && CGO_ENABLED=0 go test -trimpath -count=1 ./... )
    ( cd tests/tpmsimulator && CGO_ENABLED=1 go test -count=1 ./... )
    ( cd tests/prometheus && go test -count=1 ./... )
    unit
    gotestsum "${worlds[@]/#/./tests/}"
    lab
    ;;
*)
    echo "usage: $0 all|unit|e2e [pattern]|lab [pattern]" >&2
    exit 2
    ;;
esac
