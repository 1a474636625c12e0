#!/usr/bin/env python3
"""Lath's main job on one machine, shown from outside: run it with ./x demo.

Starts Lath, runs the recipe (two isolated VPCs, a service network, IP targets), sends requests from VPC A to
VPC B through the service network, kills the backend process, shows the target turn unhealthy, restores it,
and ends with a short report of what was measured.
"""

import contextlib
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))

from lathlab import RECIPE, Lath, wait_for  # noqa: E402

BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
FIGURES = []


def say(text):
    print(f"\n{BOLD}== {text}{END}", flush=True)


def figure(what, value):
    FIGURES.append((what, value))
    print(f"{DIM}   {what}: {value}{END}", flush=True)


@contextlib.contextmanager
def timed(what):
    start = time.monotonic()
    yield
    figure(what, f"{time.monotonic() - start:.2f} s")


def recipe(lath, state, *phases):
    """Runs a phase of the recipe with its output shown."""
    env = lath.env() | {"STATE_DIR": str(state), "POLL": "1"}
    subprocess.run([str(RECIPE), *phases], env=env, check=True)


def read_state(state):
    """The ids that the recipe remembers."""
    pairs = (line.partition("=") for line in (state / "state").read_text().splitlines())
    return {name: shlex.split(value)[0] for name, _, value in pairs if value}


class Mesh:
    """The recipe's things, once its steps have run."""

    def __init__(self, lath, ids):
        self.lath, self.ids = lath, ids
        self.lattice = lath.client("vpc-lattice")
        service = self.lattice.get_service(serviceIdentifier=ids["BACKEND_SERVICE_ID"])
        self.name = service["dnsEntry"]["domainName"]

    def call(self):
        """One request from VPC A to the backend in VPC B: (status, body, seconds)."""
        form = "%{http_code} %{time_total}"
        run = self.lath.exec(self.ids["INSTANCE_A_ID"], "curl", "-s", "--max-time", "10", "-w", f"\n{form}",
                             f"http://{self.name}/", check=False)
        *body, last = run.stdout.rstrip("\n").split("\n")
        status, seconds = last.split()
        return int(status), "\n".join(body), float(seconds)

    def target(self):
        items = self.lattice.list_targets(targetGroupIdentifier=self.ids["BACKEND_TG_ID"])["items"]
        return items[0]["status"] if items else None

    def in_backend(self, script):
        return self.lath.exec(self.ids["INSTANCE_B_ID"], "bash", "-c", script, check=False)


def show_call(mesh):
    status, body, seconds = mesh.call()
    print(f"   VPC A -> http://{mesh.name}/ -> {status} [{body.strip()}] in {seconds * 1000:.1f} ms")
    return status


def isolation(mesh):
    say("VPC A cannot reach the backend's address directly")
    address = mesh.ids["INSTANCE_B_IP"]
    run = mesh.lath.exec(mesh.ids["INSTANCE_A_ID"], "curl", "-sS", "--max-time", "3",
                         f"http://{address}:9090/", check=False)
    assert run.returncode != 0, "the VPCs are not isolated"
    print(f"   curl http://{address}:9090/ -> {run.stderr.strip()}")


def failure(mesh):
    say("The backend process is killed")
    mesh.lattice.update_target_group(
        targetGroupIdentifier=mesh.ids["BACKEND_TG_ID"],
        healthCheck={"enabled": True, "healthCheckIntervalSeconds": 5, "healthCheckTimeoutSeconds": 2,
                     "healthyThresholdCount": 2, "unhealthyThresholdCount": 2, "protocol": "HTTP",
                     "port": 9090, "path": "/health"})
    wait_for("a healthy target", lambda: mesh.target() == "HEALTHY")
    mesh.in_backend("kill $(pgrep -f 'http.server 9090')")
    with timed("killed process -> target UNHEALTHY (checks every 5 s, threshold 2)"):
        wait_for("an unhealthy target", lambda: mesh.target() == "UNHEALTHY")
    show_call(mesh)

    say("It is restored")
    mesh.in_backend("cd /srv/pod; nohup python3 -m http.server 9090 >/var/log/pod.log 2>&1 </dev/null &")
    with timed("restored process -> first good answer"):
        wait_for("a good answer", lambda: mesh.call()[0] == 200)
    with timed("and -> target HEALTHY (threshold 2)"):
        wait_for("a healthy target", lambda: mesh.target() == "HEALTHY")
    show_call(mesh)


def load(mesh, count=200):
    say(f"{count} requests over the service network")
    script = (f"for n in $(seq {count}); do printf 'url = http://{mesh.name}/\\noutput = /dev/null\\n'; done "
              "| curl -s -K - -w '%{http_code} %{time_total}\\n'")
    lines = mesh.lath.exec(mesh.ids["INSTANCE_A_ID"], "bash", "-c", script).split("\n")
    answers = [line.split() for line in lines if line.strip()]
    good = sum(status == "200" for status, _ in answers)
    times = sorted(float(seconds) * 1000 for _, seconds in answers)
    figure("requests answered 200", f"{good} of {count}")
    figure("latency seen by curl in VPC A", f"p50 {times[len(times) // 2]:.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms")


def resources(lath):
    with open(f"/proc/{lath.process.pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    figure("memory of lath serve", f"{int(fields['VmRSS'].split()[0]) / 1024:.0f} MiB")


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="lath-demo-"))
    state = work / "recipe"
    lath = Lath(directory=work)
    try:
        say("Starting lath serve")
        with timed("start -> APIs answer"):
            lath.start()
        print(f"   {lath.endpoint}, data in {lath.data}")
        with timed("recipe: preparation and ten steps, with the aws CLI"):
            recipe(lath, state, "prepare")
            recipe(lath, state, "steps")
        with timed("recipe: validation"):
            recipe(lath, state, "validate")
        mesh = Mesh(lath, read_state(state))
        say("A request crosses from VPC A to VPC B")
        show_call(mesh)
        isolation(mesh)
        load(mesh)
        failure(mesh)
        say("lath status")
        print(lath.cli("status", "--data-dir", str(lath.data)))
        resources(lath)
        with timed("recipe: cleanup"):
            recipe(lath, state, "cleanup")
    except BaseException:
        print(lath.tail(), file=sys.stderr)
        raise
    finally:
        lath.stop()
    left = lath.remnants()
    figure("left behind (mounts, processes)", len(left) or "nothing")
    subprocess.run(["rm", "-rf", str(work)], check=True)
    say("Report")
    width = max(len(what) for what, _ in FIGURES)
    for what, value in FIGURES:
        print(f"   {what:<{width}}  {value}")


if __name__ == "__main__":
    os.environ.setdefault("AWS_PAGER", "")
    main()
