#!/usr/bin/env bash
# Builds Flagger from its published module, once: `flagger.sh build` puts flagger and its CustomResourceDefinitions (crd.yaml) into
# ${LATH_FLAGGER_CACHE:-~/.cache/lath/flagger}, and prints the program's path. Then:
#
#   LATH_FLAGGER=$(conformance/kubernetes/flagger.sh build) ./x conformance conformance/tests/test_gateway_flagger.py
#
# The build takes minutes of a core and some gigabytes of Go's caches, so that no run of CI does it.
set -euo pipefail
version=v1.36.1
cache=${LATH_FLAGGER_CACHE:-$HOME/.cache/lath/flagger}

build() {
    local place=$cache/$version module
    if [[ ! -x $place/flagger ]]; then
        mkdir -p "$place"
        GOBIN=$place.new CGO_ENABLED=0 go install -p 2 "github.com/fluxcd/flagger/cmd/flagger@$version" >&2
        module=$(cd / && go mod download -json "github.com/fluxcd/flagger@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        install -m 644 "$module/artifacts/flagger/crd.yaml" "$place/crd.yaml"
        mv "$place.new/flagger" "$place/flagger"
        rmdir "$place.new"
    fi
    printf '%s\n' "$place/flagger"
}

case ${1-} in
build) build ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
