//! CBOR: what is read can be printed, and the print is stable.

use lath_wire::format::cbor;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(doc) = cbor::read(bytes) {
        let printed = cbor::write(&doc);
        let again = cbor::read(&printed).expect("what was printed reads back");
        assert_eq!(cbor::write(&again), printed);
    }
}
