"""A cluster with one node group in one region, made with the AWS APIs and driven by kubectl."""

import json
import subprocess

from . import wait_for
from .world import World

PATIENCE = 600


class Cluster:
    """A cluster of so many nodes on a Lath; it goes with its Lath.

    Its name is its own among all tests: they run side by side on one host, and find the processes of a control plane by it.
    """

    def __init__(self, kubernetes, lath, directory, name, region="us-east-1", nodes=2, instance_type="t3.small", tags=None):
        self.kubernetes, self.lath, self.name, self.region = kubernetes, lath, name, region
        self.world = World(lath)
        self.place = self.world.place(region)
        self.eks, iam = self.world.client("eks", region), self.world.client("iam", region)
        self.env = lath.env() | kubernetes.environment() | {
            "KUBECONFIG": str(directory / f"kubeconfig-{name}"), "AWS_DEFAULT_REGION": region}
        roles = {}
        for service in "eks", "ec2":
            trust = {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
            roles[service] = iam.create_role(
                RoleName=f"{name}-{service}", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        self.eks.create_cluster(
            name=name, roleArn=roles["eks"], resourcesVpcConfig={"subnetIds": self.place.subnets}, tags=tags or {})
        wait_for(f"{name} to be ACTIVE", lambda: self.described()["status"] == "ACTIVE", patience=PATIENCE)
        self.eks.create_nodegroup(
            clusterName=name, nodegroupName="nodes", nodeRole=roles["ec2"], subnets=self.place.subnets,
            scalingConfig={"minSize": nodes, "maxSize": nodes, "desiredSize": nodes}, instanceTypes=[instance_type])
        wait_for(f"nodes of {name}", lambda: self.eks.describe_nodegroup(clusterName=name, nodegroupName="nodes")
                 ["nodegroup"]["status"] == "ACTIVE", patience=PATIENCE)
        subprocess.run(["aws", "eks", "update-kubeconfig", "--name", name, "--region", region], env=self.env, check=True,
                       stdout=subprocess.DEVNULL)

    def described(self):
        return self.eks.describe_cluster(name=self.name)["cluster"]

    def admit(self, port):
        """Lets everybody connect to a port of the nodes."""
        self.place.ec2.authorize_security_group_ingress(
            GroupId=self.described()["resourcesVpcConfig"]["clusterSecurityGroupId"],
            IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])

    def kubectl(self, *arguments, **more):
        return self.kubernetes.kubectl(self.env, *arguments, **more)

    def get(self, *arguments):
        """Objects; none while the API server does not answer."""
        run = self.kubectl("get", *arguments, "-o", "json", check=False)
        return json.loads(run.stdout)["items"] if run.returncode == 0 else []

    def nodes(self):
        """Nodes that are Ready and take pods: instance by name."""
        return {node["metadata"]["name"]: node["spec"]["providerID"].rsplit("/", 1)[1] for node in self.get("nodes")
                if is_true(node, "Ready") and not node["spec"].get("unschedulable")}

    def address(self, node):
        return next(a["address"] for it in self.get("nodes") if it["metadata"]["name"] == node
                    for a in it["status"]["addresses"] if a["type"] == "InternalIP")


def is_true(thing, condition):
    return any(it["type"] == condition and it["status"] == "True" for it in thing["status"].get("conditions", []))
