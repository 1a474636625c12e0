//! Quantities, as Kubernetes writes them.

/// A quantity such as `100m` or `1.5Gi`, in thousandths; `None` when it is none, is negative or is out of reach
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).
pub fn thousandths(text: &str) -> Option<f64> {
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
    fn quantities_are_what_kubernetes_takes() {
        assert_eq!(thousandths("100m"), Some(100.0));
        assert_eq!(thousandths("1Ki"), Some(1_024_000.0));
        assert_eq!(thousandths("1.5e3"), Some(1_500_000.0));
        for bad in [
            "", "x", "1x", "-1", ".", "1.2.3", "1mi", "1e", "9e30", "1 Gi", "NaN", "inf",
        ] {
            assert_eq!(thousandths(bad), None, "{bad}");
        }
    }
}
