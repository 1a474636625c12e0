"""Drills on a cluster: its pods, its nodes, all of it; each ends by its deadline, and what was there comes back."""

import json
import os
import pathlib
import signal
import subprocess

import pytest
from lathlab import binary, host_state, wait_for
from lathlab.clusters import Cluster, is_true

pytestmark = pytest.mark.root

REGION, NAME = "us-east-1", "drilled"
PATIENCE = 300
PORT = 30080
UNREACHABLE = 4
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
      - name: nginx
        image: nginx:latest
        command: ["nginx", "-g", "daemon off;"]
        readinessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 1}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec: {{minAvailable: 1, selector: {{matchLabels: {{app: web}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{type: NodePort, selector: {{app: web}}, ports: [{{port: 80, nodePort: {port}}}]}}
"""


class Shop(Cluster):
    """Two nodes with two nginx behind a port of every node."""

    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, NAME, tags={"lath:unreachable-seconds": str(UNREACHABLE)})
        self.client = self.place.launch("client")
        self.admit(PORT)
        self.kubectl("apply", "-f", "-", content=WEB.format(port=PORT))
        wait_for("nginx", lambda: len(self.ready_pods()) == 2, patience=PATIENCE)

    def ready_pods(self):
        """Node and restarts by the uid of each nginx that is ready, and stays."""
        return {pod["metadata"]["uid"]: (pod["spec"]["nodeName"], pod["status"]["containerStatuses"][0]["restartCount"])
                for pod in self.get("pods", "-l", "app=web") if is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]}

    def is_well(self):
        return len(self.nodes()) == 2 and len(self.ready_pods()) == 2

    def words(self, scenario, victim, through, *more, fault="3s"):
        """A drill under load to the port of the node `through`."""
        return [binary(), "drill", scenario, "--data-dir", str(self.lath.data), "--victim", victim, "--target",
                f"http://{self.address(through)}:{PORT}/", "--from", self.client["id"], "--rate", "20", "--fault", fault,
                "--patience", f"{PATIENCE}s", "--output", "json", *more]

    def drill(self, *words, **more):
        run = subprocess.run(self.words(*words, **more), capture_output=True, text=True, timeout=2 * PATIENCE)
        assert run.returncode in (0, 3), f"{words}: {run.returncode}\n{run.stdout}{run.stderr}\n{self.lath.tail()}"
        return json.loads(run.stdout)["repetitions"][0]


def test_drills_hit_pods_nodes_and_clusters_and_all_comes_back(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath("--extended") as lath:
        cluster = Shop(kubernetes, lath, tmp_path)
        a_control_plane_has_its_limits()
        refuses_what_is_not_there(cluster)
        pods_are_killed(cluster)
        a_node_is_drained(cluster)
        a_node_dies_and_comes_back(cluster)
        a_cluster_dies_though_drill_and_lath_are_killed(cluster)
        a_node_is_lost(cluster)
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def a_control_plane_has_its_limits():
    """4 GiB and two processors, in whichever version of control groups there is."""
    groups = [group for where in ("", "/*") for group in pathlib.Path("/sys/fs/cgroup").glob(f".{where}/lath-*/control-plane@{NAME}")]
    said = {name: {(group / name).read_text().strip() for group in groups if (group / name).exists()}
            for name in ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max")}
    assert said["memory.limit_in_bytes"] | said["memory.max"] == {str(4 << 30)}, said
    assert said["cpu.cfs_quota_us"] | said["cpu.max"] <= {"200000", "200000 100000"}, said


def refuses_what_is_not_there(cluster):
    node = sorted(cluster.nodes())[0]
    for words, said in (
            (("kill-node", "nobody", node), "no instance has the id"),
            (("kill-node", "client", node), "is no node of a cluster"),
            (("kill-cluster", "other", node), "no cluster is named"),
            (("kill-pod", NAME, node), "--pod"),
            (("kill-pod", NAME, node, "--pod", "web"), "names no pods"),
            (("kill-pod", NAME, node, "--pod", "default/none"), 'pods "none" not found'),
            (("kill-pod", NAME, node, "--pod", "default/app=none"), "no container of default/app=none runs"),
            (("drain-node", node, node, "--pod", "default/web"), "--pod")):
        run = subprocess.run(cluster.words(*words), capture_output=True, text=True, timeout=PATIENCE)
        assert run.returncode == 1 and said in run.stderr, (words, run.stderr)


def pods_are_killed(cluster):
    """By a selector: both at once; their kubelets start the containers again, in the same pods."""
    known, (node, *_) = cluster.ready_pods(), sorted(cluster.nodes())
    seen = cluster.drill("kill-pod", NAME, node, "--pod", "default/app=web")
    assert seen["failed"] > 0
    wait_for("the pods to be back", lambda: len(cluster.ready_pods()) == 2, patience=PATIENCE)
    assert {uid: restarts for uid, (_, restarts) in cluster.ready_pods().items()} == {
        uid: restarts + 1 for uid, (_, restarts) in known.items()}


def a_node_is_drained(cluster):
    """With a budget of one, and load to the other node: pods leave it one by one, and it takes pods again at the end."""
    victim, other = sorted(cluster.nodes())
    cluster.kubectl("label", "node", victim, "drill=here")
    cluster.kubectl("patch", "deployment", "web", "--patch", json.dumps({"spec": {"template": {"spec": {"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "preference": {"matchExpressions": [{"key": "drill", "operator": "Exists"}]}}]}}}}}}))
    cluster.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")
    running = subprocess.Popen(cluster.words("drain-node", victim, other, fault="60s"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for("the node to be left", lambda: len(cluster.ready_pods()) == 2
                 and {node for node, _ in cluster.ready_pods().values()} == {other}, patience=PATIENCE)
        assert victim not in cluster.nodes()
    finally:
        os.kill(running.pid, signal.SIGINT)
        running.communicate()
    # The drill is gone: whether or not it could withdraw its order, that ends.
    for order in (cluster.lath.data / "faults").glob("drill-*"):
        order.unlink()
    wait_for("the node to take pods again", lambda: victim in cluster.nodes())


def a_node_dies_and_comes_back(cluster):
    """Its pods are replaced after the seconds that the cluster's tag says, and it joins again as what it was."""
    tolerations = cluster.get("pods", "-l", "app=web")[0]["spec"]["tolerations"]
    assert {it["tolerationSeconds"] for it in tolerations if it["effect"] == "NoExecute"} == {UNREACHABLE}
    known = cluster.nodes()
    victim = next(iter(cluster.ready_pods().values()))[0]
    other = next(it for it in known if it != victim)
    running = subprocess.Popen(cluster.words("kill-node", victim, other, fault="120s"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for("its pods to be replaced elsewhere", lambda: victim not in cluster.nodes() and len(cluster.ready_pods()) == 2
                 and {node for node, _ in cluster.ready_pods().values()} == {other}, patience=PATIENCE)
    finally:
        os.kill(running.pid, signal.SIGINT)
        running.communicate()
    for order in (cluster.lath.data / "faults").glob("drill-*"):
        order.unlink()
    wait_for("the node to be back", cluster.is_well, patience=PATIENCE)
    assert cluster.nodes() == known


def a_cluster_dies_though_drill_and_lath_are_killed(cluster):
    known, pods = cluster.nodes(), set(cluster.ready_pods())
    killed = subprocess.Popen(cluster.words("kill-cluster", REGION, sorted(known)[0], fault="2s"), stdout=subprocess.DEVNULL)
    faults = cluster.lath.data / "faults"
    try:
        wait_for("the fault", lambda: any(faults.glob("*.done")), patience=PATIENCE)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert cluster.kubectl("get", "nodes", "--request-timeout=1s", check=False).returncode != 0
    cluster.lath.kill()
    cluster.lath.start()
    wait_for("the cluster to be back", cluster.is_well, patience=PATIENCE)
    wait_for("the order to be gone", lambda: not any(faults.glob("*.json")))
    assert cluster.nodes() == known and set(cluster.ready_pods()) == pods, "nothing was replaced"


def a_node_is_lost(cluster):
    known = cluster.nodes()
    victim, other = sorted(known)
    cluster.drill("lose-node", known[victim], other, fault="1s")
    wait_for("another node in its place", lambda: len(cluster.nodes()) == 2 and known[victim] not in cluster.nodes().values(),
             patience=PATIENCE)
