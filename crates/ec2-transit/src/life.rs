//! How gateways, tables, attachments and links go from state to state: by what nodes observe and what
//! other regions tell.

use std::time::Duration;

use lath_control::Cell;
use lath_ec2_kit::tags;
use lath_ec2_records::{
    AttachmentState, LifeState, LinkState, PeerTransit, PeeringEnd, TransitAttachment,
    TransitGateway, TransitRouteTable,
};
use lath_feed::{Condition, Observed};
use lath_model::Timestamp;
use lath_model::id::TransitGatewayId;
use lath_store::{Tx, View};

use super::exchange::{has_gateway, requests};
use super::{peering, vpc_attachments};

/// How long deleted gateways and tables stay visible.
const GATEWAY_LINGERS: Duration = Duration::from_secs(3600);
/// How long attachments that ended stay visible.
const ATTACHMENT_LINGERS: Duration = Duration::from_secs(2 * 3600);
/// How long a request waits to be accepted.
const REQUEST_EXPIRES: Duration = Duration::from_secs(7 * 24 * 3600);

/// One step of everything. Doing it again changes nothing until something else did.
pub fn advance(cell: &Cell, tx: &mut Tx, observed: &Observed, now: Timestamp) {
    take_requests(cell, tx);
    advance_attachments(cell, tx, observed, now);
    advance_tables(tx, observed);
    advance_gateways(tx, observed);
    forget(tx, now);
}

/// The newest version of a gateway that a node made true.
fn made_version(observed: &Observed, gateway: &TransitGatewayId) -> Option<u64> {
    match observed.transit_gateways.get(gateway) {
        Some(Condition::Ready { version }) => Some(*version),
        _ => None,
    }
}

fn advance_gateways(tx: &mut Tx, observed: &Observed) {
    let all: Vec<_> = tx.list::<TransitGateway>().collect();
    for gateway in all {
        let left = observed.transit_gateways.contains_key(&gateway.id);
        let gone = !left && observed.applied_version > gateway.life.after;
        let next = match gateway.life.state {
            LifeState::Pending if made_version(observed, &gateway.id).is_some() => {
                LifeState::Available
            }
            LifeState::Deleting if gone => LifeState::Deleted,
            _ => continue,
        };
        let (after, now) = (tx.view().revision(), tx.now());
        tx.update::<TransitGateway>(gateway.id.as_str(), |it| it.life.enter(next, after, now));
    }
}

fn advance_tables(tx: &mut Tx, observed: &Observed) {
    let all: Vec<_> = tx.list::<TransitRouteTable>().collect();
    for table in all {
        let gateway = tx.get::<TransitGateway>(table.gateway.as_str());
        let over = gateway.is_none_or(|it| it.life.state == LifeState::Deleted);
        let made = made_version(observed, &table.gateway).is_some_and(|it| it > table.life.after);
        let next = match table.life.state {
            LifeState::Pending if made => LifeState::Available,
            LifeState::Deleting if made || over => LifeState::Deleted,
            _ => continue,
        };
        let (after, now) = (tx.view().revision(), tx.now());
        tx.update::<TransitRouteTable>(table.id.as_str(), |it| it.life.enter(next, after, now));
    }
}

/// Requests of other regions become attachments here.
fn take_requests(cell: &Cell, tx: &mut Tx) {
    let peers: Vec<_> = tx.list::<PeerTransit>().collect();
    for peer in peers {
        for (id, request) in requests(cell, &peer) {
            let known = tx.get::<TransitAttachment>(id.as_str()).is_some();
            if known || !has_gateway(tx.view(), &request) {
                continue;
            }
            // Without a free port the request waits.
            let Ok(tunnel) = peering::tunnel_end(tx.view()) else {
                continue;
            };
            let end = PeeringEnd {
                requester: false,
                gateway: request.gateway.clone(),
                region: peer.region.clone(),
                owner: peer.told.account.clone(),
                attachment: id.clone(),
                tunnel: Some(tunnel),
                ready: false,
                dynamic_routing: None,
                failure: None,
            };
            let state = AttachmentState::PendingAcceptance;
            let gateway = request.peer_gateway.clone();
            tx.put(peering::attachment(cell, tx, id, gateway, end, state));
        }
    }
}

fn advance_attachments(cell: &Cell, tx: &mut Tx, observed: &Observed, now: Timestamp) {
    let ids: Vec<_> = tx
        .list::<TransitAttachment>()
        .map(|it| it.id.clone())
        .collect();
    for id in ids {
        advance_links(tx, observed, id.as_str());
        // The step of another attachment may have changed this one: it is read anew.
        let Some(attachment) = tx.get::<TransitAttachment>(id.as_str()) else {
            continue;
        };
        let ready = match observed.transit_attachments.get(&attachment.id) {
            Some(Condition::Ready { version }) => Some(*version),
            _ => None,
        };
        let left = observed.transit_attachments.contains_key(&attachment.id);
        let gone = !left && observed.applied_version > attachment.after;
        if attachment.state == AttachmentState::Deleting {
            if gone {
                end(tx, &attachment);
            }
            continue;
        }
        match attachment.peering() {
            Some(peer) => advance_peering(cell, tx, &attachment, peer, ready.is_some(), now),
            None => {
                let made = match attachment.state {
                    AttachmentState::Pending => ready.is_some(),
                    AttachmentState::Modifying => ready.is_some_and(|it| it > attachment.after),
                    _ => false,
                };
                if made {
                    enter(tx, &attachment, AttachmentState::Available, None);
                }
            }
        }
    }
}

