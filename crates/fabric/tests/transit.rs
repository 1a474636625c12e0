//! Transit gateways, with packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use lab::transit::to_transit;
use lab::{Draft, Lab, PATIENCE, SILENCE, Site, id, is_root};
use lath_fabric::translate::tunnel_link;
use lath_fabric::{ApplyReport, plan};
use lath_feed::{PeeringTunnel, PrivateKey, TransitPeer};
use lath_model::id::{TransitGatewayAttachmentId, TransitGatewayId, VpcId};

const ALL: &str = "all - 0.0.0.0/0";

/// VPCs 1 to 3 at 10.N.0.0/16 with an instance 10.N.1.10 each; everything of 10.0.0.0/8 goes to gateway 1.
fn vpcs() -> Draft {
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
    }
    draft
}

/// All three are in one table and propagate to it.
fn hub() -> Draft {
    let mut draft = vpcs();
    for vpc in 1..=3 {
        draft.attach(1, vpc, Some(1));
        draft.transit_route(1, 1, &format!("10.{vpc}.0.0/16"), Some(vpc));
    }
    draft
}

fn serve(lab: &Lab) {
    for vpc in 1..=3 {
        lab.instance(vpc * 10).serve(&format!("10.{vpc}.1.10:80"));
    }
}

/// Whether TCP connects from one VPC's instance to another's.
fn connects(lab: &Lab, from: u32, to: u32) -> bool {
    let outcome = lab.instance(from * 10).outcome(&format!("10.{to}.1.10:80"));
    if outcome.starts_with("reached") {
        assert_eq!(outcome, format!("reached as 10.{from}.1.10"));
    }
    outcome.starts_with("reached")
}

/// Whether a datagram gets there, whatever becomes of answers.
fn arrives(lab: &Lab, from: u32, to: u32) -> bool {
    let target = format!("10.{to}.1.10:0");
    let receiver = lab
        .instance(to * 10)
        .run(move || UdpSocket::bind(target).unwrap());
    receiver.set_read_timeout(Some(SILENCE)).unwrap();
    let at = receiver.local_addr().unwrap();
    let sender = lab
        .instance(from * 10)
        .run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let _unreachable_is_an_answer_too = sender.send_to(b"?", at);
    receiver.recv(&mut [0; 8]).is_ok()
}

