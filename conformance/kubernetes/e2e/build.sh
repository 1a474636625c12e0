#!/usr/bin/env bash
# Builds upstream's end-to-end tests and the programs of the images that they use from their published modules, once:
#
#   build.sh DIRECTORY    puts e2e.test, its runner ginkgo, agnhost and the others into DIRECTORY/HASH, and prints that path
#
# HASH is that of the sources and of Go's version: a directory that exists is complete. About 15 minutes of CPU and 4 GB of
# memory from nothing; half of that after ../build.sh, which compiles much of the same.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$1
kubernetes=v1.37.2

key=$(cd "$here" && { go env GOVERSION GOARCH; cat build.sh programs/go.mod programs/go.sum; } | sha256sum | cut -c1-16)
out=$cache/$key
if [[ ! -d $out ]]; then
    mkdir -p "$cache"
    building=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    version=k8s.io/component-base/version
    flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37"
    flags+=" -X $version.gitTreeState=clean -X $version.gitCommit=unknown -X $version.buildDate=1970-01-01T00:00:00Z"
    export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'
    cd "$here/programs"
    images=k8s.io/kubernetes/test/images
    go test -c -ldflags "$flags" -o "$building/e2e.test" k8s.io/kubernetes/test/e2e
    program() { go build -ldflags "$flags" -o "$building/$1" "$2"; }
    program agnhost $images/agnhost
    program nnp $images/nonewprivs
    program regression-issue-74839 $images/regression-issue-74839
    program consumer $images/resource-consumer
    program consume-cpu $images/resource-consumer/consume-cpu
    program kube-sample-apiserver k8s.io/sample-apiserver
    program ginkgo github.com/onsi/ginkgo/v2/ginkgo
    program etcd go.etcd.io/etcd/server/v3
    # What agnhost's image has beside its program.
    cp "$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)"/test/images/agnhost/porter/localhost.{crt,key} "$building"
    # The tests' own declaration of what conformance is.
    cp "$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)"/test/conformance/testdata/conformance.yaml "$building"
    chmod 755 "$building"
    mv -T "$building" "$out"
    trap - EXIT
fi
printf '%s\n' "$out"
