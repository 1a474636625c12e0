//! Domain names: what callers write, and the one form in which they are kept.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html>

/// Why a text is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadName {
    /// Nothing between two dots.
    EmptyLabel,
    /// A label of more than 63 octets.
    LongLabel,
    /// More than 255 octets in all.
    Long,
    /// A backslash without three octal digits, or a character that has to be escaped.
    Character,
}

impl BadName {
    /// As the service words it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::EmptyLabel => "DomainLabelEmpty (Domain label is empty)",
            Self::LongLabel => "DomainLabelTooLong (Domain label is too long)",
            Self::Long => "DomainNameTooLong (Domain name is too long)",
            Self::Character => "UnsupportedCharacter (Value contains unsupported characters)",
        }
    }
}

type Labels = Vec<Vec<u8>>;

/// The canonical form: lower case, a dot at the end, and whatever is not a letter, digit, hyphen or
/// underscore escaped as `\ooo`.
pub(crate) fn canonical(text: &str) -> Result<String, BadName> {
    let labels = labels(text)?;
    let mut out = String::with_capacity(text.len() + 1);
    for label in &labels {
        label.iter().for_each(|byte| print(*byte, &mut out));
        out.push('.');
    }
    Ok(out)
}

fn print(byte: u8, out: &mut String) {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
        _ => out.push_str(&format!("\\{byte:03o}")),
    }
}

/// The labels' octets, in lower case.
fn labels(text: &str) -> Result<Labels, BadName> {
    let mut labels = Labels::new();
    let mut label = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'.' => labels.push(ended(std::mem::take(&mut label))?),
            b'\\' => {
                let (octet, after) = escaped(after).ok_or(BadName::Character)?;
                label.push(octet.to_ascii_lowercase());
                rest = after;
            }
            b'!'..=b'~' => label.push(first.to_ascii_lowercase()),
            _ => return Err(BadName::Character),
        }
    }
    if !label.is_empty() {
        labels.push(ended(label)?);
    }
    let octets: usize = labels.iter().map(|label| label.len() + 1).sum();
    match octets {
        0 => Err(BadName::EmptyLabel),
        1..=254 => Ok(labels),
        _ => Err(BadName::Long),
    }
}

fn ended(label: Vec<u8>) -> Result<Vec<u8>, BadName> {
    match label.len() {
        0 => Err(BadName::EmptyLabel),
        1..=63 => Ok(label),
        _ => Err(BadName::LongLabel),
    }
}

/// The octet of the three octal digits that a text begins with, and what follows.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.split_at_checked(3)?;
    let octet = digits.iter().try_fold(0u16, |sum, digit| {
        let digit = char::from(*digit).to_digit(8)?;
        Some(sum * 8 + u16::try_from(digit).ok()?)
    })?;
    Some((u8::try_from(octet).ok()?, after))
}

/// What sorts canonical names as the service does: the octets with the labels in reverse, each with its
/// dot, such as `com.example.www.`. Octets past ASCII become the characters of that number.
pub(crate) fn sort_key(canonical: &str) -> String {
    let labels = labels(canonical).unwrap_or_default();
    let mut key = String::with_capacity(canonical.len());
    for label in labels.iter().rev() {
        key.extend(label.iter().map(|octet| char::from(*octet)));
        key.push('.');
    }
    key
}

/// Whether a canonical name is a zone's own or lies below it.
pub(crate) fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_canonical_form() {
        let long = "a".repeat(64);
        let too_long = format!("{}.", "a".repeat(62)).repeat(5);
        for (given, want) in [
            ("Example.COM", Ok("example.com.")),
            ("example.com.", Ok("example.com.")),
            ("*.example.com", Ok("\\052.example.com.")),
            ("\\052.example.com", Ok("\\052.example.com.")),
            ("a_b-c.d", Ok("a_b-c.d.")),
            ("\\101.d", Ok("a.d.")),
            ("a\\056b.d", Ok("a\\056b.d.")),
            ("\\344.d", Ok("\\344.d.")),
            ("ä.d", Err(BadName::Character)),
            ("a b.d", Err(BadName::Character)),
            ("a\\b.d", Err(BadName::Character)),
            ("a\\400.d", Err(BadName::Character)),
            ("a\\04", Err(BadName::Character)),
            ("a..b", Err(BadName::EmptyLabel)),
            (".a", Err(BadName::EmptyLabel)),
            ("", Err(BadName::EmptyLabel)),
            (".", Err(BadName::EmptyLabel)),
            (long.as_str(), Err(BadName::LongLabel)),
            (too_long.as_str(), Err(BadName::Long)),
        ] {
            let got = canonical(given);
            assert_eq!(got.as_deref().map_err(|e| *e), want, "{given}");
            if let Ok(name) = got {
                assert_eq!(canonical(&name).as_deref(), Ok(name.as_str()), "{given}");
            }
        }
    }

    #[test]
    fn names_sort_by_reversed_labels_and_ascii() {
        let mut names = [
            "www.example.com.",
            "example.com.",
            "\\052.example.com.",
            "a.b.example.com.",
            "a-b.example.com.",
            "b.example.com.",
            "example.org.",
        ];
        names.sort_by_key(|name| sort_key(name));
        let want = [
            "example.com.",
            "\\052.example.com.",
            "a-b.example.com.",
            "b.example.com.",
            "a.b.example.com.",
            "www.example.com.",
            "example.org.",
        ];
        assert_eq!(names, want);
    }

    #[test]
    fn a_zone_holds_its_own_name_and_those_below() {
        for (name, zone, want) in [
            ("example.com.", "example.com.", true),
            ("a.example.com.", "example.com.", true),
            ("aexample.com.", "example.com.", false),
            ("com.", "example.com.", false),
            ("a\\056example.com.", "example.com.", false),
        ] {
            assert_eq!(is_within(name, zone), want, "{name} {zone}");
        }
    }
}
