"""Auth policies: who may call, from instances, with the CLI and boto3."""

import json

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow, forward, refusal, unique

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


@pytest.mark.parametrize("document", ["{", "{}", policy() + "\n", policy().replace("vpc-lattice-svcs:Invoke", "s3:GetObject")])
def test_documents_that_are_no_auth_policies_are_refused(lab, mesh, document):
    assert refusal(lab.lattice.put_auth_policy, resourceIdentifier=mesh.network, policy=document)[0] == "ValidationException"
