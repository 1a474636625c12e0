//! Managed policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_model::{Partition, Timestamp};
use lath_policy::Grammar;
use lath_service::operations;
use lath_store::{Tx, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::check::{self, Tag, shown_tags};
use crate::errors::{conflict, invalid_input, limit, no_such_entity, validation};
use crate::holder::{Holder, TagList, list_tags, tag, untag};
use crate::page::{cut, page, under};
use crate::records::{Group, ManagedPolicy, Policies, Role, User, Version};
use crate::resource_types::{POLICY, at_path, pairs};
use crate::{Iam, aws_policies, unique};

/// Most managed policies of an account.
const MAX_POLICIES: usize = 1500;
/// Most characters of a managed policy.
pub(crate) const MAX_DOCUMENT: usize = 6144;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreatePolicy {
    policy_name: String,
    path: Option<String>,
    policy_document: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// A managed policy, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyDetail {
    policy_name: Option<String>,
    policy_id: Option<String>,
    arn: Option<String>,
    path: Option<String>,
    default_version_id: Option<String>,
    attachment_count: Option<usize>,
    permissions_boundary_usage_count: Option<usize>,
    is_attachable: Option<bool>,
    description: Option<String>,
    create_date: Option<Timestamp>,
    update_date: Option<Timestamp>,
    tags: Option<Vec<Tag>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OnePolicy {
    policy: Option<PolicyDetail>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetPolicy {
    policy_arn: String,
}

/// Whose policies are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Owner {
    #[default]
    All,
    #[serde(rename = "AWS")]
    Aws,
    Local,
}

/// How policies are used that are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Usage {
    PermissionsPolicy,
    PermissionsBoundary,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListPolicies {
    scope: Option<Owner>,
    only_attached: Option<bool>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<Usage>,
    marker: Option<String>,
    max_items: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PolicyList {
    policies: Vec<PolicyDetail>,
    is_truncated: Option<bool>,
    marker: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeletePolicy {
    policy_arn: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagPolicy {
    policy_arn: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagPolicy {
    policy_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListPolicyTags {
    policy_arn: String,
    marker: Option<String>,
    max_items: Option<i64>,
}

operations! {
    for Iam as "iam";
    change CreatePolicy -> OnePolicy = create =>
        on(&POLICY, |op, at| at_path(at, "policy", op.path.as_deref(), &op.policy_name))
        .tagged(|op, _| pairs(&op.tags))
        .also("iam:TagPolicy", &POLICY, |op, at| {
            let given = !op.tags.is_empty();
            given.then(|| at_path(at, "policy", op.path.as_deref(), &op.policy_name))
        })
        .tagged(|op, _| pairs(&op.tags));
    read GetPolicy -> OnePolicy = get => on(&POLICY, |op, _| op.policy_arn.clone());
    read ListPolicies -> PolicyList = list => any();
    change DeletePolicy -> () = delete => on(&POLICY, |op, _| op.policy_arn.clone());
    change TagPolicy -> () = add_tags => on(&POLICY, |op, _| op.policy_arn.clone())
        .tagged(|op, _| pairs(&op.tags));
    change UntagPolicy -> () = remove_tags => on(&POLICY, |op, _| op.policy_arn.clone())
        .untagged(|op, _| op.tag_keys.clone());
    read ListPolicyTags -> TagList = tags_of => on(&POLICY, |op, _| op.policy_arn.clone());
}

/// The path inside a policy's ARN.
pub(crate) fn path_of(arn: &str) -> &str {
    let resource = arn.split_once(":policy").map_or("/", |(_, rest)| rest);
    let end = resource.rfind('/').map_or(0, |at| at + 1);
    &resource[..end]
}

/// Whether it looks like the ARN of a policy in this partition.
pub(crate) fn check_arn(partition: Partition, arn: &str) -> Result<(), ApiError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", other, _, _, _, _] if other != partition.name() => {
            Err(validation("Invalid ARN partition"))
        }
        ["arn", _, "iam", "", account, resource]
            if resource.starts_with("policy/")
                && (account == "aws" || account.bytes().all(|b| b.is_ascii_digit())) =>
        {
            Ok(())
        }
        ["arn", _, _, _, _, _] => Err(invalid_input(format!("ARN {arn} is not valid."))),
        // The two spaces are AWS's.
        _ => Err(validation("Invalid ARN:  Could not be parsed!")),
    }
}

/// A policy by its ARN, AWS's own included.
pub(crate) fn lookup(view: &View, arn: &str) -> Option<Arc<ManagedPolicy>> {
    view.get::<ManagedPolicy>(arn)
        .or_else(|| aws_policies::find(arn))
}

/// Anyone may attach AWS's own.
pub(crate) fn check_attachable(
    partition: Partition,
    view: &View,
    arn: &str,
) -> Result<(), ApiError> {
    check_arn(partition, arn)?;
    lookup(view, arn)
        .map(drop)
        .ok_or_else(|| no_such_entity(format!("Policy {arn} does not exist or is not attachable.")))
}

pub(crate) fn check_boundary(partition: Partition, view: &View, arn: &str) -> Result<(), ApiError> {
    check_arn(partition, arn)?;
    lookup(view, arn).map(drop).ok_or_else(|| {
        no_such_entity(format!(
            "Scope ARN: {arn} does not exist or is not attachable."
        ))
    })
}

/// A policy by its ARN.
pub(crate) fn found(
    partition: Partition,
    view: &View,
    arn: &str,
) -> Result<Arc<ManagedPolicy>, ApiError> {
    check_arn(partition, arn)?;
    lookup(view, arn).ok_or_else(|| no_such_entity(format!("Policy {arn} was not found.")))
}

/// A policy of the account, to be changed.
pub(crate) fn own(partition: Partition, view: &View, arn: &str) -> Result<ManagedPolicy, ApiError> {
    let policy = found(partition, view, arn)?;
    if arn.split(':').nth(4) == Some("aws") {
        let text = "Cannot modify an AWS managed policy.";
        return Err(ApiError::new("AccessDenied", 403, text));
    }
    Ok(ManagedPolicy::clone(&policy))
}

/// How many holders have it attached, and as a boundary.
fn uses(view: &View, arn: &str) -> (usize, usize) {
    fn of<H: Holder>(view: &View, f: impl Fn(&Policies) -> bool) -> usize {
        view.list::<H>().filter(|it| f(it.policies())).count()
    }
    let attached = |it: &Policies| it.attached.contains(arn);
    let boundary = |it: &Policies| it.boundary.as_deref() == Some(arn);
    (
        of::<Role>(view, attached) + of::<User>(view, attached) + of::<Group>(view, attached),
        of::<Role>(view, boundary) + of::<User>(view, boundary),
    )
}

fn shown(view: &View, policy: &ManagedPolicy, whole: bool) -> PolicyDetail {
    let (attachments, boundaries) = uses(view, &policy.arn);
    PolicyDetail {
        policy_name: Some(policy.name.clone()),
        policy_id: Some(policy.unique_id.clone()),
        arn: Some(policy.arn.clone()),
        path: Some(policy.path.clone()),
        default_version_id: Some(format!("v{}", policy.default)),
        attachment_count: Some(attachments),
        permissions_boundary_usage_count: Some(boundaries),
        is_attachable: Some(true),
        description: policy.description.clone().filter(|_| whole),
        create_date: Some(policy.created_at),
        update_date: Some(policy.updated_at),
        tags: whole.then(|| shown_tags(&policy.tags)),
    }
}

fn create(app: &Iam, tx: &mut Tx, op: CreatePolicy) -> Result<OnePolicy, ApiError> {
    check::name("policyName", &op.policy_name)?;
    let path = check::path(op.path.as_deref())?;
    let tags = check::new_tags(&op.tags)?;
    let (cell, name) = (&app.cell, &op.policy_name);
    check::document(
        cell,
        &op.policy_document,
        Grammar::Managed,
        "PolicySize",
        MAX_DOCUMENT,
    )?;
    let taken = |it: Arc<ManagedPolicy>| it.name.eq_ignore_ascii_case(name);
    if tx.list::<ManagedPolicy>().any(taken) {
        let text =
            format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return Err(ApiError::new("EntityAlreadyExists", 409, text));
    }
    if app.is_strict() && tx.list::<ManagedPolicy>().count() >= MAX_POLICIES {
        return Err(limit("PoliciesPerAccount", MAX_POLICIES));
    }
    let now = tx.now();
    let version = Version {
        document: op.policy_document.clone(),
        created_at: now,
    };
    let policy = tx.put(ManagedPolicy {
        arn: cell.global_arn("iam", format!("policy{path}{name}")),
        name: name.clone(),
        unique_id: unique::id("ANPA"),
        path,
        description: op.description.clone(),
        versions: BTreeMap::from([(1, version)]),
        default: 1,
        next: 2,
        tags,
        created_at: now,
        updated_at: now,
    });
    // The reply to a create has no description, and tags only where some were given.
    let mut detail = shown(tx.view(), &policy, true);
    detail.description = None;
    detail.tags = detail.tags.filter(|tags| !tags.is_empty());
    Ok(OnePolicy {
        policy: Some(detail),
    })
}

fn get(app: &Iam, view: &View, op: &GetPolicy) -> Result<OnePolicy, ApiError> {
    let policy = found(app.cell.partition(), view, &op.policy_arn)?;
    Ok(OnePolicy {
        policy: Some(shown(view, &policy, true)),
    })
}

fn list(app: &Iam, view: &View, op: &ListPolicies) -> Result<PolicyList, ApiError> {
    let owner = op.scope.unwrap_or_default();
    let mut policies: Vec<Arc<ManagedPolicy>> = Vec::new();
    if owner != Owner::Aws {
        policies.extend(view.list::<ManagedPolicy>());
    }
    if owner != Owner::Local {
        policies.extend(aws_policies::all(app.cell.partition()));
    }
    policies.retain(|it| under(op.path_prefix.as_deref(), &it.path));
    if op.only_attached == Some(true) || op.policy_usage_filter.is_some() {
        policies.retain(|it| {
            let (attached, boundary) = uses(view, &it.arn);
            match op.policy_usage_filter {
                Some(Usage::PermissionsBoundary) => boundary > 0,
                Some(Usage::PermissionsPolicy) => attached > 0,
                None => attached + boundary > 0,
            }
        });
    }
    policies.sort_by(|a, b| a.arn.cmp(&b.arn));
    let page = page(policies, |it| it.arn.clone(), cut!(op))?;
    Ok(PolicyList {
        policies: page.items.iter().map(|it| shown(view, it, false)).collect(),
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

fn delete(app: &Iam, tx: &mut Tx, op: DeletePolicy) -> Result<(), ApiError> {
    let policy = own(app.cell.partition(), tx.view(), &op.policy_arn)?;
    if uses(tx.view(), &policy.arn) != (0, 0) {
        return Err(conflict("Cannot delete a policy attached to entities."));
    }
    if policy.versions.len() > 1 {
        return Err(conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        ));
    }
    tx.delete::<ManagedPolicy>(&policy.arn);
    Ok(())
}

fn add_tags(app: &Iam, tx: &mut Tx, op: TagPolicy) -> Result<(), ApiError> {
    check::given_tags(&op.tags)?;
    let policy = own(app.cell.partition(), tx.view(), &op.policy_arn)?;
    tag(tx, policy, &op.tags)
}

fn remove_tags(app: &Iam, tx: &mut Tx, op: UntagPolicy) -> Result<(), ApiError> {
    check::tag_keys(&op.tag_keys)?;
    let policy = own(app.cell.partition(), tx.view(), &op.policy_arn)?;
    untag(tx, policy, &op.tag_keys);
    Ok(())
}

fn tags_of(app: &Iam, view: &View, op: &ListPolicyTags) -> Result<TagList, ApiError> {
    list_tags(
        &found(app.cell.partition(), view, &op.policy_arn)?.tags,
        cut!(op),
    )
}
