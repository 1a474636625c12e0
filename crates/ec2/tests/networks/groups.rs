use lath_control::Claim;

use crate::api::Api;
use crate::vpcs::{forget, put};

const LATTICE: &str = "Action=DescribeManagedPrefixLists&Filter.1.Name=prefix-list-name&Filter.1.Value.1=com.amazonaws.us-east-1.vpc-lattice";

#[tokio::test]
async fn rules_are_made_as_the_cli_makes_them_and_shown_both_ways() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    let list = api.get("prefixListId", LATTICE).await;
    let authorize =
        format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpPermissions.1.");
    for rest in [
        format!("IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={group}"),
        "IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.9/16&IpPermissions.1.IpRanges.2.CidrIp=10.9.0.0/16".into(),
        format!("IpProtocol=tcp&IpPermissions.1.FromPort=8080&IpPermissions.1.ToPort=8080&IpPermissions.1.PrefixListIds.1.PrefixListId={list}"),
    ] {
        let body = api.ok(&format!("{authorize}{rest}")).await;
        assert!(body.contains("<return>true</return>") && body.contains("<securityGroupRuleId>sgr-"));
    }
    let body = api
        .ok(&format!("Action=DescribeSecurityGroups&GroupId.1={group}"))
        .await;
    let ingress = body
        .split_once("<ipPermissions>")
        .unwrap()
        .1
        .split_once("</ipPermissions>")
        .unwrap()
        .0;
    for text in [
        "<ipProtocol>-1</ipProtocol>",
        "<cidrIp>10.0.0.0/16</cidrIp>",
        "<cidrIp>10.9.0.0/16</cidrIp>",
        &format!("<prefixListId>{list}</prefixListId>"),
        &format!("<groupId>{group}</groupId>"),
    ] {
        assert!(ingress.contains(text), "{text} in {ingress}");
    }
    assert_eq!(
        ingress.matches("<fromPort>22</fromPort>").count(),
        1,
        "joined: {ingress}"
    );
    let flat = format!(
        "Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={group}"
    );
    assert_eq!(api.all("securityGroupRuleId", &flat).await.len(), 5);
    let by_port =
        "Action=DescribeSecurityGroups&Filter.1.Name=ip-permission.from-port&Filter.1.Value.1=22";
    assert_eq!(api.get("groupId", by_port).await, group);
}

#[tokio::test]
async fn the_older_form_means_the_same() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    let on = |operation: &str, rest: &str| format!("Action={operation}&GroupId={group}&{rest}");
    let ssh = "IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=10.0.0.0/8";
    api.ok(&on("AuthorizeSecurityGroupIngress", ssh)).await;
    api.refuses(&[
        (
            &on("AuthorizeSecurityGroupIngress", ssh),
            "InvalidPermission.Duplicate",
        ),
        (
            &on(
                "AuthorizeSecurityGroupIngress",
                &format!("{ssh}&IpPermissions.1.IpProtocol=-1"),
            ),
            "InvalidParameterCombination",
        ),
    ])
    .await;
    let revoked = api
        .get("isEgress", &on("RevokeSecurityGroupIngress", ssh))
        .await;
    assert_eq!(revoked, "false");
    api.refuses(&[(
        &on("RevokeSecurityGroupIngress", ssh),
        "InvalidPermission.NotFound",
    )])
    .await;
    let from_group = on(
        "AuthorizeSecurityGroupIngress",
        "SourceSecurityGroupName=web",
    );
    assert_eq!(api.all("securityGroupRuleId", &from_group).await.len(), 3);
}

