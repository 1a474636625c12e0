//! A change batch of Route 53, from XML to the feed.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|xml: &[u8]| lath_route53::fuzzing::change_batch(xml));
