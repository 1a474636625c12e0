//! The part of the feed that networks fill: a pure function of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use lath_control::{Cell, Contribute, Derive};
use lath_ec2_records::prefix_lists;
use lath_ec2_records::{self as records, Destination, Direction, RuleSource, Target};
use lath_feed::{
    AclEntry, Attachment, Branch, Interface, InterfaceAddress, NetworkAcl, Peer, PrefixList, Route,
    RouteTable, RouteTarget, SecurityGroup, SecurityRule, Snapshot, Subnet, Vpc,
};
use lath_store::{Record, View};

use crate::{joined, nat_gateways, network_acls, route_tables, vpc_endpoints, vpc_peering, vpcs};

/// Fills VPCs, prefix lists (AWS's and the account's), the names of endpoints, and security groups. A VPC's Lattice
/// association is left to Lattice.
pub const CONTRIBUTIONS: [Contribute; 5] = [
    each::<records::Vpc>(vpc),
    Derive::Whole(aws_prefix_lists),
    each::<records::ManagedPrefixList>(prefix_list),
    Derive::Whole(names),
    each::<records::SecurityGroup>(security_group),
];

/// The part of each record of a kind.
const fn each<R: Record>(make: fn(&Cell, &View, &str, &mut Snapshot)) -> Contribute {
    Derive::Each {
        kind: R::KIND,
        make,
    }
}

fn vpc(cell: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    snapshot.vpcs.remove(&key);
    if let Some(record) = view.get::<records::Vpc>(id) {
        let mut vpc = empty_vpc(&record);
        let mut gateways = view.by::<records::InternetGateway>("vpc", id);
        vpc.internet_gateway = gateways.next().map(|gateway| gateway.id.clone());
        add_route_tables(cell, view, &mut vpc);
        add_subnets(view, &record, &mut vpc);
        add_network_acls(view, &record, &mut vpc);
        add_interfaces(view, &mut vpc);
        add_managed(cell, view, &mut vpc);
        vpc.dhcp_options = vpcs::dhcp_options(cell, view, &record);
        let peerings = vpc_peering::feed(view, &record.id).into_iter();
        vpc.peerings = peerings.map(|peer| (peer.id.clone(), peer)).collect();
        snapshot.vpcs.insert(key, Arc::new(vpc));
    }
}

/// Fixed: they follow from the region.
fn aws_prefix_lists(cell: &Cell, _: &View, snapshot: &mut Snapshot) {
    for list in prefix_lists::aws(&cell.region) {
        let feed = feed_prefix_list(&list);
        snapshot.prefix_lists.insert(list.id, Arc::new(feed));
    }
}

fn prefix_list(_: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    match view.get::<records::ManagedPrefixList>(id) {
        Some(list) => {
            let feed = Arc::new(feed_prefix_list(&list));
            snapshot.prefix_lists.insert(key, feed);
        }
        None => drop(snapshot.prefix_lists.remove(&key)),
    }
}

fn security_group(_: &Cell, view: &View, id: &str, snapshot: &mut Snapshot) {
    let Ok(key) = id.parse() else {
        return;
    };
    match view.get::<records::SecurityGroup>(id) {
        Some(group) => {
            let feed = Arc::new(feed_group(view, &group));
            snapshot.security_groups.insert(key, feed);
        }
        None => drop(snapshot.security_groups.remove(&key)),
    }
}

/// The names of this region's endpoints, and those that other regions told.
fn names(cell: &Cell, view: &View, snapshot: &mut Snapshot) {
    let peers = view.list::<records::PeerTransit>();
    let told = peers.flat_map(|peer| peer.told.names.clone());
    let own = vpc_endpoints::public_names(cell, view).into_iter();
    snapshot.names = told.chain(own).collect();
}

/// NAT gateways and endpoints.
fn add_managed(cell: &Cell, view: &View, vpc: &mut Vpc) {
    let gateways = nat_gateways::feed(view, &vpc.id).into_iter();
    let gateways = gateways.map(|gateway| (gateway.id.clone(), gateway));
    vpc.nat_gateways.extend(gateways);
    let endpoints = vpc_endpoints::feed(cell, view, &vpc.id).into_iter();
    let endpoints = endpoints.map(|endpoint| (endpoint.id.clone(), endpoint));
    vpc.endpoints.extend(endpoints);
}