#[tokio::test]
async fn rules_are_changed_and_revoked_by_id() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    let allow = format!(
        "Action=AuthorizeSecurityGroupEgress&GroupId={group}&IpPermissions.1.IpProtocol=udp&IpPermissions.1.FromPort=53&IpPermissions.1.ToPort=53&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.2/32&TagSpecification.1.ResourceType=security-group-rule&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=dns"
    );
    let rule = api.get("securityGroupRuleId", &allow).await;
    api.ok(&format!(
        "Action=ModifySecurityGroupRules&GroupId={group}&SecurityGroupRule.1.SecurityGroupRuleId={rule}&SecurityGroupRule.1.SecurityGroupRule.IpProtocol=tcp&SecurityGroupRule.1.SecurityGroupRule.FromPort=53&SecurityGroupRule.1.SecurityGroupRule.ToPort=53&SecurityGroupRule.1.SecurityGroupRule.CidrIpv4=10.0.0.3/32"
    ))
    .await;
    api.ok(&format!(
        "Action=UpdateSecurityGroupRuleDescriptionsEgress&GroupId={group}&SecurityGroupRuleDescription.1.SecurityGroupRuleId={rule}&SecurityGroupRuleDescription.1.Description=names"
    ))
    .await;
    let describe = "Action=DescribeSecurityGroupRules&Filter.1.Name=tag:Name&Filter.1.Value.1=dns";
    let body = api.ok(describe).await;
    for text in [
        "<ipProtocol>tcp<",
        "<cidrIpv4>10.0.0.3/32<",
        "<description>names<",
    ] {
        assert!(body.contains(text), "{text} in {body}");
    }
    api.ok(&format!(
        "Action=RevokeSecurityGroupEgress&GroupId={group}&SecurityGroupRuleId.1={rule}"
    ))
    .await;
    assert!(api.all("securityGroupRuleId", describe).await.is_empty());
    assert!(
        api.all("resourceId", "Action=DescribeTags")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn bad_groups_and_rules_get_awss_errors() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let other = api.vpc("10.1.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    let foreign = api.group(&other, "web").await;
    let default = format!(
        "Action=DescribeSecurityGroups&Filter.1.Name=group-name&Filter.1.Value.1=default&Filter.2.Name=vpc-id&Filter.2.Value.1={vpc}"
    );
    let default = api.get("groupId", &default).await;
    let create = format!("Action=CreateSecurityGroup&VpcId={vpc}&GroupDescription=x&GroupName=");
    let allow = format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpPermissions.1.");
    let ssh =
        "IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.";
    for (form, code) in [
        (format!("{create}web"), "InvalidGroup.Duplicate"),
        (format!("{create}default"), "InvalidParameterValue"),
        (format!("{create}sg-1"), "InvalidParameterValue"),
        (format!("{create}a%7Cb"), "InvalidParameterValue"),
        (
            "Action=CreateSecurityGroup&GroupDescription=x&GroupName=y".into(),
            "VPCIdNotSpecified",
        ),
        (
            format!("Action=CreateSecurityGroup&GroupName=y&VpcId={vpc}"),
            "MissingParameter",
        ),
        (
            format!("Action=DeleteSecurityGroup&GroupId={default}"),
            "CannotDelete",
        ),
        ("Action=DeleteSecurityGroup".into(), "MissingParameter"),
        (
            "Action=DeleteSecurityGroup&GroupName=web".into(),
            "InvalidGroup.NotFound",
        ),
        (
            "Action=DeleteSecurityGroup&GroupId=sg-0123456789abcdef0".into(),
            "InvalidGroup.NotFound",
        ),
        (
            "Action=DeleteSecurityGroup&GroupId=web".into(),
            "InvalidGroupId.Malformed",
        ),
        (
            "Action=DescribeSecurityGroups&GroupName.1=web".into(),
            "InvalidGroup.NotFound",
        ),
        (
            format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}"),
            "MissingParameter",
        ),
        (
            format!("{allow}IpProtocol=tcp&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"),
            "InvalidParameterValue",
        ),
        (
            format!("{allow}IpProtocol=nope&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"),
            "InvalidParameterValue",
        ),
        (
            format!("{allow}{ssh}IpRanges.1.CidrIp=10.0.0.0"),
            "InvalidParameterValue",
        ),
        (
            format!("{allow}{ssh}IpRanges.1.CidrIp=fd00::/8"),
            "InvalidParameterValue",
        ),
        (
            format!("{allow}{ssh}Groups.1.GroupId={foreign}"),
            "InvalidGroup.NotFound",
        ),
        (
            format!("{allow}{ssh}PrefixListIds.1.PrefixListId=pl-0123456789abcdef0"),
            "InvalidPrefixListID.NotFound",
        ),
        (
            format!(
                "{allow}{ssh}IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.2.CidrIp=10.0.0.0/8"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{allow}IpProtocol=tcp&IpPermissions.1.FromPort=9&IpPermissions.1.ToPort=8&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{allow}IpProtocol=tcp&IpPermissions.1.FromPort=0&IpPermissions.1.ToPort=65536&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"
            ),
            "InvalidParameterValue",
        ),
        (
            format!(
                "{allow}{ssh}IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.1.Description=%22"
            ),
            "InvalidParameterValue",
        ),
        (
            format!("{allow}{ssh}IpRanges.1.CidrIp=10.0.0.0/8&DryRun=true"),
            "DryRunOperation",
        ),
        (
            format!(
                "Action=RevokeSecurityGroupEgress&GroupId={group}&SecurityGroupRuleId.1=sgr-0123456789abcdef0"
            ),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
        (
            format!("Action=RevokeSecurityGroupIngress&GroupId={group}"),
            "MissingParameter",
        ),
        (
            format!(
                "Action=ModifySecurityGroupRules&GroupId={group}&SecurityGroupRule.1.SecurityGroupRuleId=x"
            ),
            "InvalidSecurityGroupRuleId.Malformed",
        ),
        (
            format!("Action=UpdateSecurityGroupRuleDescriptionsIngress&GroupId={group}"),
            "InvalidParameterCombination",
        ),
        (
            "Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1=sgr-0123456789abcdef0".into(),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
    ] {
        api.refuses(&[(&form, code)]).await;
    }
}

#[tokio::test]
async fn a_group_in_use_stays() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let (group, other) = (api.group(&vpc, "web").await, api.group(&vpc, "db").await);
    let allow = |into: &str, from: &str| {
        format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={into}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={from}"
        )
    };
    api.ok(&allow(&group, &group)).await;
    api.ok(&allow(&other, &group)).await;
    let delete = format!("Action=DeleteSecurityGroup&GroupId={group}");
    let (code, _, message) = api.error(&delete).await;
    assert_eq!(code, "DependencyViolation");
    assert_eq!(message, format!("resource {group} has a dependent object"));
    api.ok(&format!("Action=DeleteSecurityGroup&GroupId={other}"))
        .await;
    let claim = Claim {
        resource: group.clone(),
        holder: "snva-0123456789abcdef0".into(),
    };
    put(&api, claim.clone()).await;
    api.refuses(&[(&delete, "DependencyViolation")]).await;
    forget(&api, &claim).await;
    api.ok(&delete).await;
}

