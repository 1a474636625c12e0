//! Security groups and the router's own services, with real packets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::process::Command;

use lab::{Draft, Lab, SILENCE, echoes, id, is_root, read_line};
use lath_feed::{Branch, LatticeAssociation};

const ALL: &str = "all - 0.0.0.0/0";

/// A server 10.0.1.10 in group 1 and clients 10.0.1.11 (group 2) and 10.0.1.12 (groups 2 and 3).
fn draft(ingress: &[&str], egress: &[&str]) -> Draft {
    let mut draft = Draft::default();
    draft
        .vpc(1, "10.0.0.0/16", "10.0.1.0/24")
        .list(1, &["10.0.1.12/32", "172.16.0.0/12"]);
    draft
        .group(1, 1, ingress, &[ALL])
        .group(1, 2, &[], egress)
        .group(1, 3, &[], &[]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.instance(1, 1, 11, "10.0.1.11", &[2]);
    draft.instance(1, 1, 12, "10.0.1.12", &[2, 3]);
    draft
}

#[test]
fn rules_decide_who_gets_through() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&draft(&[ALL], &[ALL]));
    let (server, one, two) = (lab.instance(10), lab.instance(11), lab.instance(12));
    server.serve("10.0.1.10:80");
    server.serve("10.0.1.10:81");
    assert_eq!(one.reach("10.0.1.10:80"), "10.0.1.11");
    let yes = |client: &str| format!("reached as {client}");
    for (name, ingress, egress, first, second, other_port) in [
        ("nothing comes in", &[][..], &[ALL][..], false, false, false),
        ("nothing goes out", &[ALL], &[], false, false, false),
        ("a port", &["tcp 80 0.0.0.0/0"], &[ALL], true, true, false),
        ("ports", &["tcp 80-81 0.0.0.0/0"], &[ALL], true, true, true),
        (
            "another protocol",
            &["udp 80 0.0.0.0/0"],
            &[ALL],
            false,
            false,
            false,
        ),
        (
            "a block",
            &["tcp 80 10.0.1.11/32"],
            &[ALL],
            true,
            false,
            false,
        ),
        ("a group", &["tcp 80 sg:3"], &[ALL], false, true, false),
        ("a group of both", &["all - sg:2"], &[ALL], true, true, true),
        ("a list", &["tcp - pl:1"], &[ALL], false, true, false),
        (
            "out to a group",
            &[ALL],
            &["tcp 80 sg:1"],
            true,
            true,
            false,
        ),
        (
            "out to a list without it",
            &[ALL],
            &["all - pl:1"],
            false,
            false,
            false,
        ),
        (
            "out to a block",
            &[ALL],
            &["tcp 81 10.0.1.10/32"],
            false,
            false,
            true,
        ),
    ] {
        lab.apply(&draft(ingress, egress));
        for (client, address, may) in [(&one, "10.0.1.11", first), (&two, "10.0.1.12", second)] {
            let want = if may { yes(address) } else { "silence".into() };
            assert_eq!(client.outcome("10.0.1.10:80"), want, "{name}: {address}");
        }
        let want = if other_port {
            yes("10.0.1.11")
        } else {
            "silence".into()
        };
        assert_eq!(one.outcome("10.0.1.10:81"), want, "{name}: other port");
    }
}

