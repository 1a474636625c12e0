"""China and GovCloud: regions of other partitions, whose ARNs, names and principals are their own."""

import json
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError
from lathlab import Lath, binary
from lathlab.lab import Lab, code_of, status_of

ACCOUNT = "000000000000"


class World:
    """A region of another partition, and what is different in it."""

    def __init__(self, region, partition, suffix, ec2):
        self.region, self.partition, self.suffix, self.ec2 = region, partition, suffix, ec2

    def arn(self, service, resource, region=None, account=ACCOUNT):
        return f"arn:{self.partition}:{service}:{self.region if region is None else region}:{account}:{resource}"

    def iam(self, resource, account=ACCOUNT):
        return self.arn("iam", resource, region="", account=account)


CHINA = World("cn-north-1", "aws-cn", "amazonaws.com.cn", "ec2.amazonaws.com.cn")
GOV = World("us-gov-west-1", "aws-us-gov", "amazonaws.com", "ec2.amazonaws.com")


@pytest.fixture(scope="module", params=[CHINA, GOV], ids=lambda world: world.partition)
def place(request):
    with Lath(region=request.param.region) as lath:
        yield lath, request.param
        log = lath.log.read_text(errors="replace")
        assert "panicked at" not in log, log


def statement(effect, action, resource="*", **condition):
    made = {"Effect": effect, "Action": action, "Resource": resource}
    return made | ({"Condition": condition} if condition else {})


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(**principal):
    return json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}})


