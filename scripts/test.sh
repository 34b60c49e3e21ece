#!/usr/bin/env bash
# Runs tests: `all`, `unit` (everything but the scenarios), or `e2e [pattern]`. Always with the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."

# The summary at the end is gotestsum's, which runs `go test` and counts.
gotestsum() {
    go run gotest.tools/gotestsum@v1.13.0 --format "${TEST_FORMAT:-pkgname-and-test-fails}" -- -race -count=1 "$@"
}
unit_packages() {
    go list ./... | grep -v '/tests/e2e$'
}

case "${1:-all}" in
unit)
    mapfile -t packages < <(unit_packages)
    gotestsum "${packages[@]}"
    ;;
e2e)
    gotestsum -timeout 20m ${2:+-run "$2"} ./tests/e2e
    ;;
all)
    scripts/build-test.sh
    # Modules of their own: the control plane, and the reference TPM, which is C.
    ( cd tests/controlplane && CGO_ENABLED=0 go test -trimpath -count=1 ./... )
    ( cd tests/tpmsimulator && CGO_ENABLED=1 go test -count=1 ./... )
    gotestsum -timeout 20m ./...
    ;;
*)
    echo "usage: $0 all|unit|e2e [pattern]" >&2
    exit 2
    ;;
esac
