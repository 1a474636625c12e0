"""What a route may be beside HTTP: HTTPS under a certificate of ACM, gRPC, TLS that ends in a pod; what it may do with requests in the
extended mode; and the policies that say which security groups guard a VPC's way into a network, and where access logs go.
"""

import base64
import json
import subprocess

import pytest
from lathlab import gateways, kubernetes as lab, wait_for
from lathlab.gateways import CLASS, KINDS, PATIENCE, Gateways

pytestmark = pytest.mark.root

NAME, LOG = "kinds", "/aws/vpc-lattice/kinds"
WEB, PASSED = "web.example.test", "passed.example.test"
# One pod is all backends: HTTP on 80, gRPC in the clear on 8080 (an answer that is its status alone), TLS of its own on 8443.
NGINX = """
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events {}
http {
    access_log /dev/stdout;
    server {
        listen 80;
        location / { return 200 "plain"; }
        location /seen { return 200 "$request_uri $http_x_env"; }
    }
    server {
        listen 8080 http2;
        default_type application/grpc;
        location / { add_header grpc-status 0; return 200; }
    }
    server {
        listen 8443 ssl;
        ssl_certificate /tls/tls.crt;
        ssl_certificate_key /tls/tls.key;
        location / { return 200 "ended in the pod"; }
    }
}
"""
APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: nginx}
data: {nginx.conf: %(config)s}
---
apiVersion: v1
kind: Secret
metadata: {name: tls}
type: kubernetes.io/tls
data: {tls.crt: %(certificate)s, tls.key: %(key)s}
---
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: app}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: nginx
    image: nginx:latest
    command: [nginx, -c, /config/nginx.conf, -g, "daemon off;"]
    readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
    volumeMounts: [{name: config, mountPath: /config}, {name: tls, mountPath: /tls}]
  volumes: [{name: config, configMap: {name: nginx}}, {name: tls, secret: {secretName: tls}}]
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec: {selector: {app: app}, ports: [{port: %(port)d}]}
"""
SECURE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  gatewayClassName: lath
  listeners:
  - name: https
    protocol: HTTPS
    port: 443
    tls: {mode: Terminate, certificateRefs: [{name: unused}], options: {application-networking.k8s.aws/certificate-arn: "%(certificate)s"}}
  - name: tls
    protocol: TLS
    port: 8443
    hostname: passed.example.test
    tls: {mode: Passthrough}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: secure, sectionName: https}]
  hostnames: [web.example.test]
  rules:
  - backendRefs: [{name: plain, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}}]
  - matches: [{path: {type: PathPrefix, value: /shown}}]
    filters:
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /seen}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-env, value: test}]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-by, value: lath}]}}
    timeouts: {request: 10s, backendRequest: 5s}
    backendRefs: [{name: plain, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: secure, sectionName: https}]
  rules:
  - matches: [{method: {service: demo.Echo, method: Say}}]
    backendRefs: [{name: calls, port: 8080}]
---
apiVersion: application-networking.k8s.aws/v1alpha1
kind: TargetGroupPolicy
metadata: {name: calls}
spec:
  targetRef: {group: "", kind: Service, name: calls}
  protocol: HTTP
  protocolVersion: GRPC
  healthCheck: {enabled: false}
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: {name: passed}
spec:
  parentRefs: [{name: secure, sectionName: tls}]
  hostnames: [passed.example.test]
  rules: [{backendRefs: [{name: passed, port: 8443}]}]
"""
GROUPS = """
apiVersion: application-networking.k8s.aws/v1alpha1
kind: VpcAssociationPolicy
metadata: {name: guards}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: secure}
  securityGroupIds: [%(group)s]
"""
LOGS = """
apiVersion: application-networking.k8s.aws/v1alpha1
kind: AccessLogPolicy
metadata: {name: %(name)s}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: %(kind)s, name: %(target)s}
  destinationArn: "%(log)s"
"""


def certificate(directory, name):
    """A certificate that is its own root: the paths of both parts."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", key, "-out", cert, "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-days", "30"], check=True, capture_output=True)
    return cert, key


class Kinds(Gateways):
    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, name=NAME, ports=(80, 8080, 8443))
        self.web, self.passed = certificate(directory, WEB), certificate(directory, PASSED)
        self.acm, self.logs = (self.world.client(it, self.region) for it in ("acm", "logs"))
        self.arn = self.acm.import_certificate(
            Certificate=self.web[0].read_bytes(), PrivateKey=self.web[1].read_bytes())["CertificateArn"]
        for name, (cert, _) in ((WEB, self.web), (PASSED, self.passed)):
            self.in_client("sh", "-c", f"cat >/tmp/{name}.crt <<'END'\n{cert.read_text()}END")

    def curl(self, name, domain, port, path="/", *more):
        """What a client that trusts one certificate alone gets from that name, which it looks for at Lattice's."""
        run = self.in_client("curl", "-sS", "--max-time", "10", "--cacert", f"/tmp/{name}.crt", "--connect-to", f"{name}:{port}:{domain}:{port}",
                             *more, f"https://{name}:{port}{path}", check=False)
        return run.stdout if run.returncode == 0 else f"curl: {run.returncode} {run.stderr}"


@pytest.fixture
def cluster(kubernetes, tmp_path):
    yield from gateways.cluster(kubernetes, tmp_path, Kinds, "--extended")


