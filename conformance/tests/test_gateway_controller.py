"""The Gateway API controller: routes of a cluster are services of Lattice, while pods roll, the controller is killed, and
until nothing is left.
"""

import json
import subprocess

import pytest
from lathlab import binary, gateways, kubernetes as lab, wait_for
from lathlab.gateways import CLASS, DOMAIN, KINDS, PATIENCE, SHOP

pytestmark = pytest.mark.root

NAME = "gw"
APP = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 30
      containers:
      - name: nginx
        image: nginx:latest
        command: ["/bin/sh", "-c", "cd /usr/share/nginx/html && for f in index.html a ab; do echo %(name)s >$f; done && exec nginx -g 'daemon off;'"]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "10"]}}}
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec: {selector: {app: %(name)s}, ports: [{port: 80}]}
"""
GATEWAY = CLASS + """
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: foreign}
spec: {controllerName: example.com/other}
""" + SHOP + """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other}
spec:
  gatewayClassName: foreign
  listeners: [{name: http, protocol: HTTP, port: 80}]
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: shop}, {name: other}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: one, port: 80, weight: %(one)d}, {name: two, port: 80, weight: %(two)d}]
  - matches: [{path: {type: PathPrefix, value: /a}}]
    backendRefs: [{name: two, port: 80}]
  - matches: [{headers: [{name: x-to, value: one}]}]
    backendRefs: [{name: one, port: 80}]
"""
EXPORT = """
apiVersion: application-networking.k8s.aws/v1alpha1
kind: ServiceExport
metadata: {name: two, annotations: {application-networking.k8s.aws/federation: amazon-vpc-lattice}}
spec: {exportedPorts: [{port: 80, routeType: HTTP}]}
---
apiVersion: application-networking.k8s.aws/v1alpha1
kind: ServiceImport
metadata: {name: two}
spec: {}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: imported}
spec:
  parentRefs: [{name: shop}]
  rules:
  - backendRefs: [{name: two, kind: ServiceImport, group: application-networking.k8s.aws}]
  - matches: [{path: {type: PathPrefix, value: /away}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: example.com}}]
"""
GUARD = """
apiVersion: application-networking.k8s.aws/v1alpha1
kind: IAMAuthPolicy
metadata: {name: guard}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: web}
  policy: '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"vpc-lattice-svcs:RequestMethod":"HEAD"}}}]}'
"""
LOCKED = """
apiVersion: application-networking.k8s.aws/v1alpha1
kind: IAMAuthPolicy
metadata: {name: locked}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: HTTPRoute, name: locked}
  policy: 'no document'
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: locked}
spec:
  parentRefs: [{name: shop}]
  rules: [{backendRefs: [{name: two, port: 80}]}]
"""
TAKEN = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: taken}
spec:
  parentRefs: [{name: shop}]
  rules: [{backendRefs: [{name: two, port: 80}]}]
"""


class Gateways(gateways.Gateways):
    def begin(self, *more):
        super().begin("--leader-elect", "--lease-namespace", "default", *more)

    def curl(self, path="/", *more, times=1):
        """The different answers to so many requests, one after the other."""
        words = " ".join(["curl", "-sS", "--max-time", "5", *(f"'{it}'" for it in more), f"http://{self.domain_name}{path}"])
        run = self.in_client("sh", "-c", f"for i in $(seq {times}); do {words} || echo failed; done", check=False)
        return set(run.stdout.split())


@pytest.fixture
def cluster(kubernetes, tmp_path):
    yield from gateways.cluster(kubernetes, tmp_path, lambda *it: Gateways(*it, name=NAME))


def test_routes_are_services_of_lattice(cluster):
    cluster.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(KINDS))
    cluster.apply(APP % {"name": "one"} + APP % {"name": "two"})
    cluster.begin()
    cluster.apply(GATEWAY)
    cluster.apply(ROUTE % {"one": 1, "two": 1})
    with cluster.showing_its_log():
        served(cluster)
        foreign_entries_stay(cluster)
        rolls_without_an_error(cluster)
        survives(cluster)
        imported(cluster)
        guarded(cluster)
        locked(cluster)
        taken(cluster)
        goes(cluster)


