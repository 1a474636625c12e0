use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{UpdateItem, wire, words};

words! {
    /// The states of an identity provider's association.
    IdentityProviderStatus {
        Creating = "CREATING",
        Deleting = "DELETING",
        Active = "ACTIVE",
    }
}

wire! {
    OidcIdentityProviderConfigRequest {
        identity_provider_config_name: String,
        issuer_url: String,
        client_id: String,
        username_claim: Option<String>,
        username_prefix: Option<String>,
        groups_claim: Option<String>,
        groups_prefix: Option<String>,
        #[serde(default)]
        required_claims: BTreeMap<String, String>,
    }
    AssociateIdentityProviderConfig {
        #[serde(rename = "name")]
        cluster_name: String,
        oidc: OidcIdentityProviderConfigRequest,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        client_request_token: Option<String>,
    }
    AssociateIdentityProviderConfigResponse {
        update: Option<UpdateItem>,
        tags: BTreeMap<String, String>,
    }
    IdentityProviderConfig {
        #[serde(rename = "type")]
        kind: String,
        name: String,
    }
    ListIdentityProviderConfigs {
        #[serde(rename = "name")]
        cluster_name: String,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    ListIdentityProviderConfigsResponse {
        identity_provider_configs: Vec<IdentityProviderConfig>,
        next_token: Option<String>,
    }
    DescribeIdentityProviderConfig {
        #[serde(rename = "name")]
        cluster_name: String,
        identity_provider_config: IdentityProviderConfig,
    }
    OidcIdentityProviderConfig {
        identity_provider_config_name: Option<String>,
        identity_provider_config_arn: Option<String>,
        cluster_name: Option<String>,
        issuer_url: Option<String>,
        client_id: Option<String>,
        username_claim: Option<String>,
        username_prefix: Option<String>,
        groups_claim: Option<String>,
        groups_prefix: Option<String>,
        required_claims: BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
        status: Option<IdentityProviderStatus>,
    }
    IdentityProviderConfigResponse { oidc: Option<OidcIdentityProviderConfig>, }
    DescribeIdentityProviderConfigResponse {
        identity_provider_config: Option<IdentityProviderConfigResponse>,
    }
    DisassociateIdentityProviderConfig {
        #[serde(rename = "name")]
        cluster_name: String,
        identity_provider_config: IdentityProviderConfig,
        client_request_token: Option<String>,
    }
}