#[test]
fn packets_follow_the_tables() {
    if !is_root() {
        return;
    }
    type Change = fn(&mut Draft);
    type Case = (
        &'static str,
        Change,
        &'static [(u32, u32)],
        &'static [(u32, u32)],
    );
    let cases: &[Case] = &[
        (
            "one table, everyone propagates",
            |_| {},
            &[(1, 2), (2, 1), (2, 3), (3, 1)],
            &[],
        ),
        (
            "a black hole of a longer prefix",
            |draft| {
                draft.transit_route(1, 1, "10.2.1.0/24", None);
            },
            &[(1, 3)],
            &[(1, 2), (3, 2)],
        ),
        (
            "the longer prefix leads elsewhere",
            |draft| {
                draft.transit_route(1, 1, "10.2.1.10/32", Some(3));
            },
            &[(1, 3)],
            &[(1, 2)],
        ),
        (
            "the longer prefix leads there",
            |draft| {
                draft.transit_route(1, 1, "10.2.0.0/16", Some(3));
                draft.transit_route(1, 1, "10.2.1.0/24", Some(2));
            },
            &[(1, 2), (1, 3)],
            &[],
        ),
        (
            "not propagated",
            |draft| {
                draft.attach(1, 2, Some(2));
                draft.transit_route(1, 2, "10.1.0.0/16", Some(1));
                draft.transit_route(1, 2, "10.3.0.0/16", Some(3));
            },
            &[(1, 2), (1, 3), (2, 3)],
            &[],
        ),
        (
            "spokes that share no table, and a shared VPC",
            |draft| {
                *draft = vpcs();
                for spoke in [1, 2] {
                    draft.attach(1, spoke, Some(spoke));
                    draft.transit_route(1, spoke, "10.3.0.0/16", Some(3));
                    draft.transit_route(1, 3, &format!("10.{spoke}.0.0/16"), Some(spoke));
                }
                draft.attach(1, 3, Some(3));
            },
            &[(1, 3), (3, 1), (2, 3), (3, 2)],
            &[(1, 2), (2, 1)],
        ),
        (
            "no association",
            |draft| {
                draft.attach(1, 1, None);
            },
            &[(2, 3)],
            &[(1, 2), (1, 3)],
        ),
        (
            "a gateway without the route",
            |draft| {
                *draft = vpcs();
                draft.attach(1, 1, Some(1)).attach(1, 2, Some(1));
                draft.attach(1, 3, Some(1));
                draft.transit_route(1, 1, "10.1.0.0/16", Some(1));
                draft.transit_route(1, 1, "10.3.0.0/16", Some(3));
            },
            &[(1, 3)],
            &[(1, 2), (3, 2)],
        ),
        (
            "a VPC that is not attached",
            |draft| {
                draft.detach(1, 2);
            },
            &[(1, 3)],
            &[(1, 2), (2, 1)],
        ),
        ("and everything as before", |_| {}, &[(1, 2), (2, 3)], &[]),
    ];
    let lab = Lab::new();
    for (index, (name, change, reached, silent)) in cases.iter().enumerate() {
        let mut draft = hub();
        change(&mut draft);
        lab.apply(&draft);
        if index == 0 {
            serve(&lab);
        }
        for (from, to) in *reached {
            let to_address = format!("10.{to}.1.10:80");
            let seen = lab.instance(from * 10).reach(&to_address);
            assert_eq!(seen, format!("10.{from}.1.10"), "{name}: {from} to {to}");
        }
        for (from, to) in *silent {
            assert!(!connects(&lab, *from, *to), "{name}: {from} to {to}");
        }
        assert_eq!(lab.audit(&draft), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn there_and_not_back() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = vpcs();
    draft.attach(1, 1, Some(1)).attach(1, 2, Some(2));
    draft.transit_route(1, 1, "10.2.0.0/16", Some(2));
    lab.apply(&draft);
    serve(&lab);
    assert!(arrives(&lab, 1, 2), "the table of 1 leads to 2");
    assert!(!arrives(&lab, 2, 1), "the table of 2 does not lead to 1");
    assert!(!connects(&lab, 1, 2), "answers have no way");
    draft.transit_route(1, 2, "10.1.0.0/16", Some(1));
    lab.apply(&draft);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
}

#[test]
fn nothing_is_lost_while_an_attachment_changes_its_table() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = hub();
    for vpc in 1..=3 {
        draft.transit_route(1, 2, &format!("10.{vpc}.0.0/16"), Some(vpc));
    }
    lab.apply(&draft);
    lab.instance(20).serve_udp("10.2.1.10:53");
    let socket = lab
        .instance(10)
        .run(|| UdpSocket::bind("10.1.1.10:0").unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect("10.2.1.10:53").unwrap();
    let exchange = || {
        socket.send(b"?").unwrap();
        socket.recv(&mut [0; 64]).unwrap();
    };
    exchange();
    let asking = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut count = 0;
            while asking.load(std::sync::atomic::Ordering::Relaxed) {
                // An answer that does not come ends the test.
                exchange();
                count += 1;
            }
            count
        });
        for table in [2, 1, 2, 1] {
            draft.attach(1, 1, Some(table));
            lab.apply(&draft);
        }
        asking.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(client.join().unwrap() > 0);
    });
}

#[test]
fn equal_blocks_do_not_meet() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = hub();
    draft.vpc(4, "10.1.0.0/16", "10.1.1.0/24");
    draft.group(4, 4, &[ALL], &[ALL]);
    draft.route(4, 4, "10.0.0.0/8", to_transit(1));
    draft.instance(4, 4, 40, "10.1.1.10", &[4]);
    // Attached and associated; its block is not propagated, as VPC 1 has it already.
    draft.attach(1, 4, Some(1));
    lab.apply(&draft);
    serve(&lab);
    lab.instance(40).serve("10.1.1.10:80");
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    assert_eq!(lab.instance(20).reach("10.1.1.10:80"), "10.2.1.10");
    assert_ne!(
        lab.instance(40).outcome("10.2.1.10:80"),
        "reached as 10.1.1.10",
        "answers go to VPC 1"
    );
    assert_eq!(
        lab.instance(40).outcome("10.1.1.11:80"),
        "HostUnreachable",
        "a VPC's own block never leaves it"
    );
}

