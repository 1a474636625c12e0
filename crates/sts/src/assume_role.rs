//! `AssumeRole` and `GetSessionToken`: temporary credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use lath_authz::{Access, Scope};
use lath_iam::records::Role;
use lath_iam::resource_types::ROLE;
use lath_iam::{Tag, unique};
use lath_judge::{SET_SOURCE_IDENTITY, TAG_SESSION, TRANSITIVE_TAG_KEYS};
use lath_model::Timestamp;
use lath_policy::{Grammar, Policy};
use lath_service::{Violation, detected, operations};
use lath_session::{Holder, Session};
use lath_store::View;
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};

use crate::Sts;

/// The longest session with role chaining, in seconds.
const CHAINED: i64 = 3600;
/// What a session's policies and tags may take, in bytes: 100 % of `PackedPolicySize`.
const PACKED: usize = 8192;

/// Credentials of a role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssumeRole {
    pub(crate) role_arn: String,
    pub(crate) role_session_name: String,
    #[serde(default)]
    pub(crate) policy_arns: Vec<PolicyDescriptor>,
    pub(crate) policy: Option<String>,
    pub(crate) duration_seconds: Option<i64>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    #[serde(default)]
    pub(crate) transitive_tag_keys: Vec<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) source_identity: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PolicyDescriptor {
    arn: Option<String>,
}

