"""Requests from instances, through the service network, to instances: what the caller and the backend see."""

import collections
import json

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow, fixed, forward, header, path, unique

pytestmark = pytest.mark.root

PORTS = (8001, 8002, 8003)


class Mesh:
    """A client in VPC A, backends in VPC B (the same CIDR), a service network over both."""

    def __init__(self, lab):
        self.vpc_a, subnet_a, self.group_a = lab.vpc("10.7.0.0/16", "10.7.1.0/24")
        self.vpc_b, subnet_b, _ = lab.vpc("10.7.0.0/16", "10.7.1.0/24")
        self.group_b = lab.group(self.vpc_b, allow("tcp", (8000, 8100), cidr="169.254.171.0/24"))
        self.client, self.client_address = lab.instance(subnet_a, self.group_a)
        self.backend, self.address = lab.echo(subnet_b, self.group_b, *PORTS)
        self.network = lab.network(self.vpc_a)


@pytest.fixture(scope="module")
def mesh(lath):
    with Lab(lath) as lab:
        yield Mesh(lab)


def serve(lab, mesh, *ports):
    """A service whose default action forwards to these ports of the backend: (service, listener, url)."""
    group = lab.targets(mesh.vpc_b, *((mesh.address, port) for port in ports))
    service, name = lab.service(mesh.network)
    listener = lab.listener(service, forward(group))
    lab.eventually(mesh.client, f"http://{name}/")
    return service, listener, f"http://{name}"


def groups(lab, mesh, *ports):
    return [lab.targets(mesh.vpc_b, (mesh.address, port)) for port in ports]


def test_rules_choose_by_method_path_and_header_in_order_of_priority(lab, mesh):
    service, listener, url = serve(lab, mesh, 8001)
    rules = [
        (10, path("exact", "/exact"), fixed(404)),
        (20, path("prefix", "/pre"), fixed(500)),
        (30, {"method": "DELETE"}, fixed(404)),
        (40, path("exact", "/CaseMatters", case=True), fixed(500)),
        (50, header("x-canary", "exact", "yes"), fixed(404)),
        (60, header("x-canary", "prefix", "beta-"), fixed(500)),
        (70, header("x-canary", "contains", "middle"), fixed(404)),
        (80, header("x-case", "exact", "Exact", case=True), fixed(500)),
        (90, {"method": "POST"} | path("prefix", "/both") | header("x-both", "exact", "1"), fixed(404)),
        # Never reached: the first match decides.
        (95, path("exact", "/exact"), fixed(500)),
    ]
    for priority, match, action in rules:
        lab.rule(service, listener, priority, match, action)
    lab.eventually(mesh.client, url + "/both", "-X", "POST", "-H", "x-both: 1", status=404)
    table = [
        ("no rule", "/", (), 200),
        ("an exact path", "/exact", (), 404),
        ("an exact path with a query", "/exact?a=b", (), 404),
        ("an exact path, insensitively", "/EXACT", (), 404),
        ("not the exact path", "/exact/more", (), 200),
        ("a prefix", "/pre/more", (), 500),
        ("a prefix of the segment", "/prefix", (), 500),
        ("another method", "/", ("-X", "DELETE"), 404),
        ("a path in its case", "/CaseMatters", (), 500),
        ("a path in another case", "/casematters", (), 200),
        ("a header", "/", ("-H", "x-canary: yes"), 404),
        ("a header's name in another case", "/", ("-H", "X-Canary: yes"), 404),
        ("a header's value in another case", "/", ("-H", "x-canary: YES"), 404),
        ("a header's prefix", "/", ("-H", "x-canary: beta-2"), 500),
        ("a header that contains", "/", ("-H", "x-canary: the middle of"), 404),
        ("a header in its case", "/", ("-H", "x-case: Exact"), 500),
        ("a header in another case", "/", ("-H", "x-case: exact"), 200),
        ("all of three", "/both/x", ("-X", "POST", "-H", "x-both: 1"), 404),
        ("two of three", "/both/x", ("-X", "POST"), 200),
    ]
    wrong = []
    for name, where, options, want in table:
        got = lab.curl(mesh.client, url + where, *options)[0]
        if got != want:
            wrong.append((name, got, want))
    assert wrong == []


