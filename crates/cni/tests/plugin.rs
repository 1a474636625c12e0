//! The plugin as a container runtime calls it, in network namespaces of the test's own. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed preparation fails the test; a skipped one is said aloud"
)]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};

/// A node: a network namespace, and a directory for pods' namespaces and leases.
struct Node {
    directory: tempfile::TempDir,
    namespace: File,
}

struct Answer {
    success: bool,
    value: Value,
}

/// A network namespace of its own, made on a thread that ends.
fn new_namespace() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let enter = || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(enter).join().unwrap()
    })
}

/// `None` without root, which is said aloud.
fn node() -> Option<Node> {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var_os("LATH_REQUIRE_ROOT_TESTS").is_none(),
            "root is required"
        );
        println!("SKIPPED: pods need network namespaces, which need root");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let namespace = new_namespace();
    // A node has an address of its own, which its packets to pods come from.
    inside(&namespace, || {
        output("ip", &["link", "set", "lo", "up"]);
        output("ip", &["address", "add", "10.9.1.10/32", "dev", "lo"]);
    });
    Some(Node {
        directory,
        namespace,
    })
}

impl Node {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A pod's namespace, kept by a descriptor of this process.
    fn pod(&self) -> (File, PathBuf) {
        use std::os::fd::AsRawFd;
        let namespace = new_namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        (namespace, PathBuf::from(path))
    }

    fn configuration(&self) -> Value {
        json!({
            "cniVersion": "1.1.0", "name": "lath", "type": "lath-cni",
            "dataDir": self.path("leases"), "prefixes": ["10.9.1.64/28"], "prefixesFile": self.path("prefixes"),
            "mtu": 8500,
        })
    }

    fn call(
        &self,
        plugin: &Path,
        command: &str,
        container: &str,
        netns: Option<&Path>,
        configuration: &Value,
    ) -> Answer {
        let output = self
            .begin(plugin, command, container, netns, configuration)
            .wait_with_output()
            .unwrap();
        Answer {
            success: output.status.success(),
            value: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        }
    }

    fn begin(
        &self,
        plugin: &Path,
        command: &str,
        container: &str,
        netns: Option<&Path>,
        configuration: &Value,
    ) -> Child {
        inside(&self.namespace, || {
            let mut process = Command::new(plugin);
            process
                .env_clear()
                .env("CNI_COMMAND", command)
                .env("CNI_CONTAINERID", container)
                .env("CNI_IFNAME", "eth0")
                .env("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            if let Some(netns) = netns {
                process.env("CNI_NETNS", netns);
            }
            let mut child = process.spawn().unwrap();
            let input = configuration.to_string();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
            child
        })
    }

    fn ask(&self, command: &str, container: &str, netns: Option<&Path>) -> Answer {
        let plugin = PathBuf::from(env!("CARGO_BIN_EXE_lath-cni"));
        self.call(&plugin, command, container, netns, &self.configuration())
    }

    fn add(&self, container: &str, netns: &Path) -> String {
        let answer = self.ask("ADD", container, Some(netns));
        assert!(answer.success, "{}", answer.value);
        address(&answer.value)
    }

    fn links(&self) -> usize {
        inside(&self.namespace, || {
            let links = output("ip", &["-o", "link"]);
            links.lines().filter(|line| line.contains(": lc")).count()
        })
    }

    fn leases(&self) -> usize {
        let names = std::fs::read_dir(self.path("leases")).unwrap();
        names
            .filter(|it| {
                it.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("10.")
            })
            .count()
    }
}

