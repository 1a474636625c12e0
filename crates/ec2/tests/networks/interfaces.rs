use crate::api::Api;

#[tokio::test]
async fn interfaces_have_addresses_of_their_subnet() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/28").await;
    let group = api.group(&vpc, "web").await;
    let create = format!(
        "Action=CreateNetworkInterface&SubnetId={subnet}&SecurityGroupId.1={group}&Description=test&SecondaryPrivateIpAddressCount=1"
    );
    let body = api.ok(&create).await;
    for text in [
        "<privateIpAddress>10.0.1.4</privateIpAddress>",
        "<privateIpAddress>10.0.1.5</privateIpAddress>",
        "<macAddress>02:00:0a:00:01:04</macAddress>",
        "<status>available</status>",
        "<privateDnsName>ip-10-0-1-4.ec2.internal</privateDnsName>",
        "<groupName>web</groupName>",
    ] {
        assert!(body.contains(text), "{text} in {body}");
    }
    let interface = api
        .get("networkInterfaceId", "Action=DescribeNetworkInterfaces")
        .await;
    let named = format!("{create}&PrivateIpAddress=10.0.1.12&ClientToken=again");
    let first = api.get("networkInterfaceId", &named).await;
    assert_eq!(api.get("networkInterfaceId", &named).await, first);
    api.refuses(&[(
        &format!("{create}&ClientToken=again"),
        "IdempotentParameterMismatch",
    )])
    .await;
    api.ok(&format!(
        "Action=DeleteNetworkInterface&NetworkInterfaceId={first}"
    ))
    .await;
    let assign = format!(
        "Action=AssignPrivateIpAddresses&NetworkInterfaceId={interface}&PrivateIpAddress.1=10.0.1.9"
    );
    assert_eq!(api.get("privateIpAddress", &assign).await, "10.0.1.9");
    api.refuses(&[(&assign, "InvalidIPAddress.InUse")]).await;
    let unassign = format!(
        "Action=UnassignPrivateIpAddresses&NetworkInterfaceId={interface}&PrivateIpAddress.1="
    );
    api.ok(&format!("{unassign}10.0.1.5")).await;
    api.refuses(&[
        (&format!("{unassign}10.0.1.4"), "InvalidParameterValue"),
        (&format!("{unassign}10.0.1.7"), "InvalidParameterValue"),
    ])
    .await;
    let modify = format!("Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={interface}");
    api.ok(&format!("{modify}&SourceDestCheck.Value=false"))
        .await;
    let attribute = format!(
        "Action=DescribeNetworkInterfaceAttribute&NetworkInterfaceId={interface}&Attribute="
    );
    assert_eq!(
        api.get("value", &format!("{attribute}sourceDestCheck"))
            .await,
        "false"
    );
    for (form, code) in [
        (modify.clone(), "MissingParameter"),
        (
            format!("{modify}&SecurityGroupId.1=sg-0123456789abcdef0"),
            "InvalidGroup.NotFound",
        ),
        (format!("{attribute}x"), "InvalidParameterValue"),
        (
            format!("Action=CreateNetworkInterface&SubnetId={subnet}&PrivateIpAddress=10.0.1.3"),
            "InvalidParameterValue",
        ),
        (
            format!("Action=CreateNetworkInterface&SubnetId={subnet}&PrivateIpAddress=10.0.1.4"),
            "InvalidIPAddress.InUse",
        ),
        (
            format!("Action=CreateNetworkInterface&SubnetId={subnet}&Ipv6AddressCount=1"),
            "UnsupportedOperation",
        ),
        (
            "Action=CreateNetworkInterface&SubnetId=subnet-0123456789abcdef0".into(),
            "InvalidSubnetID.NotFound",
        ),
        (
            "Action=DeleteNetworkInterface&NetworkInterfaceId=eni-0123456789abcdef0".into(),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (
            "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=x".into(),
            "InvalidNetworkInterfaceId.Malformed",
        ),
        (
            format!(
                "Action=AttachNetworkInterface&NetworkInterfaceId={interface}&InstanceId=i-0123456789abcdef0&DeviceIndex=1"
            ),
            "InvalidInstanceID.NotFound",
        ),
        (
            "Action=DetachNetworkInterface&AttachmentId=eni-attach-0123456789abcdef0".into(),
            "InvalidAttachmentID.NotFound",
        ),
        (
            format!("Action=DeleteSecurityGroup&GroupId={group}"),
            "DependencyViolation",
        ),
    ] {
        api.refuses(&[(&form, code)]).await;
    }
}

