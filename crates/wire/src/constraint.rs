//! What the published models say of the values of requests: lengths, ranges and patterns, as one table for each service.
//!
//! `cargo xtask constraints` writes the tables. A tree is held to its table while a request is read from it, so that
//! lists and maps are what the request's type takes them for. Enumerations and required members are the types' own.

mod pattern;

use std::sync::OnceLock;

use crate::{Doc, Problem};

use pattern::Pattern;

/// There is no least length or value.
pub const LOW: i64 = i64::MIN;
/// There is no greatest length or value.
pub const HIGH: i64 = i64::MAX;

/// How much of a value a problem keeps, in characters.
const KEPT: usize = 1024;
/// How many broken constraints of a request are told. A list may have thousands of items that break one.
const MOST_PROBLEMS: usize = 32;

/// The constraints of a service's served operations.
#[derive(Debug)]
pub struct Constraints {
    /// The rule of each operation's input, sorted by the operation's name. Operations whose input has no constraint are
    /// left out.
    pub operations: &'static [(&'static str, u16)],
    /// The rules, which name one another by their places. The first is [`Rule::Free`].
    pub rules: &'static [Rule],
    /// Regular expressions as the models have them, which rules name by their places. The first is empty: no pattern.
    pub patterns: &'static [&'static str],
}

/// What may stand in one place of a request. The two numbers are the least and the greatest length or value, both ends
/// included.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Anything.
    Free,
    /// Text: its characters, and its pattern.
    Text(i64, i64, u16),
    /// Text that no message repeats.
    Secret(i64, i64, u16),
    /// Bytes: how many.
    Bytes(i64, i64),
    /// A number.
    Number(i64, i64),
    /// A list: how many items, and the rule of each.
    List(i64, i64, u16),
    /// A map: how many entries, the rule of keys, that of values.
    Map(i64, i64, u16, u16),
    /// A structure or union: the members whose values have a rule.
    Members(&'static [(&'static str, u16)]),
}

/// A table with its compiled patterns. Each is compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Checks {
    table: &'static Constraints,
    patterns: Box<[OnceLock<Option<Pattern>>]>,
}

impl Checks {
    pub(crate) fn new(table: &'static Constraints) -> Self {
        Self {
            table,
            patterns: table.patterns.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The rule of an operation's input.
    pub(crate) fn input(&self, operation: &str) -> u16 {
        let operations = self.table.operations;
        let found = operations.binary_search_by(|(name, _)| (*name).cmp(operation));
        let found = found.ok().and_then(|at| operations.get(at));
        found.map_or(0, |(_, rule)| *rule)
    }

    fn rule(&self, at: u16) -> Rule {
        let rule = self.table.rules.get(usize::from(at));
        rule.copied().unwrap_or(Rule::Free)
    }

    /// The rule of a structure's member.
    pub(crate) fn member(&self, at: u16, name: &str) -> u16 {
        let Rule::Members(members) = self.rule(at) else {
            return 0;
        };
        let named = members.iter().find(|(member, _)| *member == name);
        named.map_or(0, |(_, rule)| *rule)
    }

    /// Whether a text is what its pattern describes. A pattern that cannot be compiled describes anything; a test holds
    /// the tables to having none.
    fn fits(&self, pattern: u16, text: &str) -> bool {
        let at = usize::from(pattern);
        let (Some(source), Some(compiled)) = (self.table.patterns.get(at), self.patterns.get(at))
        else {
            return true;
        };
        let compiled = compiled.get_or_init(|| match source.is_empty() {
            true => None,
            false => Pattern::new(source),
        });
        compiled.as_ref().is_none_or(|it| it.is_match(text))
    }

    fn source(&self, pattern: u16) -> &'static str {
        let source = self.table.patterns.get(usize::from(pattern));
        source.copied().unwrap_or_default()
    }

    /// What a text breaks of a rule.
    fn broken_text(&self, rule: Rule, text: &str) -> Vec<String> {
        let mut broken = Vec::new();
        if let Rule::Text(least, most, pattern) | Rule::Secret(least, most, pattern) = rule {
            within(&mut broken, "length", characters(text), least, most);
            if !self.fits(pattern, text) {
                broken.push(expressed(self.source(pattern)));
            }
        }
        broken
    }

    /// What a value that holds no others breaks of a rule.
    fn broken(&self, rule: Rule, doc: &Doc) -> Vec<String> {
        let mut broken = Vec::new();
        match (rule, doc) {
            (Rule::Text(..) | Rule::Secret(..), Doc::Text(text) | Doc::String(text)) => {
                return self.broken_text(rule, text);
            }
            (Rule::Bytes(least, most), doc) => {
                if let Some(size) = bytes(doc) {
                    within(&mut broken, "length", size, least, most);
                }
            }
            (Rule::Number(least, most), doc) => match outside(doc, least, most) {
                (true, _) => broken.push(at_least("value", least)),
                (_, true) => broken.push(at_most("value", most)),
                _ => {}
            },
            _ => {}
        }
        broken
    }

    /// Everything that a rule asks, as messages about lists and maps have it: the greatest first.
    fn all(&self, rule: Rule) -> String {
        let (of, least, most, pattern) = match rule {
            Rule::Text(least, most, pattern) | Rule::Secret(least, most, pattern) => {
                ("length", least, most, pattern)
            }
            Rule::Bytes(least, most) => ("length", least, most, 0),
            Rule::Number(least, most) => ("value", least, most, 0),
            _ => return String::new(),
        };
        let mut asked = Vec::new();
        if most != HIGH {
            asked.push(at_most(of, most));
        }
        if least != LOW {
            asked.push(at_least(of, least));
        }
        if pattern != 0 {
            asked.push(expressed(self.source(pattern)));
        }
        asked.join(", ")
    }
}

/// Where problems are noted, and the path of the value.
pub(crate) struct ProblemSink<'p> {
    pub(crate) path: &'p [String],
    pub(crate) found: &'p mut Vec<Problem>,
}

