//! Clusters.

pub(crate) mod connected;
pub(crate) mod create;
mod network;
mod response;
pub(crate) mod update;

use std::sync::Arc;

use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::record::{
    AccessEntry, Addon, Cluster, ConnectedCluster, IdentityProvider, NodeGroup, PodIdentity,
    Update, control_plane,
};
use crate::resource_types::CLUSTER;
use crate::shape::*;
use crate::{Eks, fault, page};

pub(crate) use network::subnets;
pub(crate) use response::{arn, issuer, item, minor};

operations! {
    for Eks as "eks";
    read ListClusters: get "/clusters" 200 -> ListClustersResponse = list, checked
        => any();
    read DescribeCluster: get "/clusters/{name}" 200 -> OneCluster = describe, checked, awaited
        => on(&CLUSTER, |op, _| op.name.clone());
    change DeleteCluster: delete "/clusters/{name}" 200 -> OneCluster = delete, checked
        => on(&CLUSTER, |op, _| op.name.clone());
}

/// A cluster of this region, in whatever state.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn find(view: &View, name: &str) -> Result<Arc<Cluster>, ApiError> {
    view.get(name).ok_or_else(|| fault::no_cluster(name))
}

/// A cluster that may be changed.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidRequestException`.
pub(crate) fn find_active(view: &View, name: &str) -> Result<Arc<Cluster>, ApiError> {
    let cluster = find(view, name)?;
    if !cluster.is_active() {
        return Err(fault::not_active(name));
    }
    Ok(cluster)
}

fn list(_app: &Eks, view: &View, op: &ListClusters) -> Result<ListClustersResponse, ApiError> {
    let connected = view
        .list::<ConnectedCluster>()
        .filter(|_| !op.include.is_empty());
    let connected = connected.map(|it| it.name.clone());
    let own = view.list::<Cluster>().map(|it| it.name.clone());
    let mut names: Vec<String> = own.chain(connected).collect();
    names.sort();
    let page = page(
        names,
        String::clone,
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListClustersResponse {
        clusters: page.items,
        next_token: page.next_token,
    })
}

fn describe(app: &Eks, view: &View, op: &DescribeCluster) -> Result<OneCluster, ApiError> {
    if let Some(connected) = view.get::<ConnectedCluster>(&op.name) {
        return Ok(connected::one(app, &connected));
    }
    Ok(one(app, &*find(view, &op.name)?))
}

fn one(app: &Eks, cluster: &Cluster) -> OneCluster {
    OneCluster {
        cluster: Some(item(app, cluster)),
    }
}

fn delete(app: &Eks, tx: &mut Tx, op: DeleteCluster) -> Result<OneCluster, ApiError> {
    let cluster = find(tx.view(), &op.name)?;
    if cluster.status == ClusterStatus::Deleting {
        return Ok(one(app, &cluster));
    }
    if cluster.deletion_protection {
        return Err(fault::invalid_request(
            "Cluster cannot be deleted while deletionProtection is enabled.",
        )
        .with_field("clusterName", lath_wire::Doc::String(op.name)));
    }
    let mut groups = tx.list::<NodeGroup>();
    if groups.any(|it| it.cluster == cluster.name) {
        drop(groups);
        return Err(fault::in_use("Cluster has nodegroups attached")
            .with_field("clusterName", lath_wire::Doc::String(op.name)));
    }
    drop(groups);
    let revision = tx.view().revision();
    let mut deleting = Cluster::clone(&cluster);
    deleting.enter(ClusterStatus::Deleting, revision);
    cancel_updates(tx, &cluster.name);
    Ok(one(app, &tx.put(deleting)))
}

/// Nothing waits for the updates of a cluster that goes.
fn cancel_updates(tx: &mut Tx, cluster: &str) {
    let prefix = format!("{cluster}/");
    let open: Vec<_> = tx.view().range::<Update>(&prefix).collect();
    for update in open {
        if update.status == UpdateStatus::InProgress {
            tx.update::<Update>(&update.id(), |it| it.status = UpdateStatus::Cancelled);
        }
    }
}

/// Forgets a cluster of which no node has anything any more, with all that is in it.
pub(crate) fn forget(tx: &mut Tx, cluster: &Cluster) {
    lath_ec2_compute::managed::release_interfaces(tx, &control_plane(&cluster.name));
    lath_ec2_compute::managed::delete_group(tx, &cluster.cluster_group);
    forget_all::<Addon>(tx, &cluster.name);
    forget_all::<AccessEntry>(tx, &cluster.name);
    forget_all::<PodIdentity>(tx, &cluster.name);
    forget_all::<IdentityProvider>(tx, &cluster.name);
    forget_all::<Update>(tx, &cluster.name);
    tx.delete::<Cluster>(&cluster.name);
}

fn forget_all<R: lath_store::Record>(tx: &mut Tx, cluster: &str) {
    let prefix = format!("{cluster}/");
    let ids: Vec<String> = tx.view().range::<R>(&prefix).map(|it| it.id()).collect();
    for id in ids {
        tx.delete::<R>(&id);
    }
}
