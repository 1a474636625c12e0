"""The examples of the repository, run as their first lines say."""

import json
import os
import subprocess
import sys

import pytest
from lathlab import ROOT, wait_for
from lathlab.terraform import Terraform

pytestmark = pytest.mark.root
EXAMPLES = ROOT / "examples"


def answers(lath, client, url):
    wait_for("the shop to answer through the service network", lambda: lath.exec(
        client, "curl", "-s", "--max-time", "10", url, check=False).stdout == "the shop is open\n")


def nothing_is_left(lath):
    assert lath.aws("ec2", "describe-vpcs")["Vpcs"] == []
    for what in ("services", "target-groups", "service-networks"):
        assert lath.aws("vpc-lattice", f"list-{what}")["items"] == []


def test_boto3(own_lath):
    def run(action):
        script = EXAMPLES / "boto3" / "service_network.py"
        done = subprocess.run([sys.executable, str(script), action], env=own_lath.env(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    made = json.loads(run("create"))
    answers(own_lath, made["client"], made["url"])
    run("delete")
    nothing_is_left(own_lath)


def test_terraform(own_lath, tmp_path):
    terraform = Terraform(EXAMPLES / "terraform" / "service-network", tmp_path, own_lath.env() | {"PATH": os.environ["PATH"]})
    terraform.apply()
    outputs = {name: it["value"] for name, it in json.loads(terraform.run("output", "-json")).items()}
    answers(own_lath, outputs["client"], outputs["url"])
    terraform.run("destroy", "-auto-approve")
    nothing_is_left(own_lath)
