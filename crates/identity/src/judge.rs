//! Decides requests at the front door, by the policies of who calls.

use std::sync::Arc;

use lath_authz::reference;
use lath_iam::records::Role;
use lath_iam::{Held, trust_in_force};
use lath_policy::{Attached, Context, Grammar, Kind, Request, Rule, evaluate};
use lath_service::App as _;
use lath_session::{Holder, Purpose};
use lath_store::View;
use lath_wire::{Ask, Authorize, Denied, Permission, Unauthorized};

use crate::Identity;
use crate::refusal::{Asked, details};
use crate::subject::{Subject, facts};

impl Authorize for Identity {
    fn authorize(&self, ask: &Ask<'_>) -> Result<(), Denied> {
        let caller = ask.caller;
        self.last_used
            .note(&caller.access_key_id, &caller.service, &caller.region);
        let view = self.view();
        let Some(subject) = self.subject(&view, caller) else {
            let gone = Asked {
                action: ask.operation,
                resource: "*",
                ..Asked::default()
            };
            let asked = ask.permissions.first().map_or(gone, Asked::of);
            return Err(self.refused(ask, &asked));
        };
        if let Some(refusal) = self.beyond_session_token(&subject, ask) {
            return Err(refusal);
        }
        if subject.is_root() {
            return Ok(());
        }
        let judgement = Judgement {
            subject: &subject,
            attached: subject.policies.iter().map(Held::attached).collect(),
            global: facts(&subject, caller, self.owner().partition, ask.user_agent),
        };
        for permission in ask.permissions {
            if is_assumption(permission) {
                self.decide_trust(&view, ask, &judgement, permission)?;
            } else {
                self.decide(ask, &judgement, permission)?;
            }
        }
        Ok(())
    }
}

/// What all permissions of one request are decided by.
struct Judgement<'a> {
    subject: &'a Subject,
    attached: Vec<Attached<'a>>,
    global: Context,
}

impl<'a> Judgement<'a> {
    fn request<'b>(&'b self, permission: &'b Permission, facts: &'b Facts<'_>) -> Request<'b>
    where
        'a: 'b,
    {
        Request {
            principal: &self.subject.principal,
            action: &permission.action,
            resource: &permission.resource,
            facts,
        }
    }

    fn facts<'b>(&'b self, permission: &'b Permission) -> Facts<'b> {
        Facts {
            global: &self.global,
            permission,
        }
    }
}

/// Whether a role's trust policy has a say.
fn is_assumption(permission: &Permission) -> bool {
    permission.resource_type == "role" && permission.action.starts_with("sts:")
}

impl Identity {
    /// What the credentials of `GetSessionToken` cannot do whatever policies say: IAM wants a second factor with them,
    /// which Lath does not have, and STS takes two operations
    /// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>).
    fn beyond_session_token(&self, subject: &Subject, ask: &Ask<'_>) -> Option<Denied> {
        let holder = &subject.session.as_ref()?.holder;
        if matches!(holder, Holder::Role { .. }) {
            return None;
        }
        match (ask.caller.service.as_str(), ask.operation) {
            ("iam", _) => Some(Denied::Credentials),
            // The handler of the third says why it refuses.
            ("sts", "AssumeRole" | "GetCallerIdentity" | "GetSessionToken") => None,
            ("sts", operation) => Some(Denied::ByPolicy(Unauthorized {
                message: format!("Cannot call {operation} with session credentials"),
                encoded: self.seal.seal(Purpose::Refusal, br#"{"allowed":false}"#),
            })),
            _ => None,
        }
    }

    fn decide(
        &self,
        ask: &Ask<'_>,
        judgement: &Judgement<'_>,
        permission: &Permission,
    ) -> Result<(), Denied> {
        let facts = judgement.facts(permission);
        let request = judgement.request(permission, &facts);
        let decision = evaluate(&request, &judgement.attached, Rule::SameAccount);
        if decision.is_allow() {
            return Ok(());
        }
        let asked = Asked {
            decision: Some(&decision),
            attached: &judgement.attached,
            username: judgement.subject.username.as_deref(),
            ..Asked::of(permission)
        };
        Err(self.refused(ask, &asked))
    }

    /// A role's trust policy must let the caller in, by itself or with the caller's own policies. A role that does not
    /// exist is refused as one that does not trust.
    fn decide_trust(
        &self,
        view: &View,
        ask: &Ask<'_>,
        judgement: &Judgement<'_>,
        permission: &Permission,
    ) -> Result<(), Denied> {
        let refused = || self.refused(ask, &Asked::of(permission));
        let Some(role) = self.role_by_arn(view, &permission.resource) else {
            return Err(refused());
        };
        let text = trust_in_force(view, self.owner(), &role);
        let trust = self.directory.parse(&text, Grammar::Trust);
        let trust = trust.ok_or_else(refused)?;
        let mut attached = judgement.attached.clone();
        attached.push(Attached {
            name: "trust policy",
            kind: Kind::Resource,
            policy: &trust,
        });
        let facts = judgement.facts(permission);
        let request = judgement.request(permission, &facts);
        if evaluate(&request, &attached, Rule::Trust).is_allow() {
            return Ok(());
        }
        // AWS does not say why: the trust policy is of the role, not of who asks.
        Err(refused())
    }

    /// The role of an ARN.
    pub(crate) fn role_by_arn(&self, view: &View, arn: &str) -> Option<Arc<Role>> {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let role = self.directory.role(view, name);
        role.filter(|role| role.arn(self.owner()) == arn)
    }

    /// A refusal in AWS's words; the details are sealed for `DecodeAuthorizationMessage`.
    fn refused(&self, ask: &Ask<'_>, asked: &Asked<'_>) -> Denied {
        let Asked {
            action, resource, ..
        } = asked;
        let who = &ask.caller.principal.arn;
        let because = asked.decision.map(|it| it.because(action));
        let because = because.unwrap_or_default();
        // EC2 does not say that a list is about everything.
        let on = match (ask.caller.service.as_str(), *resource) {
            ("ec2", "*") => String::new(),
            _ => format!("on resource: {resource} "),
        };
        let message = format!("User: {who} is not authorized to perform: {action} {on}{because}");
        let details = details(&ask.caller.principal, asked);
        Denied::ByPolicy(Unauthorized {
            message: message.trim_end().to_owned(),
            encoded: self.seal.seal(Purpose::Refusal, details.as_bytes()),
        })
    }
}

/// The condition keys of one permission: AWS's global ones, and its own.
struct Facts<'a> {
    global: &'a Context,
    permission: &'a Permission,
}

impl lath_policy::Facts for Facts<'_> {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        let own = self.permission.keys.iter();
        let own: Vec<String> = own
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .flat_map(|(_, values)| values.iter().cloned())
            .collect();
        if own.is_empty() {
            return lath_policy::Facts::values(self.global, key);
        }
        Some(own)
    }

    /// The reference gives the action this key, and the operation's statement does not fill it in.
    fn cannot_tell(&self, key: &str) -> bool {
        let Permission {
            action,
            resource_type,
            known,
            keys,
            ..
        } = self.permission;
        // Keys of tags have no case in policies. Of `env` and `ENV` beside each other no one can say which is meant.
        let is_of_tag = key.contains("tag/");
        let given = keys
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key));
        if is_of_tag && given.count() > 1 {
            return true;
        }
        lath_policy::Facts::values(self.global, key).is_none()
            && !known.iter().any(|written| reference::is_key(written, key))
            && reference::has_key(action, resource_type, key)
    }
}
