#!/usr/bin/env python3
"""The Gateway API controller: how long a route's change takes from the API server to the first request that is answered by it, what
the controller's memory is, and how many requests to VPC Lattice a change costs.

  ./x kubernetes && sudo env LATH_BIN=... LATH_KUBERNETES_BIN=... benches/gateway.py [100 1000 3000]

A real API server of a cluster of Lath's, whose routes all lead to one of two Services; these have addresses of instances, so that
no pod is in the figures. So many routes are made first, and how long that takes until all are programmed is said too. ROUNDS says how many changes.
"""

import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))

from lathlab import binary, free_port, gateways, kubernetes as lab, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "100"))
NAME, PATIENCE = "bench", 3600
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
# Asks a name, again and again over one connection, until the answer is what it is to be, and says when that was. A line of input is
# NAME WANTED; the clock is the machine's.
CLIENT = """
import http.client, sys, time
for line in sys.stdin:
    host, wanted = line.split()
    connection = http.client.HTTPConnection(host, timeout=5)
    print("asks", flush=True)
    end, tries = time.monotonic() + 120, 0
    while time.monotonic() < end:
        try:
            connection.request("GET", "/")
            body = connection.getresponse().read().decode().strip()
        except (OSError, http.client.HTTPException):
            connection.close()
            continue
        tries += 1
        if body == wanted:
            break
    print(time.monotonic(), tries, flush=True)
    connection.close()
"""
SERVER = """#!/bin/bash
mkdir -p /srv/www && cd /srv/www && echo %s > index.html
nohup python3 -m http.server 80 >/dev/null 2>&1 &
"""
BACKEND = """
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %(name)s-1, labels: {kubernetes.io/service-name: %(name)s}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [%(address)s], conditions: {ready: true}}]
---
apiVersion: application-networking.k8s.aws/v1alpha1
kind: TargetGroupPolicy
metadata: {name: %(name)s}
spec:
  targetRef: {group: "", kind: Service, name: %(name)s}
  healthCheck: {enabled: false}
"""
GATEWAY = gateways.CLASS + gateways.SHOP


def route(name):
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": "shop"}], "rules": [{"backendRefs": backends("one")}]}}


def backends(to):
    return [{"name": name, "port": 80, "weight": int(name == to)} for name in ("one", "two")]


