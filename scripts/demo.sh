#!/usr/bin/env bash
# Builds what the demo runs on, and runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build-controlplane.sh
echo "building rancheros-operator, rancheros-register and the demo"
scripts/build.sh
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o bin/demo ./tests/demo
# The demo gets Ctrl-C itself, and cleans up.
exec bin/demo "$@"
