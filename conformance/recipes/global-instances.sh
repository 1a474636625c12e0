#!/usr/bin/env bash
# What global-eks-resilience.sh does from step 6 on, with instances in place of Kubernetes.
#
#   global-instances.sh apps | steps [12 13] | validate [3 4 5 6] | teardown
#
# Runs between the recipe's steps 1-5 and its cleanup, in the same STATE_DIR: it reads and adds to the recipe's
# state, so that the recipe's own cleanup removes what steps 12 and 13 made. `apps` stands in for steps 6 to 11:
# two instances per region that answer like the recipe's pods, a client, and the VPC Lattice service that the
# recipe's controller would make. `teardown` removes what `apps` made. Steps 12 and 13 send the recipe's calls.
#
# Settings (environment), beside the recipe's: EXEC, how a command is run in an instance (EXEC INSTANCE -- COMMAND...);
# AMI_NAME; HEALTH_INTERVAL and HEALTH_THRESHOLD (30 and 3, as in the recipe).
set -euo pipefail

export AWS_PAGER=''
AMI_NAME=${AMI_NAME:-al2023-ami-2023.*-x86_64}
EXEC=${EXEC:-lath exec}
HEALTH_INTERVAL=${HEALTH_INTERVAL:-30}
HEALTH_THRESHOLD=${HEALTH_THRESHOLD:-3}
POLL=${POLL:-5}
WAIT_TIMEOUT=${WAIT_TIMEOUT:-900}
STATE_DIR=${STATE_DIR:-$PWD/.global-eks-resilience}
STATE=$STATE_DIR/state
ERR=$STATE_DIR/stderr
SIDES=(primary secondary)
REPLICAS=2

say() { printf '\n== %s\n' "$*"; }
ok()  { printf 'ok    %s\n' "$*"; }
die() { printf 'FAIL  %s\n' "$*" >&2; exit 1; }
remember() { # NAME VALUE
    [[ -n $2 && $2 != None ]] || die "no value for $1"
    printf -v "$1" '%s' "$2"
    printf '%s=%q\n' "$1" "$2" >>"$STATE"
}
v() { local n="${1^^}_$2"; printf '%s' "${!n-}"; } # SIDE NAME
other() { if [[ $1 == primary ]]; then echo secondary; else echo primary; fi; }
at() { local side=$1; shift; aws "$@" --region "$(v "$side" REGION)"; } # SIDE ARGUMENTS...: aws in that side's region

until_is() { # REGEX COMMAND...
    local want=$1 got='' end=$((SECONDS + WAIT_TIMEOUT)); shift
    while :; do
        if got=$("$@" 2>"$ERR") && [[ $got =~ ^($want)$ ]]; then return 0; fi
        (( SECONDS < end )) || die "wanted '$want', still '$got' after ${WAIT_TIMEOUT}s: $* $(<"$ERR")"
        sleep "$POLL"
    done
}
del() { # COMMAND...: gone already is success, in use is tried again
    local end=$((SECONDS + WAIT_TIMEOUT))
    while ! "$@" >/dev/null 2>"$ERR"; do
        if grep -Eq 'NotFound|NoSuch' "$ERR"; then return 0; fi
        if ! grep -Eq 'DependencyViolation|IncorrectState|InUse|Conflict' "$ERR" || (( SECONDS >= end )); then
            cat "$ERR" >&2; die "could not delete: $*"
        fi
        sleep "$POLL"
    done
}
expect() { if [[ $3 =~ ^($2)$ ]]; then ok "$1: $3"; else die "$1: wanted '$2', got '$3'"; fi; } # WHAT WANT GOT
within() { local id=$1; shift; $EXEC "$id" -- "$@"; } # INSTANCE COMMAND...
call() { # SIDE CURL-ARGUMENTS...: curl in that side's client
    local side=$1; shift
    within "$(v "$side" CLIENT_ID)" curl -sS --fail --max-time 20 --retry 5 --retry-connrefused "$@"
}

