//! What Transit Gateways join.

use std::collections::BTreeSet;

use lath_model::id::{TransitGatewayId, VpcId};
use lath_store::View;

use crate::{TransitAttachment, TransitGateway};

/// Whether a VPC has an attachment to a gateway that packets may take.
pub fn reaches(view: &View, vpc: &VpcId, gateway: &str) -> bool {
    view.by::<TransitAttachment>("vpc", vpc.as_str())
        .any(|it| it.gateway.as_str() == gateway && it.state.is_up())
}

/// The gateway that joins two VPCs and lets rules of each name groups of the other: that is enabled on the gateway and on both
/// attachments, and both attachments work.
pub fn joining(view: &View, one: &VpcId, other: &VpcId) -> Option<TransitGatewayId> {
    let gateways = |vpc: &VpcId| {
        view.by::<TransitAttachment>("vpc", vpc.as_str())
            .filter(|it| it.state.is_up() && it.vpc().is_some_and(|end| end.group_references))
            .map(|it| it.gateway.clone())
            .collect::<BTreeSet<_>>()
    };
    let of_one = gateways(one);
    let mut of_both = gateways(other).into_iter().filter(|id| of_one.contains(id));
    of_both.find(|id| {
        let gateway = view.get::<TransitGateway>(id.as_str());
        gateway.is_some_and(|gateway| gateway.options.group_references)
    })
}
