//! Tags of every kind of resource, by ARN.

use lath_control::Cell;
use lath_model::arn::Arn;
use lath_service::{Tags, TagsOf, operations, tagged};
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use crate::record::{
    AccessEntry, Addon, Cluster, ConnectedCluster, IdentityProvider, NodeGroup, PodIdentity, key,
};
use crate::resource_types::*;
use crate::shape::*;
use crate::{Eks, access, addons, check, clusters, extensions, node_groups};

operations! {
    for Eks as "eks";
    read ListTagsForResource: get "/tags/{resourceArn}" 200 -> ListTagsForResourceResponse = list
        => on(&CLUSTER, |op, _| of_kind("cluster", &op.resource_arn))
            .on(&NODEGROUP, |op, _| of_kind("nodegroup", &op.resource_arn))
            .on(&ADDON, |op, _| of_kind("addon", &op.resource_arn))
            .on(&ACCESS_ENTRY, |op, _| of_kind("access-entry", &op.resource_arn))
            .on(&POD_IDENTITY, |op, _| of_kind("podidentityassociation", &op.resource_arn))
            .on(&IDENTITY_PROVIDER, |op, _| of_kind("identityproviderconfig", &op.resource_arn));
    change TagResource: post "/tags/{resourceArn}" 200 -> Empty = tag, checked
        => on(&CLUSTER, |op, _| of_kind("cluster", &op.resource_arn)).tagged(|op, _| pairs(&op.tags))
            .on(&NODEGROUP, |op, _| of_kind("nodegroup", &op.resource_arn)).tagged(|op, _| pairs(&op.tags))
            .on(&ADDON, |op, _| of_kind("addon", &op.resource_arn)).tagged(|op, _| pairs(&op.tags))
            .on(&ACCESS_ENTRY, |op, _| of_kind("access-entry", &op.resource_arn)).tagged(|op, _| pairs(&op.tags))
            .on(&POD_IDENTITY, |op, _| of_kind("podidentityassociation", &op.resource_arn)).tagged(|op, _| pairs(&op.tags))
            .on(&IDENTITY_PROVIDER, |op, _| of_kind("identityproviderconfig", &op.resource_arn)).tagged(|op, _| pairs(&op.tags));
    change UntagResource: delete "/tags/{resourceArn}" 200 -> Empty = untag
        => on(&CLUSTER, |op, _| of_kind("cluster", &op.resource_arn)).untagged(|op, _| op.tag_keys.clone())
            .on(&NODEGROUP, |op, _| of_kind("nodegroup", &op.resource_arn)).untagged(|op, _| op.tag_keys.clone())
            .on(&ADDON, |op, _| of_kind("addon", &op.resource_arn)).untagged(|op, _| op.tag_keys.clone())
            .on(&ACCESS_ENTRY, |op, _| of_kind("access-entry", &op.resource_arn)).untagged(|op, _| op.tag_keys.clone())
            .on(&POD_IDENTITY, |op, _| of_kind("podidentityassociation", &op.resource_arn)).untagged(|op, _| op.tag_keys.clone())
            .on(&IDENTITY_PROVIDER, |op, _| of_kind("identityproviderconfig", &op.resource_arn)).untagged(|op, _| op.tag_keys.clone());
}

tagged!(
    Cluster,
    ConnectedCluster,
    NodeGroup,
    Addon,
    AccessEntry,
    PodIdentity,
    IdentityProvider
);

/// An ARN, if it is of this kind.
fn of_kind(kind: &str, arn: &str) -> Option<String> {
    let parsed: Arn = arn.parse().ok()?;
    let (found, _) = parsed.resource.split_once('/')?;
    (parsed.service == "eks" && found == kind).then(|| arn.to_owned())
}