#[tokio::test]
async fn a_full_subnet_has_no_address_left() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/28").await;
    for _ in 0..11 {
        api.interface(&subnet).await;
    }
    let describe = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "0");
    let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
    api.refuses(&[(&create, "InsufficientFreeAddressesInSubnet")])
        .await;
}

#[tokio::test]
async fn a_repeated_create_answers_with_the_same_interface() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}&ClientToken=once");
    let first = api.get("networkInterfaceId", &create).await;
    assert_eq!(api.get("networkInterfaceId", &create).await, first);
    assert_eq!(
        api.all("networkInterfaceId", "Action=DescribeNetworkInterfaces")
            .await,
        [first]
    );
}

#[tokio::test]
async fn prefixes_are_blocks_of_sixteen_addresses_that_nobody_else_gets() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/26").await;
    let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
    let interface = api.get("networkInterfaceId", &create).await;
    let assign = format!("Action=AssignPrivateIpAddresses&NetworkInterfaceId={interface}");
    let count = format!("{assign}&Ipv4PrefixCount=1");
    // The first block holds addresses that are AWS's.
    assert_eq!(api.get("ipv4Prefix", &count).await, "10.0.1.16/28");
    let named = format!("{assign}&Ipv4Prefix.1=10.0.1.32/28");
    assert_eq!(api.get("ipv4Prefix", &named).await, "10.0.1.32/28");
    let describe = "Action=DescribeNetworkInterfaces";
    assert_eq!(
        api.all("ipv4Prefix", describe).await,
        ["10.0.1.16/28", "10.0.1.32/28"]
    );
    let free = "Action=DescribeSubnets";
    let left = 64 - 5 - 1 - 32;
    assert_eq!(
        api.get("availableIpAddressCount", free).await,
        left.to_string()
    );
    let prefixed = format!("{create}&Ipv4PrefixCount=1");
    api.refuses(&[
        // The last block ends with the subnet's broadcast address.
        (&count, "InsufficientCidrBlocks"),
        (&prefixed, "InsufficientCidrBlocks"),
        (&named, "InvalidParameterValue"),
        (
            &format!("{assign}&Ipv4Prefix.1=10.0.1.8/29"),
            "InvalidParameterValue",
        ),
        (
            &format!("{assign}&Ipv4Prefix.1=10.0.2.0/28"),
            "InvalidParameterValue",
        ),
        (
            &format!("{named}&Ipv4PrefixCount=1"),
            "InvalidParameterCombination",
        ),
        (
            &format!("{count}&SecondaryPrivateIpAddressCount=1"),
            "InvalidParameterCombination",
        ),
        (
            &format!("{create}&PrivateIpAddress=10.0.1.20"),
            "InvalidIPAddress.InUse",
        ),
    ])
    .await;
    let unassign =
        format!("Action=UnassignPrivateIpAddresses&NetworkInterfaceId={interface}&Ipv4Prefix.1=");
    api.ok(&format!("{unassign}10.0.1.16/28")).await;
    api.refuses(&[(&format!("{unassign}10.0.1.16/28"), "InvalidParameterValue")])
        .await;
    assert_eq!(api.get("ipv4Prefix", &prefixed).await, "10.0.1.16/28");
}

#[tokio::test]
async fn too_few_addresses_for_a_prefix_are_another_error_than_no_whole_block() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/27").await;
    let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}");
    let prefixed = format!("{create}&Ipv4PrefixCount=1");
    // 27 addresses are free, but neither half is for interfaces as a whole.
    api.refuses(&[(&prefixed, "InsufficientCidrBlocks")]).await;
    api.ok(&format!("{create}&SecondaryPrivateIpAddressCount=10"))
        .await;
    let (code, status, message) = api.error(&prefixed).await;
    assert_eq!((code.as_str(), status), ("InvalidParameterValue", 400));
    assert_eq!(
        message,
        "There aren't sufficient free Ipv4 addresses or prefixes"
    );
}

#[tokio::test]
async fn prefixes_come_from_the_reservations_for_them() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    for (cidr, of) in [("10.0.1.16/28", "explicit"), ("10.0.1.64/28", "prefix")] {
        api.ok(&format!(
            "Action=CreateSubnetCidrReservation&SubnetId={subnet}&Cidr={cidr}&ReservationType={of}"
        ))
        .await;
    }
    let create = format!("Action=CreateNetworkInterface&SubnetId={subnet}&Ipv4PrefixCount=2");
    assert_eq!(
        api.all("ipv4Prefix", &create).await,
        ["10.0.1.64/28", "10.0.1.32/28"]
    );
}
