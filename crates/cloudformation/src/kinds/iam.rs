//! IAM. Its resources are found again by the names that they were to get and CloudFormation's tag on them.

use serde_json::{Value, json};

use super::{Call, Ctx, Kind, NOTHING, Named, added, call, items, tag_list, text_of};

const IAM: &str = "iam";

const fn named(property: &'static str, longest: usize) -> Option<Named> {
    Some(Named {
        property,
        longest,
        is_lower_case: false,
    })
}

/// Whether what was found was made for this resource.
fn is_own(ctx: &Ctx<'_>, item: &Value) -> bool {
    let tags = items(item.get("Tags").unwrap_or(&Value::Null));
    let own = |key: &str, value: &str| {
        tags.iter()
            .any(|it| it["Key"] == key && it["Value"] == value)
    };
    own("aws:cloudformation:stack-id", ctx.stack_arn)
        && own("aws:cloudformation:logical-id", ctx.logical)
}

fn tags(
    ctx: &Ctx<'_>,
    member: &str,
    id: &str,
    set: &'static str,
    clear: &'static str,
) -> Vec<Call> {
    let (new, gone) = ctx.changed_tags();
    let mut calls = Vec::new();
    if !new.is_empty() {
        calls.push(call(
            IAM,
            set,
            json!({member: id, "Tags": tag_list(&new, "Key", "Value")}),
        ));
    }
    if !gone.is_empty() {
        calls.push(call(IAM, clear, json!({member: id, "TagKeys": gone})));
    }
    calls
}

fn role(ctx: &Ctx<'_>) -> Vec<Call> {
    let mut calls = tags(ctx, "RoleName", ctx.id, "TagRole", "UntagRole");
    if ctx.old.is_some() && ctx.changes(&["AssumeRolePolicyDocument"]) {
        calls.push(call(
            IAM,
            "UpdateAssumeRolePolicy",
            json!({
                "RoleName": ctx.id,
                "PolicyDocument": ctx.document("AssumeRolePolicyDocument"),
            }),
        ));
    }
    if ctx.old.is_some() && ctx.changes(&["Description", "MaxSessionDuration"]) {
        calls.push(call(
            IAM,
            "UpdateRole",
            json!({
                "RoleName": ctx.id,
                "Description": ctx.text("Description"),
                "MaxSessionDuration": ctx.p("MaxSessionDuration"),
            }),
        ));
    }
    if ctx.old.is_some() && ctx.changes(&["PermissionsBoundary"]) {
        calls.push(match ctx.p("PermissionsBoundary") {
            Value::Null => call(
                IAM,
                "DeleteRolePermissionsBoundary",
                json!({"RoleName": ctx.id}),
            ),
            arn => call(
                IAM,
                "PutRolePermissionsBoundary",
                json!({"RoleName": ctx.id, "PermissionsBoundary": arn}),
            ),
        });
    }
    for arn in added(
        &ctx.p("ManagedPolicyArns"),
        &ctx.before("ManagedPolicyArns"),
    ) {
        calls.push(call(
            IAM,
            "AttachRolePolicy",
            json!({"RoleName": ctx.id, "PolicyArn": arn}),
        ));
    }
    for arn in added(
        &ctx.before("ManagedPolicyArns"),
        &ctx.p("ManagedPolicyArns"),
    ) {
        let detach = call(
            IAM,
            "DetachRolePolicy",
            json!({"RoleName": ctx.id, "PolicyArn": arn}),
        );
        calls.push(detach.done_by(&["NoSuchEntity"]));
    }
    let names = |policies: &Value| -> Vec<Value> {
        items(policies)
            .iter()
            .map(|it| it["PolicyName"].clone())
            .collect()
    };
    let (new, old) = (ctx.p("Policies"), ctx.before("Policies"));
    for policy in added(&new, &old) {
        calls.push(call(
            IAM,
            "PutRolePolicy",
            json!({
                "RoleName": ctx.id,
                "PolicyName": policy["PolicyName"],
                "PolicyDocument": super::document(&policy["PolicyDocument"]),
            }),
        ));
    }
    let kept = names(&new);
    for name in names(&old).into_iter().filter(|it| !kept.contains(it)) {
        let delete = call(
            IAM,
            "DeleteRolePolicy",
            json!({"RoleName": ctx.id, "PolicyName": name}),
        );
        calls.push(delete.done_by(&["NoSuchEntity"]));
    }
    calls
}

