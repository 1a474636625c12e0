//! Instances from start to removal, for real.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

mod lab;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use lab::{Lab, eventually, netns, possible, spec, within};
use lath_clock::Clock;
use lath_feed::{InstanceObserved, InstancePhase};
use lath_instance::{InstanceError, InstanceSpec};

#[test]
fn user_data_runs_and_what_it_started_lives_on() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let instance = spec(
        "#!/bin/bash\nmkdir -p /srv/pod\ncd /srv/pod\necho hello-pod > index.html\n\
         nohup python3 -m http.server 8080 > /var/log/pod.log 2>&1 &\n\
         echo to-stdout\necho DIRECT | tee /dev/console\n(sleep 1; echo late) &\n",
    );
    lab.run(&instance);
    let console = lab.await_console(&instance.id, "late");
    for text in [
        "to-stdout",
        "DIRECT",
        "first boot 1",
        "cloud-init: finished",
    ] {
        assert!(console.contains(text), "{text}: {console}");
    }
    let page = eventually("page from the instance", || {
        within(netns(&instance), || {
            let mut stream = TcpStream::connect("127.0.0.1:8080")?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page).map(|_| page)
        })
    });
    assert!(page.contains("hello-pod"), "{page}");
    let (status, log, _) = lab.shell(&instance.id, "cat /var/log/cloud-init-output.log; exit 7");
    assert_eq!(status, 7);
    assert!(log.contains("to-stdout") && log.contains("late"), "{log}");
}

#[test]
fn it_looks_like_a_machine_of_its_own() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let (one, two) = (spec(""), spec(""));
    lab.run(&one);
    lab.run(&two);
    let check = |line: &str, want: &str| {
        let (status, out, err) = lab.shell(&one.id, line);
        assert_eq!((status, out.trim()), (0, want), "{line}: {err}");
    };
    check("id -u", "0");
    check("hostname", "ip-10-0-1-10");
    check("cat /etc/hostname", "ip-10-0-1-10.ec2.internal");
    check("grep -c '^nameserver 10.0.0.2$' /etc/resolv.conf", "1");
    check("grep ^hosts: /etc/nsswitch.conf", "hosts: files dns");
    check("cat /root/.ssh/authorized_keys", "ssh-ed25519 AAAAC3 test");
    check("cat /proc/1/comm", "init");
    check(
        "ls /dev | sort | tr '\\n' ' '",
        "console fd full null ptmx pts random shm stderr stdin stdout tty urandom zero",
    );
    check("echo x > /dev/null; head -c 4 /dev/zero | wc -c", "4");
    check("test -c /dev/console && echo yes", "yes");
    check(
        "touch /usr/bin/mine /etc/mine /opt/mine /tmp/mine /root/mine /dev/shm/mine && echo yes",
        "yes",
    );
    check(
        "rm /usr/bin/head && ! test -e /usr/bin/head && echo gone",
        "gone",
    );
    for path in ["/usr/bin/mine", "/etc/mine", "/opt/mine", "/root/mine"] {
        assert!(!Path::new(path).exists(), "{path} reached the host");
    }
    assert!(
        Path::new("/usr/bin/head").exists(),
        "a deletion reached the host"
    );
    // A process with an unmistakable argument, seen in its own instance only.
    let (_, seen, _) = lab.shell(
        &one.id,
        "sleep 98765 & ls /proc | grep -c '^[0-9]'; kill $!",
    );
    assert!(seen.trim().parse::<u32>().unwrap() < 12, "{seen}");
    let (_, other, _) = lab.shell(&two.id, "test -e /root/mine; echo $?");
    assert_eq!(other.trim(), "1", "instances share files");
}

