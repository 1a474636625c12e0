//! Prefix lists as destinations in a gateway's tables.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::made::{ATTRIBUTES, attributes};
use lath_ec2_kit::select::{Listed, Query, select};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::errors::client;
use lath_ec2_records::ids::Ids as _;
use lath_ec2_records::prefix_lists;
use lath_ec2_records::resources::{Facts, PREFIX_LIST, TRANSIT_ATTACHMENT, TRANSIT_ROUTE_TABLE};
use lath_ec2_records::{StaticTarget, TransitAttachment, TransitRouteTable};
use lath_service::{IdForm, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::routes::{named_attachment, target};
use super::search::no_reference;
use super::{available_table, table};

operations! {
    for Ec2 as "ec2";
    change CreateTransitGatewayPrefixListReference -> CreateTransitGatewayPrefixListReferenceResult = create, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&PREFIX_LIST, |op, _| op.prefix_list_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| named_attachment(op.transit_gateway_attachment_id.as_ref()));
    change ModifyTransitGatewayPrefixListReference -> ModifyTransitGatewayPrefixListReferenceResult = modify, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
            .on(&PREFIX_LIST, |op, _| op.prefix_list_id.clone())
            .with_all(ATTRIBUTES, |op, _| op.set())
            .on(&TRANSIT_ATTACHMENT, |op, _| named_attachment(op.transit_gateway_attachment_id.as_ref()));
    change DeleteTransitGatewayPrefixListReference -> DeleteTransitGatewayPrefixListReferenceResult = delete, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&PREFIX_LIST, |op, _| op.prefix_list_id.clone());
    read GetTransitGatewayPrefixListReferences -> GetTransitGatewayPrefixListReferencesResult = list, dry_run => any();
}

macro_rules! requests {
    ($($request:ident)*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                transit_gateway_route_table_id: String,
                prefix_list_id: String,
                transit_gateway_attachment_id: Option<String>,
                blackhole: Option<bool>,
                dry_run: Option<bool>,
            }
        )*
    };
}

requests! { CreateTransitGatewayPrefixListReference ModifyTransitGatewayPrefixListReference }

