"""What TLS and auth policies cost: a whole Lath with its VPCs, beside nginx and HAProxy on loopback, in one run.

Memory is the proportional set size of the process, CPU the time of its threads; what the kernel keeps for sockets is not counted. The client
is one program for all. Nothing is forwarded: Lath answers by a fixed response, the peers from a backend that is not counted.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benches" / "proxy"), str(ROOT / "conformance")]

import bench as kit  # noqa: E402
from lathlab import Lath, binary  # noqa: E402
from lathlab.lab import Lab, fixed, unique  # noqa: E402

IDLE = int(os.environ.get("IDLE_TLS", "2000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = float(os.environ.get("SECONDS_EACH", "2"))
BASE = 18000

# HOST PORT idle COUNT: holds so many connections until its input ends. HOST PORT full|resumed SECONDS: opens one after another.
CLIENT = '''
import json, socket, ssl, sys, time
host, port, what, much = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
trusting = ssl.create_default_context(); trusting.check_hostname = False; trusting.verify_mode = ssl.CERT_NONE
address = socket.gethostbyname(host)
def ask(session=None):
    tls = trusting.wrap_socket(socket.create_connection((address, port), 20), server_hostname=host, session=session)
    tls.sendall(b"GET /b/0 HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % host.encode())
    answer = b""
    while b"\\r\\n\\r\\n" not in answer: answer += tls.recv(4096)
    return tls
if what == "idle":
    held = [ask() for _ in range(int(much))]
    print("ready", flush=True)
    sys.stdin.readline()
else:
    session, counts, begin = ask().session, {True: 0, False: 0}, time.monotonic()
    while time.monotonic() - begin < much:
        with ask(session if what == "resumed" else None) as tls:
            counts[tls.session_reused] += 1
            session = tls.session or session
    print(json.dumps({"resumed": counts[True], "full": counts[False]}))
'''


def held(pid):
    """Bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024


