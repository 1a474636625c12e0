"""gRPC through HTTPS listeners, with gRPC's own library at both ends: calls of each kind, deadlines, cancellations, statuses."""

import json
import textwrap

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow, forward, path, unique

pytestmark = pytest.mark.root

# Whatever service a call names, its method says what is done.
SERVER = '''
import subprocess, sys, threading
sys.path.insert(0, "/srv/lib")
import grpc
from concurrent import futures
cancelled = threading.Semaphore(0)
def echo(request, context):
    context.send_initial_metadata([(k, v) for k, v in context.invocation_metadata() if k in ("x-forwarded-proto", "x-mine")])
    return request
def fail(request, context):
    context.set_trailing_metadata([("x-why", "because")])
    context.abort(grpc.StatusCode.NOT_FOUND, "nope")
def remaining(request, context):
    return str(context.time_remaining()).encode()
def slow(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(60)
    cancelled.release()
    return b""
def down(request, context):
    for index in range(int(request)): yield b"%d" % index
def up(requests, context):
    return b"%d" % sum(map(int, requests))
def both(requests, context):
    context.add_callback(cancelled.release)
    for request in requests: yield request + request
def await_cancelled(request, context):
    return b"yes" if cancelled.acquire(timeout=30) else b"no"
KINDS = {"Echo": grpc.unary_unary_rpc_method_handler(echo), "Fail": grpc.unary_unary_rpc_method_handler(fail),
         "Remaining": grpc.unary_unary_rpc_method_handler(remaining), "Slow": grpc.unary_unary_rpc_method_handler(slow),
         "Down": grpc.unary_stream_rpc_method_handler(down), "Up": grpc.stream_unary_rpc_method_handler(up),
         "Both": grpc.stream_stream_rpc_method_handler(both), "Cancelled": grpc.unary_unary_rpc_method_handler(await_cancelled)}
class Any(grpc.GenericRpcHandler):
    def service(self, call): return KINDS.get(call.method.split("/")[-1])
subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/srv/key.pem", "-out", "/srv/cert.pem",
                "-subj", "/CN=backend.test", "-days", "1"], check=True, capture_output=True)
server = grpc.server(futures.ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers([Any()])
server.add_insecure_port("0.0.0.0:8050")
server.add_secure_port("0.0.0.0:8051", grpc.ssl_server_credentials([(open("/srv/key.pem", "rb").read(), open("/srv/cert.pem", "rb").read())]))
server.start()
server.wait_for_termination()
'''

CLIENT = '''
import json, os, queue, sys
sys.path.insert(0, "/srv/lib")
os.environ["GRPC_DNS_RESOLVER"] = "native"
import grpc
name, services = sys.argv[1], sys.argv[2].split(",")
trust = grpc.ssl_channel_credentials(open("/etc/ssl/certs/ca-certificates.crt", "rb").read())
channel = grpc.secure_channel(name + ":443", trust)
def outcome(call):
    try: return call()
    except grpc.RpcError as error: return error.code().name, error.details(), dict(error.trailing_metadata() or ())
out = {}
for service in services:
    way = lambda kind, method: getattr(channel, kind)(f"/{service}.Svc/{method}")
    unary = lambda method: way("unary_unary", method)
    it = out[service] = {}
    def echoed():
        answer, call = unary("Echo").with_call(b"hello", metadata=[("x-mine", "me")], timeout=30)
        return answer.decode(), dict(call.initial_metadata()), call.code().name
    it["echo"] = outcome(echoed)
    if it["echo"][0] != "hello": continue
    large = b"x" * 1_000_000
    it["large"] = outcome(lambda: unary("Echo")(large, timeout=30) == large)
    it["down"] = outcome(lambda: [int(x) for x in way("unary_stream", "Down")(b"200", timeout=30)] == list(range(200)))
    it["up"] = outcome(lambda: int(way("stream_unary", "Up")(iter([b"%d" % x for x in range(100)]), timeout=30)))
    def talk():
        said, answers = queue.Queue(), []
        call = way("stream_stream", "Both")(iter(said.get, None), timeout=30)
        for index in range(20):
            said.put(b"%d" % index)
            answers.append(next(call))
        said.put(None)
        rest = list(call)
        return answers == [b"%d%d" % (x, x) for x in range(20)] and rest == []
    it["both"] = outcome(talk)
    outcome(lambda: unary("Cancelled")(b"", timeout=30))
    it["fail"] = outcome(lambda: unary("Fail")(b"", timeout=30))
    it["unknown"] = outcome(lambda: unary("Nothing")(b"", timeout=30))[0]
    it["remaining"] = outcome(lambda: round(float(unary("Remaining")(b"", timeout=300)), -2))
    it["deadline"] = outcome(lambda: unary("Slow")(b"", timeout=0.5))[0]
    it["expired"] = outcome(lambda: unary("Cancelled")(b"", timeout=30).decode())
    def give_up():
        said = queue.Queue()
        call = way("stream_stream", "Both")(iter(said.get, None), timeout=30)
        said.put(b"a")
        next(call)
        call.cancel()
        said.put(None)
        return call.code().name
    it["cancel"] = outcome(give_up)
    it["cancelled"] = outcome(lambda: unary("Cancelled")(b"", timeout=30).decode())
    calls = [unary("Echo").future(b"%d" % x, timeout=60) for x in range(200)]
    it["many"] = [call.result() for call in calls] == [b"%d" % x for x in range(200)]
print(json.dumps(out))
'''


