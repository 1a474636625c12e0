"""Throughput between VPCs by iperf3, and the machine's CPU time per gigabyte: through one Transit Gateway, through two that
are peered across regions (encrypted), and over a bare veth between two namespaces, in turn.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys

from lathlab import Lath, wait_for
from lathlab.world import World

SECONDS = int(os.environ.get("SECONDS_EACH", "8"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
TICK = os.sysconf("SC_CLK_TCK")
REGIONS = ["us-east-1", "us-west-2"]


def busy():
    """Seconds of CPU that the machine has spent at work."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _wait, irq, soft, *_ = map(int, stat.readline().split()[1:])
    return (user + nice + system + irq + soft) / TICK


def measured(client, server, address):
    """One run: (gigabits per second, CPU seconds per gigabyte). Both are commands that run one inside."""
    listening = subprocess.Popen([*server, "iperf3", "-s", "-1", "-p", "5201", "--forceflush"], stdout=subprocess.PIPE, text=True)
    try:
        if not any("listening" in line for line in listening.stdout):
            raise SystemExit("iperf3 does not listen")
        before = busy()
        run = subprocess.run([*client, "iperf3", "-J", "-c", address, "-p", "5201", "-t", str(SECONDS)],
                             capture_output=True, text=True, timeout=SECONDS + 60)
        spent = busy() - before
        if run.returncode != 0:
            raise SystemExit(f"iperf3 to {address}: {run.stdout[-500:]}{run.stderr[-500:]}")
        received = json.loads(run.stdout)["end"]["sum_received"]
        return received["bits_per_second"] / 1e9, spent / (received["bytes"] / 1e9)
    finally:
        listening.terminate()
        listening.wait()


@contextlib.contextmanager
def bare_veth():
    """Two namespaces joined by a veth; gives commands that run one inside each."""
    names = [f"lath-bench-{os.getpid()}-{n}" for n in range(2)]
    ip = lambda *words: subprocess.run(["ip", *words], check=True)
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "v0", "mtu", "8500", "netns", names[0], "type", "veth", "peer", "v1", "mtu", "8500", "netns", names[1])
        for n, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.255.0.{n + 1}/24", "dev", f"v{n}")
            ip("-n", name, "link", "set", f"v{n}", "up")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def transit():
    """Prints the table."""
    with Lath(regions=REGIONS) as lath, bare_veth() as (near, far):
        world = World(lath)
        east, west = (world.place(region) for region in REGIONS)
        world.peer(east, west)
        client, server = east.launch("client"), west.launch("server")
        local = second_vpc(world, east)
        within = lambda instance: [os.environ["LATH_BIN"], "exec", "--data-dir", str(lath.data), instance["id"], "--"]
        paths = {
            "veth": (near, far, "10.255.0.2"),
            "one gateway": (within(client), within(local), local["private"]),
            "peered": (within(client), within(server), server["private"]),
        }
        rounds = {name: [] for name in paths}
        for _ in range(ROUNDS):
            for name, (one, other, address) in paths.items():
                rounds[name].append(measured(one, other, address))
    base = statistics.median(rate for rate, _ in rounds["veth"])
    print(f"{'path':<14}{'Gbit/s':>8}{'of veth':>9}{'CPU s/GB':>10}   (medians of {ROUNDS} runs of {SECONDS} s, one TCP stream)")
    for name, seen in rounds.items():
        rate, cost = (statistics.median(values) for values in zip(*seen))
        print(f"{name:<14}{rate:>8.2f}{rate / base:>9.2f}{cost:>10.2f}")


def second_vpc(world, place):
    """A server in another VPC of the same region, attached to the same gateway."""
    from lathlab.world import Place
    other = Place(world, place.region, 9)
    other.gateway = place.gateway
    attachment = place.ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=place.gateway, VpcId=other.vpc, SubnetIds=other.subnets)["TransitGatewayVpcAttachment"]
    attachment = attachment["TransitGatewayAttachmentId"]
    wait_for("a VPC attachment", lambda: place.ec2.describe_transit_gateway_vpc_attachments(
        TransitGatewayAttachmentIds=[attachment])["TransitGatewayVpcAttachments"][0]["State"] == "available")
    for one, far in (place, other), (other, place):
        one.ec2.create_route(RouteTableId=one.table, DestinationCidrBlock=f"{far.net}.0.0/16", TransitGatewayId=place.gateway)
    return other.launch("local-server")


if __name__ == "__main__":
    sys.exit("run this with ./x bench transit")
