#!/usr/bin/env bash
# Builds the programs of a release into a folder: build-release.sh FOLDER VERSION COMMIT. The bytes depend on the sources, these
# three and the toolchain, and on nothing else: not on the folder of the sources, the machine or the time.
set -euo pipefail
folder=$(realpath "$1") version=$2 commit=$3
cd "$(dirname "$0")/.."

package=github.com/rancher/rancheros-operator/pkg/version
unset GOFLAGS GOEXPERIMENT GOAMD64 GOARM64
build() {
    local system=$1 architecture=$2
    shift 2
    for program in "$@"; do
        CGO_ENABLED=0 GOOS=$system GOARCH=$architecture go build -mod=readonly -trimpath -buildvcs=false \
            -ldflags "-s -w -X $package.Version=$version -X $package.Commit=$commit" \
            -o "$folder/${program}_${system}_$architecture" "./cmd/$program"
    done
}
# PROGRAMS limits what is built, for those who want to look at one of them.
read -ra programs <<< "${PROGRAMS:-rancheros-operator rancheros-register kubectl-rancheros}"
for architecture in ${ARCHITECTURES:-amd64 arm64}; do
    build linux "$architecture" "${programs[@]}"
done
