//! Changes of a cluster.

use lath_ec2_compute::managed;
use lath_ec2_records::NetworkInterface;
use lath_service::{Refuses, operations};
use lath_store::{Record as _, Tx};
use lath_wire::ApiError;

use super::create::{
    LOGGING_TYPES, enabled_compute, enabled_load_balancing, enabled_storage, endpoint_access,
    logging_facts, support, switched,
};
use super::{find, minor, network};
use crate::Eks;
use crate::access;
use crate::fault::{self, About as _};
use crate::record::{Cluster, Update, UpdateOf, control_plane};
use crate::resource_types::CLUSTER;
use crate::shape::*;
use crate::updates::{self, param};

operations! {
    for Eks as "eks";
    change UpdateClusterConfig: post "/clusters/{name}/update-config" 200 -> OneUpdate = configure, checked
        => on(&CLUSTER, |op, _| op.name.clone())
            .with("eks:authenticationMode", |op, _| {
                op.access_config.as_ref().and_then(|it| it.authentication_mode).map(|it| it.as_str().to_owned())
            })
            .with("eks:supportType", |op, _| {
                op.upgrade_policy.as_ref().map(|it| support(Some(it)).as_str().to_owned())
            })
            .with("eks:computeConfigEnabled", |op, _| op.compute_config.as_ref().map(|it| enabled_compute(Some(it))))
            .with("eks:blockStorageEnabled", |op, _| op.storage_config.as_ref().map(|it| enabled_storage(Some(it))))
            .with("eks:elasticLoadBalancingEnabled", |op, _| {
                op.kubernetes_network_config.as_ref().map(|it| enabled_load_balancing(Some(it)))
            })
            .with_all(LOGGING_TYPES, |op, _| logging_facts(op.logging.as_ref()))
        => refusing ["" UpdateClusterConfig];
    change UpdateClusterVersion: post "/clusters/{name}/updates" 200 -> OneUpdate = upgrade, checked
        => on(&CLUSTER, |op, _| op.name.clone());
    change AssociateEncryptionConfig: post "/clusters/{name}/encryption-config/associate" 200 -> OneUpdate = encrypt, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
        => refusing ["" AssociateEncryptionConfig];
}

