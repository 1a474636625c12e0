"""Calls the toy services of tests/support as any user of boto3 would."""

import datetime
import json
import os
import urllib.error
import urllib.request

import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError


def client(name, **more):
    config = Config(retries={"max_attempts": 0}, parameter_validation=False)
    keys = {
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    return boto3.client(name, config=config, **{**keys, **more})


def refused(call, code, status, **input):
    try:
        call(**input)
    except ClientError as error:
        got = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert got == (code, status), (got, error.response)
        assert error.response["ResponseMetadata"].get("RequestId"), error.response
        return error.response
    raise AssertionError(f"{code} was expected")


def ec2():
    api = client("ec2")
    got = api.describe_vpcs(
        VpcIds=["vpc-1", "vpc-2"],
        Filters=[{"Name": "tag:a b&c", "Values": ["x+y", "ü"]}],
        MaxResults=7,
    )
    assert [vpc["VpcId"] for vpc in got["Vpcs"]] == ["vpc-1", "vpc-2"], got
    assert got["Vpcs"][0]["Tags"] == [{"Key": "tag:a b&c", "Value": "x+y|ü"}], got
    assert got["Vpcs"][1]["Tags"] == [], got
    assert got["NextToken"] == "after-7" and got["Vpcs"][0]["IsDefault"] is False, got
    assert got["ResponseMetadata"]["RequestId"], got
    assert api.describe_vpcs()["Vpcs"] == []
    api.delete_vpc(VpcId="vpc-1")
    missing = refused(api.delete_vpc, "MissingParameter", 400)
    assert missing["Error"]["Message"] == "The request must contain the parameter VpcId", missing
    refused(api.describe_vpcs, "DryRunOperation", 412, DryRun=True)
    refused(api.describe_vpcs, "InvalidParameterValue", 400, MaxResults="many")
    refused(api.delete_vpc, "UnknownParameter", 400, VpcId="vpc-1", DryRun=True)
    refused(api.create_vpc, "InvalidAction", 400, CidrBlock="10.0.0.0/16")
    stranger = client("ec2", aws_access_key_id="AKIASTRANGER")
    refused(stranger.describe_vpcs, "AuthFailure", 401)
    wrong = client("ec2", aws_secret_access_key="wrong")
    refused(wrong.describe_vpcs, "AuthFailure", 401)
    refused(client("ec2", region_name="eu-west-1").describe_vpcs, "AuthFailure", 401)


def sts():
    got = client("sts").get_caller_identity()
    assert got["Account"] == "123456789012" and got["Arn"].endswith(":root"), got
    assert client("sts", region_name="eu-west-1").get_caller_identity()["UserId"] == "123456789012"
    stranger = client("sts", aws_access_key_id="AKIASTRANGER")
    refused(stranger.get_caller_identity, "InvalidClientTokenId", 403)
    wrong = client("sts", aws_secret_access_key="wrong")
    refused(wrong.get_caller_identity, "SignatureDoesNotMatch", 403)
    token = client("sts", aws_session_token="nonsense")
    refused(token.get_caller_identity, "InvalidClientTokenId", 403)
    refused(client("sts").get_session_token, "InvalidAction", 400)


def presigned_sts():
    """As `aws eks get-token` signs it: a header that is not in the URL."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    request = AWSRequest(
        "GET",
        f"{endpoint}/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": "demo"},
    )
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    SigV4QueryAuth(keys, "sts", "us-west-2", expires=60).add_auth(request)
    headers = {"x-k8s-aws-id": "demo", "Accept": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(request.url, headers=headers)) as reply:
        body = json.load(reply)
    result = body["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
    assert result["Account"] == "123456789012", body
    try:
        urllib.request.urlopen(urllib.request.Request(request.url, headers={"x-k8s-aws-id": "other"}))
        raise AssertionError("another cluster's token was believed")
    except urllib.error.HTTPError as error:
        assert error.code == 403 and b"SignatureDoesNotMatch" in error.read()


def lattice():
    api = client("vpc-lattice")
    got = api.create_service(name="one", authType="AWS_IAM", tags={"id": "svc-7"})
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 201, got
    assert (got["id"], got["name"], got["authType"]) == ("svc-7", "one", "AWS_IAM"), got
    arn = "arn:aws:vpc-lattice:us-west-2:123456789012:service/svc-0123456789abcdef0"
    assert api.get_service(serviceIdentifier=arn)["id"] == arn
    lost = refused(api.untag_resource, "ResourceNotFoundException", 404, resourceArn=arn, tagKeys=["a b", "c&d"])
    assert lost["Error"]["Message"] == f"{arn} a b,c&d", lost
    refused(api.untag_resource, "ResourceNotFoundException", 404, resourceArn=arn, tagKeys=["one"])
    taken = refused(api.create_service, "ConflictException", 409, name="taken")
    assert (taken["resourceId"], taken["resourceType"]) == ("svc-1", "SERVICE"), taken
    short = refused(api.create_service, "ValidationException", 400, name="a")
    assert short["reason"] == "fieldValidationFailed", short
    assert short["fieldList"][0]["name"] == "name", short
    refused(api.create_service, "ValidationException", 400)
    odd = refused(api.create_service, "ValidationException", 400, name="odd", authType="LDAP")
    assert "[NONE, AWS_IAM]" in odd["fieldList"][0]["message"], odd
    refused(api.list_services, "UnknownOperationException", 404)
    stranger = client("vpc-lattice", aws_access_key_id="AKIASTRANGER")
    refused(stranger.get_service, "UnrecognizedClientException", 403, serviceIdentifier="x")
    wrong = client("vpc-lattice", aws_secret_access_key="wrong")
    refused(wrong.get_service, "InvalidSignatureException", 403, serviceIdentifier="x")


def secrets():
    api = client("secretsmanager")
    assert api.get_random_password(PasswordLength=5)["RandomPassword"] == "xxxxx"
    refused(api.get_random_password, "InvalidParameterException", 400, PasswordLength=0)
    refused(api.get_random_password, "SerializationException", 400, PasswordLength="five")
    refused(api.list_secrets, "UnknownOperationException", 400)
    stranger = client("secretsmanager", aws_access_key_id="AKIASTRANGER")
    refused(stranger.get_random_password, "UnrecognizedClientException", 400)


def cloudwatch():
    api = client("cloudwatch")
    when = datetime.datetime(2017, 7, 14, 2, 40, tzinfo=datetime.timezone.utc)
    metric = {
        "MetricName": "m",
        "Value": 1.5,
        "Timestamp": when,
        "Dimensions": [{"Name": "n", "Value": "value"}],
    }
    api.put_metric_data(Namespace="Toy", MetricData=[metric] * 500)  # gzip
    refused(api.put_metric_data, "InvalidParameterValue", 400, Namespace="Other", MetricData=[metric])
    ask = {"Namespace": "Toy", "MetricName": "m", "StartTime": when, "EndTime": when, "Period": 60}
    got = api.get_metric_statistics(Statistics=["Sum", "Average"], **ask)
    assert got["Label"] == "m Sum,Average", got
    assert got["Datapoints"] == [{"Timestamp": when, "Sum": 1.5}], got
    refused(api.get_metric_statistics, "ResourceNotFound", 404, **{**ask, "Namespace": "None"})
    del ask["MetricName"]
    refused(api.get_metric_statistics, "MissingParameter", 400, **ask)


def cloudwatch_query():
    """As clients before the end of 2025 speak."""
    session = boto3.Session()
    loader = session._session.get_component("data_loader")
    real = loader.load_service_model

    def query_only(*given, **named):
        model = real(*given, **named)
        if "metadata" in model and model["metadata"].get("serviceId") == "CloudWatch":
            model["metadata"]["protocols"] = ["query"]
            model["metadata"]["protocol"] = "query"
            model["metadata"].pop("awsQueryCompatible", None)
        return model

    loader.load_service_model = query_only
    api = session.client("cloudwatch", config=Config(retries={"max_attempts": 0}))
    when = datetime.datetime(2017, 7, 14, 2, 40, tzinfo=datetime.timezone.utc)
    metric = {"MetricName": "m", "Value": 1.5, "Timestamp": when, "Dimensions": []}
    api.put_metric_data(Namespace="Toy", MetricData=[metric, metric])
    ask = {"MetricName": "m", "StartTime": when, "EndTime": when, "Period": 60, "Statistics": ["Sum"]}
    got = api.get_metric_statistics(Namespace="Toy", **ask)
    assert got["Datapoints"] == [{"Timestamp": when, "Sum": 1.5}], got
    refused(api.get_metric_statistics, "ResourceNotFound", 404, Namespace="None", **ask)


def others():
    refused(client("sqs").list_queues, "UnknownOperationException", 400)
    try:
        urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/services")
        raise AssertionError("an unsigned call was answered")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.code
        assert error.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException", error.headers


for check in (ec2, sts, presigned_sts, lattice, secrets, cloudwatch, cloudwatch_query, others):
    check()
    print(check.__name__, "ok")
