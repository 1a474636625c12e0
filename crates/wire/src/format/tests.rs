//! Round trips, caps and odd inputs of every format.

use lath_model::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{cbor, form, json, xml};
use crate::Doc;
use crate::limits::{MAX_DEPTH, MAX_VALUES};
use crate::moment::TimeFormat;

/// Texts with everything that some format must escape.
fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 &<>\"'.=+%/\\\\\u{e9}\u{1f600}\n\t-]{0,12}"
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9]{0,6}"
}

fn doc() -> impl Strategy<Value = Doc> {
    let leaf = prop_oneof![
        Just(Doc::Null),
        any::<bool>().prop_map(Doc::Bool),
        any::<i64>().prop_map(Doc::Int),
        (-1e9..1e9f64)
            .prop_filter("a whole float reads back as an integer", |f| f.fract()
                != 0.0)
            .prop_map(Doc::Float),
        text().prop_map(Doc::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let members = vec((name(), inner.clone()), 0..5).prop_map(|mut members| {
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.dedup_by(|a, b| a.0 == b.0);
            Doc::Map(members)
        });
        prop_oneof![vec(inner, 0..5).prop_map(Doc::List), members]
    })
}

/// Trees as XML and forms know them: structures of text.
fn untyped() -> impl Strategy<Value = Doc> {
    let leaf = text().prop_map(Doc::Text);
    let inner = leaf.prop_recursive(4, 30, 5, |inner| {
        vec((name(), inner), 1..5).prop_map(|mut members| {
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.dedup_by(|a, b| a.0 == b.0);
            Doc::Map(members)
        })
    });
    inner.prop_map(|doc| Doc::Map(vec![("Top".into(), doc)]))
}