# ------------------------------------------------------------------------------------------------ apps
app_user_data() { # SIDE: the server starts at every boot, as a pod's does
    cat <<EOF
#!/bin/bash
mkdir -p /srv/app /var/lib/cloud/scripts/per-boot
echo "$1-$(v "$1" REGION)" >/srv/app/index.html
cat >/var/lib/cloud/scripts/per-boot/app <<'APP'
#!/bin/bash
cd /srv/app && exec setsid python3 -m http.server 80 >/dev/null 2>&1 </dev/null &
APP
chmod +x /var/lib/cloud/scripts/per-boot/app
/var/lib/cloud/scripts/per-boot/app
EOF
}
launch() { # SIDE NAME SUBNET USER-DATA-FILE
    at "$1" ec2 run-instances --image-id "$AMI_ID" --instance-type t3.medium --subnet-id "$(v "$1" "$3")" \
        --security-group-ids "$(v "$1" CLUSTER_SG)" --user-data "file://$4" \
        --tag-specifications "ResourceType=instance,Tags=[{Key=Name,Value=$1-$2}]" \
        --query 'Instances[0].InstanceId' --output text
}
apps_of() { # SIDE
    local side=$1 S=${1^^} peer_cidr own_cidr list AMI_ID n ids=()
    peer_cidr=$(v "$(other "$side")" NET).0.0/16 own_cidr=$(v "$side" NET).0.0/16
    remember "${S}_CLUSTER_SG" "$(at "$side" ec2 create-security-group --group-name "app-$RANDOM_SUFFIX" \
        --description 'The application and its clients' --vpc-id "$(v "$side" VPC_ID)" --query GroupId --output text)"
    list=$(at "$side" ec2 describe-managed-prefix-lists --query 'PrefixLists[0].PrefixListId' --output text \
        --filters "Name=prefix-list-name,Values=com.amazonaws.$(v "$side" REGION).vpc-lattice")
    at "$side" ec2 authorize-security-group-ingress --group-id "$(v "$side" CLUSTER_SG)" --ip-permissions \
        "IpProtocol=tcp,FromPort=80,ToPort=80,PrefixListIds=[{PrefixListId=$list}],IpRanges=[{CidrIp=$peer_cidr},{CidrIp=$own_cidr}]" \
        "IpProtocol=icmp,FromPort=-1,ToPort=-1,IpRanges=[{CidrIp=$peer_cidr}]" >/dev/null
    AMI_ID=$(at "$side" ec2 describe-images --owners amazon --output text \
        --filters "Name=name,Values=$AMI_NAME" Name=state,Values=available \
        --query 'Images | sort_by(@, &CreationDate) | [-1].ImageId')
    app_user_data "$side" >"$STATE_DIR/user-data-$side.sh"
    printf '#!/bin/sh\n' >"$STATE_DIR/user-data-client.sh"
    for (( n = 1; n <= REPLICAS; n++ )); do
        ids+=("$(launch "$side" "app-$n" "PRIVATE_SUBNET_$n" "$STATE_DIR/user-data-$side.sh")")
    done
    remember "${S}_APP_IDS" "${ids[*]}"
    remember "${S}_CLIENT_ID" "$(launch "$side" client PRIVATE_SUBNET_1 "$STATE_DIR/user-data-client.sh")"
    at "$side" ec2 wait instance-running --instance-ids "${ids[@]}" "$(v "$side" CLIENT_ID)"

    remember "${S}_TARGET_GROUP_ID" "$(at "$side" vpc-lattice create-target-group --name "app-$side-$RANDOM_SUFFIX" \
        --type INSTANCE --config "port=80,protocol=HTTP,vpcIdentifier=$(v "$side" VPC_ID),healthCheck={enabled=true,path=/,healthCheckIntervalSeconds=5,healthCheckTimeoutSeconds=2,healthyThresholdCount=2,unhealthyThresholdCount=2}" \
        --query id --output text)"
    until_is ACTIVE at "$side" vpc-lattice get-target-group --target-group-identifier "$(v "$side" TARGET_GROUP_ID)" \
        --query status --output text
    at "$side" vpc-lattice register-targets --target-group-identifier "$(v "$side" TARGET_GROUP_ID)" \
        --targets "${ids[@]/#/id=}" >/dev/null
    # As the controller does for the route's host name.
    remember "${S}_SERVICE_ID" "$(at "$side" vpc-lattice create-service --name "app-$side-$RANDOM_SUFFIX" \
        --custom-domain-name "app.$HOSTED_ZONE_NAME" --query id --output text)"
    until_is ACTIVE at "$side" vpc-lattice get-service --service-identifier "$(v "$side" SERVICE_ID)" --query status --output text
    at "$side" vpc-lattice create-listener --service-identifier "$(v "$side" SERVICE_ID)" --name http --protocol HTTP --port 80 \
        --default-action "forward={targetGroups=[{targetGroupIdentifier=$(v "$side" TARGET_GROUP_ID)}]}" >/dev/null
}
apps() {
    say 'Applications in both regions, as steps 6 to 11 make them with Kubernetes'
    local side
    for side in "${SIDES[@]}"; do apps_of "$side"; ok "$side: $(v "$side" APP_IDS), $(v "$side" SERVICE_ID)"; done
}

