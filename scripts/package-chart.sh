#!/usr/bin/env bash
# Packs a chart: package-chart.sh FOLDER VERSION APP_VERSION DESTINATION. Helm checks and packs it; what it packs has the time of
# day in it, so that is packed once more with the time of the commit, for the same bytes each time.
set -euo pipefail
folder=$1 version=$2 app_version=$3 destination=$(realpath "$4")
helm=$(dirname "$0")/../bin/helm

time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
"$helm" package "$folder" --version "$version" --app-version "$app_version" --destination "$packed" >/dev/null
for archive in "$packed"/*.tgz; do
    mkdir "$packed/content"
    tar -xmzf "$archive" -C "$packed/content"
    tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner --format=ustar -C "$packed/content" -cf - "$(ls "$packed/content")" |
        gzip -9 -n > "$destination/$(basename "$archive")"
    rm -rf "$packed/content"
done
