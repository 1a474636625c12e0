//! Health-check matchers: the status codes that mean healthy.

/// Reads `200`, `200,202` or `200-299`, in any mixture: inclusive ranges within 200 to 499. `None` when it
/// is not that.
pub(crate) fn parse(text: &str) -> Option<Vec<(u16, u16)>> {
    text.split(',').map(range).collect()
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (code(first)?, code(last)?);
    (first <= last).then_some((first, last))
}

fn code(text: &str) -> Option<u16> {
    let code: u16 = text.parse().ok()?;
    (text.len() == 3 && (200..=499).contains(&code)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lists_and_ranges_within_200_to_499() {
        for (text, want) in [
            ("200", Some(vec![(200, 200)])),
            ("200,202", Some(vec![(200, 200), (202, 202)])),
            ("200-299,404", Some(vec![(200, 299), (404, 404)])),
            ("299-200", None),
            ("199", None),
            ("500", None),
            ("+200", None),
            ("200,", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text:?}");
        }
    }
}