#[test]
fn peered_gateways_pass_packets_on_and_loops_end() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = vpcs();
    draft.attach(1, 1, Some(1)).attach(2, 2, Some(2));
    draft.edit(2, |vpc| {
        let table: lath_model::id::RouteTableId = id("rtb", 2);
        vpc.route_tables.get_mut(&table).unwrap().routes.pop();
    });
    draft.route(2, 2, "10.0.0.0/8", to_transit(2));
    draft.edit(3, |vpc| {
        let table: lath_model::id::RouteTableId = id("rtb", 3);
        vpc.route_tables.get_mut(&table).unwrap().routes.pop();
    });
    draft.peer((1, 1), (2, 2));
    draft.transit_route(1, 1, "10.1.0.0/16", Some(1));
    draft.transit_route(1, 1, "10.0.0.0/8", Some(101));
    draft.transit_route(2, 2, "10.2.0.0/16", Some(2));
    draft.transit_route(2, 2, "10.0.0.0/8", Some(102));
    lab.apply(&draft);
    serve(&lab);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    assert_eq!(lab.instance(20).reach("10.1.1.10:80"), "10.2.1.10");
    // Nobody has 10.9.0.0/16: each gateway sends it to the other until its time to live is over.
    let gateway = Site::new(
        lab.fabric()
            .netns(id::<TransitGatewayId>("tgw", 1).as_str())
            .unwrap(),
    );
    let received = || {
        gateway.run(|| {
            let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let counts = text
                .lines()
                .filter(|line| line.trim_start().starts_with('a'));
            counts
                .map(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    words[2].parse::<u64>().unwrap()
                })
                .sum::<u64>()
        })
    };
    let before = received();
    let sender = lab
        .instance(10)
        .run(|| UdpSocket::bind("10.1.1.10:0").unwrap());
    sender.send_to(b"?", "10.9.1.1:9").unwrap();
    std::thread::sleep(SILENCE);
    let passed = received() - before;
    assert!((20..80).contains(&passed), "{passed} packets of one");
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    // The peering goes at one side: nothing passes, and the other attachments go on.
    draft.detach(2, 102);
    let report = apply(&lab, &draft);
    let attachment: TransitGatewayAttachmentId = id("tgw-attach", 101);
    assert!(report.transit_attachments[&attachment].is_err());
    assert!(!connects(&lab, 1, 2));
}

fn apply(lab: &Lab, draft: &Draft) -> ApplyReport {
    let plan = plan(&draft.snapshot, &lab.facts());
    lab.block_on(lab.fabric().apply(&plan))
}

#[test]
fn a_zone_without_a_subnet_of_the_attachment_has_no_way() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = hub();
    draft.subnet(1, 11, "10.1.2.0/24", 1);
    draft.edit(1, |vpc| {
        let subnet: lath_model::id::SubnetId = id("subnet", 11);
        vpc.subnets.get_mut(&subnet).unwrap().availability_zone = "us-east-1b".into();
    });
    draft.instance(1, 11, 11, "10.1.2.10", &[1]);
    lab.apply(&draft);
    serve(&lab);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    let refused = lab.instance(11).outcome("10.2.1.10:80");
    assert!(refused.ends_with("Unreachable"), "{refused}");
    assert_eq!(lab.instance(11).reach("10.1.1.10:80"), "10.1.2.10");
    let to = TransitPeer::Vpc {
        vpc: id("vpc", 1),
        subnets: [id("subnet", 1), id("subnet", 11)].into(),
    };
    draft.attach_to(1, 1, to, Some(1));
    lab.apply(&draft);
    assert_eq!(lab.instance(11).reach("10.2.1.10:80"), "10.1.2.10");
}

