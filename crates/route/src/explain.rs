//! Why a request meets a rule.

/// A choice and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The position of the rule that the request meets; `None` is the default rule.
    pub chosen: Option<usize>,
    /// The rules that were asked, in that order.
    pub steps: Vec<Step>,
}

/// One rule that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule's position in what was compiled.
    pub position: usize,
    /// Its priority.
    pub priority: u32,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of asking a rule: the first condition that does not hold decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every condition holds.
    Holds,
    /// The method is another one.
    Method,
    /// The path does not match.
    Path,
    /// This header is absent or has no matching value.
    Header(String),
}
