"""What Lath itself does in a cluster: metrics of nodes and pods, volumes, words about load balancers, node groups that follow
their pods. And what kubectl does with pods.
"""

import contextlib
import json
import os
import socket
import subprocess
import urllib.request

import pytest
from lathlab import host_state, kubernetes as lab, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

REGION = "us-east-1"
PATIENCE = 300
# Of this test alone: traces of clusters are looked for by name, and others are made beside this one.
NAME = "served"
CLUSTER, GROUP = {"name": NAME}, {"clusterName": NAME, "nodegroupName": "nodes"}
SCALES = "k8s.io/cluster-autoscaler/enabled"
UNNEEDED = "k8s.io/cluster-autoscaler/node-template/autoscaling-options/scaledownunneededtime"
STATE = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: now}
provisioner: ebs.csi.aws.com
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared}
spec: {accessModes: [ReadWriteMany], storageClassName: now, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: state}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: state}
spec:
  replicas: 1
  serviceName: state
  selector: {matchLabels: {app: state}}
  template:
    metadata: {labels: {app: state}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
      containers:
      - name: busybox
        image: busybox:latest
        command: [sh, -c, "echo boot >>/data/boots; echo begun; httpd -p 8080 -h /data; exec cat"]
        stdin: true
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""
BUSY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: busybox
        image: busybox:latest
        command: [sh, -c, "while :; do :; done"]
        resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: busy}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: busy}
  minReplicas: 1
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
"""
LARGE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: large}
spec:
  replicas: 2
  selector: {matchLabels: {app: large}}
  template:
    metadata: {labels: {app: large}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: pause, image: "registry.k8s.io/pause:3.10", resources: {requests: {cpu: 1100m}}}
"""


class Cluster:
    """A cluster with a node, and add-ons."""

    def __init__(self, kubernetes, lath, directory):
        self.kubernetes, self.lath = kubernetes, lath
        world = World(lath)
        place = world.place(REGION)
        self.eks, self.ec2, iam = place.world.client("eks", REGION), place.ec2, world.client("iam", REGION)
        self.env = lath.env() | kubernetes.environment() | {"KUBECONFIG": str(directory / "kubeconfig"), "AWS_DEFAULT_REGION": REGION}
        roles = {}
        for service in "eks", "ec2":
            trust = {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
            roles[service] = iam.create_role(RoleName=f"{service}-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        self.eks.create_cluster(**CLUSTER, roleArn=roles["eks"], resourcesVpcConfig={"subnetIds": place.subnets})
        wait_for("the cluster", lambda: self.eks.describe_cluster(**CLUSTER)["cluster"]["status"] == "ACTIVE", patience=PATIENCE)
        self.eks.create_nodegroup(
            **GROUP, nodeRole=roles["ec2"], subnets=place.subnets, instanceTypes=["m5.large"],
            scalingConfig={"minSize": 1, "maxSize": 2, "desiredSize": 1}, tags={SCALES: "true", UNNEEDED: "10s"})
        addons = {"metrics-server": "", "aws-ebs-csi-driver": json.dumps({"defaultStorageClass": {"enabled": True}})}
        for name, configuration in addons.items():
            self.eks.create_addon(clusterName=NAME, addonName=name, configurationValues=configuration)
        wait_for("the add-ons", lambda: all(
            self.eks.describe_addon(clusterName=NAME, addonName=name)["addon"]["status"] == "ACTIVE" for name in addons),
            patience=PATIENCE)
        wait_for("the node", lambda: self.group()["status"] == "ACTIVE", patience=PATIENCE)
        subprocess.run(["aws", "eks", "update-kubeconfig", "--name", NAME, "--region", REGION], env=self.env, check=True,
                       stdout=subprocess.DEVNULL)

    def group(self):
        return self.eks.describe_nodegroup(**GROUP)["nodegroup"]

    def kubectl(self, *arguments, **more):
        return self.kubernetes.kubectl(self.env, *arguments, **more)

    def apply(self, manifest):
        self.kubectl("apply", "-f", "-", content=manifest)

    def nodes(self):
        """Ready nodes: name to instance."""
        run = self.kubectl("get", "nodes", "-o", "json", check=False)
        nodes = json.loads(run.stdout)["items"] if run.returncode == 0 else []
        return {node["metadata"]["name"]: node["spec"]["providerID"].rsplit("/", 1)[1] for node in nodes
                if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])}

    def inside(self, script):
        return self.kubectl("exec", "state-0", "--", "sh", "-c", script, check=False)

    def boots(self):
        """How often the pod with the volume began; none while it cannot be asked."""
        run = self.inside("cat /data/boots")
        return len(run.stdout.split()) if run.returncode == 0 else 0

    def events(self, reason):
        events = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        return [event for event in events if event["reason"] == reason]

    def directories(self):
        """Volumes on the host."""
        return [path for path in self.lath.data.rglob("pvc-*") if "lath-volumes" in path.parent.name]


