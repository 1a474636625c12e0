//! `Filter.N`: values of one filter are alternatives, filters are conditions
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>).

use std::cell::LazyCell;

use lath_ec2_records::errors::{client, invalid_value, missing};
use lath_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tags::Tag;

/// How many values all filters of a request may have.
const MAX_VALUES: usize = 200;

/// One condition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filter {
    /// What it is about.
    pub name: Option<String>,
    /// What it accepts, with `*` and `?`.
    #[serde(rename = "Value", default)]
    pub values: Vec<String>,
}

/// A filter's name, and what an item has under it: it matches when any of these does.
pub type Field<T> = (&'static str, fn(&T) -> Vec<String>);

/// A filter's name, and the path of the member that it is about in the answer, such as `networkInterfaceSet.vpcId`; lists
/// on the way are looked into. `None` for what does not exist here: no item has a value.
pub type Member = (&'static str, Option<&'static str>);

/// What a member of an item is to a filter.
pub trait Values {
    /// None, one or several texts.
    fn values(&self) -> Vec<String>;
}

macro_rules! plain_values {
    ($($kind:ty),*) => {$(
        impl Values for $kind {
            fn values(&self) -> Vec<String> {
                vec![self.to_string()]
            }
        }
    )*};
}

plain_values!(String, bool, i32, i64, f64, lath_model::Timestamp);

impl<V: Values> Values for Option<V> {
    fn values(&self) -> Vec<String> {
        self.iter().flat_map(Values::values).collect()
    }
}

impl<V: Values> Values for Vec<V> {
    fn values(&self) -> Vec<String> {
        self.iter().flat_map(Values::values).collect()
    }
}

/// `"name" => |it| it.member,` for each filter: a list of [`Field`]s.
#[macro_export]
macro_rules! fields {
    ($($name:literal => |$it:ident| $member:expr),* $(,)?) => {
        &[$(($name, |$it| $crate::filter::Values::values(&$member))),*]
    };
}

pub use fields;

/// A checked list of filters.
pub struct Filters<'a, T: 'static>(Vec<Condition<'a, T>>);

struct Condition<'a, T: 'static> {
    test: Test<'a, T>,
    patterns: Vec<Pattern>,
}

enum Test<'a, T: 'static> {
    Tag(&'a str),
    TagKey,
    Field(fn(&T) -> Vec<String>),
    Member(Option<&'static str>),
}

impl<'a, T> Filters<'a, T> {
    /// Reads the filters of a request.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a name that `fields` does not have, `FilterLimitExceeded`.
    pub fn new(filters: &'a [Filter], fields: &[Field<T>]) -> Result<Self, ApiError> {
        Self::with_members(filters, fields, &[])
    }

    /// As [`new`](Self::new), with names that are about a member of the answer.
    ///
    /// # Errors
    /// As of [`new`](Self::new), for a name that neither list has.
    pub fn with_members(
        filters: &'a [Filter],
        fields: &[Field<T>],
        members: &[Member],
    ) -> Result<Self, ApiError> {
        let values: usize = filters.iter().map(|filter| filter.values.len()).sum();
        if values > MAX_VALUES {
            return Err(client(
                "FilterLimitExceeded",
                format!("The maximum number of filter values is {MAX_VALUES}"),
            ));
        }
        filters
            .iter()
            .map(|filter| condition(filter, fields, members))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<T: Serialize> Filters<'_, T> {
    /// Whether every condition holds.
    pub fn matches(&self, item: &T, tags: &[Tag]) -> bool {
        let shown = LazyCell::new(|| serde_json::to_value(item).unwrap_or_default());
        let mut conditions = self.0.iter();
        conditions.all(|condition| condition.holds(item, tags, &shown))
    }
}

fn condition<'a, T>(
    filter: &'a Filter,
    fields: &[Field<T>],
    members: &[Member],
) -> Result<Condition<'a, T>, ApiError> {
    let name = filter.name.as_deref().unwrap_or("null");
    let known = fields.iter().find(|(known, _)| *known == name);
    let member = members.iter().find(|(known, _)| *known == name);
    let test = match (name.strip_prefix("tag:"), known, member) {
        (Some(key), _, _) => Test::Tag(key),
        (None, Some((_, field)), _) => Test::Field(*field),
        (None, None, Some((_, path))) => Test::Member(*path),
        (None, None, None) if name == "tag-key" => Test::TagKey,
        (None, None, None) => return Err(invalid_value(format!("The filter '{name}' is invalid"))),
    };
    if filter.values.is_empty() {
        return Err(missing(&format!("Filter.Value for the filter '{name}'")));
    }
    let patterns = filter
        .values
        .iter()
        .map(|value| Pattern::new(value))
        .collect();
    Ok(Condition { test, patterns })
}

impl<T> Condition<'_, T> {
    fn holds(&self, item: &T, tags: &[Tag], shown: &Value) -> bool {
        match self.test {
            Test::Tag(key) => tags
                .iter()
                .any(|tag| tag.key == key && self.accepts(&tag.value)),
            Test::TagKey => tags.iter().any(|tag| self.accepts(&tag.key)),
            Test::Field(values) => values(item).iter().any(|value| self.accepts(value)),
            Test::Member(path) => path.is_some_and(|path| self.accepts_at(shown, path)),
        }
    }

    /// Whether a value at the path is accepted.
    fn accepts_at(&self, at: &Value, path: &str) -> bool {
        match at {
            Value::Array(items) => items.iter().any(|item| self.accepts_at(item, path)),
            Value::Object(members) => {
                let (member, rest) = path.split_once('.').unwrap_or((path, ""));
                members
                    .get(member)
                    .is_some_and(|it| self.accepts_at(it, rest))
            }
            Value::Null => false,
            Value::String(text) => path.is_empty() && self.accepts(text),
            Value::Bool(_) | Value::Number(_) => path.is_empty() && self.accepts(&at.to_string()),
        }
    }

    fn accepts(&self, value: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(value))
    }
}

/// A value with wildcards: `*` is any text, `?` is at most one character, a backslash takes the next
/// character literally.
#[derive(Debug)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    AtMostOne,
    Any,
}

