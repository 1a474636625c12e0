//! Access policies: permissions in Kubernetes that entries are given.

use lath_control::Cell;
use lath_model::arn::Arn;
use lath_service::operations;
use lath_store::{Record as _, Tx, View};
use lath_wire::ApiError;

use super::{find, only_standard};
use crate::record::{AccessEntry, AssociatedPolicy, key};
use crate::resource_types::ACCESS_ENTRY;
use crate::shape::*;
use crate::{Eks, fault, page};

operations! {
    for Eks as "eks";
    change AssociateAccessPolicy: post "/clusters/{name}/access-entries/{principalArn}/access-policies" 200
        -> AssociateAccessPolicyResponse = associate, checked
        => on(&ACCESS_ENTRY, |op, _| key(&op.cluster_name, &op.principal_arn))
            .with("eks:policyArn", |op, at| at.settled(&op.policy_arn))
            .with("eks:accessScope", |op, _| op.access_scope.kind.map(|it| it.as_str().to_owned()))
            .with("eks:namespaces", |op, _| op.access_scope.namespaces.clone());
    change DisassociateAccessPolicy: delete "/clusters/{name}/access-entries/{principalArn}/access-policies/{policyArn}" 200
        -> Empty = disassociate, checked
        => on(&ACCESS_ENTRY, |op, _| key(&op.cluster_name, &op.principal_arn))
            .with("eks:policyArn", |op, at| at.settled(&op.policy_arn))
            .with("eks:accessScope", |op, at| scope(at.view, op).and_then(|it| it.kind).map(|it| it.as_str().to_owned()))
            .with("eks:namespaces", |op, at| scope(at.view, op).map(|it| it.namespaces));
    read ListAssociatedAccessPolicies: get "/clusters/{name}/access-entries/{principalArn}/access-policies" 200
        -> ListAssociatedAccessPoliciesResponse = list_associated, checked
        => on(&ACCESS_ENTRY, |op, _| key(&op.cluster_name, &op.principal_arn));
    read ListAccessPolicies: get "/access-policies" 200 -> ListAccessPoliciesResponse = list
        => any();
}

/// The policy of a cluster's creator.
pub(crate) const CLUSTER_ADMIN: &str = "AmazonEKSClusterAdminPolicy";
/// Every policy (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>) that users are given.
const POLICIES: [&str; 5] = [
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    CLUSTER_ADMIN,
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
];

/// A policy's ARN, which belongs to no account.
pub(crate) fn policy_arn(cell: &Cell, name: &str) -> String {
    let resource = format!("cluster-access-policy/{name}");
    Arn::new(cell.partition(), "eks", "", "aws", resource).to_string()
}

fn named(cell: &Cell, arn: &str) -> Result<&'static str, ApiError> {
    let found = POLICIES.into_iter().find(|it| policy_arn(cell, it) == arn);
    found.ok_or_else(|| {
        fault::invalid_parameter(
            "The specified policyArn could not be found. You can view your available access policies with 'list-access-policies'.",
        )
    })
}

/// Where a policy that is taken away holds.
fn scope(view: &View, op: &DisassociateAccessPolicy) -> Option<AccessScope> {
    let entry = view.get::<AccessEntry>(&key(&op.cluster_name, &op.principal_arn))?;
    let name = op.policy_arn.rsplit('/').next()?;
    let mut policies = entry.policies.iter();
    policies
        .find(|it| it.name == name)
        .map(|it| it.scope.clone())
}

fn item(cell: &Cell, it: &AssociatedPolicy) -> AssociatedAccessPolicy {
    AssociatedAccessPolicy {
        policy_arn: Some(policy_arn(cell, &it.name)),
        access_scope: Some(it.scope.clone()),
        associated_at: Some(it.associated_at),
        modified_at: Some(it.modified_at),
    }
}

