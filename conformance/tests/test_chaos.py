"""Kills at random moments while things are made and deleted and packets flow: nothing acknowledged is lost,
nothing deleted comes back, what ran goes on, nothing is left in the end.

LATH_CHAOS_CYCLES: how many kills in all (60). LATH_CHAOS_SEED: which ones; a run prints its own.
"""

import itertools
import json
import os
import random
import signal
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from lathlab import Lath, host_state, wait_for
from lathlab.lab import Lab, allow, status_of

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]
CYCLES = int(os.environ.get("LATH_CHAOS_CYCLES", "60"))
SEED = int(os.environ.get("LATH_CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
# How many of a kind are there at most: below every quota.
MOST = 4


class Kind:
    """How resources of one kind are made and deleted, and which there are: names, given once, and what a delete takes."""

    def __init__(self, create, delete, found):
        self.create, self.delete, self.found = create, delete, found


def pages(client, operation, member, **arguments):
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page[member]


def kinds(lath, region, vpc):
    """Kinds of several services: what a create acknowledges is what a delete takes."""
    # A request is sent once: a repeated create would find its own first try.
    once = {"retries": {"total_max_attempts": 1}}
    ec2, lattice, logs, cloudwatch = (
        lath.client(name, region, **once) for name in ("ec2", "vpc-lattice", "logs", "cloudwatch"))
    iam, route53 = lath.client("iam", EAST, **once), lath.client("route53", EAST, **once)
    body = json.dumps({"widgets": []})
    return {
        "security group": Kind(
            lambda name: ec2.create_security_group(GroupName=name, Description="d", VpcId=vpc)["GroupId"],
            lambda _, made: ec2.delete_security_group(GroupId=made),
            lambda: {it["GroupName"]: it["GroupId"] for it in pages(ec2, "describe_security_groups", "SecurityGroups")}),
        "elastic address": Kind(
            lambda name: ec2.allocate_address(Domain="vpc", TagSpecifications=[
                {"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": name}]}])["AllocationId"],
            lambda _, made: ec2.release_address(AllocationId=made),
            lambda: {tag["Value"]: it["AllocationId"]
                     for it in ec2.describe_addresses()["Addresses"] for tag in it.get("Tags", [])}),
        "service network": Kind(
            lambda name: lattice.create_service_network(name=name)["id"],
            lambda _, made: lattice.delete_service_network(serviceNetworkIdentifier=made),
            lambda: {it["name"]: it["id"] for it in pages(lattice, "list_service_networks", "items")}),
        "log group": Kind(
            lambda name: logs.create_log_group(logGroupName=name),
            lambda name, _: logs.delete_log_group(logGroupName=name),
            lambda: {it["logGroupName"]: None for it in pages(logs, "describe_log_groups", "logGroups")}),
        "dashboard": Kind(
            lambda name: cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body),
            lambda name, _: cloudwatch.delete_dashboards(DashboardNames=[name]),
            lambda: {it["DashboardName"]: None for it in pages(cloudwatch, "list_dashboards", "DashboardEntries")}),
        "user": Kind(
            lambda name: iam.create_user(UserName=name),
            lambda name, _: iam.delete_user(UserName=name),
            lambda: {it["UserName"]: None for it in pages(iam, "list_users", "Users")}),
        "hosted zone": Kind(
            lambda name: route53.create_hosted_zone(Name=name + ".test", CallerReference=name)["HostedZone"]["Id"],
            lambda _, made: route53.delete_hosted_zone(Id=made),
            lambda: {it["Name"].removesuffix(".test."): it["Id"]
                     for it in pages(route53, "list_hosted_zones", "HostedZones")}),
    }


class Writer(threading.Thread):
    """Makes and deletes without a pause, and knows what it was told."""

    def __init__(self, kinds, chance):
        super().__init__(daemon=True)
        self.kinds, self.chance = kinds, chance
        self.there = {kind: {} for kind in kinds}   # name -> what the create answered
        self.gone = {kind: set() for kind in kinds}
        self.unsure = {kind: set() for kind in kinds}  # asked for, and no answer came
        self.numbers, self.acknowledged, self.surprises = itertools.count(), 0, []
        self.turn, self.ended = threading.Lock(), threading.Event()

    def run(self):
        while not self.ended.is_set():
            with self.turn:
                kind = self.chance.choice(list(self.kinds))
                full = len(self.there[kind]) + len(self.unsure[kind]) >= MOST
                try:
                    if self.there[kind] and (full or self.chance.random() < 0.4):
                        self.delete(kind)
                    elif not full:
                        self.create(kind)
                except ClientError as error:
                    if status_of(error) < 500:
                        self.surprises.append((kind, error))
                except BotoCoreError:
                    pass
            time.sleep(0.002)  # whoever waits for the turn gets it

    def create(self, kind):
        name = f"chaos-{SEED:08x}-{next(self.numbers)}"
        self.unsure[kind].add(name)
        made = self.kinds[kind].create(name)
        self.there[kind][name] = made
        self.unsure[kind].discard(name)
        self.acknowledged += 1

    def delete(self, kind):
        name = self.chance.choice(list(self.there[kind]))
        made = self.there[kind].pop(name)
        self.unsure[kind].add(name)
        self.kinds[kind].delete(name, made)
        self.gone[kind].add(name)
        self.unsure[kind].discard(name)
        self.acknowledged += 1

    def check(self):
        """With the turn in hand: everything acknowledged is there, and nothing deleted is back."""
        for kind, its in self.kinds.items():
            found = its.found()
            lost = set(self.there[kind]) - set(found)
            back = self.gone[kind] & set(found)
            assert not lost and not back, f"{kind}: lost {lost}, back {back}"
            # What was not answered happened or did not, for ever: the next checks hold it to that.
            for name in self.unsure[kind]:
                if name in found:
                    self.there[kind][name] = found[name]
                else:
                    self.gone[kind].add(name)
            self.unsure[kind].clear()
        assert not self.surprises, self.surprises


