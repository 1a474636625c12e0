use std::sync::Arc;

use lath_control::Mode;
use lath_feed::{Snapshot, Traffic};

use crate::api::Api;

const ABSENT: &str = "acl-0123456789abcdef0";
const ANY: &str = "CidrBlock=0.0.0.0/0";

async fn acl(api: &Api, vpc: &str) -> String {
    api.get(
        "networkAclId",
        &format!("Action=CreateNetworkAcl&VpcId={vpc}"),
    )
    .await
}

async fn default_acl(api: &Api, vpc: &str) -> String {
    let form = format!(
        "Action=DescribeNetworkAcls&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}&Filter.2.Name=default&Filter.2.Value.1=true"
    );
    api.get("networkAclId", &form).await
}

fn entry(acl: &str, number: i32, egress: bool, rest: &str) -> String {
    format!(
        "Action=CreateNetworkAclEntry&NetworkAclId={acl}&RuleNumber={number}&Egress={egress}&{rest}"
    )
}

fn snapshot(api: &Api) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let view = api.app.cell.db.view();
    let parts = &lath_ec2::CONTRIBUTIONS;
    lath_control::derive_into(&api.app.cell, parts, &view, &mut snapshot);
    snapshot
}

#[tokio::test]
async fn a_new_acl_denies_and_takes_entries_in_the_order_of_their_numbers() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let acl = acl(&api, &vpc).await;
    let shown = format!("Action=DescribeNetworkAcls&NetworkAclId.1={acl}");
    assert_eq!(api.all("ruleNumber", &shown).await, ["32767", "32767"]);
    assert_eq!(api.get("default", &shown).await, "false");
    for (number, egress, rest) in [
        (
            200,
            false,
            "Protocol=6&RuleAction=allow&PortRange.From=80&PortRange.To=81&CidrBlock=10.1.2.3/8",
        ),
        (
            100,
            false,
            "Protocol=1&RuleAction=deny&Icmp.Type=8&Icmp.Code=-1&CidrBlock=0.0.0.0/0",
        ),
        (
            300,
            false,
            "Protocol=47&RuleAction=allow&CidrBlock=0.0.0.0/0",
        ),
        (100, true, "Protocol=-1&RuleAction=allow&Ipv6CidrBlock=::/0"),
        (
            110,
            true,
            "Protocol=58&RuleAction=allow&Icmp.Type=-1&Icmp.Code=-1&Ipv6CidrBlock=::/0",
        ),
        (
            120,
            true,
            "Protocol=58&RuleAction=allow&CidrBlock=0.0.0.0/0",
        ),
    ] {
        api.ok(&entry(&acl, number, egress, rest)).await;
    }
    let described = api.ok(&shown).await;
    for text in [
        "<cidrBlock>10.0.0.0/8</cidrBlock>",
        "<portRange><from>80</from><to>81</to></portRange>",
        "<ipv6CidrBlock>::/0</ipv6CidrBlock>",
        "<protocol>47</protocol>",
    ] {
        assert!(described.contains(text), "{text} in {described}");
    }
    assert_eq!(
        api.all("ruleNumber", &shown).await,
        ["100", "110", "120", "32767", "100", "200", "300", "32767"]
    );
    let replaced = entry(
        &acl,
        100,
        false,
        "Protocol=-1&RuleAction=allow&CidrBlock=0.0.0.0/0",
    );
    api.ok(&replaced.replace("Create", "Replace")).await;
    let delete =
        format!("Action=DeleteNetworkAclEntry&NetworkAclId={acl}&RuleNumber=200&Egress=false");
    api.ok(&delete).await;
    let feed = snapshot(&api);
    let feed = &feed.vpcs[&vpc.parse().unwrap()].network_acls[&acl.parse().unwrap()];
    let ingress: Vec<_> = feed
        .ingress
        .iter()
        .map(|it| (it.allow, it.traffic))
        .collect();
    assert_eq!(
        ingress,
        [(true, Traffic::All), (true, Traffic::Protocol(47))]
    );
    assert_eq!(feed.egress.len(), 3);
    api.refuses(&[(&delete, "InvalidNetworkAclEntry.NotFound")])
        .await;
    // The filters that look at entries.
    for (name, value, found) in [
        ("entry.protocol", "47", 1),
        ("entry.protocol", "tcp", 0),
        ("entry.protocol", "-1", 2),
        ("entry.icmp.type", "-1", 1),
        ("entry.port-range.from", "80", 0),
        ("entry.ipv6-cidr", "::/0", 1),
    ] {
        let form =
            format!("Action=DescribeNetworkAcls&Filter.1.Name={name}&Filter.1.Value.1={value}");
        assert_eq!(api.all("networkAclId", &form).await.len(), found, "{name}");
    }
}

