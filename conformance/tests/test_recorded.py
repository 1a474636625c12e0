"""Answers of AWS, replayed: tests/recorded says what was recorded, and how cases are written."""

import datetime
import json
import pathlib
import re
import time

import boto3
import lathlab
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError
from lathlab.lab import unique

RECORDED = pathlib.Path(__file__).resolve().parents[2] / "tests" / "recorded"
REFERENCE = re.compile(r"\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")


def cases():
    return [case for path in sorted(RECORDED.glob("*.json")) for case in cases_of(path)]


def cases_of(path):
    recorded = json.loads(path.read_text())
    names = [case["name"] for case in recorded["cases"]]
    assert len(names) == len(set(names)), f"{path.name}: two cases of one name"
    for case in recorded["cases"]:
        assert case["source"] in recorded["sources"], f"{path.name}: {case['name']}: no such source"
        assert ("code" in case) != ("answer" in case), f"{path.name}: {case['name']}: an error or an answer"
        known = [pytest.mark.xfail(reason=case["differs"], strict=False)] if "differs" in case else []
        yield pytest.param(path.stem, case, id=f"{path.stem}: {case['name']}", marks=known)


EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def clients():
    """Clients of a Lath that only these cases use: nothing is cleaned up but what has a small quota, it ends with all
    that they make. The caller is a user who may do everything, as who records from AWS is one."""
    with lathlab.Lath() as lath:
        iam, made = lath.client("iam"), {}
        iam.create_user(UserName="recorder")
        iam.put_user_policy(UserName="recorder", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
        key = iam.create_access_key(UserName="recorder")["AccessKey"]

        def client(service):
            if service not in made:
                made[service] = boto3.client(
                    service, endpoint_url=lath.endpoint, region_name=lath.region, aws_access_key_id=key["AccessKeyId"],
                    aws_secret_access_key=key["SecretAccessKey"],
                    config=Config(retries={"max_attempts": 1}, parameter_validation=False))
            return made[service]

        client.region = lath.region
        client.account = client("sts").get_caller_identity()["Account"]
        yield client


def remove_vpcs(clients):
    """A region has five VPCs at most: a case leaves none behind."""
    ec2, route53 = clients("ec2"), clients("route53")
    for vpc in (vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]):
        of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
        for zone in route53.list_hosted_zones_by_vpc(VPCId=vpc, VPCRegion=clients.region)["HostedZoneSummaries"]:
            route53.delete_hosted_zone(Id=zone["HostedZoneId"])
        attached = [{"Name": "attachment.vpc-id", "Values": [vpc]}]
        for gateway in ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
            ec2.detach_internet_gateway(VpcId=vpc, InternetGatewayId=gateway["InternetGatewayId"])
        for interface in ec2.describe_network_interfaces(Filters=of_vpc)["NetworkInterfaces"]:
            ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
        for subnet in ec2.describe_subnets(Filters=of_vpc)["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        for table in ec2.describe_route_tables(Filters=of_vpc)["RouteTables"]:
            if not any(association["Main"] for association in table["Associations"]):
                ec2.delete_route_table(RouteTableId=table["RouteTableId"])
        for group in ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])
        ec2.delete_vpc(VpcId=vpc)


class Replay:
    """One case: what its references stand for, and how it is called and compared."""

    def __init__(self, clients, service):
        self.clients, self.service, self.now = clients, service, int(time.time())
        self.known = {"u": unique("rec"), "account": clients.account, "region": clients.region}

    def look_up(self, path):
        value = self.known
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value

    def text(self, text):
        whole = REFERENCE.fullmatch(text)
        if whole:
            return self.look_up(whole[1])
        return REFERENCE.sub(lambda found: str(self.look_up(found[1])), text)

    def given(self, value):
        """An input with its references and computed values filled in."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.given(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (kind, what), = value.items()
            if kind == "$time":
                return datetime.datetime.fromtimestamp(self.now + what, datetime.timezone.utc)
            if kind == "$millis":
                return (self.now + what) * 1000
            if kind == "$repeat":
                return what[0] * what[1]
            if kind == "$times":
                return [self.given(what[0])] * what[1]
            if kind == "$json":
                return json.dumps(self.given(what))
        return {key: self.given(item) for key, item in value.items()}

    def call(self, operation, parameters):
        service, _, operation = operation.rpartition(".")
        client = self.clients(service or self.service)
        reply = getattr(client, xform_name(operation))(**self.given(parameters))
        return reply.pop("ResponseMetadata")["HTTPStatusCode"], reply

    def differences(self, want, got, at="answer"):
        """Where an answer is not what is wanted, a line each."""
        if isinstance(want, dict) and len(want) == 1:
            (kind, what), = want.items()
            if kind == "$json":
                return self.differences(what, json.loads(got) if isinstance(got, str) else got, at)
            if kind == "$has":
                missing = [item for item in what if not any(self.differences(item, one) == [] for one in got)]
                return [f"{at}: {item} is not in {got}" for item in missing]
            if kind == "$some":
                return self.differences(what, {key: got[key] for key in what if key in got}, at)
        if isinstance(want, dict) and isinstance(got, dict):
            wrong = [f"{at}: {key} is missing" for key in want if key not in got]
            wrong += [f"{at}: {key} = {got[key]!r} should not be there" for key in got if key not in want]
            return wrong + [line for key in want if key in got for line in self.differences(want[key], got[key], f"{at}.{key}")]
        if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
            return [line for n, pair in enumerate(zip(want, got)) for line in self.differences(*pair, f"{at}.{n}")]
        if want == "*":
            return []
        if isinstance(want, str) and want.startswith("~"):
            return [] if re.fullmatch(self.pattern(want[1:]), str(got), re.DOTALL) else [f"{at}: {got!r} does not match {want!r}"]
        want = self.text(want) if isinstance(want, str) else want
        return [] if want == got and isinstance(want, bool) == isinstance(got, bool) else [f"{at}: {got!r} is not {want!r}"]

    def pattern(self, regex):
        def known(found):
            try:
                return re.escape(str(self.look_up(found[1])))
            except (KeyError, IndexError):
                return found[0]
        return REFERENCE.sub(known, regex)


@pytest.mark.parametrize("service, case", cases())
def test_lath_answers_as_recorded(clients, service, case):
    replay = Replay(clients, service)
    try:
        replay_one(replay, case)
    finally:
        if "CreateVpc" in json.dumps(case):
            remove_vpcs(clients)


def replay_one(replay, case):
    for name, operation, parameters in case.get("before", []):
        replay.known[name] = replay.call(operation, parameters)[1]
    try:
        status, reply = replay.call(case["call"], case.get("input", {}))
    except ClientError as error:
        assert "code" in case, f"refused: {error}"
        got = error.response["Error"]
        assert (got["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]) == (case["code"], case.get("status", 400)), got
        if "message" in case:
            assert replay.differences(case["message"], got.get("Message"), "message") == []
        return
    assert "answer" in case, f"not refused: {reply}"
    assert status == case.get("status", 200)
    wrong = replay.differences(case["answer"], reply)
    assert wrong == [], "\n".join(wrong)
