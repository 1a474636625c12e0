//! IAM, STS and authorization behind one front door, called with signed requests.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod answers;
mod conditions;
mod denials;
mod installation;
mod many;
mod pod_identity;
mod sessions;
mod signer;
mod time;
mod web_identity;

use std::collections::BTreeMap;

use lath_control::{Parts, Told, derive_all};
use lath_iam::SECTION;
use lath_model::Timestamp;
use lath_session::{Holder, Session};
use lath_sigv4::Secret;

use installation::*;

const READ: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["iam:Get*","iam:List*"],"Resource":"*"},
    {"Effect":"Deny","Action":"iam:ListRoles","Resource":"*"},
    {"Effect":"Allow","Action":"iam:TagRole","Resource":"arn:aws:iam::123456789012:role/mine-*"},
    {"Effect":"Allow","Action":"iam:CreateGroup","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}},
    {"Effect":"Allow","Action":"iam:CreateUser","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.168.0.0/16"}}},
    {"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}"#;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole",
    "Condition":{"StringEquals":{"sts:ExternalId":"e-1"}}}}"#;

#[tokio::test]
async fn a_user_may_what_its_policies_say_and_no_more() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", READ).await;
    lath.role("mine-1", TRUST).await;
    lath.role("other", TRUST).await;
    let tag = |role: &'static str| {
        vec![
            ("Action", "TagRole"),
            ("RoleName", role),
            ("Tags.member.1.Key", "a"),
            ("Tags.member.1.Value", "b"),
        ]
    };
    let table = [
        (vec![("Action", "GetUser")], ""),
        (vec![("Action", "ListUsers")], ""),
        (
            vec![("Action", "ListRoles")],
            "with an explicit deny in an identity-based policy",
        ),
        (
            vec![("Action", "DeleteUser"), ("UserName", "ann")],
            "because no identity-based policy allows the iam:DeleteUser action",
        ),
        (tag("mine-1"), ""),
        (
            tag("other"),
            "on resource: arn:aws:iam::123456789012:role/other",
        ),
        (vec![("Action", "CreateGroup"), ("GroupName", "g")], ""),
        (
            vec![("Action", "CreateUser"), ("UserName", "u")],
            "not authorized",
        ),
    ];
    for (form, refusal) in table {
        let (status, text) = lath.call(&ann, "iam", &form).await;
        if refusal.is_empty() {
            assert_eq!(status, 200, "{form:?}: {text}");
        } else {
            assert_eq!(status, 403, "{form:?}: {text}");
            assert!(text.contains("<Code>AccessDenied</Code>"), "{text}");
            assert!(text.contains(refusal), "{form:?}: {text}");
        }
    }
    let who = lath
        .call(&ann, "sts", &[("Action", "GetCallerIdentity")])
        .await
        .1;
    assert!(who.contains("arn:aws:iam::123456789012:user/ann"), "{who}");
}

