//! Names of kernel objects, made from ids so that they are the same after every restart.

/// The longest name of a link, without its NUL.
pub const LINK_MAX: usize = 15;

/// FNV-1a, 64 bits: stable across versions and machines, which std's hashers do not promise.
pub fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A link's name: `prefix` and as much of the id's tail as fits.
pub fn link(prefix: &str, id: &str) -> String {
    let tail = id.rsplit('-').next().unwrap_or(id);
    let room = LINK_MAX - prefix.len();
    let start = tail.len().saturating_sub(room);
    format!("{prefix}{}", tail.get(start..).unwrap_or(tail))
}

/// The alias that marks a link as its owner's.
pub fn alias(owner: &str, id: &str) -> String {
    format!("lath:{owner}:{id}")
}

/// Whether an alias is this owner's mark.
pub fn is_owned(alias: &str, owner: &str) -> bool {
    alias
        .strip_prefix("lath:")
        .and_then(|rest| rest.strip_prefix(owner))
        .is_some_and(|rest| rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        for (name, prefix, id, want) in [
            ("long id", "e", "eni-0123456789abcdef0", "e3456789abcdef0"),
            ("short id", "e", "eni-12345678", "e12345678"),
            (
                "uplink",
                "lt1a2b",
                "vpc-0123456789abcdef0",
                "lt1a2b9abcdef0",
            ),
        ] {
            let got = link(prefix, id);
            assert!(got.len() <= LINK_MAX, "{name}: {got}");
            assert!(
                got.starts_with(prefix) && id.ends_with(&got[prefix.len()..]),
                "{name}: {got} {want}"
            );
        }
    }

    #[test]
    fn an_owner_owns_no_namesake() {
        assert!(is_owned(&alias("a", "vpc-1"), "a"));
        for other in ["lath:ab:vpc-1", "lath:a", "x", "lath:"] {
            assert!(!is_owned(other, "a"), "{other}");
        }
    }
}
