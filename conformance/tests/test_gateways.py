"""Gateways (an extension): listeners that are entrances to the services attached to them, set by stock clients, seen by callers."""

import json
import shlex
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import Lab, fixed, forward, path, refusal, unique
from lathlab.policies import Mesh, tags

pytestmark = pytest.mark.root

GATEWAY, ROUTES, MATCH, ADDRESS = "lath:gateway", "lath:gateway-routes", "lath:match", "lath:address"
INVALID = ("ValidationException", 400)
ANY = {"httpMatch": path("prefix", "/")}


@pytest.fixture(scope="module")
def mesh(extended):
    with Lab(extended) as lab:
        yield Mesh(lab)


class Gateway:
    """A service whose one listener is an entrance."""

    def __init__(self, lab, mesh, listeners, protocol="HTTP", port=80):
        self.lab, self.mesh, self.protocol, self.port = lab, mesh, protocol, port
        self.service, self.name = lab.service(mesh.network)
        made = lab.lattice.create_listener(
            serviceIdentifier=self.service, name=unique("port"), protocol=protocol, port=port, defaultAction=fixed(404),
            tags=tags({"listeners": listeners}, GATEWAY))
        self.listener, self.id = made["arn"], made["id"]
        lab.later(lab.lattice.delete_listener, serviceIdentifier=self.service, listenerIdentifier=self.id)
        self.arn = lab.lattice.get_service(serviceIdentifier=self.service)["arn"]
        self.address = lab.lattice.list_tags_for_resource(resourceArn=self.arn)["tags"][ADDRESS]

    def ask(self, host, where="/", *options):
        """Status, and the answering server's name where there is one."""
        status, body = self.lab.curl(self.mesh.client, f"http://{self.address}:{self.port}{where}", "-H", f"Host: {host}", *options)
        return status, json.loads(body)["name"] if status == 200 else None

    def secure(self, host, where="/", *options, ca=None):
        """The same by HTTPS, with the host as the server's name."""
        trust = ("--cacert", ca) if ca else ("-k",)
        status, body = self.lab.curl(self.mesh.client, f"https://{host}:{self.port}{where}", "--resolve",
                                     f"{host}:{self.port}:{self.address}", *trust, *options)
        return status, json.loads(body)["name"] if status == 200 else None


class Route:
    """A service with rules, attached to gateways' listeners."""

    def __init__(self, lab, mesh, port, protocol="HTTP", at=80):
        self.lab, self.group = lab, lab.targets(mesh.vpc, (mesh.address, port))
        self.service, self.name = lab.service(mesh.network)
        self.arn = lab.lattice.get_service(serviceIdentifier=self.service)["arn"]
        made = lab.lattice.create_listener(serviceIdentifier=self.service, name=unique("port"), protocol=protocol, port=at,
                                           defaultAction=fixed(404))
        self.listener = made["id"]
        lab.later(lab.lattice.delete_listener, serviceIdentifier=self.service, listenerIdentifier=self.listener)
        self.priority = 100

    def rule(self, match, action=None, more=None):
        self.priority += 1
        return self.lab.lattice.create_rule(
            serviceIdentifier=self.service, listenerIdentifier=self.listener, name=unique("way"), priority=self.priority,
            match=ANY, action=action or forward(self.group), tags={**tags(match, MATCH), **(more or {})})["arn"]

    def attach(self, *routes):
        self.lab.lattice.tag_resource(resourceArn=self.arn, tags=tags(list(routes), ROUTES))


def at(gateway, name, *hosts, order=""):
    return {"listener": gateway.listener, "name": name, "order": order, **({"hosts": list(hosts)} if hosts else {})}


def prefix(value):
    return {"path": {"type": "PathPrefix", "value": value}}


