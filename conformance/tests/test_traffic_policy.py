"""Traffic policies of rules (an extension): set by stock clients, seen by callers and backends."""

import json
import time

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import Lab, fixed, path, refusal, unique
from lathlab.policies import TAG, Mesh, Place, seen, tags

pytestmark = pytest.mark.root

@pytest.fixture(scope="module")
def mesh(extended):
    with Lab(extended) as lab:
        yield Mesh(lab)


def test_strict_mode_knows_no_policies(lab):
    service, _ = lab.service()
    listener = lab.listener(service, fixed(404))
    with pytest.raises(ClientError, match="--extended") as raised:
        lab.lattice.create_rule(serviceIdentifier=service, listenerIdentifier=listener, name=unique("way"), priority=1,
                                match={"httpMatch": path("prefix", "/")}, action=fixed(404),
                                tags=tags({"redirect": {"scheme": "https"}}))
    assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_heads_and_urls_are_rewritten_and_the_aws_cli_can_say_so(tried, mesh, extended):
    place = Place(tried, mesh)
    arn = place.rule("/shop", {"requestHeaders": {"set": {"x-env": "one"}}})
    wait_for("the first policy", lambda: seen(tried.ask(mesh.client, place.url + "/shop")).get("x-env") == ["one"])
    policy = {
        "requestHeaders": {"set": {"x-env": "two", "x-long": "v" * 300}, "add": {"x-tag": "b"}, "remove": ["x-secret"]},
        "responseHeaders": {"set": {"x-served-by": "lath"}, "remove": ["server"]},
        "urlRewrite": {"hostname": "inner.example", "path": {"prefix": "/shop", "replacePrefixMatch": "/v2"}},
    }
    extended.aws("vpc-lattice", "tag-resource", "--resource-arn", arn, "--tags", json.dumps(tags(policy)))
    wait_for("the second policy", lambda: seen(tried.ask(mesh.client, place.url + "/shop")).get("x-env") == ["two"])
    got = tried.ask(mesh.client, place.url + "/shop/cart?q=1", "-H", "x-tag: a", "-H", "x-secret: s", "-H", "x-env: x")
    assert got["path"] == "/v2/cart?q=1"
    headers = seen(got)
    assert headers["host"] == ["inner.example"] and headers["x-env"] == ["two"] and headers["x-tag"] == ["a", "b"]
    assert "x-secret" not in headers and len(headers["x-long"][0]) == 300
    assert len(headers["x-amzn-lattice-target"]) == 1 and len(headers["x-forwarded-for"]) == 1
    status, head = place.head("/shop")
    assert status == 200 and head["x-served-by"] == "lath" and "server" not in head
    # A shorter policy leaves nothing of the longer one.
    tried.lattice.tag_resource(resourceArn=arn, tags=tags({"requestHeaders": {"set": {"x-env": "three"}}}))
    assert set(tried.lattice.list_tags_for_resource(resourceArn=arn)["tags"]) == {TAG}
    wait_for("the third policy", lambda: seen(tried.ask(mesh.client, place.url + "/shop")).get("x-env") == ["three"])
    assert tried.ask(mesh.client, place.url + "/shop")["path"] == "/shop"
    tried.lattice.untag_resource(resourceArn=arn, tagKeys=[TAG])
    wait_for("no policy", lambda: "x-env" not in seen(tried.ask(mesh.client, place.url + "/shop")))


def test_what_is_wrong_is_refused_with_its_place(tried, mesh):
    place = Place(tried, mesh)
    table = [
        ({"timeout": {}}, "unknown field `timeout`"),
        ({}, "it says nothing"),
        ({"requestHeaders": {"set": {"Host": "a"}}}, "urlRewrite.hostname"),
        ({"requestHeaders": {"set": {"x-amzn-lattice-identity": "a"}}}, "requestHeaders.set"),
        ({"requestHeaders": {"set": {"transfer_encoding": "a"}}}, "requestHeaders.set"),
        ({"requestHeaders": {"set": {"x-a": "b\r\nx-c: d"}}}, "requestHeaders.set.x-a"),
        ({"redirect": {"statusCode": 200}}, "redirect.statusCode"),
        ({"redirect": {}, "retry": {"attempts": 1}}, "redirect:"),
        ({"timeouts": {"request": "1s", "backendRequest": "2s"}}, "timeouts.backendRequest"),
        ({"timeouts": {"request": "11m"}}, "timeouts.request"),
        ({"urlRewrite": {"path": {"replaceFullPath": "/a?b"}}}, "urlRewrite.path.replaceFullPath"),
    ]
    wrong = []
    for policy, want in table:
        try:
            place.rule("/", policy)
            wrong.append((policy, "accepted"))
        except ClientError as error:
            if want not in str(error) or error.response["Error"]["Code"] != "ValidationException":
                wrong.append((policy, str(error)))
    assert wrong == []
    arn = place.rule("/x", {"timeouts": {"request": "5s"}})
    assert refusal(tried.lattice.tag_resource, resourceArn=arn, tags={f"{TAG}-3": "{}"}) == ("ValidationException", 400)
    assert refusal(tried.lattice.update_rule, serviceIdentifier=place.service, listenerIdentifier=place.listener,
                   ruleIdentifier=arn, action=fixed(404)) == ("ValidationException", 400)


