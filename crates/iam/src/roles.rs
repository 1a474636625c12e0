//! Roles.

use lath_model::Timestamp;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::check::{self, Tag, encoded, shown_tags};
use crate::errors::{conflict, exists, limit, protected};
use crate::holder::{
    self, AttachedPolicies, Holder as _, PolicyNames, TagList, changeable, find, list_tags,
    policy_handlers, policy_requests, set_boundary, tag, untag,
};
use crate::page::{cut, page_of, under};
use crate::policies::check_boundary;
use crate::records::{InstanceProfile, Policies, Role, key};
use crate::resource_types::{BOUNDARY, POLICY_ARN, ROLE, at_path, boundary, pairs};
use crate::{Iam, directory, trust, unique};

/// Most roles of an account.
const MAX_ROLES: usize = 1000;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateRole {
    path: Option<String>,
    role_name: String,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<i64>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// A role, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RoleDetail {
    path: String,
    role_name: String,
    role_id: String,
    arn: String,
    create_date: Timestamp,
    assume_role_policy_document: Option<String>,
    description: Option<String>,
    max_session_duration: Option<u32>,
    permissions_boundary: Option<Boundary>,
    tags: Option<Vec<Tag>>,
    role_last_used: Option<RoleLastUsed>,
}

/// When a role was last used is not recorded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RoleLastUsed {
    last_used_date: Option<Timestamp>,
    region: Option<String>,
}

/// A permissions boundary, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Boundary {
    permissions_boundary_type: Option<String>,
    permissions_boundary_arn: Option<String>,
}

impl Boundary {
    pub(crate) fn of(policies: &Policies) -> Option<Self> {
        Some(Self {
            permissions_boundary_type: Some("Policy".into()),
            permissions_boundary_arn: Some(policies.boundary.clone()?),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneRole {
    role: RoleDetail,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetRole {
    role_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListRoles {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RoleList {
    roles: Vec<RoleDetail>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteRole {
    role_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateRole {
    role_name: String,
    description: Option<String>,
    max_session_duration: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Updated {}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateRoleDescription {
    role_name: String,
    description: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateAssumeRolePolicy {
    role_name: String,
    policy_document: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRolePermissionsBoundary {
    role_name: String,
    permissions_boundary: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteRolePermissionsBoundary {
    role_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagRole {
    role_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagRole {
    role_name: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListRoleTags {
    role_name: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

policy_requests!(
    "RoleName",
    AttachRolePolicy,
    DetachRolePolicy,
    ListAttachedRolePolicies,
    PutRolePolicy,
    GetRolePolicy,
    RolePolicy,
    DeleteRolePolicy,
    ListRolePolicies
);
policy_handlers!(
    Role,
    AttachRolePolicy,
    DetachRolePolicy,
    ListAttachedRolePolicies,
    PutRolePolicy,
    GetRolePolicy,
    RolePolicy,
    DeleteRolePolicy,
    ListRolePolicies
);

operations! {
    for Iam as "iam";
    change CreateRole -> OneRole = create =>
        on(&ROLE, |op, at| at_path(at, "role", op.path.as_deref(), &op.role_name))
        .tagged(|op, _| pairs(&op.tags))
        .with(BOUNDARY, |op, at| op.permissions_boundary.as_deref().map(|arn| at.settled(arn)))
        .also("iam:TagRole", &ROLE, |op, at| {
            let given = !op.tags.is_empty();
            given.then(|| at_path(at, "role", op.path.as_deref(), &op.role_name))
        })
        .tagged(|op, _| pairs(&op.tags));
    read GetRole -> OneRole = get => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.role_name));
    read ListRoles -> RoleList = list => any();
    change DeleteRole -> () = delete => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.role_name));
    change UpdateRole -> Updated = update => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.role_name));
    change UpdateRoleDescription -> OneRole = describe => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.role_name));
    change UpdateAssumeRolePolicy -> () = set_trust => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.role_name));
    change PutRolePermissionsBoundary -> () = put_boundary => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| at.settled(&op.permissions_boundary));
    change DeleteRolePermissionsBoundary -> () = delete_boundary => on(&ROLE, |op, _| op.role_name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.role_name));
    change TagRole -> () = add_tags => on(&ROLE, |op, _| op.role_name.clone())
        .tagged(|op, _| pairs(&op.tags));
    change UntagRole -> () = remove_tags => on(&ROLE, |op, _| op.role_name.clone())
        .untagged(|op, _| op.tag_keys.clone());
    read ListRoleTags -> TagList = tags_of => on(&ROLE, |op, _| op.role_name.clone());
    change AttachRolePolicy -> () = attach => on(&ROLE, |op, _| op.name.clone())
        .with(POLICY_ARN, |op, at| at.settled(&op.policy_arn))
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.name));
    change DetachRolePolicy -> () = detach => on(&ROLE, |op, _| op.name.clone())
        .with(POLICY_ARN, |op, at| at.settled(&op.policy_arn))
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.name));
    read ListAttachedRolePolicies -> AttachedPolicies = list_attached => on(&ROLE, |op, _| op.name.clone());
    change PutRolePolicy -> () = put_inline => on(&ROLE, |op, _| op.name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.name));
    read GetRolePolicy -> RolePolicy = get_inline => on(&ROLE, |op, _| op.name.clone());
    change DeleteRolePolicy -> () = delete_inline => on(&ROLE, |op, _| op.name.clone())
        .with(BOUNDARY, |op, at| boundary::<Role>(at, &op.name));
    read ListRolePolicies -> PolicyNames = list_inline => on(&ROLE, |op, _| op.name.clone());
}

