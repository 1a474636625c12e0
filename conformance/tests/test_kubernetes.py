"""Clusters: the whole global recipe, in two regions, and what is left of it."""

import pytest
from lathlab import host_state, kubernetes as lab, wait_for
from lathlab.world import script

pytestmark = pytest.mark.root

RECIPE = "global-eks-resilience.sh"
REGIONS = {"primary": "us-east-1", "secondary": "us-west-2"}
# What its validation says when it has looked at everything.
SEEN = [
    "secondary nodes Ready: 3", "secondary answer through VPC Lattice: secondary-us-west-2",
    "from the primary cluster to the secondary service: secondary-us-west-2", "from the secondary cluster: primary-us-east-1",
    "primary away:", "primary back:"]


class Recipe:
    """The recipe on a Lath, with the Gateway API controller as its step 10 wants one."""

    def __init__(self, kubernetes, lath, state):
        self.kubernetes, self.lath, self.state = kubernetes, lath, state
        self.settings = kubernetes.scripts_environment(state.parent) | {
            "KUBERNETES_VERSION": kubernetes.version, "WAIT_TIMEOUT": "600", "FAILOVER_DRILL": "1",
            "CONTROLLER_MANIFEST": str(lab.GATEWAY_CONTROLLER), "GATEWAY_API_MANIFEST": str(lab.gateway_api())}

    def run(self, *phases, **more):
        try:
            return script(self.lath, RECIPE, *phases, directory=self.state, patience=3000, **self.settings | more)
        except AssertionError:
            print(self.controllers())
            raise

    def kubectl(self, side, *arguments):
        env = self.lath.env() | self.settings | {"KUBECONFIG": str(self.state / "kubeconfig")}
        run = self.kubernetes.kubectl(env, *arguments, context=f"{side}-cluster", check=False)
        return f"-- {side}: kubectl {' '.join(arguments)}\n{run.stdout[-6000:]}{run.stderr[-2000:]}"

    def controllers(self):
        """What there is to read about the controllers, where the recipe failed."""
        there = "-n", "aws-application-networking-system"
        wide = "get", "pods", "-A", "-o", "wide"
        said = "logs", *there, "-l", "control-plane=gateway-api-controller", "--tail=40", "--prefix"
        return "\n".join(self.kubectl(side, *what) for side in REGIONS for what in (wide, said))

    def nodes(self):
        """The instances of both regions that are there."""
        found = set()
        for region in REGIONS.values():
            reservations = self.lath.aws("ec2", "describe-instances", "--region", region)["Reservations"]
            found |= {i["InstanceId"] for r in reservations for i in r["Instances"] if i["State"]["Name"] != "terminated"}
        return found

    def left(self):
        """What the recipe or its controllers made, and did not take away, by the call that lists it."""
        found = {}
        for region in REGIONS.values():
            lattice, ec2 = (self.lath.client(service, region) for service in ("vpc-lattice", "ec2"))
            found |= {
                (region, "networks"): lattice.list_service_networks()["items"],
                (region, "services"): lattice.list_services()["items"],
                (region, "target groups"): lattice.list_target_groups()["items"],
                (region, "interfaces"): ec2.describe_network_interfaces()["NetworkInterfaces"],
                (region, "VPCs"): [it for it in ec2.describe_vpcs()["Vpcs"] if not it["IsDefault"]]}
        route53 = self.lath.client("route53")
        found |= {"zones": route53.list_hosted_zones()["HostedZones"], "health checks": route53.list_health_checks()["HealthChecks"]}
        return {what: items for what, items in found.items() if items}


def test_the_global_recipe_runs_with_clusters_and_leaves_nothing(kubernetes, tmp_path):
    before = host_state()
    with kubernetes.lath(regions=list(REGIONS.values()), archives=[lab.gateway_controller(tmp_path)]) as lath:
        recipe = Recipe(kubernetes, lath, tmp_path / "state")
        recipe.run("prepare")
        recipe.run("steps")
        out = recipe.run("validate", "1", "2", "3", "4", "5")
        # The health checks believe in the primary's end and return after 90 s each, and every look costs half a second of a processor.
        out += recipe.run("validate", "6", POLL="5")
        for words in SEEN:
            assert words in out, out
        nodes = recipe.nodes()
        assert len(nodes) == 6

        recipe.run("cleanup")
        assert not recipe.state.exists()
        assert recipe.left() == {}
        left = []

        def gone():
            left[:] = lab.traces(nodes)
            return not left

        try:
            wait_for("every trace of the nodes to be gone", gone)
        except AssertionError:
            raise AssertionError(left) from None
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
