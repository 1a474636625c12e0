use std::fmt;

use crate::operator::{Comparison, comparison};
use crate::{Facts, Pattern};

/// A condition: an operator, a key, and the values to compare it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The operator as written, such as `ForAllValues:StringLikeIfExists`.
    operator: String,
    /// The key as written.
    key: String,
    /// The key in lower case.
    lower: String,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
    set: Option<Set>,
    values: Vec<Pattern>,
}

/// Why a condition is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadCondition {
    /// The operator does not exist.
    Operator,
    /// A value is not a date.
    Date,
    /// This value does not have the operator's type.
    Value(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    All,
    Any,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.operator, self.key, self.values)
    }
}

impl Condition {
    /// The operator as written.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The key as written.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The values as written.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(Pattern::as_str)
    }

    /// # Errors
    /// When the operator does not exist or a value does not have its type.
    pub(crate) fn new(
        operator: &str,
        key: &str,
        values: Vec<Pattern>,
    ) -> Result<Self, BadCondition> {
        let (set, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Set::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Set::Any), rest),
            _ => (None, operator),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        let (comparison, negated) = comparison(name).ok_or(BadCondition::Operator)?;
        if comparison == Comparison::Null && (if_exists || set.is_some()) {
            return Err(BadCondition::Operator);
        }
        if let Some(bad) = values.iter().find(|v| !comparison.accepts(v.as_str())) {
            return Err(match comparison {
                Comparison::Date(_) => BadCondition::Date,
                _ => BadCondition::Value(bad.as_str().to_owned()),
            });
        }
        Ok(Self {
            operator: operator.to_owned(),
            key: key.to_owned(),
            lower: key.to_ascii_lowercase(),
            comparison,
            negated,
            if_exists,
            set,
            values,
        })
    }

    /// Whether it holds; `None` when the values of its key are unknown.
    pub(crate) fn evaluate(&self, facts: &dyn Facts) -> Option<bool> {
        let unknown = facts.is_unknown(&self.lower)
            || self.values.iter().any(|value| value.is_unknown(facts));
        (!unknown).then(|| self.holds(facts))
    }

    /// Whether it holds. When the key is absent, it holds if its operator is negated or ends in `IfExists`; with
    /// `ForAllValues` it always holds, with `ForAnyValue` only with `IfExists`.
    pub fn holds(&self, facts: &dyn Facts) -> bool {
        let given = facts.values(&self.lower);
        if self.comparison == Comparison::Null {
            let absent = given.is_none_or(|values| values.is_empty());
            return self
                .values
                .iter()
                .filter_map(|value| value.literal(facts))
                .any(|value| value.eq_ignore_ascii_case("true") == absent);
        }
        let Some(given) = given else {
            return self.if_exists
                || match self.set {
                    Some(Set::All) => true,
                    Some(Set::Any) => false,
                    None => self.negated,
                };
        };
        let among = |given: &String| {
            self.values
                .iter()
                .any(|wanted| self.comparison.holds(given, wanted, facts))
        };
        match self.set {
            Some(Set::All) => given.iter().all(|value| among(value) != self.negated),
            Some(Set::Any) => given.iter().any(|value| among(value) != self.negated),
            None => given.iter().any(among) != self.negated,
        }
    }
}
