#!/usr/bin/env bash
# Builds what ships, rancheros-operator, rancheros-register and the plugin of kubectl, static and stripped, into bin/.
set -euo pipefail
cd "$(dirname "$0")/.."

package=github.com/rancher/rancheros-operator/pkg/version
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X $package.Version=$version -X $package.Commit=$commit" \
    -o bin/ ./cmd/rancheros-operator ./cmd/rancheros-register ./cmd/kubectl-rancheros
