"""Which operations succeeded: what no test does successfully is tested by refusals only."""

import atexit
import functools
import pathlib
import re
import shutil
import tempfile

import botocore
import botocore.session

HERE = pathlib.Path(__file__).resolve().parents[1]
# Operations without a successful call in these tests, each with the reason.
EXCEPTIONS = HERE / "without_success.txt"
COMPATIBILITY = HERE.parent / "docs" / "compatibility.md"

_succeeded = set()


def watch():
    """Records what succeeds on the clients of boto3 that are made from now on in this process."""
    import boto3
    boto3.setup_default_session()
    boto3.DEFAULT_SESSION.events.register("after-call", _answered, unique_id="lathlab-calls")


def _answered(http_response, model, **_):
    if http_response.status_code < 300:
        _succeeded.add(f"{model.service_model.service_name}:{model.name}")


def succeeded():
    """What this process has seen succeed, as `service:Operation`."""
    if _scripts:
        for line in (_scripts[0] / "calls").read_text().splitlines():
            command(*line.split()[:2])
    return sorted(_succeeded)


def command(service, operation):
    """A command of the aws CLI succeeded, such as `ec2` `create-vpc`."""
    if name := _commands(service).get(operation):
        _succeeded.add(f"{service}:{name}")


_scripts = []
# Stands in for the aws CLI, which it runs, and notes what succeeded.
SHIM = """#!/bin/sh
"$LATHLAB_AWS" "$@"
status=$?
[ $status -ne 0 ] || printf '%s %s\\n' "$1" "$2" >>"$LATHLAB_CALLS"
exit $status
"""


def noting(env):
    """An environment for scripts in which commands of the aws CLI that succeed are noted."""
    if not _scripts:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="lath-calls-"))
        (directory / "calls").touch()
        (directory / "aws").write_text(SHIM)
        (directory / "aws").chmod(0o755)
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        _scripts.append(directory)
    [directory] = _scripts
    return env | {
        "PATH": f"{directory}:{env['PATH']}", "LATHLAB_AWS": shutil.which("aws", path=env["PATH"]),
        "LATHLAB_CALLS": str(directory / "calls"),
    }


@functools.cache
def _commands(service):
    session = botocore.session.get_session()
    if service not in session.get_available_services():
        return {}  # a command of the CLI's own, such as `configure`
    return {botocore.xform_name(name, "-"): name for name in session.get_service_model(service).operation_names}


def served():
    """Every operation that Lath serves."""
    found, service = set(), None
    for line in COMPATIBILITY.read_text().splitlines():
        if line.startswith("## "):
            service = line[3:].strip()
        elif row := re.match(r"\| (\w+) \| yes", line):
            found.add(f"{service}:{row[1]}")
    return found


def exceptions():
    lines = EXCEPTIONS.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def faults(seen):
    """What is wrong with what the whole of the tests has seen succeed, a line each."""
    served_, excepted, seen = served(), exceptions(), set(seen)
    missing = [f"no test calls {name} successfully" for name in served_ - seen - excepted]
    stale = [f"{name} succeeds: take it out of {EXCEPTIONS.name}" for name in excepted & seen]
    unknown = [f"{name} is not served: take it out of {EXCEPTIONS.name}" for name in excepted - served_]
    return sorted(missing + stale + unknown)
