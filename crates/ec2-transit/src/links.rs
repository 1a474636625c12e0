//! What joins attachments to tables: associations and propagations.

use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::{Field, Filter};
use lath_ec2_kit::refused;
use lath_ec2_kit::select::{Listed, Query, select, select_records};
use lath_ec2_kit::tags::Tag;
use lath_ec2_records::errors::{client, invalid_value, missing};
use lath_ec2_records::resources::{TRANSIT_ATTACHMENT, TRANSIT_ROUTE_TABLE};
use lath_ec2_records::{LinkState, TableLink, TransitAttachment};
use lath_service::{IdForm, Refuses, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::{
    association_state, available_table, incorrect, propagation_state, table, usable_attachment,
};

operations! {
    for Ec2 as "ec2";
    change AssociateTransitGatewayRouteTable -> AssociateTransitGatewayRouteTableResult = associate, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone());
    change DisassociateTransitGatewayRouteTable -> DisassociateTransitGatewayRouteTableResult = disassociate, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone());
    read GetTransitGatewayRouteTableAssociations -> GetTransitGatewayRouteTableAssociationsResult = associations, dry_run => any();
    change EnableTransitGatewayRouteTablePropagation -> EnableTransitGatewayRouteTablePropagationResult = enable, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone())
        => refusing ["" EnableTransitGatewayRouteTablePropagation];
    change DisableTransitGatewayRouteTablePropagation -> DisableTransitGatewayRouteTablePropagationResult = disable, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| op.transit_gateway_attachment_id.clone())
        => refusing ["" DisableTransitGatewayRouteTablePropagation];
    read GetTransitGatewayRouteTablePropagations -> GetTransitGatewayRouteTablePropagationsResult = propagations, dry_run => any();
    read GetTransitGatewayAttachmentPropagations -> GetTransitGatewayAttachmentPropagationsResult = propagations_of, dry_run => any();
}

macro_rules! pairs {
    ($($request:ident -> $result:ident)*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                transit_gateway_route_table_id: String,
                transit_gateway_attachment_id: String,
                dry_run: Option<bool>,
            }

            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $result {
                association: LinkItem,
            }
        )*
    };
}

pairs! {
    AssociateTransitGatewayRouteTable -> AssociateTransitGatewayRouteTableResult
    DisassociateTransitGatewayRouteTable -> DisassociateTransitGatewayRouteTableResult
}

macro_rules! propagation_pairs {
    ($($request:ident -> $result:ident)*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                transit_gateway_route_table_id: String,
                transit_gateway_attachment_id: Option<String>,
                transit_gateway_route_table_announcement_id: Option<String>,
                dry_run: Option<bool>,
            }

            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $result {
                propagation: LinkItem,
            }
        )*
    };
}

propagation_pairs! {
    EnableTransitGatewayRouteTablePropagation -> EnableTransitGatewayRouteTablePropagationResult
    DisableTransitGatewayRouteTablePropagation -> DisableTransitGatewayRouteTablePropagationResult
}

macro_rules! lists {
    ($($request:ident($of:ident) -> $result:ident($items:ident: $item:ty))*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                $of: String,
                #[serde(rename = "Filter", default)]
                filters: Vec<Filter>,
                max_results: Option<i32>,
                next_token: Option<String>,
                dry_run: Option<bool>,
            }

            impl $request {
                fn query(&self) -> Query<'_> {
                    Query {
                        ids: &[],
                        filters: &self.filters,
                        max_results: self.max_results,
                        next_token: self.next_token.as_deref(),
                    }
                }
            }

            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $result {
                $items: Vec<$item>,
                next_token: Option<String>,
            }
        )*
    };
}

lists! {
    GetTransitGatewayRouteTableAssociations(transit_gateway_route_table_id)
        -> GetTransitGatewayRouteTableAssociationsResult(associations: AttachedItem)
    GetTransitGatewayRouteTablePropagations(transit_gateway_route_table_id)
        -> GetTransitGatewayRouteTablePropagationsResult(transit_gateway_route_table_propagations: AttachedItem)
    GetTransitGatewayAttachmentPropagations(transit_gateway_attachment_id)
        -> GetTransitGatewayAttachmentPropagationsResult(transit_gateway_attachment_propagations: PropagatedItem)
}

/// A link as the operation that made or unmade it shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LinkItem {
    transit_gateway_route_table_id: String,
    transit_gateway_attachment_id: String,
    resource_id: String,
    resource_type: String,
    state: String,
}

