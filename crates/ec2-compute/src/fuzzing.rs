//! Entry points for the targets in `fuzz/` only.

/// The fingerprint and the OpenSSH form of an imported key.
pub fn public_key(bytes: &[u8], name: &str) -> Option<(String, String)> {
    let half = crate::key_pairs::material::import(bytes, name).ok()?;
    Some((half.fingerprint, half.openssh))
}
