//! EKS's part of the feed: a pure function of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_control::{Cell, Contribute, Derive};
use lath_feed::{
    AccessPolicy, ClusterAccess, ClusterLog, ControlPlane, ManagedWorkload, NamespaceOrigin,
    PublicEndpoint, Snapshot,
};
use lath_store::{Record, View};

use crate::reconcile::scaling;
use crate::record::{AccessEntry, Addon, Cluster, IdentityProvider, PodIdentity, control_plane};
use crate::shape::{
    AccessScopeType, AddonStatus, AuthenticationMode, ClusterStatus, IdentityProviderStatus,
    LogType,
};
use crate::{access, clusters, extensions};

/// Fills control planes, and the workloads that they are. A cluster that is being deleted is absent, which ends it.
pub const CONTRIBUTIONS: [Contribute; 1] = [Derive::Each {
    kind: Cluster::KIND,
    make: control_planes,
}];

/// Whether there is a cluster: its tokens are presigned requests, so that nodes must know callers.
pub fn asks_who_calls(view: &View) -> bool {
    view.list::<Cluster>().next().is_some()
}

fn control_planes(cell: &Cell, view: &View, name: &str, snapshot: &mut Snapshot) {
    let id = control_plane(name);
    let cluster = view.get::<Cluster>(name);
    let Some(cluster) = cluster.filter(|it| it.status != ClusterStatus::Deleting) else {
        snapshot.workloads.remove(&id);
        snapshot.control_planes.remove(&id);
        return;
    };
    let workload = ManagedWorkload {
        id: id.clone(),
        vpc: cluster.vpc.clone(),
        namespace: NamespaceOrigin::Fabric,
    };
    snapshot.workloads.insert(id.clone(), Arc::new(workload));
    let plane = feed(cell, view, &cluster);
    snapshot.control_planes.insert(id, Arc::new(plane));
}

fn feed(cell: &Cell, view: &View, it: &Cluster) -> ControlPlane {
    ControlPlane {
        id: control_plane(&it.name),
        name: it.name.clone(),
        arn: clusters::arn(cell, &it.name),
        version: it.version.clone(),
        boot: it.boot,
        addresses: it.addresses.clone(),
        service_cidr: it.service_cidr,
        keys: it.keys.clone(),
        issuer: clusters::issuer(cell, it),
        public_endpoint: it.endpoint.public.then(|| PublicEndpoint {
            listen: ([127, 0, 0, 1], it.endpoint.port).into(),
            cidrs: cidrs(it),
        }),
        logging: it.logs.iter().map(|log| component(*log)).collect(),
        access: access_of(view, it),
        addons: addons_of(view, it),
        pod_identities: pod_identities(view, it),
        unreachable_seconds: extensions::unreachable_seconds(cell, &it.tags),
        identity_provider: identity_provider(view, it),
        scales: scaling::any(cell, view, &it.name),
    }
}

fn cidrs(it: &Cluster) -> Vec<ipnet::IpNet> {
    let cidrs = it.endpoint.public_cidrs.iter();
    cidrs.filter_map(|cidr| cidr.parse().ok()).collect()
}

fn component(log: LogType) -> ClusterLog {
    match log {
        LogType::Api => ClusterLog::Api,
        LogType::Audit => ClusterLog::Audit,
        LogType::Authenticator => ClusterLog::Authenticator,
        LogType::ControllerManager => ClusterLog::ControllerManager,
        LogType::Scheduler => ClusterLog::Scheduler,
    }
}

fn access_of(view: &View, it: &Cluster) -> ClusterAccess {
    let mode = it.access.mode;
    let entries_count = access::counts(mode);
    // Where entries count, the creator has one, which the user may change.
    let creator = (it.access.bootstrap && !entries_count).then(|| it.access.creator.clone());
    let creator_id = creator.as_ref().and_then(|_| it.access.creator_id.clone());
    let prefix = format!("{}/", it.name);
    let entries = view.range::<AccessEntry>(&prefix);
    ClusterAccess {
        entries_count,
        config_map_counts: mode != AuthenticationMode::Api,
        creator,
        creator_id,
        entries: entries
            .map(|entry| (entry.principal.clone(), entry_of(&entry)))
            .collect(),
    }
}

fn entry_of(entry: &AccessEntry) -> lath_feed::AccessEntry {
    let policies = entry.policies.iter().map(|policy| AccessPolicy {
        name: policy.name.clone(),
        namespaces: match policy.scope.kind {
            Some(AccessScopeType::Namespace) => Some(policy.scope.namespaces.clone()),
            _ => None,
        },
    });
    lath_feed::AccessEntry {
        unique_id: entry.unique_id.clone(),
        username: entry.username.clone(),
        groups: entry.groups.clone(),
        policies: policies.collect(),
    }
}

/// Those that EKS does not manage, and those that it does.
fn addons_of(view: &View, it: &Cluster) -> BTreeMap<String, lath_feed::Addon> {
    let mut all = it.self_managed_addons.clone();
    let prefix = format!("{}/", it.name);
    let managed = view.range::<Addon>(&prefix);
    for addon in managed.filter(|it| it.status != AddonStatus::Deleting) {
        let feed = lath_feed::Addon {
            version: addon.version.clone(),
            configuration: addon.configuration.clone(),
        };
        all.insert(addon.name.clone(), feed);
    }
    all
}

fn identity_provider(view: &View, it: &Cluster) -> Option<lath_feed::IdentityProvider> {
    let prefix = format!("{}/", it.name);
    let mut providers = view.range::<IdentityProvider>(&prefix);
    let wanted = providers.find(|it| it.status != IdentityProviderStatus::Deleting)?;
    Some(wanted.settings.clone())
}

fn pod_identities(view: &View, it: &Cluster) -> Vec<lath_feed::PodIdentity> {
    let prefix = format!("{}/", it.name);
    view.range::<PodIdentity>(&prefix)
        .map(|identity| lath_feed::PodIdentity {
            id: identity.id.clone(),
            namespace: identity.namespace.clone(),
            service_account: identity.service_account.clone(),
            role_arn: identity.role_arn.clone(),
        })
        .collect()
}