/// A link as its table shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttachedItem {
    transit_gateway_attachment_id: String,
    resource_id: String,
    resource_type: String,
    state: String,
}

/// A propagation as its attachment shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PropagatedItem {
    transit_gateway_route_table_id: String,
    state: String,
}

fn shown(attachment: &TransitAttachment, table: &str, state: String) -> LinkItem {
    LinkItem {
        transit_gateway_route_table_id: table.to_owned(),
        transit_gateway_attachment_id: attachment.id.to_string(),
        resource_id: attachment.resource_id(),
        resource_type: attachment.resource_type().into(),
        state,
    }
}

fn associate(
    _app: &Ec2,
    tx: &mut Tx,
    op: AssociateTransitGatewayRouteTable,
) -> Result<AssociateTransitGatewayRouteTableResult, ApiError> {
    let table = available_table(tx.view(), &op.transit_gateway_route_table_id)?;
    let attachment = usable_attachment(tx.view(), &table, &op.transit_gateway_attachment_id)?;
    if let Some(known) = &attachment.association {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!(
                "Transit Gateway Attachment {} is already associated to a route table ({}).",
                attachment.id, known.table
            ),
        ));
    }
    let link = TableLink::begin(table.id.clone(), tx.view().revision());
    let state = association_state(link.state);
    tx.update::<TransitAttachment>(attachment.id.as_str(), |it| it.association = Some(link));
    Ok(AssociateTransitGatewayRouteTableResult {
        association: shown(&attachment, table.id.as_str(), state),
    })
}

fn disassociate(
    _app: &Ec2,
    tx: &mut Tx,
    op: DisassociateTransitGatewayRouteTable,
) -> Result<DisassociateTransitGatewayRouteTableResult, ApiError> {
    let table = table(tx.view(), &op.transit_gateway_route_table_id)?;
    let attachment = super::attachment(tx.view(), &op.transit_gateway_attachment_id)?;
    let link = attachment.association.clone();
    let Some(mut link) = link.filter(|it| it.table == table.id) else {
        return Err(client(
            "InvalidAssociation.NotFound",
            format!(
                "There is no association between Transit Gateway Route Table {} and Transit Gateway Attachment {}.",
                table.id, attachment.id
            ),
        ));
    };
    if !link.holds() {
        return Err(incorrect(attachment.id.as_str(), "disassociating"));
    }
    link.state = LinkState::Unmaking;
    link.after = tx.view().revision();
    let state = association_state(link.state);
    tx.update::<TransitAttachment>(attachment.id.as_str(), |it| it.association = Some(link));
    Ok(DisassociateTransitGatewayRouteTableResult {
        association: shown(&attachment, table.id.as_str(), state),
    })
}

fn enable(
    _app: &Ec2,
    tx: &mut Tx,
    op: EnableTransitGatewayRouteTablePropagation,
) -> Result<EnableTransitGatewayRouteTablePropagationResult, ApiError> {
    op.refuse()?;
    let id = op.transit_gateway_attachment_id;
    let id = id.ok_or_else(|| missing("TransitGatewayAttachmentId"))?;
    let table = available_table(tx.view(), &op.transit_gateway_route_table_id)?;
    let attachment = usable_attachment(tx.view(), &table, &id)?;
    if attachment.peering().is_some() {
        return Err(invalid_value(format!(
            "Propagation is not supported for the peering attachment {id}: use static routes."
        )));
    }
    let known = attachment
        .propagations
        .iter()
        .find(|it| it.table == table.id);
    if known.is_some_and(TableLink::holds) {
        return Err(client(
            "TransitGatewayRouteTablePropagation.Duplicate",
            format!("Propagation from {id} is already enabled on {}.", table.id),
        ));
    }
    let link = TableLink::begin(table.id.clone(), tx.view().revision());
    let state = propagation_state(link.state);
    tx.update::<TransitAttachment>(&id, |it| {
        it.propagations.retain(|old| old.table != link.table);
        it.propagations.push(link);
    });
    Ok(EnableTransitGatewayRouteTablePropagationResult {
        propagation: shown(&attachment, table.id.as_str(), state),
    })
}

