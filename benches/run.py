#!/usr/bin/env python3
"""Measures Lath from outside; run it with ./x bench.

  ./x bench [convergence] [startup] [proxy] [memory] [tls] [transit] [dns] [scale]     (default: all but scale)

convergence  time from the API's answer to the first request that shows its effect, for a new rule and a new
             target; a client inside a VPC asks without pause meanwhile
startup      from process start to the first API answer, with an empty state and with 100 VPCs; idle memory
proxy        requests per second and CPU per request beside nginx and HAProxy (benches/proxy/README.md)
memory       bytes of idle connections, and what clients that do not read cost, beside nginx and HAProxy
tls          memory of idle connections under TLS and CPU of handshakes beside nginx and HAProxy; CPU of a signature and a
             policy's decision
transit      throughput and CPU per gigabyte through Transit Gateways, plain and peered, beside a bare veth
scale        what a change, a page and a start cost the control plane at 10, 1,000 and 10,000 objects (half an hour)
dns          answers per second and CPU per answer beside NSD and Knot

Prints medians; nothing here is a test.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))

from lathlab import Lath, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "30"))

# Runs inside an instance: asks without pause until the answer is 200, then prints when that was. The
# monotonic clock is the machine's, the same in every namespace.
CLIENT = """
import http.client, sys, time
host, path = sys.argv[1:3]
connection = http.client.HTTPConnection(host, timeout=5)
connection.request("GET", path); connection.getresponse().read()
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        if reply.status == 200:
            print(time.monotonic(), flush=True)
            break
    except (OSError, http.client.HTTPException):
        connection.close()
"""

SERVER = """#!/bin/bash
mkdir -p /srv/www && cd /srv/www && echo ok > index.html && echo ok > health
for n in $(seq 0 999); do echo ok > rule-$n; done
nohup python3 -m http.server 9090 >/dev/null 2>&1 &
"""


def spread(values, unit="ms", scale=1000):
    values = sorted(v * scale for v in values)
    at = lambda share: values[min(len(values) - 1, int(len(values) * share))]
    return f"p50 {at(.5):.2f} {unit}, p99 {at(.99):.2f} {unit}, max {values[-1]:.2f} {unit} ({len(values)} rounds)"


class Bed:
    """Two VPCs, a client instance in one and a server instance in the other, one service."""

    def __init__(self, lath):
        self.lath = lath
        ec2, lattice = lath.client("ec2"), lath.client("vpc-lattice")
        self.lattice = lattice
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        lists = ec2.describe_managed_prefix_lists(Filters=[
            {"Name": "prefix-list-name", "Values": [f"com.amazonaws.{lath.region}.vpc-lattice"]}])
        prefix_list = lists["PrefixLists"][0]["PrefixListId"]
        self.instances, self.vpcs, self.addresses = [], [], []
        for n in range(2):
            vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
            subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
            group = ec2.create_security_group(GroupName="bench", Description="bench", VpcId=vpc)["GroupId"]
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
                {"IpProtocol": "tcp", "FromPort": 9090, "ToPort": 9099, "PrefixListIds": [{"PrefixListId": prefix_list}]}])
            instance = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnet,
                                         SecurityGroupIds=[group], UserData=SERVER if n else "")["Instances"][0]
            self.instances.append(instance["InstanceId"])
            self.addresses.append(instance["PrivateIpAddress"])
            self.vpcs.append(vpc)
        ec2.get_waiter("instance_running").wait(InstanceIds=self.instances, WaiterConfig={"Delay": 1})
        network = lattice.create_service_network(name="bench")["id"]
        lattice.create_service_network_vpc_association(serviceNetworkIdentifier=network, vpcIdentifier=self.vpcs[0])
        self.group = self.new_group("bench-main")
        lattice.register_targets(targetGroupIdentifier=self.group, targets=[{"id": self.addresses[1], "port": 9090}])
        service = lattice.create_service(name="bench")
        self.service, self.name = service["id"], service["dnsEntry"]["domainName"]
        self.active(lambda: lattice.get_service(serviceIdentifier=self.service))
        self.listener = lattice.create_listener(
            serviceIdentifier=self.service, name="bench", protocol="HTTP", port=80,
            defaultAction={"fixedResponse": {"statusCode": 404}})["id"]
        link = lattice.create_service_network_service_association(
            serviceNetworkIdentifier=network, serviceIdentifier=self.service)["id"]
        self.active(lambda: lattice.get_service_network_service_association(
            serviceNetworkServiceAssociationIdentifier=link))

    def active(self, get):
        wait_for("ACTIVE", lambda: get()["status"] == "ACTIVE", pause=0.02)

    def new_group(self, name):
        group = self.lattice.create_target_group(name=name, type="IP", config={
            "protocol": "HTTP", "port": 9090, "vpcIdentifier": self.vpcs[1],
            "healthCheck": {"enabled": True, "path": "/health", "healthCheckIntervalSeconds": 5}})["id"]
        self.active(lambda: self.lattice.get_target_group(targetGroupIdentifier=group))
        return group

    def client(self, path):
        command = [os.environ["LATH_BIN"], "exec", "--data-dir", str(self.lath.data), self.instances[0], "--",
                   "python3", "-c", CLIENT, self.name, path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline().strip() == "ready", self.lath.tail()
        time.sleep(0.05)
        return process

    def measure(self, path, change):
        """Seconds from the change's answer until the first 200; below zero when it came before the answer."""
        process = self.client(path)
        change()
        answered = time.monotonic()
        seen = float(process.stdout.readline())
        process.wait()
        return seen - answered

    def new_rule(self, n):
        path = f"/rule-{n}"
        rule = {}

        def change():
            rule.update(self.lattice.create_rule(
                serviceIdentifier=self.service, listenerIdentifier=self.listener, name=f"bench-{n}", priority=1,
                match={"httpMatch": {"pathMatch": {"match": {"exact": path}}}},
                action={"forward": {"targetGroups": [{"targetGroupIdentifier": self.group}]}}))

        taken = self.measure(path, change)
        self.lattice.delete_rule(serviceIdentifier=self.service, listenerIdentifier=self.listener, ruleIdentifier=rule["id"])
        return taken

    def new_target(self, n, group):
        target = [{"id": self.addresses[1], "port": 9090}]
        taken = self.measure("/index.html", lambda: self.lattice.register_targets(
            targetGroupIdentifier=group, targets=target))
        self.lattice.deregister_targets(targetGroupIdentifier=group, targets=target)
        wait_for("the target to be gone", lambda: not self.lattice.list_targets(targetGroupIdentifier=group)["items"])
        return taken


