//! The ConfigMap `kube-system/aws-auth`: texts in YAML that map principals to users and groups. A mistake in one of them
//! disables all mappings, as on AWS.

use serde_json::{Map, Value};
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

/// The longest text of one key, in bytes.
const LONGEST: usize = 256 << 10;
/// How deep lists and maps may be nested.
const DEEPEST: usize = 8;
/// How many principals may be mapped.
const MOST: usize = 10_000;

/// What the ConfigMap maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthMap {
    /// Roles.
    pub roles: Vec<Mapping>,
    /// Users.
    pub users: Vec<Mapping>,
    /// Accounts whose principals are users under their ARNs.
    pub accounts: Vec<String>,
}

/// One principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its ARN.
    pub arn: String,
    /// The user name, possibly with placeholders.
    pub username: String,
    /// Its groups.
    pub groups: Vec<String>,
}

/// The ConfigMap cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ConfigMap kube-system/aws-auth maps no user: {key}: {reason}")]
pub struct AuthMapError {
    key: &'static str,
    reason: String,
}

impl AuthMap {
    /// Reads the `data` of the ConfigMap.
    ///
    /// # Errors
    /// When a text is not what it should be.
    pub fn parse(data: &Value) -> Result<Self, AuthMapError> {
        let roles = list(data, "mapRoles")?;
        let users = list(data, "mapUsers")?;
        let accounts = list(data, "mapAccounts")?;
        Ok(Self {
            roles: mappings("mapRoles", "rolearn", &roles)?,
            users: mappings("mapUsers", "userarn", &users)?,
            accounts: accounts
                .iter()
                .filter_map(|it| it.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

fn list(data: &Value, key: &'static str) -> Result<Vec<Value>, AuthMapError> {
    let error = |reason: &str| AuthMapError {
        key,
        reason: reason.to_owned(),
    };
    let Some(text) = data.get(key).and_then(Value::as_str) else {
        return Ok(Vec::new());
    };
    match yaml(text).map_err(|reason| error(&reason))? {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) if items.len() > MOST => Err(error("there are too many entries")),
        Value::Array(items) => Ok(items),
        _ => Err(error("it is no list")),
    }
}

fn mappings(key: &'static str, arn: &str, items: &[Value]) -> Result<Vec<Mapping>, AuthMapError> {
    let read = |item: &Value| {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let groups = item.get("groups").and_then(Value::as_array);
        let groups = groups.into_iter().flatten();
        Some(Mapping {
            arn: text(arn)?,
            username: text("username").unwrap_or_default(),
            groups: groups
                .filter_map(|it| it.as_str().map(str::to_owned))
                .collect(),
        })
    };
    let mappings = items.iter().map(|item| {
        read(item).ok_or_else(|| AuthMapError {
            key,
            reason: format!("an entry has no {arn}"),
        })
    });
    mappings.collect()
}

/// A document of lists, maps and texts. Scalars are texts, whatever they look like: an account's number must keep its
/// zeros. Anchors are refused, because a short text could stand for a long one by them.
fn yaml(text: &str) -> Result<Value, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    // One event after another: the parser's own way to build calls itself once per level, and a text of nothing but
    // dashes would end the process.
    loop {
        let (event, _) = parser.next_token().map_err(|error| error.to_string())?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            return Ok(tree.root.unwrap_or(Value::Null));
        }
        tree.take(event);
        if let Some(reason) = tree.wrong {
            return Err(reason.to_owned());
        }
    }
}

/// A tree that grows by the events of a parser.
#[derive(Default)]
struct Tree {
    open: Vec<Node>,
    root: Option<Value>,
    wrong: Option<&'static str>,
}

enum Node {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

impl Tree {
    fn open(&mut self, node: Node) {
        if self.open.len() >= DEEPEST {
            self.wrong = Some("it is nested too deeply");
        } else {
            self.open.push(node);
        }
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Node::List(items)) => self.add(Value::Array(items)),
            Some(Node::Map(members, _)) => self.add(Value::Object(members)),
            None => {}
        }
    }

    fn add(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Node::List(items)) => items.push(value),
            Some(Node::Map(members, key)) => match (key.take(), value) {
                (Some(key), value) => {
                    members.insert(key, value);
                }
                (None, Value::String(text)) => *key = Some(text),
                (None, _) => self.wrong = Some("a key is no text"),
            },
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Alias(_) => self.wrong = Some("it has anchors"),
            Event::SequenceStart(..) => self.open(Node::List(Vec::new())),
            Event::MappingStart(..) => self.open(Node::Map(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Scalar(text, TScalarStyle::Plain, ..)
                if text.is_empty() || text == "~" || text == "null" =>
            {
                self.add(Value::Null);
            }
            Event::Scalar(text, ..) => self.add(Value::String(text)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart
            | Event::DocumentEnd => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn the_texts_that_eksctl_writes_are_read() {
        let data = json!({
            "mapRoles": "- rolearn: arn:aws:iam::1:role/node\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:bootstrappers\n  - system:nodes\n",
            "mapUsers": "- {userarn: 'arn:aws:iam::1:user/ann', username: ann, groups: [system:masters]}\n",
            "mapAccounts": "- \"012345678901\"\n- 012345678902\n",
        });
        let map = AuthMap::parse(&data).unwrap();
        assert_eq!(
            map.roles[0].groups,
            ["system:bootstrappers", "system:nodes"]
        );
        assert_eq!(map.roles[0].username, "system:node:{{EC2PrivateDNSName}}");
        assert_eq!(map.users[0].arn, "arn:aws:iam::1:user/ann");
        assert_eq!(map.accounts, ["012345678901", "012345678902"]);
        assert_eq!(AuthMap::parse(&json!({})).unwrap(), AuthMap::default());
        assert_eq!(
            AuthMap::parse(&json!({"mapRoles": ""})).unwrap(),
            AuthMap::default()
        );
    }

    #[test]
    fn a_text_as_deep_as_it_is_long_is_refused() {
        let longest = "- ".repeat(LONGEST / 2);
        for text in [longest, "? ".repeat(LONGEST / 2), "[".repeat(LONGEST)] {
            let parsed = AuthMap::parse(&json!({"mapRoles": text}));
            assert!(parsed.is_err());
        }
    }

    #[test]
    fn what_is_no_mapping_maps_nobody() {
        for text in [
            "- rolearn: [",
            "rolearn: x",
            "- username: x",
            "- {rolearn: x, groups: &a [b]}\n- {rolearn: y, groups: *a}",
            "[[[[[[[[[[]]]]]]]]]]",
            "- {[a]: b}",
        ] {
            let parsed = AuthMap::parse(&json!({"mapRoles": text}));
            assert!(parsed.is_err(), "{text:?} {parsed:?}");
        }
    }
}
