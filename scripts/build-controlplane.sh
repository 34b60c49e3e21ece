#!/usr/bin/env bash
# Builds the real control plane, kubectl and Helm that tests and demo run on, into bin/. Skipped while nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=bin/.controlplane
# Helm needs other versions of Kubernetes' modules than the control plane: it is a module, and a build, of its own.
helm_sum=$(cat tests/helm/go.mod tests/helm/go.sum scripts/build-controlplane.sh | sha256sum)
if [ ! -x bin/helm ] || [ "$(cat bin/.helm 2>/dev/null)" != "$helm_sum" ]; then
    helm_version=$(awk '$1 == "helm.sh/helm/v3" { print $2 }' tests/helm/go.mod)
    # The Kubernetes that `helm template` takes for the cluster's is the one of its client library, as in Helm's own builds.
    helm_minor=$(awk '$1 == "k8s.io/client-go" { split($2, part, "."); print part[2] }' tests/helm/go.mod)
    helm=helm.sh/helm/v3
    helm_flags="-s -w -X $helm/internal/version.version=$helm_version"
    for package in pkg/chartutil pkg/lint/rules; do
        helm_flags+=" -X $helm/$package.k8sVersionMajor=1 -X $helm/$package.k8sVersionMinor=$helm_minor"
    done
    echo "building helm $helm_version from its Go module; the first time takes a minute or two"
    mkdir -p bin
    ( cd tests/helm && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$helm_flags" -o ../../bin/helm helm.sh/helm/v3/cmd/helm )
    echo "$helm_sum" > bin/.helm
fi

sum=$(cat tests/controlplane/go.sum tests/controlplane/*.go tests/controlplane/kubectl/*.go scripts/build-controlplane.sh | sha256sum)
if [ -x bin/controlplane ] && [ -x bin/kubectl ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then
    exit 0
fi

# The version that clients and servers report comes from the module that is built.
version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' tests/controlplane/go.mod)
minor=${version#v1.}
flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitCommit=unknown"
done

echo "building etcd, kube-apiserver, kube-controller-manager and kubectl $version from their Go modules;"
echo "the first time takes some minutes (about 3 on two idle cores), later builds take seconds"
mkdir -p bin
started=$SECONDS
# Without the progress line, a silent build of minutes looks like a hang.
( while sleep 30; do echo "  still building, $((SECONDS - started)) s"; done ) & progress=$!
trap 'kill "$progress" 2>/dev/null || true' EXIT
( cd tests/controlplane && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$flags" -o ../../bin/ . ./kubectl )
echo "$sum" > "$stamp"
echo "built in $((SECONDS - started)) s"