def test_weights_share_requests_and_a_change_of_weights_shows(lab, mesh):
    service, listener, url = serve(lab, mesh, 8001)
    one, two = groups(lab, mesh, 8002, 8003)
    lab.lattice.update_listener(serviceIdentifier=service, listenerIdentifier=listener,
                                defaultAction=forward((one, 90), (two, 10)))
    wait_for("the new action", lambda: lab.ask(mesh.client, url)["name"] != "port-8001")
    count = counted(lab, mesh, url, 400)
    assert set(count) == {"port-8002", "port-8003"}
    # Binomial(400, 0.1): five standard deviations to either side.
    assert 10 <= count["port-8003"] <= 70, count
    lab.lattice.update_listener(serviceIdentifier=service, listenerIdentifier=listener,
                                defaultAction=forward((one, 0), (two, 1)))
    wait_for("weight 0", lambda: set(counted(lab, mesh, url, 20)) == {"port-8003"})


def counted(lab, mesh, url, times):
    """How often each server answered."""
    out = lab.run(mesh.client, "bash", "-c", f"for i in $(seq {times}); do echo {url}/; done | "
                  "xargs curl -sS --max-time 20 -w '\\n'")
    return collections.Counter(json.loads(line)["name"] for line in out.splitlines() if line)


def test_requests_go_round_the_targets_of_a_group(lab, mesh):
    _, _, url = serve(lab, mesh, *PORTS)
    count = counted(lab, mesh, url, 90)
    assert set(count) == {f"port-{port}" for port in PORTS}
    # Round robin per proxy thread: near to even, whatever the number of threads.
    assert min(count.values()) >= 15, count


def test_fixed_responses_have_no_body(lab, mesh):
    service, name = lab.service(mesh.network)
    lab.listener(service, fixed(500))
    assert lab.eventually(mesh.client, f"http://{name}/", status=500) == ""


def test_a_host_that_is_not_in_the_network_is_not_found(lab, mesh):
    _, _, url = serve(lab, mesh, 8001)
    name = url.removeprefix("http://")
    table = [
        ("its name", name, 200), ("its name with the port", f"{name}:80", 200), ("in capitals", name.upper(), 200),
        ("an unknown name", "nobody.example.com", 404), ("an address", "169.254.171.0", 404),
    ]
    wrong = [(what, got, want) for what, host, want in table
             if (got := lab.curl(mesh.client, url, "-H", f"Host: {host}")[0]) != want]
    assert wrong == []


def test_a_custom_domain_name_is_served(lab, mesh):
    group = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network, customDomainName="app.example.test")
    lab.listener(service, forward(group))
    lab.eventually(mesh.client, f"http://{name}/", "-H", "Host: app.example.test")


def test_http2_with_prior_knowledge_works_beside_http1(lab, mesh):
    _, _, url = serve(lab, mesh, 8001)
    for option in ("--http2-prior-knowledge", "--http1.1", "--http1.0"):
        seen = lab.ask(mesh.client, url + "/h", option, "-d", "body")
        assert (seen["method"], seen["length"]) == ("POST", 4), option
    run = lab.run(mesh.client, "curl", "-s", "-o", "/dev/null", "-w", "%{http_version}", "--http2-prior-knowledge", url)
    assert run == "2"


def test_the_backend_sees_where_a_request_came_from(lab, mesh):
    service, _, url = serve(lab, mesh, 8001)
    seen = lab.ask(mesh.client, url + "/a/b?c=%20d", "-H", "x-mine: kept", "-H", "X-Forwarded-For: 1.2.3.4")
    headers = collections.defaultdict(list)
    for name, value in seen["headers"]:
        headers[name].append(value)
    assert seen["path"] == "/a/b?c=%20d"
    assert headers["x-mine"] == ["kept"]
    assert headers["host"] == [url.removeprefix("http://")]
    assert headers["x-forwarded-for"][-1].split(",")[-1].strip() == mesh.client_address, headers
    assert headers["x-forwarded-proto"] == ["http"]
    assert headers["x-forwarded-port"] == ["80"]
    assert any(mesh.vpc_a in value for value in headers["x-amzn-source-vpc"]), headers
    lattice = {name: values for name, values in headers.items() if name.startswith("x-amzn-lattice")}
    assert any(mesh.network in value for values in lattice.values() for value in values), headers
    # The proxy's addresses, never the caller's: VPCs may overlap.
    assert seen["peer"].startswith("169.254."), seen