/// Temporary credentials. They have no `Debug` output.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TemporaryCredentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: String,
    pub(crate) expiration: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssumedRoleUser {
    pub(crate) assumed_role_id: String,
    pub(crate) arn: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Assumed {
    credentials: Option<TemporaryCredentials>,
    assumed_role_user: Option<AssumedRoleUser>,
    packed_policy_size: Option<usize>,
    source_identity: Option<String>,
}

operations! {
    for Sts as "sts";
    read AssumeRole -> Assumed = assume, caller => by(needs);
    read GetSessionToken -> SessionToken = session_token, caller => free();
}

fn needs(access: Access<AssumeRole>) -> Access<AssumeRole> {
    let named = |op: &AssumeRole, _: &Scope<'_>| op.role_arn.clone();
    access
        // STS validates before it authorizes.
        .unless(|op, at| check(op, at.partition().name()).is_err())
        .on(&ROLE, named)
        .by(asked)
        .also(TAG_SESSION, &ROLE, move |op, at| {
            let tagged = !op.tags.is_empty() || !op.transitive_tag_keys.is_empty();
            tagged.then(|| named(op, at))
        })
        .by(asked)
        .also(SET_SOURCE_IDENTITY, &ROLE, move |op, at| {
            op.source_identity.is_some().then(|| named(op, at))
        })
        .by(asked)
}

/// The condition keys of web and SAML identity providers. Who assumes a role by this operation has none of them.
const FEDERATED: &[&str] = &[
    "accounts.google.com:aud",
    "accounts.google.com:sub",
    "cognito-identity.amazonaws.com:amr",
    "cognito-identity.amazonaws.com:aud",
    "cognito-identity.amazonaws.com:sub",
    "graph.facebook.com:app_id",
    "graph.facebook.com:id",
    "saml:aud",
    "saml:namequalifier",
    "saml:sub",
    "saml:sub_type",
    "www.amazon.com:app_id",
    "www.amazon.com:user_id",
];

/// The condition keys of each of the actions.
fn asked(access: Access<AssumeRole>) -> Access<AssumeRole> {
    let pair = |tag: &Tag| (tag.key.clone(), tag.value.clone());
    access
        .tagged(move |op, _| op.tags.iter().map(pair).collect())
        .with("sts:RoleSessionName", |op, _| op.role_session_name.clone())
        .with("sts:ExternalId", |op, _| op.external_id.clone())
        .with("sts:SourceIdentity", |op, _| op.source_identity.clone())
        .with(TRANSITIVE_TAG_KEYS, |op, _| op.transitive_tag_keys.clone())
        .with_all(FEDERATED, |_, _| Vec::new())
}

fn assume(app: &Sts, view: &View, caller: &Caller, op: &AssumeRole) -> Result<Assumed, ApiError> {
    check(op, app.judge.owner().partition.name())?;
    let subject = app
        .judge
        .subject(view, caller)
        .ok_or_else(|| denied(caller, "sts:AssumeRole", &op.role_arn))?;
    if subject.is_root() {
        return Err(access_denied("Roles may not be assumed by root accounts."));
    }
    // Authorization has passed, so an existing role trusts the caller. A missing role gets the same error as one
    // that does not.
    let role = app
        .judge
        .role_by_arn(view, &op.role_arn)
        .ok_or_else(|| denied(caller, "sts:AssumeRole", &op.role_arn))?;
    let before = subject.session();
    let session = app.session(view, before, &role, op)?;
    let packed = check_packed(&session)?;
    Ok(Assumed {
        credentials: Some(app.credentials(&session)),
        assumed_role_user: Some(app.assumed(&role, &op.role_session_name)),
        packed_policy_size: packed,
        source_identity: session.source_identity,
    })
}

/// `PackedPolicySize`, where there is something to pack.
pub(crate) fn check_packed(session: &Session) -> Result<Option<usize>, ApiError> {
    let packed = packed(session);
    if packed > 100 {
        let text = format!(
            "Packed policy consumes {packed}% of allotted space, please use smaller policy."
        );
        return Err(ApiError::new("PackedPolicyTooLarge", 400, text));
    }
    Ok((packed > 0).then_some(packed))
}

impl Sts {
    pub(crate) fn credentials(&self, session: &Session) -> TemporaryCredentials {
        TemporaryCredentials {
            access_key_id: session.key.clone(),
            secret_access_key: session.secret.clone(),
            session_token: session.seal(self.judge.seal()),
            expiration: session.expires,
        }
    }

    /// Whom credentials of a role are for.
    pub(crate) fn assumed(&self, role: &Role, session: &str) -> AssumedRoleUser {
        let resource = format!("assumed-role/{}/{session}", role.name);
        AssumedRoleUser {
            assumed_role_id: format!("{}:{session}", role.unique_id),
            arn: self.judge.owner().arn("sts", resource),
        }
    }

    /// A session of a role for who has the session `before`, if any.
    pub(crate) fn session(
        &self,
        view: &View,
        before: Option<&Session>,
        role: &Role,
        op: &AssumeRole,
    ) -> Result<Session, ApiError> {
        let chained = before.filter(|session| matches!(session.holder, Holder::Role { .. }));
        let seconds = duration(op.duration_seconds, role, chained.is_some())?;
        let (tags, transitive) = session_tags(op, chained)?;
        let source_identity = chained
            .and_then(|session| session.source_identity.clone())
            .or_else(|| op.source_identity.clone());
        if op.source_identity.is_some() && source_identity != op.source_identity {
            return Err(access_denied(
                "The source identity of a session cannot be changed.",
            ));
        }
        let policy_arns = self.session_policy_arns(view, op)?;
        let now = self.judge.now();
        Ok(Session {
            key: unique::access_key_id("ASIA"),
            secret: unique::secret(),
            issued: now,
            expires: now.plus(Duration::from_secs(seconds)),
            holder: Holder::Role {
                name: role.name.clone(),
                unique_id: role.unique_id.clone(),
                session: op.role_session_name.clone(),
            },
            policy: op.policy.clone(),
            policy_arns,
            tags,
            transitive,
            source_identity,
            instance: None,
            federation: BTreeMap::new(),
        })
    }

    fn session_policy_arns(&self, view: &View, op: &AssumeRole) -> Result<Vec<String>, ApiError> {
        let arns: Vec<String> = op
            .policy_arns
            .iter()
            .filter_map(|it| it.arn.clone())
            .collect();
        if arns.len() > 10 {
            return Err(invalid(
                "policyArns",
                "Member must have length less than or equal to 10",
            ));
        }
        for arn in &arns {
            if self.judge.directory().managed(view, arn).is_none() {
                let text = format!("The policy {arn} does not exist or is not attachable.");
                return Err(ApiError::new("ValidationError", 400, text));
            }
        }
        Ok(arns)
    }
}

pub(crate) fn check(op: &AssumeRole, partition: &str) -> Result<(), ApiError> {
    let parts: Vec<&str> = op.role_arn.splitn(6, ':').collect();
    let is_arn =
        matches!(parts[..], ["arn", _, "iam", "", _, resource] if resource.starts_with("role/"));
    if !is_arn {
        let text = format!("{} is invalid", op.role_arn);
        return Err(ApiError::new("ValidationError", 400, text));
    }
    if let Some(text) = &op.policy {
        Policy::parse(text, Grammar::Identity)
            .and_then(|policy| policy.check_partition(partition))
            .map_err(|error| ApiError::new("MalformedPolicyDocument", 400, error.0))?;
    }
    Ok(())
}

fn duration(asked: Option<i64>, role: &Role, chained: bool) -> Result<u64, ApiError> {
    let seconds = asked.unwrap_or(CHAINED);
    let refused = |text: &str| Err(ApiError::new("ValidationError", 400, text));
    if chained && seconds > CHAINED {
        return refused(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        );
    }
    if seconds > i64::from(role.max_session) {
        return refused(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        );
    }
    Ok(u64::try_from(seconds).unwrap_or(3600))
}

/// The tags of the new session, and the transitive ones among them; inherited transitive tags stay transitive. Keys
/// ignore case (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>).
fn session_tags(
    op: &AssumeRole,
    chained: Option<&Session>,
) -> Result<(BTreeMap<String, String>, Vec<String>), ApiError> {
    let inherited = chained.map(inherited).unwrap_or_default();
    let mut tags = inherited.clone();
    for tag in &op.tags {
        check_tag(tag)?;
        if has_key(&inherited, &tag.key) {
            return Err(refused_tags(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
            ));
        }
        if has_key(&tags, &tag.key) {
            return Err(refused_tags(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        tags.insert(tag.key.clone(), tag.value.clone());
    }
    let mut transitive: Vec<String> = inherited.into_keys().collect();
    for named in &op.transitive_tag_keys {
        let known = tags.keys().find(|key| key.eq_ignore_ascii_case(named));
        let known = known.ok_or_else(|| {
            refused_tags("The specified transitive tag key must be included in the requested tags.")
        })?;
        transitive.push(known.clone());
    }
    transitive.sort();
    transitive.dedup();
    Ok((tags, transitive))
}

/// The transitive tags of the calling session.
fn inherited(session: &Session) -> BTreeMap<String, String> {
    let goes_on = |key: &str| {
        let mut keys = session.transitive.iter();
        keys.any(|it| it.eq_ignore_ascii_case(key))
    };
    let tags = session.tags.iter().filter(|(key, _)| goes_on(key));
    tags.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn has_key(tags: &BTreeMap<String, String>, key: &str) -> bool {
    tags.keys().any(|it| it.eq_ignore_ascii_case(key))
}

fn check_tag(tag: &Tag) -> Result<(), ApiError> {
    if tag.key.to_ascii_lowercase().starts_with("aws:") {
        return Err(refused_tags(
            "System tag keys (prefixed with aws:) cannot be used as session tags.",
        ));
    }
    Ok(())
}

fn refused_tags(text: &str) -> ApiError {
    ApiError::new("InvalidParameterValue", 400, text)
}

fn packed(session: &Session) -> usize {
    let policy = session.policy.as_deref().map_or(0, str::len);
    let arns: usize = session.policy_arns.iter().map(String::len).sum();
    let tags: usize = session.tags.iter().map(|(k, v)| k.len() + v.len()).sum();
    (policy + arns + tags).saturating_mul(100).div_ceil(PACKED)
}

pub(crate) fn invalid(member: &str, rule: &str) -> ApiError {
    let text = detected(&[Violation::unshown(member, rule)]);
    ApiError::new("ValidationError", 400, text)
}

pub(crate) fn access_denied(text: impl Into<String>) -> ApiError {
    ApiError::new("AccessDenied", 403, text)
}

fn denied(caller: &Caller, action: &str, resource: &str) -> ApiError {
    let who = &caller.principal.arn;
    access_denied(format!(
        "User: {who} is not authorized to perform: {action} on resource: {resource}"
    ))
}

/// Temporary credentials of the calling user.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetSessionToken {
    duration_seconds: Option<i64>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SessionToken {
    credentials: Option<TemporaryCredentials>,
}

fn session_token(
    app: &Sts,
    _view: &View,
    caller: &Caller,
    op: &GetSessionToken,
) -> Result<SessionToken, ApiError> {
    if caller.access_key_id.starts_with("ASIA") {
        return Err(access_denied(
            "Cannot call GetSessionToken with session credentials",
        ));
    }
    let is_root = caller.principal == app.judge.root();
    let longest = if is_root { 3600 } else { 129_600 };
    let seconds = match op.duration_seconds {
        None => longest.min(43_200),
        // AWS silently limits a root's sessions to an hour.
        Some(seconds) => seconds.min(longest),
    };
    let now = app.judge.now();
    let session = Session {
        key: unique::access_key_id("ASIA"),
        secret: unique::secret(),
        issued: now,
        expires: now.plus(Duration::from_secs(u64::try_from(seconds).unwrap_or(3600))),
        holder: if is_root {
            Holder::Root
        } else {
            Holder::User {
                unique_id: caller.principal.user_id.clone(),
            }
        },
        policy: None,
        policy_arns: Vec::new(),
        tags: BTreeMap::new(),
        transitive: Vec::new(),
        source_identity: None,
        instance: None,
        federation: BTreeMap::new(),
    };
    Ok(SessionToken {
        credentials: Some(app.credentials(&session)),
    })
}