def test_routes_of_every_kind(cluster):
    routes = lab.gateway_api().parent / "experimental" / "gateway.networking.k8s.io_tlsroutes.yaml"
    cluster.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(routes), "-f", str(KINDS))
    encoded = [base64.b64encode(it.read_bytes()).decode() for it in cluster.passed]
    cluster.apply(APP % {"config": json.dumps(NGINX), "certificate": encoded[0], "key": encoded[1]} + "".join(
        SERVICE % {"name": name, "port": port} for name, port in (("plain", 80), ("calls", 8080), ("passed", 8443))))
    cluster.begin("--extended")
    cluster.apply(CLASS + SECURE % {"certificate": cluster.arn})
    with cluster.showing_its_log():
        answers(cluster)
        filtered(cluster)
        groups(cluster)
        logs(cluster)
        goes(cluster)


def answers(cluster):
    cluster.kubectl("wait", "--for=condition=Ready", "pod/app", f"--timeout={PATIENCE}s")
    for kind, name in ("httproute", "web"), ("grpcroute", "calls"), ("tlsroute", "passed"):
        cluster.programmed(kind, name)
    web, calls, passed = (cluster.domain(*it) for it in (("httproute", "web"), ("grpcroute", "calls"), ("tlsroute", "passed")))
    # Each under the certificate that is meant, and no other: that of ACM, and that of the pod.
    wait_for("HTTPS", lambda: cluster.curl(WEB, web, 443) == "plain", patience=PATIENCE)
    wait_for("TLS that is passed through", lambda: cluster.curl(PASSED, passed, 8443) == "ended in the pod", patience=PATIENCE)

    def call(method):
        run = cluster.in_client("sh", "-c", "printf '\\0\\0\\0\\0\\0' | curl -sS -k --http2 --max-time 10 -o /dev/null -D - -X POST "
                                f"-H 'content-type: application/grpc' --data-binary @- https://{calls}/demo.Echo/{method}", check=False)
        return run.stdout.lower().replace("\r", "").split("\n") if run.returncode == 0 else [run.stderr]

    wait_for("gRPC", lambda: "grpc-status: 0" in call("Say") and "http/2 200" in call("Say")[0], patience=PATIENCE)
    assert "grpc-status: 0" not in call("Other"), "no rule has this method"


def filtered(cluster):
    """What filters and timeouts say is done."""
    web = cluster.domain("httproute", "web")
    assert cluster.said("httproute", "web", "PartiallyInvalid") is None, cluster.object("httproute", "web")["status"]
    wait_for("the redirect", lambda: cluster.curl(WEB, web, 443, "/old/a?b=c", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}")
             == f"301 https://{WEB}/new/a?b=c", patience=PATIENCE)
    wait_for("the rewrite", lambda: cluster.curl(WEB, web, 443, "/shown/a?b=c", "-w", " %header{x-by}") == "/seen/a?b=c test lath",
             patience=PATIENCE)
    assert cluster.curl(WEB, web, 443, "/showna") == "plain"


def association(cluster):
    lattice = cluster.place.lattice
    [network] = [it for it in lattice.list_service_networks()["items"] if it["name"] == "secure"]
    [found] = lattice.list_service_network_vpc_associations(serviceNetworkIdentifier=network["id"], vpcIdentifier=cluster.place.vpc)["items"]
    return lattice.get_service_network_vpc_association(serviceNetworkVpcAssociationIdentifier=found["id"])


def groups(cluster):
    """The groups of the VPC's association are those of the policy."""
    cluster.apply(GROUPS % {"group": cluster.place.group})
    wait_for("the groups", lambda: association(cluster).get("securityGroupIds") == [cluster.place.group], patience=PATIENCE)
    wait_for("the policy to be told", lambda: cluster.said("vpcassociationpolicy", "guards", "Accepted") == ("True", "Accepted"))


def logs(cluster):
    """Requests to a route and to a network are logged where the policies say, and no more when these go."""
    lattice, group = cluster.place.lattice, f"arn:aws:logs:{cluster.region}:{cluster.account}:log-group:{LOG}:*"
    cluster.logs.create_log_group(logGroupName=LOG)
    cluster.apply(LOGS % {"name": "of-web", "kind": "HTTPRoute", "target": "web", "log": group})
    cluster.apply(LOGS % {"name": "of-secure", "kind": "Gateway", "target": "secure", "log": group})
    for name in "of-web", "of-secure":
        wait_for("the policy to be told", lambda name=name: cluster.said("accesslogpolicy", name, "Accepted") == ("True", "Accepted"),
                 patience=PATIENCE)
    web = cluster.domain("httproute", "web")

    def seen():
        cluster.curl(WEB, web, 443, "/logged")
        events = cluster.logs.filter_log_events(logGroupName=LOG, filterPattern='"/logged"')["events"]
        said = [json.loads(it["message"]) for it in events]
        return said and {it["requestPath"] for it in said} == {"/logged"} and {it["tlsVersion"] for it in said} != {"-"}

    wait_for("a request in the log", seen, patience=PATIENCE)
    cluster.kubectl("delete", "accesslogpolicy", "of-web", "of-secure", "--timeout=120s")
    resources = [it["arn"] for it in [*lattice.list_services()["items"], *lattice.list_service_networks()["items"]]]
    assert [lattice.list_access_log_subscriptions(resourceIdentifier=it)["items"] for it in resources] == [[]] * len(resources)


def goes(cluster):
    cluster.kubectl("delete", "vpcassociationpolicy", "guards", "--timeout=120s")
    cluster.kubectl("delete", "httproute/web", "grpcroute/calls", "tlsroute/passed", "--timeout=240s")
    cluster.kubectl("delete", "gateway", "secure", "--timeout=240s")
    wait_for("nothing to be left", lambda: not cluster.left(), patience=PATIENCE)
    cluster.acm.delete_certificate(CertificateArn=cluster.arn)
    assert cluster.end() == 0
