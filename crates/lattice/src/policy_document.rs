//! Policy documents as callers give them.

use lath_policy::{Grammar, Policy};
use lath_wire::ApiError;
use serde_json::Value;

use crate::fault;

/// The only service whose actions an auth policy may name.
const FAMILY: &str = "vpc-lattice-svcs:";

/// Refuses what is not an auth policy.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_auth(text: &str) -> Result<(), ApiError> {
    check_resource(text)?;
    match stranger(text) {
        None => Ok(()),
        Some(action) => {
            let message = format!("Invalid policy: the action {action} is not of {FAMILY}* or *");
            Err(fault::invalid("policy", message))
        }
    }
}

/// Refuses what is not a resource policy.
///
/// # Errors
/// `ValidationException`.
pub(crate) fn check_resource(text: &str) -> Result<(), ApiError> {
    Policy::parse(text, Grammar::Resource)
        .map(drop)
        .map_err(|error| fault::invalid("policy", format!("Invalid policy: {error}")))
}

/// An action of another service.
fn stranger(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text).ok()?;
    let actions = members(&document["Statement"])
        .into_iter()
        .flat_map(|statement| [&statement["Action"], &statement["NotAction"]])
        .flat_map(members)
        .filter_map(Value::as_str);
    let own = |action: &str| {
        let family = action.get(..FAMILY.len());
        action == "*" || family.is_some_and(|family| family.eq_ignore_ascii_case(FAMILY))
    };
    actions
        .filter(|action| !own(action))
        .map(str::to_owned)
        .next()
}

/// The items of a list, or the one that stands alone.
fn members(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_policies_name_actions_of_their_family_only() {
        let with = |action: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":{action},"Resource":"*"}}]}}"#
            )
        };
        for (name, text, good) in [
            ("one", with(r#""vpc-lattice-svcs:Invoke""#), true),
            (
                "case does not count",
                with(r#""VPC-Lattice-Svcs:Invoke""#),
                true,
            ),
            ("all", with(r#""*""#), true),
            ("a list", with(r#"["vpc-lattice-svcs:*"]"#), true),
            (
                "another's",
                with(r#"["vpc-lattice-svcs:*","s3:GetObject"]"#),
                false,
            ),
            (
                "newlines, as YAML blocks have them",
                with(r#""*""#).replace(',', ",\n  ") + "\n",
                true,
            ),
            (
                "no principal",
                with(r#""*""#).replace(r#""Principal":"*","#, ""),
                false,
            ),
            ("no JSON", "{".to_owned(), false),
            ("nothing", String::new(), false),
        ] {
            assert_eq!(check_auth(&text).is_ok(), good, "{name}");
        }
    }
}
