//! Route tables (<https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html>).

mod associations;
mod messages;
mod routes;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::Arc;

use lath_control::claims_on;
use lath_ec2_kit::Ec2;
use lath_ec2_kit::filter::Field;
use lath_ec2_kit::idempotency;
use lath_ec2_kit::made::Making as _;
use lath_ec2_kit::messages::{Done, Nothing};
use lath_ec2_kit::select::{Listed, Query, select_records};
use lath_ec2_kit::tags::{self, Tag};
use lath_ec2_records::errors::{has_dependencies, over};
use lath_ec2_records::ids;
use lath_ec2_records::prefix_lists;
use lath_ec2_records::resources::{INTERNET_GATEWAY, ROUTE_TABLE, SUBNET, VPC};
use lath_ec2_records::transit;
use lath_ec2_records::{
    Destination, Instance, InstanceState, InternetGateway, NetworkInterface, Route, RouteTable,
    Subnet, TableAssociation, Target, Vpc,
};
use lath_model::id::{RouteTableId, VpcId};
use lath_service::{IdForm, Quota, operations};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use self::messages::*;
use crate::{nat_gateways, vpc_peering};

/// How many route tables a VPC may have.
const MAX_TABLES: Quota<&str> = Quota::new("route tables", "RouteTableLimitExceeded", 200);

operations! {
    for Ec2 as "ec2";
    change CreateRouteTable -> CreateRouteTableResult = create, dry_run
        => on(&VPC, |op, _| op.vpc_id.clone())
            .creates(&ROUTE_TABLE, |op| &op.tag_specifications);
    change DeleteRouteTable -> Nothing = delete, dry_run
        => on(&ROUTE_TABLE, |op, _| op.route_table_id.clone());
    read DescribeRouteTables -> DescribeRouteTablesResult = describe, dry_run => any();
    change CreateRoute -> Done = routes::create, dry_run
        => on(&ROUTE_TABLE, |op, _| op.route_table_id.clone())
        => refusing ["" CreateRoute];
    change ReplaceRoute -> Nothing = routes::replace, dry_run
        => on(&ROUTE_TABLE, |op, _| op.route_table_id.clone())
        => refusing ["" ReplaceRoute];
    change DeleteRoute -> Nothing = routes::delete, dry_run
        => on(&ROUTE_TABLE, |op, _| op.route_table_id.clone())
        => refusing ["" DeleteRoute];
    change AssociateRouteTable -> AssociateRouteTableResult = associations::associate, dry_run
        => on(&ROUTE_TABLE, |op, _| op.route_table_id.clone())
            .on(&SUBNET, |op, _| op.subnet_id.clone())
            .on(&INTERNET_GATEWAY, |op, _| op.gateway_id.clone().filter(|id| id.starts_with("igw-")))
        => refusing ["" AssociateRouteTable];
    change DisassociateRouteTable -> Nothing = associations::disassociate, dry_run
        => on(&ROUTE_TABLE, |op, at| associations::table_of(at.view, &op.association_id))
            .on(&SUBNET, |op, at| associations::subnet_of(at.view, &op.association_id));
    change ReplaceRouteTableAssociation -> ReplaceRouteTableAssociationResult = associations::replace, dry_run
        => on(&ROUTE_TABLE, |op, _| op.route_table_id.clone())
            .on(&ROUTE_TABLE, |op, at| associations::table_of(at.view, &op.association_id))
            .on(&SUBNET, |op, at| associations::subnet_of(at.view, &op.association_id));
}

/// The VPC's main table.
pub(crate) fn main(view: &View, vpc: &VpcId) -> Option<Arc<RouteTable>> {
    view.by::<RouteTable>("vpc", vpc.as_str())
        .find(|table| table.is_main())
}

/// The table that a subnet's packets use: its own, or the main one.
pub(crate) fn of_subnet(view: &View, subnet: &Subnet) -> Option<Arc<RouteTable>> {
    view.by::<RouteTable>("subnet", subnet.id.as_str())
        .next()
        .or_else(|| main(view, &subnet.vpc))
}

/// Whether a route's target can take packets; otherwise the route is a black hole.
pub(crate) fn is_alive(view: &View, table: &RouteTable, target: &Target) -> bool {
    match target {
        Target::InternetGateway(id) => view
            .get::<InternetGateway>(id.as_str())
            .is_some_and(|gateway| gateway.vpc.as_ref() == Some(&table.vpc)),
        Target::Interface(id) => view
            .get::<NetworkInterface>(id.as_str())
            .is_some_and(|interface| has_running_instance(view, &interface)),
        Target::NatGateway(id) => nat_gateways::is_alive(view, &table.vpc, id),
        Target::TransitGateway(id) => transit::reaches(view, &table.vpc, id.as_str()),
        Target::VpcPeering(id) => vpc_peering::is_alive(view, &table.vpc, id),
    }
}