# ------------------------------------------------------------------------------------------- steps 12, 13
association_state() { # SIDE
    at "$1" vpc-lattice get-service-network-vpc-association --query status --output text \
        --service-network-vpc-association-identifier "$(v "$1" SN_ASSOCIATION_ID)"
}
service_association_state() { # SIDE
    at "$1" vpc-lattice get-service-network-service-association --query status --output text \
        --service-network-service-association-identifier "$(v "$1" SERVICE_ASSOCIATION_ID)"
}
endpoint_state() { # SIDE
    at "$1" ec2 describe-vpc-endpoints --vpc-endpoint-ids "$(v "$1" ENDPOINT_ID)" \
        --query 'VpcEndpoints[0].State' --output text
}
step_12() {
    say '12. Cross-cluster service discovery with VPC Lattice'
    local side S policy
    remember SERVICE_NETWORK_NAME "multi-cluster-service-network-$RANDOM_SUFFIX"
    policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"vpc-lattice-svcs:Invoke","Resource":"*","Condition":{"StringEquals":{"vpc-lattice-svcs:SourceVpc":["'$PRIMARY_VPC_ID'","'$SECONDARY_VPC_ID'"]}}}]}'
    for side in "${SIDES[@]}"; do
        S=${side^^}
        at "$side" vpc-lattice create-service-network --name "$SERVICE_NETWORK_NAME" --auth-type AWS_IAM \
            --tags "Name=$SERVICE_NETWORK_NAME" >/dev/null
        remember "${S}_SERVICE_NETWORK_ID" "$(at "$side" vpc-lattice list-service-networks \
            --query "items[?name=='$SERVICE_NETWORK_NAME'].id" --output text)"
        at "$side" vpc-lattice put-auth-policy --resource-identifier "$(v "$side" SERVICE_NETWORK_ID)" --policy "$policy" >/dev/null
        remember "${S}_SN_ASSOCIATION_ID" "$(at "$side" vpc-lattice create-service-network-vpc-association \
            --service-network-identifier "$(v "$side" SERVICE_NETWORK_ID)" --vpc-identifier "$(v "$side" VPC_ID)" \
            --query id --output text)"
        until_is ACTIVE association_state "$side"
        # What the controller does once it knows the network.
        remember "${S}_SERVICE_ASSOCIATION_ID" "$(at "$side" vpc-lattice create-service-network-service-association \
            --service-network-identifier "$(v "$side" SERVICE_NETWORK_ID)" --service-identifier "$(v "$side" SERVICE_ID)" \
            --query id --output text)"
        until_is ACTIVE service_association_state "$side"
    done
    for side in "${SIDES[@]}"; do
        S=${side^^}
        remember "${S}_ENDPOINT_SG" "$(at "$side" ec2 create-security-group --group-name "lattice-endpoint-$RANDOM_SUFFIX" \
            --description 'HTTP from both regions to the service network' --vpc-id "$(v "$side" VPC_ID)" \
            --query GroupId --output text)"
        at "$side" ec2 authorize-security-group-ingress --group-id "$(v "$side" ENDPOINT_SG)" --ip-permissions \
            "IpProtocol=tcp,FromPort=80,ToPort=80,IpRanges=[{CidrIp=$PRIMARY_NET.0.0/16},{CidrIp=$SECONDARY_NET.0.0/16}]" >/dev/null
        remember "${S}_SERVICE_NETWORK_ARN" "$(at "$side" vpc-lattice get-service-network --query arn --output text \
            --service-network-identifier "$(v "$side" SERVICE_NETWORK_ID)")"
        remember "${S}_ENDPOINT_ID" "$(at "$side" ec2 create-vpc-endpoint --vpc-endpoint-type ServiceNetwork \
            --vpc-id "$(v "$side" VPC_ID)" --service-network-arn "$(v "$side" SERVICE_NETWORK_ARN)" \
            --subnet-ids "$(v "$side" PRIVATE_SUBNET_1)" "$(v "$side" PRIVATE_SUBNET_2)" \
            --security-group-ids "$(v "$side" ENDPOINT_SG)" \
            --tag-specifications "ResourceType=vpc-endpoint,Tags=[{Key=Name,Value=$side-service-network}]" \
            --query VpcEndpoint.VpcEndpointId --output text)"
    done
    for side in "${SIDES[@]}"; do until_is available endpoint_state "$side"; done
    ok "$PRIMARY_SERVICE_NETWORK_ID $SECONDARY_SERVICE_NETWORK_ID"
}

