//! Structures that several operations have.

use std::collections::BTreeMap;

use lath_service::Refuses;
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::fault;
use crate::record::{Desired, OnFailure, Parameter};

/// A parameter of a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ParameterInput {
    pub(crate) parameter_key: Option<String>,
    pub(crate) parameter_value: Option<String>,
    pub(crate) use_previous_value: Option<bool>,
}

/// A parameter as answers show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ParameterItem {
    pub(crate) parameter_key: String,
    pub(crate) parameter_value: String,
}

/// A tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// What is watched while a stack changes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RollbackConfiguration {
    #[serde(default)]
    pub(crate) rollback_triggers: Vec<RollbackTrigger>,
    pub(crate) monitoring_time_in_minutes: Option<i64>,
}

/// An alarm that undoes a change.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "it is refused whatever it names")]
pub(crate) struct RollbackTrigger {
    pub(crate) arn: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
}

impl Refuses for RollbackConfiguration {
    fn names() -> Vec<String> {
        ["RollbackTriggers", "MonitoringTimeInMinutes"]
            .map(str::to_owned)
            .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        if !self.rollback_triggers.is_empty()
            || self.monitoring_time_in_minutes.is_some_and(|it| it != 0)
        {
            return Err(fault::unsupported(
                "rollback triggers: RollbackConfiguration",
            ));
        }
        Ok(())
    }
}

pub(crate) fn given(parameters: &[ParameterInput]) -> Vec<(String, Option<String>, bool)> {
    let one = |it: &ParameterInput| {
        let is_previous = it.use_previous_value == Some(true);
        (
            it.parameter_key.clone().unwrap_or_default(),
            it.parameter_value.clone(),
            is_previous,
        )
    };
    parameters.iter().map(one).collect()
}

/// The parameters of a stack or change set. One with `NoEcho` is not shown.
pub(crate) fn shown(desired: &Desired) -> Vec<ParameterItem> {
    let template = crate::template::Template::read(&desired.template).ok();
    let item = |it: &Parameter| {
        let declared = template
            .as_ref()
            .and_then(|template| template.parameters.get(&it.key));
        let is_hidden = crate::parameters::is_hidden(declared);
        ParameterItem {
            parameter_key: it.key.clone(),
            parameter_value: if is_hidden {
                "****".into()
            } else {
                it.value.clone()
            },
        }
    };
    desired.parameters.iter().map(item).collect()
}

/// The values of parameters with `NoEcho`.
pub(crate) fn hidden(desired: &Desired) -> Vec<String> {
    if !desired.template.contains("NoEcho") {
        return Vec::new();
    }
    let Ok(template) = crate::template::Template::read(&desired.template) else {
        return Vec::new();
    };
    let is_hidden = |it: &&Parameter| {
        !it.value.is_empty() && crate::parameters::is_hidden(template.parameters.get(&it.key))
    };
    let hidden = desired.parameters.iter().filter(is_hidden);
    hidden.map(|it| it.value.clone()).collect()
}

pub(crate) fn tags_shown(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

/// The tags of a request: none of AWS's own.
pub(crate) fn tags(tags: &[Tag]) -> Result<BTreeMap<String, String>, ApiError> {
    let mut all = BTreeMap::new();
    for Tag { key, value } in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(fault::validation(
                "aws: prefixed tag key names are not allowed for external use.",
            ));
        }
        if all.insert(key.clone(), value.clone()).is_some() {
            let key = crate::template::cut(key);
            return Err(fault::validation(format!("Duplicate tag key: {key}")));
        }
    }
    Ok(all)
}

pub(crate) fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    tags.iter()
        .map(|it| (it.key.clone(), it.value.clone()))
        .collect()
}

/// What is done when a create fails: one of two members says it.
pub(crate) fn on_failure(
    disable_rollback: Option<bool>,
    on_failure: Option<&str>,
) -> Result<OnFailure, ApiError> {
    match (disable_rollback, on_failure) {
        (Some(_), Some(_)) => Err(fault::validation(
            "You can specify only one of DisableRollback and OnFailure",
        )),
        (Some(true), None) | (None, Some("DO_NOTHING")) => Ok(OnFailure::Nothing),
        (None, Some("DELETE")) => Ok(OnFailure::Delete),
        (_, None | Some("ROLLBACK")) => Ok(OnFailure::Rollback),
        (None, Some(other)) => {
            let other = crate::template::cut(other);
            Err(fault::validation(format!(
                "1 validation error detected: Value '{other}' at 'onFailure' failed to satisfy constraint: Member must satisfy enum value set: [DELETE, DO_NOTHING, ROLLBACK]"
            )))
        }
    }
}
