#!/usr/bin/env bash
# Builds what the end-to-end tests run on, into bin/: the control plane, what ships, and the operator with the race
# detector in it.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build-controlplane.sh
scripts/build.sh
go build -race -buildvcs=false -o bin/rancheros-operator-race ./cmd/rancheros-operator
