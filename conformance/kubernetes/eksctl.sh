#!/usr/bin/env bash
# Builds eksctl from its published module, once, and drives it against a Lath that runs:
#
#   eksctl.sh build            puts eksctl into ${LATH_EKSCTL:-~/.cache/lath/eksctl}/eksctl, and prints that path
#   eksctl.sh drive DATA_DIR   makes a cluster and a node group by it, asks for both, scales, and deletes all again
#
# The build takes minutes of several cores and some gigabytes of Go's caches, so that no run of CI does it. What is not driven
# is said at the end.
set -euo pipefail
version=v0.215.0
cache=${LATH_EKSCTL:-$HOME/.cache/lath/eksctl}

build() {
    if [[ ! -x $cache/eksctl ]]; then
        mkdir -p "$cache"
        local building
        building=$(mktemp -d "$cache/building.XXXXXX")
        trap 'rm -rf "$building"' RETURN
        local module
        module=$(cd "$building" && go mod download -json "github.com/weaveworks/eksctl@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        cp -r "$module" "$building/source"
        chmod -R u+w "$building/source"
        (cd "$building/source" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -p 2 -o "$building/eksctl" ./cmd/eksctl)
        mv "$building/eksctl" "$cache/eksctl"
    fi
    printf '%s\n' "$cache/eksctl"
}

drive() {
    local data=$1 eksctl name=eksctl-$RANDOM
    eksctl=$(build)
    eval "$("${LATH_BIN:-lath}" env --data-dir "$data")"
    # One endpoint for each client: eksctl reads these, and the SDK the general one.
    export AWS_STS_ENDPOINT=$AWS_ENDPOINT_URL AWS_CLOUDFORMATION_ENDPOINT=$AWS_ENDPOINT_URL AWS_EKS_ENDPOINT=$AWS_ENDPOINT_URL \
        AWS_EC2_ENDPOINT=$AWS_ENDPOINT_URL AWS_IAM_ENDPOINT=$AWS_ENDPOINT_URL AWS_ELB_ENDPOINT=$AWS_ENDPOINT_URL \
        AWS_ELBV2_ENDPOINT=$AWS_ENDPOINT_URL AWS_SSM_ENDPOINT=$AWS_ENDPOINT_URL AWS_CLOUDTRAIL_ENDPOINT=$AWS_ENDPOINT_URL \
        AWS_EC2_METADATA_DISABLED=true
    local config
    config=$(mktemp -d)
    trap 'rm -rf "$config"' RETURN
    export KUBECONFIG=$config/kubeconfig
    cat >"$config/cluster.yaml" <<YAML
apiVersion: eksctl.io/v1alpha5
kind: ClusterConfig
metadata: {name: $name, region: $AWS_REGION}
vpc: {nat: {gateway: Single}}
managedNodeGroups:
- {name: workers, instanceType: t3.medium, desiredCapacity: 1, minSize: 0, maxSize: 2, volumeSize: 20}
YAML
    set -x
    "$eksctl" create cluster -f "$config/cluster.yaml" --without-nodegroup
    "$eksctl" create nodegroup -f "$config/cluster.yaml"
    "$eksctl" get cluster
    "$eksctl" get nodegroup --cluster "$name"
    "$eksctl" get addon --cluster "$name"
    local role
    role=$(aws iam create-role --role-name "$name" --query Role.Arn --output text --assume-role-policy-document \
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}')
    "$eksctl" create accessentry --cluster "$name" --principal-arn "$role"
    "$eksctl" get accessentry --cluster "$name"
    "$eksctl" scale nodegroup --cluster "$name" --name workers --nodes 0
    "$eksctl" delete cluster --name "$name" --wait --disable-nodegroup-eviction
    aws iam delete-role --role-name "$name"
    set +x
    echo "NOT DRIVEN: unmanaged node groups (Auto Scaling), Fargate, IRSA, GitOps, Karpenter, KMS, upgrades."
}

case ${1:-} in
    build) build ;;
    drive) drive "${2:?the data directory of a running Lath}" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
