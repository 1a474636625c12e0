"""Rollouts under load: a Deployment with readiness gates and preStop behind a route of the Gateway API controller, requests at a
fixed rate that wait for no answer, and none is lost. LATH_ROLLOUTS says how many rollouts, LATH_ROLLOUT_RATE how many requests in a
second.
"""

import contextlib
import json
import os
import subprocess
import urllib.request

import pytest
from lathlab import binary, free_port, gateways, kubernetes as lab, wait_for
from lathlab.clusters import is_true
from lathlab.gateways import CLASS, KINDS, PATIENCE, SHOP

pytestmark = pytest.mark.root

ROLLOUTS = int(os.environ.get("LATH_ROLLOUTS", "3"))
RATE = float(os.environ.get("LATH_ROLLOUT_RATE", "50"))
NAME = "rolled"
GATE = "application-networking.k8s.aws/pod-readiness-gate"
APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      readinessGates: [{conditionType: application-networking.k8s.aws/pod-readiness-gate}]
      terminationGracePeriodSeconds: 30
      containers:
      - name: nginx
        image: nginx:latest
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        command: ["/bin/sh", "-c", "echo $POD >/usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "10"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: application-networking.k8s.aws/v1alpha1
kind: TargetGroupPolicy
metadata: {name: web}
spec:
  targetRef: {group: "", kind: Service, name: web}
  protocol: HTTP
  protocolVersion: HTTP1
  healthCheck: {enabled: true, path: /, intervalSeconds: 5, timeoutSeconds: 2, healthyThresholdCount: 2, unhealthyThresholdCount: 2}
"""
GATEWAY = CLASS + SHOP
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: shop}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""
# Sends GETs at a rate, each over a connection of its own, whether earlier ones have an answer or not, until a file is there. Then
# says what came of them. An answer that breaks off after its head could not be sent again by anybody: it is counted apart.
LOAD = r"""
import asyncio, collections, json, os, socket, sys, time
name, rate, over, runs, longest = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])
MOST, PATIENCE = 500, 15
address = socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0]
answers, failed, cut, under_way, begun = collections.Counter(), [], [], set(), time.monotonic()
took = []

async def get():
    reader, writer = await asyncio.open_connection(address, 80)
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        try:
            body = await reader.readexactly(length[0]) if length else await reader.read(65536)
        except (OSError, asyncio.IncompleteReadError) as error:
            return "cut", repr(error)
        return status, body.decode(errors="replace").strip()
    finally:
        writer.close()

async def ask():
    at = time.monotonic()
    try:
        status, body = await asyncio.wait_for(get(), PATIENCE)
    except Exception as error:
        failed.append([round(at - begun, 3), repr(error)])
        return
    took.append(time.monotonic() - at)
    if status == 200:
        answers[body] += 1
    elif status == "cut":
        cut.append([round(at - begun, 3), body])
    else:
        failed.append([round(at - begun, 3), f"{status} {body[:200]}"])

async def main():
    sent = 0
    while not os.path.exists(over) and time.monotonic() - begun < longest:
        await asyncio.sleep(max(0, begun + sent / rate - time.monotonic()))
        sent += 1
        if len(under_way) >= MOST:
            failed.append([round(time.monotonic() - begun, 3), f"{MOST} requests wait for an answer"])
            continue
        task = asyncio.ensure_future(ask())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        if sent == 20:
            open(runs, "w").close()
    await asyncio.gather(*under_way)
    took.sort()
    slow = {share: round(took[int(len(took) * share / 100)], 3) for share in (50, 99)} if took else {}
    print(json.dumps({"sent": sent, "answers": answers, "failed": failed[:20], "failures": len(failed), "cut": cut,
                      "seconds": round(time.monotonic() - begun, 1), "percentiles": slow, "slowest": round(max(took, default=0), 3)}))