def test_callers_cannot_forge_what_lattice_tells_the_backend(lab, mesh):
    _, _, url = serve(lab, mesh, 8001)
    seen = lab.ask(mesh.client, url, "-H", "x-amzn-source-vpc: vpc-forged", "-H", "x-amzn-lattice-network: forged",
                   "-H", "x-amzn-lattice-identity: Principal=forged")
    assert "forged" not in json.dumps(seen["headers"]), seen


def test_statuses_and_bodies_of_the_backend_reach_the_caller(lab, mesh):
    _, _, url = serve(lab, mesh, 8001)
    for status in (201, 204, 302, 400, 404, 503):
        assert lab.curl(mesh.client, f"{url}/status/{status}")[0] == status
    size = 20 << 20
    out = lab.run(mesh.client, "bash", "-c", f"curl -sS --max-time 60 {url}/big/{size} | wc -c")
    assert int(out) == size
    for framing in ((), ("-H", "Transfer-Encoding: chunked")):
        out = lab.run(mesh.client, "bash", "-c",
                      f"head -c {size} /dev/zero | curl -sS --max-time 60 --data-binary @- {' '.join(map(repr, framing))} {url}/up")
        assert json.loads(out)["length"] == size, framing
    assert lab.run(mesh.client, "curl", "-sS", "-I", "--max-time", "20", url + "/").startswith("HTTP/1.1 200")


def test_a_websocket_upgrade_does_not_happen(lab, mesh):
    # AWS documents only that HTTP listeners have no WebSockets. `Upgrade` is hop-by-hop: a proxy that will not
    # switch leaves it out (RFC 9110, 7.8) and forwards the request as the plain one that it then is.
    _, _, url = serve(lab, mesh, 8001)
    seen = lab.ask(mesh.client, url + "/chat", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
                   "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "-H", "Sec-WebSocket-Version: 13")
    headers = {name: value for name, value in seen["headers"]}
    assert "upgrade" not in headers and "upgrade" not in headers.get("connection", "").lower(), headers
    assert lab.curl(mesh.client, url, "-X", "CONNECT")[0] in (400, 405)


def test_ambiguous_requests_are_refused(lab, mesh):
    _, _, url = serve(lab, mesh, 8001)
    name = url.removeprefix("http://")
    head = f"Host: {name}\\r\\n"
    table = [
        ("two lengths", f"POST / HTTP/1.1\\r\\n{head}Content-Length: 3\\r\\nContent-Length: 4\\r\\n\\r\\nabcd"),
        ("length and chunks", f"POST / HTTP/1.1\\r\\n{head}Content-Length: 3\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n"),
        ("no host", "GET / HTTP/1.1\\r\\n\\r\\n"),
        ("two hosts", f"GET / HTTP/1.1\\r\\n{head}Host: other\\r\\n\\r\\n"),
        ("a space before the colon", f"GET / HTTP/1.1\\r\\n{head}X-A : b\\r\\n\\r\\n"),
        ("no sense", "NONSENSE\\r\\n\\r\\n"),
    ]
    for what, request in table:
        out = lab.run(mesh.client, "bash", "-c",
                      f"exec 3<>/dev/tcp/{name}/80; printf '{request}' >&3; timeout 10 head -c 12 <&3")
        assert out.startswith("HTTP/1.1 400"), (what, out)


def test_a_dead_target_is_passed_over_when_another_lives(lab, mesh):
    # Nothing listens at 8099; no health check would tell.
    group = lab.targets(mesh.vpc_b, (mesh.address, 8001), (mesh.address, 8099))
    service, name = lab.service(mesh.network)
    lab.listener(service, forward(group))
    lab.eventually(mesh.client, f"http://{name}/")
    assert counted(lab, mesh, f"http://{name}", 40) == {"port-8001": 40}


def test_no_target_at_all_is_a_503(lab, mesh):
    group = lab.targets(mesh.vpc_b)
    service, name = lab.service(mesh.network)
    lab.listener(service, forward(group))
    lab.eventually(mesh.client, f"http://{name}/", status=503)


def test_health_decides_who_serves_and_when_all_are_ill_all_serve(lab, mesh):
    check = {"enabled": True, "protocol": "HTTP", "path": "/", "healthCheckIntervalSeconds": 5,
             "healthCheckTimeoutSeconds": 1, "healthyThresholdCount": 2, "unhealthyThresholdCount": 2,
             "matcher": {"httpCode": "200"}}
    good, dead = (mesh.address, 8001), (mesh.address, 8099)
    group = lab.targets(mesh.vpc_b, good, dead, check=check)
    service, name = lab.service(mesh.network)
    lab.listener(service, forward(group))
    assert lab.health(group).keys() == {good, dead}
    wait_for("health", lambda: lab.health(group) == {good: "HEALTHY", dead: "UNHEALTHY"} or None)
    assert counted(lab, mesh, f"http://{name}", 20) == {"port-8001": 20}
    reasons = {t["port"]: t.get("reasonCode") for t in lab.lattice.list_targets(targetGroupIdentifier=group)["items"]}
    assert reasons[8099], reasons
    # A status that no target gives makes all of them ill: traffic goes on (fail open).
    lab.lattice.update_target_group(targetGroupIdentifier=group, healthCheck=check | {"matcher": {"httpCode": "299"}})
    wait_for("all to be ill", lambda: set(lab.health(group).values()) == {"UNHEALTHY"})
    assert lab.ask(mesh.client, f"http://{name}/")["name"] == "port-8001"


LOOP = """
import http.client, json, sys, time
host, seen, bad = sys.argv[1], {}, []
end = time.monotonic() + float(sys.argv[2])
connection = None
while time.monotonic() < end:
    try:
        connection = connection or http.client.HTTPConnection(host, 80, timeout=20)
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200: bad.append(answer.status)
        else:
            who = json.loads(body)["name"]
            seen[who] = seen.get(who, 0) + 1
        if answer.will_close: connection = None
    except Exception as error:
        bad.append(repr(error)); connection = None
print(json.dumps({"seen": seen, "bad": bad}))
"""


def test_no_request_is_lost_while_targets_and_rules_change(lab, mesh):
    import threading
    group = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network)
    listener = lab.listener(service, forward(group))
    lab.eventually(mesh.client, f"http://{name}/")
    results = []

    def client():
        results.append(json.loads(lab.run(mesh.client, "/usr/bin/python3", "-c", LOOP, name, "12")))

    clients = [threading.Thread(target=client) for _ in range(3)]
    for one in clients:
        one.start()
    rounds = 0
    while any(one.is_alive() for one in clients):
        old, new = ((8001, 8002), (8002, 8001))[rounds % 2]
        lab.register(group, (mesh.address, new))
        lab.deregister(group, (mesh.address, old))
        rule = lab.rule(service, listener, 1 + rounds % 90, path("prefix", f"/never-{rounds}"), fixed(404))
        if rounds % 2:
            lab.lattice.delete_rule(serviceIdentifier=service, listenerIdentifier=listener, ruleIdentifier=rule)
        else:
            lab.later(lab.lattice.delete_rule, serviceIdentifier=service, listenerIdentifier=listener, ruleIdentifier=rule)
        rounds += 1
        if rounds >= 16:  # ten rules a listener at most
            break
    for one in clients:
        one.join()
    assert len(results) == 3
    assert [r["bad"] for r in results] == [[], [], []], results
    seen = collections.Counter()
    for result in results:
        seen.update(result["seen"])
    assert rounds >= 4 and len(seen) == 2, (rounds, seen)


