//! Network ACLs, with real packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::sync::Arc;

use lab::lattice::service;
use lab::transit::to_transit;
use lab::world::World;
use lab::{Draft, Lab, PATIENCE, SILENCE, echoes, id, is_root, read_line, rule};
use lath_feed::{
    AclEntry, LatticeAssociation, NetworkAcl, Peer, RouteTarget, Traffic, TransitPeer,
};
use lath_model::id::SubnetId;

const ALL: &str = "all - 0.0.0.0/0";
const OPEN: &[&str] = &["allow all - 0.0.0.0/0"];
const EPHEMERAL: &[&str] = &["allow tcp 1024-65535 0.0.0.0/0"];

/// `allow tcp 80 10.0.0.0/8`; `icmp 8/0` is a type and a code.
fn entry(text: &str) -> AclEntry {
    let (action, rest) = text.split_once(' ').unwrap();
    let words: Vec<&str> = rest.split(' ').collect();
    let typed = words[1].split_once('/');
    let (traffic, cidr) = match typed.filter(|_| words[0] == "icmp") {
        Some((kind, code)) => {
            let number = |text: &str| Some(text.parse().unwrap());
            (Traffic::Icmp(number(kind), number(code)), words[2].parse())
        }
        None => {
            let rule = rule(rest);
            let Peer::Cidr(cidr) = rule.peer else {
                panic!("{text}")
            };
            (rule.traffic, Ok(cidr))
        }
    };
    AclEntry {
        allow: action == "allow",
        traffic,
        cidr: cidr.unwrap(),
    }
}

/// Gives a subnet an ACL of its own.
fn guard(draft: &mut Draft, vpc: u32, subnet: u32, ingress: &[&str], egress: &[&str]) {
    let acl = NetworkAcl {
        id: id("acl", subnet),
        ingress: ingress.iter().map(|text| entry(text)).collect(),
        egress: egress.iter().map(|text| entry(text)).collect(),
    };
    draft.edit(vpc, |vpc| {
        let subnet: SubnetId = id("subnet", subnet);
        vpc.subnets.get_mut(&subnet).unwrap().network_acl = Some(acl.id.clone());
        vpc.network_acls.insert(acl.id.clone(), acl);
    });
}

/// Moves a subnet to another availability zone.
fn zone(draft: &mut Draft, vpc: u32, subnet: u32, zone: &str) {
    draft.edit(vpc, |vpc| {
        let subnet: SubnetId = id("subnet", subnet);
        vpc.subnets.get_mut(&subnet).unwrap().availability_zone = zone.to_owned();
    });
}

/// Attaches a VPC by these subnets, as [`Draft::attach`] does by its first one.
fn attach_by(draft: &mut Draft, vpc: u32, subnets: &[u32]) {
    let to = TransitPeer::Vpc {
        vpc: id("vpc", vpc),
        subnets: subnets.iter().map(|it| id("subnet", *it)).collect(),
    };
    draft.attach_to(1, vpc, to, Some(1));
}

