//! What Transit Gateways are made of.

use lath_service::{Kind, Resource};

use super::{ids, own_id, resource_type};
use crate::{TransitAttachment, TransitGateway, TransitRouteTable};

/// A Transit Gateway.
pub const TRANSIT_GATEWAY: Kind = Kind::of::<TransitGateway>(
    ids(
        "tgw",
        "InvalidTransitGatewayID.Malformed",
        "InvalidTransitGatewayID.NotFound",
        "Transit Gateway {} was deleted or does not exist.",
    ),
    resource_type!("transit-gateway", ["ec2:transitGatewayId"], |_, id| {
        own_id("ec2:transitGatewayId", id)
    }),
);

/// What joins a Transit Gateway to a VPC or to another gateway.
pub const TRANSIT_ATTACHMENT: Kind = Kind::of::<TransitAttachment>(
    ids(
        "tgw-attach",
        "InvalidTransitGatewayAttachmentID.Malformed",
        "InvalidTransitGatewayAttachmentID.NotFound",
        "Transit Gateway Attachment {} was deleted or does not exist.",
    ),
    resource_type!(
        "transit-gateway-attachment",
        ["ec2:transitGatewayAttachmentId"],
        |_, id| { own_id("ec2:transitGatewayAttachmentId", id) }
    ),
);

/// A route table of a Transit Gateway.
pub const TRANSIT_ROUTE_TABLE: Kind = Kind::of::<TransitRouteTable>(
    ids(
        "tgw-rtb",
        "InvalidRouteTableId.Malformed",
        "InvalidRouteTableID.NotFound",
        "Transit Gateway Route Table {} was deleted or does not exist.",
    ),
    resource_type!(
        "transit-gateway-route-table",
        ["ec2:transitGatewayRouteTableId"],
        |_, id| { own_id("ec2:transitGatewayRouteTableId", id) }
    ),
);

impl Resource for TransitGateway {
    const RESOURCE: Kind = TRANSIT_GATEWAY;
}

impl Resource for TransitAttachment {
    const RESOURCE: Kind = TRANSIT_ATTACHMENT;
}

impl Resource for TransitRouteTable {
    const RESOURCE: Kind = TRANSIT_ROUTE_TABLE;
}
