"""Stock Terraform with the AWS provider: a stack is applied, planned again without a difference, changed, and destroyed."""

import os

import pytest
from lathlab import ROOT, host_state, wait_for
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


@pytest.mark.root
def test_a_stack_with_a_certificate_and_an_https_listener(own_lath, tmp_path):
    terraform = Terraform(STACKS / "https", tmp_path, own_lath.env() | {"PATH": os.environ["PATH"]})
    terraform.apply()
    client, name = (terraform.run("output", "-raw", it) for it in ("client", "name"))

    def asked(status):
        words = ("curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "--connect-to", f"::{name}:443",
                 "https://shop.terraform.test/")
        wait_for(f"{status} under the certificate", lambda: own_lath.exec(client, *words, check=False).stdout == str(status))

    asked(404)
    terraform.apply(status=500)
    asked(500)
    terraform.run("destroy", "-auto-approve")
    assert own_lath.aws("acm", "list-certificates")["CertificateSummaryList"] == []
    assert own_lath.aws("vpc-lattice", "list-services")["items"] == []
    assert own_lath.aws("route53", "list-hosted-zones")["HostedZones"] == []


@pytest.mark.root
def test_a_stack_of_networks(own_lath, tmp_path):
    terraform = Terraform(STACKS / "network", tmp_path, own_lath.env() | {"PATH": os.environ["PATH"]})
    terraform.apply()

    def ports():
        [acl] = own_lath.aws("ec2", "describe-network-acls", "--filters", "Name=tag:Name,Values=web")["NetworkAcls"]
        return [it["PortRange"] for it in acl["Entries"] if it["RuleNumber"] == 100]

    assert ports() == [{"From": 80, "To": 80}]
    [peering] = own_lath.aws("ec2", "describe-vpc-peering-connections")["VpcPeeringConnections"]
    assert peering["Status"]["Code"] == "active"
    assert peering["AccepterVpcInfo"]["PeeringOptions"]["AllowDnsResolutionFromRemoteVpc"]
    [options] = own_lath.aws("ec2", "describe-dhcp-options", "--filters", "Name=tag:Name,Values=corp")["DhcpOptions"]
    [associated] = own_lath.aws("ec2", "describe-vpcs", "--filters", f"Name=dhcp-options-id,Values={options['DhcpOptionsId']}")["Vpcs"]
    assert associated["CidrBlock"] == "10.72.0.0/16"
    terraform.run("plan", "-detailed-exitcode")
    terraform.run("plan", "-detailed-exitcode", want=DIFFERENCE, port=443)
    terraform.apply(port=443)
    assert ports() == [{"From": 443, "To": 443}]
    terraform.run("destroy", "-auto-approve", port=443)
    [left] = own_lath.aws("ec2", "describe-vpcs")["Vpcs"]
    assert left["IsDefault"], "Terraform leaves the default VPC"