def test_strict_mode_refuses_all_of_it(lab):
    service, _ = lab.service()
    arn = lab.lattice.get_service(serviceIdentifier=service)["arn"]
    listener = lab.listener(service, fixed(404))
    listener_arn = f"{arn}/listener/{listener}"
    calls = [
        lambda: lab.lattice.create_rule(serviceIdentifier=service, listenerIdentifier=listener, name=unique("way"), priority=1,
                                        match=ANY, action=fixed(404), tags=tags(prefix("/"), MATCH)),
        lambda: lab.lattice.tag_resource(resourceArn=listener_arn, tags=tags({"listeners": [{"name": "a"}]}, GATEWAY)),
        lambda: lab.lattice.tag_resource(resourceArn=arn, tags=tags([{"listener": listener_arn, "name": "a"}], ROUTES)),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="--extended") as raised:
            call()
        assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_rules_match_paths_headers_and_queries(tried, mesh):
    one, two = Route(tried, mesh, 8001), Route(tried, mesh, 8002)
    url = f"http://{one.name}"
    one.rule({"path": {"type": "RegularExpression", "value": "/v[0-9]+(/.*)?"}})
    one.rule({**prefix("/a/"), "headers": [{"name": "x-kind", "value": "one"}]})
    one.rule({"queryParameters": [{"name": "q", "type": "RegularExpression", "value": "[0-9]+"}]}, forward(two.group))
    one.rule(prefix("/ab"), fixed(500))
    tried.eventually(mesh.client, url + "/ab", status=500)
    table = [
        ("/v12/x", (), (200, "port-8001")), ("/v", (), (404, None)), ("/v1", (), (200, "port-8001")),
        ("/a/b", ("-H", "x-kind: one"), (200, "port-8001")), ("/a", ("-H", "X-Kind: one"), (200, "port-8001")),
        ("/a/b", ("-H", "x-kind: two"), (404, None)), ("/abc", (), (404, None)), ("/ab/c", (), (500, None)),
        ("/?q=12", (), (200, "port-8002")), ("/?q=1x", (), (404, None)), ("/?q=x&q=1", (), (404, None)),
    ]
    for where, options, want in table:
        status, body = tried.curl(mesh.client, url + where, *options)
        assert (status, json.loads(body)["name"] if status == 200 else None) == want, (where, options)
    wrong = {"path": {"type": "RegularExpression", "value": "("}}
    with pytest.raises(ClientError, match="path.value"):
        one.rule(wrong)
    arn = one.rule(prefix("/gone"))
    tried.eventually(mesh.client, url + "/gone")
    tried.lattice.tag_resource(resourceArn=arn, tags=tags(prefix("/moved"), MATCH))
    tried.eventually(mesh.client, url + "/moved")
    assert tried.curl(mesh.client, url + "/gone")[0] == 404


