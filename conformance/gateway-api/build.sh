#!/usr/bin/env bash
# Builds upstream's conformance suite of the Gateway API and the program of its backends from the published module, once:
#
#   build.sh DIRECTORY    puts conformance.test, echo-basic and the kinds (crds/) into DIRECTORY/HASH, and prints that path
#
# HASH is that of the sources and of Go's version: a directory that exists is complete. Two minutes of CPU from nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$1
module=sigs.k8s.io/gateway-api

key=$(cd "$here" && { go env GOVERSION GOARCH; cat build.sh programs/go.mod programs/go.sum; } | sha256sum | cut -c1-16)
out=$cache/$key
if [[ ! -d $out ]]; then
    mkdir -p "$cache"
    building=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'
    cd "$here/programs"
    go test -c -ldflags '-s -w' -o "$building/conformance.test" "$module/conformance"
    go build -ldflags '-s -w' -o "$building/echo-basic" "$module/conformance/echo-basic"
    # Retries are of the experimental channel; all kinds of a cluster have to be of one channel.
    mkdir "$building/crds"
    cp "$(go list -m -f '{{.Dir}}' "$module")"/config/crd/experimental/gateway.*.yaml "$building/crds"
    # What a list of tests may name.
    find "$(go list -m -f '{{.Dir}}' "$module/conformance")/tests" -name '*.go' -exec sed -n 's/^\tShortName: *"\(.*\)",$/\1/p' {} + |
        sort >"$building/tests.txt"
    chmod -R u+w,go+rX "$building"
    mv -T "$building" "$out"
    trap - EXIT
fi
printf '%s\n' "$out"
