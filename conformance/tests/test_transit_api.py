"""Transit Gateways in one region as their users see them: states, tables, routes, search, peering."""

import pytest
from lathlab import wait_for
from lathlab.lab import refusal

pytestmark = pytest.mark.root


def available(lab, kind, **ids):
    describe, key = {
        "gateway": (lab.ec2.describe_transit_gateways, "TransitGateways"),
        "table": (lab.ec2.describe_transit_gateway_route_tables, "TransitGatewayRouteTables"),
        "vpc": (lab.ec2.describe_transit_gateway_vpc_attachments, "TransitGatewayVpcAttachments"),
        "peering": (lab.ec2.describe_transit_gateway_peering_attachments, "TransitGatewayPeeringAttachments"),
    }[kind]
    wait_for(f"{ids} to be available", lambda: {it["State"] for it in describe(**ids)[key]} == {"available"})


def gateway(lab, **options):
    made = lab.ec2.create_transit_gateway(Description="test", **options)["TransitGateway"]
    id = made["TransitGatewayId"]
    lab.later(lab.ec2.delete_transit_gateway, TransitGatewayId=id)
    available(lab, "gateway", TransitGatewayIds=[id])
    return id, lab.ec2.describe_transit_gateways(TransitGatewayIds=[id])["TransitGateways"][0]["Options"]["AssociationDefaultRouteTableId"]


def attached(lab, tgw, vpc, subnet):
    id = lab.ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=tgw, VpcId=vpc, SubnetIds=[subnet])[
        "TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    lab.later(lab.ec2.delete_transit_gateway_vpc_attachment, TransitGatewayAttachmentId=id)
    available(lab, "vpc", TransitGatewayAttachmentIds=[id])
    return id


def found(lab, table, name, value):
    routes = lab.ec2.search_transit_gateway_routes(
        TransitGatewayRouteTableId=table, Filters=[{"Name": name, "Values": [value]}])["Routes"]
    return [(it["DestinationCidrBlock"], it["Type"], it["State"]) for it in routes]


def test_tables_hold_propagated_static_and_black_routes(lab):
    vpc, subnet, _ = lab.vpc("10.81.0.0/16", "10.81.1.0/24")
    tgw, table = gateway(lab)
    attachment = attached(lab, tgw, vpc, subnet)
    assert found(lab, table, "route-search.longest-prefix-match", "10.81.4.4") == [("10.81.0.0/16", "propagated", "active")]
    route = {"TransitGatewayRouteTableId": table, "DestinationCidrBlock": "10.82.0.0/16"}
    lab.ec2.create_transit_gateway_route(**route, TransitGatewayAttachmentId=attachment)
    assert refusal(lab.ec2.create_transit_gateway_route, **route, Blackhole=True) == ("RouteAlreadyExists", 400)
    assert found(lab, table, "type", "static") == [("10.82.0.0/16", "static", "active")]
    lab.ec2.replace_transit_gateway_route(**route, Blackhole=True)
    assert found(lab, table, "state", "blackhole") == [("10.82.0.0/16", "static", "blackhole")]
    lab.ec2.delete_transit_gateway_route(**route)
    assert found(lab, table, "type", "static") == []
    assert refusal(lab.ec2.delete_transit_gateway, TransitGatewayId=tgw) == ("IncorrectState", 400)
    assert refusal(lab.ec2.delete_subnet, SubnetId=subnet) == ("DependencyViolation", 400)


def test_an_attachment_moves_to_a_table_of_its_own(lab):
    vpc, subnet, _ = lab.vpc("10.83.0.0/16", "10.83.1.0/24")
    tgw, default = gateway(lab)
    attachment = attached(lab, tgw, vpc, subnet)
    own = lab.ec2.create_transit_gateway_route_table(TransitGatewayId=tgw)["TransitGatewayRouteTable"]["TransitGatewayRouteTableId"]
    available(lab, "table", TransitGatewayRouteTableIds=[own])
    pair = {"TransitGatewayRouteTableId": own, "TransitGatewayAttachmentId": attachment}
    assert refusal(lab.ec2.associate_transit_gateway_route_table, **pair) == ("Resource.AlreadyAssociated", 400)
    lab.ec2.disassociate_transit_gateway_route_table(**pair | {"TransitGatewayRouteTableId": default})

    def associations(table):
        return lab.ec2.get_transit_gateway_route_table_associations(TransitGatewayRouteTableId=table)["Associations"]

    wait_for("the association to go", lambda: associations(default) == [])
    lab.ec2.associate_transit_gateway_route_table(**pair)
    wait_for("the association", lambda: [it["State"] for it in associations(own)] == ["associated"])
    lab.ec2.enable_transit_gateway_route_table_propagation(**pair)
    assert found(lab, own, "attachment.transit-gateway-attachment-id", attachment) == [("10.83.0.0/16", "propagated", "active")]


def test_gateways_of_one_region_peer_by_either_id(lab):
    one, _ = gateway(lab)
    two, _ = gateway(lab)
    account = lab.ec2.describe_transit_gateways(TransitGatewayIds=[one])["TransitGateways"][0]["OwnerId"]
    id = lab.ec2.create_transit_gateway_peering_attachment(
        TransitGatewayId=one, PeerTransitGatewayId=two, PeerAccountId=account, PeerRegion=lab.ec2.meta.region_name)[
        "TransitGatewayPeeringAttachment"]["TransitGatewayAttachmentId"]
    lab.later(lab.ec2.delete_transit_gateway_peering_attachment, TransitGatewayAttachmentId=id)
    lab.ec2.accept_transit_gateway_peering_attachment(TransitGatewayAttachmentId=id)
    available(lab, "peering", Filters=[{"Name": "transit-gateway-id", "Values": [one, two]}])


def test_the_blocks_of_a_gateway_are_checked_kept_and_changed(lab):
    """They are for Connect attachments, which Lath does not have: routes and packets do not see them, as on AWS."""
    tgw, table = gateway(lab, Options={"TransitGatewayCidrBlocks": ["10.99.0.0/24", "2001:db8::/64"]})

    def blocks():
        shown = lab.ec2.describe_transit_gateways(TransitGatewayIds=[tgw])["TransitGateways"][0]["Options"]
        return shown.get("TransitGatewayCidrBlocks", [])

    def change(**options):
        return refusal(lab.ec2.modify_transit_gateway, TransitGatewayId=tgw, Options=options)

    assert blocks() == ["10.99.0.0/24", "2001:db8::/64"]
    assert found(lab, table, "type", "static") == [] and found(lab, table, "type", "propagated") == []
    lab.ec2.modify_transit_gateway(TransitGatewayId=tgw, Options={
        "AddTransitGatewayCidrBlocks": ["10.100.0.0/24"], "RemoveTransitGatewayCidrBlocks": ["2001:db8::/64"]})
    assert blocks() == ["10.99.0.0/24", "10.100.0.0/24"]
    for name, options in [
        ("too small", {"AddTransitGatewayCidrBlocks": ["10.101.0.0/25"]}),
        ("link-local", {"AddTransitGatewayCidrBlocks": ["169.254.0.0/24"]}),
        ("no block", {"AddTransitGatewayCidrBlocks": ["ten"]}),
        ("over another", {"AddTransitGatewayCidrBlocks": ["10.99.0.0/16"]}),
        ("not there", {"RemoveTransitGatewayCidrBlocks": ["10.98.0.0/24"]}),
    ]:
        assert change(**options) == ("InvalidParameterValue", 400), name
    assert blocks() == ["10.99.0.0/24", "10.100.0.0/24"]
