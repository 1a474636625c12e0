#!/usr/bin/env python3
"""Runs upstream's conformance suite of the Gateway API against the controller on a cluster of Lath: ./x conformance gateway [-- ...].

    run.py [-- ARGUMENTS]    ARGUMENTS are the suite's own, such as -run-test=HTTPRouteWeight

Without ARGUMENTS the whole suite runs, and it is an error when a test does not pass that skipped.txt does not have, when one that it
has passes, or when there is no such test. LATH_GATEWAY_REPORT names the file for the report; it is given to the version that
LATH_GATEWAY_VERSION says. LATH_GATEWAY_HOLD=1 runs nothing, and keeps the cluster until a line is entered.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lathlab import gateway_suite as suite, kubernetes as lab  # noqa: E402

PROJECT = ("--organization=lath", "--project=lath", "--url=https://github.com/lath-dev/lath",
           "--contact=https://github.com/lath-dev/lath/issues")


def version():
    """The version of the program, or the one that the report is to name."""
    if named := os.environ.get("LATH_GATEWAY_VERSION"):
        return named
    said = subprocess.run([lab.binary(), "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"v{said[1]}"


def main(arguments):
    kubernetes = lab.prepared()
    programs, images = suite.prepared(kubernetes)
    keep = pathlib.Path(os.environ.get("LATH_GATEWAY_LOGS") or tempfile.mkdtemp(prefix="lath-gateway-api-"))
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gw", dir="/tmp") as directory, \
            kubernetes.lath("--extended", archives=images) as lath:
        directory = pathlib.Path(directory)
        cluster = None
        try:
            cluster = suite.Suite(kubernetes, lath, directory, programs)
            if os.environ.get("LATH_GATEWAY_HOLD"):
                hold(cluster)
                return
            report = directory / "report.yaml"
            # A report of a part would say that the rest passed.
            about = () if arguments else (*PROJECT, f"--version={version()}", f"--report-output={report}")
            outcomes = cluster.run(*about, *arguments)
            good = tell(cluster, outcomes, whole=not arguments)
            if report.exists():
                shutil.copyfile(report, os.environ.get("LATH_GATEWAY_REPORT") or keep / "report.yaml")
        except BaseException:
            print(lath.tail(), file=sys.stderr)
            raise
        finally:
            for log in directory.glob("*.log"):
                shutil.copyfile(log, keep / log.name)
            shutil.copyfile(lath.log, keep / "lath.log")
            if cluster and cluster.controller and cluster.controller.poll() is None:
                cluster.end("kill")
        lath.stop()
    print(f"logs: {keep}")
    raise SystemExit(not good)


def hold(cluster):
    for name in "KUBECONFIG", *(name for name in cluster.env if name.startswith("AWS_")):
        print(f"export {name}={cluster.env[name]}")
    print(f"data directory: {cluster.lath.data}; logs: {cluster.directory}; a process in the VPC: {cluster.process_in_the_vpc()}; "
          "Enter ends it", flush=True)
    sys.stdin.readline()


def tell(cluster, outcomes, whole):
    """Prints what each test did, and how that differs from the list; gives whether it does not."""
    listed = suite.unpassed()
    passed, failed = outcomes["PASS"], outcomes["FAIL"]
    for outcome in "PASS", "FAIL":
        for name, seconds in sorted(outcomes[outcome].items()):
            print(f"{outcome} {seconds:7.1f} s  {name}")
    for name in sorted(failed):
        print(f"\n{name}:\n" + "\n".join(cluster.words_of(name).splitlines()[-25:]))
    if not whole:
        return bool(passed) and not failed
    there = set((cluster.programs / "tests.txt").read_text().split())
    complaints = [f"there is no such test: {name}" for name in sorted(set(listed) - there)]
    complaints += [f"skipped.txt has it, and it passes: {name}" for name in sorted(set(listed) & set(passed))]
    complaints += [f"it does not pass, and skipped.txt does not have it: {name}"
                   for name in sorted((set(failed) | set(outcomes["SKIP"]) | (there - set(passed))) - set(listed))]
    print(*complaints, sep="\n")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(outcomes['SKIP'])} skipped")
    return not complaints


if __name__ == "__main__":
    words = sys.argv[1:]
    if words and words[0] != "--":
        raise SystemExit(__doc__)
    main(words[1:])
