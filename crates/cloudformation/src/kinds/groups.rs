//! Security groups and their rules.

use serde_json::{Value, json};

use super::ec2::{first, own, tagged, tags};
use super::{Call, Ctx, Kind, NOTHING, added, call, text_of};

const EC2: &str = "ec2";

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::EC2::SecurityGroup",
        properties: "GroupDescription!* GroupName! VpcId! SecurityGroupIngress SecurityGroupEgress Tags",
        named: Some(super::Named {
            property: "GroupName",
            longest: 255,
            is_lower_case: false,
        }),
        make: |ctx| {
            call(
                EC2,
                "CreateSecurityGroup",
                json!({
                    "GroupName": ctx.id,
                    "GroupDescription": ctx.p("GroupDescription"),
                    "VpcId": ctx.p("VpcId"),
                    "TagSpecification": tagged(ctx, "security-group"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["groupId"]),
        find: Some(|ctx| call(EC2, "DescribeSecurityGroups", json!({"Filter": own(ctx)}))),
        found: |_, answer| first(answer, "securityGroupInfo", "groupId"),
        complete: |ctx| {
            let mut calls = tags(ctx);
            for (property, revoke, authorize) in [
                (
                    "SecurityGroupIngress",
                    "RevokeSecurityGroupIngress",
                    "AuthorizeSecurityGroupIngress",
                ),
                (
                    "SecurityGroupEgress",
                    "RevokeSecurityGroupEgress",
                    "AuthorizeSecurityGroupEgress",
                ),
            ] {
                let is_first = ctx.old.is_none();
                let mut gone = added(&ctx.before(property), &ctx.p(property));
                // A group begins with a rule that lets everything out: one with rules of its own does not keep it.
                if is_first && property == "SecurityGroupEgress" && !ctx.p(property).is_null() {
                    gone.push(json!({"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}));
                }
                for rule in gone {
                    calls.push(
                        call(
                            EC2,
                            revoke,
                            json!({"GroupId": ctx.id, "IpPermissions": [permission(&rule)]}),
                        )
                        .done_by(&["InvalidPermission.NotFound"]),
                    );
                }
                for rule in added(&ctx.p(property), &ctx.before(property)) {
                    calls.push(
                        call(
                            EC2,
                            authorize,
                            json!({"GroupId": ctx.id, "IpPermissions": [permission(&rule)]}),
                        )
                        .done_by(&["InvalidPermission.Duplicate"]),
                    );
                }
            }
            calls
        },
        read: Some(|ctx| call(EC2, "DescribeSecurityGroups", json!({"GroupId": [ctx.id]}))),
        item: "/securityGroupInfo/0",
        remove: |ctx| vec![call(EC2, "DeleteSecurityGroup", json!({"GroupId": ctx.id}))],
        attributes: &[
            ("GroupId", "/groupId"),
            ("Id", "/groupId"),
            ("VpcId", "/vpcId"),
            ("GroupName", "/groupName"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::SecurityGroupIngress",
        properties: "GroupId!* IpProtocol!* FromPort! ToPort! CidrIp! CidrIpv6! SourceSecurityGroupId! SourceSecurityGroupOwnerId! \
                     SourcePrefixListId! Description!",
        make: |ctx| rule(ctx, "AuthorizeSecurityGroupIngress"),
        id: |_, answer| text_of(&answer["securityGroupRuleSet"][0]["securityGroupRuleId"]),
        find: Some(|ctx| {
            call(
                EC2,
                "DescribeSecurityGroupRules",
                json!({"Filter": own(ctx)}),
            )
        }),
        found: |_, answer| first(answer, "securityGroupRuleSet", "securityGroupRuleId"),
        remove: |ctx| {
            vec![call(
                EC2,
                "RevokeSecurityGroupIngress",
                json!({"GroupId": ctx.p("GroupId"), "SecurityGroupRuleId": [ctx.id]}),
            )]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::SecurityGroupEgress",
        properties: "GroupId!* IpProtocol!* FromPort! ToPort! CidrIp! CidrIpv6! DestinationSecurityGroupId! DestinationPrefixListId! \
                     Description!",
        make: |ctx| rule(ctx, "AuthorizeSecurityGroupEgress"),
        id: |_, answer| text_of(&answer["securityGroupRuleSet"][0]["securityGroupRuleId"]),
        find: Some(|ctx| {
            call(
                EC2,
                "DescribeSecurityGroupRules",
                json!({"Filter": own(ctx)}),
            )
        }),
        found: |_, answer| first(answer, "securityGroupRuleSet", "securityGroupRuleId"),
        remove: |ctx| {
            vec![call(
                EC2,
                "RevokeSecurityGroupEgress",
                json!({"GroupId": ctx.p("GroupId"), "SecurityGroupRuleId": [ctx.id]}),
            )]
        },
        ..NOTHING
    },
];

fn rule(ctx: &Ctx<'_>, operation: &'static str) -> Call {
    call(
        EC2,
        operation,
        json!({
            "GroupId": ctx.p("GroupId"),
            "IpPermissions": [permission(ctx.properties)],
            "TagSpecification": tagged(ctx, "security-group-rule"),
        }),
    )
}

/// A rule of a template as EC2's operations take it.
fn permission(rule: &Value) -> Value {
    let p = |name: &str| rule.get(name).cloned().unwrap_or(Value::Null);
    let described =
        |name: &str, value: Value| json!([{name: value, "Description": p("Description")}]);
    let given = |name: &str| !p(name).is_null();
    let mut permission =
        json!({"IpProtocol": p("IpProtocol"), "FromPort": p("FromPort"), "ToPort": p("ToPort")});
    if given("CidrIp") {
        permission["IpRanges"] = described("CidrIp", p("CidrIp"));
    }
    if given("CidrIpv6") {
        permission["Ipv6Ranges"] = described("CidrIpv6", p("CidrIpv6"));
    }
    for name in ["SourceSecurityGroupId", "DestinationSecurityGroupId"] {
        if given(name) {
            permission["Groups"] = json!([{
                "GroupId": p(name),
                "UserId": p("SourceSecurityGroupOwnerId"),
                "Description": p("Description"),
            }]);
        }
    }
    for name in ["SourcePrefixListId", "DestinationPrefixListId"] {
        if given(name) {
            permission["PrefixListIds"] = described("PrefixListId", p(name));
        }
    }
    permission
}
