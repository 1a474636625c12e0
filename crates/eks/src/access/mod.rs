//! Access entries: what principals of IAM are in a cluster.

pub(crate) mod policies;

use std::sync::Arc;

use lath_control::Cell;
use lath_iam::records::Role;
use lath_model::Timestamp;
use lath_model::arn::Arn;
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::{ApiError, Caller};

use self::policies::{CLUSTER_ADMIN, policy_arn};
use crate::record::{AccessEntry, AssociatedPolicy, Cluster, NodeGroup, key};
use crate::resource_types::{ACCESS_ENTRY, CLUSTER, entry_resource, pairs};
use crate::shape::*;
use crate::{Eks, clusters, fault, page, roles, token};

operations! {
    for Eks as "eks";
    change CreateAccessEntry: post "/clusters/{name}/access-entries" 200 -> OneAccessEntry = create, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone())
            .tagged(|op, _| pairs(&op.tags))
            .with("eks:principalArn", |op, at| at.settled(&op.principal_arn))
            .with("eks:accessEntryType", |op, _| op.kind.clone().unwrap_or_else(|| STANDARD.to_owned()))
            .with("eks:username", |op, _| op.username.clone())
            .with("eks:kubernetesGroups", |op, _| op.kubernetes_groups.clone());
    read DescribeAccessEntry: get "/clusters/{name}/access-entries/{principalArn}" 200 -> OneAccessEntry = describe, checked
        => on(&ACCESS_ENTRY, |op, _| key(&op.cluster_name, &op.principal_arn));
    read ListAccessEntries: get "/clusters/{name}/access-entries" 200 -> ListAccessEntriesResponse = list, checked
        => on(&CLUSTER, |op, _| op.cluster_name.clone());
    change UpdateAccessEntry: post "/clusters/{name}/access-entries/{principalArn}" 200 -> OneAccessEntry = update, checked
        => on(&ACCESS_ENTRY, |op, _| key(&op.cluster_name, &op.principal_arn));
    change DeleteAccessEntry: delete "/clusters/{name}/access-entries/{principalArn}" 200 -> Empty = delete, checked
        => on(&ACCESS_ENTRY, |op, _| key(&op.cluster_name, &op.principal_arn));
}

const STANDARD: &str = "STANDARD";
const LINUX_NODES: &str = "EC2_LINUX";
/// Types of entries, beside `STANDARD`: those of nodes that Lath has, and those that it does not.
const OTHERS: [&str; 4] = ["EC2", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX"];
/// What no user name of a user may begin with.
const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];
/// What a node is called, and what it belongs to.
const NODE_NAME: &str = "system:node:{{EC2PrivateDNSName}}";
const NODE_GROUP: &str = "system:nodes";

/// The principal that entries name: the caller, and the role where the caller is a session of one.
pub(crate) fn principal(cell: &Cell, view: &View, caller: &Caller) -> String {
    let arn = &caller.principal.arn;
    let Ok(parsed) = arn.parse::<Arn>() else {
        return arn.clone();
    };
    let Some(session) = parsed.resource.strip_prefix("assumed-role/") else {
        return arn.clone();
    };
    let name = session.split('/').next().unwrap_or_default();
    // The ARN of a session lacks the role's path.
    let role = view.get::<Role>(&name.to_ascii_lowercase());
    role.map_or_else(
        || cell.global_arn("iam", format!("role/{name}")),
        |role| role.arn(cell.owner()),
    )
}

/// The unique id of the principal that entries name for a caller.
pub(crate) fn caller_id(caller: &Caller) -> Option<String> {
    let id = caller.principal.user_id.split(':').next();
    id.filter(|it| !it.is_empty()).map(str::to_owned)
}

/// The unique id of a role or user of the account; `None`: it is another principal.
fn unique_id(cell: &Cell, view: &View, arn: &str) -> Option<String> {
    if arn.contains(":role/") {
        return Some(roles::find(cell, view, arn)?.unique_id.clone());
    }
    let user = find_user(cell, view, arn)?;
    Some(user.unique_id.clone())
}

