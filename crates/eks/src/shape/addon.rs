use std::collections::BTreeMap;

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{wire, words};

words! {
    /// The states of an add-on.
    AddonStatus {
        Creating = "CREATING",
        Active = "ACTIVE",
        CreateFailed = "CREATE_FAILED",
        Updating = "UPDATING",
        Deleting = "DELETING",
        DeleteFailed = "DELETE_FAILED",
        Degraded = "DEGRADED",
        UpdateFailed = "UPDATE_FAILED",
    }
    /// What happens to what the cluster has already.
    ResolveConflicts {
        Overwrite = "OVERWRITE",
        None = "NONE",
        Preserve = "PRESERVE",
    }
}

wire! {
    AddonPodIdentityAssociations {
        service_account: String,
        role_arn: String,
    }
    AddonNamespaceConfig { namespace: Option<String>, }
    CreateAddon {
        #[serde(rename = "name")]
        cluster_name: String,
        addon_name: String,
        addon_version: Option<String>,
        service_account_role_arn: Option<String>,
        resolve_conflicts: Option<ResolveConflicts>,
        client_request_token: Option<String>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        configuration_values: Option<String>,
        pod_identity_associations: Option<Vec<AddonPodIdentityAssociations>>,
        namespace_config: Option<AddonNamespaceConfig>,
    }
    DescribeAddon {
        #[serde(rename = "name")]
        cluster_name: String,
        addon_name: String,
    }
    DeleteAddon {
        #[serde(rename = "name")]
        cluster_name: String,
        addon_name: String,
        preserve: Option<bool>,
    }
    ListAddons {
        #[serde(rename = "name")]
        cluster_name: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    ListAddonsResponse {
        addons: Vec<String>,
        next_token: Option<String>,
    }
    UpdateAddon {
        #[serde(rename = "name")]
        cluster_name: String,
        addon_name: String,
        addon_version: Option<String>,
        service_account_role_arn: Option<String>,
        resolve_conflicts: Option<ResolveConflicts>,
        client_request_token: Option<String>,
        configuration_values: Option<String>,
        pod_identity_associations: Option<Vec<AddonPodIdentityAssociations>>,
    }
    AddonIssue {
        code: String,
        message: String,
        resource_ids: Vec<String>,
    }
    AddonHealth { issues: Vec<AddonIssue>, }
    /// An add-on as answers show it.
    AddonItem {
        addon_name: Option<String>,
        cluster_name: Option<String>,
        status: Option<AddonStatus>,
        addon_version: Option<String>,
        health: Option<AddonHealth>,
        addon_arn: Option<String>,
        created_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
        service_account_role_arn: Option<String>,
        tags: BTreeMap<String, String>,
        publisher: Option<String>,
        owner: Option<String>,
        configuration_values: Option<String>,
        pod_identity_associations: Option<Vec<String>>,
        namespace_config: Option<AddonNamespaceConfig>,
    }
    OneAddon { addon: Option<AddonItem>, }
    DescribeAddonVersions {
        kubernetes_version: Option<String>,
        max_results: Option<i32>,
        next_token: Option<String>,
        addon_name: Option<String>,
        #[serde(default)]
        types: Vec<String>,
        #[serde(default)]
        publishers: Vec<String>,
        #[serde(default)]
        owners: Vec<String>,
    }
    Compatibility {
        cluster_version: Option<String>,
        platform_versions: Vec<String>,
        default_version: bool,
    }
    AddonVersionInfo {
        addon_version: Option<String>,
        architecture: Vec<String>,
        compute_types: Vec<String>,
        compatibilities: Vec<Compatibility>,
        requires_configuration: bool,
        requires_iam_permissions: bool,
    }
    AddonInfo {
        addon_name: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
        addon_versions: Vec<AddonVersionInfo>,
        publisher: Option<String>,
        owner: Option<String>,
        default_namespace: Option<String>,
    }
    DescribeAddonVersionsResponse {
        addons: Vec<AddonInfo>,
        next_token: Option<String>,
    }
    DescribeAddonConfiguration {
        addon_name: String,
        addon_version: String,
    }
    AddonPodIdentityConfiguration {
        service_account: Option<String>,
        recommended_managed_policies: Vec<String>,
    }
    DescribeAddonConfigurationResponse {
        addon_name: Option<String>,
        addon_version: Option<String>,
        configuration_schema: Option<String>,
        pod_identity_configuration: Vec<AddonPodIdentityConfiguration>,
    }
}
