//! Templates in YAML, as a tree of JSON: the short forms of intrinsic functions become the long ones.

use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::TScalarStyle;

use crate::template::DEEPEST;

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotYaml(pub(crate) String);

fn format_error(text: impl std::fmt::Display) -> NotYaml {
    NotYaml(format!("Template format error: {text}"))
}

/// Reads the first document. Anchors are refused, as CloudFormation refuses them: a short text could stand for a long one
/// by them.
pub(crate) fn read(text: &str) -> Result<Value, NotYaml> {
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    // One event after another: the parser's own way to build calls itself once per level, and a text of nothing but
    // dashes would end the process.
    loop {
        let (event, mark) = parser.next_token().map_err(|error| {
            let at = error.marker();
            let (line, column) = (at.line(), at.col() + 1);
            format_error(format!(
                "YAML not well-formed. (line {line}, column {column})"
            ))
        })?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            return Ok(tree.root.unwrap_or(Value::Null));
        }
        let (line, column) = (mark.line(), mark.col() + 1);
        tree.take(event).map_err(|reason| match reason {
            Wrong::Alias => {
                format_error("YAML aliases are not allowed in CloudFormation templates")
            }
            Wrong::Deep => format_error("the template is nested too deeply"),
            Wrong::Key => format_error(format!(
                "YAML not well-formed. (line {line}, column {column})"
            )),
            Wrong::Twice(key) => format_error(format!(
                "Duplicate mapping key '{key}' (line {line}, column {column})"
            )),
            Wrong::Tag(tag) => format_error(format!("unsupported tag !{tag}")),
        })?;
    }
}

enum Wrong {
    Alias,
    Deep,
    Key,
    Twice(String),
    Tag(String),
}

/// What is open: a list, or a map with the key that waits for its value.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

#[derive(Default)]
struct Tree {
    open: Vec<(Open, Option<String>)>,
    root: Option<Value>,
}

impl Tree {
    fn take(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::Alias(_) => Err(Wrong::Alias),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                Err(Wrong::Alias)
            }
            Event::Scalar(text, style, _, tag) => {
                let is_key = matches!(self.open.last(), Some((Open::Map(_, None), _)));
                match function(tag)? {
                    _ if is_key => self.place(Value::String(text)),
                    Tagged::Function(name) => {
                        let value = called(&name, Value::String(text));
                        self.place(value)
                    }
                    Tagged::Text => self.place(Value::String(text)),
                    Tagged::No => self.place(scalar(text, style)),
                }
            }
            Event::SequenceStart(_, tag) => self.begin(Open::List(Vec::new()), tag),
            Event::MappingStart(_, tag) => self.begin(Open::Map(Map::new(), None), tag),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((open, name)) = self.open.pop() else {
                    return Err(Wrong::Key);
                };
                let value = match open {
                    Open::List(items) => Value::Array(items),
                    Open::Map(members, _) => Value::Object(members),
                };
                self.place(match name {
                    Some(name) => called(&name, value),
                    None => value,
                })
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, open: Open, tag: Option<Tag>) -> Result<(), Wrong> {
        if self.open.len() >= DEEPEST {
            return Err(Wrong::Deep);
        }
        let name = match function(tag)? {
            Tagged::Function(name) => Some(name),
            Tagged::Text | Tagged::No => None,
        };
        self.open.push((open, name));
        Ok(())
    }

    fn place(&mut self, value: Value) -> Result<(), Wrong> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Open::List(items), _)) => items.push(value),
            Some((Open::Map(members, key), _)) => match key.take() {
                None => match value {
                    Value::String(text) if members.contains_key(&text) => {
                        return Err(Wrong::Twice(text.chars().take(64).collect()));
                    }
                    Value::String(text) => *key = Some(text),
                    _ => return Err(Wrong::Key),
                },
                Some(name) => {
                    members.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

enum Tagged {
    No,
    Text,
    Function(String),
}

fn function(tag: Option<Tag>) -> Result<Tagged, Wrong> {
    let Some(Tag { handle, suffix }) = tag else {
        return Ok(Tagged::No);
    };
    if handle != "!" {
        // YAML's own, such as `!!str`.
        return Ok(if suffix == "str" {
            Tagged::Text
        } else {
            Tagged::No
        });
    }
    const FUNCTIONS: [&str; 17] = [
        "Base64",
        "Cidr",
        "FindInMap",
        "GetAtt",
        "GetAZs",
        "ImportValue",
        "Join",
        "Select",
        "Split",
        "Sub",
        "Transform",
        "And",
        "Equals",
        "If",
        "Not",
        "Or",
        "ToJsonString",
    ];
    match suffix.as_str() {
        "Ref" | "Condition" => Ok(Tagged::Function(suffix)),
        "Length" => Ok(Tagged::Function("Fn::Length".into())),
        it if FUNCTIONS.contains(&it) => Ok(Tagged::Function(format!("Fn::{it}"))),
        _ => Err(Wrong::Tag(suffix.chars().take(64).collect())),
    }
}

/// `!GetAtt A.B` is `["A", "B"]`.
fn called(name: &str, value: Value) -> Value {
    let value = match (name, value) {
        ("Fn::GetAtt", Value::String(text)) => match text.split_once('.') {
            Some((resource, attribute)) => Value::from(vec![resource, attribute]),
            None => Value::String(text),
        },
        (_, value) => value,
    };
    let mut members = Map::new();
    members.insert(name.to_owned(), value);
    Value::Object(members)
}

/// A plain scalar as YAML 1.1 reads it. Numbers that would be printed otherwise stay texts: a version 1.30 is not 1.3.
fn scalar(text: String, style: TScalarStyle) -> Value {
    if style != TScalarStyle::Plain {
        return Value::String(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        return Value::Number(number.into());
    }
    let float = text.parse::<f64>().ok().and_then(Number::from_f64);
    match float {
        Some(number) if number.to_string() == text => Value::Number(number),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn short_forms_become_long_ones() {
        let text = "a: !Ref X\nb: !GetAtt Y.Z.W\nc: !Sub 'x ${A}'\nd: !Join [',', [1, yes, '2', 1.30]]\n\
                    e: !If [C, !Ref A, !Ref 'AWS::NoValue']\nf: !Select\n  - 0\n  - !GetAZs ''\n";
        let want = json!({
            "a": {"Ref": "X"},
            "b": {"Fn::GetAtt": ["Y", "Z.W"]},
            "c": {"Fn::Sub": "x ${A}"},
            "d": {"Fn::Join": [",", [1, true, "2", "1.30"]]},
            "e": {"Fn::If": ["C", {"Ref": "A"}, {"Ref": "AWS::NoValue"}]},
            "f": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
        });
        assert_eq!(read(text), Ok(want));
    }

    #[test]
    fn what_could_grow_is_refused() {
        let deep = "- ".repeat(5000);
        for (text, said) in [
            ("a: &x 1\nb: *x\n", "aliases"),
            (deep.as_str(), "too deeply"),
            ("a: 1\na: 2\n", "Duplicate mapping key 'a'"),
            ("a: [", "YAML not well-formed"),
            ("a: !Foo b", "!Foo"),
        ] {
            let NotYaml(error) = read(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