#[tokio::test]
async fn a_role_is_assumed_by_whom_it_trusts_and_its_session_is_judged_as_the_role() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", READ).await;
    lath.role("worker", TRUST).await;
    lath.iam(
        &lath.root,
        &[
            ("Action", "AttachRolePolicy"),
            ("RoleName", "worker"),
            ("PolicyArn", "arn:aws:iam::aws:policy/IAMFullAccess"),
        ],
    )
    .await;
    let assume = |more: &[(&'static str, &'static str)]| {
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("RoleArn", "arn:aws:iam::123456789012:role/worker"),
            ("RoleSessionName", "s1"),
        ];
        form.extend_from_slice(more);
        form
    };
    let refusals = [
        (&ann, assume(&[]), 403, "AccessDenied"),
        (&ann, assume(&[("ExternalId", "e-2")]), 403, "AccessDenied"),
        (
            &lath.root,
            assume(&[("ExternalId", "e-1")]),
            403,
            "root accounts",
        ),
        (
            &ann,
            assume(&[("ExternalId", "e-1"), ("DurationSeconds", "7200")]),
            400,
            "MaxSessionDuration",
        ),
        (
            &ann,
            assume(&[("ExternalId", "e-1"), ("DurationSeconds", "60")]),
            400,
            "ValidationError",
        ),
        (
            &ann,
            assume(&[("ExternalId", "e-1"), ("Policy", "{")]),
            400,
            "MalformedPolicyDocument",
        ),
        (
            &ann,
            assume(&[
                ("ExternalId", "e-1"),
                ("Tags.member.1.Key", "a"),
                ("Tags.member.1.Value", "b"),
            ]),
            403,
            "sts:TagSession",
        ),
    ];
    for (key, form, status, text) in refusals {
        let got = lath.call(key, "sts", &form).await;
        assert_eq!(got.0, status, "{form:?}: {}", got.1);
        assert!(got.1.contains(text), "{form:?}: {}", got.1);
    }
    let (status, text) = lath
        .call(&ann, "sts", &assume(&[("ExternalId", "e-1")]))
        .await;
    assert_eq!(status, 200, "{text}");
    let session = credentials(&text);
    assert!(session.id.starts_with("ASIA"));
    let who = lath
        .call(&session, "sts", &[("Action", "GetCallerIdentity")])
        .await
        .1;
    assert!(who.contains("assumed-role/worker/s1"), "{who}");
    lath.iam(&session, &[("Action", "CreateUser"), ("UserName", "bob")])
        .await;

    let narrow = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:List*","Resource":"*"}}"#;
    let form = assume(&[("ExternalId", "e-1"), ("Policy", narrow)]);
    let limited = credentials(&lath.call(&ann, "sts", &form).await.1);
    lath.iam(&limited, &[("Action", "ListUsers")]).await;
    let (_, text) = lath
        .call(
            &limited,
            "iam",
            &[("Action", "DeleteUser"), ("UserName", "bob")],
        )
        .await;
    assert!(text.contains("because no session policy allows"), "{text}");

    for (token, want) in [
        (None, "InvalidClientTokenId"),
        (Some("AAAA".to_owned()), "InvalidClientTokenId"),
        (limited.token.clone(), "InvalidClientTokenId"),
    ] {
        let forged = Key {
            id: session.id.clone(),
            secret: session.secret.clone(),
            token,
        };
        let (status, text) = lath.call(&forged, "iam", &[("Action", "ListUsers")]).await;
        assert_eq!(status, 403, "{text}");
        assert!(text.contains(want), "{text}");
    }

    lath.iam(
        &lath.root,
        &[
            ("Action", "DetachRolePolicy"),
            ("RoleName", "worker"),
            ("PolicyArn", "arn:aws:iam::aws:policy/IAMFullAccess"),
        ],
    )
    .await;
    lath.iam(
        &lath.root,
        &[("Action", "DeleteRole"), ("RoleName", "worker")],
    )
    .await;
    lath.role("worker", TRUST).await;
    let (status, text) = lath.call(&session, "iam", &[("Action", "ListUsers")]).await;
    assert_eq!(status, 403, "a namesake is another role: {text}");
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let lath = Installation::new().await;
    lath.user("ann", READ).await;
    lath.role("worker", TRUST).await;
    let root = &lath.root;
    let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    let attach = [
        ("Action", "AttachRolePolicy"),
        ("RoleName", "worker"),
        ("PolicyArn", arn),
    ];
    lath.iam(root, &attach).await;
    lath.iam(root, &attach).await;
    let unknown = "arn:aws:iam::aws:policy/NoSuchPolicy";
    let table: [(Form<'_>, u16, &str); 7] = [
        (
            &[("Action", "DeleteRole"), ("RoleName", "worker")],
            409,
            "must detach all policies first",
        ),
        (
            &[("Action", "DeleteUser"), ("UserName", "ann")],
            409,
            "must delete access keys first",
        ),
        (
            &[("Action", "GetRole"), ("RoleName", "none")],
            404,
            "The role with name none cannot be found.",
        ),
        (
            &[
                ("Action", "AttachRolePolicy"),
                ("RoleName", "worker"),
                ("PolicyArn", unknown),
            ],
            404,
            "does not exist or is not attachable",
        ),
        (
            &[("Action", "CreateUser"), ("UserName", "ANN")],
            409,
            "EntityAlreadyExists",
        ),
        (
            &[("Action", "CreateUser"), ("UserName", "a b")],
            400,
            "ValidationError",
        ),
        (
            &[
                ("Action", "CreateRole"),
                ("RoleName", "r"),
                ("AssumeRolePolicyDocument", "{}"),
            ],
            400,
            "MalformedPolicyDocument",
        ),
    ];
    for (form, status, text) in table {
        let got = lath.call(root, "iam", form).await;
        assert_eq!(got.0, status, "{form:?}: {}", got.1);
        assert!(got.1.contains(text), "{form:?}: {}", got.1);
    }
}

