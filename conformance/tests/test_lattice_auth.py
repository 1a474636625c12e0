"""Auth policies: who may call, from instances, with the CLI and boto3."""

import json

import boto3
import pytest
from botocore.credentials import Credentials
from lathlab import wait_for
from lathlab.lab import Lab, allow, forward, refusal, unique
from lathlab.signing import credentials, signed

pytestmark = pytest.mark.root


def policy(condition=None, effect="Allow"):
    statement = {"Effect": effect, "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*"}
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def from_vpcs(*vpcs):
    return policy({"StringEquals": {"vpc-lattice-svcs:SourceVpc": list(vpcs)}})


class Mesh:
    """Two VPCs in a network of auth type AWS_IAM, a client in each, a backend in the first."""

    def __init__(self, lab):
        self.vpc_a, subnet_a, group_a = lab.vpc("10.21.0.0/16", "10.21.1.0/24")
        self.vpc_b, subnet_b, group_b = lab.vpc("10.22.0.0/16", "10.22.1.0/24")
        guarded = lab.group(self.vpc_a, allow("tcp", (8001, 8001), cidr="169.254.171.0/24"))
        self.client_a, _ = lab.instance(subnet_a, group_a)
        self.client_b, _ = lab.instance(subnet_b, group_b)
        _, address = lab.echo(subnet_a, guarded, 8001)
        self.network = lab.network(self.vpc_a, self.vpc_b, authType="AWS_IAM")
        group = lab.targets(self.vpc_a, (address, 8001))
        self.service, name = lab.service(self.network)
        lab.listener(self.service, forward(group))
        self.url = f"http://{name}"

    def put(self, lab, document):
        return lab.lattice.put_auth_policy(resourceIdentifier=self.network, policy=document)


@pytest.fixture(scope="module")
def mesh(lath):
    with Lab(lath) as lab:
        yield Mesh(lab)


def test_the_source_vpc_decides(lab, mesh):
    lab.eventually(mesh.client_a, mesh.url, status=403)
    assert mesh.put(lab, from_vpcs(mesh.vpc_a, mesh.vpc_b))["state"] == "Active"
    lab.eventually(mesh.client_a, mesh.url)
    lab.eventually(mesh.client_b, mesh.url)
    mesh.put(lab, from_vpcs(mesh.vpc_a))
    body = lab.eventually(mesh.client_b, mesh.url, status=403)
    assert body.startswith("AccessDeniedException: User: anonymous is not authorized to perform: vpc-lattice-svcs:Invoke"), body
    assert "no network-based policy allows" in body, body
    assert lab.curl(mesh.client_a, mesh.url)[0] == 200


def test_the_services_policy_is_asked_too(lab, mesh):
    mesh.put(lab, policy())
    lab.eventually(mesh.client_a, mesh.url)
    lab.lattice.update_service(serviceIdentifier=mesh.service, authType="AWS_IAM")
    lab.later(lab.lattice.update_service, serviceIdentifier=mesh.service, authType="NONE")
    body = lab.eventually(mesh.client_a, mesh.url, status=403)
    assert "no service-based policy allows" in body, body
    reads = policy({"StringEquals": {"vpc-lattice-svcs:RequestMethod": ["GET", "HEAD"]}})
    lab.lattice.put_auth_policy(resourceIdentifier=mesh.service, policy=reads)
    lab.eventually(mesh.client_a, mesh.url)
    assert lab.curl(mesh.client_a, mesh.url, "-X", "PUT")[0] == 403
    lab.lattice.delete_auth_policy(resourceIdentifier=mesh.service)
    lab.eventually(mesh.client_a, mesh.url, status=403)


def test_a_denial_is_in_the_access_log(lab, mesh):
    name = unique("/aws/vpc-lattice/auth")
    lab.logs.create_log_group(logGroupName=name)
    lab.later(lab.logs.delete_log_group, logGroupName=name)
    subscription = lab.lattice.create_access_log_subscription(
        resourceIdentifier=mesh.network,
        destinationArn=f"arn:aws:logs:us-east-1:000000000000:log-group:{name}:*")["id"]
    lab.later(lab.lattice.delete_access_log_subscription, accessLogSubscriptionIdentifier=subscription)
    mesh.put(lab, from_vpcs(mesh.vpc_a))
    mark = unique("denied")

    def record():
        lab.curl(mesh.client_b, f"{mesh.url}/{mark}")
        events = lab.logs.filter_log_events(logGroupName=name, filterPattern=f'"{mark}"')["events"]
        return [json.loads(event["message"]) for event in events] or None

    record = wait_for("the record", record)[0]
    assert record["responseCode"] == 403, record
    assert record["authDeniedReason"] == "Network", record
    assert record["failureReason"] == "ClientAccessDenied", record
    assert mesh.vpc_b in record["sourceVpcArn"], record