/// A server 10.0.1.10 and its neighbour 10.0.1.11 in subnet 1, a client 10.0.2.10 in subnet 2, all groups open.
fn draft() -> Draft {
    let mut draft = Draft::default();
    draft
        .vpc(1, "10.0.0.0/16", "10.0.1.0/24")
        .subnet(1, 2, "10.0.2.0/24", 1)
        .group(1, 1, &[ALL], &[ALL]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.instance(1, 1, 11, "10.0.1.11", &[1]);
    draft.instance(1, 2, 20, "10.0.2.10", &[1]);
    draft
}

#[test]
fn the_first_entry_that_matches_decides_and_answers_are_judged_too() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&draft());
    let (server, neighbour, client) = (lab.instance(10), lab.instance(11), lab.instance(20));
    for at in ["10.0.1.10:80", "10.0.1.10:81"] {
        server.serve(at);
    }
    server.serve_udp("10.0.1.10:53");
    lab.router(1).serve("10.0.0.2:80");
    assert_eq!(client.reach("10.0.1.10:80"), "10.0.2.10");
    for (name, ingress, egress, port_80, port_81, udp, ping) in [
        ("all", OPEN, OPEN, true, true, true, true),
        ("nothing in", &[][..], OPEN, false, false, false, false),
        ("nothing out", OPEN, &[], false, false, false, false),
        (
            "a denial before",
            &["deny tcp 80 0.0.0.0/0", OPEN[0]],
            OPEN,
            false,
            true,
            true,
            true,
        ),
        (
            "a denial behind",
            &["allow tcp 80 0.0.0.0/0", "deny all - 0.0.0.0/0", OPEN[0]],
            OPEN,
            true,
            false,
            false,
            false,
        ),
        (
            "another block",
            &["allow all - 10.0.3.0/24"],
            OPEN,
            false,
            false,
            false,
            false,
        ),
        (
            "another block denied",
            &["deny all - 10.0.3.0/24", OPEN[0]],
            OPEN,
            true,
            true,
            true,
            true,
        ),
        (
            "an answer has no way",
            OPEN,
            &["allow tcp 80-81 0.0.0.0/0"],
            false,
            false,
            false,
            false,
        ),
        (
            "an answer's ports",
            OPEN,
            EPHEMERAL,
            true,
            true,
            false,
            false,
        ),
        (
            "echoes by type",
            &["allow icmp 8/0 10.0.2.0/24"],
            &["allow icmp 0/0 0.0.0.0/0"],
            false,
            false,
            false,
            true,
        ),
        (
            "other types",
            &["allow icmp 3/4 0.0.0.0/0"],
            OPEN,
            false,
            false,
            false,
            false,
        ),
        (
            "datagrams",
            &["allow udp 53 0.0.0.0/0"],
            &["allow udp 1024-65535 10.0.2.10/32"],
            false,
            false,
            true,
            false,
        ),
        (
            "IPv6 is another matter",
            &["allow all - ::/0"],
            OPEN,
            false,
            false,
            false,
            false,
        ),
    ] {
        let mut draft = draft();
        guard(&mut draft, 1, 1, ingress, egress);
        lab.apply(&draft);
        assert_eq!(lab.audit(&draft), Vec::<String>::new(), "{name}");
        for (port, may) in [(80, port_80), (81, port_81)] {
            let want = if may {
                "reached as 10.0.2.10"
            } else {
                "silence"
            };
            assert_eq!(client.outcome(&format!("10.0.1.10:{port}")), want, "{name}");
        }
        let answer = client.ask_udp("10.0.2.10:0", "10.0.1.10:53");
        assert_eq!(answer.is_some(), udp, "{name}: a datagram");
        assert_eq!(client.ping("10.0.1.10"), ping, "{name}: an echo");
        let at_home = neighbour.outcome("10.0.1.10:80");
        assert_eq!(at_home, "reached as 10.0.1.11", "{name}: in the subnet");
        let resolver = neighbour.outcome("10.0.0.2:80");
        assert_eq!(resolver, "reached as 10.0.1.11", "{name}: the resolver");
    }
}

#[test]
fn a_change_meets_the_connections_there_are() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    guard(&mut draft, 1, 1, OPEN, EPHEMERAL);
    guard(&mut draft, 1, 2, EPHEMERAL, &["allow tcp 80 0.0.0.0/0"]);
    lab.apply(&draft);
    lab.instance(10).serve("10.0.1.10:80");
    let client = lab.instance(20);
    let mut stream = client.connect("10.0.1.10:80", PATIENCE).unwrap();
    read_line(&mut stream).unwrap();
    assert!(echoes(&mut stream));
    guard(&mut draft, 1, 1, OPEN, &[]);
    lab.apply(&draft);
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(!echoes(&mut stream));
    // The bytes that were sent meanwhile arrive when they may.
    guard(&mut draft, 1, 1, OPEN, OPEN);
    guard(&mut draft, 1, 2, OPEN, OPEN);
    lab.apply(&draft);
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
    let plan = lath_fabric::plan(&draft.snapshot, &lab.facts()).to_string();
    assert!(
        !plan.contains("edge"),
        "ACLs that deny nothing cost nothing: {plan}"
    );
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4];
    std::io::Read::read_exact(&mut stream, &mut buffer).unwrap();
    assert_eq!(buffer, *b"ping");
}