#[test]
fn stop_keeps_files_and_start_does_not_run_user_data_again() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let mut instance = spec(
        "#!/bin/sh\necho ran >> /root/runs\nmkdir -p /var/lib/cloud/scripts/per-boot\n\
         printf '#!/bin/sh\\necho PER-BOOT\\n' > /var/lib/cloud/scripts/per-boot/a\n\
         chmod +x /var/lib/cloud/scripts/per-boot/a\n",
    );
    lab.run(&instance);
    lab.await_console(&instance.id, "cloud-init: finished");
    // The same desire again changes nothing.
    lab.run(&instance);
    lab.wait(lab.instances.ensure_stopped(&instance.id))
        .unwrap();
    lab.wait(lab.instances.ensure_stopped(&instance.id))
        .unwrap();
    let stopped = lab.instances.status(&instance.id).unwrap();
    assert_eq!((stopped.state, stopped.boot), (InstancePhase::Stopped, 1));
    assert!(lab.console(&instance.id).contains("finished"));
    assert_eq!(
        lab.shell(&instance.id, "true").0,
        lath_instance::CANNOT_ENTER
    );
    instance.boot = 2;
    lab.run(&instance);
    lab.await_console(&instance.id, "boot 2\n");
    let (_, runs, _) = lab.shell(&instance.id, "cat /root/runs");
    assert_eq!(runs, "ran\n");
    // A reboot: another boot number while it runs.
    instance.boot = 3;
    lab.run(&instance);
    let console = lab.await_console(&instance.id, "boot 3\n");
    assert!(console.contains("being stopped"), "{console}");
    eventually("per-boot script", || {
        let console = lab.console(&instance.id);
        let count = console.matches("PER-BOOT\n").count();
        if count >= 2 { Ok(()) } else { Err(console) }
    });
    let (_, runs, _) = lab.shell(&instance.id, "cat /root/runs");
    assert_eq!(runs, "ran\n");
}

/// Processes on this machine whose command line holds `text`.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(line);
        }
    }
    found
}

