//! A node runs a control plane of the real programs: it gets ready, is reached from outside with a token of AWS's own
//! client, is found again by the next node, and goes.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lath_dns::{AuthorityConfig, Upstreams};
use lath_feed::stream::Source;
use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use lath_feed::{
    Addon, Attachment, CallerBook, Capacity, ClusterAccess, ClusterLog, ClusterNode, Condition,
    ControlPlane, Hidden, InstallationKeys, Instance, InstanceKind, InstanceMetadata, Interface,
    InterfaceAddress, ManagedWorkload, NamespaceOrigin, Observed, Peer, Power, PublicEndpoint,
    RootSource, Route, RouteTable, RouteTarget, SecurityGroup, SecurityRule, Snapshot, Subnet,
    Traffic, Vpc,
};
use lath_kubernetes::{Binaries, pki};
use lath_model::id::{
    InstanceId, NetworkInterfaceId, RouteTableId, SecurityGroupId, SubnetId, VpcId,
};
use lath_model::{ManagedId, ManagedKind, Timestamp, WorkloadId};
use lath_node::{Api, Host, Node, NodeConfig, Place};
use lath_proxy::ProxyConfig;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(120);
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|it| it == lath_instance::LAUNCHER_ARGUMENT)
    {
        return lath_instance::instance_init_main(arguments);
    }
    // In nodes it is the network plugin too.
    if let Some(code) = lath_cni::called_as_plugin() {
        return code;
    }
    let lists = std::env::args().any(|it| it == "--list");
    if lists {
        return ExitCode::SUCCESS;
    }
    let (Some(directory), true) = (programs(), nix::unistd::geteuid().is_root()) else {
        eprintln!("SKIPPED: no root, or no programs of Kubernetes");
        return ExitCode::SUCCESS;
    };
    if std::env::var_os(lath_kubernetes::binaries::VARIABLE).is_none() {
        let mut again = Command::new("/proc/self/exe");
        let status = again
            .env(lath_kubernetes::binaries::VARIABLE, directory)
            .status();
        let is_good = status.unwrap().success();
        return if is_good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    run("mount", &["--make-rprivate", "/"]);
    run("ip", &["link", "set", "lo", "up"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(a_cluster_lives());
    runtime.block_on(pods_run_on_nodes());
    eprintln!("ok");
    ExitCode::SUCCESS
}

fn programs() -> Option<PathBuf> {
    if let Ok(found) = Binaries::find() {
        return Some(found.directory);
    }
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = std::fs::read_dir(home.join(".cache/lath/kubernetes")).ok()?;
    cache
        .flatten()
        .find_map(|it| Some(Binaries::open(&it.path()).ok()?.directory))
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    output
}

fn cluster() -> ManagedId {
    ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap()
}

fn snapshot(version: u64) -> Snapshot {
    let id = |prefix: &str| format!("{prefix}-0123456789abcdef0");
    let vpc: VpcId = id("vpc").parse().unwrap();
    let table: RouteTableId = id("rtb").parse().unwrap();
    let subnet: SubnetId = id("subnet").parse().unwrap();
    let group: SecurityGroupId = id("sg").parse().unwrap();
    let interface: NetworkInterfaceId = id("eni").parse().unwrap();
    let local = Route {
        destination: "10.0.0.0/16".parse().unwrap(),
        target: RouteTarget::Local,
    };
    let anything = |traffic| SecurityRule {
        traffic,
        peer: Peer::Cidr("0.0.0.0/0".parse().unwrap()),
    };
    let mut snapshot = Snapshot {
        version,
        region: "us-east-1".into(),
        account: "123456789012".into(),
        topology: Arc::new(lath_feed::Topology::single("us-east-1")),
        ..Snapshot::default()
    };
    let its = Interface {
        id: interface.clone(),
        subnet: subnet.clone(),
        mac: "02:00:0a:00:01:05".into(),
        addresses: vec![InterfaceAddress {
            private: "10.0.1.5".parse().unwrap(),
            public: None,
        }],
        security_groups: [group.clone()].into(),
        source_dest_check: true,
        attachment: Some(Attachment {
            workload: WorkloadId::Managed(cluster()),
            device: 0,
        }),
        prefixes: Vec::new(),
        branches: Vec::new(),
    };
    let own = Vpc {
        id: vpc.clone(),
        owner: "123456789012".into(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        dns_support: true,
        dns_hostnames: true,
        subnets: [(
            subnet.clone(),
            Subnet {
                id: subnet,
                cidr: "10.0.1.0/24".parse().unwrap(),
                route_table: table.clone(),
                availability_zone: "us-east-1a".into(),
            },
        )]
        .into(),
        route_tables: [(
            table.clone(),
            RouteTable {
                id: table,
                routes: vec![local],
            },
        )]
        .into(),
        internet_gateway: None,
        interfaces: [(interface, its)].into(),
        lattice: None,
        nat_gateways: BTreeMap::new(),
        endpoints: BTreeMap::new(),
    };
    snapshot.vpcs.insert(vpc.clone(), Arc::new(own));
    let guards = SecurityGroup {
        id: group.clone(),
        name: "eks-cluster-sg-blue".into(),
        vpc: vpc.clone(),
        ingress: vec![anything(Traffic::All)],
        egress: vec![anything(Traffic::All)],
    };
    snapshot.security_groups.insert(group, Arc::new(guards));
    let workload = ManagedWorkload {
        id: cluster(),
        vpc,
        namespace: NamespaceOrigin::Fabric,
    };
    snapshot.workloads.insert(cluster(), Arc::new(workload));
    snapshot.callers = Arc::new(CallerBook {
        installation: Some(InstallationKeys {
            root_id: KEY.into(),
            root_secret: Hidden(SECRET.into()),
            sealing: Hidden(String::new()),
        }),
        ..CallerBook::default()
    });
    snapshot
}

fn plane() -> ControlPlane {
    ControlPlane {
        id: cluster(),
        name: "blue".into(),
        arn: "arn:aws:eks:us-east-1:123456789012:cluster/blue".into(),
        version: "1.37".into(),
        boot: 1,
        addresses: vec!["10.0.1.5".parse().unwrap()],
        service_cidr: "172.20.0.0/16".parse().unwrap(),
        keys: pki::generate().unwrap(),
        issuer: "https://oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
            .into(),
        public_endpoint: Some(PublicEndpoint {
            listen: "127.0.0.1:16443".parse().unwrap(),
            cidrs: vec!["0.0.0.0/0".parse().unwrap()],
        }),
        logging: [
            ClusterLog::Api,
            ClusterLog::Audit,
            ClusterLog::Authenticator,
            ClusterLog::ControllerManager,
            ClusterLog::Scheduler,
        ]
        .into(),
        access: ClusterAccess {
            config_map_counts: true,
            creator: Some("arn:aws:iam::123456789012:root".into()),
            ..ClusterAccess::default()
        },
        addons: BTreeMap::new(),
        pod_identities: Vec::new(),
        unreachable_seconds: None,
        identity_provider: None,
        scales: false,
    }
}

fn config(directory: &Path) -> NodeConfig {
    NodeConfig {
        data_dir: directory.join("data"),
        images: directory.join("images"),
        image_sources: lath_registry::Sources::default(),
        run_dir: directory.join("run"),
        owner: "clusters".into(),
        proxy: ProxyConfig {
            threads: 1,
            ..ProxyConfig::default()
        },
        upstreams: Upstreams::host(),
        place: Place::alone("us-east-1"),
        api_in_vpcs: false,
        authority: AuthorityConfig::default(),
        orders: lath_drill::order::Orders::of(&directory.join("data")),
    }
}

/// The images that the tests of clusters make.
fn images() -> Option<PathBuf> {
    let named = std::env::var_os("LATH_KUBERNETES_IMAGES").map(PathBuf::from);
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = || {
        let cache = std::fs::read_dir(home.join(".cache/lath/kubernetes-images")).ok()?;
        let mut complete = cache.flatten().map(|it| it.path());
        complete.find(|it| it.join("pause.tar").is_file())
    };
    named.or_else(cache)
}

const INSTANCES: [(&str, &str, &str); 2] = [
    ("i-0123456789abcdef0", "10.0.1.10", "10.0.1.32/28"),
    ("i-0123456789abcdef1", "10.0.1.11", "10.0.1.48/28"),
];

fn name_of(address: &str) -> String {
    format!("ip-{}.ec2.internal", address.replace('.', "-"))
}

/// A cluster with its nodes; the second one may be on its way out.
fn with_nodes(version: u64, plane: &ControlPlane, draining: bool, count: usize) -> Snapshot {
    let mut snapshot = snapshot(version);
    snapshot
        .control_planes
        .insert(cluster(), Arc::new(plane.clone()));
    let (vpc, mut own) = snapshot
        .vpcs
        .iter()
        .next()
        .map(|(id, it)| (id.clone(), Vpc::clone(it)))
        .unwrap();
    let first = own.interfaces.values().next().unwrap().clone();
    for (index, (id, address, prefix)) in INSTANCES.iter().take(count).enumerate() {
        let instance: InstanceId = id.parse().unwrap();
        let interface: NetworkInterfaceId =
            format!("eni-0123456789abcde{index:02x}").parse().unwrap();
        let mut its = first.clone();
        its.id = interface.clone();
        its.mac = format!("02:00:0a:00:02:{index:02x}");
        its.addresses[0].private = address.parse().unwrap();
        its.attachment = Some(Attachment {
            workload: WorkloadId::Instance(instance.clone()),
            device: 0,
        });
        its.prefixes = vec![prefix.parse().unwrap()];
        own.interfaces.insert(interface, its);
        let node = Instance {
            id: instance.clone(),
            vpc: vpc.clone(),
            power: Power::On,
            boot: 1,
            root: RootSource::Host,
            capacity: Capacity::default(),
            hostname: name_of(address),
            resource_name: None,
            user_data: Vec::new(),
            metadata: InstanceMetadata {
                image: "ami-0123456789abcdef0".parse().unwrap(),
                instance_type: "t3.medium".into(),
                reservation: "r-0123456789abcdef0".parse().unwrap(),
                launch_index: 0,
                launched_at: Timestamp::default(),
                key: None,
                availability_zone: "us-east-1a".into(),
                tags: None,
                tokens_required: false,
                hop_limit: 1,
                enabled: true,
                profile: None,
            },
            kind: InstanceKind::Node,
            cluster: Some(ClusterNode {
                cluster: cluster(),
                node_group: "workers".into(),
                labels: [("team".to_owned(), "shop".to_owned())].into(),
                taints: Vec::new(),
                max_pods: 14,
                draining: draining && index == 1,
            }),
        };
        snapshot.instances.insert(instance, Arc::new(node));
    }
    snapshot.vpcs.insert(vpc, Arc::new(own));
    snapshot
}

const DEPLOYMENT: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "containers": [{"name": "nginx", "image": "nginx:latest", "command": ["/bin/sh", "-c",
                "echo hello > /usr/share/nginx/html/index.html && exec nginx -g 'daemon off;'"]}]}}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
     "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": {
        "containers": [{"name": "curl", "image": "curlimages/curl:latest", "command": ["sleep", "3600"]}]}}]}"#;