def test_routes_are_merged_by_host_and_path(tried, mesh):
    gateway = Gateway(tried, mesh, [{"name": "web"}])
    one, two = Route(tried, mesh, 8001), Route(tried, mesh, 8002)
    for where in ("/", "/exact/but"):
        one.rule(prefix(where))
    for match in (prefix("/two"), {"path": {"type": "Exact", "value": "/exact"}}, {**prefix("/"), "headers": [{"name": "x-two", "value": "1"}]}):
        two.rule(match)
    one.attach(at(gateway, "web", "a.example.test", "*.b.example.test", order="2026/one"))
    two.attach(at(gateway, "web", "a.example.test", order="2026/two"))
    wait_for("the first route", lambda: gateway.ask("a.example.test") == (200, "port-8001"))
    wait_for("the second route", lambda: gateway.ask("a.example.test", "/two/x") == (200, "port-8002"))
    table = [
        ("a.example.test", "/exact", (), (200, "port-8002")), ("A.Example.test:80", "/exact/but", (), (200, "port-8001")),
        ("a.example.test", "/", ("-H", "x-two: 1"), (200, "port-8002")), ("x.b.example.test", "/two", (), (200, "port-8001")),
        ("y.x.b.example.test", "/", (), (200, "port-8001")), ("b.example.test", "/", (), (404, None)),
        ("other.test", "/", (), (404, None)), (gateway.address, "/", (), (404, None)),
    ]
    for host, where, options, want in table:
        assert gateway.ask(host, where, *options) == want, (host, where, options)
    # HTTP/2 with prior knowledge, and the absolute form, which goes before Host.
    assert gateway.ask("a.example.test", "/two", "--http2-prior-knowledge") == (200, "port-8002")
    assert gateway.ask("other.test", "/", "--request-target", "http://a.example.test/two") == (200, "port-8002")
    assert gateway.ask("a.example.test, other.test")[0] == 400
    # By its own name a service is what it was; the address is another one's.
    assert tried.ask(mesh.client, f"http://{one.name}/")["name"] == "port-8001"
    # What is the gateway's own, and what is read-only.
    assert refusal(tried.lattice.tag_resource, resourceArn=gateway.arn, tags={ADDRESS: "10.0.0.1"}) == INVALID
    one.attach(at(gateway, "web", "c.example.test", order="2026/one"))
    wait_for("the other host", lambda: gateway.ask("c.example.test") == (200, "port-8001"))
    assert gateway.ask("x.b.example.test") == (404, None) and gateway.ask("a.example.test", "/two") == (200, "port-8002")
    tried.lattice.untag_resource(resourceArn=two.arn, tagKeys=[ROUTES])
    wait_for("no second route", lambda: gateway.ask("a.example.test", "/two") == (404, None))


def test_listeners_are_isolated_and_go_in_any_order(tried, mesh):
    gateway = Gateway(tried, mesh, [{"name": "any"}, {"name": "wild", "hostname": "*.example.test"}, {"name": "one", "hostname": "a.example.test"}])
    one, two = Route(tried, mesh, 8001), Route(tried, mesh, 8002)
    one.rule(prefix("/"))
    two.rule(prefix("/two"))
    one.attach(at(gateway, "any"), at(gateway, "wild"))
    two.attach(at(gateway, "one"))
    wait_for("the listener of all", lambda: gateway.ask("other.test") == (200, "port-8001"))
    wait_for("the listener of one", lambda: gateway.ask("a.example.test", "/two") == (200, "port-8002"))
    assert gateway.ask("b.example.test") == (200, "port-8001")
    assert gateway.ask("a.example.test") == (404, None)
    for route, message in [
        ({"listener": gateway.listener, "name": "none"}, "0.name"),
        ({"listener": f"{one.arn}/listener/{one.listener}", "name": "any"}, "is no gateway's listener"),
        ({"listener": one.arn, "name": "any"}, "is not the ARN of a listener"),
    ]:
        with pytest.raises(ClientError, match=message):
            one.attach(route)
    # A listener that goes leaves attachments behind, which do nothing, and can be set again with others.
    other = Gateway(tried, mesh, [{"name": "any"}])
    one.attach(at(gateway, "any"), at(other, "any"))
    wait_for("the other gateway", lambda: other.ask("other.test") == (200, "port-8001"))
    tried.lattice.delete_listener(serviceIdentifier=gateway.service, listenerIdentifier=gateway.id)
    wait_for("no gateway", lambda: gateway.ask("other.test")[0] == 0)
    one.attach(at(other, "any", "more.test"), at(gateway, "any"))
    wait_for("the change", lambda: other.ask("other.test") == (404, None))
    assert other.ask("more.test") == (200, "port-8001")


def test_a_kill_loses_nothing_of_it(tried, mesh, extended):
    gateway = Gateway(tried, mesh, [{"name": "web"}])
    one = Route(tried, mesh, 8003)
    one.rule(prefix("/kept"))
    one.attach(at(gateway, "web", "kept.test"))
    wait_for("the route", lambda: gateway.ask("kept.test", "/kept") == (200, "port-8003"))
    extended.kill()
    extended.start()
    wait_for("the route again", lambda: gateway.ask("kept.test", "/kept") == (200, "port-8003"))
    assert gateway.ask("kept.test") == (404, None)