#[test]
fn removal_leaves_nothing() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    // One process ignores the polite signal, one is in a session of its own.
    let instance = spec(
        "#!/bin/bash\n(trap '' TERM; exec -a lath-test-stubborn sleep 4711) &\n\
         setsid sh -c 'sleep 4712' &\necho up\n",
    );
    lab.run(&instance);
    lab.await_console(&instance.id, "up");
    assert!(!processes_with(instance.id.as_str()).is_empty());
    lab.wait(lab.instances.ensure_absent(&instance.id)).unwrap();
    assert_eq!(processes_with(instance.id.as_str()), Vec::<String>::new());
    assert_eq!(lab.instances.status(&instance.id), None);
    assert!(lab.instances.console(&instance.id).is_none());
    assert!(lab.instances.list().unwrap().is_empty());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(instance.id.as_str()), "{mounts}");
    for folder in ["data/instances", "data/instances-removed", "run/instances"] {
        let left = std::fs::read_dir(lab.path().join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
    lab.wait(lab.instances.ensure_absent(&instance.id)).unwrap();
}

#[test]
fn a_restarted_lath_finds_what_lives() {
    if !possible() || skipped_rootless() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("#!/bin/sh\necho once\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "finished");
    let (_, before, _) = lab.shell(
        &instance.id,
        "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1",
    );
    let lab = lab.reopened();
    let found = lab.instances.status(&instance.id).unwrap();
    assert_eq!((found.state, found.boot), (InstancePhase::Running, 1));
    lab.run(&instance);
    let (_, after, _) = lab.shell(
        &instance.id,
        "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1",
    );
    assert_eq!(before, after);
    assert_eq!(lab.console(&instance.id).matches("first boot").count(), 1);
    lab.wait(lab.instances.ensure_absent(&instance.id)).unwrap();
    assert_eq!(processes_with(instance.id.as_str()), Vec::<String>::new());
}

#[test]
fn power_that_is_lost_and_comes_back_boots_the_same_instance_again() {
    if !possible() || skipped_rootless() {
        return;
    }
    let mut lab = Lab::new();
    let instance =
        spec("#!/bin/sh\ntrap 'echo SIGTERM >/dev/console' TERM\nsleep 4719 &\necho up\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "up");
    for others_look_after_it in [true, false] {
        if others_look_after_it {
            lab.wait(lab.instances.ensure_killed(&instance.id)).unwrap();
            lab.wait(lab.instances.ensure_killed(&instance.id)).unwrap();
        } else {
            let data = lab.path().join("data");
            assert_eq!(lath_instance::kill_all(&data, &Clock::system()).unwrap(), 1);
            lab = lab.reopened();
        }
        let known = lab.instances.status(&instance.id).unwrap();
        assert_eq!((known.state, known.boot), (InstancePhase::Stopped, 1));
        assert_eq!(processes_with("sleep 4719"), Vec::<String>::new());
        lab.run(&instance);
        let known = lab.instances.status(&instance.id).unwrap();
        assert_eq!((known.state, known.boot), (InstancePhase::Running, 1));
    }
    assert!(!lab.console(&instance.id).contains("SIGTERM"));
}

#[test]
fn a_kill_does_not_wait_for_a_shutdown_that_lasts() {
    if !possible() || skipped_rootless() {
        return;
    }
    for removal in [false, true] {
        let lab = Lab::with(tempfile::tempdir().unwrap(), |config| {
            config.stop_grace = Duration::from_secs(24 * 60 * 60);
        });
        let instance = spec(
            "#!/bin/sh\n(trap '' TERM; echo stubborn >/dev/console; while :; do sleep 1; done) &\n",
        );
        let id = &instance.id;
        lab.run(&instance);
        lab.await_console(id, "stubborn");
        lab.wait(async {
            let shutdown = tokio::spawn({
                let (instances, id) = (lab.instances.clone(), id.clone());
                async move {
                    match removal {
                        true => instances.ensure_absent(&id).await,
                        false => instances.ensure_stopped(&id).await,
                    }
                }
            });
            let stopping = |state: &InstanceObserved| state.state == InstancePhase::Stopping;
            while !lab.instances.status(id).as_ref().is_some_and(stopping) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(!shutdown.is_finished());
            let killed = lab.instances.ensure_killed(id);
            let in_time = tokio::time::timeout(lab::DEADLINE, killed).await;
            in_time.expect("a kill waits for nothing").unwrap();
            shutdown.await.unwrap().unwrap();
        });
        let known = lab.instances.status(id).map(|it| it.state);
        let want = (!removal).then_some(InstancePhase::Stopped);
        assert_eq!(known, want);
    }
}

#[test]
fn a_killed_supervisor_takes_its_instance_along_and_is_noticed() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let mut instance = spec("#!/bin/sh\nsleep 4713 &\necho up\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "up");
    let pid = lab.process(&instance.id, "supervisor");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    it_has_died_until_it_boots_again(&lab, &mut instance);

    lab.wait(lab.instances.ensure_lost(&instance.id, "killed by a drill"))
        .unwrap();
    assert_eq!(processes_with("sleep 4713"), Vec::<String>::new());
    it_has_died_until_it_boots_again(&lab, &mut instance);
}

fn it_has_died_until_it_boots_again(lab: &Lab, instance: &mut InstanceSpec) {
    let boot = instance.boot;
    let mut changes = lab.instances.watch();
    let failed = lab.wait(async {
        let failed = changes.wait_for(|all| {
            matches!(all.get(&instance.id), Some(it) if matches!(it.state, InstancePhase::Failed { .. }))
        });
        tokio::time::timeout(lab::DEADLINE, failed).await.unwrap().unwrap().clone()
    });
    assert_eq!(failed[&instance.id].boot, boot);
    // The same boot is not started again; the next one is.
    let again = lab.wait(lab.instances.ensure_running(instance));
    assert!(
        matches!(again, Err(InstanceError::Died { .. })),
        "{again:?}"
    );
    instance.boot += 1;
    lab.run(instance);
}

#[test]
fn what_cannot_start_says_why_and_can_be_tried_again() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let mut instance = spec("");
    let image = lab.path().join("image");
    instance.root = lath_feed::RootSource::Directory(image.clone());
    let refused = lab
        .wait(lab.instances.ensure_running(&instance))
        .unwrap_err();
    assert!(refused.to_string().contains("image directory"), "{refused}");
    let state = lab.instances.status(&instance.id).unwrap().state;
    assert!(matches!(state, InstancePhase::Failed { .. }), "{state:?}");
    // An image that has nothing but one static file is still an instance that can be entered.
    std::fs::create_dir_all(image.join("srv")).unwrap();
    std::fs::write(image.join("srv/here"), "x").unwrap();
    lab.run(&instance);
    assert_eq!(lab.shell(&instance.id, "true").0, 127, "it has no shell");
}

#[test]
fn cloud_config_is_obeyed_as_far_as_it_is_understood() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let instance = spec(
        "#cloud-config\nhostname: web-1\npackages: [nginx]\nbootcmd:\n  - echo EARLY\n\
         write_files:\n  - {path: /etc/made, content: 'hi', permissions: '0640'}\n\
         runcmd:\n  - [cat, /etc/made]\n  - exit 3\n",
    );
    lab.run(&instance);
    let console = lab.await_console(&instance.id, "finished");
    for text in [
        "EARLY",
        "packages is not supported",
        "hi",
        "runcmd failed: exit status 3",
    ] {
        assert!(console.contains(text), "{text}: {console}");
    }
    let (_, out, _) = lab.shell(
        &instance.id,
        "hostname; cat /etc/hostname; stat -c %a /etc/made",
    );
    assert_eq!(out, "web-1\nweb-1\n640\n");
}

#[test]
fn a_chatty_console_stays_bounded() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("#!/bin/sh\nseq 1 200000\necho LAST\n");
    lab.run(&instance);
    let console = lab.await_console(&instance.id, "finished");
    assert!(console.len() <= lath_instance::CONSOLE_BYTES);
    assert!(console.contains("199999\n200000\nLAST\n"));
}

