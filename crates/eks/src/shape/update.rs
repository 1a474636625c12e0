use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{wire, words};

words! {
    /// How an update stands.
    UpdateStatus {
        InProgress = "InProgress",
        Failed = "Failed",
        Cancelled = "Cancelled",
        Successful = "Successful",
    }
    /// What an update changes.
    UpdateType {
        Version = "VersionUpdate",
        EndpointAccess = "EndpointAccessUpdate",
        Logging = "LoggingUpdate",
        Config = "ConfigUpdate",
        Addon = "AddonUpdate",
        VpcConfig = "VpcConfigUpdate",
        AccessConfig = "AccessConfigUpdate",
        UpgradePolicy = "UpgradePolicyUpdate",
        ZonalShift = "ZonalShiftConfigUpdate",
        AssociateIdentityProvider = "AssociateIdentityProviderConfig",
        DisassociateIdentityProvider = "DisassociateIdentityProviderConfig",
        DeletionProtection = "DeletionProtectionUpdate",
    }
}

wire! {
    UpdateParam {
        #[serde(rename = "type")]
        kind: String,
        value: String,
    }
    ErrorDetail {
        error_code: String,
        error_message: String,
        resource_ids: Vec<String>,
    }
    UpdateItem {
        id: Option<String>,
        status: Option<UpdateStatus>,
        #[serde(rename = "type")]
        kind: Option<UpdateType>,
        params: Vec<UpdateParam>,
        created_at: Option<Timestamp>,
        errors: Vec<ErrorDetail>,
    }
    OneUpdate { update: Option<UpdateItem>, }
    DescribeUpdate {
        name: String,
        update_id: String,
        nodegroup_name: Option<String>,
        addon_name: Option<String>,
        capability_name: Option<String>,
    }
    ListUpdates {
        name: String,
        nodegroup_name: Option<String>,
        addon_name: Option<String>,
        capability_name: Option<String>,
        next_token: Option<String>,
        max_results: Option<i32>,
    }
    ListUpdatesResponse {
        update_ids: Vec<String>,
        next_token: Option<String>,
    }
}
