"""Clusters that their user makes by kubeadm: the recipe of IP targets whose pods are real, another node by `kubeadm join`,
and a pod with an address of the VPC."""

import json

import pytest
from lathlab import host_state, kubernetes as lab, wait_for
from lathlab.world import script

pytestmark = pytest.mark.root

RECIPE = "ip-targets.sh"
# Instances that run containers are those of the image of EKS's nodes.
AMI = "amazon-eks-node-al2023-x86_64-standard-*"
JOINS = """#!/bin/bash
set -e
sysctl -w net.ipv4.ip_forward=1
systemctl enable kubelet
kubeadm join {endpoint} --token {token} --discovery-token-unsafe-skip-ca-verification
"""
# One whose address is its own, on the node that joined.
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  nodeName: {node}
  containers:
  - name: web
    image: busybox
    command: [sh, -c, mkdir /www && echo own > /www/index.html && exec httpd -f -p 80 -h /www]
"""


def test_the_recipe_runs_with_clusters_of_kubeadm(kubernetes, tmp_path):
    before = host_state()
    state = tmp_path / "state"
    with kubernetes.lath(kubeadm=True) as lath:
        run = lambda *phases: script(lath, RECIPE, *phases, directory=state, NODE_BOOTSTRAP="kubeadm",
                                      AMI_NAME=AMI)
        run("prepare")
        run("steps", "1", "2", "3", "4")
        known = dict(line.split("=", 1) for line in (state / "state").read_text().splitlines())
        first, other = known["INSTANCE_A_ID"], known["INSTANCE_B_ID"]

        def kubectl(*arguments, **more):
            return lath.exec(first, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments, **more)

        def ready():
            said = kubectl("get", "nodes", "-o", "go-template={{range .items}}{{$n := .metadata.name}}{{range .status.conditions}}"
                           "{{if and (eq .type \"Ready\") (eq .status \"True\")}}{{$n}} {{end}}{{end}}{{end}}")
            return set(said.split())

        def console(instance):
            return lath.aws("ec2", "get-console-output", "--latest", "--instance-id", instance).get("Output", "")

        try:
            wait_for("a cluster", ready, patience=240)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{console(first)}") from None

        # What systemctl says is so, and a program that is not there is not said to be.
        assert lath.exec(first, "systemctl", "is-active", "kubelet", "containerd").split() == ["active"] * 2
        assert lath.exec(first, "systemctl", "is-enabled", "kubelet").strip() == "enabled"
        assert lath.exec(first, "systemctl", "start", "sshd", check=False).returncode == 5
        assert lath.exec(first, "dnf", "install", "-y", "emacs-no-such", check=False).returncode == 1

        # A node joins, with addresses for pods from a prefix of its interface, as on AWS.
        token = lath.exec(first, "kubeadm", "token", "create").split()[-1]
        address = lath.aws("ec2", "describe-instances", "--instance-ids", first)["Reservations"][0]["Instances"][0]
        user_data = tmp_path / "join.sh"
        user_data.write_text(JOINS.format(endpoint=f"{address['PrivateIpAddress']}:6443", token=token))
        joins = lath.aws("ec2", "run-instances", "--image-id", known["AMI_ID"], "--instance-type", "t3.medium",
                         "--user-data", f"file://{user_data}", "--subnet-id", known["SUBNET_A_ID"],
                         "--security-group-ids", known["SG_A_ID"])["Instances"][0]
        second, name = joins["InstanceId"], joins["PrivateDnsName"].split(".")[0]
        lath.aws("ec2", "assign-private-ip-addresses", "--ipv4-prefix-count", "1", "--network-interface-id",
                 joins["NetworkInterfaces"][0]["NetworkInterfaceId"])
        # Meanwhile the recipe goes on: the pods of both clusters become targets.
        run("steps", "5", "6", "7", "8", "9")
        try:
            wait_for("the node to join", lambda: name in ready(), patience=240)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{console(second)}") from None
        pod = tmp_path / "pod.yaml"
        pod.write_text(POD.format(node=name))
        lath.exec(first, "bash", "-c", f"cat >/root/pod.yaml <<'END'\n{pod.read_text()}END")
        kubectl("apply", "-f", "/root/pod.yaml")
        kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=50s")
        own = kubectl("get", "pod", "web", "-o", "jsonpath={.status.podIP}")
        assert own.startswith("10.0.1."), own
        assert lath.exec(first, "curl", "-s", "--max-time", "10", f"http://{own}/").strip() == "own"
        assert json.loads(kubectl("get", "pod", f"frontend-{address['PrivateDnsName'].split('.')[0]}", "-o", "json"))

        out = run("validate", "1", "2", "3")
        assert "backend called from VPC A: LATTICE-PROBE backend got [backend]" in out

        # Lath dies, and the clusters do not notice.
        lath.kill()
        lath.start()
        assert ready() == {name, address["PrivateDnsName"].split(".")[0]}
        lath.aws("ec2", "terminate-instances", "--instance-ids", second)
        lath.aws("ec2", "wait", "instance-terminated", "--instance-ids", second)
        run("cleanup")
        wait_for("every trace of the nodes to be gone", lambda: not lab.traces({first, other, second}))
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
