#!/usr/bin/env python3
"""Two regions with a Kubernetes cluster each, on one machine: run it with ./x demo kubernetes.

Starts Lath with two regions, joins their VPCs by peered Transit Gateways, and creates an EKS cluster of three nodes in
each: upstream's control plane and kubelets, pods with addresses of the VPC. Three nginx answer in each cluster, pods of
one region call pods of the other, and a VPC Lattice service has the pods as its targets. Then a node dies under load.
Every figure in the report at the end was measured in this run.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))

from lathlab import binary, kubernetes as lab, usage, wait_for  # noqa: E402
from lathlab.lab import unique  # noqa: E402
from lathlab.world import World  # noqa: E402

BOLD, DIM, END = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
REGIONS = ["us-east-1", "us-west-2"]
NODES = PODS = 3
PATIENCE = 600
FAULT = os.environ.get("LATH_DEMO_FAULT", "30s")
IDLE = int(os.environ.get("LATH_DEMO_IDLE", "30"))
FIGURES = []

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {count}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
      - name: nginx
        image: nginx:latest
        command: ["/bin/sh", "-c", "echo {region} $HOSTNAME >/usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]
        ports: [{{containerPort: 80}}]
        readinessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: curl, image: "curlimages/curl:latest", command: [sleep, "1000000"]}}]
"""


def say(text):
    print(f"\n{BOLD}== {text}{END}", flush=True)


def note(text):
    print(f"{DIM}   {text}{END}", flush=True)


def figure(what, began):
    seconds = time.monotonic() - began
    FIGURES.append((what, f"{seconds:.1f} s"))
    note(f"{what}: {seconds:.1f} s")


class Cluster:
    """A cluster of a region, driven by the EKS API and by kubectl."""

    def __init__(self, world, kubernetes, place, directory):
        self.world, self.kubernetes, self.place = world, kubernetes, place
        self.name = f"demo-{place.region}"
        self.eks = world.client("eks", place.region)
        self.env = world.env | kubernetes.environment() | {
            "KUBECONFIG": str(directory / f"kubeconfig-{place.region}"), "AWS_DEFAULT_REGION": place.region}

    def create(self, roles):
        self.eks.create_cluster(
            name=self.name, version=self.kubernetes.version, roleArn=roles["cluster"],
            resourcesVpcConfig={"subnetIds": self.place.subnets, "endpointPublicAccess": True, "endpointPrivateAccess": True})

    def described(self):
        return self.eks.describe_cluster(name=self.name)["cluster"]

    def until_active(self):
        wait_for(f"{self.name} to be ACTIVE", lambda: self.described()["status"] == "ACTIVE", patience=PATIENCE)
        group = self.described()["resourcesVpcConfig"]["clusterSecurityGroupId"]
        lists = self.place.ec2.describe_managed_prefix_lists(Filters=[
            {"Name": "prefix-list-name", "Values": [f"com.amazonaws.{self.place.region}.vpc-lattice"]}])["PrefixLists"]
        self.place.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
             "PrefixListIds": [{"PrefixListId": lists[0]["PrefixListId"]}]}])

    def add_nodes(self, roles):
        self.eks.create_nodegroup(
            clusterName=self.name, nodegroupName="nodes", nodeRole=roles["nodes"], subnets=self.place.subnets,
            scalingConfig={"minSize": 1, "maxSize": 6, "desiredSize": NODES}, instanceTypes=["m5.large"])

    def until_ready(self):
        wait_for(f"nodes of {self.name}", lambda: self.eks.describe_nodegroup(
            clusterName=self.name, nodegroupName="nodes")["nodegroup"]["status"] == "ACTIVE", patience=PATIENCE)
        subprocess.run(["aws", "eks", "update-kubeconfig", "--name", self.name, "--region", self.place.region],
                       env=self.env, check=True, stdout=subprocess.DEVNULL)

    def kubectl(self, *arguments, **more):
        return self.kubernetes.kubectl(self.env, *arguments, **more)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]

    def ready_nodes(self):
        return {node["metadata"]["name"]: node["spec"]["providerID"].rsplit("/", 1)[1] for node in self.get("nodes")
                if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])}

    def deploy(self):
        self.kubectl("apply", "-f", "-", content=DEPLOYMENT.format(count=PODS, region=self.place.region))
        self.kubectl("rollout", "status", "deployment/web", f"--timeout={PATIENCE}s")
        self.kubectl("wait", "--for=condition=Ready", "pod/client", f"--timeout={PATIENCE}s")

    def pods(self):
        """Address and node of each nginx."""
        return [(pod["status"]["podIP"], pod["spec"]["nodeName"]) for pod in self.get("pods", "-l", "app=web")]

    def call(self, url):
        """What the client pod gets."""
        return self.kubectl("exec", "client", "--", "curl", "-sS", "--max-time", "10", url).strip()

    def delete(self):
        self.eks.delete_nodegroup(clusterName=self.name, nodegroupName="nodes")
        self.until_gone(lambda: self.eks.describe_nodegroup(clusterName=self.name, nodegroupName="nodes"))
        self.eks.delete_cluster(name=self.name)
        self.until_gone(self.described)

    def until_gone(self, described):
        def gone():
            try:
                described()
            except self.eks.exceptions.ResourceNotFoundException:
                return True
            return False
        wait_for(f"a part of {self.name} to be gone", gone, patience=PATIENCE)


