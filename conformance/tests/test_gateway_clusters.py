"""Services without a route, with names in a private zone; and Services of two clusters that know each other by VPC Lattice alone: what one exports
the other imports, and routes forward to both.
"""

import pytest
from lathlab import gateways, kubernetes as lab, wait_for
from lathlab.gateways import CLASS, CONTROLLER, KINDS, PATIENCE, SHOP

pytestmark = pytest.mark.root

ZONE, HOST = "shops.internal", "cart.shops.internal"
APP = """
apiVersion: v1
kind: Pod
metadata: {name: cart, labels: {app: cart}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: nginx
    image: nginx:latest
    command: ["/bin/sh", "-c", "echo %(name)s >/usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]
    readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: cart, annotations: {%(annotations)s}}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
"""
EXPOSED = f'lath.dev/expose: "true", lath.dev/service-network: shop, external-dns.alpha.kubernetes.io/hostname: {HOST}'
# A Gateway of AWS's name stands for a network that is there, and its routes are reached by names of their own.
AWS = "application-networking.k8s.aws/gateway-api-controller"
GATEWAY = CLASS.replace(CONTROLLER, AWS) + SHOP
EXPORT = """
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: cart}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: everywhere}
spec:
  parentRefs: [{name: shop}]
  rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: cart, port: 80}]}]
"""


class Shop(gateways.Gateways):
    """A cluster of the set."""

    def prepare(self, annotations, *more):
        self.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(KINDS), "-f", str(lab.mcs_api()))
        self.apply(APP % {"name": self.name, "annotations": annotations})
        self.begin("--cluster-set", "shops", "--extended", "--metrics-bind-address", "0", *more)

    def said(self, kind, name, condition, controller=AWS):
        return super().said(kind, name, condition, controller)

    def conditions(self, kind, name):
        return {it["type"]: (it["status"], it["reason"]) for it in self.object(kind, name).get("status", {}).get("conditions", [])}

    def answers(self, name, times=1):
        """The different answers to so many requests, one after the other."""
        run = self.in_client("sh", "-c", f"for i in $(seq {times}); do curl -sS --max-time 5 http://{name}/ || echo failed; done", check=False)
        return set(run.stdout.split())


@pytest.fixture
def clusters(kubernetes, tmp_path):
    with kubernetes.lath("--extended") as lath:
        made = []
        try:
            for name in "east", "west":
                directory = tmp_path / name
                directory.mkdir()
                made.append(Shop(kubernetes, lath, directory, name))
            yield made
        finally:
            for it in made:
                if it.controller and it.controller.poll() is None:
                    it.end("kill")
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []


def test_services_of_two_clusters(clusters):
    east, west = clusters
    route53 = east.world.client("route53", "us-east-1")
    zone = route53.create_hosted_zone(Name=ZONE, CallerReference="1", VPC={"VPCRegion": "us-east-1", "VPCId": west.place.vpc})["HostedZone"]["Id"]
    # Private zones are for VPCs with both of these alone.
    west.place.ec2.modify_vpc_attribute(VpcId=west.place.vpc, EnableDnsHostnames={"Value": True})
    records = lambda: {(it["Name"], it["Type"]) for it in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]}
    before = records()
    east.prepare("")
    west.prepare(EXPOSED, "--default-service-network", "shop", "--discover-zones", ZONE)
    with east.showing_its_log(), west.showing_its_log():
        west.apply(GATEWAY)
        exposed(west, records, before)
        across(east, west)
        goes(east, west)
    route53.delete_hosted_zone(Id=zone)


def exposed(west, records, before):
    """A Service is reached by its name in the zone, without any route; and by no name when it does not ask for that."""
    wait_for("the Service", lambda: west.conditions("service", "cart").get("lath.dev/Programmed") == ("True", "Programmed"), patience=PATIENCE)
    assert records() - before == {(f"{HOST}.", "CNAME"), (f"cname-{HOST}.", "TXT")}
    wait_for("an answer by the name", lambda: west.answers(HOST) == {"west"}, patience=PATIENCE)
    west.kubectl("annotate", "service", "cart", "lath.dev/expose-", "lath.dev/service-network-")
    wait_for("the records to go", lambda: records() == before, patience=PATIENCE)
    wait_for("the service to go", lambda: not west.object("service", "cart")["metadata"].get("finalizers"), patience=PATIENCE)


def across(east, west):
    for it in east, west:
        it.apply(EXPORT)
    for it in east, west:
        wait_for("the export", lambda it=it: it.conditions("serviceexports.multicluster.x-k8s.io", "cart").get("Ready") == ("True", "Exported"),
                 patience=PATIENCE)
        seen = lambda it=it: {c["cluster"] for c in it.object("serviceimports.multicluster.x-k8s.io", "cart")["status"]["clusters"]}
        wait_for("both in the import", lambda: seen() == {"east.us-east-1", "west.us-east-1"}, patience=PATIENCE)
    west.apply(ROUTE)
    west.programmed("httproute", "everywhere")
    name = west.domain("httproute", "everywhere")
    wait_for("answers of both", lambda: west.answers(name, times=8) == {"east", "west"}, patience=PATIENCE)
    # The own cluster first.
    west.kubectl("annotate", "serviceimports.multicluster.x-k8s.io", "cart", "lath.dev/locality=PreferSameCluster")
    wait_for("answers of the near one", lambda: west.answers(name, times=8) == {"west"}, patience=PATIENCE)
    west.kubectl("annotate", "serviceimports.multicluster.x-k8s.io", "cart", "lath.dev/locality-")
    wait_for("answers of both again", lambda: west.answers(name, times=8) == {"east", "west"}, patience=PATIENCE)


def goes(east, west):
    for it in east, west:
        it.kubectl("delete", "serviceexports.multicluster.x-k8s.io", "cart", "--timeout=240s", "--wait=false")
    west.kubectl("delete", "httproute", "everywhere", "--timeout=240s")
    for it in east, west:
        gone = lambda it=it: not it.object("serviceimports.multicluster.x-k8s.io")["items"] + it.object("serviceexports.multicluster.x-k8s.io")["items"]
        wait_for("imports and exports to go", gone, patience=PATIENCE)
    west.kubectl("delete", "gateway", "shop", "--timeout=240s")
    # The default network stays.
    wait_for("nothing else to be left", lambda: west.left() == ["shop"], patience=PATIENCE)
