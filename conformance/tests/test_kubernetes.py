"""Clusters: the global recipe with the clusters that it is about, in two regions, and what is left of them."""

import pytest
from lathlab import host_state, kubernetes as lab, wait_for
from lathlab.world import script

pytestmark = pytest.mark.root

RECIPE = "global-eks-resilience.sh"
REGIONS = {"primary": "us-east-1", "secondary": "us-west-2"}


def nodes_of(lath):
    """The instances of both regions that are there."""
    found = set()
    for region in REGIONS.values():
        reservations = lath.aws("ec2", "describe-instances", "--region", region)["Reservations"]
        found |= {i["InstanceId"] for r in reservations for i in r["Instances"] if i["State"]["Name"] != "terminated"}
    return found


def test_the_global_recipe_runs_with_clusters_and_leaves_nothing(kubernetes, tmp_path):
    before = host_state()
    state = tmp_path / "state"
    settings = kubernetes.environment() | {"KUBERNETES_VERSION": kubernetes.version, "WAIT_TIMEOUT": "600"}
    with kubernetes.lath(regions=list(REGIONS.values())) as lath:
        run = lambda *phases: script(lath, RECIPE, *phases, directory=state, patience=3000, **settings)
        env = lath.env() | settings | {"KUBECONFIG": str(state / "kubeconfig")}

        def kubectl(side, *arguments, **more):
            return kubernetes.kubectl(env, *arguments, context=f"{side}-cluster", **more)

        run("prepare")
        for step in range(1, 10):
            run("steps", str(step))
        out = run("validate", "1", "2")
        assert "secondary nodes Ready: 3" in out, out
        # The kinds that the Lattice controller would bring: the step's Gateways are kept, and nobody acts on them.
        for side in REGIONS:
            kubectl(side, "apply", "--server-side", "-f", str(lab.gateway_api()))
        run("steps", "11")
        out = run("validate", "5")
        assert "from the secondary cluster" in out, out

        nodes = nodes_of(lath)
        assert len(nodes) == 6

        run("cleanup")
        assert not state.exists()
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
