use std::collections::BTreeMap;

use lath_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::wire;

wire! {
    CreatePodIdentityAssociation {
        #[serde(rename = "name")]
        cluster_name: String,
        namespace: String,
        service_account: String,
        role_arn: String,
        client_request_token: Option<String>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        disable_session_tags: Option<bool>,
        target_role_arn: Option<String>,
        policy: Option<String>,
    }
    DescribePodIdentityAssociation {
        #[serde(rename = "name")]
        cluster_name: String,
        association_id: String,
    }
    DeletePodIdentityAssociation {
        #[serde(rename = "name")]
        cluster_name: String,
        association_id: String,
    }
    ListPodIdentityAssociations {
        #[serde(rename = "name")]
        cluster_name: String,
        namespace: Option<String>,
        service_account: Option<String>,
        max_results: Option<i32>,
        next_token: Option<String>,
    }
    UpdatePodIdentityAssociation {
        #[serde(rename = "name")]
        cluster_name: String,
        association_id: String,
        role_arn: Option<String>,
        client_request_token: Option<String>,
        disable_session_tags: Option<bool>,
        target_role_arn: Option<String>,
        policy: Option<String>,
    }
    PodIdentityItem {
        cluster_name: Option<String>,
        namespace: Option<String>,
        service_account: Option<String>,
        role_arn: Option<String>,
        association_arn: Option<String>,
        association_id: Option<String>,
        tags: BTreeMap<String, String>,
        created_at: Option<Timestamp>,
        modified_at: Option<Timestamp>,
        owner_arn: Option<String>,
        disable_session_tags: Option<bool>,
    }
    OnePodIdentity { association: Option<PodIdentityItem>, }
    PodIdentitySummary {
        cluster_name: Option<String>,
        namespace: Option<String>,
        service_account: Option<String>,
        association_arn: Option<String>,
        association_id: Option<String>,
        owner_arn: Option<String>,
    }
    ListPodIdentityAssociationsResponse {
        associations: Vec<PodIdentitySummary>,
        next_token: Option<String>,
    }
    ListTagsForResource { resource_arn: String, }
    ListTagsForResourceResponse { tags: BTreeMap<String, String>, }
    TagResource {
        resource_arn: String,
        tags: BTreeMap<String, String>,
    }
    UntagResource {
        resource_arn: String,
        tag_keys: Vec<String>,
    }
}
