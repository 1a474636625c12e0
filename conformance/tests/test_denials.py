"""All is allowed and one thing is denied: requests of Lattice, Route 53, CloudWatch and Logs that name it are refused, in
every spelling and by every condition key, and others are not."""

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import code_of, fixed, unique
from test_iam import statement, user  # noqa: F401

REFUSALS = ("AccessDenied", "AccessDeniedException")


@pytest.fixture
def denied(user):  # noqa: F811
    """Whether a call is refused to a caller who may do all but what a statement denies."""
    client, may, _ = user

    def is_denied(call, action, resource="*", **condition):
        service, name, arguments = call
        may(statement("Allow", "*"), statement("Deny", action, resource, **condition))
        try:
            getattr(client(service), name)(**arguments)
        except ClientError as error:
            return code_of(error) in REFUSALS
        return False

    return is_denied


def lattice(name, /, **arguments):
    return "vpc-lattice", name, arguments


def route53(name, /, **arguments):
    return "route53", name, arguments


def logs(name, /, **arguments):
    return "logs", name, arguments


@pytest.fixture
def service(lath):
    """A service with a listener and a rule: their ids."""
    made = lath.client("vpc-lattice")
    service = made.create_service(name=unique("web"), tags={"env": "prod"})["id"]
    wait_for("the service", lambda: made.get_service(serviceIdentifier=service)["status"] == "ACTIVE")
    listener = made.create_listener(serviceIdentifier=service, name="http", protocol="HTTP", port=80, defaultAction=fixed(404))["id"]
    rule = made.create_rule(serviceIdentifier=service, listenerIdentifier=listener, name="api", priority=1, action=fixed(500),
                            match={"httpMatch": {"method": "GET"}}, tags={"env": "prod"})["id"]
    yield service, listener, rule
    made.delete_service(serviceIdentifier=service)


def test_lattice(lath, denied, service):
    service, listener, rule = service
    account = lath.client("sts").get_caller_identity()["Account"]
    arn = f"arn:aws:vpc-lattice:us-east-1:{account}:service/{service}"
    for spelling in (service, arn, arn.replace("arn:aws:", "arn:aws-cn:")):
        call = lattice("get_service", serviceIdentifier=spelling)
        assert denied(call, "vpc-lattice:GetService", arn), spelling
        assert denied(call, "vpc-lattice:*", StringEquals={"aws:ResourceTag/env": "prod"}), spelling
        assert not denied(call, "vpc-lattice:*", StringEquals={"aws:ResourceTag/env": "dev"}), spelling
    of_rule = f"{arn}/listener/{listener}/rule/{rule}"
    named = {"serviceIdentifier": service, "listenerIdentifier": listener}
    many = lattice("batch_update_rule", **named, rules=[{"ruleIdentifier": rule, "priority": 2}])
    assert denied(many, "vpc-lattice:UpdateRule", of_rule)
    assert denied(many, "vpc-lattice:UpdateRule", StringEquals={"aws:ResourceTag/env": "prod"})
    assert denied(lattice("tag_resource", resourceArn=of_rule, tags={"a": "b"}), "*", of_rule)
    assert denied(lattice("untag_resource", resourceArn=of_rule, tagKeys=["env"]), "*", StringEquals={"aws:TagKeys": "env"})
    assert denied(lattice("put_auth_policy", resourceIdentifier=service, policy="{}"), "*", arn)
    tagged = lattice("create_service", name=unique("x"), tags={"env": "prod"})
    assert denied(tagged, "vpc-lattice:TagResource", StringEquals={"vpc-lattice:CreateAction": "CreateService"})
    assert denied(lattice("create_service", name=unique("x")), "*", StringEquals={"vpc-lattice:AuthType": "NONE"})
    assert not denied(lattice("get_rule", **named, ruleIdentifier=rule), "vpc-lattice:UpdateRule", of_rule)


def test_route53(lath, denied):
    admin, name = lath.client("route53"), f"{unique('z')}.test"
    zone = admin.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"].split("/")[-1]
    arn = f"arn:aws:route53:::hostedzone/{zone}"

    def change(action="UPSERT", record="WWW", kind="A"):
        records = {"Name": f"{record}.{name}.", "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
        return route53("change_resource_record_sets", HostedZoneId=zone,
                       ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": records}]})

    try:
        for spelling in (zone, f"/hostedzone/{zone}"):
            assert denied(route53("get_hosted_zone", Id=spelling), "*", arn), spelling
        assert denied(route53("list_tags_for_resource", ResourceType="hostedzone", ResourceId=zone), "*", arn)
        key = "route53:ChangeResourceRecordSets"
        for more, values in (("NormalizedRecordNames", f"www.{name}"), ("RecordTypes", "A"), ("Actions", "UPSERT")):
            assert denied(change(), "*", arn, **{"ForAnyValue:StringEquals": {key + more: values}}), more
            assert not denied(change(), "*", arn, **{"ForAnyValue:StringEquals": {key + more: "x"}}), more
        vpc = {"VPCRegion": "us-east-1", "VPCId": "vpc-0123456789abcdef0"}
        made = route53("create_hosted_zone", Name=name, CallerReference="2", VPC=vpc)
        assert denied(made, "*", **{"ForAnyValue:StringEquals": {"route53:VPCs": "VPCId=vpc-0123456789abcdef0,VPCRegion=us-east-1"}})
    finally:
        for record in admin.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]:
            if record["Type"] == "A":
                admin.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]})
        admin.delete_hosted_zone(Id=zone)


def test_logs_and_metrics(lath, denied):
    admin, group = lath.client("logs"), unique("/g")
    account = lath.client("sts").get_caller_identity()["Account"]
    admin.create_log_group(logGroupName=group, tags={"env": "prod"})
    arn = f"arn:aws:logs:us-east-1:{account}:log-group:{group}"
    try:
        for spelling in (group, arn, arn.replace("arn:aws:", "arn:aws-cn:")):
            call = logs("filter_log_events", logGroupIdentifier=spelling)
            assert denied(call, "logs:*", f"{arn}:*"), spelling
            assert denied(call, "logs:*", StringEquals={"aws:ResourceTag/env": "prod"}), spelling
        made = logs("create_log_stream", logGroupName=group, logStreamName="s")
        assert denied(made, "logs:*", f"{arn}:log-stream:s")
        assert denied(logs("tag_resource", resourceArn=arn, tags={"a": "b"}), "logs:*", arn)
        assert denied(logs("tag_resource", resourceArn=arn, tags={"a": "b"}), "logs:*", StringEquals={"aws:RequestTag/a": "b"})
        metric = "cloudwatch", "put_metric_data", {"Namespace": "Shop", "MetricData": [{"MetricName": "m", "Value": 1}]}
        assert denied(metric, "cloudwatch:*", StringEquals={"cloudwatch:namespace": "Shop"})
        assert not denied(metric, "cloudwatch:*", StringEquals={"cloudwatch:namespace": "Bank"})
        dashboard = "cloudwatch", "get_dashboard", {"DashboardName": "d"}
        assert denied(dashboard, "*", f"arn:aws:cloudwatch::{account}:dashboard/d")
    finally:
        admin.delete_log_group(logGroupName=group)
