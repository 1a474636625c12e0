//! `AssumeRoleWithWebIdentity`: credentials of a role for who has a token of an identity provider that it trusts.
//!
//! The request is unsigned; the token proves who calls. In this order: the request is well formed; the token can be read;
//! its issuer is a provider of the account; it is for one of the provider's client ids; it counts at this time; one of
//! the issuer's keys signed it; the role trusts the provider with these claims.

use std::collections::BTreeMap;

use lath_iam::Tag;
use lath_iam::records::OidcProvider;
use lath_model::Timestamp;
use lath_oidc::{BadTime, Claims, KeySet, MissingClaim, NoKeys, Token, Unproved};
use lath_policy::Principal;
use lath_service::{App as _, Refuses, operations};
use lath_wire::{ApiError, Caller};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Sts;
use crate::assume_role::{
    AssumeRole, AssumedRoleUser, PolicyDescriptor, TemporaryCredentials, access_denied, check,
    check_packed, invalid,
};
use crate::trust::Facts;

/// The claims that set tags and a source identity
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>).
const TAGS: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";

/// Credentials of a role for a web identity. It has no `Debug` output, because the token is a secret.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssumeRoleWithWebIdentity {
    role_arn: String,
    role_session_name: String,
    web_identity_token: String,
    provider_id: Option<String>,
    #[serde(default)]
    policy_arns: Vec<PolicyDescriptor>,
    policy: Option<String>,
    duration_seconds: Option<i64>,
}

/// `ProviderId` says that the token is one of OAuth 2.0, which only its provider can tell anything about.
impl Refuses for AssumeRoleWithWebIdentity {
    fn names() -> Vec<String> {
        vec!["ProviderId".to_owned()]
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let Some(provider) = &self.provider_id else {
            return Ok(());
        };
        let text = format!(
            "Lath takes tokens of OpenID Connect only, for which ProviderId is not given: {provider}"
        );
        Err(ApiError::new("InvalidParameterValue", 400, text))
    }
}

/// The answer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Federated {
    credentials: Option<TemporaryCredentials>,
    subject_from_web_identity_token: Option<String>,
    assumed_role_user: Option<AssumedRoleUser>,
    packed_policy_size: Option<usize>,
    provider: Option<String>,
    audience: Option<String>,
    source_identity: Option<String>,
}

operations! {
    for Sts as "sts";
    asynchronous AssumeRoleWithWebIdentity -> Federated = assume, unsigned => free()
        => refusing ["" AssumeRoleWithWebIdentity];
}

