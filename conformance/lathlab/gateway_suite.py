"""Upstream's conformance suite of the Gateway API, run against the controller on a cluster of Lath's, by a program in the VPC:
addresses of Gateways are reached from there alone.
"""

import collections
import json
import os
import pathlib
import re
import subprocess

from . import ROOT, Dead, kubernetes as lab, wait_for
from .gateways import CLASS, KINDS, PATIENCE, Gateways
from .world import OPEN

HERE = ROOT / "conformance" / "gateway-api"
GATEWAY_CLASS = "lath"
PROFILES = ("GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS")
# What the suite says of a test, at the end of it.
OUTCOME = re.compile(r"^ {4}--- (PASS|FAIL|SKIP): TestConformance/(\S+) \(([\d.]+)s\)$", re.M)


def prepared(kubernetes):
    """The suite's programs and the archives of its images; builds what is not there. Raises Dead where that is not possible."""
    programs = os.environ.get("LATH_GATEWAY_SUITE") or lab.made(HERE / "build.sh", lab.CACHE / "gateway-api")
    images = lab.made(HERE / "images.py", programs, kubernetes.programs, lab.CACHE / "gateway-api-images")
    return pathlib.Path(programs), sorted(pathlib.Path(images).glob("*.tar"))


def unpassed():
    """The tests of skipped.txt, by the reason above them."""
    found, reason = {}, ""
    for line in (HERE / "skipped.txt").read_text().splitlines():
        if line.startswith("#"):
            reason = line.lstrip("# ")
        elif line.strip():
            found[line.strip()] = reason
    return found


def has_entrances(lath):
    """Whether a Lath can give Gateways an address."""
    lattice = lath.client("vpc-lattice")
    try:
        made = lattice.create_service(name="probe-of-entrances", tags={"lath:gateway-routes": "none"})
    except lattice.exceptions.ValidationException:
        return True
    # To one that cannot it is a tag like others.
    lattice.delete_service(serviceIdentifier=made["id"])
    return False


class Suite(Gateways):
    """A cluster with the controller and its class, and what the suite needs."""

    def __init__(self, kubernetes, lath, directory, programs, name="gwapi"):
        super().__init__(kubernetes, lath, directory, name=name, nodes=2)
        self.programs, self.directory = programs, directory
        group = self.described()["resourcesVpcConfig"]["clusterSecurityGroupId"]
        self.place.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=OPEN)
        self.kubectl("apply", "--server-side", "-f", str(programs / "crds"), "-f", str(KINDS))
        # A VPC is associated with one service network: all Gateways stand for it, and services of all routes are in it.
        self.begin("--extended", "--gateway-addresses", "--default-service-network", name, "--service-network-override")
        self.apply(CLASS)
        wait_for("the class to be accepted",
                 lambda: self.said("gatewayclass", GATEWAY_CLASS, "Accepted") == ("True", "Accepted"), patience=PATIENCE)
        self.inside = self.kubeconfig_of_the_vpc()

    def kubeconfig_of_the_vpc(self):
        """A kubeconfig for programs in the VPC: with the API server's address there, and a token that lasts."""
        self.kubectl("create", "serviceaccount", "suite", "--namespace=kube-system")
        self.kubectl("create", "clusterrolebinding", "suite", "--clusterrole=cluster-admin", "--serviceaccount=kube-system:suite")
        token = self.kubectl("create", "token", "suite", "--namespace=kube-system", "--duration=24h").strip()
        endpoint = self.object("endpointslice", "kubernetes")
        address, port = endpoint["endpoints"][0]["addresses"][0], endpoint["ports"][0]["port"]
        config = json.loads(self.kubectl("config", "view", "--minify", "--raw", "-o", "json"))
        config["clusters"][0]["cluster"]["server"] = f"https://{address}:{port}"
        config["users"][0]["user"] = {"token": token}
        path = self.directory / "kubeconfig-inside"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    def process_in_the_vpc(self):
        """A host's process in the network namespace of the client."""
        host = os.readlink("/proc/self/ns/net")
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                within = self.client["id"] in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
                links = pathlib.Path(f"/proc/{pid}/net/dev").read_text()
            except OSError:
                continue
            # Its supervisor is in the VPC's own namespace.
            if within and "eth0:" in links and os.readlink(f"/proc/{pid}/ns/net") != host:
                found.append(pid)
        if not found:
            raise Dead("the client has no process")
        return found[0]

    def features(self):
        """What the class says that the controller supports."""
        return [it["name"] for it in self.object("gatewayclass", GATEWAY_CLASS)["status"].get("supportedFeatures", [])]

    def run(self, *arguments, tests=None, patience=3600):
        """Runs the suite, or only these tests of it; gives (seconds, what it wrote of it) by outcome and test."""
        only = "TestConformance" if tests is None else f"^TestConformance$/^({'|'.join(tests)})$"
        command = ["nsenter", f"--net=/proc/{self.process_in_the_vpc()}/ns/net", str(self.programs / "conformance.test"),
                   "-test.v", f"-test.timeout={patience}s", f"-test.run={only}", f"--gateway-class={GATEWAY_CLASS}",
                   f"--conformance-profiles={','.join(PROFILES)}", *arguments]
        log = self.directory / "suite.log"
        with open(log, "w") as out:
            subprocess.run(command, env={"PATH": "/usr/bin:/bin", "KUBECONFIG": str(self.inside), "HOME": str(self.directory)},
                           cwd=self.directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=patience + 60)
        said = log.read_text(errors="replace")
        outcomes = collections.defaultdict(dict)
        for outcome, name, seconds in OUTCOME.findall(said):
            outcomes[outcome][name] = float(seconds)
        if not outcomes:
            raise Dead(f"the suite ran no test:\n{said[-4000:]}")
        return outcomes

    def words_of(self, test):
        """What the suite wrote of a test."""
        text = (self.directory / "suite.log").read_text(errors="replace")
        # Each test's own lines, as Go puts them: from where it runs or goes on to where another does.
        lines, within = [], False
        for line in text.splitlines():
            if line.startswith("=== "):
                within = f"TestConformance/{test}" == line.split()[-1] or f"TestConformance/{test}/" in line
            if within:
                lines.append(line)
        return "\n".join(lines)
