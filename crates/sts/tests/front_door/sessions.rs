//! Sessions: session tags, the credentials of GetSessionToken, and principals that reuse the name of a trusted one.

use crate::installation::*;

const ALL: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

const ANYBODY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Principal":{"AWS":"123456789012"},"Action":["sts:AssumeRole","sts:TagSession"]}}"#;

fn assume<'a>(role: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("Action", "AssumeRole"),
        ("RoleArn", role),
        ("RoleSessionName", "s1"),
    ];
    form.extend_from_slice(more);
    form
}

const ONE: &str = "arn:aws:iam::123456789012:role/one";
const TWO: &str = "arn:aws:iam::123456789012:role/two";

#[tokio::test]
async fn session_tags_have_no_case() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", ALL).await;
    for role in ["one", "two"] {
        lath.role(role, ANYBODY).await;
        lath.iam(
            &lath.root,
            &[
                ("Action", "PutRolePolicy"),
                ("RoleName", role),
                ("PolicyName", "p"),
                ("PolicyDocument", ALL),
            ],
        )
        .await;
    }
    let team = [
        ("Tags.member.1.Key", "Team"),
        ("Tags.member.1.Value", "shop"),
        ("TransitiveTagKeys.member.1", "team"),
    ];
    let twice = [
        ("Tags.member.1.Key", "Team"),
        ("Tags.member.1.Value", "shop"),
        ("Tags.member.2.Key", "TEAM"),
        ("Tags.member.2.Value", "cart"),
    ];
    let reserved = [("Tags.member.1.Key", "AWS:x"), ("Tags.member.1.Value", "y")];
    let absent = [("TransitiveTagKeys.member.1", "team")];
    let (status, text) = lath.call(&ann, "sts", &assume(ONE, &team)).await;
    assert_eq!(status, 200, "{text}");
    let session = credentials(&text);
    let over = [
        ("Tags.member.1.Key", "TEAM"),
        ("Tags.member.1.Value", "cart"),
    ];
    type Members<'a> = &'a [(&'a str, &'a str)];
    let table: &[(&str, &Key, Members<'_>, &str)] = &[
        (
            "twice",
            &ann,
            &twice,
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ),
        ("reserved", &ann, &reserved, "InvalidParameterValue"),
        (
            "absent",
            &ann,
            &absent,
            "The specified transitive tag key must be included in the requested tags.",
        ),
        (
            "set over",
            &session,
            &over,
            "conflicts with a transitive tag key from the calling session",
        ),
    ];
    for (name, key, more, want) in table {
        let (status, text) = lath.call(key, "sts", &assume(TWO, more)).await;
        assert_eq!(status, 400, "{name}: {text}");
        assert!(text.contains("InvalidParameterValue"), "{name}: {text}");
        assert!(text.contains(want), "{name}: {text}");
    }
    // Inherited tag keys ignore case too.
    let only_shop = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:List*","Resource":"*",
        "Condition":{"StringEquals":{"aws:PrincipalTag/TEAM":"shop"}}}}"#;
    let narrowed = assume(TWO, &[("Policy", only_shop)]);
    let next = credentials(&lath.call(&session, "sts", &narrowed).await.1);
    lath.iam(&next, &[("Action", "ListUsers")]).await;
}

#[tokio::test]
async fn a_sessions_tag_takes_the_place_of_its_roles_in_any_case() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", ALL).await;
    lath.role("one", ANYBODY).await;
    let only_shop = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:List*","Resource":"*",
        "Condition":{"StringEquals":{"aws:PrincipalTag/team":"shop"}}}}"#;
    for form in [
        [
            ("Action", "PutRolePolicy"),
            ("RoleName", "one"),
            ("PolicyName", "p"),
            ("PolicyDocument", only_shop),
        ],
        [
            ("Action", "TagRole"),
            ("RoleName", "one"),
            ("Tags.member.1.Key", "team"),
            ("Tags.member.1.Value", "shop"),
        ],
    ] {
        lath.iam(&lath.root, &form).await;
    }
    for (key, value, want) in [
        ("Other", "x", 200),
        ("TEAM", "cart", 403),
        ("Team", "shop", 200),
    ] {
        let tags = [("Tags.member.1.Key", key), ("Tags.member.1.Value", value)];
        let session = credentials(&lath.call(&ann, "sts", &assume(ONE, &tags)).await.1);
        let (status, text) = lath.call(&session, "iam", &[("Action", "ListUsers")]).await;
        assert_eq!(status, want, "{key}={value}: {text}");
    }
}

