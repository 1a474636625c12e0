//! Authorizes requests at the front door by the caller's policies.

use std::sync::Arc;

use lath_authz::{REQUEST_TAG, TAG_KEYS, reference};
use lath_iam::records::Role;
use lath_iam::{Held, trust_in_force};
use lath_policy::{Attached, Context, Grammar, Kind, Request, Rule, evaluate};
use lath_service::App as _;
use lath_session::{Holder, Purpose, Session};
use lath_store::View;
use lath_wire::{Ask, Authorize, Denied, Permission, Unauthorized};

use crate::Judge;
use crate::refusal::{Asked, details};
use crate::subject::{Subject, facts};

/// The permission to give a session tags.
pub const TAG_SESSION: &str = "sts:TagSession";
/// The condition key of the tags that are to be transitive.
pub const TRANSITIVE_TAG_KEYS: &str = "sts:TransitiveTagKeys";
/// The permission to give a session a source identity.
pub const SET_SOURCE_IDENTITY: &str = "sts:SetSourceIdentity";

impl Authorize for Judge {
    fn authorize(&self, ask: &Ask<'_>) -> Result<(), Denied> {
        let caller = ask.caller;
        self.last_used.note(
            &caller.access_key_id,
            &caller.service,
            &caller.region,
            self.now(),
        );
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
            global: facts(
                &subject,
                caller,
                self.owner().partition,
                ask.user_agent,
                self.now(),
            ),
        };
        let carried = carried(&subject, ask.permissions);
        let carries_tags = role_session(&subject).is_some_and(|it| !it.transitive.is_empty());
        for permission in ask.permissions.iter().chain(&carried) {
            let unclear =
                (carries_tags && is_assumption(permission)).then(|| with_unclear_tags(permission));
            let permission = unclear.as_ref().unwrap_or(permission);
            if is_assumption(permission) {
                self.decide_trust(&view, ask, &judgement, permission)?;
            } else {
                self.decide(&view, ask, &judgement, permission)?;
            }
        }
        Ok(())
    }
}

/// The data shared by the decisions on all permissions of one request.
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

/// What a session takes along when it assumes a role, it must be allowed to set there, as if the request gave it: its
/// transitive tags (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>) and its source identity
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html>).
fn carried(subject: &Subject, asked: &[Permission]) -> Vec<Permission> {
    let Some(session) = role_session(subject) else {
        return Vec::new();
    };
    let assumed = asked.iter().filter(|it| it.action == "sts:AssumeRole");
    assumed
        .flat_map(|role| {
            let is_asked = |action: &str| asked.iter().any(|it| it.action == action);
            let tags = !session.transitive.is_empty() && !is_asked(TAG_SESSION);
            let tags = tags.then(|| Permission {
                action: TAG_SESSION.into(),
                ..role.clone()
            });
            let identity = session.source_identity.clone();
            let identity = identity.filter(|_| !is_asked(SET_SOURCE_IDENTITY));
            let identity = identity.map(|identity| {
                let mut permission = Permission {
                    action: SET_SOURCE_IDENTITY.into(),
                    ..role.clone()
                };
                let given = ("sts:SourceIdentity".to_owned(), vec![identity]);
                permission.keys.push(given);
                permission
            });
            tags.into_iter().chain(identity)
        })
        .collect()
}

/// The caller's session, when it is a role's.
fn role_session(subject: &Subject) -> Option<&Session> {
    let session = subject.session.as_deref();
    session.filter(|it| matches!(it.holder, Holder::Role { .. }))
}

/// The permission of a request that also brings the caller's transitive tags. AWS does not say whether those count as
/// tags of the request in conditions, so the keys of tags are unknown, except the values that the request gives.
fn with_unclear_tags(permission: &Permission) -> Permission {
    const OF_ALL: [&str; 2] = [TAG_KEYS, TRANSITIVE_TAG_KEYS];
    let mut unclear = permission.clone();
    unclear
        .known
        .retain(|key| *key != REQUEST_TAG && !OF_ALL.contains(key));
    unclear
        .keys
        .retain(|(key, _)| !OF_ALL.contains(&key.as_str()));
    unclear
}

/// Whether a role's trust policy has a say.
fn is_assumption(permission: &Permission) -> bool {
    permission.resource_type == "role" && permission.action.starts_with("sts:")
}

