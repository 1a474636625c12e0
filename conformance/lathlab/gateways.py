"""A cluster with the Gateway API controller as a program of this host, and a client in its VPC."""

import contextlib
import json
import subprocess

from . import PATIENCE as USUAL, ROOT, binary, wait_for
from .clusters import Cluster

PATIENCE = int(max(300, USUAL))
KINDS = ROOT / "packaging" / "gateway" / "kinds.yaml"
DOMAIN = "application-networking.k8s.aws/lattice-assigned-domain-name"
CONTROLLER = "lath.dev/gateway-api-controller"
CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: lath}
spec: {controllerName: lath.dev/gateway-api-controller}
"""
SHOP = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  gatewayClassName: lath
  listeners: [{name: http, protocol: HTTP, port: 80}]
"""


class Gateways(Cluster):
    """A cluster, of one node unless more are wanted, whose ports are open to its VPC and to Lattice."""

    def __init__(self, kubernetes, lath, directory, name, region="us-east-1", ports=(80,), nodes=1):
        super().__init__(kubernetes, lath, directory, name=name, region=region, nodes=nodes, instance_type="m5.large")
        for port in ports:
            self.admit(port)
        self.client = self.place.launch("client")
        self.account = self.world.client("sts", region).get_caller_identity()["Account"]
        self.log, self.controller = directory / "controller.log", None

    def apply(self, manifest):
        self.kubectl("apply", "-f", "-", content=manifest)

    def object(self, *what):
        """One object, or a list, decoded."""
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def begin(self, *more):
        """Starts the controller."""
        with open(self.log, "ab") as log:
            self.controller = subprocess.Popen([
                binary(), "k8s", "controller", "--cluster-name", self.name, "--vpc-id", self.place.vpc, "--account-id", self.account,
                "--region", self.region, "--endpoint-url", self.lath.endpoint, *more],
                env=self.env | {"LATH_LOG": "info,lath_gateway=debug"}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, how="terminate"):
        getattr(self.controller, how)()
        return self.controller.wait(timeout=60)

    def in_client(self, *command, check=True):
        return self.lath.exec(self.client["id"], *command, check=check)

    def said(self, kind, name, condition, controller=CONTROLLER):
        """A condition of a controller's entry of a route, or of another object, as (status, reason)."""
        found = self.object(kind, name)
        status = found.get("status", {})
        if "parents" in status:
            status = next((it for it in status["parents"] if it["controllerName"] == controller), {})
        fresh = lambda it: it.get("observedGeneration") == found["metadata"]["generation"]
        return next(((it["status"], it["reason"]) for it in status.get("conditions", []) if it["type"] == condition and fresh(it)), None)

    def programmed(self, kind, name):
        wait_for(f"{kind} {name}", lambda: self.said(kind, name, "Programmed") == ("True", "Programmed"), patience=PATIENCE)

    def domain(self, kind, name):
        """The name that Lattice has given to a route's service."""
        return wait_for(f"the name of {kind} {name}", lambda: self.object(kind, name)["metadata"].get("annotations", {}).get(DOMAIN),
                        patience=PATIENCE)

    @contextlib.contextmanager
    def showing_its_log(self):
        """The end of the controller's log is printed when what is within fails."""
        try:
            yield
        except BaseException:
            print(self.log.read_text()[-8000:])
            raise

    def left(self):
        """What Lattice has."""
        lattice = self.place.lattice
        return [it["name"] for it in [*lattice.list_services()["items"], *lattice.list_target_groups()["items"],
                                      *lattice.list_service_networks()["items"]]]


def cluster(kubernetes, directory, make, *flags):
    """A fixture's generator: the cluster that `make` makes on a Lath of its own with these flags; both end, and leave nothing."""
    with kubernetes.lath(*flags) as lath:
        made = make(kubernetes, lath, directory)
        try:
            yield made
        finally:
            if made.controller and made.controller.poll() is None:
                made.end("kill")
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
