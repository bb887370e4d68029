#!/usr/bin/env bash
# dashboard/vendor.sh: copies the chart library, as locked, into static/vendor. Needs npm on PATH, and the package
# registry only when static/vendor does not hold the locked version yet.
set -euo pipefail
cd "$(dirname "$0")"
wanted=$(sha256sum package-lock.json | cut -d' ' -f1)
stamp=static/vendor/lock.sha256
[[ ! -e $stamp || $(<"$stamp") != "$wanted" ]] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json .npmrc "$work"
# node brings certificates of its own; the system's may hold that of a proxy in between
certificates=/etc/ssl/certs/ca-certificates.crt
[[ ! -e $certificates ]] || export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-$certificates}
# a network that is not there is noticed in seconds: somebody waits for the start
(cd "$work" && npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error --cache "$work/cache" \
  --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=2000 --fetch-timeout=15000 >&2)
mkdir -p static/vendor
from=$work/node_modules/uplot
cp "$from/dist/uPlot.iife.min.js" "$from/dist/uPlot.min.css" static/vendor/
cp "$from/LICENSE" static/vendor/uPlot.LICENSE
printf '%s\n' "$wanted" >"$stamp"
