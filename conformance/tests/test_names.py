"""Route 53 as clients see it: private zones in instances of two regions, every routing policy over the wire, and what
health does to answers."""

import subprocess
from collections import Counter

import pytest
from lathlab import Lath, wait_for
from lathlab.lab import unique
from lathlab.world import World

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]

TLS_SERVER = """#!/bin/bash
mkdir -p /srv/tls && cd /srv/tls
openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 -subj /CN=secure.names.test 2>/dev/null
cat >serve.py <<'END'
import http.server, ssl
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"all is well"
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("0.0.0.0", 443), Page)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("cert", "key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
END
setsid python3 serve.py >/dev/null 2>&1 </dev/null &
"""


class Names:
    """A public zone, and what is asked of it."""

    def __init__(self, lath):
        self.lath, self.world = lath, World(lath)
        self.route53 = self.world.client("route53", EAST)
        self.east, self.west = (self.world.place(region) for region in REGIONS)
        self.server = self.east.launch("tls", TLS_SERVER)
        self.clients = {EAST: self.server, WEST: self.west.launch("client")}
        self.zone = self.make_zone("names.test")

    def make_zone(self, name, **more):
        return self.route53.create_hosted_zone(Name=name, CallerReference=unique("zone"), **more)["HostedZone"]["Id"]

    def put(self, *sets, zone=None, action="UPSERT"):
        """Changes record sets and waits until they are served."""
        made = self.route53.change_resource_record_sets(HostedZoneId=zone or self.zone, ChangeBatch={"Changes": [
            {"Action": action, "ResourceRecordSet": it} for it in sets]})["ChangeInfo"]
        self.in_sync(made)

    def in_sync(self, change):
        wait_for("the change to be in sync", lambda: self.route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "INSYNC")

    def check(self, **config):
        """A check that is made twice a second."""
        endpoint = {} if config["Type"] == "CALCULATED" else {"RequestInterval": 10, "FailureThreshold": 1}
        made = self.route53.create_health_check(
            CallerReference=unique("check"), HealthCheckConfig=endpoint | config)["HealthCheck"]["Id"]
        if endpoint:
            self.route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=made, AddTags=[
                {"Key": "lath:request-interval-ms", "Value": "500"}])
        return made

    def dig(self, *words, region=EAST):
        address, port = self.lath.dns(region)
        run = subprocess.run(["dig", f"@{address}", "-p", str(port), "+time=5", "+tries=2", *words],
                             capture_output=True, text=True)
        return run.stdout

    def answer(self, name, kind="A", *words, region=EAST):
        return set(self.dig("+short", f"{name}.names.test", kind, *words, region=region).splitlines())

    def tested(self, name, kind="A", **more):
        """What TestDNSAnswer says."""
        said = self.route53.test_dns_answer(
            HostedZoneId=self.zone, RecordName=f"{name}.names.test", RecordType=kind, **more)
        assert said["Protocol"] == "UDP"
        return said["ResponseCode"], set(said["RecordData"])

    def inside(self, region, *command):
        run = self.lath.exec(self.clients[region]["id"], *command, check=False)
        return run.stdout.splitlines()

    def resolved(self, region, name):
        """What a program in the region's instance finds by its stub resolver."""
        return {line.split()[0] for line in self.inside(region, "getent", "ahostsv4", name)}


@pytest.fixture(scope="module")
def names():
    with Lath("--extended", regions=REGIONS) as lath:
        yield Names(lath)
        assert "panicked at" not in lath.log.read_text(errors="replace")


def record(name, *values, kind="A", ttl=1, **more):
    return {"Name": f"{name}.names.test", "Type": kind, "TTL": ttl,
            "ResourceRecords": [{"Value": value} for value in values], **more}