#[test]
fn groups_guard_and_the_routers_services_stay_inside() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = hub();
    draft.group(2, 2, &["tcp 80 10.1.1.10/32"], &["tcp 80 10.3.0.0/16"]);
    // A route of everything, so that link-local destinations are tried too.
    draft.route(1, 1, "0.0.0.0/0", to_transit(1));
    draft.transit_route(1, 1, "0.0.0.0/0", Some(2));
    lab.apply(&draft);
    serve(&lab);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    assert_eq!(lab.instance(20).reach("10.3.1.10:80"), "10.2.1.10");
    assert!(!connects(&lab, 3, 2), "not let in");
    assert!(!connects(&lab, 2, 1), "not let out");
    let router = lab.router(2);
    router.run(|| {
        let add = ["addr", "add", "169.254.171.9/32", "dev", "lo"];
        assert!(Command::new("ip").args(add).status().unwrap().success());
    });
    router.serve_udp("10.2.0.2:53");
    router.serve_udp("169.254.169.253:53");
    router.serve("169.254.171.9:80");
    for (name, at, want) in [
        ("the VPC's resolver", "10.2.0.2:53", None),
        ("the resolver", "169.254.169.253:53", None),
    ] {
        let got = lab.instance(10).ask_udp("10.1.1.10:0", at);
        assert_eq!(got, want, "{name}");
    }
    for nowhere in ["169.254.171.9:80", "169.254.102.1:80", "169.254.102.2:80"] {
        let outcome = lab.instance(10).outcome(nowhere);
        assert!(!outcome.starts_with("reached"), "{nowhere}: {outcome}");
    }
    assert!(
        lab.instance(20)
            .ask_udp("10.2.1.10:0", "10.2.0.2:53")
            .is_some(),
        "inside the VPC it answers"
    );
}

#[test]
fn segments_and_datagrams_fit() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&hub());
    serve(&lab);
    lab.instance(20).serve_udp("10.2.1.10:80");
    lab.instance(10).reach("10.2.1.10:80");
    let stream = lab.instance(10).connect("10.2.1.10:80", PATIENCE).unwrap();
    let segment = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::TcpMaxSeg);
    assert!((8000..=8460).contains(&segment.unwrap()), "{segment:?}");
    // A larger datagram is refused by the first router, which says what fits.
    assert_eq!(lab.instance(10).path_mtu("10.2.1.10:80", 8900), 8500);
    assert!(lab.instance(10).ping("10.2.1.10"));
}

#[test]
fn an_appliance_stands_between() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = vpcs();
    // 1 and 2 reach one another by way of VPC 3, where everything goes through an instance.
    for vpc in [1, 2] {
        draft.attach(1, vpc, Some(1));
        draft.transit_route(1, 3, &format!("10.{vpc}.0.0/16"), Some(vpc));
    }
    draft.attach(1, 3, Some(3));
    draft.transit_route(1, 1, "10.0.0.0/8", Some(3));
    draft.edit_interface(3, 30, |interface| interface.source_dest_check = false);
    draft.subnet(3, 31, "10.3.2.0/24", 3);
    let appliance = lath_feed::RouteTarget::Interface(id("eni", 30));
    draft.edit(3, |vpc| {
        let table = lath_feed::RouteTable {
            id: id("rtb", 31),
            routes: vec![lath_feed::Route {
                destination: "0.0.0.0/0".parse().unwrap(),
                target: appliance,
            }],
        };
        vpc.route_tables.insert(table.id.clone(), table);
        let subnet: lath_model::id::SubnetId = id("subnet", 31);
        vpc.subnets.get_mut(&subnet).unwrap().route_table = id("rtb", 31);
    });
    let to = TransitPeer::Vpc {
        vpc: id("vpc", 3),
        subnets: [id("subnet", 31)].into(),
    };
    draft.attach_to(1, 3, to.clone(), Some(3));
    lab.apply(&draft);
    serve(&lab);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    // The instance stops forwarding: nothing goes past it.
    let forward = |value: &'static str| {
        let path = "/proc/sys/net/ipv4/ip_forward";
        lab.instance(30)
            .run(move || std::fs::write(path, value).unwrap());
    };
    forward("0");
    assert!(!connects(&lab, 1, 2));
    forward("1");
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    // With its check on it takes nothing that is not its own.
    draft.edit_interface(3, 30, |interface| interface.source_dest_check = true);
    lab.apply(&draft);
    assert!(!connects(&lab, 1, 2));
}

