//! What a node runs: containerd, kubelet and kube-proxy in an instance that has a user namespace of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use lath_clock::Clock;
use lath_feed::{ClusterNode, ControlPlane, Instance};
use lath_instance::{File, HostDirectory, Setup, SharedFile, Unit};
use serde_json::{Value, json};

use crate::files::{kubeconfig, public, shown};
use crate::leaves::{CERTIFICATES, Needed, OF_NODES};
use crate::pki::{Authority, PkiError};
use crate::{Binaries, PROGRAMS_PLACE, REGISTRY_PORT, runtime_program};

pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
const CONTAINERD_CONFIGURATION: &str = "/etc/kubernetes/containerd.toml";
/// The directory of [`PREFIXES`], which is written from outside while the node runs.
pub const LATH_DIRECTORY: &str = "/etc/lath";
/// The blocks from which pods get addresses: a JSON list.
pub const PREFIXES: &str = "prefixes.json";
/// Which pods have an interface of their own: written from outside beside [`PREFIXES`].
pub const BRANCHES: &str = "branches.json";
/// Where volumes of claims are, each a directory: on the host's file system, and kept while the instance is.
pub const VOLUMES: &str = "/var/lib/lath-volumes";
/// The label by which a volume knows its instance: names of nodes follow from addresses, which are used again.
pub const INSTANCE_LABEL: &str = "lath.dev/instance";
/// The image that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";

/// A node, and what it has to be told.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// Its place in the cluster.
    pub membership: &'a ClusterNode,
    /// The cluster.
    pub plane: &'a ControlPlane,
    /// Its primary private address.
    pub address: Ipv4Addr,
    /// The region.
    pub region: &'a str,
    /// Lath's own program, which is the CNI plugin.
    pub lath: PathBuf,
}

impl Node<'_> {
    /// The node's name in its cluster: its private DNS name.
    pub fn name(&self) -> &str {
        &self.instance.hostname
    }

    /// By which a cluster knows the instance.
    pub fn provider_id(&self) -> String {
        provider_id(self.instance)
    }

    /// Everything that its kubelet says of it.
    fn labels(&self) -> Vec<(String, String)> {
        let metadata = &self.instance.metadata;
        let known = [
            ("topology.kubernetes.io/region", self.region.to_owned()),
            (
                "topology.kubernetes.io/zone",
                metadata.availability_zone.clone(),
            ),
            (
                "node.kubernetes.io/instance-type",
                metadata.instance_type.clone(),
            ),
            // As the driver of EBS says it, for classes with allowed topologies.
            (
                "topology.ebs.csi.aws.com/zone",
                metadata.availability_zone.clone(),
            ),
            (INSTANCE_LABEL, self.instance.id.to_string()),
            (
                "eks.amazonaws.com/nodegroup",
                self.membership.node_group.clone(),
            ),
        ];
        let known = known
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        let given = &self.membership.labels;
        let mut labels: Vec<_> = known.filter(|(key, _)| !given.contains_key(key)).collect();
        labels.extend(given.clone());
        labels
    }
}

/// By which clusters know an instance, such as `aws:///us-east-1a/i-0123456789abcdef0`.
pub fn provider_id(instance: &Instance) -> String {
    let zone = &instance.metadata.availability_zone;
    format!("aws:///{zone}/{}", instance.id)
}

/// All that a node gets, with certificates of this moment.
///
/// # Errors
/// When the cluster's keys are none, or the node's name is no name.
pub fn setup(node: &Node<'_>, binaries: &Binaries, clock: &Clock) -> Result<Setup, PkiError> {
    Ok(Setup {
        directories: vec![
            directory("/var/lib/containerd", false),
            directory("/var/lib/kubelet", true),
            directory("/var/lib/cni", false),
            directory(LATH_DIRECTORY, false),
            directory(CERTIFICATES, false),
            directory(VOLUMES, false),
        ],
        shared: vec![
            shared(&binaries.directory, PROGRAMS_PLACE),
            shared(&node.lath, "/opt/cni/bin/lath-cni"),
            shared(&node.lath, "/opt/cni/bin/loopback"),
        ],
        files: files(node, clock)?,
        units: vec![
            containerd(CONTAINERD_CONFIGURATION),
            kubelet(node),
            kube_proxy(),
        ],
        ..Setup::default()
    })
}

pub(crate) fn directory(path: &str, shared_mounts: bool) -> HostDirectory {
    HostDirectory {
        path: path.into(),
        mode: 0o755,
        shared_mounts,
    }
}

pub(crate) fn shared(source: &Path, path: &str) -> SharedFile {
    SharedFile {
        source: source.to_owned(),
        path: path.into(),
    }
}

/// Certificates of a node, which are renewed while it runs.
pub fn certificates(node: &Node<'_>) -> Vec<Needed> {
    let subject = format!("system:node:{}", node.name());
    let at: (&[&str], &[IpAddr]) = (&[node.name()], &[IpAddr::V4(node.address)]);
    let nodes = Some("system:nodes");
    vec![
        Needed::client("kubelet-client", &subject, nodes, OF_NODES),
        Needed::server("kubelet-server", &subject, at, OF_NODES),
        Needed::client("kube-proxy", "system:kube-proxy", None, OF_NODES),
    ]
}

