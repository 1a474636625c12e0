//! Attachments between gateways (<https://docs.aws.amazon.com/vpc/latest/tgw/tgw-peering.html>).

use std::collections::BTreeSet;
use std::sync::Arc;

use lath_authz::Scope;
use lath_control::Cell;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, invalid_parameter, invalid_value, unsupported};
use lath_ec2_records::ids::Ids as _;
use lath_ec2_records::resources::{TRANSIT_ATTACHMENT, TRANSIT_GATEWAY};
use lath_ec2_records::{
    AttachedTo, AttachmentState, PeeringEnd, TransitAttachment, TransitGateway, TunnelEnd,
};
use lath_feed::{Condition, Observed, PrivateKey};
use lath_model::Timestamp;
use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayId};
use lath_service::{IdForm, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::{available_gateway, gateways, incorrect, join_defaults, switch, switched};

/// The first UDP port of tunnels; each tunnel of a region has its own.
const FIRST_PORT: u16 = 52_000;

operations! {
    for Ec2 as "ec2";
    change CreateTransitGatewayPeeringAttachment -> CreateTransitGatewayPeeringAttachmentResult = create, dry_run
        => on(&TRANSIT_GATEWAY, |op, at| op.gateways(at))
            .creates(&TRANSIT_ATTACHMENT, |op| &op.tag_specifications);
    change AcceptTransitGatewayPeeringAttachment -> AcceptTransitGatewayPeeringAttachmentResult = accept, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, at| both_sides(at, &op.transit_gateway_attachment_id));
    change RejectTransitGatewayPeeringAttachment -> RejectTransitGatewayPeeringAttachmentResult = reject, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, at| both_sides(at, &op.transit_gateway_attachment_id));
    change DeleteTransitGatewayPeeringAttachment -> DeleteTransitGatewayPeeringAttachmentResult = delete, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, at| both_sides(at, &op.transit_gateway_attachment_id));
    read DescribeTransitGatewayPeeringAttachments -> DescribeTransitGatewayPeeringAttachmentsResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateTransitGatewayPeeringAttachment {
    transit_gateway_id: String,
    peer_transit_gateway_id: String,
    peer_account_id: String,
    peer_region: String,
    options: Option<OptionsInput>,
    #[serde(rename = "TagSpecification", default)]
    tag_specifications: Vec<TagSpecification>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionsInput {
    dynamic_routing: Option<String>,
}

impl CreateTransitGatewayPeeringAttachment {
    /// Both gateways, when both are of this region and account.
    fn gateways(&self, at: &Scope<'_>) -> Vec<String> {
        let is_here = self.peer_region == at.region() && self.peer_account_id == at.account();
        let peer = is_here.then(|| self.peer_transit_gateway_id.clone());
        let own = std::iter::once(self.transit_gateway_id.clone());
        own.chain(peer).collect()
    }
}

/// An attachment and, within a region, the one of the other gateway: each is the other's end, and what is done to one
/// is done to both.
fn both_sides(at: &Scope<'_>, id: &str) -> Vec<String> {
    let attachment = at.view.get::<TransitAttachment>(id);
    let end = attachment.as_ref().and_then(|it| it.peering());
    let other = end.filter(|end| end.tunnel.is_none());
    let other = other.map(|end| end.attachment.to_string());
    std::iter::once(id.to_owned()).chain(other).collect()
}

macro_rules! one_attachment {
    ($($name:ident)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                transit_gateway_peering_attachment: PeeringItem,
            }
        )*
    };
}

macro_rules! by_id {
    ($($request:ident -> $result:ident)*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                transit_gateway_attachment_id: String,
                dry_run: Option<bool>,
            }

            one_attachment! { $result }
        )*
    };
}

one_attachment! { CreateTransitGatewayPeeringAttachmentResult }

