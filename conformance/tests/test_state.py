"""The data directory: absent is not empty, damage is named, a full disk passes, a start that is stopped leaves nothing."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from botocore.exceptions import ClientError
from lathlab import PATIENCE, Dead, Lath, binary, host_state, wait_for
from lathlab.lab import Lab, code_of, status_of, unique

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]


def refused(lath, *more):
    """A start that must end with exit code 3; what it said."""
    lath.flags += more
    with pytest.raises(Dead):
        lath.start()
    assert lath.process.wait(timeout=PATIENCE) == 3, lath.tail()
    if more:
        del lath.flags[-len(more):]
    return lath.tail(4)


def boots(lab, instance):
    """Which process an instance's first one is, and that its files are there."""
    return lab.run(instance, "sh", "-c", "cut -d' ' -f22 /proc/1/stat; cat /srv/kept")


def test_a_start_without_the_state_is_refused_and_touches_nothing(own_lath):
    lath = own_lath
    with Lab(lath) as lab:
        _, subnet, group = lab.vpc("10.90.0.0/16", "10.90.1.0/24")
        instance, _ = lab.instance(subnet, group)
        lab.run(instance, "sh", "-c", "echo kept >/srv/kept")
        boot = boots(lab, instance)
        running = lath.remnants()
        lath.kill()
        state, aside = lath.data / "state.redb", lath.directory / "aside"
        state.rename(aside)
        said = refused(lath)
        assert str(state) in said and "is missing" in said and "--start-anew us-east-1" in said, said
        state.touch()
        said = refused(lath)
        assert "is damaged" in said and "it is empty" in said, said
        state.write_bytes(os.urandom(1 << 20))
        assert "is damaged" in refused(lath)
        with Lath() as other:
            other.stop()
            state.write_bytes((other.data / "state.redb").read_bytes())
        said = refused(lath)
        assert "of the installation" in said or "went back" in said or "was put in its place" in said, said
        assert "panicked" not in lath.log.read_text()
        doctor = lath.cli("doctor", "--data-dir", str(lath.data), "--output", "json", check=False)
        assert json.loads(doctor.stdout)["regions"][0]["state"] is not None
        assert set(running) <= set(lath.remnants()), "an instance was ended"
        state.write_bytes(aside.read_bytes())
        lath.start()
        wait_for("the instance to be adopted", lambda: boots(lab, instance) == boot)


def test_a_region_starts_anew_when_it_is_told_to_and_nothing_is_deleted():
    before = host_state()
    with Lath() as lath:
        lab = Lab(lath)
        _, subnet, group = lab.vpc("10.91.0.0/16", "10.91.1.0/24")
        instance, _ = lab.instance(subnet, group)
        lab.run(instance, "sh", "-c", "echo kept >/srv/kept")
        key = lath.env()["AWS_ACCESS_KEY_ID"]
        lath.kill()
        (lath.data / "state.redb").unlink()
        refused(lath)
        lath.flags = ["--start-anew", EAST]
        lath.start()
        assert lath.env()["AWS_ACCESS_KEY_ID"] == key
        fresh = Lab(lath)
        assert fresh.ec2.describe_instances()["Reservations"] == []
        wait_for("the old instance's processes to be gone", lambda: not [r for r in lath.remnants() if instance in r])
        aside, = lath.data.glob("set-aside-*")
        kept = [path for path in aside.rglob("kept") if path.read_text() == "kept\n"]
        assert kept and instance in str(kept[0]), "the old instance's files are kept"
        # A whole state is kept, with the flag too.
        vpc = fresh.ec2.create_vpc(CidrBlock="10.92.0.0/16")["Vpc"]["VpcId"]
        assert lath.stop() == 0, lath.tail()
        lath.start()
        assert vpc in {v["VpcId"] for v in lath.client("ec2").describe_vpcs()["Vpcs"]}
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() == before


def health(lath):
    import urllib.request
    with urllib.request.urlopen(f"{lath.endpoint}/_lath/health", timeout=10) as reply:
        return reply.read().decode()


