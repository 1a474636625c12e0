"""VPC Lattice's control plane: what is made, changed, listed, refused and removed, through boto3 and the CLI."""

import threading

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import code_of, fixed, forward, header, path, refusal, unique

CONFLICT = ("ConflictException", 409)
INVALID = ("ValidationException", 400)
MISSING = ("ResourceNotFoundException", 404)
QUOTA = ("ServiceQuotaExceededException", 402)


def test_a_service_network_from_birth_to_death(lab):
    name = unique("net")
    made = lab.lattice.create_service_network(name=name, tags={"team": "a"})
    identifier = made["id"]
    assert identifier.startswith("sn-") and made["arn"].endswith(f":servicenetwork/{identifier}") and made["authType"] == "NONE"
    shown = lab.lattice.get_service_network(serviceNetworkIdentifier=made["arn"])
    assert (shown["name"], shown["numberOfAssociatedVPCs"], shown["numberOfAssociatedServices"]) == (name, 0, 0)
    updated = lab.lattice.update_service_network(serviceNetworkIdentifier=identifier, authType="AWS_IAM")
    assert updated["authType"] == "AWS_IAM"
    assert lab.lattice.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"team": "a"}
    assert identifier in [n["id"] for page in lab.lattice.get_paginator("list_service_networks").paginate() for n in page["items"]]
    lab.lattice.delete_service_network(serviceNetworkIdentifier=identifier)
    assert refusal(lab.lattice.get_service_network, serviceNetworkIdentifier=identifier) == MISSING


def test_a_service_has_a_name_and_becomes_active(lab):
    service, domain = lab.service()
    shown = lab.lattice.get_service(serviceIdentifier=service)
    assert domain == f"{shown['name']}-{service.removeprefix('svc-')}.{domain.split('.', 2)[1]}.vpc-lattice-svcs.us-east-1.on.aws"
    assert shown["dnsEntry"]["hostedZoneId"]
    assert refusal(lab.listener, service=service, action=fixed(200)) == INVALID
    items = [s for page in lab.lattice.get_paginator("list_services").paginate() for s in page["items"]]
    assert [s["dnsEntry"]["domainName"] for s in items if s["id"] == service] == [domain]


def test_a_token_makes_one_thing_however_often_it_is_sent(lab):
    name, token = unique("once"), unique("token")
    made = [lab.lattice.create_service_network(name=name, clientToken=token) for _ in range(3)]
    lab.later(lab.lattice.delete_service_network, serviceNetworkIdentifier=made[0]["id"])
    assert len({one["id"] for one in made}) == 1
    assert refusal(lab.lattice.create_service_network, name=unique("other"), clientToken=token) == CONFLICT
    assert refusal(lab.lattice.create_service_network, name=name) == CONFLICT


def test_of_many_who_take_one_name_one_gets_it(lab):
    name, made, errors = unique("race"), [], []
    clients = [lab.lath.client("vpc-lattice") for _ in range(6)]

    def create(client):
        try:
            made.append(client.create_service_network(name=name)["id"])
        except ClientError as error:
            errors.append(code_of(error))

    threads = [threading.Thread(target=create, args=(client,)) for client in clients]
    [t.start() for t in threads]
    [t.join() for t in threads]
    lab.later(lab.lattice.delete_service_network, serviceNetworkIdentifier=made[0])
    assert len(made) == 1 and errors == ["ConflictException"] * 5


def test_listeners_and_rules(lab):
    service, _ = lab.service()
    listener = lab.listener(service, name="web", port=8080)
    at = {"serviceIdentifier": service, "listenerIdentifier": listener}
    shown = lab.lattice.get_listener(**at)
    assert (shown["name"], shown["protocol"], shown["port"], shown["defaultAction"]) == ("web", "HTTP", 8080, fixed(404))
    match = {"method": "GET"} | path("prefix", "/a", case=True) | header("X-A", "contains", "b")
    made = lab.lattice.create_rule(**at, name="way", priority=10, match={"httpMatch": match}, action=fixed(500))
    shown = lab.lattice.get_rule(**at, ruleIdentifier=made["arn"])
    assert (shown["priority"], shown["action"], shown["isDefault"]) == (10, fixed(500), False)
    got = shown["match"]["httpMatch"]
    assert got["method"] == "GET" and got["pathMatch"] == match["pathMatch"] and got["headerMatches"] == match["headerMatches"]
    lab.lattice.update_rule(**at, ruleIdentifier=made["id"], priority=20, action=fixed(404))
    assert lab.lattice.get_rule(**at, ruleIdentifier=made["id"])["priority"] == 20
    items = lab.lattice.list_rules(**at)["items"]
    assert sorted(rule["isDefault"] for rule in items) == [False, True]
    (default,) = [rule["id"] for rule in items if rule["isDefault"]]
    assert refusal(lab.lattice.delete_rule, **at, ruleIdentifier=default) == INVALID
    lab.lattice.delete_rule(**at, ruleIdentifier=made["id"])
    assert refusal(lab.lattice.get_rule, **at, ruleIdentifier=made["id"]) == MISSING


