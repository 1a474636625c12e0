//! The compatibility table.

use std::fmt::Write as _;

use lath_wire::{Description, Service};
use serde_json::Value;

use crate::compare::compare;
use crate::model::{Model, ModelShape, Way};

/// A Markdown section per service: each operation of its model, whether it is there, which of its input
/// members are not read at all, and what of the others is refused: members, and values of enumerations.
pub fn compat_table<'s>(
    services: impl IntoIterator<Item = &'s Service>,
    document: &Value,
) -> String {
    let mut out = String::new();
    for service in services {
        if let Some(model) = Model::of(document, service) {
            section(&mut out, service, model, document);
        }
    }
    out
}

fn section(out: &mut String, service: &Service, model: Model<'_>, document: &Value) {
    let mut names: Vec<&str> = model.operation_names().collect();
    names.sort_unstable();
    let there = names.iter().filter(|name| service.has(name)).count();
    line(out, &format!("## {}\n", service.info().model));
    line(out, &format!("{there} of {} operations.\n", names.len()));
    line(
        out,
        "| operation | state | input members not known | refused when set |",
    );
    line(out, "|---|---|---|---|");
    let differences = compare(service, document);
    for name in names {
        let state = if service.has(name) { "yes" } else { "not yet" };
        let of_input = differences
            .iter()
            .filter(|it| it.operation == name)
            .filter_map(|it| Some((it.place.strip_prefix("input.")?, &it.what)));
        let missing: Vec<String> = of_input
            .clone()
            .filter(|(_, what)| what.contains("member is not there"))
            .map(|(place, _)| format!("`{place}`"))
            .collect();
        let refused = service
            .describe(name)
            .into_iter()
            .flat_map(|it| (it.refused)());
        let mut refused: Vec<String> = refused.map(|it| quoted(&it)).collect();
        refused.extend(of_input.filter_map(|(place, what)| {
            let values = what.strip_prefix("values that are not accepted: ")?;
            Some(format!(
                "`{place}`: {}",
                values.replace(['"', '[', ']'], "")
            ))
        }));
        let (missing, refused) = (missing.join(", "), refused.join(", "));
        line(
            out,
            &format!("| {name} | {state} | {missing} | {refused} |"),
        );
    }
    line(out, "");
}

/// The path in quotes; values after a colon as they are.
fn quoted(refused: &str) -> String {
    match refused.split_once(": ") {
        Some((path, values)) => format!("`{path}`: {values}"),
        None => format!("`{refused}`"),
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a String cannot fail");
}

/// Refused members that the model does not have: `Operation Path`.
pub fn unknown_refusals(service: &Service, document: &Value) -> Vec<String> {
    let Some(model) = Model::of(document, service) else {
        return Vec::new();
    };
    let of = |described: Description| {
        let input = model
            .operation(described.name)
            .and_then(|operation| model.of_operation(operation, Way::In));
        (described.refused)()
            .into_iter()
            .filter(|it| {
                let path = it.split(": ").next().unwrap_or_default();
                !input.is_some_and(|input| leads(input, path))
            })
            .map(|path| format!("{} {path}", described.name))
            .collect::<Vec<_>>()
    };
    let described = service
        .operations()
        .filter_map(|name| service.describe(name));
    described.flat_map(of).collect()
}

/// Whether a path of members leads somewhere; lists are passed through.
fn leads(shape: ModelShape<'_>, path: &str) -> bool {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut members = shape.members().into_iter();
    let Some(member) = members.find(|member| member.name(Way::In) == name) else {
        return false;
    };
    let mut held = member.shape;
    while held.kind() == "list" {
        let Some(inner) = held.inner() else {
            return false;
        };
        held = inner;
    }
    rest.is_empty() || leads(held, rest)
}