def test_a_request_in_flight_outlives_its_target_and_its_rule(lab, mesh):
    import threading
    group = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network)
    listener = lab.listener(service, fixed(404))
    rule = lab.rule(service, listener, 1, path("prefix", "/slow"), forward(group))
    lab.eventually(mesh.client, f"http://{name}/slow")
    got = []
    slow = threading.Thread(target=lambda: got.append(lab.curl(mesh.client, f"http://{name}/slow")))
    slow.start()
    requests = lambda: sum(s["requests"] for s in lab.lath.status()["services"] if s["id"] == service)  # noqa: E731
    # The rule first: a request between the end of the only target and that of its rule would rightly be a 503.
    lab.lattice.delete_rule(serviceIdentifier=service, listenerIdentifier=listener, ruleIdentifier=rule)
    lab.deregister(group, (mesh.address, 8001))
    lab.eventually(mesh.client, f"http://{name}/slow", status=404)
    slow.join()
    assert requests() >= 2
    # Either it was on its way before the change (200), or it came after it (404); never lost.
    assert got[0][0] in (200, 404), got


def test_instances_are_targets_by_their_id(lab, mesh):
    group = lab.targets(mesh.vpc_b, (mesh.backend, 8001), kind="INSTANCE")
    service, name = lab.service(mesh.network)
    lab.listener(service, forward(group))
    assert json.loads(lab.eventually(mesh.client, f"http://{name}/"))["name"] == "port-8001"


