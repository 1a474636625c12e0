//! The statements of a service beside AWS's reference.

use std::collections::BTreeSet;

use lath_wire::{Service, Stated};

use crate::reference;
use crate::reference::is_key;

/// Where the statements of a service differ from the reference, a line each: `ACTION`, then what differs:
///
/// - `is not in the reference`;
/// - `TYPE is not stated`, with `required` before it where every request has one;
/// - `TYPE is not in the reference`;
/// - `TYPE: KEY is not filled in`, of keys of the service and of tags (the judge fills in AWS's global keys);
/// - `ACTION is not asked for`, of a dependent action.
pub fn compare(service: &Service) -> Vec<String> {
    let prefix = match service.info().signing_name {
        "monitoring" => "cloudwatch",
        other => other,
    };
    let of_operation = |operation: &str| {
        let stated = service.stated(operation);
        let own = format!("{prefix}:{operation}");
        // An operation that has another's action states it first.
        let first = stated.first().map_or(&*own, |it| &it.action);
        let has_own = stated.is_empty() || stated.iter().any(|it| it.action == own);
        of_action(if has_own { &own } else { first }, &stated)
    };
    service.operations().flat_map(of_operation).collect()
}

fn of_action(name: &str, stated: &[Stated]) -> Vec<String> {
    let Some(action) = reference::action(name) else {
        return vec![format!("{name} is not in the reference")];
    };
    let own: Vec<&Stated> = stated.iter().filter(|it| it.action == name).collect();
    let mut found = Vec::new();
    for of_type in &action.resource_types {
        if !own.iter().any(|it| it.resource_type == of_type.name) {
            let required = if of_type.required { "required " } else { "" };
            found.push(format!("{name} {required}{} is not stated", of_type.name));
        }
    }
    for need in &own {
        let of_type = action.resource_types.iter();
        let of_type = of_type.filter(|it| it.name == need.resource_type);
        let mut keys: BTreeSet<&str> = action.keys.clone();
        keys.extend(of_type.clone().flat_map(|it| &it.keys));
        if of_type.count() == 0 && !need.resource_type.is_empty() {
            found.push(format!(
                "{name} {} is not in the reference",
                need.resource_type
            ));
        }
        let shown = if need.resource_type.is_empty() {
            "*"
        } else {
            need.resource_type
        };
        let missing = keys
            .iter()
            .filter(|key| !is_global(key) && !need.known.contains(*key));
        found.extend(missing.map(|key| format!("{name} {shown}: {key} is not filled in")));
    }
    let asked = |action: &str| stated.iter().any(|it| it.action == action);
    let dependent = action.dependent_actions.iter().filter(|it| !asked(it));
    found.extend(dependent.map(|it| format!("{name} {it} is not asked for")));
    found
}

/// A key that the judge fills in whatever the operation.
fn is_global(key: &str) -> bool {
    let of_tags = ["aws:ResourceTag/", "aws:RequestTag/", "aws:TagKeys"];
    key.starts_with("aws:")
        && !of_tags
            .iter()
            .any(|it| is_key(it, key) || key.starts_with(it))
}

/// Holds differences to a list of those that are meant, `# REASON` lines and below each the lines that it explains;
/// `*` in a line stands for any text.
///
/// # Errors
/// The differences that are not listed, and the lines that no difference fits.
pub fn judged(differences: &[String], list: &str) -> Result<(), String> {
    let lines = list.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .collect();
    let new = differences
        .iter()
        .filter(|it| !lines.iter().any(|line| fits(line, it)));
    let new: Vec<String> = new.map(|it| format!("new: {it}")).collect();
    let stale = lines
        .iter()
        .filter(|line| !differences.iter().any(|it| fits(line, it)));
    let stale: Vec<String> = stale.map(|it| format!("stale: {it}")).collect();
    let all = [new, stale].concat();
    if all.is_empty() {
        Ok(())
    } else {
        Err(all.join("\n"))
    }
}

/// Whether a text is what a line with stars says.
fn fits(line: &str, text: &str) -> bool {
    let mut pieces = line.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_stars_fit() {
        for (line, text, want) in [
            ("ec2:A b is", "ec2:A b is", true),
            ("ec2:A b is", "ec2:A b is not", false),
            ("ec2:* b is", "ec2:A b is", true),
            (
                "* ec2:Tenancy *",
                "ec2:A x: ec2:Tenancy is not filled in",
                true,
            ),
            ("ec2:* c is", "ec2:A b is", false),
        ] {
            assert_eq!(fits(line, text), want, "{line} | {text}");
        }
    }

    #[test]
    fn what_is_not_listed_and_what_is_stale_is_told() {
        let differences = ["ec2:A x is not stated".to_owned()];
        assert!(judged(&differences, "# why\nec2:A x is not stated").is_ok());
        let error = judged(&differences, "ec2:B x is not stated").unwrap_err();
        assert_eq!(
            error,
            "new: ec2:A x is not stated\nstale: ec2:B x is not stated"
        );
    }
}
