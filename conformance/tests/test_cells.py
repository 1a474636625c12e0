"""Several regions on one machine: cells that die alone, a supervisor that nothing hangs on."""

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError
from lathlab import Lath, wait_for
from lathlab.lab import Region, allow, code_of, forward, status_of, unique

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]


@pytest.fixture(scope="module")
def cells():
    with Lath(regions=REGIONS) as lath:
        yield lath
        log = lath.log.read_text(errors="replace")
        assert "panicked at" not in log, log


@contextlib.contextmanager
def held(lath, region, scenario):
    """While this lasts those processes of the region are dead, by a drill's order; they come back afterwards."""
    faults, name = lath.data / "faults", unique("order")
    faults.mkdir(mode=0o700, exist_ok=True)
    order = {"name": name, "scenario": scenario, "region": region, "instance": None,
             "until_ms": int((time.time() + 300) * 1000)}
    (faults / f".{name}").write_text(json.dumps(order))
    (faults / f".{name}").rename(faults / f"{name}.json")
    try:
        wait_for(f"{scenario} in {region}", lambda: lath.processes()[region, "control"]["state"] == "held")
        yield
    finally:
        (faults / f"{name}.json").unlink(missing_ok=True)
        wait_for("the held processes to run again", lambda: all(
            process["state"] == "running" for process in lath.processes().values()))
        wait_for("every region to answer", lambda: all(region["answers"] for region in lath.status()["regions"]))


def until_back(lath, region, role, pid):
    wait_for(f"{role} of {region} to run again", lambda: lath.pid(region, role) not in (pid, None))


class Loop:
    """A client in an instance that asks a URL every 20 ms on connections of its own, until it is told to stop."""

    SCRIPT = (
        "import os,sys,time,urllib.request\n"
        "good=bad=0;errors=[]\n"
        "while not os.path.exists('/srv/stop'):\n"
        " try:\n"
        "  with urllib.request.urlopen(sys.argv[1],timeout=10) as r: r.read()\n"
        "  good+=1\n"
        " except Exception as e: bad+=1;errors.append(repr(e)[:200])\n"
        " open('/srv/seen.new','w').write(str(good+bad))\n"
        " os.replace('/srv/seen.new','/srv/seen')\n"  # so that a reader never finds it empty
        " time.sleep(.02)\n"
        "print(good,bad,errors[:3],flush=True)\n")

    def __init__(self, lab, instance, url):
        self.lab, self.instance = lab, instance
        lab.run(instance, "rm", "-f", "/srv/stop", "/srv/seen", "/srv/out")
        lab.run(instance, "/usr/bin/python3", "-c", f"open('/srv/loop.py','w').write({self.SCRIPT!r})")
        lab.run(instance, "bash", "-c",
                f"nohup /usr/bin/python3 /srv/loop.py {url} >/srv/out 2>&1 </dev/null &")
        self.goes_on()

    def seen(self):
        return int(self.lab.run(self.instance, "cat", "/srv/seen", check=False).stdout or 0)

    def goes_on(self, count=50):
        seen = self.seen()
        wait_for("further requests", lambda: self.seen() >= seen + count)

    def end(self):
        """(good, bad) requests."""
        self.lab.run(self.instance, "touch", "/srv/stop")
        out = wait_for("the loop's end", lambda: self.lab.run(self.instance, "cat", "/srv/out"))
        good, bad, errors = out.strip().split(" ", 2)
        return int(good), int(bad), errors


@pytest.fixture(scope="module")
def shop(cells):
    """A client in the west and a Lattice service with one target there: (lab, client, URL)."""
    with Region(cells, WEST) as lab:
        vpc, subnet, _ = lab.vpc("10.20.0.0/16", "10.20.1.0/24")
        group = lab.group(vpc, allow("tcp", 8001, cidr="0.0.0.0/0"))
        server, address = lab.echo(subnet, group, 8001)
        client, _ = lab.instance(subnet, group)
        service, domain = lab.service(lab.network(vpc))
        target = lab.targets(vpc, (address, 8001))
        lab.listener(service, forward(target))
        lab.eventually(client, f"http://{domain}/")
        yield lab, client, f"http://{domain}/"