#[test]
fn a_branch_has_groups_of_its_own() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = Draft::default();
    draft
        .vpc(1, "10.0.0.0/16", "10.0.1.0/24")
        .group(1, 1, &["tcp 80 sg:2"], &[ALL])
        .group(1, 2, &["udp - sg:4"], &[ALL])
        .group(1, 4, &["tcp 81 sg:2"], &["udp 53 sg:2"]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.instance(1, 1, 11, "10.0.1.11", &[2]);
    draft.edit_interface(1, 10, |interface| {
        interface.branches = vec![Branch {
            id: id("eni", 20),
            mac: "02:00:00:00:00:14".into(),
            address: "10.0.1.20".parse().unwrap(),
            security_groups: [id("sg", 4)].into(),
            pod: "1-2".into(),
        }];
    });
    lab.apply(&draft);
    assert_eq!(lab.audit(&draft), Vec::<String>::new(), "it is read back");
    let (node, other) = (lab.instance(10), lab.instance(11));
    let pod = || {
        Command::new("ip")
            .args(["addr", "add", "10.0.1.20/32", "dev", "lo"])
            .status()
    };
    assert!(node.run(pod).unwrap().success());
    for place in [
        "10.0.1.10:80",
        "10.0.1.10:81",
        "10.0.1.20:80",
        "10.0.1.20:81",
    ] {
        node.serve(place);
        let own = matches!(place, "10.0.1.10:80" | "10.0.1.20:81");
        let want = if own {
            "reached as 10.0.1.11"
        } else {
            "silence"
        };
        assert_eq!(other.outcome(place), want, "{place}");
    }
    other.serve_udp("10.0.1.11:53");
    other.serve_udp("10.0.1.11:54");
    let asked = |from, to| node.ask_udp(from, to);
    let its = Some("10.0.1.20".to_owned());
    assert_eq!(asked("10.0.1.20:0", "10.0.1.11:53"), its);
    assert_eq!(
        asked("10.0.1.20:0", "10.0.1.11:54"),
        None,
        "it is let out to one port"
    );
    assert_eq!(
        asked("10.0.1.10:0", "10.0.1.11:53"),
        None,
        "the node is no member"
    );
    // Without the branch its packets belong to no interface.
    draft.edit_interface(1, 10, |interface| interface.branches.clear());
    lab.apply(&draft);
    assert_eq!(asked("10.0.1.20:0", "10.0.1.11:53"), None);
    assert_eq!(lab.audit(&draft), Vec::<String>::new());
}

#[test]
fn a_removed_rule_leaves_established_flows() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&draft(&[ALL], &[ALL]));
    lab.instance(10).serve("10.0.1.10:80");
    let mut stream = lab
        .instance(11)
        .connect("10.0.1.10:80", lab::PATIENCE)
        .unwrap();
    read_line(&mut stream).unwrap();
    lab.apply(&draft(&[], &[ALL]));
    assert!(echoes(&mut stream), "the flow goes on");
    assert_eq!(lab.instance(11).outcome("10.0.1.10:80"), "silence");
}

#[test]
fn members_come_and_go_by_element() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft(&["tcp 80 sg:3"], &[ALL]);
    lab.apply(&draft);
    lab.instance(10).serve("10.0.1.10:80");
    assert_eq!(lab.instance(11).outcome("10.0.1.10:80"), "silence");
    draft.edit_interface(1, 11, |i| {
        i.security_groups = [id("sg", 2), id("sg", 3)].into()
    });
    let done = lab.apply(&draft).done;
    let set = format!("sg_{:017x}", 3);
    assert_eq!(done.len(), 1, "{done:#?}");
    assert!(
        done[0].contains(&format!("add to {set} {{ 10.0.1.11 }}")),
        "{done:#?}"
    );
    assert!(
        !done[0].contains("add rule"),
        "the chain of the combination is there: {done:#?}"
    );
    assert_eq!(
        lab.instance(11).outcome("10.0.1.10:80"),
        "reached as 10.0.1.11"
    );
}

fn associate(draft: &mut Draft, groups: &[u32]) {
    let association = LatticeAssociation {
        id: id("snva", 1),
        service_network: id("sn", 1),
        security_groups: groups.iter().map(|g| id("sg", *g)).collect(),
    };
    draft.edit(1, |vpc| vpc.lattice = Some(association));
}

