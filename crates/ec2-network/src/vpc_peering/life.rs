//! What becomes of peering connections, and what nodes are told of them.

use std::time::Duration;

use lath_ec2_kit::tags;
use lath_ec2_records::{PeeringState, VpcPeering};
use lath_feed::{Condition, Observed, VpcPeer};
use lath_model::Timestamp;
use lath_model::id::VpcId;
use lath_store::{Tx, View};

use super::of_vpc;

/// How long one that was deleted or failed stays visible.
const LINGERS: Duration = Duration::from_secs(2 * 3600);
/// How long one that was rejected or expired does.
const REFUSED_LINGERS: Duration = Duration::from_secs(2 * 24 * 3600);

/// One step of everything. Doing it again changes nothing until something else did.
pub(crate) fn advance(tx: &mut Tx, observed: &Observed, now: Timestamp) {
    let changing: Vec<_> = tx.view().by::<VpcPeering>("state", "changing").collect();
    for peering in changing {
        let id = peering.id.as_str();
        match peering.state {
            PeeringState::Provisioning if is_made(&peering, observed) => {
                tx.update::<VpcPeering>(id, |it| it.state = PeeringState::Active);
            }
            PeeringState::Pending if peering.expires_at <= now => {
                tx.update::<VpcPeering>(id, |it| {
                    it.state = PeeringState::Expired;
                    it.ended_at = Some(now);
                });
            }
            _ if is_over(&peering, now) => {
                tags::forget(tx, id);
                tx.delete::<VpcPeering>(id);
            }
            _ => {}
        }
    }
}

/// Whether the nodes of both VPCs have it.
fn is_made(peering: &VpcPeering, observed: &Observed) -> bool {
    let sides = [&peering.requester.vpc, &peering.accepter.vpc];
    sides.iter().all(|vpc| {
        let condition = observed.vpcs.get(*vpc);
        matches!(condition, Some(Condition::Ready { version }) if *version > peering.after)
    })
}

fn is_over(peering: &VpcPeering, now: Timestamp) -> bool {
    let lingers = match peering.state {
        PeeringState::Rejected | PeeringState::Expired => REFUSED_LINGERS,
        _ => LINGERS,
    };
    peering
        .ended_at
        .is_some_and(|ended| ended.plus(lingers) <= now)
}

/// The connections of a VPC that its node should have.
pub(crate) fn feed(view: &View, vpc: &VpcId) -> Vec<VpcPeer> {
    let up = of_vpc(view, vpc).filter(|it| it.state.is_up());
    up.filter_map(|it| {
        let (_, there) = it.seen_from(vpc)?;
        Some(VpcPeer {
            id: it.id.clone(),
            vpc: there.vpc.clone(),
            shares_names: there.shares_names,
        })
    })
    .collect()
}
