//! What an instance may use, and what ends with it.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

mod lab;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use lab::{Lab, eventually, possible, spec};
use lath_clock::Clock;
use lath_feed::InstancePhase;
use lath_instance::{ExecRequest, InstanceSpec, Limits};
use nix::sys::signal::{Signal, kill};

const MEMORY: u64 = 192 << 20;
const PIDS: u32 = 80;

fn limited(user_data: &str) -> InstanceSpec {
    InstanceSpec {
        limits: Limits {
            memory_bytes: Some(MEMORY),
            pids: Some(PIDS),
            vcpus: Some(1),
        },
        ..spec(user_data)
    }
}

/// What `lath doctor` says enforces a limit; says loudly when nothing does.
fn is_enforced(controller: &str) -> bool {
    let findings = lath_instance::doctor::probe();
    let what = format!("limits of instances: {controller} ");
    let finding = findings
        .iter()
        .find(|it| it.what.starts_with(&what))
        .unwrap();
    if !finding.ok {
        eprintln!("SKIPPED: {finding:?}");
    }
    finding.ok
}

/// The control groups of an instance, in whatever hierarchy.
fn groups(spec: &InstanceSpec) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let roots = mounts.filter_map(|line| line.split(' ').nth(4));
    let owners = roots.flat_map(|root| std::fs::read_dir(root).into_iter().flatten().flatten());
    let groups = owners.map(|owner| owner.path().join(spec.id.as_str()));
    groups.filter(|group| group.exists()).collect()
}

#[test]
fn a_fork_bomb_ends_in_its_instance() {
    if !possible() || !is_enforced("pids") {
        return;
    }
    let lab = Lab::new();
    let (one, other) = (
        limited("#!/bin/sh\necho up\n"),
        spec("#!/bin/sh\necho up\n"),
    );
    lab.run(&one);
    lab.run(&other);
    lab.await_console(&one.id, "up");
    let bomb = "b() { b | b & }; b; sleep 1; ls -d /proc/[0-9]* | wc -l";
    let (_, _, said) = lab.shell(&one.id, bomb);
    assert!(said.contains("ork"), "it is refused processes: {said}");
    let (status, out, said) = lab.shell(&other.id, "for i in 1 2 3; do (echo $i); done");
    assert_eq!((status, out.as_str()), (0, "1\n2\n3\n"), "{said}");
    // A reboot of it helps.
    let again = InstanceSpec { boot: 2, ..one };
    lab.run(&again);
    let count = eventually("few processes", || {
        let (status, out, said) = lab.shell(&again.id, "ls -d /proc/[0-9]* | wc -l");
        let count = out.trim().parse::<u32>();
        count.map_err(|_| (status, out, said))
    });
    assert!(count < PIDS, "{count}");
}

#[test]
fn a_memory_hog_ends_in_its_instance() {
    if !possible() || !is_enforced("memory") {
        return;
    }
    let lab = Lab::new();
    let (one, other) = (
        limited("#!/bin/sh\necho up\n"),
        spec("#!/bin/sh\necho up\n"),
    );
    lab.run(&one);
    lab.run(&other);
    let (status, _, said) = lab.shell(&one.id, "dd if=/dev/zero of=/dev/null bs=600M count=1");
    assert_ne!(status, 0, "{said}");
    let (status, _, said) = lab.shell(&one.id, "dd if=/dev/zero of=/dev/null bs=20M count=1");
    assert_eq!(status, 0, "{said}");
    for id in [&one.id, &other.id] {
        assert_eq!(
            lab.instances.status(id).unwrap().state,
            InstancePhase::Running
        );
        assert_eq!(lab.shell(id, "echo here").1, "here\n");
    }
}

#[test]
fn file_systems_in_memory_are_no_larger_than_the_instance() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let one = limited("#!/bin/sh\necho up\n");
    lab.run(&one);
    let sizes = "stat -f -c '%b %S' /dev/shm /run /dev";
    let (_, out, said) = lab.shell(&one.id, sizes);
    let sizes: Vec<u64> = out
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(blocks, size)| blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap())
        .collect();
    assert_eq!(sizes.len(), 3, "{out} {said}");
    assert_eq!(sizes[0], MEMORY / 2);
    assert!(sizes[1].abs_diff(MEMORY / 5) < 8192, "{sizes:?}");
    assert_eq!(sizes[2], 1 << 20);
}

