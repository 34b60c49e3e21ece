#!/usr/bin/env bash
# Writes all generated files. With --check, fails when that changes anything.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf pkg/generated pkg/crds/*.yaml chart/rancheros-operator-crd/files/*.yaml
go run ./pkg/codegen

if [ "${1:-}" = --check ]; then
    changed=$(git status --porcelain -- pkg chart .github/guide)
    if [ -n "$changed" ]; then
        echo "generated files differ from what is committed; run \`make generate\` and commit:" >&2
        echo "$changed" >&2
        git diff --stat -- pkg chart .github/guide >&2
        exit 1
    fi
    echo "generated files are as committed"
fi
