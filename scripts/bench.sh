#!/usr/bin/env bash
# Measures registration on a control plane of its own, and the streaming of boot media; takes about twenty minutes. Arguments go
# to tests/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build-controlplane.sh
scripts/build.sh
CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/bench ./tests/bench
bin/bench "$@"
# A gigabyte as a plain file, as a SeedImage's image, and rebuilt by xorriso.
go test -run '^$' -bench Streaming -benchtime 20x ./pkg/media/library
