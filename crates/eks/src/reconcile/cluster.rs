//! Clusters and their add-ons.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lath_feed::{ClusterObserved, Condition, Observed, POD_IDENTITY_AGENT};
use lath_kubernetes::pki;
use lath_model::Timestamp;
use lath_store::{Record as _, Tx};

use crate::record::{Addon, Cluster, IdentityProvider, Issue, UpdateOf, control_plane};
use crate::shape::{AddonStatus, ClusterStatus, ErrorDetail, IdentityProviderStatus, UpdateStatus};
use crate::{addons, clusters, updates};

/// How long a control plane may fail while it is made or changed before that counts as failed. The node keeps trying.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long an object of an add-on may be refused: a webhook of the cluster's own may be just coming up.
const REFUSED: Duration = Duration::from_secs(30);

/// One step of every cluster.
pub(super) fn advance(
    tx: &mut Tx,
    observed: &Observed,
    failing: &mut BTreeMap<String, Timestamp>,
    now: Timestamp,
) {
    let all: Vec<Arc<Cluster>> = tx.list::<Cluster>().collect();
    failing.retain(|name, _| all.iter().any(|it| it.name == *name));
    for cluster in all {
        let seen = observed.clusters.get(&control_plane(&cluster.name));
        if cluster.status == ClusterStatus::Deleting {
            if seen.is_none() && observed.applied_version > cluster.status_after {
                clusters::forget(tx, &cluster);
            }
            continue;
        }
        step(tx, &cluster, seen, failing, now);
        addon_steps(tx, &cluster, seen, now);
        provider_step(tx, &cluster, seen);
    }
}

/// The newest version of the feed that a control plane is known to have obeyed.
fn obeyed(seen: Option<&ClusterObserved>) -> Option<u64> {
    match seen?.condition {
        Condition::Ready { version } => Some(version),
        Condition::Failed { .. } => None,
    }
}

fn step(
    tx: &mut Tx,
    cluster: &Cluster,
    seen: Option<&ClusterObserved>,
    failing: &mut BTreeMap<String, Timestamp>,
    now: Timestamp,
) {
    let mut next = cluster.clone();
    if let Ok(Some(all)) = pki::renewed_authority(&cluster.keys, cluster.created_at, now) {
        // What reads certificates of authorities only when it starts is started again.
        next.keys.authority = all;
        next.boot += 1;
    }
    let works = obeyed(seen).is_some_and(|version| version > cluster.status_after);
    if works {
        failing.remove(&cluster.name);
        let version = seen.and_then(|it| it.version.clone());
        next.running = version.or_else(|| cluster.running.clone());
        if next.running.is_none() {
            next.running = Some(format!("v{}", cluster.version));
        }
        if cluster.status != ClusterStatus::Active {
            next.enter(ClusterStatus::Active, tx.view().revision());
            next.issues.clear();
            updates::end(
                tx,
                &cluster.name,
                &UpdateOf::Cluster,
                UpdateStatus::Successful,
                None,
            );
        }
    } else if let Some(Condition::Failed { reason }) = seen.map(|it| &it.condition) {
        let since = *failing.entry(cluster.name.clone()).or_insert(now);
        if now.since(since) >= PATIENCE {
            fail(tx, &mut next, reason);
        }
    } else {
        failing.remove(&cluster.name);
    }
    if next != *cluster {
        tx.put(next);
    }
}

/// A cluster that could not be made is failed; one that could not be changed is still there.
fn fail(tx: &mut Tx, next: &mut Cluster, reason: &str) {
    let revision = tx.view().revision();
    match next.status {
        ClusterStatus::Creating => {
            next.enter(ClusterStatus::Failed, revision);
            next.issues = vec![Issue::new("InternalFailure", reason)];
        }
        ClusterStatus::Updating => {
            next.enter(ClusterStatus::Active, revision);
            let error = ErrorDetail {
                error_code: "Unknown".into(),
                error_message: reason.to_owned(),
                resource_ids: Vec::new(),
            };
            let (of, status) = (UpdateOf::Cluster, UpdateStatus::Failed);
            updates::end(tx, &next.name, &of, status, Some(error));
        }
        _ => {}
    }
}

fn addon_steps(tx: &mut Tx, cluster: &Cluster, seen: Option<&ClusterObserved>, now: Timestamp) {
    let Some(version) = obeyed(seen) else { return };
    let refused = seen.map(|it| &it.refused_addons);
    let prefix = format!("{}/", cluster.name);
    let open: Vec<Arc<Addon>> = tx
        .view()
        .range::<Addon>(&prefix)
        .filter(|it| it.status != AddonStatus::Active && version > it.status_after)
        .collect();
    for addon in open {
        if addon.status == AddonStatus::Deleting {
            addons::forget(tx, &addon);
            continue;
        }
        if let Some(reason) = refused.and_then(|it| it.get(&addon.name)) {
            if now.since(addon.modified_at) >= REFUSED {
                refuse(tx, &addon, reason);
            }
            continue;
        }
        tx.update::<Addon>(&addon.id(), |it| {
            it.status = AddonStatus::Active;
            it.issues.clear();
        });
        let of = UpdateOf::Addon(addon.name.clone());
        updates::end(tx, &cluster.name, &of, UpdateStatus::Successful, None);
    }
}

/// An identity provider is there when the API server has taken it over, and gone when it has given it up.
fn provider_step(tx: &mut Tx, cluster: &Cluster, seen: Option<&ClusterObserved>) {
    let Some(version) = obeyed(seen) else { return };
    let in_force = seen.and_then(|it| it.identity_provider.as_ref());
    let is_known = seen.is_some_and(|it| it.identity_provider_known);
    let prefix = format!("{}/", cluster.name);
    let open: Vec<Arc<IdentityProvider>> = tx
        .view()
        .range::<IdentityProvider>(&prefix)
        .filter(|it| it.status != IdentityProviderStatus::Active && version > it.status_after)
        .collect();
    for provider in open {
        if provider.status == IdentityProviderStatus::Deleting {
            if !is_known || in_force.is_some() {
                continue;
            }
            tx.delete::<IdentityProvider>(&provider.id());
        } else if in_force == Some(&provider.settings) {
            let active = IdentityProviderStatus::Active;
            tx.update::<IdentityProvider>(&provider.id(), |it| it.status = active);
        } else {
            continue;
        }
        let of = UpdateOf::Cluster;
        updates::end(tx, &cluster.name, &of, UpdateStatus::Successful, None);
    }
}

/// The API server does not take what an add-on is made of. The node keeps trying.
fn refuse(tx: &mut Tx, addon: &Addon, reason: &str) {
    let status = match addon.status {
        AddonStatus::Creating => AddonStatus::CreateFailed,
        AddonStatus::Updating => AddonStatus::UpdateFailed,
        other => other,
    };
    // The agent is no object that the API server could refuse.
    let code = match addon.name.as_str() {
        POD_IDENTITY_AGENT => "InsufficientNumberOfReplicas",
        _ => "AdmissionRequestDenied",
    };
    let issues = vec![Issue::new(code, reason)];
    if addon.status == status && addon.issues == issues {
        return;
    }
    tx.update::<Addon>(&addon.id(), |it| {
        it.status = status;
        it.issues = issues;
    });
    let error = ErrorDetail {
        error_code: code.into(),
        error_message: reason.to_owned(),
        resource_ids: Vec::new(),
    };
    let of = UpdateOf::Addon(addon.name.clone());
    updates::end(tx, &addon.cluster, &of, UpdateStatus::Failed, Some(error));
}