def test_a_batch_swaps_priorities_in_one_step(lab):
    service, _ = lab.service()
    listener = lab.listener(service)
    at = {"serviceIdentifier": service, "listenerIdentifier": listener}
    one, two, three = (lab.rule(service, listener, n, path("exact", f"/{n}"), fixed(404)) for n in (1, 2, 3))
    assert refusal(lab.lattice.update_rule, **at, ruleIdentifier=one, priority=2) == CONFLICT
    out = lab.lattice.batch_update_rule(**at, rules=[
        {"ruleIdentifier": one, "priority": 2}, {"ruleIdentifier": two, "priority": 1}, {"ruleIdentifier": three, "action": fixed(500)}])
    assert len(out["successful"]) == 3 and out["unsuccessful"] == []
    rules = {rule["id"]: rule["priority"] for rule in lab.lattice.list_rules(**at)["items"] if not rule["isDefault"]}
    assert rules == {one: 2, two: 1, three: 3}
    out = lab.lattice.batch_update_rule(**at, rules=[{"ruleIdentifier": "rule-0123456789abcdef0", "priority": 5}])
    assert [u["failureCode"] for u in out["unsuccessful"]] == ["ResourceNotFoundException"]


@pytest.mark.root
def test_things_go_only_in_order(lab):
    vpc, _, _ = lab.vpc("10.40.0.0/16", "10.40.1.0/24")
    network = lab.network(vpc)
    service, _ = lab.service()
    association = lab.associate_service(network, service)
    group = lab.targets(vpc, ("10.40.1.10", 80))
    listener = lab.listener(service, forward(group))
    for call, arguments in [
        (lab.lattice.delete_service_network, {"serviceNetworkIdentifier": network}),
        (lab.lattice.delete_service, {"serviceIdentifier": service}),
        (lab.lattice.delete_target_group, {"targetGroupIdentifier": group}),
    ]:
        assert refusal(call, **arguments) == CONFLICT, call.__name__
    # The VPC is used by the association and the group.
    assert refusal(lab.ec2.delete_vpc, VpcId=vpc) == ("DependencyViolation", 400)
    lab.lattice.delete_listener(serviceIdentifier=service, listenerIdentifier=listener)
    assert refusal(lab.lattice.delete_target_group, targetGroupIdentifier=group) == CONFLICT, "its target is registered"
    lab.deregister(group, ("10.40.1.10", 80))
    assert refusal(lab.lattice.delete_service, serviceIdentifier=service) == CONFLICT, "it is associated"
    answer = lab.lattice.delete_service_network_service_association(serviceNetworkServiceAssociationIdentifier=association)
    assert answer["status"] == "DELETE_IN_PROGRESS"


@pytest.mark.root
def test_associations_are_counted_listed_and_exclusive(lab):
    vpc, _, group = lab.vpc("10.41.0.0/16", "10.41.1.0/24")
    one, two = lab.network(vpc), lab.network()
    service, domain = lab.service(one, two)
    assert refusal(lab.associate_vpc, network=two, vpc=vpc) == CONFLICT
    assert refusal(lab.associate_service, network=one, service=service) == CONFLICT
    shown = lab.lattice.get_service_network(serviceNetworkIdentifier=one)
    assert (shown["numberOfAssociatedVPCs"], shown["numberOfAssociatedServices"]) == (1, 1)
    by_vpc = lab.lattice.list_service_network_vpc_associations(vpcIdentifier=vpc)["items"]
    by_network = lab.lattice.list_service_network_vpc_associations(serviceNetworkIdentifier=one)["items"]
    assert by_vpc == by_network and by_vpc[0]["status"] == "ACTIVE"
    by_service = lab.lattice.list_service_network_service_associations(serviceIdentifier=service)["items"]
    assert {a["serviceNetworkId"] for a in by_service} == {one, two}
    assert {a["dnsEntry"]["domainName"] for a in by_service} == {domain}
    updated = lab.lattice.update_service_network_vpc_association(
        serviceNetworkVpcAssociationIdentifier=by_vpc[0]["id"], securityGroupIds=[group])
    assert updated["securityGroupIds"] == [group]
    assert refusal(lab.ec2.delete_security_group, GroupId=group)[1] == 400


def test_lists_come_in_pages_that_join_to_the_whole(lab):
    names = {unique("page") for _ in range(7)}
    for name in names:
        made = lab.lattice.create_service_network(name=name)["id"]
        lab.later(lab.lattice.delete_service_network, serviceNetworkIdentifier=made)
    pages = list(lab.lattice.get_paginator("list_service_networks").paginate(PaginationConfig={"PageSize": 3}))
    seen = [n["name"] for page in pages for n in page["items"]]
    assert names <= set(seen) and len(seen) == len(set(seen)) and all(len(page["items"]) <= 3 for page in pages)
    out = lab.lath.aws("vpc-lattice", "list-service-networks", "--max-items", "2")
    assert len(out["items"]) == 2 and out["NextToken"]


