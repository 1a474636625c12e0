//! Versions of managed policies, and who uses them.

use lath_model::Timestamp;
use lath_policy::Grammar;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Iam;
use crate::check::{self, encoded};
use crate::errors::{conflict, constraint, no_such_entity};
use crate::page::{cut, page, under};
use crate::policies::{MAX_DOCUMENT, Usage, found, own};
use crate::records::{Group, ManagedPolicy, Policies, Role, User, Version};
use crate::resource_types::POLICY;

/// Most versions of a policy.
const MAX_VERSIONS: usize = 5;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreatePolicyVersion {
    policy_arn: String,
    policy_document: String,
    set_as_default: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyVersion {
    document: Option<String>,
    version_id: Option<String>,
    is_default_version: Option<bool>,
    create_date: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OneVersion {
    policy_version: Option<PolicyVersion>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetPolicyVersion {
    policy_arn: String,
    version_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListPolicyVersions {
    policy_arn: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VersionList {
    versions: Vec<PolicyVersion>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeletePolicyVersion {
    policy_arn: String,
    version_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SetDefaultPolicyVersion {
    policy_arn: String,
    version_id: String,
}

/// Which users of a policy are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntityFilter {
    User,
    Role,
    Group,
    LocalManagedPolicy,
    #[serde(rename = "AWSManagedPolicy")]
    AwsManagedPolicy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListEntitiesForPolicy {
    policy_arn: String,
    entity_filter: Option<EntityFilter>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<Usage>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyGroup {
    group_name: Option<String>,
    group_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyUser {
    user_name: Option<String>,
    user_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyRole {
    role_name: Option<String>,
    role_id: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entities {
    policy_groups: Vec<PolicyGroup>,
    policy_users: Vec<PolicyUser>,
    policy_roles: Vec<PolicyRole>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

operations! {
    for Iam as "iam";
    change CreatePolicyVersion -> OneVersion = create => on(&POLICY, |op, _| op.policy_arn.clone());
    read GetPolicyVersion -> OneVersion = get => on(&POLICY, |op, _| op.policy_arn.clone());
    read ListPolicyVersions -> VersionList = list => on(&POLICY, |op, _| op.policy_arn.clone());
    change DeletePolicyVersion -> () = delete => on(&POLICY, |op, _| op.policy_arn.clone());
    change SetDefaultPolicyVersion -> () = set_default => on(&POLICY, |op, _| op.policy_arn.clone());
    read ListEntitiesForPolicy -> Entities = entities => on(&POLICY, |op, _| op.policy_arn.clone());
}

fn shown(policy: &ManagedPolicy, number: u32, version: &Version, whole: bool) -> PolicyVersion {
    PolicyVersion {
        document: whole.then(|| encoded(&version.document)),
        version_id: Some(format!("v{number}")),
        is_default_version: Some(number == policy.default),
        create_date: Some(version.created_at),
    }
}

/// The number of a version that exists.
fn number(policy: &ManagedPolicy, id: &str) -> Result<u32, ApiError> {
    let number = id.strip_prefix('v').and_then(|n| n.parse::<u32>().ok());
    let Some(number) = number.filter(|n| *n > 0) else {
        let rule =
            "Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?";
        return Err(constraint("versionId", id, rule));
    };
    if policy.versions.contains_key(&number) {
        return Ok(number);
    }
    let arn = &policy.arn;
    Err(no_such_entity(format!(
        "Policy {arn} version {id} does not exist or is not attachable."
    )))
}

fn create(app: &Iam, tx: &mut Tx, op: CreatePolicyVersion) -> Result<OneVersion, ApiError> {
    let mut policy = own(app.cell.partition(), tx.view(), &op.policy_arn)?;
    let text = &op.policy_document;
    check::document(
        &app.cell,
        text,
        Grammar::Managed,
        "PolicySize",
        MAX_DOCUMENT,
    )?;
    if policy.versions.len() >= MAX_VERSIONS {
        let text = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.";
        return Err(ApiError::new("LimitExceeded", 409, text));
    }
    let now = tx.now();
    let number = policy.next;
    let version = Version {
        document: text.clone(),
        created_at: now,
    };
    policy.next += 1;
    policy.updated_at = now;
    if op.set_as_default == Some(true) {
        policy.default = number;
    }
    policy.versions.insert(number, version.clone());
    let policy = tx.put(policy);
    Ok(OneVersion {
        // The answer to a create has no document.
        policy_version: Some(shown(&policy, number, &version, false)),
    })
}

fn get(app: &Iam, view: &View, op: &GetPolicyVersion) -> Result<OneVersion, ApiError> {
    let policy = found(app.cell.partition(), view, &op.policy_arn)?;
    let number = number(&policy, &op.version_id)?;
    let version = policy.versions.get(&number);
    Ok(OneVersion {
        policy_version: version.map(|version| shown(&policy, number, version, true)),
    })
}

fn list(app: &Iam, view: &View, op: &ListPolicyVersions) -> Result<VersionList, ApiError> {
    let policy = found(app.cell.partition(), view, &op.policy_arn)?;
    // The newest first, as AWS shows them.
    let versions = policy.versions.iter().rev();
    let page = page(
        versions,
        |(number, _)| format!("{:010}", u32::MAX - **number),
        cut!(op),
    )?;
    let shown = |(number, version): (&u32, &Version)| shown(&policy, *number, version, false);
    Ok(VersionList {
        versions: page.items.into_iter().map(shown).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn delete(app: &Iam, tx: &mut Tx, op: DeletePolicyVersion) -> Result<(), ApiError> {
    let mut policy = own(app.cell.partition(), tx.view(), &op.policy_arn)?;
    let number = number(&policy, &op.version_id)?;
    if number == policy.default {
        return Err(conflict("Cannot delete the default version of a policy."));
    }
    policy.versions.remove(&number);
    tx.put(policy);
    Ok(())
}

fn set_default(app: &Iam, tx: &mut Tx, op: SetDefaultPolicyVersion) -> Result<(), ApiError> {
    let mut policy = own(app.cell.partition(), tx.view(), &op.policy_arn)?;
    policy.default = number(&policy, &op.version_id)?;
    policy.updated_at = tx.now();
    tx.put(policy);
    Ok(())
}

/// One user of a policy, in the order of pages.
enum Entity {
    Group(PolicyGroup),
    Role(PolicyRole),
    User(PolicyUser),
}

fn entities(app: &Iam, view: &View, op: &ListEntitiesForPolicy) -> Result<Entities, ApiError> {
    let policy = found(app.cell.partition(), view, &op.policy_arn)?;
    let all = users_of(view, &policy.arn, op);
    let page = page(all, |(key, _)| key.clone(), cut!(op))?;
    let mut entities = Entities {
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
        ..Entities::default()
    };
    for (_, entity) in page.items {
        match entity {
            Entity::Group(it) => entities.policy_groups.push(it),
            Entity::Role(it) => entities.policy_roles.push(it),
            Entity::User(it) => entities.policy_users.push(it),
        }
    }
    Ok(entities)
}

fn users_of(view: &View, arn: &str, op: &ListEntitiesForPolicy) -> Vec<(String, Entity)> {
    let uses = |policies: &Policies| match op.policy_usage_filter {
        Some(Usage::PermissionsBoundary) => policies.boundary.as_deref() == Some(arn),
        Some(Usage::PermissionsPolicy) | None => policies.attached.contains(arn),
    };
    let wanted = |filter, path: &str| {
        op.entity_filter.is_none_or(|asked| asked == filter)
            && under(op.path_prefix.as_deref(), path)
    };
    let mut all = Vec::new();
    for it in view.list::<Group>().filter(|it| uses(&it.policies)) {
        if wanted(EntityFilter::Group, &it.path) {
            let shown = PolicyGroup {
                group_name: Some(it.name.clone()),
                group_id: Some(it.unique_id.clone()),
            };
            all.push((format!("group/{}", it.name), Entity::Group(shown)));
        }
    }
    for it in view.list::<Role>().filter(|it| uses(&it.policies)) {
        if wanted(EntityFilter::Role, &it.path) {
            let shown = PolicyRole {
                role_name: Some(it.name.clone()),
                role_id: Some(it.unique_id.clone()),
            };
            all.push((format!("role/{}", it.name), Entity::Role(shown)));
        }
    }
    for it in view.list::<User>().filter(|it| uses(&it.policies)) {
        if wanted(EntityFilter::User, &it.path) {
            let shown = PolicyUser {
                user_name: Some(it.name.clone()),
                user_id: Some(it.unique_id.clone()),
            };
            all.push((format!("user/{}", it.name), Entity::User(shown)));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}
