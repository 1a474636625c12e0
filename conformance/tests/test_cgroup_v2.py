"""On a host whose control groups are of version 2 alone: a cluster's nodes and pods are held to their limits by groups, its metrics
are read from them, Lath finds them again, and they go with what they limit. `conformance/kubernetes/cgroup_v2.py` makes such a
host; elsewhere this is skipped.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from lathlab import kubernetes as lab, wait_for
from lathlab.lab import Lab
from lathlab.world import World
from test_rootless import Rootless, allowed, user

GROUPS = pathlib.Path("/sys/fs/cgroup")
IS_V2 = (GROUPS / "cgroup.controllers").exists()
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not IS_V2, reason="SKIPPED: control groups here are not of version 2 alone; conformance/kubernetes/cgroup_v2.py"),
]

REGION, NAME = "us-east-1", "unified"
PATIENCE = 300 * float(os.environ.get("LATH_TEST_PATIENCE", "60")) / 60
GROUP = {"clusterName": NAME, "nodegroupName": "nodes"}
# One that is held to its limits, and one that wants more memory than its limit.
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: held}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: busybox
    image: busybox:latest
    command: [sh, -c, "while :; do :; done"]
    resources: {limits: {cpu: 100m, memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: hog}
spec:
  restartPolicy: Never
  containers:
  - name: busybox
    image: busybox:latest
    command: [dd, if=/dev/zero, of=/dev/null, bs=200M, count=1]
    resources: {limits: {memory: 32Mi}}
"""


def read(path):
    return path.read_text().strip()


def of_instance(instance):
    """Its group."""
    [group] = [it / instance for it in GROUPS.glob("lath-*") if (it / instance).is_dir()]
    return group


