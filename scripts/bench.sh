#!/usr/bin/env bash
# Measures registration on a control plane of its own; takes about three minutes. Arguments go to tests/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build-controlplane.sh
scripts/build.sh
CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/bench ./tests/bench
exec bin/bench "$@"
