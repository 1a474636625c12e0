"""HTTPS and TLS_PASSTHROUGH listeners, HTTPS targets: what clients with curl and OpenSSL see between VPCs."""

import json
import shlex
import subprocess
import textwrap
import threading

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow, fixed, forward, refusal, unique

pytestmark = pytest.mark.root

INVALID = ("ValidationException", 400)
DOMAIN = "shop.example.test"

# Ends TLS itself and says over what it was asked.
SECURE = '''
import http.server, json, ssl, subprocess
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        out = json.dumps({"name": "secure", "tls": self.connection.version(), "headers": [[k.lower(), v] for k, v in self.headers.items()]}).encode()
        self.send_response(200); self.send_header("content-length", str(len(out))); self.end_headers(); self.wfile.write(out)
subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/srv/key.pem", "-out", "/srv/cert.pem",
                "-subj", "/CN=backend.test", "-days", "1"], check=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/cert.pem", "/srv/key.pem")
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8043), Echo)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
'''


class Mesh:
    """A client in VPC A, a backend in the clear and one under TLS in VPC B, a service network over both."""

    def __init__(self, lab):
        self.vpc_a, subnet_a, group_a = lab.vpc("10.7.0.0/16", "10.7.1.0/24")
        self.vpc_b, subnet_b, _ = lab.vpc("10.8.0.0/16", "10.8.1.0/24")
        group_b = lab.group(self.vpc_b, allow("tcp", (8000, 8100), cidr="169.254.171.0/24"))
        self.client, _ = lab.instance(subnet_a, group_a)
        self.backend, self.address = lab.echo(subnet_b, group_b, 8001)
        script = f"cat >/srv/secure.py <<'END'\n{textwrap.dedent(SECURE)}\nEND\nnohup python3 /srv/secure.py >/dev/null 2>&1 &"
        lab.run(self.backend, "sh", "-c", script)
        self.network = lab.network(self.vpc_a)


@pytest.fixture(scope="module")
def mesh(lath):
    with Lab(lath) as lab:
        yield Mesh(lab)


def certificate(directory, name, *options):
    """A certificate for a name, which is its own root: (PEM, key PEM)."""
    key, cert = directory / f"{unique('key')}.pem", directory / f"{unique('cert')}.pem"
    subprocess.run(["openssl", "req", "-x509", "-nodes", *(options or ("-newkey", "rsa:2048")), "-keyout", key, "-out", cert,
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "30"], check=True, capture_output=True)
    return cert.read_bytes(), key.read_bytes()


def imported(lab, pair, **more):
    acm = lab.lath.client("acm")
    arn = acm.import_certificate(Certificate=pair[0], PrivateKey=pair[1], **more)["CertificateArn"]
    if not more:
        lab.later(acm.delete_certificate, CertificateArn=arn)
    return arn


def listener(lab, service, action, protocol="HTTPS", port=443):
    made = lab.lattice.create_listener(serviceIdentifier=service, name=unique("tls"), protocol=protocol, port=port, defaultAction=action)["id"]
    lab.later(lab.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made)
    return made


def group(lab, vpc, protocol, *targets, check=None):
    config = {"protocol": protocol, "port": 443, "vpcIdentifier": vpc, "healthCheck": check or {"enabled": False}}
    made = lab.lattice.create_target_group(name=unique("group"), type="IP", config=config)["id"]
    lab.later(lab._group_deleted, group=made)
    wait_for("the group", lambda: lab.lattice.get_target_group(targetGroupIdentifier=made)["status"] == "ACTIVE")
    lab.register(made, *targets)
    return made


def s_client(lab, mesh, name, *options):
    """What OpenSSL says of a handshake."""
    words = shlex.join(["openssl", "s_client", "-connect", f"{name}:443", *options])
    run = lab.run(mesh.client, "sh", "-c", f"{words} </dev/null 2>&1", check=False)
    return run.stdout


