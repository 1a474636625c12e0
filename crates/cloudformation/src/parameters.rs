//! Parameters of a template: given, defaulted, checked.

use std::collections::BTreeMap;

use regex_lite::RegexBuilder;
use serde_json::Value;

use crate::record::Parameter;
use crate::template::{Template, Wrong, cut};

/// The longest value, in bytes.
const LONGEST: usize = 4096;
/// The longest pattern, in bytes.
const LONGEST_PATTERN: usize = 1024;
/// The largest compiled pattern, in bytes: repetitions make large ones of short texts.
const LARGEST_PATTERN: usize = 1 << 16;

/// What a template's parameters are: as they are given and kept, and as functions see them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settled {
    pub(crate) kept: Vec<Parameter>,
    pub(crate) values: BTreeMap<String, Value>,
}

/// Settles each parameter: what is given, what the stack had where that is asked for, the default.
pub(crate) fn settle(
    template: &Template,
    given: &[(String, Option<String>, bool)],
    previous: &[Parameter],
) -> Result<Settled, Wrong> {
    let stray: Vec<&str> = given
        .iter()
        .map(|(key, ..)| key.as_str())
        .filter(|key| !template.parameters.contains_key(*key))
        .collect();
    if !stray.is_empty() {
        let stray = cut(&stray.join(", "));
        return Err(format!(
            "Parameters: [{stray}] do not exist in the template"
        ));
    }
    let mut settled = Settled::default();
    let mut missing = Vec::new();
    for (name, declared) in &template.parameters {
        let asked = given.iter().find(|(key, ..)| key == name);
        let before = || {
            previous
                .iter()
                .find(|it| it.key == *name)
                .map(|it| it.value.clone())
        };
        let value = match asked {
            Some((_, Some(value), _)) => Some(value.clone()),
            Some((_, None, true)) => before(),
            _ => default(declared),
        };
        let Some(value) = value else {
            missing.push(name.as_str());
            continue;
        };
        check(name, declared, &value)?;
        let kind = declared
            .get("Type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_list = kind == "CommaDelimitedList" || kind.starts_with("List<");
        let seen = if !is_list {
            Value::String(value.clone())
        } else if value.is_empty() {
            Value::Array(Vec::new())
        } else {
            value.split(',').map(|it| Value::from(it.trim())).collect()
        };
        settled.values.insert(name.clone(), seen);
        settled.kept.push(Parameter {
            key: name.clone(),
            value,
        });
    }
    if !missing.is_empty() {
        let missing = cut(&missing.join(", "));
        return Err(format!("Parameters: [{missing}] must have values"));
    }
    Ok(settled)
}

/// The default as text.
pub(crate) fn default(declared: &Value) -> Option<String> {
    match declared.get("Default")? {
        Value::Null => None,
        value => crate::resolve::as_text(value).ok(),
    }
}

/// Whether a parameter's value is not shown.
pub(crate) fn is_hidden(declared: Option<&Value>) -> bool {
    match declared.and_then(|it| it.get("NoEcho")) {
        Some(Value::Bool(hidden)) => *hidden,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn check(name: &str, declared: &Value, value: &str) -> Result<(), Wrong> {
    let number = |key: &str| {
        declared
            .get(key)
            .and_then(|it| crate::resolve::as_text(it).ok()?.parse::<f64>().ok())
    };
    let failed = |rule: String| {
        let described = declared
            .get("ConstraintDescription")
            .and_then(Value::as_str);
        Err(match described {
            Some(text) => format!("Parameter {name} failed to satisfy constraint: {text}"),
            None => format!("Parameter '{name}' {rule}"),
        })
    };
    if value.len() > LONGEST {
        return failed(format!("must contain at most {LONGEST} characters"));
    }
    let kind = declared
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kind == "Number" || kind == "List<Number>" {
        let is_number = |it: &str| it.trim().parse::<f64>().is_ok_and(f64::is_finite);
        let all = if kind == "Number" {
            is_number(value)
        } else {
            value.split(',').all(is_number)
        };
        if !all {
            return failed("must be a number".into());
        }
    }
    if let (Some(least), Ok(value)) = (number("MinValue"), value.parse::<f64>())
        && value < least
    {
        return failed(format!("must be a number not less than {least}"));
    }
    if let (Some(most), Ok(value)) = (number("MaxValue"), value.parse::<f64>())
        && value > most
    {
        return failed(format!("must be a number not greater than {most}"));
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a value is at most a few thousand characters"
    )]
    let length = value.chars().count() as f64;
    if let Some(least) = number("MinLength").filter(|least| length < *least) {
        return failed(format!("must contain at least {least} characters"));
    }
    if let Some(most) = number("MaxLength").filter(|most| length > *most) {
        return failed(format!("must contain at most {most} characters"));
    }
    if let Some(allowed) = declared.get("AllowedValues").and_then(Value::as_array) {
        let is_list = kind == "CommaDelimitedList" || kind.starts_with("List<");
        let values: Vec<&str> = if is_list {
            value.split(',').map(str::trim).collect()
        } else {
            vec![value]
        };
        let fits = |it: &&str| {
            allowed
                .iter()
                .any(|one| crate::resolve::as_text(one).is_ok_and(|one| one == **it))
        };
        if !values.iter().all(fits) {
            return failed("must be one of AllowedValues".into());
        }
    }
    if let Some(pattern) = declared.get("AllowedPattern").and_then(Value::as_str) {
        let whole = format!("^(?:{pattern})$");
        let compiled = Some(whole)
            .filter(|it| it.len() <= LONGEST_PATTERN)
            .map(|it| RegexBuilder::new(&it).size_limit(LARGEST_PATTERN).build());
        let Some(Ok(compiled)) = compiled else {
            return Err(format!(
                "Template format error: the AllowedPattern of parameter {name} cannot be read"
            ));
        };
        if !compiled.is_match(value) {
            return failed(format!("must match pattern {pattern}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn patterns_are_whole_and_small() {
        let check = |pattern: &str, value| check("P", &json!({"AllowedPattern": pattern}), value);
        assert!(check("[a-z][a-z0-9-]{0,62}", "abc-1").is_ok());
        assert!(check("[a-z]", "ab").is_err_and(|it| it.contains("must match pattern")));
        let error = check("((a{1,99}){1,99}){1,99}", "a").unwrap_err();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