/// All that a region tells of IAM.
fn exported(of: &Installation) -> Told {
    let parts: Parts = derive_all(&of.cell, SECTION.export, &of.cell.db.view());
    let parts = parts
        .iter()
        .map(|(part, bytes)| (part.clone(), Some(bytes.clone())));
    Told {
        whole: true,
        parts: parts.collect(),
    }
}

/// Gives another region what the home tells of IAM, as the exchange does.
async fn exchange(home: &Installation, other: &Installation) {
    let told = exported(home);
    let import = |tx: &mut lath_store::Tx| (SECTION.import)(&other.cell, tx, "us-east-1", &told);
    other.cell.db.write(import).await.unwrap();
}

#[tokio::test]
async fn another_region_decides_by_what_the_home_told_it() {
    let home = Installation::new().await;
    let other = Installation::with("eu-west-1", home.seal.clone()).await;
    let ann = home.user("ann", READ).await;
    home.role("worker", TRUST).await;
    let who: Form<'_> = &[("Action", "GetCallerIdentity")];
    assert_eq!(other.call(&ann, "sts", who).await.0, 403, "not told yet");
    exchange(&home, &other).await;
    let (_, text) = other.call(&ann, "sts", who).await;
    assert!(text.contains("user/ann"), "{text}");
    let revision = other.cell.db.view().revision();
    exchange(&home, &other).await;
    let again = other.cell.db.view().revision();
    assert_eq!(again, revision, "the same told twice writes nothing");
    let list: Form<'_> = &[("Action", "ListUsers")];
    assert_eq!(other.call(&ann, "iam", list).await.0, 200);
    let (status, text) = other.call(&ann, "iam", &[("Action", "ListRoles")]).await;
    assert_eq!(status, 403, "{text}");
    // A session issued in one region is valid in the other.
    let assume: Form<'_> = &[
        ("Action", "AssumeRole"),
        ("RoleArn", "arn:aws:iam::123456789012:role/worker"),
        ("RoleSessionName", "s1"),
        ("ExternalId", "e-1"),
    ];
    let session = credentials(&other.call(&ann, "sts", assume).await.1);
    let (_, text) = home.call(&session, "sts", who).await;
    assert!(text.contains("assumed-role/worker/s1"), "{text}");
    // A deletion in the home takes effect in the other region.
    let key = ann.id.as_str();
    let delete: Form<'_> = &[
        ("Action", "DeleteAccessKey"),
        ("UserName", "ann"),
        ("AccessKeyId", key),
    ];
    home.iam(&home.root, delete).await;
    exchange(&home, &other).await;
    assert_eq!(other.call(&ann, "sts", who).await.0, 403);
    // Only the home's word counts.
    assert!(exported(&other).parts.is_empty());
    let nothing = Told {
        whole: true,
        ..Told::default()
    };
    let import = |tx: &mut lath_store::Tx| (SECTION.import)(&other.cell, tx, "eu-west-3", &nothing);
    other.cell.db.write(import).await.unwrap();
    let (_, text) = other.call(&session, "sts", who).await;
    assert!(text.contains("assumed-role/worker/s1"), "{text}");
}