fn associate(
    app: &Eks,
    tx: &mut Tx,
    op: AssociateAccessPolicy,
) -> Result<AssociateAccessPolicyResponse, ApiError> {
    let entry = find(tx.view(), &op.cluster_name, &op.principal_arn)?;
    if entry.kind != "STANDARD" {
        return Err(only_standard());
    }
    let name = named(&app.cell, &op.policy_arn)?;
    check_scope(&op.access_scope)?;
    let now = tx.now();
    let mut next = AccessEntry::clone(&entry);
    let known = next.policies.iter_mut().find(|it| it.name == name);
    let policy = match known {
        Some(known) => {
            known.scope = op.access_scope;
            known.modified_at = now;
            known.clone()
        }
        None => {
            let new = AssociatedPolicy {
                name: name.to_owned(),
                scope: op.access_scope,
                associated_at: now,
                modified_at: now,
            };
            next.policies.push(new.clone());
            new
        }
    };
    next.modified_at = now;
    tx.put(next);
    Ok(AssociateAccessPolicyResponse {
        cluster_name: Some(op.cluster_name),
        principal_arn: Some(op.principal_arn),
        associated_access_policy: Some(item(&app.cell, &policy)),
    })
}

fn check_scope(scope: &AccessScope) -> Result<(), ApiError> {
    match scope.kind {
        Some(AccessScopeType::Namespace) if scope.namespaces.is_empty() => {
            Err(fault::invalid_parameter(
                "The namespaces parameter must be specified when the access scope type is namespace.",
            ))
        }
        Some(AccessScopeType::Cluster) if !scope.namespaces.is_empty() => {
            Err(fault::invalid_parameter(
                "The namespaces parameter cannot be specified when the access scope type is cluster.",
            ))
        }
        Some(_) => Ok(()),
        None => Err(fault::invalid_parameter(
            "The type of the access scope must be specified.",
        )),
    }
}

fn disassociate(app: &Eks, tx: &mut Tx, op: DisassociateAccessPolicy) -> Result<Empty, ApiError> {
    let entry = find(tx.view(), &op.cluster_name, &op.principal_arn)?;
    let name = named(&app.cell, &op.policy_arn)?;
    if !entry.policies.iter().any(|it| it.name == name) {
        return Err(fault::not_found(
            "The specified policyArn is not associated with the access entry.",
        ));
    }
    let now = tx.now();
    tx.update::<AccessEntry>(&entry.id(), |it| {
        it.policies.retain(|policy| policy.name != name);
        it.modified_at = now;
    });
    Ok(Empty {})
}

fn list_associated(
    app: &Eks,
    view: &View,
    op: &ListAssociatedAccessPolicies,
) -> Result<ListAssociatedAccessPoliciesResponse, ApiError> {
    let entry = find(view, &op.cluster_name, &op.principal_arn)?;
    let mut policies = entry.policies.clone();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    let key = |it: &AssociatedPolicy| it.name.clone();
    let page = page(policies, key, op.max_results, op.next_token.as_deref())?;
    Ok(ListAssociatedAccessPoliciesResponse {
        cluster_name: Some(op.cluster_name.clone()),
        principal_arn: Some(op.principal_arn.clone()),
        next_token: page.next_token,
        associated_access_policies: page.items.iter().map(|it| item(&app.cell, it)).collect(),
    })
}

fn list(
    app: &Eks,
    _view: &View,
    op: &ListAccessPolicies,
) -> Result<ListAccessPoliciesResponse, ApiError> {
    let key = |it: &&str| (*it).to_owned();
    let page = page(POLICIES, key, op.max_results, op.next_token.as_deref())?;
    let shown = |name: &&str| AccessPolicyItem {
        name: Some((*name).to_owned()),
        arn: Some(policy_arn(&app.cell, name)),
    };
    Ok(ListAccessPoliciesResponse {
        access_policies: page.items.iter().map(shown).collect(),
        next_token: page.next_token,
    })
}
