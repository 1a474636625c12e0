"""The recipe, phase by phase, as its script runs it; and the same with a kill -9 in the middle."""

import subprocess

import pytest
from lathlab import Lath, host_state, recipe, wait_for

pytestmark = pytest.mark.root


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
    assert host_state() == before


def test_the_recipe_survives_kill_9_between_and_within_steps(tmp_path):
    before = host_state()
    with Lath() as lath:
        state = tmp_path / "state"

        def bounce():
            lath.kill()
            lath.start()

        recipe(lath, "prepare", directory=state)
        for step in range(1, 11):
            recipe(lath, "steps", str(step), directory=state)
            if step in (2, 4, 6, 8, 9):
                bounce()
        recipe(lath, "validate", "1", "2", directory=state)
        bounce()
        # And once while a step is under way: the CLI's own retries and the script's polling carry it.
        recipe(lath, "validate", "2", "3", directory=state)
        bounce()
        recipe(lath, "validate", "3", "4", directory=state)
        recipe(lath, "cleanup", directory=state)
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() == before


def test_a_clean_stop_removes_networks_and_processes_and_the_next_start_restores_them(tmp_path):
    before = host_state()
    with Lath() as lath:
        state = tmp_path / "state"
        recipe(lath, "prepare", directory=state)
        recipe(lath, "steps", directory=state)
        recipe(lath, "validate", "2", directory=state)
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
        assert host_state() == before
        lath.start()
        recipe(lath, "validate", directory=state)
        recipe(lath, "cleanup", directory=state)
    assert host_state() == before
    assert subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.count("lath") == 0
