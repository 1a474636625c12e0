"""DNS answers per second by dnsperf, and the server's CPU per answer: Lath's authoritative server with records that depend
on health, beside NSD and Knot with the same names as plain static records, in turn, each with two workers.
"""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from lathlab import Lath, free_port, wait_for
from lathlab.lab import unique

SECONDS = int(os.environ.get("SECONDS_EACH", "8"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
NAMES = 100
TICK = os.sysconf("SC_CLK_TCK")


def spent(pid):
    """Seconds of CPU that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def asked(address, port, pid, queries):
    """One run: (answers per second, CPU microseconds per answer)."""
    before = spent(pid)
    run = subprocess.run(["dnsperf", "-s", address, "-p", str(port), "-d", str(queries), "-l", str(SECONDS), "-c", "8",
                          "-q", "200"], capture_output=True, text=True, check=True)
    used = spent(pid) - before
    done = int(re.search(r"Queries completed:\s+(\d+)", run.stdout).group(1))
    lost = re.search(r"Queries lost:\s+(\d+) \(([\d.]+)%\)", run.stdout)
    good = re.search(r"NOERROR \d+ \(([\d.]+)%\)", run.stdout)
    if not good or float(good.group(1)) < 99.9 or float(lost.group(2)) > 1:
        raise SystemExit(f"{address}:{port} did not answer well:\n{run.stdout}")
    return float(re.search(r"Queries per second:\s+([\d.]+)", run.stdout).group(1)), used / done * 1e6


def static_zone(work, zone):
    lines = [f"$ORIGIN {zone}.", "$TTL 60", "@ SOA ns hostmaster 1 7200 900 1209600 60", "@ NS ns", "ns A 127.0.0.1"]
    lines += [f"n{n} A 198.18.0.{n + 1}" for n in range(NAMES)]
    (work / "zone").write_text("\n".join(lines) + "\n")


def nsd(work, zone):
    port = free_port()
    (work / "nsd.conf").write_text(f"""
server:
  ip-address: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{work}"
  pidfile: "{work}/nsd.pid"
  xfrdfile: "{work}/xfrd.state"
  zonelistfile: "{work}/zone.list"
  xfrdir: "{work}"
  database: ""
  server-count: 2
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: zone
""")
    server = shutil.which("nsd", path="/usr/sbin:/usr/bin:/sbin")
    process = subprocess.Popen([server, "-d", "-c", str(work / "nsd.conf")], stderr=subprocess.DEVNULL)
    # The queries are answered by a process of its own.
    answering(port, f"n0.{zone}")
    return process, port, [process.pid, *descendants(process.pid)]


def descendants(pid):
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [found for child in map(int, children.split()) for found in (child, *descendants(child))]


def knot(work, zone):
    port = free_port()
    (work / "knot.conf").write_text(f"""
server:
  listen: 127.0.0.1@{port}
  rundir: "{work}"
  udp-workers: 2
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{work}"
template:
  - id: default
    storage: "{work}"
zone:
  - domain: {zone}
    file: zone
""")
    server = shutil.which("knotd", path="/usr/sbin:/usr/bin:/sbin")
    process = subprocess.Popen([server, "-c", str(work / "knot.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answering(port, f"n0.{zone}")
    return process, port, [process.pid]


def answering(port, name):
    wait_for("answers", lambda: "198.18.0.1" in subprocess.run(
        ["dig", "+short", "+time=1", "+tries=1", "-p", str(port), "@127.0.0.1", name, "A"],
        capture_output=True, text=True).stdout)


def fill(lath, zone):
    """Each name with a primary and a secondary, and a health check on the primary."""
    route53 = lath.client("route53")
    made = route53.create_hosted_zone(Name=zone, CallerReference=unique("bench"))["HostedZone"]["Id"]
    check = route53.create_health_check(CallerReference=unique("bench"), HealthCheckConfig={
        "Type": "TCP", "IPAddress": "198.18.255.254", "Port": 9, "RequestInterval": 30, "FailureThreshold": 10,
        "Disabled": True})["HealthCheck"]["Id"]
    for start in range(0, NAMES, 25):
        changes = [{"Action": "CREATE", "ResourceRecordSet": {
            "Name": f"n{n}.{zone}", "Type": "A", "TTL": 60, "SetIdentifier": role, "Failover": role,
            **({"HealthCheckId": check} if role == "PRIMARY" else {}),
            "ResourceRecords": [{"Value": f"198.18.{0 if role == 'PRIMARY' else 1}.{n + 1}"}]}}
            for n in range(start, start + 25) for role in ("PRIMARY", "SECONDARY")]
        route53.change_resource_record_sets(HostedZoneId=made, ChangeBatch={"Changes": changes})


def names():
    """Prints the table."""
    zone = "bench.test"
    work = pathlib.Path(tempfile.mkdtemp(prefix="lath-bench-"))
    (work / "queries").write_text("".join(f"n{n}.{zone} A\n" for n in range(NAMES)))
    static_zone(work, zone)
    servers = []
    try:
        with Lath() as lath:
            fill(lath, zone)
            port = lath.dns()[1]
            answering(port, f"n0.{zone}")
            beside = {"NSD": nsd, "Knot": knot}
            places = {"Lath": (port, [lath.process.pid])}
            for name, start in beside.items():
                folder = work / name
                folder.mkdir()
                shutil.copy(work / "zone", folder / "zone")
                process, at, pids = start(folder, zone)
                servers.append(process)
                places[name] = (at, pids)
            rounds = {name: [] for name in places}
            for _ in range(ROUNDS):
                for name, (at, pids) in places.items():
                    before = sum(spent(pid) for pid in pids[1:])
                    rate, cost = asked("127.0.0.1", at, pids[0], work / "queries")
                    more = sum(spent(pid) for pid in pids[1:]) - before
                    rounds[name].append((rate, cost + more / (rate * SECONDS) * 1e6))
    finally:
        for process in servers:
            process.terminate()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)
    best = max(statistics.median(r for r, _ in seen) for name, seen in rounds.items() if name != "Lath")
    print(f"{'server':<8}{'answers/s':>12}{'of best peer':>14}{'CPU us/answer':>15}   (medians of {ROUNDS} runs of {SECONDS} s, {NAMES} names)")
    for name, seen in rounds.items():
        rate, cost = (statistics.median(values) for values in zip(*seen))
        print(f"{name:<8}{rate:>12.0f}{rate / best:>14.2f}{cost:>15.2f}")


if __name__ == "__main__":
    sys.exit("run this with ./x bench dns")