impl Refuses for UpdateClusterConfig {
    fn names() -> Vec<String> {
        [
            "computeConfig",
            "storageConfig",
            "kubernetesNetworkConfig",
            "remoteNetworkConfig",
            "controlPlaneScalingConfig",
            "resourcesVpcConfig.subnetIds",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let vpc = self.resources_vpc_config.as_ref();
        let refused = [
            (
                self.compute_config.is_some(),
                "EKS Auto Mode (computeConfig)",
            ),
            (
                self.storage_config.is_some(),
                "EKS Auto Mode (storageConfig)",
            ),
            (
                self.kubernetes_network_config.is_some(),
                "EKS Auto Mode (kubernetesNetworkConfig)",
            ),
            (self.remote_network_config.is_some(), "remoteNetworkConfig"),
            (
                self.control_plane_scaling_config.is_some(),
                "controlPlaneScalingConfig",
            ),
            (
                vpc.is_some_and(|it| it.subnet_ids.is_some()),
                "other subnets for a cluster that exists",
            ),
        ];
        let first = refused.into_iter().find(|(is_set, _)| *is_set);
        first.map_or(Ok(()), |(_, what)| Err(fault::unsupported(what)))
    }
}

impl Refuses for AssociateEncryptionConfig {
    fn names() -> Vec<String> {
        vec!["encryptionConfig".to_owned()]
    }
}

/// A change of a cluster: what it becomes, and how the update is called.
struct Change {
    next: Cluster,
    kind: UpdateType,
    params: Vec<UpdateParam>,
    /// Whether nodes have something to do.
    takes_time: bool,
}

fn configure(app: &Eks, tx: &mut Tx, mut op: UpdateClusterConfig) -> Result<OneUpdate, ApiError> {
    let client_token = op.client_request_token.take();
    let cluster = find(tx.view(), &op.name)?;
    let (id, token) = (updates::new_id(), client_token.as_deref());
    let known = updates::claim(tx, "UpdateClusterConfig", token, &op, &op.name, &id)?;
    if let Some(known) = known {
        return Ok(known);
    }
    op.refuse()?;
    check_idle(tx, &cluster)?;
    let change = change(app, tx, &cluster, &op)?;
    Ok(perform(tx, id, change, &op.name))
}

/// A cluster takes one change at a time.
pub(crate) fn check_idle(tx: &Tx, cluster: &Cluster) -> Result<(), ApiError> {
    let name = &cluster.name;
    if let Some(update) = updates::open(tx.view(), name, &UpdateOf::Cluster).first() {
        let text = format!(
            "Cannot update because cluster {name} currently has update {} in progress",
            update.id
        );
        return Err(fault::in_use(text).about_cluster(name));
    }
    if !cluster.is_active() {
        return Err(fault::not_active(name));
    }
    Ok(())
}

fn perform(tx: &mut Tx, id: String, change: Change, name: &str) -> OneUpdate {
    let Change {
        mut next,
        kind,
        params,
        takes_time,
    } = change;
    if takes_time {
        next.enter(ClusterStatus::Updating, tx.view().revision());
    }
    tx.put(next);
    let update = updates::begin(tx, id, name, UpdateOf::Cluster, kind, params);
    if !takes_time {
        // Only this service has to act, and it has done so.
        updates::end(tx, name, &UpdateOf::Cluster, UpdateStatus::Successful, None);
    }
    let update = tx.get::<Update>(&update.id()).unwrap_or(update);
    updates::one(&update)
}

/// One kind of change a call, as AWS demands.
fn change(
    app: &Eks,
    tx: &mut Tx,
    cluster: &Cluster,
    op: &UpdateClusterConfig,
) -> Result<Change, ApiError> {
    let given = [
        op.resources_vpc_config.is_some(),
        op.logging.is_some(),
        op.access_config.is_some(),
        op.upgrade_policy.is_some(),
        op.zonal_shift_config.is_some(),
        op.deletion_protection.is_some(),
    ];
    if given.into_iter().filter(|it| *it).count() != 1 {
        return Err(fault::invalid_parameter(
            "Only one type of update can be allowed in a request: resourcesVpcConfig, logging, accessConfig, upgradePolicy, zonalShiftConfig or deletionProtection.",
        ));
    }
    if let Some(config) = &op.resources_vpc_config {
        return vpc_config(tx, cluster, config);
    }
    if let Some(logging) = &op.logging {
        return logs(cluster, logging);
    }
    if let Some(config) = &op.access_config {
        return access_config(app, tx, cluster, config);
    }
    let mut next = cluster.clone();
    let (kind, param) = if let Some(policy) = &op.upgrade_policy {
        next.support = support(Some(policy));
        let value = next.support.as_str();
        (UpdateType::UpgradePolicy, param("UpgradePolicy", value))
    } else if let Some(shift) = &op.zonal_shift_config {
        next.zonal_shift = Some(shift.clone());
        let value = (shift.enabled == Some(true)).to_string();
        (UpdateType::ZonalShift, param("ZonalShiftConfig", value))
    } else {
        next.deletion_protection = op.deletion_protection == Some(true);
        let value = next.deletion_protection.to_string();
        (
            UpdateType::DeletionProtection,
            param("DeletionProtection", value),
        )
    };
    Ok(Change {
        next,
        kind,
        params: vec![param],
        takes_time: false,
    })
}

fn vpc_config(
    tx: &mut Tx,
    cluster: &Cluster,
    config: &VpcConfigRequest,
) -> Result<Change, ApiError> {
    if let Some(ids) = &config.security_group_ids {
        return groups(tx, cluster, config, ids);
    }
    let now = &cluster.endpoint;
    let merged = VpcConfigRequest {
        endpoint_public_access: Some(config.endpoint_public_access.unwrap_or(now.public)),
        endpoint_private_access: Some(config.endpoint_private_access.unwrap_or(now.private)),
        ..Default::default()
    };
    let (public, private) = endpoint_access(&merged)?;
    let cidrs = match config.public_access_cidrs.as_deref() {
        Some(given) if !given.is_empty() => network::public_cidrs(given)?,
        Some(_) => vec!["0.0.0.0/0".to_owned()],
        None => now.public_cidrs.clone(),
    };
    let mut next = cluster.clone();
    next.endpoint.public = public;
    next.endpoint.private = private;
    next.endpoint.public_cidrs = cidrs;
    if next.endpoint == *now {
        let shown = now.public_cidrs.join(", ");
        return Err(fault::invalid_parameter(format!(
            "Cluster is already at the desired configuration with endpointPrivateAccess: {private} , endpointPublicAccess: {public}, and Public Endpoint Restrictions: [{shown}]"
        ))
        .about_cluster(&cluster.name));
    }
    let cidrs = serde_json::to_string(&next.endpoint.public_cidrs).unwrap_or_default();
    Ok(Change {
        next,
        kind: UpdateType::EndpointAccess,
        params: vec![
            param("EndpointPublicAccess", public.to_string()),
            param("EndpointPrivateAccess", private.to_string()),
            param("PublicAccessCidrs", cidrs),
        ],
        takes_time: true,
    })
}

/// Other groups for the cluster's interfaces.
fn groups(
    tx: &mut Tx,
    cluster: &Cluster,
    config: &VpcConfigRequest,
    ids: &[String],
) -> Result<Change, ApiError> {
    let alone = config.endpoint_public_access.is_none()
        && config.endpoint_private_access.is_none()
        && config.public_access_cidrs.is_none();
    if !alone {
        return Err(fault::invalid_parameter(
            "Endpoint access and security groups cannot be updated in the same request.",
        ));
    }
    let groups = network::groups_in(tx.view(), &cluster.vpc, ids)?;
    let mut all = vec![cluster.cluster_group.clone()];
    all.extend(groups.iter().cloned());
    for interface in managed::of_workload(tx.view(), &control_plane(&cluster.name)) {
        let all = all.clone();
        tx.update::<NetworkInterface>(&interface.id(), |it| it.groups = all);
    }
    let mut next = cluster.clone();
    next.security_groups = groups;
    let ids = serde_json::to_string(&ids).unwrap_or_default();
    Ok(Change {
        next,
        kind: UpdateType::VpcConfig,
        params: vec![param("SecurityGroups", ids)],
        takes_time: true,
    })
}

fn logs(cluster: &Cluster, logging: &Logging) -> Result<Change, ApiError> {
    let mut next = cluster.clone();
    next.logs = switched(cluster.logs.clone(), Some(logging))?;
    if next.logs == cluster.logs {
        return Err(
            fault::invalid_parameter("No changes needed for the logging config provided")
                .about_cluster(&cluster.name),
        );
    }
    let value = serde_json::to_string(logging).unwrap_or_default();
    Ok(Change {
        next,
        kind: UpdateType::Logging,
        params: vec![param("ClusterLogging", value)],
        takes_time: true,
    })
}

/// From the ConfigMap to the API only, as in AWS: entries are not turned back.
fn access_config(
    app: &Eks,
    tx: &mut Tx,
    cluster: &Cluster,
    config: &UpdateAccessConfig,
) -> Result<Change, ApiError> {
    use AuthenticationMode::{Api, ApiAndConfigMap, ConfigMap};
    let now = cluster.access.mode;
    let wanted = config.authentication_mode.unwrap_or(now);
    if !matches!(
        (now, wanted),
        (ConfigMap, ApiAndConfigMap) | (ApiAndConfigMap, Api)
    ) {
        return Err(fault::invalid_parameter(format!(
            "Unsupported authentication mode update from {} to {}",
            now.as_str(),
            wanted.as_str()
        ))
        .about_cluster(&cluster.name));
    }
    let mut next = cluster.clone();
    next.access.mode = wanted;
    access::grant_creator(&app.cell, tx, &next);
    access::grant_all_nodes(&app.cell, tx, &next);
    Ok(Change {
        next,
        kind: UpdateType::AccessConfig,
        params: vec![param("AuthenticationMode", wanted.as_str())],
        takes_time: true,
    })
}

/// There is one version to be had: that of the installed programs, which may be newer than when the cluster was created.
fn upgrade(app: &Eks, tx: &mut Tx, mut op: UpdateClusterVersion) -> Result<OneUpdate, ApiError> {
    let client_token = op.client_request_token.take();
    let cluster = find(tx.view(), &op.name)?;
    let (id, token) = (updates::new_id(), client_token.as_deref());
    let known = updates::claim(tx, "UpdateClusterVersion", token, &op, &op.name, &id)?;
    if let Some(known) = known {
        return Ok(known);
    }
    check_idle(tx, &cluster)?;
    let running = cluster.running.as_deref();
    let running = running.map_or_else(|| cluster.version.clone(), minor);
    let wanted: String = op.version.chars().take(32).collect();
    if wanted == running {
        return Err(fault::invalid_parameter(format!(
            "Cluster is already at the desired configuration with version: {wanted}"
        ))
        .about_cluster(&op.name));
    }
    let installed = app.platform.binaries();
    let installed = installed.map_err(|error| fault::invalid_parameter(error.to_string()))?;
    if wanted != installed.minor_version() {
        return Err(fault::invalid_parameter(format!(
            "Unsupported Kubernetes minor version update from {running} to {wanted}: the version that is installed here is {}",
            installed.minor_version()
        ))
        .about_cluster(&op.name));
    }
    let mut next = Cluster::clone(&cluster);
    next.version.clone_from(&wanted);
    next.boot += 1;
    let change = Change {
        next,
        kind: UpdateType::Version,
        params: vec![param("Version", wanted), param("PlatformVersion", "eks.1")],
        takes_time: true,
    };
    Ok(perform(tx, id, change, &op.name))
}

fn encrypt(_app: &Eks, tx: &mut Tx, op: AssociateEncryptionConfig) -> Result<OneUpdate, ApiError> {
    find(tx.view(), &op.cluster_name)?;
    Err(fault::unsupported("encryptionConfig: there is no KMS"))
}
