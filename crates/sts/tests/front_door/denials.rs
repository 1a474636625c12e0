//! A deny of one resource, for every operation of IAM that has resources, with every spelling of the resource's name.

use crate::conditions::{refused, with_policy};
use crate::installation::*;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}"#;
const LOOK: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}}"#;

/// An operation, its members, and the resources that a deny may name.
type Row<'a> = (&'a str, Form<'a>, &'a [&'a str]);

/// Bob, his group, a role, a profile and a policy, all under a path; and Ann, the caller.
async fn installation() -> (Installation, Key) {
    let lath = Installation::new().await;
    let ann = lath.user("ann", LOOK).await;
    for form in [
        &[
            ("Action", "CreateUser"),
            ("UserName", "bob"),
            ("Path", "/p/"),
        ][..],
        &[
            ("Action", "CreateGroup"),
            ("GroupName", "ops"),
            ("Path", "/p/"),
        ],
        &[
            ("Action", "CreateRole"),
            ("RoleName", "worker"),
            ("Path", "/p/"),
            ("AssumeRolePolicyDocument", TRUST),
        ],
        &[
            ("Action", "CreateInstanceProfile"),
            ("InstanceProfileName", "web"),
            ("Path", "/p/"),
        ],
        &[
            ("Action", "CreatePolicy"),
            ("PolicyName", "read"),
            ("Path", "/p/"),
            ("PolicyDocument", LOOK),
        ],
    ] {
        lath.iam(&lath.root, form).await;
    }
    (lath, ann)
}

const ARN: &str = "arn:aws:iam::123456789012:";
const USER: &[&str] = &["user/p/bob"];
const GROUP: &[&str] = &["group/p/ops"];
const ROLE: &[&str] = &["role/p/worker"];
const PROFILE: &[&str] = &["instance-profile/p/web"];
const POLICY: &[&str] = &["policy/p/read"];

const BOB: (&str, &str) = ("UserName", "BOB");
const OPS: (&str, &str) = ("GroupName", "Ops");
const WORKER: (&str, &str) = ("RoleName", "WORKER");
const WEB: (&str, &str) = ("InstanceProfileName", "Web");
const READ: (&str, &str) = ("PolicyArn", "arn:aws:iam::123456789012:policy/p/read");
const READ_ELSEWHERE: (&str, &str) = ("PolicyArn", "arn:aws-cn:iam::123456789012:policy/p/read");
const INLINE: (&str, &str) = ("PolicyName", "x");
const DOCUMENT: (&str, &str) = ("PolicyDocument", LOOK);
const BOUNDARY: (&str, &str) = (
    "PermissionsBoundary",
    "arn:aws:iam::aws:policy/IAMFullAccess",
);
const TAG: (&str, &str) = ("Tags.member.1.Key", "a");
const VALUE: (&str, &str) = ("Tags.member.1.Value", "b");
const TAG_KEY: (&str, &str) = ("TagKeys.member.1", "a");
const KEY_ID: (&str, &str) = ("AccessKeyId", "AKIAAAAAAAAAAAAAAAAA");
const ACTIVE: (&str, &str) = ("Status", "Active");
const VERSION: (&str, &str) = ("VersionId", "v1");

const OF_USERS: &[Row<'_>] = &[
    (
        "CreateUser",
        &[("UserName", "eve"), ("Path", "/q/")],
        &["user/q/eve"],
    ),
    (
        "CreateUser",
        &[("UserName", "eve"), TAG, VALUE],
        &["user/eve"],
    ),
    ("GetUser", &[BOB], USER),
    ("GetUser", &[], &["user/ann"]),
    (
        "UpdateUser",
        &[BOB, ("NewPath", "/q/")],
        &["user/p/bob", "user/q/bob"],
    ),
    (
        "UpdateUser",
        &[BOB, ("NewUserName", "rob")],
        &["user/p/bob", "user/p/rob"],
    ),
    ("DeleteUser", &[BOB], USER),
    ("PutUserPermissionsBoundary", &[BOB, BOUNDARY], USER),
    ("DeleteUserPermissionsBoundary", &[BOB], USER),
    ("TagUser", &[BOB, TAG, VALUE], USER),
    ("UntagUser", &[BOB, TAG_KEY], USER),
    ("ListUserTags", &[BOB], USER),
    ("AttachUserPolicy", &[BOB, READ], USER),
    ("DetachUserPolicy", &[BOB, READ], USER),
    ("ListAttachedUserPolicies", &[BOB], USER),
    ("PutUserPolicy", &[BOB, INLINE, DOCUMENT], USER),
    ("GetUserPolicy", &[BOB, INLINE], USER),
    ("DeleteUserPolicy", &[BOB, INLINE], USER),
    ("ListUserPolicies", &[BOB], USER),
    ("ListGroupsForUser", &[BOB], USER),
    ("CreateAccessKey", &[BOB], USER),
    ("CreateAccessKey", &[], &["user/ann"]),
    ("ListAccessKeys", &[BOB], USER),
    ("ListAccessKeys", &[], &["user/ann"]),
    ("UpdateAccessKey", &[BOB, KEY_ID, ACTIVE], USER),
    ("UpdateAccessKey", &[KEY_ID, ACTIVE], &["user/ann"]),
    ("DeleteAccessKey", &[BOB, KEY_ID], USER),
    ("DeleteAccessKey", &[KEY_ID], &["user/ann"]),
    ("GetLoginProfile", &[BOB], USER),
    ("DeleteLoginProfile", &[BOB], USER),
    ("ListSSHPublicKeys", &[BOB], USER),
    ("ListMFADevices", &[BOB], USER),
    ("ListMFADevices", &[], &["user/ann"]),
    ("ListSigningCertificates", &[BOB], USER),
    ("ListServiceSpecificCredentials", &[BOB], USER),
    (
        "ListServiceSpecificCredentials",
        &[("AllUsers", "true")],
        &["user/*"],
    ),
];

const OF_GROUPS: &[Row<'_>] = &[
    (
        "CreateGroup",
        &[("GroupName", "dev"), ("Path", "/q/")],
        &["group/q/dev"],
    ),
    ("GetGroup", &[OPS], GROUP),
    (
        "UpdateGroup",
        &[OPS, ("NewPath", "/q/")],
        &["group/p/ops", "group/q/ops"],
    ),
    (
        "UpdateGroup",
        &[OPS, ("NewGroupName", "dev")],
        &["group/p/ops", "group/p/dev"],
    ),
    ("DeleteGroup", &[OPS], GROUP),
    ("AddUserToGroup", &[OPS, BOB], GROUP),
    ("RemoveUserFromGroup", &[OPS, BOB], GROUP),
    ("AttachGroupPolicy", &[OPS, READ], GROUP),
    ("DetachGroupPolicy", &[OPS, READ], GROUP),
    ("ListAttachedGroupPolicies", &[OPS], GROUP),
    ("PutGroupPolicy", &[OPS, INLINE, DOCUMENT], GROUP),
    ("GetGroupPolicy", &[OPS, INLINE], GROUP),
    ("DeleteGroupPolicy", &[OPS, INLINE], GROUP),
    ("ListGroupPolicies", &[OPS], GROUP),
];

const OF_ROLES: &[Row<'_>] = &[
    (
        "CreateRole",
        &[
            ("RoleName", "r"),
            ("Path", "/q/"),
            ("AssumeRolePolicyDocument", TRUST),
        ],
        &["role/q/r"],
    ),
    ("GetRole", &[WORKER], ROLE),
    ("DeleteRole", &[WORKER], ROLE),
    ("UpdateRole", &[WORKER], ROLE),
    (
        "UpdateRoleDescription",
        &[WORKER, ("Description", "d")],
        ROLE,
    ),
    (
        "UpdateAssumeRolePolicy",
        &[WORKER, ("PolicyDocument", TRUST)],
        ROLE,
    ),
    ("PutRolePermissionsBoundary", &[WORKER, BOUNDARY], ROLE),
    ("DeleteRolePermissionsBoundary", &[WORKER], ROLE),
    ("TagRole", &[WORKER, TAG, VALUE], ROLE),
    ("UntagRole", &[WORKER, TAG_KEY], ROLE),
    ("ListRoleTags", &[WORKER], ROLE),
    ("AttachRolePolicy", &[WORKER, READ], ROLE),
    ("DetachRolePolicy", &[WORKER, READ], ROLE),
    ("ListAttachedRolePolicies", &[WORKER], ROLE),
    ("PutRolePolicy", &[WORKER, INLINE, DOCUMENT], ROLE),
    ("GetRolePolicy", &[WORKER, INLINE], ROLE),
    ("DeleteRolePolicy", &[WORKER, INLINE], ROLE),
    ("ListRolePolicies", &[WORKER], ROLE),
    ("ListInstanceProfilesForRole", &[WORKER], ROLE),
    (
        "CreateServiceLinkedRole",
        &[("AWSServiceName", "eks.amazonaws.com")],
        &["role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS"],
    ),
    ("DeleteServiceLinkedRole", &[WORKER], ROLE),
    (
        "GetServiceLinkedRoleDeletionStatus",
        &[(
            "DeletionTaskId",
            "task/aws-service-role/eks.amazonaws.com/R/1",
        )],
        &["role/aws-service-role/eks.amazonaws.com/R"],
    ),
];

const OF_THE_REST: &[Row<'_>] = &[
    (
        "CreateInstanceProfile",
        &[("InstanceProfileName", "i"), ("Path", "/q/")],
        &["instance-profile/q/i"],
    ),
    ("GetInstanceProfile", &[WEB], PROFILE),
    ("DeleteInstanceProfile", &[WEB], PROFILE),
    (
        "AddRoleToInstanceProfile",
        &[WEB, WORKER],
        &["instance-profile/p/web", "role/p/worker"],
    ),
    ("RemoveRoleFromInstanceProfile", &[WEB, WORKER], PROFILE),
    ("TagInstanceProfile", &[WEB, TAG, VALUE], PROFILE),
    ("UntagInstanceProfile", &[WEB, TAG_KEY], PROFILE),
    ("ListInstanceProfileTags", &[WEB], PROFILE),
    (
        "CreatePolicy",
        &[("PolicyName", "y"), ("Path", "/q/"), DOCUMENT],
        &["policy/q/y"],
    ),
    ("GetPolicy", &[READ], POLICY),
    ("GetPolicy", &[READ_ELSEWHERE], POLICY),
    ("DeletePolicy", &[READ], POLICY),
    ("DeletePolicy", &[READ_ELSEWHERE], POLICY),
    ("TagPolicy", &[READ, TAG, VALUE], POLICY),
    ("UntagPolicy", &[READ, TAG_KEY], POLICY),
    ("ListPolicyTags", &[READ], POLICY),
    ("CreatePolicyVersion", &[READ, DOCUMENT], POLICY),
    ("GetPolicyVersion", &[READ, VERSION], POLICY),
    ("ListPolicyVersions", &[READ], POLICY),
    ("DeletePolicyVersion", &[READ, VERSION], POLICY),
    ("SetDefaultPolicyVersion", &[READ, VERSION], POLICY),
    ("ListEntitiesForPolicy", &[READ], POLICY),
    (
        "SimulatePrincipalPolicy",
        &[
            ("PolicySourceArn", "arn:aws:iam::123456789012:user/p/bob"),
            ("ActionNames.member.1", "ec2:RunInstances"),
        ],
        USER,
    ),
];

#[tokio::test]
async fn a_denied_resource_is_refused() {
    let (lath, ann) = installation().await;
    let rows = [OF_USERS, OF_GROUPS, OF_ROLES, OF_THE_REST].concat();
    for (operation, members, resources) in rows {
        let mut form = vec![("Action", operation)];
        form.extend_from_slice(members);
        for resource in resources {
            let deny = format!(r#"{{"Effect":"Deny","Action":"*","Resource":"{ARN}{resource}"}}"#);
            with_policy(&lath, "ann", &deny).await;
            let (denied, text) = refused(&lath, &ann, &form).await;
            assert!(denied, "{form:?} with {resource} denied: {text}");
        }
    }
}

/// A deny of other resources must not apply. Each request runs in its own installation, as it may change it.
#[tokio::test]
async fn a_denial_of_other_resources_does_not_matter() {
    let rows = [OF_USERS, OF_GROUPS, OF_ROLES, OF_THE_REST].concat();
    for (operation, members, resources) in rows {
        let (lath, ann) = installation().await;
        let mut form = vec![("Action", operation)];
        form.extend_from_slice(members);
        let all: Vec<String> = resources
            .iter()
            .map(|it| format!("\"{ARN}{it}\""))
            .collect();
        let deny = format!(
            r#"{{"Effect":"Deny","Action":"*","NotResource":[{}]}}"#,
            all.join(",")
        );
        with_policy(&lath, "ann", &deny).await;
        let (denied, text) = refused(&lath, &ann, &form).await;
        assert!(!denied, "{form:?} with all but {all:?} denied: {text}");
    }
}

/// The resource of GetAccessKeyLastUsed is the key's owner.
#[tokio::test]
async fn the_last_use_of_a_key_is_its_users() {
    let (lath, ann) = installation().await;
    let create = [("Action", "CreateAccessKey"), ("UserName", "bob")];
    let key = credentials(&lath.iam(&lath.root, &create).await);
    let form = [
        ("Action", "GetAccessKeyLastUsed"),
        ("AccessKeyId", &*key.id),
    ];
    let deny = format!(r#"{{"Effect":"Deny","Action":"*","Resource":"{ARN}user/p/bob"}}"#);
    with_policy(&lath, "ann", &deny).await;
    assert!(refused(&lath, &ann, &form).await.0);
    let deny = format!(r#"{{"Effect":"Deny","Action":"*","Resource":"{ARN}user/ann"}}"#);
    with_policy(&lath, "ann", &deny).await;
    assert!(!refused(&lath, &ann, &form).await.0);
}

/// Creating a resource with tags also needs the permission to tag it.
#[tokio::test]
async fn tags_of_what_is_made_need_their_own_permission() {
    let (lath, ann) = installation().await;
    let table: [(&str, Form<'_>, &str); 4] = [
        ("CreateUser", &[("UserName", "n")], "iam:TagUser"),
        (
            "CreateRole",
            &[("RoleName", "n"), ("AssumeRolePolicyDocument", TRUST)],
            "iam:TagRole",
        ),
        (
            "CreateInstanceProfile",
            &[("InstanceProfileName", "n")],
            "iam:TagInstanceProfile",
        ),
        (
            "CreatePolicy",
            &[("PolicyName", "n"), DOCUMENT],
            "iam:TagPolicy",
        ),
    ];
    for (operation, members, action) in table {
        let deny = format!(r#"{{"Effect":"Deny","Action":"{action}","Resource":"*"}}"#);
        with_policy(&lath, "ann", &deny).await;
        let mut form = vec![("Action", operation)];
        form.extend_from_slice(members);
        let tagged = [&form[..], &[TAG, VALUE]].concat();
        let (denied, text) = refused(&lath, &ann, &tagged).await;
        assert!(denied && text.contains(action), "{operation}: {text}");
        lath.iam(&ann, &form).await;
    }
}