#[test]
fn lattice_is_filtered_by_sender_and_association() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut plain = draft(&[ALL], &[ALL]);
    associate(&mut plain, &[]);
    lab.apply(&plain);
    lab.router(1).serve("169.254.171.1:80");
    lab.router(1).serve("169.254.169.254:80");
    lab.router(1).serve_udp("10.0.0.2:53");
    lab.router(1).serve_udp("169.254.169.253:53");
    lab.router(1).serve("0.0.0.0:9999");
    let one = lab.instance(11);
    assert_eq!(one.reach("169.254.171.1:80"), "10.0.1.11");
    assert_eq!(
        one.outcome("10.0.1.1:9999"),
        "silence",
        "the gateway itself serves nothing"
    );
    for (name, egress, groups, want) in [
        ("all", &[ALL][..], &[][..], "reached as 10.0.1.11"),
        ("no way out", &[], &[], "silence"),
        (
            "out to Lattice",
            &["tcp 80 pl:2"],
            &[],
            "reached as 10.0.1.11",
        ),
        ("the association lets nobody in", &[ALL], &[2], "silence"),
        (
            "the association lets it in",
            &[ALL],
            &[4],
            "reached as 10.0.1.11",
        ),
    ] {
        let mut draft = draft(&[ALL], egress);
        draft
            .list(2, &["169.254.171.0/24"])
            .group(1, 4, &["tcp 80 sg:2"], &[]);
        associate(&mut draft, groups);
        lab.apply(&draft);
        assert_eq!(one.outcome("169.254.171.1:80"), want, "{name}");
        // Whatever the groups say.
        assert_eq!(
            one.outcome("169.254.169.254:80"),
            "reached as 10.0.1.11",
            "{name}"
        );
        for resolver in ["10.0.0.2:53", "169.254.169.253:53"] {
            let answer = one.ask_udp("0.0.0.0:0", resolver);
            assert_eq!(answer.as_deref(), Some("10.0.1.11"), "{name}: {resolver}");
        }
    }
}

#[test]
fn lattice_meets_the_target_groups() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    for (name, ingress, want) in [
        ("the list", &["tcp 80 pl:2"][..], true),
        ("another list", &["tcp 80 pl:1"], false),
        ("nothing", &[], false),
    ] {
        let mut draft = draft(ingress, &[]);
        draft.list(2, &["169.254.171.0/24"]);
        lab.apply(&draft);
        if name == "the list" {
            lab.instance(10).serve("10.0.1.10:80");
        }
        let network: std::sync::Arc<dyn lath_net::Network> =
            std::sync::Arc::new(lab.fabric().network());
        let place = lath_net::Place::Vpc(id("vpc", 1));
        let from = Some(lath_net::LATTICE_SOURCE.into());
        let to = "10.0.1.10:80".parse().unwrap();
        let within = if want { lab::PATIENCE } else { SILENCE };
        let got = lab.block_on(lath_net::connect(&network, &place, from, to, within));
        assert_eq!(got.is_ok(), want, "{name}: {got:?}");
    }
}

#[test]
fn echo_requests_need_an_icmp_rule() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    for (name, ingress, want) in [
        ("all", &[ALL][..], true),
        ("icmp", &["icmp - 0.0.0.0/0"], true),
        ("udp", &["udp - 0.0.0.0/0"], false),
    ] {
        lab.apply(&draft(ingress, &[ALL]));
        assert_eq!(lab.instance(11).ping("10.0.1.10"), want, "{name}");
        assert!(
            !lab.instance(11).ping("10.0.1.12"),
            "{name}: that one lets nothing in"
        );
    }
}

#[test]
fn a_list_may_change_and_be_large() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let many = |last: &str| {
        let mut blocks: Vec<String> = (0..3000)
            .map(|n| format!("172.{}.{}.0/25", 16 + n / 256, n % 256))
            .collect();
        blocks.push(last.into());
        blocks
    };
    let rules: Vec<String> = (0..1000)
        .map(|n| format!("tcp {} 192.0.2.{}/32", 1 + n, n % 256))
        .collect();
    let mut ingress: Vec<&str> = rules.iter().map(String::as_str).collect();
    ingress.push("tcp 80 pl:1");
    for (name, blocks, want) in [
        ("without it", many("10.0.2.0/24"), "silence"),
        ("with it", many("10.0.1.11/32"), "reached as 10.0.1.11"),
        ("all", many("0.0.0.0/0"), "reached as 10.0.1.11"),
        (
            "few",
            vec!["10.0.1.8/30".into(), "10.0.0.0/16".into()],
            "reached as 10.0.1.11",
        ),
        ("none", vec![], "silence"),
    ] {
        let mut draft = draft(&ingress, &[ALL]);
        draft.list(1, &blocks.iter().map(String::as_str).collect::<Vec<_>>());
        lab.apply(&draft);
        if name == "without it" {
            lab.instance(10).serve("10.0.1.10:80");
        }
        assert_eq!(lab.instance(11).outcome("10.0.1.10:80"), want, "{name}");
        assert_eq!(lab.audit(&draft), Vec::<String>::new(), "{name}");
    }
}
