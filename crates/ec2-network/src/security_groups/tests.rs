use serde_json::json;

use super::messages::*;
use crate::testing::{DEFAULT_GROUP, VPC, WEB_GROUP, World, values};

#[tokio::test]
async fn groups_that_are_named_by_name_are_judged_by_id() {
    let world = World::new().await;
    let web = [format!("security-group/{WEB_GROUP}")];
    let by_name = json!({"GroupName": "web"});
    assert_eq!(world.resources::<DeleteSecurityGroup>(by_name.clone()), web);
    let revoke = world.resources::<RevokeSecurityGroupIngress>(by_name.clone());
    assert_eq!(revoke, web);
    let authorize = world.resources::<AuthorizeSecurityGroupIngress>(by_name);
    assert_eq!(authorize, web);
    // Of a name that nothing has, the handler tells those who may do it to every group.
    let unknown = world.resources::<DeleteSecurityGroup>(json!({"GroupName": "none"}));
    assert_eq!(unknown, ["*"]);
}

#[tokio::test]
async fn rules_and_lists_inside_a_request_are_judged() {
    let world = World::new().await;
    let rule = |id: &str, list: &str| json!({"SecurityGroupRuleId": id, "SecurityGroupRule": {"PrefixListId": list}});
    let request = json!({
        "GroupId": WEB_GROUP,
        "SecurityGroupRule": [rule("sgr-0000000a", "pl-0000000a"), rule("sgr-0000000b", "pl-0000000b")],
    });
    assert_eq!(
        world.resources::<ModifySecurityGroupRules>(request),
        [
            "security-group/sg-0000000b",
            "security-group-rule/sgr-0000000a",
            "security-group-rule/sgr-0000000b",
            "prefix-list/pl-0000000a",
            "prefix-list/pl-0000000b",
        ]
    );
}

#[tokio::test]
async fn a_new_group_is_in_the_default_vpc_and_its_tags_need_a_permission_of_their_own() {
    let world = World::new().await;
    let tags =
        json!([{"ResourceType": "security-group", "Tag": [{"Key": "env", "Value": "prod"}]}]);
    let request = json!({"GroupName": "g", "GroupDescription": "d", "TagSpecification": tags});
    let needs = world.permissions::<CreateSecurityGroup>(request);
    let shown: Vec<_> = needs
        .iter()
        .map(|it| (&*it.action, it.resource.rsplit(':').next().unwrap()))
        .collect();
    let vpc = format!("vpc/{VPC}");
    assert_eq!(
        shown,
        [
            ("ec2:CreateSecurityGroup", vpc.as_str()),
            ("ec2:CreateSecurityGroup", "security-group/*"),
            ("ec2:CreateTags", "security-group/*"),
        ]
    );
    for need in &needs[1..] {
        assert_eq!(values(need, "aws:RequestTag/env"), ["prod"]);
        assert_eq!(values(need, "aws:TagKeys"), ["env"]);
        assert_eq!(values(need, "ec2:SecurityGroupID"), ["*"]);
    }
    assert_eq!(
        values(&needs[2], "ec2:CreateAction"),
        ["CreateSecurityGroup"]
    );
}

#[tokio::test]
async fn a_group_has_the_arn_of_its_vpc_as_a_key() {
    let world = World::new().await;
    let needs = world.permissions::<DeleteSecurityGroup>(json!({"GroupId": DEFAULT_GROUP}));
    let vpc = format!("arn:aws:ec2:us-east-1:123456789012:vpc/{VPC}");
    assert_eq!(values(&needs[0], "ec2:Vpc"), [vpc]);
}