impl Judge {
    /// The operations that credentials of `GetSessionToken` may never call: all of IAM without a second factor,
    /// which Lath does not support, and all but two of STS
    /// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html>).
    fn beyond_session_token(&self, subject: &Subject, ask: &Ask<'_>) -> Option<Denied> {
        let holder = &subject.session.as_ref()?.holder;
        if matches!(holder, Holder::Role { .. }) {
            return None;
        }
        match (ask.caller.service.as_str(), ask.operation) {
            ("iam", _) => Some(Denied::Credentials),
            // GetSessionToken itself is refused by its handler, with its own message.
            // The token proves a web identity; the request's signature does not matter.
            (
                "sts",
                "AssumeRole"
                | "AssumeRoleWithWebIdentity"
                | "GetCallerIdentity"
                | "GetSessionToken",
            ) => None,
            ("sts", operation) => Some(Denied::ByPolicy(Unauthorized {
                message: format!("Cannot call {operation} with session credentials"),
                encoded: self.seal.seal(Purpose::Refusal, br#"{"allowed":false}"#),
            })),
            _ => None,
        }
    }

    fn decide(
        &self,
        view: &View,
        ask: &Ask<'_>,
        judgement: &Judgement<'_>,
        permission: &Permission,
    ) -> Result<(), Denied> {
        let facts = judgement.facts(permission);
        let request = judgement.request(permission, &facts);
        let text = self
            .resource_policy
            .and_then(|find| find(view, &permission.resource));
        let of_resource = text.and_then(|text| self.directory.parse(&text, Grammar::Resource));
        let mut attached = judgement.attached.clone();
        attached.extend(of_resource.as_deref().map(|policy| Attached {
            name: "the resource's policy",
            kind: Kind::Resource,
            policy,
        }));
        let decision = evaluate(&request, &attached, Rule::SameAccount);
        if decision.is_allow() {
            return Ok(());
        }
        let asked = Asked {
            decision: Some(&decision),
            attached: &attached,
            username: judgement.subject.username.as_deref(),
            ..Asked::of(permission)
        };
        Err(self.refused(ask, &asked))
    }

    /// A role's trust policy must allow the caller, alone or together with the caller's own policies. A missing
    /// role gets the same refusal as one that does not trust the caller.
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
        // AWS gives no reason, because the trust policy belongs to the role and not to the caller.
        Err(refused())
    }

    /// The role with this ARN.
    pub fn role_by_arn(&self, view: &View, arn: &str) -> Option<Arc<Role>> {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let role = self.directory.role(view, name);
        role.filter(|role| role.arn(self.owner()) == arn)
    }

    /// A refusal with AWS's message. The details are encrypted for `DecodeAuthorizationMessage`.
    fn refused(&self, ask: &Ask<'_>, asked: &Asked<'_>) -> Denied {
        let Asked {
            action, resource, ..
        } = asked;
        let who = &ask.caller.principal.arn;
        let because = asked.decision.map(|it| it.because(action));
        let because = because.unwrap_or_default();
        // EC2 leaves the resource `*` out of its messages.
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

/// The condition keys of one permission: AWS's global keys and its own.
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

    /// Whether the Service Authorization Reference lists this key for the action, but the operation's statement
    /// does not provide it.
    fn is_unknown(&self, key: &str) -> bool {
        let Permission {
            action,
            resource_type,
            known,
            keys,
            ..
        } = self.permission;
        // Policies ignore the case of tag keys. When both `env` and `ENV` exist, the value is ambiguous.
        let is_of_tag = key.contains("tag/");
        let given = keys
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key));
        let given = given.count();
        if given > 0 {
            return is_of_tag && given > 1;
        }
        lath_policy::Facts::values(self.global, key).is_none()
            && !known.iter().any(|written| reference::is_key(written, key))
            && reference::has_key(action, resource_type, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_reference_that_is_not_known_cannot_be_told() {
        let global = Context::default().with("aws:userid", "AIDA");
        let key = "iam:AssociatedResourceArn";
        let is_unknown = |known: &[&'static str], keys: &[&str], asked: &str| {
            let values = |key: &&str| ((*key).to_owned(), vec!["x".to_owned()]);
            let permission = Permission {
                action: "iam:PassRole".into(),
                resource_type: "role",
                resource: "*".into(),
                keys: keys.iter().map(values).collect(),
                known: known.to_vec(),
            };
            let facts = Facts {
                global: &global,
                permission: &permission,
            };
            lath_policy::Facts::is_unknown(&facts, asked)
        };
        assert!(is_unknown(&[], &[], key));
        assert!(!is_unknown(&[key], &[], key));
        assert!(!is_unknown(&[], &[], "aws:userid"));
        assert!(!is_unknown(&[], &[], "iam:NoSuchKey"));
        let twice = ["iam:ResourceTag/env", "iam:ResourceTag/ENV"];
        assert!(is_unknown(
            &["iam:ResourceTag/${TagKey}"],
            &twice,
            "iam:resourcetag/env"
        ));
    }
}
