"""Listeners that ask clients for certificates (an extension): set by stock clients, seen by curl and OpenSSL between VPCs."""

import json
import re
import shlex
import subprocess
import urllib.parse

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import Lab, allow, fixed, forward, refusal, unique

pytestmark = pytest.mark.root

TAG = "lath:mutual-tls"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
LEAF = "arn:aws:acm-pca:::template/EndEntityCertificate/V1"


def openssl(*words, text=None):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, input=text).stdout


class Authority:
    """An authority of ACM PCA that is its own root."""

    def __init__(self, lath, directory, name):
        self.pca, self.directory = lath.client("acm-pca"), directory
        self.arn = self.pca.create_certificate_authority(
            CertificateAuthorityType="ROOT", CertificateAuthorityConfiguration={
                "KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": {"CommonName": name, "OrganizationalUnit": "Tills"}},
        )["CertificateAuthorityArn"]
        csr = self.pca.get_certificate_authority_csr(CertificateAuthorityArn=self.arn)["Csr"].encode()
        own = self.signed(csr, "arn:aws:acm-pca:::template/RootCACertificate/V1", {"Type": "YEARS", "Value": 10})
        self.pca.import_certificate_authority_certificate(CertificateAuthorityArn=self.arn, Certificate=own.encode())

    def signed(self, csr, template=LEAF, validity=None):
        made = self.pca.issue_certificate(CertificateAuthorityArn=self.arn, Csr=csr, SigningAlgorithm="SHA256WITHECDSA", TemplateArn=template,
                                          Validity=validity or {"Type": "DAYS", "Value": 7})
        return self.pca.get_certificate(CertificateAuthorityArn=self.arn, CertificateArn=made["CertificateArn"])["Certificate"]

    def issue(self, name, uri, **more):
        """A key and a certificate in one PEM text."""
        key, csr = self.directory / f"{unique('key')}.pem", self.directory / f"{unique('csr')}.pem"
        openssl("req", "-new", *KEY, "-keyout", key, "-out", csr, "-subj", f"/O=Shop/CN={name}", "-addext", f"subjectAltName=URI:{uri}")
        return key.read_text() + self.signed(csr.read_bytes(), **more)

    def revoke(self, pem):
        serial = openssl("x509", "-noout", "-serial", text=pem.encode()).decode().strip().split("=")[1]
        self.pca.revoke_certificate(CertificateAuthorityArn=self.arn, CertificateSerial=serial, RevocationReason="KEY_COMPROMISE")


class Mesh:
    """A client in VPC A and a backend in VPC B, a service network between them."""

    def __init__(self, lab, directory):
        self.lab = lab
        self.vpc_a, subnet_a, group_a = lab.vpc("10.7.0.0/16", "10.7.1.0/24")
        self.vpc_b, subnet_b, _ = lab.vpc("10.8.0.0/16", "10.8.1.0/24")
        group_b = lab.group(self.vpc_b, allow("tcp", (8000, 8100), cidr="169.254.171.0/24"))
        self.client, _ = lab.instance(subnet_a, group_a)
        self.backend, self.address = lab.echo(subnet_b, group_b, 8001)
        self.network = lab.network(self.vpc_a)
        self.own, self.strange = (Authority(lab.lath, directory, name) for name in ("Own CA", "Strange CA"))

    def keep(self, pem):
        """A file in the client's instance."""
        path = f"/srv/{unique('id')}.pem"
        self.lab.run(self.client, "sh", "-c", f"cat >{path} <<'END'\n{pem}\nEND")
        return path


class Door:
    """A service with an HTTPS listener, which a tag makes ask for certificates."""

    def __init__(self, lab, mesh, asked=None, **more):
        self.lab, self.mesh = lab, mesh
        target = lab.targets(mesh.vpc_b, (mesh.address, 8001))
        self.service, self.name = lab.service(mesh.network, **more)
        tags = {"tags": {TAG: json.dumps(asked)}} if asked else {}
        made = lab.lattice.create_listener(serviceIdentifier=self.service, name="door", protocol="HTTPS", port=443, defaultAction=forward(target), **tags)
        self.id, self.arn = made["id"], made["arn"]
        lab.later(lab.lattice.delete_listener, serviceIdentifier=self.service, listenerIdentifier=self.id)
        self.url = f"https://{self.name}/"

    def tag(self, asked):
        self.lab.lattice.tag_resource(resourceArn=self.arn, tags={TAG: json.dumps(asked)})

    def curl(self, cert=None, *options):
        return self.lab.curl(self.mesh.client, self.url, *(("--cert", cert) if cert else ()), *options)

    def until(self, status, cert=None, *options):
        return wait_for(f"{status} by {cert}", lambda: (lambda got: got if got[0] == status else None)(self.curl(cert, *options)))[1]

    def alert(self, *options):
        """What OpenSSL says, which goes on until the server ends the connection."""
        words = shlex.join(["openssl", "s_client", "-connect", f"{self.name}:443", "-servername", self.name, *options])
        ask = f"printf 'GET / HTTP/1.1\\r\\nHost: {self.name}\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1"
        return self.lab.run(self.mesh.client, "sh", "-c", f"({ask}) | {words} 2>&1", check=False).stdout


