"""Stock boto3 through the life of an instance. Prints nothing when all is as it should be."""

import base64

import boto3
from botocore.exceptions import ClientError

sts = boto3.client("sts")
secrets = boto3.client("secretsmanager")
ec2 = boto3.client("ec2")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{call.__name__} was not refused")


# Who.
identity = sts.get_caller_identity()
account = identity["Account"]
assert identity["Arn"] == f"arn:aws:iam::{account}:root", identity
password = secrets.get_random_password(
    PasswordLength=6, ExcludePunctuation=True, ExcludeUppercase=True, RequireEachIncludedType=True
)["RandomPassword"]
assert len(password) == 6 and password == password.lower(), password
assert refused("InvalidParameterException", secrets.get_random_password, PasswordLength=3) == 400

# Key, image, network.
key = ec2.create_key_pair(KeyName="k")
assert key["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----\n"), key["KeyFingerprint"]
assert len(key["KeyFingerprint"].split(":")) == 20
images = ec2.describe_images(
    Owners=["amazon"],
    Filters=[
        {"Name": "name", "Values": ["al2023-ami-2023.*"]},
        {"Name": "state", "Values": ["available"]},
    ],
)["Images"]
image = sorted(images, key=lambda it: it["CreationDate"])[-1]["ImageId"]
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
kind = "t3.medium" if ec2.describe_instance_type_offerings(
    Filters=[{"Name": "instance-type", "Values": ["t3.medium"]}]
)["InstanceTypeOfferings"] else "t4g.medium"

# Launch as the CLI does with --associate-public-ip-address.
launch = dict(
    ImageId=image,
    InstanceType=kind,
    KeyName="k",
    MinCount=1,
    MaxCount=1,
    UserData="#!/bin/sh\necho hello\n",
    ClientToken="token",
    NetworkInterfaces=[
        {"DeviceIndex": 0, "AssociatePublicIpAddress": True, "SubnetId": subnet, "Groups": [group]}
    ],
    TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]}],
)
assert refused("DryRunOperation", ec2.run_instances, DryRun=True, **launch) == 412
reservation = ec2.run_instances(**launch)
instance = reservation["Instances"][0]
assert instance["State"] == {"Code": 0, "Name": "pending"}, instance
again = ec2.run_instances(**launch)["Instances"]
assert [it["InstanceId"] for it in again] == [instance["InstanceId"]]
assert refused("IdempotentParameterMismatch", ec2.run_instances, **{**launch, "MaxCount": 2}) == 400
i = instance["InstanceId"]

ec2.get_waiter("instance_running").wait(InstanceIds=[i])
ec2.get_waiter("instance_status_ok").wait(InstanceIds=[i])
found = ec2.describe_instances(
    Filters=[
        {"Name": "tag:Name", "Values": ["o*"]},
        {"Name": "vpc-id", "Values": [vpc]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
)["Reservations"][0]["Instances"][0]
assert found["InstanceId"] == i
assert found["PrivateIpAddress"] == "10.0.1.4", found
assert found["SecurityGroups"] == [{"GroupId": group, "GroupName": "g"}]
assert found["NetworkInterfaces"][0]["Association"]["PublicIp"] == found["PublicIpAddress"]
assert found["MetadataOptions"]["HttpTokens"] == "required"
user_data = ec2.describe_instance_attribute(InstanceId=i, Attribute="userData")["UserData"]["Value"]
assert base64.b64decode(user_data) == b"#!/bin/sh\necho hello\n"
assert ec2.get_console_output(InstanceId=i, Latest=True)["InstanceId"] == i
volume = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [i]}])["Volumes"][0]
assert volume["Attachments"][0]["InstanceId"] == i

# Change, stop, start, reboot, end.
ec2.modify_instance_attribute(InstanceId=i, DisableApiTermination={"Value": True})
assert refused("OperationNotPermitted", ec2.terminate_instances, InstanceIds=[i]) == 400
ec2.modify_instance_attribute(InstanceId=i, DisableApiTermination={"Value": False})
assert refused("DependencyViolation", ec2.delete_security_group, GroupId=group) == 400
assert refused("DependencyViolation", ec2.delete_subnet, SubnetId=subnet) == 400
change = ec2.stop_instances(InstanceIds=[i])["StoppingInstances"][0]
assert (change["PreviousState"]["Code"], change["CurrentState"]["Code"]) == (16, 64), change
ec2.get_waiter("instance_stopped").wait(InstanceIds=[i])
ec2.modify_instance_attribute(InstanceId=i, UserData={"Value": b"#!/bin/sh\n"})
ec2.start_instances(InstanceIds=[i])
ec2.get_waiter("instance_running").wait(InstanceIds=[i])
ec2.reboot_instances(InstanceIds=[i])
change = ec2.terminate_instances(InstanceIds=[i])["TerminatingInstances"][0]
assert change["CurrentState"] == {"Code": 32, "Name": "shutting-down"}, change
ec2.get_waiter("instance_terminated").wait(InstanceIds=[i])
gone = ec2.describe_instances(InstanceIds=[i])["Reservations"][0]["Instances"][0]
assert "PrivateIpAddress" not in gone and gone["Tags"], gone
ec2.delete_key_pair(KeyName="k")
ec2.delete_security_group(GroupId=group)
ec2.delete_subnet(SubnetId=subnet)
ec2.delete_vpc(VpcId=vpc)
