//! Imported public keys: OpenSSH, PEM and RFC 4716. What is taken is one line, and is taken again.

use lath_ec2::fuzzing::public_key;

pub(crate) fn run(bytes: &[u8]) {
    if let Some((fingerprint, openssh)) = public_key(bytes, "name") {
        assert!(
            !openssh.contains(['\n', '\r']) && openssh.ends_with(" name"),
            "{openssh:?}"
        );
        assert_eq!(
            public_key(openssh.as_bytes(), "name"),
            Some((fingerprint, openssh))
        );
    }
}