def test_both_regions_work_by_one_port(cells):
    made = {}
    for region in REGIONS:
        vpc = cells.aws("ec2", "create-vpc", "--region", region, "--cidr-block", "10.9.0.0/16")["Vpc"]["VpcId"]
        made[region] = vpc
    for region in REGIONS:
        vpcs = {vpc["VpcId"] for vpc in cells.aws("ec2", "describe-vpcs", "--region", region)["Vpcs"]}
        assert made[region] in vpcs and not vpcs & {vpc for other, vpc in made.items() if other != region}
        assert cells.aws("sts", "get-caller-identity", "--region", region)["Arn"].endswith(":root")
    # Different public addresses by region; the same private ones are nobody's business.
    pools = {}
    for region in REGIONS:
        with Region(cells, region) as lab:
            _, subnet, group = lab.vpc("10.10.0.0/16", "10.10.1.0/24", internet=True)
            instance, address = lab.instance(subnet, group, public=True, address="10.10.1.10")
            assert lab.run(instance, "hostname", "-I").split() == [address]
            pools[region] = lab.describe(instance)["PublicIpAddress"].split(".")
    assert [pools[EAST][:2], pools[WEST][:2]] == [["198", "18"]] * 2
    assert (int(pools[EAST][2]) // 32, int(pools[WEST][2]) // 32) == (0, 1)
    for region, vpc in made.items():
        cells.aws("ec2", "delete-vpc", "--region", region, "--vpc-id", vpc)


def test_status_env_and_metrics_know_every_region(cells):
    status = cells.status()
    assert (status["region"], [region["name"] for region in status["regions"]]) == (EAST, [*REGIONS, "witness"])
    assert [region["home"] for region in status["regions"]] == [True, False, False]
    roles = {(name, role) for name, role in cells.processes()}
    assert roles == {(EAST, "control"), (EAST, "node"), (WEST, "control"), (WEST, "node"), ("witness", "witness")}
    assert all(process["state"] == "running" for process in cells.processes().values())
    wait_for("every link", lambda: all(
        set(region["links"]) == {EAST, WEST, "witness"} - {region["name"]}
        and all(link["connected"] for link in region["links"].values())
        for region in cells.status()["regions"] if region["name"] in REGIONS))
    assert cells.env()["AWS_REGION"] == EAST
    text = cells.cli("status", "--data-dir", str(cells.data))
    assert "us-east-1 (home)" in text and "LINK FROM" in text
    lines = cells.metrics().splitlines()
    for region in REGIONS:
        assert f'lath_region_up{{region="{region}"}} 1' in lines
        assert f'lath_process_up{{region="{region}",role="node"}} 1' in lines
        assert any(line.startswith(f'lath_state_revision{{region="{region}"}} ') for line in lines)
    families = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(families) == len(set(families)), "one description for each family"


def test_requests_for_no_region_are_refused_as_ever(cells):
    elsewhere = cells.client("ec2", "eu-west-1")
    with pytest.raises(ClientError) as refused:
        elsewhere.describe_vpcs()
    assert code_of(refused.value) == "AuthFailure" and "us-east-1, us-west-2" in str(refused.value)
    with pytest.raises(urllib.error.HTTPError) as unsigned:
        urllib.request.urlopen(f"{cells.endpoint}/?Action=DescribeVpcs&Version=2016-11-15", timeout=30)
    assert unsigned.value.code == 403 and b"MissingAuthenticationToken" in unsigned.value.read()
    # Nobody outside says where a request came from, nor sees what the supervisor asks.
    request = urllib.request.Request(f"{cells.endpoint}/_lath/status", headers={"x-lath-source": "192.0.2.1"})
    with pytest.raises(urllib.error.HTTPError) as internal:
        urllib.request.urlopen(request, timeout=30)
    assert internal.value.code == 404


@pytest.mark.parametrize("role", ["control", "node"])
def test_what_is_killed_in_one_region_comes_back_and_the_other_does_not_notice(cells, role):
    with Region(cells, WEST) as lab:
        vpc, subnet, group = lab.vpc("10.30.0.0/16", "10.30.1.0/24")
        instance, _ = lab.instance(subnet, group)
        before = cells.processes()
        began = lab.run(instance, "cut", "-d ", "-f22", "/proc/1/stat")
        stop, failures = threading.Event(), []

        def ask():
            east = cells.client("ec2", EAST)
            while not stop.is_set():
                try:
                    east.describe_vpcs()
                except Exception as error:
                    failures.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        pid = cells.kill_process(WEST, role)
        until_back(cells, WEST, role, pid)
        # The front door waits for a control plane that is on its way back.
        assert vpc in {v["VpcId"] for v in lab.ec2.describe_vpcs()["Vpcs"]}
        lab.until(instance, "running")
        assert lab.run(instance, "cut", "-d ", "-f22", "/proc/1/stat") == began, "the same process"
        stop.set()
        asker.join()
        assert failures == []
        after = cells.processes()
        changed = {key for key in before if before[key]["pid"] != after[key]["pid"]}
        assert changed == {(WEST, role)}
        assert after[WEST, role]["restarts"] == before[WEST, role]["restarts"] + 1


def test_control_plane_death_loses_no_request_on_the_data_path(cells, shop):
    lab, client, url = shop
    loop = Loop(lab, client, url)
    for _ in range(3):
        until_back(cells, WEST, "control", cells.kill_process(WEST, "control"))
        loop.goes_on()
    with held(cells, WEST, "kill-control-plane"):
        loop.goes_on(200)
        # The node itself is killed and starts from what it kept: only the requests of that moment fail.
        good, bad, errors = loop.end()
        assert (bad, good > 300) == (0, True), (good, errors)
        until_back(cells, WEST, "node", cells.kill_process(WEST, "node"))
        lab.eventually(client, url)
    wait_for("control to hear the node", lambda: lab.state(client) == "running")


def test_a_stopped_or_killed_supervisor_loses_no_request_and_its_successor_takes_over(cells, shop):
    lab, client, url = shop
    loop = Loop(lab, client, url)
    before = cells.processes()
    cells.process.send_signal(signal.SIGSTOP)
    loop.goes_on(200)
    cells.process.send_signal(signal.SIGCONT)
    cells.kill()
    loop.goes_on(200)
    cells.start()
    loop.goes_on()
    good, bad, errors = loop.end()
    assert (bad, good > 400) == (0, True), (good, errors)
    after = cells.processes()
    assert {key: it["pid"] for key, it in after.items()} == {key: it["pid"] for key, it in before.items()}
    assert all(process["adopted"] for process in after.values())
    until_back(cells, WEST, "control", cells.kill_process(WEST, "control"))


def test_a_dead_region_says_so(cells):
    west, east = cells.client("ec2", WEST), cells.client("ec2", EAST)
    lattice = cells.client("vpc-lattice", WEST)
    with held(cells, WEST, "kill-control-plane"):
        for call in (west.describe_vpcs, lattice.list_services):
            with pytest.raises(ClientError) as dead:
                call()
            assert (code_of(dead.value), status_of(dead.value)) == ("ServiceUnavailable", 503)
            assert "us-west-2 does not answer" in str(dead.value)
        east.describe_vpcs()
        assert cells.client("sts", EAST).get_caller_identity()["Account"] == "000000000000"
        assert f'lath_region_up{{region="{WEST}"}} 0' in cells.metrics().splitlines()
    west.describe_vpcs()


def test_a_taken_port_stops_no_region_and_what_does_is_named(cells):
    west = cells.client("ec2", WEST)
    port, images = cells.registry_port + 1, cells.data / "images"
    with socket.socket() as other:
        with held(cells, WEST, "kill-control-plane"):
            other.bind(("127.0.0.1", port))
            other.listen()
        west.describe_vpcs()
        wait_for("the status to name the port", lambda: any(
            f"{WEST}: the image registry: cannot listen on 127.0.0.1:{port}" in it for it in cells.status()["trouble"]))
    wait_for("the registry to take its port", lambda: cells.status()["trouble"] == [])
    socket.create_connection(("127.0.0.1", port), timeout=10).close()

    aside = images.rename(images.with_name("images-aside"))
    try:
        images.write_text("in the way")
        cells.kill_process(WEST, "control")
        wait_for("the status to say why the region does not answer", lambda: any(
            f"{WEST}: control ended: cannot open the images" in it for it in cells.status()["trouble"]))
        with pytest.raises(ClientError) as dead:
            west.describe_vpcs()
        assert "us-west-2 does not answer (its control plane fails)." in str(dead.value)
    finally:
        images.unlink()
        aside.rename(images)
    wait_for("the region to answer again", lambda: all(region["answers"] for region in cells.status()["regions"]))
    wait_for("the failure to be forgotten", lambda: cells.status()["trouble"] == [])


def test_global_services_read_and_say_who_is_dead_without_the_home(cells):
    iam, route53 = cells.client("iam", WEST), cells.client("route53", WEST)
    role = unique("role")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}]}
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    zone = route53.create_hosted_zone(Name="home.test", CallerReference=unique("zone"))["HostedZone"]["Id"]
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": {
        "Name": "www.home.test", "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.7"}]}}]})

    def answer(region):
        address, port = cells.dns(region)
        return subprocess.run(["dig", f"@{address}", "-p", str(port), "+short", "+time=2", "+tries=1", "www.home.test"],
                              capture_output=True, text=True).stdout.strip()

    user = unique("user")
    iam.create_user(UserName=user)
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": made}]}
    iam.put_user_policy(UserName=user, PolicyName="may", PolicyDocument=json.dumps(allowed))
    key = iam.create_access_key(UserName=user)["AccessKey"]

    def assumed():
        # Not the root's key: root may assume no role.
        sts = boto3.client("sts", endpoint_url=cells.endpoint, region_name=WEST,
                           aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
        return sts.assume_role(RoleArn=made, RoleSessionName="test")["Credentials"]

    wait_for("both regions to serve the name", lambda: [answer(region) for region in REGIONS] == ["192.0.2.7"] * 2)
    wait_for("the west to know the role", assumed)
    with held(cells, EAST, "kill-region"):
        for call in (iam.list_roles, route53.list_hosted_zones):
            with pytest.raises(ClientError) as dead:
                call()
            assert (code_of(dead.value), status_of(dead.value)) == ("ServiceUnavailable", 503)
            assert "home region us-east-1 does not answer" in str(dead.value)
            assert "DNS answers and policy decisions go on" in str(dead.value)
        assert answer(WEST) == "192.0.2.7"
        assert assumed()["AccessKeyId"].startswith("ASIA")
    wait_for("the home to be back", lambda: answer(EAST) == "192.0.2.7")
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": {
        "Name": "www.home.test", "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.7"}]}}]})
    route53.delete_hosted_zone(Id=zone)
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=user, PolicyName="may")
    iam.delete_user(UserName=user)
    iam.delete_role(RoleName=role)
