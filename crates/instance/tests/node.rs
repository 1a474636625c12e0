//! Nodes of clusters: instances whose root runs containers and is an ordinary user of the host.

#![allow(clippy::unwrap_used, reason = "a failed preparation fails the test")]

mod lab;

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{Lab, eventually, possible, spec};
use lath_feed::InstancePhase;
use lath_instance::{File, HostDirectory, InstanceSpec, Kind, Limits, Setup, Unit};

/// Needs the host's ids; says so loudly when they are not there.
fn skipped() -> bool {
    let skipped = lath_instance::is_rootless();
    if skipped {
        eprintln!("SKIPPED: nodes need the host's user ids");
    }
    skipped || !possible()
}

fn directory(path: &str, shared_mounts: bool) -> HostDirectory {
    HostDirectory {
        path: path.into(),
        mode: 0o755,
        shared_mounts,
    }
}

fn node(units: Vec<Unit>) -> InstanceSpec {
    InstanceSpec {
        kind: Kind::Node,
        limits: Limits {
            memory_bytes: Some(512 << 20),
            pids: Some(2000),
            vcpus: Some(2),
        },
        setup: Setup {
            directories: vec![
                directory("/var/lib/containerd", false),
                directory("/var/lib/kubelet", true),
                directory("/etc/lath", false),
            ],
            files: vec![File {
                path: "/etc/kubernetes/pki/key".into(),
                mode: 0o600,
                content: "k3y".into(),
            }],
            units,
            ..Setup::default()
        },
        ..spec("#!/bin/sh\necho user-data as $(id -u)\n")
    }
}

/// What the fabric does: an interface with an address and a default route, from outside.
fn wire(lab: &Lab, node: &InstanceSpec) {
    let init = lab.process(&node.id, "init").to_string();
    let line = format!(
        "ip link add i{init} type veth peer name eth0 netns {init} && ip link set i{init} up && nsenter -t {init} -n sh -c \
         'ip link set lo up && ip addr add 10.0.1.10/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.1.1'"
    );
    let done = Command::new("sh").args(["-c", &line]).status();
    assert!(done.unwrap().success());
}

fn started(lab: &Lab, node: &InstanceSpec) {
    lab.run(node);
    wire(lab, node);
    lab.await_console(&node.id, "cloud-init: finished");
}

fn groups(spec: &InstanceSpec) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let roots = mounts.filter_map(|line| line.split(' ').nth(4));
    let owners = roots.flat_map(|root| std::fs::read_dir(root).into_iter().flatten().flatten());
    let groups = owners.map(|owner| owner.path().join(spec.id.as_str()));
    groups.filter(|group| group.exists()).collect()
}

/// Each line must print what is wanted. Lines about one hierarchy of control groups for each controller are left out where
/// the host has them together.
fn check(lab: &Lab, node: &InstanceSpec, lines: &[(&str, &str)]) {
    let together = !Path::new("/sys/fs/cgroup/memory").exists();
    for (line, want) in lines {
        if together && line.contains("/sys/fs/cgroup/") {
            continue;
        }
        let (status, out, err) = lab.shell(&node.id, line);
        assert_eq!((status, out.trim()), (0, *want), "{line}: {err}");
    }
}

