"""AssumeRoleWithWebIdentity by boto3 and the aws CLI, with tokens of an issuer that the test serves itself."""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import threading
import time

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from lathlab import Lath
from lathlab.lab import code_of, status_of, unique

ISSUER = "https://127.0.0.1"
SUBJECT = "system:serviceaccount:shop:cart"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, **options).stdout


class Issuer:
    """An issuer at https://127.0.0.1, whose certificate nobody vouches for, with one RSA key."""

    def __init__(self, directory):
        self.directory, self.asked = directory, []
        self.key, cert, tls = (str(directory / name) for name in ("rsa.pem", "cert.pem", "tls.pem"))
        openssl("genrsa", "-out", self.key, "2048")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tls, "-out", cert, "-days", "2",
                "-subj", "/CN=issuer", "-addext", "subjectAltName=IP:127.0.0.1")
        self.thumbprint = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pathlib.Path(cert).read_text())).hexdigest()
        modulus = openssl("rsa", "-in", self.key, "-noout", "-modulus", text=True).strip().split("=")[1]
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}
        documents = {
            "/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"},
            "/jwks": {"keys": [key]},
        }
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                body = json.dumps(documents.get(self.path, {})).encode()
                self.send_response(200 if self.path in documents else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, tls)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, **claims):
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"], "iat": now, "exp": now + 600} | claims
        signed = f"{b64(json.dumps({'alg': 'RS256', 'kid': 'one'}).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(openssl('dgst', '-sha256', '-sign', self.key, input=signed.encode()))}"


@pytest.fixture(scope="module")
def lath():
    """A Lath that reads the keys of an issuer on loopback."""
    with Lath("--extended") as lath:
        yield lath


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: needs root (port 443)")
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    yield issuer
    issuer.server.shutdown()


@pytest.fixture
def role(lab, issuer):
    """A role that trusts one service account of the issuer."""
    iam = lab.lath.client("iam")
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"], ThumbprintList=[issuer.thumbprint])
    account = lab.lath.client("sts").get_caller_identity()["Account"]
    provider = f"arn:aws:iam::{account}:oidc-provider/127.0.0.1"
    lab.later(iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=provider)
    name = unique("irsa")
    trust = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"127.0.0.1:sub": SUBJECT, "127.0.0.1:aud": "sts.amazonaws.com"}}}}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    lab.later(iam.delete_role, RoleName=name)
    return made["Arn"]


@pytest.fixture
def sts(lath):
    """A client without credentials."""
    return boto3.client("sts", region_name="us-east-1", endpoint_url=lath.endpoint, config=Config(
        signature_version=UNSIGNED, retries={"max_attempts": 0}))


def refused(code, status, words, call, **given):
    with pytest.raises(ClientError) as error:
        call(**given)
    assert (code_of(error.value), status_of(error.value)) == (code, status), error.value
    assert words in error.value.response["Error"]["Message"], error.value


def test_a_token_is_exchanged_for_credentials(lath, issuer, role, sts):
    given = {"RoleArn": role, "RoleSessionName": "pod", "DurationSeconds": 900}
    got = sts.assume_role_with_web_identity(WebIdentityToken=issuer.token(), **given)
    assert got["SubjectFromWebIdentityToken"] == SUBJECT
    assert got["Audience"] == "sts.amazonaws.com" and got["Provider"].endswith(":oidc-provider/127.0.0.1")
    keys = got["Credentials"]
    session = boto3.client("sts", region_name="us-east-1", endpoint_url=lath.endpoint, aws_access_key_id=keys["AccessKeyId"],
                           aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])
    assert session.get_caller_identity()["Arn"].endswith("/pod") and got["AssumedRoleUser"]["Arn"].endswith("/pod")
    # The issuer is not asked again for what is known.
    before = len(issuer.asked)
    sts.assume_role_with_web_identity(WebIdentityToken=issuer.token(), **given)
    assert len(issuer.asked) == before


def test_what_proves_nothing_is_refused(issuer, role, sts):
    def told(code, status, words, token):
        refused(code, status, words, sts.assume_role_with_web_identity, RoleArn=role, RoleSessionName="pod",
                WebIdentityToken=token)

    token = issuer.token()
    told("InvalidIdentityToken", 400, "not a valid JWT", "no-token-at-all")
    told("InvalidIdentityToken", 400, "Incorrect token audience", issuer.token(aud="other"))
    told("InvalidIdentityToken", 400, "No OpenIDConnect provider found in your account for https://other",
         issuer.token(iss="https://other"))
    told("InvalidIdentityToken", 400, "signature", token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB"))
    told("ExpiredTokenException", 400, "Token expired: current date/time", issuer.token(exp=int(time.time()) - 1))
    told("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity", issuer.token(sub="system:serviceaccount:a:b"))


def test_a_certificate_counts_by_its_thumbprint(lab, issuer, role, sts):
    iam = lab.lath.client("iam")
    provider = next(it["Arn"] for it in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
                    if it["Arn"].endswith("/127.0.0.1"))
    given = {"RoleArn": role, "RoleSessionName": "pod"}
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=provider, ThumbprintList=["0" * 40])
    refused("InvalidIdentityToken", 400, "HTTPS certificate doesn't match configured thumbprint",
            sts.assume_role_with_web_identity, WebIdentityToken=issuer.token(), **given)
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=provider, ThumbprintList=[issuer.thumbprint])
    sts.assume_role_with_web_identity(WebIdentityToken=issuer.token(), **given)


def test_the_cli_finds_its_token_as_in_a_pod(lath, issuer, role, tmp_path):
    (tmp_path / "token").write_text(issuer.token())
    told = subprocess.run(
        ["aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text"], text=True, capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": lath.endpoint, "AWS_DEFAULT_REGION": "us-east-1",
             "AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_SESSION_NAME": "cart"})
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip().endswith("/cart"), told.stdout
