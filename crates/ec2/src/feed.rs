//! The part of the feed that EC2 fills: a pure function of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_control::Cell;
use lath_feed::{
    Attachment, Interface, InterfaceAddress, Peer, PrefixList, Route, RouteTable, RouteTarget,
    SecurityGroup, SecurityRule, Snapshot, Subnet, Vpc,
};
use lath_model::id::VpcId;
use lath_store::View;

use crate::networks::{nat_gateways, prefix_lists, route_tables, transit, vpc_endpoints};
use crate::records::{self, Destination, Direction, RuleSource, Target};

/// Fills VPCs, prefix lists, security groups and Transit Gateways. A VPC's Lattice association is left to Lattice.
pub fn contribute(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let mut vpcs: BTreeMap<VpcId, Vpc> = view
        .list::<records::Vpc>()
        .map(|vpc| (vpc.id.clone(), empty_vpc(&vpc)))
        .collect();
    add_gateways(view, &mut vpcs);
    add_route_tables(cell, view, &mut vpcs);
    add_subnets(view, &mut vpcs);
    add_interfaces(view, &mut vpcs);
    add_managed(cell, view, &mut vpcs);
    let shared = vpcs.into_iter().map(|(id, vpc)| (id, Arc::new(vpc)));
    snapshot.vpcs.extend(shared);
    snapshot.prefix_lists.extend(
        prefix_lists::all(cell, view)
            .map(|list| (list.id.clone(), Arc::new(feed_prefix_list(&list)))),
    );
    crate::instances::contribute(cell, view, snapshot);
    transit::contribute(cell, view, snapshot);
    snapshot.name_sharing.extend(transit::name_sharing(view));
    snapshot
        .names
        .extend(vpc_endpoints::public_names(cell, view));
    snapshot.security_groups.extend(
        view.list::<records::SecurityGroup>()
            .map(|group| (group.id.clone(), Arc::new(feed_group(view, &group)))),
    );
}

/// NAT gateways and endpoints.
fn add_managed(cell: &Cell, view: &View, vpcs: &mut BTreeMap<VpcId, Vpc>) {
    for (vpc, gateway) in nat_gateways::feed(cell, view) {
        if let Some(vpc) = vpcs.get_mut(&vpc) {
            vpc.nat_gateways.insert(gateway.id.clone(), gateway);
        }
    }
    for (vpc, endpoint) in vpc_endpoints::feed(cell, view) {
        if let Some(vpc) = vpcs.get_mut(&vpc) {
            vpc.endpoints.insert(endpoint.id.clone(), endpoint);
        }
    }
}

fn empty_vpc(vpc: &records::Vpc) -> Vpc {
    Vpc {
        id: vpc.id.clone(),
        owner: vpc.owner.clone(),
        cidrs: vpc.cidrs.iter().map(|block| block.cidr).collect(),
        dns_support: vpc.dns_support,
        dns_hostnames: vpc.dns_hostnames,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
    }
}

fn add_gateways(view: &View, vpcs: &mut BTreeMap<VpcId, Vpc>) {
    for gateway in view.list::<records::InternetGateway>() {
        if let Some(vpc) = gateway.vpc.as_ref().and_then(|id| vpcs.get_mut(id)) {
            vpc.internet_gateway = Some(gateway.id.clone());
        }
    }
}

fn add_route_tables(cell: &Cell, view: &View, vpcs: &mut BTreeMap<VpcId, Vpc>) {
    for table in view.list::<records::RouteTable>() {
        let Some(vpc) = vpcs.get_mut(&table.vpc) else {
            continue;
        };
        let local = vpc.cidrs.iter().map(|cidr| Route {
            destination: *cidr,
            target: RouteTarget::Local,
        });
        let added = table
            .routes
            .iter()
            .flat_map(|route| feed_routes(cell, view, &table, route));
        let routes = local.chain(added).collect();
        let id = table.id.clone();
        vpc.route_tables
            .insert(id.clone(), RouteTable { id, routes });
    }
}

/// A route to a prefix list is one route per block of it.
fn feed_routes(
    cell: &Cell,
    view: &View,
    table: &records::RouteTable,
    route: &records::Route,
) -> Vec<Route> {
    let target = feed_target(view, table, &route.target);
    blocks(cell, view, &route.destination)
        .into_iter()
        .map(|destination| Route {
            destination,
            target: target.clone(),
        })
        .collect()
}

