//! Explains which rule a request matches.

/// The chosen rule and the evaluation that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The position of the rule that the request matches; `None` is the default rule.
    pub chosen: Option<usize>,
    /// The evaluated rules, in order.
    pub steps: Vec<Step>,
}

/// The evaluation of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule's position in the compiled list.
    pub position: usize,
    /// Its priority.
    pub priority: u32,
    /// The result.
    pub result: MatchResult,
}

/// The result of evaluating a rule: the first condition that fails decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchResult {
    /// Every condition holds.
    Matches,
    /// The method differs.
    Method,
    /// The path does not match.
    Path,
    /// This header is absent or has no matching value.
    Header(String),
    /// This query parameter is absent, or its first value does not match.
    QueryParameter(String),
    /// The rule has a condition that cannot be judged, and so holds for no request.
    Unusable,
}