def test_a_generated_name_is_served_under_the_installations_root(lab, mesh):
    target = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network)
    listener(lab, service, forward(target))
    log = unique("/aws/vpc-lattice/tls")
    lab.logs.create_log_group(logGroupName=log)
    lab.later(lab.logs.delete_log_group, logGroupName=log)
    subscription = lab.lattice.create_access_log_subscription(
        resourceIdentifier=service, destinationArn=f"arn:aws:logs:us-east-1:000000000000:log-group:{log}:*")["id"]
    lab.later(lab.lattice.delete_access_log_subscription, accessLogSubscriptionIdentifier=subscription)
    url = f"https://{name}"
    lab.eventually(mesh.client, url + "/")
    seen = dict(lab.ask(mesh.client, url + "/a")["headers"])
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", "443")
    for options, version in [(("--http2",), "2"), (("--http1.1",), "1.1"), (("--no-alpn",), "1.1"), (("--tls-max", "1.2"), "2")]:
        run = lab.run(mesh.client, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_version}", *options, url + "/mark-" + unique("v"))
        assert run == version, options
    # The host decides, and what it names must be in the network; in the clear nothing answers.
    assert lab.curl(mesh.client, url, "-H", "Host: nothing.example.test")[0] == 404
    assert lab.curl(mesh.client, f"http://{name}:443/")[0] == 0
    said = s_client(lab, mesh, name, "-servername", "unknown.example.test")
    assert "unrecognized name" in said, said
    assert "missing extension" in s_client(lab, mesh, name, "-noservername")
    for old in ("-tls1_1", "-no_tls1_3 -cipher AES128-SHA".split()):
        options = [old] if isinstance(old, str) else old
        assert "Cipher is (NONE)" in s_client(lab, mesh, name, "-servername", name, *options), old

    def records():
        events = lab.logs.filter_log_events(logGroupName=log, filterPattern='"mark-"')["events"]
        found = [json.loads(event["message"]) for event in events]
        return found if len(found) >= 4 else None

    found = wait_for("the records", records)
    assert {record["serverNameIndication"] for record in found} == {name}
    assert {record["tlsVersion"] for record in found} == {"TLSv1.3", "TLSv1.2"}
    assert {record["sslCipher"] for record in found} == {"TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"}


def test_nghttp_asks_over_many_streams(lab, mesh):
    target = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network)
    listener(lab, service, forward(target))
    lab.eventually(mesh.client, f"https://{name}/")
    said = lab.run(mesh.client, "nghttp", "--no-dep", "-v", "-m", "20", f"https://{name}/streams")
    assert "The negotiated protocol: h2" in said, said
    assert said.count(":status: 200") == 20 and said.count("/streams") >= 20, said


def test_a_custom_domain_presents_its_certificate_and_a_change_of_it_loses_nothing(lab, mesh, tmp_path):
    first, second = certificate(tmp_path, DOMAIN), certificate(tmp_path, DOMAIN)
    arn = imported(lab, first)
    target = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network, customDomainName=DOMAIN, certificateArn=arn)
    assert lab.lattice.get_service(serviceIdentifier=service)["certificateArn"] == arn
    listener(lab, service, forward(target))
    roots = (first[0] + second[0]).decode()
    lab.run(mesh.client, "sh", "-c", f"cat >/srv/roots.pem <<'END'\n{roots}\nEND")
    url, options = f"https://{DOMAIN}/", ("--cacert", "/srv/roots.pem", "--connect-to", f"::{name}:443")
    lab.eventually(mesh.client, url, *options)
    lost, stop = [], threading.Event()

    def ask():
        words = shlex.join(["curl", "-sS", "--fail-early", "-f", "--max-time", "30", *options, "-o", "/dev/null", url, "-o", "/dev/null", url])
        while not stop.is_set():
            run = lab.run(mesh.client, "sh", "-c", f"for i in $(seq 10); do {words} || exit 1; done", check=False)
            if run.returncode:
                lost.append((run.stdout, run.stderr))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    [thread.start() for thread in threads]
    try:
        lab.lath.client("acm").import_certificate(CertificateArn=arn, Certificate=second[0], PrivateKey=second[1])
        only = "/srv/second.pem"
        lab.run(mesh.client, "sh", "-c", f"cat >{only} <<'END'\n{second[0].decode()}\nEND")
        lab.eventually(mesh.client, url, "--cacert", only, "--connect-to", f"::{name}:443")
    finally:
        stop.set()
        [thread.join() for thread in threads]
    assert lost == []
    assert refusal(lab.lath.client("acm").delete_certificate, CertificateArn=arn)[0] == "ResourceInUseException"
    lab.lattice.update_service(serviceIdentifier=service, certificateArn="")
    assert "certificateArn" not in lab.lattice.get_service(serviceIdentifier=service)
    wait_for("the name to be unknown", lambda: lab.curl(mesh.client, url, *options)[0] == 0)