@pytest.fixture(scope="module")
def mesh(extended, tmp_path_factory):
    with Lab(extended) as lab:
        yield Mesh(lab, tmp_path_factory.mktemp("authorities"))


def verify(*authorities, **more):
    return {"mode": "verify", "trustAnchors": [it.arn for it in authorities], **more}


def headers_of(body):
    return {name: value for name, value in json.loads(body)["headers"] if name.startswith("x-amzn-mtls")}


def test_strict_mode_asks_no_client(lab):
    service, _ = lab.service()
    with pytest.raises(ClientError, match="--extended") as raised:
        lab.lattice.create_listener(serviceIdentifier=service, name="door", protocol="HTTPS", defaultAction=fixed(404), tags={TAG: "{}"})
    assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_what_is_wrong_is_refused_with_its_place(tried, mesh):
    door = Door(tried, mesh)
    gone = mesh.own.arn[:-12] + "0" * 12
    for asked, place in [
        ("[]", "object"), ('{"mode":"off"}', "off"), ('{"mode":"verify"}', "trustAnchors"),
        (json.dumps({"mode": "passthrough", "trustAnchors": [mesh.own.arn]}), "passthrough"),
        (json.dumps({"mode": "verify", "trustAnchors": [gone]}), gone),
        (json.dumps({"mode": "verify", "trustAnchors": [mesh.own.arn], "crl": "x"}), "crl"),
    ]:
        with pytest.raises(ClientError, match=re.escape(place)) as raised:
            tried.lattice.tag_resource(resourceArn=door.arn, tags={TAG: asked})
        assert raised.value.response["Error"]["Code"] == "ValidationException", asked
    invalid = ("ValidationException", 400)
    network = tried.lattice.get_service_network(serviceNetworkIdentifier=mesh.network)["arn"]
    assert refusal(tried.lattice.tag_resource, resourceArn=network, tags={TAG: '{"mode":"passthrough"}'}) == invalid
    plain = tried.lattice.create_listener(serviceIdentifier=door.service, name="plain", protocol="HTTP", port=80, defaultAction=fixed(404))
    tried.later(tried.lattice.delete_listener, serviceIdentifier=door.service, listenerIdentifier=plain["id"])
    assert refusal(tried.lattice.tag_resource, resourceArn=plain["arn"], tags={TAG: '{"mode":"passthrough"}'}) == invalid
    assert refusal(tried.lattice.tag_resource, resourceArn=door.arn, tags={f"{TAG}-2": "}"}) == invalid


def test_clients_prove_who_they_are(tried, mesh):
    door = Door(tried, mesh, verify(mesh.own))
    till = mesh.own.issue("till", "spiffe://shop.test/till/1")
    good = mesh.keep(till)
    lies = ("-H", "X-Amzn-Mtls-Clientcert-Subject: CN=boss", "-H", "X_Amzn_Mtls_Clientcert_Leaf: x")
    seen = headers_of(door.until(200, good, *lies))
    serial = openssl("x509", "-noout", "-serial", text=till.encode()).decode().strip().split("=")[1]
    assert seen["x-amzn-mtls-clientcert-serial-number"] == serial
    assert seen["x-amzn-mtls-clientcert-subject"] == "CN=till,O=Shop"
    assert seen["x-amzn-mtls-clientcert-issuer"] == "CN=Own CA,OU=Tills"
    assert re.fullmatch(r"NotBefore=[0-9T:-]+Z;NotAfter=[0-9T:-]+Z", seen["x-amzn-mtls-clientcert-validity"])
    assert urllib.parse.unquote(seen["x-amzn-mtls-clientcert-leaf"]).strip() in till
    assert len(seen) == 5 and "boss" not in str(seen)
    assert door.curl()[0] == 0
    assert "certificate required" in door.alert()
    assert "alert handshake failure" in door.alert("-tls1_2") or "certificate required" in door.alert("-tls1_2")
    strange = mesh.keep(mesh.strange.issue("till", "spiffe://shop.test/till/1"))
    assert door.curl(strange)[0] == 0
    assert "unknown ca" in door.alert("-cert", strange, "-key", strange)
    # TLS 1.2 knows it too, and HTTP/2.
    for options in (("--tls-max", "1.2"), ("--http2",)):
        assert door.curl(good, *options)[0] == 200, options
    # Another service at the same port asks nobody; its connections lead nowhere else.
    other = Door(tried, mesh)
    other.until(200)
    around = tried.curl(mesh.client, other.url, "-H", f"Host: {door.name}")
    assert around[0] == 421, around
    refused = re.search(r"lath_proxy_client_certificates_refused_total[^ ]* (\d+)", tried.lath.metrics())
    assert int(refused[1]) >= 4


