//! Workloads that are no instances, namespaces that others made, and prefixes behind an interface.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Instant;

use lab::{Draft, Lab, PATIENCE, Site, id, is_root};
use lath_fabric::plan;
use lath_feed::{ManagedWorkload, NamespaceOrigin};
use lath_model::id::{InstanceId, NetworkInterfaceId};
use lath_model::{ManagedId, ManagedKind, WorkloadId};

const ALL: &str = "all - 0.0.0.0/0";

fn control_plane() -> ManagedId {
    ManagedId::new(ManagedKind::ControlPlane, "prod").unwrap()
}

/// Two instances, and the control plane of a cluster with an interface of number 20 at 10.0.1.20.
fn draft(origin: NamespaceOrigin) -> Draft {
    let mut draft = Draft::default();
    draft.vpc(1, "10.0.0.0/16", "10.0.1.0/24");
    draft.group(1, 1, &["all - sg:1"], &[ALL]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.instance(1, 1, 11, "10.0.1.11", &[1]);
    draft.interface(1, 1, 20, (20, 0), "10.0.1.20", &[1]);
    draft.edit_interface(1, 20, |interface| {
        let workload = WorkloadId::from(control_plane());
        interface.attachment = Some((workload, 0).into());
    });
    let workload = ManagedWorkload {
        id: control_plane(),
        vpc: id("vpc", 1),
        namespace: origin,
    };
    let workloads = &mut draft.snapshot.workloads;
    workloads.insert(control_plane(), Arc::new(workload));
    draft
}

/// A process in a network namespace that its own user namespace owns.
struct Confined(Child);

impl Confined {
    fn start() -> Self {
        let child = Command::new("unshare")
            .args(["--user", "--net", "sleep", "infinity"])
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        while link(&child.id().to_string()) == link("self") {
            assert!(Instant::now() < end, "no namespace was made");
            std::thread::yield_now();
        }
        Self(child)
    }

    fn netns(&self) -> OwnedFd {
        let path = format!("/proc/{}/ns/net", self.0.id());
        File::open(path).unwrap().into()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _nobody_waits_otherwise = self.0.wait();
    }
}

#[test]
fn a_control_plane_has_a_place_in_its_vpc() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let draft = draft(NamespaceOrigin::Fabric);
    lab.apply(&draft);
    let netns = lab
        .fabric()
        .workload_netns(&control_plane().into())
        .unwrap();
    Site::new(netns).serve("10.0.1.20:443");
    assert_eq!(lab.instance(10).reach("10.0.1.20:443"), "10.0.1.10");
    // An earlier version named the pins of instances and VPCs the same.
    let mut pins: Vec<String> = std::fs::read_dir(lab.directory.path().join("netns"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pins.sort();
    assert_eq!(
        pins,
        [
            "control-plane:prod",
            "i-0000000000000000a",
            "i-0000000000000000b",
            "vpc-00000000000000001"
        ]
    );
    drop(lab.fabric.take());
    lab.open();
    assert_eq!(lab.audit(&draft), Vec::<String>::new(), "all was adopted");
    assert_eq!(lab.instance(10).reach("10.0.1.20:443"), "10.0.1.10");
}

#[test]
fn a_namespace_of_another_user_namespace_is_wired_when_it_is_handed_over() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let draft = draft(NamespaceOrigin::HandedOver);
    let plan = plan(&draft.snapshot, &lab.facts());
    let report = lab.block_on(lab.fabric().apply(&plan));
    let interface = |number| &report.interfaces[&id::<NetworkInterfaceId>("eni", number)];
    assert!(interface(20).is_err(), "{report:#?}");
    assert!(interface(10).is_ok(), "{report:#?}");
    lab.instance(10).serve("10.0.1.10:80");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
    let workload = WorkloadId::from(control_plane());
    for round in ["the first", "its successor"] {
        let confined = Confined::start();
        for _ in 0..2 {
            let taken = lab.fabric().hand_over(&workload, confined.netns());
            lab.block_on(taken).unwrap();
        }
        lab.apply(&draft);
        let site = Site::new(confined.netns());
        site.serve("10.0.1.20:443");
        assert_eq!(
            lab.instance(10).reach("10.0.1.20:443"),
            "10.0.1.10",
            "{round}"
        );
        assert_eq!(site.reach("10.0.1.10:80"), "10.0.1.20", "{round}");
        drop(lab.fabric.take());
        lab.open();
        assert_eq!(
            lab.audit(&draft),
            Vec::<String>::new(),
            "{round} was adopted"
        );
    }
}

#[test]
fn a_prefix_leads_to_what_is_behind_its_interface() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = draft(NamespaceOrigin::Fabric);
    draft.edit_interface(1, 10, |interface| {
        interface.prefixes = vec!["10.0.1.32/28".parse().unwrap()];
    });
    lab.apply(&draft);
    let node = lab.instance(10);
    let pod = || {
        Command::new("ip")
            .args(["addr", "add", "10.0.1.33/32", "dev", "lo"])
            .status()
    };
    assert!(node.run(pod).unwrap().success());
    node.serve("10.0.1.33:80");
    node.serve_udp("10.0.1.33:53");
    let other = lab.instance(11);
    // Its group lets members in: an address of the prefix is one.
    assert_eq!(other.reach("10.0.1.33:80"), "10.0.1.11");
    other.serve_udp("10.0.1.11:53");
    let asked = |from| node.ask_udp(from, "10.0.1.11:53");
    assert_eq!(asked("10.0.1.33:0").as_deref(), Some("10.0.1.33"));
    // Without the prefix the same packets are not its own.
    draft.edit_interface(1, 10, |interface| interface.prefixes.clear());
    lab.apply(&draft);
    assert_eq!(asked("10.0.1.33:0"), None);
    assert_eq!(asked("10.0.1.10:0").as_deref(), Some("10.0.1.10"));
    assert!(
        lab.fabric()
            .workload_netns(&id::<InstanceId>("i", 10).into())
            .is_ok()
    );
}
