//! IAM's responses and refusals, as in AWS.

use crate::installation::*;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}"#;
const LINKED: &str = "AWSServiceRoleForVpcLattice";

#[tokio::test]
async fn replies_to_creates_say_what_aws_says() {
    let lath = Installation::new().await;
    let role = [
        ("Action", "CreateRole"),
        ("RoleName", "r"),
        ("AssumeRolePolicyDocument", TRUST),
        ("Description", "d"),
        ("MaxSessionDuration", "7200"),
    ];
    let created = lath.iam(&lath.root, &role).await;
    for absent in ["MaxSessionDuration", "Description", "RoleLastUsed", "Tags"] {
        assert!(
            !created.contains(&format!("<{absent}")),
            "{absent}: {created}"
        );
    }
    let got = lath
        .iam(&lath.root, &[("Action", "GetRole"), ("RoleName", "r")])
        .await;
    for present in [
        "<MaxSessionDuration>7200<",
        "<Description>d<",
        "<RoleLastUsed",
    ] {
        assert!(got.contains(present), "{present}: {got}");
    }
    let document =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#;
    let policy = [
        ("Action", "CreatePolicy"),
        ("PolicyName", "p"),
        ("PolicyDocument", document),
        ("Description", "d"),
    ];
    let created = lath.iam(&lath.root, &policy).await;
    for absent in ["Description", "Tags"] {
        assert!(
            !created.contains(&format!("<{absent}")),
            "{absent}: {created}"
        );
    }
    assert!(
        created.contains("<PermissionsBoundaryUsageCount>0<"),
        "{created}"
    );
}