def served(cluster):
    cluster.programmed("gateway", "shop")
    cluster.programmed("httproute", "web")
    assert cluster.said("gatewayclass", "lath", "Accepted") == ("True", "Accepted")
    assert cluster.said("httproute", "web", "Accepted") == ("True", "Accepted")
    assert cluster.said("httproute", "web", "ResolvedRefs") == ("True", "ResolvedRefs")
    cluster.domain_name = cluster.domain("httproute", "web")
    cluster.kubectl("rollout", "status", "deployment/one", "deployment/two", f"--timeout={PATIENCE}s")
    wait_for("answers of both", lambda: cluster.curl(times=8) == {"one", "two"}, patience=PATIENCE)
    assert cluster.curl("/a", times=6) == {"two"}
    # A prefix ends with a segment: /ab is none of /a.
    assert "one" in cluster.curl("/ab", times=12)
    assert cluster.curl("/", "-H", "x-to: one", times=6) == {"one"}
    shop = wait_for("the Gateway's address", lambda: cluster.object("gateway", "shop")["status"].get("addresses"))
    assert shop == [{"type": "Hostname", "value": cluster.domain_name}]
    gateway = cluster.object("gateway", "shop")
    assert gateway["metadata"]["annotations"][DOMAIN] == cluster.domain_name
    assert gateway["status"]["listeners"][0]["attachedRoutes"] == 1
    services = cluster.place.lattice.list_services()["items"]
    tags = cluster.place.lattice.list_tags_for_resource(resourceArn=services[0]["arn"])["tags"]
    prefix = "application-networking.k8s.aws/"
    assert tags == {f"{prefix}ManagedBy": f"{cluster.account}/{NAME}/{cluster.place.vpc}", f"{prefix}RouteName": "web",
                    f"{prefix}RouteNamespace": "default", f"{prefix}RouteType": "http"}
    assert cluster.said("gatewayclass", "foreign", "Accepted") is None


