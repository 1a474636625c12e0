//! What a workload gets beyond its root: directories and files of the host, and programs that process 1 runs.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

mod lab;

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use lab::{Lab, eventually, possible, spec};
use lath_feed::InstancePhase;
use lath_instance::{File, HostDirectory, InstanceSpec, Setup, SharedFile, Unit};
use lath_model::{ManagedId, ManagedKind, WorkloadId};

fn unit(name: &str, line: &str) -> Unit {
    Unit {
        name: name.into(),
        command: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        environment: vec![("WORD".into(), "told".into())],
        ready: None,
        once: false,
        stop_seconds: 3,
    }
}

fn with(setup: Setup, user_data: &str) -> InstanceSpec {
    let id = ManagedId::new(ManagedKind::ControlPlane, "prod").unwrap();
    InstanceSpec {
        id: id.into(),
        setup,
        ..spec(user_data)
    }
}

fn log(lab: &Lab, id: &WorkloadId, unit: &str) -> String {
    let mut text = String::new();
    if let Ok(mut file) = lab.instances.open_log(id, unit) {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

fn await_log(lab: &Lab, id: &WorkloadId, unit: &str, text: &str) -> String {
    eventually(&format!("{text:?} in the log of {unit}"), || {
        let log = log(lab, id, unit);
        if log.contains(text) {
            Ok(log)
        } else {
            Err(log)
        }
    })
}

#[test]
fn directories_and_files_are_there_before_anything_runs() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("tool"), "x").unwrap();
    let directory = Path::new("/var/lib/data");
    let mut workload = with(
        Setup {
            directories: vec![HostDirectory {
                path: directory.into(),
                mode: 0o750,
                shared_mounts: true,
            }],
            shared: vec![SharedFile {
                source: shared.path().into(),
                path: "/usr/local/lib/tools".into(),
            }],
            files: vec![File {
                path: "/etc/secret/deep/key".into(),
                mode: 0o600,
                content: "s3cret\n".into(),
            }],
            units: vec![unit(
                "one",
                "stat -c %a /etc/secret/deep/key; echo $WORD; sleep 1000",
            )],
            ..Setup::default()
        },
        "",
    );
    let early = lab
        .instances
        .write_file(&workload.id, directory, "list.json", b"[]");
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    lab.run(&workload);
    await_log(&lab, &workload.id, "one", "600\ntold\n");
    let check = |line: &str, want: &str| {
        let (status, out, err) = lab.shell(&workload.id, line);
        assert_eq!((status, out.as_str()), (0, want), "{line}: {err}");
    };
    check("cat /etc/secret/deep/key", "s3cret\n");
    check("stat -c %a /etc/secret/deep /var/lib/data", "755\n750\n");
    check(
        "grep -c ' /var/lib/data .* shared:' /proc/self/mountinfo",
        "1\n",
    );
    check("cat /usr/local/lib/tools/tool", "x");
    check(
        "touch /usr/local/lib/tools/x 2> /dev/null || echo no",
        "no\n",
    );
    check("echo mine > /var/lib/data/mine", "");
    let there = lab.instances.host_directory(&workload.id, directory);
    assert_eq!(
        std::fs::read_to_string(there.join("mine")).unwrap(),
        "mine\n"
    );
    // The host writes there, whatever the instance put in its way.
    check("ln -s /etc/passwd /var/lib/data/list.json", "");
    let write = |text: &[u8]| {
        lab.instances
            .write_file(&workload.id, directory, "list.json", text)
    };
    write(b"[1]").unwrap();
    check("cat /var/lib/data/list.json", "[1]");
    let inode = || std::fs::metadata(there.join("list.json")).unwrap().ino();
    let before = inode();
    write(b"[1]").unwrap();
    assert_eq!(inode(), before, "nothing changed");
    assert!(
        lab.instances
            .write_file(&workload.id, directory, "../x", b"")
            .is_err()
    );
    // A changed setup counts from the next boot on; what is in the directory stays.
    workload.setup.files[0].content = "new".into();
    workload.setup.directories[0].mode = 0o700;
    lab.run(&workload);
    assert_eq!(
        lab.shell(&workload.id, "cat /etc/secret/deep/key").1,
        "s3cret\n"
    );
    workload.boot = 2;
    lab.run(&workload);
    let (_, out, _) = lab.shell(&workload.id, "cat /etc/secret/deep/key /var/lib/data/mine");
    assert_eq!(out, "newmine\n");
    let mode = std::fs::metadata(&there).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // A log that is a link to a file of the host is not read.
    lab.shell(&workload.id, "ln -sf /etc/passwd /var/log/one.log");
    assert!(lab.instances.open_log(&workload.id, "one").is_err());
}