#[test]
fn a_command_gets_a_terminal_of_the_instance() {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("");
    lab.run(&instance);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    let request = lath_instance::ExecRequest {
        argv: ["sh", "-c", "tty; read word; echo got-$word; exit 5"]
            .map(str::to_owned)
            .to_vec(),
        ..Default::default()
    };
    let mut command = lab.instances.exec_command(&instance.id, &request).unwrap();
    let mut child = command
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave)
        .spawn()
        .unwrap();
    drop(command);
    let mut terminal = std::fs::File::from(master);
    let mut said = String::new();
    let mut typed = false;
    let mut bytes = [0; 4096];
    // Ends with an error when the last holder of the other side is gone.
    while let Ok(length @ 1..) = terminal.read(&mut bytes) {
        said.push_str(&String::from_utf8_lossy(&bytes[..length]));
        if said.contains("/dev/pts/") && !typed {
            typed = true;
            terminal.write_all(b"hello\r").unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(5), "{said}");
    assert!(said.contains("got-hello"), "{said}");
}

/// Not a test by itself: the Lath that the next one kills.
#[test]
#[ignore = "run by the next test in a process of its own"]
fn a_lath_that_waits_to_be_killed() {
    let Some(base) = std::env::var_os("LATH_TEST_BASE") else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let instances = lath_instance::Instances::open(lab::config(Path::new(&base)));
        let instances = instances.await.unwrap();
        let instance = spec("#!/bin/sh\nsleep 4714 &\necho up\n");
        std::fs::write(Path::new(&base).join("begun"), "").unwrap();
        instances.ensure_running(&instance).await.unwrap();
        std::fs::write(Path::new(&base).join("id"), instance.id.as_str()).unwrap();
        std::future::pending::<()>().await;
    });
}

/// Rootless instances end with their Lath.
fn skipped_rootless() -> bool {
    let rootless = lath_instance::is_rootless();
    if rootless {
        eprintln!("SKIPPED: rootless instances end with Lath");
    }
    rootless
}

