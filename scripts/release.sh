#!/usr/bin/env bash
# Makes all that a release consists of, but for images, in dist/: programs for both architectures, charts, bills of materials,
# checksums and notes. VERSION is the release's, by default what git says; the same commit gives the same bytes. It uses no network
# when the modules are in the cache: `make release-dry-run` forbids it, and builds once more elsewhere to compare.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)}
commit=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
dist=${DIST:-dist}
rm -rf "$dist"
mkdir -p "$dist"

echo "=== programs, $version ($commit)"
scripts/build-release.sh "$dist" "$version" "$commit"

echo "=== bills of materials"
for program in "$dist"/*_linux_*; do
    name=$(basename "$program")
    go run ./scripts/sbom -name "${name%%_*}" -version "$version" "$program" > "$dist/$name.cdx.json"
done

echo "=== charts"
# A chart's version is a semantic version; a commit that has no tag is one before the first (the g keeps digits alone from being a number).
chart_version=${version#v}
[[ $chart_version =~ ^[0-9]+\.[0-9]+\.[0-9]+ ]] || chart_version=0.0.0-g$chart_version
for chart in chart/*/Chart.yaml; do
    [ -e "$chart" ] || continue
    if [ ! -x bin/helm ]; then
        echo "bin/helm is missing, which \`make build-test\` builds; without it there are no charts" >&2
        exit 1
    fi
    scripts/package-chart.sh "$(dirname "$chart")" "$chart_version" "$version" "$dist"
done

echo "=== notes"
scripts/release-notes.sh "$version" > "$dist/NOTES.md"

( cd "$dist" && sha256sum -- * > SHA256SUMS )
scripts/image-size.sh "$dist"
ls -l "$dist"