def foreign_entries_stay(cluster):
    """Another controller's entry in a route's status survives what this one writes."""
    route = cluster.object("httproute", "web")
    other = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "other"}
    theirs = {"parentRef": other, "controllerName": "example.com/other", "conditions": [{
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    parents = [theirs, *route["status"]["parents"]]
    cluster.kubectl("patch", "httproute", "web", "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"parents": parents}}))
    cluster.apply(ROUTE % {"one": 3, "two": 1})
    cluster.programmed("httproute", "web")
    assert theirs in cluster.object("httproute", "web")["status"]["parents"]


def rolls_without_an_error(cluster):
    """Pods are replaced under requests, and none fails."""
    loop = (f"rm -f /tmp/over; while ! test -e /tmp/over; do curl -sS --max-time 15 http://{cluster.domain_name}/ || echo failed; done"
            " | sort | uniq -c")
    asker = subprocess.Popen(
        [binary(), "exec", "--data-dir", str(cluster.lath.data), cluster.client["id"], "--", "sh", "-c", loop],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        cluster.kubectl("rollout", "restart", "deployment/one", "deployment/two")
        cluster.kubectl("rollout", "status", "deployment/one", "deployment/two", f"--timeout={PATIENCE}s")
    finally:
        cluster.lath.exec(cluster.client["id"], "touch", "/tmp/over")
        said, _ = asker.communicate(timeout=60)
    assert sorted(line.split()[1] for line in said.splitlines()) == ["one", "two"], said


def targets(cluster, service):
    lattice = cluster.place.lattice
    groups = [it for it in lattice.list_target_groups()["items"] if it["name"].startswith(f"k8s-default-{service}-")]
    return {target["id"] for group in groups for target in lattice.list_targets(targetGroupIdentifier=group["id"])["items"]
            if target["status"] != "DRAINING"}


def pods(cluster, app):
    items = cluster.object("pods", "-l", f"app={app}")["items"]
    return {it["status"]["podIP"] for it in items if "deletionTimestamp" not in it["metadata"] and "podIP" in it["status"]}


def survives(cluster):
    """SIGKILL in the middle of a change, and changes while there is no controller."""
    cluster.apply(ROUTE % {"one": 0, "two": 1})
    cluster.end("kill")
    cluster.kubectl("scale", "deployment/two", "--replicas=1")
    cluster.begin()
    cluster.programmed("httproute", "web")
    wait_for("the pods that are left", lambda: targets(cluster, "two") == pods(cluster, "two") and len(targets(cluster, "two")) == 1,
             patience=PATIENCE)
    wait_for("answers of one", lambda: cluster.curl(times=6) == {"two"})
    # SIGTERM gives the Lease up: the next controller need not wait until it is old.
    assert cluster.end() == 0
    assert not cluster.object("lease", "amazon-vpc-lattice.io")["spec"].get("holderIdentity")
    cluster.begin()


def imported(cluster):
    cluster.apply(EXPORT)
    cluster.programmed("httproute", "imported")
    assert cluster.said("httproute", "imported", "PartiallyInvalid") == ("True", "UnsupportedValue")
    web = cluster.domain_name
    cluster.domain_name = cluster.domain("httproute", "imported")
    wait_for("an answer by the import", lambda: cluster.curl() == {"two"})
    # What asks for more than Lattice has is not another rule's.
    assert cluster.curl("/away", "-o", "/dev/null", "-w", "%{http_code}") == {"500"}
    cluster.domain_name = web


def guarded(cluster):
    status = lambda: cluster.curl("/", "-o", "/dev/null", "-w", "%{http_code}")
    cluster.apply(GUARD)
    wait_for("the policy to guard", lambda: status() == {"403"})
    assert cluster.said("iamauthpolicy", "guard", "Accepted") == ("True", "Accepted")
    # A younger policy takes nothing from it, neither by coming nor by going.
    cluster.apply(GUARD.replace("name: guard", "name: younger").replace("HEAD", "GET"))
    wait_for("the younger one to be told", lambda: cluster.said("iamauthpolicy", "younger", "Accepted") == ("False", "Conflicted"))
    assert status() == {"403"}
    cluster.kubectl("delete", "iamauthpolicy", "younger", "--timeout=60s")
    assert status() == {"403"}
    # Nor does a target that is not there open the former one.
    cluster.apply(GUARD.replace("name: web", "name: typo"))
    wait_for("the policy to be told", lambda: cluster.said("iamauthpolicy", "guard", "Accepted") == ("False", "TargetNotFound"))
    assert status() == {"403"}
    cluster.kubectl("delete", "iamauthpolicy", "guard", "--timeout=60s")
    wait_for("the guard to be gone", lambda: status() == {"200"})


def locked(cluster):
    """A policy that cannot be applied leaves the service that it is for shut, from its first moment."""
    cluster.apply(LOCKED)
    wait_for("the policy to be told", lambda: cluster.said("iamauthpolicy", "locked", "Accepted") == ("False", "Invalid"), patience=PATIENCE)
    lattice = cluster.place.lattice
    service = next(it for it in lattice.list_services()["items"] if it["name"] == "locked-default")
    assert lattice.get_service(serviceIdentifier=service["id"])["authType"] == "AWS_IAM"
    web, cluster.domain_name = cluster.domain_name, service["dnsEntry"]["domainName"]
    wait_for("nobody to get in", lambda: cluster.curl("/", "-o", "/dev/null", "-w", "%{http_code}") == {"403"}, patience=PATIENCE)
    cluster.domain_name = web
    cluster.kubectl("delete", "iamauthpolicy", "locked", "--timeout=60s")
    cluster.kubectl("delete", "httproute", "locked", "--timeout=120s")


def taken(cluster):
    """A service that somebody else made under the name that a route's would have is left to them."""
    lattice = cluster.place.lattice
    theirs = lattice.create_service(name="taken-default", tags={"owner": "somebody"})
    cluster.apply(TAKEN)
    wait_for("the route to be told", lambda: cluster.said("httproute", "taken", "Programmed") == ("False", "Conflicted"), patience=PATIENCE)
    cluster.kubectl("delete", "httproute", "taken", "--timeout=120s")
    assert lattice.list_tags_for_resource(resourceArn=theirs["arn"])["tags"] == {"owner": "somebody"}
    assert lattice.list_listeners(serviceIdentifier=theirs["id"])["items"] == []
    lattice.delete_service(serviceIdentifier=theirs["id"])


def goes(cluster):
    """The Gateway first: that is no order that anything waits for."""
    cluster.kubectl("delete", "gateway", "shop", "--timeout=120s")
    assert wait_for("the route to have lost its parent", lambda: cluster.said("httproute", "web", "Programmed") is None)
    cluster.kubectl("delete", "httproute", "--all", "--timeout=120s")
    cluster.kubectl("delete", "serviceexport", "--all", "--timeout=120s")
    wait_for("nothing to be left", lambda: not cluster.left(), patience=120)
    assert cluster.end() == 0
