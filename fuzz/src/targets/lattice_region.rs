//! What another region tells of Lattice, and auth policies.

pub(crate) fn run(bytes: &[u8]) {
    if let Some(believed) = lath_lattice::fuzzing::told(bytes, "us-west-2") {
        // What is believed is believed again, and stays the same.
        let again = lath_lattice::fuzzing::told(&believed, "us-west-2");
        assert_eq!(again.as_deref(), Some(&believed[..]));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = lath_lattice::fuzzing::auth_policy(text);
    }
}
