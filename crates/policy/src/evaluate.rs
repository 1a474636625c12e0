use std::fmt;

use crate::{Condition, Effect, Match, Policy, Request, Span};

/// The relation of a policy to the principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Attached to the user, one of its groups, or the role.
    Identity,
    /// A permissions boundary, which limits identity policies.
    Boundary,
    /// A session policy, which limits the session.
    Session,
    /// Attached to the resource: a role's trust policy, an auth policy.
    Resource,
}

/// A policy and its kind.
#[derive(Debug, Clone, Copy)]
pub struct Attached<'a> {
    /// The name, for explanations.
    pub name: &'a str,
    /// The kind.
    pub kind: Kind,
    /// The document.
    pub policy: &'a Policy,
}

/// How policies of different kinds combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Principal and resource are in one account: an identity policy or a resource policy is enough.
    SameAccount,
    /// Both must allow.
    CrossAccount,
    /// The resource's policy must allow: alone if it names the principal, together with an identity policy if
    /// it names the account (roles' trust policies).
    Trust,
}

/// The outcome of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Allowed.
    Allow,
    /// A statement denies the request.
    ExplicitDeny,
    /// No statement allows the request.
    ImplicitDeny,
}

/// Which kind of policy did not allow, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortfall {
    /// `no identity-based policy allows`.
    Identity,
    /// `no permissions boundary allows`.
    Boundary,
    /// `no session policy allows`.
    Session,
    /// `no resource-based policy allows`.
    Resource,
    /// A deny in a policy of this kind.
    Explicit(Kind),
}

/// The outcome with its reasons.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// The outcome.
    pub outcome: Outcome,
    /// The missing allow or the deny; `None` when allowed.
    pub shortfall: Option<Shortfall>,
    /// Every statement of every policy, in order.
    pub considered: Vec<Considered<'a>>,
}

/// The evaluation of one statement.
#[derive(Debug, Clone, Copy)]
pub struct Considered<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// The policy's kind.
    pub kind: Kind,
    /// The statement's index, from 0.
    pub index: usize,
    /// Its `Sid`; may be empty.
    pub sid: &'a str,
    /// Its position in the document.
    pub span: Span,
    /// Its effect.
    pub effect: Effect,
    /// Whether it applies, or why not.
    pub verdict: Applicability<'a>,
    /// The unknown condition that decided, if one did: a deny applies because of it, an allow does not.
    pub unknown: Option<&'a Condition>,
}

/// Whether a statement applies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Applicability<'a> {
    /// It applies, and names the principal this closely.
    Applies(Match),
    /// It covers other principals.
    Principal,
    /// It covers other actions.
    Action,
    /// It covers other resources.
    Resource,
    /// This condition does not hold.
    Condition(&'a Condition),
}

impl fmt::Display for Considered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, index, .. } = self;
        write!(f, "{policy}, statement {}", index + 1)?;
        if !self.sid.is_empty() {
            write!(f, " ({})", self.sid)?;
        }
        if let Some(condition) = self.unknown {
            let (key, effect) = (condition.key(), self.effect);
            let outcome = match effect {
                Effect::Allow => "does not allow",
                Effect::Deny => "denies",
            };
            return write!(f, ": {outcome}, as the value of {key} is unknown");
        }
        match (self.verdict, self.effect) {
            (Applicability::Applies(_), Effect::Allow) => f.write_str(": allows"),
            (Applicability::Applies(_), Effect::Deny) => f.write_str(": denies"),
            (Applicability::Principal, _) => f.write_str(": is about other principals"),
            (Applicability::Action, _) => f.write_str(": is about other actions"),
            (Applicability::Resource, _) => f.write_str(": is about other resources"),
            (Applicability::Condition(condition), _) => write!(f, ": {condition} does not hold"),
        }
    }
}

impl Decision<'_> {
    /// Whether the request is allowed.
    pub fn is_allow(&self) -> bool {
        self.outcome == Outcome::Allow
    }

    /// The end of AWS's message, such as `because no identity-based policy allows the ec2:RunInstances
    /// action`.
    pub fn because(&self, action: &str) -> String {
        let missing = match self.shortfall {
            None => return String::new(),
            Some(Shortfall::Explicit(kind)) => {
                return format!("with an explicit deny in {}", denier(kind));
            }
            Some(Shortfall::Identity) => "identity-based policy",
            Some(Shortfall::Boundary) => "permissions boundary",
            Some(Shortfall::Session) => "session policy",
            Some(Shortfall::Resource) => "resource-based policy",
        };
        format!("because no {missing} allows the {action} action")
    }

    /// One line for each statement.
    pub fn explanation(&self) -> Vec<String> {
        self.considered.iter().map(ToString::to_string).collect()
    }
}

