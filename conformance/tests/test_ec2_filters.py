"""Every filter that AWS documents of a served call is taken (botocore's own documentation has the names)."""

import pathlib
import re

import botocore.session
import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import allow, unique

pytestmark = pytest.mark.root

TABLE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
# Names of the documentation that stand for a family.
FAMILIES = {"tag": "tag:Owner", "tag:<key>": "tag:Owner", "tag :<key>": "tag:Owner"}

# Whatever it is asked, it is refused: there are no buckets.
REFUSED = {"ExportTransitGatewayRoutes"}


def served():
    """EC2's served operations, as the compatibility table has them."""
    section = TABLE.read_text().split("## ec2\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (\w+) \| yes ", section, re.M)


def documented():
    """Of each served operation that has filters: the name of the member, and the documented names."""
    model = botocore.session.get_session().get_service_model("ec2")
    for operation in served():
        shape = model.operation_model(operation).input_shape
        for member in ("Filters", "Filter"):
            filters = shape.members.get(member) if shape else None
            if filters is not None and filters.type_name == "list" and filters.member.name == "Filter":
                names = re.findall(r"<li>\s*<p>\s*<code>([^<]+)</code>", filters.documentation)
                yield operation, member, [FAMILIES.get(name.strip(), name.strip()) for name in names]


def needed(lab):
    """What operations need beside filters."""
    ec2 = lab.ec2
    vpc, subnet, _ = lab.vpc("10.77.0.0/16", "10.77.1.0/24")
    template = ec2.create_launch_template(
        LaunchTemplateName=unique("filters"), LaunchTemplateData={"InstanceType": "t3.micro"})["LaunchTemplate"]["LaunchTemplateId"]
    lab.later(ec2.delete_launch_template, LaunchTemplateId=template)
    gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    lab.later(ec2.delete_transit_gateway, TransitGatewayId=gateway)
    options = wait_for("a Transit Gateway", lambda: next(
        (it["Options"] for it in ec2.describe_transit_gateways(TransitGatewayIds=[gateway])["TransitGateways"]
         if it["State"] == "available"), None))
    attachment = ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=gateway, VpcId=vpc, SubnetIds=[subnet])["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    lab.later(ec2.delete_transit_gateway_vpc_attachment, TransitGatewayAttachmentId=attachment)
    table = {"TransitGatewayRouteTableId": options["AssociationDefaultRouteTableId"]}
    of_tables = ("GetTransitGatewayPrefixListReferences", "GetTransitGatewayRouteTableAssociations",
                 "GetTransitGatewayRouteTablePropagations", "SearchTransitGatewayRoutes")
    return {name: table for name in of_tables} | {
        "DescribeLaunchTemplateVersions": {"LaunchTemplateId": template},
        "GetSecurityGroupsForVpc": {"VpcId": vpc},
        "GetSubnetCidrReservations": {"SubnetId": subnet},
        "GetTransitGatewayAttachmentPropagations": {"TransitGatewayAttachmentId": attachment},
        "ExportTransitGatewayRoutes": table | {"S3Bucket": "none"},
    }


def test_every_documented_filter_is_taken(lab):
    known = [it for it in documented() if it[0] not in REFUSED]
    assert sum(len(names) for _, _, names in known) > 500, "the documentation is no longer read as it is written"
    needs = needed(lab)
    refused = []
    for operation, member, names in known:
        call = getattr(lab.ec2, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())
        for name in names:
            try:
                call(**needs.get(operation, {}), **{member: [{"Name": name, "Values": ["10.0.0.0/8"]}]})
            except ClientError as error:
                refused.append(f"{operation} {name}: {error}")
    assert not refused, "\n".join(refused)


def test_filters_by_what_other_records_say_find_it(lab):
    vpc, subnet, _ = lab.vpc("10.78.0.0/16", "10.78.1.0/24")
    name = unique("front")
    front = lab.ec2.create_security_group(GroupName=name, Description="test", VpcId=vpc)["GroupId"]
    lab.later(lab.ec2.delete_security_group, GroupId=front)
    back = lab.group(vpc)
    lab.ec2.authorize_security_group_ingress(GroupId=back, IpPermissions=[allow(group=front)])

    def groups(filter, value):
        found = lab.ec2.describe_security_groups(Filters=[{"Name": filter, "Values": [value]}])["SecurityGroups"]
        return [it["GroupId"] for it in found]

    assert groups("ip-permission.group-name", name) == [back]
    assert groups("ip-permission.group-name", f"{name[:-1]}?") == [back]
    assert groups("egress.ip-permission.group-name", name) == []
    assert groups("ip-permission.group-name", "none") == []
