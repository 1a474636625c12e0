"""Laths with several regions that a test starts, kills and stops for itself: one at a time, as a host has one WAN."""

import json

import pytest
from botocore.exceptions import ClientError
from lathlab import Lath, host_state, wait_for
from lathlab.lab import Region, code_of, status_of

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]


def test_kill_9_of_everything_leaks_nothing_and_a_clean_stop_leaves_nothing():
    before = host_state()
    with Lath(regions=REGIONS) as lath:
        labs = [Region(lath, region) for region in REGIONS]
        instances = []
        for number, lab in enumerate(labs):
            vpc, subnet, group = lab.vpc(f"10.4{number}.0.0/16", f"10.4{number}.1.0/24", internet=True)
            instances.append(lab.instance(subnet, group)[0])
            lab.run(instances[-1], "sh", "-c", "echo kept >/srv/kept")
        for _ in range(2):
            lath.kill_everything()
            lath.start()
            for lab, instance in zip(labs, instances):
                wait_for("the instance to be adopted", lambda: lab.run(instance, "cat", "/srv/kept", check=False).stdout == "kept\n")
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
        assert host_state() - before == set()
        lath.start()
        for lab, instance in zip(labs, instances):
            wait_for("the instance", lambda: lab.run(instance, "cat", "/srv/kept", check=False).stdout == "kept\n")
            lab.clean()
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    # Another Lath of this worker may meanwhile have removed what it had.
    assert host_state() - before == set()


def test_the_home_and_places_are_for_ever_and_two_supervisors_never_meet():
    with Lath(regions=REGIONS) as lath:
        cells = json.loads((lath.data / "cells.json").read_text())
        assert (cells["home"], cells["indices"]) == (EAST, {EAST: 0, WEST: 1})
        for path in lath.data.rglob("*"):
            if path.is_file() and path.suffix in (".key", ".json", ".cbor", ".lock"):
                assert path.stat().st_mode & 0o077 == 0, path
        second = lath.cli("serve", "--data-dir", str(lath.data), "--listen", "127.0.0.1:0", "--admin-listen",
                          "127.0.0.1:0", "--regions", ",".join(REGIONS), check=False)
        assert second.returncode != 0 and "another `lath serve`" in second.stderr, second.stderr
        assert lath.stop() == 0
        for flags, text in [
            (["--regions", ",".join(REGIONS), "--home", WEST], "the home is us-east-1 and cannot be changed"),
            (["--regions", WEST], "lacks us-east-1"),
            (["--region", EAST], "belongs to several regions"),
        ]:
            refused = lath.cli("serve", "--data-dir", str(lath.data), "--listen", "127.0.0.1:0", "--admin-listen",
                               "127.0.0.1:0", *flags, check=False)
            assert refused.returncode != 0 and text in refused.stderr, refused.stderr
        lath.regions = [EAST, "eu-west-1", WEST]
        lath.start()
        assert json.loads((lath.data / "cells.json").read_text())["indices"] == {EAST: 0, WEST: 1, "eu-west-1": 2}
        assert ("witness", "witness") not in lath.processes(), "three observers need no further one"
        lath.client("ec2", "eu-west-1").describe_vpcs()


def test_a_second_lath_of_several_regions_on_a_host_is_refused_before_it_touches_anything(tmp_path):
    def start(data, *regions):
        return Lath.cli(None, "serve", "--data-dir", str(tmp_path / data), "--listen", "127.0.0.1:0", "--admin-listen",
                        "127.0.0.1:0", "--regions", ",".join(regions), check=False)

    def refused(words, data="other"):
        before = host_state()
        second = start(data, "eu-west-1", "eu-west-2")
        assert second.returncode == 1, second.stderr
        for word in words:
            assert word in second.stderr, second.stderr
        assert host_state() == before
        assert not list((tmp_path / data).rglob("state.redb")), "it began a state"

    with Lath(regions=REGIONS) as lath:
        said = f"process {lath.process.pid}, data directory {lath.data}"
        refused(["another Lath with --regions runs on this host", said, "A host has one WAN", "network namespace of its own"])
        # One region alone has no WAN.
        with Lath() as alone:
            alone.client("ec2").describe_vpcs()
        # The regions live on without their supervisor, and so does their WAN.
        lath.kill()
        refused(["the WAN of another Lath", "which was killed", "start `lath serve` with its data directory"])
        lath.start()
        assert lath.stop() == 0
        with Lath(regions=["eu-west-1", "eu-west-2"]) as other:
            other.client("ec2", "eu-west-2").describe_vpcs()


def test_a_region_of_another_machine_is_reached_by_its_url(tmp_path):
    other = Lath()
    other.region = "eu-west-1"
    with other:
        config = tmp_path / "lath.toml"
        config.write_text(f'[remote_regions]\neu-west-1 = "{other.endpoint}"\neu-west-3 = "http://127.0.0.1:1"\n')
        with Lath("--config", str(config), regions=REGIONS) as lath:
            # The installations share the root key.
            lath.stop()
            (lath.data / "root-key.json").write_bytes((other.data / "root-key.json").read_bytes())
            lath.start()
            lath.client("ec2", "eu-west-1").create_vpc(CidrBlock="10.77.0.0/16")
            assert other.client("ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.77.0.0/16"]}])["Vpcs"]
            with pytest.raises(ClientError) as dead:
                lath.client("ec2", "eu-west-3").describe_vpcs()
            assert (code_of(dead.value), status_of(dead.value)) == ("ServiceUnavailable", 503)
