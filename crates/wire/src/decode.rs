//! One serde deserializer over the tree.

mod access;

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lath_model::Timestamp;
use serde::de::{DeserializeOwned, Deserializer, Visitor};

use access::{Chosen, Items, Members, Within};

use crate::constraint::{Checks, ProblemSink};
use crate::decode_error::{DecodeError, Misfit};
use crate::{Blob, Doc, Problem, moment};

/// How much the format told about types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// JSON and CBOR: lists are lists, and only [`Doc::Text`] (labels, query) is coerced.
    Typed,
    /// Forms and XML: numbered, wrapped and repeated members are lists where a list is wanted.
    Untyped,
}

/// A typed value and the members that it did not want.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<T> {
    /// The value.
    pub value: T,
    /// Paths of unknown members.
    pub ignored: Vec<String>,
    /// The constraints that it breaks.
    pub problems: Vec<Problem>,
}

/// Reads a typed value out of a tree.
///
/// # Errors
/// The first thing that does not fit, with its path.
pub fn decode<T: DeserializeOwned>(doc: Doc, typing: Typing) -> Result<Decoded<T>, DecodeError> {
    decode_held(doc, typing, None)
}

/// The same, and holds the tree to the rule of a table.
pub(crate) fn decode_held<T: DeserializeOwned>(
    doc: Doc,
    typing: Typing,
    held: Option<(&Checks, u16)>,
) -> Result<Decoded<T>, DecodeError> {
    let context = Context {
        typing,
        path: RefCell::default(),
        ignored: RefCell::default(),
        checks: held.map(|(checks, _)| checks),
        problems: RefCell::default(),
    };
    let node = Node {
        doc,
        rule: held.map_or(0, |(_, rule)| rule),
        context: &context,
    };
    match T::deserialize(node) {
        Ok(value) => Ok(Decoded {
            value,
            ignored: context.ignored.into_inner(),
            problems: context.problems.into_inner(),
        }),
        Err(mut error) => {
            error.locate(&[]);
            Err(error)
        }
    }
}

struct Context<'c> {
    typing: Typing,
    path: RefCell<Vec<String>>,
    ignored: RefCell<Vec<String>>,
    /// The table of constraints, where there is one, and what breaks it.
    checks: Option<&'c Checks>,
    problems: RefCell<Vec<Problem>>,
}

impl Context<'_> {
    /// Runs `inner` one level deeper, so that errors learn where they arose.
    fn within<T>(
        &self,
        name: String,
        inner: impl FnOnce() -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        self.path.borrow_mut().push(name);
        let mut result = inner();
        if let Err(error) = &mut result {
            error.locate(&self.path.borrow());
        }
        self.path.borrow_mut().pop();
        result
    }

    fn untyped(&self) -> bool {
        self.typing == Typing::Untyped
    }

    /// The rule of a member of what has this rule; its value is held to it, if it is no list, map or structure.
    fn member(&self, rule: u16, name: &str, doc: &Doc) -> u16 {
        let Some(checks) = self.checks.filter(|_| rule != 0) else {
            return 0;
        };
        let rule = checks.member(rule, name);
        if rule != 0 {
            self.path.borrow_mut().push(name.to_owned());
            self.at(|place| checks.scalar(rule, place, doc));
            self.path.borrow_mut().pop();
        }
        rule
    }

    /// Holds a list to its rule, and says that of its items.
    fn list(&self, rule: u16, items: &[(String, Doc)]) -> u16 {
        let checks = self.checks.filter(|_| rule != 0);
        checks.map_or(0, |it| self.at(|place| it.list(rule, place, items)))
    }

    /// Holds a map to its rule, and says that of its values.
    fn map(&self, rule: u16, entries: &[(String, Doc)]) -> u16 {
        let checks = self.checks.filter(|_| rule != 0);
        checks.map_or(0, |it| self.at(|place| it.map(rule, place, entries)))
    }

    fn at<T>(&self, hold: impl FnOnce(ProblemSink<'_>) -> T) -> T {
        hold(ProblemSink {
            path: &self.path.borrow(),
            found: &mut self.problems.borrow_mut(),
        })
    }
}

struct Node<'c> {
    doc: Doc,
    /// The place of its rule in the table of constraints; 0 is none.
    rule: u16,
    context: &'c Context<'c>,
}

impl<'c> Node<'c> {
    fn wrong<T>(&self, wanted: &str) -> Result<T, DecodeError> {
        Err(DecodeError::wrong(wanted, self.doc.kind()))
    }