/// The key of the record that an ARN of this kind names.
pub(crate) fn named(view: &View, kind: &str, arn: &str) -> Option<String> {
    let parsed: Arn = arn.parse().ok()?;
    let (found, rest) = parsed.resource.split_once('/')?;
    if parsed.service != "eks" || found != kind {
        return None;
    }
    let mut parts = rest.split('/');
    match kind {
        "cluster" => Some(rest.to_owned()),
        "access-entry" => {
            let cluster = parts.next()?;
            let prefix = format!("{cluster}/");
            let uuid = rest.rsplit('/').next()?;
            let mut entries = view.range::<AccessEntry>(&prefix);
            let entry = entries.find(|it| it.uuid == uuid);
            Some(entry.map_or_else(|| rest.to_owned(), |it| it.id()))
        }
        "identityproviderconfig" => {
            let (cluster, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
            Some(format!("{cluster}/{kind}/{name}"))
        }
        _ => Some(key(parts.next()?, parts.next()?)),
    }
}

/// Where the tags of the resource that an ARN names are: the kind of record, and its key.
fn place(cell: &Cell, view: &View, arn: &str) -> Result<(TagsOf, String), ApiError> {
    let bad = || {
        let shown: String = arn.chars().take(256).collect();
        ApiError::new("BadRequestException", 400, format!("Invalid ARN: {shown}"))
    };
    let parsed: Arn = arn.parse().map_err(|_| bad())?;
    let (kind, _) = parsed.resource.split_once('/').ok_or_else(bad)?;
    let key = named(view, kind, arn).ok_or_else(bad)?;
    let (tags, own) = match kind {
        "cluster" if view.get::<Cluster>(&key).is_some() => (
            TagsOf::of::<Cluster>(),
            Some(crate::clusters::arn(cell, &key)),
        ),
        "cluster" => {
            let known = view.get::<ConnectedCluster>(&key);
            let own = known.map(|it| crate::clusters::arn(cell, &it.name));
            (TagsOf::of::<ConnectedCluster>(), own)
        }
        "nodegroup" => {
            let own = view
                .get::<NodeGroup>(&key)
                .map(|it| node_groups::arn(cell, &it));
            (TagsOf::of::<NodeGroup>(), own)
        }
        "addon" => {
            let own = view.get::<Addon>(&key).map(|it| addons::arn(cell, &it));
            (TagsOf::of::<Addon>(), own)
        }
        "access-entry" => {
            let own = view
                .get::<AccessEntry>(&key)
                .map(|it| access::arn(cell, &it));
            (TagsOf::of::<AccessEntry>(), own)
        }
        "podidentityassociation" => {
            let known = view.get::<PodIdentity>(&key);
            let own = known.map(|it| crate::pod_identities::arn(cell, &it.cluster, &it.id));
            (TagsOf::of::<PodIdentity>(), own)
        }
        "identityproviderconfig" => {
            let known = view.get::<IdentityProvider>(&key);
            let own = known.map(|it| crate::identity_providers::arn(cell, &it));
            (TagsOf::of::<IdentityProvider>(), own)
        }
        _ => return Err(bad()),
    };
    if own.as_deref() != Some(arn) {
        return Err(ApiError::new(
            "NotFoundException",
            404,
            format!("No resource found for ARN: {arn}"),
        ));
    }
    Ok((tags, key))
}

fn list(
    app: &Eks,
    view: &View,
    op: &ListTagsForResource,
) -> Result<ListTagsForResourceResponse, ApiError> {
    let (tags, key) = place(&app.cell, view, &op.resource_arn)?;
    let tags = (tags.read)(view, &key).unwrap_or_default();
    Ok(ListTagsForResourceResponse { tags })
}

fn change(
    app: &Eks,
    tx: &mut Tx,
    arn: &str,
    change: impl FnOnce(&mut Tags),
) -> Result<Empty, ApiError> {
    let (of, key) = place(&app.cell, tx.view(), arn)?;
    let mut tags = (of.read)(tx.view(), &key).unwrap_or_default();
    change(&mut tags);
    if !check::tags_fit(&tags) {
        let text = check::too_many_tags();
        return Err(ApiError::new("BadRequestException", 400, text));
    }
    let cluster = tx
        .get::<Cluster>(&key)
        .filter(|it| arn == clusters::arn(&app.cell, &it.name));
    if let Some(cluster) = cluster {
        extensions::check(&app.cell, &tags)
            .map_err(|error| ApiError::new("BadRequestException", 400, error.message))?;
        let seconds = |tags: &Tags| extensions::unreachable_seconds(&app.cell, tags);
        if seconds(&tags) != seconds(&cluster.tags) {
            // kube-apiserver reads it when it begins.
            tx.update::<Cluster>(&key, |it| it.boot += 1);
        }
    }
    (of.write)(tx, &key, tags);
    Ok(Empty {})
}

fn tag(app: &Eks, tx: &mut Tx, op: TagResource) -> Result<Empty, ApiError> {
    change(app, tx, &op.resource_arn, |tags| tags.extend(op.tags))
}

fn untag(app: &Eks, tx: &mut Tx, op: UntagResource) -> Result<Empty, ApiError> {
    change(app, tx, &op.resource_arn, |tags| {
        tags.retain(|key, _| !op.tag_keys.contains(key));
    })
}