#[tokio::test]
async fn a_namesake_of_whom_a_role_trusts_is_somebody_else() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", ALL).await;
    lath.role("caller", ANYBODY).await;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":
        ["arn:aws:iam::123456789012:user/ann","arn:aws:iam::123456789012:role/caller"]},"Action":"sts:AssumeRole"}]}"#;
    lath.role("one", trust).await;
    let shown = |text: &str| element(text, "AssumeRolePolicyDocument").unwrap();
    let get = [("Action", "GetRole"), ("RoleName", "one")];
    let before = shown(&lath.iam(&lath.root, &get).await);
    assert!(before.contains("user%2Fann"), "{before}");
    assert_eq!(lath.call(&ann, "sts", &assume(ONE, &[])).await.0, 200);

    // A renamed user is still the same principal.
    let rename = |from, to| {
        [
            ("Action", "UpdateUser"),
            ("UserName", from),
            ("NewUserName", to),
        ]
    };
    lath.iam(&lath.root, &rename("ann", "anna")).await;
    let renamed = shown(&lath.iam(&lath.root, &get).await);
    assert!(renamed.contains("user%2Fanna"), "{renamed}");
    assert_eq!(lath.call(&ann, "sts", &assume(ONE, &[])).await.0, 200);
    let bob = lath.user("ann", ALL).await;
    assert_eq!(lath.call(&bob, "sts", &assume(ONE, &[])).await.0, 403);
    for form in [
        vec![
            ("Action", "DeleteAccessKey"),
            ("UserName", "ann"),
            ("AccessKeyId", &bob.id),
        ],
        vec![
            ("Action", "DeleteUserPolicy"),
            ("UserName", "ann"),
            ("PolicyName", "p"),
        ],
        vec![("Action", "DeleteUser"), ("UserName", "ann")],
        rename("anna", "ann").to_vec(),
        vec![
            ("Action", "DeleteAccessKey"),
            ("UserName", "ann"),
            ("AccessKeyId", &ann.id),
        ],
        vec![
            ("Action", "DeleteUserPolicy"),
            ("UserName", "ann"),
            ("PolicyName", "p"),
        ],
        vec![("Action", "DeleteUser"), ("UserName", "ann")],
        vec![("Action", "DeleteRole"), ("RoleName", "caller")],
    ] {
        lath.iam(&lath.root, &form).await;
    }
    let namesake = lath.user("ann", ALL).await;
    lath.role("caller", ANYBODY).await;
    let (status, text) = lath.call(&namesake, "sts", &assume(ONE, &[])).await;
    assert_eq!(
        (status, text.contains("AccessDenied")),
        (403, true),
        "{text}"
    );
    let gone = shown(&lath.iam(&lath.root, &get).await);
    assert!(gone.contains("AIDA") && gone.contains("AROA"), "{gone}");
    assert!(!gone.contains("user%2Fann"), "{gone}");
    // A policy with the id of a deleted principal cannot be saved again.
    let again = gone
        .replace("%7B", "{")
        .replace("%7D", "}")
        .replace("%22", "\"")
        .replace("%3A", ":");
    let again = again
        .replace("%2C", ",")
        .replace("%5B", "[")
        .replace("%5D", "]")
        .replace("%2F", "/");
    let update = [
        ("Action", "UpdateAssumeRolePolicy"),
        ("RoleName", "one"),
        ("PolicyDocument", again.as_str()),
    ];
    let (status, text) = lath.call(&lath.root, "iam", &update).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("Invalid principal in policy"), "{text}");
    // Saved again, it refers to the principal that has the name now.
    let update = [
        ("Action", "UpdateAssumeRolePolicy"),
        ("RoleName", "one"),
        ("PolicyDocument", trust),
    ];
    lath.iam(&lath.root, &update).await;
    assert_eq!(lath.call(&namesake, "sts", &assume(ONE, &[])).await.0, 200);
}

