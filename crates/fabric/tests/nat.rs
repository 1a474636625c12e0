//! NAT gateways and VPC endpoints, with packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::collections::BTreeMap;
use std::sync::Arc;

use lab::lattice::service;
use lab::transit::to_transit;
use lab::world::World;
use lab::{Draft, Lab, PATIENCE, id, is_root};
use lath_feed::{
    EndpointResource, Resource, ResourceTarget, RouteTarget, TransitPeer, VpcEndpoint,
};
use lath_model::id::{NatGatewayId, RouteTableId, SubnetId};

const ALL: &str = "all - 0.0.0.0/0";

fn to_nat(number: u32) -> RouteTarget {
    RouteTarget::NatGateway(id("nat", number))
}

/// Gives a subnet a table of its own, of the same number.
fn own_table(draft: &mut Draft, vpc: u32, subnet: u32) {
    draft.edit(vpc, |vpc| {
        let table = lath_feed::RouteTable {
            id: id("rtb", subnet),
            routes: Vec::new(),
        };
        vpc.route_tables.insert(table.id.clone(), table);
        let subnet_id: SubnetId = id("subnet", subnet);
        vpc.subnets.get_mut(&subnet_id).unwrap().route_table = id("rtb", subnet);
    });
}

/// VPC 1: subnet 1 leads to the internet and holds NAT gateway 5 (10.1.1.5, 198.51.100.5); subnet 2 leads to
/// the NAT gateway. Instance 10 is in subnet 2, instance 11 in subnet 1 with a public address.
fn draft() -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.1.0.0/16", "10.1.1.0/24").gateway(1);
    draft.group(1, 1, &[ALL], &[ALL]);
    draft.subnet(1, 2, "10.1.2.0/24", 1);
    own_table(&mut draft, 1, 2);
    draft.route(1, 2, "0.0.0.0/0", to_nat(5));
    draft.nat(1, (1, 5), "10.1.1.5", Some("198.51.100.5"));
    draft.instance(1, 2, 10, "10.1.2.10", &[1]);
    draft.instance(1, 1, 11, "10.1.1.11", &[1]);
    draft.public(1, 11, "198.51.100.11");
    draft
}

#[test]
fn private_subnets_reach_out_and_are_not_reached() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let mut draft = draft();
    let report = lab.apply(&draft);
    assert!(report.nat_gateways[&id::<NatGatewayId>("nat", 5)].is_ok());
    world.site().serve("192.0.2.2:80");
    world.site().serve("10.99.0.1:80");
    world.site().serve_udp("192.0.2.2:53");
    lab.instance(10).serve("10.1.2.10:80");
    lab.instance(11).serve("10.1.1.11:80");
    assert_eq!(lab.instance(10).reach("192.0.2.2:80"), "192.0.2.1");
    assert!(
        lab.instance(10)
            .ask_udp("10.1.2.10:0", "192.0.2.2:53")
            .is_some()
    );
    assert!(lab.instance(10).ping("192.0.2.2"));
    // The connection that is open now ends when it is idle, and others as ever.
    let open = lab.instance(10).connect("192.0.2.2:80", PATIENCE).unwrap();
    let other = lab.instance(11).connect("192.0.2.2:80", PATIENCE).unwrap();
    let ends = lab
        .router(1)
        .run(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap_or_default());
    let left = |source: &str| {
        let known = ends.lines().filter(|line| line.contains("ESTABLISHED"));
        let mut known = known.filter(|line| line.contains(&format!("src={source} dst=192.0.2.2")));
        let words = known.next()?.split_whitespace();
        words.take(5).last()?.parse::<u32>().ok()
    };
    // Kernels without that file are not asked.
    if !ends.is_empty() {
        assert!(left("10.1.2.10").is_some_and(|left| left <= 350), "{ends}");
        assert!(left("10.1.1.11").is_some_and(|left| left > 350), "{ends}");
    }
    drop((open, other));
    // Through the internet gateway it comes from the elastic address.
    assert_eq!(lab.instance(10).reach("198.51.100.11:80"), "198.51.100.5");
    assert_eq!(lab.instance(11).reach("192.0.2.2:80"), "192.0.2.1");
    assert_eq!(
        lab.instance(10).reach("10.1.1.11:80"),
        "10.1.2.10",
        "inside the VPC nothing is translated"
    );
    // Nobody comes in by it, and private networks are not the internet.
    for (name, outcome) in [
        ("outside in", world.site().outcome("198.51.100.5:80")),
        ("host in", lab.host_site().outcome("198.51.100.5:80")),
        ("inside in", lab.instance(11).outcome("10.1.1.5:80")),
        ("private out", lab.instance(10).outcome("10.99.0.1:80")),
    ] {
        assert!(!outcome.starts_with("reached"), "{name}: {outcome}");
    }
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
    // The gateway goes: its route is a black hole.
    draft.edit(1, |vpc| vpc.nat_gateways.clear());
    lab.apply(&draft);
    assert_eq!(lab.instance(10).outcome("192.0.2.2:80"), "silence");
    assert_eq!(lab.instance(11).reach("192.0.2.2:80"), "192.0.2.1");
}

