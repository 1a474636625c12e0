"""Route 53 as its clients use it: boto3, the aws CLI, its waiter. What is answered over the wire is tested elsewhere."""

import re

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import refusal, unique


@pytest.fixture
def route53(lath):
    return lath.client("route53")


@pytest.fixture
def zone(lab, route53):
    """(id, name) of a public zone, emptied and deleted when the test ends."""
    name = f"{unique('zone')}.example."
    made = route53.create_hosted_zone(Name=name, CallerReference=unique("ref"))
    id = made["HostedZone"]["Id"].rsplit("/")[-1]

    def remove():
        sets = route53.list_resource_record_sets(HostedZoneId=id)["ResourceRecordSets"]
        changes = [{"Action": "DELETE", "ResourceRecordSet": s} for s in sets if s["Type"] not in ("NS", "SOA") or s["Name"] != name]
        if changes:
            route53.change_resource_record_sets(HostedZoneId=id, ChangeBatch={"Changes": changes})
        route53.delete_hosted_zone(Id=id)

    lab.later(remove)
    return id, name


def record(action, name, value="192.0.2.1", kind="A", **more):
    return {"Action": action, "ResourceRecordSet": {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]} | more}


def change(route53, zone, *changes):
    return route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": list(changes)})["ChangeInfo"]


def test_a_zone_from_creation_to_deletion(route53):
    made = route53.create_hosted_zone(Name="Life.Example", CallerReference=unique("ref"), HostedZoneConfig={"Comment": "c & d"})
    id = made["HostedZone"]["Id"]
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert re.fullmatch(r"/hostedzone/Z[A-Z0-9]+", id)
    assert made["Location"] == f"https://route53.amazonaws.com/2013-04-01{id}"
    assert made["HostedZone"]["Name"] == "life.example." and made["HostedZone"]["ResourceRecordSetCount"] == 2
    assert made["ChangeInfo"]["Status"] == "PENDING" and made["ChangeInfo"]["SubmittedAt"].tzinfo
    servers = made["DelegationSet"]["NameServers"]
    assert len(servers) == 4 and all(re.fullmatch(r"ns-\d+\.awsdns-\d\d\.(com|net|org|co\.uk)", s) for s in servers)
    # The id with its prefix, as answers have it.
    got = route53.get_hosted_zone(Id=id)
    assert got["HostedZone"]["Config"] == {"Comment": "c & d", "PrivateZone": False}
    assert got["DelegationSet"]["NameServers"] == servers
    ns, soa = route53.list_resource_record_sets(HostedZoneId=id)["ResourceRecordSets"]
    assert (ns["Type"], ns["TTL"], soa["Type"], soa["TTL"]) == ("NS", 172800, "SOA", 900)
    assert soa["ResourceRecords"][0]["Value"] == f"{ns['ResourceRecords'][0]['Value']} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"
    assert route53.update_hosted_zone_comment(Id=id, Comment="new")["HostedZone"]["Config"]["Comment"] == "new"
    assert id in [z["Id"] for page in route53.get_paginator("list_hosted_zones").paginate(PaginationConfig={"PageSize": 1}) for z in page["HostedZones"]]
    assert route53.delete_hosted_zone(Id=id)["ChangeInfo"]["Status"] == "PENDING"
    assert refusal(route53.get_hosted_zone, Id=id) == ("NoSuchHostedZone", 404)


def test_changes_are_atomic_and_worded_as_aws_words_them(route53, zone):
    id, name = zone
    change(route53, id, record("CREATE", f"a.{name}"))
    with pytest.raises(ClientError) as error:
        change(route53, id, record("CREATE", f"b.{name}"), record("CREATE", f"a.{name}"), record("DELETE", f"c.{name}"))
    assert error.value.response["Error"]["Code"] == "InvalidChangeBatch"
    assert set(error.value.response["Error"]["Message"].strip("[]").split(", Tried")) == {
        f" to create resource record set [name='a.{name}', type='A'] but it already exists",
        f"Tried to delete resource record set [name='c.{name}', type='A'] but it was not found"}
    assert len(route53.list_resource_record_sets(HostedZoneId=id)["ResourceRecordSets"]) == 3


def test_records_of_every_type_are_listed_as_they_were_put(route53, zone):
    id, name = zone
    values = {
        "A": "192.0.2.1", "AAAA": "2001:db8::1", "CAA": '0 issue "ca.example.net"', "CNAME": "target.example.net",
        "DS": "123 4 5 1234abcd", "HTTPS": '1 . alpn="h2"', "MX": "10 mail.example.net",
        "NAPTR": '100 50 "u" "E2U+sip" "!^.*$!sip:a@example.com!" .', "NS": "ns.example.net", "PTR": "host.example.net",
        "SPF": '"v=spf1 -all"', "SRV": "1 10 5269 xmpp.example.net.", "SSHFP": "2 1 1234abcd", "SVCB": "1 svc.example.net port=443",
        "TLSA": "3 0 1 1234abcd", "TXT": '"<a> & \\"b\\""',
    }
    change(route53, id, *[record("CREATE", f"{kind.lower()}.{name}", value, kind) for kind, value in values.items()])
    listed = route53.list_resource_record_sets(HostedZoneId=id)["ResourceRecordSets"]
    got = {s["Type"]: s["ResourceRecords"][0]["Value"] for s in listed if s["Name"] != name}
    assert got == values
    names = [s["Name"] for page in route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=id, PaginationConfig={"PageSize": 5})
             for s in page["ResourceRecordSets"]]
    assert names == [s["Name"] for s in listed]