health() { # SIDE: healthy when every checker sees success, unhealthy when none does
    local seen good
    read -r seen good < <(aws route53 get-health-check-status --health-check-id "$(v "$1" HEALTH_CHECK_ID)" --output text \
        --query "[length(HealthCheckObservations), length(HealthCheckObservations[?starts_with(StatusReport.Status, 'Success')])]")
    if (( seen == 0 )); then echo unknown; elif (( good == seen )); then echo healthy
    elif (( good == 0 )); then echo unhealthy; else echo mixed; fi
}
answer() { # what Route 53 answers now
    aws route53 test-dns-answer --hosted-zone-id "$HOSTED_ZONE_ID" --record-name "app.$HOSTED_ZONE_NAME" \
        --record-type CNAME --query 'RecordData[0]' --output text
}
failover_record() { # ACTION SIDE
    printf '{"Action":"%s","ResourceRecordSet":{"Name":"app.%s","Type":"CNAME","TTL":60,"SetIdentifier":"%s","Failover":"%s","HealthCheckId":"%s","ResourceRecords":[{"Value":"%s"}]}}' \
        "$1" "$HOSTED_ZONE_NAME" "$2" "${2^^}" "$(v "$2" HEALTH_CHECK_ID)" "$(v "$2" ENTRY_NAME)"
}
step_13() {
    say '13. Route 53 for global load balancing'
    local side S change
    for side in "${SIDES[@]}"; do
        S=${side^^}
        remember "${S}_LATTICE_DNS" "$(at "$side" vpc-lattice get-service --service-identifier "$(v "$side" SERVICE_ID)" \
            --query dnsEntry.domainName --output text)"
        remember "${S}_ENTRY_NAME" "$(v "$side" LATTICE_DNS)"
        remember "${S}_HEALTH_CHECK_ID" "$(aws route53 create-health-check --query HealthCheck.Id --output text \
            --caller-reference "$side-lattice-health-$RANDOM_SUFFIX" \
            --health-check-config "Type=HTTP,ResourcePath=/,FullyQualifiedDomainName=$(v "$side" ENTRY_NAME),Port=80,RequestInterval=$HEALTH_INTERVAL,FailureThreshold=$HEALTH_THRESHOLD")"
    done
    remember HOSTED_ZONE_ID "$(aws route53 create-hosted-zone --name "$HOSTED_ZONE_NAME" \
        --caller-reference "global-eks-$RANDOM_SUFFIX" --query HostedZone.Id --output text)"
    remember HOSTED_ZONE_ID "${HOSTED_ZONE_ID##*/}"
    change=$(aws route53 change-resource-record-sets --hosted-zone-id "$HOSTED_ZONE_ID" --query ChangeInfo.Id --output text \
        --change-batch "{\"Changes\":[$(failover_record CREATE primary),$(failover_record CREATE secondary)]}")
    remember RECORDS_MADE 1
    aws route53 wait resource-record-sets-changed --id "$change"
    ok "app.$HOSTED_ZONE_NAME"
}

