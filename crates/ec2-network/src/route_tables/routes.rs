//! Single routes.

use ipnet::{IpNet, Ipv4Net};
use lath_ec2_kit::Ec2;
use lath_ec2_kit::messages::{Done, Nothing};
use lath_ec2_kit::refused;
use lath_ec2_records::errors::{client, combination, invalid_value, missing, over};
use lath_ec2_records::ids::{self, Ids as _};
use lath_ec2_records::prefix_lists;
use lath_ec2_records::resources::{INSTANCE, PREFIX_LIST, TRANSIT_GATEWAY};
use lath_ec2_records::transit;
use lath_ec2_records::{
    Destination, InternetGateway, NetworkInterface, Route, RouteTable, Subnet, Target, Vpc,
};
use lath_service::{Quota, Refuses};
use lath_store::{Tx, View};
use lath_wire::ApiError;

use super::messages::{CreateRoute, DeleteRoute, ReplaceRoute};
use crate::{nat_gateways, vpc_peering, vpcs};

/// How many routes a table may have, the local ones not counted.
const MAX_ROUTES: Quota<&str> = Quota::new("routes", "RouteLimitExceeded", 50);

/// Link-local services are answered here: no route may lead elsewhere.
const RESERVED: ([u8; 4], u8) = ([169, 254, 168, 0], 22);

/// The members of a request that name the target, and what is said when nothing has such an id. Lath
/// has no such resources, so that the answer is the truth.
const ABSENT: [(&str, &str, &str); 3] = [
    ("eigw-", "InvalidGatewayID.NotFound", "eigw ID"),
    ("vpce-", "InvalidVpcEndpointId.NotFound", "Vpc Endpoint Id"),
    ("vgw-", "InvalidGatewayID.NotFound", "gateway ID"),
];

pub(super) fn create(app: &Ec2, tx: &mut Tx, op: CreateRoute) -> Result<Done, ApiError> {
    let table = ids::find::<RouteTable>(tx.view(), &op.route_table_id)?;
    op.refuse()?;
    let destination = destination(
        app,
        tx.view(),
        op.destination_cidr_block.as_deref(),
        op.destination_prefix_list_id.as_deref(),
    )?;
    let target = target(tx.view(), &table, &Targets::of_create(&op))?;
    check_destination(app, tx.view(), &table, &destination, &target)?;
    if table.routes.iter().any(|it| it.destination == destination) {
        return Err(exists(&destination));
    }
    MAX_ROUTES.check(&app.cell, table.routes.len() + 1, over)?;
    tx.update::<RouteTable>(table.id.as_str(), |table| {
        table.routes.push(Route {
            destination,
            target,
        });
    });
    Ok(Done::YES)
}

fn exists(destination: &Destination) -> ApiError {
    client(
        "RouteAlreadyExists",
        format!("The route identified by {destination} already exists."),
    )
}

pub(super) fn replace(app: &Ec2, tx: &mut Tx, op: ReplaceRoute) -> Result<Nothing, ApiError> {
    let table = ids::find::<RouteTable>(tx.view(), &op.route_table_id)?;
    op.refuse()?;
    let destination = destination(
        app,
        tx.view(),
        op.destination_cidr_block.as_deref(),
        op.destination_prefix_list_id.as_deref(),
    )?;
    let position = table
        .routes
        .iter()
        .position(|it| it.destination == destination);
    let index = position.ok_or_else(|| {
        invalid_value(format!(
            "There is no route defined for '{destination}' in the route table. Use CreateRoute instead."
        ))
    })?;
    let target = target(tx.view(), &table, &Targets::of_replace(&op))?;
    check_destination(app, tx.view(), &table, &destination, &target)?;
    tx.update::<RouteTable>(table.id.as_str(), |table| {
        table.routes[index].target = target;
    });
    Ok(Nothing {})
}

pub(super) fn delete(app: &Ec2, tx: &mut Tx, op: DeleteRoute) -> Result<Nothing, ApiError> {
    let table = ids::find::<RouteTable>(tx.view(), &op.route_table_id)?;
    op.refuse()?;
    let destination = destination(
        app,
        tx.view(),
        op.destination_cidr_block.as_deref(),
        op.destination_prefix_list_id.as_deref(),
    )?;
    if local_blocks(tx.view(), &table)
        .iter()
        .any(|it| is_block(&destination, *it))
    {
        return Err(invalid_value(format!(
            "cannot remove local route {destination} in route table {}",
            table.id
        )));
    }
    if !table.routes.iter().any(|it| it.destination == destination) {
        return Err(client(
            "InvalidRoute.NotFound",
            format!(
                "no route with destination-cidr-block {destination} in route table {}",
                table.id
            ),
        ));
    }
    tx.update::<RouteTable>(table.id.as_str(), |table| {
        table.routes.retain(|it| it.destination != destination);
    });
    Ok(Nothing {})
}