#[test]
fn its_root_is_root_there_and_nobody_on_the_host() {
    if skipped() {
        return;
    }
    let lab = Lab::new();
    let secret = lab.path().join("data/secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let node = node(Vec::new());
    lab.run(&node);
    // Nothing runs before the network is there.
    assert!(!lab.console(&node.id).contains("user-data"));
    wire(&lab, &node);
    lab.await_console(&node.id, "user-data as 0");
    check(
        &lab,
        &node,
        &[
            ("id -u", "0"),
            ("hostname", "ip-10-0-1-10"),
            ("cat /proc/1/comm", "init"),
            (
                "stat -c '%u %g' / /etc/shadow /usr/bin /etc/resolv.conf /var/log /root | sort -u",
                "0 0",
            ),
            (
                "cat /etc/kubernetes/pki/key; stat -c %a /etc/kubernetes/pki/key",
                "k3y600",
            ),
            (
                "touch /usr/bin/mine /etc/mine /opt/mine /root/mine /var/lib/kubelet/mine && stat -c %u /usr/bin/mine",
                "0",
            ),
            ("chown 33:33 /root/mine && stat -c %u /root/mine", "33"),
            ("ip -o -4 addr show eth0 | grep -c 10.0.1.10", "1"),
            (
                "sysctl -qw net.ipv4.ip_forward=1 && cat /proc/sys/net/ipv4/ip_forward",
                "1",
            ),
            (
                "grep MemTotal /proc/meminfo | tr -s ' '",
                "MemTotal: 524288 kB",
            ),
            (
                "grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online",
                "2\n0-1",
            ),
            ("ls -d /sys/devices/system/cpu/cpu* | wc -l", "2"),
            (
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
                "536870912",
            ),
        ],
    );
    let init = lab.process(&node.id, "init");
    let map = std::fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap();
    let map: Vec<u32> = map
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect();
    assert_eq!((map[0], map[2]), (0, 65_536));
    assert!(map[1] >= 0x7000_0000, "{map:?}");
    let files = lab.path().join("data/instances").join(node.id.as_str());
    let mine = std::fs::metadata(files.join("host/%2Fvar%2Flib%2Fkubelet/mine")).unwrap();
    assert_eq!(mine.uid(), map[1]);
    for path in ["/usr/bin/mine", "/etc/mine", "/opt/mine", "/root/mine"] {
        assert!(!Path::new(path).exists(), "{path} reached the host");
    }
    // The host writes into its directory as its root.
    lab.instances
        .write_file(&node.id, Path::new("/etc/lath"), "prefixes.json", b"[]")
        .unwrap();
    check(
        &lab,
        &node,
        &[(
            "cat /etc/lath/prefixes.json; stat -c %u /etc/lath/prefixes.json",
            "[]0",
        )],
    );
    for (what, line) in [
        ("Lath's files", format!("cat {}", secret.display())),
        ("Lath's directory", format!("ls {}", lab.path().display())),
        ("host's passwords", "grep -v ':\\*:' /etc/shadow".into()),
        ("node for a disk", "mknod /tmp/disk b 254 0".into()),
        ("character device", "mknod /tmp/mem c 1 1".into()),
        (
            "disk",
            "ls /dev/vda /dev/sda /dev/mem /dev/kmsg 2> /dev/null | grep .".into(),
        ),
        (
            "host's disk as a mount",
            "mount -t ext4 /dev/vda /mnt || mount -t ext4 /dev/root /mnt".into(),
        ),
        (
            "host's devices as a mount",
            "mount -t devtmpfs x /mnt && ls /mnt | grep .".into(),
        ),
        (
            "kernel's setting",
            "echo 1 > /proc/sys/vm/drop_caches".into(),
        ),
        (
            "host's name",
            "echo x > /proc/sys/kernel/core_pattern".into(),
        ),
        ("sysrq", "echo b > /proc/sysrq-trigger".into()),
        ("kernel memory", "head -c 1 /proc/kcore | grep .".into()),
        ("own binary", "cat /proc/1/exe > /dev/null".into()),
        ("first process's root", "ls /proc/1/root/".into()),
        (
            "its own limit",
            "echo 99999999999 > /sys/fs/cgroup/memory/memory.limit_in_bytes".into(),
        ),
        ("module", "modprobe dummy || insmod /tmp/x.ko".into()),
        ("clock", "date -s '2001-01-01'".into()),
        ("host's network", "nsenter -t 1 -n true".into()),
        (
            "unmounting a directory of the host",
            "umount /var/lib/kubelet".into(),
        ),
        ("unmounting what covers the host's", "umount /etc".into()),
        (
            "less of the kernel's secrets",
            "cat /sys/kernel/debug/x /proc/kmsg".into(),
        ),
    ] {
        let (status, out, err) = lab.shell(&node.id, &line);
        assert_ne!(status, 0, "{what}: {out}{err}");
    }
}

#[test]
fn it_may_mount_and_make_namespaces_and_groups() {
    if skipped() {
        return;
    }
    let lab = Lab::new();
    let node = node(Vec::new());
    started(&lab, &node);
    check(
        &lab,
        &node,
        &[
            (
                "mount -t tmpfs x /mnt && touch /mnt/x && umount /mnt && echo yes",
                "yes",
            ),
            (
                "cd /var/lib/containerd && mkdir -p l u w m && echo low > l/f && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m \
              && rm m/f && echo up > m/f && cat m/f && umount m",
                "up",
            ),
            (
                "unshare -mnipuf --mount-proc sh -c 'echo $$; cat /proc/1/comm'",
                "1\nsh",
            ),
            ("unshare -U true && echo yes", "yes"),
            (
                "unshare -n sleep 100 & sleep 0.3; nsenter -t $! -n ip -o link | grep -c lo:; kill $!",
                "1",
            ),
            (
                "ip link add v0 type veth peer name v1 && ip link del v0 && echo yes",
                "yes",
            ),
            ("ip netns add x && ip netns del x && echo yes", "yes"),
            (
                "nft add table ip t && nft list tables && nft delete table ip t",
                "table ip t",
            ),
            (
                "grep -c ' /var/lib/kubelet .* shared:' /proc/self/mountinfo; grep -c ' /run .* shared:' /proc/self/mountinfo",
                "1\n1",
            ),
            (
                "mkdir /sys/fs/cgroup/memory/x && echo 4194304 > /sys/fs/cgroup/memory/x/memory.limit_in_bytes && cat /sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "4194304",
            ),
            (
                "sh -c 'echo 0 > /sys/fs/cgroup/memory/x/cgroup.procs && grep memory: /proc/self/cgroup | cut -d: -f3'; rmdir /sys/fs/cgroup/memory/x",
                "/x",
            ),
            (
                "for h in /sys/fs/cgroup/*/; do mkdir $h/y && rmdir $h/y || echo no $h; done",
                "",
            ),
            ("cat /sys/fs/cgroup/cpuset/cpuset.mems | wc -l", "1"),
        ],
    );
}

#[test]
fn it_lives_on_without_lath_and_leaves_nothing() {
    if skipped() {
        return;
    }
    let lab = Lab::new();
    let mut node = node(vec![Unit {
        name: "busy".into(),
        command: ["/bin/sh", "-c", "echo on; exec sleep 4731"]
            .map(str::to_owned)
            .to_vec(),
        environment: Vec::new(),
        ready: None,
        once: false,
        stop_seconds: 2,
    }]);
    started(&lab, &node);
    let (supervisor, init) = (
        lab.process(&node.id, "supervisor"),
        lab.process(&node.id, "init"),
    );
    let lab = lab.reopened();
    lab.run(&node);
    assert_eq!(lab.process(&node.id, "supervisor"), supervisor);
    assert_eq!(lab.process(&node.id, "init"), init);
    let of = |fd: &std::os::fd::OwnedFd| nix::sys::stat::fstat(fd).unwrap().st_ino;
    let inside = std::fs::metadata(format!("/proc/{init}/ns/net"))
        .unwrap()
        .ino();
    assert_eq!(of(&lab.instances.netns(&node.id).unwrap()), inside);
    assert_eq!(of(&lab.instances.networks()[&node.id]), inside);
    // What containers leave: groups of their own, with processes that are frozen.
    let line = "mkdir -p /sys/fs/cgroup/freezer/a/b /sys/fs/cgroup/memory/a/b; sleep 4732 > /dev/null 2>&1 < /dev/null & sleep 0.3; \
                for g in freezer memory; do echo $! > /sys/fs/cgroup/$g/a/b/cgroup.procs; done; \
                echo FROZEN > /sys/fs/cgroup/freezer/a/freezer.state; mount -t tmpfs x /var/lib/kubelet";
    assert_eq!(lab.shell(&node.id, line).0, 0);
    assert_ne!(groups(&node), Vec::<PathBuf>::new());
    // The supervisor's death ends all.
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("end of the node", || {
        let state = lab.instances.status(&node.id).unwrap().state;
        match state {
            InstancePhase::Failed { .. } if groups(&node).is_empty() => Ok(()),
            state => Err((state, groups(&node))),
        }
    });
    // It boots again with the same ids, from the same files.
    node.boot = 2;
    lab.run(&node);
    wire(&lab, &node);
    check(
        &lab,
        &node,
        &[
            ("cat /etc/hostname", "ip-10-0-1-10.ec2.internal"),
            ("stat -c %u /root", "0"),
        ],
    );
    lab.wait(lab.instances.ensure_absent(&node.id)).unwrap();
    assert_eq!(groups(&node), Vec::<PathBuf>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(node.id.as_str()), "{mounts}");
    for folder in ["data/instances", "data/instances-removed", "run/instances"] {
        let left = std::fs::read_dir(lab.path().join(folder)).unwrap().count();
        assert_eq!(left, 0, "{folder}");
    }
}

#[test]
fn its_root_can_be_a_copy_of_a_directory() {
    if skipped() {
        return;
    }
    let lab = Lab::new();
    let image = lab.path().join("image");
    let copy = format!(
        "set -e; mkdir -p {0}/bin {0}/etc; echo image > {0}/etc/issue; for p in /bin/sh /bin/cat /bin/stat /bin/id /bin/rm; do \
         cp $p {0}/bin/; for l in $(ldd $p | grep -o '/[^ ]*'); do mkdir -p {0}$(dirname $l); cp -n $l {0}$l; done; done",
        image.display()
    );
    assert!(
        Command::new("sh")
            .args(["-c", &copy])
            .status()
            .unwrap()
            .success()
    );
    let mut node = node(Vec::new());
    node.root = lath_feed::RootSource::Directory(image.clone());
    started(&lab, &node);
    check(
        &lab,
        &node,
        &[
            (
                "cat /etc/issue; stat -c %u / /etc/issue /etc/hostname",
                "image\n0\n0\n0",
            ),
            ("rm /etc/issue; echo x > /bin/new; stat -c %u /bin/new", "0"),
        ],
    );
    assert!(image.join("etc/issue").exists());
}

/// As where Lath itself runs in a container: the host's directories are on an overlay.
const ON_AN_OVERLAY: &str = "set -e; d=/mnt; mount -t tmpfs x $d; mkdir $d/u $d/w; for p in usr etc; do \
    mkdir $d/u/$p $d/w/$p; mount -t overlay o -o lowerdir=/$p,upperdir=$d/u/$p,workdir=$d/w/$p /$p; done; \
    exec $0 --exact a_node_on_an_overlay --ignored";

#[test]
fn without_mapped_owners_it_runs_on_a_read_only_copy() {
    if skipped() {
        return;
    }
    let tests = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", ON_AN_OVERLAY])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tests.stdout);
    let complained = String::from_utf8_lossy(&tests.stderr);
    if complained.contains("mount:") {
        eprintln!("SKIPPED: an overlay could not be mounted: {complained}");
        return;
    }
    assert!(said.contains("1 passed"), "{said}{complained}");
}

#[test]
#[ignore = "run by the test above where it means something"]
fn a_node_on_an_overlay() {
    let lab = Lab::new();
    let node = node(Vec::new());
    started(&lab, &node);
    let console = lab.console(&node.id);
    assert!(console.contains("note: /usr is nobody's"), "{console}");
    check(
        &lab,
        &node,
        &[
            ("stat -c %u /usr/bin /etc/passwd", "65534\n0"),
            ("touch /etc/mine && stat -c %u /etc/mine", "0"),
            ("touch /usr/bin/mine 2> /dev/null || echo no", "no"),
            ("unshare -mpf true && echo yes", "yes"),
        ],
    );
    let (status, _, _) = lab.shell(&node.id, "grep -v ':\\*:' /etc/shadow");
    assert_ne!(status, 0, "the host's passwords");
}

#[test]
fn two_nodes_have_different_ids() {
    if skipped() {
        return;
    }
    let lab = Lab::new();
    let nodes = [node(Vec::new()), node(Vec::new())];
    let bases = nodes.each_ref().map(|node| {
        lab.run(node);
        let init = lab.process(&node.id, "init");
        let map = std::fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap();
        let base: u32 = map.split_whitespace().nth(1).unwrap().parse().unwrap();
        // What it uses up of the kernel's things is counted against itself.
        assert_eq!(owner(&format!("/proc/{init}/ns/user")), base);
        base
    });
    assert_ne!(bases[0], bases[1]);
}

/// Who made a user namespace.
#[expect(unsafe_code, reason = "no wrapper asks for it")]
fn owner(namespace: &str) -> u32 {
    // ioctl_ns(2): _IO(0xb7, 4).
    const NS_GET_OWNER_UID: libc::Ioctl = 0xb704;
    let namespace = std::fs::File::open(namespace).unwrap();
    let mut user = 0_u32;
    // SAFETY: the kernel writes one uid_t, which lives until the call is over.
    let answer = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID, &raw mut user) };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    user
}

