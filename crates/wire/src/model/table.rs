//! The compatibility table.

use std::fmt::Write as _;

use serde_json::Value;

use super::compare::compare;
use super::oracle::Model;
use crate::Service;

/// A Markdown section per service: each operation of its model, whether it is there, and which of its
/// input members are not accepted.
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
    let there = names
        .iter()
        .filter(|name| service.named(name).is_some())
        .count();
    line(out, &format!("## {}\n", service.info().model));
    line(out, &format!("{there} of {} operations.\n", names.len()));
    line(out, "| operation | state | input members not accepted |");
    line(out, "|---|---|---|");
    let differences = compare(service, document);
    for name in names {
        let state = if service.named(name).is_some() {
            "yes"
        } else {
            "not yet"
        };
        let missing: Vec<String> = differences
            .iter()
            .filter(|d| d.operation == name && d.what.contains("member is not there"))
            .filter_map(|d| d.place.strip_prefix("input."))
            .map(|place| format!("`{place}`"))
            .collect();
        line(
            out,
            &format!("| {name} | {state} | {} |", missing.join(", ")),
        );
    }
    line(out, "");
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a String cannot fail");
}
