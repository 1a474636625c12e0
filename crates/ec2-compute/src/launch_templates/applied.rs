//! Templates in use: what a request and a version of a template ask for together.
//!
//! A version holds the parameters of RunInstances under the same names, so that both are laid over one another as
//! trees of named values.

use lath_ec2_records::errors::{client, combination, invalid_value};
use lath_store::View;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::data::{TagGiven, TemplateData};
use super::{LaunchTemplateId, Named, version};
use crate::instances::{LaunchTemplateSpecification, RunInstances, refusals};

/// Most bytes of a version, so that launches read little. User data has a limit of its own.
const MAX_BYTES: usize = 128 * 1024;
/// Most characters of user data: 16 KiB before base64.
const MAX_USER_DATA: usize = 16_384 * 4 / 3 + 4;
/// What a launch may give tags to.
const TAGGED: [&str; 5] = [
    "instance",
    "volume",
    "network-interface",
    "spot-instances-request",
    "elastic-gpu",
];

/// A request with the parameters of its template.
#[derive(Debug)]
pub(crate) struct Applied {
    /// What is asked for altogether; it names no template.
    pub(crate) request: RunInstances,
    /// The template.
    pub(crate) template: LaunchTemplateId,
    /// Its version.
    pub(crate) version: i64,
}

/// Something that a launch from a template would be refused for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ValidationError {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What a request asks for, where it names a template.
///
/// # Errors
/// Those of [`Named::find`] and [`version`]; what no RunInstances can do with the template's parameters.
pub(crate) fn applied(view: &View, op: &RunInstances) -> Result<Option<Applied>, ApiError> {
    let Some(given) = &op.launch_template else {
        return Ok(None);
    };
    let template = given.named().find(view)?;
    let version = version(view, &template, given.version.as_deref())?;
    if version.data.instance_requirements.is_some() {
        return Err(combination(
            "You can't use a launch template that specifies InstanceRequirements with RunInstances: specify an instance type.",
        ));
    }
    let mut request = tree(op);
    request.remove("LaunchTemplate");
    let mut all = parameters(&version.data);
    lay_over(&mut all, request);
    Ok(Some(Applied {
        request: read(all)?,
        template: template.id.clone(),
        version: version.number,
    }))
}

impl LaunchTemplateSpecification {
    /// The template that it names.
    pub(crate) fn named(&self) -> Named<'_> {
        // Some clients send what they were not told as empty text, and AWS takes that for absent.
        let (id, name) = (&self.launch_template_id, &self.launch_template_name);
        Named {
            id: id.as_deref().filter(|it| !it.is_empty()),
            name: name.as_deref().filter(|it| !it.is_empty()),
            to: "launch from",
        }
    }
}

/// The parameters of a source, with those that are given in their place: a parameter is replaced as a whole.
///
/// # Errors
/// None that a caller can cause.
pub(super) fn over(source: &TemplateData, given: &TemplateData) -> Result<TemplateData, ApiError> {
    let mut all = tree(source);
    all.extend(tree(given));
    serde_json::from_value(Value::Object(all)).map_err(ApiError::internal)
}

/// What AWS refuses when a template is made; the rest waits for a launch.
///
/// # Errors
/// `MissingParameter`, `InvalidParameterCombination`, `InvalidParameterValue`.
pub(super) fn check(data: &TemplateData) -> Result<(), ApiError> {
    let parameters = tree(data);
    if parameters.is_empty() {
        return Err(client(
            "MissingParameter",
            "No launch template data was provided. Launch template data is required to create a launch template.",
        ));
    }
    if data.instance_requirements.is_some() && data.instance_type.is_some() {
        return Err(combination(
            "You can't specify both InstanceType and InstanceRequirements in the same launch template.",
        ));
    }
    if data
        .user_data
        .as_deref()
        .is_some_and(|it| it.len() > MAX_USER_DATA)
    {
        return Err(invalid_value("User data is limited to 16384 bytes"));
    }
    for given in &data.tag_specifications {
        let kind = given.resource_type.as_deref().unwrap_or_default();
        if !TAGGED.contains(&kind) {
            let shown: String = kind.chars().take(64).collect();
            return Err(invalid_value(format!(
                "'{shown}' is not a valid taggable resource type for this operation."
            )));
        }
    }
    let bytes = serde_json::to_vec(&parameters).map_or(usize::MAX, |it| it.len());
    if bytes > MAX_BYTES {
        return Err(invalid_value(format!(
            "Launch template data is limited to {MAX_BYTES} bytes"
        )));
    }
    Ok(())
}

