"""Flagger's provider for the Gateway API, unchanged: it makes an HTTPRoute of a Canary, moves its weights while a new version of a
Deployment is looked at, and promotes it. Requests go on meanwhile.

`conformance/kubernetes/flagger.sh build` makes the program of its published module; LATH_FLAGGER says where that is. The build takes
minutes, so that no run of CI does it.
"""

import os
import pathlib
import subprocess
import threading

import pytest
from lathlab import free_port, gateways, kubernetes as lab, wait_for
from lathlab.gateways import CLASS, DOMAIN, KINDS, PATIENCE, SHOP

FLAGGER = os.environ.get("LATH_FLAGGER")
pytestmark = [pytest.mark.root,
              pytest.mark.skipif(not FLAGGER, reason="SKIPPED: set LATH_FLAGGER to the program that conformance/kubernetes/flagger.sh builds")]

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: nginx
        image: nginx:latest
        env: [{name: RELEASE, value: first}]
        command: ["/bin/sh", "-c", "echo $RELEASE >/usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "10"]}}}
"""
GATEWAY = CLASS + SHOP
CANARY = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  progressDeadlineSeconds: 300
  service:
    port: 80
    targetPort: 80
    gatewayRefs: [{name: shop, namespace: default, group: gateway.networking.k8s.io, kind: Gateway}]
  analysis: {interval: 10s, threshold: 5, maxWeight: 60, stepWeight: 30}
"""


class Flagged(gateways.Gateways):
    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, name="flagged")
        self.flagger_log = directory / "flagger.log"
        self.flagger = None

    def begin_flagger(self):
        with open(self.flagger_log, "ab") as log:
            self.flagger = subprocess.Popen(
                [FLAGGER, "-kubeconfig", self.env["KUBECONFIG"], "-mesh-provider", "gatewayapi:v1", "-control-loop-interval", "2s",
                 "-metrics-server", "http://127.0.0.1:9", "-port", str(free_port()), "-log-level", "info"],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def phase(self):
        return self.object("canary", "web").get("status", {}).get("phase")

    def weights(self):
        """Of the route, by Service."""
        return {it["name"]: it["weight"] for it in self.object("httproute", "web")["spec"]["rules"][0]["backendRefs"]}

    def ask(self):
        run = self.in_client("curl", "-s", "--max-time", "10", "-w", " %{http_code}", f"http://{self.name_of_route}/", check=False)
        return run.stdout.split()


@pytest.fixture
def cluster(kubernetes, tmp_path):
    for made in gateways.cluster(kubernetes, tmp_path, Flagged):
        try:
            yield made
        finally:
            if made.flagger and made.flagger.poll() is None:
                made.flagger.terminate()
                made.flagger.wait(timeout=60)
                print(made.flagger_log.read_text()[-6000:])


def test_flagger_moves_weights_and_promotes(cluster):
    crd = pathlib.Path(FLAGGER).parent / "crd.yaml"
    cluster.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(KINDS), "-f", str(crd))
    cluster.begin()
    cluster.apply(GATEWAY)
    cluster.apply(APP)
    with cluster.showing_its_log():
        cluster.begin_flagger()
        cluster.apply(CANARY)
        wait_for("Flagger to take the Deployment over", lambda: cluster.phase() == "Initialized", patience=PATIENCE)
        cluster.programmed("httproute", "web")
        # Flagger replaces all annotations of its route at each look, and its weights with them, so that it gets none.
        assert DOMAIN not in cluster.object("httproute", "web")["metadata"].get("annotations", {})
        cluster.name_of_route = wait_for("the Gateway's address", lambda: address(cluster), patience=PATIENCE)
        wait_for("the first version", lambda: cluster.ask() == ["first", "200"], patience=PATIENCE)
        released(cluster)


def address(cluster):
    return next((it["value"] for it in cluster.object("gateway", "shop").get("status", {}).get("addresses", [])), None)


def released(cluster):
    """A new version gets a share, a greater share, and all."""
    answers, over = [], threading.Event()

    def look():
        while not over.wait(0.2):
            answers.append(cluster.ask())

    looker = threading.Thread(target=look)
    looker.start()
    try:
        cluster.kubectl("set", "env", "deployment/web", "RELEASE=second")
        wait_for("the analysis", lambda: cluster.phase() == "Progressing", patience=PATIENCE)
        wait_for("the promotion", lambda: cluster.phase() in ("Succeeded", "Failed"), patience=PATIENCE)
        assert cluster.phase() == "Succeeded"
        wait_for("the second version", lambda: cluster.ask() == ["second", "200"], patience=PATIENCE)
    finally:
        over.set()
        looker.join(timeout=60)
    # Each step once: no look of Flagger's has set it back.
    log = cluster.flagger_log.read_text()
    assert [log.count(f"Advance web.default canary weight {it}") for it in (30, 60)] == [1, 1], log
    assert cluster.weights()["web-canary"] == 0
    assert {it[-1] for it in answers if it} == {"200"}, answers
    assert {"first", "second"} <= {it[0] for it in answers}, answers
