//! Decides requests at the front door, by the policies of who calls.

use lath_policy::{Attached, Context, Decision, Request, Rule, Shortfall, evaluate};
use lath_wire::{Ask, Authorize, Denied, Doc, Unauthorized};
use serde_json::json;

use crate::subject::{Subject, facts};
use crate::{Identity, resources};
use lath_iam::Held;
use lath_session::{Holder, Purpose};

impl Authorize for Identity {
    fn authorize(&self, ask: &Ask<'_>) -> Result<(), Denied> {
        let caller = ask.caller;
        self.last_used
            .note(&caller.access_key_id, &caller.service, &caller.region);
        let view = self.view();
        let Some(subject) = self.subject(&view, caller) else {
            let asked = (&action(ask)[..], "*");
            return Err(self.refused(&caller.principal.arn, ask, asked, None));
        };
        if let Some(refusal) = self.beyond_session_token(&subject, ask) {
            return Err(refusal);
        }
        if subject.is_root() || needs_no_permission(ask) {
            return Ok(());
        }
        let action = action(ask);
        let mut facts = facts(&subject, caller);
        of_request(ask, &mut facts);
        for resource in resources::of(self, &view, ask) {
            self.decide(ask, &subject, &facts, &action, &resource)?;
        }
        for (role, service) in resources::passed(self, &view, ask) {
            let facts = facts.clone().with("iam:PassedToService", service);
            self.decide(ask, &subject, &facts, "iam:PassRole", &role)?;
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
        facts: &Context,
        action: &str,
        resource: &str,
    ) -> Result<(), Denied> {
        let request = Request {
            principal: &subject.principal,
            action,
            resource,
            facts,
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

/// AWS's name of what is asked. Only CloudWatch signs under another name than its actions have.
pub(crate) fn action(ask: &Ask<'_>) -> String {
    let service = match ask.caller.service.as_str() {
        "monitoring" => "cloudwatch",
        other => other,
    };
    format!("{service}:{}", ask.operation)
}

/// `AssumeRole` is decided by its handler, together with the role's trust policy.
fn needs_no_permission(ask: &Ask<'_>) -> bool {
    let free = ["GetCallerIdentity", "GetSessionToken", "AssumeRole"];
    ask.caller.service == "sts" && free.contains(&ask.operation)
}

/// The condition keys that come from what was sent: tags, and IAM's own.
fn of_request(ask: &Ask<'_>, facts: &mut Context) {
    let tags = tags(ask.input);
    if !tags.is_empty() {
        facts.set_all("aws:TagKeys", tags.iter().map(|(key, _)| key.clone()));
    }
    for (key, value) in tags {
        facts.set(&format!("aws:RequestTag/{key}"), value);
    }
    if ask.caller.service == "iam" {
        for (member, key) in [
            ("PolicyArn", "iam:PolicyARN"),
            ("PermissionsBoundary", "iam:PermissionsBoundary"),
            ("AWSServiceName", "iam:AWSServiceName"),
        ] {
            if let Some(value) = resources::text(ask.input, member) {
                facts.set(key, value);
            }
        }
    }
    if ask.caller.service == "ec2" {
        facts.set("ec2:Region", ask.caller.region.clone());
        if let Some(kind) = resources::text(ask.input, "InstanceType") {
            facts.set("ec2:InstanceType", kind);
        }
    }
}

/// The tags of a request, in the forms that services have: `Tags` and `Tag` lists of key and value, EC2's
/// `TagSpecification`, and maps named `tags`.
fn tags(input: &Doc) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in ["Tags", "Tag", "tags"] {
        match input.get(name) {
            Some(Doc::Map(members)) if name == "tags" => {
                let text = |(key, value): &(String, Doc)| Some((key.clone(), plain(value)?));
                found.extend(members.iter().filter_map(text));
            }
            Some(list) => found.extend(resources::items(list).iter().filter_map(|it| pair(it))),
            None => {}
        }
    }
    let specifications = ["TagSpecification", "TagSpecifications"];
    for list in specifications.iter().filter_map(|name| input.get(name)) {
        for specification in resources::items(list) {
            for list in ["Tag", "Tags"]
                .iter()
                .filter_map(|name| specification.get(name))
            {
                found.extend(resources::items(list).iter().filter_map(|it| pair(it)));
            }
        }
    }
    found
}

fn pair(tag: &Doc) -> Option<(String, String)> {
    let of = |upper: &str, lower: &str| tag.get(upper).or_else(|| tag.get(lower)).and_then(plain);
    Some((of("Key", "key")?, of("Value", "value").unwrap_or_default()))
}

pub(crate) fn plain(doc: &Doc) -> Option<String> {
    match doc {
        Doc::String(text) | Doc::Text(text) => Some(text.clone()),
        _ => None,
    }
}
