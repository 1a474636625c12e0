//! The part of the feed that Transit Gateways are.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::Cell;
use lath_ec2_records::{
    PeerTransit, PeeringEnd, TransitAttachment, TransitGateway, TransitRouteTable,
};
use lath_feed::{PeeringTunnel, Snapshot, TransitPeer, TransitTarget};
use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayRouteTableId};
use lath_store::View;

use super::effective::{EffectiveRoute, effective_routes, sources};

/// Fills one gateway that a node should have.
pub(crate) fn contribute(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    snapshot.transit_gateways.remove(&key);
    let gateway = view.get::<TransitGateway>(id);
    if let Some(gateway) = gateway.filter(|it| it.life.state.lives()) {
        let attachments = attachments(cell, view, &gateway);
        let feed = lath_feed::TransitGateway {
            id: gateway.id.clone(),
            route_tables: tables(cell, view, &gateway, &attachments),
            attachments,
        };
        snapshot.transit_gateways.insert(key, Arc::new(feed));
    }
}

type Attachments = BTreeMap<TransitGatewayAttachmentId, lath_feed::TransitAttachment>;
type Tables = BTreeMap<TransitGatewayRouteTableId, lath_feed::TransitRouteTable>;

fn attachments(cell: &Cell, view: &View, gateway: &TransitGateway) -> Attachments {
    view.by::<TransitAttachment>("gateway", gateway.id.as_str())
        .filter(|it| it.state.is_up())
        .filter_map(|it| {
            let feed = lath_feed::TransitAttachment {
                id: it.id.clone(),
                to: peer(cell, view, &it)?,
                route_table: it
                    .association
                    .as_ref()
                    .filter(|link| link.holds())
                    .map(|link| link.table.clone()),
            };
            Some((it.id.clone(), feed))
        })
        .collect()
}

fn peer(cell: &Cell, view: &View, attachment: &TransitAttachment) -> Option<TransitPeer> {
    if let Some(end) = attachment.vpc() {
        return Some(TransitPeer::Vpc {
            vpc: end.vpc.clone(),
            subnets: end.subnets.keys().cloned().collect(),
        });
    }
    let end = attachment.peering()?;
    if end.region == cell.region {
        return Some(TransitPeer::Local {
            gateway: end.gateway.clone(),
            attachment: end.attachment.clone(),
        });
    }
    tunnel(view, attachment, end).map(TransitPeer::Tunnel)
}

/// `None` until the other side told its key.
fn tunnel(view: &View, attachment: &TransitAttachment, end: &PeeringEnd) -> Option<PeeringTunnel> {
    let here = end.tunnel.as_ref()?;
    let region = view.get::<PeerTransit>(&end.region)?;
    let there = region.told.peerings.get(&attachment.id)?;
    Some(PeeringTunnel {
        region: end.region.clone(),
        gateway: end.gateway.clone(),
        private_key: here.private_key.clone(),
        port: here.port,
        peer_public_key: there.public_key,
        peer: there.endpoint,
    })
}

fn tables(cell: &Cell, view: &View, gateway: &TransitGateway, attachments: &Attachments) -> Tables {
    view.by::<TransitRouteTable>("gateway", gateway.id.as_str())
        .filter(|it| it.life.state.lives())
        .map(|table| {
            let routes = effective_routes(&sources(cell, view, &table));
            let target = |route: EffectiveRoute| {
                let there = |id: &TransitGatewayAttachmentId| attachments.contains_key(id);
                match route.attachment.filter(|id| !route.blackhole && there(id)) {
                    Some(id) => TransitTarget::Attachment(id),
                    None => TransitTarget::Blackhole,
                }
            };
            let feed = lath_feed::TransitRouteTable {
                id: table.id.clone(),
                routes: routes
                    .into_iter()
                    .map(|(to, it)| (to, target(it)))
                    .collect(),
            };
            (table.id.clone(), feed)
        })
        .collect()
}
