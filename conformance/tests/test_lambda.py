"""Lambda as its clients use it: boto3 and the aws CLI make functions, invoke them, and read what they logged; and services of
Lattice that forward to functions."""

import base64
import io
import json
import os
import pathlib
import threading
import time
import zipfile

import lathlab
import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import forward, unique

TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}

PYTHON = '''
import json
import os
import sys
import time

BORN = str(time.time_ns())


def handler(event, context):
    print("event", json.dumps(event))
    what = event.get("do") if isinstance(event, dict) else None
    if what == "sleep":
        time.sleep(event["seconds"])
    if what == "raise":
        raise ValueError("no good")
    if what == "exit":
        sys.stdout.flush()
        os._exit(7)
    if what == "long":
        return "x" * event["length"]
    if what == "look":
        def denied(work):
            try:
                work()
            except OSError as error:
                return type(error).__name__
        return {
            "uid": os.getuid(), "cwd": os.getcwd(), "env": dict(os.environ),
            "write": denied(lambda: open("/var/task/x", "w")), "tmp": denied(lambda: open("/tmp/x", "w")),
            "links": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
        }
    return {"event": event, "born": BORN, "request": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
            "arn": context.invoked_function_arn, "greeting": os.environ.get("GREETING")}
'''

# A custom runtime in a shell: what it gets it gives back.
BOOTSTRAP = '''#!/bin/bash
set -u
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
cd /tmp
while true; do
  curl -sS -D headers "$API/invocation/next" -o event
  ID=$(grep -i '^lambda-runtime-aws-request-id:' headers | tr -d '\\r' | cut -d' ' -f2)
  echo "custom $ID"
  { printf '{"handler":"%s","event":' "$_HANDLER"; cat event; printf '}'; } > answer
  curl -sS -X POST "$API/invocation/$ID/response" --data-binary @answer > /dev/null
done
'''


def packed(**files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "."))
            entry.external_attr = 0o755 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            writer.writestr(entry, content)
    return archive.getvalue()


def refused(code):
    return pytest.raises(ClientError, match=code)


