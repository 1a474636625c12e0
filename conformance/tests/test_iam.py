"""Users, roles and sessions by boto3 and the aws CLI: what policies allow is done, what they do not is refused."""

import json
import os
import re
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError
from lathlab.lab import code_of, status_of

TRUST = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}}


def statement(effect, action, resource="*", **condition):
    made = {"Effect": effect, "Action": action, "Resource": resource}
    return made | ({"Condition": condition} if condition else {})


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def user(lath):
    """A user whose key is limited by a policy, and a maker of clients with it."""
    iam = lath.client("iam")
    iam.create_user(UserName="iam-ann")
    key = iam.create_access_key(UserName="iam-ann")["AccessKey"]

    def client(service, region="us-east-1", **credentials):
        given = credentials or {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        return boto3.client(service, region_name=region, endpoint_url=lath.endpoint, **given)

    def may(*statements):
        iam.put_user_policy(UserName="iam-ann", PolicyName="p", PolicyDocument=document(*statements))

    yield client, may, key
    iam.delete_access_key(UserName="iam-ann", AccessKeyId=key["AccessKeyId"])
    for name in iam.list_user_policies(UserName="iam-ann")["PolicyNames"]:
        iam.delete_user_policy(UserName="iam-ann", PolicyName=name)
    iam.delete_user(UserName="iam-ann")


def refused(call, code, status):
    with pytest.raises(ClientError) as error:
        call()
    assert (code_of(error.value), status_of(error.value)) == (code, status), error.value


def test_a_user_is_held_to_its_policy(user):
    client, may, _ = user
    refused(client("ec2").describe_vpcs, "UnauthorizedOperation", 403)
    told = r"You are not authorized to perform this operation. User: arn:aws:iam::\d{12}:user/iam-ann is not authorized to perform: " \
        r"ec2:DeleteVpc on resource: arn:aws:ec2:us-east-1:\d{12}:vpc/vpc-1 because no identity-based policy allows the " \
        r"ec2:DeleteVpc action. Encoded authorization failure message: [\w+/=-]+$"
    with pytest.raises(ClientError) as error:
        client("ec2").delete_vpc(VpcId="vpc-1")
    assert re.match(told, error.value.response["Error"]["Message"]), error.value
    refused(client("vpc-lattice").list_services, "AccessDeniedException", 403)
    refused(client("iam").list_users, "AccessDenied", 403)
    may(statement("Allow", ["ec2:Describe*", "vpc-lattice:List*"]), statement("Deny", "ec2:DescribeSubnets"))
    client("ec2").describe_vpcs()
    client("vpc-lattice").list_services()
    refused(client("ec2").describe_subnets, "UnauthorizedOperation", 403)
    may(statement("Allow", "ec2:*", StringEquals={"aws:RequestedRegion": "eu-west-1"}))
    refused(client("ec2").describe_vpcs, "UnauthorizedOperation", 403)
    may(statement("Allow", "ec2:*", IpAddress={"aws:SourceIp": "127.0.0.0/8"}))
    client("ec2").describe_vpcs()
    may(statement("Allow", "ec2:*", IpAddress={"aws:SourceIp": "10.0.0.0/8"}))
    refused(client("ec2").describe_vpcs, "UnauthorizedOperation", 403)


def test_a_denial_by_a_tag_is_decoded_with_the_keys_of_the_request(lath, user):
    client, may, _ = user
    ec2 = lath.client("ec2")
    tags = [{"Key": "env", "Value": "prod"}]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"]["VpcId"]
    try:
        deny = statement("Deny", "ec2:*", StringEquals={"aws:ResourceTag/env": "prod"}) | {"Sid": "Keep"}
        may(statement("Allow", "*"), deny)
        with pytest.raises(ClientError) as error:
            client("ec2").delete_vpc(VpcId=vpc)
        message = error.value.response["Error"]["Message"]
        assert "with an explicit deny in an identity-based policy" in message, message
        encoded = message.rsplit(": ", 1)[1]
        told = json.loads(client("sts").decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])
        assert told["explicitDeny"] and not told["allowed"]
        assert [it["statementId"] for it in told["matchedStatements"]["items"]] == ["Keep"]
        keys = {it["key"]: [value["value"] for value in it["values"]["items"]] for it in told["context"]["conditions"]["items"]}
        wanted = {"aws:ResourceTag/env": ["prod"], "ec2:VpcID": [vpc], "ec2:Region": ["us-east-1"], "aws:Type": ["vpc"]}
        assert wanted.items() <= keys.items(), keys
        assert told["context"]["principal"]["name"] == "iam-ann"
        ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "env"}])
        client("ec2").delete_vpc(VpcId=vpc)
    except BaseException:
        ec2.delete_vpc(VpcId=vpc)
        raise