#[test]
fn longer_prefixes_go_past_the_gateway() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let mut draft = draft();
    draft.route(1, 2, "192.0.2.2/32", RouteTarget::Blackhole);
    lab.apply(&draft);
    world.site().serve("192.0.2.2:80");
    lab.instance(11).serve("10.1.1.11:80");
    assert_eq!(lab.instance(10).outcome("192.0.2.2:80"), "silence");
    assert_eq!(lab.instance(10).reach("198.51.100.11:80"), "198.51.100.5");
    // And the other way round.
    draft.edit(1, |vpc| {
        let table: RouteTableId = id("rtb", 2);
        vpc.route_tables.get_mut(&table).unwrap().routes.clear();
    });
    draft.route(1, 2, "0.0.0.0/0", RouteTarget::Blackhole);
    draft.route(1, 2, "192.0.2.0/24", to_nat(5));
    lab.apply(&draft);
    assert_eq!(lab.instance(10).reach("192.0.2.2:80"), "192.0.2.1");
    assert_eq!(lab.instance(10).outcome("198.51.100.11:80"), "silence");
}

#[test]
fn other_vpcs_leave_by_the_nat_gateway_of_one() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let mut draft = draft();
    draft.vpc(2, "10.2.0.0/16", "10.2.1.0/24");
    draft.subnet(2, 20, "10.2.1.0/24", 2);
    draft.group(2, 2, &[ALL], &[ALL]);
    draft.instance(2, 2, 20, "10.2.1.10", &[2]);
    draft.route(2, 2, "0.0.0.0/0", to_transit(1));
    // The attachment is in subnet 2, whose table leads to the NAT gateway; only the gateway's own table
    // knows the way back.
    let to = TransitPeer::Vpc {
        vpc: id("vpc", 1),
        subnets: [id("subnet", 2)].into(),
    };
    draft.attach_to(1, 1, to, Some(1)).attach(1, 2, Some(1));
    draft.transit_route(1, 1, "0.0.0.0/0", Some(1));
    draft.transit_route(1, 1, "10.2.0.0/16", Some(2));
    draft.route(1, 1, "10.2.0.0/16", to_transit(1));
    lab.apply(&draft);
    world.site().serve("192.0.2.2:80");
    lab.instance(11).serve("10.1.1.11:80");
    assert_eq!(lab.instance(20).reach("192.0.2.2:80"), "192.0.2.1");
    assert_eq!(lab.instance(20).reach("198.51.100.11:80"), "198.51.100.5");
    assert_eq!(
        lab.instance(20).reach("10.1.1.11:80"),
        "10.2.1.10",
        "a VPC's own addresses are not behind it"
    );
    // Large datagrams: the internet gateway's link says what fits, all the way back.
    assert_eq!(lab.instance(20).path_mtu("192.0.2.2:9", 4000), 1500);
    assert!(lab.instance(20).ping("192.0.2.2"));
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
}

#[test]
fn a_private_nat_gateway_hides_a_vpc_from_another() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = Draft::default();
    draft.vpc(1, "10.1.0.0/16", "10.1.1.0/24");
    draft.group(1, 1, &[ALL], &[ALL]);
    draft.subnet(1, 2, "10.1.2.0/24", 1);
    own_table(&mut draft, 1, 2);
    draft.nat(1, (1, 5), "10.1.1.5", None);
    draft.route(1, 2, "0.0.0.0/0", to_nat(5));
    draft.route(1, 1, "10.2.0.0/16", to_transit(1));
    draft.instance(1, 2, 10, "10.1.2.10", &[1]);
    draft.vpc(2, "10.2.0.0/16", "10.2.1.0/24");
    draft.group(2, 2, &["all - 10.1.1.5/32"], &[ALL]);
    draft.route(2, 2, "10.1.1.0/24", to_transit(1));
    draft.instance(2, 2, 20, "10.2.1.10", &[2]);
    draft.attach(1, 1, Some(1)).attach(1, 2, Some(1));
    draft.transit_route(1, 1, "10.1.0.0/16", Some(1));
    draft.transit_route(1, 1, "10.2.0.0/16", Some(2));
    lab.apply(&draft);
    lab.instance(20).serve("10.2.1.10:80");
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.5");
    let outcome = lab.instance(20).outcome("10.1.1.5:80");
    assert!(!outcome.starts_with("reached"), "{outcome}");
}

