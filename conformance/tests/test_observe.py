"""Metrics, dashboards and logs, as clients put and read them."""

import json
import re
import time

import pytest
from lathlab import wait_for
from lathlab.lab import fixed, unique


def test_statistics_of_what_was_put(lab):
    namespace, now = unique("Test"), time.time() // 60 * 60
    dimensions = [{"Name": "host", "Value": "a"}]
    lab.cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "m", "Dimensions": dimensions, "Timestamp": now - 120 + n, "Value": n, "Unit": "Count"} for n in range(10)])
    lab.cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "m", "Dimensions": dimensions, "Timestamp": now - 60, "Unit": "Count",
         "StatisticValues": {"SampleCount": 4, "Sum": 40, "Minimum": 1, "Maximum": 20}}])

    def points():
        got = lab.cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName="m", Dimensions=dimensions, StartTime=now - 600, EndTime=now + 60, Period=60,
            Statistics=["Sum", "Minimum", "Maximum", "Average", "SampleCount"])["Datapoints"]
        return sorted(got, key=lambda p: p["Timestamp"]) if len(got) == 2 else None

    first, second = wait_for("the points", points)
    assert (first["Sum"], first["Minimum"], first["Maximum"], first["Average"], first["SampleCount"], first["Unit"]) == (45, 0, 9, 4.5, 10, "Count")
    assert (second["Sum"], second["Minimum"], second["Maximum"], second["SampleCount"]) == (40, 1, 20, 4)
    listed = lab.cloudwatch.list_metrics(Namespace=namespace)["Metrics"]
    assert [(m["MetricName"], m["Dimensions"]) for m in listed] == [("m", dimensions)]
    data = lab.cloudwatch.get_metric_data(StartTime=now - 600, EndTime=now + 60, MetricDataQueries=[
        {"Id": "q", "MetricStat": {"Metric": {"Namespace": namespace, "MetricName": "m", "Dimensions": dimensions}, "Period": 60, "Stat": "Sum"}}])
    (result,) = data["MetricDataResults"]
    assert result["StatusCode"] == "Complete" and sorted(result["Values"]) == [40, 45]
    # Other dimensions are another metric.
    assert lab.cloudwatch.get_metric_statistics(Namespace=namespace, MetricName="m", StartTime=now - 600, EndTime=now + 60,
                                                Period=60, Statistics=["Sum"])["Datapoints"] == []


def test_dashboards_are_kept_listed_validated_and_deleted(lab):
    name = unique("board")
    widget = {"type": "metric", "x": 0, "y": 0, "width": 6, "height": 6, "properties": {
        "metrics": [["AWS/VpcLattice", "TotalRequestCount", "Service", "svc-1"]], "region": "us-east-1", "stat": "Sum", "period": 60}}
    body = json.dumps({"widgets": [widget]})
    assert lab.cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body).get("DashboardValidationMessages", []) == []
    assert json.loads(lab.cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]) == json.loads(body)
    listed = lab.cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    assert [d["DashboardName"] for d in listed] == [name] and listed[0]["Size"] == len(body)
    del widget["properties"]["region"]
    out = lab.lath.aws("cloudwatch", "put-dashboard", "--dashboard-name", name, "--dashboard-body", json.dumps({"widgets": [widget | {"type": "moon"}]}),
                       check=False)
    assert "DashboardValidationMessages" in out.stdout or "InvalidParameterInput" in out.stderr, (out.stdout, out.stderr)
    lab.cloudwatch.delete_dashboards(DashboardNames=[name])
    assert lab.cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"] == []


@pytest.fixture
def group(lab):
    name = unique("/test/logs")
    lab.logs.create_log_group(logGroupName=name, tags={"a": "b"})
    lab.later(lab.logs.delete_log_group, logGroupName=name)
    lab.logs.create_log_stream(logGroupName=name, logStreamName="one")
    return name


MESSAGES = ["GET /a 200 12ms", "GET /b 500 ERROR boom", "warn: error lower", '{"status": 500, "path": "/a", "user": {"id": 7}}',
            '{"status": 200, "path": "/b"}', "plain"]


def put(lab, group, messages, stream="one"):
    now = int(time.time() * 1000) - len(messages)
    lab.logs.put_log_events(logGroupName=group, logStreamName=stream,
                            logEvents=[{"timestamp": now + n, "message": m} for n, m in enumerate(messages)])