/// A token of before an upgrade holds its session policy as it was written.
#[tokio::test]
async fn a_session_policy_of_another_partition_allows_nothing() {
    let lath = Installation::new().await;
    lath.role("worker", TRUST).await;
    let all =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    let form: Form<'_> = &[
        ("Action", "PutRolePolicy"),
        ("RoleName", "worker"),
        ("PolicyName", "p"),
        ("PolicyDocument", all),
    ];
    lath.iam(&lath.root, form).await;
    let form: Form<'_> = &[("Action", "GetRole"), ("RoleName", "worker")];
    let text = lath.iam(&lath.root, form).await;
    let unique_id = element(&text, "RoleId").unwrap();
    for (partition, want) in [("aws", 200), ("*", 200), ("aws-cn", 403)] {
        let now = START.as_millis();
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"iam:*","Resource":"arn:{partition}:iam::123456789012:*"}}}}"#
        );
        let session = Session {
            key: format!("ASIA{:0>16}", partition.len()),
            secret: "secret".into(),
            issued: Timestamp::from_millis(now),
            expires: Timestamp::from_millis(now + 900_000),
            holder: Holder::Role {
                name: "worker".into(),
                unique_id: unique_id.clone(),
                session: "s1".into(),
            },
            policy: Some(policy),
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive: Vec::new(),
            source_identity: None,
            instance: None,
            federation: BTreeMap::new(),
        };
        let key = Key {
            id: session.key.clone(),
            secret: Secret::new(session.secret.clone()),
            token: Some(session.seal(&lath.seal)),
        };
        let (status, text) = lath.call(&key, "iam", form).await;
        assert_eq!(status, want, "{partition}: {text}");
    }
}

#[tokio::test]
async fn a_role_goes_into_a_profile_only_from_who_may_pass_it() {
    let lath = Installation::new().await;
    let may = |more: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":"iam:AddRoleToInstanceProfile","Resource":"*"}}{more}]}}"#
        )
    };
    let pass = r#",{"Effect":"Allow","Action":"iam:PassRole","Resource":"*",
        "Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}"#;
    let ann = lath.user("ann", &may("")).await;
    let bob = lath.user("bob", &may(pass)).await;
    lath.role("worker", TRUST).await;
    let make: Form<'_> = &[
        ("Action", "CreateInstanceProfile"),
        ("InstanceProfileName", "p"),
    ];
    lath.iam(&lath.root, make).await;
    let add: Form<'_> = &[
        ("Action", "AddRoleToInstanceProfile"),
        ("InstanceProfileName", "p"),
        ("RoleName", "worker"),
    ];
    let (status, text) = lath.call(&ann, "iam", add).await;
    assert_eq!(status, 403, "{text}");
    let want = "iam:PassRole on resource: arn:aws:iam::123456789012:role/worker";
    assert!(text.contains(want), "{text}");
    lath.iam(&bob, add).await;
}

const NARROW: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::123456789012:role/mine-*"},
    {"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::123456789012:policy/mine-*"}]}"#;

#[tokio::test]
async fn a_name_that_the_operation_does_not_read_opens_nothing() {
    let lath = Installation::new().await;
    let eve = lath.user("eve", NARROW).await;
    lath.user("admin", READ).await;
    lath.role("mine-1", TRUST).await;
    let mine = "arn:aws:iam::123456789012:policy/mine-1";
    let of_admin = ("UserName", "admin");
    let table: [Form<'_>; 4] = [
        &[
            ("Action", "CreateAccessKey"),
            of_admin,
            ("RoleName", "mine-1"),
        ],
        &[
            ("Action", "DeleteUserPolicy"),
            of_admin,
            ("PolicyName", "p"),
            ("RoleName", "mine-1"),
        ],
        &[("Action", "ListUsers"), ("PolicyArn", mine)],
        &[("Action", "DeleteUser"), of_admin, ("PolicyArn", mine)],
    ];
    for form in table {
        let (status, text) = lath.call(&eve, "iam", form).await;
        assert_eq!(status, 403, "{form:?}: {text}");
    }
    let own = [("Action", "GetRole"), ("RoleName", "mine-1")];
    lath.iam(&eve, &own).await;
}
