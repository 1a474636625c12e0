//! Workloads that are no instances, namespaces that others made, and prefixes behind an interface.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Instant;

use lab::{Draft, Lab, PATIENCE, Site, id, is_root};
use lath_fabric::{Netns, plan};
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
    assert!(report.is_complete(), "{report:#?}");
    assert_eq!(report.awaited.len(), 1);
    let report = lab.block_on(lab.fabric().apply(&plan));
    assert_eq!(report.done, Vec::<String>::new(), "the VPC is known");
    assert_eq!(report.awaited.len(), 1, "it still says so");
    lab.instance(10).serve("10.0.1.10:80");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
    let workload = WorkloadId::from(control_plane());
    for round in ["the first", "its successor"] {
        let confined = Confined::start();
        for _ in 0..2 {
            let taken = lab.fabric().hand_over(&workload, confined.netns());
            lab.block_on(taken).unwrap();
        }
        let site = Site::new(confined.netns());
        site.serve("10.0.1.20:443");
        assert_eq!(
            lab.instance(10).reach("10.0.1.20:443"),
            "10.0.1.10",
            "{round}"
        );
        assert_eq!(site.reach("10.0.1.10:80"), "10.0.1.20", "{round}");
        assert!(lab.apply(&draft).awaited.is_empty());
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
fn only_a_namespace_of_its_own_is_taken_and_only_where_the_plan_says_so() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new();
    let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
    let hand_over = |lab: &Lab, workload: WorkloadId, netns: OwnedFd| {
        let outcome = lab.block_on(lab.fabric().hand_over(&workload, netns));
        outcome.map_err(|error| error.kind())
    };
    let pod = || WorkloadId::from(control_plane());
    let confined = Confined::start();
    let unnamed = hand_over(&lab, pod(), confined.netns());
    assert_eq!(unnamed, Err(ErrorKind::NotFound), "no plan yet");
    lab.apply(&draft(NamespaceOrigin::Fabric));
    let made_here = hand_over(&lab, pod(), confined.netns());
    assert_eq!(made_here, Err(ErrorKind::NotFound), "made by the fabric");
    let mut draft = draft(NamespaceOrigin::HandedOver);
    draft.snapshot.workloads.clear();
    lab.apply(&draft);
    draft.snapshot.workloads = self::draft(NamespaceOrigin::HandedOver).snapshot.workloads;
    lab.apply(&draft);
    let instance = WorkloadId::from(id::<InstanceId>("i", 10));
    let router = lab.fabric().router_netns(&id("vpc", 1)).unwrap();
    let of_host_user = Netns::new().unwrap().to_fd().unwrap();
    for (name, workload, netns, want) in [
        (
            "an instance",
            &instance,
            confined.netns(),
            ErrorKind::NotFound,
        ),
        (
            "this process's",
            &pod(),
            open("/proc/self/ns/net"),
            ErrorKind::PermissionDenied,
        ),
        (
            "the underlay",
            &pod(),
            lab.host.to_fd().unwrap(),
            ErrorKind::PermissionDenied,
        ),
        ("a router", &pod(), router, ErrorKind::PermissionDenied),
        (
            "root's own",
            &pod(),
            of_host_user,
            ErrorKind::PermissionDenied,
        ),
        (
            "no network",
            &pod(),
            open("/proc/self/ns/mnt"),
            ErrorKind::PermissionDenied,
        ),
        (
            "no namespace",
            &pod(),
            open("/dev/null"),
            ErrorKind::PermissionDenied,
        ),
    ] {
        let outcome = hand_over(&lab, workload.clone(), netns);
        assert_eq!(outcome, Err(want), "{name}");
    }
    assert_eq!(hand_over(&lab, pod(), confined.netns()), Ok(()));
    lab.fabric.take();
}

#[test]
fn root_in_a_handed_over_namespace_cannot_keep_the_fabric_busy() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let draft = draft(NamespaceOrigin::HandedOver);
    lab.apply(&draft);
    let workload = WorkloadId::from(control_plane());
    let confined = Confined::start();
    lab.block_on(lab.fabric().hand_over(&workload, confined.netns()))
        .unwrap();
    let repairs = lab.fabric().repairs();
    let seen = *repairs.borrow();
    let site = Site::new(confined.netns());
    let batch: String = (0..9000)
        .map(|n| format!("rule add pref {} from all lookup main\n", 100 + n))
        .collect();
    let file = lab.directory.path().join("rules");
    std::fs::write(&file, batch).unwrap();
    let flood = move || Command::new("ip").arg("-batch").arg(&file).status();
    assert!(site.run(flood).unwrap().success());
    assert_eq!(*repairs.borrow(), seen, "nothing is heard from there");
    let report = lab.block_on(lab.fabric().audit(&plan(&draft.snapshot, &lab.facts())));
    let interface = |number| &report.interfaces[&id::<NetworkInterfaceId>("eni", number)];
    let broken = interface(20).as_ref().unwrap_err();
    assert!(broken.contains("more than 8192"), "{broken}");
    assert!(interface(10).is_ok(), "{report:#?}");
    let flush = || {
        Command::new("ip")
            .args(["rule", "flush"])
            .status()
            .and_then(|_| {
                Command::new("ip")
                    .args(["rule", "add", "pref", "32766", "lookup", "main"])
                    .status()
            })
    };
    assert!(site.run(flush).unwrap().success());
    lab.audit(&draft);
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
    let routes = || Command::new("ip").arg("route").output().unwrap().stdout;
    let routes = String::from_utf8(node.run(routes)).unwrap();
    assert!(routes.contains("unreachable 10.0.1.32/28"), "{routes}");
    // Nothing has this address: the node says so, and does not send the packet back.
    let refused = other.connect("10.0.1.34:80", PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable, "{refused}");
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

#[test]
fn a_prefix_of_a_further_interface_has_a_way_out() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut draft = Draft::default();
    draft.vpc(1, "10.0.0.0/16", "10.0.1.0/24");
    draft.group(1, 1, &["all - sg:1"], &[ALL]);
    draft.instance(1, 1, 10, "10.0.1.10", &[1]);
    draft.instance(1, 1, 11, "10.0.1.11", &[1]);
    draft.interface(1, 1, 12, (10, 1), "10.0.1.12", &[1]);
    draft.edit_interface(1, 12, |interface| {
        interface.prefixes = vec!["10.0.1.32/28".parse().unwrap()];
    });
    lab.apply(&draft);
    assert_eq!(
        lab.audit(&draft),
        Vec::<String>::new(),
        "rules are read back"
    );
    let node = lab.instance(10);
    for pod in ["10.0.1.33/32", "10.0.1.35/32"] {
        let add = move || {
            Command::new("ip")
                .args(["addr", "add", pod, "dev", "lo"])
                .status()
        };
        assert!(node.run(add).unwrap().success());
    }
    node.serve("10.0.1.33:80");
    node.serve_udp("10.0.1.35:53");
    let other = lab.instance(11);
    assert_eq!(other.reach("10.0.1.33:80"), "10.0.1.11");
    other.serve_udp("10.0.1.11:53");
    let asked = node.ask_udp("10.0.1.33:0", "10.0.1.11:53");
    assert_eq!(asked.as_deref(), Some("10.0.1.33"));
    let asked = node.ask_udp("10.0.1.33:0", "10.0.1.35:53");
    assert_eq!(asked.as_deref(), Some("10.0.1.33"));
    for bare in ["10.0.1.34:80", "10.0.1.47:80"] {
        let refused = other.connect(bare, PATIENCE).unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::HostUnreachable,
            "{bare}: {refused}"
        );
    }
}
