"""What Lath itself does in a cluster: metrics of nodes and pods, volumes, words about load balancers, node groups that follow
their pods, security groups of pods. And what kubectl does with pods, also with one whose image was pushed to ECR.
"""

import contextlib
import json
import os
import socket
import subprocess
import tarfile
import urllib.request

import pytest
from botocore.exceptions import ClientError
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
# Made at once: the pod is there before anything can have looked at the policy.
GUARDED = """
apiVersion: vpcresources.k8s.aws/v1beta1
kind: SecurityGroupPolicy
metadata: {{name: db}}
spec:
  podSelector: {{matchLabels: {{role: db}}}}
  securityGroups: {{groupIds: [{group}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: db}}
spec:
  selector: {{matchLabels: {{role: db}}}}
  template:
    metadata: {{labels: {{role: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: busybox
        image: {image}
        command: [sh, -c, "mkdir /srv; echo guarded >/srv/index.html; httpd -p 8081 -h /srv; exec httpd -f -p 8080 -h /srv"]
"""
REFUSED = """
apiVersion: vpcresources.k8s.aws/v1beta1
kind: SecurityGroupPolicy
metadata: {name: none}
spec:
  serviceAccountSelector: {matchExpressions: [{key: kind, operator: In, values: [odd]}]}
  securityGroups: {groupIds: [sg-00000000000000000]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: odd, labels: {kind: odd}}
---
apiVersion: v1
kind: Pod
metadata: {name: odd}
spec:
  serviceAccountName: odd
  terminationGracePeriodSeconds: 0
  containers: [{name: pause, image: "registry.k8s.io/pause:3.10"}]
"""


class Cluster:
    """A cluster with a node, and add-ons."""

    def __init__(self, kubernetes, lath, directory):
        self.kubernetes, self.lath = kubernetes, lath
        world = World(lath)
        place = world.place(REGION)
        self.place = place
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
        pods_have_groups_of_their_own(cluster)
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


def pushed_to_ecr(cluster, archive):
    """Pushes the image of an archive as skopeo does; gives its name in pods."""
    ecr = cluster.place.world.client("ecr", REGION)
    made = ecr.create_repository(repositoryName="team/db")["repository"]
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]

    def send(method, path, body, kind="application/octet-stream"):
        request = urllib.request.Request(f"http://127.0.0.1:{cluster.lath.registry_port}/v2/team/db/{path}", body, method=method,
                                         headers={"Authorization": f"Basic {token}", "Content-Type": kind})
        assert urllib.request.urlopen(request, timeout=60).status == 201

    with tarfile.open(archive) as image:
        read = lambda path: image.extractfile(path).read()
        blob = lambda digest: read(f"blobs/{digest.replace(':', '/')}")
        # One image under several names.
        named = json.loads(read("index.json"))["manifests"][0]
        manifest = json.loads(blob(named["digest"]))
        for part in manifest["config"], *manifest["layers"]:
            send("POST", f"blobs/uploads/?digest={part['digest']}", blob(part["digest"]))
        send("PUT", "manifests/v1", blob(named["digest"]), named["mediaType"])
    return f"{made['repositoryUri']}:v1"


def pods_have_groups_of_their_own(cluster):
    """A policy's groups guard its pods both ways, in the place of the node's."""
    ec2, lath = cluster.ec2, cluster.lath
    client = cluster.place.server("client")
    group = ec2.create_security_group(GroupName="db", Description="of pods", VpcId=cluster.place.vpc)["GroupId"]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": [{"GroupId": cluster.place.group}]}])
    cluster.apply(GUARDED.format(group=group, image=pushed_to_ecr(cluster, cluster.kubernetes.images / "busybox.tar")))
    cluster.apply(REFUSED)
    cluster.kubectl("rollout", "status", "deployment/db", f"--timeout={PATIENCE}s")
    pod = lambda *selector: json.loads(cluster.kubectl("get", "pods", *selector, "-o", "json"))["items"][0]
    db = pod("-l", "role=db")
    address = db["status"]["podIP"]
    [told] = json.loads(wait_for("the pod's interface", lambda: pod("-l", "role=db")["metadata"]["annotations"].get(
        "vpc.amazonaws.com/pod-eni")))
    interface = lambda: ec2.describe_network_interfaces(NetworkInterfaceIds=[told["eniId"]])["NetworkInterfaces"][0]
    shown = interface()
    assert told["privateIp"] == shown["PrivateIpAddress"] == address
    assert (shown["InterfaceType"], shown["Status"], shown["MacAddress"]) == ("branch", "in-use", told["ifAddress"])
    assert [it["GroupId"] for it in shown["Groups"]] == [group]
    with pytest.raises(ClientError, match="DependencyViolation"):
        ec2.delete_security_group(GroupId=group)

    def called(port):
        run = lath.exec(client["id"], "curl", "-sS", "--max-time", "3", f"http://{address}:{port}/", check=False)
        return run.stdout.strip() if run.returncode == 0 else None

    assert called(8080) == "guarded"
    assert called(8081) is None, "its group does not let that in"
    state = pod("-l", "app=state")["status"]["podIP"]
    outside = f"nc -w 5 {client['private']} 80 </dev/null"
    wait_for("other pods to get out, by the node's groups", lambda: cluster.inside(outside).returncode == 0, patience=30)
    assert cluster.kubectl("exec", "deployment/db", "--", "sh", "-c", outside, check=False).returncode != 0, "nothing goes out"
    refused = lath.exec(client["id"], "curl", "-sS", "--max-time", "3", f"http://{state}:8080/", check=False)
    assert refused.returncode != 0, "and the node's group lets nothing in for them"

    [event, *_] = wait_for("a pod to be told that it has no group", lambda: [
        it for it in cluster.events("BranchAllocationFailed") if it["involvedObject"]["name"] == "odd"])
    assert "sg-00000000000000000" in event["message"]
    assert not pod("--field-selector=metadata.name=odd")["status"].get("podIP"), "it does not begin with other groups"

    # Policies count for new pods; what runs keeps what it has, whatever dies.
    cluster.kubectl("delete", "securitygrouppolicy", "db")
    lath.kill()
    lath.start()
    wait_for("the cluster after Lath died", lambda: cluster.group()["status"] == "ACTIVE")
    assert called(8080) == "guarded"
    assert called(8081) is None
    assert [it["GroupId"] for it in interface()["Groups"]] == [group]
    cluster.kubectl("delete", "deployment/db", "pod/odd", "securitygrouppolicy/none")

    def gone():
        with contextlib.suppress(ClientError):
            ec2.delete_security_group(GroupId=group)
            return True

    wait_for("the pod's interface to go", gone, patience=PATIENCE)
    with pytest.raises(ClientError, match="NotFound"):
        interface()
    ec2.terminate_instances(InstanceIds=[client["id"]])


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
    wait_for("its data to be gone", lambda: not cluster.directories())