def test_a_private_zone_is_answered_in_its_vpcs_of_both_regions_only(names):
    vpc = {place.region: {"VPCRegion": place.region, "VPCId": place.vpc} for place in (names.east, names.west)}
    zone = names.make_zone("corp.internal", VPC=vpc[EAST])
    for place in names.east, names.west:  # AWS demands it of VPCs with private zones
        place.ec2.modify_vpc_attribute(VpcId=place.vpc, EnableDnsHostnames={"Value": True})
    names.put({**record("x", "10.1.9.9"), "Name": "db.corp.internal"},
              {**record("x", "10.1.9.8"), "Name": "*.corp.internal"}, zone=zone)
    wait_for("the own region", lambda: names.resolved(EAST, "db.corp.internal") == {"10.1.9.9"})
    assert names.resolved(WEST, "db.corp.internal") == set(), "not associated"

    names.in_sync(names.route53.associate_vpc_with_hosted_zone(HostedZoneId=zone, VPC=vpc[WEST])["ChangeInfo"])
    for region in REGIONS:
        wait_for(f"an answer in {region}", lambda: names.resolved(region, "db.corp.internal") == {"10.1.9.9"})
        assert names.inside(region, "dig", "+short", "db.corp.internal") == ["10.1.9.9"]
        assert names.inside(region, "dig", "+short", "any.thing.corp.internal") == ["10.1.9.8"]
        assert "REFUSED" in names.dig("db.corp.internal", region=region), "the world does not see it"

    names.in_sync(names.route53.disassociate_vpc_from_hosted_zone(HostedZoneId=zone, VPC=vpc[WEST])["ChangeInfo"])
    wait_for("the name to go", lambda: names.resolved(WEST, "db.corp.internal") == set())
    assert names.resolved(EAST, "db.corp.internal") == {"10.1.9.9"}


def test_weights_share_answers_by_their_size(names):
    names.put(*(record("shares", f"192.0.2.{weight}", SetIdentifier=str(weight), Weight=weight) for weight in (0, 1, 3)))
    asked = 400
    words = ["shares.names.test", "A", "+short"] * asked
    seen = Counter(names.dig(*words).split())
    # A fair coin of 3/4 strays this far once in ten million times.
    assert seen["192.0.2.0"] == 0 and 250 < seen["192.0.2.3"] < 350 and sum(seen.values()) == asked, seen


def test_clients_get_what_is_nearest_and_what_is_meant_for_their_place(names):
    names.put(
        *(record("near", f"192.0.2.{n}", SetIdentifier=region, Region=region) for n, region in enumerate(REGIONS)),
        record("place", "192.0.2.10", SetIdentifier="virginia", GeoLocation={"CountryCode": "US", "SubdivisionCode": "VA"}),
        record("place", "192.0.2.11", SetIdentifier="world", GeoLocation={"CountryCode": "*"}))
    for n, region in enumerate(REGIONS):
        assert names.answer("near", region=region) == {f"192.0.2.{n}"}
        assert names.answer("place", region=region) == {f"192.0.2.{10 + n}"}
        wait_for("an instance", lambda: names.resolved(region, "near.names.test") == {f"192.0.2.{n}"})
        # The other region's public addresses, by client subnet, at whichever server is asked.
        for other, block in enumerate(place_of(names, it) for it in REGIONS):
            assert names.answer("near", "A", f"+subnet={block}", region=region) == {f"192.0.2.{other}"}
            said = names.tested("place", EDNS0ClientSubnetIP=block.split("/")[0], EDNS0ClientSubnetMask="24")
            assert said == ("NOERROR", {f"192.0.2.{10 + other}"})


def place_of(names, region):
    return names.clients[region]["public"].rsplit(".", 1)[0] + ".0/24"


def test_multivalue_answers_up_to_eight_that_are_well(names):
    ill = names.check(Type="TCP", IPAddress=names.server["public"], Port=9)
    names.put(*(record("many", f"192.0.2.{n}", SetIdentifier=str(n), MultiValueAnswer=True) for n in range(10, 19)),
              record("many", "192.0.2.99", SetIdentifier="ill", MultiValueAnswer=True, HealthCheckId=ill))
    whole = {f"192.0.2.{n}" for n in range(10, 19)}

    def eight():
        answers = [names.answer("many") for _ in range(20)]
        return all(len(it) == 8 and it <= whole for it in answers)
    wait_for("only those that are well", eight)
    code, said = names.tested("many")
    assert code == "NOERROR" and len(said) == 8 and said <= whole


