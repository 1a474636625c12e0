//! CBOR: what is read can be printed, and the print is stable.
#![no_main]

use lath_wire::format::cbor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(doc) = cbor::read(bytes) {
        let printed = cbor::write(&doc);
        let again = cbor::read(&printed).expect("what was printed reads back");
        assert_eq!(cbor::write(&again), printed);
    }
});
