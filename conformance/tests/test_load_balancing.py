"""Circuit breakers, outlier detection, sessions, rate limits and canaries (extensions), with real targets."""

import json

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, forward, path, refusal, unique
from lathlab.policies import MOODY, Mesh, tags

pytestmark = pytest.mark.root

TAG = "lath:load-balancing"


@pytest.fixture(scope="module")
def mesh(extended):
    with Lab(extended) as lab:
        yield Mesh(lab)


@pytest.fixture
def tried(extended, mesh):
    """What a test makes, removed when it ends."""
    for port in MOODY:
        mesh.mood(port, 200)
    with Lab(extended) as lab:
        yield lab


class Group:
    """A service that forwards to one group of moody servers."""

    def __init__(self, lab, mesh, *ports):
        self.lab, self.mesh = lab, mesh
        self.id = lab.targets(mesh.vpc, *((mesh.flaky_address, port) for port in ports))
        self.arn = lab.lattice.get_target_group(targetGroupIdentifier=self.id)["arn"]
        self.service, name = lab.service(mesh.network)
        self.listener = lab.listener(self.service, forward(self.id))
        self.url = f"http://{name}"
        lab.eventually(mesh.client, self.url + "/")

    def policy(self, policy):
        self.lab.lattice.tag_resource(resourceArn=self.arn, tags={TAG: json.dumps(policy, separators=(",", ":"))})

    def rule(self, policy):
        """A traffic policy of the default action."""
        arn = self.lab.lattice.get_listener(serviceIdentifier=self.service, listenerIdentifier=self.listener)["arn"]
        self.lab.lattice.tag_resource(resourceArn=arn, tags=tags(policy))

    def curl(self, where="/", *options):
        return self.lab.curl(self.mesh.client, self.url + where, *options)

    def ejected(self):
        groups = self.lab.lath.status()["target_groups"]
        targets = next(group["targets"] for group in groups if group["id"] == self.id)
        return {target["port"]: target["ejection"] for target in targets if target["ejection"]}


def test_strict_mode_knows_no_policies(lab):
    vpc, *_ = lab.vpc()
    arn = lab.lattice.get_target_group(targetGroupIdentifier=lab.targets(vpc))["arn"]
    policy = json.dumps({"circuitBreakers": {"maxRequests": 1}})
    assert refusal(lab.lattice.tag_resource, resourceArn=arn, tags={TAG: policy}) == ("ValidationException", 400)


def test_a_target_that_fails_gets_nothing_for_a_while_and_comes_back(tried, mesh, extended):
    group = Group(tried, mesh, *MOODY[:2])
    bad, good = MOODY[:2]
    group.policy({"outlierDetection": {
        "consecutive5xx": 3, "interval": "1s", "baseEjectionTime": "6s", "maxEjectionPercent": 50}})
    mesh.mood(bad, 500)

    def ejected():
        group.curl()
        return group.ejected().get(bad)
    why = wait_for("the ejection", ejected)
    assert "3 times one after another" in why["reason"] and why["times"] == 1 and why["since"] < why["until"]
    text = extended.cli("status", "--data-dir", str(extended.data))
    assert "ejected from" in text and "one after another" in text, text
    assert f'lath_target_group_targets_ejected{{target_group="{group.id}"}} 1' in extended.metrics()
    mesh.mood(bad, 200)
    wait_for("both to answer", lambda: {group.curl()[1] for _ in range(6)} == {str(bad), str(good)})
    wait_for("no ejection", lambda: group.ejected() == {})
    assert all(group.curl()[0] == 200 for _ in range(10))