#[test]
fn control_groups_go_with_their_instance() {
    if !possible() || !is_enforced("memory") || lath_instance::is_rootless() {
        return;
    }
    let lab = Lab::new();
    let one = limited("#!/bin/sh\necho up\n");
    lab.run(&one);
    let made = groups(&one);
    assert_ne!(made, Vec::<PathBuf>::new());
    lab.wait(lab.instances.ensure_stopped(&one.id)).unwrap();
    assert_eq!(groups(&one), Vec::<PathBuf>::new(), "stopped");
    lab.run(&one);
    let (supervisor, init) = (
        lab.process(&one.id, "supervisor"),
        lab.process(&one.id, "init"),
    );
    for process in [supervisor, init] {
        kill(process, Signal::SIGKILL).unwrap();
    }
    eventually("end of its groups", || have_gone(&one));
    // What a killed Lath left whose files are lost: nothing but the groups tells of it.
    let lost = spec("");
    for group in &made {
        std::fs::create_dir_all(group.with_file_name(lost.id.as_str())).unwrap();
    }
    assert_ne!(groups(&lost), Vec::<PathBuf>::new());
    let lab = lab.reopened();
    assert_eq!(groups(&lost), Vec::<PathBuf>::new(), "swept");
    drop(lab);
}

/// Whether its groups are gone.
fn have_gone(spec: &InstanceSpec) -> Result<(), Vec<PathBuf>> {
    match groups(spec) {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    }
}

#[test]
fn who_came_in_from_outside_keeps_no_group_of_an_instance_that_has_ended() {
    if !possible() || !is_enforced("memory") || lath_instance::is_rootless() {
        return;
    }
    let lab = Lab::new();
    let one = limited("#!/bin/sh\necho up\n");
    lab.run(&one);
    lab.await_console(&one.id, "up");
    let mut other = Command::new("sleep").arg("4733").spawn().unwrap();
    for group in groups(&one) {
        let processes = group.join("processes");
        let group = if processes.exists() { processes } else { group };
        std::fs::write(group.join("cgroup.procs"), other.id().to_string()).unwrap();
    }
    // A group is busy until its processes were waited for.
    let ended = std::thread::spawn(move || other.wait().unwrap());
    kill(lab.process(&one.id, "init"), Signal::SIGKILL).unwrap();
    eventually("end of its groups", || have_gone(&one));
    assert!(!ended.join().unwrap().success());
}

#[test]
fn a_stopped_exec_does_not_keep_its_instance_from_ending() {
    if !possible() || !is_enforced("memory") || lath_instance::is_rootless() {
        return;
    }
    let lab = Lab::new();
    let one = limited("#!/bin/sh\necho up\n");
    lab.run(&one);
    lab.await_console(&one.id, "up");
    let request = ExecRequest {
        argv: ["sleep", "4734"].map(str::to_owned).to_vec(),
        ..ExecRequest::default()
    };
    let mut command = lab.instances.exec_command(&one.id, &request).unwrap();
    let mut exec = command.stdin(Stdio::null()).spawn().unwrap();
    eventually("its command", || {
        let line = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^4734$'";
        let (_, out, _) = lab.shell(&one.id, line);
        if out.trim() == "1" { Ok(()) } else { Err(out) }
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(exec.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let ended = std::thread::spawn(move || exec.wait().unwrap());
    // Its supervisor alone ends it.
    kill(lab.process(&one.id, "supervisor"), Signal::SIGTERM).unwrap();
    eventually("end of its groups", || have_gone(&one));
    assert!(!ended.join().unwrap().success());
}

#[test]
fn groups_go_with_all_that_are_killed() {
    if !possible() || !is_enforced("memory") || lath_instance::is_rootless() {
        return;
    }
    let lab = Lab::new();
    let one = limited("#!/bin/sh\necho up\n");
    lab.run(&one);
    assert_ne!(groups(&one), Vec::<PathBuf>::new());
    let data = lab.path().join("data");
    assert_eq!(lath_instance::kill_all(&data, &Clock::system()).unwrap(), 1);
    assert_eq!(groups(&one), Vec::<PathBuf>::new());
}
