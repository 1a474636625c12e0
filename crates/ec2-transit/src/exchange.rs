//! What regions tell one another of gateways, peerings and endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use lath_control::{Cell, Derive, Parts, Section, Told, set_only};
use lath_ec2_network::public_names;
use lath_ec2_records::{
    AttachmentState, PeerTransit, ToldPeering, ToldTransit, TransitAttachment, TransitGateway,
};
use lath_model::id::TransitGatewayAttachmentId;
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::public_key;

/// The part of EC2's state that other regions hold a copy of.
pub const SECTION: Section = Section {
    name: "transit",
    export: &[Derive::Whole(export)],
    import,
};

fn export(cell: &Cell, view: &View, parts: &mut Parts) {
    set_only(parts, serde_json::to_vec(&told(cell, view)).ok());
}

fn told(cell: &Cell, view: &View) -> ToldTransit {
    ToldTransit {
        account: cell.account.clone(),
        peerings: peerings(cell, view),
        refused: view
            .list::<PeerTransit>()
            .flat_map(|peer| requests(cell, &peer))
            .filter(|(_, request)| !has_gateway(view, request))
            .map(|(id, _)| id)
            .collect(),
        names: public_names(cell, view),
    }
}

fn peerings(cell: &Cell, view: &View) -> BTreeMap<TransitGatewayAttachmentId, ToldPeering> {
    let Some(here) = cell.topology.here() else {
        return BTreeMap::new();
    };
    let told = |attachment: &TransitAttachment| {
        let end = attachment.peering()?;
        let tunnel = end.tunnel.as_ref()?;
        Some(ToldPeering {
            requester: end.requester,
            gateway: attachment.gateway.clone(),
            peer_gateway: end.gateway.clone(),
            peer_region: end.region.clone(),
            state: attachment.state,
            public_key: public_key(&tunnel.private_key),
            endpoint: SocketAddrV4::new(here.underlay, tunnel.port),
            ready: end.ready,
        })
    };
    view.list::<TransitAttachment>()
        .filter_map(|it| Some((it.id.clone(), told(&it)?)))
        .collect()
}

/// What another region asks of this one.
pub(super) fn requests(
    cell: &Cell,
    peer: &PeerTransit,
) -> Vec<(TransitGatewayAttachmentId, ToldPeering)> {
    peer.told
        .peerings
        .iter()
        .filter(|(_, it)| {
            it.requester
                && it.state == AttachmentState::InitiatingRequest
                && it.peer_region == cell.region
        })
        .map(|(id, it)| (id.clone(), it.clone()))
        .collect()
}

/// How many peerings another region asks for.
pub fn asked(cell: &Cell, peer: &PeerTransit) -> usize {
    requests(cell, peer).len()
}

/// Whether the gateway that a request is for is there.
pub(super) fn has_gateway(view: &View, request: &ToldPeering) -> bool {
    view.get::<TransitGateway>(request.peer_gateway.as_str())
        .is_some_and(|gateway| gateway.life.state.lives())
}

fn import(_cell: &Cell, tx: &mut Tx, region: &str, told: &Told) -> Result<(), ApiError> {
    let Some(bytes) = told.only() else {
        return Ok(());
    };
    let told: ToldTransit = serde_json::from_slice(bytes).map_err(|error| {
        ApiError::new(
            "InternalError",
            500,
            "Another region's state is not readable.",
        )
        .with_cause(error)
    })?;
    tx.put(PeerTransit {
        region: region.to_owned(),
        told,
    });
    Ok(())
}
