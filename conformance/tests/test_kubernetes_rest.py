"""What one cluster without nodes shows: users of an OpenID Connect issuer, certificates that are renewed, logs across a
restart of Lath, objects that come back, waiters that are answered late.
"""

import base64
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time

import pytest
from botocore.exceptions import ClientError
from lathlab import kubernetes as lab, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

REGION, NAME, PATIENCE = "us-east-1", "rest", 300
PLANE = f"control-plane@{NAME}"
BINDING = "eks:access-policy:AmazonEKSViewPolicy"
SERVE = """\
import http.server, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/cert.pem", "/srv/tls.pem")
server = http.server.ThreadingHTTPServer(("", 443), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **options).stdout


class Issuer:
    """An issuer in the VPC, at a name that the VPC's resolver knows, vouched for by an authority of the test's own."""

    def __init__(self, place, directory):
        host = place.launch("issuer")
        name = f"ip-{host['private'].replace('.', '-')}.ec2.internal"
        self.url = f"https://{name}"
        self.key, cert, tls = (str(directory / it) for it in ("rsa.pem", "cert.pem", "tls.pem"))
        openssl("genrsa", "-out", self.key, "2048")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tls, "-out", cert, "-days", "2",
                "-subj", "/CN=issuer", "-addext", f"subjectAltName=DNS:{name}")
        self.authority = pathlib.Path(cert).read_text()
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus", text=True).strip().split("=")[1]
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}
        files = {
            "cert.pem": self.authority, "tls.pem": pathlib.Path(tls).read_text(), "serve.py": SERVE,
            "www/.well-known/openid-configuration": json.dumps({
                "issuer": self.url, "jwks_uri": f"{self.url}/jwks", "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"]}),
            "www/jwks": json.dumps({"keys": [key]}),
        }
        lath, self.host = place.world.lath, host["id"]
        lath.exec(host["id"], "mkdir", "-p", "/srv/www/.well-known")
        for path, content in files.items():
            lath.exec(host["id"], "sh", "-c", f"cat >/srv/{path} <<'END'\n{content}\nEND")
        lath.exec(host["id"], "sh", "-c", "cd /srv/www && setsid python3 /srv/serve.py >/dev/null 2>&1 </dev/null &")

    def token(self, **claims):
        now = int(time.time())
        claims = {"iss": self.url, "sub": "jane", "aud": "kubectl", "iat": now, "exp": now + 600} | claims
        signed = f"{b64(json.dumps({'alg': 'RS256', 'kid': 'one'}).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(openssl('dgst', '-sha256', '-sign', self.key, input=signed.encode()))}"


def refused(call, **arguments):
    with pytest.raises(ClientError) as told:
        call(**arguments)
    return told.value.response["Error"]["Code"]


def served_certificate(endpoint):
    host, port = endpoint.removeprefix("https://").split(":")
    context = ssl._create_unverified_context()
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain) as stream:
        return stream.getpeercert(binary_form=True)


def test_the_rest_of_a_cluster(kubernetes, tmp_path):
    with kubernetes.lath("--extended") as lath:
        world = World(lath)
        place = world.place(REGION)
        eks, iam, logs = (world.client(it, REGION) for it in ("eks", "iam", "logs"))
        env = lath.env() | kubernetes.environment() | {"KUBECONFIG": str(tmp_path / "kubeconfig"), "AWS_DEFAULT_REGION": REGION}
        trust = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
        role = iam.create_role(RoleName="eks-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        eks.create_cluster(name=NAME, roleArn=role, resourcesVpcConfig={"subnetIds": place.subnets},
                           logging={"clusterLogging": [{"types": ["api", "scheduler"], "enabled": True}]})
        issuer = Issuer(place, tmp_path)

        # Its first answer says what the waiter waits for: asked a second time, it would fail.
        eks.get_waiter("cluster_active").wait(name=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 5})
        subprocess.run(["aws", "eks", "update-kubeconfig", "--name", NAME], env=env, check=True, stdout=subprocess.DEVNULL)
        kubectl = lambda *arguments, **more: kubernetes.kubectl(env, *arguments, **more)

        its_own_issuer_answers(lath, eks, issuer.host)
        users_of_an_issuer(eks, kubectl, issuer)
        certificates_are_renewed(lath, eks, kubectl)
        # What the record says is not believed for ever.
        kubectl("delete", "clusterrolebinding", BINDING)
        logs_go_on(lath, logs, eks)
        wait_for("the binding", lambda: kubectl("get", "clusterrolebinding", BINDING, check=False).returncode == 0, patience=PATIENCE)

        eks.delete_cluster(name=NAME)
        eks.get_waiter("cluster_deleted").wait(name=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        wait_for("every trace to be gone", lambda: not lab.traces([PLANE]))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []


def its_own_issuer_answers(lath, eks, host):
    """Programs in the VPC read what verifies the cluster's tokens where these say, and trust the cluster's authority."""
    cluster = eks.describe_cluster(name=NAME)["cluster"]
    url, authority = cluster["identity"]["oidc"]["issuer"], base64.b64decode(cluster["certificateAuthority"]["data"]).decode()
    lath.exec(host, "sh", "-c", f"cat >/srv/cluster.pem <<'END'\n{authority}\nEND")
    read = lambda url: json.loads(lath.exec(host, "curl", "-sSf", "--cacert", "/srv/cluster.pem", "--max-time", "20", url))
    found = wait_for("the issuer", lambda: read(f"{url}/.well-known/openid-configuration"), patience=PATIENCE)
    assert found["issuer"] == url
    assert read(found["jwks_uri"])["keys"][0]["kty"] == "EC"
    with pytest.raises(AssertionError, match="404"):
        read(f"{url}0/keys")


def users_of_an_issuer(eks, kubectl, issuer):
    oidc = {"identityProviderConfigName": "corporate", "issuerUrl": issuer.url, "clientId": "kubectl",
            "groupsClaim": "groups", "groupsPrefix": "oidc:", "requiredClaims": {"tenant": "a"}}
    associate = eks.associate_identity_provider_config
    for wrong in {"issuerUrl": "http://example.com"}, {"usernamePrefix": "system:"}, {"groupsPrefix": "x-system:"}:
        assert refused(associate, clusterName=NAME, oidc=oidc | wrong) == "InvalidParameterException"
    kubectl("create", "configmap", "issuer", "--namespace=kube-system", f"--from-literal=ca.crt={issuer.authority}")
    token = issuer.token(tenant="a", groups=["team"])
    whoami = lambda token: kubectl("auth", "whoami", "-o", "json", f"--token={token}", check=False)
    assert whoami(token).returncode != 0, "nobody knows the issuer"
    made = associate(clusterName=NAME, oidc=oidc, tags={"lath:issuer-authorities": "issuer", "a": "b"}, clientRequestToken="one")
    assert made["update"]["type"] == "AssociateIdentityProviderConfig"
    assert associate(clusterName=NAME, oidc=oidc, tags={"lath:issuer-authorities": "issuer", "a": "b"},
                     clientRequestToken="one")["update"]["id"] == made["update"]["id"]
    assert refused(associate, clusterName=NAME, oidc=oidc) == "ResourceInUseException"
    config = {"type": "oidc", "name": "corporate"}
    assert eks.list_identity_provider_configs(clusterName=NAME)["identityProviderConfigs"] == [config]
    described = lambda: eks.describe_identity_provider_config(
        clusterName=NAME, identityProviderConfig=config)["identityProviderConfig"]["oidc"]
    wait_for("the identity provider", lambda: described()["status"] == "ACTIVE", patience=PATIENCE)
    update = eks.describe_update(name=NAME, updateId=made["update"]["id"])["update"]
    assert (update["status"], update["params"][0]["type"]) == ("Successful", "IdentityProviderConfig")
    assert described()["requiredClaims"] == {"tenant": "a"}
    arn = described()["identityProviderConfigArn"]
    assert eks.list_tags_for_resource(resourceArn=arn)["tags"]["a"] == "b"

    # The API server reads the issuer's keys as it takes the configuration over.
    known = wait_for("the issuer's keys", lambda: (run := whoami(token)).returncode == 0 and run.stdout, patience=PATIENCE)
    user = json.loads(known)["status"]["userInfo"]
    assert user["username"] == f"{issuer.url}#jane"
    assert set(user["groups"]) == {"oidc:team", "system:authenticated"}
    for wrong in {"tenant": "b"}, {"aud": "other"}, {"exp": 1}:
        assert whoami(issuer.token(**({"tenant": "a"} | wrong))).returncode != 0, wrong

    gone = eks.disassociate_identity_provider_config(clusterName=NAME, identityProviderConfig=config)["update"]
    assert gone["type"] == "DisassociateIdentityProviderConfig"
    wait_for("the identity provider to go", lambda: eks.list_identity_provider_configs(
        clusterName=NAME)["identityProviderConfigs"] == [], patience=PATIENCE)
    assert eks.describe_update(name=NAME, updateId=gone["id"])["update"]["status"] == "Successful"
    wait_for("its tokens to be refused", lambda: whoami(token).returncode != 0)


def certificates_are_renewed(lath, eks, kubectl):
    files = {it.name: it for it in pathlib.Path(lath.data).rglob("apiserver.pem")}
    served = files["apiserver.pem"]
    assert served.stat().st_mode & 0o777 == 0o600
    endpoint = eks.describe_cluster(name=NAME)["cluster"]["endpoint"]
    before, old = served_certificate(endpoint), served.read_bytes()
    pid = lab_process("kube-apiserver")
    # As if it expired soon.
    until = old.split(b"\n", 1)[0].rsplit(b" ", 1)[1]
    served.write_bytes(old.replace(until, str(int(time.time()) + 60).encode(), 1))
    wait_for("a new certificate", lambda: served_certificate(endpoint) != before, patience=PATIENCE)
    assert lab_process("kube-apiserver") == pid, "without a new start"
    assert kubectl("get", "--raw", "/readyz") == "ok"


def lab_process(program):
    """The pid of a program of the control plane."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            inside = PLANE in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
            if inside and pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].endswith(program):
                return pid
        except OSError:
            continue
    return None


