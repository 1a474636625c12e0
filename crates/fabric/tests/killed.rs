//! A fabric that is killed in the middle of its work. The victim is this program, started again, so this
//! test has no harness.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod lab;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use lab::transit::to_transit;
use lab::{Draft, Lab};
use lath_fabric::{Fabric, FabricConfig, plan};

const RUN_DIR: &str = "LATH_TEST_RUN_DIR";
const OWNER: &str = "LATH_TEST_OWNER";

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    if let (Ok(run_dir), Ok(owner)) = (std::env::var(RUN_DIR), std::env::var(OWNER)) {
        victim(Path::new(&run_dir), &owner);
    }
    if !lab::is_root() {
        return;
    }
    for round in 0..12 {
        a_killed_fabric_is_adopted_and_leaves_nothing(round);
    }
    println!("test a_killed_fabric_is_adopted_and_leaves_nothing ... ok");
}

fn draft() -> Draft {
    let all = &["all - 0.0.0.0/0"][..];
    let mut draft = Draft::default();
    for vpc in 1..=4 {
        draft
            .vpc(vpc, "10.0.0.0/16", "10.0.1.0/24")
            .group(vpc, vpc, all, all)
            .gateway(vpc);
        for number in 0..3 {
            let id = vpc * 10 + number;
            draft.instance(vpc, vpc, id, &format!("10.0.1.{}", 10 + number), &[vpc]);
            draft.public(vpc, id, &format!("198.51.100.{id}"));
        }
        draft.route(vpc, vpc, "172.16.0.0/12", to_transit(1 + vpc % 2));
        draft.attach(1 + vpc % 2, vpc, Some(1));
        draft.nat(vpc, (vpc, 50 + vpc), "10.0.1.5", Some("198.51.100.250"));
    }
    draft.peer((1, 1), (2, 1));
    draft.transit_route(1, 1, "172.16.0.0/16", Some(101));
    draft.transit_route(2, 1, "172.17.0.0/16", Some(102));
    draft
}

/// Makes and removes everything until it is killed.
fn victim(run_dir: &Path, owner: &str) -> ! {
    let config = FabricConfig {
        run_dir: run_dir.to_owned(),
        owner: owner.to_owned(),
        host: None,
    };
    let fabric = Fabric::open(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let facts = lath_fabric::HostFacts::probe(owner, None);
    let (everything, nothing) = (
        plan(&draft().snapshot, &facts),
        lath_fabric::HostPlan::default(),
    );
    loop {
        runtime.block_on(fabric.audit(&everything));
        runtime.block_on(fabric.audit(&nothing));
    }
}

fn a_killed_fabric_is_adopted_and_leaves_nothing(round: u64) {
    let mut lab = Lab::new();
    let (directory, owner) = (lab.directory.path().to_owned(), lab.owner.clone());
    let mut victim: Child = lab.host_site().run(move || {
        let program = std::env::current_exe().unwrap();
        Command::new(program)
            .env(RUN_DIR, directory)
            .env(OWNER, owner)
            .spawn()
            .unwrap()
    });
    // Not a deadline: where in its work the victim dies is left to chance.
    std::thread::sleep(Duration::from_millis(60 + round * 37));
    victim.kill().unwrap();
    victim.wait().unwrap();
    lab.open();
    lab.audit(&draft());
    assert_eq!(lab.audit(&draft()), Vec::<String>::new(), "round {round}");
    lab.instance(10).serve("10.0.1.10:80");
    assert_eq!(lab.instance(11).reach("10.0.1.10:80"), "10.0.1.11");
    lab.block_on(lab.fabric().remove_all()).unwrap();
    let links = lab
        .host_site()
        .run(|| nix::net::if_::if_nameindex().unwrap().iter().count());
    assert_eq!(links, 1, "only lo is left, round {round}");
    let left = std::fs::read_dir(lab.directory.path()).unwrap().count();
    assert_eq!(left, 0, "round {round}");
}
