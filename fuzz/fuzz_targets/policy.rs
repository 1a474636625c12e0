//! Policy documents, requests put to them, and paths that are read in more than one way.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (document, action, resource) = input;
    lath_policy::fuzzing::read_and_ask(document, action, resource);
    lath_policy::fuzzing::read_path(resource);
});
