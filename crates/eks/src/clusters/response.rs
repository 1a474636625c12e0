//! Clusters as answers show them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_control::Cell;
use lath_feed::Condition;

use crate::Eks;
use crate::record::{Cluster, Issue, control_plane};
use crate::shape::*;

/// The version of the platform: there is one.
const PLATFORM: &str = "eks.1";
/// Every component with logs.
const LOGS: [LogType; 5] = [
    LogType::Api,
    LogType::Audit,
    LogType::Authenticator,
    LogType::ControllerManager,
    LogType::Scheduler,
];

/// A cluster's ARN.
pub(crate) fn arn(cell: &Cell, name: &str) -> String {
    cell.arn("eks", format!("cluster/{name}"))
}

/// `1.37` of `v1.37.2`.
pub(crate) fn minor(version: &str) -> String {
    let version = version.trim_start_matches('v');
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => format!("{major}.{minor}"),
        _ => version.to_owned(),
    }
}

/// The URL of what signs service account tokens.
pub(crate) fn issuer(cell: &Cell, cluster: &Cluster) -> String {
    let suffix = cell.partition().dns_suffix();
    format!(
        "https://oidc.eks.{}.{suffix}/id/{}",
        cell.region, cluster.issuer_id
    )
}

pub(crate) fn item(app: &Eks, it: &Cluster) -> ClusterItem {
    let cell = &app.cell;
    // AWS shows neither before there is an API server.
    let serves = it.running.is_some();
    ClusterItem {
        name: Some(it.name.clone()),
        arn: Some(arn(cell, &it.name)),
        created_at: Some(it.created_at),
        version: Some(
            it.running
                .as_deref()
                .map_or_else(|| it.version.clone(), minor),
        ),
        endpoint: serves.then(|| endpoint(it)),
        role_arn: Some(it.role_arn.clone()),
        resources_vpc_config: Some(vpc_config(it)),
        kubernetes_network_config: Some(KubernetesNetworkConfig {
            service_ipv4_cidr: Some(it.service_cidr.to_string()),
            ip_family: Some(IpFamily::Ipv4),
            elastic_load_balancing: Some(it.elastic_load_balancing.clone().unwrap_or_else(off)),
        }),
        logging: Some(logging(it)),
        identity: serves.then(|| Identity {
            oidc: Some(Oidc {
                issuer: Some(issuer(cell, it)),
            }),
        }),
        status: Some(it.status),
        certificate_authority: serves.then(|| Certificate {
            data: Some(STANDARD.encode(&it.keys.authority)),
        }),
        client_request_token: it.client_request_token.clone(),
        platform_version: Some(PLATFORM.into()),
        tags: it.tags.clone(),
        connector_config: None,
        health: Some(ClusterHealth {
            issues: issues(app, it).iter().map(issue).collect(),
        }),
        access_config: Some(AccessConfig {
            bootstrap_cluster_creator_admin_permissions: Some(it.access.bootstrap),
            authentication_mode: Some(it.access.mode),
        }),
        upgrade_policy: Some(UpgradePolicy {
            support_type: Some(it.support),
        }),
        zonal_shift_config: it.zonal_shift.clone(),
        compute_config: it.compute.clone(),
        storage_config: it.storage.clone(),
        deletion_protection: Some(it.deletion_protection),
        control_plane_scaling_config: Some(ControlPlaneScalingConfig {
            tier: Some(it.tier),
        }),
    }
}

fn off() -> Switch {
    Switch {
        enabled: Some(false),
    }
}

/// The host's port where the public endpoint is on, else the primary interface's address.
fn endpoint(it: &Cluster) -> String {
    if it.endpoint.public {
        return format!("https://127.0.0.1:{}", it.endpoint.port);
    }
    let address = it.addresses.first().copied();
    format!(
        "https://{}:443",
        address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED)
    )
}

fn vpc_config(it: &Cluster) -> VpcConfigResponse {
    VpcConfigResponse {
        subnet_ids: it.subnets.iter().map(ToString::to_string).collect(),
        security_group_ids: it.security_groups.iter().map(ToString::to_string).collect(),
        cluster_security_group_id: Some(it.cluster_group.to_string()),
        vpc_id: Some(it.vpc.to_string()),
        endpoint_public_access: it.endpoint.public,
        endpoint_private_access: it.endpoint.private,
        public_access_cidrs: it.endpoint.public_cidrs.clone(),
    }
}

/// What is on, and what is off.
fn logging(it: &Cluster) -> Logging {
    let setup = |enabled: bool| {
        let types: Vec<LogType> = LOGS
            .into_iter()
            .filter(|log| it.logs.contains(log) == enabled)
            .collect();
        (!types.is_empty()).then_some(LogSetup {
            types: Some(types),
            enabled: Some(enabled),
        })
    };
    Logging {
        cluster_logging: Some([true, false].into_iter().filter_map(setup).collect()),
    }
}

fn issue(it: &Issue) -> ClusterIssue {
    ClusterIssue {
        code: it.code.clone(),
        message: it.message.clone(),
        resource_ids: it.resource_ids.clone(),
    }
}

/// What was recorded, and what the node says is wrong now.
fn issues(app: &Eks, it: &Cluster) -> Vec<Issue> {
    let observed = app.cell.observed.borrow();
    let seen = observed.clusters.get(&control_plane(&it.name));
    let now = match seen.map(|seen| &seen.condition) {
        Some(Condition::Failed { reason })
            if !matches!(it.status, ClusterStatus::Failed | ClusterStatus::Deleting) =>
        {
            Some(Issue::new("ClusterUnreachable", reason.clone()))
        }
        _ => None,
    };
    it.issues.iter().cloned().chain(now).collect()
}
