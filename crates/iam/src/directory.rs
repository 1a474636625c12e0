//! What a user or role may do, from a view: the same in every region.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lath_model::Owner;
use lath_policy::{Attached, Context, Grammar, Kind, Policy, Principal, Request, Rule, evaluate};
use lath_store::View;
use lath_wire::ApiError;

use crate::errors::{conflict, validation};
use crate::policies::lookup;
use crate::records::{Group, Policies, Role, User, key};

/// A policy that somebody holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// An ARN, or the name of an inline policy.
    pub name: String,
    /// What it is to its holder.
    pub kind: Kind,
    /// The document.
    pub policy: Arc<Policy>,
}

impl Held {
    /// For the evaluator.
    pub fn attached(&self) -> Attached<'_> {
        Attached {
            name: &self.name,
            kind: self.kind,
            policy: &self.policy,
        }
    }
}

/// Reads users, roles and their policies from views, and remembers parsed documents.
#[derive(Default)]
pub struct Directory {
    parsed: Mutex<HashMap<(GrammarKey, String), Arc<Policy>>>,
}

/// [`Grammar`] as a key.
type GrammarKey = u8;

/// Most parsed documents that are kept.
const MOST: usize = 2000;

impl Directory {
    /// A document, parsed; `None` when it is none (which the API refuses).
    pub fn parse(&self, text: &str, grammar: Grammar) -> Option<Arc<Policy>> {
        let key = (grammar as GrammarKey, text.to_owned());
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(&key) {
            return Some(Arc::clone(known));
        }
        let policy = Arc::new(Policy::parse(text, grammar).ok()?);
        if parsed.len() >= MOST {
            parsed.clear();
        }
        parsed.insert(key, Arc::clone(&policy));
        Some(policy)
    }

    /// The user of this name.
    pub fn user(&self, view: &View, name: &str) -> Option<Arc<User>> {
        view.get(&key(name))
    }

    /// The role of this name.
    pub fn role(&self, view: &View, name: &str) -> Option<Arc<Role>> {
        view.get(&key(name))
    }

    /// The policies that bear on a user: its own, its groups' and its boundary.
    pub fn of_user(&self, view: &View, user: &User) -> Vec<Held> {
        let mut held = self.held(view, &user.policies);
        for group in user.groups.iter().filter_map(|id| view.get::<Group>(id)) {
            held.extend(self.held(view, &group.policies));
        }
        held
    }

    /// The policies that bear on a role: its own and its boundary.
    pub fn of_role(&self, view: &View, role: &Role) -> Vec<Held> {
        self.held(view, &role.policies)
    }

    /// A managed policy's document in force.
    pub fn managed(&self, view: &View, arn: &str) -> Option<Arc<Policy>> {
        let policy = lookup(view, arn)?;
        self.parse(policy.document()?, Grammar::Identity)
    }

    /// The policies of one holder.
    pub(crate) fn held(&self, view: &View, policies: &Policies) -> Vec<Held> {
        let managed = |arn: &String, kind| Held {
            name: arn.clone(),
            kind,
            // A policy that cannot be found or read gives nothing and, as a boundary, allows nothing.
            policy: self.managed(view, arn).unwrap_or_else(nothing),
        };
        let attached = policies.attached.iter();
        let mut held: Vec<Held> = attached.map(|arn| managed(arn, Kind::Identity)).collect();
        held.extend(
            policies
                .boundary
                .iter()
                .map(|arn| managed(arn, Kind::Boundary)),
        );
        for (name, text) in &policies.inline {
            if let Some(policy) = self.parse(text, Grammar::Identity) {
                held.push(Held {
                    name: name.clone(),
                    kind: Kind::Identity,
                    policy,
                });
            }
        }
        held
    }
}

fn nothing() -> Arc<Policy> {
    Arc::new(Policy {
        id: None,
        statements: Vec::new(),
    })
}

/// Whether nothing is left that keeps a holder from being deleted.
pub(crate) fn check_bare(policies: &Policies) -> Result<(), ApiError> {
    if !policies.attached.is_empty() {
        return Err(conflict(
            "Cannot delete entity, must detach all policies first.",
        ));
    }
    if !policies.inline.is_empty() {
        return Err(conflict(
            "Cannot delete entity, must delete policies first.",
        ));
    }
    Ok(())
}

/// The role that a request passes to a service, which must exist in this account. Whether the caller may
/// (`iam:PassRole` on its ARN) is for the front door's authorizer to say.
///
/// # Errors
/// `ValidationError` when there is no such role.
pub fn pass_role(view: &View, owner: Owner<'_>, arn: &str) -> Result<Arc<Role>, ApiError> {
    let found = view.list::<Role>().find(|role| role.arn(owner) == arn);
    found.ok_or_else(|| validation(format!("Role {arn} is invalid or cannot be assumed")))
}

/// Whether a role lets a service of AWS's, such as `eks.amazonaws.com`, do this in its name.
pub fn trusts_service(owner: Owner<'_>, role: &Role, service: &str, action: &str) -> bool {
    let Ok(trust) = Policy::parse(&role.trust, Grammar::Trust) else {
        return false;
    };
    let facts = Context::default().with("aws:SourceAccount", owner.account.to_owned());
    let policies = [Attached {
        name: "trust policy",
        kind: Kind::Resource,
        policy: &trust,
    }];
    let request = Request {
        principal: &Principal::Service(service.into()),
        action,
        resource: &role.arn(owner),
        facts: &facts,
    };
    evaluate(&request, &policies, Rule::Trust).is_allow()
}