impl Pattern {
    /// Reads it.
    pub fn new(text: &str) -> Self {
        let mut chars = text.chars();
        let mut pieces = Vec::new();
        while let Some(next) = chars.next() {
            pieces.push(match next {
                '*' => Piece::Any,
                '?' => Piece::AtMostOne,
                '\\' => Piece::Char(chars.next().unwrap_or('\\')),
                other => Piece::Char(other),
            });
        }
        pieces.dedup_by(|a, b| *a == Piece::Any && *b == Piece::Any);
        Self(pieces)
    }

    /// Follows every way through the pattern at once, so that no pattern is slow.
    pub fn matches(&self, text: &str) -> bool {
        let mut at = vec![false; self.0.len() + 1];
        at[0] = true;
        self.skip(&mut at);
        for ch in text.chars() {
            let mut next = vec![false; at.len()];
            for (index, piece) in self.0.iter().enumerate().filter(|(index, _)| at[*index]) {
                match piece {
                    Piece::Char(want) => next[index + 1] |= *want == ch,
                    Piece::AtMostOne => next[index + 1] = true,
                    Piece::Any => next[index] = true,
                }
            }
            self.skip(&mut next);
            at = next;
        }
        at[self.0.len()]
    }

    /// Wildcards may stand for nothing.
    fn skip(&self, at: &mut [bool]) {
        for (index, piece) in self.0.iter().enumerate() {
            if at[index] && !matches!(piece, Piece::Char(_)) {
                at[index + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_documented() {
        for (pattern, text, want) in [
            ("abc", "abc", true),
            ("abc", "ABC", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", true),
            ("a?c", "abbc", false),
            (r"a\*c", "a*c", true),
            (r"a\*c", "abc", false),
            (r"a\\c", r"a\c", true),
            (
                "al2023-ami-2023.*-x86_64",
                "al2023-ami-2023.9.2-kernel-x86_64",
                true,
            ),
            ("**a**", "bbabb", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                want,
                "{pattern} on {text}"
            );
        }
    }

    #[test]
    fn long_patterns_stay_fast() {
        let pattern = Pattern::new(&"*a".repeat(200));
        assert!(!pattern.matches(&"a".repeat(199)));
        assert!(pattern.matches(&"a".repeat(1000)));
    }

    fn filter(name: &str, values: &[&str]) -> Filter {
        Filter {
            name: Some(name.into()),
            values: values.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn conditions_are_joined_and_values_are_alternatives() {
        const FIELDS: &[Field<&str>] = &[("word", |it| vec![it.to_string()])];
        let tags = [Tag {
            key: "Name".into(),
            value: "x".into(),
        }];
        for (filters, want) in [
            (vec![filter("word", &["a", "b"])], true),
            (vec![filter("word", &["a"])], false),
            (vec![filter("word", &["b"]), filter("word", &["a"])], false),
            (vec![filter("tag:Name", &["x"])], true),
            (vec![filter("tag:Name", &[""])], false),
            (vec![filter("tag:name", &["x"])], false),
            (vec![filter("tag-key", &["Na*"])], true),
        ] {
            let checked = Filters::new(&filters, FIELDS).unwrap();
            assert_eq!(checked.matches(&"b", &tags), want, "{filters:?}");
        }
    }

    #[test]
    fn members_of_the_answer_are_found_through_lists() {
        const MEMBERS: &[Member] = &[
            ("vpc", Some("nics.vpcId")),
            ("primary", Some("nics.primary")),
            ("nics", Some("nics")),
            ("operator", None),
        ];
        let item =
            serde_json::json!({"nics": [{"vpcId": "vpc-1"}, {"vpcId": "vpc-2", "primary": true}]});
        for (name, value, want) in [
            ("vpc", "vpc-2", true),
            ("vpc", "vpc-?", true),
            ("vpc", "vpc-3", false),
            ("primary", "true", true),
            ("primary", "false", false),
            ("nics", "*", false),
            ("operator", "*", false),
        ] {
            let filters = [filter(name, &[value])];
            let checked = Filters::with_members(&filters, &[], MEMBERS).unwrap();
            assert_eq!(checked.matches(&item, &[]), want, "{name} {value}");
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        const FIELDS: &[Field<()>] = &[];
        let error = Filters::new(&[filter("x", &["1"])], FIELDS).err().unwrap();
        assert_eq!(
            error.to_string(),
            "InvalidParameterValue: The filter 'x' is invalid"
        );
        let many = vec!["v"; 201];
        let error = Filters::new(&[filter("tag:x", &many)], FIELDS)
            .err()
            .unwrap();
        assert_eq!(error.code, "FilterLimitExceeded");
    }
}
