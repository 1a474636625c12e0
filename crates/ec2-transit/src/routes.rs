//! Static routes of gateways.

use ipnet::Ipv4Net;
use lath_control::Mode;
use lath_ec2_kit::Ec2;
use lath_ec2_network::block;
use lath_ec2_records::errors::{client, combination, invalid_value, limit, missing};
use lath_ec2_records::resources::{TRANSIT_ATTACHMENT, TRANSIT_ROUTE_TABLE};
use lath_ec2_records::{StaticTarget, TransitAttachment, TransitRouteTable};
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::effective::{EffectiveRoute, effective_routes, sources};
use super::{available_table, table, usable_attachment};

/// How many static routes all tables of a gateway may have.
const MAX_ROUTES: usize = 10_000;

operations! {
    for Ec2 as "ec2";
    change CreateTransitGatewayRoute -> CreateTransitGatewayRouteResult = create, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| named_attachment(op.transit_gateway_attachment_id.as_ref()));
    change ReplaceTransitGatewayRoute -> ReplaceTransitGatewayRouteResult = replace, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone())
            .on(&TRANSIT_ATTACHMENT, |op, _| named_attachment(op.transit_gateway_attachment_id.as_ref()));
    change DeleteTransitGatewayRoute -> DeleteTransitGatewayRouteResult = delete, dry_run
        => on(&TRANSIT_ROUTE_TABLE, |op, _| op.transit_gateway_route_table_id.clone());
}

macro_rules! route_requests {
    ($($request:ident)*) => {
        $(
            #[derive(Debug, Clone, Default, Deserialize)]
            #[serde(rename_all = "PascalCase")]
            pub(crate) struct $request {
                destination_cidr_block: String,
                transit_gateway_route_table_id: String,
                transit_gateway_attachment_id: Option<String>,
                blackhole: Option<bool>,
                dry_run: Option<bool>,
            }
        )*
    };
}

route_requests! { CreateTransitGatewayRoute ReplaceTransitGatewayRoute }

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteTransitGatewayRoute {
    transit_gateway_route_table_id: String,
    destination_cidr_block: String,
    dry_run: Option<bool>,
}

macro_rules! route_results {
    ($($name:ident)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(rename_all = "camelCase")]
            pub(crate) struct $name {
                route: RouteItem,
            }
        )*
    };
}

