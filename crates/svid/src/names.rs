//! SPIFFE ids of workloads (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>).

/// An instance's, by the account and region that it is in: `spiffe://DOMAIN/ACCOUNT/REGION/role/ROLE/INSTANCE`, or with `instance`
/// for `role/ROLE` where it has no role.
pub fn instance(domain: &str, place: (&str, &str), role: Option<&str>, instance: &str) -> String {
    let start = start(domain, place);
    match role {
        Some(role) => format!("{start}/role/{}/{}", segment(role), segment(instance)),
        None => format!("{start}/instance/{}", segment(instance)),
    }
}

/// A pod's, by its service account: `spiffe://DOMAIN/ACCOUNT/REGION/cluster/CLUSTER/ns/NAMESPACE/sa/ACCOUNT`.
pub fn pod(
    domain: &str,
    place: (&str, &str),
    cluster: &str,
    namespace: &str,
    service_account: &str,
) -> String {
    let [cluster, namespace, account] = [cluster, namespace, service_account].map(segment);
    let start = start(domain, place);
    format!("{start}/cluster/{cluster}/ns/{namespace}/sa/{account}")
}

/// Whether a name is one of a trust domain's.
pub fn is_of(domain: &str, spiffe_id: &str) -> bool {
    let rest = spiffe_id.strip_prefix("spiffe://");
    let path = rest.and_then(|rest| rest.strip_prefix(domain));
    path.is_some_and(|path| path.starts_with('/'))
}

fn start(domain: &str, (account, region): (&str, &str)) -> String {
    format!("spiffe://{domain}/{}/{}", segment(account), segment(region))
}

/// A name as a part of a path, which has letters, digits, `.`, `-` and `_` alone: other bytes are `_` and two hexadecimal digits,
/// and so is a `_` that would be read as the beginning of one. No two names have the same part.
fn segment(name: &str) -> String {
    let is_digit = |it: Option<&u8>| it.is_some_and(|it| matches!(it, b'0'..=b'9' | b'A'..=b'F'));
    let bytes = name.as_bytes();
    let dots = matches!(name, "." | "..");
    let mut out = String::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        let is_escape = *byte == b'_' && is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2));
        match byte {
            b'.' if dots => out.push_str("_2E"),
            b'_' if is_escape => out.push_str("_5F"),
            b'.' | b'-' | b'_' => out.push(char::from(*byte)),
            it if it.is_ascii_alphanumeric() => out.push(char::from(*it)),
            other => out.push_str(&format!("_{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_have_the_same_part() {
        for (name, wanted) in [
            ("till", "till"),
            ("my_role-1.x", "my_role-1.x"),
            ("a+b=c,d@e", "a_2Bb_3Dc_2Cd_40e"),
            ("a_2Bb", "a_5F2Bb"),
            ("a_+", "a__2B"),
            ("a_2+", "a_2_2B"),
            ("a/b", "a_2Fb"),
            ("..", "_2E_2E"),
            ("", ""),
        ] {
            assert_eq!(segment(name), wanted, "{name}");
        }
    }

    #[test]
    fn ids_are_paths_of_a_trust_domain() {
        let place = ("111122223333", "us-east-1");
        let start = "spiffe://lath-1/111122223333/us-east-1";
        assert_eq!(
            instance("lath-1", place, Some("a+b"), "i-1"),
            format!("{start}/role/a_2Bb/i-1")
        );
        assert_eq!(
            instance("lath-1", place, None, "i-1"),
            format!("{start}/instance/i-1")
        );
        assert_eq!(
            pod("lath-1", place, "prod", "shop", "till"),
            format!("{start}/cluster/prod/ns/shop/sa/till")
        );
    }
}