fn find_user(cell: &Cell, view: &View, arn: &str) -> Option<Arc<lath_iam::records::User>> {
    let owner = cell.owner();
    let mut users = view.list::<lath_iam::records::User>();
    users.find(|it| it.arn(owner) == arn)
}

/// Whether entries count in a cluster.
pub(crate) fn counts(mode: AuthenticationMode) -> bool {
    mode != AuthenticationMode::ConfigMap
}

/// Makes the creator an administrator by an entry, where entries count and no entry names it.
pub(crate) fn grant_creator(cell: &Cell, tx: &mut Tx, cluster: &Cluster) {
    let creator = &cluster.access.creator;
    let known = tx.get::<AccessEntry>(&key(&cluster.name, creator));
    if !counts(cluster.access.mode) || !cluster.access.bootstrap || known.is_some() {
        return;
    }
    let now = tx.now();
    let mut entry = new_entry(cell, &cluster.name, creator, STANDARD, now);
    entry.unique_id.clone_from(&cluster.access.creator_id);
    entry.policies.push(AssociatedPolicy {
        name: CLUSTER_ADMIN.to_owned(),
        scope: AccessScope {
            kind: Some(AccessScopeType::Cluster),
            namespaces: Vec::new(),
        },
        associated_at: now,
        modified_at: now,
    });
    tx.put(entry);
}

/// Lets the nodes of a role in, where entries count and no entry names it.
pub(crate) fn grant_nodes(cell: &Cell, tx: &mut Tx, cluster: &Cluster, role: &str) {
    let known = tx.get::<AccessEntry>(&key(&cluster.name, role));
    if !counts(cluster.access.mode) || known.is_some() {
        return;
    }
    let mut entry = new_entry(cell, &cluster.name, role, LINUX_NODES, tx.now());
    entry.unique_id = unique_id(cell, tx.view(), role);
    entry.of_node_groups = true;
    tx.put(entry);
}

/// As [`grant_nodes`], for every node group of a cluster.
pub(crate) fn grant_all_nodes(cell: &Cell, tx: &mut Tx, cluster: &Cluster) {
    let prefix = format!("{}/", cluster.name);
    let groups = tx.view().range::<NodeGroup>(&prefix);
    let roles: Vec<String> = groups.map(|it| it.node_role.clone()).collect();
    for role in roles {
        grant_nodes(cell, tx, cluster, &role);
    }
}

/// Takes back what [`grant_nodes`] gave, once no node group has the role.
pub(crate) fn withdraw_nodes(tx: &mut Tx, cluster: &str, role: &str) {
    let prefix = format!("{cluster}/");
    let mut groups = tx.view().range::<NodeGroup>(&prefix);
    let used = groups.any(|it| it.node_role == role);
    drop(groups);
    let id = key(cluster, role);
    let entry = tx.get::<AccessEntry>(&id);
    if !used && entry.is_some_and(|it| it.of_node_groups) {
        tx.delete::<AccessEntry>(&id);
    }
}

fn new_entry(
    cell: &Cell,
    cluster: &str,
    principal: &str,
    kind: &str,
    now: Timestamp,
) -> AccessEntry {
    let (username, groups) = if kind == STANDARD {
        (default_username(cell, principal), Vec::new())
    } else {
        (NODE_NAME.to_owned(), vec![NODE_GROUP.to_owned()])
    };
    AccessEntry {
        cluster: cluster.to_owned(),
        principal: principal.to_owned(),
        unique_id: None,
        uuid: uuid::Uuid::new_v4().to_string(),
        kind: kind.to_owned(),
        username,
        groups,
        policies: Vec::new(),
        of_node_groups: false,
        tags: Default::default(),
        created_at: now,
        modified_at: now,
    }
}

/// A user is called by its ARN, a session of a role by the session's.
fn default_username(cell: &Cell, principal: &str) -> String {
    let name = role_name(principal);
    name.map_or_else(
        || principal.to_owned(),
        |name| cell.global_arn("sts", format!("assumed-role/{name}/{{{{SessionName}}}}")),
    )
}

/// The name of the role that an ARN names, without its path.
fn role_name(principal: &str) -> Option<&str> {
    let (_, path) = principal.split_once(":role/")?;
    path.rsplit('/').next()
}

