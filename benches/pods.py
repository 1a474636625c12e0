#!/usr/bin/env python3
"""Pods that come and go: a cluster runs 1,000 pods in batches, and nothing may be left of them.

  ./x kubernetes && sudo env LATH_BIN=... LATH_KUBERNETES_BIN=... benches/pods.py

Prints how long a batch takes, and fails when a veth, an address, a namespace, a control group, a mount or a process stays. PODS,
BATCH and NODES change the numbers. A machine whose API server does not answer for a while is asked again.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))

from lathlab import kubernetes as lab, wait_for  # noqa: E402
from lathlab.clusters import Cluster, is_true  # noqa: E402

PODS, BATCH = int(os.environ.get("PODS", "1000")), int(os.environ.get("BATCH", "60"))
NODES = int(os.environ.get("NODES", "3"))
PATIENCE = 900
BATCH_OF = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: many}}
spec:
  replicas: {count}
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many, batch: "{batch}"}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: sleep, image: "busybox:latest", command: [sleep, "1000000"]}}]
"""
# What a node has of pods, by its first process: links, addresses routed to pods, leases, namespaces, groups, mounts.
LOOK = {
    "links": "ip -o link | wc -l",
    "routes of pods": "ip route | grep -c '^[0-9.]* dev ' || true",
    "leases": "find /run/lath-cni -name '[0-9]*' | wc -l",
    "network namespaces": "ls /run/netns 2>/dev/null | wc -l",
    "pods' control groups": "find /sys/fs/cgroup -maxdepth 5 -type d -name 'pod*' | wc -l",
    "mounts": "wc -l </proc/self/mounts",
    "containers' processes": "ps ax -o comm= | grep -c containerd-shim || true",
}


def look(lath, nodes):
    """The numbers of all nodes together."""
    found = {}
    for what, script in LOOK.items():
        for node in nodes:
            said = lath.exec(node, "sh", "-c", script).strip()
            found[what] = found.get(what, 0) + int(said or 0)
    found["veths of the host"] = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.count("veth")
    return found


def main():
    try:
        kubernetes = lab.prepared()
    except lab.Dead as reason:
        raise SystemExit(str(reason)) from None
    with tempfile.TemporaryDirectory() as directory, kubernetes.lath() as lath:
        cluster = Cluster(kubernetes, lath, pathlib.Path(directory), nodes=NODES, instance_type="m5.large")
        nodes = sorted(cluster.nodes().values())
        wait_for("DNS", lambda: all(is_true(pod, "Ready") for pod in cluster.get("pods", "-A")), patience=PATIENCE)
        def insist(*arguments, **more):
            wait_for(f"kubectl {arguments[0]}", lambda: cluster.kubectl(*arguments, check=False, **more).returncode == 0,
                     patience=PATIENCE)

        before = look(lath, nodes)
        print(f"before: {before}", flush=True)
        done, batch, addresses, begun = 0, 0, set(), time.monotonic()
        while done < PODS:
            count = min(BATCH, PODS - done)
            began = time.monotonic()
            insist("apply", "-f", "-", content=BATCH_OF.format(count=count, batch=batch))

            def there():
                pods = [pod for pod in cluster.get("pods", "-l", f"app=many,batch={batch}") if is_true(pod, "Ready")]
                return pods if len(pods) == count else None

            pods = wait_for(f"batch {batch}", there, patience=PATIENCE, pause=0.5)
            addresses |= {pod["status"]["podIP"] for pod in pods}
            assert len({pod["status"]["podIP"] for pod in pods}) == count, "an address for each"
            up = time.monotonic() - began
            insist("delete", "deployment", "many", "--wait=false", "--ignore-not-found")
            wait_for("the batch to be gone", lambda: not cluster.get("pods", "-l", "app=many"), patience=PATIENCE, pause=0.5)
            done, batch = done + count, batch + 1
            print(f"{done} pods: {count} up in {up:.1f} s, gone {time.monotonic() - began - up:.1f} s later", flush=True)
        print(f"{done} pods with {len(addresses)} addresses in {time.monotonic() - begun:.0f} s", flush=True)

        def left():
            now = look(lath, nodes)
            return [f"{what}: {before[what]} before, {value} now" for what, value in now.items() if value > before[what]]

        try:
            wait_for("nothing to be left", lambda: not left(), patience=300)
        except AssertionError:
            raise SystemExit(f"left behind: {left()}") from None
        print(f"after: {look(lath, nodes)}: nothing is left of them", flush=True)


if __name__ == "__main__":
    main()
