//! To what values of templates refer.

use serde_json::{Map, Value};

use crate::template::Wrong;

/// How a dynamic reference begins.
pub(crate) const DYNAMIC: &str = "{{resolve:";

pub(crate) fn no_dynamic_references() -> Wrong {
    "Template format error: Lath does not support dynamic references ({{resolve:...}}).".into()
}

/// Whether a value calls a function.
pub(crate) fn uses(value: &Value, function: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|it| uses(it, function)),
        Value::Object(members) => members
            .iter()
            .any(|(name, it)| name == function || uses(it, function)),
        _ => false,
    }
}

/// Calls `found` for each name that a value refers to, and whether it wants an attribute of it.
pub(crate) fn references(value: &Value, found: &mut dyn FnMut(&str, bool)) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("Ref", Value::String(name)) if members.len() == 1 => found(name, false),
                    ("Fn::GetAtt", Value::Array(parts)) if members.len() == 1 => {
                        if let Some(name) = parts.first().and_then(Value::as_str) {
                            found(name, true);
                        }
                    }
                    ("Fn::GetAtt", Value::String(text)) if members.len() == 1 => {
                        found(text.split('.').next().unwrap_or_default(), true);
                    }
                    ("Fn::Sub", value) if members.len() == 1 => of_sub(value, found),
                    _ => references(value, found),
                }
            }
        }
        _ => {}
    }
}

fn of_sub(value: &Value, found: &mut dyn FnMut(&str, bool)) {
    let (text, own) = match value {
        Value::String(text) => (text.as_str(), None),
        Value::Array(parts) => {
            let text = parts.first().and_then(Value::as_str).unwrap_or_default();
            (text, parts.get(1).and_then(Value::as_object))
        }
        _ => return,
    };
    for value in own.into_iter().flat_map(Map::values) {
        references(value, found);
    }
    for piece in pieces(text) {
        if let Piece::Name(name) = piece
            && !own.is_some_and(|own| own.contains_key(name))
        {
            match name.split_once('.') {
                Some((resource, _)) => found(resource, true),
                None => found(name, false),
            }
        }
    }
}

/// A part of the text of `Fn::Sub`.
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
    /// `${!Name}` stands for `${Name}`.
    Literal(&'a str),
}

/// The parts of a text with `${...}`.
pub(crate) fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some(start) = text.find("${") {
        let Some(length) = text[start..].find('}') else {
            break;
        };
        pieces.push(Piece::Text(&text[..start]));
        let name = text[start + 2..start + length].trim();
        pieces.push(match name.strip_prefix('!') {
            Some(literal) => Piece::Literal(literal),
            None => Piece::Name(name),
        });
        text = &text[start + length + 1..];
    }
    pieces.push(Piece::Text(text));
    pieces
}
