//! A VPC's router: addresses, routes and route tables.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use lath_feed::{Route, RouteTarget};

use super::tables::KernelTable;
use super::{
    GATEWAY_MTU, METADATA, RESOLVER, UPLINK_HOST, UPLINK_ROUTER, VPC_MTU, VpcView, WAN, host_net,
    nth, uplink_name,
};
use crate::name;
use crate::plan::{
    Link, LinkKind, MAIN, Namespace, NamespaceRef, RouteTo, Rule, RuleAction, RuleMatch,
};

/// Rules stand before the main table's, which is 32766.
pub(super) const RULE_PRIORITY: u32 = 1000;

impl VpcView<'_> {
    pub(super) fn router(&self) -> Namespace {
        let mut router = Namespace::with_loopback();
        sysctls(&mut router);
        self.service_addresses(&mut router);
        self.interface_links(&mut router);
        self.subnet_gaps(&mut router);
        if self.has_gateway() {
            self.uplink(&mut router);
        }
        let tables = self.kernel_tables();
        for table in tables.values().filter(|table| table.routes.is_some()) {
            self.route_table(&mut router, table);
        }
        self.transit_links(&mut router, &tables);
        self.peer_links(&mut router, &tables);
        self.endpoint_addresses(&mut router, &tables);
        self.resource_addresses(&mut router, &tables);
        router.table = Some(self.firewall(&tables));
        router.forward_marked_only();
        router
    }

    fn service_addresses(&self, router: &mut Namespace) {
        for address in self.service_points() {
            router.address("lo", host_net(address));
        }
        router.address("lo", host_net(lath_net::LATTICE_SOURCE));
        for address in self.lattice_addresses() {
            router.address("lo", host_net(address));
        }
    }

    /// The resolver, the metadata service and the AWS APIs.
    pub(super) fn service_points(&self) -> BTreeSet<std::net::Ipv4Addr> {
        // "The base of the VPC IPv4 network range plus two", of the primary block only
        // (https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html).
        let resolver = self.vpc.cidrs.first().map(|primary| nth(*primary, 2));
        resolver
            .into_iter()
            .chain([RESOLVER, METADATA, lath_net::API_ADDRESS])
            .collect()
    }

    /// The services of the network that this VPC is associated with.
    fn lattice_addresses(&self) -> BTreeSet<std::net::Ipv4Addr> {
        let network = self
            .vpc
            .lattice
            .as_ref()
            .map(|association| &association.service_network);
        let network = network.and_then(|id| self.snapshot.service_networks.get(id));
        let services = network
            .into_iter()
            .flat_map(|network| network.services.iter());
        services
            .filter_map(|id| self.snapshot.services.get(id))
            .map(|s| s.address)
            .collect()
    }

    fn interface_links(&self, router: &mut Namespace) {
        for attached in &self.attached {
            let link = attached.link.as_str();
            router
                .links
                .insert(link.to_owned(), self.interface_link(attached));
            router.address(link, host_net(nth(attached.subnet.cidr, 1)));
            for address in &attached.interface.addresses {
                router.route(MAIN, host_net(address.private), RouteTo::dev(link));
            }
            // What is behind the workload does not answer for its address: the workload is the next hop.
            let hop = attached.interface.private_addresses().next();
            for (prefix, hop) in attached.interface.prefixes.iter().zip(hop.iter().cycle()) {
                router.route(MAIN, prefix.trunc(), RouteTo::via(link, *hop));
            }
            for (branch, hop) in attached.interface.branches.iter().zip(hop.iter().cycle()) {
                router.route(MAIN, host_net(branch.address), RouteTo::via(link, *hop));
            }
        }
    }

    fn interface_link(&self, attached: &super::Attached<'_>) -> Link {
        Link {
            kind: LinkKind::Veth {
                peer_place: NamespaceRef::Named(attached.workload.as_str().to_owned()),
                peer: super::workload::device_name(attached.device),
            },
            mac: None,
            mtu: Some(VPC_MTU),
            alias: Some(name::alias(
                &self.facts.owner,
                attached.interface.id.as_str(),
            )),
            up: true,
        }
    }

    /// What is in the VPC and has no interface answers at once that it is unreachable, and never leaves.
    fn subnet_gaps(&self, router: &mut Namespace) {
        for cidr in &self.vpc.cidrs {
            router.route(MAIN, *cidr, RouteTo::Unreachable);
        }
        router.route(MAIN, Ipv4Net::default(), RouteTo::Unreachable);
    }

    fn uplink(&self, router: &mut Namespace) {
        let link = Link {
            kind: LinkKind::Veth {
                peer_place: NamespaceRef::Host,
                peer: uplink_name(self.facts, self.vpc),
            },
            mac: None,
            mtu: Some(GATEWAY_MTU),
            alias: Some(name::alias(&self.facts.owner, self.vpc.id.as_str())),
            up: true,
        };
        router.links.insert(WAN.to_owned(), link);
        router.address(WAN, host_net(UPLINK_ROUTER));
        router.route(MAIN, host_net(UPLINK_HOST), RouteTo::dev(WAN));
    }

    /// One table, asked by the mark of the subnets that use it. What it does not know goes on to the main
    /// table, which knows the VPC and nothing else.
    fn route_table(&self, router: &mut Namespace, table: &KernelTable<'_>) {
        let number = table.number;
        let rule = Rule {
            priority: RULE_PRIORITY,
            when: RuleMatch::Mark(number),
            action: RuleAction::Table(number),
        };
        router.rules.insert(rule);
        for route in table.routes.map_or(&[][..], |table| &table.routes) {
            let to = route.destination.trunc();
            router.route(number, to, self.target(route, table));
            if matches!(
                route.target,
                RouteTarget::TransitGateway(_) | RouteTarget::VpcPeering(_)
            ) {
                router.fallback(number, to, RouteTo::Unreachable);
            }
        }
        // A VPC's own blocks are local whether a table says so or not.
        for cidr in &self.vpc.cidrs {
            router.route(number, cidr.trunc(), RouteTo::Throw);
        }
    }

    fn target(&self, route: &Route, table: &KernelTable<'_>) -> RouteTo {
        match &route.target {
            RouteTarget::Local => RouteTo::Throw,
            // What goes to a NAT gateway uses the table of the gateway.
            RouteTarget::Blackhole | RouteTarget::NatGateway(_) => RouteTo::Blackhole,
            RouteTarget::TransitGateway(id) if table.unserved.contains(id) => RouteTo::Unreachable,
            RouteTarget::TransitGateway(id) => self.through_transit(id),
            RouteTarget::VpcPeering(id) => self.through_peering(id),
            RouteTarget::InternetGateway(id) => {
                if self.vpc.internet_gateway.as_ref() == Some(id) && self.has_gateway() {
                    RouteTo::via(WAN, UPLINK_HOST)
                } else if self.vpc.internet_gateway.as_ref() == Some(id) {
                    RouteTo::Unreachable
                } else {
                    RouteTo::Blackhole
                }
            }
            RouteTarget::Interface(id) => self.through_instance(id),
        }
    }

    /// An interface whose source/destination check is on drops what is not its own: as a black hole does.
    fn through_instance(&self, id: &lath_model::id::NetworkInterfaceId) -> RouteTo {
        let attached = self.attached(id).filter(|a| !a.interface.source_dest_check);
        let hop = attached.and_then(|a| Some((a, a.interface.addresses.first()?)));
        hop.map_or(RouteTo::Blackhole, |(a, address)| {
            RouteTo::via(&a.link, address.private)
        })
    }
}

fn sysctls(router: &mut Namespace) {
    router.sysctl("ipv4/ip_forward", 1);
    for scope in ["all", "default"] {
        router.sysctl(format!("ipv4/conf/{scope}/send_redirects"), 0);
        router.sysctl(format!("ipv4/conf/{scope}/accept_redirects"), 0);
        router.sysctl(format!("ipv4/conf/{scope}/rp_filter"), 0);
        // An instance must not learn service addresses as neighbours.
        router.sysctl(format!("ipv4/conf/{scope}/arp_announce"), 2);
        router.sysctl(format!("ipv6/conf/{scope}/disable_ipv6"), 1);
    }
    // Errors that the router makes go the way of the packet that caused them.
    router.sysctl("ipv4/fwmark_reflect", 1);
    // The proxy listens and speaks from here for every target of the VPC.
    router.sysctl("ipv4/ip_local_port_range", "10240 65535");
    router.sysctl("ipv4/ip_unprivileged_port_start", 0);
}
