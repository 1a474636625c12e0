#!/usr/bin/env bash
# Builds the upstream programs of a cluster from their published modules, once:
#
#   build.sh DIRECTORY    puts kube-apiserver, kube-controller-manager, kube-scheduler, etcd, kubelet, kube-proxy, kubectl,
#                         kubeadm and coredns into DIRECTORY/HASH, and prints that path
#
# HASH is that of the sources and of Go's version: a directory that exists is complete. About 20 minutes of CPU, 5 GB of
# disk (Go's caches) and 4 GB of memory from nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$1
kubernetes=v1.37.2

key=$(cd "$here" && { go env GOVERSION GOARCH; cat build.sh */go.mod */go.sum */*.go; } | sha256sum | cut -c1-16)
out=$cache/$key
if [[ ! -d $out ]]; then
    mkdir -p "$cache"
    building=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    version=k8s.io/component-base/version
    flags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37"
    flags+=" -X $version.gitTreeState=clean -X $version.gitCommit=unknown -X $version.buildDate=1970-01-01T00:00:00Z"
    export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -buildvcs=false'
    (cd "$here/kubernetes" && go build -ldflags "$flags" -o "$building/kubernetes" .)
    (cd "$here/coredns" && go build -ldflags '-s -w' -o "$building/coredns" .)
    for program in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubeadm kubectl kubelet; do
        ln -s kubernetes "$building/$program"
    done
    chmod 755 "$building"
    mv -T "$building" "$out"
    trap - EXIT
fi
printf '%s\n' "$out"