def test_what_ends_or_is_revoked_is_refused_at_the_next_request(tried, mesh):
    door = Door(tried, mesh, verify(mesh.own))
    pem = mesh.own.issue("till", "spiffe://shop.test/till/2")
    path, stays = mesh.keep(pem), mesh.keep(mesh.own.issue("till", "spiffe://shop.test/till/3"))
    door.until(200, path)
    # One connection, over which a request goes whenever its file grows.
    script = f'''
import http.client, ssl, sys, time, os
context = ssl.create_default_context()
context.load_cert_chain({path!r})
connection = http.client.HTTPSConnection({door.name!r}, 443, context=context, timeout=60)
def ask():
    connection.auto_open = 0
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
connection.connect()
print(ask()[0], flush=True)
while True:
    status, body = ask()
    if status != 200:
        print(status, body.strip(), flush=True)
        break
    time.sleep(0.05)
'''
    tried.run(mesh.client, "sh", "-c", f"cat >/srv/open.py <<'END'\n{script}\nEND\nnohup python3 /srv/open.py >/srv/open.log 2>&1 &")
    said = lambda: tried.run(mesh.client, "cat", "/srv/open.log", check=False).stdout.splitlines()
    wait_for("the connection", lambda: said()[:1] == ["200"])
    session = "/srv/session.pem"
    assert "Verify return code" in door.alert("-cert", path, "-key", path, "-sess_out", session)
    mesh.own.revoke(pem)
    last = wait_for("the refusal", lambda: said()[1:] or None)
    assert last == ["403 The client's certificate is not accepted: it is revoked"], last
    assert "certificate revoked" in door.alert("-cert", path, "-key", path)
    resumed = door.alert("-cert", path, "-key", path, "-sess_in", session)
    assert "200 OK" not in resumed, resumed
    assert door.curl(stays)[0] == 200
    # What has ended; and with it where that is said.
    now = subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout
    short = mesh.own.issue("till", "spiffe://shop.test/till/4", validity={"Type": "ABSOLUTE", "Value": int(now) + 4})
    short = mesh.keep(short)
    wait_for("its end", lambda: door.curl(short)[0] == 0)
    assert "certificate expired" in door.alert("-cert", short, "-key", short)
    door.tag(verify(mesh.own, ignoreClientCertificateExpiry=True))
    door.until(200, short)
    assert door.curl(path)[0] == 0


def test_policies_name_clients_by_their_certificates(tried, mesh):
    door = Door(tried, mesh, verify(mesh.own), authType="AWS_IAM")
    one, two = (mesh.keep(mesh.own.issue(name, f"spiffe://shop.test/{name}/1")) for name in ("till", "desk"))

    def allow_if(key, value):
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*",
                                                            "Condition": {"StringLike": {key: value}}}]}
        tried.lattice.put_auth_policy(resourceIdentifier=door.service, policy=json.dumps(document))

    for key, value in [("lath:SpiffeId", "spiffe://shop.test/till/*"), ("lath:x509Subject/CN", "till")]:
        allow_if(key, "nobody")
        door.until(403, one)
        allow_if(key, value)
        door.until(200, one)
        assert door.curl(two)[0] == 403, key
    tried.lattice.delete_auth_policy(resourceIdentifier=door.service)


def test_passthrough_tells_what_nobody_verified_and_removing_the_tag_ends_it(tried, mesh):
    door = Door(tried, mesh, {"mode": "passthrough"})
    strange = mesh.strange.issue("till", "spiffe://shop.test/till/1")
    path = mesh.keep(strange)
    seen = headers_of(door.until(200, path))
    assert list(seen) == ["x-amzn-mtls-clientcert"]
    assert urllib.parse.unquote(seen["x-amzn-mtls-clientcert"]).strip() in strange
    assert headers_of(door.until(200)) == {}
    tried.lattice.untag_resource(resourceArn=door.arn, tagKeys=[TAG])
    wait_for("no question", lambda: headers_of(door.until(200, path)) == {})