fn tunnel(region: &str) -> TransitPeer {
    TransitPeer::Tunnel(PeeringTunnel {
        region: region.into(),
        gateway: id("tgw", 9),
        private_key: PrivateKey([1; 32]),
        port: 52000,
        peer_public_key: [2; 32],
        peer: std::net::SocketAddrV4::new(Ipv4Addr::new(100, 64, 1, 1), 52000),
    })
}

#[test]
fn a_tunnels_link_is_used_when_it_is_there_and_never_removed() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let attachment: TransitGatewayAttachmentId = id("tgw-attach", 9);
    let mut draft = hub();
    draft.attach_to(1, 9, tunnel("us-west-2"), Some(1));
    draft.transit_route(1, 1, "10.2.1.0/24", Some(9));
    let report = apply(&lab, &draft);
    let (outcome, gateway) = (
        &report.transit_attachments[&attachment],
        &report.transit_gateways[&id::<TransitGatewayId>("tgw", 1)],
    );
    assert!(outcome.is_err() && gateway.is_ok(), "{report:#?}");
    assert!(!report.is_complete());
    serve(&lab);
    assert_eq!(lab.instance(10).reach("10.3.1.10:80"), "10.1.1.10");
    assert!(
        !connects(&lab, 1, 2),
        "the absent tunnel's route wins still"
    );
    let site = || {
        Site::new(
            lab.fabric()
                .netns(id::<TransitGatewayId>("tgw", 1).as_str())
                .unwrap(),
        )
    };
    let name = tunnel_link(&attachment);
    let make = name.clone();
    site().run(move || {
        let add = ["link", "add", &make, "type", "veth", "peer", "name", "far0"];
        assert!(Command::new("ip").args(add).status().unwrap().success());
    });
    let report = lab.apply(&draft);
    assert!(report.transit_attachments[&attachment].is_ok());
    let show = name.clone();
    let shown = site().run(move || {
        let output = Command::new("ip").args(["link", "show", &show]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    });
    assert!(
        shown.contains("mtu 8500") && shown.contains("UP"),
        "{shown}"
    );
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
    // Another's link stays when the attachment goes.
    draft.detach(1, 9);
    draft.transit_route(1, 1, "10.2.1.0/24", Some(2));
    lab.apply(&draft);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    let there = site().run(move || nix::net::if_::if_nametoindex(name.as_str()).is_ok());
    assert!(there);
}

#[test]
fn a_successor_adopts_transit_gateways_and_removal_leaves_nothing() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let mut draft = hub();
    draft.peer((1, 1), (2, 2));
    lab.apply(&draft);
    serve(&lab);
    let open = lab.instance(10).connect("10.2.1.10:80", PATIENCE).unwrap();
    drop(lab.fabric.take());
    lab.open();
    assert_eq!(lab.audit(&draft), Vec::<String>::new(), "all was adopted");
    drop(open);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    // A VPC is made anew: its attachment with it.
    let mut less = draft.clone();
    less.snapshot.vpcs.remove(&id::<VpcId>("vpc", 2));
    less.snapshot.instances.retain(|_, i| i.vpc != id("vpc", 2));
    let report = apply(&lab, &less);
    let gone: TransitGatewayAttachmentId = id("tgw-attach", 2);
    assert!(report.transit_attachments[&gone].is_err(), "{report:#?}");
    lab.apply(&draft);
    lab.instance(20).serve("10.2.1.10:80");
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    lab.block_on(lab.fabric().remove_all()).unwrap();
    let left: Vec<_> = std::fs::read_dir(lab.directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