/// A role as `GetRole` shows it; lists leave out tags and boundary.
pub(crate) fn shown(app: &Iam, role: &Role, whole: bool) -> RoleDetail {
    let tags = whole && !role.tags.is_empty();
    let view = app.cell.db.view();
    let trust = trust::trust_in_force(&view, app.cell.owner(), role);
    RoleDetail {
        path: role.path.clone(),
        role_name: role.name.clone(),
        role_id: role.unique_id.clone(),
        arn: role.arn(app.cell.owner()),
        create_date: role.created_at,
        assume_role_policy_document: Some(encoded(&trust)),
        description: role.description.clone(),
        max_session_duration: Some(role.max_session),
        permissions_boundary: Boundary::of(&role.policies).filter(|_| whole),
        tags: tags.then(|| shown_tags(&role.tags)),
        role_last_used: whole.then(RoleLastUsed::default),
    }
}

fn one(app: &Iam, role: &Role) -> OneRole {
    OneRole {
        role: shown(app, role, true),
    }
}

fn create(app: &Iam, tx: &mut Tx, op: CreateRole) -> Result<OneRole, ApiError> {
    check::name("roleName", &op.role_name)?;
    let path = check::path(op.path.as_deref())?;
    let tags = check::new_tags(&op.tags)?;
    if path.starts_with("/aws-service-role/") {
        return Err(crate::errors::invalid_input(
            "Cannot create a role in the path /aws-service-role/; use CreateServiceLinkedRole.",
        ));
    }
    let trusted = trust::check(app, tx.view(), &op.assume_role_policy_document)?;
    if let Some(boundary) = &op.permissions_boundary {
        check_boundary(app.cell.partition(), tx.view(), boundary)?;
    }
    let role = Role {
        name: op.role_name.clone(),
        unique_id: unique::id("AROA"),
        path,
        description: op.description.clone(),
        trust: op.assume_role_policy_document.clone(),
        trusted,
        max_session: op
            .max_session_duration
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(3600),
        policies: Policies {
            boundary: op.permissions_boundary.clone(),
            ..Policies::default()
        },
        tags,
        created_at: tx.now(),
    };
    add(app, tx, role)
}

/// Adds a role unless the name is taken or the account has its thousand.
pub(crate) fn add(app: &Iam, tx: &mut Tx, role: Role) -> Result<OneRole, ApiError> {
    if tx.get::<Role>(&key(&role.name)).is_some() {
        return Err(exists("Role", &role.name));
    }
    if app.is_strict() && tx.list::<Role>().count() >= MAX_ROLES {
        return Err(limit("RolesPerAccount", MAX_ROLES));
    }
    let role = tx.put(role);
    // The reply to a create says less than `GetRole`.
    let detail = RoleDetail {
        description: None,
        max_session_duration: None,
        role_last_used: None,
        ..shown(app, &role, true)
    };
    Ok(OneRole { role: detail })
}

