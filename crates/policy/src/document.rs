use crate::condition::Condition;
use crate::{Match, Pattern, PrincipalSet, Request, Span};

/// A parsed policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its `Id`, where it has one.
    pub id: Option<String>,
    /// At most [`crate::MAX_STATEMENTS`].
    pub statements: Vec<Statement>,
}

/// What a statement says when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Yes.
    Allow,
    /// No, whatever others say.
    Deny,
}

/// A member that exists in two forms, such as `Action` and `NotAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope<T> {
    /// These.
    These(T),
    /// All but these.
    AllBut(T),
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its `Sid`; may be empty.
    pub sid: String,
    /// What it says.
    pub effect: Effect,
    /// Whom it is about; `None` in policies that are attached to whom they are about.
    pub principals: Option<Scope<PrincipalSet>>,
    /// Which actions.
    pub actions: Scope<Vec<Pattern>>,
    /// Which resources; `None` in trust policies, whose resource is the role.
    pub resources: Option<Scope<Vec<Pattern>>>,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
    /// Where it is in the document.
    pub span: Span,
}

impl Statement {
    /// How closely the statement names who asks. Policies without principals are attached to them.
    pub(crate) fn names(&self, request: &Request<'_>) -> Match {
        match &self.principals {
            None => Match::Exact,
            Some(Scope::These(set)) => set.names(request.principal),
            Some(Scope::AllBut(set)) => match set.names(request.principal) {
                Match::No => Match::Exact,
                // To be left out takes the whole chain in AWS: account, role and session. Naming any
                // of them is taken as meant.
                Match::Account | Match::Role | Match::Exact => Match::No,
            },
        }
    }

    /// Actions have no case.
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

    /// A pattern with a variable of which nothing can be said covers the resource for a denial only.
    pub(crate) fn covers_resource(&self, request: &Request<'_>) -> bool {
        let (resource, facts) = (request.resource, request.facts);
        let denies = self.effect == Effect::Deny;
        let among = |patterns: &[Pattern], unknown: bool| {
            patterns.iter().any(|it| match it.cannot_tell(facts) {
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

    /// The first condition that does not hold. One of which nothing can be said holds for a denial only.
    pub(crate) fn failing(&self, request: &Request<'_>) -> Option<&Condition> {
        let unknown = self.effect == Effect::Deny;
        self.conditions
            .iter()
            .find(|condition| !condition.tells(request.facts).unwrap_or(unknown))
    }

    /// The first condition of which nothing can be said.
    pub(crate) fn untold(&self, request: &Request<'_>) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.tells(request.facts).is_none())
    }
}
