//! Condition keys: each key of a request has an effect, and an unknown key denies.

use crate::installation::*;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},
    "Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}"#;
const FULL: &str = "arn:aws:iam::aws:policy/IAMFullAccess";
const LOOK: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

/// Allows a user everything but what a statement denies.
pub(crate) async fn with_policy(lath: &Installation, user: &str, deny: &str) {
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"}},{deny}]}}"#
    );
    let form = [
        ("Action", "PutUserPolicy"),
        ("UserName", user),
        ("PolicyName", "p"),
        ("PolicyDocument", &*document),
    ];
    lath.iam(&lath.root, &form).await;
}

/// Whether a deny refuses a request to IAM, and the response.
pub(crate) async fn refused(lath: &Installation, key: &Key, form: Form<'_>) -> (bool, String) {
    let (status, text) = lath.call(key, "iam", form).await;
    let denied =
        status == 403 && text.contains("with an explicit deny in an identity-based policy");
    (denied, text)
}

/// A user of this name with the tag team=ops.
async fn tagged_user(lath: &Installation, name: &str) -> Key {
    let key = lath.user(name, TRUST_NOTHING).await;
    let tag = [
        ("Action", "TagUser"),
        ("UserName", name),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "ops"),
    ];
    lath.iam(&lath.root, &tag).await;
    key
}

const TRUST_NOTHING: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*"}}"#;