fn flattened(prefix: &str, doc: &Doc, out: &mut Vec<(String, String)>) {
    match doc {
        Doc::Map(members) => {
            for (name, doc) in members {
                let dot = if prefix.is_empty() { "" } else { "." };
                flattened(&format!("{prefix}{dot}{name}"), doc, out);
            }
        }
        Doc::Text(text) => out.push((prefix.to_owned(), text.clone())),
        other => unreachable!("{other:?} is not generated"),
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn json_goes_there_and_back(doc in doc()) {
        let printed = json::write(&doc, TimeFormat::EpochSeconds);
        prop_assert_eq!(json::read(printed.as_bytes()).unwrap(), doc);
    }

    #[test]
    fn cbor_goes_there_and_back(doc in doc(), millis in -1_000_000_000_000i64..4_000_000_000_000, bytes in vec(any::<u8>(), 0..40)) {
        let doc = Doc::List(vec![doc, Doc::Timestamp(Timestamp::from_millis(millis)), Doc::Blob(bytes)]);
        prop_assert_eq!(cbor::read(&cbor::write(&doc)).unwrap(), doc);
    }

    #[test]
    fn xml_goes_there_and_back(doc in untyped()) {
        let root = xml::Element { name: "Root", xmlns: "urn:x", content: &doc };
        let printed = xml::print(root, TimeFormat::Iso8601);
        prop_assert_eq!(xml::read(printed.as_bytes()).unwrap(), doc);
    }

    #[test]
    fn forms_go_there_and_back(doc in untyped()) {
        let mut pairs = Vec::new();
        flattened("", &doc, &mut pairs);
        let printed: Vec<String> = pairs.iter().map(|(name, text)| format!("{name}={}", encoded(text))).collect();
        let read = form::pairs(printed.join("&").as_bytes()).unwrap();
        prop_assert_eq!(form::tree(read).unwrap(), doc);
    }

    #[test]
    fn no_bytes_upset_a_reader(bytes in vec(any::<u8>(), 0..200)) {
        let _ = json::read(&bytes);
        let _ = cbor::read(&bytes);
        let _ = xml::read(&bytes);
        let _ = form::pairs(&bytes).and_then(form::tree);
    }
}

#[test]
fn depth_is_capped() {
    let deep =
        |open: &str, close: &str, times: usize| [open.repeat(times), close.repeat(times)].concat();
    let tree = |text: &str| form::pairs(text.as_bytes()).and_then(form::tree);
    for (depth, fits) in [(MAX_DEPTH, true), (MAX_DEPTH + 2, false), (200_000, false)] {
        assert_eq!(
            json::read(deep("[", "]", depth).as_bytes()).is_ok(),
            fits,
            "json {depth}"
        );
        assert_eq!(
            xml::read(deep("<a>", "</a>", depth).as_bytes()).is_ok(),
            fits,
            "xml {depth}"
        );
        let key = vec!["a"; depth].join(".");
        assert_eq!(tree(&format!("{key}=1")).is_ok(), fits, "form {depth}");
        let mut bytes = vec![0x81; depth];
        bytes.push(0xf6);
        assert_eq!(cbor::read(&bytes).is_ok(), fits, "cbor {depth}");
        let mut tags = vec![0xc2; depth];
        tags.push(0xf6);
        assert_eq!(cbor::read(&tags).is_ok(), fits, "cbor tags {depth}");
    }
}

#[test]
fn counts_are_capped() {
    let many = MAX_VALUES + 1;
    let items = vec!["0"; many].join(",");
    assert!(json::read(format!("[{items}]").as_bytes()).is_err());
    assert!(xml::read(format!("<a>{}</a>", "<b/>".repeat(many)).as_bytes()).is_err());
    assert!(form::pairs("a&".repeat(many).as_bytes()).is_err());
    let mut bytes = vec![0x9f];
    bytes.extend(vec![0xf6; many]);
    bytes.push(0xff);
    assert!(cbor::read(&bytes).is_err());
    // A huge announced length must not be believed.
    for bytes in [
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(cbor::read(bytes).is_err());
    }
}

#[test]
fn contradicting_forms_are_refused() {
    let read = |text: &str| form::pairs(text.as_bytes()).and_then(form::tree);
    for text in [
        "a=1&a=2",
        "a=1&a.b=2",
        "a.b=2&a=1",
        "%ff=1",
        "a=%ff",
        &format!("{}=1", "a".repeat(400_000)),
    ] {
        assert!(read(text).is_err(), "{}", &text[..text.len().min(20)]);
    }
    assert!(read("&&a=1&&").is_ok());
}

#[test]
fn repeated_query_parameters_are_lists() {
    let members = form::query_members("tagKeys=a&x=1&tagKeys=b+c&flag").unwrap();
    let text = |text: &str| Doc::Text(text.to_owned());
    let want = [
        ("flag".to_owned(), text("")),
        (
            "tagKeys".to_owned(),
            Doc::List(vec![text("a"), text("b c")]),
        ),
        ("x".to_owned(), text("1")),
    ];
    assert_eq!(members, want);
}

#[test]
fn xml_is_read_as_it_comes() {
    let text = |text: &str| Doc::Text(text.to_owned());
    let map = |name: &str, doc: Doc| Doc::Map(vec![(name.to_owned(), doc)]);
    let cases = [
        ("<r/>", text("")),
        ("<r a='>'/>", text("")),
        (
            "\u{feff}<?xml version='1.0'?><!-- x --><r>a &amp; b&#x41;&#66;</r> <!-- y -->",
            text("a & bAB"),
        ),
        ("<r><![CDATA[<&>]]></r>", text("<&>")),
        ("<n:r xmlns:n='u'><n:a>1</n:a></n:r>", map("a", text("1"))),
        (
            "<r><a>1</a>\n <a>2</a></r>",
            map("a", Doc::List(vec![text("1"), text("2")])),
        ),
        ("<!DOCTYPE r [<!ENTITY x 'y'>]><r>&x;</r>", Doc::Null),
        ("<r>&x;</r>", Doc::Null),
        ("<r>&#xD800;</r>", Doc::Null),
        ("<r><a></r></a>", Doc::Null),
        ("<r/><r/>", Doc::Null),
        ("<r", Doc::Null),
        ("</r>", Doc::Null),
        ("< r/>", Doc::Null),
        ("<r>a & b</r>", Doc::Null),
        ("text", Doc::Null),
        ("", Doc::Null),
    ];
    for (given, want) in cases {
        let got = xml::read(given.as_bytes()).unwrap_or(Doc::Null);
        assert_eq!(got, want, "{given}");
    }
}

#[test]
fn cbor_vectors_are_read() {
    // RFC 8949 appendix A.
    let cases: &[(&[u8], Doc)] = &[
        (&[0x18, 0x64], Doc::Int(100)),
        (
            &[0x1b, 0, 0, 0, 0xe8, 0xd4, 0xa5, 0x10, 0],
            Doc::Int(1_000_000_000_000),
        ),
        (&[0x38, 0x63], Doc::Int(-100)),
        (&[0xf9, 0x3e, 0x00], Doc::Float(1.5)),
        (&[0xf9, 0x00, 0x01], Doc::Float(5.960_464_477_539_063e-8)),
        (&[0xf9, 0xfc, 0x00], Doc::Float(f64::NEG_INFINITY)),
        (&[0xfa, 0x47, 0xc3, 0x50, 0x00], Doc::Float(100_000.0)),
        (
            &[0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0],
            Doc::Timestamp(Timestamp::from_millis(1_363_896_240_000)),
        ),
        (
            &[0xc1, 0xfb, 0x41, 0xd4, 0x52, 0xd9, 0xec, 0x20, 0, 0],
            Doc::Timestamp(Timestamp::from_millis(1_363_896_240_500)),
        ),
        (
            &[
                0x7f, 0x65, b's', b't', b'r', b'e', b'a', 0x64, b'm', b'i', b'n', b'g', 0xff,
            ],
            Doc::String("streaming".into()),
        ),
        (
            &[0x5f, 0x42, 1, 2, 0x43, 3, 4, 5, 0xff],
            Doc::Blob(vec![1, 2, 3, 4, 5]),
        ),
        (
            &[0xbf, 0x61, b'a', 0x01, 0xff],
            Doc::Map(vec![("a".into(), Doc::Int(1))]),
        ),
        (
            &[0x9f, 0x01, 0x82, 0x02, 0x03, 0xff],
            Doc::List(vec![Doc::Int(1), Doc::List(vec![Doc::Int(2), Doc::Int(3)])]),
        ),
        (&[0xf7], Doc::Null),
    ];
    for (given, want) in cases {
        assert_eq!(cbor::read(given).as_ref(), Ok(want), "{given:x?}");
    }
    for bad in [
        &[0x1c][..],
        &[0xff],
        &[0x61, 0xff],
        &[0x82, 0x01],
        &[0xa1, 0x01, 0x01],
        &[0x01, 0x01],
        &[0xc1, 0x60],
        &[0xf8, 0xff],
    ] {
        assert!(cbor::read(bad).is_err(), "{bad:x?}");
    }
}
