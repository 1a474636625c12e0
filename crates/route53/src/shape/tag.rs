//! Tags.

use serde::{Deserialize, Serialize};

use super::{Located, operations, structures, values};
use crate::resource_types::{CHECK, ZONE, of_kind};

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

impl Located for ChangeTagsForResourceResponse {}
impl Located for ListTagsForResourceResponse {}
impl Located for ListTagsForResourcesResponse {}

operations! {
    ChangeTagsForResource post "tags/{ResourceType}/{ResourceId}" 200 -> ChangeTagsForResourceResponse
        => on(&ZONE, |op, _| of_kind(TagResourceType::HostedZone, op.resource_type, &op.resource_id))
            .on(&CHECK, |op, _| of_kind(TagResourceType::HealthCheck, op.resource_type, &op.resource_id))
    {
        "ResourceType" resource_type: TagResourceType,
        "ResourceId" resource_id: String,
        "AddTags" add: Option<Vec<Tag>>,
        "RemoveTagKeys" remove: Option<Vec<Key>>,
    }
    ListTagsForResource get "tags/{ResourceType}/{ResourceId}" 200 -> ListTagsForResourceResponse
        => on(&ZONE, |op, _| of_kind(TagResourceType::HostedZone, op.resource_type, &op.resource_id))
            .on(&CHECK, |op, _| of_kind(TagResourceType::HealthCheck, op.resource_type, &op.resource_id))
    {
        "ResourceType" resource_type: TagResourceType,
        "ResourceId" resource_id: String,
    }
    ListTagsForResources post "tags/{ResourceType}" 200 -> ListTagsForResourcesResponse
        => on(&ZONE, |op, _| op.resource_ids.iter().map(|id| of_kind(TagResourceType::HostedZone, op.resource_type, id)).collect::<Vec<_>>())
            .on(&CHECK, |op, _| op.resource_ids.iter().map(|id| of_kind(TagResourceType::HealthCheck, op.resource_type, id)).collect::<Vec<_>>())
    {
        "ResourceType" resource_type: TagResourceType,
        "ResourceIds" resource_ids: Vec<String>,
    }
}