class Made:
    """Functions of a test, with a role that they run as."""

    def __init__(self, lath, region=None):
        self.lath = lath
        # A function that is slow is not asked again.
        self.lambda_ = lath.client("lambda", region=region, retries={"total_max_attempts": 1}, read_timeout=120)
        self.iam = lath.client("iam")
        self.role = unique("role")
        self.role_arn = self.iam.create_role(RoleName=self.role, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        self.names = []

    def function(self, code=PYTHON, runtime="python3.11", **more):
        name = unique("fn")
        files = {"bootstrap": code} if runtime.startswith("provided") else {"app__py": code}
        # A new role is known in other regions a moment later.
        made = wait_for("it to be made", lambda: self.lambda_.create_function(
            FunctionName=name, Runtime=runtime, Role=self.role_arn, Handler="app.handler", Code={"ZipFile": packed(**files)}, **more))
        self.names.append(name)
        assert made["State"] == "Pending", made
        self.settled(name)
        return name

    def settled(self, name):
        def now():
            shown = self.lambda_.get_function_configuration(FunctionName=name)
            assert shown["State"] != "Failed", shown
            return shown if shown["State"] == "Active" and shown["LastUpdateStatus"] == "Successful" else None
        return wait_for(f"{name} to be active", now)

    def invoke(self, name, event=None, **more):
        answer = self.lambda_.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
        return answer, json.loads(answer["Payload"].read() or "null")

    def close(self):
        for name in self.names:
            try:
                self.lambda_.delete_function(FunctionName=name)
            except ClientError:
                pass


@pytest.fixture
def made(lath):
    made = Made(lath)
    yield made
    made.close()


@pytest.mark.root
def test_a_function_is_made_invoked_changed_and_deleted(made):
    client = made.lambda_
    name = made.function(Environment={"Variables": {"GREETING": "hello"}}, Description="first", Tags={"team": "shop"})
    shown = client.get_function(FunctionName=name)
    settings = shown["Configuration"]
    assert (settings["Runtime"], settings["MemorySize"], settings["Timeout"], settings["Version"]) == ("python3.11", 128, 3, "$LATEST")
    assert shown["Tags"] == {"team": "shop"} and settings["Environment"]["Variables"] == {"GREETING": "hello"}
    assert name in [it["FunctionName"] for it in client.list_functions()["Functions"]]

    answer, got = made.invoke(name, {"a": [1, None, "ü"]})
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST") and "FunctionError" not in answer
    assert got["event"] == {"a": [1, None, "ü"]} and got["greeting"] == "hello" and got["arn"] == settings["FunctionArn"]
    # The environment is used again, by whichever of its names the function is called.
    for also in (settings["FunctionArn"], f"{name}:$LATEST", settings["FunctionArn"].split("lambda:us-east-1:")[1]):
        assert made.invoke(also)[1]["born"] == got["born"], also
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204

    client.update_function_configuration(FunctionName=name, Timeout=5, Environment={"Variables": {"GREETING": "bye"}})
    made.settled(name)
    _, changed = made.invoke(name)
    assert changed["greeting"] == "bye" and changed["born"] != got["born"]
    updated = client.update_function_code(FunctionName=name, ZipFile=packed(app__py="def handler(e, c):\n    return 'new'\n"))
    assert updated["CodeSha256"] != settings["CodeSha256"]
    made.settled(name)
    assert made.invoke(name)[1] == "new"

    with refused("ResourceConflictException"):
        client.create_function(FunctionName=name, Runtime="python3.11", Role=made.role_arn, Handler="a.b", Code={"ZipFile": packed(a="")})
    client.delete_function(FunctionName=name)
    with refused("ResourceNotFoundException"):
        made.invoke(name)


@pytest.mark.root
def test_a_custom_runtime_speaks_the_runtime_api(made):
    name = made.function(BOOTSTRAP, runtime="provided.al2023")
    for number in range(3):
        answer, got = made.invoke(name, {"number": number}, LogType="Tail")
        assert got == {"handler": "app.handler", "event": {"number": number}}
        log = base64.b64decode(answer["LogResult"]).decode()
        request = answer["ResponseMetadata"]["RequestId"]
        assert f"START RequestId: {request} Version: $LATEST\ncustom {request}\nEND RequestId: {request}\nREPORT" in log, log


@pytest.mark.root
def test_failures_are_told_in_lambdas_words(made):
    name = made.function(Timeout=2)
    answer, got = made.invoke(name, {"do": "raise"})
    assert answer["FunctionError"] == "Unhandled" and answer["StatusCode"] == 200
    assert (got["errorType"], got["errorMessage"]) == ("ValueError", "no good") and "app.py" in "".join(got["stackTrace"])
    answer, got = made.invoke(name, {"do": "exit"})
    assert (got["errorType"], answer["FunctionError"]) == ("Runtime.ExitError", "Unhandled")
    assert got["errorMessage"].endswith("Error: Runtime exited with error: exit status 7")
    answer, got = made.invoke(name, {"do": "sleep", "seconds": 60}, LogType="Tail")
    assert answer["FunctionError"] == "Unhandled" and got["errorMessage"].endswith("Task timed out after 2.00 seconds")
    assert "Task timed out after 2.00 seconds" in base64.b64decode(answer["LogResult"]).decode()
    answer, got = made.invoke(name, {"do": "long", "length": 6 * 1024 * 1024 + 1})
    assert got["errorType"] == "Function.ResponseSizeTooLarge"
    # After each of them another environment answers.
    assert made.invoke(name, {"still": "there"})[1]["event"] == {"still": "there"}

    name = made.function("import no_such_module\n")
    answer, got = made.invoke(name)
    assert got["errorType"] == "Runtime.ImportModuleError" and "no_such_module" in got["errorMessage"]
    name = made.function("exit 3\n", runtime="provided.al2")
    answer, got = made.invoke(name)
    assert got["errorType"] in ("Runtime.ExitError", "Runtime.InvalidEntrypoint"), got


@pytest.mark.root
def test_a_function_is_confined(made):
    name = made.function(MemorySize=256)
    _, seen = made.invoke(name, {"do": "look"})
    assert seen["uid"] != 0 and seen["cwd"] == "/var/task"
    assert seen["write"] in ("OSError", "PermissionError") and seen["tmp"] is None
    assert set(seen["links"]) <= {"lo"}
    env = seen["env"]
    assert (env["AWS_LAMBDA_FUNCTION_NAME"], env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], env["AWS_REGION"]) == (name, "256", "us-east-1")
    # The keys are those of the role.
    import boto3
    sts = boto3.client("sts", endpoint_url=made.lath.endpoint, region_name="us-east-1", aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
                       aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"], aws_session_token=env["AWS_SESSION_TOKEN"])
    assert sts.get_caller_identity()["Arn"].endswith(f":assumed-role/{made.role}/{name}")


@pytest.mark.root
def test_what_a_function_writes_is_in_its_log_group(made):
    name = made.function()
    made.invoke(name, {"marker": "findme"})
    logs = made.lath.client("logs")
    group = f"/aws/lambda/{name}"

    def written():
        events = logs.filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in events if "REPORT RequestId" in event["message"]] and events
    events = wait_for("the log", written)
    messages = [event["message"] for event in events]
    assert any("findme" in it for it in messages) and any(it.startswith("INIT_START Runtime Version: python:") for it in messages)
    assert {event["logStreamName"].split("/[")[1][:8] for event in events} == {"$LATEST]"}


