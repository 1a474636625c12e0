use crate::condition::Condition;
use crate::{Match, Pattern, PrincipalSet, Request, Span};

/// A parsed policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its `Id`, if it has one.
    pub id: Option<String>,
    /// At most [`crate::MAX_STATEMENTS`].
    pub statements: Vec<Statement>,
}

/// The effect of a statement that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Allows the request.
    Allow,
    /// Denies the request, even if another statement allows it.
    Deny,
}

/// A member with two forms, such as `Action` and `NotAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope<T> {
    /// Applies to these.
    These(T),
    /// Applies to all but these.
    AllBut(T),
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its `Sid`; may be empty.
    pub sid: String,
    /// Its effect.
    pub effect: Effect,
    /// The principals; `None` in policies that are attached to their principal.
    pub principals: Option<Scope<PrincipalSet>>,
    /// The actions.
    pub actions: Scope<Vec<Pattern>>,
    /// The resources; `None` in trust policies, whose resource is the role.
    pub resources: Option<Scope<Vec<Pattern>>>,
    /// The conditions, which must all hold.
    pub conditions: Vec<Condition>,
    /// Its position in the document.
    pub span: Span,
}

impl Statement {
    /// How closely the statement names the principal. A policy without principals is attached to the principal.
    pub(crate) fn names(&self, request: &Request<'_>) -> Match {
        match &self.principals {
            None => Match::Exact,
            Some(Scope::These(set)) => set.names(request.principal),
            Some(Scope::AllBut(set)) => match set.names(request.principal) {
                Match::No => Match::Exact,
                // In AWS, NotPrincipal excludes a session only if it names account, role and session. Here
                // naming any of them excludes it.
                Match::Account | Match::Role | Match::Exact => Match::No,
            },
        }
    }

    /// Whether the statement covers the action. Actions ignore case.
    pub(crate) fn covers_action(&self, request: &Request<'_>) -> bool {
        let among = |patterns: &[Pattern]| {
            patterns
                .iter()
                .any(|pattern| pattern.matches_any_case(request.action, request.facts))
        };
        match &self.actions {
            Scope::These(patterns) => among(patterns),
            Scope::AllBut(patterns) => !among(patterns),
        }
    }

    /// Whether the statement covers the resource. A pattern with an unknown variable covers it only in a deny.
    pub(crate) fn covers_resource(&self, request: &Request<'_>) -> bool {
        let (resource, facts) = (request.resource, request.facts);
        let denies = self.effect == Effect::Deny;
        let among = |patterns: &[Pattern], unknown: bool| {
            patterns.iter().any(|it| match it.is_unknown(facts) {
                true => unknown,
                false => it.matches(resource, facts),
            })
        };
        match &self.resources {
            None => true,
            Some(Scope::These(patterns)) => among(patterns, denies),
            Some(Scope::AllBut(patterns)) => !among(patterns, !denies),
        }
    }

    /// The first condition that does not hold. An unknown condition holds only in a deny.
    pub(crate) fn failing(&self, request: &Request<'_>) -> Option<&Condition> {
        let unknown = self.effect == Effect::Deny;
        self.conditions
            .iter()
            .find(|condition| !condition.evaluate(request.facts).unwrap_or(unknown))
    }

    /// The first unknown condition.
    pub(crate) fn unknown(&self, request: &Request<'_>) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.evaluate(request.facts).is_none())
    }
}
