//! EC2's Transit Gateways (<https://docs.aws.amazon.com/vpc/latest/tgw/how-transit-gateways-work.html>).
//!
//! [`PARTS`] are the operations and the kinds of resources, [`CONTRIBUTIONS`] turn the state into the part of the feed that
//! nodes obey, [`advance`] takes over what nodes and other regions say, and [`SECTION`] is what regions tell one another.

mod attachments;
mod cidr_blocks;
mod effective;
mod exchange;
mod feed;
mod gateways;
mod life;
mod links;
mod peering;
mod prefix_lists;
mod routes;
mod search;
mod tables;
#[cfg(test)]
mod tests;
mod vpc_attachments;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_control::{Cell, Contribute, Derive};
use lath_feed::Snapshot;
use lath_model::id::{TransitGatewayId, VpcId};
use lath_store::{Kinds, Record as _, Tx, View};
use lath_wire::{ApiError, Service};
use x25519_dalek::{PublicKey, StaticSecret};

pub use exchange::{SECTION, asked};
pub use life::advance;

use feed::contribute;

use lath_ec2_kit::{Ec2, Part};
use lath_ec2_records::errors::{client, invalid_value};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::resources::{TRANSIT_ATTACHMENT, TRANSIT_GATEWAY, TRANSIT_ROUTE_TABLE};
use lath_ec2_records::{
    LifeState, LinkState, PeerTransit, TableLink, TransitAttachment, TransitGateway,
    TransitRouteTable,
};

/// Registers the operations on Transit Gateways.
pub(crate) fn register(service: Service, app: &Arc<Ec2>) -> Service {
    let registers = [
        gateways::register,
        vpc_attachments::register,
        attachments::register,
        tables::register,
        links::register,
        routes::register,
        search::register,
        prefix_lists::register,
        peering::register,
    ];
    registers
        .into_iter()
        .fold(service, |service, register| register(service, app))
}

/// A gateway that is there.
fn gateway(view: &View, id: &str) -> Result<Arc<TransitGateway>, ApiError> {
    let gateway = ids::find::<TransitGateway>(view, id)?;
    match gateway.life.state {
        LifeState::Deleted | LifeState::Failed => Err(TRANSIT_GATEWAY.id.not_found(id)),
        _ => Ok(gateway),
    }
}

/// A gateway that works.
fn available_gateway(view: &View, id: &str) -> Result<Arc<TransitGateway>, ApiError> {
    let gateway = gateway(view, id)?;
    match gateway.life.state {
        LifeState::Available => Ok(gateway),
        state => Err(incorrect(id, state.name())),
    }
}

/// A table that is there.
fn table(view: &View, id: &str) -> Result<Arc<TransitRouteTable>, ApiError> {
    let table = ids::find::<TransitRouteTable>(view, id)?;
    match table.life.state {
        LifeState::Deleted | LifeState::Failed => Err(TRANSIT_ROUTE_TABLE.id.not_found(id)),
        _ => Ok(table),
    }
}

/// A table that works.
fn available_table(view: &View, id: &str) -> Result<Arc<TransitRouteTable>, ApiError> {
    let table = table(view, id)?;
    match table.life.state {
        LifeState::Available => Ok(table),
        state => Err(incorrect(id, state.name())),
    }
}

/// An attachment that is not over.
fn attachment(view: &View, id: &str) -> Result<Arc<TransitAttachment>, ApiError> {
    let attachment = ids::find::<TransitAttachment>(view, id)?;
    if attachment.state.has_ended() {
        return Err(TRANSIT_ATTACHMENT.id.not_found(id));
    }
    Ok(attachment)
}

/// An attachment of the table's gateway through which packets pass.
fn usable_attachment(
    view: &View,
    table: &TransitRouteTable,
    id: &str,
) -> Result<Arc<TransitAttachment>, ApiError> {
    let attachment = attachment(view, id)?;
    if attachment.gateway != table.gateway {
        return Err(invalid_value(format!(
            "Transit Gateway Attachment {id} and Transit Gateway Route Table {} belong to different Transit Gateways.",
            table.id
        )));
    }
    if !attachment.state.is_up() {
        return Err(incorrect(id, attachment.state.name()));
    }
    Ok(attachment)
}

