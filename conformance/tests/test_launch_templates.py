"""Launch templates, and instances that are launched from them."""

import base64

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import code_of, unique


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    assert code_of(error.value) == code, error.value
    return error.value.response["Error"]["Message"]


@pytest.fixture
def template(lab):
    """Makes templates that go with the test."""
    def make(data, **more):
        made = lab.ec2.create_launch_template(LaunchTemplateName=unique("t"), LaunchTemplateData=data, **more)
        lab.later(lab.ec2.delete_launch_template, LaunchTemplateId=made["LaunchTemplate"]["LaunchTemplateId"])
        return made
    return make


def test_versions(lab, template):
    ec2 = lab.ec2
    made = template({"InstanceType": "t3.micro", "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-0123456789abcdef0"]}]},
                    VersionDescription="first", TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "a", "Value": "b"}]}])
    assert "Warning" not in made
    made = made["LaunchTemplate"]
    id, name = made["LaunchTemplateId"], made["LaunchTemplateName"]
    assert (made["DefaultVersionNumber"], made["LatestVersionNumber"], made["Tags"]) == (1, 1, [{"Key": "a", "Value": "b"}])
    assert made["CreatedBy"].startswith("arn:aws:iam::")
    kept = ec2.create_launch_template_version(
        LaunchTemplateName=name, SourceVersion="1", ClientToken="once", LaunchTemplateData={"InstanceType": "t3.small"})
    again = ec2.create_launch_template_version(
        LaunchTemplateName=name, SourceVersion="1", ClientToken="once", LaunchTemplateData={"InstanceType": "t3.small"})
    assert kept["LaunchTemplateVersion"] == again["LaunchTemplateVersion"]
    assert kept["LaunchTemplateVersion"]["LaunchTemplateData"] == {
        "InstanceType": "t3.small", "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-0123456789abcdef0"]}]}
    refused("IdempotentParameterMismatch", ec2.create_launch_template_version,
            LaunchTemplateName=name, ClientToken="once", LaunchTemplateData={"InstanceType": "t3.large"})
    spot = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.1"}}}
    warned = ec2.create_launch_template_version(LaunchTemplateId=id, LaunchTemplateData=spot)
    assert [it["Code"] for it in warned["Warning"]["Errors"]] == ["UnsupportedOperation"]
    assert warned["LaunchTemplateVersion"]["LaunchTemplateData"] == spot

    versions = ec2.get_paginator("describe_launch_template_versions").paginate(LaunchTemplateId=id, PaginationConfig={"PageSize": 2})
    assert [it["VersionNumber"] for page in versions for it in page["LaunchTemplateVersions"]] == [3, 2, 1]
    assert ec2.modify_launch_template(LaunchTemplateId=id, DefaultVersion="$Latest")["LaunchTemplate"]["DefaultVersionNumber"] == 3
    answer = ec2.delete_launch_template_versions(LaunchTemplateId=id, Versions=["1", "3", "9"])
    assert [it["VersionNumber"] for it in answer["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    assert [it["ResponseError"]["Code"] for it in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [
        "unexpectedError", "launchTemplateVersionDoesNotExist"]
    assert "version 1 for the launch template" in refused(
        "InvalidLaunchTemplateId.VersionNotFound", ec2.describe_launch_template_versions, LaunchTemplateId=id, Versions=["1"])

    ec2.create_tags(Resources=[id], Tags=[{"Key": "c", "Value": "d"}])
    found = ec2.describe_launch_templates(Filters=[{"Name": "tag:c", "Values": ["d"]}])["LaunchTemplates"]
    assert [(it["LaunchTemplateId"], it["LatestVersionNumber"]) for it in found] == [(id, 3)]
    assert ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"] == found


@pytest.mark.root
def test_an_instance_of_a_template(lab, template):
    ec2 = lab.ec2
    _, subnet, group = lab.vpc("10.93.0.0/16", "10.93.1.0/24")
    said = base64.b64encode(b"#!/bin/sh\necho from-the-template\n").decode()
    made = template({
        "ImageId": lab.image(), "InstanceType": "t3.micro", "UserData": said,
        "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group]}],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}]},
                              {"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "volume"}]}]})["LaunchTemplate"]
    id = made["LaunchTemplateId"]
    started = ec2.run_instances(
        MinCount=1, MaxCount=1, InstanceType="t3.small", LaunchTemplate={"LaunchTemplateName": made["LaunchTemplateName"], "Version": "$Latest"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "b", "Value": "2"}]}])["Instances"][0]["InstanceId"]
    lab.later(lab._terminated, instance=started)
    lab.until(started, "running")
    shown = lab.describe(started)
    assert {it["Key"]: it["Value"] for it in shown["Tags"]} == {
        "a": "1", "b": "2", "aws:ec2launchtemplate:id": id, "aws:ec2launchtemplate:version": "1"}
    assert (shown["InstanceType"], shown["SubnetId"], shown["MetadataOptions"]["HttpPutResponseHopLimit"]) == ("t3.small", subnet, 3)
    assert [it["GroupId"] for it in shown["SecurityGroups"]] == [group]
    [volume] = ec2.describe_volumes(Filters=[{"Name": "tag:of", "Values": ["volume"]}])["Volumes"]
    assert volume["Attachments"][0]["InstanceId"] == started
    wait_for("the template's user data to run", lambda: "from-the-template" in
             ec2.get_console_output(InstanceId=started).get("Output", ""))

    data = ec2.get_launch_template_data(InstanceId=started)["LaunchTemplateData"]
    assert (data["UserData"], data["InstanceType"], data["NetworkInterfaces"][0]["Groups"]) == (said, "t3.small", [group])
    # It names an interface with its subnet, which a template may hold and no launch may ask for.
    copy = template(data)["LaunchTemplate"]
    refused("InvalidParameterCombination", ec2.run_instances, MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateId": copy["LaunchTemplateId"]})
    refused("InvalidParameterCombination", ec2.run_instances, MinCount=1, MaxCount=1, SubnetId=subnet, LaunchTemplate={"LaunchTemplateId": id})