#[test]
fn units_begin_in_order_and_again_and_end_in_reverse() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let ending = |name: &str| {
        format!(
            "trap 'echo {name} >> /root/order; exit 0' TERM; echo {name} >> /root/order; while :; do sleep 0.05; done"
        )
    };
    let first = Unit {
        ready: Some(
            ["/bin/sh", "-c", "test -e /root/ready"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ..unit(
            "first",
            &format!("(sleep 0.5; touch /root/ready) & {}", ending("first")),
        )
    };
    // User data comes after what is ready; without a check a unit counts as soon as it is begun, before it has written.
    let second = Unit {
        ready: Some(
            ["/bin/sh", "-c", "grep -q second /root/order"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ..unit("second", &ending("second"))
    };
    let once = Unit {
        once: true,
        ..unit(
            "once",
            "echo run; test -e /root/tried || { touch /root/tried; exit 3; }",
        )
    };
    let stubborn = Unit {
        stop_seconds: 1,
        ..unit(
            "stubborn",
            "trap '' TERM; echo on; while :; do sleep 0.05; done",
        )
    };
    let fails = unit("fails", "echo again; exit 1");
    let missing = Unit {
        command: vec!["/no/such/program".into()],
        ..unit("missing", "")
    };
    let setup = Setup {
        units: vec![first, once, second, stubborn, fails, missing],
        ..Setup::default()
    };
    let mut workload = with(setup, "#!/bin/sh\ncat /root/order\n");
    lab.run(&workload);
    let console = lab.await_console(&workload.id, "cloud-init: finished");
    assert!(
        console.contains("first\nsecond\n"),
        "units come before user data: {console}"
    );
    await_log(&lab, &workload.id, "stubborn", "on\n");
    await_log(&lab, &workload.id, "fails", "again\nagain\n");
    await_log(&lab, &workload.id, "missing", "No such file");
    await_log(&lab, &workload.id, "once", "run\nrun\n");
    lab.wait(lab.instances.ensure_stopped(&workload.id))
        .unwrap();
    let stopped = lab.instances.status(&workload.id).unwrap();
    assert_eq!(stopped.state, InstancePhase::Stopped);
    workload.boot = 2;
    workload.setup = Setup::default();
    lab.run(&workload);
    let (_, order, _) = lab.shell(&workload.id, "cat /root/order");
    assert_eq!(order, "first\nsecond\nsecond\nfirst\n");
}

#[test]
fn what_cannot_be_made_true_is_told() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let shared = SharedFile {
        source: "/no/such/directory".into(),
        path: "/opt/x".into(),
    };
    let outside = HostDirectory {
        path: "/var/../../x".into(),
        mode: 0o755,
        shared_mounts: false,
    };
    for (setup, want) in [
        (
            Setup {
                shared: vec![shared],
                ..Setup::default()
            },
            "/no/such/directory",
        ),
        (
            Setup {
                directories: vec![outside],
                ..Setup::default()
            },
            "plain path",
        ),
    ] {
        let workload = with(setup, "");
        let started = lab.wait(lab.instances.ensure_running(&workload));
        let reason = started.unwrap_err().to_string();
        assert!(reason.contains(want), "{reason}");
    }
}
