"""What the options of Transit Gateways and their attachments do: rules that name groups of other VPCs, and public names."""

import pytest
from lathlab import wait_for
from lathlab.lab import allow, refusal

pytestmark = pytest.mark.root


def until(what, get, state="available"):
    wait_for(f"{what} to be {state}", lambda: get()["State"] == state)


def test_rules_name_groups_across_a_gateway_while_all_of_it_lets_them(lab):
    """The gateway and both attachments decide: rules that name the other VPC's groups are made and match only then."""
    ec2, ends = lab.ec2, []
    tgw = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    lab.later(ec2.delete_transit_gateway, TransitGatewayId=tgw)
    until("the gateway", lambda: ec2.describe_transit_gateways(TransitGatewayIds=[tgw])["TransitGateways"][0])

    def attachment(id):
        return ec2.describe_transit_gateway_vpc_attachments(TransitGatewayAttachmentIds=[id])["TransitGatewayVpcAttachments"][0]

    for net in "10.95", "10.96":
        vpc, subnet, _ = lab.vpc(f"{net}.0.0/16", f"{net}.1.0/24")
        id = ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=tgw, VpcId=vpc, SubnetIds=[subnet])[
            "TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
        lab.later(ec2.delete_transit_gateway_vpc_attachment, TransitGatewayAttachmentId=id)
        until("an attachment", lambda id=id: attachment(id))
        route = {"RouteTableId": lab.main_table(vpc), "DestinationCidrBlock": "10.0.0.0/8"}
        ec2.create_route(**route, TransitGatewayId=tgw)
        lab.later(ec2.delete_route, **route)
        ends.append((id, vpc, subnet))
    (near, client_vpc, client_subnet), (far, server_vpc, server_subnet) = ends
    named, other = lab.group(client_vpc), lab.group(client_vpc)
    guard = lab.group(server_vpc)
    client, _ = lab.instance(client_subnet, named)
    stranger, _ = lab.instance(client_subnet, other)
    _, address = lab.echo(server_subnet, guard, 80)

    def reached(instance):
        return lab.run(instance, "curl", "-s", "--max-time", "1", f"http://{address}/", check=False).returncode == 0

    rule = {"GroupId": guard, "IpPermissions": [allow("tcp", 80, group=named)]}
    assert refusal(ec2.authorize_security_group_ingress, **rule) == ("InvalidGroup.NotFound", 400)
    ec2.modify_transit_gateway(TransitGatewayId=tgw, Options={"SecurityGroupReferencingSupport": "enable"})
    ec2.authorize_security_group_ingress(**rule)
    wait_for("the named group to pass", lambda: reached(client))
    assert not reached(stranger)
    for name, switch in [
        ("gateway", lambda to: ec2.modify_transit_gateway(TransitGatewayId=tgw, Options={"SecurityGroupReferencingSupport": to})),
        ("near", lambda to: ec2.modify_transit_gateway_vpc_attachment(
            TransitGatewayAttachmentId=near, Options={"SecurityGroupReferencingSupport": to})),
        ("far", lambda to: ec2.modify_transit_gateway_vpc_attachment(
            TransitGatewayAttachmentId=far, Options={"SecurityGroupReferencingSupport": to})),
    ]:
        switch("disable")
        wait_for(f"{name} to end it", lambda: not reached(client))
        switch("enable")
        wait_for(f"{name} to allow it again", lambda: reached(client))


def test_public_names_lead_to_private_addresses_across_a_gateway_that_supports_dns(lab):
    ec2, attachments = lab.ec2, []
    tgw = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    lab.later(ec2.delete_transit_gateway, TransitGatewayId=tgw)
    until("the gateway", lambda: ec2.describe_transit_gateways(TransitGatewayIds=[tgw])["TransitGateways"][0])
    near_vpc, near_subnet, near_group = lab.vpc("10.97.0.0/16", "10.97.1.0/24")
    far_vpc, far_subnet, far_group = lab.vpc("10.98.0.0/16", "10.98.1.0/24", internet=True)
    ec2.modify_vpc_attribute(VpcId=far_vpc, EnableDnsHostnames={"Value": True})
    client, _ = lab.instance(near_subnet, near_group)
    server, private = lab.instance(far_subnet, far_group, public=True)
    shown = lab.describe(server)
    name, public = shown["PublicDnsName"], shown["PublicIpAddress"]

    def resolved():
        out = lab.run(client, "getent", "ahostsv4", name, check=False).stdout
        return out.split()[0] if out else None

    wait_for("the public address", lambda: resolved() == public)
    for vpc, subnet in (near_vpc, near_subnet), (far_vpc, far_subnet):
        id = ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=tgw, VpcId=vpc, SubnetIds=[subnet])[
            "TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
        lab.later(ec2.delete_transit_gateway_vpc_attachment, TransitGatewayAttachmentId=id)
        until("an attachment", lambda id=id: ec2.describe_transit_gateway_vpc_attachments(
            TransitGatewayAttachmentIds=[id])["TransitGatewayVpcAttachments"][0])
        attachments.append(id)
    wait_for("the private address", lambda: resolved() == private)
    for switch in [
        lambda to: ec2.modify_transit_gateway(TransitGatewayId=tgw, Options={"DnsSupport": to}),
        lambda to: ec2.modify_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=attachments[0], Options={"DnsSupport": to}),
        lambda to: ec2.modify_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=attachments[1], Options={"DnsSupport": to}),
    ]:
        switch("disable")
        wait_for("the public address again", lambda: resolved() == public)
        switch("enable")
        wait_for("the private address again", lambda: resolved() == private)
