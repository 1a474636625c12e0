//! Adoption, repair, removal, and what a failure leaves standing.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::os::fd::AsRawFd;
use std::sync::Arc;

use lab::{Draft, Lab, id, is_root};
use lath_fabric::plan;
use lath_net::{Kind, Network, Place};
use socket2::Domain;

const ALL: &str = "all - 0.0.0.0/0";

fn draft() -> Draft {
    let mut draft = Draft::default();
    for vpc in [1, 2] {
        draft.vpc(vpc, "10.0.0.0/16", "10.0.1.0/24").gateway(vpc);
        draft.group(
            vpc,
            vpc,
            &[ALL],
            &["tcp 1-65535 0.0.0.0/0", "icmp - 0.0.0.0/0"],
        );
        draft
            .list(1, &["10.0.0.0/8", "0.0.0.0/1"])
            .group(vpc, 10 + vpc, &["udp 53 pl:1"], &[]);
        draft.instance(vpc, vpc, vpc * 10, "10.0.1.10", &[vpc]);
        draft.instance(vpc, vpc, vpc * 10 + 1, "10.0.1.11", &[vpc, 10 + vpc]);
        draft.public(vpc, vpc * 10, &format!("198.51.100.{}", vpc * 10));
    }
    draft
}

#[test]
fn a_successor_adopts_what_a_killed_fabric_left() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    lab.apply(&draft());
    lab.instance(10).serve("10.0.1.10:80");
    drop(lab.fabric.take());
    lab.open();
    assert_eq!(lab.audit(&draft()), Vec::<String>::new(), "all was adopted");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
    // What should not be there any more goes.
    drop(lab.fabric.take());
    lab.open();
    let mut less = draft();
    less.snapshot
        .vpcs
        .remove(&id::<lath_model::id::VpcId>("vpc", 2));
    less.snapshot.instances.retain(|_, i| i.vpc == id("vpc", 1));
    lab.apply(&less);
    assert!(
        lab.fabric()
            .workload_netns(&id::<lath_model::id::InstanceId>("i", 20).into())
            .is_err()
    );
    assert!(lab.fabric().router_netns(&id("vpc", 2)).is_err());
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
}

#[test]
fn nothing_is_left_after_removal() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let links = |lab: &Lab| {
        lab.host_site()
            .run(|| nix::net::if_::if_nameindex().unwrap().iter().count())
    };
    let before = links(&lab);
    lab.apply(&draft());
    assert!(links(&lab) > before);
    lab.block_on(lab.fabric().remove_all()).unwrap();
    assert_eq!(links(&lab), before);
    let left: Vec<_> = std::fs::read_dir(lab.directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.directory.path().to_str().unwrap()));
    let table = format!("lath_{}", lab.owner.replace('-', "_"));
    let tables = lab
        .host_site()
        .run(|| std::fs::read_to_string("/proc/thread-self/net/route"));
    assert_eq!(
        tables.unwrap().lines().count(),
        1,
        "no route is left ({table})"
    );
}

#[test]
fn what_another_broke_is_repaired() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.apply(&draft());
    lab.instance(10).serve("10.0.1.10:80");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
    lab.router(1)
        .run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap());
    // Something that was heard may have led to a comparison already.
    lab.audit(&draft());
    let forwards = lab
        .router(1)
        .run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap());
    assert_eq!(forwards.trim(), "1");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
}

#[test]
fn one_broken_interface_breaks_no_other() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut broken = draft();
    broken.edit_interface(1, 11, |i| i.mac = "no address".into());
    let plan = plan(&broken.snapshot, &lab.facts());
    let report = lab.block_on(lab.fabric().apply(&plan));
    assert!(!report.is_complete());
    let failed: Vec<String> = report
        .interfaces
        .iter()
        .filter_map(|(id, outcome)| Some(format!("{id}: {}", outcome.as_ref().err()?)))
        .collect();
    assert_eq!(failed.len(), 1, "{report:#?}");
    assert!(
        failed[0].starts_with("eni-0000000000000000b: "),
        "{failed:?}"
    );
    assert!(report.vpcs.values().all(Result::is_ok), "{report:#?}");
    lab.instance(10).serve("10.0.1.10:80");
    lab.instance(20).serve("10.0.1.10:80");
    assert_eq!(lab.instance(21).reach("10.0.1.10:80"), "10.0.1.11");
    lab.apply(&draft());
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
}

#[test]
fn sockets_are_where_they_were_asked_for() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let network: Arc<dyn Network> = Arc::new(lab.fabric().network());
    let place = Place::Vpc(id("vpc", 1));
    let made = || lab.block_on(network.socket(&place, Domain::IPV4, Kind::Tcp));
    assert_eq!(made().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    lab.apply(&draft());
    let socket = made().unwrap();
    socket
        .bind(
            &"169.254.171.1:80"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        )
        .unwrap();
    assert_eq!(
        inode(namespace_of(&socket)),
        inode(lab.fabric().router_netns(&id("vpc", 1)).unwrap())
    );
    let host = lab
        .block_on(network.socket(&Place::Underlay, Domain::IPV4, Kind::Udp))
        .unwrap();
    assert_eq!(inode(namespace_of(&host)), inode(lab.host.to_fd().unwrap()));
    drop(socket);
    lab.apply(&Draft::default());
    assert_eq!(made().unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

/// `SIOCGSKNS`: a descriptor of the namespace that a socket is in.
#[expect(unsafe_code, reason = "no safe wrapper for this ioctl")]
fn namespace_of(socket: &socket2::Socket) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    const SIOCGSKNS: libc::c_ulong = 0x894c;
    // SAFETY: the ioctl takes no argument and returns a new descriptor or -1.
    unsafe {
        let fd = libc::ioctl(socket.as_raw_fd(), SIOCGSKNS);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        std::os::fd::OwnedFd::from_raw_fd(fd)
    }
}

fn inode(fd: std::os::fd::OwnedFd) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::File::from(fd).metadata().unwrap().ino()
}