async fn assume(
    app: &Sts,
    caller: &Caller,
    op: AssumeRoleWithWebIdentity,
) -> Result<Federated, ApiError> {
    let mut asked = AssumeRole {
        role_arn: op.role_arn.clone(),
        role_session_name: op.role_session_name.clone(),
        policy_arns: op.policy_arns.clone(),
        policy: op.policy.clone(),
        duration_seconds: op.duration_seconds,
        tags: Vec::new(),
        transitive_tag_keys: Vec::new(),
        external_id: None,
        source_identity: None,
    };
    let partition = app.judge.owner().partition.name();
    check(&asked, partition)?;
    op.refuse()?;
    let token = Token::parse(&op.web_identity_token).map_err(|_| no_token())?;
    let claims = token.claims();
    let view = app.view();
    let provider = provider(&view, claims)?;
    let audiences = audiences(claims)?;
    let mut meant = audiences
        .iter()
        .filter(|it| provider.client_ids.contains(it));
    let Some(audience) = meant.next().cloned() else {
        return Err(bad_token("Incorrect token audience"));
    };
    let subject = claims.subject().map_err(missing)?.to_owned();
    check_time(claims, app.judge.now())?;
    let keys = app.issuers.keys(&view, &provider, &token).await;
    check_signature(&*keys.map_err(no_keys)?, &token)?;

    // It is the provider's token from here on.
    set_claimed(&mut asked, claims)?;
    check_claimed(&asked)?;
    // A provider that was deleted meanwhile counts no more.
    let view = app.view();
    let provider = view
        .get::<OidcProvider>(&provider.url)
        .ok_or_else(|| unknown_issuer(&provider.url))?;
    let arn = provider.arn(app.judge.owner());
    let mut facts = Facts::of(app, caller, &asked);
    facts.set("aws:FederatedProvider", arn.clone());
    facts.set(&format!("{}:sub", provider.url), subject.clone());
    facts.set_all(&format!("{}:aud", provider.url), audiences);
    set_claims(&mut facts, &provider, claims);
    let who = Principal::Federated(arn.clone());
    let role = app
        .judge
        .role_by_arn(&view, &asked.role_arn)
        .filter(|role| {
            app.trusts(
                &view,
                role,
                &who,
                "sts:AssumeRoleWithWebIdentity",
                &asked,
                &facts,
            )
        });
    let refused = || access_denied("Not authorized to perform sts:AssumeRoleWithWebIdentity");
    let role = role.ok_or_else(refused)?;
    let mut session = app.session(&view, None, &role, &asked)?;
    session.federation = BTreeMap::from([
        ("aws:FederatedProvider".to_owned(), arn.clone()),
        (format!("{}:aud", provider.url), audience.clone()),
        (format!("{}:sub", provider.url), subject.clone()),
    ]);
    let packed = check_packed(&session)?;
    Ok(Federated {
        credentials: Some(app.credentials(&session)),
        subject_from_web_identity_token: Some(subject),
        assumed_role_user: Some(app.assumed(&role, &asked.role_session_name)),
        packed_policy_size: packed,
        provider: Some(arn),
        audience: Some(audience),
        source_identity: session.source_identity,
    })
}

fn bad_token(text: impl Into<String>) -> ApiError {
    ApiError::new("InvalidIdentityToken", 400, text)
}

fn no_token() -> ApiError {
    bad_token(
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
    )
}

fn missing(claim: MissingClaim) -> ApiError {
    bad_token(claim.to_string())
}

fn unknown_issuer(url: &str) -> ApiError {
    bad_token(format!(
        "No OpenIDConnect provider found in your account for https://{url}"
    ))
}

/// The provider whose URL the token says at its word.
fn provider(
    view: &lath_store::View,
    claims: &Claims,
) -> Result<std::sync::Arc<OidcProvider>, ApiError> {
    let issuer = claims.issuer().map_err(missing)?;
    let url = issuer.strip_prefix("https://");
    let found = url.and_then(|url| view.get::<OidcProvider>(url));
    let shown: String = issuer.chars().take(255).collect();
    found.ok_or_else(|| {
        bad_token(format!(
            "No OpenIDConnect provider found in your account for {shown}"
        ))
    })
}

/// Whom the token is for: its authorized party, where it names one.
fn audiences(claims: &Claims) -> Result<Vec<String>, ApiError> {
    let audiences = claims.audiences().map_err(missing)?;
    let party = claims.text("azp").map(|party| vec![party]);
    let audiences = party.unwrap_or(audiences);
    Ok(audiences.into_iter().map(str::to_owned).collect())
}

fn check_time(claims: &Claims, now: Timestamp) -> Result<(), ApiError> {
    let now = now.as_millis() / 1000;
    match claims.check_time(now).map_err(missing)? {
        Ok(()) => Ok(()),
        Err(BadTime::Expired(ends)) => {
            let text = format!(
                "Token expired: current date/time {now} must be before the expiration date/time {ends}"
            );
            Err(ApiError::new("ExpiredTokenException", 400, text))
        }
        Err(BadTime::Early(begins)) => Err(bad_token(format!(
            "Token not yet valid: current date/time {now} must not be before {begins}"
        ))),
    }
}

const NO_KEY: &str = "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements";