fn has_running_instance(view: &View, interface: &NetworkInterface) -> bool {
    let attachment = interface.attachment.as_ref();
    attachment
        .and_then(|it| view.get::<Instance>(it.instance.as_str()))
        .is_some_and(|instance| {
            matches!(
                instance.state,
                InstanceState::Pending | InstanceState::Running
            )
        })
}

fn create(
    app: &Ec2,
    tx: &mut Tx,
    op: CreateRouteTable,
) -> Result<CreateRouteTableResult, ApiError> {
    let vpc = ids::find::<Vpc>(tx.view(), &op.vpc_id)?;
    let tags = tags::specified(&op.tag_specifications, "route-table")?;
    let id = RouteTableId::random();
    let fingerprint = idempotency::fingerprint(&(&op.vpc_id, &tags));
    let token = op.client_token.as_deref();
    let used = idempotency::claim(tx, "CreateRouteTable", token, fingerprint, id.as_str())?;
    let id = match used {
        Some(id) => id,
        _ => {
            let tables = tx.view().by::<RouteTable>("vpc", vpc.id.as_str()).count();
            MAX_TABLES.check(&app.cell, tables + 1, over)?;
            tags::put(tx, id.as_str(), tags);
            tx.put(RouteTable {
                id: id.clone(),
                vpc: vpc.id.clone(),
                owner: app.cell.account.clone(),
                associations: Vec::new(),
                routes: Vec::new(),
            });
            id.to_string()
        }
    };
    let table = ids::find::<RouteTable>(tx.view(), &id)?;
    Ok(CreateRouteTableResult {
        route_table: item(app, tx.view(), &table),
        client_token: op.client_token,
    })
}

fn delete(_app: &Ec2, tx: &mut Tx, op: DeleteRouteTable) -> Result<Nothing, ApiError> {
    let table = ids::find::<RouteTable>(tx.view(), &op.route_table_id)?;
    if !table.associations.is_empty() || !claims_on(tx.view(), table.id.as_str()).is_empty() {
        return Err(has_dependencies("routeTable", &table.id));
    }
    tags::forget(tx, table.id.as_str());
    tx.delete::<RouteTable>(table.id.as_str());
    Ok(Nothing {})
}

fn item(app: &Ec2, view: &View, table: &RouteTable) -> TableItem {
    let local = view.get::<Vpc>(table.vpc.as_str());
    let local = local.iter().flat_map(|vpc| vpc.cidrs.iter()).map(|block| {
        given(
            Destination::Cidr(block.cidr.into()),
            "local",
            "CreateRouteTable",
        )
    });
    let added = table.routes.iter().map(|it| route_item(view, table, it));
    TableItem {
        route_table_id: table.id.to_string(),
        vpc_id: table.vpc.to_string(),
        owner_id: table.owner.clone(),
        associations: table
            .associations
            .iter()
            .map(|it| association_item(table, it))
            .collect(),
        propagating_gateways: Vec::new(),
        routes: local
            .chain(added)
            .chain(lattice_routes(app, view, table))
            .collect(),
        tags: tags::of(view, table.id.as_str()),
    }
}

/// A VPC that is associated with a service network has Lattice's blocks in every table.
fn lattice_routes(app: &Ec2, view: &View, table: &RouteTable) -> Vec<RouteItem> {
    let associated = claims_on(view, table.vpc.as_str())
        .iter()
        .any(|claim| claim.holder.starts_with("snva-"));
    if !associated {
        return Vec::new();
    }
    prefix_lists::aws(&app.cell.region)
        .iter()
        .flat_map(|list| list.entries().iter().map(|entry| entry.cidr))
        .map(|cidr| given(Destination::Cidr(cidr), "VpcLattice", "CreateRoute"))
        .collect()
}

/// A route that no call made: local, or to the prefix lists of VPC Lattice.
fn given(destination: Destination, gateway: &str, origin: &str) -> RouteItem {
    RouteItem {
        gateway_id: Some(gateway.into()),
        ..routed(&destination, origin, true)
    }
}

fn routed(destination: &Destination, origin: &str, alive: bool) -> RouteItem {
    let mut item = RouteItem {
        origin: origin.into(),
        state: if alive { "active" } else { "blackhole" }.into(),
        ..RouteItem::default()
    };
    match destination {
        Destination::Cidr(ipnet::IpNet::V4(cidr)) => {
            item.destination_cidr_block = Some(cidr.to_string());
        }
        Destination::Cidr(ipnet::IpNet::V6(cidr)) => {
            item.destination_ipv6_cidr_block = Some(cidr.to_string());
        }
        Destination::PrefixList(id) => item.destination_prefix_list_id = Some(id.to_string()),
    }
    item
}