#[tokio::test]
async fn credentials_of_get_session_token_may_not_call_iam_nor_most_of_sts() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", ALL).await;
    lath.role("one", ANYBODY).await;
    for holder in [&ann, &lath.root] {
        let made = lath
            .call(holder, "sts", &[("Action", "GetSessionToken")])
            .await;
        let session = credentials(&made.1);
        let is_root = std::ptr::eq(holder, &lath.root);
        let assumed = if is_root {
            (403, "root accounts")
        } else {
            (200, "Credentials")
        };
        let table: &[(&str, Form<'_>, (u16, &str))] = &[
            (
                "iam",
                &[("Action", "ListUsers")],
                (403, "InvalidClientTokenId"),
            ),
            (
                "iam",
                &[("Action", "GetUser")],
                (403, "InvalidClientTokenId"),
            ),
            ("sts", &[("Action", "GetCallerIdentity")], (200, "Arn")),
            (
                "sts",
                &[("Action", "GetSessionToken")],
                (403, "AccessDenied"),
            ),
            (
                "sts",
                &[
                    ("Action", "GetAccessKeyInfo"),
                    ("AccessKeyId", "AKIAIOSFODNN7EXAMPLE"),
                ],
                (403, "AccessDenied"),
            ),
            ("sts", &assume(ONE, &[]), assumed),
        ];
        for (service, form, (status, want)) in table {
            let got = lath.call(&session, service, form).await;
            assert_eq!(got.0, *status, "{form:?}: {}", got.1);
            assert!(got.1.contains(want), "{form:?}: {}", got.1);
        }
    }
}

#[tokio::test]
async fn renames_and_moves_are_judged_on_both_names() {
    let lath = Installation::new().await;
    let may = |kind: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"iam:Update*","Resource":"arn:aws:iam::123456789012:{kind}/team/*"}}}}"#
        )
    };
    let (user, group) = (may("user"), may("group"));
    let ann = lath.user("ann", &user).await;
    let ops = lath.user("ops", &group).await;
    for form in [
        [
            ("Action", "CreateUser"),
            ("UserName", "u"),
            ("Path", "/team/"),
        ],
        [
            ("Action", "CreateGroup"),
            ("GroupName", "g"),
            ("Path", "/team/"),
        ],
        [
            ("Action", "AddUserToGroup"),
            ("UserName", "u"),
            ("GroupName", "g"),
        ],
    ] {
        lath.iam(&lath.root, &form).await;
    }
    let of_user = |more| [("Action", "UpdateUser"), ("UserName", "u"), more];
    let of_group = |more| [("Action", "UpdateGroup"), ("GroupName", "g"), more];
    let table = [
        (
            "out of the path",
            &ann,
            of_user(("NewPath", "/admins/")),
            403,
        ),
        (
            "within the path",
            &ann,
            of_user(("NewPath", "/team/a/")),
            200,
        ),
        ("another name", &ann, of_user(("NewUserName", "u")), 200),
        (
            "out of the path",
            &ops,
            of_group(("NewPath", "/admins/")),
            403,
        ),
        (
            "within the path",
            &ops,
            of_group(("NewPath", "/team/a/")),
            200,
        ),
        ("another name", &ops, of_group(("NewGroupName", "g2")), 200),
    ];
    for (name, key, form, want) in table {
        let (status, text) = lath.call(key, "iam", &form).await;
        assert_eq!(status, want, "{name}: {form:?}: {text}");
    }
    // A group keeps its users under its new name.
    let members = lath
        .iam(&lath.root, &[("Action", "GetGroup"), ("GroupName", "g2")])
        .await;
    assert!(members.contains("<UserName>u</UserName>"), "{members}");
    assert!(members.contains("group/team/a/g2"), "{members}");
}

/// Members of a request.
type Form<'a> = &'a [(&'a str, &'a str)];

/// A trust policy for the account and some of the actions that make a session.
fn trusting(actions: &[&str]) -> String {
    let actions = actions
        .iter()
        .map(|it| format!("\"sts:{it}\""))
        .collect::<Vec<_>>();
    format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"AWS":"123456789012"}},"Action":[{}]}}}}"#,
        actions.join(",")
    )
}

