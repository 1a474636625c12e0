//! Record values and names of Route 53 in text form.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    lath_route53::fuzzing::record_value(text);
    lath_route53::fuzzing::domain_name(text);
});