class Scene:
    """A region with two instances that talk, one that may be killed, and a writer."""

    def __init__(self, lath, region, chance):
        self.lath, self.region, self.lab = lath, region, Lab(lath)
        self.lab.ec2, self.lab.lattice = lath.client("ec2", region), lath.client("vpc-lattice", region)
        self.vpc, subnet, _ = self.lab.vpc("10.80.0.0/16", "10.80.1.0/24")
        group = self.lab.group(self.vpc, allow("tcp", 8001, cidr="10.80.0.0/16"))
        self.server, self.address = self.lab.echo(subnet, group, 8001)
        self.client, _ = self.lab.instance(subnet, group)
        self.victim, _ = self.lab.instance(subnet, group)
        for instance in (self.server, self.client, self.victim):
            self.lab.run(instance, "sh", "-c", "echo kept >/srv/kept")
        self.boots = [self.boot(self.server), self.boot(self.client)]
        self.writer = Writer(kinds(lath, region, self.vpc), chance)
        self.writer.start()

    def boot(self, instance):
        return self.lab.run(instance, "sh", "-c", "cut -d' ' -f22 /proc/1/stat; cat /srv/kept")

    def supervisor_of(self, instance):
        running, = self.lath.data.rglob(f"instances/{instance}/running.json")
        return json.loads(running.read_text())["supervisor"]["pid"]

    def kill_victim(self):
        os.kill(self.supervisor_of(self.victim), signal.SIGKILL)

    def revive_victim(self):
        """An instance whose supervisor was killed has ended; it starts again with its files."""
        wait_for("the killed instance to have ended", lambda: self.lab.state(self.victim) == "stopped")
        self.lab.ec2.start_instances(InstanceIds=[self.victim])
        self.lab.until(self.victim, "running")
        wait_for("its files", lambda: self.boot(self.victim).endswith("kept\n"))

    def check(self):
        with self.writer.turn:
            wait_for("what was acknowledged to be readable", self.readable)
            self.writer.check()
        wait_for("packets to flow", lambda: self.lab.run(
            self.client, "curl", "-s", "--max-time", "5", f"http://{self.address}:8001/", check=False).returncode == 0)
        assert [self.boot(self.server), self.boot(self.client)] == self.boots, "an instance was started again"

    def readable(self):
        for its in self.writer.kinds.values():
            its.found()
        return True

    def end(self):
        self.writer.ended.set()
        self.writer.join()
        self.check()
        for kind, its in self.writer.kinds.items():
            for name, made in self.writer.there[kind].items():
                its.delete(name, made)
        self.lab.clean()


def chaos(lath, scene, victims, cycles, chance):
    for cycle in range(cycles):
        seen, name = scene.writer.acknowledged, chance.choice(list(victims))
        wait_for("some writes", lambda: scene.writer.acknowledged > seen + 3 or scene.writer.surprises)
        time.sleep(chance.random() * 0.15)
        try:
            victims[name]()
            scene.check()
        except Exception as error:
            raise AssertionError(
                f"cycle {cycle} ({name}), LATH_CHAOS_SEED={SEED}: {error}\n{lath.tail()}") from error


def run(lath, region, victims_of, cycles):
    print(f"LATH_CHAOS_SEED={SEED} LATH_CHAOS_CYCLES={CYCLES}")
    chance = random.Random(SEED)
    scene = Scene(lath, region, random.Random(SEED + 1))
    try:
        chaos(lath, scene, victims_of(scene), cycles, chance)
    finally:
        scene.writer.ended.set()
    scene.end()
    print(f"{cycles} kills, {scene.writer.acknowledged} acknowledged writes")
    assert lath.stop() == 0, lath.tail()
    assert lath.remnants() == []
    assert "panicked at" not in lath.log.read_text(errors="replace")


def test_one_region():
    before, chance = host_state(), random.Random(SEED + 2)
    with Lath() as lath:
        def serve():
            lath.kill()
            if chance.random() < 0.3:
                # One more, before it has come to its end.
                lath.begin()
                time.sleep(chance.random() * 0.4)
                lath.kill()
            lath.start()

        def victims(scene):
            def instance():
                scene.kill_victim()
                scene.revive_victim()
            # The server is worth the most kills.
            return {"lath serve": serve, "lath serve again": serve, "an instance's supervisor": instance}

        run(lath, EAST, victims, CYCLES * 2 // 3)
    assert host_state() == before


def test_two_regions():
    before = host_state()
    with Lath(regions=REGIONS) as lath:
        def supervisor():
            lath.kill()
            lath.start()

        def everything():
            lath.kill_everything()
            lath.start()

        def victims(scene):
            def instance():
                scene.kill_victim()
                scene.revive_victim()
            return {
                "the supervisor": supervisor, "everything": everything, "an instance's supervisor": instance,
                "control": lambda: lath.kill_process(WEST, "control"),
                "node": lambda: lath.kill_process(WEST, "node"),
                "the home's control": lambda: lath.kill_process(EAST, "control"),
            }

        run(lath, WEST, victims, CYCLES - CYCLES * 2 // 3)
    assert host_state() == before
