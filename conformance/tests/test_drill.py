"""Drills on one region: verdicts, reports, and faults that end whoever is killed."""

import json
import os
import signal
import subprocess

import pytest
from lathlab import Lath, binary, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

REGION = "us-east-1"


@pytest.fixture(scope="module")
def shop():
    """A service with two servers and a client that calls it."""
    with Lath("--extended") as lath:
        world = World(lath)
        place = world.place(REGION)
        servers = [place.server("shop-1"), place.server("shop-2", subnet=1)]
        client = place.launch("client")
        group = world.target_group(place, servers, interval_ms=500)
        service = world.service(place, [group["arn"]])
        world.url = f"http://{service['name']}/"
        wait_for("the shop", lambda: world.call(client, world.url))
        yield world, servers, client


def drill(lath, *words, check=True):
    run = subprocess.run([binary(), "drill", *words, "--data-dir", str(lath.data)], capture_output=True, text=True,
                         timeout=300)
    if check and run.returncode not in (0, 3):
        raise AssertionError(f"{words}: {run.returncode}\n{run.stdout}{run.stderr}\n{lath.tail()}")
    return run


@pytest.mark.parametrize("scenario", ["kill-target", "blackhole-target"])
def test_a_drill_hits_its_target_and_undoes_it_and_reports(shop, tmp_path, scenario):
    world, servers, client = shop
    run = drill(world.lath, scenario, "--victim", "shop-1", "--target", world.url, "--from", client["id"], "--rate", "40",
                "--fault", "3s", "--repeat", "2", "--objective", "failed=100000", "--out", str(tmp_path))
    assert "verdict: PASSED" in run.stdout and run.returncode == 0, run.stdout
    report = json.loads((tmp_path / "drill.json").read_text())
    assert len(report["repetitions"]) == 2
    for repetition in report["repetitions"]:
        assert repetition["during"] > 50 and repetition["detection_ns"] and repetition["recovery_ns"] is not None
    page = (tmp_path / "drill.html").read_text()
    assert page.count("<svg") == 2 and "Passed" in page
    assert not list((world.lath.data / "faults").iterdir())
    wait_for("the victim to be back", lambda: (world.call(client, f"http://{servers[0]['private']}/") or {}).get("name") == "shop-1")


def test_objectives_that_are_missed_fail_the_drill(shop):
    world, servers, client = shop
    run = drill(world.lath, "blackhole-target", "--victim", servers[0]["id"], "--target", world.url, "--from", "client",
                "--fault", "2s", "--objective", "detection=1ms", "--output", "json")
    assert run.returncode == 3, run.stderr
    verdict = json.loads(run.stdout)["verdict"]
    assert not verdict["passed"] and verdict["missed"][0].startswith("detection")


@pytest.mark.parametrize("words, said", [
    (["no-such", "--victim", "shop-1", "--target", "http://a/"], "is no scenario: kill-target"),
    (["kill-target", "--victim", "nobody", "--target", "http://a/"], "no instance has the id or the Name tag"),
    (["kill-target", "--victim", "shop-1", "--target", "ftp://a/"], "is no target"),
    (["kill-region", "--victim", REGION, "--target", "http://a/"], "lath serve --regions"),
    (["kill-target", "--victim", "shop-1", "--target", "http://a/", "--objective", "luck=1"], "is no objective"),
    (["kill-target", "--victim", "shop-1", "--target", "http://a/", "--fault", "11m"], "--fault"),
    (["kill-target", "--victim", "shop-1", "--target", "http://a/", "--rate", "0"], "--rate"),
])
def test_bad_input_is_refused_with_a_reason(shop, words, said):
    run = drill(shop[0].lath, *words, check=False)
    assert run.returncode in (1, 2) and said in run.stderr, run.stderr
    assert "panicked" not in run.stderr


def test_a_target_that_does_not_answer_before_the_fault_is_never_hit(shop):
    world, servers, client = shop
    run = drill(world.lath, "kill-target", "--victim", "shop-1", "--target", f"http://{servers[0]['private']}:81/",
                "--from", "client", "--patience", "3s", check=False)
    assert run.returncode == 1 and "before the fault" in run.stderr, run.stderr
    assert world.call(client, f"http://{servers[0]['private']}/")["name"] == "shop-1"


def standing(lath):
    faults = lath.data / "faults"
    return faults.exists() and any(p.suffix == ".done" for p in faults.iterdir())


@pytest.mark.parametrize("scenario", ["kill-target", "blackhole-target"])
def test_a_fault_ends_by_its_deadline_though_drill_and_lath_are_killed(shop, scenario):
    world, servers, client = shop
    lath = world.lath
    words = [binary(), "drill", scenario, "--victim", "shop-1", "--target", world.url, "--from", client["id"],
             "--fault", "2s", "--data-dir", str(lath.data)]
    killed = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the fault", lambda: standing(lath))
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert world.call(client, f"http://{servers[0]['private']}/", "--max-time", "1") is None
    lath.kill()
    lath.start()
    wait_for("the victim to be back", lambda: (world.call(client, f"http://{servers[0]['private']}/") or {}).get("name") == "shop-1",
             patience=120)
    wait_for("the order to be gone", lambda: not list((lath.data / "faults").glob("*.json")))
