use lath_control::Claim;

use crate::api::Api;
use crate::vpcs::put;

#[tokio::test]
async fn a_default_route_leads_to_the_gateway_until_it_is_detached() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let table = api.main_table(&vpc).await;
    let gateway = api.gateway(&vpc).await;
    let create = format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0&GatewayId={gateway}"
    );
    assert_eq!(api.get("return", &create).await, "true");
    api.refuses(&[(&create, "RouteAlreadyExists")]).await;
    let describe = format!("Action=DescribeRouteTables&RouteTableId.1={table}");
    let destinations = api.all("destinationCidrBlock", &describe).await;
    assert_eq!(destinations, ["10.0.0.0/16", "0.0.0.0/0"]);
    let detach = format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}");
    api.ok(&detach).await;
    assert!(api.ok(&describe).await.contains("<state>blackhole</state>"));
    let delete = format!("Action=DeleteRoute&RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0");
    api.ok(&delete).await;
    api.refuses(&[(&delete, "InvalidRoute.NotFound")]).await;
}

#[tokio::test]
async fn bad_routes_get_awss_errors() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let other = api.vpc("10.1.0.0/16").await;
    let table = api.main_table(&vpc).await;
    let (gateway, foreign) = (api.gateway(&vpc).await, api.gateway(&other).await);
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let interface = api.interface(&subnet).await;
    for (rest, code) in [
        ("DestinationCidrBlock=0.0.0.0/0", "MissingParameter"),
        ("GatewayId={igw}", "MissingParameter"),
        (
            "DestinationCidrBlock=x&GatewayId={igw}",
            "InvalidParameterValue",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&GatewayId={igw}&NetworkInterfaceId={eni}",
            "InvalidParameterCombination",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&GatewayId={foreign}",
            "InvalidParameterValue",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&GatewayId=igw-0123456789abcdef0",
            "InvalidInternetGatewayID.NotFound",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&GatewayId=local",
            "InvalidParameterValue",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&TransitGatewayId=tgw-0123456789abcdef0",
            "InvalidTransitGatewayID.NotFound",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&NatGatewayId=nat-0123456789abcdef0",
            "InvalidNatGatewayID.NotFound",
        ),
        (
            "DestinationCidrBlock=10.0.0.0/16&GatewayId={igw}",
            "RouteAlreadyExists",
        ),
        (
            "DestinationCidrBlock=10.0.1.0/24&GatewayId={igw}",
            "InvalidParameterValue",
        ),
        (
            "DestinationCidrBlock=10.0.1.0/25&NetworkInterfaceId={eni}",
            "InvalidParameterValue",
        ),
        (
            "DestinationCidrBlock=169.254.171.0/24&GatewayId={igw}",
            "InvalidParameterValue",
        ),
        (
            "DestinationIpv6CidrBlock=%3A%3A/0&GatewayId={igw}",
            "UnsupportedOperation",
        ),
        (
            "DestinationPrefixListId=pl-0123456789abcdef0&GatewayId={igw}",
            "InvalidPrefixListID.NotFound",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&InstanceId=i-0123456789abcdef0",
            "InvalidInstanceID.NotFound",
        ),
        (
            "DestinationCidrBlock=0.0.0.0/0&GatewayId={igw}&DryRun=true",
            "DryRunOperation",
        ),
    ] {
        let rest = rest
            .replace("{igw}", &gateway)
            .replace("{foreign}", &foreign)
            .replace("{eni}", &interface);
        let form = format!("Action=CreateRoute&RouteTableId={table}&{rest}");
        api.refuses(&[(&form, code)]).await;
    }
    let on_table = |text: &str| text.replace("{rtb}", &table);
    for (form, code) in [
        (
            "Action=ReplaceRoute&RouteTableId={rtb}&DestinationCidrBlock=10.9.0.0/16&GatewayId=x",
            "InvalidParameterValue",
        ),
        (
            "Action=DeleteRoute&RouteTableId={rtb}&DestinationCidrBlock=10.0.0.0/16",
            "InvalidParameterValue",
        ),
        (
            "Action=DeleteRoute&RouteTableId=rtb-0123456789abcdef0&DestinationCidrBlock=10.0.0.0/16",
            "InvalidRouteTableID.NotFound",
        ),
        (
            "Action=DeleteRouteTable&RouteTableId={rtb}",
            "DependencyViolation",
        ),
        (
            "Action=DeleteRouteTable&RouteTableId=None",
            "InvalidRouteTableId.Malformed",
        ),
        (
            "Action=DescribeRouteTables&MaxResults=101",
            "InvalidParameterValue",
        ),
        (
            "Action=AssociateRouteTable&RouteTableId={rtb}",
            "MissingParameter",
        ),
        (
            "Action=AssociateRouteTable&RouteTableId={rtb}&GatewayId=igw-0123456789abcdef0",
            "UnsupportedOperation",
        ),
        (
            "Action=DisassociateRouteTable&AssociationId=rtbassoc-0123456789abcdef0",
            "InvalidAssociationID.NotFound",
        ),
        (
            "Action=ReplaceRouteTableAssociation&AssociationId=x&RouteTableId={rtb}",
            "InvalidRouteTableAssociationID.Malformed",
        ),
        (
            "Action=CreateRouteTable&VpcId=vpc-0123456789abcdef0",
            "InvalidVpcID.NotFound",
        ),
    ] {
        api.refuses(&[(&on_table(form), code)]).await;
    }
}

