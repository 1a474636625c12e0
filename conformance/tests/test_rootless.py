"""`lath serve` as an ordinary user, where the kernel allows it: VPCs, an instance and a request through Lattice."""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest
import lathlab
from lathlab import Lath, wait_for
from lathlab.lab import Lab, fixed

NOBODY = 65534


def user():
    """An ordinary user's id to run as, when this is root."""
    return NOBODY if os.geteuid() == 0 else os.geteuid()


class Rootless(Lath):
    """The same, with every command as the ordinary user."""

    def __init__(self, **more):
        super().__init__(directory=tempfile.mkdtemp(prefix="lath-rootless-"), **more)
        self.program = self.directory / "lath"
        shutil.copy2(lathlab.binary(), self.program)
        self.program.chmod(0o755)
        self.directory.chmod(0o700)
        if os.geteuid() == 0:
            for path in (self.directory, self.program):
                os.chown(path, NOBODY, pwd.getpwuid(NOBODY).pw_gid)
        self.home = {"HOME": str(self.directory), "PATH": os.environ["PATH"]}

    def as_user(self, *words):
        if os.geteuid() != 0:
            return list(map(str, words))
        gid = pwd.getpwuid(NOBODY).pw_gid
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={gid}", "--clear-groups", *map(str, words)]

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.as_user(
                self.program, "serve", "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}",
                "--admin-listen", f"127.0.0.1:{self.admin_port}", "--dns-listen", f"127.0.0.1:{self.dns_port}",
                "--registry-listen", f"127.0.0.1:{self.registry_port}", *(["--regions", ",".join(self.regions)] if self.regions else [])), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self.home, cwd="/")
        wait_for("lath serve to answer", self.answers)
        return self

    def cli(self, *args, check=True):
        run = subprocess.run(self.as_user(self.program, *args), capture_output=True, text=True, timeout=60, env=self.home, cwd="/")
        if check and run.returncode != 0:
            raise AssertionError(f"lath {' '.join(args)}: {run.returncode}\n{run.stdout}{run.stderr}")
        return run.stdout if check else run


def allowed():
    run = subprocess.run(["setpriv", f"--reuid={user()}", "--clear-groups", "unshare", "-Urn", "true"] if os.geteuid() == 0
                         else ["unshare", "-Urn", "true"], capture_output=True, text=True)
    return run.returncode == 0, run.stderr.strip()


def test_an_ordinary_user_has_vpcs_instances_and_lattice():
    fine, why = allowed()
    if not fine:
        pytest.skip(f"SKIPPED: this kernel lets no ordinary user make user namespaces: {why}")
    with Rootless() as lath:
        assert pathlib.Path(f"/proc/{lath.process.pid}").stat().st_uid in (user(), 0)
        with Lab(lath) as lab:
            vpc, subnet, group = lab.vpc("10.80.0.0/16", "10.80.1.0/24")
            caller, _ = lab.instance(subnet, group, script="echo hello >/dev/console")
            wait_for("user data", lambda: "hello" in lab.console(caller))
            server, address = lab.echo(subnet, group, 8001)
            service, domain = lab.service(lab.network(vpc))
            target = lab.targets(vpc, (address, 8001))
            # The default group lets in its own members only; the proxy is none of them.
            prefix = lab.ec2.describe_managed_prefix_lists(Filters=[
                {"Name": "prefix-list-name", "Values": ["com.amazonaws.us-east-1.vpc-lattice"]}])["PrefixLists"][0]["PrefixListId"]
            lab.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
                {"IpProtocol": "tcp", "FromPort": 8001, "ToPort": 8001, "PrefixListIds": [{"PrefixListId": prefix}]}])
            listener = lab.listener(service, fixed(404))
            lab.eventually(caller, f"http://{domain}/", status=404)
            lab.lattice.update_listener(serviceIdentifier=service, listenerIdentifier=listener, defaultAction={
                "forward": {"targetGroups": [{"targetGroupIdentifier": target, "weight": 1}]}})
            assert json.loads(lab.eventually(caller, f"http://{domain}/"))["name"] == "port-8001"
        assert lath.stop() == 0, lath.tail()