def certificate(lab, *names):
    """A certificate for names, which is its own root: its ARN."""
    directory = lab.lath.log.parent
    key, cert = directory / f"{unique('key')}.pem", directory / f"{unique('cert')}.pem"
    alternative = ",".join(f"DNS:{name}" for name in names)
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", cert,
                    "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={alternative}", "-days", "30"], check=True, capture_output=True)
    acm = lab.lath.client("acm")
    arn = acm.import_certificate(Certificate=cert.read_bytes(), PrivateKey=key.read_bytes())["CertificateArn"]
    lab.later(acm.delete_certificate, CertificateArn=arn)
    return arn


def subject(lab, mesh, address, *options):
    words = shlex.join(["openssl", "s_client", "-connect", f"{address}:443", *options])
    return lab.run(mesh.client, "sh", "-c", f"{words} </dev/null 2>/dev/null | openssl x509 -noout -subject", check=False).stdout


def test_certificates_are_chosen_by_the_servers_name(tried, mesh):
    one, two = certificate(tried, "a.example.test"), certificate(tried, "*.b.example.test")
    gateway = Gateway(tried, mesh, [{"name": "a", "hostname": "a.example.test", "certificateArns": [one]},
                                    {"name": "b", "hostname": "*.b.example.test", "certificateArns": [one, two]}], "HTTPS", 443)
    route = Route(tried, mesh, 8001, "HTTPS", 443)
    route.rule(prefix("/"))
    route.attach(at(gateway, "a"), at(gateway, "b"))
    wait_for("HTTPS", lambda: gateway.secure("a.example.test") == (200, "port-8001"))
    assert gateway.secure("x.b.example.test") == (200, "port-8001")
    assert "a.example.test" in subject(tried, mesh, gateway.address, "-servername", "a.example.test")
    assert "*.b.example.test" in subject(tried, mesh, gateway.address, "-servername", "x.b.example.test")
    assert "a.example.test" in subject(tried, mesh, gateway.address, "-noservername")
    # Another listener's host over this connection is misdirected; one of none is not found.
    assert gateway.secure("a.example.test", "/", "-H", "Host: x.b.example.test")[0] == 421
    assert gateway.secure("a.example.test", "/", "-H", "Host: other.test")[0] == 404
    acm = tried.lath.client("acm")
    assert acm.describe_certificate(CertificateArn=two)["Certificate"]["InUseBy"] == [gateway.listener]
    assert refusal(acm.delete_certificate, CertificateArn=two)[0] == "ResourceInUseException"
    tried.lattice.tag_resource(resourceArn=gateway.listener, tags=tags({"listeners": [{"name": "a", "certificateArns": [one]}]}, GATEWAY))
    assert acm.describe_certificate(CertificateArn=two)["Certificate"]["InUseBy"] == []
    wait_for("all hosts", lambda: gateway.secure("c.example.test") == (200, "port-8001"))
    assert refusal(tried.lattice.tag_resource, resourceArn=gateway.listener, tags=tags({"listeners": [{"name": "a"}]}, GATEWAY)) == INVALID


