//! Root in an instance tries to get out.

mod lab;

use std::os::fd::AsRawFd;
use std::process::Command;

use lab::{Lab, netns, network, possible, spec};

/// Python gets at system calls that no shell command makes.
const SYSTEM_CALLS: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(number, *arguments)
    print(name, os.strerror(ctypes.get_errno()) if answer < 0 else 'WORKED')
NEWNS, NEWUSER, NEWPID, SIGCHLD = 0x20000, 0x10000000, 0x20000000, 17
call('unshare-user', 272, NEWUSER)
call('unshare-mount', 272, NEWNS)
call('clone-user', 56, NEWUSER | SIGCHLD, 0, 0, 0, 0)
call('clone-pid', 56, NEWPID | SIGCHLD, 0, 0, 0, 0)
call('clone3', 435, 0, 0)
call('setns', 308, os.open('/proc/self/ns/net', os.O_RDONLY), 0)
call('bpf', 321, 5, 0, 0)
call('ptrace', 101, 16, 1, 0, 0)
call('kexec', 246, 0, 0, 0, 0)
call('module', 313, 0, b'', 0)
call('handle', 304, 0, 0, 0)
call('io_uring', 425, 1, 0)
call('keyctl', 250, 0, 0)
call('reboot', 169, 0xfee1dead, 672274793, 0x1234567, 0)
call('x32-mount', 0x40000000 | 165, b'/', b'/tmp', b'', 4096, 0)
call('vsock', 41, 40, 1, 0)
call('syslog', 103, 3, ctypes.create_string_buffer(64), 64)
"#;

#[test]
fn system_calls_that_lead_out_are_refused() {
    if !possible() || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let lab = Lab::new();
    let instance = spec("");
    lab.run(&instance);
    let line = format!("python3 - <<'END'\n{SYSTEM_CALLS}\nEND");
    let (status, out, err) = lab.shell(&instance.id, &line);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(out.lines().count(), 17, "{out}");
    for line in out.lines() {
        let (name, answer) = line.split_once(' ').unwrap();
        let want = match name {
            "clone3" | "x32-mount" => "Function not implemented",
            _ => "Operation not permitted",
        };
        assert_eq!(answer, want, "{name}");
    }
}

/// Asks rtnetlink for the links of the network namespaces that this one has numbers for, and for the news
/// of all of them.
const OTHER_NETWORKS: &str = r#"
import os, socket, struct
def socket_of_route():
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
def links(attributes):
    route = socket_of_route()
    body = struct.pack('BBHiII', 0, 0, 0, 0, 0, 0) + attributes
    route.send(struct.pack('IHHII', 16 + len(body), 18, 0x301, 1, 0) + body)
    answer = route.recv(65536)
    kind = struct.unpack_from('H', answer, 4)[0]
    # An error, or the end of a list that holds nothing.
    return os.strerror(-struct.unpack_from('i', answer, 16)[0]) if kind in (2, 3) else 'WORKED'
print('own', links(b''))
# The first look has given the link's peer the number 0.
print('peer', links(struct.pack('HHi', 8, 46, 0)))
try:
    socket_of_route().setsockopt(270, 8, 1)
    print('news WORKED')
except OSError as error:
    print('news', error.strerror)
"#;

#[test]
fn the_network_behind_its_link_is_out_of_reach() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let (instance, router) = (spec(""), network());
    let at = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        netns(&instance).as_raw_fd()
    );
    let linked = lab::within(&router, move || {
        let veth = [
            "link", "add", "i0", "type", "veth", "peer", "name", "eth0", "netns",
        ];
        Command::new("ip").args(veth).arg(at).status()
    });
    assert!(linked.unwrap().success());
    lab.run(&instance);
    let line = format!("python3 - <<'END'\n{OTHER_NETWORKS}\nEND");
    let (status, out, err) = lab.shell(&instance.id, &line);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(
        out,
        "own WORKED\npeer Permission denied\nnews Operation not permitted\n"
    );
}