def test_a_foreign_authority_is_trusted_by_a_certificate_that_was_imported_with_its_chain(tried, mesh, tmp_path):
    root, key = tmp_path / "root.pem", tmp_path / "root.key"
    openssl("req", "-x509", *KEY, "-keyout", key, "-out", root, "-subj", "/CN=Foreign", "-days", "30", "-addext", "keyUsage=keyCertSign")

    def issued(name):
        own, csr = tmp_path / f"{name}.key", tmp_path / f"{name}.csr"
        openssl("req", "-new", *KEY, "-keyout", own, "-out", csr, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        made = openssl("x509", "-req", "-in", csr, "-CA", root, "-CAkey", key, "-CAcreateserial", "-days", "9", "-copy_extensions", "copy")
        return own.read_text(), made.decode()

    acm = tried.lath.client("acm")
    key_of, its = issued("any.test")
    arn = acm.import_certificate(Certificate=its.encode(), PrivateKey=key_of.encode(), CertificateChain=root.read_bytes())["CertificateArn"]
    tried.later(acm.delete_certificate, CertificateArn=arn)
    door = Door(tried, mesh, {"mode": "verify", "trustAnchors": [arn]})
    client = mesh.keep("".join(issued("client.test")))
    assert headers_of(door.until(200, client))["x-amzn-mtls-clientcert-issuer"] == "CN=Foreign"
    assert acm.describe_certificate(CertificateArn=arn)["Certificate"]["InUseBy"] == [door.arn]
    assert refusal(acm.delete_certificate, CertificateArn=arn)[0] == "ResourceInUseException"


# The installation's own authority, which certifies instances.
def installation(lath):
    pages = lath.client("acm-pca").get_paginator("list_certificate_authorities").paginate()
    named = [(it["CertificateAuthorityConfiguration"]["Subject"].get("CommonName", ""), it["Arn"]) for page in pages for it in page["CertificateAuthorities"]]
    (arn,) = [arn for name, arn in named if name.startswith("Lath Root CA")]
    return arn


# Ends TLS itself, asks clients for certificates of the installation, and says whom they name.
SECURE = r'''
import http.server, json, ssl, subprocess
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        names = self.connection.getpeercert().get("subjectAltName", ())
        out = json.dumps({"names": names, "peer": self.client_address[1], "headers": [[k.lower(), v] for k, v in self.headers.items()]}).encode()
        self.send_response(200); self.send_header("content-length", str(len(out))); self.end_headers(); self.wfile.write(out)
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/srv/key.pem",
                "-out", "/srv/cert.pem", "-subj", "/CN=backend.test", "-days", "1"], check=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/cert.pem", "/srv/key.pem")
context.load_verify_locations("/etc/ssl/certs/ca-certificates.crt")
context.verify_mode = ssl.CERT_REQUIRED
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8043), Echo)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
'''
METADATA = "http://169.254.169.254/latest"


def identity(lab, instance):
    """Fetches an instance's certificate as its programs would: the file with key and chain, and whom it names."""
    token = lab.run(instance, "curl", "-sS", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 600", f"{METADATA}/api/token")
    def get(name):
        return lab.run(instance, "curl", "-sSf", "-H", f"X-aws-ec2-metadata-token: {token}", f"{METADATA}/meta-data/lath/identity/{name}")
    wait_for("the instance's identity", lambda: lab.run(
        instance, "curl", "-sSf", "-H", f"X-aws-ec2-metadata-token: {token}", f"{METADATA}/meta-data/lath/identity/pem", check=False).returncode == 0)
    for name in ("pem", "trust-bundle"):
        lab.run(instance, "sh", "-c", f"cat >/srv/{name}.pem <<'END'\n{get(name)}\nEND")
    document = json.loads(get("document"))
    assert document["SpiffeId"] == get("spiffe-id") and document["Expiration"] == get("expiration")
    return "/srv/pem.pem", document["SpiffeId"]


def test_an_instance_is_admitted_by_the_certificate_that_its_metadata_gives(tried, mesh):
    door = Door(tried, mesh, {"mode": "verify", "trustAnchors": [installation(tried.lath)]}, authType="AWS_IAM")
    path, name = identity(tried, mesh.client)
    assert re.fullmatch(rf"spiffe://lath-[0-9a-f]+/000000000000/us-east-1/instance/{mesh.client}", name)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                                                        "Condition": {"StringEquals": {"lath:SpiffeId": name}}}]}
    tried.lattice.put_auth_policy(resourceIdentifier=door.service, policy=json.dumps(document))
    tried.later(tried.lattice.delete_auth_policy, resourceIdentifier=door.service)
    assert headers_of(door.until(200, path))["x-amzn-mtls-clientcert-subject"] == "O=Lath"
    checked = tried.run(mesh.client, "openssl", "verify", "-CAfile", "/srv/trust-bundle.pem", "-untrusted", path, "-purpose", "sslclient", path, check=False)
    assert "OK" in checked.stdout, checked
    # Its private key needs a token, whatever the instance says of tokens.
    tried.ec2.modify_instance_metadata_options(InstanceId=mesh.client, HttpTokens="optional")
    def answered(where):
        return tried.curl(mesh.client, f"{METADATA}/meta-data/{where}")[0]
    wait_for("no token", lambda: answered("instance-id") == 200)
    assert answered("lath/identity/private-key") == 401
    assert answered("%6cath/identity/private-key") == 401
    assert answered("lath/") == 401
    # An authority of the account that certifies the same name is not believed, even where it is trusted.
    door.tag({"mode": "verify", "trustAnchors": [installation(tried.lath), mesh.own.arn]})
    forged = mesh.keep(mesh.own.issue("forged", name))
    honest = mesh.keep(mesh.own.issue("honest", "spiffe://shop.test/till/1"))
    door.until(403, honest)
    assert door.curl(forged)[0] == 0
    door.until(200, path)