#[tokio::test]
async fn what_a_session_takes_along_must_be_allowed_by_the_next_role() {
    const ALL_THREE: [&str; 3] = ["AssumeRole", "TagSession", "SetSourceIdentity"];
    let lath = Installation::new().await;
    let ann = lath.user("ann", ALL).await;
    lath.role("one", &trusting(&ALL_THREE)).await;
    lath.role("two", &trusting(&ALL_THREE)).await;
    let may_all = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "one"),
        ("PolicyName", "p"),
        ("PolicyDocument", ALL),
    ];
    lath.iam(&lath.root, &may_all).await;
    let local = [
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "shop"),
    ];
    let transitive = [local[0], local[1], ("TransitiveTagKeys.member.1", "team")];
    let identity = [("SourceIdentity", "ann")];
    let with = |actions: &[&'static str]| [&["AssumeRole"][..], actions].concat();
    let members: &[(Form<'_>, Vec<&str>, &str)] = &[
        (&[], with(&[]), ""),
        (&local, with(&[]), ""),
        (&transitive, with(&[]), "sts:TagSession"),
        (&transitive, with(&["SetSourceIdentity"]), "sts:TagSession"),
        (&transitive, with(&["TagSession"]), ""),
        (&identity, with(&[]), "sts:SetSourceIdentity"),
        (&identity, with(&["TagSession"]), "sts:SetSourceIdentity"),
        (&identity, with(&["SetSourceIdentity"]), ""),
    ];
    for (more, trusted, refused) in members {
        let session = credentials(&lath.call(&ann, "sts", &assume(ONE, more)).await.1);
        let trust = trusting(trusted);
        let form = [
            ("Action", "UpdateAssumeRolePolicy"),
            ("RoleName", "two"),
            ("PolicyDocument", &*trust),
        ];
        lath.iam(&lath.root, &form).await;
        let (status, text) = lath.call(&session, "sts", &assume(TWO, &[])).await;
        let want = if refused.is_empty() { 200 } else { 403 };
        assert_eq!(status, want, "{more:?} {trusted:?}: {text}");
        assert!(text.contains(refused), "{more:?} {trusted:?}: {text}");
    }
}

#[tokio::test]
async fn conditions_on_tags_of_the_request_do_not_overlook_those_that_a_session_brings() {
    let lath = Installation::new().await;
    let ann = lath.user("ann", ALL).await;
    let all = ["AssumeRole", "TagSession", "SetSourceIdentity"];
    lath.role("one", &trusting(&all)).await;
    lath.role("two", &trusting(&all)).await;
    let may_all = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "one"),
        ("PolicyName", "p"),
        ("PolicyDocument", ALL),
    ];
    lath.iam(&lath.root, &may_all).await;
    let transitive = [
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "shop"),
        ("TransitiveTagKeys.member.1", "team"),
    ];
    let own = [
        ("Tags.member.1.Key", "env"),
        ("Tags.member.1.Value", "test"),
    ];
    let conditions: &[(&str, Form<'_>, u16, u16)] = &[
        (r#""Null":{"aws:RequestTag/team":"true"}"#, &[], 200, 403),
        (r#""Null":{"aws:TagKeys":"true"}"#, &[], 200, 403),
        (
            r#""ForAllValues:StringEquals":{"aws:TagKeys":["env"]}"#,
            &own,
            200,
            403,
        ),
        (
            r#""ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["env"]}"#,
            &[],
            200,
            403,
        ),
        (
            r#""StringEquals":{"aws:RequestTag/env":"test"}"#,
            &own,
            200,
            200,
        ),
    ];
    for (condition, tags, without, with) in conditions {
        let trust = trusting(&all);
        let trust = trust.replacen(
            "\"Effect\"",
            &format!("\"Condition\":{{{condition}}},\"Effect\""),
            1,
        );
        let form = [
            ("Action", "UpdateAssumeRolePolicy"),
            ("RoleName", "two"),
            ("PolicyDocument", &*trust),
        ];
        lath.iam(&lath.root, &form).await;
        for (more, want) in [(&[][..], *without), (&transitive[..], *with)] {
            let session = credentials(&lath.call(&ann, "sts", &assume(ONE, more)).await.1);
            let (status, text) = lath.call(&session, "sts", &assume(TWO, tags)).await;
            assert_eq!(status, want, "{condition} {more:?}: {text}");
        }
    }
}