#[tokio::test]
async fn service_linked_roles_can_be_tagged_and_described_and_no_more() {
    let lath = Installation::new().await;
    let create = [
        ("Action", "CreateServiceLinkedRole"),
        ("AWSServiceName", "vpc-lattice.amazonaws.com"),
    ];
    let made = lath.iam(&lath.root, &create).await;
    let document = element(&made, "AssumeRolePolicyDocument").unwrap();
    assert!(
        document.contains("%22Action%22%3A%22sts%3AAssumeRole%22"),
        "{document}"
    );
    assert!(
        document.contains("%22Service%22%3A%22vpc-lattice.amazonaws.com%22"),
        "{document}"
    );
    type Members<'a> = &'a [(&'a str, &'a str)];
    let table: &[(&str, Members<'_>, u16)] = &[
        (
            "TagRole",
            &[("Tags.member.1.Key", "a"), ("Tags.member.1.Value", "b")],
            200,
        ),
        ("UntagRole", &[("TagKeys.member.1", "a")], 200),
        ("UpdateRoleDescription", &[("Description", "mine")], 200),
        ("UpdateRole", &[("Description", "mine")], 200),
        ("UpdateRole", &[("MaxSessionDuration", "7200")], 400),
        ("UpdateAssumeRolePolicy", &[("PolicyDocument", TRUST)], 400),
        ("DeleteRole", &[], 400),
        (
            "AttachRolePolicy",
            &[("PolicyArn", "arn:aws:iam::aws:policy/IAMFullAccess")],
            400,
        ),
    ];
    for (action, more, want) in table {
        let mut form = vec![("Action", *action), ("RoleName", LINKED)];
        form.extend_from_slice(more);
        let (status, text) = lath.call(&lath.root, "iam", &form).await;
        assert_eq!(status, *want, "{action}: {text}");
        assert!(
            *want == 200 || text.contains("UnmodifiableEntity"),
            "{action}: {text}"
        );
    }
}

/// Tags as form members.
fn tags(count: usize) -> Vec<(String, String)> {
    let one = |n: usize| {
        let member = |name: &str| format!("Tags.member.{n}.{name}");
        [
            (member("Key"), format!("k{n}")),
            (member("Value"), "v".to_owned()),
        ]
    };
    (1..=count).flat_map(one).collect()
}

#[tokio::test]
async fn bad_input_is_refused_in_aws_words() {
    let lath = Installation::new().await;
    lath.role("r", TRUST).await;
    let (many, keys) = (
        tags(51),
        (1..=51).map(|n| (format!("TagKeys.member.{n}"), format!("k{n}"))),
    );
    let keys: Vec<(String, String)> = keys.collect();
    let borrowed = |all: &'static str, more: &'static [(&'static str, &'static str)]| {
        let mut form = vec![("Action", all)];
        form.extend_from_slice(more);
        form
    };
    let with = |action: &'static str,
                more: &'static [(&'static str, &'static str)],
                rest: &[(String, String)]| {
        let form = borrowed(action, more).into_iter();
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        form.chain(rest.iter().cloned()).collect::<Vec<_>>()
    };
    let root_key = lath.root.id.clone();
    let by_root = vec![("AccessKeyId".to_owned(), root_key)];
    let policy = "arn:aws:iam::123456789012:policy/p";
    let of_policy = vec![("PolicyArn".to_owned(), policy.to_owned())];
    let document =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:x","Resource":"*"}}"#;
    lath.iam(
        &lath.root,
        &[
            ("Action", "CreatePolicy"),
            ("PolicyName", "p"),
            ("PolicyDocument", document),
        ],
    )
    .await;
    let older = document.replace("2012", "2008");
    let older = vec![("PolicyDocument".to_owned(), older)];
    let at_most = "failed to satisfy constraint: Member must have length less than or equal to 50";
    let table = [
        (
            with("TagRole", &[("RoleName", "r")], &many),
            400,
            "ValidationError",
            at_most,
        ),
        (
            with("CreateUser", &[("UserName", "u")], &many),
            400,
            "ValidationError",
            at_most,
        ),
        (
            with("UntagPolicy", &[], &[of_policy.clone(), keys].concat()),
            400,
            "ValidationError",
            "Value '[k1, k2, k3, k4,",
        ),
        (
            with("AttachRolePolicy", &[("RoleName", "r")], &[]),
            400,
            "ValidationError",
            "Value null at 'policyArn' failed to satisfy constraint: Member must not be null",
        ),
        (
            with(
                "AttachRolePolicy",
                &[("RoleName", "r"), ("PolicyArn", "x")],
                &[],
            ),
            400,
            "ValidationError",
            "Value 'x' at 'policyArn' failed to satisfy constraint: Member must have length greater than or equal to 20",
        ),
        (
            with(
                "AttachRolePolicy",
                &[("RoleName", "r"), ("PolicyArn", "longpolicynamebutnoarn")],
                &[],
            ),
            400,
            "ValidationError",
            "Invalid ARN:  Could not be parsed!",
        ),
        (
            with(
                "DeleteAccessKey",
                &[("AccessKeyId", "AKIAIOSFODNN7EXAMPLE")],
                &[],
            ),
            404,
            "NoSuchEntity",
            "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found.",
        ),
        (
            with("DeleteAccessKey", &[], &by_root),
            400,
            "UnmodifiableEntity",
            "installation",
        ),
        (
            with(
                "CreateInstanceProfile",
                &[("InstanceProfileName", "a/b")],
                &[],
            ),
            400,
            "ValidationError",
            "The specified value for instanceProfileName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-",
        ),
        (
            with(
                "CreateInstanceProfile",
                &[("InstanceProfileName", "p"), ("Path", "x")],
                &[],
            ),
            400,
            "ValidationError",
            "The specified value for path is invalid.",
        ),
        (
            with(
                "CreateInstanceProfile",
                &[("InstanceProfileName", "p"), ("Path", "//")],
                &[],
            ),
            400,
            "ValidationError",
            "The specified value for path is invalid.",
        ),
        (
            with("CreatePolicy", &[("PolicyName", "old")], &older),
            400,
            "MalformedPolicyDocument",
            "Policy document must be version 2012-10-17 or greater.",
        ),
        (
            with(
                "CreatePolicyVersion",
                &[],
                &[of_policy, older.clone()].concat(),
            ),
            400,
            "MalformedPolicyDocument",
            "Policy document must be version 2012-10-17 or greater.",
        ),
        (
            with(
                "PutRolePolicy",
                &[
                    ("RoleName", "r"),
                    ("PolicyName", "p"),
                    ("PolicyDocument", "{"),
                ],
                &[],
            ),
            400,
            "MalformedPolicyDocument",
            "Syntax errors in policy.",
        ),
    ];
    for (form, status, code, want) in table {
        let form: Vec<(&str, &str)> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let got = lath.call(&lath.root, "iam", &form).await;
        assert_eq!(got.0, status, "{form:?}: {}", got.1);
        assert!(
            got.1.contains(&format!("<Code>{code}</Code>")),
            "{form:?}: {}",
            got.1
        );
        let text = got.1.replace("&apos;", "'").replace("&#39;", "'");
        assert!(text.contains(want), "{form:?}: {text}");
    }
    let keys = lath.iam(&lath.root, &[("Action", "ListAccessKeys")]).await;
    assert!(keys.contains("<IsTruncated>false<"), "{keys}");
}

#[tokio::test]
async fn simulations_say_where_the_statements_are() {
    let lath = Installation::new().await;
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}"#;
    let form = [
        ("Action", "SimulateCustomPolicy"),
        ("PolicyInputList.member.1", policy),
        ("ActionNames.member.1", "dynamodb:CreateBackup"),
        ("ContextEntries.member.1.ContextKeyName", "aws:CurrentTime"),
        (
            "ContextEntries.member.1.ContextKeyValues.member.1",
            "2019-04-25T11:00:00Z",
        ),
        ("ContextEntries.member.1.ContextKeyType", "date"),
    ];
    let text = lath.iam(&lath.root, &form).await;
    let start = "<StartPosition><Line>1</Line><Column>38</Column></StartPosition>";
    let end = "<EndPosition><Line>1</Line><Column>167</Column></EndPosition>";
    assert!(text.contains(start) && text.contains(end), "{text}");
}