def test_strict_mode_keeps_awss_quotas(lab):
    service, _ = lab.service()
    listener = lab.listener(service, port=80)
    lab.listener(service, port=81)
    assert refusal(lab.listener, service=service, port=82) == QUOTA
    for n in range(1, 11):
        lab.rule(service, listener, n, {"method": "GET"}, fixed(404))
    assert refusal(lab.rule, service=service, listener=listener, priority=11, match={"method": "GET"}, action=fixed(404)) == QUOTA
    try:
        lab.listener(service, port=83)
    except ClientError as error:
        assert {"quotaCode", "serviceCode", "resourceType"} <= set(error.response), error.response


@pytest.mark.root
def test_target_groups_and_targets(lab):
    vpc, _, _ = lab.vpc("10.42.0.0/16", "10.42.1.0/24")
    group = lab.targets(vpc, port=8080, check={"enabled": True, "path": "/health"})
    shown = lab.lattice.get_target_group(targetGroupIdentifier=group)
    check = shown["config"]["healthCheck"]
    assert (check["healthCheckIntervalSeconds"], check["healthCheckTimeoutSeconds"], check["healthyThresholdCount"],
            check["unhealthyThresholdCount"], check["matcher"]) == (30, 5, 5, 2, {"httpCode": "200"})
    out = lab.lattice.register_targets(targetGroupIdentifier=group, targets=[
        {"id": "10.42.1.9"}, {"id": "10.42.1.9", "port": 9}, {"id": "10.99.0.1"}, {"id": "not-an-address"}])
    assert [(t["id"], t["port"]) for t in out["successful"]] == [("10.42.1.9", 8080), ("10.42.1.9", 9)]
    assert len(out["unsuccessful"]) == 2 and all(t["failureCode"] and t["failureMessage"] for t in out["unsuccessful"])
    # No listener uses the group.
    assert lab.health(group) == {("10.42.1.9", 8080): "UNUSED", ("10.42.1.9", 9): "UNUSED"}
    filtered = lab.lattice.list_targets(targetGroupIdentifier=group, targets=[{"id": "10.42.1.9", "port": 9}])["items"]
    assert [t["port"] for t in filtered] == [9]
    listed = lab.lattice.list_target_groups(vpcIdentifier=vpc, targetGroupType="IP")["items"]
    assert [g["id"] for g in listed] == [group]
    updated = lab.lattice.update_target_group(targetGroupIdentifier=group, healthCheck={"enabled": True, "path": "/other", "port": 9})
    assert updated["config"]["healthCheck"]["path"] == "/other" and updated["config"]["healthCheck"]["port"] == 9


def test_access_log_subscriptions(lab):
    name, network = unique("/lattice/log"), lab.network()
    lab.logs.create_log_group(logGroupName=name)
    lab.later(lab.logs.delete_log_group, logGroupName=name)
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{name}:*"
    made = lab.lattice.create_access_log_subscription(resourceIdentifier=network, destinationArn=arn)
    lab.later(lab.lattice.delete_access_log_subscription, accessLogSubscriptionIdentifier=made["id"])
    assert made["resourceId"] == network and made["destinationArn"] == arn
    assert refusal(lab.lattice.create_access_log_subscription, resourceIdentifier=network, destinationArn=arn) == CONFLICT
    listed = lab.lattice.list_access_log_subscriptions(resourceIdentifier=network)["items"]
    assert [one["id"] for one in listed] == [made["id"]]
    lab.lattice.delete_access_log_subscription(accessLogSubscriptionIdentifier=made["arn"])
    assert refusal(lab.lattice.get_access_log_subscription, accessLogSubscriptionIdentifier=made["id"]) == MISSING


@pytest.mark.root
def test_states_are_seen_on_the_way(lab):
    """What is answered is what is so: in progress first, then the truth."""
    vpc, _, _ = lab.vpc("10.43.0.0/16", "10.43.1.0/24")
    network = lab.network()
    made = lab.lattice.create_service_network_vpc_association(serviceNetworkIdentifier=network, vpcIdentifier=vpc)
    assert made["status"] == "CREATE_IN_PROGRESS"
    lab.later(lab._vpc_dissociated, association=made["id"])
    lab.until_association(made["id"])
    gone = lab.lattice.delete_service_network_vpc_association(serviceNetworkVpcAssociationIdentifier=made["id"])
    assert gone["status"] == "DELETE_IN_PROGRESS"
    get = lab.lattice.get_service_network_vpc_association
    wait_for("its end", lambda: _absent(get, serviceNetworkVpcAssociationIdentifier=made["id"]))


def _absent(get, **arguments):
    try:
        return get(**arguments)["status"] not in ("DELETE_IN_PROGRESS", "ACTIVE") and None
    except ClientError as error:
        return code_of(error) == "ResourceNotFoundException"
