#!/usr/bin/env bash
# Makes a release without publishing it, without the network, and makes sure that it comes out the same elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

export GOPROXY=off GOTOOLCHAIN=local
VERSION=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)}
COMMIT=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
export VERSION COMMIT
scripts/release.sh
scripts/reproducible.sh
( cd "${DIST:-dist}" && sha256sum --quiet --check SHA256SUMS )
echo "nothing was published; what would be is in ${DIST:-dist}/"