/// For `CreateUser` with the tags env=dev and Team=shop and a boundary: a condition, and whether a deny with it
/// applies.
const OF_A_CREATE: &[(&str, bool)] = &[
    (r#"{"StringEquals":{"aws:RequestTag/env":"dev"}}"#, true),
    (r#"{"StringEquals":{"aws:RequestTag/ENV":"dev"}}"#, true),
    (r#"{"StringNotEquals":{"aws:RequestTag/env":"dev"}}"#, false),
    (r#"{"StringEquals":{"aws:RequestTag/other":"dev"}}"#, false),
    (r#"{"Null":{"aws:RequestTag/other":"true"}}"#, true),
    (
        r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["env","Team"]}}"#,
        true,
    ),
    (
        r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}}"#,
        false,
    ),
    (
        r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["env"]}}"#,
        true,
    ),
    (
        r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["x"]}}"#,
        false,
    ),
    (
        r#"{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["env"]}}"#,
        true,
    ),
    (r#"{"StringLike":{"aws:UserAgent":"tester/*"}}"#, true),
    (r#"{"StringNotLike":{"aws:UserAgent":"tester/*"}}"#, false),
    (r#"{"StringEquals":{"aws:PrincipalTag/team":"ops"}}"#, true),
    (r#"{"StringEquals":{"aws:PrincipalTag/Team":"ops"}}"#, true),
    (
        r#"{"StringNotEquals":{"aws:PrincipalTag/team":"ops"}}"#,
        false,
    ),
    (
        r#"{"StringEquals":{"aws:PrincipalTag/team":"${aws:RequestTag/env}"}}"#,
        false,
    ),
    (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, true),
    (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, false),
    (r#"{"Null":{"aws:CalledVia":"true"}}"#, true),
    (
        r#"{"ForAnyValue:StringEquals":{"aws:CalledVia":"x.amazonaws.com"}}"#,
        false,
    ),
    (r#"{"Bool":{"aws:ViaAWSService":"false"}}"#, true),
    (r#"{"Bool":{"aws:PrincipalIsAWSService":"true"}}"#, false),
    (r#"{"Bool":{"aws:SecureTransport":"false"}}"#, true),
    (r#"{"Bool":{"aws:SecureTransport":"true"}}"#, false),
    (
        r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ann"}}"#,
        true,
    ),
    (
        r#"{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ann"}}"#,
        false,
    ),
    (r#"{"StringEquals":{"aws:PrincipalType":"User"}}"#, true),
    (r#"{"StringEquals":{"aws:username":"ann"}}"#, true),
    (
        r#"{"StringEquals":{"aws:ResourceAccount":"123456789012"}}"#,
        true,
    ),
    (
        r#"{"StringNotEquals":{"aws:ResourceAccount":"${aws:PrincipalAccount}"}}"#,
        false,
    ),
    (
        r#"{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}"#,
        true,
    ),
    (r#"{"Null":{"aws:MultiFactorAuthPresent":"true"}}"#, true),
    (
        r#"{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}"#,
        true,
    ),
    (
        r#"{"ArnEquals":{"iam:PermissionsBoundary":"arn:aws:iam::aws:policy/IAMFullAccess"}}"#,
        true,
    ),
    (
        r#"{"StringNotEquals":{"iam:PermissionsBoundary":"arn:aws:iam::aws:policy/IAMFullAccess"}}"#,
        false,
    ),
    (r#"{"StringEquals":{"ec2:Vpc":"x"}}"#, false),
    (r#"{"StringEquals":{"iam:AWSServiceName":"x"}}"#, false),
];

#[tokio::test]
async fn the_keys_of_a_request_decide() {
    let lath = Installation::new().await;
    let ann = tagged_user(&lath, "ann").await;
    for (index, (condition, want)) in OF_A_CREATE.iter().enumerate() {
        let deny = format!(
            r#"{{"Effect":"Deny","Action":"iam:CreateUser","Resource":"*","Condition":{condition}}}"#
        );
        with_policy(&lath, "ann", &deny).await;
        let name = format!("new-{index}");
        let form = [
            ("Action", "CreateUser"),
            ("UserName", &*name),
            ("PermissionsBoundary", FULL),
            ("Tags.member.1.Key", "env"),
            ("Tags.member.1.Value", "dev"),
            ("Tags.member.2.Key", "Team"),
            ("Tags.member.2.Value", "shop"),
        ];
        let (denied, text) = refused(&lath, &ann, &form).await;
        assert_eq!(denied, *want, "{condition}: {text}");
    }
}

/// Bob and a role, both with the tag env=prod and a boundary, and a profile.
async fn targets(lath: &Installation) {
    let tag = [
        ("Tags.member.1.Key", "env"),
        ("Tags.member.1.Value", "prod"),
    ];
    let user = [
        ("Action", "CreateUser"),
        ("UserName", "bob"),
        ("PermissionsBoundary", LOOK),
    ];
    let role = [
        ("Action", "CreateRole"),
        ("RoleName", "worker"),
        ("AssumeRolePolicyDocument", TRUST),
        ("PermissionsBoundary", LOOK),
    ];
    let profile = [
        ("Action", "CreateInstanceProfile"),
        ("InstanceProfileName", "web"),
    ];
    lath.iam(&lath.root, &[&user[..], &tag].concat()).await;
    lath.iam(&lath.root, &[&role[..], &tag].concat()).await;
    lath.iam(&lath.root, &profile).await;
}

/// A request, an action, a condition, and whether a deny of the action with it applies.
type Row<'a> = (Form<'a>, &'a str, &'a str, bool);

const OF_RECORDS: &[Row<'_>] = &[
    (
        &[("Action", "GetUser"), ("UserName", "Bob")],
        "GetUser",
        r#"{"StringEquals":{"aws:ResourceTag/env":"prod"}}"#,
        true,
    ),
    (
        &[("Action", "GetUser"), ("UserName", "bob")],
        "GetUser",
        r#"{"StringEquals":{"iam:ResourceTag/env":"prod"}}"#,
        true,
    ),
    (
        &[("Action", "GetUser"), ("UserName", "bob")],
        "GetUser",
        r#"{"StringNotEquals":{"iam:ResourceTag/env":"prod"}}"#,
        false,
    ),
    (
        &[("Action", "GetUser"), ("UserName", "bob")],
        "GetUser",
        r#"{"Null":{"iam:ResourceTag/other":"true"}}"#,
        true,
    ),
    (
        &[("Action", "GetRole"), ("RoleName", "worker")],
        "GetRole",
        r#"{"StringEquals":{"iam:ResourceTag/env":"prod"}}"#,
        true,
    ),
    (
        &[("Action", "GetRole"), ("RoleName", "worker")],
        "GetRole",
        r#"{"StringLike":{"iam:PermissionsBoundary":"*/ReadOnlyAccess"}}"#,
        true,
    ),
    (
        &[
            ("Action", "UpdateUser"),
            ("UserName", "bob"),
            ("NewPath", "/q/"),
        ],
        "UpdateUser",
        r#"{"StringNotEquals":{"aws:ResourceTag/env":"prod"}}"#,
        false,
    ),
    (
        &[
            ("Action", "DetachUserPolicy"),
            ("UserName", "bob"),
            ("PolicyArn", FULL),
        ],
        "DetachUserPolicy",
        r#"{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/IAMFullAccess"}}"#,
        true,
    ),
    (
        &[
            ("Action", "DetachUserPolicy"),
            ("UserName", "bob"),
            ("PolicyArn", FULL),
        ],
        "DetachUserPolicy",
        r#"{"StringNotLike":{"iam:PermissionsBoundary":"*/ReadOnlyAccess"}}"#,
        false,
    ),
    (
        &[
            ("Action", "PutUserPermissionsBoundary"),
            ("UserName", "bob"),
            ("PermissionsBoundary", FULL),
        ],
        "PutUserPermissionsBoundary",
        r#"{"StringLike":{"iam:PermissionsBoundary":"*/IAMFullAccess"}}"#,
        true,
    ),
    (
        &[
            ("Action", "DeleteRolePermissionsBoundary"),
            ("RoleName", "worker"),
        ],
        "DeleteRolePermissionsBoundary",
        r#"{"StringLike":{"iam:PermissionsBoundary":"*/ReadOnlyAccess"}}"#,
        true,
    ),
    (
        &[
            ("Action", "UntagUser"),
            ("UserName", "bob"),
            ("TagKeys.member.1", "env"),
        ],
        "UntagUser",
        r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":"env"}}"#,
        true,
    ),
    (
        &[
            ("Action", "CreateServiceLinkedRole"),
            ("AWSServiceName", "eks.amazonaws.com"),
        ],
        "CreateServiceLinkedRole",
        r#"{"StringEquals":{"iam:AWSServiceName":"eks.amazonaws.com"}}"#,
        true,
    ),
    (
        PASS,
        "PassRole",
        r#"{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}"#,
        true,
    ),
    (
        PASS,
        "PassRole",
        r#"{"StringEquals":{"iam:ResourceTag/env":"prod"}}"#,
        true,
    ),
    // A profile is for any instance of the account, in any region.
    (
        PASS,
        "PassRole",
        r#"{"ArnLike":{"iam:AssociatedResourceArn":"arn:aws:ec2:*:123456789012:instance/*"}}"#,
        true,
    ),
    (
        PASS,
        "PassRole",
        r#"{"ArnLike":{"iam:AssociatedResourceArn":"arn:aws:ec2:us-east-1:123456789012:instance/i-1"}}"#,
        false,
    ),
    (
        PASS,
        "PassRole",
        r#"{"StringNotEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}"#,
        false,
    ),
];

const PASS: Form<'_> = &[
    ("Action", "AddRoleToInstanceProfile"),
    ("InstanceProfileName", "web"),
    ("RoleName", "worker"),
];

#[tokio::test]
async fn the_keys_of_records_decide() {
    let lath = Installation::new().await;
    let ann = tagged_user(&lath, "ann").await;
    targets(&lath).await;
    for (form, action, condition, want) in OF_RECORDS {
        let deny = format!(
            r#"{{"Effect":"Deny","Action":"iam:{action}","Resource":"*","Condition":{condition}}}"#
        );
        with_policy(&lath, "ann", &deny).await;
        let (denied, text) = refused(&lath, &ann, form).await;
        assert_eq!(denied, *want, "{form:?} {condition}: {text}");
    }
}

/// For `AssumeRole` with all its parameters: a condition of the trust policy, and whether it allows Ann.
const OF_TRUST: &[(&str, bool)] = &[
    (r#"{"StringEquals":{"sts:ExternalId":"e-1"}}"#, true),
    (r#"{"StringNotEquals":{"sts:ExternalId":"e-1"}}"#, false),
    (
        r#"{"StringEquals":{"sts:RoleSessionName":"${aws:username}"}}"#,
        true,
    ),
    (r#"{"StringEquals":{"sts:RoleSessionName":"bob"}}"#, false),
    (r#"{"StringEquals":{"sts:SourceIdentity":"me"}}"#, true),
    (r#"{"Null":{"sts:SourceIdentity":"true"}}"#, false),
    (
        r#"{"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["env","x"]}}"#,
        true,
    ),
    (
        r#"{"ForAllValues:StringEquals":{"sts:TransitiveTagKeys":["x"]}}"#,
        false,
    ),
    (r#"{"StringEquals":{"aws:RequestTag/env":"dev"}}"#, true),
    (
        r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}}"#,
        true,
    ),
    (r#"{"StringEquals":{"aws:PrincipalTag/team":"ops"}}"#, true),
    (r#"{"StringEquals":{"iam:ResourceTag/env":"prod"}}"#, true),
    (r#"{"StringEquals":{"aws:ResourceTag/env":"dev"}}"#, false),
    (r#"{"StringLike":{"aws:UserAgent":"tester/*"}}"#, true),
    (r#"{"StringLike":{"aws:UserAgent":"curl/*"}}"#, false),
    (r#"{"Null":{"saml:sub":"true"}}"#, true),
    (r#"{"StringEquals":{"accounts.google.com:aud":"x"}}"#, false),
];

const ASSUME: Form<'_> = &[
    ("Action", "AssumeRole"),
    ("RoleArn", "arn:aws:iam::123456789012:role/worker"),
    ("RoleSessionName", "ann"),
    ("ExternalId", "e-1"),
    ("SourceIdentity", "me"),
    ("Tags.member.1.Key", "env"),
    ("Tags.member.1.Value", "dev"),
    ("TransitiveTagKeys.member.1", "env"),
];

#[tokio::test]
async fn the_keys_of_assume_role_decide() {
    let lath = Installation::new().await;
    let ann = tagged_user(&lath, "ann").await;
    targets(&lath).await;
    for (condition, want) in OF_TRUST {
        let trust = TRUST.replace(
            "\"Principal\"",
            &format!("\"Condition\":{condition},\"Principal\""),
        );
        let form = [
            ("Action", "UpdateAssumeRolePolicy"),
            ("RoleName", "worker"),
            ("PolicyDocument", &*trust),
        ];
        lath.iam(&lath.root, &form).await;
        // The trust policy names the account, so that Ann's own policies must allow too, and a deny in them applies.
        with_policy(
            &lath,
            "ann",
            r#"{"Effect":"Deny","Action":"s3:*","Resource":"*"}"#,
        )
        .await;
        let (status, text) = lath.call(&ann, "sts", ASSUME).await;
        assert_eq!(status == 200, *want, "trust {condition}: {text}");
        let deny = format!(
            r#"{{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*","Condition":{condition}}}"#
        );
        with_policy(&lath, "ann", &deny).await;
        let (status, text) = lath.call(&ann, "sts", ASSUME).await;
        assert_eq!(status, 403, "denied {condition}: {text}");
    }
}

#[tokio::test]
async fn a_simulation_shows_a_key_that_is_missing() {
    let lath = Installation::new().await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"},
        {"Effect":"Deny","Action":"iam:PassRole","Resource":"*",
         "Condition":{"ArnLike":{"iam:AssociatedResourceArn":"arn:aws:ec2:*:*:instance/i-1"}}}]}"#;
    let form = [
        ("Action", "SimulateCustomPolicy"),
        ("PolicyInputList.member.1", policy),
        ("ActionNames.member.1", "iam:passrole"),
    ];
    let text = lath.iam(&lath.root, &form).await;
    assert_eq!(element(&text, "EvalDecision").unwrap(), "allowed", "{text}");
    assert!(
        text.contains("<member>iam:AssociatedResourceArn</member>"),
        "{text}"
    );
    let given = [
        (
            "ContextEntries.member.1.ContextKeyName",
            "iam:AssociatedResourceArn",
        ),
        (
            "ContextEntries.member.1.ContextKeyValues.member.1",
            "arn:aws:ec2:us-east-1:123456789012:instance/i-1",
        ),
        ("ContextEntries.member.1.ContextKeyType", "string"),
    ];
    let text = lath.iam(&lath.root, &[&form[..], &given].concat()).await;
    assert_eq!(
        element(&text, "EvalDecision").unwrap(),
        "explicitDeny",
        "{text}"
    );
}
