//! CreateCluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use lath_ec2_compute::managed::{self, ManagedInterface, NewGroup};
use lath_ec2_records::SecurityGroup;
use lath_service::{Quota, Refuses, operations};
use lath_store::Tx;
use lath_wire::{ApiError, Caller};
use rand::Rng as _;

use super::network::{self, Network};
use super::{find, one};
use crate::fault::{self, About as _};
use crate::record::{Access, Cluster, ConnectedCluster, Endpoint, control_plane};
use crate::resource_types::pairs;
use crate::roles::{self, EKS, Passing as _};
use crate::shape::*;
use crate::{Eks, extensions, token};
use crate::{access, addons};

/// How many clusters a region may have.
const CLUSTERS: Quota<&str> = Quota::new("Cluster", "L-1194D53C", 100);
/// The first port of public endpoints, and how many each region has: below those that the kernel gives to connections.
const FIRST_PORT: u16 = 16443;
const PORTS_OF_A_REGION: u16 = 1000;

operations! {
    for Eks as "eks";
    change CreateCluster: post "/clusters" 200 -> OneCluster = create, checked, caller
        => any()
            .tagged(|op, _| pairs(&op.tags))
            .with("eks:authenticationMode", |op, _| mode(op).as_str())
            .with("eks:bootstrapClusterCreatorAdminPermissions", |op, _| bootstraps(op))
            .with("eks:bootstrapSelfManagedAddons", |op, _| op.bootstrap_self_managed_addons.unwrap_or(true))
            .with("eks:supportType", |op, _| support(op.upgrade_policy.as_ref()).as_str())
            .with("eks:computeConfigEnabled", |op, _| enabled_compute(op.compute_config.as_ref()))
            .with("eks:blockStorageEnabled", |op, _| enabled_storage(op.storage_config.as_ref()))
            .with("eks:elasticLoadBalancingEnabled", |op, _| enabled_load_balancing(op.kubernetes_network_config.as_ref()))
            .with_all(LOGGING_TYPES, |op, _| logging_facts(op.logging.as_ref()))
            .passing(|op| vec![op.role_arn.clone()], |_| EKS.to_owned())
        => refusing ["" CreateCluster];
}

/// Whether a request changes a kind of logs.
pub(super) const LOGGING_TYPES: &[&str] = &["eks:loggingType/${type}"];

/// The kinds of logs that a request switches, as condition keys.
pub(super) fn logging_facts(logging: Option<&Logging>) -> lath_authz::Facts {
    let setups = logging.and_then(|it| it.cluster_logging.as_ref());
    let switched = setups.into_iter().flatten().take(20).flat_map(|setup| {
        let enabled = setup.enabled.unwrap_or(false).to_string();
        let types = setup.types.iter().flatten().take(20);
        types.map(move |it| {
            let key = format!("eks:loggingType/{}", it.as_str());
            (key, vec![enabled.clone()])
        })
    });
    switched.collect()
}

fn mode(op: &CreateCluster) -> AuthenticationMode {
    let given = op.access_config.as_ref();
    given
        .and_then(|it| it.authentication_mode)
        .unwrap_or(AuthenticationMode::ConfigMap)
}

fn bootstraps(op: &CreateCluster) -> bool {
    let given = op.access_config.as_ref();
    given
        .and_then(|it| it.bootstrap_cluster_creator_admin_permissions)
        .unwrap_or(true)
}

pub(super) fn support(given: Option<&UpgradePolicy>) -> SupportType {
    given
        .and_then(|it| it.support_type)
        .unwrap_or(SupportType::Extended)
}

pub(super) fn is_on(switch: Option<&Switch>) -> bool {
    switch.and_then(|it| it.enabled) == Some(true)
}

pub(super) fn enabled_compute(given: Option<&ComputeConfig>) -> bool {
    given.and_then(|it| it.enabled) == Some(true)
}

pub(super) fn enabled_storage(given: Option<&StorageConfig>) -> bool {
    is_on(given.and_then(|it| it.block_storage.as_ref()))
}

pub(super) fn enabled_load_balancing(given: Option<&KubernetesNetworkConfig>) -> bool {
    is_on(given.and_then(|it| it.elastic_load_balancing.as_ref()))
}

