"""The recipe, phase by phase, as its script runs it; and the same with kill -9 again and again."""

import threading

import pytest
from lathlab import Lath, host_state, recipe, wait_for

pytestmark = pytest.mark.root

# What is compared with `- before`: that nothing new is left. Another Lath on this machine may end meanwhile, so that
# things which were there before are gone.


def test_the_recipe_runs_to_its_end_and_leaves_nothing(tmp_path):
    before = host_state()
    with Lath() as lath:
        state = tmp_path / "state"
        recipe(lath, "prepare", directory=state)
        recipe(lath, "steps", directory=state)
        out = recipe(lath, "validate", directory=state)
        assert "backend called from VPC A: LATTICE-PROBE backend got [backend]" in out
        recipe(lath, "cleanup", directory=state)
        assert not state.exists()
        wait_for("instances to be gone", lambda: lath.status()["instances"] == [])
        status = lath.status()
        assert (status["services"], status["service_networks"], status["target_groups"]) == ([], [], [])
        wait_for("every mount and process to be gone", lambda: lath.remnants() == [] or lath.remnants())
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def test_the_recipe_survives_kill_9_between_and_within_steps_and_a_clean_stop(tmp_path):
    before = host_state()
    with Lath() as lath:
        state = tmp_path / "state"

        def bounce():
            lath.kill()
            lath.start()

        recipe(lath, "prepare", directory=state)
        for steps in ("1", "2"), ("3", "4"), ("5", "6"), ("7", "8"), ("9",), ("10",):
            recipe(lath, "steps", *steps, directory=state)
            bounce()
        recipe(lath, "validate", "1", "2", directory=state)
        # In the middle of a step: the CLI's own retries and the script's polling carry it over.
        probing = threading.Timer(6, bounce)
        probing.start()
        # The restart is over before this test is, whatever becomes of the step.
        try:
            recipe(lath, "validate", "3", directory=state, AWS_RETRY_MODE="standard", AWS_MAX_ATTEMPTS="10")
        finally:
            probing.join()
        # What was counted in the second before a kill is lost: requests of a time without one are looked for.
        recipe(lath, "validate", "3", "4", directory=state)
        # A clean stop takes everything out of the kernel, and the next start puts it back. For the instances
        # that is a reboot: user data ran at the first boot only, so what it started is started by hand.
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
        assert host_state() - before == set()
        lath.start()
        known = dict(line.split("=", 1) for line in (state / "state").read_text().splitlines())
        for instance, port in (known["INSTANCE_A_ID"], 8080), (known["INSTANCE_B_ID"], 9090):
            wait_for(f"{instance} to run", lambda: {"id": instance, "state": "running"}.items()
                     <= next(i for i in lath.status()["instances"] if i["id"] == instance).items())
            lath.exec(instance, "bash", "-c",
                      f"cd /srv/pod; nohup python3 -m http.server {port} >/dev/null 2>&1 </dev/null &")
        recipe(lath, "validate", "2", "3", directory=state)
        recipe(lath, "cleanup", directory=state)
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()
