use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_records::{Subnet, Vpc};
use lath_feed::{Condition, Observed};
use lath_model::Timestamp;
use lath_model::id::VpcId;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use crate::{nat_gateways, network_acls, vpc_endpoints, vpc_peering};

/// Whether the VPC works, or worked before.
pub(crate) fn vpc_available(vpc: &Vpc, observed: &Observed) -> bool {
    vpc.available || matches!(observed.vpcs.get(&vpc.id), Some(Condition::Ready { .. }))
}

/// Whether a node has the subnet, or had it before.
pub(crate) fn subnet_available(subnet: &Subnet, vpcs: &BTreeMap<VpcId, Condition>) -> bool {
    let seen = |condition: &Condition| matches!(condition, Condition::Ready { version } if *version > subnet.created_after);
    subnet.available || vpcs.get(&subnet.vpc).is_some_and(seen)
}

/// Takes Transit Gateways a step further, in the transaction of [`reconcile`].
pub type AdvanceTransit = fn(&Cell, &mut Tx, &Observed, Timestamp);

/// Writes down what was seen to work, and takes everything a step further that waits for a node or for
/// another region.
///
/// # Errors
/// That the store failed.
pub async fn reconcile(app: Arc<Ec2>, advance_transit: AdvanceTransit) -> Result<(), ApiError> {
    let observed = Arc::clone(&app.cell.observed.borrow());
    let now = app.cell.now();
    // A transaction that changes nothing writes nothing and wakes no reader.
    app.cell
        .db
        .write(|tx: &mut Tx| {
            let (vpcs, subnets) = newly_available(tx.view(), &observed);
            for id in &vpcs {
                tx.update::<Vpc>(id, |vpc| vpc.available = true);
            }
            for id in &subnets {
                tx.update::<Subnet>(id, |subnet| subnet.available = true);
            }
            network_acls::complete_in(tx);
            advance_transit(&app.cell, tx, &observed, now);
            nat_gateways::advance(tx, &observed, now);
            vpc_endpoints::advance(tx, &observed, now);
            vpc_peering::advance(tx, &observed, now);
            Ok(())
        })
        .await
}

fn newly_available(view: &View, observed: &Observed) -> (Vec<String>, Vec<String>) {
    let vpcs = view
        .by::<Vpc>("state", "pending")
        .filter(|vpc| vpc_available(vpc, observed))
        .map(|vpc| vpc.id.to_string())
        .collect();
    let subnets = view
        .by::<Subnet>("state", "pending")
        .filter(|subnet| subnet_available(subnet, &observed.vpcs))
        .map(|subnet| subnet.id.to_string())
        .collect();
    (vpcs, subnets)
}
