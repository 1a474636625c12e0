"""Routes come, change and go while what serves them is killed in turn: the Gateway API controller, the API server, the node's programs, and the
whole of Lath. Everything is as the objects say in the end, and nothing is left of it when they go.

Takes some minutes, and runs where LATH_KILLS is set. LATH_KILL_ROUNDS says how many rounds (1).
"""

import os
import random
import threading

import pytest
from lathlab import gateways, kubernetes as lab, wait_for
from lathlab.gateways import CLASS, KINDS, PATIENCE, SHOP
from lathlab.kubernetes import kill

pytestmark = [pytest.mark.root, pytest.mark.skipif(
    not os.environ.get("LATH_KILLS"), reason="SKIPPED: set LATH_KILLS=1 to kill what serves routes while they change")]

NAME, ROUNDS, ROUTES = "killed", int(os.environ.get("LATH_KILL_ROUNDS", "1")), 6
APP = "".join("""
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: nginx
        image: nginx:latest
        command: ["/bin/sh", "-c", "echo %(name)s >/usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec: {selector: {app: %(name)s}, ports: [{port: 80}]}
""" % {"name": name} for name in ("one", "two"))
GATEWAY = CLASS + SHOP
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%(at)d}
spec:
  parentRefs: [{name: shop}]
  rules: [{backendRefs: [{name: %(to)s, port: 80}]}]
"""


class Killed(gateways.Gateways):
    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, name=NAME)
        [self.node] = self.nodes().values()

    def begin(self, *more):
        super().begin("--leader-elect", "--lease-namespace", "default", "--metrics-bind-address", "0", *more)

    def again(self):
        """A controller, where there is none: it ends when it cannot renew its Lease, as a Deployment's does."""
        if self.controller.poll() is not None:
            self.begin()

    def kill_controller(self):
        self.end("kill")

    def kill_api_server(self):
        kill(f"control-plane@{NAME}", "kube-apiserver")

    def kill_node(self):
        for program in "kubelet", "containerd", "kube-proxy":
            kill(self.node, program)

    def kill_lath(self):
        self.lath.kill()
        self.lath.start()

    def curl(self, name):
        return self.in_client("curl", "-sS", "--max-time", "5", f"http://{name}/", check=False).stdout.strip()


@pytest.fixture
def cluster(kubernetes, tmp_path):
    yield from gateways.cluster(kubernetes, tmp_path, Killed)


def test_routes_converge_whatever_is_killed(cluster):
    cluster.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(KINDS))
    cluster.apply(APP)
    cluster.begin()
    cluster.apply(GATEWAY)
    cluster.programmed("gateway", "shop")
    over, wrote = threading.Event(), [0]

    def write():
        """Changes routes, whatever becomes of that."""
        chosen = random.Random(1)
        while not over.is_set():
            at = chosen.randrange(ROUTES)
            if chosen.random() < 0.2:
                run = cluster.kubectl("delete", "httproute", f"r{at}", "--wait=false", "--ignore-not-found", check=False)
            else:
                run = cluster.kubectl("apply", "-f", "-", content=ROUTE % {"at": at, "to": chosen.choice(("one", "two"))}, check=False)
            wrote[0] += run.returncode == 0
            over.wait(0.2)

    writer = threading.Thread(target=write)
    writer.start()
    with cluster.showing_its_log():
        try:
            for _ in range(ROUNDS):
                for kill_it in (cluster.kill_controller, cluster.kill_api_server, cluster.kill_node, cluster.kill_lath):
                    before = wrote[0]
                    kill_it()

                    def goes_on(before=before):
                        cluster.again()
                        return wrote[0] >= before + 5

                    wait_for(f"changes after {kill_it.__name__}", goes_on, patience=PATIENCE)
        finally:
            over.set()
            writer.join()
        converges(cluster)
        goes(cluster)


def converges(cluster):
    """All routes lead where they say, and the Gateway has counted them."""
    wanted = {f"r{at}": ("one", "two")[at % 2] for at in range(ROUTES)}

    def all_are():
        cluster.again()
        for at in range(ROUTES):
            cluster.kubectl("apply", "-f", "-", content=ROUTE % {"at": at, "to": wanted[f"r{at}"]})
        return all(cluster.said("httproute", name, "Programmed") == ("True", "Programmed") for name in wanted)

    wait_for("all routes", all_are, patience=PATIENCE, pause=2)
    for name, to in wanted.items():
        domain = cluster.domain("httproute", name)
        wait_for(f"the answer of {name}", lambda domain=domain, to=to: cluster.curl(domain) == to, patience=PATIENCE)
    listener = lambda: cluster.object("gateway", "shop")["status"]["listeners"][0]
    wait_for("the count of routes", lambda: listener()["attachedRoutes"] == ROUTES, patience=PATIENCE)
    lattice = cluster.place.lattice
    assert sorted(it["name"] for it in lattice.list_services()["items"]) == sorted(f"{name}-default" for name in wanted)
    # One group for each route: what it led to before is gone, or goes.
    wait_for("groups", lambda: len(lattice.list_target_groups()["items"]) == ROUTES, patience=PATIENCE)


def goes(cluster):
    cluster.kubectl("delete", "httproute", "--all", "--timeout=240s")
    cluster.kubectl("delete", "gateway", "shop", "--timeout=240s")
    wait_for("nothing to be left", lambda: not cluster.left(), patience=PATIENCE)
    assert cluster.end() == 0