/// A request with these parameters alone, for one instance.
///
/// # Errors
/// `InvalidParameterValue` where they are none of RunInstances.
pub(crate) fn request(data: &TemplateData) -> Result<RunInstances, ApiError> {
    read(parameters(data))
}

/// What a launch with these parameters alone would be refused for, as far as it follows from them.
pub(super) fn warnings(data: &TemplateData) -> Vec<ValidationError> {
    let errors = match request(data) {
        Ok(request) => refusals(&request),
        Err(error) => vec![error],
    };
    errors
        .into_iter()
        .map(|error| ValidationError {
            code: error.code.to_string(),
            message: error.message,
        })
        .collect()
}

/// A structure's members that say something, by their names.
fn tree(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value).map(said) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// A value without the members that say nothing, at any level; a structure remains, as it may say something by being there.
fn said(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter();
            let says = |(_, value): &(String, Value)| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                _ => true,
            };
            Value::Object(
                members
                    .filter(says)
                    .map(|(name, it)| (name, said(it)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(said).collect()),
        other => other,
    }
}

/// The parameters under the names that they have in RunInstances.
fn parameters(data: &TemplateData) -> Map<String, Value> {
    let mut all = tree(data);
    all.remove("InstanceRequirements");
    if let Some(id) = all.remove("RamDiskId") {
        all.insert("RamdiskId".to_owned(), id);
    }
    // RunInstances demands the only member of these; a template may leave it out, and then says nothing.
    for name in ["Monitoring", "CreditSpecification"] {
        if all
            .get(name)
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty)
        {
            all.remove(name);
        }
    }
    for number in ["MinCount", "MaxCount"] {
        all.insert(number.to_owned(), 1.into());
    }
    all
}

fn read(all: Map<String, Value>) -> Result<RunInstances, ApiError> {
    serde_json::from_value(Value::Object(all)).map_err(|error| {
        let text: String = error.to_string().chars().take(200).collect();
        invalid_value(format!(
            "The launch template cannot be used by RunInstances: {text}"
        ))
    })
}

/// Lays a request over the parameters of a template. Volumes are told apart by their device, interfaces by their index,
/// tags by their resource type and key; every other parameter is replaced as a whole.
fn lay_over(all: &mut Map<String, Value>, request: Map<String, Value>) {
    for (name, given) in request {
        let key = match name.as_str() {
            "BlockDeviceMapping" => "DeviceName",
            "NetworkInterface" => "DeviceIndex",
            "TagSpecification" => "ResourceType",
            _ => {
                all.insert(name, given);
                continue;
            }
        };
        let kept = all.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let (Value::Array(kept), Value::Array(given)) = (kept, given) {
            given.into_iter().for_each(|one| lay_one(kept, key, one));
        }
    }
}

fn lay_one(kept: &mut Vec<Value>, key: &str, one: Value) {
    let id = one.get(key).cloned();
    let same = kept
        .iter_mut()
        .find(|it| id.is_some() && it.get(key) == id.as_ref());
    match (same, one) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let tags = merged_tags(old.get("Tag"), new.get("Tag"));
            old.extend(new);
            old.extend(tags.map(|tags| ("Tag".to_owned(), tags)));
        }
        (Some(old), new) => *old = new,
        (None, new) => kept.push(new),
    }
}

/// Tags of the template that the request does not give another value, and those of the request.
fn merged_tags(old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    let key = |tag: &Value| tag.get("Key").cloned();
    let (old, new) = (old?.as_array()?, new?.as_array()?);
    let kept = old
        .iter()
        .filter(|tag| !new.iter().any(|it| key(it) == key(tag)));
    Some(kept.chain(new).cloned().collect())
}

/// The tags that a template gives to what a launch makes of a type.
pub(crate) fn tags_of(data: &TemplateData, resource_type: &str) -> Vec<(String, String)> {
    let of_type = data
        .tag_specifications
        .iter()
        .filter(|it| it.resource_type.as_deref() == Some(resource_type));
    let pair = |tag: &TagGiven| {
        let value = tag.value.clone().unwrap_or_default();
        (tag.key.clone().unwrap_or_default(), value)
    };
    of_type.flat_map(|it| it.tags.iter().map(pair)).collect()
}
