use std::fmt;

/// How much of a value a message repeats, in characters.
const SHOWN: usize = 128;

/// A member that breaks a constraint of its model, in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    member: String,
    value: Option<String>,
    rule: String,
    shown: usize,
}

impl Violation {
    /// `member` as the model calls it, such as `roleName`; `rule` such as `Member must have length ...`.
    pub fn new(
        member: impl Into<String>,
        value: impl Into<String>,
        rule: impl Into<String>,
    ) -> Self {
        Self {
            member: member.into(),
            value: Some(value.into()),
            rule: rule.into(),
            shown: SHOWN,
        }
    }

    /// Of a member whose value is not repeated.
    pub fn unshown(member: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            member: member.into(),
            value: None,
            rule: rule.into(),
            shown: 0,
        }
    }

    /// Repeats up to so many characters of the value, where a service shows more than 128.
    #[must_use]
    pub fn showing(mut self, most: usize) -> Self {
        self.shown = most;
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, rule, .. } = self;
        match &self.value {
            Some(value) => {
                let shown: String = value.chars().take(self.shown).collect();
                write!(
                    f,
                    "Value '{shown}' at '{member}' failed to satisfy constraint: {rule}"
                )
            }
            None => write!(
                f,
                "Value at '{member}' failed to satisfy constraint: {rule}"
            ),
        }
    }
}

/// `2 validation errors detected: Value ...; Value ...`.
pub fn detected(violations: &[Violation]) -> String {
    let plural = if violations.len() == 1 { "" } else { "s" };
    let texts: Vec<String> = violations.iter().map(Violation::to_string).collect();
    let (count, texts) = (violations.len(), texts.join("; "));
    format!("{count} validation error{plural} detected: {texts}")
}

/// The lengths or values that a member may have, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `length` or `value`.
    pub of: &'static str,
    /// The least.
    pub least: i64,
    /// The most.
    pub most: i64,
}

impl Bounds {
    /// Of the number of characters or items.
    pub const fn length(least: i64, most: i64) -> Self {
        Self {
            of: "length",
            least,
            most,
        }
    }

    /// Of a number.
    pub const fn value(least: i64, most: i64) -> Self {
        Self {
            of: "value",
            least,
            most,
        }
    }

    /// The rule that a number breaks, in AWS's words; `None` where it breaks none.
    pub fn broken_by(&self, number: i64) -> Option<String> {
        let (bound, end) = if number < self.least {
            ("greater", self.least)
        } else if number > self.most {
            ("less", self.most)
        } else {
            return None;
        };
        let of = self.of;
        Some(format!(
            "Member must have {of} {bound} than or equal to {end}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_worded_as_aws_words_them() {
        let rule = Bounds::length(1, 64).broken_by(0).unwrap();
        let one = Violation::new("roleName", "", rule);
        let two = Violation::unshown("maxItems", Bounds::value(1, 100).broken_by(101).unwrap());
        assert_eq!(
            detected(std::slice::from_ref(&one)),
            "1 validation error detected: Value '' at 'roleName' failed to satisfy constraint: Member must have length greater than or equal to 1"
        );
        assert_eq!(
            detected(&[one, two]),
            "2 validation errors detected: Value '' at 'roleName' failed to satisfy constraint: Member must have length greater than or equal to 1; Value at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 100"
        );
        assert_eq!(Bounds::value(1, 2).broken_by(2), None);
    }
}