def test_a_redirect_is_answered_and_the_default_action_has_one_by_its_listener(tried, mesh):
    place = Place(tried, mesh)
    place.rule("/old", {"redirect": {"path": {"prefix": "/old", "replacePrefixMatch": "/new"}, "statusCode": 301}})
    wait_for("the redirect", lambda: place.curl("/old")[0] == 301)
    status, head = place.head("/old/a?b=c")
    assert (status, head["location"]) == (301, f"{place.url}/new/a?b=c")
    assert tried.ask(mesh.client, place.url + "/old/a", "-L")["path"] == "/new/a"
    service, name = tried.service(mesh.network)
    made = tried.lattice.create_listener(
        serviceIdentifier=service, name=unique("port"), protocol="HTTP", port=80, defaultAction=fixed(404),
        tags=tags({"redirect": {"scheme": "https"}, "responseHeaders": {"set": {"x-why": "tls"}}}))
    tried.later(tried.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made["id"])
    tried.eventually(mesh.client, f"http://{name}/", status=302)
    out = tried.run(mesh.client, "curl", "-sS", "-o", "/dev/null", "-D", "-", f"http://{name}/x").lower()
    assert f"location: https://{name}/x" in out and "x-why: tls" in out, out
    tried.lattice.untag_resource(resourceArn=made["arn"], tagKeys=[TAG])
    tried.eventually(mesh.client, f"http://{name}/", status=404)


def test_a_slow_target_is_not_waited_for(tried, mesh):
    place = Place(tried, mesh)
    place.rule("/slow", {"timeouts": {"request": "300ms"}})
    wait_for("the timeout", lambda: place.curl("/slow")[0] == 504)
    assert place.curl("/slow") == (504, "Gateway Timeout\n")
    assert place.curl("/")[0] == 200


def test_requests_that_can_be_are_sent_again(tried, mesh):
    place = Place(tried, mesh, mesh.flaky_address, 8010)
    place.rule("/fail", {"retry": {"attempts": 2, "codes": [503], "backoff": "10ms"}})
    probe = iter(range(10_000))
    wait_for("retries", lambda: place.curl(f"/fail/1/probe-{next(probe)}")[0] == 200)
    assert place.curl("/fail/2/get") == (200, "3")
    assert place.curl("/fail/3/get") == (503, "3")
    assert place.curl("/fail/1/post", "-d", "x") == (503, "1")


def test_copies_of_requests_go_to_another_group(tried, mesh):
    place = Place(tried, mesh)
    copies = tried.targets(mesh.vpc, (mesh.flaky_address, 8010))
    place.rule("/copied", {"mirrors": [{"targetGroupIdentifier": copies}]})
    mark = unique("mark")
    # The flaky server counts the requests of a path, but only proxies may reach it: ask through a service.
    counter = Place(tried, mesh, mesh.flaky_address, 8010)

    def counted():
        assert tried.ask(mesh.client, f"{place.url}/copied/{mark}")["name"] == "port-8001"
        before = int(counter.curl(f"/copied/{mark}")[1])
        assert tried.ask(mesh.client, f"{place.url}/copied/{mark}")["name"] == "port-8001"
        time.sleep(0.2)
        return int(counter.curl(f"/copied/{mark}")[1]) > before + 1
    wait_for("a copy", counted)
    # A group that gets copies is used.
    assert refusal(tried.lattice.delete_target_group, targetGroupIdentifier=copies)[1] == 409
