//! What requests need permission for, over real records.

use lath_authz::Authorized;
use serde::de::DeserializeOwned;

use super::*;
use crate::shape::*;

/// What a request needs: the action, the resource without the region's prefix, and its condition keys.
#[track_caller]
pub(super) fn needs<Op: Authorized + DeserializeOwned>(
    world: &World,
    request: Value,
    want: &[&str],
) {
    let op: Op = serde_json::from_value(request).unwrap();
    let permissions = lath_authz::permissions(&world.cell.db.view(), &caller(), &op);
    let got: Vec<String> = permissions
        .iter()
        .map(|it| {
            let keys = it.keys.iter();
            let mut keys: Vec<String> = keys
                .map(|(key, values)| format!(" {key}={}", values.join("+")))
                .collect();
            keys.sort();
            let line = format!("{} {}{}", it.action, it.resource, keys.concat());
            line.replace("vpc-lattice:", "")
                .replace("arn:aws:us-east-1:123456789012:", "")
        })
        .collect();
    assert_eq!(got, want);
}

async fn tag(world: &World, arn: &str) {
    let path = format!("/tags/{}", segment(arn));
    let tagged = world
        .post(&path, json!({ "tags": { "env": "prod" } }))
        .await;
    tagged.is(200, "");
}

#[tokio::test]
async fn every_spelling_of_a_resource_is_the_same_one() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    tag(&world, &format!("{ARN}service/{service}")).await;
    let want = format!("GetService service/{service} aws:ResourceTag/env=prod");
    for spelling in [
        service.clone(),
        format!("{ARN}service/{service}"),
        format!("arn:aws-cn:vpc-lattice:us-east-1:123456789012:service/{service}"),
    ] {
        let request = json!({ "serviceIdentifier": spelling });
        needs::<GetService>(&world, request, &[&want]);
    }
}

#[tokio::test]
async fn a_rule_is_named_with_its_service_and_listener_and_each_of_many_has_its_groups() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    let group = world.active_group("backend").await;
    let listener = world.listener(&service, "http", 80, forward(&group)).await;
    let listener = listener.id();
    let of_listener = format!("service/{service}/listener/{listener}");
    let rules = format!("/services/{service}/listeners/{listener}/rules");
    let rules = world.get(&rules).await;
    let rule = rules.body["items"][0]["id"].as_str().unwrap().to_owned();
    tag(&world, &format!("{ARN}{of_listener}/rule/{rule}")).await;
    let at = json!({ "serviceIdentifier": service, "listenerIdentifier": listener });
    let with = |key: &str, value: Value| {
        let mut request = at.clone();
        request[key] = value;
        request
    };
    let named = format!("{of_listener}/rule/{rule} aws:ResourceTag/env=prod");
    needs::<DeleteRule>(
        &world,
        with(
            "ruleIdentifier",
            json!(format!("{ARN}{of_listener}/rule/{rule}")),
        ),
        &[&format!("DeleteRule {named}")],
    );
    let other = "rule-0123456789abcdef0";
    let changes = json!([
        { "ruleIdentifier": rule, "action": forward(&group) },
        { "ruleIdentifier": other, "priority": 7 },
    ]);
    let mut want = [
        format!("UpdateRule {named} TargetGroupArns=targetgroup/{group}"),
        format!("UpdateRule {of_listener}/rule/{other}"),
    ];
    want.sort();
    let want: Vec<&str> = want.iter().map(String::as_str).collect();
    needs::<BatchUpdateRule>(&world, with("rules", changes), &want);
    let arn = json!({ "resourceArn": format!("{ARN}{of_listener}/rule/{rule}"), "tags": {} });
    needs::<TagResource>(&world, arn, &[&format!("TagResource {named}")]);
}

#[tokio::test]
async fn what_is_made_needs_its_parts_and_its_tags() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    let keys = format!(
        "CreateAction=CreateServiceNetworkVpcAssociation SecurityGroupIds={SG_A} \
         ServiceNetworkArn=servicenetwork/{network} VpcId={VPC_A}"
    );
    let tags = "aws:RequestTag/a=b aws:TagKeys=a";
    let all = format!("{tags} {keys}");
    needs::<CreateServiceNetworkVpcAssociation>(
        &world,
        json!({
            "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A,
            "securityGroupIds": [SG_A], "tags": { "a": "b" },
        }),
        &[
            &format!("CreateServiceNetworkVpcAssociation servicenetworkvpcassociation/* {all}"),
            &format!("CreateServiceNetworkVpcAssociation servicenetwork/{network} {all}"),
            &format!(
                "TagResource servicenetworkvpcassociation/* {tags} CreateAction=CreateServiceNetworkVpcAssociation"
            ),
            "ec2:DescribeVpcs * ec2:Region=us-east-1",
            "ec2:DescribeSecurityGroups * ec2:Region=us-east-1",
        ],
    );
    let made = json!({ "serviceNetworkIdentifier": network, "vpcIdentifier": VPC_A });
    let made = world
        .post("/servicenetworkvpcassociations", made)
        .await
        .id();
    needs::<DeleteServiceNetworkVpcAssociation>(
        &world,
        json!({ "serviceNetworkVpcAssociationIdentifier": made }),
        &[&format!(
            "DeleteServiceNetworkVpcAssociation servicenetworkvpcassociation/{made} \
             ServiceNetworkArn=servicenetwork/{network} VpcId={VPC_A}"
        )],
    );
    needs::<CreateService>(
        &world,
        json!({ "name": "web" }),
        &["CreateService service/* AuthType=NONE CreateAction=CreateService"],
    );
}

#[tokio::test]
async fn a_policy_is_that_of_a_network_or_of_a_service() {
    let world = World::new().await;
    let network = world.network("mesh").await;
    for (given, want) in [
        (network.as_str(), format!("servicenetwork/{network}")),
        (
            "svc-0123456789abcdef0",
            "service/svc-0123456789abcdef0".to_owned(),
        ),
    ] {
        let request = json!({ "resourceIdentifier": given, "policy": "{}" });
        needs::<PutAuthPolicy>(&world, request, &[&format!("PutAuthPolicy {want}")]);
    }
}

#[tokio::test]
async fn keys_of_another_regions_resources_cannot_be_told() {
    let world = World::new().await;
    let service = world.active_service("web").await;
    for (named, told) in [
        (service.clone(), true),
        (format!("{ARN}service/{service}"), true),
        (
            format!("arn:aws:vpc-lattice:eu-west-3:123456789012:service/{service}"),
            false,
        ),
    ] {
        let request = json!({ "serviceIdentifier": named });
        let op: GetService = serde_json::from_value(request).unwrap();
        let permissions = lath_authz::permissions(&world.cell.db.view(), &caller(), &op);
        let known = &permissions[0].known;
        assert_eq!(known.contains(&lath_authz::RESOURCE_TAG), told, "{named}");
    }
}