    fn integer(&self) -> Result<i64, DecodeError> {
        match &self.doc {
            Doc::Int(number) => Ok(*number),
            Doc::Float(number) => whole(*number).map_or_else(|| self.wrong("an integer"), Ok),
            Doc::Text(text) => text
                .trim()
                .parse()
                .map_or_else(|_| self.wrong("an integer"), Ok),
            _ => self.wrong("an integer"),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a float is what the member is declared to be"
    )]
    fn float(&self) -> Result<f64, DecodeError> {
        match &self.doc {
            Doc::Int(number) => Ok(*number as f64),
            Doc::Float(number) => Ok(*number),
            Doc::Text(text) | Doc::String(text) => special_float(text)
                .or_else(|| matches!(self.doc, Doc::Text(_)).then(|| text.trim().parse().ok())?)
                .map_or_else(|| self.wrong("a number"), Ok),
            _ => self.wrong("a number"),
        }
    }

    fn boolean(&self) -> Result<bool, DecodeError> {
        match &self.doc {
            Doc::Bool(value) => Ok(*value),
            Doc::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Doc::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => self.wrong("a boolean"),
        }
    }

    fn string(self) -> Result<String, DecodeError> {
        match self.doc {
            Doc::Text(text) | Doc::String(text) => Ok(text),
            _ => self.wrong("a string"),
        }
    }

    fn millis(&self) -> Result<i64, DecodeError> {
        let millis = match &self.doc {
            Doc::Timestamp(moment) => Some(moment.as_millis()),
            Doc::Int(seconds) => seconds.checked_mul(1000),
            Doc::Float(seconds) => moment::from_seconds(*seconds).map(Timestamp::as_millis),
            Doc::Text(text) | Doc::String(text) => moment::parse(text).map(Timestamp::as_millis),
            _ => None,
        };
        millis.map_or_else(|| self.wrong("a timestamp"), Ok)
    }

    fn bytes(&self) -> Result<Vec<u8>, DecodeError> {
        match &self.doc {
            Doc::Blob(bytes) => Ok(bytes.clone()),
            Doc::Text(text) | Doc::String(text) => STANDARD
                .decode(text.trim())
                .map_err(|_| DecodeError::new(Misfit::WrongType("expected base64".into()))),
            _ => self.wrong("base64"),
        }
    }

    /// The members of a structure.
    fn members(self) -> Result<Vec<(String, Doc)>, DecodeError> {
        match self.doc {
            Doc::Map(members) => Ok(members),
            Doc::Null => Ok(Vec::new()),
            Doc::Text(text) if self.context.untyped() && text.trim().is_empty() => Ok(Vec::new()),
            doc => Err(DecodeError::wrong("a structure", doc.kind())),
        }
    }

    /// The items of a list, each with the number it is known by.
    fn items(self) -> Result<Vec<(String, Doc)>, DecodeError> {
        let untyped = self.context.untyped();
        match self.doc {
            Doc::List(items) => Ok(counted(items)),
            Doc::Text(text) if untyped && text.trim().is_empty() => Ok(Vec::new()),
            Doc::Text(_) => Ok(counted(vec![self.doc])),
            Doc::Map(members) if untyped => Ok(listed(members)),
            doc if untyped && doc != Doc::Null => Ok(counted(vec![doc])),
            doc => Err(DecodeError::wrong("a list", doc.kind())),
        }
    }

    /// The pairs of a map whose keys are data.
    fn pairs(self) -> Result<Vec<(String, Doc)>, DecodeError> {
        if !self.context.untyped() {
            return self.members();
        }
        let members = self.members()?;
        let entries = match members.as_slice() {
            [(name, _)] if name == "entry" => listed(members),
            _ if numbered(&members) => by_number(members),
            _ => return Ok(members),
        };
        entries.into_iter().map(|(_, entry)| pair(entry)).collect()
    }
}

/// A name/value entry of a form or XML map.
fn pair(entry: Doc) -> Result<(String, Doc), DecodeError> {
    let Doc::Map(members) = entry else {
        return Err(DecodeError::wrong("a key and a value", entry.kind()));
    };
    let (mut key, mut value) = (None, Doc::Null);
    for (name, doc) in members {
        match (name.to_ascii_lowercase().as_str(), doc) {
            ("key" | "name", Doc::Text(text) | Doc::String(text)) => key = Some(text),
            ("value", doc) => value = doc,
            _ => {}
        }
    }
    let key = key.ok_or_else(|| DecodeError::wrong("a key and a value", "neither"))?;
    Ok((key, value))
}