def test_a_region_without_its_state_answers_503_and_the_others_at_once():
    with Lath(regions=REGIONS) as lath:
        lath.client("ec2", WEST).create_vpc(CidrBlock="10.9.0.0/16")
        wait_for("both to be remembered", lambda: json.loads(
            (lath.data / "cells.json").read_text())["served"] == REGIONS)
        assert lath.stop() == 0, lath.tail()
        state, aside = lath.data / WEST / "state.redb", lath.directory / "aside"
        state.rename(aside)
        lath.start()
        log = lath.log.read_text()
        assert "the others are served without them" not in log, "nobody waited"
        assert lath.client("ec2", EAST).create_vpc(CidrBlock="10.9.0.0/16")
        with pytest.raises(ClientError) as dead:
            lath.client("ec2", WEST).describe_vpcs()
        assert (code_of(dead.value), status_of(dead.value)) == ("ServiceUnavailable", 503)
        assert "its state is missing" in str(dead.value)
        assert health(lath).startswith("degraded\n") and f"{WEST}: its state is missing" in health(lath)
        status = lath.status()
        assert any(f"{WEST}: the state {state} is missing" in text for text in status["trouble"]), status["trouble"]
        assert lath.processes()[WEST, "control"]["state"] == "refused"
        assert "DEGRADED: us-west-2" in lath.cli("status", "--data-dir", str(lath.data))
        doctor = lath.cli("doctor", "--data-dir", str(lath.data), check=False)
        assert doctor.returncode == 3 and "state         MISSING" in doctor.stdout, doctor.stdout
        # It comes back by itself when its state does.
        aside.rename(state)
        wait_for("the region", lambda: lath.client("ec2", WEST).describe_vpcs()["Vpcs"])
        wait_for("all to be well", lambda: health(lath) == "ok\n" and lath.status()["trouble"] == [])
        # The whole directory of a region: it is remembered that there was one.
        assert lath.stop() == 0, lath.tail()
        (lath.data / WEST).rename(lath.directory / "west")
        lath.start()
        assert f"{WEST}: its state is missing" in health(lath)
        assert lath.stop() == 0, lath.tail()
        # And without the list of regions nothing starts.
        cells = lath.data / "cells.json"
        listed = cells.read_text()
        cells.write_text("junk")
        with pytest.raises(Dead):
            lath.start()
        assert "cells.json is damaged" in lath.tail(3) and '"us-east-1"' in lath.tail(3)
        cells.unlink()
        said = refused(lath)
        assert "cells.json is missing" in said, said
        cells.write_text(listed)
        lath.flags = ["--start-anew", WEST]
        lath.start()
        assert "10.9.0.0/16" not in {v["CidrBlock"] for v in lath.client("ec2", WEST).describe_vpcs()["Vpcs"]}


def test_a_damaged_record_is_named_and_taken_out_and_the_rest_goes_on(own_lath):
    lath = own_lath
    networks = {}
    for _ in range(5):
        name = unique("net")
        networks[lath.client("vpc-lattice").create_service_network(name=name)["id"]] = name
    hit, name = next(iter(networks.items()))
    lath.kill()
    state = lath.data / "state.redb"
    content = state.read_bytes()
    spoiled = content.replace(name.encode(), name[:-1].encode() + bytes([ord(name[-1]) ^ 1]))
    assert spoiled != content
    state.write_bytes(spoiled)
    said = refused(lath)
    assert f"record/vpc-lattice.service-network/{hit}" in said or hit in said, said
    assert "--quarantine" in said, said
    doctor = lath.cli("doctor", "--data-dir", str(lath.data), "--output", "json", check=False)
    assert doctor.returncode == 3
    damaged = json.loads(doctor.stdout)["regions"][0]["state"]["damaged"]
    assert any(hit in record["key"] for record in damaged), damaged
    assert state.read_bytes() == spoiled, "doctor only looks"
    out = lath.cli("doctor", "--data-dir", str(lath.data), "--quarantine", "--output", "json")
    quarantined = json.loads(out)["regions"][0]["quarantined"]
    kept = pathlib.Path(quarantined["directory"])
    assert (kept / "state.redb").read_bytes() == spoiled and json.loads((kept / "records.json").read_text())
    lath.start()
    left = {n["id"] for n in lath.client("vpc-lattice").list_service_networks()["items"]}
    gone = {record["key"].rsplit("/", 1)[1] for record in damaged}
    assert left == set(networks) - gone and len(left) >= 3


def test_a_damaged_archive_is_begun_anew_and_said_loudly(own_lath):
    lath = own_lath
    logs = lath.client("logs")
    logs.create_log_group(logGroupName="/g")
    logs.create_log_stream(logGroupName="/g", logStreamName="s")
    assert lath.stop() == 0, lath.tail()
    archive = lath.data / "archive.redb"
    content = bytearray(archive.read_bytes())
    for at in range(0, len(content), 64):
        content[at] ^= 0x40
    archive.write_bytes(content)
    lath.start()
    assert health(lath).startswith("degraded\nthe archive of logs and metrics was damaged")
    assert "archive of logs and metrics was damaged" in lath.status()["trouble"][0]
    assert len(list(lath.data.glob("archive-damaged-*.redb"))) == 1
    logs.create_log_stream(logGroupName="/g", logStreamName="t")
    logs.put_log_events(logGroupName="/g", logStreamName="t", logEvents=[
        {"timestamp": int(time.time() * 1000), "message": "m"}])
    assert logs.describe_log_groups()["logGroups"][0]["logGroupName"] == "/g"