by_id! {
    AcceptTransitGatewayPeeringAttachment -> AcceptTransitGatewayPeeringAttachmentResult
    RejectTransitGatewayPeeringAttachment -> RejectTransitGatewayPeeringAttachmentResult
    DeleteTransitGatewayPeeringAttachment -> DeleteTransitGatewayPeeringAttachmentResult
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeTransitGatewayPeeringAttachments {
    #[serde(default)]
    transit_gateway_attachment_ids: Vec<String>,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeTransitGatewayPeeringAttachmentsResult {
    transit_gateway_peering_attachments: Vec<PeeringItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeeringItem {
    transit_gateway_attachment_id: String,
    accepter_transit_gateway_attachment_id: Option<String>,
    requester_tgw_info: GatewayInfo,
    accepter_tgw_info: GatewayInfo,
    options: Option<OptionsItem>,
    status: StatusItem,
    state: String,
    creation_time: Timestamp,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
    #[serde(skip)]
    local_owner: String,
    #[serde(skip)]
    remote_owner: String,
    #[serde(skip)]
    local_gateway: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayInfo {
    transit_gateway_id: String,
    owner_id: String,
    region: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OptionsItem {
    dynamic_routing: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusItem {
    code: String,
    message: String,
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateTransitGatewayPeeringAttachment,
) -> Result<CreateTransitGatewayPeeringAttachmentResult, ApiError> {
    let tags = tags::specified(&op.tag_specifications, "transit-gateway-attachment")?;
    let gateway = available_gateway(tx.view(), &op.transit_gateway_id)?;
    let peer: TransitGatewayId = TRANSIT_GATEWAY.id.parse(&op.peer_transit_gateway_id)?;
    check_peer(app, &gateway, &peer, &op)?;
    gateways::room_for_attachment(app, tx.view(), &gateway)?;
    refuse_twin(tx.view(), &gateway, &peer)?;
    let dynamic = op.options.and_then(|it| it.dynamic_routing);
    let dynamic = dynamic
        .map(|text| switch("DynamicRouting", Some(&text), false))
        .transpose()?;
    if dynamic == Some(true) {
        return Err(unsupported(
            "Dynamic routing between gateways is not supported.",
        ));
    }
    let mut end = PeeringEnd {
        requester: true,
        gateway: peer,
        region: op.peer_region.clone(),
        owner: op.peer_account_id.clone(),
        attachment: TransitGatewayAttachmentId::random(),
        tunnel: None,
        ready: false,
        dynamic_routing: dynamic,
        failure: None,
    };
    let attachment = if op.peer_region == app.cell.region {
        within_region(app, tx, &gateway, end)?
    } else {
        end.tunnel = Some(tunnel_end(tx.view())?);
        let id = end.attachment.clone();
        let initiating = AttachmentState::InitiatingRequest;
        tx.put(attachment(
            &app.cell,
            tx,
            id,
            gateway.id.clone(),
            end,
            initiating,
        ))
    };
    tags::put(tx, attachment.id.as_str(), tags);
    Ok(CreateTransitGatewayPeeringAttachmentResult {
        transit_gateway_peering_attachment: shown(app, tx.view(), &attachment)?,
    })
}

fn check_peer(
    app: &Ec2,
    gateway: &TransitGateway,
    peer: &TransitGatewayId,
    op: &CreateTransitGatewayPeeringAttachment,
) -> Result<(), ApiError> {
    let account = &op.peer_account_id;
    if account.len() != 12 || !account.bytes().all(|it| it.is_ascii_digit()) {
        return Err(invalid_parameter(
            "peerAccountId",
            account,
            "It must have 12 digits.",
        ));
    }
    if !app.cell.topology.regions.contains_key(&op.peer_region) {
        return Err(invalid_value(format!(
            "Invalid peer region {}.",
            op.peer_region.chars().take(64).collect::<String>()
        )));
    }
    if *peer == gateway.id {
        return Err(invalid_value(format!(
            "A Transit Gateway cannot be peered with itself: {peer}."
        )));
    }
    Ok(())
}

fn refuse_twin(
    view: &View,
    gateway: &TransitGateway,
    peer: &TransitGatewayId,
) -> Result<(), ApiError> {
    let known = view.list::<TransitAttachment>().find(|it| {
        it.gateway == gateway.id
            && !it.state.has_ended()
            && it.peering().is_some_and(|end| end.gateway == *peer)
    });
    known.map_or(Ok(()), |it| {
        Err(client(
            "DuplicateTransitGatewayAttachment",
            format!(
                "{} and {peer} already have the non-deleted peering attachment {}.",
                gateway.id, it.id
            ),
        ))
    })
}

/// Both sides at once: each with an id of its own.
fn within_region(
    app: &Ec2,
    tx: &mut Tx,
    gateway: &TransitGateway,
    end: PeeringEnd,
) -> Result<Arc<TransitAttachment>, ApiError> {
    let peer = available_gateway(tx.view(), end.gateway.as_str())?;
    if end.owner != app.cell.account {
        return Err(TRANSIT_GATEWAY.id.not_found(end.gateway.as_str()));
    }
    let id = TransitGatewayAttachmentId::random();
    let other = PeeringEnd {
        requester: false,
        gateway: gateway.id.clone(),
        region: app.cell.region.clone(),
        owner: gateway.owner.clone(),
        attachment: id.clone(),
        ..end.clone()
    };
    let waiting = AttachmentState::PendingAcceptance;
    let (cell, theirs) = (&app.cell, end.attachment.clone());
    tx.put(attachment(
        cell,
        tx,
        theirs,
        peer.id.clone(),
        other,
        waiting,
    ));
    Ok(tx.put(attachment(cell, tx, id, gateway.id.clone(), end, waiting)))
}

/// A peering attachment that begins in this state.
pub(super) fn attachment(
    cell: &Cell,
    tx: &Tx,
    id: TransitGatewayAttachmentId,
    gateway: TransitGatewayId,
    end: PeeringEnd,
    state: AttachmentState,
) -> TransitAttachment {
    TransitAttachment {
        id,
        gateway,
        owner: cell.account.clone(),
        to: AttachedTo::Peering(end),
        association: None,
        propagations: Vec::new(),
        state,
        after: tx.view().revision(),
        created_at: tx.now(),
        ended_at: None,
    }
}

/// A new key and a free port.
///
/// # Errors
/// `TransitGatewayAttachmentLimitExceeded` when every port is taken.
pub(super) fn tunnel_end(view: &View) -> Result<TunnelEnd, ApiError> {
    let taken: BTreeSet<u16> = view
        .list::<TransitAttachment>()
        .filter(|it| !it.state.has_ended())
        .filter_map(|it| Some(it.peering()?.tunnel.as_ref()?.port))
        .collect();
    let port = (FIRST_PORT..=u16::MAX).find(|port| !taken.contains(port));
    let port = port.ok_or_else(|| {
        lath_ec2_records::errors::limit(
            "TransitGatewayAttachmentLimitExceeded",
            "Transit Gateway peering attachments",
        )
    })?;
    Ok(TunnelEnd {
        private_key: PrivateKey(rand::random()),
        port,
    })
}

/// The side of a peering that may accept or reject. Within a region either id means it.
fn accepting(view: &View, id: &str, verb: &str) -> Result<Arc<TransitAttachment>, ApiError> {
    let (mut attachment, mut end) = find(view, id)?;
    if end.requester && end.tunnel.is_none() {
        (attachment, end) = find(view, end.attachment.as_str())?;
    }
    if end.requester {
        return Err(invalid_value(format!(
            "Cannot {verb} {id} as the source of the peering request."
        )));
    }
    if attachment.state != AttachmentState::PendingAcceptance {
        return Err(incorrect(id, attachment.state.name()));
    }
    Ok(attachment)
}

fn find(view: &View, id: &str) -> Result<(Arc<TransitAttachment>, PeeringEnd), ApiError> {
    let attachment = super::attachment(view, id)?;
    let end = attachment.peering().cloned();
    let end = end.ok_or_else(|| TRANSIT_ATTACHMENT.id.not_found(id))?;
    Ok((attachment, end))
}

fn accept(
    app: &Ec2,
    tx: &mut Tx,
    op: AcceptTransitGatewayPeeringAttachment,
) -> Result<AcceptTransitGatewayPeeringAttachmentResult, ApiError> {
    let known = accepting(tx.view(), &op.transit_gateway_attachment_id, "accept")?;
    available_gateway(tx.view(), known.gateway.as_str())?;
    let attachment = begin(tx, &known);
    Ok(AcceptTransitGatewayPeeringAttachmentResult {
        transit_gateway_peering_attachment: shown(app, tx.view(), &attachment)?,
    })
}

/// An accepted attachment begins to work, and joins the default table.
pub(super) fn begin(tx: &mut Tx, known: &TransitAttachment) -> Arc<TransitAttachment> {
    let mut attachment = known.clone();
    attachment.enter(AttachmentState::Pending, tx.view().revision(), tx.now());
    if let Some(gateway) = tx.get::<TransitGateway>(known.gateway.as_str()) {
        join_defaults(tx, &gateway, &mut attachment);
    }
    tx.put(attachment)
}

fn reject(
    app: &Ec2,
    tx: &mut Tx,
    op: RejectTransitGatewayPeeringAttachment,
) -> Result<RejectTransitGatewayPeeringAttachmentResult, ApiError> {
    let known = accepting(tx.view(), &op.transit_gateway_attachment_id, "reject")?;
    let (after, now) = (tx.view().revision(), tx.now());
    let mut attachment = TransitAttachment::clone(&known);
    attachment.enter(AttachmentState::Rejected, after, now);
    let attachment = tx.put(attachment);
    Ok(RejectTransitGatewayPeeringAttachmentResult {
        transit_gateway_peering_attachment: shown(app, tx.view(), &attachment)?,
    })
}

fn delete(
    app: &Ec2,
    tx: &mut Tx,
    op: DeleteTransitGatewayPeeringAttachment,
) -> Result<DeleteTransitGatewayPeeringAttachmentResult, ApiError> {
    let (known, _) = find(tx.view(), &op.transit_gateway_attachment_id)?;
    if known.state == AttachmentState::Deleting {
        return Err(incorrect(known.id.as_str(), "deleting"));
    }
    let (after, now) = (tx.view().revision(), tx.now());
    let mut attachment = TransitAttachment::clone(&known);
    attachment.enter(AttachmentState::Deleting, after, now);
    let attachment = tx.put(attachment);
    Ok(DeleteTransitGatewayPeeringAttachmentResult {
        transit_gateway_peering_attachment: shown(app, tx.view(), &attachment)?,
    })
}

fn shown(app: &Ec2, view: &View, attachment: &TransitAttachment) -> Result<PeeringItem, ApiError> {
    let observed = app.cell.observed.borrow();
    item(&app.cell, view, &observed, attachment)
        .ok_or_else(|| TRANSIT_ATTACHMENT.id.not_found(attachment.id.as_str()))
}

fn item(
    cell: &Cell,
    view: &View,
    observed: &Observed,
    attachment: &TransitAttachment,
) -> Option<PeeringItem> {
    let end = attachment.peering()?;
    let here = GatewayInfo {
        transit_gateway_id: attachment.gateway.to_string(),
        owner_id: attachment.owner.clone(),
        region: cell.region.clone(),
    };
    let there = GatewayInfo {
        transit_gateway_id: end.gateway.to_string(),
        owner_id: end.owner.clone(),
        region: end.region.clone(),
    };
    let accepter = if end.requester {
        &end.attachment
    } else {
        &attachment.id
    };
    let (requester_tgw_info, accepter_tgw_info) = if end.requester {
        (here, there)
    } else {
        (there, here)
    };
    Some(PeeringItem {
        transit_gateway_attachment_id: attachment.id.to_string(),
        accepter_transit_gateway_attachment_id: end.tunnel.is_none().then(|| accepter.to_string()),
        requester_tgw_info,
        accepter_tgw_info,
        options: end.dynamic_routing.map(|it| OptionsItem {
            dynamic_routing: switched(it),
        }),
        status: status(observed, attachment, end),
        state: attachment.state.name().into(),
        creation_time: attachment.created_at,
        tags: tags::of(view, attachment.id.as_str()),
        local_owner: attachment.owner.clone(),
        remote_owner: end.owner.clone(),
        local_gateway: attachment.gateway.to_string(),
    })
}

/// The state in words; and, while the other side does not answer, that it does not.
fn status(observed: &Observed, attachment: &TransitAttachment, end: &PeeringEnd) -> StatusItem {
    let silent = match observed.transit_attachments.get(&attachment.id) {
        Some(Condition::Failed { reason }) => Some(reason.clone()),
        _ => None,
    };
    let message = match attachment.state {
        AttachmentState::InitiatingRequest => "Initiating Request to {peer}".to_owned(),
        AttachmentState::PendingAcceptance => "Pending Acceptance by {accepter}".to_owned(),
        AttachmentState::Pending => silent.unwrap_or_else(|| "Provisioning".into()),
        AttachmentState::Available | AttachmentState::Modifying => {
            silent.unwrap_or_else(|| "Available".into())
        }
        AttachmentState::Deleting => "Deleting".into(),
        AttachmentState::Deleted => "Deleted".into(),
        AttachmentState::Rejected => "Rejected by {accepter}".into(),
        AttachmentState::Failed => end.failure.clone().unwrap_or_else(|| "Failed".into()),
    };
    let accepter = if end.requester {
        &end.owner
    } else {
        &attachment.owner
    };
    StatusItem {
        code: attachment.state.name().into(),
        message: message
            .replace("{peer}", &end.owner)
            .replace("{accepter}", accepter),
    }
}

impl Listed for PeeringItem {
    const ID: IdForm = TRANSIT_ATTACHMENT.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("transit-gateway-attachment-id", |it| {
            vec![it.transit_gateway_attachment_id.clone()]
        }),
        ("transit-gateway-id", |it| vec![it.local_gateway.clone()]),
        ("state", |it| vec![it.state.clone()]),
        ("local-owner-id", |it| vec![it.local_owner.clone()]),
        ("remote-owner-id", |it| vec![it.remote_owner.clone()]),
    ];
    fn id(&self) -> &str {
        &self.transit_gateway_attachment_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeTransitGatewayPeeringAttachments,
) -> Result<DescribeTransitGatewayPeeringAttachmentsResult, ApiError> {
    let observed = app.cell.observed.borrow();
    let show = |it: &TransitAttachment| item(&app.cell, view, &observed, it);
    let query = Query {
        ids: &op.transit_gateway_attachment_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeTransitGatewayPeeringAttachmentsResult {
        transit_gateway_peering_attachments: page.items,
        next_token: page.next_token,
    })
}
