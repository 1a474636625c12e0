use std::collections::BTreeMap;

use lath_model::Timestamp;
use serde::Deserialize;

use super::*;
use crate::format::{form, json};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Everything {
    flag: Option<bool>,
    count: Option<u16>,
    ratio: Option<f64>,
    text: Option<String>,
    when: Option<Timestamp>,
    data: Option<Blob>,
    list: Vec<String>,
    nested: Vec<Nested>,
    map: BTreeMap<String, String>,
    kind: Option<Kind>,
    action: Option<Action>,
    empty: Option<Empty>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Nested {
    name: String,
    #[serde(default, rename = "value")]
    values: Vec<i64>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Empty {}

#[derive(Debug, PartialEq, Deserialize)]
enum Kind {
    #[serde(rename = "ONE")]
    One,
    #[serde(rename = "TWO")]
    Two,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    Forward(Forward),
    FixedResponse { status: u16 },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Forward {
    target_groups: Vec<Group>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    weight: u32,
}

fn from_form(text: &str) -> Result<Everything, DecodeError> {
    let doc = form::tree(form::pairs(text.as_bytes()).unwrap()).unwrap();
    decode(doc, Typing::Untyped).map(|decoded| decoded.value)
}

fn from_json(text: &str) -> Result<Everything, DecodeError> {
    let doc = json::read(text.as_bytes()).unwrap();
    decode(doc, Typing::Typed).map(|decoded| decoded.value)
}

fn list(items: &[&str]) -> Everything {
    Everything {
        list: items.iter().map(|item| (*item).to_owned()).collect(),
        ..Everything::default()
    }
}

#[test]
fn forms_become_types() {
    let nested = |values: &[i64]| Everything {
        nested: vec![Nested {
            name: "n".into(),
            values: values.to_vec(),
        }],
        ..Everything::default()
    };
    let map = |key: &str, value: &str| Everything {
        map: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        ..Everything::default()
    };
    let action = Some(Action::FixedResponse { status: 404 });
    let cases = [
        ("", Everything::default()),
        (
            "flag=true",
            Everything {
                flag: Some(true),
                ..Everything::default()
            },
        ),
        (
            "count=7",
            Everything {
                count: Some(7),
                ..Everything::default()
            },
        ),
        (
            "ratio=1.5",
            Everything {
                ratio: Some(1.5),
                ..Everything::default()
            },
        ),
        (
            "text=7",
            Everything {
                text: Some("7".into()),
                ..Everything::default()
            },
        ),
        (
            "text=",
            Everything {
                text: Some(String::new()),
                ..Everything::default()
            },
        ),
        (
            "when=1970-01-01T00:00:01Z",
            Everything {
                when: Some(Timestamp::from_millis(1000)),
                ..Everything::default()
            },
        ),
        (
            "data=aGk%3D",
            Everything {
                data: Some(Blob(b"hi".to_vec())),
                ..Everything::default()
            },
        ),
        (
            "kind=TWO",
            Everything {
                kind: Some(Kind::Two),
                ..Everything::default()
            },
        ),
        (
            "empty=",
            Everything {
                empty: Some(Empty {}),
                ..Everything::default()
            },
        ),
        (
            "action.fixedResponse.status=404",
            Everything {
                action,
                ..Everything::default()
            },
        ),
        ("list=", list(&[])),
        ("list=a", list(&["a"])),
        ("list.1=a&list.2=b", list(&["a", "b"])),
        ("list.10=c&list.9=b&list.2=a", list(&["a", "b", "c"])),
        ("list.member.1=a&list.member.2=b", list(&["a", "b"])),
        ("list.member.1=a", list(&["a"])),
        (
            "nested.1.name=n&nested.1.value.1=7&nested.1.value.2=8",
            nested(&[7, 8]),
        ),
        (
            "nested.member.1.name=n&nested.member.1.value.member.1=7",
            nested(&[7]),
        ),
        ("map.entry.1.key=k&map.entry.1.value=v", map("k", "v")),
        ("map.1.Name=k&map.1.Value=v", map("k", "v")),
        ("map.k=v", map("k", "v")),
        ("unknown.1.more=x", Everything::default()),
    ];
    for (given, want) in cases {
        assert_eq!(from_form(given), Ok(want), "{given}");
    }
}

#[test]
fn json_becomes_types() {
    let cases = [
        ("", Everything::default()),
        (r#"{"list":null,"text":null}"#, Everything::default()),
        (r#"{"list":["a","b"]}"#, list(&["a", "b"])),
        (
            r#"{"count":7.0}"#,
            Everything {
                count: Some(7),
                ..Everything::default()
            },
        ),
        (
            r#"{"ratio":7}"#,
            Everything {
                ratio: Some(7.0),
                ..Everything::default()
            },
        ),
        (
            r#"{"ratio":"-Infinity"}"#,
            Everything {
                ratio: Some(f64::NEG_INFINITY),
                ..Everything::default()
            },
        ),
        (
            r#"{"when":1.5}"#,
            Everything {
                when: Some(Timestamp::from_millis(1500)),
                ..Everything::default()
            },
        ),
        (
            r#"{"action":{"__type":"x","forward":{"targetGroups":[]},"fixedResponse":null}}"#,
            Everything {
                action: Some(Action::Forward(Forward {
                    target_groups: vec![],
                })),
                ..Everything::default()
            },
        ),
    ];
    for (given, want) in cases {
        assert_eq!(from_json(given), Ok(want), "{given}");
    }
}

#[test]
fn errors_say_where() {
    let cases = [
        (
            from_form("nested.1.value.1=7"),
            "nested.1.name: the member is required",
        ),
        (
            from_form("nested.1.name=n&nested.1.value.3=x"),
            "nested.1.value.3: expected an integer, got a string",
        ),
        (from_form("kind=THREE"), "kind: must be one of [ONE, TWO]"),
        (
            from_form("flag=perhaps"),
            "flag: expected a boolean, got a string",
        ),
        (
            from_form("text.1=x"),
            "text: expected a string, got a structure",
        ),
        (
            from_json(r#"{"action":{"forward":{"targetGroups":[{"weight":1},{}]}}}"#),
            "action.forward.targetGroups.2.weight: the member is required",
        ),
        (
            from_json(r#"{"action":{}}"#),
            "action: expected exactly one member to be set, got none",
        ),
        (
            from_json(r#"{"action":{"forward":{},"fixedResponse":{}}}"#),
            "action: expected exactly one member to be set, got several",
        ),
        (
            from_json(r#"{"text":7}"#),
            "text: expected a string, got an integer",
        ),
        (
            from_json(r#"{"list":"a"}"#),
            "list: expected a list, got a string",
        ),
        (
            from_json(r#"{"list":{"1":"a"}}"#),
            "list: expected a list, got a structure",
        ),
        (
            from_json(r#"{"flag":"true"}"#),
            "flag: expected a boolean, got a string",
        ),
        (from_json(r#"{"data":"%%"}"#), "data: expected base64"),
        (
            from_json(r#"{"nested":[7]}"#),
            "nested.1: expected a structure, got an integer",
        ),
        (from_json("[]"), ": expected a structure, got a list"),
    ];
    for (got, want) in cases {
        assert_eq!(got.unwrap_err().to_string(), want);
    }
    let range = from_json(r#"{"count":70000}"#).unwrap_err();
    assert_eq!(range.member(), "count");
    let twice = from_json(r#"{"text":"a","text":"b"}"#).unwrap_err();
    assert!(twice.to_string().contains("given twice"), "{twice}");
}

#[test]
fn unknown_members_are_told() {
    let doc =
        form::tree(form::pairs(b"list.1=a&nested.1.name=n&nested.1.more=x&extra.1=y").unwrap());
    let decoded: Decoded<Everything> = decode(doc.unwrap(), Typing::Untyped).unwrap();
    let mut ignored = decoded.ignored;
    ignored.sort();
    assert_eq!(ignored, ["extra", "nested.1.more"]);
}
