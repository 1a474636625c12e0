//! Comparisons, shared by JSON selectors and space-delimited fields.

use super::{PatternError, Scan};

/// `= != < > <= >=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
}

/// What is compared with.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A number; its text too, for `=` on text fields.
    Number(f64),
    /// Text, in which `*` stands for anything.
    Text(Glob),
    /// A regular expression.
    Regex(regex_lite::Regex),
}

/// Text with `*` wildcards.
#[derive(Debug)]
pub(super) struct Glob(Vec<String>);

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    /// Greedy from the left is enough: only `*` is special.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, middle)) = self.0.split_first() else {
            return text.is_empty();
        };
        let Some((last, middle)) = middle.split_last() else {
            return text == first;
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

impl Comparison {
    pub(super) fn parse(scan: &mut Scan) -> Option<Self> {
        for (text, comparison) in [
            ("!=", Self::NotEqual),
            ("<=", Self::LessOrEqual),
            (">=", Self::GreaterOrEqual),
            ("=", Self::Equal),
            ("<", Self::Less),
            (">", Self::Greater),
        ] {
            if scan.take(text) {
                return Some(comparison);
            }
        }
        None
    }

    fn numbers(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::Greater => left > right,
            Self::LessOrEqual => left <= right,
            Self::GreaterOrEqual => left >= right,
        }
    }

    fn truth(self, equal: bool) -> bool {
        match self {
            Self::Equal => equal,
            Self::NotEqual => !equal,
            Self::Less | Self::Greater | Self::LessOrEqual | Self::GreaterOrEqual => false,
        }
    }
}

/// A comparison and its right side.
#[derive(Debug)]
pub(super) struct Condition {
    comparison: Comparison,
    wanted: Wanted,
}

impl Condition {
    /// Parses the comparison and what follows it, up to a character that `ends` the bare form.
    pub(super) fn parse(
        scan: &mut Scan,
        comparison: Comparison,
        ends: impl Fn(char) -> bool,
    ) -> Result<Self, PatternError> {
        scan.blanks();
        let wanted = match scan.peek() {
            Some('"') => Wanted::Text(Glob::new(&scan.quoted('"')?)),
            Some('%') => Wanted::Regex(scan.regex()?),
            _ => {
                let text = scan.text_while(|c| !c.is_whitespace() && !ends(c));
                if text.is_empty() {
                    return Err(scan.error("a value is missing"));
                }
                match text.parse::<f64>() {
                    Ok(number) if number.is_finite() => Wanted::Number(number),
                    _ => Wanted::Text(Glob::new(&text)),
                }
            }
        };
        Ok(Self { comparison, wanted })
    }

    /// Holds for a number?
    pub(super) fn of_number(&self, number: f64) -> bool {
        match &self.wanted {
            Wanted::Number(wanted) => self.comparison.numbers(number, *wanted),
            Wanted::Text(glob) => self.comparison.truth(glob.matches(&number.to_string())),
            Wanted::Regex(regex) => self.comparison.truth(regex.is_match(&number.to_string())),
        }
    }

    /// Holds for text? Text that reads as a number is compared as one.
    pub(super) fn of_text(&self, text: &str) -> bool {
        match &self.wanted {
            Wanted::Number(wanted) => match text.parse::<f64>() {
                Ok(number) => self.comparison.numbers(number, *wanted),
                Err(_) => self.comparison == Comparison::NotEqual,
            },
            Wanted::Text(glob) => self.comparison.truth(glob.matches(text)),
            Wanted::Regex(regex) => self.comparison.truth(regex.is_match(text)),
        }
    }
}
