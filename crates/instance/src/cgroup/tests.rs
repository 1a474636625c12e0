use super::*;

#[test]
fn every_kind_of_host_is_read() {
    let v1 = "30 20 0:26 / /c/memory rw,relatime - cgroup memory rw,memory\n\
              31 20 0:27 / /c/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
              32 20 0:28 / /c/systemd rw - cgroup systemd rw,xattr,name=systemd\n";
    let v2 = "33 20 0:29 / /c/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    for (name, text, unified, separate) in [
        ("none", "1 1 0:1 / / rw - ext4 /dev/vda rw\n", None, vec![]),
        ("v2", v2, Some("/c/unified"), vec![]),
        ("v1", v1, None, vec!["/c/memory", "/c/cpu"]),
        (
            "both",
            &format!("{v1}{v2}"),
            Some("/c/unified"),
            vec!["/c/memory", "/c/cpu"],
        ),
    ] {
        let groups = Groups::mounted(text);
        assert_eq!(groups.unified, unified.map(PathBuf::from), "{name}");
        let got: Vec<_> = groups
            .separate
            .values()
            .map(|it| it.to_str().unwrap())
            .collect();
        assert_eq!(got, separate, "{name}");
    }
}

#[test]
fn a_limit_uses_the_unified_hierarchy_first() {
    let groups = Groups {
        unified: Some("/u".into()),
        controllers: vec![Controller::Pids],
        separate: BTreeMap::from([(Controller::Memory, "/m".into())]),
        ..Groups::default()
    };
    let groups = groups.below("lath-1");
    for (controller, want) in [
        (Controller::Pids, Some("cgroup v2 in /u/lath-1")),
        (Controller::Memory, Some("cgroup v1 in /m/lath-1")),
        (Controller::Cpu, None),
    ] {
        assert_eq!(groups.place_of(controller).as_deref(), want);
    }
}

#[test]
fn who_may_not_be_moved_stays_outside_and_has_no_limits_of_groups() {
    let groups = Groups {
        unified: Some("/u".into()),
        controllers: vec![Controller::Pids],
        separate: BTreeMap::from([
            (Controller::Memory, "/m".into()),
            (Controller::Cpu, "/c".into()),
        ]),
        ..Groups::default()
    };
    let refused = |error: io::ErrorKind, where_: &'static [&'static str]| {
        move |path: &Path| match where_.iter().any(|it| path.starts_with(it)) {
            true => Err(io::Error::from(error)),
            false => Ok(()),
        }
    };
    let denied = io::ErrorKind::PermissionDenied;
    let joined = groups.join_by(true, refused(denied, &[])).unwrap();
    assert_eq!(joined, groups);
    let outside = groups
        .join_by(true, refused(denied, &["/u", "/m"]))
        .unwrap();
    let limits = Controller::ALL.map(|it| outside.limits(it));
    assert_eq!(limits, [false, false, true]);
    // Root is let in everywhere: then something else is wrong.
    assert!(groups.join_by(false, refused(denied, &["/u"])).is_err());
    let gone = io::ErrorKind::NotFound;
    assert!(groups.join_by(true, refused(gone, &["/u"])).is_err());
}

#[test]
fn the_supervisor_is_in_no_limited_group() {
    let unified = tempfile::tempdir().unwrap();
    let groups = Groups {
        unified: Some(unified.path().to_owned()),
        controllers: Controller::ALL.to_vec(),
        ..Groups::default()
    };
    let groups = groups.below("lath-1").below("i-1");
    let limits = Limits {
        memory_bytes: Some(1 << 30),
        pids: Some(100),
        vcpus: Some(2),
    };
    groups.make(&limits).unwrap();
    let instance = unified.path().join("lath-1/i-1");
    for (file, want) in [
        ("memory.max", "1073741824"),
        ("memory.swap.max", "0"),
        ("pids.max", "100"),
        ("cpu.max", "200000 100000"),
    ] {
        let limit = fs::read_to_string(instance.join(PROCESSES).join(file));
        assert_eq!(limit.unwrap(), want, "{file}");
        for unlimited in [instance.clone(), instance.join(SUPERVISOR)] {
            assert!(!unlimited.join(file).exists(), "{unlimited:?} {file}");
        }
    }
    // Each passes on what the one below it limits with.
    for folder in ["", "lath-1", "lath-1/i-1"] {
        let file = unified.path().join(folder).join("cgroup.subtree_control");
        assert!(file.exists(), "{folder:?}");
    }
}

#[test]
fn a_frozen_process_deeper_than_paths_reach_ends() {
    let place = Path::new("/sys/fs/cgroup/freezer");
    if !rustix::process::geteuid().is_root() || !place.join("cgroup.procs").exists() {
        let _ = writeln!(io::stderr(), "SKIPPED: no root, or no cgroup v1");
        return;
    }
    let top = place.join(format!("lath-test-{}", std::process::id()));
    fs::create_dir(&top).unwrap();
    let mut group = File::open(&top).unwrap();
    let name = c"longer-than-a-hundredth-of-a-path-may-be-here";
    for _ in 0..120 {
        rustix::fs::mkdirat(&group, name, Mode::RWXU).unwrap();
        group = open_in(group.as_fd(), name, OFlags::DIRECTORY).unwrap();
    }
    let mut process = std::process::Command::new("sleep");
    let mut process = process.arg("1000").spawn().unwrap();
    let pid = process.id().to_string();
    for (file, value) in [
        (c"cgroup.procs", pid.as_str()),
        (c"freezer.state", "FROZEN"),
    ] {
        let mut file = open_in(group.as_fd(), file, OFlags::WRONLY).unwrap();
        file.write_all(value.as_bytes()).unwrap();
    }
    let others = vec![top.clone()];
    let groups = Groups {
        others,
        ..Groups::default()
    };
    assert_eq!(groups.kill_named(&["another".to_owned()].into()), 0);
    // A group is busy until its process was waited for.
    let waiting = std::thread::spawn(move || process.wait().unwrap());
    groups.kill_and_remove();
    assert!(!waiting.join().unwrap().success());
    assert!(!top.exists());
}
