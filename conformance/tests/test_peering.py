"""Packets between regions: only while the tables say so, through an encrypted peering that outlives its processes."""

import hashlib
import os
import signal

import pytest
from lathlab import Lath, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

REGIONS = ["us-east-1", "us-west-2"]


@pytest.fixture(scope="module")
def lath():
    with Lath(regions=REGIONS) as lath:
        yield lath


@pytest.fixture(scope="module")
def joined(lath):
    """Two places that are peered, a client in the first and a server in the second."""
    world = World(lath)
    east, west = (world.place(region) for region in REGIONS)
    peering = world.peer(east, west)
    return world, east, west, peering, east.launch("client"), west.server("far")


def pings(world, instance, address):
    run = world.lath.exec(instance["id"], "ping", "-c", "1", "-W", "2", address, check=False)
    return run.returncode == 0


def reaches(world, client, server):
    answer = world.call(client, f"http://{server['private']}/")
    return pings(world, client, server["private"]) and answer is not None and answer["name"] == server["name"]


def test_ping_and_tcp_cross_the_regions_only_while_the_routes_exist(joined):
    world, east, west, peering, client, server = joined
    wait_for("the other region", lambda: reaches(world, client, server))
    far = f"{west.net}.0.0/16"
    # Without the VPC's route, without the gateway's, with a black hole: each alone stops everything.
    east.ec2.delete_route(RouteTableId=east.table, DestinationCidrBlock=far)
    wait_for("silence", lambda: not pings(world, client, server["private"]))
    assert world.call(client, f"http://{server['private']}/") is None
    east.ec2.create_route(RouteTableId=east.table, DestinationCidrBlock=far, TransitGatewayId=east.gateway)
    wait_for("the other region", lambda: reaches(world, client, server))
    route = {"TransitGatewayRouteTableId": east.gateway_table, "DestinationCidrBlock": far}
    east.ec2.delete_transit_gateway_route(**route)
    wait_for("silence", lambda: not pings(world, client, server["private"]))
    east.ec2.create_transit_gateway_route(Blackhole=True, **route)
    assert not pings(world, client, server["private"])
    east.ec2.replace_transit_gateway_route(TransitGatewayAttachmentId=peering, **route)
    wait_for("the other region", lambda: reaches(world, client, server))
    # A more specific black hole for the server's own address beats the way to its network.
    narrow = {"TransitGatewayRouteTableId": east.gateway_table, "DestinationCidrBlock": f"{server['private']}/32"}
    east.ec2.create_transit_gateway_route(Blackhole=True, **narrow)
    wait_for("silence", lambda: not pings(world, client, server["private"]))
    east.ec2.delete_transit_gateway_route(**narrow)
    wait_for("the other region", lambda: reaches(world, client, server))


def test_large_packets_and_transfers_fit_through_the_tunnel(joined):
    world, east, west, peering, client, server = joined
    wait_for("the other region", lambda: reaches(world, client, server))
    run = world.lath.exec(client["id"], "bash", "-c",
                          f"curl -sS --max-time 60 http://{server['private']}/big/50000000 | sha256sum", check=False)
    assert run.stdout.split()[0] == hashlib.sha256(b"x" * 50_000_000).hexdigest(), run.stderr
    # 8500 is the way's MTU: what must not be broken up and is larger does not arrive, what fits does.
    ping = lambda size: world.lath.exec(
        client["id"], "ping", "-c", "1", "-W", "5", "-M", "do", "-s", str(size), server["private"], check=False)
    assert ping(8500 - 28).returncode == 0
    assert ping(8500 - 27).returncode != 0


@pytest.mark.parametrize("victim", REGIONS)
def test_the_peering_comes_back_after_sigkill_of_either_sides_node(joined, victim):
    world, east, west, peering, client, server = joined
    wait_for("the other region", lambda: reaches(world, client, server))
    os.kill(world.lath.pid(victim, "node"), signal.SIGKILL)
    wait_for("the other region again", lambda: reaches(world, client, server))
    for place in east, west:
        wait_for("the peering's state", lambda place=place: place.peering_state(peering) == "available")


@pytest.mark.parametrize("victim", REGIONS)
def test_the_peering_carries_on_without_either_sides_control_plane(joined, victim):
    world, east, west, peering, client, server = joined
    wait_for("the other region", lambda: reaches(world, client, server))
    os.kill(world.lath.pid(victim, "control"), signal.SIGKILL)
    for _ in range(5):
        assert reaches(world, client, server)
    wait_for("the API again", lambda: east.peering_state(peering) == "available")
    wait_for("the API again", lambda: west.peering_state(peering) == "available")
