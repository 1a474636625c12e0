"""What a Lath takes of the machine with all that it runs: its own processes, and those of instances, control planes and pods."""

import contextlib
import os
import pathlib
import time

TICK = os.sysconf("SC_CLK_TCK")


def processes(lath, workloads):
    """The processes of a Lath and of its workloads: whatever is below it, and whatever is in the control groups beside those of the
    workloads that are named."""
    parents, groups, owners = {}, {}, set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            parents[pid] = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            paths = [line.split(":", 2)[2] for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
            # lath-OWNER/WORKLOAD/...
            groups[pid] = {part for path in paths for part in path.split("/") if part.startswith("lath-")}
            if any(word in path for path in paths for word in workloads):
                owners |= groups[pid]
    found = {pid for pid, names in groups.items() if names & owners} | {lath.process.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory(pids):
    """Bytes that they take, each shared page by its share (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024


def spent(pids):
    """Seconds of processor time of each, with its children that have ended."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            found[pid] = sum(map(int, words[11:15])) / TICK
    return found


def idle(lath, workloads, seconds):
    """(processes, bytes, share of one core over so many seconds)."""
    pids = processes(lath, workloads)
    before, began = spent(pids), time.monotonic()
    time.sleep(seconds)
    pids |= processes(lath, workloads)
    after, took = spent(pids), time.monotonic() - began
    # A child that has begun and ended counts with its parent; one that began and lives counts whole.
    used = sum(value - before.get(pid, 0) for pid, value in after.items())
    return len(after), memory(after), used / took
