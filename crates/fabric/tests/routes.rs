//! Route tables, forwarding instances and source checks, with real packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use lab::{Draft, Lab, SILENCE, id, is_root};
use lath_feed::{Route, RouteTable, RouteTarget};

const ALL: &str = "all - 0.0.0.0/0";

/// Subnets 1, 2 and 3, tables 1 to 3, an instance .10 in each.
fn draft() -> Draft {
    let mut draft = Draft::default();
    draft
        .vpc(1, "10.0.0.0/16", "10.0.1.0/24")
        .group(1, 1, &[ALL], &[ALL]);
    for number in [2, 3] {
        let table = RouteTable {
            id: id("rtb", number),
            routes: vec![Route {
                destination: "10.0.0.0/16".parse().unwrap(),
                target: RouteTarget::Local,
            }],
        };
        draft.edit(1, |vpc| {
            drop(vpc.route_tables.insert(table.id.clone(), table))
        });
        draft.subnet(1, number, &format!("10.0.{number}.0/24"), number);
    }
    for number in [1, 2, 3] {
        draft.instance(1, number, number, &format!("10.0.{number}.10"), &[1]);
    }
    draft
}

#[test]
fn each_subnet_obeys_its_own_table() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    draft.route(1, 1, "192.0.2.0/24", RouteTarget::Blackhole);
    draft.route(1, 2, "10.0.1.0/24", RouteTarget::Blackhole);
    lab.apply(&draft);
    for number in [1, 2, 3] {
        lab.instance(number).serve(&format!("10.0.{number}.10:80"));
    }
    assert_eq!(lab.instance(3).reach("10.0.1.10:80"), "10.0.3.10");
    for (name, from, to, want) in [
        ("local", 1, "10.0.3.10:80", "reached as 10.0.1.10"),
        ("a black hole is silent", 1, "192.0.2.1:80", "silence"),
        (
            "another table does not know it",
            3,
            "192.0.2.1:80",
            "HostUnreachable",
        ),
        (
            "the longer prefix wins over local",
            2,
            "10.0.1.10:80",
            "silence",
        ),
        (
            "other subnets are not concerned",
            2,
            "10.0.3.10:80",
            "reached as 10.0.2.10",
        ),
        ("no subnet there", 1, "10.0.77.1:80", "HostUnreachable"),
    ] {
        assert_eq!(lab.instance(from).outcome(to), want, "{name}");
    }
}

#[test]
fn an_instance_routes_when_its_check_is_off() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    draft.route(1, 1, "10.0.2.0/24", RouteTarget::Interface(id("eni", 3)));
    lab.apply(&draft);
    lab.instance(2).serve("10.0.2.10:80");
    assert_eq!(
        lab.instance(1).outcome("10.0.2.10:80"),
        "silence",
        "its check is on"
    );
    draft.edit_interface(1, 3, |i| i.source_dest_check = false);
    lab.apply(&draft);
    assert_eq!(lab.instance(1).reach("10.0.2.10:80"), "10.0.1.10");
}

#[test]
fn a_source_that_is_not_its_own_is_dropped() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    lab.apply(&draft);
    lab.instance(2).serve("10.0.2.10:80");
    assert_eq!(lab.instance(1).reach("10.0.2.10:80"), "10.0.1.10");
    let server = lab.instance(2).run(|| {
        let socket = std::net::UdpSocket::bind("10.0.2.10:53").unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    });
    let heard = |from: &'static str| {
        lab.instance(1)
            .run(move || lab::spoof(from, "10.0.2.10:53"));
        let mut buffer = [0; 16];
        server
            .recv_from(&mut buffer)
            .map(|(_, peer)| peer.ip().to_string())
            .unwrap_or_default()
    };
    assert_eq!(heard("10.0.1.10"), "10.0.1.10");
    for spoofed in ["10.0.1.11", "10.0.3.10", "8.8.8.8", "169.254.171.1"] {
        assert_eq!(heard(spoofed), "", "{spoofed}");
    }
    draft.edit_interface(1, 1, |i| i.source_dest_check = false);
    lab.apply(&draft);
    assert_eq!(heard("8.8.8.8"), "8.8.8.8", "the check is off");
}

#[test]
fn a_second_interface_answers_by_itself() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    draft.interface(1, 3, 100, (1, 1), "10.0.3.77", &[1]);
    lab.apply(&draft);
    lab.instance(1).serve("0.0.0.0:80");
    assert_eq!(lab.instance(2).reach("10.0.1.10:80"), "10.0.2.10");
    assert_eq!(lab.instance(2).reach("10.0.3.77:80"), "10.0.2.10");
    assert_eq!(lab.instance(3).reach("10.0.3.77:80"), "10.0.3.10");
}