def test_policies_and_wildcards_come_back(route53, zone):
    id, name = zone
    sets = [{"Weight": 0}, {"Region": "us-east-1"}, {"Failover": "SECONDARY"}, {"GeoLocation": {"CountryCode": "US", "SubdivisionCode": "WA"}},
            {"MultiValueAnswer": True}, {"GeoProximityLocation": {"Coordinates": {"Latitude": "49.22", "Longitude": "-74.01"}, "Bias": -5}}]
    for n, policy in enumerate(sets):
        change(route53, id, record("CREATE", f"p{n}.{name}", SetIdentifier="one", **policy))
    change(route53, id, record("CREATE", f"*.{name}"))
    listed = {s["Name"]: s for s in route53.list_resource_record_sets(HostedZoneId=id)["ResourceRecordSets"]}
    for n, policy in enumerate(sets):
        assert policy.items() <= listed[f"p{n}.{name}"].items()
    assert rf"\052.{name}" in listed
    change(route53, id, {"Action": "CREATE", "ResourceRecordSet": {"Name": name, "Type": "A", "AliasTarget": {
        "HostedZoneId": id, "DNSName": f"p0.{name}", "EvaluateTargetHealth": True}}})


def test_the_cli_makes_what_a_failover_needs(lath, zone):
    """The calls of the recipe's step 13, and of its validation and clean-up."""
    id, name = zone

    def aws(*args):
        return lath.aws("route53", *args)

    checks = []
    for side in ("primary", "secondary"):
        made = aws("create-health-check", "--caller-reference", unique(side), "--health-check-config",
                   f"Type=HTTP,ResourcePath=/,FullyQualifiedDomainName={side}.example.net,Port=80,RequestInterval=30,FailureThreshold=3")
        checks.append(made["HealthCheck"]["Id"])
        config = aws("get-health-check", "--health-check-id", checks[-1])["HealthCheck"]["HealthCheckConfig"]
        assert [config[k] for k in ("Type", "ResourcePath", "Port", "RequestInterval", "FailureThreshold")] == ["HTTP", "/", 80, 30, 3]
        assert "HealthCheckObservations" in aws("get-health-check-status", "--health-check-id", checks[-1])
    changes = [record("CREATE", f"app.{name}", f"{side}.example.net", "CNAME", SetIdentifier=side, Failover=side.upper(), HealthCheckId=check)
               for side, check in zip(("primary", "secondary"), checks)]
    import json
    made = aws("change-resource-record-sets", "--hosted-zone-id", id, "--change-batch", json.dumps({"Changes": changes}))
    aws("wait", "resource-record-sets-changed", "--id", made["ChangeInfo"]["Id"])
    answer = aws("test-dns-answer", "--hosted-zone-id", id, "--record-name", f"app.{name}", "--record-type", "CNAME")
    assert answer["ResponseCode"] == "NOERROR" and answer["RecordData"][0].rstrip(".") in ("primary.example.net", "secondary.example.net")
    for c in changes:
        c["Action"] = "DELETE"
    aws("change-resource-record-sets", "--hosted-zone-id", id, "--change-batch", json.dumps({"Changes": changes}))
    for check in checks:
        aws("delete-health-check", "--health-check-id", check)


def test_a_change_gets_in_sync(route53, zone):
    id, name = zone
    made = change(route53, id, record("CREATE", f"a.{name}"))
    assert made["Status"] == "PENDING"
    wait_for("the change to be in sync", lambda: route53.get_change(Id=made["Id"])["ChangeInfo"]["Status"] == "INSYNC")
    answer = route53.test_dns_answer(HostedZoneId=id, RecordName=f"a.{name}", RecordType="A")
    assert (answer["ResponseCode"], answer["RecordData"], answer["Protocol"]) == ("NOERROR", ["192.0.2.1"], "UDP")
    nothing = route53.test_dns_answer(HostedZoneId=id, RecordName=f"b.{name}", RecordType="A")
    assert (nothing["ResponseCode"], nothing["RecordData"]) == ("NXDOMAIN", [])