#[tokio::test]
async fn the_sixty_first_rule_is_refused() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    let mut form = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpPermissions.1.IpProtocol=-1"
    );
    for n in 1..=61 {
        form += &format!("&IpPermissions.1.IpRanges.{n}.CidrIp=10.{n}.0.0/16");
    }
    api.refuses(&[(&form, "RulesPerSecurityGroupLimitExceeded")])
        .await;
}

#[tokio::test]
async fn the_groups_of_a_vpc_are_its_own() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let other = api.vpc("10.1.0.0/16").await;
    let group = api.group(&vpc, "web").await;
    api.group(&other, "db").await;
    let get = format!("Action=GetSecurityGroupsForVpc&VpcId={vpc}");
    let mut names = api.all("groupName", &get).await;
    names.sort();
    assert_eq!(names, ["default", "web"]);
    let web = format!("{get}&Filter.1.Name=group-name&Filter.1.Value.1=web");
    assert_eq!(api.get("groupId", &web).await, group);
    assert_eq!(api.get("primaryVpcId", &web).await, vpc);
    api.refuses(&[
        (
            "Action=GetSecurityGroupsForVpc&VpcId=vpc-0123456789abcdef0",
            "InvalidVpcID.NotFound",
        ),
        (
            &format!("{get}&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}"),
            "InvalidParameterValue",
        ),
        (&format!("{get}&DryRun=true"), "DryRunOperation"),
    ])
    .await;
}
