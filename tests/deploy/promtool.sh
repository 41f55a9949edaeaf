#!/usr/bin/env bash
# Puts promtool from Debian's package "prometheus" into artifacts/, unless it is there or installed. Without it its test is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
[[ -x artifacts/promtool || -x /usr/bin/promtool ]] && exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
(cd "$folder" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; }) 2>/dev/null
dpkg -x "$folder"/prometheus_*.deb "$folder/files"
mkdir -p artifacts
mv "$folder/files/usr/bin/promtool" artifacts/promtool
