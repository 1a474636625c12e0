use lath_feed::{DhcpOptions, NameServer, Snapshot};

use crate::api::Api;

const ABSENT: &str = "dopt-0123456789abcdef0";

async fn options(api: &Api, rest: &str) -> String {
    api.get("dhcpOptionsId", &format!("Action=CreateDhcpOptions&{rest}"))
        .await
}

fn associate(vpc: &str, options: &str) -> String {
    format!("Action=AssociateDhcpOptions&VpcId={vpc}&DhcpOptionsId={options}")
}

fn snapshot(api: &Api) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let view = api.app.cell.db.view();
    let parts = &lath_ec2::CONTRIBUTIONS;
    lath_control::derive_into(&api.app.cell, parts, &view, &mut snapshot);
    snapshot
}

#[tokio::test]
async fn a_vpc_goes_from_the_regions_options_to_others_to_none_and_back() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let of_region = api.get("dhcpOptionsId", "Action=DescribeDhcpOptions").await;
    let own = options(
        &api,
        "DhcpConfiguration.1.Key=domain-name&DhcpConfiguration.1.Value.1=corp.test\
         &DhcpConfiguration.2.Key=domain-name-servers&DhcpConfiguration.2.Value.1=10.0.0.53\
         &DhcpConfiguration.2.Value.2=AmazonProvidedDNS\
         &DhcpConfiguration.3.Key=ntp-servers&DhcpConfiguration.3.Value.1=10.0.0.123",
    )
    .await;
    let told = DhcpOptions {
        domain_name: Some("corp.test".into()),
        domain_name_servers: vec![
            NameServer::At("10.0.0.53".parse().unwrap()),
            NameServer::Amazon,
        ],
    };
    let told = Some(told);
    let shown = format!("Action=DescribeVpcs&VpcId.1={vpc}");
    let fed = || {
        let id = vpc.parse().unwrap();
        snapshot(&api).vpcs[&id].dhcp_options.clone()
    };
    assert_eq!(api.get("dhcpOptionsId", &shown).await, of_region);
    assert_eq!(fed(), None);
    for (to, want) in [
        (own.as_str(), told.clone()),
        ("default", Some(DhcpOptions::default())),
        (&of_region, None),
        (&own, told),
    ] {
        api.ok(&associate(&vpc, to)).await;
        assert_eq!(api.get("dhcpOptionsId", &shown).await, to);
        assert_eq!(fed(), want, "{to}");
        let those =
            format!("Action=DescribeVpcs&Filter.1.Name=dhcp-options-id&Filter.1.Value.1={to}");
        assert_eq!(api.get("vpcId", &those).await, vpc);
    }
    let delete = format!("Action=DeleteDhcpOptions&DhcpOptionsId={own}");
    api.refuses(&[(&delete, "DependencyViolation")]).await;
    api.ok(&format!("Action=DeleteVpc&VpcId={vpc}")).await;
    api.ok(&delete).await;
    let left = api.all("dhcpOptionsId", "Action=DescribeDhcpOptions").await;
    assert_eq!(left, [of_region]);
}

#[tokio::test]
async fn sets_are_found_by_what_they_say() {
    let api = Api::new();
    let domain = "DhcpConfiguration.1.Key=domain-name&DhcpConfiguration.1.Value.1=corp.test";
    let tag = "TagSpecification.1.ResourceType=dhcp-options\
               &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=corp";
    let own = options(&api, &format!("{domain}&{tag}")).await;
    let node = "DhcpConfiguration.1.Key=netbios-node-type&DhcpConfiguration.1.Value.1=2";
    options(&api, node).await;
    for (name, value, found) in [
        ("dhcp-options-id", own.as_str(), 1),
        ("key", "domain-name", 2),
        ("key", "netbios-node-type", 1),
        ("value", "corp.test", 1),
        ("value", "AmazonProvidedDNS", 1),
        ("owner-id", "123456789012", 3),
        ("tag:Name", "corp", 1),
    ] {
        let form =
            format!("Action=DescribeDhcpOptions&Filter.1.Name={name}&Filter.1.Value.1={value}");
        let ids = api.all("dhcpOptionsId", &form).await;
        assert_eq!(ids.len(), found, "{name} {value}");
    }
    api.ok(&format!("Action=DeleteDhcpOptions&DhcpOptionsId={own}"))
        .await;
    let tags = api.all("resourceId", "Action=DescribeTags").await;
    assert!(tags.is_empty());
}

#[tokio::test]
async fn bad_options_get_awss_errors() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let of_region = api.get("dhcpOptionsId", "Action=DescribeDhcpOptions").await;
    let one = |key: &str, value: &str| {
        format!(
            "Action=CreateDhcpOptions&DhcpConfiguration.1.Key={key}&DhcpConfiguration.1.Value.1={value}"
        )
    };
    let delete = |id: &str| format!("Action=DeleteDhcpOptions&DhcpOptionsId={id}");
    api.refuses(&[
        ("Action=CreateDhcpOptions", "MissingParameter"),
        (
            "Action=CreateDhcpOptions&DhcpConfiguration.1.Key=domain-name",
            "MissingParameter",
        ),
        (&one("domain-name", "a..b"), "InvalidParameterValue"),
        (&one("unicorns", "1"), "InvalidParameterValue"),
        (&delete(ABSENT), "InvalidDhcpOptionID.NotFound"),
        (&delete("unicorn"), "InvalidDhcpOptionsId.Malformed"),
        (&delete("default"), "InvalidDhcpOptionsId.Malformed"),
        (&delete(&of_region), "DependencyViolation"),
        (&associate(&vpc, ABSENT), "InvalidDhcpOptionID.NotFound"),
        (
            &associate("vpc-0123456789abcdef0", "default"),
            "InvalidVpcID.NotFound",
        ),
    ])
    .await;
    for _ in 0..100 {
        api.ok(&one("domain-name", "corp.test")).await;
    }
    let full = one("domain-name", "corp.test");
    api.refuses(&[(&full, "DhcpOptionsLimitExceeded")]).await;
}
