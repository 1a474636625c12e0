//! VPC peering connections, with packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use lab::{Draft, Lab, PATIENCE, echoes, id, is_root, read_line, spoof};
use lath_feed::{RouteTarget, VpcPeer};
use lath_model::id::VpcPeeringConnectionId;

const ALL: &str = "all - 0.0.0.0/0";

/// Joins two VPCs, and leads each to the other's block.
fn peer(draft: &mut Draft, number: u32, one: u32, other: u32) {
    for (here, there) in [(one, other), (other, one)] {
        let peer = VpcPeer {
            id: id("pcx", number),
            vpc: id("vpc", there),
            shares_names: false,
        };
        draft.edit(here, |vpc| drop(vpc.peerings.insert(peer.id.clone(), peer)));
        let block = format!("10.{there}.0.0/16");
        draft.route(
            here,
            here,
            &block,
            RouteTarget::VpcPeering(id("pcx", number)),
        );
    }
}

/// VPCs 1, 2 and 3, each with an instance 10, 20 and 30.
fn draft() -> Draft {
    let mut draft = Draft::default();
    for vpc in [1, 2, 3] {
        draft
            .vpc(
                vpc,
                &format!("10.{vpc}.0.0/16"),
                &format!("10.{vpc}.1.0/24"),
            )
            .group(vpc, vpc, &[ALL], &[ALL]);
        draft.instance(vpc, vpc, 10 * vpc, &format!("10.{vpc}.1.10"), &[vpc]);
    }
    draft
}

#[test]
fn two_vpcs_reach_each_other_and_nothing_behind() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    lab.apply(&draft);
    peer(&mut draft, 1, 1, 2);
    peer(&mut draft, 2, 2, 3);
    lab.apply(&draft);
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
    for vpc in [1, 2, 3] {
        lab.instance(10 * vpc).serve(&format!("10.{vpc}.1.10:80"));
    }
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    assert_eq!(lab.instance(20).reach("10.1.1.10:80"), "10.2.1.10");
    assert_eq!(lab.instance(30).reach("10.2.1.10:80"), "10.3.1.10");
    assert!(lab.instance(10).ping("10.2.1.10"));
    // The other side's router says what it does not have, and the packets of a VPC are not cut.
    assert_eq!(lab.instance(10).outcome("10.2.1.99:80"), "HostUnreachable");
    assert_eq!(lab.instance(10).path_mtu("10.2.1.10:9", 9500), 9001);
    // A route through the second VPC leads to the third one in vain.
    let through = RouteTarget::VpcPeering(id("pcx", 1));
    draft.route(1, 1, "10.3.0.0/16", through.clone());
    let back = RouteTarget::VpcPeering(id("pcx", 2));
    draft.route(3, 3, "10.1.0.0/16", back);
    lab.apply(&draft);
    assert_eq!(lab.instance(10).outcome("10.3.1.10:80"), "silence");
    assert_eq!(lab.instance(30).outcome("10.1.1.10:80"), "silence");
    // Nor does what claims to come from the third one get to the second.
    draft.edit_interface(1, 10, |it| it.source_dest_check = false);
    lab.apply(&draft);
    let heard = lab.instance(20).run(|| {
        let socket = std::net::UdpSocket::bind("10.2.1.10:5000").unwrap();
        socket.set_read_timeout(Some(lab::SILENCE)).unwrap();
        socket
    });
    lab.instance(10)
        .run(|| spoof("10.3.1.10", "10.2.1.10:5000"));
    assert!(heard.recv(&mut [0; 8]).is_err());
}

#[test]
fn connections_outlive_the_fabric_and_end_with_the_peering() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let mut draft = draft();
    let alone = draft.clone();
    peer(&mut draft, 1, 1, 2);
    lab.apply(&draft);
    lab.instance(20).serve("10.2.1.10:80");
    let mut stream = lab.instance(10).connect("10.2.1.10:80", PATIENCE).unwrap();
    read_line(&mut stream).unwrap();
    // As after a kill: what is there is taken over, and nothing has to be done.
    lab.open();
    assert_eq!(lab.apply(&draft).done, Vec::<String>::new());
    assert!(echoes(&mut stream));
    lab.apply(&alone);
    let peering: VpcPeeringConnectionId = id("pcx", 1);
    assert!(lab.fabric().netns(peering.as_str()).is_err(), "it is gone");
    assert_eq!(lab.audit(&alone), Vec::<String>::new());
    assert_eq!(lab.instance(10).outcome("10.2.1.10:80"), "HostUnreachable");
    // A route to one that is gone drops.
    let mut hole = alone;
    hole.route(1, 1, "10.2.0.0/16", RouteTarget::Blackhole);
    lab.apply(&hole);
    assert_eq!(lab.instance(10).outcome("10.2.1.10:80"), "silence");
}

#[test]
fn one_side_alone_is_no_connection_and_a_lost_vpc_comes_back() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft();
    peer(&mut draft, 1, 1, 2);
    let whole = draft.clone();
    draft.edit(2, |vpc| vpc.peerings.clear());
    lab.apply(&draft);
    lab.instance(20).serve("10.2.1.10:80");
    assert_eq!(lab.instance(10).outcome("10.2.1.10:80"), "silence");
    lab.apply(&whole);
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    // The link of one side is removed by others.
    let link = lab.router(1).run(|| {
        let out = std::process::Command::new("ip")
            .args(["-o", "link"])
            .output();
        let text = String::from_utf8(out.unwrap().stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(": ").nth(1));
        let names = names.filter_map(|name| name.split('@').next());
        let mut own = names.filter(|name| name.starts_with('x'));
        let found = own.next().unwrap().to_owned();
        let delete = ["link", "delete", &found];
        assert!(
            std::process::Command::new("ip")
                .args(delete)
                .status()
                .unwrap()
                .success()
        );
        found
    });
    lab.audit(&whole);
    assert!(link.starts_with('x'));
    assert_eq!(lab.instance(10).reach("10.2.1.10:80"), "10.1.1.10");
    assert_eq!(lab.audit(&whole), Vec::<String>::new());
}
