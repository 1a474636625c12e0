//! EKS's resources as policies name them
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>).
//!
//! Requests name what is in a cluster by the names of both, and what has tags by its ARN. The ends of ARNs are the service's own: those of a record, and
//! `*` where there is none.

use std::collections::BTreeMap;

use lath_authz::{Facts, RESOURCE_TAG, ResourceType, Scope};
use lath_store::View;

use crate::record::{
    AccessEntry, Addon, Cluster, ConnectedCluster, IdentityProvider, NodeGroup, PodIdentity,
};
use crate::tags;

/// The tags of a record.
type TagsOf = fn(&View, &str) -> Option<BTreeMap<String, String>>;

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident $label:literal $end:expr, $tags:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) const $name: ResourceType = ResourceType {
            name: $label,
            arn: |at, path| {
                if path.starts_with("arn:") {
                    return at.settled(path);
                }
                let end: fn(&Scope<'_>, &str) -> String = $end;
                at.arn("eks", &format!("{}/{}", $label, end(at, path)))
            },
            keys: &[RESOURCE_TAG],
            facts: |at, path| {
                let tags: TagsOf = $tags;
                let key = if path.starts_with("arn:") {
                    tags::named(at.view, $label, path)
                } else {
                    Some(path.to_owned())
                };
                of_tags(key.and_then(|key| tags(at.view, &key)))
            },
        };
    )*};
}

types! {
    /// By its name.
    CLUSTER "cluster" |_, name| name.to_owned(), |view, name| {
        let own = view.get::<Cluster>(name).map(|it| it.tags.clone());
        own.or_else(|| Some(view.get::<ConnectedCluster>(name)?.tags.clone()))
    };
    /// By the cluster's name and its own.
    NODEGROUP "nodegroup" |at, path| {
        with_uuid(path, at.view.get::<NodeGroup>(path).map(|it| it.uuid.clone()))
    }, |view, path| view.get::<NodeGroup>(path).map(|it| it.tags.clone());
    /// By the cluster's name and its own.
    ADDON "addon" |at, path| {
        with_uuid(path, at.view.get::<Addon>(path).map(|it| it.uuid.clone()))
    }, |view, path| view.get::<Addon>(path).map(|it| it.tags.clone());
    /// By the cluster's name and the principal's ARN.
    ACCESS_ENTRY "access-entry" |at, path| access_entry(at, path),
        |view, path| view.get::<AccessEntry>(path).map(|it| it.tags.clone());
    /// By the cluster's name and its own id.
    POD_IDENTITY "podidentityassociation" |_, path| path.to_owned(),
        |view, path| view.get::<PodIdentity>(path).map(|it| it.tags.clone());
    /// By the cluster's name and its own: there is none.
    FARGATE_PROFILE "fargateprofile" |_, path| with_uuid(path, None), |_, _| None;
    /// By the cluster's name, its type and its name.
    IDENTITY_PROVIDER "identityproviderconfig" |at, path| {
        with_uuid(path, at.view.get::<IdentityProvider>(path).map(|it| it.uuid.clone()))
    }, |view, path| view.get::<IdentityProvider>(path).map(|it| it.tags.clone());
    /// By the cluster's name and its own: there is none.
    CAPABILITY "capability" |_, path| {
        let (cluster, name) = path.split_once('/').unwrap_or((path, "*"));
        format!("{cluster}/*/{name}/*")
    }, |_, _| None;
    /// By its id: there is none.
    SUBSCRIPTION "eks-anywhere-subscription" |_, id| id.to_owned(), |_, _| None;
}

fn with_uuid(path: &str, uuid: Option<String>) -> String {
    format!("{path}/{}", uuid.as_deref().unwrap_or("*"))
}

fn access_entry(at: &Scope<'_>, path: &str) -> String {
    let entry = at.view.get::<AccessEntry>(path);
    let (cluster, principal) = path.split_once('/').unwrap_or((path, ""));
    let uuid = entry.as_ref().map_or("*", |it| &it.uuid);
    entry_resource(cluster, principal, uuid)
}

/// `CLUSTER/role/ACCOUNT/NAME/UUID`. Names are without their paths.
pub(crate) fn entry_resource(cluster: &str, principal: &str, uuid: &str) -> String {
    let mut parts = principal.splitn(6, ':').skip(4);
    let (account, resource) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
    let kind = resource.split('/').next().unwrap_or("*");
    let name = resource.rsplit('/').next().unwrap_or("*");
    format!("{cluster}/{kind}/{account}/{name}/{uuid}")
}

fn of_tags(tags: Option<BTreeMap<String, String>>) -> Facts {
    let tags = tags.into_iter().flatten();
    tags.map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]))
        .collect()
}

/// The tags that a request gives.
pub(crate) fn pairs(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let pair = |(key, value): (&String, &String)| (key.clone(), value.clone());
    tags.iter().map(pair).collect()
}
