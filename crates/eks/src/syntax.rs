//! What Kubernetes takes for labels, taints and quantities: an API server refuses the rest for good.

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

/// A quantity such as `100m` or `1.5Gi`, in thousandths; `None` when it is none, is negative or is out of reach
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let has_digit = number.bytes().any(|b| b.is_ascii_digit());
    if !has_digit || number.matches('.').count() > 1 || text.len() > 32 {
        return None;
    }
    let scale = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024_f64,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-18..=18).contains(&exponent) {
                return None;
            }
            10_f64.powi(exponent)
        }
    };
    let value: f64 = number.parse().ok()?;
    let value = value * scale * 1000.0;
    (value < 9e21).then_some(value)
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

    #[test]
    fn quantities_are_what_kubernetes_takes() {
        assert_eq!(quantity("100m"), Some(100.0));
        assert_eq!(quantity("1Ki"), Some(1_024_000.0));
        assert_eq!(quantity("1.5e3"), Some(1_500_000.0));
        for bad in [
            "", "x", "1x", "-1", ".", "1.2.3", "1mi", "1e", "9e30", "1 Gi", "NaN", "inf",
        ] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }
}