impl ModifyTransitGatewayPrefixListReference {
    fn set(&self) -> Facts {
        let attachment = named_attachment(self.transit_gateway_attachment_id.as_ref());
        attributes(&[
            ("TransitGatewayAttachmentId", attachment),
            ("Blackhole", self.blackhole.map(|it| it.to_string())),
        ])
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteTransitGatewayPrefixListReference {
    transit_gateway_route_table_id: String,
    prefix_list_id: String,
    dry_run: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetTransitGatewayPrefixListReferences {
    transit_gateway_route_table_id: String,
    #[serde(rename = "Filter", default)]
    filters: Vec<Filter>,
    max_results: Option<i32>,
    next_token: Option<String>,
    dry_run: Option<bool>,
}

macro_rules! results {
    ($($name:ident)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                transit_gateway_prefix_list_reference: ReferenceItem,
            }
        )*
    };
}

results! {
    CreateTransitGatewayPrefixListReferenceResult
    ModifyTransitGatewayPrefixListReferenceResult
    DeleteTransitGatewayPrefixListReferenceResult
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetTransitGatewayPrefixListReferencesResult {
    #[serde(rename = "transitGatewayPrefixListReferenceSet")]
    references: Vec<ReferenceItem>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReferenceItem {
    transit_gateway_route_table_id: String,
    prefix_list_id: String,
    prefix_list_owner_id: String,
    state: String,
    blackhole: bool,
    transit_gateway_attachment: Option<ReferenceAttachment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReferenceAttachment {
    transit_gateway_attachment_id: String,
    resource_type: String,
    resource_id: String,
}

fn item(
    app: &Ec2,
    view: &View,
    table: &TransitRouteTable,
    list: &str,
    target: &StaticTarget,
) -> ReferenceItem {
    let owner = prefix_lists::find(&app.cell, view, list).map(|it| it.owner.clone());
    let attachment = match target {
        StaticTarget::Attachment(id) => view.get::<TransitAttachment>(id.as_str()),
        StaticTarget::Blackhole => None,
    };
    ReferenceItem {
        transit_gateway_route_table_id: table.id.to_string(),
        prefix_list_id: list.to_owned(),
        prefix_list_owner_id: owner.unwrap_or_default(),
        state: "available".into(),
        blackhole: *target == StaticTarget::Blackhole,
        transit_gateway_attachment: attachment.map(|it| ReferenceAttachment {
            transit_gateway_attachment_id: it.id.to_string(),
            resource_type: it.resource_type().into(),
            resource_id: it.resource_id(),
        }),
    }
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateTransitGatewayPrefixListReference,
) -> Result<CreateTransitGatewayPrefixListReferenceResult, ApiError> {
    let table = available_table(tx.view(), &op.transit_gateway_route_table_id)?;
    PREFIX_LIST.id.check(&op.prefix_list_id)?;
    let list = prefix_lists::find(&app.cell, tx.view(), &op.prefix_list_id)
        .ok_or_else(|| PREFIX_LIST.id.not_found(&op.prefix_list_id))?;
    let attachment = op.transit_gateway_attachment_id.as_ref();
    let target = target(tx.view(), &table, attachment, op.blackhole)?;
    if table.references.contains_key(&list.id) {
        return Err(client(
            "DuplicateTransitGatewayPrefixListReference",
            format!("{} already references prefix list {}.", table.id, list.id),
        ));
    }
    let shown = item(app, tx.view(), &table, &op.prefix_list_id, &target);
    tx.update::<TransitRouteTable>(table.id.as_str(), |it| {
        it.references.insert(list.id.clone(), target);
    });
    Ok(CreateTransitGatewayPrefixListReferenceResult {
        transit_gateway_prefix_list_reference: shown,
    })
}

fn modify(
    app: &Ec2,
    tx: &mut Tx,
    op: ModifyTransitGatewayPrefixListReference,
) -> Result<ModifyTransitGatewayPrefixListReferenceResult, ApiError> {
    let table = available_table(tx.view(), &op.transit_gateway_route_table_id)?;
    let id = PREFIX_LIST.id.parse(&op.prefix_list_id)?;
    if !table.references.contains_key(&id) {
        return Err(no_reference(&op.prefix_list_id, table.id.as_str()));
    }
    let attachment = op.transit_gateway_attachment_id.as_ref();
    let target = target(tx.view(), &table, attachment, op.blackhole)?;
    let shown = item(app, tx.view(), &table, &op.prefix_list_id, &target);
    tx.update::<TransitRouteTable>(table.id.as_str(), |it| {
        it.references.insert(id, target);
    });
    Ok(ModifyTransitGatewayPrefixListReferenceResult {
        transit_gateway_prefix_list_reference: shown,
    })
}

fn delete(
    app: &Ec2,
    tx: &mut Tx,
    op: DeleteTransitGatewayPrefixListReference,
) -> Result<DeleteTransitGatewayPrefixListReferenceResult, ApiError> {
    let table = table(tx.view(), &op.transit_gateway_route_table_id)?;
    let id = PREFIX_LIST.id.parse(&op.prefix_list_id)?;
    let Some(target) = table.references.get(&id) else {
        return Err(no_reference(&op.prefix_list_id, table.id.as_str()));
    };
    let mut shown = item(app, tx.view(), &table, &op.prefix_list_id, target);
    shown.state = "deleting".into();
    tx.update::<TransitRouteTable>(table.id.as_str(), |it| {
        it.references.remove(&id);
    });
    Ok(DeleteTransitGatewayPrefixListReferenceResult {
        transit_gateway_prefix_list_reference: shown,
    })
}

fn attachments(it: &ReferenceItem, text: fn(&ReferenceAttachment) -> &String) -> Vec<String> {
    it.transit_gateway_attachment
        .iter()
        .map(text)
        .cloned()
        .collect()
}

impl Listed for ReferenceItem {
    const ID: IdForm = PREFIX_LIST.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("prefix-list-id", |it| vec![it.prefix_list_id.clone()]),
        ("prefix-list-owner-id", |it| {
            vec![it.prefix_list_owner_id.clone()]
        }),
        ("state", |it| vec![it.state.clone()]),
        ("is-blackhole", |it| vec![it.blackhole.to_string()]),
        ("attachment.transit-gateway-attachment-id", |it| {
            attachments(it, |it| &it.transit_gateway_attachment_id)
        }),
        ("attachment.resource-id", |it| {
            attachments(it, |it| &it.resource_id)
        }),
        ("attachment.resource-type", |it| {
            attachments(it, |it| &it.resource_type)
        }),
    ];
    fn id(&self) -> &str {
        &self.prefix_list_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

fn list(
    app: &Ec2,
    view: &View,
    op: &GetTransitGatewayPrefixListReferences,
) -> Result<GetTransitGatewayPrefixListReferencesResult, ApiError> {
    let table = table(view, &op.transit_gateway_route_table_id)?;
    let references = table.references.iter();
    let items = references.map(|(id, target)| item(app, view, &table, id.as_str(), target));
    let query = Query {
        ids: &[],
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select(items, &query)?;
    Ok(GetTransitGatewayPrefixListReferencesResult {
        references: page.items,
        next_token: page.next_token,
    })
}