def test_a_network_may_require_that_workloads_are_known_and_shows_targets_who_calls(tried, mesh):
    vpc, subnet, group = tried.vpc("10.9.0.0/16", "10.9.1.0/24")
    inner = tried.group(vpc, allow("tcp", (8000, 8100), cidr="169.254.171.0/24"))
    clients = [tried.instance(subnet, group)[0] for _ in range(2)]
    backend, address = tried.echo(subnet, inner, 8001)
    tried.run(backend, "sh", "-c", f"cat >/srv/secure.py <<'END'\n{SECURE}\nEND\nnohup python3 /srv/secure.py >/srv/secure.log 2>&1 &")
    network = tried.network(vpc)
    arn = tried.lattice.get_service_network(serviceNetworkIdentifier=network)["arn"]
    invalid = ("ValidationException", 400)
    assert refusal(tried.lattice.tag_resource, resourceArn=arn, tags={TAG: "sometimes"}) == invalid
    tried.lattice.tag_resource(resourceArn=arn, tags={TAG: "required"})
    service, name = tried.service(network)
    tried.listener(service, forward(tried.targets(vpc, (address, 8001))))
    lie = ("-H", "X-Amzn-Mtls-Spiffe-Id: spiffe://boss")
    def seen(client):
        return dict(json.loads(tried.eventually(client, f"http://{name}/", *lie))["headers"])
    for client in clients:
        wait_for("the client's name", lambda: seen(client).get("x-amzn-mtls-spiffe-id", "").endswith(f"/000000000000/us-east-1/instance/{client}"))
    # Targets under TLS are shown it too, and connections of one client are not another's.
    config = {"protocol": "HTTPS", "port": 8043, "vpcIdentifier": vpc, "healthCheck": {"enabled": False}}
    secure = tried.lattice.create_target_group(name=unique("group"), type="IP", config=config)["id"]
    tried.later(tried._group_deleted, group=secure)
    wait_for("the group", lambda: tried.lattice.get_target_group(targetGroupIdentifier=secure)["status"] == "ACTIVE")
    tried.register(secure, (address, 8043))
    other, its = tried.service(network)
    tried.listener(other, forward(secure))
    for _ in range(3):
        for client in clients:
            got = json.loads(tried.eventually(client, f"http://{its}/"))
            ((kind, uri),) = got["names"]
            assert kind == "URI" and uri.endswith(f"/instance/{client}"), got
    # A policy names workloads without an agent in them.
    tried.lattice.update_service(serviceIdentifier=service, authType="AWS_IAM")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                                                        "Condition": {"StringLike": {"lath:SpiffeId": f"spiffe://*/{clients[0]}"}}}]}
    tried.lattice.put_auth_policy(resourceIdentifier=service, policy=json.dumps(document))
    tried.later(tried.lattice.delete_auth_policy, resourceIdentifier=service)
    tried.eventually(clients[0], f"http://{name}/")
    tried.eventually(clients[1], f"http://{name}/", status=403)
    # Without the requirement, targets that ask are shown nothing any more.
    tried.lattice.untag_resource(resourceArn=arn, tagKeys=[TAG])
    wait_for("no name", lambda: tried.curl(clients[0], f"http://{its}/")[0] in (500, 502))
