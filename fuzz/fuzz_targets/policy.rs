//! Policy documents, and requests put to them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (document, action, resource) = input;
    lath_policy::fuzzing::read_and_ask(document, action, resource);
});