def test_a_role_is_assumed_and_its_session_used_by_the_cli(lath, user):
    client, may, _ = user
    iam = lath.client("iam")
    account = lath.client("sts").get_caller_identity()["Account"]
    trust = json.dumps(TRUST).replace("000000000000", account)
    arn = iam.create_role(RoleName="iam-worker", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    try:
        iam.get_waiter("role_exists").wait(RoleName="iam-worker")
        iam.put_role_policy(RoleName="iam-worker", PolicyName="p", PolicyDocument=document(statement("Allow", "ec2:Describe*")))
        assume = lambda: client("sts").assume_role(RoleArn=arn, RoleSessionName="s1")  # noqa: E731
        refused(assume, "AccessDenied", 403)
        may(statement("Allow", "sts:AssumeRole", arn))
        session = assume()["Credentials"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | {
            "AWS_ACCESS_KEY_ID": session["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["SessionToken"], "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": lath.endpoint, "AWS_PAGER": ""}
        run = lambda *args: subprocess.run(["aws", *args], env=env, capture_output=True, text=True)  # noqa: E731
        assert run("ec2", "describe-vpcs").returncode == 0
        assert "AccessDeniedException" in run("vpc-lattice", "list-services").stderr
        assert "assumed-role/iam-worker/s1" in run("sts", "get-caller-identity").stdout
        env["AWS_SESSION_TOKEN"] = "A" * 200
        assert "AuthFailure" in run("ec2", "describe-vpcs").stderr
    finally:
        for name in iam.list_role_policies(RoleName="iam-worker")["PolicyNames"]:
            iam.delete_role_policy(RoleName="iam-worker", PolicyName=name)
        iam.delete_role(RoleName="iam-worker")


def passing(ec2, image, subnet, profile):
    """Every call that hands a role to EC2, and how each ends once it is allowed: none changes anything."""
    return [
        (lambda: ec2.run_instances(
            ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnet,
            IamInstanceProfile=profile, DryRun=True), "DryRunOperation", 412),
        (lambda: ec2.associate_iam_instance_profile(
            InstanceId="i-0123456789abcdef0", IamInstanceProfile=profile), "InvalidInstanceID.NotFound", 400),
        (lambda: ec2.replace_iam_instance_profile_association(
            AssociationId="iip-assoc-0123456789abcdef0", IamInstanceProfile=profile), "InvalidAssociationID.NotFound", 400),
    ]


def test_only_who_may_pass_a_role_gives_it_to_an_instance(lath, lab, user):
    client, may, _ = user
    iam, ec2 = lath.client("iam"), client("ec2")
    _, subnet, _ = lab.vpc()
    trust = json.dumps(TRUST).replace('{"AWS": "000000000000"}', '{"Service": "ec2.amazonaws.com"}')
    role = iam.create_role(RoleName="iam-passed", Path="/app/", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    lab.later(iam.delete_role, RoleName="iam-passed")
    made = iam.create_instance_profile(InstanceProfileName="iam-carrier", Path="/app/")["InstanceProfile"]
    lab.later(iam.delete_instance_profile, InstanceProfileName="iam-carrier")
    iam.add_role_to_instance_profile(InstanceProfileName="iam-carrier", RoleName="iam-passed")
    lab.later(iam.remove_role_from_instance_profile, InstanceProfileName="iam-carrier", RoleName="iam-passed")
    everything, other = statement("Allow", "ec2:*"), role.replace("iam-passed", "iam-kept")
    allowed = statement("Allow", "iam:PassRole", role)
    to = lambda service: {"StringEquals": {"iam:PassedToService": service}}  # noqa: E731
    for name, policy, passes in [
        ("nothing said", [everything], False),
        ("another role", [everything, statement("Allow", "iam:PassRole", other)], False),
        ("the role", [everything, allowed], True),
        ("every role of a path", [everything, statement("Allow", "iam:PassRole", role.replace("iam-passed", "*"))], True),
        ("to EC2", [everything, statement("Allow", "iam:PassRole", role, **to("ec2.amazonaws.com"))], True),
        ("to another service", [everything, statement("Allow", "iam:PassRole", role, **to("lambda.amazonaws.com"))], False),
        ("denied to EC2", [everything, allowed, statement("Deny", "iam:PassRole", **to("ec2.amazonaws.com"))], False),
        ("denied to others", [everything, allowed, statement("Deny", "iam:PassRole", **to("lambda.amazonaws.com"))], True),
        ("only the role", [allowed], False),
    ]:
        may(*policy)
        for profile in {"Name": "iam-carrier"}, {"Arn": made["Arn"]}:
            for call, code, status in passing(ec2, lab.image(), subnet, profile):
                with pytest.raises(ClientError) as error:
                    call()
                want = (code, status) if passes else ("UnauthorizedOperation", 403)
                assert (code_of(error.value), status_of(error.value)) == want, (name, profile, error.value)
    may(everything)
    with pytest.raises(ClientError) as error:
        passing(ec2, lab.image(), subnet, {"Name": "iam-carrier"})[0][0]()
    assert f"is not authorized to perform: iam:PassRole on resource: {role} " in error.value.response["Error"]["Message"]


def test_the_simulator_shows_a_key_that_lath_cannot_fill_in(lath):
    like = {"StringLike": {"ec2:Attribute/Description": "a*"}}
    policy = document(statement("Allow", "*"), statement("Deny", "ec2:ModifyTransitGateway", **like))
    simulate = lath.client("iam").simulate_custom_policy
    result = simulate(PolicyInputList=[policy], ActionNames=["ec2:ModifyTransitGateway"])["EvaluationResults"][0]
    assert result["EvalDecision"] == "explicitDeny"
    assert [key.lower() for key in result["MissingContextValues"]] == ["ec2:attribute/description"]
    assert result["MatchedStatements"], result