/// What the node no longer has is deleted; a VPC gets its addresses back.
fn end(tx: &mut Tx, attachment: &TransitAttachment) {
    enter(tx, attachment, AttachmentState::Deleted, None);
    if let Some(vpc) = attachment.vpc() {
        vpc_attachments::release_interfaces(tx, vpc.subnets.values());
    }
}

fn enter(
    tx: &mut Tx,
    attachment: &TransitAttachment,
    state: AttachmentState,
    failure: Option<&str>,
) {
    let (after, now) = (tx.view().revision(), tx.now());
    tx.update::<TransitAttachment>(attachment.id.as_str(), |it| {
        it.enter(state, after, now);
        if let Some(end) = it.peering_mut()
            && failure.is_some()
        {
            end.failure = failure.map(str::to_owned);
        }
    });
}

fn advance_links(tx: &mut Tx, observed: &Observed, id: &str) {
    let Some(attachment) = tx.get::<TransitAttachment>(id) else {
        return;
    };
    let Some(made) = made_version(observed, &attachment.gateway) else {
        return;
    };
    let mut next = TransitAttachment::clone(&attachment);
    let links = next.association.iter_mut().chain(&mut next.propagations);
    for link in links.filter(|it| it.state == LinkState::Making && made > it.after) {
        link.state = LinkState::Made;
    }
    let over = |state: LinkState, after: u64| state == LinkState::Unmaking && made > after;
    next.association = next.association.filter(|it| !over(it.state, it.after));
    next.propagations.retain(|it| !over(it.state, it.after));
    tx.put(next);
}

/// The other side of a peering, as far as it is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// Its region never told anything.
    Unknown,
    /// Its region knows nothing of the attachment.
    Absent,
    /// Its region has no such gateway.
    Refused,
    /// It is in this state, and its node does or does not reach ours.
    Known(AttachmentState, bool),
}

fn other_side(cell: &Cell, view: &View, attachment: &TransitAttachment, end: &PeeringEnd) -> Other {
    if end.region == cell.region {
        let other = view.get::<TransitAttachment>(end.attachment.as_str());
        return other.map_or(Other::Absent, |it| {
            Other::Known(it.state, it.peering().is_some_and(|end| end.ready))
        });
    }
    let Some(peer) = view.get::<PeerTransit>(&end.region) else {
        return Other::Unknown;
    };
    let known = peer.told.peerings.get(&attachment.id);
    match known.filter(|it| it.peer_region == cell.region) {
        Some(it) => Other::Known(it.state, it.ready),
        None if peer.told.refused.contains(&attachment.id) => Other::Refused,
        None => Other::Absent,
    }
}

/// Where an attachment goes from a state, given the other side; `None`: it stays.
fn next_state(
    state: AttachmentState,
    requester: bool,
    ready: bool,
    other: Other,
) -> Option<AttachmentState> {
    use AttachmentState as S;
    if state == S::Deleting || state.has_ended() {
        return None;
    }
    match (state, other) {
        (_, Other::Unknown) | (S::InitiatingRequest, Other::Absent) => None,
        (S::InitiatingRequest, Other::Refused) => Some(S::Failed),
        (_, Other::Absent | Other::Refused) => Some(S::Deleting),
        (_, Other::Known(S::Deleting | S::Deleted, _)) => Some(S::Deleting),
        (_, Other::Known(S::Rejected, _)) => Some(S::Rejected),
        (_, Other::Known(S::Failed, _)) => Some(S::Failed),
        (S::InitiatingRequest, Other::Known(S::PendingAcceptance, _)) => Some(S::PendingAcceptance),
        (S::InitiatingRequest | S::PendingAcceptance, Other::Known(it, _))
            if requester && it.is_up() =>
        {
            Some(S::Pending)
        }
        (S::Pending, Other::Known(it, true)) if ready && it.is_up() => Some(S::Available),
        _ => None,
    }
}

fn advance_peering(
    cell: &Cell,
    tx: &mut Tx,
    attachment: &TransitAttachment,
    end: &PeeringEnd,
    ready: bool,
    now: Timestamp,
) {
    let ready = end.ready || (ready && attachment.state.is_up());
    if ready && !end.ready {
        tx.update::<TransitAttachment>(attachment.id.as_str(), |it| {
            if let Some(end) = it.peering_mut() {
                end.ready = true;
            }
        });
    }
    let other = other_side(cell, tx.view(), attachment, end);
    let waits = matches!(
        attachment.state,
        AttachmentState::InitiatingRequest | AttachmentState::PendingAcceptance
    );
    if waits && now.since(attachment.created_at) > REQUEST_EXPIRES {
        return enter(
            tx,
            attachment,
            AttachmentState::Failed,
            Some("The request has expired."),
        );
    }
    if attachment.state == AttachmentState::InitiatingRequest && end.owner != cell.account {
        let reason = format!("The account {} is not known.", end.owner);
        return enter(tx, attachment, AttachmentState::Failed, Some(&reason));
    }
    match next_state(attachment.state, end.requester, ready, other) {
        None => {}
        Some(AttachmentState::Pending) => {
            peering::begin(tx, attachment);
        }
        Some(AttachmentState::Failed) => {
            let reason = format!("The Transit Gateway {} does not exist.", end.gateway);
            enter(tx, attachment, AttachmentState::Failed, Some(&reason));
        }
        Some(next) => enter(tx, attachment, next, None),
    }
}