fn local_blocks(view: &View, table: &RouteTable) -> Vec<Ipv4Net> {
    view.get::<Vpc>(table.vpc.as_str())
        .map(|vpc| vpc.cidrs.iter().map(|block| block.cidr).collect())
        .unwrap_or_default()
}

fn is_block(destination: &Destination, block: Ipv4Net) -> bool {
    *destination == Destination::Cidr(IpNet::V4(block))
}

fn destination(
    app: &Ec2,
    view: &View,
    cidr: Option<&str>,
    list: Option<&str>,
) -> Result<Destination, ApiError> {
    match (cidr, list) {
        (Some(_), Some(_)) => Err(combination(
            "Only one of destinationCidrBlock and destinationPrefixListId can be given",
        )),
        (Some(cidr), None) => {
            vpcs::block("destinationCidrBlock", cidr).map(|cidr| Destination::Cidr(IpNet::V4(cidr)))
        }
        (None, Some(id)) => {
            PREFIX_LIST.id.check(id)?;
            prefix_lists::find(&app.cell, view, id)
                .map(|list| Destination::PrefixList(list.id.clone()))
                .ok_or_else(|| PREFIX_LIST.id.not_found(id))
        }
        (None, None) => Err(client(
            "MissingParameter",
            "Either 'destinationCidrBlock' or 'destinationIpv6CidrBlock' should be provided.",
        )),
    }
}

/// Every block of a destination must be one that a route may lead to `target`.
fn check_destination(
    app: &Ec2,
    view: &View,
    table: &RouteTable,
    destination: &Destination,
    target: &Target,
) -> Result<(), ApiError> {
    let local = local_blocks(view, table);
    if local.iter().any(|it| is_block(destination, *it)) {
        return Err(exists(destination));
    }
    for cidr in blocks(app, view, destination)? {
        check_block(view, table, &local, cidr, target)?;
    }
    Ok(())
}

fn blocks(app: &Ec2, view: &View, destination: &Destination) -> Result<Vec<Ipv4Net>, ApiError> {
    let cidrs: Vec<IpNet> = match destination {
        Destination::Cidr(cidr) => vec![*cidr],
        Destination::PrefixList(id) => prefix_lists::find(&app.cell, view, id.as_str())
            .iter()
            .flat_map(|list| list.entries().iter().map(|entry| entry.cidr))
            .collect(),
    };
    cidrs
        .into_iter()
        .map(|cidr| match cidr {
            IpNet::V4(cidr) => Ok(cidr),
            IpNet::V6(_) => Err(lath_ec2_records::errors::unsupported(
                "IPv6 routes are not supported.",
            )),
        })
        .collect()
}

fn check_block(
    view: &View,
    table: &RouteTable,
    local: &[Ipv4Net],
    cidr: Ipv4Net,
    target: &Target,
) -> Result<(), ApiError> {
    let (octets, length) = RESERVED;
    let reserved = Ipv4Net::new_assert(octets.into(), length);
    if reserved.contains(&cidr) {
        return Err(invalid_value(format!(
            "The destination CIDR block {cidr} is inside the reserved block {reserved}."
        )));
    }
    if !local.iter().any(|block| block.contains(&cidr)) {
        return Ok(());
    }
    let whole_subnet = view
        .by::<Subnet>("vpc", table.vpc.as_str())
        .any(|subnet| subnet.cidr == cidr);
    if whole_subnet && matches!(target, Target::Interface(_) | Target::NatGateway(_)) {
        return Ok(());
    }
    Err(invalid_value(format!(
        "The destination CIDR block {cidr} is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface, an instance or a NAT gateway, and must cover a whole subnet."
    )))
}

/// The target members of both requests.
struct Targets<'a> {
    gateway: Option<&'a str>,
    instance: Option<&'a str>,
    interface: Option<&'a str>,
    nat: Option<&'a str>,
    transit: Option<&'a str>,
    peering: Option<&'a str>,
    absent: [Option<&'a str>; 2],
}

macro_rules! targets {
    ($op:expr) => {
        Self {
            gateway: $op.gateway_id.as_deref(),
            instance: $op.instance_id.as_deref(),
            interface: $op.network_interface_id.as_deref(),
            nat: $op.nat_gateway_id.as_deref(),
            transit: $op.transit_gateway_id.as_deref(),
            peering: $op.vpc_peering_connection_id.as_deref(),
            absent: [
                $op.egress_only_internet_gateway_id.as_deref(),
                $op.vpc_endpoint_id.as_deref(),
            ],
        }
    };
}

impl<'a> Targets<'a> {
    fn of_create(op: &'a CreateRoute) -> Self {
        targets!(op)
    }

