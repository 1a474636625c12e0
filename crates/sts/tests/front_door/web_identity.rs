//! `AssumeRoleWithWebIdentity`: what a token proves, and to whom.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::installation::*;
use crate::signer::{Signer, now};

/// An issuer, as tokens and policies write it.
const ISSUER: &str = "https://oidc.eks.us-east-1.amazonaws.com/id/ABC";
const URL: &str = "oidc.eks.us-east-1.amazonaws.com/id/ABC";
const ROLE: &str = "arn:aws:iam::123456789012:role/worker";
const SUBJECT: &str = "system:serviceaccount:shop:cart";

/// Good claims, and others in their place.
fn claims(more: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"], "iat": now(), "exp": now() + 600
    });
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn trust(actions: &Value, condition: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow",
        "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{URL}")},
        "Action": actions,
        "Condition": condition
    }})
    .to_string()
}

struct World {
    lath: Installation,
    signer: Signer,
}

impl World {
    /// An issuer with its provider, and a role that trusts one service account of it.
    async fn new() -> Self {
        let (lath, signer) = (Installation::new().await, Signer::new());
        lath.know(ISSUER, signer.set());
        let world = Self { lath, signer };
        world.provider(ISSUER).await;
        let condition = json!({"StringEquals": {
            format!("{URL}:aud"): "sts.amazonaws.com", format!("{URL}:sub"): SUBJECT
        }});
        let trust = trust(&json!("sts:AssumeRoleWithWebIdentity"), &condition);
        world.lath.role("worker", &trust).await;
        let form = [
            ("Action", "AttachRolePolicy"),
            ("RoleName", "worker"),
            ("PolicyArn", "arn:aws:iam::aws:policy/IAMReadOnlyAccess"),
        ];
        world.lath.iam(&world.lath.root, &form).await;
        world
    }

    async fn provider(&self, url: &str) {
        let form = [
            ("Action", "CreateOpenIDConnectProvider"),
            ("Url", url),
            ("ClientIDList.member.1", "sts.amazonaws.com"),
        ];
        self.lath.iam(&self.lath.root, &form).await;
    }

    async fn trusts(&self, trust: &str) {
        let form = [
            ("Action", "UpdateAssumeRolePolicy"),
            ("RoleName", "worker"),
            ("PolicyDocument", trust),
        ];
        self.lath.iam(&self.lath.root, &form).await;
    }

    async fn assume(&self, token: &str, more: Form<'_>) -> (u16, String) {
        let mut form = vec![
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", ROLE),
            ("RoleSessionName", "pod"),
            ("WebIdentityToken", token),
        ];
        form.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        form.extend_from_slice(more);
        self.lath.call_unsigned(&form).await
    }

    async fn assume_with(&self, more: &Value) -> (u16, String) {
        self.assume(&self.signer.token(&claims(more)), &[]).await
    }
}

#[tokio::test]
async fn a_token_is_worth_a_session_of_the_role() {
    let world = World::new().await;
    let (status, text) = world.assume_with(&json!({})).await;
    assert_eq!(status, 200, "{text}");
    let said = |name: &str| element(&text, name).unwrap_or_default();
    assert_eq!(said("SubjectFromWebIdentityToken"), SUBJECT);
    assert_eq!(said("Audience"), "sts.amazonaws.com");
    assert_eq!(
        said("Provider"),
        format!("arn:aws:iam::123456789012:oidc-provider/{URL}")
    );
    assert_eq!(
        said("Arn"),
        "arn:aws:sts::123456789012:assumed-role/worker/pod"
    );
    let session = credentials(&text);
    let who = [("Action", "GetCallerIdentity")];
    let (_, who) = world.lath.call(&session, "sts", &who).await;
    assert!(who.contains("assumed-role/worker/pod"), "{who}");
    world.lath.iam(&session, &[("Action", "ListRoles")]).await;
    let group = [("Action", "CreateGroup"), ("GroupName", "g")];
    let (status, text) = world.lath.call(&session, "iam", &group).await;
    assert_eq!(status, 403, "{text}");
}