#[tokio::test]
async fn a_subnet_goes_from_one_acl_to_another_and_back() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let (default, own) = (default_acl(&api, &vpc).await, acl(&api, &vpc).await);
    let of_subnet = format!(
        "Action=DescribeNetworkAcls&Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}"
    );
    let mut association = api.get("networkAclAssociationId", &of_subnet).await;
    for to in [&own, &default, &own] {
        let form = format!(
            "Action=ReplaceNetworkAclAssociation&AssociationId={association}&NetworkAclId={to}"
        );
        let new = api.get("newAssociationId", &form).await;
        assert_ne!(new, association);
        association = new;
        assert_eq!(api.get("networkAclId", &of_subnet).await, *to);
        assert_eq!(
            api.get("networkAclAssociationId", &of_subnet).await,
            association
        );
        let feed = snapshot(&api);
        let feed = &feed.vpcs[&vpc.parse().unwrap()].subnets[&subnet.parse().unwrap()];
        assert_eq!(feed.network_acl.as_ref().unwrap().as_str(), to);
    }
    let same = format!(
        "Action=ReplaceNetworkAclAssociation&AssociationId={association}&NetworkAclId={own}"
    );
    let kept = api.get("newAssociationId", &same).await;
    assert_eq!(kept, association, "nothing changes");
    let other = api.vpc("10.1.0.0/16").await;
    let foreign = default_acl(&api, &other).await;
    api.refuses(&[
        (&format!("Action=DeleteNetworkAcl&NetworkAclId={own}"), "DependencyViolation"),
        (&format!("Action=DeleteNetworkAcl&NetworkAclId={default}"), "InvalidParameterValue"),
        (&format!("Action=ReplaceNetworkAclAssociation&AssociationId={association}&NetworkAclId={foreign}"), "InvalidParameterValue"),
        (&format!("Action=ReplaceNetworkAclAssociation&AssociationId={association}&NetworkAclId={ABSENT}"), "InvalidNetworkAclID.NotFound"),
        (&format!("Action=ReplaceNetworkAclAssociation&AssociationId=aclassoc-0123456789abcdef0&NetworkAclId={own}"), "InvalidAssociationID.NotFound"),
    ])
    .await;
    api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
        .await;
    let delete_vpc = format!("Action=DeleteVpc&VpcId={vpc}");
    api.refuses(&[(&delete_vpc, "DependencyViolation")]).await;
    api.ok(&format!("Action=DeleteNetworkAcl&NetworkAclId={own}"))
        .await;
    api.ok(&delete_vpc).await;
    let left = api.all("networkAclId", "Action=DescribeNetworkAcls").await;
    assert_eq!(left, [foreign]);
}

#[tokio::test]
async fn bad_entries_get_awss_errors() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let acl = acl(&api, &vpc).await;
    let all = format!("Protocol=-1&RuleAction=allow&{ANY}");
    api.ok(&entry(&acl, 100, false, &all)).await;
    for (number, rest, code) in [
        (100, all.as_str(), "NetworkAclEntryAlreadyExists"),
        (0, &all, "InvalidParameterValue"),
        (32_767, &all, "InvalidParameterValue"),
        (
            1,
            "Protocol=tcp&RuleAction=allow&CidrBlock=0.0.0.0/0",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=256&RuleAction=allow&CidrBlock=0.0.0.0/0",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=6&RuleAction=allow&CidrBlock=0.0.0.0/0",
            "MissingParameter",
        ),
        (
            1,
            "Protocol=6&RuleAction=allow&CidrBlock=0.0.0.0/0&PortRange.From=9&PortRange.To=8",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=17&RuleAction=allow&CidrBlock=0.0.0.0/0&PortRange.From=9&PortRange.To=65536",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=1&RuleAction=allow&CidrBlock=0.0.0.0/0",
            "MissingParameter",
        ),
        (
            1,
            "Protocol=1&RuleAction=allow&CidrBlock=0.0.0.0/0&Icmp.Type=256&Icmp.Code=0",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=58&RuleAction=allow&Ipv6CidrBlock=::/0",
            "MissingParameter",
        ),
        (
            1,
            "Protocol=-1&RuleAction=perhaps&CidrBlock=0.0.0.0/0",
            "InvalidParameterValue",
        ),
        (1, "Protocol=-1&RuleAction=allow", "MissingParameter"),
        (
            1,
            "Protocol=-1&RuleAction=allow&CidrBlock=::/0",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=-1&RuleAction=allow&Ipv6CidrBlock=10.0.0.0/8",
            "InvalidParameterValue",
        ),
        (
            1,
            "Protocol=-1&RuleAction=allow&CidrBlock=0.0.0.0/0&Ipv6CidrBlock=::/0",
            "InvalidParameterCombination",
        ),
    ] {
        api.refuses(&[(&entry(&acl, number, false, rest), code)])
            .await;
    }
    let (code, _, message) = api.error(&entry(&acl, 100, false, &all)).await;
    assert_eq!(code, "NetworkAclEntryAlreadyExists");
    assert_eq!(
        message,
        "The network acl entry identified by 100 already exists."
    );
    let dry_run = format!("{}&DryRun=true", entry(&acl, 101, false, &all));
    let replace = entry(&acl, 101, false, &all).replace("Create", "Replace");
    api.refuses(&[
        (
            &entry(ABSENT, 1, true, &all),
            "InvalidNetworkAclID.NotFound",
        ),
        (
            &entry("acl-x", 1, true, &all),
            "InvalidNetworkAclId.Malformed",
        ),
        (&dry_run, "DryRunOperation"),
        (&replace, "InvalidNetworkAclEntry.NotFound"),
        (
            "Action=CreateNetworkAcl&VpcId=vpc-0123456789abcdef0",
            "InvalidVpcID.NotFound",
        ),
        (
            &format!("Action=DeleteNetworkAcl&NetworkAclId={ABSENT}"),
            "InvalidNetworkAclID.NotFound",
        ),
    ])
    .await;
}