#[test]
fn the_host_is_out_of_reach() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    // A secret where only Lath's own files are, and one in a home directory.
    let secret = lab.path().join("data/secret");
    std::fs::write(&secret, "s3cret").unwrap();
    let instance = spec("");
    lab.run(&instance);
    let base = lab.path().display().to_string();
    let fails = |what: &str, line: &str| {
        let (status, out, err) = lab.shell(&instance.id, line);
        assert_ne!(status, 0, "{what}: {out}{err}");
    };
    for (what, line) in [
        ("/run", "ls -A /run | grep -v '^lock$' | grep .".into()),
        ("Lath's files", format!("ls {base}")),
        ("mount", "mount -t tmpfs x /mnt".into()),
        ("remount", "mount -o remount,rw /proc/sys".into()),
        (
            "kernel setting",
            "echo x > /proc/sys/kernel/hostname".into(),
        ),
        (
            "core pattern",
            "echo x > /proc/sys/kernel/core_pattern".into(),
        ),
        ("sysrq", "echo b > /proc/sysrq-trigger".into()),
        (
            "sysfs",
            "echo x > /sys/kernel/uevent_helper || touch /sys/x".into(),
        ),
        ("kernel memory", "test -s /proc/kcore".into()),
        (
            "node for a disk",
            "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk".into(),
        ),
        (
            "disk",
            "ls /dev/vda /dev/sda /dev/nvme0n1 /dev/mem /dev/kmsg 2>/dev/null | grep .".into(),
        ),
        ("own binary", "cat /proc/1/exe > /dev/null".into()),
        ("first process's root", "ls /proc/1/root/".into()),
        ("first process's files", "readlink /proc/1/fd/* ".into()),
        ("module", "modprobe dummy || insmod /tmp/x.ko".into()),
        ("clock", "date -s '2001-01-01'".into()),
        ("control groups", "mkdir /sys/fs/cgroup/x".into()),
        (
            "killing the first process",
            "kill -9 1; sleep 0.2; kill -0 1 && exit 9".into(),
        ),
        ("passwords", "grep -v ':\\*:' /etc/shadow".into()),
        ("host keys", "ls /etc/ssh/ssh_host_*_key".into()),
        // The inodes are the host's.
        ("mode of a device", "chmod 640 /dev/full".into()),
        ("mode of a mask", "chmod 640 /proc/kallsyms".into()),
        ("mode of a kernel file", "chmod 640 /proc/misc".into()),
        (
            "kernel debugging",
            "test -w /proc/dynamic_debug/control && echo '' > /proc/dynamic_debug/control".into(),
        ),
        ("homes", "ls -A /home | grep .".into()),
        (
            "root's home",
            "ls -A /root | grep -v '^.ssh$' | grep .".into(),
        ),
        ("/tmp", "ls -A /tmp | grep .".into()),
    ] {
        fails(what, &line);
    }
    let left = nix::unistd::gethostname().unwrap();
    assert_ne!(left, "ip-10-0-1-10");
}

#[test]
fn links_left_in_the_root_lead_nowhere_at_the_next_boot() {
    if !possible() {
        return;
    }
    let lab = Lab::new();
    let outside = tempfile::tempdir().unwrap();
    let to = outside.path().display();
    let mut instance = spec("");
    lab.run(&instance);
    // Every folder that the next boot wants to make or mount over, turned into a way out.
    let line = format!(
        "cd / && rm -rf var srv home mnt tmp 2>/dev/null; for d in srv home mnt tmp; do \
         rm -rf $d; ln -s {to} $d; done; mv var var2; ln -s {to} var; \
         rm -rf etc/ssl etc/ssh; ln -s {to} etc/ssl; ln -s {to} etc/ssh; \
         rm etc/resolv.conf; ln -s {to}/resolv etc/resolv.conf; mkfifo f; rm etc/hostname; mv f etc/hostname"
    );
    lab.shell(&instance.id, &line);
    instance.boot = 2;
    lab.run(&instance);
    lab.await_console(&instance.id, "boot 2\n");
    let (status, out, err) = lab.shell(
        &instance.id,
        "test -L /var || ls /var/lib; cat /etc/resolv.conf",
    );
    assert_eq!(status, 0, "{out}{err}");
    let reached: Vec<_> = std::fs::read_dir(outside.path())
        .unwrap()
        .flatten()
        .collect();
    assert!(reached.is_empty(), "{reached:?}");
}
