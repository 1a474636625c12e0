"""The global recipe: two regions, as its script runs them, and what its Kubernetes steps would make, with instances."""

import threading

import pytest
from lathlab import Lath, host_state, wait_for
from lathlab.world import script

pytestmark = pytest.mark.root

RECIPE, APPS = "global-eks-resilience.sh", "global-instances.sh"
REGIONS = ["us-east-1", "us-west-2"]


def known(state):
    pairs = (line.partition("=") for line in (state / "state").read_text().splitlines())
    return {name: value.strip("'") for name, _, value in pairs}


def test_the_global_recipe_runs_with_instances_in_place_of_pods_and_leaves_nothing(tmp_path):
    before = host_state()
    state = tmp_path / "state"
    with Lath(regions=REGIONS) as lath:
        run = lambda name, *phases, **settings: script(lath, name, *phases, directory=state, **settings)
        run(RECIPE, "prepare")
        run(RECIPE, "steps", "1", "2", "3", "4", "5")
        out = run(RECIPE, "validate", "2")
        assert "peering seen from the secondary region: available" in out
        # Every 10 s, the shortest that AWS has, so that the failover and the way back take a minute and not five.
        quick = {"HEALTH_INTERVAL": "10", "HEALTH_THRESHOLD": "1"}
        run(APPS, "apps")
        run(APPS, "steps", **quick)
        out = run(APPS, "validate", **quick)
        assert "primary back" in out
        run(APPS, "teardown")
        run(RECIPE, "cleanup")
        assert not state.exists()
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def test_the_global_recipe_survives_kill_9_of_everything_between_steps(tmp_path):
    before = host_state()
    state = tmp_path / "state"
    with Lath(regions=REGIONS) as lath:
        run = lambda *phases: script(lath, RECIPE, *phases, directory=state)

        def bounce():
            lath.kill_everything()
            lath.start()

        run("prepare")
        for steps in ("1", "2"), ("3",), ("4",):
            run("steps", *steps)
            bounce()
        # In the middle of a step: the CLI's own retries and the script's polling carry it over.
        killing = threading.Timer(2, bounce)
        killing.start()
        # On a busy machine a restart takes longer than the CLI's five attempts. The restart is over before this test is, whatever
        # becomes of the step: what starts later would stay, and be in the way of the next Lath of this worker.
        try:
            script(lath, RECIPE, "steps", "5", directory=state, AWS_RETRY_MODE="standard", AWS_MAX_ATTEMPTS="10")
        finally:
            killing.join()
        wait_for("the peering to work again", lambda: "ok" in run("validate", "2"))
        run("cleanup")
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