def test_filter_patterns_choose_events(lab, group):
    put(lab, group, MESSAGES)
    table = [
        (None, range(6)), ("ERROR", [1]), ("error", [2]), ("GET", [0, 1]), ("GET 500", [1]), ("GET -ERROR", [0]), ("?boom ?plain", [1, 5]),
        ('"/a 200"', [0]), ("{ $.status = 500 }", [3]), ("{ $.status > 100 }", [3, 4]), ('{ $.path = "/b" && $.status != 500 }', [4]),
        ("{ $.user.id = 7 }", [3]), ('{ $.path = "/*" }', [3, 4]), ("{ $.user NOT EXISTS }", [4]), ("nothinglikeit", []),
    ]
    wrong = []
    for pattern, want in table:
        more = {"filterPattern": pattern} if pattern else {}
        got = [e["message"] for e in lab.logs.filter_log_events(logGroupName=group, **more)["events"]]
        if got != [MESSAGES[n] for n in want]:
            wrong.append((pattern, got))
    assert wrong == []


def test_events_are_read_forward_backward_and_in_pages(lab, group):
    messages = [f"event {n}" for n in range(25)]
    put(lab, group, messages)
    seen, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        page = lab.logs.get_log_events(logGroupName=group, logStreamName="one", startFromHead=True, limit=10, **more)
        if page["nextForwardToken"] == token:
            break  # as AWS: the end is where the token stays the same
        token = page["nextForwardToken"]
        seen += [e["message"] for e in page["events"]]
    assert seen == messages
    last = lab.logs.get_log_events(logGroupName=group, logStreamName="one", limit=3)["events"]
    assert [e["message"] for e in last] == messages[-3:]
    pages = lab.logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 7})
    assert [e["message"] for page in pages for e in page["events"]] == messages


def test_groups_streams_retention_and_tags(lab, group):
    lab.logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    (shown,) = lab.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert shown["retentionInDays"] == 7 and shown["arn"].endswith(f"log-group:{group}:*")
    lab.logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in lab.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    arn = shown["arn"].removesuffix(":*")
    lab.logs.tag_resource(resourceArn=arn, tags={"c": "d"})
    lab.logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert lab.logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "d"}
    lab.logs.create_log_stream(logGroupName=group, logStreamName="two")
    put(lab, group, ["x"], stream="two")
    streams = lab.logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert [s["logStreamName"] for s in streams] == ["one", "two"] and streams[1]["lastEventTimestamp"]
    lab.logs.delete_log_stream(logGroupName=group, logStreamName="two")
    assert [s["logStreamName"] for s in lab.logs.describe_log_streams(logGroupName=group)["logStreams"]] == ["one"]


def test_the_cli_tails_a_group(lab, group):
    put(lab, group, ["first", "second"])
    events = lab.lath.aws("logs", "filter-log-events", "--log-group-name", group)["events"]
    assert [e["message"] for e in events] == ["first", "second"]


@pytest.mark.root
def test_lattices_metrics_count_what_passed(lab):
    vpc, subnet, group = lab.vpc("10.50.0.0/16", "10.50.1.0/24")
    caller, _ = lab.instance(subnet, group)
    service, domain = lab.service(lab.network(vpc))
    lab.listener(service, fixed(404))
    for _ in range(5):
        lab.eventually(caller, f"http://{domain}/", status=404)

    def total(metric):
        points = lab.cloudwatch.get_metric_statistics(
            Namespace="AWS/VpcLattice", MetricName=metric, Dimensions=[{"Name": "Service", "Value": service}], Period=60,
            StartTime=time.time() - 3600, EndTime=time.time() + 60, Statistics=["Sum"])["Datapoints"]
        return sum(point["Sum"] for point in points)

    wait_for("the metrics", lambda: total("TotalRequestCount") >= 5)
    assert total("HTTPCode_4XX_Count") == total("TotalRequestCount")
    names = {m["MetricName"] for m in lab.cloudwatch.list_metrics(Namespace="AWS/VpcLattice",
             Dimensions=[{"Name": "Service", "Value": service}])["Metrics"]}
    assert {"TotalRequestCount", "HTTPCode_4XX_Count"} <= names
    counts = [line for line in lab.lath.metrics().splitlines() if line.startswith("lath_service_requests_total") and service in line]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counts) >= 5, counts


SAMPLE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="(\\.|[^"\\])*",?)*\})? [-+0-9.eEInfNa]+$')


def test_metrics_are_valid_prometheus_text(lath):
    text, seen, kinds = lath.metrics(), set(), {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds and kind in ("counter", "gauge", "histogram", "summary"), line
            kinds[name] = kind
        elif line and not line.startswith("#"):
            assert SAMPLE.match(line), line
            series, name = line.rsplit(" ", 1)[0], re.split(r"[{ ]", line)[0]
            assert series not in seen, f"twice: {series}"
            seen.add(series)
            assert name in kinds or re.sub(r"_(bucket|sum|count)$", "", name) in kinds, f"no type: {line}"
    assert "lath_state_revision" in kinds
