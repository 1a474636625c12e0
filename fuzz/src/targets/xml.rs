//! XML: what is read can be printed, and reads back as the same.

use lath_wire::format::xml;
use lath_wire::{Doc, TimeFormat};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(doc) = xml::read(bytes) else { return };
    let root = xml::Element {
        name: "Root",
        xmlns: "",
        content: &doc,
    };
    let printed = xml::print(root, TimeFormat::Iso8601);
    // Lists print as `member` elements, and control characters are replaced: only plain trees round-trip.
    if is_plain(&doc) {
        assert_eq!(xml::read(printed.as_bytes()).as_ref(), Ok(&doc));
    }
}

fn is_plain(doc: &Doc) -> bool {
    match doc {
        Doc::Text(text) => !text.chars().any(|c| c.is_control() || c > '\u{fff0}'),
        Doc::Map(members) => members
            .iter()
            .all(|(name, doc)| name.bytes().all(|b| b.is_ascii_alphanumeric()) && is_plain(doc)),
        _ => false,
    }
}
