//! JSON: what is read can be printed, and reads back.

use lath_wire::TimeFormat;
use lath_wire::format::json;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(doc) = json::read(bytes) {
        let printed = json::write(&doc, TimeFormat::EpochSeconds);
        assert!(json::read(printed.as_bytes()).is_ok(), "{printed}");
    }
}