class Cluster:
    """A cluster with a node, and metrics."""

    def __init__(self, kubernetes, lath, directory):
        self.kubernetes, self.lath = kubernetes, lath
        self.token, self.asked = None, -1000
        world = World(lath)
        self.place = world.place(REGION)
        self.eks, iam = world.client("eks", REGION), world.client("iam", REGION)
        self.env = lath.env() | kubernetes.environment() | {"KUBECONFIG": str(directory / "kubeconfig"), "AWS_DEFAULT_REGION": REGION}
        roles = {}
        for service in "eks", "ec2":
            trust = {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
            roles[service] = iam.create_role(RoleName=f"{service}-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        self.eks.create_cluster(name=NAME, roleArn=roles["eks"], resourcesVpcConfig={"subnetIds": self.place.subnets})
        wait_for("the cluster", lambda: self.eks.describe_cluster(name=NAME)["cluster"]["status"] == "ACTIVE", patience=PATIENCE)
        self.eks.create_nodegroup(**GROUP, nodeRole=roles["ec2"], subnets=self.place.subnets, instanceTypes=["m5.large"],
                                  scalingConfig={"minSize": 1, "maxSize": 1, "desiredSize": 1})
        self.eks.create_addon(clusterName=NAME, addonName="metrics-server")
        wait_for("the node", lambda: self.eks.describe_nodegroup(**GROUP)["nodegroup"]["status"] == "ACTIVE", patience=PATIENCE)
        subprocess.run(["aws", "eks", "update-kubeconfig", "--name", NAME], env=self.env, check=True, stdout=subprocess.DEVNULL)

    def kubectl(self, *arguments, **more):
        """With a token that is asked for now and then: the aws CLI takes long to begin where processors are emulated."""
        if time.monotonic() - self.asked > 300:
            told = subprocess.run(["aws", "eks", "get-token", "--cluster-name", NAME], env=self.env, check=True, capture_output=True)
            self.token, self.asked = json.loads(told.stdout)["status"]["token"], time.monotonic()
        return self.kubernetes.kubectl(self.env, f"--token={self.token}", *arguments, **more)

    def pod(self, name):
        return json.loads(self.kubectl("get", "pod", name, "-o", "json"))

    def inside(self, script):
        return self.kubectl("exec", "held", "--", "sh", "-c", script).strip()

    def node(self):
        [node] = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return node["spec"]["providerID"].rsplit("/", 1)[1]

    def top(self, *arguments):
        run = self.kubectl("top", *arguments, "--no-headers", check=False)
        return [line.split() for line in run.stdout.splitlines()] if run.returncode == 0 else []


def test_nodes_and_pods_are_limited_by_groups_that_go_with_them(kubernetes, tmp_path):
    with kubernetes.lath() as lath:
        cluster = Cluster(kubernetes, lath, tmp_path)
        node = cluster.node()
        group = of_instance(node)
        nodes_are_limited(lath, node, group)
        cluster.kubectl("apply", "-f", "-", content=PODS)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/held", f"--timeout={PATIENCE:.0f}s")
        pods_are_limited(cluster, group)
        what_they_use_is_known(cluster)

        alive = {it: lab.processes(node, it) for it in ("kubelet", "containerd")}
        lath.kill()
        lath.start()
        wait_for("the cluster after Lath died", lambda: "held" in cluster.kubectl("get", "pods", check=False).stdout, patience=PATIENCE)
        assert lath.exec(node, "cat", "/proc/self/cgroup").strip() == "0::/init", "it joins the node's groups"
        assert {it: lab.processes(node, it) for it in alive} == alive, "adopted, not begun again"
        assert cluster.pod("held")["status"]["containerStatuses"][0]["restartCount"] == 0

        an_instance_that_dies_takes_its_groups_along(cluster)
        cluster.eks.delete_nodegroup(**GROUP)
        cluster.eks.get_waiter("nodegroup_deleted").wait(**GROUP, WaiterConfig={"Delay": 1, "MaxAttempts": int(PATIENCE)})
        cluster.eks.delete_cluster(name=NAME)
        cluster.eks.get_waiter("cluster_deleted").wait(name=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": int(PATIENCE)})
        wait_for("every trace to be gone", lambda: not lab.traces([node, f"control-plane@{NAME}", group.parent.name]))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []


def nodes_are_limited(lath, node, group):
    """By what they cannot change, and their supervisor by nothing."""
    processes = group / "processes"
    assert int(read(processes / "memory.max")) == 8 << 30
    assert read(processes / "cpu.max") == "200000 100000"
    assert int(read(group / "cgroup.max.descendants")) > 0
    assert not (group / "supervisor" / "cgroup.procs").read_text() == ""
    for file in "memory.max", "cpu.max", "pids.max":
        with contextlib.suppress(FileNotFoundError):
            assert read(group / "supervisor" / file).startswith("max")
    for file in "memory.max", "cpu.max", "cgroup.max.descendants":
        run = lath.exec(node, "sh", "-c", f"echo 100000 >/sys/fs/cgroup/{file}", check=False)
        assert run.returncode != 0, f"the node's root changes {file}"
    inside = set(lath.exec(node, "cat", "/sys/fs/cgroup/cgroup.subtree_control").split())
    assert inside >= {"cpu", "cpuset", "memory", "pids"}, inside


def pods_are_limited(cluster, group):
    assert cluster.inside("cat /sys/fs/cgroup/memory.max") == str(64 << 20)
    assert cluster.inside("cat /sys/fs/cgroup/cpu.max") == "10000 100000"
    [kubepods] = [it for it in (group / "processes").iterdir() if it.name.startswith("kubepods")]
    assert {"memory", "cpu", "pids"} <= set(read(kubepods / "cgroup.controllers").split())
    wait_for("the pod to want too much", lambda: cluster.pod("hog")["status"]["phase"] == "Failed", patience=PATIENCE)
    ended = cluster.pod("hog")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def what_they_use_is_known(cluster):
    [[_, cpu, _, memory, *_]] = wait_for("metrics of the node", lambda: cluster.top("nodes"), patience=PATIENCE)
    assert (int(cpu.rstrip("m")) > 0, int(memory.rstrip("Mi")) > 0) == (True, True)
    # A tenth of a processor, whose measurement has some noise.
    used = wait_for("metrics of the pod", lambda: [
        int(row[1].rstrip("m")) for row in cluster.top("pods", "held") if int(row[1].rstrip("m")) > 40], patience=PATIENCE)
    assert used[0] < 200


def an_instance_that_dies_takes_its_groups_along(cluster):
    instance = cluster.place.launch("short")["id"]
    group = of_instance(instance)
    assert int(read(group / "processes" / "memory.max")) == 1 << 30
    supervisors = (group / "supervisor" / "cgroup.procs").read_text().split()
    for pid in supervisors:
        os.kill(int(pid), signal.SIGKILL)
    wait_for("its groups to go", lambda: not group.exists(), patience=PATIENCE)
    cluster.place.ec2.terminate_instances(InstanceIds=[instance])


class Delegated(Rootless):
    """A Lath of an ordinary user in a group below one that is the user's, as a service manager makes them."""

    def __init__(self):
        super().__init__()
        self.group = GROUPS / f"of-{self.directory.name}"
        for path in self.group, self.group / "service":
            path.mkdir()
            for file in "", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control":
                os.chown(path / file, user(), -1)

    def as_user(self, *words):
        enter = f'echo $$ >{self.group}/service/cgroup.procs && exec "$@"'
        return ["sh", "-c", enter, "sh", *super().as_user(*words)]

    def remove(self):
        (self.group / "service").rmdir()
        self.group.rmdir()


@pytest.mark.skipif(not allowed()[0], reason="SKIPPED: this kernel lets no ordinary user make user namespaces")
def test_an_ordinary_users_instances_are_limited_by_what_is_delegated():
    (GROUPS / "cgroup.subtree_control").write_text("+memory +pids")
    with Delegated() as lath:
        doctor = lath.cli("doctor", check=False).stdout
        assert f"ok    limits of instances: memory by cgroup v2 in {lath.group}\n" in doctor, doctor
        with Lab(lath) as lab:
            _, subnet, group = lab.vpc("10.80.0.0/16", "10.80.1.0/24")
            instance, _ = lab.instance(subnet, group, script="echo hello >/dev/console")
            wait_for("user data", lambda: "hello" in lab.console(instance))
            [limited] = lath.group.glob(f"lath-*/{instance}/processes")
            assert int(read(limited / "memory.max")) > 0
            assert lath.exec(instance, "cat", "/proc/self/cgroup").strip() == "0::/"
        wait_for("its groups to go", lambda: not list(lath.group.glob("lath-*")))
    lath.remove()
