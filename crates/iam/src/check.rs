//! Lengths and characters of names, paths, tags and documents.

use lath_control::{Cell, Mode};
use lath_policy::{Grammar, Policy};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::errors::{invalid_input, limit, malformed, validation};
use crate::records::Tags;

/// A tag on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// Up to 256 characters.
    pub value: String,
}

/// Most tags of anything.
const MAX_TAGS: usize = 50;

/// `member` as AWS calls it, such as `roleName`.
pub(crate) fn name(member: &str, value: &str) -> Result<(), ApiError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if value.chars().all(fine) {
        return Ok(());
    }
    Err(validation(format!(
        "The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
    )))
}

/// A path, `/` when there is none.
pub(crate) fn path(given: Option<&str>) -> Result<String, ApiError> {
    let path = given.unwrap_or("/");
    let printable = path.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    // `//` has nothing between its slashes.
    if path.starts_with('/') && path.ends_with('/') && path != "//" && printable {
        return Ok(path.to_owned());
    }
    Err(validation(
        "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
    ))
}

/// Reads a document and holds its length without white space to a quota.
pub(crate) fn document(
    cell: &Cell,
    text: &str,
    grammar: Grammar,
    quota: &str,
    most: usize,
) -> Result<(), ApiError> {
    let length = text.chars().filter(|c| !c.is_whitespace()).count();
    if cell.mode == Mode::Strict && length > most {
        return Err(limit(quota, most));
    }
    let partition = cell.partition().name();
    Policy::parse(text, grammar)
        .and_then(|policy| policy.check_partition(partition))
        .map_err(|error| malformed(error.0))
}

/// Holds the tags of a request to the service's model, which comes before everything that is stored.
pub(crate) fn given_tags(given: &[Tag]) -> Result<(), ApiError> {
    for (index, tag) in given.iter().enumerate() {
        let repeated = |other: &Tag| other.key.eq_ignore_ascii_case(&tag.key);
        if given[..index].iter().any(repeated) {
            return Err(invalid_input(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        tag_key(&tag.key)?;
    }
    Ok(())
}

/// The tags of a create.
pub(crate) fn new_tags(given: &[Tag]) -> Result<Tags, ApiError> {
    tags(&Tags::new(), given)
}

/// Further tags of what has `old`.
pub(crate) fn tags(old: &Tags, given: &[Tag]) -> Result<Tags, ApiError> {
    given_tags(given)?;
    let mut tags = old.clone();
    for tag in given {
        let known = tags.keys().find(|key| key.eq_ignore_ascii_case(&tag.key));
        if let Some(known) = known.cloned() {
            tags.remove(&known);
        }
        tags.insert(tag.key.clone(), tag.value.clone());
    }
    if tags.len() > MAX_TAGS {
        return Err(ApiError::new(
            "LimitExceeded",
            409,
            "The number of tags has reached the maximum limit.",
        ));
    }
    Ok(tags)
}

/// The keys to remove of a request.
pub(crate) fn tag_keys(keys: &[String]) -> Result<(), ApiError> {
    keys.iter().try_for_each(|key| tag_key(key))
}

/// The prefix of a key that is AWS's own.
fn tag_key(key: &str) -> Result<(), ApiError> {
    if key.to_ascii_lowercase().starts_with("aws:") && !lath_wire::may_set_system_tags() {
        return Err(invalid_input(
            "System tag keys (prefixed with aws:) cannot be changed.",
        ));
    }
    Ok(())
}

/// Tags as they are shown.
pub(crate) fn shown_tags(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

/// A document as IAM answers it: percent-encoded by RFC 3986.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
