//! What Transit Gateways are made of.

use super::{own_id, resource_types};

resource_types! {
    /// A Transit Gateway.
    TRANSIT_GATEWAY = "transit-gateway", ["ec2:transitGatewayId"] => |_, id| {
        own_id("ec2:transitGatewayId", id)
    };

    /// What joins a Transit Gateway to a VPC or to another gateway.
    TRANSIT_ATTACHMENT = "transit-gateway-attachment", ["ec2:transitGatewayAttachmentId"] => |_, id| {
        own_id("ec2:transitGatewayAttachmentId", id)
    };

    /// A route table of a Transit Gateway.
    TRANSIT_ROUTE_TABLE = "transit-gateway-route-table", ["ec2:transitGatewayRouteTableId"] => |_, id| {
        own_id("ec2:transitGatewayRouteTableId", id)
    };
}
