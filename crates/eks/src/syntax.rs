//! What Kubernetes takes for labels and taints: an API server refuses the rest for good.

/// Whether it is a key of labels and taints: a name, possibly behind the name of a domain and a slash
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
pub(crate) fn is_label_key(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    !name.is_empty() && is_label_value(name) && domain.is_none_or(is_domain)
}

/// Whether it is a value of labels and taints, which may be empty.
pub(crate) fn is_label_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    let ends_well = value.is_empty() || (value.starts_with(outer) && value.ends_with(outer));
    value.len() <= 63 && ends_well && value.bytes().all(inner)
}

/// A name as a value of labels: cut to what Kubernetes takes. Names of node groups may end in characters that values may
/// not.
pub(crate) fn label_value_of(name: &str) -> &str {
    let end = name.char_indices().nth(63).map_or(name.len(), |(at, _)| at);
    name[..end].trim_matches(|c: char| !c.is_ascii_alphanumeric())
}

fn is_domain(domain: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    domain.len() <= 253
        && domain.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(inner)
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_kubernetes_takes() {
        for good in ["a", "tier", "example.com/tier", "A_b.c-9"] {
            assert!(is_label_key(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", "a b", "a=b", "a:b", "-a", "a-", "/a", "x/", "x/y/z", "X/y", "a..b/c", "a,b", &long,
        ] {
            assert!(!is_label_key(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("1.37"));
        for (name, value) in [
            ("workers", "workers"),
            ("w-_", "w"),
            ("a.b-1", "a.b-1"),
            (&format!("{}-", "a".repeat(62)), &"a".repeat(62)),
            (&format!("{}-a", "a".repeat(62)), &"a".repeat(62)),
        ] {
            assert_eq!(label_value_of(name), value);
            assert!(is_label_value(label_value_of(name)));
        }
        for bad in ["x,node-role.kubernetes.io/y=", "a b", "a/b", ".a", &long] {
            assert!(!is_label_value(bad), "{bad}");
        }
    }
}
