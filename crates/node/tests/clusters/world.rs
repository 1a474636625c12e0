//! What the tests have in common: a VPC with a cluster, and a node that obeys it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lath_dns::{AuthorityConfig, Upstreams};
use lath_feed::stream::Source;
use lath_feed::telemetry::{AccessLog, LogLines, MetricSample, Sink};
use lath_feed::{
    Attachment, CallerBook, Capacity, ClusterAccess, ClusterLog, ClusterNode, Condition,
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
use lath_node::{Api, CellMembership, Host, Node, NodeConfig};
use lath_proxy::ProxyConfig;
use tokio::sync::watch;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

pub(crate) fn programs() -> Option<PathBuf> {
    if let Ok(found) = Binaries::find() {
        return Some(found.directory);
    }
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = std::fs::read_dir(home.join(".cache/lath/kubernetes")).ok()?;
    cache
        .flatten()
        .find_map(|it| Some(Binaries::open(&it.path()).ok()?.directory))
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    output
}

pub(crate) fn cluster() -> ManagedId {
    ManagedId::new(ManagedKind::ControlPlane, "blue").unwrap()
}

pub(crate) fn snapshot(version: u64) -> Snapshot {
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
        dhcp_options: None,
        subnets: [(
            subnet.clone(),
            Subnet {
                id: subnet,
                cidr: "10.0.1.0/24".parse().unwrap(),
                route_table: table.clone(),
                availability_zone: "us-east-1a".into(),
                network_acl: None,
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
        network_acls: BTreeMap::new(),
        peerings: BTreeMap::new(),
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

pub(crate) fn plane() -> ControlPlane {
    ControlPlane {
        id: cluster(),
        name: "blue".into(),
        arn: "arn:aws:eks:us-east-1:123456789012:cluster/blue".into(),
        version: "1.37".into(),
        boot: 1,
        addresses: vec!["10.0.1.5".parse().unwrap()],
        service_cidr: "172.20.0.0/16".parse().unwrap(),
        keys: pki::generate(lath_clock::Clock::system().now()).unwrap(),
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

pub(crate) fn config(directory: &Path) -> NodeConfig {
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
        place: CellMembership::alone("us-east-1"),
        api_in_vpcs: false,
        authority: AuthorityConfig::default(),
        clock: lath_clock::Clock::system(),
        orders: lath_drill::order::Orders::of(&directory.join("data"), lath_clock::Clock::system()),
    }
}

/// The images that the tests of clusters make.
pub(crate) fn images() -> Option<PathBuf> {
    let named = std::env::var_os("LATH_KUBERNETES_IMAGES").map(PathBuf::from);
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = || {
        let cache = std::fs::read_dir(home.join(".cache/lath/kubernetes-images")).ok()?;
        let mut complete = cache.flatten().map(|it| it.path());
        complete.find(|it| it.join("pause.tar").is_file())
    };
    named.or_else(cache)
}

pub(crate) const INSTANCES: [(&str, &str, &str); 2] = [
    ("i-0123456789abcdef0", "10.0.1.10", "10.0.1.32/28"),
    ("i-0123456789abcdef1", "10.0.1.11", "10.0.1.48/28"),
];

pub(crate) fn name_of(address: &str) -> String {
    format!("ip-{}.ec2.internal", address.replace('.', "-"))
}

/// A cluster with its nodes; the second one may be on its way out.
pub(crate) fn with_nodes(
    version: u64,
    plane: &ControlPlane,
    draining: bool,
    count: usize,
) -> Snapshot {
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
                forced: false,
            }),
        };
        snapshot.instances.insert(instance, Arc::new(node));
    }
    snapshot.vpcs.insert(vpc, Arc::new(own));
    snapshot
}

/// The streams of logs that arrived.
#[derive(Default)]
pub(crate) struct Streams(pub(crate) Mutex<BTreeSet<String>>);

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
pub(crate) struct NoApi;

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
pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) snapshots_tx: watch::Sender<Arc<Snapshot>>,
    pub(crate) observed: watch::Receiver<Arc<Observed>>,
}

pub(crate) async fn start(
    directory: &Path,
    snapshot: &Snapshot,
    streams: &Arc<Streams>,
) -> Running {
    let host = Host::open(config(directory)).await.unwrap();
    let (snapshots_tx, snapshots) = watch::channel(Arc::new(snapshot.clone()));
    let (observed_tx, observed) = watch::channel(Arc::<Observed>::default());
    let (_, source) = watch::channel(Source::Control);
    let (sink, api) = (Arc::clone(streams) as _, Arc::new(NoApi));
    let node = Node::start(host, snapshots, observed_tx, sink, source, api).unwrap();
    Running {
        node,
        snapshots_tx,
        observed,
    }
}

pub(crate) async fn wait_for(running: &mut Running, what: &str, is_so: impl Fn(&Observed) -> bool) {
    let waited = running.observed.wait_for(|it| is_so(it));
    let waited = tokio::time::timeout(PATIENCE, waited).await.map(drop);
    assert!(
        waited.is_ok(),
        "{what}: {:?}",
        running.observed.borrow().clusters
    );
}

pub(crate) fn is_ready(observed: &Observed) -> bool {
    let seen = observed.clusters.get(&cluster());
    seen.is_some_and(|it| matches!(it.condition, Condition::Ready { .. }))
}

pub(crate) fn kubectl(ca: &Path, arguments: &[&str], cluster: &str) -> Output {
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