fn empty_vpc(vpc: &records::Vpc) -> Vpc {
    Vpc {
        id: vpc.id.clone(),
        owner: vpc.owner.clone(),
        cidrs: vpc.cidrs.iter().map(|block| block.cidr).collect(),
        dns_support: vpc.dns_support,
        dns_hostnames: vpc.dns_hostnames,
        dhcp_options: None,
        subnets: BTreeMap::new(),
        route_tables: BTreeMap::new(),
        internet_gateway: None,
        interfaces: BTreeMap::new(),
        lattice: None,
        nat_gateways: Default::default(),
        endpoints: Default::default(),
        network_acls: Default::default(),
        peerings: Default::default(),
    }
}

fn add_route_tables(cell: &Cell, view: &View, vpc: &mut Vpc) {
    for table in view.by::<records::RouteTable>("vpc", vpc.id.as_str()) {
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
        Target::VpcPeering(id) => RouteTarget::VpcPeering(id.clone()),
    }
}

fn add_subnets(view: &View, record: &records::Vpc, vpc: &mut Vpc) {
    for subnet in view.by::<records::Subnet>("vpc", vpc.id.as_str()) {
        if let Some(table) = route_tables::of_subnet(view, &subnet) {
            let feed = Subnet {
                id: subnet.id.clone(),
                cidr: subnet.cidr,
                route_table: table.id.clone(),
                availability_zone: subnet.availability_zone.clone(),
                network_acl: Some(network_acls::of_subnet(record, &subnet).clone()),
            };
            vpc.subnets.insert(feed.id.clone(), feed);
        }
    }
}

/// Nodes deny what has an ACL that they do not know: a default one without a record, of a state of before, is one too.
fn add_network_acls(view: &View, record: &records::Vpc, vpc: &mut Vpc) {
    let default = feed_network_acl(&records::NetworkAcl::default_of(record));
    vpc.network_acls.insert(default.id.clone(), default);
    for acl in view.by::<records::NetworkAcl>("vpc", vpc.id.as_str()) {
        let feed = feed_network_acl(&acl);
        vpc.network_acls.insert(feed.id.clone(), feed);
    }
}

fn feed_network_acl(acl: &records::NetworkAcl) -> NetworkAcl {
    let entries = |direction| {
        let entries = acl.of(direction).map(|entry| AclEntry {
            allow: entry.allow,
            traffic: entry.traffic,
            cidr: entry.cidr,
        });
        entries.collect()
    };
    NetworkAcl {
        id: acl.id.clone(),
        ingress: entries(Direction::Ingress),
        egress: entries(Direction::Egress),
    }
}

fn add_interfaces(view: &View, vpc: &mut Vpc) {
    for interface in view.by::<records::NetworkInterface>("vpc", vpc.id.as_str()) {
        // It is no device of a workload, but behind one.
        if matches!(interface.manager, Some(records::Manager::Branch { .. })) {
            continue;
        }
        let feed = feed_interface(&interface);
        vpc.interfaces.insert(feed.id.clone(), feed);
    }
    for interface in view.by::<records::NetworkInterface>("vpc", vpc.id.as_str()) {
        if let Some(records::Manager::Branch { trunk, pod, .. }) = &interface.manager
            && let Some(trunk) = vpc.interfaces.get_mut(trunk)
        {
            trunk.branches.push(Branch {
                id: interface.id.clone(),
                mac: interface.mac.clone(),
                address: interface.primary_ip(),
                security_groups: interface.groups.iter().cloned().collect(),
                pod: pod.clone(),
            });
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
        attachment: attachment(interface),
        prefixes: interface.prefixes.clone(),
        branches: Vec::new(),
    }
}

/// The instance that an interface is attached to, or the workload of another service that it was made for.
fn attachment(interface: &records::NetworkInterface) -> Option<Attachment> {
    if let Some(it) = &interface.attachment {
        return Some(Attachment {
            workload: it.instance.clone().into(),
            device: it.device_index,
        });
    }
    match interface.manager.as_ref()? {
        records::Manager::Workload { workload, device } => Some(Attachment {
            workload: workload.clone().into(),
            device: *device,
        }),
        _ => None,
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

/// Whether a rule counts: one that names a group of another VPC does while the two are joined.
fn is_in_reach(view: &View, group: &records::SecurityGroup, source: &RuleSource) -> bool {
    let RuleSource::Group(id) = source else {
        return true;
    };
    let other = view.get::<records::SecurityGroup>(id.as_str());
    other.is_none_or(|it| it.vpc == group.vpc || joined(view, &it.vpc, &group.vpc))
}