asyncio.run(main())
"""


class Rolled(gateways.Gateways):
    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, name=NAME)
        self.loads, self.probes = 0, free_port()

    def begin(self, *more):
        super().begin("--metrics-bind-address", f"127.0.0.1:{self.probes}", *more)

    def probe(self, path):
        """What the controller answers to a probe."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.probes}/{path}", timeout=10) as reply:
            return reply.read().decode()

    def told(self, *arguments):
        """What `lath k8s` prints."""
        run = subprocess.run([binary(), "k8s", *arguments, "--region", self.region, "--endpoint-url", self.lath.endpoint], env=self.env, text=True,
                             capture_output=True, timeout=PATIENCE)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def pods(self):
        """The pods that do not end."""
        return [it for it in self.object("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in it["metadata"]]

    def roll(self, restart=True):
        """Replaces all pods, and waits until that is done."""
        if restart:
            self.kubectl("rollout", "restart", "deployment/web")
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")

    def targets(self, *states):
        """The addresses that Lattice has for the Service in these states."""
        lattice = self.place.lattice
        groups = [it for it in lattice.list_target_groups()["items"] if it["name"].startswith("k8s-default-web-")]
        return {target["id"] for group in groups for target in lattice.list_targets(targetGroupIdentifier=group["id"])["items"]
                if target["status"] in states}

    def settled(self):
        """Waits until the pods that do not end are the targets, and no others are."""
        wait_for("the pods to be the targets", lambda: self.targets("HEALTHY", "UNHEALTHY", "INITIAL")
                 == {it["status"]["podIP"] for it in self.pods()}, patience=PATIENCE)

    @contextlib.contextmanager
    def under_load(self):
        """Sends requests meanwhile; gives a dictionary that is filled when they end."""
        self.loads += 1
        over, runs = f"/tmp/over-{self.loads}", f"/tmp/runs-{self.loads}"
        load = subprocess.Popen(
            [binary(), "exec", "--data-dir", str(self.lath.data), self.client["id"], "--", "python3", "-c", LOAD, self.domain_name, str(RATE),
             over, runs, str(PATIENCE * 2 * (ROLLOUTS + 1))], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        outcome = {}
        try:
            wait_for("requests", lambda: load.poll() is not None or self.in_client("test", "-e", runs, check=False).returncode == 0)
            assert load.poll() is None, "the load ended at once"
            yield outcome
            assert load.poll() is None, "the load ended before what it was for"
        finally:
            self.in_client("touch", over, check=False)
            try:
                said, complaints = load.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                load.kill()
                said, complaints = load.communicate()
            print(f"load {self.loads}: {load.returncode} {said[-4000:]} {complaints[-4000:]}")
        assert load.returncode == 0
        outcome.update(json.loads(said.splitlines()[-1]))


def gate(pod):
    """What a pod's gate says: status and reason."""
    conditions = pod["status"].get("conditions", [])
    return next(((it["status"], it.get("reason")) for it in conditions if it["type"] == GATE), None)


def nothing_lost(outcome):
    """Each request has its answer."""
    assert (outcome["failures"], outcome["cut"]) == (0, []), outcome
    assert sum(outcome["answers"].values()) == outcome["sent"], outcome


@pytest.fixture
def cluster(kubernetes, tmp_path):
    yield from gateways.cluster(kubernetes, tmp_path, Rolled)


def test_rollouts_lose_no_request(cluster):
    cluster.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(KINDS))
    cluster.begin()
    cluster.apply(GATEWAY)
    cluster.apply(APP)
    with cluster.showing_its_log():
        gated(cluster)
        rolls(cluster)
        dies(cluster)
        counted(cluster)
        explained(cluster)
        goes(cluster)


def gated(cluster):
    """Without a route pods are not ready, and nothing is said of them; with one they are when Lattice sends requests."""
    wait_for("the containers", lambda: [is_true(it, "ContainersReady") for it in cluster.pods()] == [True, True], patience=PATIENCE)
    for pod in cluster.pods():
        assert (gate(pod), is_true(pod, "Ready")) == (None, False), pod["status"]
    told = lambda: cluster.object("targetgrouppolicy", "web")["status"]["conditions"]
    wait_for("the policy to be told", lambda: [(it["type"], it["status"], it["reason"]) for it in told()] == [("Accepted", "True", "Accepted")])
    cluster.apply(ROUTE)
    cluster.programmed("httproute", "web")
    cluster.roll(restart=False)
    pods = cluster.pods()
    assert [gate(it) for it in pods] == [("True", "Healthy")] * 2, [it["status"] for it in pods]
    assert cluster.targets("HEALTHY") == {it["status"]["podIP"] for it in pods}
    cluster.domain_name = cluster.domain("httproute", "web")
    wait_for("an answer", lambda: cluster.in_client("curl", "-sf", "--max-time", "5", f"http://{cluster.domain_name}/", check=False)
             .returncode == 0, patience=PATIENCE)


def rolls(cluster):
    """All pods are replaced, again and again: each rollout is of pods whose gates Lattice's health opened."""
    seen = set()
    with cluster.under_load() as outcome:
        for _ in range(ROLLOUTS):
            before = {it["metadata"]["name"] for it in cluster.pods()}
            cluster.roll()
            pods = cluster.pods()
            names = {it["metadata"]["name"] for it in pods}
            assert len(names) == 2 and not names & before, (before, names)
            assert [gate(it) for it in pods] == [("True", "Healthy")] * 2, [it["status"] for it in pods]
            seen |= names
        cluster.settled()
    nothing_lost(outcome)
    # The requests reached the new pods, and not only those that were there all the time.
    assert seen <= set(outcome["answers"]), (seen, outcome)


def dies(cluster):
    """A pod goes at once, without its preStop: a GET that it took is sent to the other one."""
    with cluster.under_load() as outcome:
        victim = cluster.pods()[0]
        cluster.kubectl("delete", "pod", victim["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
        names = lambda: {it["metadata"]["name"] for it in cluster.pods()}
        wait_for("another pod", lambda: len(names()) == 2 and victim["metadata"]["name"] not in names(), patience=PATIENCE)
        cluster.roll(restart=False)
        cluster.settled()
    # What broke off after its head cannot be sent again.
    assert outcome["failures"] == 0, outcome
    assert sum(outcome["answers"].values()) + len(outcome["cut"]) == outcome["sent"], outcome


def counted(cluster):
    """The controller says how long that took."""
    assert cluster.probe("healthz") == cluster.probe("readyz") == "ok\n"
    metrics = dict(line.rsplit(" ", 1) for line in cluster.probe("metrics").splitlines() if not line.startswith("#"))
    assert float(metrics['lath_gateway_programmed_seconds_count{kind="HTTPRoute"}']) >= 1, metrics
    assert float(metrics['lath_gateway_api_requests_total{operation="DeregisterTargets",code="200"}']) >= 2 * ROLLOUTS, metrics
    assert float(metrics['lath_gateway_reconcile_seconds_count{kind="Pods",result="done"}']) >= 1, metrics


def explained(cluster):
    """People see in a line what a route became."""
    gateway, route = json.loads(cluster.told("status", "-n", "default", "-o", "json"))
    assert (gateway["kind"], gateway["name"], gateway["state"], gateway["attached_routes"]) == ("Gateway", "shop", "programmed", 1)
    assert (route["kind"], route["name"], route["state"], route["domain_name"]) == ("HTTPRoute", "web", "programmed", cluster.domain_name)
    assert [(it["healthy"], it["total"]) for it in route["target_groups"]] == [(2, 2)], route
    assert "2/2 healthy" in cluster.told("status")
    assert "Programmed True" in cluster.told("explain", "httproute/web")


def goes(cluster):
    cluster.kubectl("delete", "httproute", "web", f"--timeout={PATIENCE}s")
    cluster.kubectl("delete", "gateway", "shop", f"--timeout={PATIENCE}s")
    wait_for("nothing to be left", lambda: not cluster.left(), patience=PATIENCE)
    assert cluster.end() == 0