#[test]
fn endpoints_are_reached_on_their_ports_by_whom_their_groups_let_in() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = Draft::default();
    for vpc in 1..=3 {
        draft.vpc(
            vpc,
            &format!("10.{vpc}.0.0/16"),
            &format!("10.{vpc}.1.0/24"),
        );
        draft.group(vpc, vpc, &[ALL], &[ALL]);
        draft.route(vpc, vpc, "10.0.0.0/8", to_transit(1));
        draft.instance(vpc, vpc, vpc * 10, &format!("10.{vpc}.1.10"), &[vpc]);
        draft.attach(1, vpc, Some(1));
        draft.transit_route(1, 1, &format!("10.{vpc}.0.0/16"), Some(vpc));
    }
    draft.instance(1, 1, 11, "10.1.1.11", &[1]);
    draft.group(
        1,
        9,
        &["tcp 1-65535 10.1.1.10/32", "tcp 1-65535 10.2.0.0/16"],
        &[],
    );
    let (network, service) = service(1);
    let database = Resource {
        id: id("rcfg", 1),
        arn: String::new(),
        gateway: id("rgw", 1),
        target: ResourceTarget::Address("10.3.1.10".parse().unwrap()),
        ports: vec![(5432, 5432), (8000, 8010)],
        access_logs: Vec::new(),
    };
    let at = EndpointResource {
        association: None,
        addresses: [(id("subnet", 1), "10.1.1.51".parse().unwrap())].into(),
        private_name: None,
    };
    let endpoint = VpcEndpoint {
        id: id("vpce", 1),
        service_network: Some(network.id.clone()),
        addresses: [(
            id("subnet", 1),
            (id("eni", 50), "10.1.1.50".parse().unwrap()),
        )]
        .into(),
        security_groups: [id("sg", 9)].into(),
        names: BTreeMap::new(),
        resources: [(database.id.clone(), at)].into(),
    };
    draft.edit(1, |vpc| {
        drop(vpc.endpoints.insert(endpoint.id.clone(), endpoint))
    });
    let snapshot = &mut draft.snapshot;
    snapshot
        .resources
        .insert(database.id.clone(), Arc::new(database));
    snapshot
        .services
        .insert(service.id.clone(), Arc::new(service));
    snapshot
        .service_networks
        .insert(network.id.clone(), Arc::new(network));
    lab.apply(&draft);
    lab.router(1).serve("10.1.1.50:80");
    lab.router(1).serve("10.1.1.50:81");
    // The ports of a resource are led to its first one.
    lab.router(1).serve("10.1.1.51:5432");
    lab.router(1).serve("10.1.1.51:9000");
    for (name, instance, to, want) in [
        ("inside", 10, "10.1.1.50:80", "reached as 10.1.1.10"),
        (
            "another network",
            20,
            "10.1.1.50:80",
            "reached as 10.2.1.10",
        ),
        ("inside, not let in", 11, "10.1.1.50:80", "silence"),
        ("another network, not let in", 30, "10.1.1.50:80", "silence"),
        ("no listener's port", 10, "10.1.1.50:81", "silence"),
        (
            "no listener's port from afar",
            20,
            "10.1.1.50:81",
            "silence",
        ),
        ("a resource", 10, "10.1.1.51:5432", "reached as 10.1.1.10"),
        (
            "another of its ports",
            10,
            "10.1.1.51:8005",
            "reached as 10.1.1.10",
        ),
        (
            "a resource from another network",
            20,
            "10.1.1.51:8010",
            "reached as 10.2.1.10",
        ),
        ("a resource, not let in", 11, "10.1.1.51:5432", "silence"),
        ("another port, not let in", 11, "10.1.1.51:8005", "silence"),
        ("from afar, not let in", 30, "10.1.1.51:8005", "silence"),
        ("no port of the resource", 10, "10.1.1.51:9000", "silence"),
        ("nor from afar", 20, "10.1.1.51:9000", "silence"),
    ] {
        if want.starts_with("reached") {
            lab.instance(instance).reach(to);
        }
        assert_eq!(lab.instance(instance).outcome(to), want, "{name}");
    }
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
}