fn get(app: &Iam, view: &View, op: &GetRole) -> Result<OneRole, ApiError> {
    Ok(one(app, &*find::<Role>(view, &op.role_name)?))
}

fn list(app: &Iam, view: &View, op: &ListRoles) -> Result<RoleList, ApiError> {
    let prefix = op.path_prefix.as_deref();
    let page = page_of::<Role>(view, |role| under(prefix, &role.path), cut!(op))?;
    Ok(RoleList {
        roles: page
            .items
            .iter()
            .map(|role| shown(app, role, false))
            .collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn delete(_: &Iam, tx: &mut Tx, op: DeleteRole) -> Result<(), ApiError> {
    let role = changeable::<Role>(tx.view(), &op.role_name)?;
    let in_profile = |profile: std::sync::Arc<InstanceProfile>| {
        profile.role.as_deref().map(key) == Some(key(&role.name))
    };
    if tx.list::<InstanceProfile>().any(in_profile) {
        return Err(conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    directory::check_bare(&role.policies)?;
    tx.delete::<Role>(&key(&role.name));
    Ok(())
}

/// A role to change, AWS's own included: their descriptions and tags may change.
fn any_role(view: &View, name: &str) -> Result<Role, ApiError> {
    let found = find::<Role>(view, name)?;
    Ok(Role::clone(&found))
}

/// Of AWS's own roles, the description alone.
fn update(_: &Iam, tx: &mut Tx, op: UpdateRole) -> Result<Updated, ApiError> {
    let mut role = any_role(tx.view(), &op.role_name)?;
    let is_protected = role.check_changeable().is_err();
    if is_protected && op.max_session_duration.is_some() {
        return Err(protected(&role.name));
    }
    if let Some(text) = &op.description {
        role.description = Some(text.clone()).filter(|text| !text.is_empty());
    }
    if let Some(seconds) = op
        .max_session_duration
        .and_then(|it| u32::try_from(it).ok())
    {
        role.max_session = seconds;
    }
    tx.put(role);
    Ok(Updated {})
}

fn describe(app: &Iam, tx: &mut Tx, op: UpdateRoleDescription) -> Result<OneRole, ApiError> {
    let mut role = any_role(tx.view(), &op.role_name)?;
    role.description = Some(op.description.clone()).filter(|text| !text.is_empty());
    Ok(one(app, &tx.put(role)))
}

fn set_trust(app: &Iam, tx: &mut Tx, op: UpdateAssumeRolePolicy) -> Result<(), ApiError> {
    let mut role = changeable::<Role>(tx.view(), &op.role_name)?;
    role.trusted = trust::check(app, tx.view(), &op.policy_document)?;
    role.trust = op.policy_document.clone();
    tx.put(role);
    Ok(())
}

fn put_boundary(app: &Iam, tx: &mut Tx, op: PutRolePermissionsBoundary) -> Result<(), ApiError> {
    set_boundary::<Role>(app, tx, &op.role_name, Some(&op.permissions_boundary))
}

fn delete_boundary(
    app: &Iam,
    tx: &mut Tx,
    op: DeleteRolePermissionsBoundary,
) -> Result<(), ApiError> {
    set_boundary::<Role>(app, tx, &op.role_name, None)
}

fn add_tags(_: &Iam, tx: &mut Tx, op: TagRole) -> Result<(), ApiError> {
    check::given_tags(&op.tags)?;
    let role = any_role(tx.view(), &op.role_name)?;
    tag(tx, role, &op.tags)
}

fn remove_tags(_: &Iam, tx: &mut Tx, op: UntagRole) -> Result<(), ApiError> {
    check::tag_keys(&op.tag_keys)?;
    let role = any_role(tx.view(), &op.role_name)?;
    untag(tx, role, &op.tag_keys);
    Ok(())
}

fn tags_of(_: &Iam, view: &View, op: &ListRoleTags) -> Result<TagList, ApiError> {
    list_tags(&find::<Role>(view, &op.role_name)?.tags, cut!(op))
}
