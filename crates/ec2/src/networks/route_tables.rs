//! Route tables.

use std::sync::Arc;

use lath_model::id::VpcId;
use lath_store::View;

use crate::records::{InternetGateway, NetworkInterface, RouteTable, Subnet, Target};

/// The VPC's main table.
pub(crate) fn main(view: &View, vpc: &VpcId) -> Option<Arc<RouteTable>> {
    view.list::<RouteTable>()
        .find(|table| table.vpc == *vpc && table.is_main())
}

/// The table that a subnet's packets use: its own, or the main one.
pub(crate) fn of_subnet(view: &View, subnet: &Subnet) -> Option<Arc<RouteTable>> {
    view.list::<RouteTable>()
        .find(|table| table.has_subnet(&subnet.id))
        .or_else(|| main(view, &subnet.vpc))
}

/// Whether a route's target can take packets; otherwise the route is a black hole.
pub(crate) fn is_alive(view: &View, table: &RouteTable, target: &Target) -> bool {
    match target {
        Target::InternetGateway(id) => view
            .get::<InternetGateway>(id.as_str())
            .is_some_and(|gateway| gateway.vpc.as_ref() == Some(&table.vpc)),
        Target::Interface(id) => view
            .get::<NetworkInterface>(id.as_str())
            .is_some_and(|interface| interface.attachment.is_some()),
    }
}
