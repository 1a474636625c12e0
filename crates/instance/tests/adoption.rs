//! A restarted Lath adopts what really runs, whatever became of its records; and no second copy runs on the same
//! files.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

mod lab;

use std::process::{Command, Stdio};

use lab::{Lab, eventually, netns, possible, spec};
use lath_feed::InstancePhase;
use lath_instance::ExecRequest;

fn skipped_rootless() -> bool {
    let rootless = lath_instance::is_rootless();
    if rootless {
        eprintln!("SKIPPED: rootless instances end with Lath");
    }
    rootless
}

#[test]
fn a_wiped_run_directory_loses_no_instance() {
    if !possible() || skipped_rootless() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("#!/bin/sh\necho up\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "up");
    let (supervisor, init) = (
        lab.process(&instance.id, "supervisor"),
        lab.process(&instance.id, "init"),
    );
    std::fs::remove_dir_all(lab.path().join("run")).unwrap();
    let lab = lab.reopened();
    let found = lab.instances.status(&instance.id).unwrap();
    assert_eq!((found.state, found.boot), (InstancePhase::Running, 1));
    lab.run(&instance);
    assert_eq!(lab.process(&instance.id, "supervisor"), supervisor);
    assert_eq!(lab.process(&instance.id, "init"), init);
    assert_eq!(lab.shell(&instance.id, "echo here").1, "here\n");
    // Its network is found by its processes.
    let networks = lab.instances.networks();
    let of = |fd: &std::os::fd::OwnedFd| {
        let status = nix::sys::stat::fstat(fd).unwrap();
        (status.st_dev, status.st_ino)
    };
    assert_eq!(of(&networks[&instance.id]), of(netns(&instance)));
}

#[test]
fn a_lost_record_starts_no_second_copy() {
    if !possible() || skipped_rootless() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("#!/bin/sh\necho up\n");
    lab.run(&instance);
    let supervisor = lab.process(&instance.id, "supervisor");
    let files = lab.path().join("data/instances").join(instance.id.as_str());
    let record = std::fs::read(files.join("running.json")).unwrap();
    // A copy of the files is another instance's: it is neither adopted nor ended.
    let copy = tempfile::tempdir().unwrap();
    let there = copy
        .path()
        .join("data/instances")
        .join(instance.id.as_str());
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("running.json"), &record).unwrap();
    std::fs::write(there.join("lock"), "").unwrap();
    let other = Lab::with(copy, |_| {});
    assert!(other.instances.networks().is_empty());
    assert!(other.instances.status(&instance.id).is_none());
    drop(other);
    assert_eq!(lab.process(&instance.id, "supervisor"), supervisor);
    assert_eq!(lab.shell(&instance.id, "echo here").1, "here\n");
}

#[test]
fn a_killed_exec_takes_its_command_along() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("#!/bin/sh\necho up\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "up");
    let request = ExecRequest {
        argv: ["sh", "-c", "trap '' HUP; sleep 4721 & sleep 4722; true"]
            .map(str::to_owned)
            .to_vec(),
        ..ExecRequest::default()
    };
    let mut command: Command = lab.instances.exec_command(&instance.id, &request).unwrap();
    let mut exec = command.stdin(Stdio::null()).spawn().unwrap();
    let count = || {
        let line = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^472[12]$'";
        let (_, out, _) = lab.shell(&instance.id, line);
        out.trim().to_owned()
    };
    let is = |want: &str| {
        let now = count();
        if now == want { Ok(()) } else { Err(now) }
    };
    eventually("two sleeps", || is("2"));
    exec.kill().unwrap();
    exec.wait().unwrap();
    eventually("end of the sleeps", || is("0"));
}
