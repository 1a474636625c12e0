//! JSON.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::Doc;
use crate::limits::{Budget, Malformed};
use crate::moment::TimeFormat;

/// Reads a JSON text. An empty one is an empty structure.
///
/// # Errors
/// Malformed text, or more than the caps allow.
pub fn read(bytes: &[u8]) -> Result<Doc, Malformed> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Doc::empty());
    }
    let budget = Budget::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let doc = Value {
        budget: &budget,
        depth: 0,
    }
    .deserialize(&mut reader)
    .and_then(|doc| reader.end().map(|()| doc));
    doc.map_err(|error| Malformed::new(format!("the body is not valid JSON: {error}")))
}

#[derive(Clone, Copy)]
struct Value<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Value<'_> {
    fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Doc;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Doc, D::Error> {
        self.budget.take(self.depth).map_err(de::Error::custom)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Doc;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Doc, E> {
        Ok(Doc::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Doc, E> {
        Ok(Doc::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Doc, E> {
        Ok(Doc::Int(number))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "past 2^63 a float is the nearest there is"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Doc, E> {
        Ok(i64::try_from(number).map_or(Doc::Float(number as f64), Doc::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Doc, E> {
        Ok(Doc::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Doc, E> {
        Ok(Doc::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Doc, E> {
        Ok(Doc::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Doc, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper())? {
            list.push(item);
        }
        Ok(Doc::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Doc, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            members.push((name, entries.next_value_seed(self.deeper())?));
        }
        Ok(Doc::Map(members))
    }
}

/// Prints a tree as JSON.
pub fn write(doc: &Doc, times: TimeFormat) -> String {
    let mut out = String::new();
    value(&mut out, doc, times);
    out
}

fn value(out: &mut String, doc: &Doc, times: TimeFormat) {
    match doc {
        Doc::Null => out.push_str("null"),
        Doc::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Doc::Int(number) => display(out, number),
        Doc::Float(number) => float(out, *number),
        Doc::String(text) | Doc::Text(text) => quoted(out, text),
        Doc::Blob(bytes) => quoted(out, &STANDARD.encode(bytes)),
        Doc::Timestamp(moment) if times == TimeFormat::EpochSeconds => {
            out.push_str(&times.print(*moment));
        }
        Doc::Timestamp(moment) => quoted(out, &times.print(*moment)),
        Doc::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                separator(out, at);
                value(out, item, times);
            }
            out.push(']');
        }
        Doc::Map(members) => {
            out.push('{');
            for (at, (name, member)) in members.iter().enumerate() {
                separator(out, at);
                quoted(out, name);
                out.push(':');
                value(out, member, times);
            }
            out.push('}');
        }
    }
}

fn separator(out: &mut String, at: usize) {
    if at > 0 {
        out.push(',');
    }
}

fn display(out: &mut String, what: impl fmt::Display) {
    write!(out, "{what}").expect("writing to a String cannot fail");
}

/// JSON has no NaN or infinity: AWS's protocols name them in strings.
fn float(out: &mut String, number: f64) {
    match float_name(number) {
        Some(name) => quoted(out, name),
        None => out.push_str(
            &serde_json::Number::from_f64(number)
                .map_or_else(|| "null".to_owned(), |number| number.to_string()),
        ),
    }
}

/// What AWS's text formats call a number that has no digits.
pub(crate) fn float_name(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number.is_infinite() {
        Some(if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        })
    } else {
        None
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