async fn pods_run_on_nodes() {
    let Some(images) = images() else {
        eprintln!("SKIPPED: no images (conformance/kubernetes/images/build.py makes them)");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let store = lath_registry::Images::open(directory.path().join("images")).unwrap();
    for archive in std::fs::read_dir(images).unwrap().flatten() {
        store.load(&archive.path(), None).unwrap();
    }
    let mut plane = plane();
    let addon = Addon {
        version: "v1.15.0-eksbuild.1".into(),
        configuration: None,
    };
    plane.addons.insert("coredns".into(), addon);
    let streams = Arc::<Streams>::default();
    let begun = Instant::now();
    let mut running = start(directory.path(), &with_nodes(1, &plane, false, 2), &streams).await;
    let nodes = |observed: &Observed| {
        let seen = observed.clusters.get(&cluster());
        seen.map(|it| it.nodes.values().filter(|it| it.ready).count())
    };
    wait_for(&mut running, "nodes get ready", |it| nodes(it) == Some(2)).await;
    eprintln!("nodes ready after {:?}", begun.elapsed());

    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &plane.keys.authority).unwrap();
    let file = directory.path().join("web.json");
    std::fs::write(&file, DEPLOYMENT).unwrap();
    let ask = |arguments: &[&str]| {
        let answer = kubectl(&ca, arguments, "blue");
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        (
            answer.status.success(),
            format!("{text}{}", String::from_utf8_lossy(&answer.stderr)),
        )
    };
    let (made, text) = ask(&["apply", "-f", file.to_str().unwrap()]);
    assert!(made, "{text}");
    let (done, text) = ask(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    let (_, pods) = ask(&["get", "pods", "-A", "-o", "wide"]);
    let (_, events) = ask(&["get", "events", "-A"]);
    assert!(
        done,
        "{text}
{pods}
{events}"
    );
    eprintln!("pods ready after {:?}", begun.elapsed());
    let (done, text) = ask(&[
        "-n",
        "kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=90s",
    ]);
    assert!(done, "{text}");
    let (done, text) = ask(&[
        "wait",
        "--for=condition=Ready",
        "pod/client",
        "--timeout=60s",
    ]);
    assert!(done, "{text}");
    // Names of the cluster, addresses of services, logs and exec: through every part.
    let end = Instant::now() + PATIENCE;
    loop {
        let (_, text) = ask(&[
            "exec",
            "client",
            "--",
            "curl",
            "-sS",
            "-m",
            "5",
            "http://web.default.svc.cluster.local/",
        ]);
        if text.contains("hello") {
            break;
        }
        assert!(Instant::now() < end, "{text}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (_, logs) = ask(&["logs", "deployment/web"]);
    assert!(logs.contains("GET /") || !logs.contains("rror"), "{logs}");
    let (_, labels) = ask(&[
        "get",
        "nodes",
        "-L",
        "team,topology.kubernetes.io/zone,eks.amazonaws.com/nodegroup",
    ]);
    eprintln!("{labels}{pods}");
    assert_eq!(labels.matches("us-east-1a").count(), 2, "{labels}");

    // One leaves: its pods go elsewhere, then it goes.
    running
        .say
        .send_replace(Arc::new(with_nodes(2, &plane, true, 2)));
    let leaving: InstanceId = INSTANCES[1].0.parse().unwrap();
    wait_for(&mut running, "it is drained", |it| {
        let seen = it
            .clusters
            .get(&cluster())
            .and_then(|it| it.nodes.get(&leaving));
        seen.is_some_and(|it| it.drained)
    })
    .await;
    running
        .say
        .send_replace(Arc::new(with_nodes(3, &plane, false, 1)));
    let end = Instant::now() + PATIENCE;
    while ask(&["get", "node", &name_of(INSTANCES[1].1)]).0 {
        assert!(Instant::now() < end, "its node stays");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    running.node.shutdown(Duration::ZERO, false).await.unwrap();
}

/// The streams of logs that arrived.
#[derive(Default)]
struct Streams(Mutex<BTreeSet<String>>);

impl Sink for Streams {
    fn access_log(&self, _record: AccessLog) {}

    fn log_lines(&self, lines: LogLines) {
        assert_eq!(lines.group, "/aws/eks/blue/cluster");
        let (component, life) = lines.stream.rsplit_once('-').unwrap();
        assert_eq!(life.len(), 32);
        self.0.lock().unwrap().insert(component.to_owned());
    }

    fn metric(&self, _sample: MetricSample) {}
}

/// No test here calls AWS.
struct NoApi;

#[async_trait::async_trait]
impl Api for NoApi {
    async fn serve(
        &self,
        _listener: tokio::net::TcpListener,
        _vpc: VpcId,
        _acceptor: lath_net::accept::Acceptor,
        stop: tokio_util::sync::CancellationToken,
    ) {
        stop.cancelled().await;
    }

    async fn ask(
        &self,
        _request: http::Request<bytes::Bytes>,
        _from: (VpcId, std::net::IpAddr),
    ) -> http::Response<bytes::Bytes> {
        let mut dead = http::Response::default();
        *dead.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        dead
    }
}

/// A node and what it says.
struct Running {
    node: Node,
    say: watch::Sender<Arc<Snapshot>>,
    observed: watch::Receiver<Arc<Observed>>,
}

async fn start(directory: &Path, snapshot: &Snapshot, streams: &Arc<Streams>) -> Running {
    let host = Host::open(config(directory)).await.unwrap();
    let (say, snapshots) = watch::channel(Arc::new(snapshot.clone()));
    let (tell, observed) = watch::channel(Arc::<Observed>::default());
    let (_, source) = watch::channel(Source::Control);
    let (sink, api) = (Arc::clone(streams) as _, Arc::new(NoApi));
    let node = Node::start(host, snapshots, tell, sink, source, api).unwrap();
    Running {
        node,
        say,
        observed,
    }
}

async fn wait_for(running: &mut Running, what: &str, is_so: impl Fn(&Observed) -> bool) {
    let waited = running.observed.wait_for(|it| is_so(it));
    let waited = tokio::time::timeout(PATIENCE, waited).await.map(drop);
    assert!(
        waited.is_ok(),
        "{what}: {:?}",
        running.observed.borrow().clusters
    );
}

fn is_ready(observed: &Observed) -> bool {
    let seen = observed.clusters.get(&cluster());
    seen.is_some_and(|it| matches!(it.condition, Condition::Ready { .. }))
}

/// The processes of a program in a network namespace.
fn pids(program: &str, place: &Path) -> BTreeSet<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = format!("/usr/local/lib/kubernetes/{program}");
        line.starts_with(program.as_bytes()) && namespace(*pid).as_deref() == Some(place)
    };
    numbers.filter(is_it).collect()
}

fn namespace(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

async fn a_cluster_lives() {
    let directory = tempfile::tempdir().unwrap();
    let plane = plane();
    let mut wanted = snapshot(1);
    wanted
        .control_planes
        .insert(cluster(), Arc::new(plane.clone()));
    let streams = Arc::<Streams>::default();
    let begun = Instant::now();
    let mut running = start(directory.path(), &wanted, &streams).await;
    wait_for(&mut running, "it gets ready", is_ready).await;
    eprintln!("ready after {:?}", begun.elapsed());
    let known = running.observed.borrow().clusters[&cluster()].clone();
    assert_eq!(known.version.as_deref(), Some("v1.37.2"));

    // As kubectl does: a token from AWS's client, which no server was asked for.
    let ca = directory.path().join("ca.crt");
    std::fs::write(&ca, &plane.keys.authority).unwrap();
    let asked = kubectl(&ca, &["auth", "whoami", "--output=json"], "blue");
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success(), "{asked:?}");
    assert!(
        text.contains("kubernetes-admin") && text.contains("system:masters"),
        "{text}"
    );
    let asked = kubectl(&ca, &["get", "namespaces"], "green");
    assert!(
        !asked.status.success(),
        "a token of another cluster: {asked:?}"
    );

    let components = [
        "authenticator",
        "kube-apiserver",
        "kube-apiserver-audit",
        "kube-controller-manager",
        "kube-scheduler",
    ];
    let end = Instant::now() + PATIENCE;
    while !components.iter().eq(streams.0.lock().unwrap().iter()) {
        assert!(Instant::now() < end, "{:?}", streams.0.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // The next node finds the processes, and makes the sockets again.
    let pin = std::fs::File::open(directory.path().join("run/netns/control-plane:blue")).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&pin.metadata().unwrap());
    let place = PathBuf::from(format!("net:[{inode}]"));
    drop(pin);
    let before = pids("kube-apiserver", &place);
    assert_eq!(before.len(), 1);
    running.node.shutdown(Duration::ZERO, true).await.unwrap();
    let mut running = start(directory.path(), &wanted, &streams).await;
    wait_for(&mut running, "it is found again", is_ready).await;
    assert_eq!(pids("kube-apiserver", &place), before);
    let asked = kubectl(&ca, &["get", "namespaces"], "blue");
    assert!(asked.status.success(), "{asked:?}");

    // A new boot starts the processes again, with what etcd knows.
    let made = kubectl(&ca, &["create", "namespace", "shop"], "blue");
    assert!(made.status.success(), "{made:?}");
    let mut again = plane.clone();
    again.boot = 2;
    let mut wanted = snapshot(2);
    wanted.control_planes.insert(cluster(), Arc::new(again));
    running.say.send_replace(Arc::new(wanted));
    let end = Instant::now() + PATIENCE;
    while !pids("kube-apiserver", &place).is_disjoint(&before) {
        assert!(Instant::now() < end, "it is not started again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_for(&mut running, "it gets ready again", |it| {
        let seen = it.clusters.get(&cluster());
        seen.is_some_and(|it| it.condition == Condition::Ready { version: 2 })
    })
    .await;
    let asked = kubectl(&ca, &["get", "namespace", "shop"], "blue");
    assert!(asked.status.success(), "{asked:?}");

    // What is not wanted any more goes.
    let mut none = snapshot(3);
    none.workloads.remove(&cluster());
    none.vpcs.clear();
    none.security_groups.clear();
    running.say.send_replace(Arc::new(none));
    wait_for(&mut running, "it is gone", |it| it.clusters.is_empty()).await;
    let end = Instant::now() + PATIENCE;
    while !pids("kube-apiserver", &place).is_empty() || !pids("etcd", &place).is_empty() {
        assert!(Instant::now() < end, "its processes stay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(std::net::TcpStream::connect("127.0.0.1:16443").is_err());
    running.node.shutdown(Duration::ZERO, false).await.unwrap();
}

fn kubectl(ca: &Path, arguments: &[&str], cluster: &str) -> Output {
    let token = Command::new("aws")
        .args([
            "--region",
            "us-east-1",
            "eks",
            "get-token",
            "--output",
            "json",
        ])
        .args(["--cluster-name", cluster])
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .output()
        .unwrap();
    assert!(token.status.success(), "{token:?}");
    let token: serde_json::Value = serde_json::from_slice(&token.stdout).unwrap();
    let token = token["status"]["token"].as_str().unwrap();
    let directory = programs().unwrap();
    Command::new(directory.join("kubectl"))
        .args(["--kubeconfig=/dev/null", "--server=https://127.0.0.1:16443"])
        .arg(format!("--certificate-authority={}", ca.display()))
        .arg(format!("--token={token}"))
        .args(arguments)
        .output()
        .unwrap()
}
