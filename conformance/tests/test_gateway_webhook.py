"""The Gateway API controller as a Deployment of the cluster, and its webhook: new pods that will be targets get the readiness gate,
also while replicas of the controller come and go.
"""

import json

import pytest
from lathlab import gateways, kubernetes as lab, wait_for
from lathlab.clusters import is_true
from lathlab.gateways import CLASS, KINDS, PATIENCE

pytestmark = pytest.mark.root

NAME, SYSTEM = "hooked", "aws-application-networking-system"
GATE = "application-networking.k8s.aws/pod-readiness-gate"
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: %(namespace)s}
spec: {selector: {app: %(name)s}, ports: [{port: 80}]}
"""
APP = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s, namespace: %(namespace)s}
spec:
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: nginx, image: "nginx:latest", readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}}]
"""
ALL = [{"namespace": "gated", "name": "web"}, {"namespace": "default", "name": "web"}, {"namespace": "gated", "name": "idle"}]
GATEWAY = CLASS + """
---
apiVersion: v1
kind: Namespace
metadata: {name: gated, labels: {application-networking.k8s.aws/pod-readiness-gate-inject: enabled}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  gatewayClassName: lath
  listeners: [{name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}]
"""
ROUTE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: %(namespace)s}
spec:
  parentRefs: [{name: shop, namespace: default}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
apiVersion: application-networking.k8s.aws/v1alpha1
kind: TargetGroupPolicy
metadata: {name: web, namespace: %(namespace)s}
spec:
  targetRef: {group: "", kind: Service, name: web}
  healthCheck: {enabled: true, path: /, intervalSeconds: 5, timeoutSeconds: 2, healthyThresholdCount: 2, unhealthyThresholdCount: 2}
"""


class Hooked(gateways.Gateways):
    def __init__(self, kubernetes, lath, directory):
        super().__init__(kubernetes, lath, directory, name=NAME)
        iam = self.world.client("iam", self.region)
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"},
                                                         "Action": ["sts:AssumeRole", "sts:TagSession"]}]}
        iam.attach_role_policy(RoleName=f"{NAME}-ec2", PolicyArn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
        role = iam.create_role(RoleName="gateway", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["vpc-lattice:*", "ec2:DescribeVpcs"], "Resource": "*"}]}
        iam.put_role_policy(RoleName="gateway", PolicyName="lattice", PolicyDocument=json.dumps(allowed))
        self.eks.create_addon(clusterName=NAME, addonName="eks-pod-identity-agent")
        wait_for("the agent", lambda: self.eks.describe_addon(clusterName=NAME, addonName="eks-pod-identity-agent")["addon"]["status"] == "ACTIVE",
                 patience=PATIENCE)
        self.eks.create_pod_identity_association(
            clusterName=NAME, namespace=SYSTEM, serviceAccount="gateway-api-controller", roleArn=role)

    def deploy(self):
        """Applies the manifest as users do, and says which cluster it is."""
        self.kubectl("apply", "--server-side", "-f", str(lab.gateway_api()), "-f", str(KINDS))
        self.kubectl("apply", "-f", str(lab.GATEWAY_CONTROLLER / "controller.yaml"))
        self.kubectl("-n", SYSTEM, "set", "env", "deployment/gateway-api-controller", f"CLUSTER_NAME={NAME}",
                     f"CLUSTER_VPC_ID={self.place.vpc}", f"AWS_ACCOUNT_ID={self.account}", f"REGION={self.region}",
                     "LATH_LOG=info,lath_gateway=debug")
        self.kubectl("-n", SYSTEM, "rollout", "status", "deployment/gateway-api-controller", f"--timeout={PATIENCE}s")

    def gates(self, namespace, app="web"):
        pods = self.object("pods", "-n", namespace, "-l", f"app={app}")["items"]
        return [[it["conditionType"] for it in pod["spec"].get("readinessGates", [])] for pod in pods
                if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, namespace):
        pods = self.object("pods", "-n", namespace, "-l", "app=web")["items"]
        pods = [it for it in pods if "deletionTimestamp" not in it["metadata"]]
        return pods and all(is_true(it, "Ready") for it in pods)


@pytest.fixture
def cluster(kubernetes, tmp_path):
    with kubernetes.lath(archives=[lab.gateway_controller(tmp_path)]) as lath:
        yield Hooked(kubernetes, lath, tmp_path)
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []


def test_pods_that_will_be_targets_get_the_gate(cluster):
    cluster.deploy()
    try:
        cluster.apply(GATEWAY + "".join(ROUTE % {"namespace": it} for it in ("gated", "default")))
        cluster.apply("".join(SERVICE % it for it in ALL))
        # What a pod is a target of counts when it is made: by then the controller has seen the Service.
        cluster.programmed("httproute", "web")
        cluster.apply("".join(APP % it for it in ALL))
        wait_for("pods", lambda: all(cluster.gates(it["namespace"], it["name"]) for it in ALL), patience=PATIENCE)
        # Those of the labelled namespace that a route leads to, and no others.
        assert cluster.gates("gated") == [[GATE]]
        assert cluster.gates("gated", "idle") == [[]] and cluster.gates("default") == [[]]
        wait_for("the gate to open", lambda: cluster.ready("gated"), patience=PATIENCE)
        [condition] = [it for it in cluster.object("pods", "-n", "gated", "-l", "app=web")["items"][0]["status"]["conditions"]
                       if it["type"] == GATE]
        assert condition["reason"] == "Healthy"
        certificates_are_kept(cluster)
    except BaseException:
        print(cluster.kubectl("-n", SYSTEM, "logs", "-l", "control-plane=gateway-api-controller", "--tail=60", "--prefix", check=False).stdout)
        print(cluster.kubectl("get", "pods", "-A", "-o", "wide", check=False).stdout)
        raise
    cluster.kubectl("delete", "httproute", "web", "-n", "gated", "--timeout=240s")
    cluster.kubectl("delete", "httproute", "web", "-n", "default", "--timeout=240s")
    cluster.kubectl("delete", "gateway", "shop", "--timeout=240s")
    wait_for("nothing to be left", lambda: not cluster.left(), patience=PATIENCE)


def certificates_are_kept(cluster):
    """What somebody takes out of the webhook's configuration comes back, and replicas that are new are trusted before they are asked."""
    name = "mutatingwebhookconfiguration/aws-appnet-gwc-mutating-webhook"
    remove = json.dumps([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}])
    cluster.kubectl("patch", name, "--type=json", "-p", remove)
    wait_for("the certificates", lambda: cluster.object(name)["webhooks"][0]["clientConfig"].get("caBundle"), patience=PATIENCE)
    cluster.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/gateway-api-controller")
    # The failure policy refuses pods that it cannot be asked about: none may be refused while replicas change.
    for _ in range(3):
        cluster.kubectl("-n", "gated", "rollout", "restart", "deployment/web")
        cluster.kubectl("-n", "gated", "rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")
        assert cluster.gates("gated") == [[GATE]]
    cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/gateway-api-controller", f"--timeout={PATIENCE}s")