class Server:
    """The API server, without kubectl's start in each request."""

    def __init__(self, cluster):
        config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        at, = config["clusters"]
        self.url = urllib.parse.urlsplit(at["cluster"]["server"])
        authority = base64.b64decode(at["cluster"]["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        self.cluster, self.local = cluster, threading.local()
        self.renew()

    def renew(self):
        said = subprocess.run(["aws", "eks", "get-token", "--cluster-name", NAME, "--region", self.cluster.region], env=self.cluster.env,
                              check=True, capture_output=True, text=True).stdout
        self.token, self.until = json.loads(said)["status"]["token"], time.monotonic() + 600

    def ask(self, method, path, body=None, kind="application/json"):
        if time.monotonic() > self.until:
            self.renew()
        connection = getattr(self.local, "connection", None)
        if not connection:
            connection = self.local.connection = http.client.HTTPSConnection(self.url.hostname, self.url.port or 443, context=self.tls, timeout=60)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)


class Bench(gateways.Gateways):
    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, name=NAME)
        self.metrics_port = free_port()
        self.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(gateways.KINDS))
        for name in "one", "two":
            server = self.place.launch(name, SERVER % name)
            self.apply(BACKEND % {"name": name, "address": server["private"]})
        self.begin("--metrics-bind-address", f"127.0.0.1:{self.metrics_port}")
        self.apply(GATEWAY)
        self.programmed("gateway", "shop")
        self.server = Server(self)
        self.asker = subprocess.Popen(
            [binary(), "exec", "--data-dir", str(lath.data), self.client["id"], "--", "python3", "-u", "-c", CLIENT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as reply:
            return reply.read().decode()

    def requests(self):
        """How many requests to Lattice there were."""
        return sum(float(it) for it in re.findall(r"^lath_gateway_api_requests_total\{.*\} ([0-9.e+]+)$", self.metrics(), re.M))

    def unprogrammed(self):
        return float(re.search(r"^lath_gateway_unprogrammed_routes ([0-9.e+]+)$", self.metrics(), re.M)[1])

    def memory(self):
        """Resident memory of the controller, and the most that it was, in MB."""
        status = pathlib.Path(f"/proc/{self.controller.pid}/status").read_text()
        return [int(re.search(rf"^{name}:\s+(\d+) kB", status, re.M)[1]) / 1024 for name in ("VmRSS", "VmHWM")]

    def fill(self, begin, end):
        """Makes routes, and waits until all of them are programmed."""
        at = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda it: self.server.ask("POST", ROUTES, route(f"r{it}")), range(begin, end)))
        made = time.monotonic() - at

        def done():
            items = self.server.ask("GET", ROUTES)["items"]
            conditions = [{c["type"]: c["status"] for p in it.get("status", {}).get("parents", []) for c in p["conditions"]} for it in items]
            return len(items) == end and all(it.get("Programmed") == "True" for it in conditions)

        wait_for("all routes", done, patience=PATIENCE, pause=1)
        return made, time.monotonic() - at

    def change(self, name, to):
        """Changes a route; gives the seconds until the first request that is answered by it."""
        host = self.server.ask("GET", f"{ROUTES}/{name}")["metadata"]["annotations"][gateways.DOMAIN]
        self.asker.stdin.write(f"{host} {to}\n")
        self.asker.stdin.flush()
        assert self.asker.stdout.readline().strip() == "asks"
        at = time.monotonic()
        patch = {"spec": {"rules": [{"backendRefs": backends(to)}]}}
        self.server.ask("PATCH", f"{ROUTES}/{name}", patch, "application/merge-patch+json")
        then, _ = self.asker.stdout.readline().split()
        return float(then) - at


def measure(bench, count, before):
    made, programmed = bench.fill(before, count)
    wait_for("quiet", lambda: bench.unprogrammed() == 0, patience=PATIENCE)
    chosen = random.Random(1)
    took, requests = [], bench.requests()
    state = {}
    for _ in range(ROUNDS):
        name = f"r{chosen.randrange(count)}"
        state[name] = "one" if state.get(name) == "two" else "two"
        took.append(bench.change(name, state[name]))
    wait_for("quiet", lambda: bench.unprogrammed() == 0, patience=PATIENCE)
    requests = (bench.requests() - requests) / ROUNDS
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))] * 1000
    now, most = bench.memory()
    for name, to in state.items():
        if to == "two":
            patch = {"spec": {"rules": [{"backendRefs": backends("one")}]}}
            bench.server.ask("PATCH", f"{ROUTES}/{name}", patch, "application/merge-patch+json")
    print(f"{count} routes: p50 {at(.5):.0f} ms, p99 {at(.99):.0f} ms, max {took[-1] * 1000:.0f} ms of {ROUNDS} changes; {requests:.1f} requests to "
          f"Lattice a change; memory {now:.0f} MB (most {most:.0f}); {count - before} routes written in {made:.0f} s, programmed in {programmed:.0f} s",
          flush=True)


def main(counts):
    try:
        kubernetes = lab.prepared()
    except lab.Dead as reason:
        raise SystemExit(str(reason)) from None
    with tempfile.TemporaryDirectory() as directory, kubernetes.lath("--extended") as lath:
        bench = Bench(kubernetes, lath, pathlib.Path(directory))
        try:
            before = 0
            for count in counts:
                measure(bench, count, before)
                before = count
        except BaseException:
            print(bench.log.read_text()[-6000:], file=sys.stderr)
            raise
        finally:
            bench.asker.kill()
            bench.end("kill")


if __name__ == "__main__":
    main(sorted(map(int, sys.argv[1:])) or [100, 1000, 3000])
