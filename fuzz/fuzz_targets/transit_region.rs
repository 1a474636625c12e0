//! What another region tells of Transit Gateways and endpoints: what is believed is told the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((told, asked)) = lath_ec2::fuzzing::told_transit(bytes) {
        let again = lath_ec2::fuzzing::told_transit(&told);
        assert_eq!(again, Some((told, asked)));
    }
});