def convergence():
    with Lath() as lath:
        bed = Bed(lath)
        rules = [bed.new_rule(n) for n in range(ROUNDS)]
        print("API answer -> first request by a new rule:  ", spread(rules), flush=True)
        group = bed.new_group("bench-empty")
        bed.lattice.create_rule(
            serviceIdentifier=bed.service, listenerIdentifier=bed.listener, name="empty", priority=2,
            match={"httpMatch": {"pathMatch": {"match": {"exact": "/index.html"}}}},
            action={"forward": {"targetGroups": [{"targetGroupIdentifier": group}]}})
        targets = [bed.new_target(n, group) for n in range(ROUNDS)]
        print("API answer -> first request to a new target:", spread(targets), flush=True)


def resident(lath):
    with open(f"/proc/{lath.process.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) / 1024


def startup():
    lath = Lath("--extended")  # AWS allows five VPCs
    wait = lambda: wait_for("an answer", lath.answers, pause=0.001)

    def start():
        began = time.monotonic()
        lath.start()
        return time.monotonic() - began

    try:
        times = []
        for _ in range(5):
            times.append(start())
            time.sleep(0.3)
            held = resident(lath)
            lath.stop()
        print(f"start -> API answers, empty: {statistics.median(times) * 1000:.0f} ms; idle memory {held:.0f} MiB")
        lath.start()
        ec2 = lath.client("ec2")
        for n in range(100):
            ec2.create_vpc(CidrBlock="10.0.0.0/16")
        wait_for("100 VPCs", lambda: all(v["State"] == "available" for v in ec2.describe_vpcs()["Vpcs"]))
        held = resident(lath)
        lath.stop()
        again = start()
        began = time.monotonic()
        wait_for("100 VPCs to be ready", lambda: sum(v["state"] == "ready" for v in lath.status()["vpcs"]) == 100, pause=0.02)
        print(f"with 100 VPCs: API answers after {again * 1000:.0f} ms, all of them work "
              f"{(time.monotonic() - began) * 1000:.0f} ms later; memory {held:.0f} MiB")
        wait()
    finally:
        lath.stop()
        subprocess.run(["rm", "-rf", str(lath.directory)], check=True)


def proxy():
    target = pathlib.Path(os.environ["CARGO_TARGET_DIR"])
    subprocess.run(["cargo", "build", "--locked", "--release", "-p", "lath-proxy", "--example", "bench_proxy"],
                   cwd=ROOT, check=True)
    process = subprocess.Popen([target / "release" / "examples" / "bench_proxy"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        kit = ROOT / "benches" / "proxy" / "bench.py"
        scenarios = os.environ.get("SCENARIOS", "h1-128,h1-64k,rate,h2-128,grpc,tls-128,tls-h2,tls-conn,tls-resume,conn")
        subprocess.run([sys.executable, str(kit), "--only", scenarios, f"lath,9001,{process.pid},h2=9002,tls=9003,resume=9003,grpc=9005"], check=True)
    finally:
        process.terminate()
        process.wait()


def main():
    from memory import memory
    from scale import scale
    from tls import tls
    from names import names
    from transit import transit
    parts = {"convergence": convergence, "startup": startup, "proxy": proxy, "memory": memory, "tls": tls, "transit": transit, "dns": names, "scale": scale}
    chosen = sys.argv[1:] or [name for name in parts if name != "scale"]
    for name in chosen:
        if name not in parts:
            raise SystemExit(__doc__)
    with open("/proc/loadavg") as load:
        print(f"# {os.cpu_count()} CPUs, load {load.read().split()[0]} before, {json.dumps(chosen)}")
    for name in chosen:
        print(f"\n== {name}", flush=True)
        parts[name]()


if __name__ == "__main__":
    main()
