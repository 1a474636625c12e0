//! Tags.

use serde::{Deserialize, Serialize};

use super::{requests, structures, values};

values! {
    /// What has tags.
    TagResourceType {
        HealthCheck = "healthcheck",
        HostedZone = "hostedzone",
    }
}

structures! {
    #[derive(Eq)]
    Tag {
        "Key" key: Option<String>,
        "Value" value: Option<String>,
    }
    ResourceTagSet {
        "ResourceType" resource_type: Option<TagResourceType>,
        "ResourceId" resource_id: Option<String>,
        "Tags" tags: Option<Vec<Tag>>,
    }
    ChangeTagsForResourceResponse {}
    ListTagsForResourceResponse {
        "ResourceTagSet" set: ResourceTagSet,
    }
    ListTagsForResourcesResponse {
        "ResourceTagSets" sets: Vec<ResourceTagSet>,
    }
}

/// A tag's key, which lists call so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key(pub(crate) String);

requests! {
    ChangeTagsForResource {
        "ResourceType" resource_type: TagResourceType,
        "ResourceId" resource_id: String,
        "AddTags" add: Option<Vec<Tag>>,
        "RemoveTagKeys" remove: Option<Vec<Key>>,
    }
    ListTagsForResource {
        "ResourceType" resource_type: TagResourceType,
        "ResourceId" resource_id: String,
    }
    ListTagsForResources {
        "ResourceType" resource_type: TagResourceType,
        "ResourceIds" resource_ids: Vec<String>,
    }
}
