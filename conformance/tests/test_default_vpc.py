"""The default VPC: a new data directory begins with one in each region, and what names no network means it."""

import pytest
from lathlab import Lath, wait_for
from lathlab.lab import Lab, refusal

pytestmark = pytest.mark.root

DEFAULTS = [{"Name": "is-default", "Values": ["true"]}]


def defaults(lath, region=None):
    return [vpc["VpcId"] for vpc in lath.client("ec2", region).describe_vpcs(Filters=DEFAULTS)["Vpcs"]]


def test_a_new_installation_launches_without_naming_a_network():
    with Lath(environment={"LATH_DEFAULT_VPC": "true"}) as lath, Lab(lath) as lab:
        (vpc,) = defaults(lath)
        subnets = lab.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
        assert sorted(it["AvailabilityZone"] for it in subnets) == [f"us-east-1{zone}" for zone in "abc"]
        group = lab.ec2.create_security_group(GroupName="web", Description="d")["GroupId"]
        assert lab.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["VpcId"] == vpc
        zone = {"AvailabilityZone": "us-east-1b"}
        started = lab.ec2.run_instances(
            ImageId=lab.image(), InstanceType="t3.micro", MinCount=1, MaxCount=1, SecurityGroups=["web"], Placement=zone)["Instances"][0]
        assert started["VpcId"] == vpc and started["Placement"]["AvailabilityZone"] == "us-east-1b"
        lab.until(started["InstanceId"], "running")
        assert lab.describe(started["InstanceId"])["PublicIpAddress"]
        assert refusal(lab.ec2.create_default_vpc) == ("DefaultVpcAlreadyExists", 400)
        lath.kill()
        lath.start()
        assert defaults(lath) == [vpc], "a start makes no other one"
        lab.ec2.terminate_instances(InstanceIds=[started["InstanceId"]])
        lab.until(started["InstanceId"], "terminated")
        lab.ec2.delete_security_group(GroupId=group)
        (subnet,) = [it["SubnetId"] for it in subnets if it["AvailabilityZone"] == "us-east-1c"]
        lab.ec2.delete_subnet(SubnetId=subnet)
        made = lab.ec2.create_default_subnet(AvailabilityZone="us-east-1c")["Subnet"]
        assert made["DefaultForAz"] and made["CidrBlock"] == "172.31.32.0/20"
        for subnet in lab.ec2.describe_subnets()["Subnets"]:
            lab.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        (gateway,) = lab.ec2.describe_internet_gateways()["InternetGateways"]
        lab.ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc)
        lab.ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
        lab.ec2.delete_vpc(VpcId=vpc)
        lath.kill()
        lath.start()
        assert defaults(lath) == [], "nor one in the place of one that was deleted"
        without = {"ImageId": lab.image(), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
        assert refusal(lab.ec2.run_instances, **without) == ("VPCIdNotSpecified", 400)
        assert refusal(lab.ec2.create_security_group, GroupName="g", Description="d") == ("VPCIdNotSpecified", 400)
        vpc = lab.ec2.create_default_vpc()["Vpc"]["VpcId"]
        lab.ec2.get_waiter("vpc_available").wait(VpcIds=[vpc])


def test_the_key_turns_it_off_and_an_old_data_directory_gets_none():
    with Lath() as lath:
        assert defaults(lath) == []
        lath.client("ec2").create_internet_gateway()
        assert lath.stop() == 0
        lath.environment["LATH_DEFAULT_VPC"] = "true"
        lath.start()
        assert defaults(lath) == []


def test_each_region_has_one():
    regions = ["us-east-1", "us-west-2"]
    with Lath(regions=regions, environment={"LATH_DEFAULT_VPC": "true"}) as lath:
        found = [wait_for(f"the one of {region}", lambda region=region: defaults(lath, region)) for region in regions]
        assert len({vpc for (vpc,) in found}) == 2
