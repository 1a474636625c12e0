#!/usr/bin/env python3
"""Runs upstream's end-to-end tests against a cluster of Lath: ./x e2e [FOCUS].

    run.py PROGRAMS IMAGES [FOCUS]    PROGRAMS as build.sh printed it, IMAGES as images.py printed it

FOCUS is a regular expression of names of tests; without it, those of passing.txt run, and it is an error when one of them
does not pass. What skipped.txt lists is left out, with the reason that stands there; with LATH_E2E_ALL=1 it runs too.
Starts a Lath with one cluster of two nodes, prints what each test did, and cleans up. LATH_E2E_WORKERS (4) tests run at a
time, those marked [Serial] alone at the end. LATH_E2E_REPORT names a directory for the reports of the tests.
LATH_E2E_HOLD=1 runs nothing, and keeps the cluster until a line is entered.
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from lathlab import kubernetes as lab  # noqa: E402
from lathlab.clusters import Cluster  # noqa: E402

NODES = 2
# What the tests put before the name of each.
SUITE = "Kubernetes e2e suite"


def listed(name):
    """Names of tests by the comment above them."""
    found, reason = {}, ""
    path = HERE / name
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("#"):
            reason = line.lstrip("# ")
        elif line.strip():
            found[line.strip()] = reason
    return found


def exactly(names):
    """A regular expression of Go for these names, each as a whole."""
    escape = lambda name: re.sub(r"([][(){}.*+?^$|\\])", r"\\\1", name)
    return f"^{SUITE} (" + "|".join(map(escape, sorted(names))) + ")$"


def make_cluster(kubernetes, lath, directory):
    """A cluster with its nodes; gives the environment of kubectl."""
    cluster = Cluster(kubernetes, lath, directory, name="e2e", nodes=NODES, instance_type="m5.large")
    env, kubectl = cluster.env, cluster.kubectl
    # The tests make a client for nearly every request, and each would call `aws eks get-token`: they get a token that lasts.
    kubectl("create", "serviceaccount", "e2e", "--namespace=kube-system")
    kubectl("create", "clusterrolebinding", "e2e", "--clusterrole=cluster-admin", "--serviceaccount=kube-system:e2e")
    token = kubectl("create", "token", "e2e", "--namespace=kube-system", "--duration=24h").strip()
    kubectl("config", "set-credentials", "e2e", f"--token={token}")
    kubectl("config", "set-context", "--current", "--user=e2e")
    return env


def run_tests(kubernetes, programs, env, reports, focus, skip):
    """Gives what each test did, from the tests' own report."""
    command = [
        programs / "ginkgo", f"--procs={os.environ.get('LATH_E2E_WORKERS', '4')}", "--no-color", "--timeout=12h",
        f"--focus={focus}", *([f"--skip={skip}"] if skip else []), f"--output-dir={reports}", "--json-report=report.json",
        programs / "e2e.test", "--", f"-kubeconfig={env['KUBECONFIG']}", f"-kubectl-path={kubernetes.programs / 'kubectl'}",
        "-provider=skeleton", f"-num-nodes={NODES}", "-disable-log-dump", "-dns-domain=cluster.local"]
    with open(reports / "output.log", "w") as log:
        subprocess.run(list(map(str, command)), env=env, stdout=log, stderr=subprocess.STDOUT)
    report = reports / "report.json"
    if not report.exists():
        raise SystemExit(f"the tests wrote no report:\n{(reports / 'output.log').read_text()[-4000:]}")
    outcomes = collections.defaultdict(list)
    for suite in json.loads(report.read_text()):
        for spec in suite["SpecReports"] or ():
            if spec["LeafNodeType"] != "It" or spec["State"] == "skipped" and not spec.get("Failure"):
                continue
            name = " ".join([*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]])
            outcomes[spec["State"]].append((name, spec["RunTime"] / 1e9, spec.get("Failure", {}).get("Message", "")))
    return outcomes


def main(programs, images, focus=None):
    programs, images = pathlib.Path(programs), pathlib.Path(images)
    kubernetes = lab.prepared()
    passing, skipped = listed("passing.txt"), listed("skipped.txt")
    skip = "" if os.environ.get("LATH_E2E_ALL") or not skipped else exactly(skipped)
    reports = pathlib.Path(os.environ.get("LATH_E2E_REPORT") or tempfile.mkdtemp(prefix="lath-e2e-"))
    reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, kubernetes.lath(regions=None) as lath:
        for archive in sorted(images.glob("*.tar")):
            lath.cli("image", "load", "--data-dir", str(lath.data), str(archive))
        try:
            began = time.monotonic()
            env = make_cluster(kubernetes, lath, pathlib.Path(directory))
            print(f"a cluster of {NODES} nodes after {time.monotonic() - began:.1f} s", flush=True)
            if os.environ.get("LATH_E2E_HOLD"):
                for name in "KUBECONFIG", *(name for name in env if name.startswith("AWS_")):
                    print(f"export {name}={env[name]}")
                print(f"data directory: {lath.data}; Enter ends it", flush=True)
                sys.stdin.readline()
                return
            began = time.monotonic()
            outcomes = run_tests(kubernetes, programs, env, reports, focus or exactly(passing), skip)
        except BaseException:
            print(lath.tail(), file=sys.stderr)
            raise
        lath.stop()
    report(outcomes, passing, focus)
    print(f"{time.monotonic() - began:.0f} s; reports: {reports}")
    raise SystemExit(not is_good(outcomes, passing, focus))


def names(outcomes, state):
    return {name for name, *_ in outcomes.get(state, ())}


def report(outcomes, passing, focus):
    """Prints what each test did, and how that differs from the list."""
    for state in sorted(outcomes):
        for name, seconds, failure in sorted(outcomes[state]):
            print(f"{state:<8} {seconds:7.1f} s  {name}")
            if state != "passed":
                print("".join(f"         {line}\n" for line in failure.splitlines()[:12]), end="")
    ran = set().union(*(names(outcomes, state) for state in outcomes))
    for name in sorted(set(passing) - ran if focus is None else ()):
        print(f"passing.txt has it, and it did not run: {name}")
    for name in sorted(names(outcomes, "passed") - set(passing)):
        print(f"passing.txt does not have it: {name}")
    print(", ".join(f"{len(outcomes[state])} {state}" for state in sorted(outcomes)), end=" in ")


def is_good(outcomes, passing, focus):
    """Every listed test passed, or, with a focus, nothing failed."""
    passed = names(outcomes, "passed")
    if focus is None:
        return set(passing) <= passed
    return bool(passed) and set(outcomes) <= {"passed", "skipped"}


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