def roles(world):
    """The roles of clusters and of nodes, as the documentation of EKS has them."""
    iam = world.client("iam", REGIONS[0])
    made = {}
    for role, service, policies in (
            ("cluster", "eks", ["AmazonEKSClusterPolicy"]),
            ("nodes", "ec2", ["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly"])):
        trust = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
        made[role] = iam.create_role(
            RoleName=f"demo-eks-{role}", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        for policy in policies:
            iam.attach_role_policy(RoleName=f"demo-eks-{role}", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    return made


def pods_as_targets(cluster):
    """A target group with the addresses of the cluster's nginx."""
    lattice = cluster.place.lattice
    group = lattice.create_target_group(name=unique("pods"), type="IP", config={
        "port": 80, "protocol": "HTTP", "vpcIdentifier": cluster.place.vpc,
        "healthCheck": {"enabled": True, "path": "/", "healthCheckIntervalSeconds": 5, "healthCheckTimeoutSeconds": 2,
                        "healthyThresholdCount": 2, "unhealthyThresholdCount": 2}})
    wait_for("a target group", lambda: lattice.get_target_group(targetGroupIdentifier=group["id"])["status"] == "ACTIVE")
    lattice.register_targets(targetGroupIdentifier=group["id"], targets=[{"id": ip, "port": 80} for ip, _ in cluster.pods()])
    return group["arn"]


def build(kubernetes, world, directory):
    say("Two VPCs, joined by peered Transit Gateways")
    places = [world.place(region) for region in REGIONS]
    world.peer(*places)
    clusters = [Cluster(world, kubernetes, place, directory) for place in places]
    arns = roles(world)
    say("A cluster in each region")
    began = time.monotonic()
    for cluster in clusters:
        cluster.create(arns)
    for cluster in clusters:
        cluster.until_active()
        figure(f"{cluster.name} ACTIVE", began)
    note(f"Kubernetes {clusters[0].described()['version']}, {clusters[0].described()['endpoint']}")
    began = time.monotonic()
    for cluster in clusters:
        cluster.add_nodes(arns)
    for cluster in clusters:
        cluster.until_ready()
        assert len(cluster.ready_nodes()) == NODES
        figure(f"{cluster.name}: {NODES} nodes Ready", began)
    say("Three nginx in each cluster")
    for cluster in clusters:
        began = time.monotonic()
        cluster.deploy()
        figure(f"{cluster.name}: {PODS} pods Running and ready", began)
    return clusters


def talk(clusters):
    say("Pods call pods")
    for here, there in (clusters, clusters[::-1]):
        note(f"{here.name}, by the Service's name: {here.call('http://web/')}")
        for address, _ in there.pods():
            answer = here.call(f"http://{address}/")
            assert answer.startswith(there.place.region), answer
            note(f"{here.name} -> {address} through the peering: {answer}")


def rest(lath, clusters):
    """What both clusters take while nobody asks anything of them."""
    say(f"Both clusters idle for {IDLE} s")
    # What was deployed last still settles.
    time.sleep(IDLE / 3)
    nodes = [instance for cluster in clusters for instance in cluster.ready_nodes().values()]
    count, memory, cores = usage.idle(lath, nodes, IDLE)
    for what, value in ((f"memory of all {count} processes (PSS)", f"{memory / 2**30:.2f} GiB"),
                        ("processor time, idle", f"{100 * cores:.0f} %")):
        FIGURES.append((what, value))
        note(f"{what}: {value}")


def drill(lath, world, clusters, reports):
    cluster = clusters[1]
    say(f"A node of {cluster.name} dies for {FAULT}, while a client sends requests through VPC Lattice")
    client = cluster.place.launch("client")
    service = world.service(cluster.place, [pods_as_targets(cluster)])
    wait_for("the service to answer", lambda: lath.exec(
        client["id"], "curl", "-sf", "--max-time", "5", f"http://{service['name']}/", check=False).returncode == 0)
    address, node = cluster.pods()[0]
    victim = cluster.ready_nodes()[node]
    note(f"the victim: {victim}, with the pod {address}")
    began = time.monotonic()
    # Two health checks in a row must fail: the first begins up to 5 s after the death, the next one 5 s later, and each waits 2 s
    # for its answer.
    run = subprocess.Popen(
        [binary(), "drill", "kill-node", "--data-dir", str(lath.data), "--out", str(reports), "--victim", victim,
         "--target", f"http://{service['name']}/", "--from", client["id"], "--rate", "50", "--timeout", "1s",
         "--late", "500ms", "--fault", FAULT, "--patience", "300s", "--objective", "recovery=14s"],
        text=True, stdout=subprocess.PIPE)
    wait_for("Kubernetes to see it", lambda: node not in cluster.ready_nodes(), patience=PATIENCE)
    figure("from the drill's start to the node being NotReady", began)
    print(run.communicate()[0].rstrip(), flush=True)
    began = time.monotonic()
    wait_for("the node to be Ready again", lambda: len(cluster.ready_nodes()) == NODES, patience=PATIENCE)
    figure("from the fault's end to all nodes Ready", began)
    report = json.loads((reports / "drill.json").read_text())
    note(f"page: {reports / 'drill.html'}")
    return report


def main():
    try:
        kubernetes = lab.prepared()
    except lab.Dead as reason:
        raise SystemExit(str(reason)) from None
    reports = pathlib.Path(os.environ.get("LATH_DEMO_REPORTS") or tempfile.mkdtemp(prefix="lath-drills-"))
    report = None
    with tempfile.TemporaryDirectory() as directory, kubernetes.lath(regions=REGIONS) as lath:
        try:
            world = World(lath)
            clusters = build(kubernetes, world, pathlib.Path(directory))
            talk(clusters)
            rest(lath, clusters)
            report = drill(lath, world, clusters, reports)
            say("Cleaning up")
            began = time.monotonic()
            for cluster in clusters:
                cluster.delete()
            figure("both clusters deleted", began)
        except BaseException:
            print(lath.tail(), file=sys.stderr)
            raise
        finally:
            began = time.monotonic()
            lath.stop()
            figure("Lath stopped", began)
            note(f"left behind: {lath.remnants() or 'nothing'}")
    say("Report")
    for what, value in FIGURES:
        print(f"   {what:<60}{value:>10}")
    spread = report["recovery_ns"]
    recovery = f"{spread['max'] / 1e6:.0f} ms" if spread else "never"
    print(f"   {'requests good again after the node died':<60}{recovery:>10}")
    print(f"   {'requests that failed':<60}{max(r['failed'] for r in report['repetitions']):>10}")
    if not report["verdict"]["passed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("AWS_PAGER", "")
    main()
