//! The types of resources, each a row of a table: its properties, the operations that make, complete, read and remove
//! it, what it is referred to by, its attributes.
//!
//! Properties that a row does not name are refused. Those with `!` cannot be changed without another resource; those with
//! `*` are required.

mod ec2;
mod edges;
mod eks;
mod groups;
mod iam;
mod lattice;
mod launch;
mod rest;

use std::collections::BTreeMap;

use lath_wire::ApiError;
use serde_json::{Map, Value, json};

/// One operation to call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) service: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) input: Value,
    /// What errors say that it is done already: codes, or `CODE: TEXT` with a part of the message.
    done: &'static [&'static str],
}

/// A call whose members without a value are left out.
pub(crate) fn call(service: &'static str, operation: &'static str, input: Value) -> Call {
    Call {
        service,
        operation,
        input: without_nulls(input),
        done: &[],
    }
}

impl Call {
    /// Whether an error says that it is done already.
    pub(crate) fn is_done_by(&self, error: &ApiError) -> bool {
        self.done.iter().any(|it| match it.split_once(": ") {
            Some((code, text)) => error.code == code && error.message.contains(text),
            None => error.code == *it,
        })
    }

    fn done_by(mut self, codes: &'static [&'static str]) -> Self {
        self.done = codes;
        self
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items
            .into_iter()
            .filter(|it| !it.is_null())
            .map(without_nulls)
            .collect(),
        other => other,
    }
}

/// Properties that are no structure say nothing: they are those of no resource.
pub(crate) fn object(properties: &Value) -> &Value {
    static NONE: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
    if properties.is_object() {
        properties
    } else {
        &NONE
    }
}

/// What is wrong with the keys of tags: those of AWS's own tags are CloudFormation's to give.
pub(crate) fn reserved_tags(properties: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in properties.as_object().into_iter().flatten() {
        if name == "LaunchTemplateData" {
            wrong.extend(reserved_tags(value));
        } else if name.starts_with("TagSpecification") {
            wrong.extend(items(value).iter().flat_map(reserved_tags));
        } else if name == "Tag" || name.ends_with("Tags") {
            let keys: Vec<String> = match value {
                Value::Object(members) => members.keys().cloned().collect(),
                other => items(other)
                    .iter()
                    .filter_map(|it| it.get("Key").map(text_of))
                    .collect(),
            };
            let mut keys = keys.iter().map(|it| it.to_ascii_lowercase());
            if keys.any(|it| it.starts_with("aws:")) {
                wrong.push("aws: prefixed tag key names are not allowed for external use.".into());
            }
        }
    }
    wrong
}

/// What a read says of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Pending,
    Failed(String),
    Gone,
}

/// What the functions of a row see.
pub(crate) struct Ctx<'a> {
    pub(crate) properties: &'a Value,
    /// The properties before the update in progress.
    pub(crate) old: Option<&'a Value>,
    /// The physical id, or the name that is to be given.
    pub(crate) id: &'a str,
    pub(crate) token: &'a str,
    pub(crate) attributes: &'a Value,
    /// The answer to [`Kind::look`].
    pub(crate) looked: &'a Value,
    pub(crate) stack_name: &'a str,
    pub(crate) stack_arn: &'a str,
    pub(crate) logical: &'a str,
    pub(crate) stack_tags: &'a BTreeMap<String, String>,
    pub(crate) old_stack_tags: &'a BTreeMap<String, String>,
}

impl Ctx<'_> {
    /// A property; null where there is none.
    pub(crate) fn p(&self, name: &str) -> Value {
        self.properties.get(name).cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        text_of(&self.p(name))
    }

    pub(crate) fn before(&self, name: &str) -> Value {
        self.old
            .and_then(|it| it.get(name))
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Whether this is a create, or an update that changes one of these.
    pub(crate) fn changes(&self, names: &[&str]) -> bool {
        match self.old {
            None => names.iter().any(|name| !self.p(name).is_null()),
            Some(_) => names.iter().any(|name| self.p(name) != self.before(name)),
        }
    }

    pub(crate) fn attribute(&self, name: &str) -> String {
        text_of(self.attributes.get(name).unwrap_or(&Value::Null))
    }

    /// A property's structure as a text, as APIs take policies; null where there is none.
    pub(crate) fn document(&self, name: &str) -> Value {
        document(&self.p(name))
    }

    /// All tags: CloudFormation's own, the stack's, the resource's.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.stack_tags.clone();
        tags.extend(given_tags(self.properties));
        tags.insert(
            "aws:cloudformation:stack-name".into(),
            self.stack_name.to_owned(),
        );
        tags.insert(
            "aws:cloudformation:stack-id".into(),
            self.stack_arn.to_owned(),
        );
        tags.insert(
            "aws:cloudformation:logical-id".into(),
            self.logical.to_owned(),
        );
        tags
    }

    /// As a list of structures with members of these names.
    pub(crate) fn tag_list(&self, key: &str, value: &str) -> Value {
        tag_list(&self.tags(), key, value)
    }

    pub(crate) fn tag_map(&self) -> Value {
        self.tags()
            .into_iter()
            .map(|(key, value)| (key, Value::String(value)))
            .collect()
    }

    /// The tags that an update sets, and the keys of those that it takes away.
    pub(crate) fn changed_tags(&self) -> (BTreeMap<String, String>, Vec<String>) {
        let Some(old) = self.old else {
            return Default::default();
        };
        let all = |of_stack: &BTreeMap<String, String>, own: &Value| {
            let mut tags = of_stack.clone();
            tags.extend(given_tags(own));
            tags
        };
        let new = all(self.stack_tags, self.properties);
        let old = all(self.old_stack_tags, old);
        let gone = old.keys().filter(|key| !new.contains_key(*key));
        let gone = gone.cloned().collect();
        let set = new
            .into_iter()
            .filter(|(key, value)| old.get(key) != Some(value));
        (set.collect(), gone)
    }
}