    fn of_replace(op: &'a ReplaceRoute) -> Self {
        targets!(op)
    }

    fn count(&self) -> usize {
        let known = [
            self.gateway,
            self.instance,
            self.interface,
            self.nat,
            self.transit,
            self.peering,
        ];
        known.iter().chain(&self.absent).flatten().count()
    }
}

fn target(view: &View, table: &RouteTable, targets: &Targets<'_>) -> Result<Target, ApiError> {
    match targets.count() {
        0 => return Err(missing("gatewayId, networkInterfaceId or another target")),
        1 => {}
        _ => return Err(combination("A route has exactly one target.")),
    }
    if let Some(id) = targets.gateway {
        return gateway(view, table, id);
    }
    if let Some(id) = targets.interface {
        return interface(view, table, id);
    }
    if let Some(id) = targets.instance {
        let interface = primary_interface(view, id)?;
        return self::interface(view, table, &interface);
    }
    if let Some(id) = targets.nat {
        return nat_gateway(view, table, id);
    }
    if let Some(id) = targets.transit {
        return transit_gateway(view, table, id);
    }
    if let Some(id) = targets.peering {
        let peering = vpc_peering::target(view, &table.vpc, id)?;
        return Ok(Target::VpcPeering(peering.id.clone()));
    }
    let id = targets.absent.iter().flatten().next();
    Err(absent(id.copied().unwrap_or_default()))
}

fn absent(id: &str) -> ApiError {
    ABSENT
        .iter()
        .find(|(prefix, ..)| id.starts_with(prefix))
        .map_or_else(
            || {
                client(
                    "InvalidGatewayID.NotFound",
                    format!("The gateway ID '{id}' does not exist"),
                )
            },
            |(_, code, noun)| client(code, format!("The {noun} '{id}' does not exist")),
        )
}

fn gateway(view: &View, table: &RouteTable, id: &str) -> Result<Target, ApiError> {
    if id == "local" {
        return Err(invalid_value(
            "The local gateway is the target of local routes only.",
        ));
    }
    if !id.starts_with("igw") {
        return Err(absent(id));
    }
    let gateway = ids::find::<InternetGateway>(view, id)?;
    if gateway.vpc.as_ref() != Some(&table.vpc) {
        return Err(invalid_value(format!(
            "route table {} and network gateway {} belong to different networks",
            table.id, gateway.id
        )));
    }
    Ok(Target::InternetGateway(gateway.id.clone()))
}

fn interface(view: &View, table: &RouteTable, id: &str) -> Result<Target, ApiError> {
    let interface = ids::find::<NetworkInterface>(view, id)?;
    if interface.vpc != table.vpc {
        return Err(invalid_value(format!(
            "route table {} and interface {} belong to different networks",
            table.id, interface.id
        )));
    }
    Ok(Target::Interface(interface.id.clone()))
}

fn nat_gateway(view: &View, table: &RouteTable, id: &str) -> Result<Target, ApiError> {
    let gateway = nat_gateways::target(view, id)?;
    if gateway.vpc != table.vpc {
        return Err(invalid_value(format!(
            "route table {} and NAT gateway {id} belong to different networks",
            table.id
        )));
    }
    Ok(Target::NatGateway(gateway.id.clone()))
}

/// A gateway counts only for VPCs that are attached to it.
fn transit_gateway(view: &View, table: &RouteTable, id: &str) -> Result<Target, ApiError> {
    if !transit::reaches(view, &table.vpc, id) {
        return Err(client(
            "InvalidTransitGatewayID.NotFound",
            format!("The transitGateway ID '{id}' does not exist."),
        ));
    }
    TRANSIT_GATEWAY.id.parse(id).map(Target::TransitGateway)
}

/// An instance as a target is its only interface.
fn primary_interface(view: &View, instance: &str) -> Result<String, ApiError> {
    INSTANCE.id.check(instance)?;
    let attached: Vec<_> = view.by::<NetworkInterface>("instance", instance).collect();
    match attached.as_slice() {
        [] => Err(INSTANCE.id.not_found(instance)),
        [one] => Ok(one.id.to_string()),
        _ => Err(client(
            "InvalidInstanceID",
            format!(
                "There are multiple interfaces attached to instance '{instance}'. Please specify an interface ID for the operation instead."
            ),
        )),
    }
}

refused! {
    CreateRoute { destination_ipv6_cidr_block, local_gateway_id, carrier_gateway_id, core_network_arn, odb_network_arn }
    ReplaceRoute { destination_ipv6_cidr_block, local_gateway_id, carrier_gateway_id, core_network_arn, odb_network_arn, local_target }
    DeleteRoute { destination_ipv6_cidr_block }
}
