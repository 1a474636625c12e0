"""The wire: signatures, protocols and HTTP itself, spoken by hand where no client would say it so."""

import gzip
import http.client
import json
import socket
import struct
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from lathlab.lab import refusal, unique

FORM = "application/x-www-form-urlencoded; charset=utf-8"
CBOR_PATH = "/service/GraniteServiceVersion20100801/operation/"


class Wire:
    def __init__(self, lath):
        env = lath.env()
        self.lath = lath
        self.keys = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])

    def signed(self, service, method, path, body=b"", headers=(), keys=None, region=None, date=None):
        """(path, headers) of a signed request."""
        request = AWSRequest(method, self.lath.endpoint + path, data=body, headers=dict(headers))
        auth = SigV4Auth(keys or self.keys, service, region or self.lath.region)
        if date:
            sign_at(auth, request, date)
        else:
            auth.add_auth(request)
        return dict(request.headers)

    def call(self, service, method="POST", path="/", body=b"", headers=(), **more):
        return self.send(method, path, body, self.signed(service, method, path, body, headers, **more))

    def send(self, method, path, body=b"", headers=()):
        """(status, headers, body) of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.lath.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def form(self, service, version="2016-11-15", **members):
        body = urllib.parse.urlencode(members | {"Version": version}).encode()
        return {"service": service, "body": body, "headers": {"Content-Type": FORM}}


def sign_at(auth, request, date):
    """Signs as if it were another time."""
    import datetime

    import botocore.auth
    real = botocore.auth.get_current_datetime
    then = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
    botocore.auth.get_current_datetime = lambda *_args, **_more: then
    try:
        auth.add_auth(request)
    finally:
        botocore.auth.get_current_datetime = real


@pytest.fixture
def wire(lath):
    return Wire(lath)


# One harmless call in each protocol.
def calls(wire):
    json_headers = {"Content-Type": "application/x-amz-json-1.1"}
    return {
        "ec2": wire.form("ec2", Action="DescribeVpcs"),
        "query": wire.form("sts", "2011-06-15", Action="GetCallerIdentity"),
        "rest-json": {"service": "vpc-lattice", "method": "GET", "path": "/services"},
        "json": {"service": "logs", "body": b"{}", "headers": json_headers | {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}},
    }


def error_code(protocol, headers, body):
    """The error code as clients of the protocol read it."""
    if protocol in ("ec2", "query"):
        tree = ET.fromstring(body)
        return next((e.text for e in tree.iter() if e.tag.rpartition("}")[2] == "Code"), None)
    if protocol == "rest-json":
        return headers["x-amzn-errortype"].partition(":")[0]
    return json.loads(body)["__type"].rpartition("#")[2]


def request_id(protocol, headers, body):
    if protocol in ("ec2", "query"):
        tags = {e.tag.rpartition("}")[2].lower(): e.text for e in ET.fromstring(body).iter()}
        return tags.get("requestid")
    return headers.get("x-amzn-requestid")


PROTOCOLS = ("ec2", "query", "rest-json", "json")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_answer_has_a_request_id_of_its_own(wire, protocol):
    call = calls(wire)[protocol]
    seen = set()
    for _ in range(3):
        status, headers, body = wire.call(**call)
        assert status == 200, body
        seen.add(request_id(protocol, headers, body))
    bad = wire.send(call.get("method", "POST"), call.get("path", "/"), call.get("body", b""), call.get("headers", {}))
    seen.add(request_id(protocol, bad[1], bad[2]) if protocol != "ec2" else ET.fromstring(bad[2]).findtext("RequestID"))
    assert None not in seen and len(seen) == 4, seen


# protocol -> (code, status) for: unsigned, unknown key, wrong secret, stale date, wrong region, unknown operation.
REFUSALS = {
    "ec2": [("MissingAuthenticationToken", 403), ("AuthFailure", 401), ("AuthFailure", 401), ("RequestExpired", 400),
            ("AuthFailure", 401), ("InvalidAction", 400)],
    # The query call goes to STS, which is global: the CLI signs it for whatever region is configured.
    "query": [("MissingAuthenticationToken", 403), ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403),
              ("SignatureDoesNotMatch", 403), (None, 200), ("InvalidAction", 400)],
    "rest-json": [("MissingAuthenticationTokenException", 403), ("UnrecognizedClientException", 403),
                  ("InvalidSignatureException", 403), ("InvalidSignatureException", 403),
                  ("InvalidSignatureException", 403), ("UnknownOperationException", 404)],
    "json": [("MissingAuthenticationTokenException", 400), ("UnrecognizedClientException", 400),
             ("InvalidSignatureException", 400), ("InvalidSignatureException", 400),
             ("InvalidSignatureException", 400), ("UnknownOperationException", 400)],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bad_signatures_and_unknown_operations_get_the_errors_of_their_protocol(wire, protocol):
    call = calls(wire)[protocol]
    service = call["service"]
    plain = {k: v for k, v in call.items() if k != "service"}
    unknown = {
        "ec2": wire.form("ec2", Action="DescribeUnicorns"),
        "query": wire.form("sts", "2011-06-15", Action="GetUnicorn"),
        "rest-json": {"service": "vpc-lattice", "method": "GET", "path": "/unicorns"},
        "json": call | {"headers": call.get("headers", {}) | {"X-Amz-Target": "Logs_20140328.Unicorn"}},
    }[protocol]
    answers = [
        wire.send(plain.get("method", "POST"), plain.get("path", "/"), plain.get("body", b""), plain.get("headers", {})),
        wire.call(**call, keys=Credentials("AKIAUNKNOWN000000000", "x")),
        wire.call(**call, keys=Credentials(wire.keys.access_key, "not the secret")),
        wire.call(**call, date="20200101T000000Z"),
        wire.call(**call, region="eu-nowhere-1"),
        wire.call(**unknown),
    ]
    got = [(error_code(protocol, headers, body), status) for status, headers, body in answers]
    assert got == REFUSALS[protocol], service


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_changed_body_or_header_breaks_the_signature(wire, protocol):
    call = calls(wire)[protocol]
    method, path = call.get("method", "POST"), call.get("path", "/")
    headers = wire.signed(call["service"], method, path, call.get("body", b""), call.get("headers", {}))
    want = REFUSALS[protocol][2]
    changed = wire.send(method, path + "?x=y", call.get("body", b""), headers)
    assert (error_code(protocol, *changed[1:]), changed[0]) == want
    if call.get("body"):
        changed = wire.send(method, path, call["body"] + b" ", headers)
        assert (error_code(protocol, *changed[1:]), changed[0]) == want


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_session_token_that_nobody_gave_is_refused(wire, protocol):
    keys = Credentials(wire.keys.access_key, wire.keys.secret_key, token="garbage")
    status, headers, body = wire.call(**calls(wire)[protocol], keys=keys)
    assert (error_code(protocol, headers, body), status) == REFUSALS[protocol][1]


def test_incomplete_authorization_headers_are_told_what_they_lack(wire):
    call = calls(wire)["query"]
    good = wire.signed("sts", "POST", "/", call["body"], call["headers"])
    for name, authorization in [
        ("no signature", good["Authorization"].partition(", Signature")[0]),
        ("no signed headers", good["Authorization"].replace("SignedHeaders=", "Headers=")),
        ("a short credential", good["Authorization"].replace("/aws4_request", "")),
        ("another algorithm", good["Authorization"].replace("AWS4-HMAC-SHA256", "AWS4-HMAC-MD5")),
        ("rubbish", "Bearer \xff"),
    ]:
        status, headers, body = wire.send("POST", "/", call["body"], good | {"Authorization": authorization.encode("latin1")})
        assert status in (400, 403), name
        assert error_code("query", headers, body) in ("IncompleteSignature", "MissingAuthenticationToken"), (name, body)


def test_services_that_are_not_served_say_so(lath):
    for service, call, want in [
        ("s3", "list_buckets", ("NotImplemented", 501)), ("sqs", "list_queues", ("UnknownOperationException", 400)),
        ("ecs", "list_clusters", ("UnknownOperationException", 400)), ("dynamodb", "list_tables", ("UnknownOperationException", 400)),
        ("batch", "describe_job_queues", ("UnknownOperationException", 404)), ("elbv2", "describe_load_balancers", ("InvalidAction", 400)),
    ]:
        assert refusal(getattr(lath.client(service), call)) == want, service


def test_gzip_bodies_are_read_and_bad_ones_refused(wire):
    call = calls(wire)["json"]
    body = gzip.compress(b'{"limit": 3}')
    headers = call["headers"] | {"Content-Encoding": "gzip"}
    assert wire.call("logs", body=body, headers=headers)[0] == 200
    assert wire.call("logs", body=b"not gzip", headers=headers)[0] == 400
    assert wire.call("logs", body=b"{}", headers=call["headers"] | {"Content-Encoding": "br"})[0] == 415
    # A bomb: small on the wire, huge when opened.
    bomb = gzip.compress(b" " * (256 << 20))
    assert wire.call("logs", body=bomb, headers=headers)[0] == 413


def test_a_huge_body_is_refused_before_it_is_read(wire):
    with socket.create_connection(("127.0.0.1", wire.lath.port), timeout=30) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert s.recv(65536).startswith(b"HTTP/1.1 413")


def test_expect_100_continue_is_answered(wire):
    call = calls(wire)["query"]
    headers = wire.signed("sts", "POST", "/", call["body"], call["headers"])
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    with socket.create_connection(("127.0.0.1", wire.lath.port), timeout=30) as s:
        host = f"Host: 127.0.0.1:{wire.lath.port}\r\n"
        s.sendall(f"POST / HTTP/1.1\r\n{host}{lines}Content-Length: {len(call['body'])}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 100")
        s.sendall(call["body"])
        assert s.recv(65536).startswith(b"HTTP/1.1 200")


def test_one_connection_carries_many_calls_good_and_bad(wire):
    call = calls(wire)["rest-json"]
    connection = http.client.HTTPConnection("127.0.0.1", wire.lath.port, timeout=30)
    local = None
    for n in range(20):
        path = call["path"] if n % 3 else "/services/svc-0123456789abcdef0"
        connection.request("GET", path, headers=wire.signed("vpc-lattice", "GET", path))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (200 if n % 3 else 404)
        local = local or connection.sock.getsockname()
        assert connection.sock.getsockname() == local
    connection.close()


def test_presigned_sts_urls_work_until_they_are_changed(wire):
    def presigned(expires=60, headers=None):
        url = wire.lath.endpoint + "/?Action=GetCallerIdentity&Version=2011-06-15"
        request = AWSRequest("GET", url, headers=headers or {})
        SigV4QueryAuth(wire.keys, "sts", wire.lath.region, expires=expires).add_auth(request)
        return request.url

    url = presigned()
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert b":root</Arn>" in answer.read()
    # As `aws eks get-token` signs: a header that the verifier adds.
    url = presigned(headers={"x-k8s-aws-id": "cluster"})
    request = urllib.request.Request(url, headers={"x-k8s-aws-id": "cluster"})
    assert urllib.request.urlopen(request, timeout=30).status == 200
    for broken in (url, presigned()[:-1] + "0", presigned().replace("X-Amz-Expires=60", "X-Amz-Expires=61")):
        if broken == presigned():
            continue
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(broken, headers={"x-k8s-aws-id": "other"}), timeout=30)
        assert caught.value.code == 403


def test_an_arn_may_be_a_path_label(lath):
    lattice = lath.client("vpc-lattice")
    made = lattice.create_service_network(name=unique("arn"))
    try:
        assert lattice.get_service_network(serviceNetworkIdentifier=made["arn"])["id"] == made["id"]
        lattice.tag_resource(resourceArn=made["arn"], tags={"a key": "a/b c:+=@"})
        assert lattice.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"a key": "a/b c:+=@"}
        lattice.untag_resource(resourceArn=made["arn"], tagKeys=["a key"])
        assert lattice.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {}
    finally:
        lattice.delete_service_network(serviceNetworkIdentifier=made["arn"])


# ------------------------------------------------------------------------------------- CloudWatch's dialects
def cbor(value):
    """RFC 8949, as much as a request needs."""
    def head(major, n):
        if n < 24:
            return bytes([major << 5 | n])
        return bytes([major << 5 | 26]) + struct.pack(">I", n)
    match value:
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
        case tuple():  # an instant
            return b"\xc1" + cbor(value[0])
    raise TypeError(value)


def uncbor(data):
    def item(at):
        major, info = data[at] >> 5, data[at] & 31
        at += 1
        n = info
        if major == 7:
            if info in (20, 21, 22):
                return {20: False, 21: True, 22: None}[info], at
            size, kind = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}[info]
            return struct.unpack(kind, data[at:at + size])[0], at + size
        if 24 <= info <= 27:
            size = 1 << (info - 24)
            n, at = int.from_bytes(data[at:at + size], "big"), at + size
        endless = info == 31
        if major == 0:
            return n, at
        if major == 1:
            return -1 - n, at
        if major in (2, 3):
            raw = data[at:at + n]
            return (raw.decode() if major == 3 else raw), at + n
        if major == 6:
            return item(at)
        out, count = ([], n) if major == 4 else ({}, n)
        while (endless and data[at] != 0xFF) or (not endless and count):
            count -= 1
            one, at = item(at)
            if major == 4:
                out.append(one)
            else:
                out[one], at = item(at)
        return out, at + endless
    return item(0)[0]


def test_cloudwatch_speaks_json_query_and_cbor(wire):
    import time
    namespace = unique("Wire")
    now = time.time()
    # query
    members = {"Action": "PutMetricData", "Namespace": namespace, "MetricData.member.1.MetricName": "m",
               "MetricData.member.1.Value": "1", "MetricData.member.1.Dimensions.member.1.Name": "d",
               "MetricData.member.1.Dimensions.member.1.Value": "v"}
    status, _, body = wire.call(**wire.form("monitoring", "2010-08-01", **members))
    assert status == 200 and b"<PutMetricDataResponse" in body, body
    # json 1.0
    datum = {"MetricName": "m", "Value": 2, "Dimensions": [{"Name": "d", "Value": "v"}], "Timestamp": now}
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData"}
    status, _, body = wire.call("monitoring", body=json.dumps({"Namespace": namespace, "MetricData": [datum]}).encode(), headers=headers)
    assert status == 200, body
    # cbor
    headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor", "Accept": "application/cbor"}
    datum = datum | {"Value": 4.0, "Timestamp": (now,)}
    status, got, body = wire.call("monitoring", path=CBOR_PATH + "PutMetricData", headers=headers,
                                  body=cbor({"Namespace": namespace, "MetricData": [datum]}))
    assert status == 200 and got["smithy-protocol"] == "rpc-v2-cbor", body
    # ... and each reads what all three wrote.
    ask = {"Namespace": namespace, "MetricName": "m", "StartTime": (now - 600,), "EndTime": (now + 600,),
           "Period": 3600, "Statistics": ["Sum", "SampleCount"], "Dimensions": [{"Name": "d", "Value": "v"}]}
    status, _, body = wire.call("monitoring", path=CBOR_PATH + "GetMetricStatistics", headers=headers, body=cbor(ask))
    assert status == 200, body
    points = uncbor(body)["Datapoints"]
    assert (sum(p["Sum"] for p in points), sum(p["SampleCount"] for p in points)) == (7, 3), points
    cloudwatch = wire.lath.client("cloudwatch")
    points = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="m", StartTime=now - 600, EndTime=now + 600, Period=3600, Statistics=["Sum"],
        Dimensions=[{"Name": "d", "Value": "v"}])["Datapoints"]
    assert sum(p["Sum"] for p in points) == 7


def test_cloudwatchs_errors_in_each_dialect(wire):
    status, _, body = wire.call(**wire.form("monitoring", "2010-08-01", Action="GetDashboard", DashboardName="none"))
    # AWS: ResourceNotFound with status 404 in the query protocol.
    assert (status, error_code("query", {}, body)) == (404, "ResourceNotFound")
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-query-mode": "true",
               "X-Amz-Target": "GraniteServiceVersion20100801.GetDashboard"}
    status, got, body = wire.call("monitoring", body=b'{"DashboardName":"none"}', headers=headers)
    assert (status, got.get("x-amzn-query-error")) == (404, "ResourceNotFound;Sender"), (got, body)
    headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    status, got, body = wire.call("monitoring", path=CBOR_PATH + "GetDashboard", headers=headers, body=cbor({"DashboardName": "none"}))
    assert status == 404 and uncbor(body)["__type"].endswith(("#ResourceNotFound", "#DashboardNotFoundError")), uncbor(body)
    status, got, body = wire.call("monitoring", path=CBOR_PATH + "Unicorn", headers=headers, body=cbor({}))
    assert (status, uncbor(body)["__type"].rpartition("#")[2]) == (404, "UnknownOperationException")


def test_malformed_bodies_are_refused_never_fatal(wire):
    json_headers = calls(wire)["json"]["headers"]
    cbor_headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    table = [
        ("json: not json", dict(service="logs", body=b"{", headers=json_headers)),
        ("json: a list", dict(service="logs", body=b"[]", headers=json_headers)),
        ("json: too deep", dict(service="logs", body=deep, headers=json_headers)),
        ("json: a wrong type", dict(service="logs", body=b'{"limit":"many"}', headers=json_headers)),
        ("json: not UTF-8", dict(service="logs", body=b'{"logGroupNamePrefix":"\xff"}', headers=json_headers)),
        ("cbor: rubbish", dict(service="monitoring", path=CBOR_PATH + "ListMetrics", body=b"\xff\x00", headers=cbor_headers)),
        ("cbor: cut off", dict(service="monitoring", path=CBOR_PATH + "ListMetrics", body=b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", headers=cbor_headers)),
        ("cbor: too deep", dict(service="monitoring", path=CBOR_PATH + "ListMetrics", body=b"\x81" * 100000, headers=cbor_headers)),
        ("rest-json: not json", dict(service="vpc-lattice", path="/services", body=b"{", headers={"Content-Type": "application/json"})),
        ("ec2: a number that is none", wire.form("ec2", Action="DescribeVpcs", MaxResults="many")),
        ("ec2: no action", wire.form("ec2", Nothing="x")),
        ("ec2: an index beyond reason", wire.form("ec2", **{"Action": "DescribeVpcs", "VpcId.999999999": "vpc-1"})),
        ("ec2: an unknown parameter", wire.form("ec2", Action="DescribeVpcs", Unicorn="1")),
    ]
    wrong = []
    for name, call in table:
        status, _, body = wire.call(**call)
        if not 400 <= status < 500:
            wrong.append((name, status, body[:200]))
    assert wrong == []


def test_without_a_signature_only_liveness_is_told(lath):
    with urllib.request.urlopen(f"{lath.endpoint}/_lath/health", timeout=30) as answer:
        assert answer.status == 200
    for path in ("/_lath/status", "/_lath/metrics", "/_lath/", "/metrics"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(lath.endpoint + path, timeout=30)
        assert caught.value.code in (403, 404), path