@pytest.mark.root
def test_concurrency_is_reserved_and_limited(made):
    client = made.lambda_
    name = made.function(Timeout=60)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 1
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 1}
    wait_for("the limit to be known", lambda: made.invoke(name)[0]["StatusCode"] == 200)
    # Those that look whether there is a place may have it for a moment.
    asks = lambda: made.invoke(name, {"do": "sleep", "seconds": 8})
    slow = threading.Thread(target=wait_for, args=("a place", asks))
    slow.start()

    def throttled():
        try:
            made.invoke(name)
        except ClientError as error:
            return error.response
    response = wait_for("a refusal", throttled)
    assert response["Error"]["Code"] == "TooManyRequestsException" and response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    slow.join()
    assert made.invoke(name)[0]["StatusCode"] == 200
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)

    def stopped():
        try:
            made.invoke(name)
        except ClientError:
            return True
    wait_for("nothing to be let through", stopped)
    client.delete_function_concurrency(FunctionName=name)
    wait_for("it to run again", lambda: made.invoke(name))
    with refused("InvalidParameterValueException.*UnreservedConcurrentExecution"):
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=101)
    limit = client.get_account_settings()["AccountLimit"]
    assert (limit["CodeSizeUnzipped"], limit["ConcurrentExecutions"]) == (262144000, 200)