/// What ended long ago is seen no more. A peering stays until its other side has heard of the end: else it
/// would be taken for a new one.
fn forget(tx: &mut Tx, now: Timestamp) {
    let old = |ended: Option<Timestamp>, lingers: Duration| {
        ended.is_some_and(|ended| now.since(ended) >= lingers)
    };
    let attachments: Vec<_> = tx
        .list::<TransitAttachment>()
        .filter(|it| old(it.ended_at, ATTACHMENT_LINGERS) && !is_awaited(tx.view(), it))
        .map(|it| it.id.to_string())
        .collect();
    for id in attachments {
        tags::forget(tx, &id);
        tx.delete::<TransitAttachment>(&id);
    }
    let tables: Vec<_> = tx
        .list::<TransitRouteTable>()
        .filter(|it| old(it.life.ended_at, GATEWAY_LINGERS))
        .map(|it| it.id.to_string())
        .collect();
    for id in tables {
        tags::forget(tx, &id);
        tx.delete::<TransitRouteTable>(&id);
    }
    let gateways: Vec<_> = tx
        .list::<TransitGateway>()
        .filter(|it| old(it.life.ended_at, GATEWAY_LINGERS))
        .map(|it| it.id.to_string())
        .collect();
    for id in gateways {
        tags::forget(tx, &id);
        tx.delete::<TransitGateway>(&id);
    }
}

fn is_awaited(view: &View, attachment: &TransitAttachment) -> bool {
    let Some(end) = attachment.peering() else {
        return false;
    };
    let peer = view.get::<PeerTransit>(&end.region);
    peer.and_then(|peer| peer.told.peerings.get(&attachment.id).map(|it| it.state))
        .is_some_and(|state| !state.has_ended())
}

#[cfg(test)]
mod tests {
    use super::*;

    use AttachmentState as S;

    #[test]
    fn a_peering_follows_its_other_side() {
        for (name, state, requester, ready, other, want) in [
            (
                "waits for the region",
                S::InitiatingRequest,
                true,
                false,
                Other::Unknown,
                None,
            ),
            (
                "waits for the record",
                S::InitiatingRequest,
                true,
                false,
                Other::Absent,
                None,
            ),
            (
                "no such gateway",
                S::InitiatingRequest,
                true,
                false,
                Other::Refused,
                Some(S::Failed),
            ),
            (
                "seen there",
                S::InitiatingRequest,
                true,
                false,
                Other::Known(S::PendingAcceptance, false),
                Some(S::PendingAcceptance),
            ),
            (
                "accepted before it was seen",
                S::InitiatingRequest,
                true,
                false,
                Other::Known(S::Pending, false),
                Some(S::Pending),
            ),
            (
                "an accepter waits for its user",
                S::PendingAcceptance,
                false,
                false,
                Other::Known(S::InitiatingRequest, false),
                None,
            ),
            (
                "rejected",
                S::PendingAcceptance,
                true,
                false,
                Other::Known(S::Rejected, false),
                Some(S::Rejected),
            ),
            (
                "one node",
                S::Pending,
                true,
                true,
                Other::Known(S::Pending, false),
                None,
            ),
            (
                "other node",
                S::Pending,
                true,
                false,
                Other::Known(S::Pending, true),
                None,
            ),
            (
                "both nodes",
                S::Pending,
                false,
                true,
                Other::Known(S::Available, true),
                Some(S::Available),
            ),
            (
                "ready means nothing before the other side accepted",
                S::Pending,
                false,
                true,
                Other::Known(S::InitiatingRequest, false),
                None,
            ),
            (
                "deleted there",
                S::Available,
                true,
                true,
                Other::Known(S::Deleting, true),
                Some(S::Deleting),
            ),
            (
                "forgotten there",
                S::Available,
                true,
                true,
                Other::Absent,
                Some(S::Deleting),
            ),
            (
                "withdrawn",
                S::PendingAcceptance,
                false,
                false,
                Other::Known(S::Deleted, false),
                Some(S::Deleting),
            ),
            (
                "deleting goes on alone",
                S::Deleting,
                true,
                true,
                Other::Known(S::Available, true),
                None,
            ),
            (
                "over is over",
                S::Rejected,
                true,
                false,
                Other::Known(S::Available, true),
                None,
            ),
        ] {
            assert_eq!(next_state(state, requester, ready, other), want, "{name}");
        }
    }
}