def test_certificates_that_do_not_fit_are_refused(lab, tmp_path):
    unknown = "arn:aws:acm:us-east-1:000000000000:certificate/00000000-0000-0000-0000-000000000000"
    other = imported(lab, certificate(tmp_path, "other.example.test"))
    curve = imported(lab, certificate(tmp_path, DOMAIN, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"))
    for arn, domain in [(unknown, DOMAIN), (other, DOMAIN), (curve, DOMAIN), ("nonsense", DOMAIN), (other, None)]:
        more = {"customDomainName": domain} if domain else {}
        assert refusal(lab.lattice.create_service, name=unique("web"), certificateArn=arn, **more) == INVALID, (arn, domain)


def test_targets_are_asked_and_checked_under_tls(lab, mesh):
    check = {"enabled": True, "protocol": "HTTPS", "healthCheckIntervalSeconds": 5, "healthyThresholdCount": 2}
    target = group(lab, mesh.vpc_b, "HTTPS", (mesh.address, 8043), check=check)
    service, name = lab.service(mesh.network)
    lab.listener(service, forward(target))
    body = json.loads(lab.eventually(mesh.client, f"http://{name}/"))
    assert (body["name"], body["tls"]) == ("secure", "TLSv1.3")
    assert dict(body["headers"])["x-forwarded-proto"] == "http"
    wait_for("the target to be healthy", lambda: set(lab.health(target).values()) == {"HEALTHY"})


def test_tls_is_passed_on_to_a_target(lab, mesh):
    target = group(lab, mesh.vpc_b, "TCP", (mesh.address, 8043))
    plain, _ = lab.service(mesh.network)
    arguments = {"name": unique("pass"), "protocol": "TLS_PASSTHROUGH", "port": 443}
    assert refusal(lab.lattice.create_listener, serviceIdentifier=plain, defaultAction=forward(target), **arguments) == INVALID
    service, name = lab.service(mesh.network, customDomainName="raw.example.test")
    assert refusal(lab.lattice.create_listener, serviceIdentifier=service, defaultAction=fixed(404), **arguments) == INVALID
    http = lab.targets(mesh.vpc_b)
    assert refusal(lab.lattice.create_listener, serviceIdentifier=service, defaultAction=forward(http), **arguments) == INVALID
    made = listener(lab, service, forward(target), "TLS_PASSTHROUGH")
    assert refusal(lab.lattice.create_rule, serviceIdentifier=service, listenerIdentifier=made, name=unique("way"), priority=1,
                   match={"httpMatch": {"method": "GET"}}, action=forward(target)) == INVALID
    url, options = "https://raw.example.test/", ("-k", "--connect-to", f"::{name}:443")
    body = json.loads(lab.eventually(mesh.client, url, *options))
    assert body["name"] == "secure" and "x-forwarded-for" not in dict(body["headers"])
    assert "CN = backend.test" in s_client(lab, mesh, name, "-servername", "raw.example.test").replace("CN=", "CN = ")
    assert "unrecognized name" in s_client(lab, mesh, name, "-servername", name)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*"}
    lab.lattice.update_service(serviceIdentifier=service, authType="AWS_IAM")
    for action, works in [("Invoke", False), ("Connect", True)]:
        statement["Action"] = f"vpc-lattice-svcs:{action}"
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        lab.lattice.put_auth_policy(resourceIdentifier=service, policy=policy)
        wait_for(action, lambda: (lab.curl(mesh.client, url, *options)[0] == 200) == works)
