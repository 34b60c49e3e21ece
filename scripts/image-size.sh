#!/usr/bin/env bash
# Tells how large the operator's image becomes, compressed as registries keep it: it is the program, the CAs of a Debian, and iPXE.
# Fails beyond 60 MB.
set -euo pipefail
most=60000000
# The CAs of Debian 12, and of its iPXE the two programs that are taken, rounded up.
beside=$((300000 + 700000))
for program in "${1:-dist}"/rancheros-operator_linux_*; do
    case $program in *.json | *'*') continue ;; esac
    size=$(($(gzip -9 < "$program" | wc -c) + beside))
    echo "image, compressed: about $((size / 1000000)) MB for ${program##*_}"
    if [ "$size" -gt "$most" ]; then
        echo "that is more than $((most / 1000000)) MB" >&2
        exit 1
    fi
done