def test_private_zones_belong_to_vpcs(lab, route53):
    (vpc, *_), (other, *_) = lab.vpc("10.246.0.0/16", "10.246.1.0/24"), lab.vpc("10.247.0.0/16", "10.247.1.0/24")
    seen = {"VPCRegion": "us-east-1", "VPCId": vpc}
    name = f"{unique('corp')}.internal."
    made = route53.create_hosted_zone(Name=name, CallerReference=unique("ref"), VPC=seen, HostedZoneConfig={"PrivateZone": True})
    id = made["HostedZone"]["Id"]
    lab.later(route53.delete_hosted_zone, Id=id)
    assert made["VPC"] == seen and made["HostedZone"]["Config"]["PrivateZone"]
    assert refusal(route53.create_hosted_zone, Name=name, CallerReference=unique("ref"), VPC=seen) == ("ConflictingDomainExists", 400)
    second = {"VPCRegion": "us-east-1", "VPCId": other}
    assert refusal(route53.disassociate_vpc_from_hosted_zone, HostedZoneId=id, VPC=seen) == ("LastVPCAssociation", 400)
    route53.associate_vpc_with_hosted_zone(HostedZoneId=id, VPC=second)
    assert sorted(v["VPCId"] for v in route53.get_hosted_zone(Id=id)["VPCs"]) == sorted([vpc, other])
    listed = route53.list_hosted_zones_by_vpc(VPCId=other, VPCRegion="us-east-1")["HostedZoneSummaries"]
    assert [z["Name"] for z in listed] == [name]
    route53.disassociate_vpc_from_hosted_zone(HostedZoneId=id, VPC=second)
    assert route53.get_hosted_zone_limit(HostedZoneId=id, Type="MAX_VPCS_ASSOCIATED_BY_ZONE")["Count"] == 1


def test_health_checks_are_updated_tagged_and_deleted(lab, route53):
    reference = unique("ref")
    config = {"Type": "HTTPS_STR_MATCH", "FullyQualifiedDomainName": "web.example.net", "SearchString": "ok", "RequestInterval": 10}
    made = route53.create_health_check(CallerReference=reference, HealthCheckConfig=config)
    id = made["HealthCheck"]["Id"]
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201 and made["Location"].endswith(f"/healthcheck/{id}")
    assert made["HealthCheck"]["HealthCheckConfig"] | config == made["HealthCheck"]["HealthCheckConfig"]
    assert (made["HealthCheck"]["HealthCheckVersion"], made["HealthCheck"]["HealthCheckConfig"]["Port"]) == (1, 443)
    assert route53.create_health_check(CallerReference=reference, HealthCheckConfig=config)["HealthCheck"]["Id"] == id
    updated = route53.update_health_check(HealthCheckId=id, HealthCheckVersion=1, Inverted=True)["HealthCheck"]
    assert updated["HealthCheckVersion"] == 2 and updated["HealthCheckConfig"]["Inverted"]
    assert refusal(route53.update_health_check, HealthCheckId=id, HealthCheckVersion=1) == ("HealthCheckVersionMismatch", 409)
    route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=id, AddTags=[{"Key": "Name", "Value": "web"}])
    assert route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=id)["ResourceTagSet"]["Tags"] == [{"Key": "Name", "Value": "web"}]
    parent = route53.create_health_check(CallerReference=unique("ref"), HealthCheckConfig={
        "Type": "CALCULATED", "HealthThreshold": 1, "ChildHealthChecks": [id]})["HealthCheck"]["Id"]
    assert refusal(route53.delete_health_check, HealthCheckId=id) == ("HealthCheckInUse", 400)
    route53.delete_health_check(HealthCheckId=parent)
    route53.delete_health_check(HealthCheckId=id)
    assert refusal(route53.create_health_check, CallerReference=reference, HealthCheckConfig=config) == ("HealthCheckAlreadyExists", 409)
    assert all(r.endswith("/32") for r in route53.get_checker_ip_ranges()["CheckerIpRanges"])


def test_places_blocks_limits_and_delegation_sets(lab, route53):
    assert route53.get_geo_location(CountryCode="DE")["GeoLocationDetails"]["CountryName"] == "Germany"
    assert len(route53.list_geo_locations(MaxItems="1000")["GeoLocationDetailsList"]) == 100
    collection = route53.create_cidr_collection(Name=unique("c"), CallerReference=unique("ref"))["Collection"]["Id"]
    route53.change_cidr_collection(Id=collection, CollectionVersion=1, Changes=[{"LocationName": "here", "Action": "PUT", "CidrList": ["10.0.0.0/8"]}])
    assert route53.list_cidr_blocks(CollectionId=collection)["CidrBlocks"] == [{"CidrBlock": "10.0.0.0/8", "LocationName": "here"}]
    assert route53.list_cidr_locations(CollectionId=collection)["CidrLocations"] == [{"LocationName": "here"}]
    assert refusal(route53.delete_cidr_collection, Id=collection) == ("CidrCollectionInUseException", 400)
    route53.change_cidr_collection(Id=collection, Changes=[{"LocationName": "here", "Action": "DELETE_IF_EXISTS", "CidrList": ["10.0.0.0/8"]}])
    route53.delete_cidr_collection(Id=collection)
    assert route53.get_account_limit(Type="MAX_HOSTED_ZONES_BY_OWNER")["Limit"]["Value"] == 500
    made = route53.create_reusable_delegation_set(CallerReference=unique("ref"))["DelegationSet"]
    got = route53.get_reusable_delegation_set(Id=made["Id"])["DelegationSet"]
    assert got["NameServers"] == made["NameServers"] and len(got["NameServers"]) == 4
    route53.delete_reusable_delegation_set(Id=made["Id"])
