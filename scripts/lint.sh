#!/usr/bin/env bash
# Checks style and the import table (.golangci.yaml), formatting, and that every go.mod is tidy.
set -euo pipefail
cd "$(dirname "$0")/.."

for module in . tests/controlplane tests/helm tests/prometheus tests/tpmsimulator; do
    ( cd "$module" && go mod tidy -diff )
done
go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run --timeout 20m ./...
echo "lint is clean"