def write(lab, instance, place, text):
    lab.run(instance, "sh", "-c", f"cat >{place} <<'END'\n{textwrap.dedent(text)}\nEND")


@pytest.fixture(scope="module")
def mesh(lath):
    with Lab(lath) as lab:
        vpc, subnet, _ = lab.vpc("10.9.0.0/16", "10.9.1.0/24")
        group = lab.group(vpc, allow("tcp", (8000, 8100), cidr="169.254.171.0/24"))
        client, _ = lab.instance(subnet, group)
        server, address = lab.instance(subnet, group)
        for instance in (client, server):
            lab.give(instance, "grpc", "typing_extensions.py")
        write(lab, client, "/srv/client.py", CLIENT)
        write(lab, server, "/srv/server.py", SERVER)
        lab.run(server, "sh", "-c", "nohup /usr/bin/python3 /srv/server.py >/srv/log 2>&1 &")
        listening = ("sh", "-c", "echo >/dev/tcp/127.0.0.1/8051")
        wait_for("the server", lambda: lab.run(server, "bash", *listening[1:], check=False).returncode == 0)
        yield vpc, client, address, lab.network(vpc)


def group(lab, vpc, protocol, version, *targets):
    config = {"protocol": protocol, "protocolVersion": version, "port": 443, "vpcIdentifier": vpc, "healthCheck": {"enabled": False}}
    made = lab.lattice.create_target_group(name=unique("group"), type="IP", config=config)["id"]
    lab.later(lab._group_deleted, group=made)
    wait_for("the group", lambda: lab.lattice.get_target_group(targetGroupIdentifier=made)["status"] == "ACTIVE")
    if targets:
        lab.register(made, *targets)
    return made


def test_calls_of_each_kind_reach_targets_in_the_clear_and_under_tls(lab, mesh):
    vpc, client, address, network = mesh
    service, name = lab.service(network)
    ways = {
        "clear": group(lab, vpc, "HTTP", "GRPC", (address, 8050)),
        "secure": group(lab, vpc, "HTTPS", "GRPC", (address, 8051)),
        "http2": group(lab, vpc, "HTTP", "HTTP2", (address, 8050)),
        "http1": group(lab, vpc, "HTTP", "HTTP1", (address, 8050)),
        "empty": group(lab, vpc, "HTTP", "GRPC"),
    }
    made = lab.lattice.create_listener(serviceIdentifier=service, name=unique("tls"), protocol="HTTPS", port=443,
                                       defaultAction=forward(ways["clear"]))["id"]
    lab.later(lab.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made)
    for priority, (way, target) in enumerate(ways.items(), 1):
        lab.rule(service, made, priority, path("prefix", f"/{way}."), forward(target))
    lab.eventually(client, f"https://{name}/", status=400)
    run = lab.run(client, "/usr/bin/python3", "/srv/client.py", name, ",".join(ways))
    seen = json.loads(run.strip().splitlines()[-1])
    for way in ("clear", "secure", "http2"):
        it = seen[way]
        answer, metadata, code = it.pop("echo")
        assert (answer, code) == ("hello", "OK"), way
        assert (metadata["x-forwarded-proto"], metadata["x-mine"]) == ("https", "me"), way
        code, words, trailers = it.pop("fail")
        assert (code, words, trailers.get("x-why")) == ("NOT_FOUND", "nope", "because"), way
        assert it == {
            "large": True, "down": True, "up": 4950, "both": True, "unknown": "UNIMPLEMENTED", "remaining": 300,
            "deadline": "DEADLINE_EXCEEDED", "expired": "yes", "cancel": "CANCELLED", "cancelled": "yes", "many": True}, way
    # Lath's own refusals are HTTP's, which gRPC has codes for.
    assert seen["http1"]["echo"][0] == "INTERNAL"
    assert seen["empty"]["echo"][0] == "UNAVAILABLE"
