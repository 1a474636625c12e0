"""Callers of Lattice services are known where they call: with the home of IAM dead, and without any control plane."""

import json

import pytest
from lathlab import Lath, wait_for
from lathlab.lab import Lab, allow, forward, unique
from lathlab.signing import credentials, signed
from lathlab.lab import Region
from test_cells import held

pytestmark = pytest.mark.root

HOME, WEST = REGIONS = ["us-east-1", "us-west-2"]


def document(**more):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*", **more}]})


@pytest.fixture(scope="module")
def cells():
    with Lath(regions=REGIONS) as lath:
        yield lath
        log = lath.log.read_text(errors="replace")
        assert "panicked at" not in log, log


@pytest.fixture(scope="module")
def west(cells):
    with Region(cells, WEST) as lab:
        yield lab


@pytest.fixture(scope="module")
def role(cells):
    """A role made in the home, with a session of it: (ARN, keys)."""
    with Lab(cells) as lab:
        iam, sts, name = cells.client("iam", HOME), cells.client("sts", HOME), unique("cart")
        account = sts.get_caller_identity()["Account"]
        trust = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": account}}]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        lab.later(iam.delete_role, RoleName=name)
        iam.put_role_policy(RoleName=name, PolicyName="calls", PolicyDocument=document())
        lab.later(iam.delete_role_policy, RoleName=name, PolicyName="calls")
        user = unique("ann")
        iam.create_user(UserName=user)
        lab.later(iam.delete_user, UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="assumes", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}))
        lab.later(iam.delete_user_policy, UserName=user, PolicyName="assumes")
        key = iam.create_access_key(UserName=user)["AccessKey"]
        lab.later(iam.delete_access_key, UserName=user, AccessKeyId=key["AccessKeyId"])
        import boto3
        sts = boto3.client("sts", endpoint_url=cells.endpoint, region_name=HOME,
                           aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
        session = sts.assume_role(RoleArn=arn, RoleSessionName="build")["Credentials"]
        yield arn, credentials(session), credentials(key)


def the_apis_of_both_regions_answer_in_its_vpc(cells, west, client, vpc):
    """At the address of the VPC's router, whichever region a request is for; and whose VPC it came from is known there."""
    iam, user = cells.client("iam", HOME), unique("inside")
    iam.create_user(UserName=user)
    west.later(iam.delete_user, UserName=user)
    statement = {"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*", "Condition": {"StringEquals": {"aws:SourceVpc": vpc}}}
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    west.later(iam.delete_user_policy, UserName=user, PolicyName="p")
    key = iam.create_access_key(UserName=user)["AccessKey"]
    west.later(iam.delete_access_key, UserName=user, AccessKeyId=key["AccessKeyId"])
    elsewhere = cells.client("ec2", HOME).create_vpc(CidrBlock="10.21.0.0/16")["Vpc"]["VpcId"]
    west.later(cells.client("ec2", HOME).delete_vpc, VpcId=elsewhere)

    def ask(region, key=key):
        signature = ("--aws-sigv4", f"aws:amz:{region}:ec2", "--user", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
        return west.curl(client, "http://169.254.170.24/?Action=DescribeVpcs&Version=2016-11-15", *signature)

    for region, own, other in (WEST, vpc, elsewhere), (HOME, elsewhere, vpc):
        wait_for(f"the APIs of {region}", lambda: ask(region)[0] == 200)
        said = ask(region)[1]
        assert own in said and other not in said, (region, said)
    status, said = ask(HOME, key | {"SecretAccessKey": "wrong"})
    assert status in (401, 403), said
    status, said = ask("eu-west-1")
    assert status != 200, said


def test_a_caller_of_the_home_is_known_elsewhere_while_the_home_and_then_all_control_is_dead(cells, west, role):
    arn, session, user = role
    vpc, subnet, _ = west.vpc("10.20.0.0/16", "10.20.1.0/24")
    group = west.group(vpc, allow("tcp", 8001, cidr="0.0.0.0/0"))
    _, address = west.echo(subnet, group, 8001)
    client, _ = west.instance(subnet, group)
    the_apis_of_both_regions_answer_in_its_vpc(cells, west, client, vpc)
    network = west.network(vpc, authType="AWS_IAM")
    west.lattice.put_auth_policy(resourceIdentifier=network, policy=document(Principal={"AWS": arn}))
    service, domain = west.service(network)
    west.listener(service, forward(west.targets(vpc, (address, 8001))))
    url = f"http://{domain}/"

    def decides():
        """The session is let in; the user whose role it is, and who does not sign, are not."""
        wait_for("the role to be let in", lambda: west.curl(client, url, *signed(url, session, WEST))[0] == 200)
        wait_for("the user to be known", lambda: west.curl(client, url, *signed(url, user, WEST))[1].startswith("AccessDenied"))
        assert west.curl(client, url)[0] == 403

    decides()
    with held(cells, HOME, "kill-region"):
        decides()
    with held(cells, WEST, "kill-control-plane"):
        decides()
        # A node that starts now has what it knew on its disk.
        cells.kill_process(WEST, "node")
        wait_for("the role to be let in", lambda: west.curl(client, url, *signed(url, session, WEST))[0] == 200)
        decides()
