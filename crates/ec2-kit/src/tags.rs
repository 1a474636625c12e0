//! Tags in requests
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>).

use std::collections::BTreeMap;

use lath_ec2_records::errors::{invalid_value, limit};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

pub use lath_ec2_records::tags::{Tag, forget, of, put, shown};

/// How many tags a resource may have.
const MAX_TAGS: usize = 50;
/// A tag as requests give it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagInput {
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<String>,
}

/// Tags for a resource that is being created.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagSpecification {
    /// Of what type the resource is.
    pub resource_type: Option<String>,
    /// Its tags.
    #[serde(rename = "Tag", default)]
    pub tags: Vec<TagInput>,
}

/// The tags that specifications give to a new resource of this type.
///
/// # Errors
/// `InvalidParameterValue` when a specification is for another type, or for a tag.
pub fn specified(
    specifications: &[TagSpecification],
    resource_type: &str,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    for specification in specifications {
        let given = specification.resource_type.as_deref();
        let given = given
            .ok_or_else(|| invalid_value("Tag specification resource type must have a value"))?;
        if given != resource_type && !is_alias(given, resource_type) {
            return Err(invalid_value(format!(
                "'{given}' is not a valid taggable resource type for this operation."
            )));
        }
        if specification.tags.is_empty() {
            return Err(invalid_value(
                "Tag specification must have at least one tag",
            ));
        }
        for tag in &specification.tags {
            let (key, value) = checked(tag)?;
            if tags.insert(key, value).is_some() {
                return Err(invalid_value("Duplicate tag keys are not allowed."));
            }
        }
    }
    too_many(tags.len())?;
    Ok(tags)
}

/// The tags that specifications give to this type, checked or not: what policies judge.
pub fn requested(
    specifications: &[TagSpecification],
    resource_type: &str,
) -> Vec<(String, String)> {
    let of_type = specifications.iter().filter(|it| {
        let given = it.resource_type.as_deref().unwrap_or_default();
        given == resource_type || is_alias(given, resource_type)
    });
    of_type.flat_map(|it| pairs(&it.tags)).collect()
}

/// Keys and values, checked or not.
pub fn pairs(tags: &[TagInput]) -> Vec<(String, String)> {
    let pair = |tag: &TagInput| {
        let value = tag.value.clone().unwrap_or_default();
        (tag.key.clone().unwrap_or_default(), value)
    };
    tags.iter().map(pair).collect()
}

/// Names that are in use for a type beside its own.
fn is_alias(given: &str, resource_type: &str) -> bool {
    resource_type == "transit-gateway-attachment"
        && matches!(
            given,
            "transit-gateway-peering-attachment" | "transit-gateway-vpc-attachment"
        )
}

/// The key and the value of a tag.
///
/// # Errors
/// `InvalidParameterValue` for one that is absent, too long or reserved.
pub fn checked(tag: &TagInput) -> Result<(String, String), ApiError> {
    let key = tag.key.clone().unwrap_or_default();
    check_key(&key)?;
    let value = tag.value.clone().unwrap_or_default();
    if value.chars().count() > 256 {
        return Err(invalid_value(
            "Tag value exceeds the maximum length of 256 characters",
        ));
    }
    Ok((key, value))
}

/// # Errors
/// `InvalidParameterValue` for a key that is empty, too long or reserved.
pub fn check_key(key: &str) -> Result<(), ApiError> {
    if key.is_empty() {
        return Err(invalid_value("Tag keys must not be empty"));
    }
    if key.chars().count() > 128 {
        return Err(invalid_value(
            "Tag key exceeds the maximum length of 128 characters",
        ));
    }
    let is_reserved = key
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    if is_reserved && !lath_wire::may_set_system_tags() {
        return Err(invalid_value(
            "Tag keys starting with 'aws:' are reserved for internal use",
        ));
    }
    Ok(())
}

/// # Errors
/// `TagLimitExceeded` for more than a resource may have.
pub fn too_many(count: usize) -> Result<(), ApiError> {
    if count > MAX_TAGS {
        return Err(limit("TagLimitExceeded", "Tags for a resource"));
    }
    Ok(())
}