def test_a_breaker_refuses_what_is_too_much(tried, mesh, extended):
    group = Group(tried, mesh, MOODY[0])
    group.policy({"circuitBreakers": {"maxRequests": 2}})

    def overflow():
        one = f"curl -s -o /dev/null -w '%{{http_code}} ' --max-time 20 {group.url}/wait/0.5 &"
        out = tried.run(mesh.client, "sh", "-c", 6 * one + " wait").split()
        return sorted(out) if "503" in out else None
    got = wait_for("a refusal", overflow)
    assert set(got) == {"200", "503"} and got.count("200") >= 2, got
    overflows = f'lath_target_group_circuit_breaker_overflows_total{{target_group="{group.id}",limit="maxRequests"}} '
    count = next(line for line in extended.metrics().splitlines() if line.startswith(overflows))
    assert int(count.rpartition(" ")[2]) >= 1
    assert group.curl() == (200, str(MOODY[0]))
    # One connection carries all of them, one after another.
    group.policy({"circuitBreakers": {"maxConnections": 1}})
    one = f"curl -s -o /dev/null -w '%{{http_code}} ' --max-time 20 {group.url}/ &"
    assert tried.run(mesh.client, "sh", "-c", 8 * one + " wait").split() == 8 * ["200"]


def jar(lab, mesh, url, name):
    """One request with a cookie jar in the client."""
    keeps = ("-c", f"/tmp/{name}", "-b", f"/tmp/{name}")
    return lab.curl(mesh.client, url, *keeps)


def test_a_cookie_keeps_its_client_at_a_target(tried, mesh, extended):
    group = Group(tried, mesh, *MOODY)
    group.rule({"sessionPersistence": {"sessionName": "sid", "absoluteTimeout": "1h",
                                       "cookieConfig": {"lifetimeType": "Permanent"}}})
    name = unique("jar")

    def kept():
        jar(tried, mesh, group.url + "/", name)
        return "sid" in tried.run(mesh.client, "sh", "-c", f"cat /tmp/{name} || true")
    wait_for("the cookie", kept)
    text = tried.run(mesh.client, "cat", f"/tmp/{name}")
    assert mesh.flaky_address not in text and "#HttpOnly_" in text, text
    status, mine = jar(tried, mesh, group.url + "/", name)
    assert status == 200
    assert {jar(tried, mesh, group.url + "/", name) for _ in range(8)} == {(200, mine)}
    assert {group.curl()[1] for _ in range(30)} == set(map(str, MOODY)), "others are spread"
    # Sessions are in no process: they outlive its death.
    extended.kill()
    extended.start()
    tried.eventually(mesh.client, group.url + "/")
    assert jar(tried, mesh, group.url + "/", name) == (200, mine)
    # The target goes: another, and again that one.
    tried.deregister(group.id, (mesh.flaky_address, int(mine)))

    def moved():
        status, other = jar(tried, mesh, group.url + "/", name)
        return other if status == 200 and other != mine else None
    other = wait_for("another target", moved)
    assert {jar(tried, mesh, group.url + "/", name) for _ in range(8)} == {(200, other)}


def test_a_rate_limit_answers_429_and_says_when_to_come_again(tried, mesh, extended):
    group = Group(tried, mesh, MOODY[0])
    group.rule({"rateLimits": [{"requests": 3, "per": "1h", "key": "header", "header": "x-user"}]})
    count = iter(range(1000))

    def limited():
        user = f"probe-{next(count)}"
        return [group.curl("/", "-H", f"x-user: {user}")[0] for _ in range(4)] == [200, 200, 200, 429]
    wait_for("the limit", limited)
    for _ in range(3):
        assert group.curl("/", "-H", "x-user: one")[0] == 200
    head = tried.run(mesh.client, "curl", "-sS", "-o", "/dev/null", "-D", "-", "-H", "x-user: one", group.url + "/").lower()
    assert " 429 " in head.splitlines()[0] and "retry-after: " in head and "x-ratelimit-remaining: 0" in head, head
    assert group.curl("/", "-H", "x-user: two")[0] == 200
    refused = [line for line in extended.metrics().splitlines() if line.startswith("lath_service_rate_limited_total{")]
    assert any(group.service in line and not line.endswith(" 0") for line in refused), refused


