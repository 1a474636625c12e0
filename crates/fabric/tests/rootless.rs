//! The same fabric as an ordinary user. A process with threads cannot enter a user namespace, so this
//! test has no harness; as root it starts itself again as `nobody`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use lab::transit::to_transit;
use lab::{Draft, Site, id};
use lath_fabric::{
    Fabric, FabricConfig, Fault, Faults, HostFacts, Netns, Privilege, enter_user_namespace, plan,
    wan,
};
use lath_feed::{RegionPlace, Topology};

const NOBODY: u32 = 65534;
const REFUSED: i32 = 77;

fn main() {
    // `cargo test -- --list` and filters are for harnesses.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        return ordinary_user();
    }
    let directory = tempfile::tempdir().unwrap();
    let everyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everyone.clone()).unwrap();
    let copy = directory.path().join("rootless");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, everyone).unwrap();
    let status = Command::new(&copy)
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .status()
        .unwrap();
    match status.code() {
        Some(0) => println!("test an_ordinary_user_has_vpcs ... ok"),
        Some(REFUSED) => println!("SKIPPED: this kernel refuses user namespaces to ordinary users"),
        other => panic!("as nobody: {other:?}"),
    }
}

fn ordinary_user() {
    match enter_user_namespace() {
        Ok(privilege) => assert_eq!(privilege, Privilege::Rootless),
        Err(e) => {
            println!("{e}: {:?}", std::error::Error::source(&e));
            exit(REFUSED);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(an_ordinary_user_has_vpcs());
    runtime.block_on(an_ordinary_user_has_regions());
    for finding in lath_fabric::doctor::probe() {
        assert!(finding.ok || !finding.needed, "{finding:?}");
    }
}

async fn an_ordinary_user_has_vpcs() {
    let directory = tempfile::tempdir().unwrap();
    let run_dir = directory.path().to_owned();
    let config = FabricConfig {
        run_dir: run_dir.clone(),
        owner: "rootless".into(),
        host: None,
    };
    let fabric = Fabric::open(config).unwrap();
    let facts = HostFacts::probe("rootless", None);
    let all = &["all - 0.0.0.0/0"][..];
    let mut draft = Draft::default();
    draft
        .vpc(1, "10.0.0.0/16", "10.0.1.0/24")
        .group(1, 1, all, all)
        .gateway(1);
    draft.group(1, 2, &[], all);
    draft
        .instance(1, 1, 10, "10.0.1.10", &[1])
        .instance(1, 1, 11, "10.0.1.11", &[2]);
    let plan = plan(&draft.snapshot, &facts);
    let report = fabric.apply(&plan).await;
    assert!(report.is_complete(), "{report:#?}");
    let refused = &report.refused[&id::<lath_model::id::VpcId>("vpc", 1)];
    assert!(
        refused[0].ends_with("not available: running rootless"),
        "{refused:?}"
    );
    let site = |number| {
        Site::new(
            fabric
                .workload_netns(&id::<lath_model::id::InstanceId>("i", number).into())
                .unwrap(),
        )
    };
    site(10).serve("10.0.1.10:80");
    site(11).serve("10.0.1.11:80");
    assert_eq!(site(11).reach("10.0.1.10:80"), "10.0.1.11");
    assert_eq!(site(10).outcome("10.0.1.11:80"), "silence");
    let network: std::sync::Arc<dyn lath_net::Network> = std::sync::Arc::new(fabric.network());
    let at = "169.254.171.1:80".parse().unwrap();
    lath_net::listen(&network, &lath_net::Place::Vpc(id("vpc", 1)), at)
        .await
        .unwrap();
    let host = "127.0.0.1:0".parse().unwrap();
    lath_net::listen(&network, &lath_net::Place::Host, host)
        .await
        .unwrap();
    assert_eq!(fabric.audit(&plan).await.done, Vec::<String>::new());
    fabric.remove_all().await.unwrap();
    assert_eq!(std::fs::read_dir(&run_dir).unwrap().count(), 0);
}

fn place(index: u8) -> RegionPlace {
    RegionPlace {
        underlay: [100, 64, index, 1].into(),
        link: [100, 65, index, 1].into(),
        public_key: [index; 32],
        public_pool: format!("198.18.{}.0/19", 32 * u32::from(index))
            .parse()
            .unwrap(),
    }
}

/// Two VPCs joined by a transit gateway; the first has a public address.
fn region(index: u32) -> Draft {
    let all = &["all - 0.0.0.0/0"][..];
    let mut draft = Draft::default();
    for vpc in 1..=2 {
        draft.vpc(
            vpc,
            &format!("10.{vpc}.0.0/16"),
            &format!("10.{vpc}.1.0/24"),
        );
        draft.group(vpc, vpc, all, all).gateway(vpc);
        draft.route(vpc, vpc, "10.0.0.0/8", to_transit(1));
        draft.instance(vpc, vpc, vpc * 10, &format!("10.{vpc}.1.10"), &[vpc]);
        draft.attach(1, vpc, Some(1));
        draft.transit_route(1, 1, &format!("10.{vpc}.0.0/16"), Some(vpc));
    }
    draft.public(1, 10, &format!("198.18.{}.10", 32 * index));
    draft
}

async fn an_ordinary_user_has_regions() {
    let mut topology = Topology::single("r0");
    topology.regions = [("r0".into(), place(0)), ("r1".into(), place(1))].into();
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str, host| {
        let config = FabricConfig {
            run_dir: directory.path().join(name),
            owner: name.into(),
            host,
        };
        Fabric::open(config).unwrap()
    };
    let supervisor = open("supervisor", None);
    let wan = wan::plan(&topology, &HostFacts::probe("supervisor", None));
    let report = supervisor.apply(&wan).await;
    assert!(report.is_complete(), "{report:#?}");
    let run_dir = directory.path().join("supervisor");
    let mut fabrics = Vec::new();
    for index in 0..2 {
        let name = format!("r{index}");
        let underlay = Netns::open(&wan::pin(&run_dir, &name)).unwrap();
        let facts = HostFacts::probe(&name, Some(&underlay));
        let fabric = open(&name, Some(underlay));
        let plan = plan(&region(index).snapshot, &facts);
        let report = fabric.apply(&plan).await;
        assert!(
            report.is_complete() && report.refused.is_empty(),
            "{report:#?}"
        );
        assert_eq!(fabric.audit(&plan).await.done, Vec::<String>::new());
        fabrics.push(fabric);
    }
    let site = |index: usize, n| {
        Site::new(
            fabrics[index]
                .workload_netns(&id::<lath_model::id::InstanceId>("i", n).into())
                .unwrap(),
        )
    };
    site(1, 10).serve("10.1.1.10:80");
    assert_eq!(site(0, 10).reach("198.18.32.10:80"), "198.18.0.10");
    assert_eq!(site(1, 20).reach("10.1.1.10:80"), "10.2.1.10");
    let faults = Faults::in_namespace(Netns::open(&run_dir.join("netns/wan")).unwrap());
    let cut = Fault::Link(wan::link(&place(1)));
    faults
        .for_duration(&cut, std::time::Duration::from_secs(1))
        .unwrap();
    assert_eq!(site(0, 10).outcome("198.18.32.10:80"), "silence");
    assert_eq!(site(0, 10).reach("198.18.32.10:80"), "198.18.0.10");
    assert_eq!(supervisor.audit(&wan).await.done, Vec::<String>::new());
    for fabric in &fabrics {
        fabric.remove_all().await.unwrap();
    }
    supervisor.remove_all().await.unwrap();
}
