"""Stock Terraform with the AWS provider: a stack is applied, planned again without a difference, changed, and destroyed."""

import os

import pytest
from lathlab import ROOT, host_state
from lathlab.terraform import DIFFERENCE, Terraform

STACKS = ROOT / "conformance" / "terraform"


@pytest.mark.root
def test_a_stack_with_a_cluster(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath() as lath:
        terraform = Terraform(STACKS / "eks", tmp_path, lath.env() | {"PATH": os.environ["PATH"]})
        terraform.apply(nodes=1)
        [node] = lath.aws("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=workers")["Reservations"]
        assert len(node["Instances"][0]["SecurityGroups"]) == 2, "those of the launch template"
        terraform.run("plan", "-detailed-exitcode", want=DIFFERENCE, nodes=2)
        terraform.apply(nodes=2)
        terraform.run("destroy", "-auto-approve", nodes=2)
        assert lath.aws("eks", "list-clusters")["clusters"] == []
        assert lath.aws("ec2", "describe-launch-templates")["LaunchTemplates"] == []
        assert lath.aws("ec2", "describe-network-interfaces")["NetworkInterfaces"] == []
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