route_results! {
    CreateTransitGatewayRouteResult
    ReplaceTransitGatewayRouteResult
    DeleteTransitGatewayRouteResult
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteItem {
    pub(super) destination_cidr_block: String,
    pub(super) prefix_list_id: Option<String>,
    pub(super) transit_gateway_attachments: Option<Vec<RouteAttachment>>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) state: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteAttachment {
    pub(super) resource_id: String,
    pub(super) transit_gateway_attachment_id: String,
    pub(super) resource_type: String,
}

/// A route as answers show it. One that drops on purpose has no attachments.
pub(super) fn item(view: &View, cidr: Ipv4Net, route: &EffectiveRoute) -> RouteItem {
    let attachment = route.attachment.as_ref();
    let attached = attachment.and_then(|id| view.get::<TransitAttachment>(id.as_str()));
    let attachments = attachment.map(|id| {
        vec![RouteAttachment {
            resource_id: attached
                .as_ref()
                .map_or_else(String::new, |it| it.resource_id()),
            transit_gateway_attachment_id: id.to_string(),
            resource_type: attached
                .as_ref()
                .map_or("vpc", |it| it.resource_type())
                .into(),
        }]
    });
    RouteItem {
        destination_cidr_block: cidr.to_string(),
        prefix_list_id: route.prefix_list.as_ref().map(ToString::to_string),
        transit_gateway_attachments: attachments,
        kind: if route.propagated {
            "propagated"
        } else {
            "static"
        }
        .into(),
        state: if route.blackhole {
            "blackhole"
        } else {
            "active"
        }
        .into(),
    }
}

/// The attachment that a request names. Terraform sends an empty id with every blackhole.
pub(super) fn named_attachment(given: Option<&String>) -> Option<String> {
    given.filter(|id| !id.is_empty()).cloned()
}

/// The target that a request means: an attachment of the table's gateway, or none at all.
pub(super) fn target(
    view: &View,
    table: &TransitRouteTable,
    attachment: Option<&String>,
    blackhole: Option<bool>,
) -> Result<StaticTarget, ApiError> {
    let attachment = named_attachment(attachment);
    match (attachment, blackhole.unwrap_or(false)) {
        (Some(_), true) => Err(combination(
            "A blackhole route cannot have a Transit Gateway attachment.",
        )),
        (None, true) => Ok(StaticTarget::Blackhole),
        (Some(id), false) => usable_attachment(view, table, &id)
            .map(|attachment| StaticTarget::Attachment(attachment.id.clone())),
        (None, false) => Err(missing("TransitGatewayAttachmentId or Blackhole")),
    }
}

fn destination(text: &str) -> Result<Ipv4Net, ApiError> {
    if text.contains(':') {
        return Err(lath_ec2_records::errors::unsupported(
            "IPv6 routes are not supported.",
        ));
    }
    let cidr = block("destinationCidrBlock", text)?;
    let link_local = Ipv4Net::new_assert([169, 254, 0, 0].into(), 16);
    let multicast = Ipv4Net::new_assert([224, 0, 0, 0].into(), 4);
    if link_local.contains(&cidr) || multicast.contains(&cidr) {
        return Err(invalid_value(format!(
            "The destination CIDR block {cidr} is not valid for a Transit Gateway route."
        )));
    }
    Ok(cidr)
}

fn shown(app: &Ec2, view: &View, table: &str, cidr: Ipv4Net) -> Result<RouteItem, ApiError> {
    let table = super::table(view, table)?;
    let routes = effective_routes(&sources(&app.cell, view, &table));
    let route = routes.get(&cidr);
    route
        .map(|route| item(view, cidr, route))
        .ok_or_else(|| not_found(cidr, &table))
}

fn not_found(cidr: Ipv4Net, table: &TransitRouteTable) -> ApiError {
    client(
        "InvalidRoute.NotFound",
        format!(
            "Route {cidr} does not exist in Transit Gateway Route Table {}.",
            table.id
        ),
    )
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateTransitGatewayRoute,
) -> Result<CreateTransitGatewayRouteResult, ApiError> {
    let id = &op.transit_gateway_route_table_id;
    let table = available_table(tx.view(), id)?;
    let cidr = destination(&op.destination_cidr_block)?;
    let attachment = op.transit_gateway_attachment_id.as_ref();
    let target = target(tx.view(), &table, attachment, op.blackhole)?;
    if table.routes.contains_key(&cidr) {
        return Err(client(
            "RouteAlreadyExists",
            format!("The route identified by {cidr} already exists."),
        ));
    }
    let tables = tx.list::<TransitRouteTable>();
    let of_gateway = tables.filter(|it| it.gateway == table.gateway && it.life.state.lives());
    let count: usize = of_gateway.map(|it| it.routes.len()).sum();
    if app.cell.mode == Mode::Strict && count >= MAX_ROUTES {
        return Err(limit(
            "TransitGatewayRouteLimitExceeded",
            "Transit Gateway routes",
        ));
    }
    tx.update::<TransitRouteTable>(id, |it| {
        it.routes.insert(cidr, target);
    });
    Ok(CreateTransitGatewayRouteResult {
        route: shown(app, tx.view(), id, cidr)?,
    })
}

fn replace(
    app: &Ec2,
    tx: &mut Tx,
    op: ReplaceTransitGatewayRoute,
) -> Result<ReplaceTransitGatewayRouteResult, ApiError> {
    let id = &op.transit_gateway_route_table_id;
    let table = available_table(tx.view(), id)?;
    let cidr = destination(&op.destination_cidr_block)?;
    if !table.routes.contains_key(&cidr) {
        return Err(not_found(cidr, &table));
    }
    let attachment = op.transit_gateway_attachment_id.as_ref();
    let target = target(tx.view(), &table, attachment, op.blackhole)?;
    tx.update::<TransitRouteTable>(id, |it| {
        it.routes.insert(cidr, target);
    });
    Ok(ReplaceTransitGatewayRouteResult {
        route: shown(app, tx.view(), id, cidr)?,
    })
}

fn delete(
    app: &Ec2,
    tx: &mut Tx,
    op: DeleteTransitGatewayRoute,
) -> Result<DeleteTransitGatewayRouteResult, ApiError> {
    let id = &op.transit_gateway_route_table_id;
    let table = table(tx.view(), id)?;
    let cidr = destination(&op.destination_cidr_block)?;
    if !table.routes.contains_key(&cidr) {
        return Err(not_found(cidr, &table));
    }
    let mut route = shown(app, tx.view(), id, cidr)?;
    route.state = "deleted".into();
    tx.update::<TransitRouteTable>(id, |it| {
        it.routes.remove(&cidr);
    });
    Ok(DeleteTransitGatewayRouteResult { route })
}