def test_an_associations_security_groups_are_honoured(lab, mesh):
    vpc, subnet, _ = lab.vpc("10.9.0.0/16", "10.9.1.0/24")
    may, may_not = lab.group(vpc), lab.group(vpc)
    gate = lab.group(vpc, allow("tcp", 80, group=may))
    caller, _ = lab.instance(subnet, may)
    other, _ = lab.instance(subnet, may_not)
    association = lab.associate_vpc(mesh.network, vpc, [gate])
    _, _, url = serve(lab, mesh, 8001)
    lab.eventually(caller, url)
    assert lab.curl(other, url, "--connect-timeout", "3", "--max-time", "3")[0] == 0
    # A change of the groups shows: now everyone of 10.9.0.0/16 may.
    lab.ec2.authorize_security_group_ingress(GroupId=gate, IpPermissions=[allow("tcp", 80, cidr="10.9.0.0/16")])
    lab.eventually(other, url)
    assert lab.lattice.get_service_network_vpc_association(
        serviceNetworkVpcAssociationIdentifier=association)["securityGroupIds"] == [gate]


def test_only_associated_vpcs_reach_a_service(lab, mesh):
    _, _, url = serve(lab, mesh, 8001)
    vpc, subnet, group = lab.vpc("10.10.0.0/16", "10.10.1.0/24")
    outsider, _ = lab.instance(subnet, group)
    name = url.removeprefix("http://")
    address = lab.run(mesh.client, "dig", "+short", name).strip()
    assert address.startswith("169.254.171."), address
    assert lab.curl(outsider, f"http://{address}", "--max-time", "3", "-H", f"Host: {name}")[0] == 0
    association = lab.associate_vpc(mesh.network, vpc)
    lab.eventually(outsider, url)
    lab._vpc_dissociated(association)
    wait_for("the way to be closed", lambda: lab.curl(outsider, f"http://{address}", "--max-time", "3", "-H", f"Host: {name}")[0] == 0)


def test_without_a_policy_iam_auth_denies_everyone(lab, mesh):
    group = lab.targets(mesh.vpc_b, (mesh.address, 8001))
    service, name = lab.service(mesh.network, authType="AWS_IAM")
    lab.listener(service, forward(group))
    lab.eventually(mesh.client, f"http://{name}/", status=403)
    lab.lattice.update_service(serviceIdentifier=service, authType="NONE")
    lab.eventually(mesh.client, f"http://{name}/")


def test_one_access_log_record_for_each_request(lab, mesh):
    service, listener, url = serve(lab, mesh, 8001)
    name = unique("/aws/vpc-lattice/test")
    lab.logs.create_log_group(logGroupName=name)
    lab.later(lab.logs.delete_log_group, logGroupName=name)
    subscription = lab.lattice.create_access_log_subscription(
        resourceIdentifier=service,
        destinationArn=f"arn:aws:logs:us-east-1:000000000000:log-group:{name}:*")["id"]
    lab.later(lab.lattice.delete_access_log_subscription, accessLogSubscriptionIdentifier=subscription)
    lab.rule(service, listener, 1, path("prefix", "/no"), fixed(404))
    lab.eventually(mesh.client, url + "/no", status=404)
    marks = [unique("mark") for _ in range(5)]
    for mark in marks:
        lab.curl(mesh.client, f"{url}/{mark}", "-A", "agent/1")

    def records():
        events = lab.logs.filter_log_events(logGroupName=name, filterPattern='"mark-"')["events"]
        found = [json.loads(event["message"]) for event in events]
        return found if len(found) >= len(marks) else None

    found = wait_for("the records", records)
    assert sorted(record["requestPath"].lstrip("/") for record in found) == sorted(marks)
    record = found[0]
    want = {"responseCode": 200, "requestMethod": "GET", "protocol": "HTTP/1.1", "userAgent": "agent/1",
            "targetVpcId" if "targetVpcId" in record else "responseCode": mesh.vpc_b if "targetVpcId" in record else 200}
    assert {key: record.get(key) for key in want} == want, record
    assert service in record["serviceArn"] and mesh.network in record["serviceNetworkArn"], record
    assert record["destinationVpcId"] == mesh.vpc_b and mesh.vpc_a in record["sourceVpcArn"], record
    assert record["targetIpPort"] == f"{mesh.address}:8001" and record["sourceIpPort"].startswith(mesh.client_address)
