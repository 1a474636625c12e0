//! Groups of users.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::errors::{conflict, exists, limit, no_such_entity};
use crate::holder::{
    self, AttachedPolicies, PolicyNames, changeable, find, policy_handlers, policy_requests,
};
use crate::page::{cut, page, page_of, under};
use crate::records::{Group, Policies, User, key};
use crate::resource_types::{GROUP, POLICY_ARN, USER, at_path, moved};
use crate::users::UserDetail;
use crate::{Iam, directory, unique, users};

/// Most groups of an account.
const MAX_GROUPS: usize = 300;
/// Most groups of one user.
const MAX_MEMBERSHIPS: usize = 10;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateGroup {
    path: Option<String>,
    group_name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GroupDetail {
    path: String,
    group_name: String,
    group_id: String,
    arn: String,
    create_date: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneGroup {
    group: GroupDetail,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetGroup {
    group_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Members {
    group: GroupDetail,
    users: Vec<UserDetail>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListGroups {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListGroupsForUser {
    user_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GroupList {
    groups: Vec<GroupDetail>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteGroup {
    group_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateGroup {
    group_name: String,
    new_path: Option<String>,
    new_group_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddUserToGroup {
    group_name: String,
    user_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemoveUserFromGroup {
    group_name: String,
    user_name: String,
}

policy_requests!(
    "GroupName",
    AttachGroupPolicy,
    DetachGroupPolicy,
    ListAttachedGroupPolicies,
    PutGroupPolicy,
    GetGroupPolicy,
    GroupPolicy,
    DeleteGroupPolicy,
    ListGroupPolicies
);
policy_handlers!(
    Group,
    AttachGroupPolicy,
    DetachGroupPolicy,
    ListAttachedGroupPolicies,
    PutGroupPolicy,
    GetGroupPolicy,
    GroupPolicy,
    DeleteGroupPolicy,
    ListGroupPolicies
);

operations! {
    for Iam as "iam";
    change CreateGroup -> OneGroup = create =>
        on(&GROUP, |op, at| at_path(at, "group", op.path.as_deref(), &op.group_name));
    read GetGroup -> Members = get => on(&GROUP, |op, _| op.group_name.clone());
    read ListGroups -> GroupList = list => any();
    read ListGroupsForUser -> GroupList = list_of_user => on(&USER, |op, _| op.user_name.clone());
    change UpdateGroup -> () = update => on_each(&GROUP, &[], |op, at| {
            let (path, name) = (op.new_path.as_deref(), op.new_group_name.as_deref());
            moved::<Group>(at, &op.group_name, path, name)
        });
    change DeleteGroup -> () = delete => on(&GROUP, |op, _| op.group_name.clone());
    change AddUserToGroup -> () = add_user => on(&GROUP, |op, _| op.group_name.clone());
    change RemoveUserFromGroup -> () = remove_user => on(&GROUP, |op, _| op.group_name.clone());
    change AttachGroupPolicy -> () = attach => on(&GROUP, |op, _| op.name.clone())
        .with(POLICY_ARN, |op, at| at.settled(&op.policy_arn));
    change DetachGroupPolicy -> () = detach => on(&GROUP, |op, _| op.name.clone())
        .with(POLICY_ARN, |op, at| at.settled(&op.policy_arn));
    read ListAttachedGroupPolicies -> AttachedPolicies = list_attached => on(&GROUP, |op, _| op.name.clone());
    change PutGroupPolicy -> () = put_inline => on(&GROUP, |op, _| op.name.clone());
    read GetGroupPolicy -> GroupPolicy = get_inline => on(&GROUP, |op, _| op.name.clone());
    change DeleteGroupPolicy -> () = delete_inline => on(&GROUP, |op, _| op.name.clone());
    read ListGroupPolicies -> PolicyNames = list_inline => on(&GROUP, |op, _| op.name.clone());
}

fn shown(app: &Iam, group: &Group) -> GroupDetail {
    GroupDetail {
        path: group.path.clone(),
        group_name: group.name.clone(),
        group_id: group.unique_id.clone(),
        arn: group.arn(app.cell.owner()),
        create_date: group.created_at,
    }
}

fn create(app: &Iam, tx: &mut Tx, op: CreateGroup) -> Result<OneGroup, ApiError> {
    check::name("groupName", &op.group_name)?;
    let path = check::path(op.path.as_deref())?;
    if tx.get::<Group>(&key(&op.group_name)).is_some() {
        return Err(exists("Group", &op.group_name));
    }
    if app.is_strict() && tx.list::<Group>().count() >= MAX_GROUPS {
        return Err(limit("GroupsPerAccount", MAX_GROUPS));
    }
    let group = tx.put(Group {
        name: op.group_name.clone(),
        unique_id: unique::id("AGPA"),
        path,
        policies: Policies::default(),
        created_at: tx.now(),
    });
    Ok(OneGroup {
        group: shown(app, &group),
    })
}

fn get(app: &Iam, view: &View, op: &GetGroup) -> Result<Members, ApiError> {
    let group = find::<Group>(view, &op.group_name)?;
    let id = key(&group.name);
    let members = view.list::<User>().filter(|user| user.groups.contains(&id));
    let page = page(members, |user| key(&user.name), cut!(op))?;
    let users = page.items.iter().map(|user| users::shown(app, user, false));
    Ok(Members {
        group: shown(app, &group),
        users: users.collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn list(app: &Iam, view: &View, op: &ListGroups) -> Result<GroupList, ApiError> {
    let prefix = op.path_prefix.as_deref();
    let page = page_of::<Group>(view, |group| under(prefix, &group.path), cut!(op))?;
    Ok(GroupList {
        groups: page.items.iter().map(|group| shown(app, group)).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn list_of_user(app: &Iam, view: &View, op: &ListGroupsForUser) -> Result<GroupList, ApiError> {
    let user = find::<User>(view, &op.user_name)?;
    let groups = user.groups.iter().filter_map(|id| view.get::<Group>(id));
    let page = page(groups, |group| key(&group.name), cut!(op))?;
    Ok(GroupList {
        groups: page.items.iter().map(|group| shown(app, group)).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

/// A group keeps its id, users and policies under a new name.
fn update(_: &Iam, tx: &mut Tx, op: UpdateGroup) -> Result<(), ApiError> {
    let mut group = changeable::<Group>(tx.view(), &op.group_name)?;
    if let Some(path) = &op.new_path {
        group.path = check::path(Some(path))?;
    }
    if let Some(name) = &op.new_group_name {
        check::name("newGroupName", name)?;
        let (old, new) = (key(&group.name), key(name));
        if old != new && tx.get::<Group>(&new).is_some() {
            return Err(exists("Group", name));
        }
        move_users(tx, &old, &new);
        tx.delete::<Group>(&old);
        group.name = name.clone();
    }
    tx.put(group);
    Ok(())
}

fn move_users(tx: &mut Tx, old: &str, new: &str) {
    let members: Vec<_> = tx
        .list::<User>()
        .filter(|user| user.groups.contains(old))
        .collect();
    for member in members {
        let mut user = User::clone(&member);
        user.groups.remove(old);
        user.groups.insert(new.to_owned());
        tx.put(user);
    }
}

fn delete(_: &Iam, tx: &mut Tx, op: DeleteGroup) -> Result<(), ApiError> {
    let group = changeable::<Group>(tx.view(), &op.group_name)?;
    let id = key(&group.name);
    if tx.list::<User>().any(|user| user.groups.contains(&id)) {
        return Err(conflict(
            "Cannot delete entity, must remove users from group first.",
        ));
    }
    directory::check_bare(&group.policies)?;
    tx.delete::<Group>(&id);
    Ok(())
}

fn add_user(app: &Iam, tx: &mut Tx, op: AddUserToGroup) -> Result<(), ApiError> {
    let group = find::<Group>(tx.view(), &op.group_name)?;
    let mut user = changeable::<User>(tx.view(), &op.user_name)?;
    user.groups.insert(key(&group.name));
    if app.is_strict() && user.groups.len() > MAX_MEMBERSHIPS {
        return Err(limit("GroupsPerUser", MAX_MEMBERSHIPS));
    }
    tx.put(user);
    Ok(())
}

fn remove_user(_: &Iam, tx: &mut Tx, op: RemoveUserFromGroup) -> Result<(), ApiError> {
    let group = find::<Group>(tx.view(), &op.group_name)?;
    let mut user = changeable::<User>(tx.view(), &op.user_name)?;
    if !user.groups.remove(&key(&group.name)) {
        let (user, group) = (&op.user_name, &op.group_name);
        return Err(no_such_entity(format!(
            "User {user} is not in group {group}."
        )));
    }
    tx.put(user);
    Ok(())
}
