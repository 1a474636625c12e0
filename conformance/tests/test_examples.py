"""The examples of the repository, run as their first lines say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lathlab import ROOT, wait_for
from lathlab.kubernetes import CACHE
from lathlab.terraform import Terraform

pytestmark = pytest.mark.root
EXAMPLES = ROOT / "examples"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")


def answers(lath, client, url):
    wait_for("the shop to answer through the service network", lambda: lath.exec(
        client, "curl", "-s", "--max-time", "10", url, check=False).stdout == "the shop is open\n")


def nothing_is_left(lath):
    assert lath.aws("ec2", "describe-vpcs")["Vpcs"] == []
    for what in ("services", "target-groups", "service-networks"):
        assert lath.aws("vpc-lattice", f"list-{what}")["items"] == []


def test_boto3_and_the_rust_sdk(own_lath):
    def run(action):
        script = EXAMPLES / "boto3" / "service_network.py"
        done = subprocess.run([sys.executable, str(script), action], env=own_lath.env(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    made = json.loads(run("create"))
    answers(own_lath, made["client"], made["url"])
    shift(own_lath)
    run("delete")
    nothing_is_left(own_lath)


def shift(lath):
    """The example of the Rust SDK shows who serves what boto3 made, and changes the weights."""
    build = subprocess.run(["cargo", "build", "--locked", "--quiet", "--message-format=json-render-diagnostics"],
                           cwd=EXAMPLES / "rust", env=os.environ | {"CARGO_TARGET_DIR": str(TARGET / "examples-rust")},
                           capture_output=True, text=True, timeout=3000)
    assert build.returncode == 0, build.stderr
    program = [it["executable"] for it in map(json.loads, build.stdout.splitlines()) if it.get("executable")][-1]

    def run(*arguments):
        done = subprocess.run([program, *arguments], env=lath.env(), capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout, done.stderr

    code, shown, complaint = run("example")
    assert code == 0, complaint
    listener, group, weight, target, status = shown.split()
    assert (listener, group, weight, status) == ("http", "example", "100", "HEALTHY")
    code, shown, complaint = run("example", "example=5")
    assert (code, shown) == (0, f"http example 5 {target} HEALTHY\n"), complaint
    code, shown, complaint = run("example", "absent=5")
    assert (code, shown) == (1, "") and "there is no target group absent" in complaint
    code, shown, complaint = run("example", "example=-1")
    assert (code, shown) == (1, "") and "a weight from 0 to 999" in complaint


def test_terraform(own_lath, tmp_path):
    terraform = Terraform(EXAMPLES / "terraform" / "service-network", tmp_path, own_lath.env() | {"PATH": os.environ["PATH"]})
    terraform.apply()
    outputs = {name: it["value"] for name, it in json.loads(terraform.run("output", "-json")).items()}
    answers(own_lath, outputs["client"], outputs["url"])
    terraform.run("destroy", "-auto-approve")
    nothing_is_left(own_lath)