#[test]
fn lattice_is_judged() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut base = draft();
    let (network, service) = service(1);
    let association = LatticeAssociation {
        id: id("snva", 1),
        service_network: network.id.clone(),
        security_groups: [].into(),
    };
    base.edit(1, |vpc| vpc.lattice = Some(association));
    let snapshot = &mut base.snapshot;
    snapshot
        .services
        .insert(service.id.clone(), Arc::new(service));
    snapshot
        .service_networks
        .insert(network.id.clone(), Arc::new(network));
    lab.apply(&base);
    lab.router(1).serve("169.254.171.9:80");
    let client = lab.instance(10);
    assert_eq!(client.reach("169.254.171.9:80"), "10.0.1.10");
    let to_lattice = &["allow tcp 80 169.254.171.0/24"][..];
    let from_lattice = &["allow tcp 1024-65535 169.254.171.0/24"][..];
    for (ingress, egress, may) in [
        (from_lattice, to_lattice, true),
        (from_lattice, &[], false),
        (&[], to_lattice, false),
    ] {
        let mut draft = base.clone();
        guard(&mut draft, 1, 1, ingress, egress);
        lab.apply(&draft);
        let want = if may {
            "reached as 10.0.1.10"
        } else {
            "silence"
        };
        assert_eq!(client.outcome("169.254.171.9:80"), want, "{egress:?}");
    }
}

#[test]
fn what_goes_through_a_nat_gateway_enters_and_leaves_its_subnet() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let mut base = draft();
    base.gateway(1);
    base.subnet(1, 3, "10.0.3.0/24", 1);
    base.nat(1, (3, 5), "10.0.3.5", Some("198.51.100.5"));
    base.edit(1, |vpc| {
        let table = lath_feed::RouteTable {
            id: id("rtb", 2),
            routes: vec![lath_feed::Route {
                destination: "0.0.0.0/0".parse().unwrap(),
                target: RouteTarget::NatGateway(id("nat", 5)),
            }],
        };
        vpc.route_tables.insert(table.id.clone(), table);
        let subnet: SubnetId = id("subnet", 2);
        vpc.subnets.get_mut(&subnet).unwrap().route_table = id("rtb", 2);
    });
    lab.apply(&base);
    world.site().serve("192.0.2.2:80");
    let client = lab.instance(20);
    assert_eq!(client.reach("192.0.2.2:80"), "192.0.2.1");
    // Of its own subnet, and of the gateway's: requests come from the first one and go on, answers come back.
    let requests = "allow tcp 80 10.0.2.0/24";
    let out = "allow tcp 80 192.0.2.0/24";
    let answers = "allow tcp 1024-65535 192.0.2.0/24";
    let answers_on = "allow tcp 1024-65535 10.0.2.0/24";
    for (name, ingress, egress, may) in [
        (
            "all",
            &[requests, answers][..],
            &[out, answers_on][..],
            true,
        ),
        ("no requests", &[answers], &[out, answers_on], false),
        ("not out", &[requests, answers], &[answers_on], false),
        ("no answers", &[requests], &[out, answers_on], false),
        ("no answers on", &[requests, answers], &[out], false),
    ] {
        let mut draft = base.clone();
        guard(&mut draft, 1, 3, ingress, egress);
        guard(&mut draft, 1, 2, &[answers], &[out]);
        lab.apply(&draft);
        let want = if may {
            "reached as 192.0.2.1"
        } else {
            "silence"
        };
        assert_eq!(client.outcome("192.0.2.2:80"), want, "{name}");
    }
}