fn route_item(view: &View, table: &RouteTable, route: &Route) -> RouteItem {
    let alive = is_alive(view, table, &route.target);
    let mut item = routed(&route.destination, "CreateRoute", alive);
    match &route.target {
        Target::InternetGateway(id) => item.gateway_id = Some(id.to_string()),
        Target::NatGateway(id) => item.nat_gateway_id = Some(id.to_string()),
        Target::TransitGateway(id) => item.transit_gateway_id = Some(id.to_string()),
        Target::VpcPeering(id) => item.vpc_peering_connection_id = Some(id.to_string()),
        Target::Interface(id) => {
            let interface = view.get::<NetworkInterface>(id.as_str());
            item.network_interface_id = Some(id.to_string());
            if let Some(attachment) = interface.as_ref().and_then(|it| it.attachment.as_ref()) {
                item.instance_id = Some(attachment.instance.to_string());
                item.instance_owner_id = Some(table.owner.clone());
            }
        }
    }
    item
}

fn association_item(table: &RouteTable, association: &TableAssociation) -> AssociationItem {
    AssociationItem {
        main: association.subnet.is_none(),
        route_table_association_id: association.id.to_string(),
        route_table_id: table.id.to_string(),
        subnet_id: association.subnet.as_ref().map(ToString::to_string),
        association_state: AssociationState::associated(),
    }
}

fn associations(it: &TableItem, text: fn(&AssociationItem) -> Option<String>) -> Vec<String> {
    it.associations.iter().filter_map(text).collect()
}

fn routes_by(it: &TableItem, text: fn(&RouteItem) -> Option<String>) -> Vec<String> {
    it.routes.iter().filter_map(text).collect()
}

impl Listed for TableItem {
    const ID: IdForm = ROUTE_TABLE.id;
    const PAGE: RangeInclusive<i32> = 5..=100;
    const FIELDS: &'static [Field<Self>] = &[
        ("route-table-id", |it| vec![it.route_table_id.clone()]),
        ("vpc-id", |it| vec![it.vpc_id.clone()]),
        ("owner-id", |it| vec![it.owner_id.clone()]),
        ("association.main", |it| {
            associations(it, |it| Some(it.main.to_string()))
        }),
        ("association.subnet-id", |it| {
            associations(it, |it| it.subnet_id.clone())
        }),
        ("association.gateway-id", |_| vec![]),
        ("association.route-table-id", |it| {
            associations(it, |it| Some(it.route_table_id.clone()))
        }),
        ("association.route-table-association-id", |it| {
            associations(it, |it| Some(it.route_table_association_id.clone()))
        }),
        ("route.destination-cidr-block", |it| {
            routes_by(it, |it| it.destination_cidr_block.clone())
        }),
        ("route.destination-ipv6-cidr-block", |it| {
            routes_by(it, |it| it.destination_ipv6_cidr_block.clone())
        }),
        ("route.destination-prefix-list-id", |it| {
            routes_by(it, |it| it.destination_prefix_list_id.clone())
        }),
        ("route.gateway-id", |it| {
            routes_by(it, |it| it.gateway_id.clone())
        }),
        ("route.instance-id", |it| {
            routes_by(it, |it| it.instance_id.clone())
        }),
        ("route.network-interface-id", |it| {
            routes_by(it, |it| it.network_interface_id.clone())
        }),
        ("route.origin", |it| {
            routes_by(it, |it| Some(it.origin.clone()))
        }),
        ("route.state", |it| {
            routes_by(it, |it| Some(it.state.clone()))
        }),
        ("route.egress-only-internet-gateway-id", |_| vec![]),
        ("route.nat-gateway-id", |it| {
            routes_by(it, |it| it.nat_gateway_id.clone())
        }),
        ("route.transit-gateway-id", |it| {
            routes_by(it, |it| it.transit_gateway_id.clone())
        }),
        ("route.vpc-peering-connection-id", |it| {
            routes_by(it, |it| it.vpc_peering_connection_id.clone())
        }),
    ];
    fn id(&self) -> &str {
        &self.route_table_id
    }
    fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

fn describe(
    app: &Ec2,
    view: &View,
    op: &DescribeRouteTables,
) -> Result<DescribeRouteTablesResult, ApiError> {
    let show = |it: &RouteTable| Some(item(app, view, it));
    let query = Query {
        ids: &op.route_table_ids,
        filters: &op.filters,
        max_results: op.max_results,
        next_token: op.next_token.as_deref(),
    };
    let page = select_records(view, show, &query)?;
    Ok(DescribeRouteTablesResult {
        route_tables: page.items,
        next_token: page.next_token,
    })
}