class Canary:
    """A rule from a stable group to a new one."""

    def __init__(self, lab, mesh):
        self.lab, self.mesh = lab, mesh
        self.stable, self.new = (lab.targets(mesh.vpc, (mesh.flaky_address, port)) for port in MOODY[:2])
        self.service, name = lab.service(mesh.network)
        self.listener = lab.listener(self.service, forward(self.stable))
        self.rule = lab.lattice.create_rule(
            serviceIdentifier=self.service, listenerIdentifier=self.listener, name=unique("way"), priority=1,
            match={"httpMatch": path("prefix", "/")}, action=forward((self.stable, 100), (self.new, 0)))
        self.url = f"http://{name}"
        lab.eventually(mesh.client, self.url + "/")

    def begin(self, *steps, **analysis):
        plan = {"targetGroupIdentifier": self.new, "steps": list(steps)}
        if analysis:
            plan["analysis"] = analysis
        self.lab.lattice.tag_resource(resourceArn=self.rule["arn"], tags=tags(plan, "lath:canary"))

    def weights(self):
        rule = self.lab.lattice.get_rule(serviceIdentifier=self.service, listenerIdentifier=self.listener,
                                         ruleIdentifier=self.rule["id"])
        groups = rule["action"]["forward"]["targetGroups"]
        weights = {group["targetGroupIdentifier"]: group["weight"] for group in groups}
        return weights[self.stable], weights[self.new]

    def status(self):
        canaries = self.lab.lath.status()["canaries"]
        return next(canary for canary in canaries if canary["rule"] == self.rule["arn"])

    def ask(self, times=10):
        for _ in range(times):
            self.lab.curl(self.mesh.client, self.url + "/")


def test_a_canary_goes_on_while_answers_are_good_through_a_kill(tried, mesh, extended):
    canary = Canary(tried, mesh)
    canary.begin({"weight": 40, "pause": "3s"}, {"weight": 80, "pause": "1s"}, {"weight": 100},
                 errorPercent=10, minimumRequests=3, interval="1m")
    assert canary.weights() == (60, 40)
    assert (canary.status()["phase"], canary.status()["step"]) == ("running", 1)
    extended.kill()
    extended.start()
    assert canary.weights() in {(60, 40), (20, 80)}, "nothing is lost, and nothing jumps"
    seen = set()

    def succeeded():
        canary.ask()
        seen.add(canary.weights())
        return canary.status()["phase"] == "succeeded"
    wait_for("the canary to succeed", succeeded)
    assert canary.weights() == (0, 100) and seen <= {(60, 40), (20, 80), (0, 100)}, seen
    wait_for("the new group alone", lambda: {
        tried.curl(mesh.client, canary.url + "/")[1] for _ in range(6)} == {str(MOODY[1])})


def test_a_canary_that_answers_badly_is_rolled_back(tried, mesh, extended):
    mesh.mood(MOODY[1], 500)
    canary = Canary(tried, mesh)
    canary.begin({"weight": 50, "pause": "1h"}, {"weight": 100}, errorPercent=10, minimumRequests=5, interval="1m")

    def over():
        canary.ask()
        return canary.status()["phase"] == "rolled back"
    wait_for("the roll-back", over)
    assert canary.weights() == (100, 0)
    assert "5xx" in canary.status()["reason"]
    assert canary.status()["reason"] in extended.cli("status", "--data-dir", str(extended.data))
    # A change by hand ends another one.
    canary.begin({"weight": 10, "pause": "1h"}, {"weight": 100})
    tried.lattice.update_rule(serviceIdentifier=canary.service, listenerIdentifier=canary.listener,
                              ruleIdentifier=canary.rule["id"], action=forward((canary.stable, 7), (canary.new, 3)))
    assert canary.status()["phase"] == "ended" and canary.weights() == (7, 3)
