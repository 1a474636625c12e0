"""Names and meshes that fail over between regions: by health, by majority, over the wire."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from lathlab import Lath, binary, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]


@pytest.fixture(scope="module")
def shop():
    """A server in each region, a client in the west, a failover name and a service that both answer."""
    with Lath("--extended", regions=REGIONS) as lath:
        world = World(lath)
        east, west = (world.place(region) for region in REGIONS)
        world.servers = {place.region: place.server(f"shop-{place.region}") for place in (east, west)}
        world.customer = west.launch("client")
        world.dns = world.failover_zone("shop.test", world.servers[EAST], world.servers[WEST], interval_ms=500)
        groups = [world.target_group(p, [world.servers[p.region]], interval_ms=500)["arn"] for p in (east, west)]
        world.service_name = world.service(west, groups)["name"]
        wait_for("both regions to answer through the mesh", lambda: {
            (world.call(world.customer, f"http://{world.service_name}/") or {}).get("name") for _ in range(8)}
            >= {f"shop-{EAST}", f"shop-{WEST}"})
        yield world


def resolved(world):
    """The addresses that a program in the client finds by its stub resolver."""
    run = world.lath.exec(world.customer["id"], "getent", "ahostsv4", world.dns["name"], check=False)
    return {line.split()[0] for line in run.stdout.splitlines()}


def dig(world, region, *words):
    """An answer of a region's authoritative server."""
    address, port = world.lath.dns(region)
    run = subprocess.run(["dig", f"@{address}", "-p", str(port), "+time=5", "+tries=2", *words], capture_output=True, text=True)
    return run.stdout


def answers(world, region, *words):
    return set(dig(world, region, "+short", world.dns["name"], "A", *words).split())


def drill(world, scenario, *words):
    run = subprocess.run([binary(), "drill", scenario, "--data-dir", str(world.lath.data), "--from", world.customer["id"],
                          "--output", "json", "--patience", "120s", *words], capture_output=True, text=True, timeout=400)
    assert run.returncode in (0, 3), f"{run.stderr}\n{world.lath.tail()}"
    return json.loads(run.stdout)


def all_is_well(world):
    primary = {world.servers[EAST]["public"]}
    wait_for("the primary's address everywhere", lambda: resolved(world) == primary
             and all(answers(world, region) == primary for region in REGIONS))


def test_every_region_answers_over_udp_and_tcp(shop):
    all_is_well(shop)
    for region in REGIONS:
        for words in [], ["+tcp"], ["+bufsize=512"], ["+noedns"], ["+dnssec"]:
            text = dig(shop, region, shop.dns["name"], "A", *words)
            assert "status: NOERROR" in text and " aa" in text and shop.servers[EAST]["public"] in text, text
        assert "status: NXDOMAIN" in dig(shop, region, "nothing.shop.test", "A")
        assert "status: REFUSED" in dig(shop, region, "shop.example", "A")
        assert "awsdns" in dig(shop, region, "+short", "shop.test", "SOA")


def test_a_silent_primary_is_replaced_and_comes_back(shop):
    all_is_well(shop)
    report = drill(shop, "blackhole-target", "--victim", shop.servers[EAST]["id"],
                   "--target", f"dns:{shop.dns['name']}", "--fault", "6s")
    assert report["repetitions"][0]["recovery_ns"] is not None, report["repetitions"]
    all_is_well(shop)


def test_when_both_are_unhealthy_the_primary_is_answered(shop):
    all_is_well(shop)
    with ThreadPoolExecutor() as aside:
        west = aside.submit(drill, shop, "blackhole-target", "--victim", shop.servers[WEST]["id"],
                            "--target", f"dns:{shop.dns['name']}", "--fault", "25s")
        route53 = shop.client("route53", EAST)
        seen = lambda n: route53.get_health_check_status(HealthCheckId=shop.dns["checks"][n])["HealthCheckObservations"]
        failing = lambda n: seen(n) and all(o["StatusReport"]["Status"].startswith("Failure") for o in seen(n))
        wait_for("the secondary to be unhealthy", lambda: failing(1))
        report = drill(shop, "blackhole-target", "--victim", shop.servers[EAST]["id"],
                       "--target", f"dns:{shop.dns['name']}", "--fault", "6s")
        # It never changed: there was nothing better.
        assert report["repetitions"][0]["recovery_ns"] is None, report["repetitions"]
        assert not west.done(), "the secondary was back too early for this to show anything"
        west.result()
    all_is_well(shop)


def test_a_region_that_is_cut_off_changes_nothing_by_itself(shop):
    all_is_well(shop)
    primary = {shop.servers[EAST]["public"]}
    seen = {region: set() for region in REGIONS}
    with ThreadPoolExecutor() as aside:
        cut = aside.submit(drill, shop, "partition-region", "--victim", WEST,
                           "--target", f"http://{shop.service_name}/", "--fault", "8s")
        while not cut.done():
            for region in REGIONS:
                seen[region] |= {frozenset(answers(shop, region))}
        assert cut.result()["repetitions"][0]["detection_ns"], "the links were not cut"
    # The west sees the primary fail, and has no majority; the east and the witness see it well.
    assert seen == {region: {frozenset(primary)} for region in REGIONS}


@pytest.mark.parametrize("target", ["name", "mesh"])
def test_a_region_that_loses_its_power_is_left_and_comes_back(shop, target):
    all_is_well(shop)
    url = f"http://{shop.dns['name'] if target == 'name' else shop.service_name}/"
    report = drill(shop, "kill-region", "--victim", EAST, "--target", url, "--fault", "10s")
    assert report["repetitions"][0]["recovery_ns"] is not None, report["repetitions"]
    all_is_well(shop)
    for region in REGIONS:
        wait_for(f"the API of {region}", lambda region=region: shop.client("ec2", region).describe_vpcs())


@pytest.mark.parametrize("victim", REGIONS)
def test_a_control_plane_that_dies_loses_no_request(shop, victim):
    all_is_well(shop)
    report = drill(shop, "kill-control-plane", "--victim", victim, "--target", f"http://{shop.service_name}/",
                   "--fault", "5s", "--rate", "100", "--timeout", "5s", "--late", "5s")
    assert report["repetitions"][0]["failed"] == 0, [s for s in report["seen"][0]["samples"] if s["error"]]


def test_a_node_process_that_dies_is_started_again(shop):
    all_is_well(shop)
    report = drill(shop, "kill-node-process", "--victim", WEST, "--target", f"http://{shop.service_name}/", "--fault", "10s")
    assert report["repetitions"][0]["recovery_ns"] is not None, report["repetitions"]