def test_the_cli_puts_gets_and_deletes(lath, lab, mesh):
    def cli(*words):
        return lath.aws("vpc-lattice", *words, check=False)

    document = from_vpcs(mesh.vpc_a)
    put = cli("put-auth-policy", "--resource-identifier", mesh.network, "--policy", document)
    assert put.returncode == 0 and json.loads(put.stdout)["policy"] == document, put
    got = cli("get-auth-policy", "--resource-identifier", mesh.network)
    assert json.loads(got.stdout)["state"] == "Active", got
    gone = cli("delete-auth-policy", "--resource-identifier", mesh.network)
    assert gone.returncode == 0, gone
    again = cli("delete-auth-policy", "--resource-identifier", mesh.network)
    assert "ResourceNotFoundException" in again.stderr, again
    lab.eventually(mesh.client_a, mesh.url, status=403)


@pytest.mark.parametrize("document", ["{", "{}", policy().replace("vpc-lattice-svcs:Invoke", "s3:GetObject")])
def test_documents_that_are_no_auth_policies_are_refused(lab, mesh, document):
    assert refusal(lab.lattice.put_auth_policy, resourceIdentifier=mesh.network, policy=document)[0] == "ValidationException"


INVOKE = {"Effect": "Allow", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*"}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Callers:
    """Two users of IAM, and a role that the first may take, all of whom may call any service."""

    def __init__(self, lath, lab):
        self.lath, self.iam = lath, lath.client("iam")
        self.ann, self.ben = self.user(lab), self.user(lab)
        self.role = unique("cart")
        trust = document({"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Principal": {"AWS": self.ann["arn"]}})
        made = self.iam.create_role(RoleName=self.role, AssumeRolePolicyDocument=trust, Tags=[{"Key": "team", "Value": "none"}])
        self.role_arn = made["Role"]["Arn"]
        lab.later(self.iam.delete_role, RoleName=self.role)
        self.iam.put_role_policy(RoleName=self.role, PolicyName="calls", PolicyDocument=document(INVOKE))
        lab.later(self.iam.delete_role_policy, RoleName=self.role, PolicyName="calls")

    def user(self, lab):
        name = unique("caller")
        arn = self.iam.create_user(UserName=name)["User"]["Arn"]
        lab.later(self.iam.delete_user, UserName=name)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        lab.later(self.iam.delete_access_key, UserName=name, AccessKeyId=key["AccessKeyId"])
        self.iam.put_user_policy(UserName=name, PolicyName="calls", PolicyDocument=document(INVOKE))
        lab.later(self.iam.delete_user_policy, UserName=name, PolicyName="calls")
        return {"name": name, "arn": arn, "key": credentials(key)}

    def session(self, name, **more):
        """Ann takes the role."""
        key = self.ann["key"]
        sts = boto3.client("sts", endpoint_url=self.lath.endpoint, region_name="us-east-1",
                           aws_access_key_id=key.access_key, aws_secret_access_key=key.secret_key)
        return credentials(sts.assume_role(RoleArn=self.role_arn, RoleSessionName=name, **more)["Credentials"])


@pytest.fixture(scope="module")
def callers(lath):
    with Lab(lath) as lab:
        yield Callers(lath, lab)


def only(*arns, **condition):
    return document({**INVOKE, "Principal": {"AWS": list(arns)}, **({"Condition": condition} if condition else {})})


def called(lab, mesh, given, path="/", status=200, **more):
    url = mesh.url + path

    def asked():
        got = lab.curl(mesh.client_a, url, *(signed(url, given, **more) if given else []))
        return (got,) if got[0] == status else None
    return wait_for(f"{status} from {url}", asked)[0][1]


def test_a_user_who_signs_is_let_in_by_its_arn_and_no_other(lab, mesh, callers):
    mesh.put(lab, only(callers.ann["arn"]))
    seen = json.loads(called(lab, mesh, callers.ann["key"]))
    identity = {name.lower(): value for name, value in seen["headers"]}["x-amzn-lattice-identity"]
    assert callers.ann["arn"] in identity, seen
    body = called(lab, mesh, callers.ben["key"], status=403)
    assert f"User: {callers.ben['arn']} is not authorized" in body and "no network-based policy" in body, body
    body = called(lab, mesh, None, status=403)
    assert "User: anonymous" in body, body
    forged = Credentials(callers.ann["key"].access_key, "x" * 40)
    assert "InvalidSignatureException" in called(lab, mesh, forged, status=403)
    assert "scoped to region" in called(lab, mesh, callers.ann["key"], status=403, region="eu-west-1")


def test_the_callers_own_policies_must_allow_too(lab, mesh, callers):
    mesh.put(lab, only(callers.ben["arn"]))
    called(lab, mesh, callers.ben["key"])
    ben = callers.ben["name"]
    callers.iam.put_user_policy(UserName=ben, PolicyName="calls", PolicyDocument=document({**INVOKE, "Resource": "arn:aws:vpc-lattice:*:*:service/*/open"}))
    body = called(lab, mesh, callers.ben["key"], path="/shut", status=403)
    assert "no identity-based policy allows" in body, body
    called(lab, mesh, callers.ben["key"], path="/open")
    callers.iam.put_user_policy(UserName=ben, PolicyName="calls", PolicyDocument=document(INVOKE))
    called(lab, mesh, callers.ben["key"], path="/shut")
    # A key that is put away proves nothing any more.
    key = {"UserName": ben, "AccessKeyId": callers.ben["key"].access_key}
    callers.iam.update_access_key(**key, Status="Inactive")
    assert "UnrecognizedClientException" in called(lab, mesh, callers.ben["key"], status=403)
    callers.iam.update_access_key(**key, Status="Active")
    called(lab, mesh, callers.ben["key"])


def test_a_session_of_a_role_is_known_by_its_token(lab, mesh, callers):
    mesh.put(lab, only(callers.role_arn, StringEquals={"aws:PrincipalTag/team": "cart"}))
    session = callers.session("build", Tags=[{"Key": "team", "Value": "cart"}])
    called(lab, mesh, session)
    body = called(lab, mesh, callers.session("untagged"), status=403)
    assert f"assumed-role/{callers.role}/untagged" in body, body
    body = called(lab, mesh, callers.session(
        "limited", Tags=[{"Key": "team", "Value": "cart"}], Policy=document({**INVOKE, "Action": "s3:*"})), status=403)
    assert "no identity-based policy" in body, body
    called(lab, mesh, callers.ann["key"], status=403)
    token = session.token[:40] + ("A" if session.token[40] != "A" else "B") + session.token[41:]
    forged = Credentials(session.access_key, session.secret_key, token)
    assert "UnrecognizedClientException" in called(lab, mesh, forged, status=403)
    another = Credentials(session.access_key, session.secret_key, callers.session("other").token)
    assert "UnrecognizedClientException" in called(lab, mesh, another, status=403)
    bare = Credentials(session.access_key, session.secret_key)
    assert "UnrecognizedClientException" in called(lab, mesh, bare, status=403)


def test_the_access_log_names_who_called(lab, mesh, callers):
    name = unique("/aws/vpc-lattice/callers")
    lab.logs.create_log_group(logGroupName=name)
    lab.later(lab.logs.delete_log_group, logGroupName=name)
    subscription = lab.lattice.create_access_log_subscription(
        resourceIdentifier=mesh.network,
        destinationArn=f"arn:aws:logs:us-east-1:000000000000:log-group:{name}:*")["id"]
    lab.later(lab.lattice.delete_access_log_subscription, accessLogSubscriptionIdentifier=subscription)
    mesh.put(lab, only(callers.role_arn))
    session = callers.session("logged", Tags=[{"Key": "team", "Value": "cart"}])
    forged = Credentials(session.access_key, "x" * 40, session.token)
    arn = f":assumed-role/{callers.role}/logged"

    def record(given, status):
        mark = unique("call")

        def read():
            url = f"{mesh.url}/{mark}"
            assert lab.curl(mesh.client_a, url, *(signed(url, given) if given else []))[0] in (status, 200, 403)
            events = lab.logs.filter_log_events(logGroupName=name, filterPattern=f'"{mark}"')["events"]
            found = [json.loads(event["message"]) for event in events]
            return [it for it in found if it["responseCode"] == status] or None

        return wait_for("the record", read)[0]

    seen = record(session, 200)
    assert seen["resolvedUser"].endswith(arn) and seen["callerPrincipal"].endswith(arn), seen
    assert json.loads(seen["callerPrincipalTags"]) == {"team": "cart"}, seen
    seen = record(callers.ann["key"], 403)
    assert (seen["callerPrincipal"], seen["authDeniedReason"]) == (callers.ann["arn"], "Network"), seen
    seen = record(None, 403)
    assert (seen["resolvedUser"], seen["callerPrincipal"]) == ("Anonymous", "-"), seen
    seen = record(forged, 403)
    assert (seen["resolvedUser"], seen["callerPrincipal"]) == ("Unknown", "-"), seen
