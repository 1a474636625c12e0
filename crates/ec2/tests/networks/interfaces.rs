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
