"""Pods get credentials of AWS: from the agent of pod identities, and by a token of their cluster's issuer."""

import json
import re
import subprocess

import pytest
from botocore.credentials import Credentials
from lathlab import host_state, kubernetes as programs, wait_for
from lathlab.lab import Lab
from lathlab.signing import signed
from lathlab.world import World

pytestmark = pytest.mark.root

REGION, PATIENCE = "us-east-1", 300
AGENT = "http://169.254.170.23/v1/credentials"
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: shop}
spec:
  serviceAccountName: %(account)s
  hostNetwork: %(host)s
  dnsPolicy: Default
  terminationGracePeriodSeconds: 0
  containers:
  - {name: curl, image: "curlimages/curl:latest", imagePullPolicy: IfNotPresent, command: [sleep, "1000000"]}
"""
ACCOUNTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: till, namespace: shop, annotations: {eks.amazonaws.com/role-arn: %s}}
"""


def pod(name, account, host=False):
    return POD % {"name": name, "account": account, "host": json.dumps(host)}


class Shop:
    """A cluster of one node with the agent, and two service accounts: `cart` has an association, `till` an annotation."""

    def __init__(self, kubernetes, lath, lab, directory):
        self.kubernetes, self.lath, self.lab = kubernetes, lath, lab
        world = World(lath)
        self.place = world.place(REGION)
        self.eks, self.iam = world.client("eks", REGION), world.client("iam", REGION)
        self.env = lath.env() | kubernetes.environment() | {"KUBECONFIG": str(directory / "kubeconfig"), "AWS_DEFAULT_REGION": REGION}
        service = lambda name: {"Principal": {"Service": f"{name}.amazonaws.com"}, "Action": ["sts:AssumeRole"]}
        pods = service("pods.eks") | {"Action": ["sts:AssumeRole", "sts:TagSession"]}
        eks, node = self.role("eks", service("eks")), self.role("node", service("ec2"))
        self.iam.attach_role_policy(RoleName="node", PolicyArn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
        self.eks.create_cluster(name="pods", roleArn=eks, resourcesVpcConfig={"subnetIds": self.place.subnets})
        self.eks.get_waiter("cluster_active").wait(name="pods", WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
        self.eks.create_nodegroup(clusterName="pods", nodegroupName="nodes", nodeRole=node, subnets=self.place.subnets,
                                  scalingConfig={"minSize": 1, "maxSize": 1, "desiredSize": 1}, instanceTypes=["m5.large"])
        # As the recipe's step does it: the add-on is asked for before its nodes are ready.
        self.aws("eks", "create-addon", "--cluster-name", "pods", "--addon-name", "eks-pod-identity-agent")
        self.aws("eks", "wait", "addon-active", "--cluster-name", "pods", "--addon-name", "eks-pod-identity-agent")
        wait_for("the node", lambda: self.eks.describe_nodegroup(clusterName="pods", nodegroupName="nodes")
                 ["nodegroup"]["status"] == "ACTIVE", patience=PATIENCE)
        self.aws("eks", "update-kubeconfig", "--name", "pods")
        issuer = self.eks.describe_cluster(name="pods")["cluster"]["identity"]["oidc"]["issuer"].removeprefix("https://")
        provider = self.iam.create_open_id_connect_provider(Url=f"https://{issuer}", ClientIDList=["sts.amazonaws.com"])["OpenIDConnectProviderArn"]
        web = {"Principal": {"Federated": provider}, "Action": ["sts:AssumeRoleWithWebIdentity"],
               "Condition": {"StringEquals": {f"{issuer}:sub": "system:serviceaccount:shop:till"}}}
        self.cart, self.till = self.role("cart", pods), self.role("till", web)
        self.association = self.eks.create_pod_identity_association(
            clusterName="pods", namespace="shop", serviceAccount="cart", roleArn=self.cart)["association"]["associationId"]

    def aws(self, *arguments):
        subprocess.run(["aws", *arguments], env=self.env, check=True, stdout=subprocess.DEVNULL)

    def role(self, name, statement):
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | statement]}
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        allowed = {"Effect": "Allow", "Action": ["ec2:DescribeVpcs", "vpc-lattice-svcs:Invoke"], "Resource": "*"}
        if name in ("cart", "till"):
            self.iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": allowed}))
        return arn

    def kubectl(self, *arguments, **more):
        return self.kubernetes.kubectl(self.env, *arguments, **more)

    def inside(self, name, script):
        run = self.kubectl("exec", "-n", "shop", name, "--", "sh", "-c", script, check=False)
        assert run.returncode == 0, run
        return run.stdout

    def curl(self, name, *words):
        """The status and the body that curl gets in a pod."""
        run = self.kubectl("exec", "-n", "shop", name, "--", "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *words, check=False)
        assert run.returncode == 0, run
        body, _, status = run.stdout.rpartition("\n")
        return int(status), body

    def credentials(self, name, token='$(cat "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")'):
        said = self.inside(name, f'curl -sS -w "\n%{{http_code}}" -H "Authorization: {token}" {AGENT}')
        body, _, status = said.rpartition("\n")
        return int(status), body

    def variables(self, *manifest):
        """What the API server would give the pod's container."""
        made = json.loads(self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", content=pod(*manifest)))
        return {it["name"]: it["value"] for it in made["spec"]["containers"][0].get("env", [])}

    def guarded(self, principal):
        """The URL of a Lattice service that lets in one role, with its answer to all that come in: 404."""
        service, name = self.lab.service(self.network, authType="AWS_IAM")
        self.lab.listener(service, {"fixedResponse": {"statusCode": 404}})
        statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "vpc-lattice-svcs:Invoke", "Resource": "*"}
        self.lab.lattice.put_auth_policy(resourceIdentifier=service, policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        return f"http://{name}/"


def test_pods_are_whom_their_service_account_is(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath("--extended") as lath:
        with Lab(lath) as lab:
            shop = Shop(kubernetes, lath, lab, tmp_path)
            shop.network = lab.network(shop.place.vpc)
            shop.kubectl("apply", "-f", "-", content=ACCOUNTS % shop.till)
            assert "AWS_ROLE_ARN" in wait_for("the webhook", lambda: shop.variables("x", "till"))
            shop.kubectl("apply", "-f", "-", content=pod("cart", "cart") + pod("till", "till") + pod("host", "cart", True))
            shop.kubectl("wait", "-n", "shop", "--for=condition=Ready", "pod/cart", "pod/till", "pod/host", "--timeout=240s")
            associated(shop)
            certified(shop)
            annotated(shop)
            refused(shop)
        shop.eks.delete_nodegroup(clusterName="pods", nodegroupName="nodes")
        waits = {"Delay": 1, "MaxAttempts": PATIENCE}
        shop.eks.get_waiter("nodegroup_deleted").wait(clusterName="pods", nodegroupName="nodes", WaiterConfig=waits)
        shop.eks.delete_cluster(name="pods")
        shop.eks.get_waiter("cluster_deleted").wait(name="pods", WaiterConfig=waits)
        wait_for("every trace to be gone", lambda: not programs.traces(["control-plane@pods"]))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def associated(shop):
    wanted = {
        "AWS_STS_REGIONAL_ENDPOINTS": "regional", "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": "http://169.254.170.24", "AWS_CONTAINER_CREDENTIALS_FULL_URI": AGENT,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token"}
    assert shop.variables("x", "cart") == wanted
    for name in "cart", "host":
        status, body = shop.credentials(name)
        assert status == 200, body
        given = json.loads(body)
        assert set(given) == {"AccessKeyId", "SecretAccessKey", "Token", "AccountId", "Expiration"}
        assert shop.credentials(name) == (200, body), "the same until they are old"
        key = f"{given['AccessKeyId']}:{given['SecretAccessKey']}"
        for action, service, status, words in [
            ("DescribeVpcs&Version=2016-11-15", "ec2", 200, shop.place.vpc),
            ("DescribeSubnets&Version=2016-11-15", "ec2", 403, "UnauthorizedOperation"),
            ("GetCallerIdentity&Version=2011-06-15", "sts", 200, f"assumed-role/cart/eks-pods-{name}-"),
        ]:
            got, body = shop.curl(name, "--aws-sigv4", f"aws:amz:{REGION}:{service}", "--user", key, "-H",
                                  f"x-amz-security-token: {given['Token']}", f"http://169.254.170.24/?Action={action}")
            assert got == status and words in body, body
    keys = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
    let_in, kept_out = shop.guarded(shop.cart), shop.guarded(shop.till)
    wait_for("the service that lets the role in", lambda: shop.curl("cart", *signed(let_in, keys), let_in)[0] == 404, patience=60)
    assert shop.curl("cart", let_in)[0] == 403, "unsigned"
    status, body = shop.curl("cart", *signed(kept_out, keys), kept_out)
    assert status == 403 and "assumed-role/cart" in body, body


def certified(shop):
    """An extension: the agent certifies the service account, by the token that proves it for credentials."""
    where = AGENT.replace("/v1/credentials", "/lath/v1/identity")
    ask = f'curl -sS -H "Authorization: $(cat $AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE)" {where}'
    given = json.loads(shop.inside("cart", ask))
    assert re.fullmatch(r"spiffe://lath-[0-9a-f]+/000000000000/us-east-1/cluster/pods/ns/shop/sa/cart", given["SpiffeId"])
    assert given["PrivateKey"].startswith("-----BEGIN PRIVATE KEY-----") and given["TrustBundle"].startswith("-----BEGIN CERTIFICATE-----")
    said = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=given["Certificate"], check=True, capture_output=True, text=True)
    assert f"URI:{given['SpiffeId']}" in said.stdout
    assert shop.curl("till", where)[0] == 400, "no token"


def annotated(shop):
    got = shop.variables("x", "till")
    assert (got["AWS_ROLE_ARN"], got["AWS_REGION"]) == (shop.till, REGION)
    assert not any(name.startswith("AWS_CONTAINER") for name in got)
    said = shop.inside("till", 'curl -sS -G "$AWS_ENDPOINT_URL/" -d Action=AssumeRoleWithWebIdentity -d Version=2011-06-15 '
                       '-d "RoleArn=$AWS_ROLE_ARN" -d RoleSessionName=it --data-urlencode "WebIdentityToken@$AWS_WEB_IDENTITY_TOKEN_FILE"')
    key, secret, token = (re.search(f"<{name}>(.*?)</{name}>", said) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    assert token, said
    got, body = shop.curl("till", "--aws-sigv4", f"aws:amz:{REGION}:ec2", "--user", f"{key[1]}:{secret[1]}", "-H",
                          f"x-amz-security-token: {token[1]}", "http://169.254.170.24/?Action=DescribeVpcs&Version=2016-11-15")
    assert got == 200 and shop.place.vpc in body, body


def refused(shop):
    """Tokens that are none or somebody else's, and what becomes of those whose association goes."""
    token = lambda account, audience: shop.kubectl("create", "token", account, "-n", "shop", f"--audience={audience}").strip()
    for name, given, status, words in [
        ("none", "", 400, "cannot be empty"),
        ("no token", "a.b.c", 400, "cannot be parsed"),
        ("another audience", token("cart", "sts.amazonaws.com"), 400, "InvalidTokenException"),
        ("no association", token("till", "pods.eks.amazonaws.com"), 404, "ResourceNotFoundException"),
    ]:
        got, body = shop.credentials("till", given)
        assert got == status and words in body, (name, body)
    assert shop.curl("till", "-H", "Host: agent.example", AGENT)[0] == 403
    shop.eks.delete_pod_identity_association(clusterName="pods", associationId=shop.association)
    wait_for("pods of the account to get nothing", lambda: shop.variables("x", "cart") == {})
    wait_for("its pods to be refused", lambda: shop.credentials("cart")[0] == 404)
    of = {"clusterName": "pods", "addonName": "eks-pod-identity-agent"}
    shop.eks.delete_addon(**of)
    shop.eks.get_waiter("addon_deleted").wait(**of, WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
    silent = "curl -s --max-time 3 -o /dev/null -w '%{http_code}' " + AGENT + " || true"
    wait_for("the agent to be gone", lambda: shop.inside("till", silent).strip() == "000")
