"""The global recipe with clusters in two regions, while everything that can die is killed between its steps and in some of them:
processes of Lath, programs of control planes and of nodes, whole nodes. The recipe goes on as if nothing had been.

Takes some ten minutes, and runs where LATH_KILLS is set.
"""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from lathlab import host_state, kubernetes as lab, wait_for
from lathlab.kubernetes import kill, processes
from lathlab.world import script

pytestmark = [pytest.mark.root, pytest.mark.skipif(
    not os.environ.get("LATH_KILLS"), reason="SKIPPED: set LATH_KILLS=1 to kill everything between the steps of the global recipe")]

RECIPE = "global-eks-resilience.sh"
REGIONS = {"primary": "us-east-1", "secondary": "us-west-2"}
PATIENCE = 600
CONTROL_PLANE = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
NODE = ["kubelet", "containerd", "kube-proxy"]
# What a node has of each pod that has a network of its own.
OF_PODS = {
    "leases": "find /run/lath-cni -name '[0-9]*' | wc -l",
    "network namespaces": "ls /run/netns 2>/dev/null | wc -l",
    "routes": "ip route show proto static scope link | wc -l",
}


class Recipe:
    """The recipe on a Lath, and what it has made so far."""

    def __init__(self, kubernetes, lath, state):
        self.kubernetes, self.lath, self.state = kubernetes, lath, state
        self.settings = kubernetes.scripts_environment(state.parent) | {"KUBERNETES_VERSION": kubernetes.version, "WAIT_TIMEOUT": "600"}
        self.instances = set()

    def run(self, *phases):
        return script(self.lath, RECIPE, *phases, directory=self.state, patience=3000, **self.settings)

    def kubectl(self, side, *arguments, **more):
        env = self.lath.env() | self.settings | {"KUBECONFIG": str(self.state / "kubeconfig")}
        return self.kubernetes.kubectl(env, *arguments, context=f"{side}-cluster", **more)

    def objects(self, side, *arguments):
        run = self.kubectl(side, "get", *arguments, "-o", "json", check=False)
        return json.loads(run.stdout)["items"] if run.returncode == 0 else []

    def cluster(self, side):
        known = dict(line.split("=", 1) for line in (self.state / "state").read_text().splitlines())
        return known[f"{side.upper()}_CLUSTER_NAME"]

    def nodes(self, side):
        """The running instances of a region."""
        reservations = self.lath.aws("ec2", "describe-instances", "--region", REGIONS[side], "--filters",
                                     "Name=instance-state-name,Values=running")["Reservations"]
        found = sorted(it["InstanceId"] for reservation in reservations for it in reservation["Instances"])
        self.instances |= set(found)
        return found

    def ready(self, side):
        """The instances of nodes that are Ready."""
        return {node["spec"]["providerID"].rsplit("/", 1)[1] for node in self.objects(side, "nodes")
                if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])}

    # ------------------------------------------------------------------------------------------ what is killed
    def kill_lath(self):
        self.lath.kill_everything()
        self.lath.start()

    def kill_processes_of_lath(self):
        for region in REGIONS.values():
            for role in "control", "node":
                self.lath.kill_process(region, role)

    def kill_control_plane(self, side):
        for program in CONTROL_PLANE:
            kill(f"control-plane@{self.cluster(side)}", program)

    def kill_programs_of_nodes(self, side, count):
        for node in self.nodes(side)[:count]:
            for program in NODE:
                kill(node, program)

    def kill_first_process(self, side):
        """Of the last node: what has no first process has no power."""
        [kubelet] = processes(self.nodes(side)[-1], "kubelet")
        os.kill(lab.parent(kubelet), signal.SIGKILL)

    def kill_supervisor(self, side):
        """What holds the first process of the last node."""
        [kubelet] = processes(self.nodes(side)[-1], "kubelet")
        os.kill(lab.parent(lab.parent(kubelet)), signal.SIGKILL)

    # ------------------------------------------------------------------------------------------ what is so again
    def is_well(self, side):
        """Three nodes are ready, and are all that runs; deployments are complete; nodes have of pods what there is of pods."""
        nodes = self.ready(side)
        if len(nodes) != 3 or nodes != set(self.nodes(side)):
            return False
        deployments = self.objects(side, "deployments", "-A")
        if not deployments or not all(it["status"].get("readyReplicas") == it["spec"]["replicas"] for it in deployments):
            return False
        return not self.leaks(side)

    def leaks(self, side):
        names = {node["metadata"]["name"]: node["spec"]["providerID"].rsplit("/", 1)[1] for node in self.objects(side, "nodes")}
        pods = dict.fromkeys(names.values(), 0)
        for pod in self.objects(side, "pods", "-A"):
            if not pod["spec"].get("hostNetwork") and pod["spec"].get("nodeName") in names:
                pods[names[pod["spec"]["nodeName"]]] += 1
        found = []
        for node, count in pods.items():
            for what, look in OF_PODS.items():
                seen = int(self.lath.exec(node, "sh", "-c", look).strip() or 0)
                if seen != count:
                    found.append(f"{node}: {seen} {what} of {count} pods")
        return found

    def converge(self, after):
        for side in REGIONS:
            try:
                wait_for(f"the {side} cluster to be well after {after}", lambda side=side: self.is_well(side), patience=PATIENCE, pause=1)
            except AssertionError as error:
                raise AssertionError(f"{error}; leaks: {self.leaks(side)}; ready: {self.ready(side)}; running: {self.nodes(side)}") from None