#[tokio::test]
async fn a_subnet_uses_its_own_table_and_the_main_one_can_be_swapped() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let old = api.main_table(&vpc).await;
    let create = format!("Action=CreateRouteTable&VpcId={vpc}&ClientToken=once");
    let table = api.get("routeTableId", &create).await;
    assert_eq!(
        api.get("routeTableId", &create).await,
        table,
        "the same token, the same table"
    );
    let other = api.vpc("10.1.0.0/16").await;
    let mismatch = format!("Action=CreateRouteTable&VpcId={other}&ClientToken=once");
    api.refuses(&[(&mismatch, "IdempotentParameterMismatch")])
        .await;

    let associate = format!("Action=AssociateRouteTable&RouteTableId={table}&SubnetId={subnet}");
    let association = api.get("associationId", &associate).await;
    api.refuses(&[
        (&associate, "Resource.AlreadyAssociated"),
        (
            &format!("Action=DeleteRouteTable&RouteTableId={table}"),
            "DependencyViolation",
        ),
    ])
    .await;
    let by_subnet = format!(
        "Action=DescribeRouteTables&Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}"
    );
    assert_eq!(api.get("routeTableId", &by_subnet).await, table);
    api.ok(&format!(
        "Action=DisassociateRouteTable&AssociationId={association}"
    ))
    .await;

    let described = format!("Action=DescribeRouteTables&RouteTableId.1={old}");
    let main = api.get("routeTableAssociationId", &described).await;
    api.refuses(&[(
        &format!("Action=DisassociateRouteTable&AssociationId={main}"),
        "InvalidParameterValue",
    )])
    .await;
    api.ok(&format!(
        "Action=ReplaceRouteTableAssociation&AssociationId={main}&RouteTableId={table}"
    ))
    .await;
    assert_eq!(api.main_table(&vpc).await, table);
    api.ok(&format!("Action=DeleteRouteTable&RouteTableId={old}"))
        .await;
}

#[tokio::test]
async fn an_associated_vpc_shows_lattices_routes() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let table = api.main_table(&vpc).await;
    let claim = Claim {
        resource: vpc,
        holder: "snva-0123456789abcdef0".into(),
    };
    put(&api, claim).await;
    let body = api
        .ok(&format!(
            "Action=DescribeRouteTables&RouteTableId.1={table}"
        ))
        .await;
    assert!(body.contains("<destinationCidrBlock>169.254.171.0/24</destinationCidrBlock>"));
    assert!(body.contains("<gatewayId>VpcLattice</gatewayId>"));
}

#[tokio::test]
async fn a_route_to_an_instance_leads_to_its_interface_while_it_lives() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let table = api.main_table(&vpc).await;
    let image = api
        .get("imageId", "Action=DescribeImages&Owner.1=amazon&Filter.1.Name=name&Filter.1.Value.1=al2023-*-x86_64")
        .await;
    let run = format!(
        "Action=RunInstances&ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1&SubnetId={subnet}"
    );
    let instance = api.get("instanceId", &run).await;
    api.ok(&format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=10.9.0.0/16&InstanceId={instance}"
    ))
    .await;
    let describe = format!("Action=DescribeRouteTables&RouteTableId.1={table}");
    assert_eq!(api.get("instanceId", &describe).await, instance);
    let states = api.all("state", &describe).await;
    assert!(!states.contains(&"blackhole".to_owned()), "{states:?}");
    api.ok(&format!(
        "Action=TerminateInstances&InstanceId.1={instance}"
    ))
    .await;
    let states = api.all("state", &describe).await;
    assert!(states.contains(&"blackhole".to_owned()), "{states:?}");
}