#[test]
fn a_transit_gateway_is_entered_by_its_subnets() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut base = Draft::default();
    for vpc in [1, 2] {
        let block = format!("10.{vpc}.0.0/16");
        // The attachment's subnet, and that of the instance.
        base.vpc(vpc, &block, &format!("10.{vpc}.1.0/24"))
            .subnet(vpc, 10 + vpc, &format!("10.{vpc}.2.0/24"), vpc)
            .group(vpc, vpc, &[ALL], &[ALL]);
        base.instance(vpc, 10 + vpc, 10 * vpc, &format!("10.{vpc}.2.10"), &[vpc]);
        base.instance(vpc, vpc, 10 * vpc + 1, &format!("10.{vpc}.1.10"), &[vpc]);
        base.route(vpc, vpc, "10.0.0.0/8", to_transit(1));
        base.attach(1, vpc, Some(1));
        base.transit_route(1, 1, &block, Some(vpc));
    }
    lab.apply(&base);
    let (client, near) = (lab.instance(10), lab.instance(11));
    lab.instance(20).serve("10.2.2.10:80");
    assert_eq!(client.reach("10.2.2.10:80"), "10.1.2.10");
    assert_eq!(near.reach("10.2.2.10:80"), "10.1.1.10");
    let requests = "allow tcp 80 10.1.0.0/16";
    let answers_on = "allow tcp 1024-65535 10.1.0.0/16";
    for (name, ingress, egress, may, may_near) in [
        ("all", &[requests][..], &[answers_on][..], true, true),
        ("no requests", &[], &[answers_on], false, false),
        // Answers to the attachment's own subnet do not leave it, but its requests do.
        (
            "no answers",
            &[requests],
            &["allow tcp 80 0.0.0.0/0"],
            false,
            true,
        ),
    ] {
        let mut draft = base.clone();
        let out = [egress, &["allow tcp 80 10.2.0.0/16"]].concat();
        guard(&mut draft, 1, 1, ingress, &out);
        lab.apply(&draft);
        let want = |may, address| {
            if may {
                format!("reached as {address}")
            } else {
                "silence".to_owned()
            }
        };
        let got = client.outcome("10.2.2.10:80");
        assert_eq!(got, want(may, "10.1.2.10"), "{name}");
        let got = near.outcome("10.2.2.10:80");
        assert_eq!(
            got,
            want(may_near, "10.1.1.10"),
            "{name}: from the attachment's subnet"
        );
    }
}

#[test]
fn an_acl_that_is_not_known_denies() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    lab.apply(&draft);
    let (server, neighbour, client) = (lab.instance(10), lab.instance(11), lab.instance(20));
    server.serve("10.0.1.10:80");
    assert_eq!(client.reach("10.0.1.10:80"), "10.0.2.10");
    draft.edit(1, |vpc| {
        let subnet: SubnetId = id("subnet", 1);
        vpc.subnets.get_mut(&subnet).unwrap().network_acl = Some(id("acl", 9));
    });
    lab.apply(&draft);
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
    assert_eq!(client.outcome("10.0.1.10:80"), "silence");
    let at_home = neighbour.outcome("10.0.1.10:80");
    assert_eq!(at_home, "reached as 10.0.1.11", "in the subnet");
}

#[test]
fn what_comes_from_a_transit_gateway_leaves_the_subnet_of_the_zone_it_is_bound_for() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut base = Draft::default();
    base.vpc(1, "10.1.0.0/16", "10.1.1.0/24")
        .subnet(1, 3, "10.1.3.0/24", 1)
        .subnet(1, 11, "10.1.2.0/24", 1)
        .subnet(1, 12, "10.1.4.0/24", 1)
        .group(1, 1, &[ALL], &[ALL])
        .route(1, 1, "10.2.0.0/16", to_transit(1));
    zone(&mut base, 1, 3, "us-east-1b");
    zone(&mut base, 1, 12, "us-east-1b");
    for (number, subnet, address) in [
        (10, 11, "10.1.2.10"),
        (11, 12, "10.1.4.10"),
        (12, 3, "10.1.3.10"),
    ] {
        base.instance(1, subnet, number, address, &[1]);
    }
    base.vpc(2, "10.2.0.0/16", "10.2.1.0/24")
        .group(2, 2, &[ALL], &[ALL])
        .route(2, 2, "10.1.0.0/16", to_transit(1));
    base.instance(2, 2, 20, "10.2.1.10", &[2]);
    attach_by(&mut base, 1, &[1, 3]);
    base.attach(1, 2, Some(1))
        .transit_route(1, 1, "10.1.0.0/16", Some(1))
        .transit_route(1, 1, "10.2.0.0/16", Some(2));
    lab.apply(&base);
    let servers = [
        (10, "10.1.2.10:80"),
        (11, "10.1.4.10:80"),
        (12, "10.1.3.10:80"),
    ];
    let client = lab.instance(20);
    for (number, at) in servers {
        lab.instance(number).serve(at);
        assert_eq!(client.reach(at), "10.2.1.10");
    }
    // Answers may go to the gateway, requests may not come from there.
    let ingress = &["allow tcp 1024-65535 10.1.0.0/16"][..];
    let egress = &["allow tcp 1024-65535 10.2.0.0/16"][..];
    for (guarded, silent) in [(1, 10), (3, 11)] {
        let mut draft = base.clone();
        guard(&mut draft, 1, guarded, ingress, egress);
        lab.apply(&draft);
        assert_eq!(lab.audit(&draft), Vec::<String>::new());
        for (number, at) in servers {
            let want = if number == silent {
                "silence"
            } else {
                "reached as 10.2.1.10"
            };
            assert_eq!(client.outcome(at), want, "{at}, subnet {guarded}");
        }
    }
}