fn address(value: &Value) -> String {
    let text = value["ips"][0]["address"].as_str().unwrap();
    text.strip_suffix("/32").unwrap().to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn pings(from: &File, to: &str) -> bool {
    inside(from, || {
        let ping = Command::new("ping")
            .args(["-c1", "-W5", to])
            .output()
            .unwrap();
        ping.status.success()
    })
}

#[test]
fn pods_reach_each_other_by_their_own_addresses() {
    let Some(node) = node() else { return };
    let ((first, first_path), (second, second_path)) = (node.pod(), node.pod());
    let one = node.add("one", &first_path);
    let two = node.add("two", &second_path);
    assert_ne!(one, two);
    assert!(pings(&first, &two));
    assert!(pings(&second, &one));
    assert!(pings(&node.namespace, &one));
    let mtu = inside(&first, || output("ip", &["-o", "link", "show", "eth0"]));
    assert!(mtu.contains("mtu 8500"), "{mtu}");
}

#[test]
fn each_operation_may_be_repeated() {
    let Some(node) = node() else { return };
    let (_pod, path) = node.pod();
    let address = node.add("one", &path);
    assert_eq!(node.add("one", &path), address);
    assert!(node.ask("CHECK", "one", Some(&path)).success);
    assert_eq!((node.links(), node.leases()), (1, 1));
    assert!(node.ask("DEL", "one", Some(&path)).success);
    assert!(node.ask("DEL", "one", Some(&path)).success);
    assert_eq!((node.links(), node.leases()), (0, 0));
    let check = node.ask("CHECK", "one", Some(&path));
    assert!(!check.success);
    assert_eq!(check.value["code"], 3);
}

#[test]
fn a_pod_that_is_gone_is_removed() {
    let Some(node) = node() else { return };
    let (pod, path) = node.pod();
    node.add("one", &path);
    drop(pod);
    assert!(node.ask("DEL", "one", None).success);
    assert_eq!((node.links(), node.leases()), (0, 0));
}

#[test]
fn add_repairs_what_a_killed_add_left() {
    let Some(node) = node() else { return };
    let (pod, path) = node.pod();
    let address = node.add("one", &path);
    inside(&pod, || output("ip", &["addr", "flush", "dev", "eth0"]));
    let check = node.ask("CHECK", "one", Some(&path));
    assert_eq!((check.success, &check.value["code"]), (false, &json!(3)));
    assert_eq!(node.add("one", &path), address);
    assert!(pings(&node.namespace, &address));
    assert!(node.ask("CHECK", "one", Some(&path)).success);
}

#[test]
fn a_full_prefix_says_so_and_goes_on_with_the_next() {
    let Some(node) = node() else { return };
    let pods: Vec<_> = (0..17).map(|_| node.pod()).collect();
    for (index, (_, path)) in pods.iter().take(16).enumerate() {
        node.add(&format!("pod{index}"), path);
    }
    let refused = node.ask("ADD", "pod16", Some(&pods[16].1));
    assert_eq!(
        (refused.success, &refused.value["code"]),
        (false, &json!(11)),
        "{}",
        refused.value
    );
    assert_eq!((node.links(), node.leases()), (16, 16));
    std::fs::write(node.path("prefixes"), r#"["10.9.1.80/28"]"#).unwrap();
    assert_eq!(node.add("pod16", &pods[16].1), "10.9.1.80");
}

#[test]
fn gc_keeps_only_what_the_runtime_knows() {
    let Some(node) = node() else { return };
    let ((_first, first), (_second, second)) = (node.pod(), node.pod());
    node.add("one", &first);
    node.add("two", &second);
    let mut configuration = node.configuration();
    configuration["cni.dev/valid-attachments"] = json!([{"containerID": "two", "ifname": "eth0"}]);
    let plugin = PathBuf::from(env!("CARGO_BIN_EXE_lath-cni"));
    assert!(node.call(&plugin, "GC", "", None, &configuration).success);
    assert!(node.call(&plugin, "GC", "", None, &configuration).success);
    assert_eq!((node.links(), node.leases()), (1, 1));
    assert!(node.ask("CHECK", "two", Some(&second)).success);
}

/// Killed at every point of their work that a fine step of time meets.
#[test]
fn what_a_killed_del_or_gc_left_goes_with_the_next() {
    let Some(node) = node() else { return };
    let plugin = PathBuf::from(env!("CARGO_BIN_EXE_lath-cni"));
    let mut configuration = node.configuration();
    let mut halves = 0;
    for round in 0..60 {
        let (_pod, path) = node.pod();
        let name = format!("pod{round}");
        configuration["runtimeConfig"]["portMappings"] =
            json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let added = node.call(&plugin, "ADD", &name, Some(&path), &configuration);
        assert!(added.success, "{}", added.value);
        configuration["cni.dev/valid-attachments"] = json!([]);
        let command = ["DEL", "GC"][round % 2];
        let mut killed = node.begin(&plugin, command, &name, Some(&path), &configuration);
        std::thread::sleep(Duration::from_micros(200 * round as u64));
        killed.kill().unwrap();
        killed.wait().unwrap();
        halves += usize::from(node.links() + node.leases() == 1);
        assert!(
            node.call(&plugin, command, &name, Some(&path), &configuration)
                .success
        );
        assert_eq!(
            (node.links(), node.leases()),
            (0, 0),
            "{command} after {round}"
        );
        let rules = inside(&node.namespace, || output("nft", &["list", "ruleset"]));
        assert!(!rules.contains("8080"), "{rules}");
    }
    println!("{halves} were killed between the link and the lease");
}

#[test]
fn nothing_stays_when_a_namespace_is_missing() {
    let Some(node) = node() else { return };
    let answer = node.ask("ADD", "one", Some(Path::new("/nowhere")));
    assert_eq!((answer.success, &answer.value["code"]), (false, &json!(3)));
    assert_eq!(node.links(), 0);
}

#[test]
fn pods_come_and_go() {
    let Some(node) = node() else { return };
    let mut last = String::new();
    for round in 0..200 {
        let (_pod, path) = node.pod();
        let address = node.add(&format!("pod{round}"), &path);
        assert_ne!(address, last, "an address rests before it is given again");
        assert!(node.ask("DEL", &format!("pod{round}"), Some(&path)).success);
        last = address;
    }
    assert_eq!((node.links(), node.leases()), (0, 0));
}

fn answers(from: &File, address: &str) -> bool {
    inside(from, || {
        let connect = |it: &str| {
            std::net::TcpStream::connect_timeout(&it.parse().unwrap(), Duration::from_secs(10))
        };
        connect(address).is_ok()
    })
}

/// Whether a connection from an address of the namespace succeeds.
fn connects_from(from: &str, to: &str) -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    let address = |it: &str| SockaddrIn::from(it.parse::<std::net::SocketAddrV4>().unwrap());
    let (family, kind) = (AddressFamily::Inet, SockType::Stream);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(socket.as_raw_fd(), &address(&format!("{from}:0"))).unwrap();
    connect(socket.as_raw_fd(), &address(to)).is_ok()
}

#[test]
fn ports_of_the_node_lead_to_pods() {
    let Some(node) = node() else { return };
    let ((pod, path), (other, other_path)) = (node.pod(), node.pod());
    let plugin = PathBuf::from(env!("CARGO_BIN_EXE_lath-cni"));
    let listener = inside(&pod, || std::net::TcpListener::bind("0.0.0.0:80").unwrap());
    let mut configuration = node.configuration();
    let mapped = |port: u16| json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]});
    let tables = || inside(&node.namespace, || output("nft", &["list", "tables"]));
    configuration["runtimeConfig"] = mapped(8080);
    let call = |command: &str, container: &str, path: &Path, configuration: &Value| {
        node.call(&plugin, command, container, Some(path), configuration)
    };
    for _ in 0..2 {
        let added = call("ADD", "one", &path, &configuration);
        assert!(added.success, "{}", added.value);
    }
    let taken = call("ADD", "two", &other_path, &configuration);
    assert_eq!((taken.success, &taken.value["code"]), (false, &json!(7)));
    configuration["runtimeConfig"] = mapped(0);
    let added = call("ADD", "two", &other_path, &configuration);
    assert!(added.success, "{}", added.value);
    assert!(
        answers(&other, "10.9.1.10:8080"),
        "another pod by the node's address"
    );
    assert!(
        answers(&node.namespace, "10.9.1.10:8080"),
        "the node itself"
    );
    assert!(!answers(&node.namespace, "127.0.0.1:8080"));
    assert!(
        inside(&node.namespace, || connects_from(
            "10.9.1.10",
            "127.0.0.1:8080"
        )),
        "the node itself, by 127.0.0.1 from its own address"
    );
    assert!(!answers(&other, "10.9.1.10:80"));
    assert!(tables().contains("lath-cni"));
    drop(listener);
    assert!(node.ask("DEL", "one", Some(&path)).success);
    assert!(!tables().contains("lath-cni"));
    configuration["runtimeConfig"] = mapped(8080);
    let again = call("ADD", "one", &path, &configuration);
    assert!(again.success, "{}", again.value);
    configuration["cni.dev/valid-attachments"] = json!([]);
    assert!(call("GC", "", &path, &configuration).success);
    assert!(!tables().contains("lath-cni"));
}

#[test]
fn loopback_is_a_plugin_too() {
    let Some(node) = node() else { return };
    let plugin = node.path("loopback");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lath-cni"), &plugin).unwrap();
    let (pod, path) = node.pod();
    let answer = node.call(
        &plugin,
        "ADD",
        "one",
        Some(&path),
        &json!({"cniVersion": "0.4.0", "name": "lo"}),
    );
    assert!(answer.success, "{}", answer.value);
    assert_eq!(answer.value["cniVersion"], "0.4.0");
    assert!(pings(&pod, "127.0.0.1"));
}