def logs_go_on(lath, logs, eks):
    group = f"/aws/eks/{NAME}/cluster"

    def messages(prefix):
        found = logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNamePrefix=prefix)
        return [event["message"] for page in found for event in page["events"]]

    def is_kept():
        """Whether it is written down that all of the scheduler's log was shipped."""
        kept = json.loads(next(lath.data.rglob("shipped.json")).read_text())["kube-scheduler"]
        return kept["offset"] == next(lath.data.rglob("kube-scheduler.log")).stat().st_size

    first = wait_for("lines of the scheduler", lambda: messages("kube-scheduler"), patience=PATIENCE)
    wait_for("a note of what was shipped", is_kept)
    first = messages("kube-scheduler")
    lath.kill()
    # What it says while no node reads it is not lost.
    os.kill(int(lab_process("kube-scheduler")), 15)
    lath.start()
    later = wait_for("lines of the next scheduler", lambda: len(it := messages("kube-scheduler")) > len(first) and it,
                     patience=PATIENCE)
    assert later[:len(first)] == first
    assert sum(line == first[0] for line in later) == 1, "nothing was shipped twice"
    assert not messages("kube-controller-manager"), "it was not asked for"
    assert eks.describe_cluster(name=NAME)["cluster"]["status"] == "ACTIVE"