fn blocks(cell: &Cell, view: &View, destination: &Destination) -> Vec<Ipv4Net> {
    let v4 = |cidr: &IpNet| match cidr {
        IpNet::V4(cidr) => Some(*cidr),
        IpNet::V6(_) => None,
    };
    match destination {
        Destination::Cidr(cidr) => v4(cidr).into_iter().collect(),
        Destination::PrefixList(id) => prefix_lists::find(cell, view, id.as_str())
            .iter()
            .flat_map(|list| list.entries().iter().filter_map(|entry| v4(&entry.cidr)))
            .collect(),
    }
}

fn feed_target(view: &View, table: &records::RouteTable, target: &Target) -> RouteTarget {
    if !route_tables::is_alive(view, table, target) {
        return RouteTarget::Blackhole;
    }
    match target {
        Target::InternetGateway(id) => RouteTarget::InternetGateway(id.clone()),
        Target::Interface(id) => RouteTarget::Interface(id.clone()),
        Target::NatGateway(id) => RouteTarget::NatGateway(id.clone()),
        Target::TransitGateway(id) => RouteTarget::TransitGateway(id.clone()),
    }
}

fn add_subnets(view: &View, vpcs: &mut BTreeMap<VpcId, Vpc>) {
    for subnet in view.list::<records::Subnet>() {
        let table = route_tables::of_subnet(view, &subnet);
        if let (Some(vpc), Some(table)) = (vpcs.get_mut(&subnet.vpc), table) {
            let feed = Subnet {
                id: subnet.id.clone(),
                cidr: subnet.cidr,
                route_table: table.id.clone(),
                availability_zone: subnet.availability_zone.clone(),
            };
            vpc.subnets.insert(feed.id.clone(), feed);
        }
    }
}

fn add_interfaces(view: &View, vpcs: &mut BTreeMap<VpcId, Vpc>) {
    for interface in view.list::<records::NetworkInterface>() {
        if let Some(vpc) = vpcs.get_mut(&interface.vpc) {
            let feed = feed_interface(&interface);
            vpc.interfaces.insert(feed.id.clone(), feed);
        }
    }
}

fn feed_interface(interface: &records::NetworkInterface) -> Interface {
    Interface {
        id: interface.id.clone(),
        subnet: interface.subnet.clone(),
        mac: interface.mac.clone(),
        addresses: interface
            .addresses
            .iter()
            .map(|address| InterfaceAddress {
                private: address.private,
                public: address.public.as_ref().map(|public| public.ip),
            })
            .collect(),
        security_groups: interface.groups.iter().cloned().collect(),
        source_dest_check: interface.source_dest_check,
        attachment: interface.attachment.as_ref().map(|it| Attachment {
            workload: it.instance.clone().into(),
            device: it.device_index,
        }),
        prefixes: interface.prefixes.clone(),
    }
}

fn feed_prefix_list(list: &records::ManagedPrefixList) -> PrefixList {
    PrefixList {
        id: list.id.clone(),
        name: list.name.clone(),
        cidrs: list.entries().iter().map(|entry| entry.cidr).collect(),
    }
}

fn feed_group(view: &View, group: &records::SecurityGroup) -> SecurityGroup {
    SecurityGroup {
        id: group.id.clone(),
        name: group.name.clone(),
        vpc: group.vpc.clone(),
        ingress: feed_rules(view, group, Direction::Ingress),
        egress: feed_rules(view, group, Direction::Egress),
    }
}

fn feed_rules(
    view: &View,
    group: &records::SecurityGroup,
    direction: Direction,
) -> Vec<SecurityRule> {
    group
        .rules
        .iter()
        .filter(|rule| rule.direction == direction && is_in_reach(view, group, &rule.source))
        .map(|rule| SecurityRule {
            traffic: rule.traffic,
            peer: match &rule.source {
                RuleSource::Cidr(cidr) => Peer::Cidr(*cidr),
                RuleSource::Group(id) => Peer::Group(id.clone()),
                RuleSource::PrefixList(id) => Peer::PrefixList(id.clone()),
            },
        })
        .collect()
}

/// Whether a rule counts: one that names a group of another VPC does while a Transit Gateway joins the two.
fn is_in_reach(view: &View, group: &records::SecurityGroup, source: &RuleSource) -> bool {
    let RuleSource::Group(id) = source else {
        return true;
    };
    let other = view.get::<records::SecurityGroup>(id.as_str());
    other.is_none_or(|it| it.vpc == group.vpc || transit::joins(view, &it.vpc, &group.vpc))
}