/// A thing is not in the state that an operation demands.
fn incorrect(id: &str, state: &str) -> ApiError {
    client(
        "IncorrectState",
        format!("{id} is in invalid state: {state}"),
    )
}

/// `enable` or `disable`.
fn switch(parameter: &str, value: Option<&str>, default: bool) -> Result<bool, ApiError> {
    match value {
        None => Ok(default),
        Some("enable") => Ok(true),
        Some("disable") => Ok(false),
        Some(other) => Err(invalid_value(format!(
            "Value ({other}) for parameter {parameter} is invalid. Valid values are enable and disable."
        ))),
    }
}

fn switched(value: bool) -> String {
    if value { "enable" } else { "disable" }.into()
}

/// Joins a new attachment to the gateway's default tables. Peerings propagate nothing.
fn join_defaults(tx: &Tx, gateway: &TransitGateway, attachment: &mut TransitAttachment) {
    let after = tx.view().revision();
    if let Some(table) = gateway
        .association_default
        .as_ref()
        .filter(|_| gateway.options.associates && attachment.association.is_none())
    {
        attachment.association = Some(TableLink::begin(table.clone(), after));
    }
    if let Some(table) = gateway
        .propagation_default
        .as_ref()
        .filter(|_| gateway.options.propagates && attachment.vpc().is_some())
    {
        attachment.propagations = vec![TableLink::begin(table.clone(), after)];
    }
}

/// The attachments of a gateway, in whatever state.
fn attachments_of(view: &View, gateway: &TransitGateway) -> Vec<Arc<TransitAttachment>> {
    view.list::<TransitAttachment>()
        .filter(|it| it.gateway == gateway.id)
        .collect()
}

fn association_state(state: LinkState) -> String {
    match state {
        LinkState::Making => "associating",
        LinkState::Made => "associated",
        LinkState::Unmaking => "disassociating",
    }
    .into()
}

fn propagation_state(state: LinkState) -> String {
    match state {
        LinkState::Making => "enabling",
        LinkState::Made => "enabled",
        LinkState::Unmaking => "disabling",
    }
    .into()
}

/// The public half of an X25519 key.
fn public_key(private: &lath_feed::PrivateKey) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(private.0)).to_bytes()
}

/// Fills Transit Gateways, and which of them share names.
pub const CONTRIBUTIONS: [Contribute; 2] = [
    Derive::Each {
        kind: TransitGateway::KIND,
        make: contribute,
    },
    Derive::Whole(share_names),
];

/// The records that no caller names by an id.
pub fn records(records: Kinds) -> Kinds {
    records.with::<PeerTransit>()
}

/// Fills in [`name_sharing`].
fn share_names(_: &Cell, view: &View, snapshot: &mut Snapshot) {
    snapshot.name_sharing = name_sharing(view).into_iter().collect();
}

/// By VPC, the gateways through which its public names resolve to private addresses elsewhere, and those of others in
/// it: the gateway and the attachment support DNS, and the attachment works.
fn name_sharing(view: &View) -> BTreeMap<VpcId, BTreeSet<TransitGatewayId>> {
    let gateways = view.list::<TransitGateway>().filter(|it| it.options.dns);
    let gateways: BTreeSet<TransitGatewayId> = gateways.map(|it| it.id.clone()).collect();
    let mut sharing: BTreeMap<VpcId, BTreeSet<TransitGatewayId>> = BTreeMap::new();
    for attachment in view.list::<TransitAttachment>() {
        let end = attachment.vpc().filter(|end| end.dns);
        let Some(end) = end.filter(|_| attachment.state.is_up()) else {
            continue;
        };
        if gateways.contains(&attachment.gateway) {
            let of_vpc = sharing.entry(end.vpc.clone()).or_default();
            of_vpc.insert(attachment.gateway.clone());
        }
    }
    sharing
}

/// Transit Gateways: their operations and the kinds of resources that they make.
pub static PARTS: &[Part] = &[Part::new(
    register,
    &[&TRANSIT_GATEWAY, &TRANSIT_ATTACHMENT, &TRANSIT_ROUTE_TABLE],
)];
