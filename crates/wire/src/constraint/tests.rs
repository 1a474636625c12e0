use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use super::Rule::{Bytes, Free, List, Map, Members, Number, Secret, Text};
use super::*;
use crate::Typing;
use crate::decode::decode_held;

const TABLE: Constraints = Constraints {
    operations: &[("Create", 1)],
    rules: &[
        Free,
        Members(&[
            ("name", 2),
            ("size", 3),
            ("tags", 4),
            ("keys", 5),
            ("groups", 6),
            ("word", 9),
            ("data", 10),
            ("within", 1),
        ]),
        Text(3, 8, 1),
        Number(1, 100),
        Map(LOW, 2, 2, 8),
        List(1, 3, 8),
        List(LOW, HIGH, 7),
        Members(&[("id", 2), ("weight", 3)]),
        Text(0, 4, 0),
        Secret(4, HIGH, 0),
        Bytes(1, 4),
    ],
    patterns: &["", "[a-z]+"],
};

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only what it breaks counts")]
struct Create {
    name: Option<String>,
    size: Option<i32>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    groups: Vec<Group>,
    word: Option<String>,
    data: Option<crate::Blob>,
    within: Option<Box<Self>>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only what it breaks counts")]
struct Group {
    id: Option<String>,
    weight: Option<f64>,
}

fn broken(doc: Doc, typing: Typing) -> Vec<String> {
    let checks = Checks::new(&TABLE);
    let held = Some((&checks, checks.input("Create")));
    let decoded = decode_held::<Create>(doc, typing, held).unwrap();
    let told = decoded.problems.into_iter().map(|it| match it.value {
        Some(value) => format!("'{value}' at {}: {}", it.member, it.message),
        None => format!("{}: {}", it.member, it.message),
    });
    told.collect()
}

fn of_json(text: &str) -> Vec<String> {
    let doc = crate::format::json::read(text.as_bytes()).unwrap();
    broken(doc, Typing::Typed)
}

#[test]
fn every_kind_of_value_is_held_to_its_rule() {
    for (text, want) in [
        (
            r#"{"name":"abc","size":1,"tags":{"abc":""},"keys":["a"],"word":"abcd","data":"AAAAAA=="}"#,
            vec![],
        ),
        (
            r#"{"name":"A"}"#,
            vec![
                "'A' at name: Member must have length greater than or equal to 3",
                "'A' at name: Member must satisfy regular expression pattern: [a-z]+",
            ],
        ),
        (
            r#"{"size":0}"#,
            vec!["'0' at size: Member must have value greater than or equal to 1"],
        ),
        (
            r#"{"size":101}"#,
            vec!["'101' at size: Member must have value less than or equal to 100"],
        ),
        (
            r#"{"tags":{"ab":"12345","x1y":""}}"#,
            vec![
                "'{ab=12345, x1y=}' at tags: Map keys must satisfy constraint: [Member must have length less than or equal to 8, Member must have length greater than or equal to 3, Member must satisfy regular expression pattern: [a-z]+]",
                "'{ab=12345, x1y=}' at tags: Map value must satisfy constraint: [Member must have length less than or equal to 4, Member must have length greater than or equal to 0]",
            ],
        ),
        (
            r#"{"keys":[]}"#,
            vec!["'[]' at keys: Member must have length greater than or equal to 1"],
        ),
        (
            r#"{"keys":["12345","b"]}"#,
            vec![
                "'[12345, b]' at keys: Member must satisfy constraint: [Member must have length less than or equal to 4, Member must have length greater than or equal to 0]",
            ],
        ),
        (
            r#"{"groups":[{"id":"abc"},{"id":"ab","weight":0.5}]}"#,
            vec![
                "'ab' at groups.2.id: Member must have length greater than or equal to 3",
                "'0.5' at groups.2.weight: Member must have value greater than or equal to 1",
            ],
        ),
        (
            r#"{"word":"abc"}"#,
            vec!["word: Member must have length greater than or equal to 4"],
        ),
        (
            r#"{"data":"AAAAAAA="}"#,
            vec!["data: Member must have length less than or equal to 4"],
        ),
        (
            r#"{"within":{"within":{"size":0}}}"#,
            vec!["'0' at within.within.size: Member must have value greater than or equal to 1"],
        ),
    ] {
        assert_eq!(of_json(text), want, "{text}");
    }
}

#[test]
fn numbers_and_lists_of_forms_are_held_too() {
    let pairs = [
        ("size", "101"),
        ("keys.member.1", "12345"),
        ("groups.1.weight", "0"),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let doc = crate::format::form::tree(pairs.to_vec()).unwrap();
    assert_eq!(
        broken(doc, Typing::Untyped),
        [
            "'0' at groups.1.weight: Member must have value greater than or equal to 1",
            "'[12345]' at keys: Member must satisfy constraint: [Member must have length less than or equal to 4, Member must have length greater than or equal to 0]",
            "'101' at size: Member must have value less than or equal to 100",
        ]
    );
}

#[test]
fn a_list_of_thousands_does_not_make_an_error_of_thousands() {
    let items = vec![r#"{"id":"A"}"#; 5000].join(",");
    let told = of_json(&format!(r#"{{"groups":[{items}]}}"#));
    assert_eq!(told.len(), MOST_PROBLEMS);
}

#[test]
fn an_operation_without_constraints_has_no_rule() {
    assert_eq!(Checks::new(&TABLE).input("Delete"), 0);
}

#[test]
fn patterns_mean_what_they_mean_in_java() {
    for (pattern, text, fits) in [
        ("[a-z]", "ab", false),
        ("[\\w+=,.@-]+", "a_1@", true),
        ("[\\w+=,.@-]+", "é", false),
        ("\\d{2}", "12", true),
        ("\\d{2}", "１２", false),
        ("[^\\s]+", "a b", false),
        (".*", "a\nb", true),
        (".*\\S.*", "  ", false),
        ("[\\u0020-\\u00FF]+", "aÿ", true),
        ("[\\u0020-\\u00FF]+", "aĀ", false),
        ("[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*", "Ünï 1", true),
        ("\\p{ASCII}+", "aé", false),
        ("ab|cd", "abd", false),
        (
            "(?!svc-)(?![-])(?!.*[-]$)(?!.*[-]{2})[a-z0-9-]+",
            "web-1",
            true,
        ),
        (
            "(?!svc-)(?![-])(?!.*[-]$)(?!.*[-]{2})[a-z0-9-]+",
            "svc-1",
            false,
        ),
        (
            "(?!svc-)(?![-])(?!.*[-]$)(?!.*[-]{2})[a-z0-9-]+",
            "-web",
            false,
        ),
        (
            "(?!svc-)(?![-])(?!.*[-]$)(?!.*[-]{2})[a-z0-9-]+",
            "web-",
            false,
        ),
        (
            "(?!svc-)(?![-])(?!.*[-]$)(?!.*[-]{2})[a-z0-9-]+",
            "w--b",
            false,
        ),
        (".*(^/[a-z]*$|(^$)).*", "", true),
        (".*(^/[a-z]*$|(^$)).*", "/a", true),
        (".*(^/[a-z]*$|(^$)).*", "a", false),
    ] {
        let compiled = Pattern::new(pattern).unwrap();
        assert_eq!(compiled.is_match(text), fits, "{pattern} and {text}");
    }
}

#[test]
fn what_the_engine_cannot_express_is_refused() {
    for pattern in [
        "[0-9A-Za-z\\.\\-_]*(?<!\\.)",
        "(a)\\1",
        "a(?!b)c",
        "(",
        "(?!(",
        "[a-z]{1000}{1000}",
    ] {
        assert!(!can_express(pattern), "{pattern}");
    }
}

/// Prints how long a request of usual size takes to read, by itself and held to a table:
/// `cargo test --release -p lath-wire what_it_costs -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and asserts nothing of what it measures"]
fn what_it_costs() {
    const TIMES: u32 = 100_000;
    let checks = Checks::new(&TABLE);
    let text = r#"{"name":"webshop","size":10,"tags":{"owner":"ab","team":"cd"},"keys":["a","b"],"groups":[{"id":"blue","weight":1.0},{"id":"green","weight":2.0}],"word":"secret"}"#;
    let read = |is_held: bool| {
        let doc = crate::format::json::read(text.as_bytes()).unwrap();
        let held = is_held.then(|| (&checks, checks.input("Create")));
        let decoded = decode_held::<Create>(doc, Typing::Typed, held).unwrap();
        let told: Vec<Problem> = decoded.problems;
        assert_eq!(told, vec![]);
    };
    // The first compiles the patterns.
    read(true);
    for is_held in [false, true, false, true] {
        let begin = Instant::now();
        (0..TIMES).for_each(|_| read(is_held));
        let each = begin.elapsed().as_nanos() / u128::from(TIMES);
        println!("held: {is_held}, {each} ns");
    }
}