def tun_is_for_all():
    tun = pathlib.Path("/dev/net/tun")
    return tun.exists() and tun.stat().st_mode & 0o006 == 0o006


def test_an_ordinary_user_has_regions_and_a_killed_supervisor_is_succeeded():
    fine, why = allowed()
    if not fine:
        pytest.skip(f"SKIPPED: this kernel lets no ordinary user make user namespaces: {why}")
    regions = ["us-east-1", "us-west-2"]
    with Rootless(regions=regions) as lath:
        labs = []
        for number, region in enumerate(regions):
            lab = Lab(lath)
            lab.ec2 = lath.client("ec2", region)
            _, subnet, group = lab.vpc(f"10.8{number}.0.0/16", f"10.8{number}.1.0/24")
            labs.append((lab, lab.instance(subnet, group)[0]))
        # Links are TUN devices, which some machines keep for root.
        if tun_is_for_all():
            wait_for("every link", lambda: all(
                region["links"] and all(link["connected"] for link in region["links"].values())
                for region in lath.status()["regions"] if region["name"] in regions))
        before = lath.processes()
        lath.kill()
        lath.start()
        after = lath.processes()
        assert {key: it["pid"] for key, it in after.items()} == {key: it["pid"] for key, it in before.items()}
        for lab, instance in labs:
            assert lab.run(instance, "echo", "there") == "there\n"
        # The successor has power over what its predecessor made: it starts a node there.
        os.kill(after[regions[1], "node"]["pid"], 9)
        wait_for("another node", lambda: lath.pid(regions[1], "node") not in (None, after[regions[1], "node"]["pid"]))
        for lab, instance in labs:
            wait_for("the instance", lambda: lab.run(instance, "echo", "there", check=False).stdout == "there\n")
            lab.clean()
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []


def unified_groups():
    """Where the unified hierarchy of control groups is, when this is root and there is one."""
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    roots = [line.split()[4] for line in mounts if " - cgroup2 " in line]
    return pathlib.Path(roots[0]) if roots and os.geteuid() == 0 else None


class Served(Rootless):
    """Served in a group below one that is the user's, as a service manager makes them; its commands come from outside of that."""

    def __init__(self, groups):
        super().__init__()
        self.group = groups / f"of-{self.directory.name}"
        self.entering = False
        for path in self.group, self.group / "service":
            path.mkdir()
            for file in "", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control":
                os.chown(path / file, user(), -1)

    def as_user(self, *words):
        words = super().as_user(*words)
        if not self.entering:
            return words
        return ["sh", "-c", f'echo $$ >{self.group}/service/cgroup.procs && exec "$@"', "sh", *words]

    def start(self):
        self.entering = True
        try:
            return super().start()
        finally:
            self.entering = False


def test_an_ordinary_user_enters_instances_from_a_login_session():
    groups = unified_groups()
    fine, why = allowed()
    if not fine or groups is None:
        pytest.skip(f"SKIPPED: no user namespaces of ordinary users, or no cgroup2: {why}")
    lath = Served(groups)
    try:
        with lath, Lab(lath) as lab:
            _, subnet, group = lab.vpc("10.80.0.0/16", "10.80.1.0/24")
            instance, _ = lab.instance(subnet, group, script="echo hello >/dev/console")
            wait_for("user data", lambda: "hello" in lab.console(instance))
            assert (lath.group / "service").exists() and list(lath.group.glob(f"lath-*/{instance}/processes"))
            run = lath.cli("exec", "--data-dir", str(lath.data), instance, "--", "echo", "inside", check=False)
            assert (run.returncode, run.stdout) == (0, "inside\n"), run.stderr
        wait_for("its groups to go", lambda: not list(lath.group.glob("lath-*")))
    finally:
        for path in lath.group / "service", lath.group:
            path.rmdir()