fn remove_role(ctx: &Ctx<'_>) -> Vec<Call> {
    let mut calls = Vec::new();
    for arn in items(&ctx.p("ManagedPolicyArns")) {
        calls.push(
            call(
                IAM,
                "DetachRolePolicy",
                json!({"RoleName": ctx.id, "PolicyArn": arn}),
            )
            .done_by(&["NoSuchEntity"]),
        );
    }
    for policy in items(&ctx.p("Policies")) {
        let input = json!({"RoleName": ctx.id, "PolicyName": policy["PolicyName"]});
        calls.push(call(IAM, "DeleteRolePolicy", input).done_by(&["NoSuchEntity"]));
    }
    calls.push(call(IAM, "DeleteRole", json!({"RoleName": ctx.id})));
    calls
}

/// Whom a policy is for, with the operations that give and take it.
const HOLDERS: [(&str, &str, &str, &str, &str, &str); 3] = [
    (
        "Roles",
        "RoleName",
        "PutRolePolicy",
        "DeleteRolePolicy",
        "AttachRolePolicy",
        "DetachRolePolicy",
    ),
    (
        "Users",
        "UserName",
        "PutUserPolicy",
        "DeleteUserPolicy",
        "AttachUserPolicy",
        "DetachUserPolicy",
    ),
    (
        "Groups",
        "GroupName",
        "PutGroupPolicy",
        "DeleteGroupPolicy",
        "AttachGroupPolicy",
        "DetachGroupPolicy",
    ),
];

fn inline(ctx: &Ctx<'_>) -> Vec<Call> {
    let mut calls = Vec::new();
    let is_new = ctx.old.is_some() && ctx.changes(&["PolicyDocument", "PolicyName"]);
    for (holders, member, put, delete, ..) in HOLDERS {
        let before = if is_new {
            Value::Null
        } else {
            ctx.before(holders)
        };
        for holder in added(&ctx.p(holders), &before) {
            calls.push(call(
                IAM,
                put,
                json!({
                    member: holder,
                    "PolicyName": ctx.p("PolicyName"),
                    "PolicyDocument": ctx.document("PolicyDocument"),
                }),
            ));
        }
        // A policy that is named anew is another one: all who had it lose the one of the old name.
        let lost = if ctx.old.is_some() && ctx.changes(&["PolicyName"]) {
            items(&ctx.before(holders))
        } else {
            added(&ctx.before(holders), &ctx.p(holders))
        };
        for holder in lost {
            let taken = call(
                IAM,
                delete,
                json!({member: holder, "PolicyName": ctx.before("PolicyName")}),
            );
            calls.push(taken.done_by(&["NoSuchEntity"]));
        }
    }
    calls
}

fn managed(ctx: &Ctx<'_>) -> Vec<Call> {
    let mut calls = Vec::new();
    if ctx.old.is_some() && ctx.changes(&["PolicyDocument"]) {
        calls.push(call(
            IAM,
            "CreatePolicyVersion",
            json!({
                "PolicyArn": ctx.id,
                "PolicyDocument": ctx.document("PolicyDocument"),
                "SetAsDefault": true,
            }),
        ));
        // There may be five versions, and a policy with several is not deleted: the former default goes.
        let before = ctx.attribute("DefaultVersionId");
        if !before.is_empty() {
            let input = json!({"PolicyArn": ctx.id, "VersionId": before});
            calls.push(call(IAM, "DeletePolicyVersion", input).done_by(&["NoSuchEntity"]));
        }
    }
    for (holders, member, _, _, attach, detach) in HOLDERS {
        for holder in added(&ctx.p(holders), &ctx.before(holders)) {
            calls.push(call(
                IAM,
                attach,
                json!({member: holder, "PolicyArn": ctx.id}),
            ));
        }
        for holder in added(&ctx.before(holders), &ctx.p(holders)) {
            calls.push(
                call(IAM, detach, json!({member: holder, "PolicyArn": ctx.id}))
                    .done_by(&["NoSuchEntity"]),
            );
        }
    }
    calls
}

/// The ARN of the policy that bears the chosen name, in the account that the stack is in.
fn policy_arn(ctx: &Ctx<'_>) -> String {
    let mut parts = ctx.stack_arn.split(':').skip(1);
    let partition = parts.next().unwrap_or("aws");
    let account = parts.nth(2).unwrap_or_default();
    let path = ctx.text("Path");
    let path = if path.is_empty() { "/" } else { path.as_str() };
    format!("arn:{partition}:iam::{account}:policy{path}{}", ctx.id)
}