# ---------------------------------------------------------------------------------------------- validate
target_health() { # SIDE
    at "$1" vpc-lattice list-targets --target-group-identifier "$(v "$1" TARGET_GROUP_ID)" \
        --query "length(items[?status=='HEALTHY'])" --output text
}
check_3() {
    say 'Validate 3. The applications'
    local side
    for side in "${SIDES[@]}"; do
        until_is "$REPLICAS" target_health "$side"
        expect "$side answer through VPC Lattice" "$side-$(v "$side" REGION)" "$(call "$side" "http://$(v "$side" LATTICE_DNS)/")"
    done
}
endpoint_name() { # SIDE SERVICE-ARN
    at "$1" ec2 describe-vpc-endpoint-associations --vpc-endpoint-ids "$(v "$1" ENDPOINT_ID)" --output text \
        --query "VpcEndpointAssociations[?AssociatedResourceArn=='$2'].DnsEntry.DnsName"
}
check_4() {
    say 'Validate 4. Cross-cluster service discovery with VPC Lattice'
    local side peer arn name
    for side in "${SIDES[@]}"; do
        expect "$side VPC in its service network" ACTIVE "$(at "$side" vpc-lattice list-service-network-vpc-associations \
            --service-network-identifier "$(v "$side" SERVICE_NETWORK_ID)" \
            --query "items[?vpcId=='$(v "$side" VPC_ID)'].status" --output text)"
        expect "$side services in the service network" 1 "$(at "$side" vpc-lattice get-service-network \
            --service-network-identifier "$(v "$side" SERVICE_NETWORK_ID)" --query numberOfAssociatedServices --output text)"
    done
    for side in "${SIDES[@]}"; do
        peer=$(other "$side")
        arn=$(at "$peer" vpc-lattice list-services --query "items[?dnsEntry.domainName=='$(v "$peer" LATTICE_DNS)'].arn" --output text)
        expect "$peer service" 'arn:.+' "$arn"
        until_is '[^ ]+\.on\.aws' endpoint_name "$peer" "$arn"
        name=$(endpoint_name "$peer" "$arn")
        expect "from the $side region to the $peer service" "$peer-$(v "$peer" REGION)" \
            "$(call "$side" --connect-to "$(v "$peer" LATTICE_DNS):80:$name:80" "http://$(v "$peer" LATTICE_DNS)/")"
    done
}
check_5() {
    say 'Validate 5. Transit Gateway routing'
    local side peer ip
    for side in "${SIDES[@]}"; do
        peer=$(other "$side")
        expect "$side route table" available "$(at "$side" ec2 describe-transit-gateway-route-tables --output text \
            --transit-gateway-route-table-ids "$(v "$side" TGW_RT_ID)" --query 'TransitGatewayRouteTables[0].State')"
        expect "$side route to the $peer region" "active $TGW_PEERING_ID" "$(at "$side" ec2 search-transit-gateway-routes \
            --transit-gateway-route-table-id "$(v "$side" TGW_RT_ID)" --output text \
            --filters "Name=route-search.exact-match,Values=$(v "$peer" NET).0.0/16" \
            --query "Routes[0].[State,TransitGatewayAttachments[0].TransitGatewayAttachmentId] | join(' ', @)")"
        expect "$side route to its own VPC" 'active propagated' "$(at "$side" ec2 search-transit-gateway-routes \
            --transit-gateway-route-table-id "$(v "$side" TGW_RT_ID)" --output text \
            --filters "Name=route-search.exact-match,Values=$(v "$side" NET).0.0/16" \
            --query "Routes[0].[State,Type] | join(' ', @)")"
        ip=$(at "$peer" ec2 describe-instances --instance-ids "$(v "$peer" CLIENT_ID)" --output text \
            --query 'Reservations[0].Instances[0].PrivateIpAddress')
        within "$(v "$side" CLIENT_ID)" ping -c 3 -W 10 "$ip" >/dev/null
        ok "ping $ip from the $side region"
        ip=$(at "$peer" ec2 describe-instances --instance-ids $(v "$peer" APP_IDS) --output text \
            --query 'Reservations[0].Instances[0].PrivateIpAddress')
        expect "instance $ip of the $peer region from the $side region" "$peer-$(v "$peer" REGION)" "$(call "$side" "http://$ip/")"
    done
}
power() { # start|stop SIDE
    at "$2" ec2 "$1-instances" --instance-ids $(v "$2" APP_IDS) >/dev/null
}
check_6() {
    say 'Validate 6. Route 53 health checks, records and failover'
    local side
    for side in "${SIDES[@]}"; do
        expect "$side health check" "HTTP / 80 $HEALTH_INTERVAL $HEALTH_THRESHOLD" "$(aws route53 get-health-check \
            --health-check-id "$(v "$side" HEALTH_CHECK_ID)" --output text \
            --query "HealthCheck.HealthCheckConfig.[Type,ResourcePath,to_string(Port),to_string(RequestInterval),to_string(FailureThreshold)] | join(' ', @)")"
        until_is healthy health "$side"
        ok "$side health check: every checker sees success"
        expect "$side answer to app.$HOSTED_ZONE_NAME" "$side-$(v "$side" REGION)" \
            "$(call "$side" -H "Host: app.$HOSTED_ZONE_NAME" "http://$(v "$side" ENTRY_NAME)/")"
    done
    until_is "${PRIMARY_ENTRY_NAME//./\\.}\\.?" answer
    ok "app.$HOSTED_ZONE_NAME answers the primary region"
    power stop primary
    until_is unhealthy health primary
    until_is "${SECONDARY_ENTRY_NAME//./\\.}\\.?" answer
    ok "primary away: app.$HOSTED_ZONE_NAME answers the secondary region"
    until_is '.*(stopped\s*){2}' at primary ec2 describe-instances --instance-ids $PRIMARY_APP_IDS --output text \
        --query 'Reservations[].Instances[].State.Name'
    power start primary
    until_is healthy health primary
    until_is "${PRIMARY_ENTRY_NAME//./\\.}\\.?" answer
    ok "primary back: app.$HOSTED_ZONE_NAME answers the primary region"
}

