//! What another region tells of Transit Gateways and endpoints: what is believed is told the same.

pub(crate) fn run(bytes: &[u8]) {
    if let Some((told, asked)) = lath_ec2::fuzzing::told_transit(bytes) {
        let again = lath_ec2::fuzzing::told_transit(&told);
        assert_eq!(again, Some((told, asked)));
    }
}
