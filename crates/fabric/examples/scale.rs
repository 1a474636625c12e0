//! How long a host takes to become what a large plan says, and what it costs. Needs root; works in a
//! host namespace of its own and removes everything.
//!
//! `cargo run --release -p lath-fabric --example scale -- [VPCS] [INSTANCES]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "prints figures")]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::time::Instant;

use lab::{Draft, Lab};

fn main() {
    let number = |index, default| {
        std::env::args()
            .nth(index)
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (vpcs, instances): (u32, u32) = (number(1, 100), number(2, 500));
    let lab = Lab::new();
    let mut draft = draft(vpcs, instances);
    println!("{vpcs} VPCs, {instances} instances");
    let before = memory_available();
    timed("plan", || lath_fabric::plan(&draft.snapshot, &lab.facts()));
    let done = timed("first apply", || lab.apply(&draft).done.len());
    println!("{done:>40} operations");
    println!(
        "{:>40} MiB of the machine's memory",
        before.saturating_sub(memory_available()) / 1024
    );
    timed("apply again", || lab.apply(&draft));
    timed("audit", || lab.audit(&draft));
    draft.instance(1, 1, 9_999, "10.0.200.200", &[1]);
    let done = timed("one more instance", || lab.apply(&draft).done.len());
    println!("{done:>40} operations");
    timed("remove all", || {
        lab.block_on(lab.fabric().remove_all())
            .expect("all can be removed")
    });
}

fn draft(vpcs: u32, instances: u32) -> Draft {
    let all = &["all - 0.0.0.0/0"][..];
    let mut draft = Draft::default();
    for vpc in 1..=vpcs {
        draft.vpc(vpc, "10.0.0.0/16", "10.0.0.0/16").gateway(vpc);
        draft.group(
            vpc,
            vpc,
            &["tcp 80 0.0.0.0/0", &format!("all - sg:{vpc}")],
            all,
        );
    }
    for instance in 0..instances {
        let vpc = instance % vpcs + 1;
        let address = format!(
            "10.0.{}.{}",
            1 + (instance / vpcs) / 200,
            10 + (instance / vpcs) % 200
        );
        draft.instance(vpc, vpc, instance + 1, &address, &[vpc]);
    }
    draft
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = work();
    println!(
        "{name:<30} {:>9.1} ms",
        start.elapsed().as_secs_f64() * 1000.0
    );
    outcome
}

/// In KiB.
fn memory_available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
