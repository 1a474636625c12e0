//! Users.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use crate::check::{self, Tag, shown_tags};
use crate::errors::{conflict, exists, limit, validation};
use crate::holder::{
    self, AttachedPolicies, PolicyNames, TagList, changeable, find, list_tags, policy_handlers,
    policy_requests, set_boundary, tag, untag,
};
use crate::page::{cut, page_of, under};
use crate::policies::check_boundary;
use crate::records::{AccessKey, Policies, User, key};
use crate::resource_types::{BOUNDARY, POLICY_ARN, USER, about, at_path, boundary, moved, pairs};
use crate::roles::Boundary;
use crate::{Iam, directory, unique};

/// Most users of an account.
const MAX_USERS: usize = 5000;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateUser {
    path: Option<String>,
    user_name: String,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// A user, as it is shown. The account's root has no name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UserDetail {
    path: Option<String>,
    user_name: Option<String>,
    user_id: String,
    arn: String,
    create_date: Timestamp,
    permissions_boundary: Option<Boundary>,
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneUser {
    user: UserDetail,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetUser {
    user_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListUsers {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UserList {
    users: Vec<UserDetail>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateUser {
    user_name: String,
    new_path: Option<String>,
    new_user_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteUser {
    user_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutUserPermissionsBoundary {
    user_name: String,
    permissions_boundary: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteUserPermissionsBoundary {
    user_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagUser {
    user_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagUser {
    user_name: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListUserTags {
    user_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

policy_requests!(
    "UserName",
    AttachUserPolicy,
    DetachUserPolicy,
    ListAttachedUserPolicies,
    PutUserPolicy,
    GetUserPolicy,
    UserPolicy,
    DeleteUserPolicy,
    ListUserPolicies
);
policy_handlers!(
    User,
    AttachUserPolicy,
    DetachUserPolicy,
    ListAttachedUserPolicies,
    PutUserPolicy,
    GetUserPolicy,
    UserPolicy,
    DeleteUserPolicy,
    ListUserPolicies
);

operations! {
    for Iam as "iam";
    change CreateUser -> OneUser = create =>
        on(&USER, |op, at| at_path(at, "user", op.path.as_deref(), &op.user_name))
        .tagged(|op, _| pairs(&op.tags))
        .with(BOUNDARY, |op, at| op.permissions_boundary.as_deref().map(|arn| at.settled(arn)))
        .also("iam:TagUser", &USER, |op, at| {
            let given = !op.tags.is_empty();
            given.then(|| at_path(at, "user", op.path.as_deref(), &op.user_name))
        })
        .tagged(|op, _| pairs(&op.tags));
    read GetUser -> OneUser = get, caller => on(&USER, |op, at| about(at.caller, op.user_name.as_deref()));
    read ListUsers -> UserList = list => any();
    change UpdateUser -> () = update => on_each(&USER, &[], |op, at| {
            let (path, name) = (op.new_path.as_deref(), op.new_user_name.as_deref());
            moved::<User>(at, &op.user_name, path, name)
        });
    change DeleteUser -> () = delete => on(&USER, |op, _| op.user_name.clone());
    change PutUserPermissionsBoundary -> () = put_boundary => on(&USER, |op, _| op.user_name.clone())
        .with(BOUNDARY, |op, at| at.settled(&op.permissions_boundary));
    change DeleteUserPermissionsBoundary -> () = delete_boundary => on(&USER, |op, _| op.user_name.clone())
        .with(BOUNDARY, |op, at| boundary::<User>(at, &op.user_name));
    change TagUser -> () = add_tags => on(&USER, |op, _| op.user_name.clone())
        .tagged(|op, _| pairs(&op.tags));
    change UntagUser -> () = remove_tags => on(&USER, |op, _| op.user_name.clone())
        .untagged(|op, _| op.tag_keys.clone());
    read ListUserTags -> TagList = tags_of => on(&USER, |op, _| op.user_name.clone());
    change AttachUserPolicy -> () = attach => on(&USER, |op, _| op.name.clone())
        .with(POLICY_ARN, |op, at| at.settled(&op.policy_arn))
        .with(BOUNDARY, |op, at| boundary::<User>(at, &op.name));
    change DetachUserPolicy -> () = detach => on(&USER, |op, _| op.name.clone())
        .with(POLICY_ARN, |op, at| at.settled(&op.policy_arn))
        .with(BOUNDARY, |op, at| boundary::<User>(at, &op.name));
    read ListAttachedUserPolicies -> AttachedPolicies = list_attached => on(&USER, |op, _| op.name.clone());
    change PutUserPolicy -> () = put_inline => on(&USER, |op, _| op.name.clone())
        .with(BOUNDARY, |op, at| boundary::<User>(at, &op.name));
    read GetUserPolicy -> UserPolicy = get_inline => on(&USER, |op, _| op.name.clone());
    change DeleteUserPolicy -> () = delete_inline => on(&USER, |op, _| op.name.clone())
        .with(BOUNDARY, |op, at| boundary::<User>(at, &op.name));
    read ListUserPolicies -> PolicyNames = list_inline => on(&USER, |op, _| op.name.clone());
}

/// A user as `GetUser` shows it; lists leave out tags and boundary.
pub(crate) fn shown(app: &Iam, user: &User, whole: bool) -> UserDetail {
    let tags = whole && !user.tags.is_empty();
    UserDetail {
        path: Some(user.path.clone()),
        user_name: Some(user.name.clone()),
        user_id: user.unique_id.clone(),
        arn: user.arn(app.cell.owner()),
        create_date: user.created_at,
        permissions_boundary: Boundary::of(&user.policies).filter(|_| whole),
        tags: tags.then(|| shown_tags(&user.tags)),
    }
}

/// The name in a user's ARN; callers that are no users have to name one.
pub(crate) fn named<'a>(caller: &'a Caller, given: Option<&'a str>) -> Result<&'a str, ApiError> {
    let own = || {
        let (_, path) = caller.principal.arn.split_once(":user/")?;
        path.rsplit('/').next()
    };
    given
        .or_else(own)
        .ok_or_else(|| validation("Must specify userName when calling with non-User credentials"))
}

fn create(app: &Iam, tx: &mut Tx, op: CreateUser) -> Result<OneUser, ApiError> {
    check::name("userName", &op.user_name)?;
    let path = check::path(op.path.as_deref())?;
    let tags = check::new_tags(&op.tags)?;
    if let Some(boundary) = &op.permissions_boundary {
        check_boundary(app.cell.partition(), tx.view(), boundary)?;
    }
    if tx.get::<User>(&key(&op.user_name)).is_some() {
        return Err(exists("User", &op.user_name));
    }
    if app.is_strict() && tx.list::<User>().count() >= MAX_USERS {
        return Err(limit("UsersPerAccount", MAX_USERS));
    }
    let user = tx.put(User {
        name: op.user_name.clone(),
        unique_id: unique::id("AIDA"),
        path,
        policies: Policies {
            boundary: op.permissions_boundary.clone(),
            ..Policies::default()
        },
        groups: std::collections::BTreeSet::new(),
        tags,
        created_at: tx.now(),
    });
    Ok(OneUser {
        user: shown(app, &user, true),
    })
}

/// Without a name, the caller.
fn get(app: &Iam, view: &View, caller: &Caller, op: &GetUser) -> Result<OneUser, ApiError> {
    let root = app.cell.global_arn("iam", "root");
    if op.user_name.is_none() && caller.principal.arn == root {
        let user = UserDetail {
            path: None,
            user_name: None,
            user_id: app.cell.account.clone(),
            arn: root,
            // When the account was made is not known.
            create_date: Timestamp::from_millis(0),
            permissions_boundary: None,
            tags: None,
        };
        return Ok(OneUser { user });
    }
    let user = find::<User>(view, named(caller, op.user_name.as_deref())?)?;
    Ok(OneUser {
        user: shown(app, &user, true),
    })
}

fn list(app: &Iam, view: &View, op: &ListUsers) -> Result<UserList, ApiError> {
    let prefix = op.path_prefix.as_deref();
    let page = page_of::<User>(view, |user| under(prefix, &user.path), cut!(op))?;
    Ok(UserList {
        users: page
            .items
            .iter()
            .map(|user| shown(app, user, false))
            .collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

/// A user keeps its id, keys and policies under a new name.
fn update(_: &Iam, tx: &mut Tx, op: UpdateUser) -> Result<(), ApiError> {
    let mut user = changeable::<User>(tx.view(), &op.user_name)?;
    if let Some(path) = &op.new_path {
        user.path = check::path(Some(path))?;
    }
    if let Some(name) = &op.new_user_name {
        check::name("newUserName", name)?;
        if key(name) != key(&user.name) && tx.get::<User>(&key(name)).is_some() {
            return Err(exists("User", name));
        }
        rename_keys(tx, &user.name, name);
        tx.delete::<User>(&key(&user.name));
        user.name = name.clone();
    }
    tx.put(user);
    Ok(())
}

fn rename_keys(tx: &mut Tx, old: &str, new: &str) {
    let keys: Vec<_> = tx
        .list::<AccessKey>()
        .filter(|it| key(&it.user) == key(old))
        .collect();
    for access_key in keys {
        let mut renamed = AccessKey::clone(&access_key);
        renamed.user = new.to_owned();
        tx.put(renamed);
    }
}

fn delete(_: &Iam, tx: &mut Tx, op: DeleteUser) -> Result<(), ApiError> {
    let user = changeable::<User>(tx.view(), &op.user_name)?;
    let id = key(&user.name);
    if tx.list::<AccessKey>().any(|it| key(&it.user) == id) {
        return Err(conflict(
            "Cannot delete entity, must delete access keys first.",
        ));
    }
    directory::check_bare(&user.policies)?;
    if !user.groups.is_empty() {
        return Err(conflict(
            "Cannot delete entity, must remove users from group first.",
        ));
    }
    tx.delete::<User>(&id);
    Ok(())
}

fn put_boundary(app: &Iam, tx: &mut Tx, op: PutUserPermissionsBoundary) -> Result<(), ApiError> {
    set_boundary::<User>(app, tx, &op.user_name, Some(&op.permissions_boundary))
}

fn delete_boundary(
    app: &Iam,
    tx: &mut Tx,
    op: DeleteUserPermissionsBoundary,
) -> Result<(), ApiError> {
    set_boundary::<User>(app, tx, &op.user_name, None)
}

fn add_tags(_: &Iam, tx: &mut Tx, op: TagUser) -> Result<(), ApiError> {
    check::given_tags(&op.tags)?;
    let user = changeable::<User>(tx.view(), &op.user_name)?;
    tag(tx, user, &op.tags)
}

fn remove_tags(_: &Iam, tx: &mut Tx, op: UntagUser) -> Result<(), ApiError> {
    check::tag_keys(&op.tag_keys)?;
    let user = changeable::<User>(tx.view(), &op.user_name)?;
    untag(tx, user, &op.tag_keys);
    Ok(())
}

fn tags_of(_: &Iam, view: &View, op: &ListUserTags) -> Result<TagList, ApiError> {
    list_tags(&find::<User>(view, &op.user_name)?.tags, cut!(op))
}
