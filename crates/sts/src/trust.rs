//! Whether a role trusts who is no principal of the account: an identity provider or a service.

use lath_iam::records::Role;
use lath_iam::trust_in_force;
use lath_judge::{SET_SOURCE_IDENTITY, TAG_SESSION, TRANSITIVE_TAG_KEYS};
use lath_policy::{Attached, Context, Grammar, Kind, Principal, Request, Rule, evaluate};
use lath_store::View;
use lath_wire::Caller;

use crate::Sts;
use crate::assume_role::AssumeRole;

/// Global keys that requests of this kind have at AWS, with values that are not known here.
const UNTOLD: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:useragent",
    "aws:userid",
];

/// The condition keys of a request to assume a role.
pub(crate) struct Facts(Context);

impl Facts {
    /// Those that any principal's request has, and the request's own.
    pub(crate) fn of(app: &Sts, caller: &Caller, op: &AssumeRole) -> Self {
        let now = app.judge.now();
        let mut facts = Context::default()
            .with("aws:CurrentTime", now.iso8601_seconds())
            .with("aws:EpochTime", (now.as_millis() / 1000).to_string())
            .with("aws:RequestedRegion", caller.region.clone())
            // The API is served without TLS, on the machine itself.
            .with("aws:SecureTransport", "false")
            .with("aws:ViaAWSService", "false")
            .with("aws:ResourceAccount", app.judge.account())
            .with("sts:RoleSessionName", op.role_session_name.clone());
        if let Some(ip) = caller.source_ip {
            facts.set("aws:SourceIp", ip.to_canonical().to_string());
        }
        if let Some(from) = &caller.from_vpc {
            facts.set("aws:SourceVpc", from.vpc.as_str());
            let address = from.address.to_canonical().to_string();
            facts.set("aws:VpcSourceIp", address);
        }
        if let Some(seconds) = op.duration_seconds {
            facts.set("sts:DurationSeconds", seconds.to_string());
        }
        if let Some(identity) = &op.source_identity {
            facts.set("sts:SourceIdentity", identity.clone());
        }
        for tag in &op.tags {
            facts.set(&format!("aws:RequestTag/{}", tag.key), tag.value.clone());
        }
        if !op.tags.is_empty() {
            let keys = op.tags.iter().map(|tag| tag.key.clone());
            facts.set_all("aws:TagKeys", keys);
        }
        if !op.transitive_tag_keys.is_empty() {
            facts.set_all(TRANSITIVE_TAG_KEYS, op.transitive_tag_keys.clone());
        }
        Self(facts)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.set(key, value);
    }

    pub(crate) fn set_all(&mut self, key: &str, values: Vec<String>) {
        if !values.is_empty() {
            self.0.set_all(key, values);
        }
    }
}

impl lath_policy::Facts for Facts {
    fn values(&self, key: &str) -> Option<Vec<String>> {
        lath_policy::Facts::values(&self.0, key)
    }

    fn is_unknown(&self, key: &str) -> bool {
        UNTOLD.contains(&key) && self.values(key).is_none()
    }
}

impl Sts {
    /// Whether a role trusts `who` to assume it by `action`, and to set the tags and the source identity of the request.
    pub(crate) fn trusts(
        &self,
        view: &View,
        role: &Role,
        who: &Principal,
        action: &str,
        op: &AssumeRole,
        facts: &Facts,
    ) -> bool {
        let text = trust_in_force(view, self.judge.owner(), role);
        let Some(trust) = self.judge.directory().parse(&text, Grammar::Trust) else {
            return false;
        };
        let attached = [Attached {
            name: "trust policy",
            kind: Kind::Resource,
            policy: &trust,
        }];
        let tags = !op.tags.is_empty() || !op.transitive_tag_keys.is_empty();
        let more = [
            (TAG_SESSION, tags),
            (SET_SOURCE_IDENTITY, op.source_identity.is_some()),
        ];
        let more = more.into_iter().filter(|(_, asked)| *asked);
        let arn = role.arn(self.judge.owner());
        std::iter::once(action)
            .chain(more.map(|(action, _)| action))
            .all(|action| {
                let request = Request {
                    principal: who,
                    action,
                    resource: &arn,
                    facts,
                };
                evaluate(&request, &attached, Rule::Trust).is_allow()
            })
    }
}