/// A root of a container: a shell with its libraries, from the host.
const CONTAINER_ROOT: &str = "set -e; cd /var/lib/containerd; mkdir -p root/bin root/proc root/sys root/dev root/etc root/tmp; \
    for p in /bin/sh /bin/cat /bin/sleep /usr/bin/id; do cp $p root/bin/; \
    for l in $(ldd $p | grep -o '/[^ ]*'); do mkdir -p root$(dirname $l); cp -n $l root$l; done; done; echo made";

#[test]
fn containerd_runs_a_container_in_it() {
    if skipped() {
        return;
    }
    if !["/usr/bin/containerd", "/usr/bin/ctr", "/usr/sbin/runc"]
        .iter()
        .all(|it| Path::new(it).exists())
    {
        eprintln!(
            "SKIPPED: containerd and runc are not installed (`apt-get install containerd runc`)"
        );
        return;
    }
    let lab = Lab::new();
    let mut node = node(vec![Unit {
        name: "containerd".into(),
        command: [
            "/usr/bin/containerd",
            "-c",
            "/etc/kubernetes/containerd.toml",
        ]
        .map(str::to_owned)
        .to_vec(),
        environment: Vec::new(),
        ready: Some(["/usr/bin/ctr", "version"].map(str::to_owned).to_vec()),
        once: false,
        stop_seconds: 5,
    }]);
    node.setup.files.push(File {
        path: "/etc/kubernetes/containerd.toml".into(),
        mode: 0o644,
        content: "version = 2\noom_score = 0\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"
            .into(),
    });
    started(&lab, &node);
    assert!(!lab.console(&node.id).contains("unit containerd ended"));
    let run = "ctr run --rm --rootfs /var/lib/containerd/root c1 /bin/sh -c 'id -u; read a < /proc/1/comm; echo $a'";
    check(
        &lab,
        &node,
        &[
            (CONTAINER_ROOT, "made"),
            (run, "0\nsh"),
            (
                "ctr run -d --memory-limit 33554432 --rootfs /var/lib/containerd/root c2 /bin/sleep 4733 && ctr task ls -q",
                "c2",
            ),
            (
                "ctr task exec --exec-id e c2 /bin/cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null || \
                 find /sys/fs/cgroup/memory -name memory.limit_in_bytes -path '*c2*' | xargs cat",
                "33554432",
            ),
        ],
    );
    // The runtime is begun again when it is killed, and its containers live on.
    check(
        &lab,
        &node,
        &[("pkill -9 -x containerd && echo killed", "killed")],
    );
    eventually("containerd again", || {
        let (status, out, err) = lab.shell(&node.id, "ctr task ls -q");
        if status == 0 && out == "c2\n" {
            Ok(())
        } else {
            Err((out, err))
        }
    });
    lab.wait(lab.instances.ensure_stopped(&node.id)).unwrap();
    assert_eq!(groups(&node), Vec::<PathBuf>::new());
}