/// An entry of a cluster in whose mode entries count.
fn find(view: &View, cluster: &str, principal: &str) -> Result<Arc<AccessEntry>, ApiError> {
    check_mode(&*clusters::find(view, cluster)?)?;
    let entry = view.get::<AccessEntry>(&key(cluster, principal));
    entry.ok_or_else(|| {
        fault::not_found(
            "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.",
        )
    })
}

fn check_mode(cluster: &Cluster) -> Result<(), ApiError> {
    if counts(cluster.access.mode) {
        return Ok(());
    }
    Err(fault::invalid_request(
        "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.",
    ))
}

pub(crate) fn arn(cell: &Cell, entry: &AccessEntry) -> String {
    let resource = entry_resource(&entry.cluster, &entry.principal, &entry.uuid);
    cell.arn("eks", format!("access-entry/{resource}"))
}

fn one(app: &Eks, entry: &AccessEntry) -> OneAccessEntry {
    OneAccessEntry {
        access_entry: Some(AccessEntryItem {
            cluster_name: Some(entry.cluster.clone()),
            principal_arn: Some(entry.principal.clone()),
            kubernetes_groups: entry.groups.clone(),
            access_entry_arn: Some(arn(&app.cell, entry)),
            created_at: Some(entry.created_at),
            modified_at: Some(entry.modified_at),
            tags: entry.tags.clone(),
            username: Some(entry.username.clone()),
            kind: Some(entry.kind.clone()),
        }),
    }
}

fn create(app: &Eks, tx: &mut Tx, mut op: CreateAccessEntry) -> Result<OneAccessEntry, ApiError> {
    let client_token = op.client_request_token.take();
    let cluster = clusters::find_active(tx.view(), &op.cluster_name)?;
    check_mode(&cluster)?;
    let id = key(&op.cluster_name, &op.principal_arn);
    let used = token::claim(tx, "CreateAccessEntry", client_token.as_deref(), &op, &id)?;
    if let Some(known) = used.and_then(|id| tx.get::<AccessEntry>(&id)) {
        return Ok(one(app, &known));
    }
    check_principal(app, tx.view(), &op.principal_arn)?;
    let kind = kind(&op)?;
    if tx.get::<AccessEntry>(&id).is_some() {
        return Err(fault::in_use(
            "The specified access entry resource is already in use on this cluster.",
        ));
    }
    let mut entry = new_entry(
        &app.cell,
        &op.cluster_name,
        &op.principal_arn,
        kind,
        tx.now(),
    );
    entry.unique_id = unique_id(&app.cell, tx.view(), &op.principal_arn);
    if kind == STANDARD {
        check_groups(&op.kubernetes_groups)?;
        entry.groups = op.kubernetes_groups;
        if let Some(username) = op.username.filter(|it| !it.is_empty()) {
            check_username(&username, &op.principal_arn)?;
            entry.username = username;
        }
    }
    entry.tags = op.tags;
    Ok(one(app, &tx.put(entry)))
}

/// The type of a new entry: what nodes of others need is not here.
fn kind(op: &CreateAccessEntry) -> Result<&'static str, ApiError> {
    match op.kind.as_deref() {
        None | Some(STANDARD) => Ok(STANDARD),
        Some(LINUX_NODES) => {
            if op.username.is_some() || !op.kubernetes_groups.is_empty() {
                return Err(fault::invalid_parameter(
                    "A username or kubernetesGroups can only be specified for Access Entries with a type of \"STANDARD\".",
                ));
            }
            Ok(LINUX_NODES)
        }
        Some(known) if OTHERS.contains(&known) => Err(fault::unsupported(&format!(
            "access entries of the type {known}"
        ))),
        Some(_) => Err(fault::invalid_parameter(
            "The type parameter is not a valid access entry type.",
        )),
    }
}