#[tokio::test]
async fn what_proves_nothing_is_refused_in_words_of_its_own() {
    let world = World::new().await;
    let eve = Signer::new();
    let past = now() - 10;
    let none = {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!(
            "{}.{}.",
            part(json!({"alg": "none"})),
            part(claims(&json!({})))
        )
    };
    let own = |more: Value| world.signer.token(&claims(&more));
    let invalid = "InvalidIdentityToken";
    let table = [
        ("junk!".to_owned(), invalid, "is not a valid JWT"),
        (none, invalid, "is not a valid JWT"),
        (
            "x".repeat(20_001),
            "ValidationError",
            "less than or equal to 20000",
        ),
        (
            "abc".to_owned(),
            "ValidationError",
            "greater than or equal to 4",
        ),
        (
            own(json!({"iss": null})),
            invalid,
            "Missing a required claim: iss",
        ),
        (
            own(json!({"aud": null})),
            invalid,
            "Missing a required claim: aud",
        ),
        (
            own(json!({"sub": null})),
            invalid,
            "Missing a required claim: sub",
        ),
        (
            own(json!({"exp": null})),
            invalid,
            "Missing a required claim: exp",
        ),
        (
            own(json!({"iss": "https://other.example"})),
            invalid,
            "No OpenIDConnect provider found in your account for https://other.example",
        ),
        (
            own(json!({"iss": format!("{ISSUER}/")})),
            invalid,
            "No OpenIDConnect provider",
        ),
        (
            own(json!({"iss": ISSUER.to_lowercase()})),
            invalid,
            "No OpenIDConnect provider",
        ),
        (
            own(json!({"iss": URL})),
            invalid,
            "No OpenIDConnect provider",
        ),
        (
            own(json!({"aud": "other"})),
            invalid,
            "Incorrect token audience",
        ),
        (
            own(json!({"azp": "other"})),
            invalid,
            "Incorrect token audience",
        ),
        (
            own(json!({"exp": past})),
            "ExpiredTokenException",
            "must be before the expiration date/time",
        ),
        (own(json!({"nbf": now() + 500})), invalid, "not yet valid"),
        (
            eve.token(&claims(&json!({}))),
            invalid,
            "Token signature invalid",
        ),
    ];
    for (token, code, words) in table {
        let (status, text) = world.assume(&token, &[]).await;
        assert_eq!(status, 400, "{words}: {text}");
        assert!(text.contains(&format!("<Code>{code}</Code>")), "{text}");
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn an_issuer_elsewhere_is_asked_for_its_keys() {
    let world = World::new().await;
    for (url, code, words) in [
        (
            "https://gone.example",
            "IDPCommunicationError",
            "could not be reached",
        ),
        (
            "https://certificate.example",
            "InvalidIdentityToken",
            "thumbprint",
        ),
        (
            "https://unusable.example",
            "InvalidIdentityToken",
            "retrieve verification key from your identity provider,  please",
        ),
    ] {
        world.provider(url).await;
        let (status, text) = world.assume_with(&json!({"iss": url})).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(&format!("<Code>{code}</Code>")), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn a_role_trusts_what_the_token_claims() {
    let world = World::new().await;
    let refused = |(status, text): (u16, String)| {
        assert_eq!(status, 403, "{text}");
        assert!(text.contains("<Code>AccessDenied</Code>"), "{text}");
        let words = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
        assert!(text.contains(words), "{text}");
    };
    refused(
        world
            .assume_with(&json!({"sub": "system:serviceaccount:shop:other"}))
            .await,
    );
    let token = world.signer.token(&claims(&json!({})));
    let absent = "arn:aws:iam::123456789012:role/none";
    refused(world.assume(&token, &[("RoleArn", absent)]).await);

    let assume = json!("sts:AssumeRoleWithWebIdentity");
    let table = [
        (
            json!({"StringLike": {format!("{URL}:sub"): "system:serviceaccount:shop:*"}}),
            json!({}),
            200,
        ),
        // Keys have no case.
        (
            json!({"StringEquals": {format!("{}:AUD", URL.to_uppercase()): "sts.amazonaws.com"}}),
            json!({}),
            200,
        ),
        (
            json!({"StringEquals": {format!("{URL}:oaud"): "front"}}),
            json!({"azp": "sts.amazonaws.com", "aud": "front"}),
            200,
        ),
        (
            json!({"StringEquals": {format!("{URL}:aud"): "front"}}),
            json!({"azp": "sts.amazonaws.com", "aud": "front"}),
            403,
        ),
        (
            json!({"ForAnyValue:StringEquals": {format!("{URL}:amr"): "mfa"}}),
            json!({"amr": ["pwd", "mfa"]}),
            200,
        ),
        (
            json!({"ForAnyValue:StringEquals": {format!("{URL}:amr"): "mfa"}}),
            json!({"amr": ["pwd"]}),
            403,
        ),
        (
            json!({"StringEquals": {"sts:RoleSessionName": "pod"}}),
            json!({}),
            200,
        ),
        (
            json!({"StringEquals": {"sts:RoleSessionName": "other"}}),
            json!({}),
            403,
        ),
        (
            json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
            json!({}),
            200,
        ),
        (
            json!({"IpAddress": {"aws:SourceIp": "192.168.0.0/16"}}),
            json!({}),
            403,
        ),
        // What is not known does not allow.
        (
            json!({"StringLike": {"aws:UserAgent": "*"}}),
            json!({}),
            403,
        ),
        (
            json!({"StringEquals": {"other.example:sub": SUBJECT}}),
            json!({}),
            403,
        ),
    ];
    for (condition, more, want) in table {
        world.trusts(&trust(&assume, &condition)).await;
        let (status, text) = world.assume_with(&more).await;
        assert_eq!(status, want, "{condition} {more}: {text}");
    }
    // Another action of the same provider is not this one.
    world
        .trusts(&trust(&json!("sts:AssumeRoleWithSAML"), &json!({})))
        .await;
    refused(world.assume_with(&json!({})).await);
}

#[tokio::test]
async fn a_deleted_provider_is_trusted_no_more() {
    let world = World::new().await;
    let arn = format!("arn:aws:iam::123456789012:oidc-provider/{URL}");
    let form = [
        ("Action", "DeleteOpenIDConnectProvider"),
        ("OpenIDConnectProviderArn", arn.as_str()),
    ];
    world.lath.iam(&world.lath.root, &form).await;
    let (status, text) = world.assume_with(&json!({})).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("No OpenIDConnect provider"), "{text}");
}

#[tokio::test]
async fn a_provider_sets_tags_and_a_source_identity_where_the_role_lets_it() {
    let world = World::new().await;
    let nested = json!({
        "https://aws.amazon.com/tags": {
            "principal_tags": {"team": ["cart"]}, "transitive_tag_keys": ["team"]
        },
        "https://aws.amazon.com/source_identity": "ann"
    });
    let flat = json!({
        "https://aws.amazon.com/tags/principal_tags/team": "cart",
        "https://aws.amazon.com/tags/transitive_tag_keys": ["team"]
    });
    let all = json!([
        "sts:AssumeRoleWithWebIdentity",
        "sts:TagSession",
        "sts:SetSourceIdentity"
    ]);
    let some = json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]);
    let condition = json!({"StringEquals": {"aws:RequestTag/team": "cart"}});
    for (actions, condition, more, want) in [
        (&all, json!({}), &nested, 200),
        (&some, json!({}), &nested, 403),
        (&some, json!({}), &flat, 200),
        (&some, condition, &flat, 200),
        (
            &some,
            json!({"StringEquals": {"aws:RequestTag/team": "x"}}),
            &flat,
            403,
        ),
        (
            &json!("sts:AssumeRoleWithWebIdentity"),
            json!({}),
            &flat,
            403,
        ),
    ] {
        world.trusts(&trust(actions, &condition)).await;
        let (status, text) = world.assume_with(more).await;
        assert_eq!(status, want, "{actions} {condition} {more}: {text}");
    }
    world.trusts(&trust(&all, &json!({}))).await;
    let (_, text) = world.assume_with(&nested).await;
    assert_eq!(element(&text, "SourceIdentity").as_deref(), Some("ann"));
    for malformed in [
        json!({"https://aws.amazon.com/tags": {"principal_tags": {"team": ["a", "b"]}}}),
        json!({"https://aws.amazon.com/tags/principal_tags/team": 1}),
        json!({"https://aws.amazon.com/tags/principal_tags/aws:x": "y"}),
        json!({"https://aws.amazon.com/tags/transitive_tag_keys": ["team"]}),
    ] {
        let (status, text) = world.assume_with(&malformed).await;
        assert_eq!(status, 400, "{malformed}: {text}");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_checked_as_with_any_role() {
    let world = World::new().await;
    let token = world.signer.token(&claims(&json!({})));
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:GetRole","Resource":"*"}}"#;
    let table: [(Form<'_>, u16, &str); 7] = [
        (&[("DurationSeconds", "899")], 400, "ValidationError"),
        (&[("DurationSeconds", "3601")], 400, "MaxSessionDuration"),
        (
            &[("RoleArn", "arn:aws:iam::123456789012:user/ann")],
            400,
            "is invalid",
        ),
        (&[("RoleSessionName", "a b")], 400, "roleSessionName"),
        (&[("Policy", "{}")], 400, "MalformedPolicyDocument"),
        (&[("ProviderId", "www.amazon.com")], 400, "ProviderId"),
        (
            &[("DurationSeconds", "900"), ("Policy", policy)],
            200,
            "PackedPolicySize",
        ),
    ];
    for (more, want, words) in table {
        let (status, text) = world.assume(&token, more).await;
        assert_eq!(status, want, "{more:?}: {text}");
        assert!(text.contains(words), "{words}: {text}");
    }
    let (_, text) = world.assume(&token, &[("Policy", policy)]).await;
    let session = credentials(&text);
    let role = [("Action", "GetRole"), ("RoleName", "worker")];
    world.lath.iam(&session, &role).await;
    let (status, text) = world
        .lath
        .call(&session, "iam", &[("Action", "ListRoles")])
        .await;
    assert_eq!(status, 403, "a session policy limits: {text}");
}

/// Any signature is accepted here; without one, no other operation is done.
#[tokio::test]
async fn signed_or_not() {
    let world = World::new().await;
    let token = world.signer.token(&claims(&json!({})));
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "pod"),
        ("WebIdentityToken", token.as_str()),
    ];
    let ann = world
        .lath
        .user(
            "ann",
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#,
        )
        .await;
    let short = [("Action", "GetSessionToken")];
    let (_, text) = world.lath.call(&ann, "sts", &short).await;
    for key in [ann, credentials(&text)] {
        let (status, text) = world.lath.call(&key, "sts", &form).await;
        assert_eq!(status, 200, "{text}");
    }
    for action in ["GetCallerIdentity", "AssumeRole"] {
        let (status, text) = world.lath.call_unsigned(&[("Action", action)]).await;
        assert_eq!(status, 403, "{text}");
        assert!(text.contains("MissingAuthenticationToken"), "{text}");
    }
}
