"""Stock boto3 as a user who may do everything but what one statement denies, in whatever way a request names it."""

import json
import sys

import boto3
from botocore.exceptions import ClientError

ec2, iam = boto3.client("ec2"), boto3.client("iam")
user = "ann"
iam.create_user(UserName=user)
key = iam.create_access_key(UserName=user)["AccessKey"]
ann = boto3.client("ec2", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
group = ec2.create_security_group(VpcId=vpc, GroupName="g", Description="d")["GroupId"]
permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
rules = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])["SecurityGroupRules"]
rule = rules[0]["SecurityGroupRuleId"]
table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
pair = ec2.create_key_pair(KeyName="k", KeyType="ed25519")["KeyPairId"]
ec2.create_tags(Resources=[subnet, pair], Tags=[{"Key": "env", "Value": "prod"}])


def deny(resource="*", action="*", **condition):
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": action, "Resource": resource, "Condition": condition},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy)


def run(**more):
    def call():
        ann.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, **more)
    return call


def refused(call, what):
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] == "UnauthorizedOperation":
            return
        sys.exit(f"{what}: {error}")
    sys.exit(f"{what}: not refused")


def arn(resource):
    return f"arn:aws:ec2:us-east-1:*:{resource}"


nested = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group]}
launches = {
    "plain": run(SubnetId=subnet, SecurityGroupIds=[group]),
    "nested": run(NetworkInterfaces=[nested]),
}
for kind, name in [("subnet", subnet), ("security-group", group)]:
    deny(arn(f"{kind}/{name}"))
    for form, call in launches.items():
        refused(call, f"{form} {kind}")
deny(arn(f"subnet/{subnet}"))
refused(run(NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": interface}]), "the subnet of an interface")
deny(arn(f"network-interface/{interface}"))
refused(run(NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": interface}]), "interface")
deny(f"arn:aws:ec2:us-east-1::image/{image}")
refused(launches["plain"], "image")
deny(arn("volume/*"), Bool={"ec2:Encrypted": "false"})
refused(launches["plain"], "volume")
deny(arn("instance/*"), StringNotEquals={"ec2:InstanceType": "t3.nano"})
refused(launches["plain"], "instance type")
deny(action="ec2:RunInstances", StringEquals={"aws:ResourceTag/env": "prod"})
refused(launches["nested"], "tag of a subnet")

deny(arn(f"security-group-rule/{rule}"))
change = {"SecurityGroupRuleId": rule, "SecurityGroupRule": {
    "IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "CidrIpv4": "10.0.0.0/8"}}
refused(lambda: ann.modify_security_group_rules(GroupId=group, SecurityGroupRules=[change]), "rule")
deny(arn(f"route-table/{table}"))
refused(lambda: ann.disassociate_route_table(AssociationId=association), "route table")
deny(arn("key-pair/k"))
refused(lambda: ann.delete_key_pair(KeyPairId=pair), "key pair by its id")
refused(lambda: ann.delete_key_pair(KeyName="k"), "key pair by its name")
refused(lambda: ann.delete_tags(Resources=[pair]), "tags of a key pair")
deny(**{"ForAnyValue:StringEquals": {"aws:TagKeys": "env"}})
refused(lambda: ann.delete_tags(Resources=[subnet]), "all tags of a subnet")
deny(StringEquals={"ec2:ResourceTag/env": "prod"})
refused(lambda: ann.delete_subnet(SubnetId=subnet), "subnet by its tag")

# What is not denied goes through: nothing more is needed than what the request is about.
deny(arn("subnet/subnet-0"))
launches["nested"]()
ann.modify_security_group_rules(GroupId=group, SecurityGroupRules=[change])
ann.delete_tags(Resources=[subnet, pair])
ann.delete_key_pair(KeyPairId=pair)
ann.disassociate_route_table(AssociationId=association)
