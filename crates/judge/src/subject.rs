//! A caller's principal and the policies that apply to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lath_iam::Held;
use lath_model::{Partition, Timestamp};
use lath_policy::{Context, Grammar, Kind, Policy, Principal};
use lath_session::{Holder, Session, SourceInstance};
use lath_store::View;
use lath_wire::{Behalf, Caller};

use crate::Judge;

/// A caller, with the data that decisions need.
pub struct Subject {
    pub(crate) principal: Principal,
    pub(crate) policies: Vec<Held>,
    /// The tags of the user or role, and of the session.
    pub(crate) tags: BTreeMap<String, String>,
    /// The name, if it is a user.
    pub(crate) username: Option<String>,
    pub(crate) session: Option<Arc<Session>>,
}

impl Subject {
    /// Whether it is the account's root.
    pub fn is_root(&self) -> bool {
        matches!(self.principal, Principal::Root { .. })
    }

    /// The session that it calls with, if it does.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }
}

impl Judge {
    /// The subject of a caller; `None` when the caller was deleted after the signature was verified.
    pub fn subject(&self, view: &View, caller: &Caller) -> Option<Subject> {
        if !caller.access_key_id.starts_with("ASIA") {
            if caller.principal == self.root() {
                return Some(self.as_root(None));
            }
            return self.as_user(view, &caller.principal.user_id, None);
        }
        let session = self.sessions.of(&caller.access_key_id)?;
        match &session.holder {
            Holder::Root => Some(self.as_root(Some(session))),
            Holder::User { unique_id } => {
                let id = unique_id.clone();
                self.as_user(view, &id, Some(session))
            }
            Holder::Role {
                name, unique_id, ..
            } => {
                let role = self.role_by_id(view, name, unique_id)?;
                let mut policies = self.directory.of_role(view, &role);
                policies.extend(self.session_policies(view, &session));
                // Tag keys ignore case: a session's tag overrides the role's.
                let given = |key: &str| session.tags.keys().any(|it| it.eq_ignore_ascii_case(key));
                let mut tags = role.tags.clone();
                tags.retain(|key, _| !given(key));
                tags.extend(session.tags.clone());
                let arn = caller.principal.arn.clone();
                let account = self.account();
                Some(Subject {
                    principal: Principal::session(account, role.arn(self.owner()), arn),
                    policies,
                    tags,
                    username: None,
                    session: Some(session),
                })
            }
        }
    }

    fn as_root(&self, session: Option<Arc<Session>>) -> Subject {
        Subject {
            principal: Principal::root(self.account(), self.root().arn),
            policies: Vec::new(),
            tags: BTreeMap::new(),
            username: None,
            session,
        }
    }

    fn as_user(
        &self,
        view: &View,
        unique_id: &str,
        session: Option<Arc<Session>>,
    ) -> Option<Subject> {
        let user = self.user_by_id(view, unique_id)?;
        Some(Subject {
            principal: Principal::user(self.account(), user.arn(self.owner())),
            policies: self.directory.of_user(view, &user),
            tags: user.tags.clone(),
            username: Some(user.name.clone()),
            session,
        })
    }

    /// What was passed when the role was assumed. A policy that is gone since allows nothing, and neither does one that
    /// speaks of another partition: it is sealed in the token as a version wrote it that knew no other than `aws`.
    fn session_policies(&self, view: &View, session: &Session) -> Vec<Held> {
        let inline = session.policy.iter().map(|text| {
            let policy = self.directory.parse(text, Grammar::Identity);
            let partition = self.owner().partition.name();
            let policy = policy.filter(|it| it.check_partition(partition).is_ok());
            ("session policy".to_owned(), policy)
        });
        let managed = session
            .policy_arns
            .iter()
            .map(|arn| (arn.clone(), self.directory.managed(view, arn)));
        let held = inline.chain(managed).map(|(name, policy)| Held {
            name,
            kind: Kind::Session,
            policy: policy.unwrap_or_else(|| {
                Arc::new(Policy {
                    id: None,
                    statements: Vec::new(),
                })
            }),
        });
        held.collect()
    }
}

/// The condition keys of every request.
pub(crate) fn facts(
    subject: &Subject,
    caller: &Caller,
    partition: Partition,
    user_agent: Option<&str>,
    now: Timestamp,
) -> Context {
    let behalf = Behalf::current().filter(|it| it.forwarded);
    let is_forwarded = behalf.is_some();
    let mut facts = Context::default()
        .with("aws:CurrentTime", now.iso8601_seconds())
        .with("aws:EpochTime", (now.as_millis() / 1000).to_string())
        .with("aws:PrincipalAccount", caller.account.clone())
        .with("aws:PrincipalType", subject.principal.kind())
        .with("aws:RequestedRegion", requested_region(caller, partition))
        // The API is served without TLS, on the machine itself.
        .with("aws:SecureTransport", "false")
        .with("aws:ViaAWSService", is_forwarded.to_string())
        .with("aws:PrincipalIsAWSService", "false")
        // The installation has only one account.
        .with("aws:ResourceAccount", caller.account.clone())
        .with("aws:userid", caller.principal.user_id.clone());
    if let Some(via) = behalf {
        for key in ["aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast"] {
            facts.set(key, via.service);
        }
    }
    facts.set("aws:PrincipalArn", principal_arn(&subject.principal));
    if let Some(agent) = user_agent {
        facts.set("aws:UserAgent", agent);
    }
    if let Some(ip) = caller.source_ip {
        facts.set("aws:SourceIp", ip.to_canonical().to_string());
    }
    if let Some(from) = &caller.from_vpc {
        facts.set("aws:SourceVpc", from.vpc.as_str());
        let address = from.address.to_canonical().to_string();
        facts.set("aws:VpcSourceIp", address);
    }
    if let Some(name) = &subject.username {
        facts.set("aws:username", name.clone());
    }
    for (key, value) in &subject.tags {
        facts.set(&format!("aws:PrincipalTag/{key}"), value.clone());
    }
    if let Some(session) = &subject.session {
        facts.set("aws:TokenIssueTime", session.issued.iso8601_seconds());
        facts.set("aws:MultiFactorAuthPresent", "false");
        if let Some(identity) = &session.source_identity {
            facts.set("aws:SourceIdentity", identity.clone());
        }
        for (key, value) in &session.federation {
            facts.set(key, value.clone());
        }
        for (key, value) in session.instance.iter().flat_map(SourceInstance::facts) {
            facts.set(key, value);
        }
    }
    facts
}

/// The value of `aws:PrincipalArn`: for a session, its role's ARN.
fn principal_arn(principal: &Principal) -> String {
    match principal {
        Principal::Session { role, .. } => role.clone(),
        other => other.arn(),
    }
}

/// The value of `aws:RequestedRegion`. Global services belong to one region of the partition, whatever region
/// was signed.
fn requested_region(caller: &Caller, partition: Partition) -> String {
    match caller.service.as_str() {
        // China has a separate one for IAM: <https://docs.amazonaws.cn/en_us/aws/latest/userguide/iam.html>.
        "iam" if partition == Partition::China => "cn-north-1".into(),
        "iam" | "route53" => partition.global_region().into(),
        "sts" if Partition::of_region(&caller.region) != partition => {
            partition.global_region().into()
        }
        _ => caller.region.clone(),
    }
}
