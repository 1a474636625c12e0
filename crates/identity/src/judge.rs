//! Decides requests at the front door, by the policies of who calls.

use lath_authz::reference;
use lath_policy::{Attached, Context, Decision, Request, Rule, Shortfall, evaluate};
use lath_wire::{Ask, Authorize, Denied, Permission, Unauthorized};
use serde_json::json;

use crate::Identity;
use crate::subject::{Subject, facts};
use lath_iam::Held;
use lath_session::{Holder, Purpose};

impl Authorize for Identity {
    fn authorize(&self, ask: &Ask<'_>) -> Result<(), Denied> {
        let caller = ask.caller;
        self.last_used
            .note(&caller.access_key_id, &caller.service, &caller.region);
        let view = self.view();
        let Some(subject) = self.subject(&view, caller) else {
            let first = ask.permissions.first();
            let asked = first.map_or(("", "*"), |it| (&it.action, &it.resource));
            return Err(self.refused(&caller.principal.arn, ask, asked, None));
        };
        if let Some(refusal) = self.beyond_session_token(&subject, ask) {
            return Err(refusal);
        }
        if subject.is_root() {
            return Ok(());
        }
        let global = facts(&subject, caller, ask.user_agent);
        for permission in ask.permissions {
            self.decide(ask, &subject, &global, permission)?;
        }
        Ok(())
    }
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
        subject: &Subject,
        global: &Context,
        permission: &Permission,
    ) -> Result<(), Denied> {
        let (action, resource) = (&*permission.action, &*permission.resource);
        let request = Request {
            principal: &subject.principal,
            action,
            resource,
            facts: &Facts { global, permission },
        };
        let attached: Vec<Attached<'_>> = subject.policies.iter().map(Held::attached).collect();
        let decision = evaluate(&request, &attached, Rule::SameAccount);
        if decision.is_allow() {
            return Ok(());
        }
        let who = ask.caller.principal.arn.as_str();
        Err(self.refused(who, ask, (action, resource), Some(&decision)))
    }

    /// A refusal in AWS's words; the details are sealed for `DecodeAuthorizationMessage`.
    fn refused(
        &self,
        who: &str,
        ask: &Ask<'_>,
        (action, resource): (&str, &str),
        decision: Option<&Decision<'_>>,
    ) -> Denied {
        let because = decision.map_or_else(String::new, |decision| decision.because(action));
        // EC2 does not say that a list is about everything.
        let on = match (ask.caller.service.as_str(), resource) {
            ("ec2", "*") => String::new(),
            _ => format!("on resource: {resource} "),
        };
        let message = format!("User: {who} is not authorized to perform: {action} {on}{because}");
        let explicit = decision
            .is_some_and(|decision| matches!(decision.shortfall, Some(Shortfall::Explicit(_))));
        let explanation = decision.map(Decision::explanation).unwrap_or_default();
        let details = json!({
            "allowed": false,
            "explicitDeny": explicit,
            "matchedStatements": {"items": explanation},
            "failures": {"items": []},
            "context": {
                "principal": {"id": ask.caller.principal.user_id, "arn": who},
                "action": action,
                "resource": resource,
                "conditions": {"items": []},
            },
        });
        let plain = details.to_string();
        let shown = plain.as_bytes();
        Denied::ByPolicy(Unauthorized {
            message: message.trim_end().to_owned(),
            // A principal with thousands of statements gets the decision without them.
            encoded: if shown.len() <= 8 << 10 {
                self.seal.seal(Purpose::Refusal, shown)
            } else {
                self.seal.seal(Purpose::Refusal, br#"{"allowed":false}"#)
            },
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
            ..
        } = self.permission;
        lath_policy::Facts::values(self.global, key).is_none()
            && !known.iter().any(|written| reference::is_key(written, key))
            && reference::has_key(action, resource_type, key)
    }
}
