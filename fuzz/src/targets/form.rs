//! Forms: no input may panic, overflow the stack or read as something that is not a structure.

use lath_wire::Doc;
use lath_wire::format::form;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(doc) = form::pairs(bytes).and_then(form::tree) {
        assert!(matches!(doc, Doc::Map(_)));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = form::query_members(text);
    }
}
