use std::collections::BTreeMap;

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{wire, words};

words! {
    /// Where a policy holds.
    AccessScopeType {
        Cluster = "cluster",
        Namespace = "namespace",
    }
}

wire! {
    CreateAccessEntry {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
        #[serde(default)]
        kubernetes_groups: Vec<String>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        client_request_token: Option<String>,
        username: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    DescribeAccessEntry {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
    }
    DeleteAccessEntry {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
    }
    ListAccessEntries {
        #[serde(rename = "name")]
        cluster_name: String,
        associated_policy_arn: Option<String>,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    ListAccessEntriesResponse {
        access_entries: Vec<String>,
        next_token: Option<String>,
    }
    UpdateAccessEntry {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
        kubernetes_groups: Option<Vec<String>>,
        client_request_token: Option<String>,
        username: Option<String>,
    }
    AccessEntryItem {
        cluster_name: Option<String>,
        principal_arn: Option<String>,
        kubernetes_groups: Vec<String>,
        access_entry_arn: Option<String>,
        created_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
        tags: BTreeMap<String, String>,
        username: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    OneAccessEntry { access_entry: Option<AccessEntryItem>, }
    AccessScope {
        #[serde(rename = "type")]
        kind: Option<AccessScopeType>,
        #[serde(default)]
        namespaces: Vec<String>,
    }
    AssociateAccessPolicy {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
        policy_arn: String,
        access_scope: AccessScope,
    }
    DisassociateAccessPolicy {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
        policy_arn: String,
    }
    ListAssociatedAccessPolicies {
        #[serde(rename = "name")]
        cluster_name: String,
        principal_arn: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    AssociatedAccessPolicy {
        policy_arn: Option<String>,
        access_scope: Option<AccessScope>,
        associated_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
    }
    AssociateAccessPolicyResponse {
        cluster_name: Option<String>,
        principal_arn: Option<String>,
        associated_access_policy: Option<AssociatedAccessPolicy>,
    }
    ListAssociatedAccessPoliciesResponse {
        cluster_name: Option<String>,
        principal_arn: Option<String>,
        next_token: Option<String>,
        associated_access_policies: Vec<AssociatedAccessPolicy>,
    }
    ListAccessPolicies {
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    AccessPolicyItem {
        name: Option<String>,
        arn: Option<String>,
    }
    ListAccessPoliciesResponse {
        access_policies: Vec<AccessPolicyItem>,
        next_token: Option<String>,
    }
}
