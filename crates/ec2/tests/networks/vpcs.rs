use lath_control::Claim;

use crate::api::Api;

const ABSENT: &str = "vpc-0123456789abcdef0";

#[tokio::test]
async fn a_vpc_comes_with_its_companions_and_takes_them_along() {
    let api = Api::new();
    let vpc = api.vpc("100.68.0.18/18").await;
    let described = api.ok(&format!("Action=DescribeVpcs&VpcId.1={vpc}")).await;
    for text in [
        "<cidrBlock>100.68.0.0/18</cidrBlock>",
        "<state>pending</state>",
        "<isDefault>false</isDefault>",
        "<instanceTenancy>default</instanceTenancy>",
        "<ownerId>123456789012</ownerId>",
        "<state>associated</state>",
    ] {
        assert!(described.contains(text), "{text} in {described}");
    }
    let by_vpc = format!("Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
    for (operation, element) in [
        ("DescribeRouteTables", "routeTableId"),
        ("DescribeSecurityGroups", "groupDescription"),
        ("DescribeNetworkAcls", "networkAclId"),
    ] {
        let found = api
            .all(element, &format!("Action={operation}&{by_vpc}"))
            .await;
        assert!(!found.is_empty(), "{operation}");
    }
    api.ok(&format!("Action=DeleteVpc&VpcId={vpc}")).await;
    for (operation, element) in [
        ("DescribeRouteTables", "routeTableId"),
        ("DescribeSecurityGroups", "groupId"),
        ("DescribeNetworkAcls", "networkAclId"),
        ("DescribeTags", "resourceId"),
    ] {
        assert!(
            api.all(element, &format!("Action={operation}"))
                .await
                .is_empty()
        );
    }
    let (code, status, message) = api
        .error(&format!("Action=DescribeVpcs&VpcId.1={vpc}"))
        .await;
    assert_eq!((code.as_str(), status), ("InvalidVpcID.NotFound", 400));
    assert_eq!(message, format!("The vpc ID '{vpc}' does not exist"));
}

#[tokio::test]
async fn vpcs_and_subnets_are_available_when_a_node_has_made_them() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    api.make_everything_ready();
    let state = format!("Action=DescribeVpcs&VpcId.1={vpc}");
    assert_eq!(api.all("state", &state).await, ["available", "associated"]);
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let state = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
    assert_eq!(api.get("state", &state).await, "pending");
    api.make_everything_ready();
    assert_eq!(api.get("state", &state).await, "available");
}

#[tokio::test]
async fn availability_is_written_down_and_outlives_the_node() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let mut reconcilers = lath_control::Group::new("reconcilers");
    lath_ec2::reconcilers(&api.app, &mut reconcilers);
    api.make_everything_ready();
    let mut changes = api.app.cell.db.changes();
    let done = || {
        let view = api.app.cell.db.view();
        view.get::<lath_ec2::records::Subnet>(&subnet)
            .unwrap()
            .available
            && view.get::<lath_ec2::records::Vpc>(&vpc).unwrap().available
    };
    while !done() {
        let patience = std::time::Duration::from_secs(30);
        tokio::time::timeout(patience, changes.changed())
            .await
            .unwrap()
            .unwrap();
    }
    api.observed.send_replace(std::sync::Arc::default());
    let state = format!("Action=DescribeVpcs&VpcId.1={vpc}");
    assert!(api.ok(&state).await.contains("<state>available</state>"));
    reconcilers.stop().await;
}