def used(pid):
    """Nanoseconds of CPU."""
    return sum(int(pathlib.Path(task, "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


class Peer:
    """A server, and how its clients are started."""

    def __init__(self, pid, host, port, resuming, wrap):
        self.pid, self.host, self.port, self.resuming, self.wrap = pid, host, port, resuming, wrap

    def client(self, port, *arguments):
        return subprocess.Popen(self.wrap([self.host, str(port), *map(str, arguments)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def idle(self):
        """Bytes for each idle connection; a tenth of them before, so that what is made once does not count."""
        sizes, clients = [], []
        for count in (IDLE // 10, IDLE):
            clients.append(self.client(self.port, "idle", count))
            assert clients[-1].stdout.readline() == "ready\n"
            time.sleep(1)
            sizes.append(held(self.pid))
        for client in clients:
            client.communicate("\n")
        time.sleep(1)
        return (sizes[1] - sizes[0]) / IDLE

    def handshakes(self, kind):
        """Microseconds of CPU for each connection with one request."""
        before = used(self.pid)
        out = self.client(self.resuming if kind == "resumed" else self.port, kind, SECONDS).communicate()[0]
        counts = json.loads(out)
        assert counts["resumed" if kind == "full" else "full"] == 0, counts
        return (used(self.pid) - before) / 1000 / (counts[kind] + 1)


def peers(directory):
    kit.TMP = directory
    wanted = argparse.Namespace(workers=1, nofile=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536), peers="nginx,haproxy", envoy=None)
    commands = kit.peers(wanted, BASE)
    backend = pathlib.Path(directory, "backend")
    subprocess.run(["rustc", "--edition", "2021", "-O", "-o", backend, ROOT / "benches" / "proxy" / "backend.rs"], check=True)
    kit.start([str(backend), str(BASE)], None, f"{directory}/backend.log")
    kit.wait(BASE, "the backend")
    script = pathlib.Path(directory, "client.py")
    script.write_text(CLIENT)
    found = {}
    for name, (command, ports) in commands.items():
        master = kit.start(command, None, f"{directory}/{name}.log").pid
        kit.wait(ports["tls"], name)
        # nginx serves from a child.
        pid = kit.tree(master)[-1]
        found[name] = Peer(pid, "localhost", ports["tls"], ports["resume"], lambda words: [sys.executable, str(script), *words])
    return found


def signed(host, path, env):
    """The headers of a request that proves who sends it."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    request = AWSRequest("GET", f"http://{host}{path}", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    SigV4Auth(Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]), "vpc-lattice-svcs", "us-east-1").add_auth(request)
    return sum((["-H", f"{name}: {value}"] for name, value in request.headers.items()), [])


def requests(lath, lab, client, name, headers):
    """Microseconds of CPU for each request over kept connections."""
    before = used(lath.process.pid)
    out = lab.run(client, "wrk", "-t1", "-c16", f"-d{round(SECONDS)}s", *headers, f"http://{name}/b")
    assert "Non-2xx" not in out or "404" not in out, out
    return (used(lath.process.pid) - before) / 1000 / int(re.search(r"(\d+) requests in", out)[1])


def median(values):
    return statistics.median(values)


def tls():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="lath-bench.") as directory, Lath("--proxy-threads", "1") as lath, Lab(lath) as lab:
        try:
            measure(lath, lab, directory)
        finally:
            kit.cleanup()


def measure(lath, lab, directory):
    vpc, subnet, group = lab.vpc()
    client, _ = lab.instance(subnet, group)
    network = lab.network(vpc)
    service, name = lab.service(network)
    made = lab.lattice.create_listener(serviceIdentifier=service, name=unique("tls"), protocol="HTTPS", port=443, defaultAction=fixed(404))["id"]
    lab.later(lab.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made)
    lab.listener(service)
    guarded, its_name = lab.service(network, authType="AWS_IAM")
    lab.listener(guarded)
    statements = [{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
                   "Condition": {"StringLike": {"vpc-lattice-svcs:RequestPath": "/admin/*"}}},
                  {"Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*",
                   "Condition": {"StringEquals": {"vpc-lattice-svcs:RequestMethod": ["GET", "POST"], "aws:PrincipalType": ["Account", "User"]}}}]
    lab.lattice.put_auth_policy(resourceIdentifier=guarded, policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    lab.run(client, "sh", "-c", f"mkdir -p /srv && cat >/srv/client.py <<'END'\n{CLIENT}\nEND")
    lab.eventually(client, f"https://{name}/", status=404)
    inside = [binary(), "exec", "--data-dir", str(lath.data), client, "--", "python3", "/srv/client.py"]
    all_of_them = peers(directory) | {"lath": Peer(lath.process.pid, name, 443, 443, lambda words: inside + words)}
    for peer, it in all_of_them.items():
        print(f"{peer:8} {IDLE} idle connections under TLS 1.3, HTTP/1.1: {it.idle():7.0f} bytes each", flush=True)
    times = {(peer, kind): [] for peer in all_of_them for kind in ("full", "resumed")}
    for _ in range(ROUNDS):
        for (peer, kind), seen in times.items():
            seen.append(all_of_them[peer].handshakes(kind))
    for (peer, kind), seen in times.items():
        print(f"{peer:8} a new connection, {kind:7} handshake, one request: {median(seen):6.0f} us of CPU ({min(seen):.0f}..{max(seen):.0f})", flush=True)
    env = lath.env()
    ways = {"no auth policy": (name, []), "signed and judged": (its_name, signed(its_name, "/b", env))}
    status = lab.curl(client, f"http://{its_name}/b", *ways["signed and judged"][1])
    assert status[0] == 404, status
    costs = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, (host, headers) in ways.items():
            costs[way].append(requests(lath, lab, client, host, headers))
    for way, seen in costs.items():
        print(f"lath     a request over HTTP/1.1, fixed response, {way:17}: {median(seen):6.1f} us of CPU ({min(seen):.1f}..{max(seen):.1f})", flush=True)


if __name__ == "__main__":
    tls()