#[test]
fn what_a_nat_gateway_sends_to_a_transit_gateway_enters_the_attachments_subnet_of_its_zone() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut base = Draft::default();
    base.vpc(1, "10.1.0.0/16", "10.1.1.0/24")
        .subnet(1, 2, "10.1.2.0/24", 2)
        .subnet(1, 3, "10.1.3.0/24", 1)
        .group(1, 1, &[ALL], &[ALL])
        .nat(1, (1, 5), "10.1.1.5", None);
    base.edit(1, |vpc| {
        let table = lath_feed::RouteTable {
            id: id("rtb", 2),
            routes: Vec::new(),
        };
        drop(vpc.route_tables.insert(table.id.clone(), table));
    });
    base.route(1, 2, "10.2.0.0/16", RouteTarget::NatGateway(id("nat", 5)))
        .route(1, 1, "10.2.0.0/16", to_transit(1));
    // The instance is in another zone than the NAT gateway and the attachment.
    zone(&mut base, 1, 2, "us-east-1b");
    base.instance(1, 2, 10, "10.1.2.10", &[1]);
    base.vpc(2, "10.2.0.0/16", "10.2.1.0/24")
        .group(2, 2, &[ALL], &[ALL])
        .route(2, 2, "10.1.0.0/16", to_transit(1));
    base.instance(2, 2, 20, "10.2.1.10", &[2]);
    attach_by(&mut base, 1, &[3]);
    base.attach(1, 2, Some(1))
        .transit_route(1, 1, "10.1.0.0/16", Some(1))
        .transit_route(1, 1, "10.2.0.0/16", Some(2));
    lab.apply(&base);
    lab.instance(20).serve("10.2.1.10:80");
    let client = lab.instance(10);
    assert_eq!(client.reach("10.2.1.10:80"), "10.1.1.5");
    let of_nat = "allow tcp 80 10.1.1.5/32";
    let of_instance = "allow tcp 80 10.1.2.0/24";
    let answers = "allow tcp 1024-65535 10.1.1.5/32";
    for (name, ingress, egress, may) in [
        ("its address", &[of_nat][..], &[answers][..], true),
        ("the instance's", &[of_instance], &[answers], false),
        (
            "its address denied",
            &["deny tcp 80 10.1.1.5/32", OPEN[0]],
            OPEN,
            false,
        ),
        (
            "the instance's denied",
            &["deny tcp 80 10.1.2.0/24", OPEN[0]],
            OPEN,
            true,
        ),
        ("no answers", OPEN, &[], false),
    ] {
        let mut draft = base.clone();
        guard(&mut draft, 1, 3, ingress, egress);
        lab.apply(&draft);
        assert_eq!(lab.audit(&draft), Vec::<String>::new(), "{name}");
        let want = if may {
            "reached as 10.1.1.5"
        } else {
            "silence"
        };
        assert_eq!(client.outcome("10.2.1.10:80"), want, "{name}");
    }
}