#[tokio::test]
async fn bad_vpc_requests_get_awss_errors() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let f = |text: &str| text.replace("{vpc}", &vpc).replace("{absent}", ABSENT);
    for (form, code) in [
        ("Action=CreateVpc", "MissingParameter"),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0",
            "InvalidParameterValue",
        ),
        ("Action=CreateVpc&CidrBlock=10.0.0.0/15", "InvalidVpc.Range"),
        ("Action=CreateVpc&CidrBlock=10.0.0.0/29", "InvalidVpc.Range"),
        (
            "Action=CreateVpc&CidrBlock=169.254.0.0/16",
            "InvalidVpc.Range",
        ),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&InstanceTenancy=dedicated",
            "UnsupportedOperation",
        ),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&InstanceTenancy=x",
            "InvalidParameterValue",
        ),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true",
            "UnsupportedOperation",
        ),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&DryRun=true",
            "DryRunOperation",
        ),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&TagSpecification.1.ResourceType=subnet&TagSpecification.1.Tag.1.Key=a",
            "InvalidParameterValue",
        ),
        ("Action=DeleteVpc&VpcId=None", "InvalidVpcID.Malformed"),
        ("Action=DeleteVpc", "MissingParameter"),
        ("Action=DeleteVpc&VpcId={absent}", "InvalidVpcID.NotFound"),
        (
            "Action=DescribeVpcs&VpcId.1={absent}",
            "InvalidVpcID.NotFound",
        ),
        (
            "Action=DescribeVpcs&Filter.1.Name=x&Filter.1.Value.1=y",
            "InvalidParameterValue",
        ),
        ("Action=DescribeVpcs&MaxResults=4", "InvalidParameterValue"),
        (
            "Action=DescribeVpcs&MaxResults=1001",
            "InvalidParameterValue",
        ),
        ("Action=DescribeVpcs&NextToken=junk", "InvalidNextToken"),
        ("Action=DescribeVpcs&DryRun=true", "DryRunOperation"),
        (
            "Action=DescribeVpcAttribute&VpcId={vpc}&Attribute=x",
            "InvalidParameterValue",
        ),
        ("Action=ModifyVpcAttribute&VpcId={vpc}", "MissingParameter"),
        (
            "Action=ModifyVpcAttribute&VpcId={vpc}&EnableDnsSupport.Value=true&EnableDnsHostnames.Value=true",
            "InvalidParameterCombination",
        ),
        (
            "Action=AssociateVpcCidrBlock&VpcId={vpc}&CidrBlock=10.0.128.0/17",
            "InvalidVpc.Range",
        ),
        (
            "Action=AssociateVpcCidrBlock&VpcId={vpc}&CidrBlock=192.168.0.0/16",
            "InvalidVpc.Range",
        ),
        (
            "Action=DisassociateVpcCidrBlock&AssociationId=vpc-cidr-assoc-0123456789abcdef0",
            "InvalidVpcCidrBlockAssociationID.NotFound",
        ),
        (
            "Action=DescribeDhcpOptions&DhcpOptionsId.1=dopt-0123456789abcdef0",
            "InvalidDhcpOptionID.NotFound",
        ),
        (
            "Action=CreateSubnet&VpcId={absent}&CidrBlock=10.0.0.0/24",
            "InvalidVpcID.NotFound",
        ),
        ("Action=CreateSubnet&VpcId={vpc}", "MissingParameter"),
        (
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.1.0.0/24",
            "InvalidSubnet.Range",
        ),
        (
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/29",
            "InvalidSubnet.Range",
        ),
        (
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/24&AvailabilityZone=us-east-1z",
            "InvalidParameterValue",
        ),
        (
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/24&Ipv6CidrBlock=fd00::/64",
            "UnsupportedOperation",
        ),
        (
            "Action=DeleteSubnet&SubnetId=subnet-0123456789abcdef0",
            "InvalidSubnetID.NotFound",
        ),
        (
            "Action=DeleteSubnet&SubnetId=x",
            "InvalidSubnetID.Malformed",
        ),
        (
            "Action=DeleteInternetGateway&InternetGatewayId=igw-0123456789abcdef0",
            "InvalidInternetGatewayID.NotFound",
        ),
        (
            "Action=DeleteInternetGateway&InternetGatewayId=x",
            "InvalidInternetGatewayId.Malformed",
        ),
        (
            "Action=DescribeInternetGateways&Filter.1.Name=x&Filter.1.Value.1=y",
            "InvalidParameterValue",
        ),
        (
            "Action=DescribeNetworkAcls&NetworkAclId.1=x",
            "InvalidNetworkAclId.Malformed",
        ),
    ] {
        api.refuses(&[(&f(form), code)]).await;
    }
    assert_eq!(
        api.all("vpcId", "Action=DescribeVpcs").await,
        [vpc],
        "a dry run keeps nothing"
    );
}

#[tokio::test]
async fn the_sixth_vpc_is_refused() {
    let api = Api::new();
    for n in 0..5 {
        api.vpc(&format!("10.{n}.0.0/16")).await;
    }
    api.refuses(&[("Action=CreateVpc&CidrBlock=10.9.0.0/16", "VpcLimitExceeded")])
        .await;
}

#[tokio::test]
async fn a_vpc_with_anything_in_it_stays() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let delete = format!("Action=DeleteVpc&VpcId={vpc}");
    let stays = [(delete.as_str(), "DependencyViolation")];

    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    api.refuses(&stays).await;
    let interface = api.interface(&subnet).await;
    let delete_subnet = format!("Action=DeleteSubnet&SubnetId={subnet}");
    api.refuses(&[(&delete_subnet, "DependencyViolation")])
        .await;
    api.ok(&format!(
        "Action=DeleteNetworkInterface&NetworkInterfaceId={interface}"
    ))
    .await;
    api.ok(&delete_subnet).await;

    let gateway = api.gateway(&vpc).await;
    api.refuses(&stays).await;
    let delete_gateway = format!("Action=DeleteInternetGateway&InternetGatewayId={gateway}");
    api.refuses(&[(&delete_gateway, "DependencyViolation")])
        .await;
    let detach = format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}");
    api.ok(&detach).await;
    api.refuses(&[(&detach, "Gateway.NotAttached")]).await;
    api.ok(&delete_gateway).await;

    let group = api.group(&vpc, "web").await;
    api.refuses(&stays).await;
    api.ok(&format!("Action=DeleteSecurityGroup&GroupId={group}"))
        .await;

    let table = api
        .get(
            "routeTableId",
            &format!("Action=CreateRouteTable&VpcId={vpc}"),
        )
        .await;
    api.refuses(&stays).await;
    api.ok(&format!("Action=DeleteRouteTable&RouteTableId={table}"))
        .await;

    let claim = Claim {
        resource: vpc.clone(),
        holder: "snva-0123456789abcdef0".into(),
    };
    put(&api, claim.clone()).await;
    let (code, _, message) = api.error(&delete).await;
    assert_eq!(code, "DependencyViolation");
    assert_eq!(
        message,
        format!("The vpc '{vpc}' has dependencies and cannot be deleted.")
    );
    forget(&api, &claim).await;
    api.ok(&delete).await;
}

