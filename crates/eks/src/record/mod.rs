//! The typed state: what EKS keeps of each resource.

mod access;
mod addon;
mod cluster;
mod identity_provider;
mod node_group;
mod pod_identity;
mod update;

pub(crate) use access::{AccessEntry, AssociatedPolicy};
pub(crate) use addon::Addon;
pub(crate) use cluster::{Access, Cluster, ConnectedCluster, Endpoint, Issue};
pub(crate) use identity_provider::IdentityProvider;
pub(crate) use node_group::{Node, NodeGroup, Rollout};
pub(crate) use pod_identity::PodIdentity;
pub(crate) use update::{Update, UpdateOf};

use lath_model::{ManagedId, ManagedKind};
use lath_store::Kinds;

/// The record kinds that this crate keeps.
pub fn kinds(kinds: Kinds) -> Kinds {
    kinds
        .with::<Cluster>()
        .with::<ConnectedCluster>()
        .with::<NodeGroup>()
        .with::<Node>()
        .with::<Addon>()
        .with::<AccessEntry>()
        .with::<PodIdentity>()
        .with::<IdentityProvider>()
        .with::<Update>()
        .with::<crate::issuers::OtherIssuer>()
}

/// The key of what has a name in a cluster.
pub(crate) fn key(cluster: &str, name: &str) -> String {
    format!("{cluster}/{name}")
}

/// The control plane of a cluster. Names are checked before there is a cluster.
pub(crate) fn control_plane(cluster: &str) -> ManagedId {
    ManagedId::new(ManagedKind::ControlPlane, cluster)
        .expect("a cluster's name is one of a workload")
}