/// The ARN of the provider of a URL.
fn provider_arn(ctx: &Ctx<'_>) -> String {
    let mut parts = ctx.stack_arn.split(':').skip(1);
    let partition = parts.next().unwrap_or("aws");
    let account = parts.nth(2).unwrap_or_default();
    let url = ctx.text("Url");
    format!(
        "arn:{partition}:iam::{account}:oidc-provider/{}",
        url.strip_prefix("https://").unwrap_or(&url)
    )
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::IAM::Role",
        properties: "RoleName! Path! AssumeRolePolicyDocument* Description ManagedPolicyArns MaxSessionDuration PermissionsBoundary \
                     Policies Tags",
        named: named("RoleName", 64),
        make: |ctx| {
            call(
                IAM,
                "CreateRole",
                json!({
                    "RoleName": ctx.id,
                    "Path": ctx.p("Path"),
                    "AssumeRolePolicyDocument": ctx.document("AssumeRolePolicyDocument"),
                    "Description": ctx.p("Description"),
                    "MaxSessionDuration": ctx.p("MaxSessionDuration"),
                    "PermissionsBoundary": ctx.p("PermissionsBoundary"),
                    "Tags": ctx.tag_list("Key", "Value"),
                }),
            )
        },
        find: Some(|ctx| call(IAM, "GetRole", json!({"RoleName": ctx.id}))),
        found: |ctx, answer| is_own(ctx, answer.get("Role")?).then(|| ctx.id.to_owned()),
        complete: role,
        read: Some(|ctx| call(IAM, "GetRole", json!({"RoleName": ctx.id}))),
        item: "/Role",
        remove: remove_role,
        attributes: &[("Arn", "/Arn"), ("RoleId", "/RoleId")],
        of_iam: true,
        ..NOTHING
    },
    Kind {
        name: "AWS::IAM::InstanceProfile",
        properties: "InstanceProfileName! Path! Roles*",
        named: named("InstanceProfileName", 128),
        make: |ctx| {
            call(
                IAM,
                "CreateInstanceProfile",
                json!({
                    "InstanceProfileName": ctx.id,
                    "Path": ctx.p("Path"),
                    "Tags": ctx.tag_list("Key", "Value"),
                }),
            )
        },
        find: Some(|ctx| {
            call(
                IAM,
                "GetInstanceProfile",
                json!({"InstanceProfileName": ctx.id}),
            )
        }),
        found: |ctx, answer| is_own(ctx, answer.get("InstanceProfile")?).then(|| ctx.id.to_owned()),
        complete: |ctx| {
            let profile = |role: &Value| json!({"InstanceProfileName": ctx.id, "RoleName": role});
            let mut calls = Vec::new();
            for role in added(&ctx.before("Roles"), &ctx.p("Roles")) {
                calls.push(
                    call(IAM, "RemoveRoleFromInstanceProfile", profile(&role))
                        .done_by(&["NoSuchEntity"]),
                );
            }
            for role in added(&ctx.p("Roles"), &ctx.before("Roles")) {
                // A profile has one role: after a restart it may have this one already.
                let once: &[&str] = if ctx.old.is_none() {
                    &["LimitExceeded"]
                } else {
                    &[]
                };
                calls.push(call(IAM, "AddRoleToInstanceProfile", profile(&role)).done_by(once));
            }
            calls
        },
        read: Some(|ctx| {
            call(
                IAM,
                "GetInstanceProfile",
                json!({"InstanceProfileName": ctx.id}),
            )
        }),
        item: "/InstanceProfile",
        remove: |ctx| {
            let mut calls = Vec::new();
            for role in items(&ctx.p("Roles")) {
                let input = json!({"InstanceProfileName": ctx.id, "RoleName": role});
                calls.push(
                    call(IAM, "RemoveRoleFromInstanceProfile", input).done_by(&["NoSuchEntity"]),
                );
            }
            calls.push(call(
                IAM,
                "DeleteInstanceProfile",
                json!({"InstanceProfileName": ctx.id}),
            ));
            calls
        },
        attributes: &[("Arn", "/Arn")],
        of_iam: true,
        ..NOTHING
    },
    Kind {
        name: "AWS::IAM::Policy",
        properties: "PolicyName* PolicyDocument* Roles Users Groups",
        make: |ctx| match inline(ctx).into_iter().next() {
            Some(first) => first,
            None => call(
                IAM,
                "PutRolePolicy",
                json!({
                    "PolicyName": ctx.p("PolicyName"),
                    "PolicyDocument": ctx.document("PolicyDocument"),
                }),
            ),
        },
        id: |ctx, _| ctx.text("PolicyName"),
        complete: inline,
        remove: |ctx| {
            let mut calls = Vec::new();
            for (holders, member, _, delete, ..) in HOLDERS {
                for holder in items(&ctx.p(holders)) {
                    let input = json!({member: holder, "PolicyName": ctx.p("PolicyName")});
                    calls.push(call(IAM, delete, input).done_by(&["NoSuchEntity"]));
                }
            }
            calls
        },
        reference: |ctx| ctx.text("PolicyName"),
        of_iam: true,
        ..NOTHING
    },
    Kind {
        name: "AWS::IAM::ManagedPolicy",
        properties: "ManagedPolicyName! Path! Description! PolicyDocument* Roles Users Groups",
        named: named("ManagedPolicyName", 128),
        make: |ctx| {
            call(
                IAM,
                "CreatePolicy",
                json!({
                    "PolicyName": ctx.id,
                    "Path": ctx.p("Path"),
                    "Description": ctx.p("Description"),
                    "PolicyDocument": ctx.document("PolicyDocument"),
                    "Tags": ctx.tag_list("Key", "Value"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["Policy"]["Arn"]),
        find: Some(|ctx| call(IAM, "GetPolicy", json!({"PolicyArn": policy_arn(ctx)}))),
        found: |ctx, answer| is_own(ctx, answer.get("Policy")?).then(|| policy_arn(ctx)),
        complete: managed,
        read: Some(|ctx| call(IAM, "GetPolicy", json!({"PolicyArn": ctx.id}))),
        item: "/Policy",
        remove: |ctx| {
            let mut calls = Vec::new();
            for (holders, member, .., detach) in HOLDERS {
                for holder in items(&ctx.p(holders)) {
                    calls.push(
                        call(IAM, detach, json!({member: holder, "PolicyArn": ctx.id}))
                            .done_by(&["NoSuchEntity"]),
                    );
                }
            }
            calls.push(call(IAM, "DeletePolicy", json!({"PolicyArn": ctx.id})));
            calls
        },
        attributes: &[
            ("PolicyArn", "/Arn"),
            ("PolicyId", "/PolicyId"),
            ("DefaultVersionId", "/DefaultVersionId"),
        ],
        of_iam: true,
        ..NOTHING
    },
    Kind {
        name: "AWS::IAM::OIDCProvider",
        properties: "Url!* ClientIdList! ThumbprintList Tags",
        make: |ctx| {
            call(
                IAM,
                "CreateOpenIDConnectProvider",
                json!({
                    "Url": ctx.p("Url"),
                    "ClientIDList": ctx.p("ClientIdList"),
                    "ThumbprintList": ctx.p("ThumbprintList"),
                    "Tags": ctx.tag_list("Key", "Value"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["OpenIDConnectProviderArn"]),
        find: Some(|ctx| {
            call(
                IAM,
                "GetOpenIDConnectProvider",
                json!({"OpenIDConnectProviderArn": provider_arn(ctx)}),
            )
        }),
        found: |ctx, answer| is_own(ctx, answer).then(|| provider_arn(ctx)),
        complete: |ctx| {
            let mut calls = tags(
                ctx,
                "OpenIDConnectProviderArn",
                ctx.id,
                "TagOpenIDConnectProvider",
                "UntagOpenIDConnectProvider",
            );
            if ctx.old.is_some() && ctx.changes(&["ThumbprintList"]) {
                calls.push(call(
                    IAM,
                    "UpdateOpenIDConnectProviderThumbprint",
                    json!({
                        "OpenIDConnectProviderArn": ctx.id,
                        "ThumbprintList": ctx.p("ThumbprintList"),
                    }),
                ));
            }
            calls
        },
        remove: |ctx| {
            vec![call(
                IAM,
                "DeleteOpenIDConnectProvider",
                json!({"OpenIDConnectProviderArn": ctx.id}),
            )]
        },
        reference: |ctx| ctx.id.to_owned(),
        ..NOTHING
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    #[test]
    fn a_policy_that_is_named_anew_is_taken_by_its_old_name() {
        let new = json!({"PolicyName": "b", "PolicyDocument": {}, "Roles": ["r", "s"]});
        let old = json!({"PolicyName": "a", "PolicyDocument": {}, "Roles": ["r"]});
        let (none, tags) = (json!({}), BTreeMap::new());
        let ctx = Ctx {
            properties: &new,
            old: Some(&old),
            id: "a",
            token: "",
            attributes: &none,
            looked: &none,
            stack_name: "",
            stack_arn: "",
            logical: "",
            stack_tags: &tags,
            old_stack_tags: &tags,
        };
        let calls = inline(&ctx);
        let calls: Vec<_> = calls
            .iter()
            .map(|it| {
                (
                    it.operation,
                    text_of(&it.input["RoleName"]),
                    text_of(&it.input["PolicyName"]),
                )
            })
            .collect();
        let want = [
            ("PutRolePolicy", "r", "b"),
            ("PutRolePolicy", "s", "b"),
            ("DeleteRolePolicy", "r", "a"),
        ];
        assert_eq!(
            calls,
            want.map(|(operation, role, name)| (operation, role.to_owned(), name.to_owned()))
        );
    }
}