fn counted(items: Vec<Doc>) -> Vec<(String, Doc)> {
    items
        .into_iter()
        .enumerate()
        .map(|(at, doc)| ((at + 1).to_string(), doc))
        .collect()
}

fn numbered(members: &[(String, Doc)]) -> bool {
    let number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    !members.is_empty() && members.iter().all(|(name, _)| number(name))
}

/// Form lists may arrive out of order and with gaps.
fn by_number(mut members: Vec<(String, Doc)>) -> Vec<(String, Doc)> {
    members.sort_by_key(|(name, _)| name.parse::<u64>().unwrap_or(u64::MAX));
    members
}

/// `1`, `2`: the items; one other name: the wrapper around the items; else the single flattened item.
fn listed(members: Vec<(String, Doc)>) -> Vec<(String, Doc)> {
    if numbered(&members) {
        by_number(members)
    } else if members.len() == 1 {
        members
            .into_iter()
            .flat_map(|(_, doc)| nested(doc))
            .collect()
    } else {
        counted(vec![Doc::Map(members)])
    }
}

fn nested(doc: Doc) -> Vec<(String, Doc)> {
    match doc {
        Doc::List(items) => counted(items),
        Doc::Map(members) if numbered(&members) => by_number(members),
        other => counted(vec![other]),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
fn whole(number: f64) -> Option<i64> {
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(number as i64)
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.visit_i64(self.integer()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = DecodeError;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.doc {
            Doc::Null => visitor.visit_unit(),
            Doc::Bool(value) => visitor.visit_bool(value),
            Doc::Int(number) => visitor.visit_i64(number),
            Doc::Float(number) => visitor.visit_f64(number),
            Doc::String(text) | Doc::Text(text) => visitor.visit_string(text),
            Doc::Blob(bytes) => visitor.visit_byte_buf(bytes),
            Doc::Timestamp(moment) => visitor.visit_i64(moment.as_millis()),
            Doc::List(_) => self.deserialize_seq(visitor),
            Doc::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.string()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.string()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.string()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.bytes()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.doc {
            Doc::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let context = self.context;
        for (name, doc) in self.members()? {
            let node = Node {
                doc,
                rule: 0,
                context,
            };
            context.within(name, || node.deserialize_ignored_any(serde::de::IgnoredAny))?;
        }
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            Timestamp::NEWTYPE => visitor.visit_i64(self.millis()?),
            Blob::NEWTYPE => visitor.visit_byte_buf(self.bytes()?),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (context, rule) = (self.context, self.rule);
        let items = self.items()?;
        visitor.visit_seq(Items {
            rule: context.list(rule, &items),
            items: items.into_iter(),
            context,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (context, rule) = (self.context, self.rule);
        let members = self.pairs()?;
        let rule = Within::Each(context.map(rule, &members));
        visitor.visit_map(Members::new(members, rule, context)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (context, rule) = (self.context, self.rule);
        let members = self.members()?;
        visitor.visit_map(Members::new(members, Within::Named(rule), context)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (context, rule) = (self.context, self.rule);
        match self.doc {
            Doc::Text(text) | Doc::String(text) => visitor.visit_enum(Chosen {
                name: text,
                content: None,
                rule: 0,
                context,
            }),
            Doc::Map(members) => {
                let (name, doc) = union_member(members)?;
                visitor.visit_enum(Chosen {
                    rule: context.member(rule, &name, &doc),
                    name,
                    content: Some(doc),
                    context,
                })
            }
            doc => Err(DecodeError::wrong("a string", doc.kind())),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.string()?)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let path = self.context.path.borrow().join(".");
        self.context.ignored.borrow_mut().push(path);
        visitor.visit_unit()
    }
}

/// A union has exactly one member.
fn union_member(members: Vec<(String, Doc)>) -> Result<(String, Doc), DecodeError> {
    let mut set = members
        .into_iter()
        .filter(|(name, doc)| *doc != Doc::Null && name != "__type");
    match (set.next(), set.next()) {
        (Some(member), None) => Ok(member),
        (None, _) => Err(DecodeError::wrong("exactly one member to be set", "none")),
        (Some(_), Some(_)) => Err(DecodeError::wrong(
            "exactly one member to be set",
            "several",
        )),
    }
}

#[cfg(test)]
mod tests;