def test_some_requests_fail_and_backends_have_filters(tried, mesh):
    gateway = Gateway(tried, mesh, [{"name": "web"}])
    route = Route(tried, mesh, 8001)
    other = tried.targets(mesh.vpc, (mesh.address, 8002))
    filters = [{"targetGroupIdentifier": route.group, "requestHeaders": {"set": {"x-backend": "one"}}},
               {"targetGroupIdentifier": other, "requestHeaders": {"set": {"x-backend": "two"}}, "responseHeaders": {"set": {"x-from": "two"}},
                "urlRewrite": {"path": {"replaceFullPath": "/inner"}}}]
    policy = {"requestHeaders": {"set": {"x-all": "1", "x-backend": "none"}}, "failure": {"weight": 2}, "targetGroups": filters,
              "cors": {"allowOrigins": ["https://*.example.test"], "allowMethods": ["PUT"], "allowCredentials": True}}
    arn = route.rule(prefix("/mixed"), forward((route.group, 1), (other, 1)), tags(policy))
    route.attach(at(gateway, "web", "mixed.test"))
    wait_for("the route", lambda: gateway.ask("mixed.test", "/mixed")[0] in (200, 500))
    url = f"http://{gateway.address}/mixed"
    found = []
    for _ in range(12):
        status, body = tried.curl(mesh.client, url, "-H", "Host: mixed.test")
        got = json.loads(body) if status == 200 else {"name": status, "headers": [], "path": None}
        headers = dict(got["headers"])
        found.append((got["name"], headers.get("x-backend"), headers.get("x-all"), got["path"]))
    kinds = {(500, None, None, None), ("port-8001", "one", "1", "/mixed"), ("port-8002", "two", "1", "/inner")}
    assert set(found) == kinds and 3 <= found.count((500, None, None, None)) <= 9, found

    def head(*options):
        return tried.run(mesh.client, "curl", "-sS", "-o", "/dev/null", "-D", "-", "-H", "Host: mixed.test", *options, url).lower()

    asked = ("-X", "OPTIONS", "-H", "Origin: https://a.example.test", "-H", "Access-Control-Request-Method: PUT")
    said = head(*asked)
    assert "200" in said.splitlines()[0] and "access-control-allow-origin: https://a.example.test" in said, said
    assert "access-control-allow-methods: put" in said and "access-control-max-age: 5" in said, said
    assert "access-control-allow-origin" not in head("-X", "OPTIONS", "-H", "Origin: https://evil.test", "-H", "Access-Control-Request-Method: PUT")
    tried.lattice.tag_resource(resourceArn=arn, tags=tags({"failure": {"weight": 1}, "cors": policy["cors"], "targetGroups": filters[1:]}, "lath:traffic-policy"))
    wait_for("the change", lambda: "x-from: two" in (said := head("-H", "Origin: https://a.example.test")) and "access-control-allow-credentials: true" in said)


# Ends TLS itself and answers with its name.
SECURE = r'''
import http.server, ssl, subprocess, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "18"); self.end_headers(); self.wfile.write(b'{"name": "inside"}')
subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/srv/key.pem", "-out", "/srv/cert.pem",
                "-subj", "/CN=inside.test", "-days", "1"], check=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/cert.pem", "/srv/key.pem")
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8043), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
'''


def test_tls_is_passed_on_by_the_servers_name(tried, mesh):
    script = f"cat >/srv/secure.py <<'END'\n{SECURE}\nEND\nnohup /usr/bin/python3 /srv/secure.py >/dev/null 2>&1 &"
    tried.run(mesh.backend, "sh", "-c", script)
    gateway = Gateway(tried, mesh, [{"name": "tls", "hostname": "*.example.test"}], "TLS_PASSTHROUGH", 443)
    config = {"protocol": "TCP", "port": 8043, "vpcIdentifier": mesh.vpc, "healthCheck": {"enabled": False}}
    group = tried.lattice.create_target_group(name=unique("group"), type="IP", config=config)["id"]
    tried.later(tried._group_deleted, group=group)
    wait_for("the group", lambda: tried.lattice.get_target_group(targetGroupIdentifier=group)["status"] == "ACTIVE")
    tried.register(group, (mesh.address, 8043))
    service, _ = tried.service(mesh.network)
    made = tried.lattice.create_listener(serviceIdentifier=service, name=unique("tls"), protocol="TLS_PASSTHROUGH", port=443,
                                         defaultAction=forward(group))["id"]
    tried.later(tried.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made)
    arn = tried.lattice.get_service(serviceIdentifier=service)["arn"]
    tried.lattice.tag_resource(resourceArn=arn, tags=tags([at(gateway, "tls", "in.example.test", order="1")], ROUTES))
    wait_for("the passage", lambda: gateway.secure("in.example.test") == (200, "inside"))
    assert "inside.test" in subject(tried, mesh, gateway.address, "-servername", "in.example.test")
    assert gateway.secure("out.example.test")[0] == 0 and gateway.secure("in.other.test")[0] == 0
    # The Gateway API wants the connection closed, without an alert.
    asked = f"openssl s_client -connect {gateway.address}:443 -servername out.example.test </dev/null 2>&1"
    said = tried.run(mesh.client, "sh", "-c", asked, check=False).stdout
    assert "unexpected eof" in said and "alert" not in said