/// A role or user of IAM, which must be there if it is of this account.
fn check_principal(app: &Eks, view: &View, arn: &str) -> Result<(), ApiError> {
    let invalid =
        || fault::invalid_parameter("The specified principalArn is invalid: invalid principal.");
    let parsed: Arn = arn.parse().map_err(|_| invalid())?;
    let is_known = parsed.resource.starts_with("role/")
        || parsed.resource.starts_with("user/")
        || parsed.resource == "root";
    if parsed.service != "iam" || !is_known {
        return Err(invalid());
    }
    let here = parsed.account == app.cell.account;
    let is_there = if parsed.resource.starts_with("role/") {
        roles::find(&app.cell, view, arn).is_some()
    } else if parsed.resource.starts_with("user/") {
        find_user(&app.cell, view, arn).is_some()
    } else {
        true
    };
    if here && !is_there {
        Err(invalid())
    } else {
        Ok(())
    }
}

fn check_groups(groups: &[String]) -> Result<(), ApiError> {
    let reserved = |group: &&String| RESERVED.iter().any(|it| group.starts_with(it));
    if let Some(group) = groups.iter().find(reserved) {
        let shown: String = group.chars().take(64).collect();
        return Err(fault::invalid_parameter(format!(
            "The kubernetes group name {shown} is invalid, it cannot start with {}",
            RESERVED.join(", ")
        )));
    }
    Ok(())
}

fn check_username(username: &str, principal: &str) -> Result<(), ApiError> {
    if let Some(prefix) = RESERVED.iter().find(|it| username.starts_with(*it)) {
        return Err(fault::invalid_parameter(format!(
            "The username parameter is invalid, it cannot start with {prefix}"
        )));
    }
    // Sessions of a role are told apart by what follows the colon.
    let placeholder = "{{SessionName}}";
    if role_name(principal).is_some() && username.contains(placeholder) {
        let before = username.split(placeholder).next().unwrap_or_default();
        if !before.contains(':') {
            return Err(fault::invalid_parameter(
                "The username parameter is invalid: {{SessionName}} must be preceded by a colon.",
            ));
        }
    }
    Ok(())
}

fn describe(app: &Eks, view: &View, op: &DescribeAccessEntry) -> Result<OneAccessEntry, ApiError> {
    let entry = find(view, &op.cluster_name, &op.principal_arn)?;
    Ok(one(app, &entry))
}

fn list(
    app: &Eks,
    view: &View,
    op: &ListAccessEntries,
) -> Result<ListAccessEntriesResponse, ApiError> {
    check_mode(&*clusters::find(view, &op.cluster_name)?)?;
    let prefix = format!("{}/", op.cluster_name);
    let has_policy = |entry: &AccessEntry| {
        op.associated_policy_arn.as_deref().is_none_or(|wanted| {
            let mut policies = entry.policies.iter();
            policies.any(|it| policy_arn(&app.cell, &it.name) == wanted)
        })
    };
    let entries = view
        .range::<AccessEntry>(&prefix)
        .filter(|it| has_policy(it));
    let arns = entries.map(|it| it.principal.clone());
    let page = page(
        arns,
        String::clone,
        op.max_results,
        op.next_token.as_deref(),
    )?;
    Ok(ListAccessEntriesResponse {
        access_entries: page.items,
        next_token: page.next_token,
    })
}

fn update(app: &Eks, tx: &mut Tx, op: UpdateAccessEntry) -> Result<OneAccessEntry, ApiError> {
    let entry = find(tx.view(), &op.cluster_name, &op.principal_arn)?;
    if entry.kind != STANDARD {
        return Err(only_standard());
    }
    let mut next = AccessEntry::clone(&entry);
    if let Some(groups) = op.kubernetes_groups {
        check_groups(&groups)?;
        next.groups = groups;
    }
    if let Some(username) = op.username.filter(|it| !it.is_empty()) {
        check_username(&username, &op.principal_arn)?;
        next.username = username;
    }
    next.modified_at = tx.now();
    Ok(one(app, &tx.put(next)))
}

/// AWS's words (<https://github.com/aws-controllers-k8s/community/issues/2144>).
fn only_standard() -> ApiError {
    fault::invalid_parameter(
        "This operation can only be performed on Access Entries with a type of \"STANDARD\".",
    )
}

fn delete(_app: &Eks, tx: &mut Tx, op: DeleteAccessEntry) -> Result<Empty, ApiError> {
    let entry = find(tx.view(), &op.cluster_name, &op.principal_arn)?;
    tx.delete::<AccessEntry>(&entry.id());
    Ok(Empty {})
}
