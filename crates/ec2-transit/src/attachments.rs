//! Attachments of every kind, in one list.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::TransitAttachment;
use lath_ec2_records::resources::TRANSIT_ATTACHMENT;
use lath_model::Timestamp;
use lath_service::{IdForm, operations};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::association_state;

operations! {
    for Ec2 as "ec2";
    read DescribeTransitGatewayAttachments -> DescribeTransitGatewayAttachmentsResult = describe, dry_run => any();
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeTransitGatewayAttachments {
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
pub(crate) struct DescribeTransitGatewayAttachmentsResult {
    transit_gateway_attachments: Vec<AttachmentItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttachmentItem {
    transit_gateway_attachment_id: String,
    transit_gateway_id: String,
    transit_gateway_owner_id: String,
    resource_owner_id: String,
    resource_type: String,
    resource_id: String,
    state: String,
    association: Option<AssociationItem>,
    creation_time: Timestamp,
    #[serde(rename = "tagSet")]
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssociationItem {
    transit_gateway_route_table_id: String,
    state: String,
}

fn item(view: &View, attachment: &TransitAttachment) -> AttachmentItem {
    let association = attachment.association.as_ref();
    let peer = attachment.peering();
    AttachmentItem {
        transit_gateway_attachment_id: attachment.id.to_string(),
        transit_gateway_id: attachment.gateway.to_string(),
        transit_gateway_owner_id: attachment.owner.clone(),
        resource_owner_id: peer.map_or_else(|| attachment.owner.clone(), |it| it.owner.clone()),
        resource_type: attachment.resource_type().into(),
        resource_id: attachment.resource_id(),
        state: attachment.state.name().into(),
        association: association.map(|link| AssociationItem {
            transit_gateway_route_table_id: link.table.to_string(),
            state: association_state(link.state),
        }),
        creation_time: attachment.created_at,
        tags: tags::of(view, attachment.id.as_str()),
    }
}

fn association(it: &AttachmentItem, text: fn(&AssociationItem) -> &String) -> Vec<String> {
    it.association.iter().map(text).cloned().collect()
}

impl Listed for AttachmentItem {
    const ID: IdForm = TRANSIT_ATTACHMENT.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("transit-gateway-attachment-id", |it| {
            vec![it.transit_gateway_attachment_id.clone()]
        }),
        ("transit-gateway-id", |it| {
            vec![it.transit_gateway_id.clone()]
        }),
        ("transit-gateway-owner-id", |it| {
            vec![it.transit_gateway_owner_id.clone()]
        }),
        ("resource-owner-id", |it| vec![it.resource_owner_id.clone()]),
        ("resource-type", |it| vec![it.resource_type.clone()]),
        ("resource-id", |it| vec![it.resource_id.clone()]),
        ("state", |it| vec![it.state.clone()]),
        ("association.state", |it| association(it, |it| &it.state)),
        ("association.transit-gateway-route-table-id", |it| {
            association(it, |it| &it.transit_gateway_route_table_id)
        }),
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
    op: &DescribeTransitGatewayAttachments,
) -> Result<DescribeTransitGatewayAttachmentsResult, ApiError> {
    let show = |it: &TransitAttachment| Some(item(view, it));
    let query = Query {
        ids: &op.transit_gateway_attachment_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeTransitGatewayAttachmentsResult {
        transit_gateway_attachments: page.items,
        next_token: page.next_token,
    })
}