/// What a cluster would need that there is not: other services, other hardware.
impl Refuses for CreateCluster {
    fn names() -> Vec<String> {
        [
            "encryptionConfig",
            "outpostConfig",
            "remoteNetworkConfig",
            "computeConfig.enabled: true",
            "storageConfig.blockStorage.enabled: true",
            "kubernetesNetworkConfig.elasticLoadBalancing.enabled: true",
            "kubernetesNetworkConfig.ipFamily: ipv6",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let network = self.kubernetes_network_config.as_ref();
        let remote = self.remote_network_config.as_ref();
        let has_remote = remote.is_some_and(|it| {
            it.remote_node_networks.is_some() || it.remote_pod_networks.is_some()
        });
        let refused = [
            (
                !self.encryption_config.is_empty(),
                "encryptionConfig: there is no KMS",
            ),
            (self.outpost_config.is_some(), "outpostConfig"),
            (has_remote, "remoteNetworkConfig"),
            (
                enabled_compute(self.compute_config.as_ref()),
                "EKS Auto Mode (computeConfig)",
            ),
            (
                enabled_storage(self.storage_config.as_ref()),
                "EKS Auto Mode (storageConfig)",
            ),
            (
                enabled_load_balancing(network),
                "EKS Auto Mode (elasticLoadBalancing)",
            ),
            (
                network.and_then(|it| it.ip_family) == Some(IpFamily::Ipv6),
                "the IP family ipv6",
            ),
        ];
        let first = refused.into_iter().find(|(is_set, _)| *is_set);
        first.map_or(Ok(()), |(_, what)| Err(fault::unsupported(what)))
    }
}

fn create(
    app: &Eks,
    tx: &mut Tx,
    caller: &Caller,
    mut op: CreateCluster,
) -> Result<OneCluster, ApiError> {
    let client_token = op.client_request_token.take();
    let used = token::claim(tx, "CreateCluster", client_token.as_deref(), &op, &op.name)?;
    if let Some(name) = used
        && let Ok(cluster) = find(tx.view(), &name)
    {
        return Ok(one(app, &cluster));
    }
    check_name(tx, &op.name)?;
    op.refuse()?;
    check_version(op.version.as_deref())?;
    extensions::check(&app.cell, &op.tags)?;
    roles::of_cluster(&app.cell, tx.view(), &op.role_arn)?;
    let network = Network::new(tx.view(), &op.resources_vpc_config)?;
    let given = op.kubernetes_network_config.as_ref();
    let elastic_load_balancing = given.and_then(|it| it.elastic_load_balancing.clone());
    let service_cidr =
        network.service_cidr(given.and_then(|it| it.service_ipv4_cidr.as_deref()))?;
    let count = tx.list::<Cluster>().count() + 1;
    CLUSTERS.check(&app.cell, count, |it| fault::too_many("Cluster", it.limit))?;
    let (public, private) = endpoint_access(&op.resources_vpc_config)?;
    let cidrs = op.resources_vpc_config.public_access_cidrs.as_deref();
    let cidrs = match cidrs {
        Some(given) if !given.is_empty() => network::public_cidrs(given)?,
        _ => vec!["0.0.0.0/0".to_owned()],
    };
    let logs = switched(BTreeSet::new(), op.logging.as_ref())?;
    let version = installed(app, &op.name)?;
    let keys = lath_kubernetes::pki::generate(tx.now()).map_err(ApiError::internal)?;
    let access = Access {
        mode: mode(&op),
        bootstrap: bootstraps(&op),
        creator: access::principal(&app.cell, tx.view(), caller),
        creator_id: access::caller_id(caller),
    };
    let self_managed_addons = match op.bootstrap_self_managed_addons {
        Some(false) => BTreeMap::new(),
        _ => addons::catalogue::initial(app),
    };
    let group = group(app, tx, &op.name, &network)?;
    let addresses = interfaces(app, tx, &op.name, &network, &group)?;
    let cluster = tx.put(Cluster {
        version,
        running: None,
        role_arn: op.role_arn,
        vpc: network.vpc.id.clone(),
        subnets: network.subnets.iter().map(|it| it.id.clone()).collect(),
        security_groups: network.groups.clone(),
        cluster_group: group.id.clone(),
        endpoint: Endpoint {
            public,
            private,
            public_cidrs: cidrs,
            port: port(app, tx)?,
        },
        addresses,
        service_cidr,
        elastic_load_balancing,
        logs,
        issuer_id: uuid::Uuid::new_v4().simple().to_string().to_uppercase(),
        keys,
        access,
        self_managed_addons,
        support: support(op.upgrade_policy.as_ref()),
        zonal_shift: op.zonal_shift_config,
        compute: op.compute_config,
        storage: op.storage_config,
        deletion_protection: op.deletion_protection == Some(true),
        tier: tier(op.control_plane_scaling_config.as_ref())?,
        status: ClusterStatus::Creating,
        status_after: tx.view().revision(),
        issues: Vec::new(),
        boot: 1,
        client_request_token: client_token,
        tags: op.tags,
        created_at: tx.now(),
        name: op.name,
    });
    access::grant_creator(&app.cell, tx, &cluster);
    Ok(one(app, &cluster))
}

/// Whether a name is free.
pub(super) fn check_name(tx: &Tx, name: &str) -> Result<(), ApiError> {
    let taken = tx.get::<Cluster>(name).is_some() || tx.get::<ConnectedCluster>(name).is_some();
    if taken {
        let text = format!("Cluster already exists with name: {name}");
        return Err(fault::in_use(text).about_cluster(name));
    }
    Ok(())
}

/// Any version that AWS has had since 1.20, so that scripts of every age find a cluster; which one runs is shown.
pub(crate) fn check_version(given: Option<&str>) -> Result<(), ApiError> {
    let Some(given) = given else { return Ok(()) };
    match crate::versions::is_accepted(given) {
        true => Ok(()),
        false => Err(fault::invalid_parameter(format!(
            "unsupported Kubernetes version {}",
            given.chars().take(32).collect::<String>()
        ))),
    }
}

/// The minor version of the installed programs, which is what runs.
fn installed(app: &Eks, name: &str) -> Result<String, ApiError> {
    let found = app.platform.binaries();
    let found = found.map_err(|error| {
        fault::invalid_parameter(format!("A cluster cannot be created here: {error}"))
            .about_cluster(name)
    })?;
    Ok(found.minor_version())
}

pub(super) fn endpoint_access(config: &VpcConfigRequest) -> Result<(bool, bool), ApiError> {
    let public = config.endpoint_public_access.unwrap_or(true);
    let private = config.endpoint_private_access.unwrap_or(false);
    if !public && !private {
        return Err(fault::invalid_parameter(
            "Private and public endpoint access cannot be false",
        ));
    }
    Ok((public, private))
}

/// The logs that are on after a request.
///
/// # Errors
/// `InvalidParameterException` for one that is switched both on and off.
pub(super) fn switched(
    mut logs: BTreeSet<LogType>,
    logging: Option<&Logging>,
) -> Result<BTreeSet<LogType>, ApiError> {
    let setups = logging.and_then(|it| it.cluster_logging.as_ref());
    let mut seen: BTreeMap<LogType, bool> = BTreeMap::new();
    for setup in setups.into_iter().flatten() {
        let enabled = setup.enabled.unwrap_or(false);
        for log in setup.types.iter().flatten() {
            if seen.insert(*log, enabled).is_some_and(|it| it != enabled) {
                return Err(fault::invalid_parameter(format!(
                    "Logging of type {} cannot be enabled and disabled at the same time.",
                    log.as_str()
                )));
            }
            if enabled {
                logs.insert(*log);
            } else {
                logs.remove(log);
            }
        }
    }
    Ok(logs)
}

fn tier(config: Option<&ControlPlaneScalingConfig>) -> Result<ControlPlaneTier, ApiError> {
    match config.and_then(|it| it.tier) {
        None | Some(ControlPlaneTier::Standard) => Ok(ControlPlaneTier::Standard),
        Some(other) => Err(fault::unsupported(&format!(
            "the control plane tier {}: a control plane uses what the host has",
            other.as_str()
        ))),
    }
}

fn group(
    app: &Eks,
    tx: &mut Tx,
    name: &str,
    network: &Network,
) -> Result<Arc<SecurityGroup>, ApiError> {
    let digits: u32 = rand::rng().random_range(100_000_000..2_000_000_000);
    let group = format!("eks-cluster-sg-{name}-{digits}");
    let tags = [
        ("Name".to_owned(), group.clone()),
        (format!("kubernetes.io/cluster/{name}"), "owned".to_owned()),
        ("aws:eks:cluster-name".to_owned(), name.to_owned()),
    ];
    let new = NewGroup {
        vpc: network.vpc.id.clone(),
        name: group,
        description: "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as any managed workloads.".into(),
        tags: BTreeMap::from(tags),
    };
    managed::cluster_group(tx, &app.cell, new).map_err(|error| fault::of_ec2(&error))
}

/// An interface in each of two zones.
fn interfaces(
    app: &Eks,
    tx: &mut Tx,
    name: &str,
    network: &Network,
    group: &SecurityGroup,
) -> Result<Vec<Ipv4Addr>, ApiError> {
    let mut addresses = Vec::new();
    for (device, subnet) in (0..).zip(&network.places) {
        let own = std::iter::once(group.id.clone());
        let new = ManagedInterface {
            workload: control_plane(name),
            device,
            subnet: subnet.id.clone(),
            groups: own.chain(network.groups.iter().cloned()).collect(),
            description: format!("Amazon EKS {name}"),
            tags: BTreeMap::from([("cluster.k8s.amazonaws.com/name".into(), name.to_owned())]),
        };
        let made = managed::make_interface(tx, &app.cell, new);
        addresses.push(made.map_err(|error| fault::of_ec2(&error))?.primary_ip());
    }
    Ok(addresses)
}

/// A port for the public endpoint that no other cluster has and nothing listens on.
fn port(app: &Eks, tx: &Tx) -> Result<u16, ApiError> {
    let here = app.cell.topology.here();
    let sixteenth = here.map_or(0, |place| place.number().to_le_bytes()[0] % 16);
    let first = FIRST_PORT + u16::from(sixteenth) * PORTS_OF_A_REGION;
    let taken: BTreeSet<u16> = tx.list::<Cluster>().map(|it| it.endpoint.port).collect();
    let mut ports = first..first + PORTS_OF_A_REGION;
    ports
        .find(|port| !taken.contains(port) && app.platform.is_port_free(*port))
        .ok_or_else(|| fault::too_many("Public endpoint", PORTS_OF_A_REGION.into()))
}