# ---------------------------------------------------------------------------------------------- teardown
gone() { # SIDE: whether its instances are
    at "$1" ec2 describe-instances --filters "Name=instance-id,Values=${2// /,}" --output text \
        --query "length(Reservations[].Instances[?State.Name!='terminated'][])"
}
teardown() {
    say 'Teardown of the applications'
    local side ids
    for side in "${SIDES[@]}"; do
        if [[ -n $(v "$side" SERVICE_ASSOCIATION_ID) ]]; then
            del at "$side" vpc-lattice delete-service-network-service-association \
                --service-network-service-association-identifier "$(v "$side" SERVICE_ASSOCIATION_ID)"
        fi
        if [[ -n $(v "$side" SERVICE_ID) ]]; then
            del at "$side" vpc-lattice delete-service --service-identifier "$(v "$side" SERVICE_ID)"
        fi
        ids="$(v "$side" APP_IDS) $(v "$side" CLIENT_ID)"
        if [[ -n $(v "$side" TARGET_GROUP_ID) ]]; then
            at "$side" vpc-lattice deregister-targets --target-group-identifier "$(v "$side" TARGET_GROUP_ID)" \
                --targets $(printf 'id=%s ' $(v "$side" APP_IDS)) >/dev/null 2>&1 || true
            del at "$side" vpc-lattice delete-target-group --target-group-identifier "$(v "$side" TARGET_GROUP_ID)"
        fi
        at "$side" ec2 terminate-instances --instance-ids $ids >/dev/null
        until_is 0 gone "$side" "${ids# }"
        del at "$side" ec2 delete-security-group --group-id "$(v "$side" CLUSTER_SG)"
        ok "$side"
    done
    rm -f "$STATE_DIR"/user-data-*.sh
}

main() {
    [[ -f $STATE ]] || die "nothing prepared in $STATE_DIR: run global-eks-resilience.sh prepare and steps 1 to 5 first"
    # shellcheck disable=SC1090
    . "$STATE"
    PRIMARY_NET=10.1 SECONDARY_NET=10.2
    local phase=${1-} n; shift || true
    case $phase in
        apps)     apps ;;
        steps)    for n in ${*:-12 13}; do "step_$n"; done ;;
        validate) for n in ${*:-3 4 5 6}; do "check_$n"; done; say validated ;;
        teardown) teardown ;;
        *)        sed -n '2,5p' "$0" >&2; exit 2 ;;
    esac
}
main "$@"