@pytest.mark.parametrize("name, junk, words", [
    ("session-key", "junk", ("session-key is damaged", "seals session tokens", "remove it")),
    ("root-key.json", "", ("root-key.json is damaged", "root access key", "remove it")),
    ("installation.json", "{", ("installation.json is damaged", "remove it")),
])
def test_a_damaged_file_is_named_with_its_remedy(own_lath, name, junk, words):
    lath = own_lath
    assert lath.stop() == 0, lath.tail()
    good = (lath.data / name).read_bytes()
    (lath.data / name).write_text(junk)
    with pytest.raises(Dead):
        lath.start()
    said = lath.tail(3)
    assert all(word in said for word in words), said
    doctor = lath.cli("doctor", "--data-dir", str(lath.data), check=False)
    assert doctor.returncode == 3 and f"{name}: " in doctor.stdout, doctor.stdout
    (lath.data / name).write_bytes(good)
    lath.start()


def left_behind(lath):
    """What a Lath that ended has left: in the kernel, and in run directories."""
    files = [str(path) for run in lath.data.rglob("run") if run.is_dir()
             for path in run.rglob("*") if not path.is_dir()]
    return lath.remnants() + files


@pytest.mark.parametrize("regions", [None, REGIONS], ids=["one region", "two regions"])
def test_sigterm_at_any_moment_of_a_start_leaves_nothing(regions, tmp_path):
    before = host_state()
    for milliseconds in (0, 5, 10, 20, 40, 70, 110, 180, 300, 500):
        lath = Lath(directory=tmp_path / str(milliseconds), regions=regions)
        lath.directory.mkdir()
        lath.begin()
        time.sleep(milliseconds / 1000)
        lath.process.send_signal(signal.SIGTERM)
        code = lath.process.wait(timeout=PATIENCE)
        assert code in (0, -signal.SIGTERM), f"{milliseconds} ms: {code}\n{lath.tail()}"
        # Processes that got SIGKILL's cousin a moment ago may still be on their way out of /proc.
        wait_for(f"nothing to be left after {milliseconds} ms", lambda: left_behind(lath) == [], patience=20)
        assert "panicked" not in lath.tail()
    assert host_state() == before


class SmallDisk(Lath):
    """A Lath whose data directory is a tmpfs in a mount namespace of its own."""

    def __enter__(self):
        self.data.mkdir()
        script = 'mount -t tmpfs -o size=48m,mode=700 lath-test "$0" && touch "$0/mounted" && exec sleep infinity'
        self.holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script, str(self.data)])
        wait_for("the small disk", lambda: self.inside("test", "-e", str(self.data / "mounted")) == 0)
        return super().__enter__()

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            self.holder.kill()
            self.holder.wait()
            super().__exit__()

    def enter(self):
        return ["nsenter", "-t", str(self.holder.pid), "-m"]

    def inside(self, *command):
        return subprocess.run([*self.enter(), *command], capture_output=True).returncode

    def command(self):
        return [*self.enter(), *super().command()]

    def cli(self, *args, check=True):
        run = subprocess.run([*self.enter(), binary(), *args], capture_output=True, text=True, timeout=PATIENCE)
        assert not check or run.returncode == 0, run.stdout + run.stderr
        return run.stdout if check else run


def test_a_full_disk_refuses_what_is_new_and_passes():
    with SmallDisk() as lath:
        lattice, ec2 = lath.client("vpc-lattice"), lath.client("ec2")
        there = {lattice.create_service_network(name=unique("net"))["id"] for _ in range(5)}
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        # Others take all room there is, again and again.
        ballast = ("sh", "-c", 'n=0; while [ $n -lt 40 ]; do cat /dev/zero >>"$0/ballast" 2>/dev/null; n=$((n+1)); done', str(lath.data))
        lath.inside(*ballast)

        def refused_for_lack_of_room():
            try:
                there.add(lattice.create_service_network(name=unique("net"))["id"])
            except ClientError as error:
                assert (code_of(error), status_of(error)) == ("ServiceUnavailable", 503), error
                assert "disk" in str(error) and "is full" in str(error), error
                return True
            lath.inside(*ballast)

        wait_for("the disk to be full", refused_for_lack_of_room, pause=0)
        assert health(lath).startswith("degraded\n") and "the disk is full" in health(lath)
        assert "the disk is full" in " ".join(lath.status()["trouble"])
        # Deletes and changes go on.
        gone = there.pop()
        lattice.delete_service_network(serviceNetworkIdentifier=gone)
        lattice.update_service_network(serviceNetworkIdentifier=min(there), authType="NONE")
        found = {n["id"] for n in lattice.list_service_networks(maxResults=100)["items"]}
        assert found == there
        # Killed and started while the disk is full: everything is there, and deletes go on.
        lath.kill()
        lath.start()
        found = {n["id"] for n in lattice.list_service_networks(maxResults=100)["items"]}
        assert found == there
        ec2.delete_vpc(VpcId=vpc)
        wait_for("the VPC to be gone", lambda: vpc not in {v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"]})
        lath.inside("rm", str(lath.data / "ballast"))
        wait_for("all to be well", lambda: health(lath) == "ok\n")
        there.add(lattice.create_service_network(name=unique("net"))["id"])
        found = {n["id"] for n in lattice.list_service_networks(maxResults=100)["items"]}
        assert found == there and lath.status()["trouble"] == []