fn denier(kind: Kind) -> &'static str {
    match kind {
        Kind::Identity => "an identity-based policy",
        Kind::Boundary => "a permissions boundary",
        Kind::Session => "a session policy",
        Kind::Resource => "a resource-based policy",
    }
}

/// Decides a request by all policies that apply to it. Boundaries and session policies limit only if there are any.
/// Several policies of one kind count as one policy with all their statements.
pub fn evaluate<'a>(request: &Request<'_>, policies: &[Attached<'a>], rule: Rule) -> Decision<'a> {
    let considered: Vec<Considered<'a>> = policies
        .iter()
        .flat_map(|attached| consider(request, *attached))
        .collect();
    let shortfall = shortfall(policies, &considered, rule);
    let outcome = match shortfall {
        None => Outcome::Allow,
        Some(Shortfall::Explicit(_)) => Outcome::ExplicitDeny,
        Some(_) => Outcome::ImplicitDeny,
    };
    Decision {
        outcome,
        shortfall,
        considered,
    }
}

fn consider<'a>(request: &Request<'_>, attached: Attached<'a>) -> Vec<Considered<'a>> {
    let statements = attached.policy.statements.iter().enumerate();
    let considered = statements.map(|(index, statement)| {
        let verdict = verdict(statement, request);
        Considered {
            policy: attached.name,
            kind: attached.kind,
            index,
            sid: &statement.sid,
            span: statement.span,
            effect: statement.effect,
            unknown: unknown(statement, verdict, request),
            verdict,
        }
    });
    considered.collect()
}

fn verdict<'a>(statement: &'a crate::Statement, request: &Request<'_>) -> Applicability<'a> {
    let named = statement.names(request);
    if named == Match::No {
        return Applicability::Principal;
    }
    if !statement.covers_action(request) {
        return Applicability::Action;
    }
    if !statement.covers_resource(request) {
        return Applicability::Resource;
    }
    match statement.failing(request) {
        Some(condition) => Applicability::Condition(condition),
        None => Applicability::Applies(named),
    }
}

fn unknown<'a>(
    statement: &'a crate::Statement,
    verdict: Applicability<'a>,
    request: &Request<'_>,
) -> Option<&'a Condition> {
    match verdict {
        Applicability::Applies(_) => statement.unknown(request),
        Applicability::Condition(condition) => {
            Some(condition).filter(|it| it.evaluate(request.facts).is_none())
        }
        Applicability::Principal | Applicability::Action | Applicability::Resource => None,
    }
}

/// The missing allow, in the order in which AWS reports it.
fn shortfall(
    policies: &[Attached<'_>],
    considered: &[Considered<'_>],
    rule: Rule,
) -> Option<Shortfall> {
    let denied = considered
        .iter()
        .find(|it| it.effect == Effect::Deny && matches!(it.verdict, Applicability::Applies(_)));
    if let Some(denied) = denied {
        return Some(Shortfall::Explicit(denied.kind));
    }
    let allowed = |kind| closest_allow(considered, kind);
    let limits = [Kind::Boundary, Kind::Session].map(|kind| {
        let there = policies.iter().any(|attached| attached.kind == kind);
        !there || allowed(kind) > Match::No
    });
    let resource = allowed(Kind::Resource);
    let of_identity = match (allowed(Kind::Identity) > Match::No, limits) {
        (false, _) => Some(Shortfall::Identity),
        (true, limits) => unlimited(limits),
    };
    match (rule, resource) {
        (Rule::SameAccount | Rule::Trust, Match::Exact) => None,
        (Rule::SameAccount | Rule::Trust, Match::Role) => unlimited(limits),
        (Rule::Trust | Rule::CrossAccount, Match::No) => Some(Shortfall::Resource),
        (Rule::SameAccount, Match::Account | Match::No)
        | (Rule::Trust, Match::Account)
        | (Rule::CrossAccount, _) => of_identity,
    }
}

/// The boundary or session policy that does not allow.
fn unlimited([boundary, session]: [bool; 2]) -> Option<Shortfall> {
    match (boundary, session) {
        (false, _) => Some(Shortfall::Boundary),
        (true, false) => Some(Shortfall::Session),
        (true, true) => None,
    }
}

fn closest_allow(considered: &[Considered<'_>], kind: Kind) -> Match {
    considered
        .iter()
        .filter(|it| it.kind == kind && it.effect == Effect::Allow)
        .filter_map(|it| match it.verdict {
            Applicability::Applies(named) => Some(named),
            _ => None,
        })
        .max()
        .unwrap_or(Match::No)
}
