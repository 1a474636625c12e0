//! Counts and quotas of the account.

use std::collections::BTreeMap;

use lath_service::operations;
use lath_store::{Record, View};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::Iam;
use crate::records::{Group, InstanceProfile, ManagedPolicy, OidcProvider, Role, User};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GetAccountSummary {}

/// On the wire a map is a list of entries.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    summary_map: BTreeMap<String, usize>,
}

operations! {
    for Iam as "iam";
    read GetAccountSummary -> Summary = summary => any();
}

fn summary(_: &Iam, view: &View, _: &GetAccountSummary) -> Result<Summary, ApiError> {
    let entries = [
        ("Roles", count::<Role>(view)),
        ("RolesQuota", 1000),
        ("Users", count::<User>(view)),
        ("UsersQuota", 5000),
        ("Groups", count::<Group>(view)),
        ("GroupsQuota", 300),
        ("Policies", count::<ManagedPolicy>(view)),
        ("PoliciesQuota", 1500),
        ("InstanceProfiles", count::<InstanceProfile>(view)),
        ("InstanceProfilesQuota", 1000),
        ("Providers", count::<OidcProvider>(view)),
        ("AccountAccessKeysPresent", 1),
        ("AccessKeysPerUserQuota", 2),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("AttachedPoliciesPerUserQuota", 10),
        ("AttachedPoliciesPerGroupQuota", 10),
        ("GroupsPerUserQuota", 10),
        ("VersionsPerPolicyQuota", 5),
        ("PolicySizeQuota", 6144),
        ("RolePolicySizeQuota", 10_240),
        ("UserPolicySizeQuota", 2048),
        ("GroupPolicySizeQuota", 5120),
        ("AssumeRolePolicySizeQuota", 2048),
    ];
    let entry = |(name, count): (&str, usize)| (name.to_owned(), count);
    Ok(Summary {
        summary_map: entries.into_iter().map(entry).collect(),
    })
}

fn count<R: Record>(view: &View) -> usize {
    view.list::<R>().count()
}