def later(work):
    """Does it in the middle of what comes next; `result` says how it went."""
    def begin():
        time.sleep(3)
        work()

    return ThreadPoolExecutor(1).submit(begin)


def test_everything_dies_between_the_steps_of_the_global_recipe(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath(regions=list(REGIONS.values())) as lath:
        recipe = Recipe(kubernetes, lath, tmp_path / "state")
        recipe.run("prepare")
        recipe.run("steps", "1", "2", "3")
        recipe.kill_lath()
        recipe.run("steps", "4", "5")
        recipe.kill_processes_of_lath()
        recipe.run("steps", "6")
        recipe.kill_control_plane("primary")
        # While the other cluster is being made.
        killing = later(recipe.kill_processes_of_lath)
        recipe.run("steps", "7")
        killing.result()
        recipe.kill_lath()
        recipe.kill_control_plane("secondary")
        # While nodes boot.
        killing = later(recipe.kill_processes_of_lath)
        recipe.run("steps", "8")
        killing.result()
        for side in REGIONS:
            recipe.kill_programs_of_nodes(side, 2)
        recipe.run("steps", "9")
        for side in REGIONS:
            recipe.kill_supervisor(side)
        recipe.converge("supervisors of nodes died")
        for side in REGIONS:
            recipe.kubectl(side, "apply", "--server-side", "-f", str(lab.gateway_api()))
        recipe.run("steps", "11")
        # All of it at once.
        for side in REGIONS:
            recipe.kill_control_plane(side)
            recipe.kill_programs_of_nodes(side, 2)
            recipe.kill_first_process(side)
        recipe.kill_lath()
        recipe.converge("everything died at once")
        recipe.run("validate", "1", "2")
        out = recipe.run("validate", "5")
        assert "from the secondary cluster" in out, out

        groups = [f"control-plane@{recipe.cluster(side)}" for side in REGIONS]
        killing = later(recipe.kill_processes_of_lath)
        recipe.run("cleanup")
        killing.result()
        left = []

        def gone():
            left[:] = lab.traces({*recipe.instances, *groups})
            return not left

        try:
            wait_for("every trace of nodes and control planes to be gone", gone)
        except AssertionError:
            raise AssertionError(left) from None
        for region in REGIONS.values():
            assert lath.aws("ec2", "describe-network-interfaces", "--region", region)["NetworkInterfaces"] == []
            assert lath.aws("ec2", "describe-vpcs", "--region", region, "--filters", "Name=is-default,Values=false")["Vpcs"] == []
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
