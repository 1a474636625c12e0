//! What an add-on may be configured with, as deep as it is applied: an API server refuses the rest for good, long after
//! the request.

use serde_json::{Map, Value, json};

use crate::syntax::{is_label_key, is_label_value};
use lath_kubernetes::quantity::thousandths;

/// The most bytes of a text: an object of Kubernetes has at most a mebibyte.
const LONGEST: usize = 512 << 10;
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// The kind of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A number of pods.
    Count,
    /// Labels of nodes.
    Labels,
    /// Taints that pods do not mind.
    Tolerations,
    /// What containers ask for, and what they may use.
    Resources,
    /// Something that is there or not: `{"enabled": true}`.
    Enabled,
}

impl Kind {
    /// As a JSON schema.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Enabled => json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {"enabled": {"type": "boolean"}},
            }),
            Self::Count => json!({"type": "integer", "minimum": 0, "maximum": i32::MAX}),
            Self::Labels => {
                json!({"type": "object", "additionalProperties": {"type": "string"}})
            }
            Self::Tolerations => json!({"type": "array", "items": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "key": {"type": "string"},
                    "operator": {"type": "string", "enum": ["Equal", "Exists"]},
                    "value": {"type": "string"},
                    "effect": {
                        "type": "string",
                        "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                    },
                    "tolerationSeconds": {"type": "integer"},
                },
            }}),
            Self::Resources => {
                let quantity = json!({"type": ["string", "number"]});
                let names = RESOURCES.map(|name| (name.to_owned(), quantity.clone()));
                let properties: Map<String, Value> = names.into_iter().collect();
                let quantities = json!({
                    "type": "object",
                    "additionalProperties": false,
                    "properties": properties,
                });
                json!({
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {"limits": quantities, "requests": quantities},
                })
            }
        }
    }

    /// Whether a value is of this kind.
    ///
    /// # Errors
    /// What it is not.
    pub(super) fn check(self, value: &Value) -> Result<(), &'static str> {
        let (good, what) = match self {
            Self::Text => {
                let good = value.as_str().is_some_and(|it| it.len() <= LONGEST);
                (good, "is no string of at most 512 KiB")
            }
            Self::Count => {
                let good = value.as_u64().is_some_and(|it| i32::try_from(it).is_ok());
                (good, "is no integer from 0 to 2147483647")
            }
            Self::Labels => {
                let good = value.as_object().is_some_and(|all| {
                    all.iter().all(|(key, value)| {
                        is_label_key(key) && value.as_str().is_some_and(is_label_value)
                    })
                });
                (good, "is no object of labels")
            }
            Self::Tolerations => {
                let good = value
                    .as_array()
                    .is_some_and(|all| all.iter().all(is_toleration));
                (good, "is no array of tolerations")
            }
            Self::Enabled => {
                let good = value.as_object().is_some_and(|all| {
                    let mut all = all.iter();
                    all.all(|(name, value)| name == "enabled" && value.is_boolean())
                });
                (good, "is no object with the boolean enabled alone")
            }
            Self::Resources => (
                value.as_object().is_some_and(are_resources),
                "has no quantities of cpu, memory and ephemeral-storage as limits and requests below them",
            ),
        };
        good.then_some(()).ok_or(what)
    }
}

fn is_toleration(value: &Value) -> bool {
    let Some(members) = value.as_object() else {
        return false;
    };
    let is_text = |(name, value): (&String, &Value)| match name.as_str() {
        "key" | "operator" | "value" | "effect" => value.is_string(),
        "tolerationSeconds" => value.is_i64(),
        _ => false,
    };
    if !members.iter().all(is_text) {
        return false;
    }
    let text = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (key, operator, effect) = (text("key"), text("operator"), text("effect"));
    let exists = operator == "Exists";
    let effects = ["", "NoSchedule", "PreferNoSchedule", "NoExecute"];
    (key.is_empty() || is_label_key(key))
        && ["", "Equal", "Exists"].contains(&operator)
        && effects.contains(&effect)
        && (exists || !key.is_empty())
        && (!exists || text("value").is_empty())
        && is_label_value(text("value"))
        && (!members.contains_key("tolerationSeconds") || effect == "NoExecute")
}

fn are_resources(members: &Map<String, Value>) -> bool {
    let quantities = |name: &str| -> Option<Vec<(String, f64)>> {
        let Some(value) = members.get(name) else {
            return Some(Vec::new());
        };
        let each = |(name, value): (&String, &Value)| {
            let known = RESOURCES.contains(&name.as_str());
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            known.then_some((name.clone(), thousandths(&text)?))
        };
        value.as_object()?.iter().map(each).collect()
    };
    let known = members
        .keys()
        .all(|it| ["limits", "requests"].contains(&it.as_str()));
    let (Some(limits), Some(requests)) = (quantities("limits"), quantities("requests")) else {
        return false;
    };
    let fits = |(name, request): &(String, f64)| {
        let limit = limits.iter().find(|(of, _)| of == name);
        limit.is_none_or(|(_, limit)| request <= limit)
    };
    known && requests.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_api_server_would_refuse_is_refused_first() {
        let good = [
            (Kind::Count, json!(3)),
            (Kind::Labels, json!({"kubernetes.io/os": "linux"})),
            (Kind::Tolerations, json!([])),
            (Kind::Enabled, json!({"enabled": true})),
            (
                Kind::Tolerations,
                json!([{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]),
            ),
            (
                Kind::Resources,
                json!({"limits": {"cpu": 1, "memory": "170Mi"}, "requests": {"cpu": "100m"}}),
            ),
        ];
        for (kind, value) in good {
            assert_eq!(kind.check(&value), Ok(()), "{value}");
        }
        let bad = [
            (Kind::Count, json!(1_000_000_000_000_u64)),
            (Kind::Count, json!(-1)),
            (Kind::Labels, json!({"a": 1})),
            (Kind::Enabled, json!({"enabled": "true"})),
            (Kind::Enabled, json!({"enabled": true, "more": 1})),
            (Kind::Labels, json!({"a b": "c"})),
            (Kind::Tolerations, json!([1])),
            (Kind::Tolerations, json!([{"key": null}])),
            (Kind::Tolerations, json!([{"more": "x"}])),
            (Kind::Tolerations, json!([{"value": "x"}])),
            (
                Kind::Tolerations,
                json!([{"operator": "Exists", "value": "x"}]),
            ),
            (
                Kind::Tolerations,
                json!([{"operator": "Exists", "tolerationSeconds": 1}]),
            ),
            (Kind::Resources, json!({"limits": "x"})),
            (Kind::Resources, json!({"limits": {"cpu": "x"}})),
            (Kind::Resources, json!({"limits": {"disks": "1"}})),
            (Kind::Resources, json!({"more": {}})),
            (
                Kind::Resources,
                json!({"limits": {"cpu": "50m"}, "requests": {"cpu": "1"}}),
            ),
        ];
        for (kind, value) in bad {
            assert!(kind.check(&value).is_err(), "{value}");
        }
    }
}