def test_an_alias_to_a_lattice_name_is_answered_in_the_vpc(names):
    group = names.world.target_group(names.east, [names.server])["arn"]
    service = names.world.service(names.east, [group])
    entry = names.east.lattice.get_service(serviceIdentifier=service["id"])["dnsEntry"]
    names.put({"Name": "shop.names.test", "Type": "A", "AliasTarget": {
        "HostedZoneId": entry["hostedZoneId"], "DNSName": entry["domainName"], "EvaluateTargetHealth": False}})
    direct = wait_for("the service's name", lambda: names.resolved(EAST, entry["domainName"]))
    wait_for("the alias", lambda: names.resolved(EAST, "shop.names.test") == direct)


def test_calculated_inverted_and_disabled_checks_change_answers(names):
    server = {"Type": "HTTPS_STR_MATCH", "IPAddress": names.server["public"], "Port": 443, "ResourcePath": "/"}
    well = names.check(**server, SearchString="all is well")
    other = names.check(**server, SearchString="something else")
    plain = names.check(**(server | {"Type": "HTTPS"}))
    both = names.check(Type="CALCULATED", HealthThreshold=2, ChildHealthChecks=[well, other])
    names.put(*(record(name, value, SetIdentifier=role, Failover=role, **more)
                for name, check in (("match", well), ("miss", other), ("plain", plain), ("both", both))
                for role, value, more in (("PRIMARY", "192.0.2.1", {"HealthCheckId": check}), ("SECONDARY", "192.0.2.2", {}))))

    def settle(**want):
        for name, last in want.items():
            for region in REGIONS:
                wait_for(f"{name} in {region}", lambda: names.answer(name, region=region) == {f"192.0.2.{last}"})
            wait_for(f"the test of {name}", lambda: names.tested(name) == ("NOERROR", {f"192.0.2.{last}"}))

    update = names.route53.update_health_check
    settle(match=1, miss=2, plain=1, both=2)
    reason = names.route53.get_health_check_last_failure_reason(HealthCheckId=other)["HealthCheckObservations"]
    assert reason and all("Failure" in it["StatusReport"]["Status"] for it in reason)
    update(HealthCheckId=other, Inverted=True)
    settle(miss=1, both=1)
    update(HealthCheckId=other, Inverted=False)
    settle(miss=2, both=2)
    update(HealthCheckId=both, HealthThreshold=1)
    settle(both=1)
    # A check that is not made counts as healthy.
    update(HealthCheckId=other, Disabled=True)
    settle(miss=1)
    update(HealthCheckId=plain, Inverted=True, Disabled=False)
    settle(plain=2)


def test_large_answers_are_cut_short_by_udp_and_whole_by_tcp(names):
    texts = [f'"{n:03d}{"x" * 200}"' for n in range(40)]
    names.put(record("large", *texts, kind="TXT"))
    cut = names.dig("large.names.test", "TXT", "+notcp", "+ignore")
    assert " tc" in cut.split("flags:")[1].split(";")[0] and "Truncated" not in cut
    assert names.answer("large", "TXT") == set(texts), "dig asks again by TCP"
    assert names.answer("large", "TXT", "+tcp") == set(texts)


def test_wildcards_and_absence(names):
    names.put(record("*.wild", "192.0.2.5"), record("named.wild", '"only text"', kind="TXT"))
    assert names.answer("any.thing.wild") == {"192.0.2.5"}
    assert names.answer("named.wild") == set(), "a name that exists is not a wildcard's"
    assert "status: NOERROR" in names.dig("named.wild.names.test", "A")
    assert "status: NXDOMAIN" in names.dig("nothing.names.test", "A")
    assert "status: REFUSED" in names.dig("elsewhere.test", "A")
    assert names.tested("any.thing.wild") == ("NOERROR", {"192.0.2.5"})
    assert names.tested("nothing") == ("NXDOMAIN", set())