impl ProblemSink<'_> {
    fn add(&mut self, value: Option<String>, message: String) {
        if self.found.len() < MOST_PROBLEMS {
            self.found.push(Problem {
                member: self.path.join("."),
                message,
                value,
            });
        }
    }
}

/// Holds values to rules.
impl Checks {
    /// Holds a text, a number or bytes to its rule.
    pub(crate) fn scalar(&self, rule: u16, mut at: ProblemSink<'_>, doc: &Doc) {
        let rule = self.rule(rule);
        for message in self.broken(rule, doc) {
            let is_shown = !matches!(rule, Rule::Secret(..) | Rule::Bytes(..));
            let value = is_shown.then(|| shown(doc));
            at.add(value.flatten(), message);
        }
    }

    /// Holds a list to its rule: how many items, and items that are no structures. What remains is the rule of each item.
    pub(crate) fn list(&self, rule: u16, mut at: ProblemSink<'_>, items: &[(String, Doc)]) -> u16 {
        let Rule::List(least, most, of) = self.rule(rule) else {
            return 0;
        };
        let mut broken = Vec::new();
        within(&mut broken, "length", count(items.len()), least, most);
        let item = self.rule(of);
        let mut docs = items.iter().map(|(_, doc)| doc);
        if docs.any(|doc| !self.broken(item, doc).is_empty()) {
            let asked = self.all(item);
            broken.push(format!("Member must satisfy constraint: [{asked}]"));
        }
        let is_secret = matches!(item, Rule::Secret(..));
        for message in broken {
            let value = (!is_secret).then(|| listed(items.iter().map(|(_, doc)| shown(doc))));
            at.add(value, message);
        }
        match item {
            Rule::List(..) | Rule::Map(..) | Rule::Members(_) => of,
            _ => 0,
        }
    }