fn no_keys(error: NoKeys) -> ApiError {
    match error {
        NoKeys::Unreachable(_) => ApiError::new(
            "IDPCommunicationError",
            400,
            "The identity provider that was asked to verify the incoming identity token could not be reached",
        ),
        NoKeys::Certificate => bad_token(
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
        ),
        NoKeys::Unusable(_) => bad_token(NO_KEY),
    }
}

fn check_signature(keys: &KeySet, token: &Token) -> Result<(), ApiError> {
    keys.verify(token).map_err(|error| match error {
        Unproved::NoKey => bad_token(NO_KEY),
        Unproved::Algorithm => no_token(),
        Unproved::Signature => bad_token("Token signature invalid"),
    })
}

/// The condition keys of what a provider claims, beside subject and audience.
fn set_claims(facts: &mut Facts, provider: &OidcProvider, claims: &Claims) {
    let texts = |name: &str| -> Vec<String> {
        let texts = claims.texts(name).into_iter();
        texts.map(str::to_owned).collect()
    };
    let url = &provider.url;
    facts.set_all(&format!("{url}:amr"), texts("amr"));
    facts.set_all(&format!("{url}:email"), texts("email"));
    if claims.text("azp").is_some() {
        facts.set_all(&format!("{url}:oaud"), texts("aud"));
    }
}

/// Takes the tags and the source identity that the provider sets.
fn set_claimed(op: &mut AssumeRole, claims: &Claims) -> Result<(), ApiError> {
    let malformed = || bad_token(format!("The claim {TAGS} of the token is malformed"));
    if let Some(tags) = claims.get(TAGS) {
        let principal = tags.get("principal_tags").and_then(Value::as_object);
        for (key, value) in principal.into_iter().flatten() {
            let value = only(value).ok_or_else(malformed)?;
            op.tags.push(tag(key, value));
        }
        let transitive = tags.get("transitive_tag_keys");
        op.transitive_tag_keys
            .extend(transitive.into_iter().flat_map(texts));
    }
    // The same, flattened: one claim for each.
    let principal = format!("{TAGS}/principal_tags/");
    for (name, value) in claims.iter() {
        if let Some(key) = name.strip_prefix(&principal) {
            let value = only(value).ok_or_else(malformed)?;
            op.tags.push(tag(key, value));
        }
    }
    let transitive = claims.get(&format!("{TAGS}/transitive_tag_keys"));
    op.transitive_tag_keys
        .extend(transitive.into_iter().flat_map(texts));
    op.source_identity = claims.text(SOURCE_IDENTITY).map(str::to_owned);
    Ok(())
}

/// Holds tags and a source identity to the bounds that the model sets to those of `AssumeRole`: the table knows requests, and these
/// come with the token.
fn check_claimed(op: &AssumeRole) -> Result<(), ApiError> {
    if op.tags.len() > 50 {
        let rule = "Member must have length less than or equal to 50";
        return Err(invalid("tags", rule));
    }
    let fits = |text: &str, least: usize, most: usize, may_be: fn(char) -> bool| {
        (least..=most).contains(&text.chars().count()) && text.chars().all(may_be)
    };
    let of_tags = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    for tag in &op.tags {
        if !fits(&tag.key, 1, 128, of_tags) {
            let rule = "Member must have length between 1 and 128 and satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+";
            return Err(invalid("tags.member.key", rule));
        }
        if !fits(&tag.value, 0, 256, of_tags) {
            let rule = "Member must have length less than or equal to 256 and satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*";
            return Err(invalid("tags.member.value", rule));
        }
    }
    let of_words = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    match &op.source_identity {
        Some(text) if !fits(text, 2, 64, of_words) => Err(invalid(
            "sourceIdentity",
            "Member must have length between 2 and 64 and satisfy regular expression pattern: [\\w+=,.@-]*",
        )),
        _ => Ok(()),
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// A text, alone or as the only one of a list.
fn only(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => match &items[..] {
            [one] => one.as_str(),
            _ => None,
        },
        one => one.as_str(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            let texts = items.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}
