"""What dies in and under a cluster comes back, and pods see no more than their node."""

import base64
import json
import os
import signal
import subprocess

import pytest
from lathlab import host_state, kubernetes as lab, wait_for
from lathlab.kubernetes import kill, processes
from lathlab.world import World

pytestmark = pytest.mark.root

REGION, NAME = "us-east-1", "mortal"
PATIENCE = 300
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: nginx
        image: nginx:latest
        command: ["/bin/sh", "-c", "echo here >/usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
# What a launch template has its nodes do, beside what Lath does: it names itself in a file that pods of the node can read.
USER_DATA = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: text/x-shellscript; charset="us-ascii"

#!/bin/bash
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $token" http://169.254.169.254/latest/meta-data/instance-id >/etc/named-by-user-data
--//--
"""
HOSTILE = """
apiVersion: v1
kind: Pod
metadata: {name: hostile}
spec:
  hostNetwork: true
  hostPID: true
  hostIPC: true
  terminationGracePeriodSeconds: 0
  containers:
  - name: busybox
    image: busybox:latest
    command: [sleep, "1000000"]
    securityContext: {privileged: true}
    volumeMounts: [{name: root, mountPath: /host}]
  volumes: [{name: root, hostPath: {path: /}}]
"""
# A pod behind a port of its node, and a webhook that no API server can use, because it speaks no TLS.
PORT = """
apiVersion: v1
kind: Pod
metadata: {{name: port}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: nginx, image: "nginx:latest", ports: [{{containerPort: 80, hostPort: 8080}}]}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: plain}}
webhooks:
- name: plain.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {{service: {{namespace: default, name: web, port: 80}}}}
  rules: [{{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}}]
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: default}}}}
"""


class Cluster:
    """A cluster of two nodes in one region."""

    def __init__(self, kubernetes, lath, directory):
        self.kubernetes, self.lath, self.name = kubernetes, lath, NAME
        world = World(lath)
        self.place = world.place(REGION)
        self.eks, iam = world.client("eks", REGION), world.client("iam", REGION)
        self.env = lath.env() | kubernetes.environment() | {"KUBECONFIG": str(directory / "kubeconfig"), "AWS_DEFAULT_REGION": REGION}
        roles = {}
        for service in "eks", "ec2":
            trust = {"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
            roles[service] = iam.create_role(RoleName=f"{service}-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        self.eks.create_cluster(name=self.name, roleArn=roles["eks"], resourcesVpcConfig={"subnetIds": self.place.subnets})
        wait_for("the cluster", lambda: self.eks.describe_cluster(name=self.name)["cluster"]["status"] == "ACTIVE", patience=PATIENCE)
        template = self.place.ec2.create_launch_template(LaunchTemplateName="nodes", LaunchTemplateData={
            "UserData": base64.b64encode(USER_DATA.encode()).decode()})["LaunchTemplate"]["LaunchTemplateId"]
        self.eks.create_nodegroup(
            clusterName=self.name, nodegroupName="nodes", nodeRole=roles["ec2"], subnets=self.place.subnets,
            scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 2}, instanceTypes=["m5.large"], launchTemplate={"id": template})
        wait_for("its nodes", lambda: self.eks.describe_nodegroup(clusterName=self.name, nodegroupName="nodes")
                 ["nodegroup"]["status"] == "ACTIVE", patience=PATIENCE)
        subprocess.run(["aws", "eks", "update-kubeconfig", "--name", self.name, "--region", REGION], env=self.env, check=True,
                       stdout=subprocess.DEVNULL)

    def kubectl(self, *arguments, **more):
        return self.kubernetes.kubectl(self.env, *arguments, **more)

    def ready_nodes(self):
        """The instances of nodes that are Ready; none while the API server does not answer."""
        run = self.kubectl("get", "nodes", "-o", "json", check=False)
        nodes = json.loads(run.stdout)["items"] if run.returncode == 0 else []
        return {node["spec"]["providerID"].rsplit("/", 1)[1] for node in nodes
                if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])}

    def apply(self, manifest):
        self.kubectl("apply", "-f", "-", content=manifest)

    def run_on(self, instance, name, image):
        """Runs a pod that sleeps, on the node that is this instance."""
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        [node] = [it["metadata"]["name"] for it in nodes if it["spec"]["providerID"].endswith(f"/{instance}")]
        self.kubectl("run", name, f"--image={image}", f"--overrides={json.dumps({'spec': {'nodeName': node}})}",
                     "--command", "--", "sleep", "1000000")
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")

    def serves(self):
        """Whether the deployment is complete and its service's name leads to it, from the pod `client`."""
        rollout = self.kubectl("rollout", "status", "deployment/web", "--timeout=5s", check=False)
        call = self.kubectl("exec", "client", "--", "curl", "-sS", "--max-time", "5", "http://web/", check=False)
        return rollout.returncode == 0 and call.stdout.strip() == "here"

    def is_well(self):
        return len(self.ready_nodes()) == 2 and self.serves()

    def restarts(self):
        pods = json.loads(self.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
        return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


def test_what_dies_in_a_cluster_comes_back(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath() as lath:
        cluster = Cluster(kubernetes, lath, tmp_path)
        wait_for("its nodes to be ready", lambda: len(cluster.ready_nodes()) == 2, patience=PATIENCE)
        nodes = sorted(cluster.ready_nodes())
        cluster.apply(WEB)
        # A pod of no controller ends with its node: it is on the one that stays.
        cluster.run_on(nodes[0], "client", "curlimages/curl:latest")
        wait_for("pods to serve", cluster.is_well, patience=PATIENCE)
        for node in nodes:
            assert lath.exec(node, "cat", "/etc/named-by-user-data") == node, "the user data of the group's launch template ran"
        hostile_pods_see_their_node_only(cluster)

        known = cluster.restarts()
        plane = f"control-plane@{NAME}"
        for program in "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd":
            kill(plane, program)
        wait_for("the control plane to be back", lambda: all(
            processes(plane, it) for it in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")), patience=PATIENCE)
        wait_for("the cluster to be well after its control plane died", cluster.is_well, patience=PATIENCE)

        for program in "kubelet", "containerd", "kube-proxy":
            kill(nodes[0], program)
        wait_for("the node's programs", lambda: all(
            processes(nodes[0], it) for it in ("kubelet", "containerd", "kube-proxy")), patience=PATIENCE)
        wait_for("the cluster to be well after a node's programs died", cluster.is_well, patience=PATIENCE)

        alive = {it: processes(nodes[1], it) for it in ("kubelet", "containerd")}
        lath.kill()
        lath.start()
        wait_for("the cluster to be well after Lath died", cluster.is_well, patience=PATIENCE)
        assert {it: processes(nodes[1], it) for it in alive} == alive, "adopted, not begun again"
        assert cluster.restarts() == known, "no pod was restarted by any of this"

        # The node's first process: all of the node ends, and control replaces or restarts it.
        for pid in processes(nodes[1], "kubelet"):
            os.kill(lab.parent(pid), signal.SIGKILL)
        wait_for("the dead node to be missed", lambda: nodes[1] not in cluster.ready_nodes(), patience=PATIENCE)
        wait_for("two nodes and the pods after a node died", cluster.is_well, patience=PATIENCE)
        for node in cluster.ready_nodes():
            assert lath.exec(node, "cat", "/etc/named-by-user-data") == node, "that of the other node, too"

        cluster.eks.delete_nodegroup(clusterName=NAME, nodegroupName="nodes")
        cluster.eks.get_waiter("nodegroup_deleted").wait(
            clusterName=NAME, nodegroupName="nodes", WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
        cluster.eks.delete_cluster(name=NAME)
        cluster.eks.get_waiter("cluster_deleted").wait(name=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": PATIENCE})
        wait_for("every trace to be gone", lambda: not lab.traces([*nodes, plane]))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def hostile_pods_see_their_node_only(cluster):
    """A pod with everything that Kubernetes can give it: it is root of its node, which is an ordinary user of the host."""
    cluster.apply(HOSTILE)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/hostile", "--timeout=120s")

    def inside(script):
        run = cluster.kubectl("exec", "hostile", "--", "sh", "-c", script, check=False)
        return run.returncode, run.stdout + run.stderr

    assert inside("awk '$1 == 0 {print $2}' /proc/1/uid_map")[1].strip() not in ("", "0"), "root in a node is no root outside"
    data = str(cluster.lath.data)
    secret = cluster.lath.directory / "secret"
    secret.write_text("of the host")
    for what, script in {
        "the data directory of Lath": f"test -e /host{data}/state.redb",
        "files of the host": f"test -e /host{secret}",
        "kernel messages": "dmesg -c",
        "a device": "mknod /tmp/disk b 254 0 && head -c1 /tmp/disk",
        "host settings": "echo 1 >/proc/sys/vm/drop_caches",
        "the host's network": "ip link | grep -q ': wan'",
        "modules": "insmod /nothing.ko 2>/dev/null",
    }.items():
        status, said = inside(script)
        assert status != 0, f"{what}: {said}"
    status, said = inside("ls /proc | grep -c '^[0-9]'")
    assert status == 0
    assert int(said) < len([it for it in os.listdir("/proc") if it.isdigit()]), "the host's processes are not seen"
    nothing_of_the_host_answers(cluster, inside)
    ports_lead_to_pods(cluster)
    cluster.kubectl("delete", "pod", "hostile")


def nothing_of_the_host_answers(cluster, inside):
    """From the network of a node neither the host's ports are reached, nor more of other nodes than their groups and they let."""
    lath = cluster.lath
    endpoint = cluster.eks.describe_cluster(name=NAME)["cluster"]["endpoint"]
    ports = [lath.port, lath.admin_port, lath.registry_port, int(endpoint.rsplit(":", 1)[1])]
    # Its own loopback, the router of its VPC, and the host's end of the VPC's way to the internet.
    for address in "127.0.0.1", "10.1.1.1", "169.254.100.1":
        for port in ports:
            status, said = inside(f"chroot /host curl -sk --max-time 2 http://{address}:{port}/")
            assert status in (7, 28), f"{address}:{port}: {status} {said}"
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    here = json.loads(cluster.kubectl("get", "pod", "hostile", "-o", "json"))["status"]["hostIP"]
    addresses = {it["address"] for node in nodes for it in node["status"]["addresses"] if it["type"] == "InternalIP"}
    [other] = addresses - {here}
    ask = "chroot /host curl -sk --max-time 10 -o /dev/null -w '%{http_code}'"
    kubelet = f"https://{other}:10250/pods"
    assert inside(f"{ask} {kubelet}") == (0, "401"), "who one is"
    own = f"{ask} --cert /etc/kubernetes/pki/kubelet-client.pem --key /etc/kubernetes/pki/kubelet-client.pem"
    assert inside(f"{own} {kubelet}") == (0, "403"), "a node has no say in another"
    assert inside(f"{own} https://{here}:10250/pods") != (0, "401"), "it is known by the certificate"
    # containerd, kube-proxy and the registry are on each node's own loopback.
    for port in 5000, 10249, 10255, 10256:
        status, said = inside(f"chroot /host curl -s --max-time 2 http://{other}:{port}/")
        assert status in (7, 28), f"{port}: {status} {said}"


def ports_lead_to_pods(cluster):
    """A port of a node, and a webhook's Service, lead to a pod: the one by the CNI plugin, the other without kube-proxy."""
    hostile = json.loads(cluster.kubectl("get", "pod", "hostile", "-o", "json"))
    cluster.apply(PORT.format(node=hostile["spec"]["nodeName"]))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/port", "--timeout=120s")
    address = hostile["status"]["hostIP"]
    wait_for("the port", lambda: "Welcome" in cluster.kubectl(
        "exec", "client", "--", "curl", "-sS", "--max-time", "5", f"http://{address}:8080/", check=False).stdout)
    wait_for("the webhook to be called", lambda: "HTTP response to HTTPS client" in cluster.kubectl(
        "create", "configmap", "none", "--dry-run=server", check=False).stderr)
    cluster.kubectl("delete", "validatingwebhookconfiguration/plain", "pod/port")