    /// The same of a map: how many entries, keys and values.
    pub(crate) fn map(&self, rule: u16, mut at: ProblemSink<'_>, entries: &[(String, Doc)]) -> u16 {
        let Rule::Map(least, most, of_keys, of_values) = self.rule(rule) else {
            return 0;
        };
        let (key, value) = (self.rule(of_keys), self.rule(of_values));
        let mut broken = Vec::new();
        within(&mut broken, "length", count(entries.len()), least, most);
        let mut keys = entries.iter().map(|(name, _)| name);
        if keys.any(|name| !self.broken_text(key, name).is_empty()) {
            let asked = self.all(key);
            broken.push(format!("Map keys must satisfy constraint: [{asked}]"));
        }
        let mut docs = entries.iter().map(|(_, doc)| doc);
        if docs.any(|doc| !self.broken(value, doc).is_empty()) {
            let asked = self.all(value);
            broken.push(format!("Map value must satisfy constraint: [{asked}]"));
        }
        let is_secret = matches!(value, Rule::Secret(..));
        for message in broken {
            let value = (!is_secret).then(|| mapped(entries));
            at.add(value, message);
        }
        match value {
            Rule::List(..) | Rule::Map(..) | Rule::Members(_) => of_values,
            _ => 0,
        }
    }
}

fn expressed(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn at_least(of: &str, least: i64) -> String {
    format!("Member must have {of} greater than or equal to {least}")
}

fn at_most(of: &str, most: i64) -> String {
    format!("Member must have {of} less than or equal to {most}")
}

fn within(broken: &mut Vec<String>, of: &str, number: i64, least: i64, most: i64) {
    if number < least {
        broken.push(at_least(of, least));
    }
    if number > most {
        broken.push(at_most(of, most));
    }
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

fn characters(text: &str) -> i64 {
    count(text.chars().count())
}

/// How many bytes a value has: in JSON and forms it is base64.
fn bytes(doc: &Doc) -> Option<i64> {
    match doc {
        Doc::Blob(bytes) => Some(count(bytes.len())),
        Doc::Text(text) | Doc::String(text) => {
            let text = text.trim();
            let digits = text.trim_end_matches('=').len();
            Some(count(digits.saturating_mul(3) / 4))
        }
        _ => None,
    }
}

/// Whether a number is below and whether it is above its range. What is no number is another error.
#[expect(
    clippy::cast_precision_loss,
    reason = "the ranges of numbers that are not whole are small"
)]
fn outside(doc: &Doc, least: i64, most: i64) -> (bool, bool) {
    match doc {
        Doc::Int(number) => (*number < least, *number > most),
        Doc::Timestamp(moment) => {
            let millis = moment.as_millis();
            (millis < least, millis > most)
        }
        Doc::Float(number) => (*number < least as f64, *number > most as f64),
        Doc::Text(text) => match text.trim().parse::<i64>() {
            Ok(number) => (number < least, number > most),
            Err(_) => text
                .trim()
                .parse::<f64>()
                .map_or((false, false), |it| (it < least as f64, it > most as f64)),
        },
        _ => (false, false),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(KEPT).collect()
}

/// A value as messages repeat it; `None` of bytes.
fn shown(doc: &Doc) -> Option<String> {
    Some(match doc {
        Doc::Text(text) | Doc::String(text) => cut(text),
        Doc::Int(number) => number.to_string(),
        Doc::Float(number) => number.to_string(),
        Doc::Bool(value) => value.to_string(),
        Doc::Timestamp(moment) => moment.as_millis().to_string(),
        Doc::List(items) => listed(items.iter().map(shown)),
        Doc::Map(entries) => mapped(entries),
        Doc::Null | Doc::Blob(_) => return None,
    })
}

fn listed(items: impl Iterator<Item = Option<String>>) -> String {
    let items: Vec<String> = items.flatten().take(KEPT / 2).collect();
    cut(&format!("[{}]", items.join(", ")))
}

fn mapped(entries: &[(String, Doc)]) -> String {
    let entries = entries.iter().take(KEPT / 2);
    let entries: Vec<String> = entries
        .filter_map(|(name, doc)| Some(format!("{name}={}", shown(doc)?)))
        .collect();
    cut(&format!("{{{}}}", entries.join(", ")))
}

/// Whether the engine can express a pattern of a model.
pub fn can_express(pattern: &str) -> bool {
    Pattern::new(pattern).is_some()
}

#[cfg(test)]
mod tests;
