//! Internet gateways: an outside world beyond a host, all of it namespaces.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use lab::world::World;
use lab::{Draft, Lab, is_root};

const ALL: &str = "all - 0.0.0.0/0";

/// VPCs 1 and 2 with equal blocks; instances 1x with public addresses 198.51.100.1x, one without.
fn draft() -> Draft {
    let mut draft = Draft::default();
    for vpc in [1, 2] {
        draft
            .vpc(vpc, "10.0.0.0/16", "10.0.1.0/24")
            .group(vpc, vpc, &[ALL], &[ALL])
            .gateway(vpc);
        draft.instance(vpc, vpc, vpc * 10, "10.0.1.10", &[vpc]);
        draft.instance(vpc, vpc, vpc * 10 + 1, "10.0.1.11", &[vpc]);
        draft.public(vpc, vpc * 10, &format!("198.51.100.{}", vpc * 10));
    }
    draft
}

#[test]
fn public_addresses_go_out_and_come_in() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let mut draft = draft();
    lab.apply(&draft);
    world.site().serve("192.0.2.2:80");
    world.site().serve("10.99.0.1:80");
    lab.host_site().serve("0.0.0.0:7777");
    lab.instance(10).serve("10.0.1.10:80");
    lab.instance(20).serve("10.0.1.10:80");
    assert_eq!(
        lab.instance(10).reach("192.0.2.2:80"),
        "192.0.2.1",
        "masqueraded by the host"
    );
    let host = lab.host_site();
    for (name, from, to, want) in [
        (
            "no public address, no way",
            &lab.instance(11),
            "192.0.2.2:80",
            "silence",
        ),
        (
            "the host reaches it",
            &host,
            "198.51.100.10:80",
            "reached as 169.254.100.1",
        ),
        (
            "the world reaches it",
            &world.site(),
            "198.51.100.10:80",
            "reached as 192.0.2.2",
        ),
        (
            "and the other one",
            &world.site(),
            "198.51.100.20:80",
            "reached as 192.0.2.2",
        ),
        (
            "a VPC by public address",
            &lab.instance(10),
            "198.51.100.20:80",
            "reached as 198.51.100.10",
        ),
        (
            "its own VPC by public address",
            &lab.instance(10),
            "198.51.100.10:80",
            "reached as 198.51.100.10",
        ),
        (
            "a private address beyond the gateway is nobody's",
            &lab.instance(10),
            "10.99.0.1:80",
            "silence",
        ),
        (
            "though the host itself reaches it",
            &host,
            "10.99.0.1:80",
            "reached as 192.0.2.1",
        ),
        (
            "not the host's end",
            &lab.instance(10),
            "169.254.100.1:7777",
            "silence",
        ),
        (
            "not the host's address",
            &lab.instance(10),
            "192.0.2.1:7777",
            "silence",
        ),
        (
            "the host needs a public address",
            &host,
            "198.51.100.11:80",
            "silence",
        ),
    ] {
        let got = from.outcome(to);
        // Beyond the host that address is unknown.
        let got = if name.starts_with("the host needs") {
            got.replace("HostUnreachable", "silence")
        } else {
            got
        };
        assert_eq!(got, want, "{name}");
    }
    assert_eq!(
        lab.audit(&draft),
        Vec::<String>::new(),
        "nothing is left to do"
    );
    draft.edit(1, |vpc| vpc.internet_gateway = None);
    lab.apply(&draft);
    assert_eq!(
        lab.instance(10).outcome("192.0.2.2:80"),
        "silence",
        "detached"
    );
    assert_eq!(
        lab.instance(20).reach("192.0.2.2:80"),
        "192.0.2.1",
        "the other one stays"
    );
}

#[test]
fn groups_guard_public_addresses_too() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let mut draft = draft();
    draft.group(1, 1, &["tcp 80 192.0.2.2/32"], &["tcp 80 0.0.0.0/0"]);
    lab.apply(&draft);
    lab.instance(10).serve("10.0.1.10:80");
    lab.instance(10).serve("10.0.1.10:81");
    world.site().serve("192.0.2.2:81");
    assert_eq!(world.site().reach("198.51.100.10:80"), "192.0.2.2");
    assert_eq!(world.site().outcome("198.51.100.10:81"), "silence");
    assert_eq!(lab.host_site().outcome("198.51.100.10:80"), "silence");
    assert_eq!(lab.instance(10).outcome("192.0.2.2:81"), "silence");
}

#[test]
fn the_host_gets_its_settings_back() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let _world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    let forwarding = |lab: &Lab| {
        let path = "/proc/sys/net/ipv4/conf/out0/forwarding";
        lab.host_site()
            .run(move || std::fs::read_to_string(path).unwrap().trim().to_owned())
    };
    assert_eq!(forwarding(&lab), "0");
    lab.apply(&draft());
    assert_eq!(forwarding(&lab), "1");
    lab.open();
    lab.block_on(lab.fabric().remove_all()).unwrap();
    assert_eq!(forwarding(&lab), "0");
}

#[test]
fn nobody_outside_passes_for_an_insider() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let world = World::beyond(&lab);
    lab.devices = vec!["out0".into()];
    lab.apply(&draft());
    let server = lab.instance(10).run(|| {
        let socket = std::net::UdpSocket::bind("10.0.1.10:53").unwrap();
        socket.set_read_timeout(Some(lab::SILENCE)).unwrap();
        socket
    });
    for (from, want) in [
        ("192.0.2.2", "192.0.2.2"),
        ("10.0.1.11", ""),
        ("169.254.171.9", ""),
        ("169.254.169.254", ""),
    ] {
        world
            .site()
            .run(move || lab::spoof(from, "198.51.100.10:53"));
        let heard = server
            .recv_from(&mut [0; 16])
            .map(|(_, peer)| peer.ip().to_string());
        assert_eq!(heard.unwrap_or_default(), want, "{from}");
    }
}