class User:
    """A user of IAM whose policy tests write."""

    def __init__(self, tried, extended):
        self.iam, self.name = extended.client("iam"), unique("router")
        self.iam.create_user(UserName=self.name)
        tried.later(self.iam.delete_user, UserName=self.name)
        keys = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        tried.later(self.iam.delete_access_key, UserName=self.name, AccessKeyId=keys["AccessKeyId"])
        tried.later(self.iam.delete_user_policy, UserName=self.name, PolicyName="way")
        self.lattice = boto3.client("vpc-lattice", endpoint_url=extended.endpoint, region_name=extended.region,
                                    aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"])

    def may(self, *statements):
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in statements]}
        self.iam.put_user_policy(UserName=self.name, PolicyName="way", PolicyDocument=json.dumps(document))


def test_who_attaches_needs_both_ends(tried, mesh, extended):
    """Changing the service alone does not let it in at somebody's gateway."""
    gateway = Gateway(tried, mesh, [{"name": "web"}])
    route = Route(tried, mesh, 8001)
    user = User(tried, extended)
    asked = {"resourceArn": route.arn, "tags": tags([at(gateway, "web")], ROUTES)}
    own = [("vpc-lattice:TagResource", route.arn), ("vpc-lattice:UpdateService", route.arn)]
    for statements in (own[:1], own, [own[0], ("vpc-lattice:UpdateListener", gateway.listener)]):
        user.may(*statements)
        assert refusal(user.lattice.tag_resource, **asked)[0] == "AccessDeniedException", statements
    user.may(*own, ("vpc-lattice:UpdateListener", gateway.listener))
    user.lattice.tag_resource(**asked)


def test_who_presents_certificates_needs_leave_for_each(tried, mesh, extended):
    """A certificate's name could be taken by targets of one's own otherwise."""
    one, two = certificate(tried, "a.example.test"), certificate(tried, "b.example.test")
    gateway = Gateway(tried, mesh, [{"name": "a", "certificateArns": [one]}], "HTTPS", 443)
    user = User(tried, extended)
    own = [("vpc-lattice:TagResource", gateway.listener), ("vpc-lattice:UpdateListener", gateway.listener), ("acm:DescribeCertificate", one)]
    user.may(*own)
    listeners = [{"name": "a", "certificateArns": [one]}]
    for more in ({"listeners": [{"name": "a", "certificateArns": [one, two]}]}, {"listeners": listeners, "clientCertificateArn": two}):
        asked = {"resourceArn": gateway.listener, "tags": tags(more, GATEWAY)}
        user.may(*own)
        assert refusal(user.lattice.tag_resource, **asked)[0] == "AccessDeniedException", more
        user.may(*own, ("acm:DescribeCertificate", two))
        user.lattice.tag_resource(**asked)
    user.may(("vpc-lattice:*", "*"))
    made = {"listeners": listeners}
    denied = refusal(user.lattice.create_listener, serviceIdentifier=gateway.service, name=unique("port"), protocol="HTTPS", port=444,
                     defaultAction=fixed(404), tags=tags(made, GATEWAY))
    assert denied[0] == "AccessDeniedException"
    text = {"hostname": "a.example.test", "trustAnchors": [one], "healthCheckCertificateArn": one}
    denied = refusal(user.lattice.create_target_group, name=unique("group"), type="IP", tags=tags(text, "lath:target-tls"),
                     config={"port": 443, "protocol": "HTTPS", "vpcIdentifier": mesh.vpc})
    assert denied[0] == "AccessDeniedException"