#[test]
fn instances_survive_the_death_of_lath() {
    if !possible() || skipped_rootless() {
        return;
    }
    let lab = Lab::new();
    let mut lath = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_lath_that_waits_to_be_killed"])
        .env("LATH_TEST_BASE", lab.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let id = eventually("instance of the other process", || {
        std::fs::read_to_string(lab.path().join("id"))
    });
    lath.kill().unwrap();
    lath.wait().unwrap();
    let id: lath_model::WorkloadId = id.parse().unwrap();
    let lab = lab.reopened();
    let found = lab.instances.status(&id).unwrap();
    assert_eq!((found.state, found.boot), (InstancePhase::Running, 1));
    lab.await_console(&id, "up");
    let (status, out, _) = lab.shell(&id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    assert!(status == 0 && out.contains("sleep 4714"), "{out}");
    lab.wait(lab.instances.ensure_absent(&id)).unwrap();
    assert_eq!(processes_with(id.as_str()), Vec::<String>::new());
}

/// Run by the next test where it means something.
#[test]
fn a_rootless_instance_ends_with_lath_and_boots_again() {
    if !possible() || !lath_instance::is_rootless() {
        return;
    }
    let lab = Lab::new();
    let instance = spec("#!/bin/sh\necho ONCE\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "finished");
    let lab = lab.reopened();
    eventually("end of the instance", || {
        match processes_with(instance.id.as_str()) {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        }
    });
    let lab = lab.reopened();
    let state = lab.instances.status(&instance.id).unwrap().state;
    assert_eq!(state, InstancePhase::Stopped);
    lab.run(&instance);
    let console = eventually("second boot", || {
        let console = lab.console(&instance.id);
        if console.matches("cloud-init: finished").count() == 2 {
            Ok(console)
        } else {
            Err(console)
        }
    });
    assert_eq!(console.matches("ONCE").count(), 1, "{console}");
}

#[test]
fn all_of_it_works_in_a_user_namespace() {
    if !possible() || lath_instance::is_rootless() {
        return;
    }
    let unshare = |program: &std::ffi::OsStr| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-Urm"]).arg(program);
        command
    };
    if !unshare("true".as_ref())
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("SKIPPED: this kernel or container allows no user namespaces");
        return;
    }
    let me = std::env::current_exe().unwrap();
    let tests = unshare(me.as_os_str())
        .args(["--exact", "--test-threads=2"])
        .args([
            "user_data_runs_and_what_it_started_lives_on",
            "removal_leaves_nothing",
        ])
        .args(["it_looks_like_a_machine_of_its_own"])
        .args(["a_rootless_instance_ends_with_lath_and_boots_again"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    assert!(
        tests.status.success() && said.contains("4 passed"),
        "{said}"
    );
}

#[test]
fn a_lath_killed_while_it_starts_an_instance_leaves_one_or_none() {
    if !possible() {
        return;
    }
    for delay_ms in [0, 2, 5, 10, 15, 20, 30, 45, 70, 100] {
        let lab = Lab::new();
        let mut lath = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "a_lath_that_waits_to_be_killed"])
            .env("LATH_TEST_BASE", lab.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("start of the other process", || {
            std::fs::read(lab.path().join("begun"))
        });
        std::thread::sleep(std::time::Duration::from_millis(delay_ms));
        lath.kill().unwrap();
        lath.wait().unwrap();
        let lab = lab.reopened();
        let base = lab.path().display().to_string();
        for id in lab.instances.list().unwrap() {
            lab.wait(lab.instances.ensure_absent(&id)).unwrap();
        }
        eventually("end of all its processes", || match processes_with(&base) {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        });
    }
}

/// Makes the directory for temporary files one in which no upper layer can be, then runs the rest.
const ON_AN_OVERLAY: &str = "set -e; cd $1; mkdir low up work all; \
    mount -t overlay x -o lowerdir=low,upperdir=up,workdir=work all; \
    shift; export TMPDIR=$PWD/all; exec \"$@\"";

#[test]
fn without_overlays_instances_run_on_a_read_only_copy() {
    if !possible() || lath_instance::is_rootless() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let me = std::env::current_exe().unwrap();
    let tests = std::process::Command::new("unshare")
        .args([
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            ON_AN_OVERLAY,
            "sh",
        ])
        .arg(directory.path())
        .arg(me)
        .args(["--exact", "user_data_runs_and_what_it_started_lives_on"])
        .args(["removal_leaves_nothing"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    let complained = String::from_utf8_lossy(&tests.stderr);
    if complained.contains("mount:") {
        eprintln!("SKIPPED: an overlay could not be mounted: {complained}");
        return;
    }
    let passed = tests.status.success() && said.contains("2 passed");
    assert!(passed, "{said}{complained}");
}

/// As when the host is out of processes or space for a moment.
#[test]
fn a_start_that_fails_is_tried_again_and_runs_its_user_data() {
    use std::os::unix::fs::PermissionsExt;
    if !possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let usual = lab::config(directory.path());
    let (script, failed) = (
        directory.path().join("launcher"),
        directory.path().join("failed"),
    );
    let text = format!(
        "#!/bin/sh\nif [ -e {failed} ]; then exec {launcher} \"$@\"; fi\n: > {failed}\necho no room >&2\nexit 1\n",
        failed = failed.display(),
        launcher = usual.launcher.display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let lab = Lab::with(directory, |config| config.launcher = script);
    let instance = spec("#!/bin/sh\necho user data ran\n");
    lab.run(&instance);
    lab.await_console(&instance.id, "user data ran");
    assert!(failed.exists(), "the first attempt failed");
}

/// Figures, not promises: `cargo test --release ... -- --ignored --nocapture how_long`.
#[test]
#[ignore = "a measurement"]
fn how_long_a_start_takes() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    for _ in 0..5 {
        let instance = spec("#!/bin/sh\n");
        let start = std::time::Instant::now();
        lab.run(&instance);
        let started = start.elapsed();
        lab.wait(lab.instances.ensure_absent(&instance.id)).unwrap();
        eprintln!("start {started:?}, removal {:?}", start.elapsed() - started);
    }
}
