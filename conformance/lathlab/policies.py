"""A service network with servers whose answers can be told, and services whose rules have policies."""

import json

from . import wait_for
from .lab import allow, forward, path, unique

TAG = "lath:traffic-policy"
PORTS = (8001, 8002, 8003)
MOODY = (8021, 8022, 8023)

# Answers 503 to the first requests of each path that says how many, and 200 then.
FLAKY = r'''
import collections, http.server
seen = collections.Counter()
class Flaky(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        seen[self.path] += 1
        words = self.path.split("/")
        fails = int(words[2]) if words[1] == "fail" else 0
        out = str(seen[self.path]).encode()
        self.send_response(503 if seen[self.path] <= fails else 200)
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)
    do_GET = do_POST = answer
http.server.ThreadingHTTPServer(("0.0.0.0", 8010), Flaky).serve_forever()
'''

# Each port answers with its number and a status: the one in the file of its name, else 200. Waits first as long as the path says.
MOODS = r'''
import http.server, sys, threading, time
class Moody(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        port = self.server.server_address[1]
        words = self.path.split("/")
        if words[1] == "wait": time.sleep(float(words[2]))
        try: status = int(open(f"/srv/mood-{port}").read())
        except (OSError, ValueError): status = 200
        out = str(port).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
servers = [Server(("0.0.0.0", int(port)), Moody) for port in sys.argv[1:]]
for server in servers[1:]: threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
'''


class Mesh:
    def __init__(self, lab):
        self.vpc, subnet, _ = lab.vpc("10.9.0.0/16", "10.9.1.0/24")
        group = lab.group(self.vpc, allow("tcp", (8000, 8100), cidr="169.254.171.0/24"))
        self.client, _ = lab.instance(subnet, group)
        self.backend, self.address = lab.echo(subnet, group, *PORTS)
        script = f"cat >/srv/flaky.py <<'END'\n{FLAKY}\nEND\nnohup /usr/bin/python3 /srv/flaky.py >/dev/null 2>&1 &\n"
        ports = " ".join(map(str, MOODY))
        script += f"cat >/srv/moods.py <<'END'\n{MOODS}\nEND\nnohup /usr/bin/python3 /srv/moods.py {ports} >/dev/null 2>&1 &"
        self.flaky, self.flaky_address = lab.instance(subnet, group, script=script)
        for port in (8010, *MOODY):
            probe = ("curl", "-s", "-o", "/dev/null", "--max-time", "5", f"http://127.0.0.1:{port}/")
            wait_for(f"the server at {port}", lambda: lab.run(self.flaky, *probe, check=False).returncode == 0)
        self.network = lab.network(self.vpc)
        self.lab = lab

    def mood(self, port, status):
        """What a moody server answers from now on."""
        self.lab.run(self.flaky, "sh", "-c", f"echo {status} >/srv/mood-{port}")


def tags(policy, tag=TAG):
    """A policy in as many tags as it needs."""
    text = json.dumps(policy, separators=(",", ":"))
    parts = [text[at:at + 256] for at in range(0, len(text), 256)]
    return {tag if number == 1 else f"{tag}-{number}": part for number, part in enumerate(parts, 1)}


class Place:
    """A service whose default action forwards to a server; rules with policies by path."""

    def __init__(self, lab, mesh, address=None, port=8001):
        self.lab, self.mesh = lab, mesh
        self.group = lab.targets(mesh.vpc, (address or mesh.address, port))
        self.service, self.name = lab.service(mesh.network)
        self.listener = lab.listener(self.service, forward(self.group))
        self.url = f"http://{self.name}"
        lab.eventually(mesh.client, self.url + "/")
        self.priority = 0

    def rule(self, prefix, policy, action=None):
        """A rule for a prefix; its ARN."""
        self.priority += 10
        return self.lab.lattice.create_rule(
            serviceIdentifier=self.service, listenerIdentifier=self.listener, name=unique("way"),
            priority=self.priority, match={"httpMatch": path("prefix", prefix)},
            action=action or forward(self.group), tags=tags(policy))["arn"]

    def curl(self, where, *options):
        return self.lab.curl(self.mesh.client, self.url + where, *options)

    def head(self, where, *options):
        """An answer's status and headers."""
        out = self.lab.run(self.mesh.client, "curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-D", "-", *options,
                           self.url + where)
        first, *lines = out.strip().splitlines()
        pairs = [line.split(":", 1) for line in lines if ":" in line]
        return int(first.split()[1]), {name.strip().lower(): value.strip() for name, value in pairs}


def seen(got):
    headers = {}
    for name, value in got["headers"]:
        headers.setdefault(name, []).append(value)
    return headers