pub(crate) async fn put(api: &Api, claim: impl lath_store::Record) {
    let write = api.app.cell.db.write(|tx| {
        tx.put(claim);
        Ok::<_, lath_wire::ApiError>(())
    });
    write.await.expect("the store is in memory");
}

pub(crate) async fn forget(api: &Api, claim: &Claim) {
    let id = format!("{}/{}", claim.resource, claim.holder);
    let write = api.app.cell.db.write(|tx| {
        tx.delete::<Claim>(&id);
        Ok::<_, lath_wire::ApiError>(())
    });
    write.await.expect("the store is in memory");
}

#[tokio::test]
async fn an_internet_gateway_has_one_vpc_and_a_vpc_one_gateway() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let other = api.vpc("10.1.0.0/16").await;
    let gateway = api.gateway(&vpc).await;
    let second = api
        .get("internetGatewayId", "Action=CreateInternetGateway")
        .await;
    let attach = |gateway: &str, vpc: &str| {
        format!("Action=AttachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}")
    };
    api.refuses(&[
        (&attach(&gateway, &other), "Resource.AlreadyAssociated"),
        (&attach(&second, &vpc), "InvalidParameterValue"),
    ])
    .await;
    let filter = format!(
        "Action=DescribeInternetGateways&Filter.1.Name=attachment.vpc-id&Filter.1.Value.1={vpc}"
    );
    assert_eq!(api.all("internetGatewayId", &filter).await, [gateway]);
}

#[tokio::test]
async fn subnets_count_their_free_addresses_and_never_overlap() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let describe = format!("Action=DescribeSubnets&SubnetId.1={subnet}");
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "251");
    api.interface(&subnet).await;
    assert_eq!(api.get("availableIpAddressCount", &describe).await, "250");
    let overlapping = format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.1.128/25");
    api.refuses(&[(&overlapping, "InvalidSubnet.Conflict")])
        .await;
    let other = api.vpc("10.0.0.0/16").await;
    api.subnet(&other, "10.0.1.0/24").await;
    api.ok(&format!(
        "Action=ModifySubnetAttribute&SubnetId={subnet}&MapPublicIpOnLaunch.Value=true"
    ))
    .await;
    assert_eq!(api.get("mapPublicIpOnLaunch", &describe).await, "true");
}

#[tokio::test]
async fn attributes_and_blocks_can_be_changed() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let attribute =
        |name: &str| format!("Action=DescribeVpcAttribute&VpcId={vpc}&Attribute={name}");
    assert_eq!(
        api.get("value", &attribute("enableDnsHostnames")).await,
        "false"
    );
    api.ok(&format!(
        "Action=ModifyVpcAttribute&VpcId={vpc}&EnableDnsHostnames.Value=true"
    ))
    .await;
    assert_eq!(
        api.get("value", &attribute("enableDnsHostnames")).await,
        "true"
    );
    assert_eq!(
        api.get("value", &attribute("enableDnsSupport")).await,
        "true"
    );

    let associate = format!("Action=AssociateVpcCidrBlock&VpcId={vpc}&CidrBlock=10.5.0.0/16");
    let association = api.get("associationId", &associate).await;
    let subnet = api.subnet(&vpc, "10.5.1.0/24").await;
    let remove = format!("Action=DisassociateVpcCidrBlock&AssociationId={association}");
    api.refuses(&[(&remove, "DependencyViolation")]).await;
    api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
        .await;
    api.ok(&remove).await;
    let primary = api
        .get(
            "associationId",
            &format!("Action=DescribeVpcs&VpcId.1={vpc}"),
        )
        .await;
    let remove = format!("Action=DisassociateVpcCidrBlock&AssociationId={primary}");
    api.refuses(&[(&remove, "OperationNotPermitted")]).await;
    let dhcp = api.ok("Action=DescribeDhcpOptions").await;
    assert!(dhcp.contains("AmazonProvidedDNS") && dhcp.contains("ec2.internal"));
}

#[tokio::test]
async fn pages_join_to_the_whole_list() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    for n in 0..12 {
        api.subnet(&vpc, &format!("10.0.{n}.0/24")).await;
    }
    let all = api.all("subnetId", "Action=DescribeSubnets").await;
    assert_eq!(all.len(), 12);
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let body = api
            .ok(&format!("Action=DescribeSubnets&MaxResults=5{token}"))
            .await;
        seen.extend(
            body.split("<subnetId>")
                .skip(1)
                .map(|rest| rest[..24].to_owned()),
        );
        let Some((_, rest)) = body.split_once("<nextToken>") else {
            break;
        };
        token = format!("&NextToken={}", rest.split_once('<').unwrap().0);
    }
    assert_eq!(seen, all);
}