fn disable(
    _app: &Ec2,
    tx: &mut Tx,
    op: DisableTransitGatewayRouteTablePropagation,
) -> Result<DisableTransitGatewayRouteTablePropagationResult, ApiError> {
    op.refuse()?;
    let id = op.transit_gateway_attachment_id;
    let id = id.ok_or_else(|| missing("TransitGatewayAttachmentId"))?;
    let table = table(tx.view(), &op.transit_gateway_route_table_id)?;
    let attachment = super::attachment(tx.view(), &id)?;
    let mut known = attachment.propagations.iter();
    if !known.any(|it| it.table == table.id && it.holds()) {
        return Err(client(
            "TransitGatewayRouteTablePropagation.NotFound",
            format!("Propagation from {id} is not enabled on {}.", table.id),
        ));
    }
    let after = tx.view().revision();
    tx.update::<TransitAttachment>(&id, |it| {
        for link in it.propagations.iter_mut().filter(|it| it.table == table.id) {
            link.state = LinkState::Unmaking;
            link.after = after;
        }
    });
    Ok(DisableTransitGatewayRouteTablePropagationResult {
        propagation: shown(
            &attachment,
            table.id.as_str(),
            propagation_state(LinkState::Unmaking),
        ),
    })
}

impl Listed for AttachedItem {
    const ID: IdForm = TRANSIT_ATTACHMENT.id;
    const FIELDS: &'static [Field<Self>] = &[
        ("transit-gateway-attachment-id", |it| {
            vec![it.transit_gateway_attachment_id.clone()]
        }),
        ("resource-id", |it| vec![it.resource_id.clone()]),
        ("resource-type", |it| vec![it.resource_type.clone()]),
    ];
    fn id(&self) -> &str {
        &self.transit_gateway_attachment_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

impl Listed for PropagatedItem {
    const ID: IdForm = TRANSIT_ROUTE_TABLE.id;
    const FIELDS: &'static [Field<Self>] = &[("transit-gateway-route-table-id", |it| {
        vec![it.transit_gateway_route_table_id.clone()]
    })];
    fn id(&self) -> &str {
        &self.transit_gateway_route_table_id
    }
    fn tags(&self) -> &[Tag] {
        &[]
    }
}

fn attached(attachment: &TransitAttachment, state: String) -> AttachedItem {
    AttachedItem {
        transit_gateway_attachment_id: attachment.id.to_string(),
        resource_id: attachment.resource_id(),
        resource_type: attachment.resource_type().into(),
        state,
    }
}

fn associations(
    _app: &Ec2,
    view: &View,
    op: &GetTransitGatewayRouteTableAssociations,
) -> Result<GetTransitGatewayRouteTableAssociationsResult, ApiError> {
    let table = table(view, &op.transit_gateway_route_table_id)?;
    let show = |it: &TransitAttachment| {
        let link = it.association.as_ref().filter(|it| it.table == table.id)?;
        Some(attached(it, association_state(link.state)))
    };
    let page = select_records(view, show, &op.query())?;
    Ok(GetTransitGatewayRouteTableAssociationsResult {
        associations: page.items,
        next_token: page.next_token,
    })
}

fn propagations(
    _app: &Ec2,
    view: &View,
    op: &GetTransitGatewayRouteTablePropagations,
) -> Result<GetTransitGatewayRouteTablePropagationsResult, ApiError> {
    let table = table(view, &op.transit_gateway_route_table_id)?;
    let show = |it: &TransitAttachment| {
        let link = it.propagations.iter().find(|it| it.table == table.id)?;
        Some(attached(it, propagation_state(link.state)))
    };
    let page = select_records(view, show, &op.query())?;
    Ok(GetTransitGatewayRouteTablePropagationsResult {
        transit_gateway_route_table_propagations: page.items,
        next_token: page.next_token,
    })
}

fn propagations_of(
    _app: &Ec2,
    view: &View,
    op: &GetTransitGatewayAttachmentPropagations,
) -> Result<GetTransitGatewayAttachmentPropagationsResult, ApiError> {
    let attachment = super::attachment(view, &op.transit_gateway_attachment_id)?;
    let items = attachment.propagations.iter().map(|link| PropagatedItem {
        transit_gateway_route_table_id: link.table.to_string(),
        state: propagation_state(link.state),
    });
    let page = select(items, &op.query())?;
    Ok(GetTransitGatewayAttachmentPropagationsResult {
        transit_gateway_attachment_propagations: page.items,
        next_token: page.next_token,
    })
}

refused! {
    EnableTransitGatewayRouteTablePropagation { transit_gateway_route_table_announcement_id }
    DisableTransitGatewayRouteTablePropagation { transit_gateway_route_table_announcement_id }
}