def told(call, **arguments):
    """Code, status and text of a refusal."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return code_of(error.value), status_of(error.value), error.value.response["Error"]["Message"]


def ann(lath, *statements):
    """A user with a key, held to these statements, and a maker of its clients."""
    iam = lath.client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]

    def may(*statements):
        iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document(*statements))

    def client(service):
        return boto3.client(service, region_name=lath.region, endpoint_url=lath.endpoint,
                            aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

    def gone():
        iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
        for name in iam.list_user_policies(UserName="ann")["PolicyNames"]:
            iam.delete_user_policy(UserName="ann", PolicyName=name)
        iam.delete_user(UserName="ann")

    may(*statements)
    return client, may, gone


def test_identities_are_of_the_partition(place):
    lath, world = place
    iam, sts = lath.client("iam"), lath.client("sts")
    assert sts.get_caller_identity()["Arn"] == world.iam("root")
    assert lath.aws("sts", "get-caller-identity", "--region", world.region)["Arn"] == world.iam("root")
    assert iam.get_user()["User"]["Arn"] == world.iam("root")
    role = iam.create_role(RoleName="app", AssumeRolePolicyDocument=trust(AWS=world.iam("root")))["Role"]
    assert role["Arn"] == world.iam("role/app")
    user = iam.create_user(UserName="bob", Path="/team/")["User"]
    assert user["Arn"] == world.iam("user/team/bob")
    group = iam.create_group(GroupName="ops")["Group"]
    assert group["Arn"] == world.iam("group/ops")
    profile = iam.create_instance_profile(InstanceProfileName="web")["InstanceProfile"]
    assert profile["Arn"] == world.iam("instance-profile/web")
    text = document(statement("Allow", "ec2:*", world.arn("ec2", "vpc/*")))
    policy = iam.create_policy(PolicyName="net", PolicyDocument=text)["Policy"]
    assert policy["Arn"] == world.iam("policy/net")
    iam.attach_role_policy(RoleName="app", PolicyArn=policy["Arn"])
    admin = world.iam("policy/AdministratorAccess", account="aws")
    assert lath.aws("iam", "get-policy", "--policy-arn", admin, "--region", world.region)["Policy"]["Arn"] == admin
    assert all(it["Arn"].startswith(f"arn:{world.partition}:") for it in iam.list_policies(Scope="AWS")["Policies"])
    linked = iam.create_service_linked_role(AWSServiceName="vpc-lattice.amazonaws.com")["Role"]
    assert linked["Arn"] == world.iam("role/aws-service-role/vpc-lattice.amazonaws.com/AWSServiceRoleForVpcLattice")
    iam.delete_service_linked_role(RoleName=linked["RoleName"])
    iam.detach_role_policy(RoleName="app", PolicyArn=policy["Arn"])
    iam.delete_policy(PolicyArn=policy["Arn"])
    iam.delete_instance_profile(InstanceProfileName="web")
    iam.delete_group(GroupName="ops")
    iam.delete_user(UserName="bob")
    iam.delete_role(RoleName="app")


def test_another_partitions_arns_are_refused(place):
    lath, world = place
    iam = lath.client("iam")
    iam.create_role(RoleName="app", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    foreign = "arn:aws:ec2:*:*:vpc/*"
    malformed = ("MalformedPolicyDocument", 400, f'Partition "aws" is not valid for resource "{foreign}".')
    text = document(statement("Deny", "ec2:DeleteVpc", foreign))
    assert told(iam.create_policy, PolicyName="p", PolicyDocument=text) == malformed
    assert told(iam.put_role_policy, RoleName="app", PolicyName="p", PolicyDocument=text) == malformed
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    wrong = ("ValidationError", 400, "Invalid ARN partition")
    assert told(iam.attach_role_policy, RoleName="app", PolicyArn=admin) == wrong
    assert told(iam.get_policy, PolicyArn=admin) == wrong
    root = f"arn:aws:iam::{ACCOUNT}:root"
    code, status, message = told(iam.create_role, RoleName="x", AssumeRolePolicyDocument=trust(AWS=root))
    assert (code, status) == ("MalformedPolicyDocument", 400) and root in message, message
    assert told(lath.client("sts").assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/app", RoleSessionName="me")[:2] \
        == ("AccessDenied", 403)
    lattice = lath.client("vpc-lattice")
    network = lattice.create_service_network(name="parts")
    assert network["arn"] == world.arn("vpc-lattice", f"servicenetwork/{network['id']}")
    other = network["arn"].replace(f"arn:{world.partition}:", "arn:aws:")
    assert told(lattice.get_service_network, serviceNetworkIdentifier=other)[:2] == ("ResourceNotFoundException", 404)
    lattice.get_service_network(serviceNetworkIdentifier=network["arn"])
    logs = lath.client("logs")
    logs.create_log_group(logGroupName="g")
    group = logs.describe_log_groups()["logGroups"][0]
    assert group["logGroupArn"] == world.arn("logs", "log-group:g") and group["arn"] == world.arn("logs", "log-group:g:*")
    logs.tag_resource(resourceArn=group["logGroupArn"], tags={"a": "b"})
    other = group["logGroupArn"].replace(f"arn:{world.partition}:", "arn:aws:")
    assert told(logs.tag_resource, resourceArn=other, tags={"a": "b"})[:2] == ("ResourceNotFoundException", 400)
    with_logs = lattice.create_access_log_subscription(resourceIdentifier=network["id"], destinationArn=group["arn"])
    lattice.delete_access_log_subscription(accessLogSubscriptionIdentifier=with_logs["arn"])
    logs.delete_log_group(logGroupName="g")
    lattice.delete_service_network(serviceNetworkIdentifier=network["id"])
    iam.delete_role(RoleName="app")


def test_policies_bite_by_the_partitions_arns(place):
    lath, world = place
    ec2 = lath.client("ec2")
    vpc, kept = (ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(2))
    subnet = ec2.create_subnet(VpcId=kept, CidrBlock="10.0.1.0/24")["Subnet"]
    assert subnet["SubnetArn"] == world.arn("ec2", f"subnet/{subnet['SubnetId']}")
    group = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [kept]}])["SecurityGroups"][0]
    assert group["SecurityGroupArn"] == world.arn("ec2", f"security-group/{group['GroupId']}")
    client, may, gone = ann(lath, statement("Allow", "ec2:*"), statement("Deny", "ec2:DeleteVpc", world.arn("ec2", f"vpc/{kept}")))
    code, status, message = told(client("ec2").delete_vpc, VpcId=kept)
    assert (code, status) == ("UnauthorizedOperation", 403)
    assert f"User: {world.iam('user/ann')} is not authorized to perform: ec2:DeleteVpc on resource: " \
        f"{world.arn('ec2', f'vpc/{kept}')} with an explicit deny" in message, message
    client("ec2").delete_vpc(VpcId=vpc)
    # Allowed by ARN alone, and by who asks.
    may(statement("Allow", "ec2:CreateTags", world.arn("ec2", f"vpc/{kept}")),
        statement("Allow", "ec2:DescribeVpcs", ArnLike={"aws:PrincipalArn": world.iam("user/a*")}),
        statement("Allow", "iam:GetUser", world.iam("user/ann")))
    client("ec2").create_tags(Resources=[kept], Tags=[{"Key": "a", "Value": "b"}])
    assert client("ec2").describe_vpcs()["Vpcs"]
    assert client("iam").get_user()["User"]["Arn"] == world.iam("user/ann")
    assert told(client("ec2").create_tags, Resources=[subnet["SubnetId"]], Tags=[{"Key": "a", "Value": "b"}])[0] == "UnauthorizedOperation"
    gone()
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=kept)


def test_roles_are_assumed(place):
    lath, world = place
    iam = lath.client("iam")
    client, _, gone = ann(lath, statement("Allow", "sts:AssumeRole", world.iam("role/app")))
    iam.create_role(RoleName="app", AssumeRolePolicyDocument=trust(AWS=world.iam("user/ann")))
    shown = iam.get_role(RoleName="app")["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"]["Principal"]["AWS"] == world.iam("user/ann")
    assumed = client("sts").assume_role(RoleArn=world.iam("role/app"), RoleSessionName="me")
    session = world.arn("sts", "assumed-role/app/me", region="")
    assert assumed["AssumedRoleUser"]["Arn"] == session
    keys = assumed["Credentials"]
    sts = boto3.client("sts", region_name=world.region, endpoint_url=lath.endpoint, aws_access_key_id=keys["AccessKeyId"],
                       aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])
    assert sts.get_caller_identity()["Arn"] == session
    iam.delete_role(RoleName="app")
    gone()


def test_roles_are_passed_to_the_partitions_services(place):
    """In China EC2 is called `ec2.amazonaws.com.cn` where instances get roles, but not where profiles do."""
    lath, world = place
    iam = lath.client("iam")
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust(Service=world.ec2))
    iam.create_instance_profile(InstanceProfileName="web")

    def passing(service):
        return statement("Allow", "iam:PassRole", world.iam("role/web"), StringEquals={"iam:PassedToService": service})

    everything = statement("Allow", ["iam:AddRoleToInstanceProfile", "ec2:*"])
    client, may, gone = ann(lath, everything, passing("ec2.amazonaws.com"))
    client("iam").add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
    may(everything, passing(world.ec2))
    run = {"ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1, "DryRun": True,
           "IamInstanceProfile": {"Arn": world.iam("instance-profile/web")}}
    assert told(client("ec2").run_instances, **run)[0] in ("DryRunOperation", "InvalidAMIID.NotFound")
    may(everything, passing("eks.amazonaws.com"))
    assert told(client("ec2").run_instances, **run)[0] == "UnauthorizedOperation"
    gone()
    iam.remove_role_from_instance_profile(InstanceProfileName="web", RoleName="web")
    iam.delete_instance_profile(InstanceProfileName="web")
    iam.delete_role(RoleName="web")


def test_names_are_the_partitions(place):
    lath, world = place
    ec2 = lath.client("ec2")
    assert ec2.describe_regions()["Regions"][0]["Endpoint"] == f"ec2.{world.region}.{world.suffix}"
    lists = ec2.describe_managed_prefix_lists()["PrefixLists"]
    ours = next(it for it in lists if it["PrefixListName"] == f"com.amazonaws.{world.region}.vpc-lattice")
    assert ours["PrefixListArn"].startswith(world.arn("ec2", "prefix-list/", account="aws")), ours
    lattice = lath.client("vpc-lattice")
    service = lattice.create_service(name="names")
    assert service["arn"] == world.arn("vpc-lattice", f"service/{service['id']}")
    assert service["dnsEntry"]["domainName"].endswith(f".vpc-lattice-svcs.{world.region}.on.aws")
    lattice.delete_service(serviceIdentifier=service["id"])
    route53 = lath.client("route53")
    zone = route53.create_hosted_zone(Name="example.test", CallerReference="1")["HostedZone"]["Id"]
    route53.delete_hosted_zone(Id=zone)


@pytest.mark.root
def test_instances_know_the_partition(place):
    lath, world = place
    iam = lath.client("iam")
    iam.create_role(RoleName="inst", AssumeRolePolicyDocument=trust(Service=world.ec2))
    iam.create_instance_profile(InstanceProfileName="inst")
    iam.add_role_to_instance_profile(InstanceProfileName="inst", RoleName="inst")
    with Lab(lath) as lab:
        vpc, subnet, group = lab.vpc(internet=True)
        lab.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        instance, _ = lab.instance(subnet, group, public=True, IamInstanceProfile={"Name": "inst"})
        shown = lab.describe(instance)
        assert shown["PublicDnsName"].endswith(f".{world.region}.compute.{world.suffix}")
        assert shown["PrivateDnsName"].endswith(f".{world.region}.compute.internal")
        assert shown["IamInstanceProfile"]["Arn"] == world.iam("instance-profile/inst")

        def asked(path):
            token = ("T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token); "
                     "curl -s -H \"X-aws-ec2-metadata-token: $T\" ")
            return lab.run(instance, "sh", "-c", f"{token} http://169.254.169.254/latest/{path}")

        assert asked("meta-data/services/partition").strip() == world.partition
        assert asked("meta-data/services/domain").strip() == world.suffix
        assert asked("meta-data/public-hostname").strip() == shown["PublicDnsName"]
        assert json.loads(asked("meta-data/iam/info"))["InstanceProfileArn"] == world.iam("instance-profile/inst")
        assert json.loads(asked("meta-data/iam/security-credentials/inst"))["Code"] == "Success"
        name = lab.run(instance, "getent", "ahostsv4", shown["PublicDnsName"])
        assert shown["PrivateIpAddress"] in name, name
    iam.remove_role_from_instance_profile(InstanceProfileName="inst", RoleName="inst")
    iam.delete_instance_profile(InstanceProfileName="inst")
    iam.delete_role(RoleName="inst")


def test_one_lath_is_of_one_partition(tmp_path):
    run = subprocess.run([binary(), "serve", "--data-dir", str(tmp_path / "d"), "--regions", "us-east-1,cn-north-1"],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 1, run
    assert "us-east-1 is in the partition aws and cn-north-1 in aws-cn" in run.stderr, run.stderr
    assert not (tmp_path / "d").exists()


def test_china_s_principals_are_unknown_elsewhere(lath):
    iam = lath.client("iam")
    code, status, message = told(iam.create_role, RoleName="x", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com.cn"))
    assert (code, status) == ("MalformedPolicyDocument", 400) and "ec2.amazonaws.com.cn" in message
    wrong = told(iam.attach_user_policy, UserName="nobody", PolicyArn="arn:aws-cn:iam::aws:policy/AdministratorAccess")
    assert wrong[0] in ("NoSuchEntity", "ValidationError"), wrong
