//! Attachments to VPCs (<https://docs.aws.amazon.com/vpc/latest/tgw/tgw-vpc-attachments.html>).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lath_control::Mode;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag, TagSpecification};
use lath_ec2_records::errors::{client, invalid_value, limit, missing, unsupported};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::interfaces::{self, NewInterface};
use lath_ec2_records::resources::{SUBNET, TRANSIT_ATTACHMENT, TRANSIT_GATEWAY, VPC};
use lath_ec2_records::{
    AttachedTo, AttachmentState, Manager, NetworkInterface, Subnet, TransitAttachment, Vpc, VpcEnd,
};
use lath_model::Timestamp;
use lath_model::id::{NetworkInterfaceId, TransitGatewayAttachmentId};
use lath_service::{IdForm, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::{available_gateway, gateways, incorrect, join_defaults, switch, switched};

/// How many gateways a VPC may be attached to.
const MAX_PER_VPC: usize = 5;

operations! {
    for Ec2 as "ec2";
    change CreateTransitGatewayVpcAttachment -> CreateTransitGatewayVpcAttachmentResult = create, dry_run
        => on(&TRANSIT_GATEWAY, |op, _| op.transit_gateway_id.clone())
            .on(&VPC, |op, _| op.vpc_id.clone())
            .on(&SUBNET, |op, _| op.subnet_ids.clone())
            .creates(&TRANSIT_ATTACHMENT, |op| &op.tag_specifications);
    change ModifyTransitGatewayVpcAttachment -> ModifyTransitGatewayVpcAttachmentResult = modify, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone())
            .on(&SUBNET, |op, _| [op.add_subnet_ids.clone(), op.remove_subnet_ids.clone()].concat());
    change DeleteTransitGatewayVpcAttachment -> DeleteTransitGatewayVpcAttachmentResult = delete, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone());
    change AcceptTransitGatewayVpcAttachment -> AcceptTransitGatewayVpcAttachmentResult = accept, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone());
    change RejectTransitGatewayVpcAttachment -> RejectTransitGatewayVpcAttachmentResult = reject, dry_run
        => on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone());
    read DescribeTransitGatewayVpcAttachments -> DescribeTransitGatewayVpcAttachmentsResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateTransitGatewayVpcAttachment {
    transit_gateway_id: String,
    vpc_id: String,
    subnet_ids: Vec<String>,
    options: Option<OptionsInput>,
    #[serde(default)]
    tag_specifications: Vec<TagSpecification>,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OptionsInput {
    dns_support: Option<String>,
    security_group_referencing_support: Option<String>,
    ipv6_support: Option<String>,
    appliance_mode_support: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ModifyTransitGatewayVpcAttachment {
    transit_gateway_attachment_id: String,
    #[serde(default)]
    add_subnet_ids: Vec<String>,
    #[serde(default)]
    remove_subnet_ids: Vec<String>,
    options: Option<OptionsInput>,
    dry_run: Option<bool>,
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

macro_rules! one_attachment {
    ($($name:ident)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                transit_gateway_vpc_attachment: VpcAttachmentItem,
            }
        )*
    };
}

one_attachment! { CreateTransitGatewayVpcAttachmentResult ModifyTransitGatewayVpcAttachmentResult }

by_id! {
    DeleteTransitGatewayVpcAttachment -> DeleteTransitGatewayVpcAttachmentResult
    AcceptTransitGatewayVpcAttachment -> AcceptTransitGatewayVpcAttachmentResult
    RejectTransitGatewayVpcAttachment -> RejectTransitGatewayVpcAttachmentResult
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeTransitGatewayVpcAttachments {
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
pub(crate) struct DescribeTransitGatewayVpcAttachmentsResult {
    transit_gateway_vpc_attachments: Vec<VpcAttachmentItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VpcAttachmentItem {
    transit_gateway_attachment_id: String,
    transit_gateway_id: String,
    vpc_id: String,
    vpc_owner_id: String,
    state: String,
    subnet_ids: Vec<String>,
    creation_time: Timestamp,
    options: OptionsItem,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OptionsItem {
    dns_support: String,
    security_group_referencing_support: String,
    ipv6_support: String,
    appliance_mode_support: String,
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateTransitGatewayVpcAttachment,
) -> Result<CreateTransitGatewayVpcAttachmentResult, ApiError> {
    let tags = tags::specified(&op.tag_specifications, "transit-gateway-attachment")?;
    let gateway = available_gateway(tx.view(), &op.transit_gateway_id)?;
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    refuse_twin(app, tx.view(), &vpc, &op.transit_gateway_id)?;
    gateways::room_for_attachment(app, tx.view(), &gateway)?;
    let subnets = wanted_subnets(tx.view(), &vpc, &op.subnet_ids)?;
    if subnets.is_empty() {
        return Err(missing("SubnetIds"));
    }
    one_per_zone(&subnets)?;
    let id = TransitGatewayAttachmentId::random();
    let mut end = VpcEnd {
        vpc: vpc.id.clone(),
        subnets: BTreeMap::new(),
        dns: true,
        group_references: true,
        appliance: false,
    };
    set_options(&mut end, &op.options.unwrap_or_default())?;
    for subnet in &subnets {
        end.subnets
            .insert(subnet.id.clone(), make_interface(app, tx, &id, subnet)?);
    }
    let mut attachment = TransitAttachment {
        id,
        gateway: gateway.id.clone(),
        owner: app.cell.account.clone(),
        to: AttachedTo::Vpc(end),
        association: None,
        propagations: Vec::new(),
        state: AttachmentState::Pending,
        after: tx.view().revision(),
        created_at: tx.now(),
        ended_at: None,
    };
    join_defaults(tx, &gateway, &mut attachment);
    tags::put(tx, attachment.id.as_str(), tags);
    let attachment = tx.put(attachment);
    Ok(CreateTransitGatewayVpcAttachmentResult {
        transit_gateway_vpc_attachment: required(tx.view(), &attachment)?,
    })
}

fn refuse_twin(app: &Ec2, view: &View, vpc: &Vpc, gateway: &str) -> Result<(), ApiError> {
    let of_vpc = |it: &TransitAttachment| {
        !it.state.has_ended() && it.vpc().is_some_and(|end| end.vpc == vpc.id)
    };
    let known: Vec<_> = view
        .list::<TransitAttachment>()
        .filter(|it| of_vpc(it))
        .collect();
    if known.iter().any(|it| it.gateway.as_str() == gateway) {
        return Err(client(
            "DuplicateTransitGatewayAttachment",
            format!("{gateway} has non-deleted Transit Gateway Attachments with same VPC ID."),
        ));
    }
    if app.cell.mode == Mode::Strict && known.len() >= MAX_PER_VPC {
        return Err(limit(
            "TransitGatewayAttachmentLimitExceeded",
            "Transit Gateway attachments of a VPC",
        ));
    }
    Ok(())
}

fn wanted_subnets(view: &View, vpc: &Vpc, given: &[String]) -> Result<Vec<Arc<Subnet>>, ApiError> {
    let mut subnets = Vec::new();
    for id in given {
        let subnet = ids::find::<Subnet>(view, id)?;
        if subnet.vpc != vpc.id {
            return Err(invalid_value(format!(
                "The subnet {id} does not belong to VPC {}.",
                vpc.id
            )));
        }
        subnets.push(subnet);
    }
    Ok(subnets)
}

fn one_per_zone(subnets: &[Arc<Subnet>]) -> Result<(), ApiError> {
    let zones: BTreeSet<_> = subnets.iter().map(|it| &it.availability_zone).collect();
    if zones.len() == subnets.len() {
        return Ok(());
    }
    Err(client(
        "DuplicateSubnetsInSameZone",
        "Duplicate Subnets for same AZ",
    ))
}

fn set_options(end: &mut VpcEnd, input: &OptionsInput) -> Result<(), ApiError> {
    if switch("Ipv6Support", input.ipv6_support.as_deref(), false)? {
        return Err(unsupported("IPv6 is not supported."));
    }
    let references = input.security_group_referencing_support.as_deref();
    end.dns = switch("DnsSupport", input.dns_support.as_deref(), end.dns)?;
    end.group_references = switch(
        "SecurityGroupReferencingSupport",
        references,
        end.group_references,
    )?;
    end.appliance = switch(
        "ApplianceModeSupport",
        input.appliance_mode_support.as_deref(),
        end.appliance,
    )?;
    Ok(())
}

fn make_interface(
    app: &Ec2,
    tx: &mut Tx,
    attachment: &TransitGatewayAttachmentId,
    subnet: &Subnet,
) -> Result<NetworkInterfaceId, ApiError> {
    let id = NetworkInterfaceId::random();
    let new = NewInterface {
        subnet: subnet.id.clone(),
        groups: Vec::new(),
        private_ip: None,
        public: Some(false),
        description: format!("Network Interface for Transit Gateway Attachment {attachment}"),
    };
    let mut interface = interfaces::create_primary(tx, &app.cell, id.clone(), new)?;
    // What passes is for others, and no group guards it.
    interface.groups.clear();
    interface.source_dest_check = false;
    interface.manager = Some(Manager::TransitAttachment(attachment.clone()));
    tx.put(interface);
    Ok(id)
}

/// Gives back the interfaces of an attachment.
pub(super) fn release_interfaces<'a>(
    tx: &mut Tx,
    interfaces: impl Iterator<Item = &'a NetworkInterfaceId>,
) {
    for id in interfaces {
        if let Some(interface) = tx.get::<NetworkInterface>(id.as_str()) {
            interfaces::release(tx, &interface);
        }
    }
}

fn find(view: &View, id: &str) -> Result<(Arc<TransitAttachment>, VpcEnd), ApiError> {
    let attachment = super::attachment(view, id)?;
    let end = attachment.vpc().cloned();
    let end = end.ok_or_else(|| TRANSIT_ATTACHMENT.id.not_found(id))?;
    Ok((attachment, end))
}

fn modify(
    app: &Ec2,
    tx: &mut Tx,
    op: ModifyTransitGatewayVpcAttachment,
) -> Result<ModifyTransitGatewayVpcAttachmentResult, ApiError> {
    let (old, mut end) = find(tx.view(), &op.transit_gateway_attachment_id)?;
    if old.state != AttachmentState::Available {
        return Err(incorrect(old.id.as_str(), old.state.name()));
    }
    set_options(&mut end, &op.options.unwrap_or_default())?;
    change_subnets(
        app,
        tx,
        &old,
        &mut end,
        &op.add_subnet_ids,
        &op.remove_subnet_ids,
    )?;
    let (after, now) = (tx.view().revision(), tx.now());
    let changed = old.vpc().map(|it| &it.subnets) != Some(&end.subnets);
    let mut attachment = TransitAttachment::clone(&old);
    attachment.to = AttachedTo::Vpc(end);
    if changed {
        attachment.enter(AttachmentState::Modifying, after, now);
    }
    let attachment = tx.put(attachment);
    Ok(ModifyTransitGatewayVpcAttachmentResult {
        transit_gateway_vpc_attachment: required(tx.view(), &attachment)?,
    })
}

fn change_subnets(
    app: &Ec2,
    tx: &mut Tx,
    attachment: &TransitAttachment,
    end: &mut VpcEnd,
    add: &[String],
    remove: &[String],
) -> Result<(), ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), end.vpc.as_str())?;
    for subnet in wanted_subnets(tx.view(), &vpc, remove)? {
        let interface = end.subnets.remove(&subnet.id).ok_or_else(|| {
            invalid_value(format!(
                "The subnet {} is not part of {}.",
                subnet.id, attachment.id
            ))
        })?;
        release_interfaces(tx, std::iter::once(&interface));
    }
    let added: Vec<_> = wanted_subnets(tx.view(), &vpc, add)?
        .into_iter()
        .filter(|it| !end.subnets.contains_key(&it.id))
        .collect();
    let mut all = added.clone();
    all.extend(
        end.subnets
            .keys()
            .filter_map(|id| tx.get::<Subnet>(id.as_str())),
    );
    if all.is_empty() {
        return Err(invalid_value(format!(
            "The last subnet of {} cannot be removed.",
            attachment.id
        )));
    }
    one_per_zone(&all)?;
    for subnet in added {
        let interface = make_interface(app, tx, &attachment.id, &subnet)?;
        end.subnets.insert(subnet.id.clone(), interface);
    }
    Ok(())
}

fn delete(
    _app: &Ec2,
    tx: &mut Tx,
    op: DeleteTransitGatewayVpcAttachment,
) -> Result<DeleteTransitGatewayVpcAttachmentResult, ApiError> {
    let (old, _) = find(tx.view(), &op.transit_gateway_attachment_id)?;
    if !old.state.is_up() {
        return Err(incorrect(old.id.as_str(), old.state.name()));
    }
    let (after, now) = (tx.view().revision(), tx.now());
    let mut attachment = TransitAttachment::clone(&old);
    attachment.enter(AttachmentState::Deleting, after, now);
    let attachment = tx.put(attachment);
    Ok(DeleteTransitGatewayVpcAttachmentResult {
        transit_gateway_vpc_attachment: required(tx.view(), &attachment)?,
    })
}

/// Only attachments that another account asked for wait for an answer, and there is one account.
fn nothing_to_answer(view: &View, id: &str) -> ApiError {
    match find(view, id) {
        Ok((attachment, _)) => incorrect(id, attachment.state.name()),
        Err(error) => error,
    }
}

fn accept(
    _app: &Ec2,
    tx: &mut Tx,
    op: AcceptTransitGatewayVpcAttachment,
) -> Result<AcceptTransitGatewayVpcAttachmentResult, ApiError> {
    Err(nothing_to_answer(
        tx.view(),
        &op.transit_gateway_attachment_id,
    ))
}

fn reject(
    _app: &Ec2,
    tx: &mut Tx,
    op: RejectTransitGatewayVpcAttachment,
) -> Result<RejectTransitGatewayVpcAttachmentResult, ApiError> {
    Err(nothing_to_answer(
        tx.view(),
        &op.transit_gateway_attachment_id,
    ))
}

fn required(view: &View, attachment: &TransitAttachment) -> Result<VpcAttachmentItem, ApiError> {
    item(view, attachment).ok_or_else(|| TRANSIT_ATTACHMENT.id.not_found(attachment.id.as_str()))
}

fn item(view: &View, attachment: &TransitAttachment) -> Option<VpcAttachmentItem> {
    let end = attachment.vpc()?;
    Some(VpcAttachmentItem {
        transit_gateway_attachment_id: attachment.id.to_string(),
        transit_gateway_id: attachment.gateway.to_string(),
        vpc_id: end.vpc.to_string(),
        vpc_owner_id: attachment.owner.clone(),
        state: attachment.state.name().into(),
        subnet_ids: end.subnets.keys().map(ToString::to_string).collect(),
        creation_time: attachment.created_at,
        options: OptionsItem {
            dns_support: switched(end.dns),
            security_group_referencing_support: switched(end.group_references),
            ipv6_support: switched(false),
            appliance_mode_support: switched(end.appliance),
        },
        tags: tags::of(view, attachment.id.as_str()),
    })
}

impl Listed for VpcAttachmentItem {
    const ID: IdForm = TRANSIT_ATTACHMENT.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("transit-gateway-attachment-id", |it| {
            vec![it.transit_gateway_attachment_id.clone()]
        }),
        ("transit-gateway-id", |it| {
            vec![it.transit_gateway_id.clone()]
        }),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("state", |it| vec![it.state.clone()]),
    ];
    fn id(&self) -> &str {
        &self.transit_gateway_attachment_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    _app: &Ec2,
    view: &View,
    op: &DescribeTransitGatewayVpcAttachments,
) -> Result<DescribeTransitGatewayVpcAttachmentsResult, ApiError> {
    let show = |it: &TransitAttachment| item(view, it);
    let query = Query {
        ids: &op.transit_gateway_attachment_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeTransitGatewayVpcAttachmentsResult {
        transit_gateway_vpc_attachments: page.items,
        next_token: page.next_token,
    })
}