pub(crate) fn tag_list(tags: &BTreeMap<String, String>, key: &str, value: &str) -> Value {
    let tag = |(name, text): (&String, &String)| json!({key: name, value: text});
    tags.iter().map(tag).collect()
}

/// The property `Tags` in either of its forms: a list, or a map.
fn given_tags(properties: &Value) -> BTreeMap<String, String> {
    match properties.get("Tags") {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|it| Some((text_of(it.get("Key")?), text_of(it.get("Value")?))))
            .collect(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(key, value)| (key.clone(), text_of(value)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

pub(crate) fn document(value: &Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value.clone(),
        other => Value::String(other.to_string()),
    }
}

pub(crate) fn text_of(value: &Value) -> String {
    crate::resolve::as_text(value).unwrap_or_default()
}

/// The items of a list; one that is no list is its only item.
pub(crate) fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.clone(),
        other => vec![other.clone()],
    }
}

/// The items of `new` that are not in `old`.
pub(crate) fn added(new: &Value, old: &Value) -> Vec<Value> {
    let old = items(old);
    items(new)
        .into_iter()
        .filter(|it| !old.contains(it))
        .collect()
}

/// A structure with its members' names begun in lower case, as REST services write them. Keys of maps named in `data` stay.
pub(crate) fn camel(value: &Value, data: &[&str]) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|it| camel(it, data)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let value = if data.contains(&name.as_str()) {
                    value.clone()
                } else {
                    camel(value, data)
                };
                let mut letters = name.chars();
                let first = letters.next().map(|it| it.to_ascii_lowercase());
                (first.into_iter().chain(letters).collect::<String>(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// How the physical id of a resource that its maker names is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    /// The property with the name.
    pub(crate) property: &'static str,
    /// The longest name.
    pub(crate) longest: usize,
    pub(crate) is_lower_case: bool,
}

/// A row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    properties: &'static str,
    pub(crate) named: Option<Named>,
    /// Asked before it is made and before it is removed; the answer is [`Ctx::looked`].
    pub(crate) look: Option<fn(&Ctx<'_>) -> Call>,
    /// Makes it.
    pub(crate) make: fn(&Ctx<'_>) -> Call,
    /// Its physical id, from the answer.
    pub(crate) id: fn(&Ctx<'_>, &Value) -> String,
    /// After a restart: finds what was made before it was recorded; `None` where making it again finds it.
    pub(crate) find: Option<fn(&Ctx<'_>) -> Call>,
    /// The id of what was found.
    pub(crate) found: fn(&Ctx<'_>, &Value) -> Option<String>,
    /// Completes what was made, and is all of an update in place.
    pub(crate) complete: fn(&Ctx<'_>) -> Vec<Call>,
    /// Reads it; `None` where it is there as soon as it is made.
    pub(crate) read: Option<fn(&Ctx<'_>) -> Call>,
    /// Where the answer has it.
    pub(crate) item: &'static str,
    pub(crate) state: fn(&Ctx<'_>, &Value) -> State,
    pub(crate) remove: fn(&Ctx<'_>) -> Vec<Call>,
    /// Attributes, and where they are in what was read.
    attributes: &'static [(&'static str, &'static str)],
    /// Whether a change inside properties needs another resource.
    pub(crate) replaces: fn(&Value, &Value) -> bool,
    /// What `Ref` gives.
    pub(crate) reference: fn(&Ctx<'_>) -> String,
    of_iam: bool,
}

const NOTHING: Kind = Kind {
    name: "",
    properties: "",
    named: None,
    look: None,
    make: |_| call("", "", json!({})),
    id: |ctx, _| ctx.id.to_owned(),
    find: None,
    found: |_, _| None,
    complete: |_| Vec::new(),
    read: None,
    item: "",
    state: |_, _| State::Ready,
    remove: |_| Vec::new(),
    attributes: &[],
    replaces: |_, _| false,
    reference: |ctx| ctx.id.to_owned(),
    of_iam: false,
};

/// The row of a type.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    let all = [
        ec2::KINDS,
        edges::KINDS,
        groups::KINDS,
        launch::KINDS,
        iam::KINDS,
        eks::KINDS,
        lattice::KINDS,
        rest::KINDS,
    ];
    all.into_iter().flatten().find(|kind| kind.name == name)
}

impl Kind {
    fn listed(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.properties.split_whitespace().map(|it| {
            let name = it.trim_end_matches(['!', '*']);
            (name, &it[name.len()..])
        })
    }

    /// The properties that the type does not have.
    pub(crate) fn unknown(&self, properties: &Value) -> Vec<String> {
        let given = properties.as_object().into_iter().flat_map(Map::keys);
        let known = |name: &str| self.listed().any(|(it, _)| it == name);
        // A function in the place of all properties is judged once it is known what it gives.
        given
            .filter(|name| !known(name) && !name.starts_with("Fn::"))
            .map(|name| {
                format!(
                    "extraneous key [{}] is not permitted",
                    crate::template::cut(name)
                )
            })
            .collect()
    }

    /// The required properties that are not given.
    pub(crate) fn missing(&self, properties: &Value) -> Vec<String> {
        self.listed()
            .filter(|(name, marks)| marks.contains('*') && properties.get(name).is_none())
            .map(|(name, _)| format!("required key [{name}] not found"))
            .collect()
    }

    /// Whether a change of a property needs another resource.
    pub(crate) fn is_replaced_by(&self, property: &str) -> bool {
        let mut listed = self.listed();
        listed.any(|(name, marks)| name == property && marks.contains('!'))
    }

    /// Whether the type has a property.
    pub(crate) fn has(&self, property: &str) -> bool {
        self.listed().any(|(name, _)| name == property)
    }

    pub(crate) fn needs_capability(&self) -> bool {
        self.of_iam
    }

    pub(crate) fn name_property(&self) -> Option<&'static str> {
        self.named.map(|it| it.property)
    }

    /// The attributes, from what was read.
    pub(crate) fn attributes(&self, item: &Value) -> Value {
        let known = self.attributes.iter();
        let known =
            known.filter_map(|(name, at)| Some(((*name).to_owned(), item.pointer(at)?.clone())));
        Value::Object(known.collect())
    }
}

/// Whether an error says that something is not there.
pub(crate) fn is_absent(error: &ApiError) -> bool {
    let code = error.code.as_ref();
    code.contains("NotFound") || code.contains("NoSuch")
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn tags_of_awss_own_are_not_for_templates() {
        for wrong in [
            json!({"Tags": [{"Key": "aws:cloudformation:stack-id", "Value": "x"}]}),
            json!({"Tags": {"AWS:x": "y"}}),
            json!({"HostedZoneTags": [{"Key": "a"}, {"Key": "aws:b"}]}),
            json!({"TagSpecifications": [{"Tags": [{"Key": "aws:b"}]}]}),
            json!({"LaunchTemplateData": {"TagSpecifications": [{"Tags": [{"Key": "Aws:b"}]}]}}),
        ] {
            assert_eq!(reserved_tags(&wrong).len(), 1, "{wrong}");
        }
        let right =
            json!({"Tags": [{"Key": "Name", "Value": "aws:x"}], "DisableSessionTags": true});
        assert!(reserved_tags(&right).is_empty());
    }

    #[test]
    fn an_error_says_that_a_call_is_done() {
        let call = call("", "", json!({})).done_by(&["A", "B: no changes"]);
        for (code, text, want) in [
            ("A", "", true),
            ("B", "there are no changes", true),
            ("B", "wrong", false),
            ("C", "no changes", false),
        ] {
            assert_eq!(
                call.is_done_by(&ApiError::new(code, 400, text)),
                want,
                "{code} {text}"
            );
        }
    }

    #[test]
    fn each_type_has_one_row() {
        let all = [
            ec2::KINDS,
            edges::KINDS,
            groups::KINDS,
            launch::KINDS,
            iam::KINDS,
            eks::KINDS,
            lattice::KINDS,
            rest::KINDS,
        ];
        let mut seen = BTreeSet::new();
        for kind in all.into_iter().flatten() {
            assert!(seen.insert(kind.name), "{}", kind.name);
            assert!(kind.name.split("::").count() == 3, "{}", kind.name);
            for (name, marks) in kind.listed() {
                assert!(
                    name.chars().all(char::is_alphanumeric) && marks.len() <= 2,
                    "{} {name}",
                    kind.name
                );
            }
        }
    }
}
