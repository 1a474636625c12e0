#!/usr/bin/env python3
"""Two regions on one machine, one of them killed under load: run it with ./x demo global.

Starts Lath with two regions and sub-second health checks, builds the same shop in both, and drills it: a region that
loses its power, seen by a client that goes by DNS and by one that goes through the mesh; a server that falls silent, seen
by both, repeated. Each drill ends in a verdict against stated objectives; pages with timelines are left in the report
directory.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))

from lathlab import Lath, binary, wait_for  # noqa: E402
from lathlab.world import World  # noqa: E402

BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
REGIONS = ["us-east-1", "us-west-2"]
REPEAT = os.environ.get("LATH_DEMO_REPEAT", "30")
CHECK_MS = 500


def say(text):
    print(f"\n{BOLD}== {text}{END}", flush=True)


def note(text):
    print(f"{DIM}   {text}{END}", flush=True)


def drill(lath, reports, name, scenario, *flags):
    """Runs a drill; shows and gives its report."""
    out = reports / name
    run = subprocess.run([binary(), "drill", scenario, "--data-dir", str(lath.data), "--out", str(out), *flags],
                         text=True, stdout=subprocess.PIPE)
    print(run.stdout.rstrip(), flush=True)
    if not (out / "drill.json").exists():
        raise SystemExit(f"the drill could not be run\n{lath.tail()}")
    note(f"page: {out / 'drill.html'}")
    return json.loads((out / "drill.json").read_text()) | {"status": run.returncode}


def build(lath):
    say("The same shop in both regions")
    world = World(lath)
    east, west = (world.place(region) for region in REGIONS)
    world.peer(east, west)
    note("VPCs joined by peered Transit Gateways")
    servers = {place.region: place.server(f"shop-{place.region}") for place in (east, west)}
    spare = west.server("spare-us-west-2", subnet=1)
    client = west.launch("client")
    far = servers["us-east-1"]
    answer = world.call(client, f"http://{far['private']}/")
    assert answer and answer["name"] == "shop-us-east-1", answer
    note(f"client in us-west-2 -> {far['private']} in us-east-1 through the peering: {answer['name']}")
    dns = world.failover_zone("shop.test", far, servers["us-west-2"], interval_ms=CHECK_MS, threshold=1)
    note(f"{dns['name']}: failover by health checks every {CHECK_MS} ms, threshold 1")
    groups = [world.target_group(east, [far], interval_ms=CHECK_MS)["arn"],
              world.target_group(west, [servers["us-west-2"], spare], interval_ms=CHECK_MS)["arn"]]
    service = world.service(west, groups)
    wait_for("the mesh to answer", lambda: world.call(client, f"http://{service['name']}/"))
    seen = {world.call(client, f"http://{service['name']}/")["name"] for _ in range(12)}
    note(f"http://{service['name']}/ answers from {', '.join(sorted(seen))}")
    return servers, spare, client, dns, service


def computed_default():
    """What the default setting, checks every 30 s and a threshold of 3, would take: the node begins a check at a
    random time within its interval; a silent endpoint takes 4 s to fail (AWS's connect timeout)."""
    interval, threshold, timeout = 30.0, 3, 4.0
    base = (threshold - 1) * interval + threshold * timeout
    return base + interval * 0.5, base + interval * 0.99, base + interval


def main():
    reports = pathlib.Path(os.environ.get("LATH_DEMO_REPORTS") or tempfile.mkdtemp(prefix="lath-drills-"))
    lath = Lath("--extended", regions=REGIONS)
    results = []
    try:
        say("Starting lath serve --regions " + ",".join(REGIONS))
        lath.start()
        servers, spare, client, dns, service = build(lath)
        load = ["--from", client["id"], "--rate", "50", "--timeout", "1s", "--late", "500ms"]
        west = servers["us-west-2"]["id"]

        say(f"Drill: a server falls silent, clients go by DNS, {REPEAT} times")
        results.append(("silent server, DNS", drill(
            lath, reports, "silent-server-dns", "blackhole-target", "--victim", servers["us-east-1"]["id"],
            "--target", f"dns:{dns['name']}", *load, "--repeat", REPEAT, "--fault", "3s",
            "--objective", "recovery=2s")))
        say(f"Drill: a server falls silent, clients go through the mesh, {REPEAT} times")
        results.append(("silent server, mesh", drill(
            lath, reports, "silent-server-mesh", "blackhole-target", "--victim", west,
            "--target", f"http://{service['name']}/", *load, "--repeat", REPEAT, "--fault", "3s",
            "--objective", "recovery=1s")))
        say("Drill: us-east-1 loses its power, clients go by DNS")
        results.append(("region killed, DNS", drill(
            lath, reports, "region-killed-dns", "kill-region", "--victim", "us-east-1",
            "--target", f"http://{dns['name']}/", *load, "--fault", "8s", "--patience", "120s",
            "--objective", "recovery=3s")))
        say("Drill: us-east-1 loses its power, clients go through the mesh")
        results.append(("region killed, mesh", drill(
            lath, reports, "region-killed-mesh", "kill-region", "--victim", "us-east-1",
            "--target", f"http://{service['name']}/", *load, "--fault", "8s", "--patience", "120s",
            "--objective", "recovery=1s")))
        say("Drill: the control plane of us-west-2 is killed, clients go through the mesh")
        results.append(("control plane killed", drill(
            lath, reports, "control-killed", "kill-control-plane", "--victim", "us-west-2",
            "--target", f"http://{service['name']}/", *load, "--fault", "5s",
            "--objective", "failed=0", "--objective", "late=0")))
    except BaseException:
        print(lath.tail(), file=sys.stderr)
        raise
    finally:
        began = time.monotonic()
        lath.stop()
        note(f"stopped in {time.monotonic() - began:.1f} s; left behind: {lath.remnants() or 'nothing'}")

    say("Report")
    head = f"   {'':<24}{'p50':>10}{'p99':>10}{'max':>10}   failed  verdict"
    print(f"   from the fault to good answers again\n{head}")
    for name, report in results:
        spread = report["recovery_ns"]
        times = "".join(f"{spread[k] / 1e6:>7.0f} ms" for k in ("p50", "p99", "max")) if spread else f"{'never':>30}"
        failed = max(r["failed"] for r in report["repetitions"])
        print(f"   {name:<24}{times}   {failed:>6}  {'passed' if report['verdict']['passed'] else 'MISSED'}")
    times = "".join(f"{value:>8.0f} s" for value in computed_default())
    print(f"   {'default 30 s x 3, DNS':<24}{times}           computed, without resolvers' caches")
    print(f"\n   pages: {reports}")
    if not all(report["verdict"]["passed"] for _, report in results):
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("AWS_PAGER", "")
    main()