#[tokio::test]
async fn each_direction_has_twenty_entries_of_each_ip_version_with_the_last_denial() {
    for (mode, own) in [(Mode::Strict, 19), (Mode::Extended, 39)] {
        let mut api = Api::new();
        api.become_of(mode);
        let vpc = api.vpc("10.0.0.0/16").await;
        let acl = acl(&api, &vpc).await;
        let v4 = format!("Protocol=-1&RuleAction=allow&{ANY}");
        let v6 = "Protocol=-1&RuleAction=allow&Ipv6CidrBlock=::/0";
        for number in 1..=own {
            api.ok(&entry(&acl, number, false, &v4)).await;
        }
        let full = "NetworkAclEntryLimitExceeded";
        api.refuses(&[(&entry(&acl, 50, false, &v4), full)]).await;
        api.ok(&entry(&acl, 50, true, &v4)).await;
        api.ok(&entry(&acl, 51, false, v6)).await;
        let replace = |number, rest| entry(&acl, number, false, rest).replace("Create", "Replace");
        api.refuses(&[(&replace(51, &v4), full)]).await;
        api.ok(&replace(1, &v4)).await;
        api.ok(&replace(1, v6)).await;
        api.ok(&entry(&acl, 50, false, &v4)).await;
    }
}

#[tokio::test]
async fn entries_are_found_by_the_name_and_the_number_of_their_protocol() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let acl = acl(&api, &vpc).await;
    let ports = "RuleAction=allow&PortRange.From=1&PortRange.To=9&CidrBlock=0.0.0.0/0";
    let echoes = "RuleAction=allow&Icmp.Type=-1&Icmp.Code=-1&CidrBlock=0.0.0.0/0";
    for (number, name, rest) in [(6, "tcp", ports), (17, "udp", ports), (1, "icmp", echoes)] {
        let found = |value: String| {
            format!(
                "Action=DescribeNetworkAcls&Filter.1.Name=entry.protocol&Filter.1.Value.1={value}"
            )
        };
        let by_name = found(name.to_owned());
        assert!(api.all("networkAclId", &by_name).await.is_empty(), "{name}");
        let form = format!("Protocol={number}&{rest}");
        api.ok(&entry(&acl, number, true, &form)).await;
        for form in [by_name, found(number.to_string())] {
            assert_eq!(
                api.all("networkAclId", &form).await,
                [acl.as_str()],
                "{form}"
            );
        }
    }
}

#[tokio::test]
async fn a_state_of_before_gets_the_acls_that_its_vpcs_name() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let default = default_acl(&api, &vpc).await;
    let gone = default.clone();
    let forget = move |tx: &mut lath_store::Tx| {
        tx.delete::<lath_ec2::records::NetworkAcl>(&gone);
        Ok::<_, lath_wire::ApiError>(())
    };
    api.app.cell.db.write(forget.clone()).await.unwrap();
    // Nodes deny what has an ACL that they do not know, and this one allows everything.
    let feed = snapshot(&api);
    let feed = &feed.vpcs[&vpc.parse().unwrap()].network_acls[&default.parse().unwrap()];
    assert!(feed.ingress[0].allow && feed.egress[0].allow);
    for made in [1, 0] {
        let count = lath_ec2::complete_network_acls(&api.app.cell)
            .await
            .unwrap();
        assert_eq!(count, made);
    }
    // A start that could not write leaves it to the reconciler.
    api.app.cell.db.write(forget).await.unwrap();
    lath_ec2::reconcile_networks(Arc::clone(&api.app))
        .await
        .unwrap();
    let form = format!(
        "Action=DescribeNetworkAcls&Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}"
    );
    assert_eq!(api.get("networkAclId", &form).await, default);
    let numbers = api.all("ruleNumber", &form).await;
    assert_eq!(numbers, ["100", "32767", "100", "32767"]);
}
