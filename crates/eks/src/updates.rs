//! Updates: the record of changes that take time.

use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;
use std::sync::Arc;

use crate::record::{Addon, NodeGroup, Update, UpdateOf, key};
use crate::resource_types::{ADDON, CAPABILITY, CLUSTER, NODEGROUP};
use crate::shape::*;
use crate::{Eks, fault, page, token};

operations! {
    for Eks as "eks";
    read DescribeUpdate: get "/clusters/{name}/updates/{updateId}" 200 -> OneUpdate = describe, checked
        => on(&CLUSTER, |op, _| op.name.clone())
            .on(&NODEGROUP, |op, _| op.nodegroup_name.as_ref().map(|it| key(&op.name, it)))
            .on(&ADDON, |op, _| op.addon_name.as_ref().map(|it| key(&op.name, it)))
            .on(&CAPABILITY, |op, _| op.capability_name.as_ref().map(|it| key(&op.name, it)));
    read ListUpdates: get "/clusters/{name}/updates" 200 -> ListUpdatesResponse = list, checked
        => on(&CLUSTER, |op, _| op.name.clone())
            .on(&NODEGROUP, |op, _| op.nodegroup_name.as_ref().map(|it| key(&op.name, it)))
            .on(&ADDON, |op, _| op.addon_name.as_ref().map(|it| key(&op.name, it)))
            .on(&CAPABILITY, |op, _| op.capability_name.as_ref().map(|it| key(&op.name, it)));
}

/// A parameter of an update.
pub(crate) fn param(kind: &str, value: impl Into<String>) -> UpdateParam {
    UpdateParam {
        kind: kind.to_owned(),
        value: value.into(),
    }
}

/// The id of a new update.
pub(crate) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What an earlier, equal request with the same token began; else `id` is the new update's.
pub(crate) fn claim(
    tx: &mut Tx,
    operation: &str,
    token: Option<&str>,
    op: &impl std::fmt::Debug,
    cluster: &str,
    id: &str,
) -> Result<Option<OneUpdate>, ApiError> {
    let used = token::claim(tx, operation, token, op, id)?;
    let known = used.and_then(|id| tx.get::<Update>(&key(cluster, &id)));
    Ok(known.map(|update| one(&update)))
}

/// Begins an update.
pub(crate) fn begin(
    tx: &mut Tx,
    id: String,
    cluster: &str,
    of: UpdateOf,
    kind: UpdateType,
    params: Vec<UpdateParam>,
) -> Arc<Update> {
    let after = tx.view().revision();
    tx.put(Update {
        id,
        cluster: cluster.to_owned(),
        of,
        kind,
        status: UpdateStatus::InProgress,
        params,
        errors: Vec::new(),
        after,
        created_at: tx.now(),
    })
}

/// Ends the updates of something that are under way.
pub(crate) fn end(
    tx: &mut Tx,
    cluster: &str,
    of: &UpdateOf,
    status: UpdateStatus,
    error: Option<ErrorDetail>,
) {
    for update in open(tx.view(), cluster, of) {
        tx.update::<Update>(&update.id(), |it| {
            it.status = status;
            it.errors.extend(error.clone());
        });
    }
}

/// The updates of something that are under way.
pub(crate) fn open(view: &View, cluster: &str, of: &UpdateOf) -> Vec<Arc<Update>> {
    let prefix = format!("{cluster}/");
    view.range::<Update>(&prefix)
        .filter(|it| it.of == *of && it.status == UpdateStatus::InProgress)
        .collect()
}

pub(crate) fn one(update: &Update) -> OneUpdate {
    OneUpdate {
        update: Some(UpdateItem {
            id: Some(update.id.clone()),
            status: Some(update.status),
            kind: Some(update.kind),
            params: update.params.clone(),
            created_at: Some(update.created_at),
            errors: update.errors.clone(),
        }),
    }
}

/// What a request means: one of the three that may be named, which must be there.
fn subject(
    view: &View,
    cluster: &str,
    group: Option<&String>,
    addon: Option<&String>,
    capability: Option<&String>,
) -> Result<UpdateOf, ApiError> {
    fault::check_cluster(view, cluster)?;
    match (group, addon, capability) {
        (None, None, None) => Ok(UpdateOf::Cluster),
        (Some(name), None, None) => {
            let known = view.get::<NodeGroup>(&key(cluster, name));
            known.ok_or_else(|| fault::no_group(cluster, name))?;
            Ok(UpdateOf::NodeGroup(name.clone()))
        }
        (None, Some(name), None) => {
            let known = view.get::<Addon>(&key(cluster, name));
            known.ok_or_else(|| fault::no_addon(cluster, name))?;
            Ok(UpdateOf::Addon(name.clone()))
        }
        (None, None, Some(name)) => Err(fault::not_found(format!(
            "No capability found for name: {name}."
        ))),
        _ => Err(fault::invalid_parameter(
            "Only one of nodegroupName, addonName and capabilityName can be specified.",
        )),
    }
}

fn describe(_app: &Eks, view: &View, op: &DescribeUpdate) -> Result<OneUpdate, ApiError> {
    let (group, addon) = (op.nodegroup_name.as_ref(), op.addon_name.as_ref());
    let of = subject(view, &op.name, group, addon, op.capability_name.as_ref())?;
    let update = view.get::<Update>(&key(&op.name, &op.update_id));
    let update = update.filter(|it| it.of == of);
    let update = update.ok_or_else(|| {
        let shown: String = op.update_id.chars().take(64).collect();
        fault::not_found(format!("No update found for ID: {shown}"))
    })?;
    Ok(one(&update))
}

fn list(_app: &Eks, view: &View, op: &ListUpdates) -> Result<ListUpdatesResponse, ApiError> {
    let (group, addon) = (op.nodegroup_name.as_ref(), op.addon_name.as_ref());
    let of = subject(view, &op.name, group, addon, op.capability_name.as_ref())?;
    let prefix = format!("{}/", op.name);
    let ids = view.range::<Update>(&prefix).filter(|it| it.of == of);
    let ids = ids.map(|it| it.id.clone());
    let page = page(ids, String::clone, op.max_results, op.next_token.as_deref())?;
    Ok(ListUpdatesResponse {
        update_ids: page.items,
        next_token: page.next_token,
    })
}