/// The certificates of the authority, by the names of their files.
pub fn authorities(authority: &Authority) -> [(&'static str, &str); 1] {
    [("ca.crt", authority.certificate())]
}

fn files(node: &Node<'_>, clock: &Clock) -> Result<Vec<File>, PkiError> {
    let authority = Authority::open(&node.plane.keys, clock)?;
    let server = node.plane.addresses.first().copied();
    let server = format!("https://{}:443", server.unwrap_or(Ipv4Addr::LOCALHOST));
    let etc = |path: &str| PathBuf::from("/etc/kubernetes").join(path);
    let mut files = vec![
        public(
            Path::new(CERTIFICATES).join("ca.crt"),
            authority.certificate(),
        ),
        public(
            etc("kubelet.kubeconfig"),
            &kubeconfig(&server, CERTIFICATES, "kubelet-client"),
        ),
        public(
            etc("kube-proxy.kubeconfig"),
            &kubeconfig(&server, CERTIFICATES, "kube-proxy"),
        ),
        public(etc("kubelet.json"), &shown(&kubelet_configuration(node))),
        public(etc("kube-proxy.json"), &shown(&proxy_configuration(node))),
        public(CONTAINERD_CONFIGURATION.into(), &containerd_configuration()),
        images_from_lath(),
        network_by_lath("10-lath.conflist"),
    ];
    for needed in certificates(node) {
        files.push(needed.file(&authority)?);
    }
    Ok(files)
}

/// Images of any registry come from Lath's.
pub(crate) fn images_from_lath() -> File {
    public(
        "/etc/containerd/certs.d/_default/hosts.toml".into(),
        &format!(
            "[host.\"http://127.0.0.1:{REGISTRY_PORT}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        ),
    )
}

/// Lath's network plugin, in a file of that name: the first by name counts.
pub(crate) fn network_by_lath(name: &str) -> File {
    public(
        Path::new("/etc/cni/net.d").join(name),
        &shown(&json!({
            "cniVersion": "1.0.0",
            "name": "lath",
            "plugins": [{
                "type": "lath-cni",
                "prefixesFile": format!("{LATH_DIRECTORY}/{PREFIXES}"),
                "branchesFile": format!("{LATH_DIRECTORY}/{BRANCHES}"),
                "capabilities": {"portMappings": true, "io.kubernetes.cri.pod-annotations": true},
            }],
        })),
    )
}

fn kubelet_configuration(node: &Node<'_>) -> Value {
    let taints: Vec<Value> = node
        .membership
        .taints
        .iter()
        .filter_map(|it| taint(it))
        .collect();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{CERTIFICATES}/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{CERTIFICATES}/kubelet-server.pem"),
        "tlsPrivateKeyFile": format!("{CERTIFICATES}/kubelet-server.pem"),
        "clusterDNS": [node.plane.dns_address().to_string()],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 20,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        // Nodes see the host's disk. How full others make it is no reason to delete images that pods will pull again.
        "imageGCHighThresholdPercent": 98,
        "imageGCLowThresholdPercent": 95,
        "featureGates": {"KubeletInUserNamespace": true},
        "maxPods": node.membership.max_pods,
        "serializeImagePulls": false,
        "providerID": node.provider_id(),
        "registerWithTaints": taints,
        // What a pod on AWS may run while its node ends.
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
    })
}

/// `KEY=VALUE:EFFECT` as Kubernetes writes it.
pub fn taint(text: &str) -> Option<Value> {
    let (rest, effect) = text.rsplit_once(':')?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    Some(json!({"key": key, "value": value, "effect": effect}))
}

fn proxy_configuration(node: &Node<'_>) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node.name(),
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig"},
        // These settings are the host's.
        "conntrack": {
            "maxPerCore": 0, "min": 0,
            "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    })
}

pub(crate) fn containerd_configuration() -> String {
    let runc = runtime_program("runc").unwrap_or_else(|| "/usr/sbin/runc".into());
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
# Without it the process would live on and start no container; so it ends, and is begun again.
required_plugins = ["io.containerd.grpc.v1.cri"]
disabled_plugins = [
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "{}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"#,
        runc.display()
    )
}

pub(crate) fn containerd(configuration: &str) -> Unit {
    let program = |name: &str| {
        let found = runtime_program(name);
        let found = found.unwrap_or_else(|| Path::new("/usr/bin").join(name));
        found.display().to_string()
    };
    Unit {
        name: "containerd".to_owned(),
        command: vec![program("containerd"), format!("--config={configuration}")],
        environment: Vec::new(),
        ready: Some(vec![
            program("ctr"),
            format!("--address={SOCKET}"),
            "version".to_owned(),
        ]),
        once: false,
        stop_seconds: 5,
    }
}

fn kubelet(node: &Node<'_>) -> Unit {
    let labels: Vec<String> = node
        .labels()
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Unit {
        name: "kubelet".to_owned(),
        command: vec![
            format!("{PROGRAMS_PLACE}/kubelet"),
            "--config=/etc/kubernetes/kubelet.json".to_owned(),
            "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig".to_owned(),
            format!("--hostname-override={}", node.name()),
            format!("--node-ip={}", node.address),
            format!("--node-labels={}", labels.join(",")),
        ],
        environment: Vec::new(),
        ready: None,
        once: false,
        stop_seconds: 5,
    }
}

fn kube_proxy() -> Unit {
    Unit {
        name: "kube-proxy".to_owned(),
        command: vec![
            format!("{PROGRAMS_PLACE}/kube-proxy"),
            "--config=/etc/kubernetes/kube-proxy.json".to_owned(),
        ],
        environment: Vec::new(),
        ready: None,
        once: false,
        stop_seconds: 2,
    }
}