@pytest.mark.root
def test_the_cli_and_large_code(made, tmp_path):
    # Longer than other requests may be; random bytes do not shrink.
    big = packed(app__py="def handler(e, c):\n    return len(open('/var/task/blob', 'rb').read())\n", blob=os.urandom(12 << 20))
    (tmp_path / "code.zip").write_bytes(big)
    name = unique("fn")
    made.names.append(name)
    cli = made.lath.aws
    cli("lambda", "create-function", "--function-name", name, "--runtime", "python3.12", "--handler", "app.handler", "--role",
        made.role_arn, "--zip-file", f"fileb://{tmp_path / 'code.zip'}")
    cli("lambda", "wait", "function-active-v2", "--function-name", name)
    cli("lambda", "invoke", "--function-name", name, "--payload", "{}", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out").read_text()) == 12 << 20


def test_permissions_and_tags(made):
    client = made.lambda_
    name = unique("fn")
    made.names.append(name)
    arn = client.create_function(FunctionName=name, Runtime="python3.11", Role=made.role_arn, Handler="app.handler",
                                 Code={"ZipFile": packed(app__py="")})["FunctionArn"]
    with refused("ResourceNotFoundException"):
        client.get_policy(FunctionName=name)
    added = client.add_permission(FunctionName=name, StatementId="one", Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
                                  SourceArn="arn:aws:events:us-east-1:000000000000:rule/x")
    statement = json.loads(added["Statement"])
    assert statement["Principal"] == {"Service": "events.amazonaws.com"} and statement["Resource"] == arn
    with refused("ResourceConflictException"):
        client.add_permission(FunctionName=name, StatementId="one", Action="lambda:InvokeFunction", Principal="*")
    assert json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"] == [statement]
    client.remove_permission(FunctionName=name, StatementId="one")
    with refused("ResourceNotFoundException"):
        client.remove_permission(FunctionName=name, StatementId="one")
    client.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


@pytest.mark.root
def test_a_function_lives_on_when_lath_is_killed(own_lath):
    made = Made(own_lath)
    name = made.function()
    before = made.invoke(name)[1]["born"]
    environments = own_lath.data / "functions" / "instances"
    assert len(list(environments.iterdir())) == 1
    own_lath.kill()
    own_lath.start()
    made = Made(own_lath)
    after = wait_for("an answer", lambda: made.invoke(name)[1]["born"], patience=120)
    assert after != before
    # Of the environments that there were nothing is left.
    wait_for("the old environment to go", lambda: len(list(environments.iterdir())) == 1)
    made.lambda_.delete_function(FunctionName=name)
    wait_for("the last environment to go", lambda: not list(environments.iterdir()))


@pytest.mark.root
def test_a_region_among_several_asks_its_node():
    with lathlab.Lath(regions=["us-east-1", "eu-west-1"]) as lath:
        made = Made(lath, region="eu-west-1")
        name = made.function()
        _, got = made.invoke(name, {"a": 1})
        assert got["event"] == {"a": 1} and ":eu-west-1:" in got["arn"]
        # Control is no part of what runs: the environment outlives it.
        lath.kill_process("eu-west-1", "control")
        assert wait_for("an answer", lambda: made.invoke(name)[1])["born"] == got["born"]
        # The node is: what it ran has ended with it.
        lath.kill_process("eu-west-1", "node")
        again = wait_for("another answer", lambda: made.invoke(name)[1])
        assert again["born"] != got["born"]


# A function behind Lattice: it answers what it was told.
ECHO = '''
import base64
import json


def handler(event, context):
    path = event.get("raw_path") or event["path"]
    if path.startswith("/broken"):
        return {"no": "status"}
    if path.startswith("/raise"):
        raise ValueError("no good")
    if path.startswith("/bytes"):
        body = base64.b64encode(bytes(range(256))).decode()
        return {"isBase64Encoded": True, "statusCode": 200, "headers": {"content-type": "image/png"}, "body": body}
    headers = {"content-type": "application/json", "x-many": ["1", "2"], "connection": "close", "transfer-encoding": "chunked"}
    return {"isBase64Encoded": False, "statusCode": 201, "statusDescription": "201 Created", "headers": headers,
            "body": json.dumps(event)}
'''


class Behind:
    """A client in a VPC whose network has a service with a rule for a function."""

    def __init__(self, lab, made, version):
        self.lab = lab
        vpc, subnet, group = lab.vpc("10.61.0.0/16", "10.61.1.0/24")
        self.client, self.address = lab.instance(subnet, group)
        self.function = made.function(ECHO, Timeout=10)
        self.arn = made.lambda_.get_function_configuration(FunctionName=self.function)["FunctionArn"]
        config = {"config": {"lambdaEventStructureVersion": version}} if version else {}
        made_group = lab.lattice.create_target_group(name=unique("functions"), type="LAMBDA", **config)
        self.group, self.group_arn = made_group["id"], made_group["arn"]
        lab.later(lab.lattice.delete_target_group, targetGroupIdentifier=self.group)
        wait_for("the group", lambda: lab.lattice.get_target_group(targetGroupIdentifier=self.group)["status"] == "ACTIVE")
        registered = lab.lattice.register_targets(targetGroupIdentifier=self.group, targets=[{"id": self.arn}])
        assert registered["successful"] == [{"id": self.arn}] and not registered["unsuccessful"], registered
        lab.later(lab.lattice.deregister_targets, targetGroupIdentifier=self.group, targets=[{"id": self.arn}])
        self.network = lab.network(vpc)
        self.service, self.name = lab.service(self.network)
        lab.listener(self.service, forward(self.group))
        lab.eventually(self.client, f"http://{self.name}/", status=201)

    def ask(self, path, *options):
        return self.lab.curl(self.client, f"http://{self.name}{path}", *options)


@pytest.fixture
def behind(lab, made):
    return lambda version=None: Behind(lab, made, version)


@pytest.mark.root
def test_lattice_forwards_to_a_function_with_flat_events(lab, made, behind):
    it = behind()
    shown = lab.lattice.get_target_group(targetGroupIdentifier=it.group)
    assert (shown["type"], shown["config"]) == ("LAMBDA", {"lambdaEventStructureVersion": "V1"})
    (target,) = lab.lattice.list_targets(targetGroupIdentifier=it.group)["items"]
    assert target == {"id": it.arn, "status": "UNAVAILABLE"}
    (statement,) = json.loads(made.lambda_.get_policy(FunctionName=it.function)["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "vpc-lattice.amazonaws.com"}
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": it.group_arn}}

    status, body = it.ask("/a%20b?x=1&x=%32", "-X", "PUT", "-H", "x-one: 1", "-H", "x-one: 2", "-H", "content-type: text/plain",
                          "-H", "x-amzn-lattice-identity: Principal=me", "-d", "hello")
    event = json.loads(body)
    assert status == 201 and (event["raw_path"], event["method"], event["body"], event["is_base64_encoded"]) == (
        "/a%20b?x=1&x=%32", "PUT", "hello", False)
    assert event["query_string_parameters"] == {"x": "2"}
    headers = event["headers"]
    assert headers["x-one"] == "1,2" and headers["host"] == it.name and headers["x-forwarded-for"] == it.address
    assert headers["x-forwarded-port"] == "80" and headers["x-forwarded-proto"] == "http"
    assert it.group_arn in headers["x-amzn-lattice-target"] and "x-amzn-lattice-identity" not in headers
    # What is no text is base64, both ways.
    status, body = it.ask("/", "-H", "content-type: application/octet-stream", "--data-binary", "abc")
    assert json.loads(body)["body"] == base64.b64encode(b"abc").decode() and json.loads(body)["is_base64_encoded"]
    run = lab.run(it.client, "sh", "-c", f"curl -sS http://{it.name}/bytes | od -An -tx1 -v | tr -d ' \\n'")
    assert bytes.fromhex(run.strip()) == bytes(range(256))
    head = lab.run(it.client, "curl", "-sS", "-I", f"http://{it.name}/").lower()
    assert " 201" in head and head.count("x-many") == 2 and "transfer-encoding" not in head and "x-amzn-requestid" in head
    # What goes wrong.
    assert it.ask("/broken")[0] == 502 and it.ask("/raise")[0] == 500
    lab.run(it.client, "sh", "-c", "head -c 6300000 /dev/zero > /tmp/long")
    assert it.ask("/", "-H", "content-type: text/plain", "-H", "expect:", "--data-binary", "@/tmp/long")[0] == 413


@pytest.mark.root
def test_lattice_forwards_to_a_function_with_lists_and_who_calls(lab, made, behind):
    it = behind("V2")
    status, body = it.ask("/p?x=1&x=2&y", "-H", "x-one: 1", "-H", "x-one: 2")
    event = json.loads(body)
    assert status == 201 and (event["version"], event["path"], event["method"], event["body"]) == ("2.0", "/p?x=1&x=2&y", "GET", "")
    assert event["queryStringParameters"] == {"x": ["1", "2"], "y": [""]} and event["headers"]["x-one"] == ["1", "2"]
    context = event["requestContext"]
    assert context["targetGroupArn"] == it.group_arn and context["region"] == "us-east-1"
    assert context["serviceArn"].endswith(it.service) and context["serviceNetworkArn"].endswith(it.network)
    assert context["identity"]["sourceVpcArn"].split("/")[0].endswith(":vpc") and context["timeEpoch"].isdigit()

    # Nobody invokes what is stopped.
    made.lambda_.put_function_concurrency(FunctionName=it.function, ReservedConcurrentExecutions=0)
    lab.eventually(it.client, f"http://{it.name}/", status=503)
    made.lambda_.delete_function_concurrency(FunctionName=it.function)
    lab.eventually(it.client, f"http://{it.name}/", status=201)
    # A permission that is taken away counts, and is shown.
    made.lambda_.remove_permission(FunctionName=it.function, StatementId=f"vpc-lattice-{it.group}")
    lab.eventually(it.client, f"http://{it.name}/", status=500)
    (target,) = lab.lattice.list_targets(targetGroupIdentifier=it.group)["items"]
    assert target["status"] == "UNHEALTHY" and "permit" in target["reasonCode"]
    lab.lattice.register_targets(targetGroupIdentifier=it.group, targets=[{"id": it.arn}])
    lab.eventually(it.client, f"http://{it.name}/", status=201)
    # So is a function that is deleted.
    made.lambda_.delete_function(FunctionName=it.function)
    lab.eventually(it.client, f"http://{it.name}/", status=503)
    (target,) = lab.lattice.list_targets(targetGroupIdentifier=it.group)["items"]
    assert target["status"] == "UNHEALTHY" and "does not exist" in target["reasonCode"]


def test_groups_of_functions_take_functions_alone(lab, made):
    create = lab.lattice.create_target_group
    with refused("ValidationException"):
        create(name=unique("g"), type="LAMBDA", config={"port": 80})
    with refused("ValidationException.*ALB"):
        create(name=unique("g"), type="ALB")
    group = create(name=unique("g"), type="LAMBDA", config={"lambdaEventStructureVersion": "V2"})["id"]
    lab.later(lab.lattice.delete_target_group, targetGroupIdentifier=group)
    get = lab.lattice.get_target_group
    wait_for("the group", lambda: get(targetGroupIdentifier=group)["status"] == "ACTIVE")
    absent = "arn:aws:lambda:us-east-1:000000000000:function:no-such-function"
    answer = lab.lattice.register_targets(targetGroupIdentifier=group, targets=[{"id": absent}, {"id": "10.0.0.1", "port": 80}])
    assert not answer["successful"] and {it["failureCode"] for it in answer["unsuccessful"]} == {"UnsupportedTarget"}
    with refused("ValidationException"):
        lab.lattice.update_target_group(targetGroupIdentifier=group, healthCheck={"enabled": True})