def test_what_lath_itself_does_in_a_cluster(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath("--extended") as lath:
        cluster = Cluster(kubernetes, lath, tmp_path)
        cluster.apply(STATE)
        cluster.apply(BUSY)
        wait_for("the pod with the volume", lambda: cluster.boots() == 1, patience=PATIENCE)
        kubectl_does_with_pods_what_it_does(cluster, tmp_path)
        metrics_are_there(cluster)
        wait_for("a service to be told that there is no load balancer", lambda: cluster.events("SyncLoadBalancerFailed"))
        [event] = cluster.events("SyncLoadBalancerFailed")
        assert (event["type"], event["source"]["component"]) == ("Warning", "service-controller")
        assert "Elastic Load Balancing" in event["message"], event
        groups_follow_their_pods(cluster)
        volumes_last(cluster)

        nodes = [*cluster.nodes().values(), f"control-plane@{NAME}"]
        cluster.eks.delete_nodegroup(**GROUP)
        cluster.eks.get_waiter("nodegroup_deleted").wait(**GROUP, WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
        cluster.eks.delete_cluster(**CLUSTER)
        cluster.eks.get_waiter("cluster_deleted").wait(**CLUSTER, WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
        wait_for("every trace to be gone", lambda: not lab.traces(nodes))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def kubectl_does_with_pods_what_it_does(cluster, directory):
    """logs, cp, attach, port-forward; everything else here uses exec."""
    assert cluster.kubectl("logs", "state-0") == "begun\n"
    there, back = directory / "there", directory / "back"
    there.write_bytes(os.urandom(1 << 20))
    cluster.kubectl("cp", str(there), "state-0:/data/copied")
    cluster.kubectl("cp", "state-0:/data/copied", str(back))
    assert back.read_bytes() == there.read_bytes()
    attached = subprocess.Popen([cluster.kubernetes.programs / "kubectl", "attach", "-i", "state-0"], env=cluster.env,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with attached:
        try:
            attached.stdin.write("hello\n")
            attached.stdin.flush()
            assert attached.stdout.readline() == "hello\n"
        finally:
            attached.kill()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = subprocess.Popen([cluster.kubernetes.programs / "kubectl", "port-forward", "pod/state-0", f"{port}:8080"],
                               env=cluster.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def forwarded():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/boots", timeout=5).read()

    with forward:
        try:
            assert wait_for("a forwarded port", forwarded) == b"boot\n"
        finally:
            forward.kill()


def metrics_are_there(cluster):
    """`kubectl top`, selectors, and a deployment that grows with its load."""
    [node] = cluster.nodes()

    def top(*arguments):
        run = cluster.kubectl("top", *arguments, "--no-headers", check=False)
        return [line.split() for line in run.stdout.splitlines()] if run.returncode == 0 else []

    [[name, cpu, *_]] = wait_for("metrics of the node", lambda: top("nodes"), patience=PATIENCE)
    assert name == node
    assert cpu.endswith("m")
    [[_, used, memory]] = wait_for("metrics of a pod", lambda: top("pods", "-l", "app=state"), patience=PATIENCE)
    assert used.endswith("m")
    assert memory.endswith("Mi")
    wait_for("a pod to be busy", lambda: any(int(row[1].rstrip("m")) > 40 for row in top("pods", "-l", "app=busy")), patience=PATIENCE)
    assert {row[0] for row in top("pods", "-A")} >= {"default", "kube-system"}
    raw = "/apis/metrics.k8s.io/v1beta1"
    one = json.loads(cluster.kubectl("get", "--raw", f"{raw}/namespaces/default/pods/state-0"))
    assert (one["kind"], one["metadata"]["labels"]["app"]) == ("PodMetrics", "state")
    assert cluster.kubectl("get", "--raw", f"{raw}/nodes/none", check=False).returncode != 0
    denied = cluster.kubectl("top", "nodes", "--as=not-a-user", check=False)
    assert "forbidden" in denied.stderr.lower(), denied.stderr
    replicas = lambda: json.loads(cluster.kubectl("get", "deployment", "busy", "-o", "json"))["spec"]["replicas"]
    wait_for("the deployment to grow", lambda: replicas() == 2, patience=PATIENCE)
    cluster.kubectl("delete", "hpa/busy", "deployment/busy")


def groups_follow_their_pods(cluster):
    cluster.apply(LARGE)
    wait_for("another node", lambda: cluster.group()["scalingConfig"]["desiredSize"] == 2, patience=PATIENCE)
    cluster.kubectl("rollout", "status", "deployment/large", f"--timeout={PATIENCE}s")
    assert len(cluster.nodes()) == 2
    cluster.kubectl("delete", "deployment/large")
    wait_for("the empty node to go", lambda: cluster.group()["scalingConfig"]["desiredSize"] == 1
             and len(json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]) == 1, patience=PATIENCE)
    assert cluster.boots() == 1, "the node with pods stayed"


def volumes_last(cluster):
    """A volume outlives its pod, its node's boots and Lath, and goes with its claim."""
    assert cluster.inside("stat -c %g /data").stdout.strip() == "2000"
    refused = cluster.events("ProvisioningFailed")
    assert {event["involvedObject"]["name"] for event in refused} == {"shared"}, refused
    cluster.kubectl("delete", "pod", "state-0")
    wait_for("the next pod to find the data", lambda: cluster.boots() == 2, patience=PATIENCE)
    [instance] = cluster.nodes().values()
    cluster.ec2.reboot_instances(InstanceIds=[instance])
    cluster.lath.kill()
    cluster.lath.start()
    wait_for("the pod to find the data after a boot of its node", lambda: cluster.boots() == 3, patience=PATIENCE)
    assert len(cluster.directories()) == 1
    cluster.kubectl("delete", "statefulset/state", "pvc/data", "pvc/shared", "service/balanced")
    wait_for("the volume to be gone", lambda: not json.loads(cluster.kubectl("get", "pv", "-o", "json"))["items"])
    assert cluster.directories() == []
