"""A cluster of kubeadm in two instances whose network is flannel's, from its published module and by its own manifest.

Builds flannel once (some four minutes of CPU), and runs where LATH_FOREIGN_CNI is set.
"""

import base64
import json
import os
import pathlib

import pytest
from lathlab import Dead, host_state, kubernetes as lab, wait_for
from lathlab.world import World

pytestmark = [pytest.mark.root, pytest.mark.skipif(
    not os.environ.get("LATH_FOREIGN_CNI"), reason="SKIPPED: set LATH_FOREIGN_CNI=1 to build flannel and to run it")]

REGION, AMI = "us-east-1", "amazon-eks-node-al2023-x86_64-standard-*"
TOKEN = "abcdef.0123456789abcdef"
INIT = f"""#!/bin/bash
set -e
sysctl -w net.ipv4.ip_forward=1
systemctl enable kubelet
kubeadm init --pod-network-cidr=10.244.0.0/16 --token={TOKEN}
"""
JOIN = f"""#!/bin/bash
set -e
sysctl -w net.ipv4.ip_forward=1
systemctl enable kubelet
kubeadm join {{address}}:6443 --token={TOKEN} --discovery-token-unsafe-skip-ca-verification
"""
# The plugins that flannel's hands pods to, which an image of AWS has.
PLUGINS = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cni-plugins, namespace: kube-system}
spec:
  selector: {matchLabels: {app: cni-plugins}}
  template:
    metadata: {labels: {app: cni-plugins}}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers:
      - name: copy
        image: cni-plugins:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "cp -f /plugins/* /opt/cni/bin/ && exec sleep 1000000"]
        volumeMounts: [{name: bin, mountPath: /opt/cni/bin}]
      volumes: [{name: bin, hostPath: {path: /opt/cni/bin}}]
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  nodeName: {node}
  tolerations: [{{operator: Exists}}]
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: curlimages/curl:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "mkdir /www && echo {name} >/www/index.html && exec httpd -f -p 80 -h /www"]
    ports: [{{containerPort: 80, hostPort: 8090}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}
"""


def test_flannel_carries_pods_between_instances(kubernetes):
    before = host_state()
    try:
        built = pathlib.Path(lab.made(lab.HERE / "flannel" / "build.py", lab.CACHE / "kubernetes-flannel"))
    except Dead as reason:
        pytest.fail(str(reason))
    with kubernetes.lath(kubeadm=True, archives=sorted(built.glob("*.tar"))) as lath:
        place = World(lath).place(REGION)
        images = place.ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [AMI]}])["Images"]

        def launch(user_data, subnet):
            launched = place.ec2.run_instances(
                ImageId=images[0]["ImageId"], InstanceType="t3.medium", MinCount=1, MaxCount=1, UserData=user_data,
                SubnetId=place.subnets[subnet], SecurityGroupIds=[place.group])["Instances"][0]
            return launched["InstanceId"], launched["PrivateIpAddress"], launched["PrivateDnsName"].split(".")[0]

        # In different subnets, as between zones: nothing is on the same link in a VPC anyway.
        first, address, control = launch(INIT, 0)
        second, other, worker = launch(JOIN.format(address=address), 1)

        def kubectl(*arguments, **more):
            return lath.exec(first, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments, **more)

        def items(*arguments):
            run = kubectl("get", *arguments, "-o", "json", check=False)
            return json.loads(run.stdout)["items"] if run.returncode == 0 else []

        def apply(manifest):
            text = base64.b64encode(manifest.encode()).decode()
            lath.exec(first, "sh", "-c", f"echo {text} | base64 -d >/root/manifest.yaml")
            kubectl("apply", "-f", "/root/manifest.yaml")

        def is_ready(pod):
            return any(it["type"] == "Ready" and it["status"] == "True" for it in pod["status"].get("conditions", []))

        def all_ready():
            pods = items("pods", "-A")
            return len(pods) >= 12 and all(map(is_ready, pods))

        def console(instance):
            return lath.aws("ec2", "get-console-output", "--latest", "--instance-id", instance).get("Output", "")

        try:
            wait_for("two nodes", lambda: len(items("nodes")) == 2, patience=300)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{console(first)}\n{console(second)}") from None
        apply((built / "kube-flannel.yml").read_text())
        apply(PLUGINS)
        # Lath's plugin stands behind flannel's once that is there.
        wait_for("flannel on both", lambda: all(lath.exec(
            it, "test", "-s", "/etc/cni/net.d/10-flannel.conflist", "-a", "-x", "/opt/cni/bin/bridge", check=False).returncode == 0
            for it in (first, second)), patience=300)
        apply(POD.format(name="one", node=control) + POD.format(name="two", node=worker))
        try:
            wait_for("all pods", all_ready, patience=300)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{kubectl('get', 'pods', '-A', '-o', 'wide')}\n{kubectl('get', 'events', '-A')}") from None
        pods = {it["metadata"]["name"]: it["status"]["podIP"] for it in items("pods")}
        assert pods["one"].startswith("10.244.0.") and pods["two"].startswith("10.244.1."), pods

        def fetched(pod, url):
            return kubectl("exec", pod, "--", "curl", "-s", "--max-time", "10", url, check=False).stdout.strip()

        def carries():
            return {
                "a pod by its address": fetched("one", f"http://{pods['two']}/") == "two",
                "the way back": fetched("two", f"http://{pods['one']}/") == "one",
                "a Service by its name": fetched("one", "http://two.default.svc.cluster.local/") == "two",
                "a pod from its node": lath.exec(first, "curl", "-s", "--max-time", "10", f"http://{pods['two']}/", check=False).stdout.strip() == "two",
                "a port of the other node": fetched("one", f"http://{other}:8090/") == "two",
                "a whole megabyte": lath.exec(first, "sh", "-c", f"curl -s --max-time 30 -r 0-1048575 http://{pods['two']}/big | wc -c",
                                              check=False).stdout.strip() == "1048576",
            }

        kubectl("exec", "two", "--", "sh", "-c", "head -c 1048576 /dev/zero >/www/big")
        try:
            wait_for("everything to be carried", lambda: all(carries().values()), patience=120)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{carries()}\n{lath.exec(first, 'ip', '-d', 'route')}") from None
        assert "vxlan" in lath.exec(first, "ip", "-d", "link", "show", "flannel.1")

        # Lath dies, and an instance is begun again: flannel finds its way.
        lath.kill()
        lath.start()
        assert all(carries().values()), carries()
        lath.aws("ec2", "reboot-instances", "--instance-ids", second)
        wait_for("the other pod to be another container", lambda: any(
            it["metadata"]["name"] == "two" and it["status"]["containerStatuses"][0]["restartCount"] for it in items("pods")), patience=300)
        wait_for("all pods", all_ready, patience=300)
        pods.update((it["metadata"]["name"], it["status"]["podIP"]) for it in items("pods"))
        kubectl("exec", "two", "--", "sh", "-c", "head -c 1048576 /dev/zero >/www/big")
        wait_for("everything to be carried again", lambda: all(carries().values()), patience=120)

        lath.aws("ec2", "terminate-instances", "--instance-ids", first, second)
        lath.aws("ec2", "wait", "instance-terminated", "--instance-ids", first, second)
        wait_for("every trace of the nodes to be gone", lambda: not lab.traces({first, second}))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
