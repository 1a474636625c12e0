use crate::api::Api;

#[tokio::test]
async fn an_elastic_address_is_mapped_moved_and_given_back() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let (one, two) = (api.interface(&subnet).await, api.interface(&subnet).await);
    let body = api.ok("Action=AllocateAddress&Domain=vpc").await;
    let ip = body
        .split_once("<publicIp>")
        .unwrap()
        .1
        .split_once('<')
        .unwrap()
        .0
        .to_owned();
    let allocation = api.get("allocationId", "Action=DescribeAddresses").await;
    let names = "Action=DescribeAddressesAttribute&Attribute=domain-name&AllocationId.1=";
    let named = api.ok(&format!("{names}{allocation}")).await;
    assert!(named.contains("addressSet") && !named.contains("ptrRecord"));
    api.refuses(&[(
        &format!("{names}eipalloc-0123456789abcdef0"),
        "InvalidAllocationID.NotFound",
    )])
    .await;
    let associate = |interface: &str, rest: &str| {
        format!(
            "Action=AssociateAddress&AllocationId={allocation}&NetworkInterfaceId={interface}{rest}"
        )
    };
    api.refuses(&[(&associate(&one, ""), "Gateway.NotAttached")])
        .await;
    let gateway = api.gateway(&vpc).await;
    let association = api.get("associationId", &associate(&one, "")).await;
    let described = api
        .ok(&format!(
            "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={one}"
        ))
        .await;
    assert!(described.contains(&format!("<publicIp>{ip}</publicIp>")));
    let detach = format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}");
    let release = format!("Action=ReleaseAddress&AllocationId={allocation}");
    api.refuses(&[
        (
            &associate(&two, "&AllowReassociation=false"),
            "Resource.AlreadyAssociated",
        ),
        (&detach, "DependencyViolation"),
        (&release, "InvalidIPAddress.InUse"),
    ])
    .await;
    let moved = api
        .get(
            "associationId",
            &associate(&two, "&AllowReassociation=true"),
        )
        .await;
    assert_ne!(moved, association);
    api.refuses(&[(
        &format!("Action=DisassociateAddress&AssociationId={association}"),
        "InvalidAssociationID.NotFound",
    )])
    .await;
    api.ok(&format!("Action=DisassociateAddress&AssociationId={moved}"))
        .await;
    api.ok(&release).await;
    api.ok(&detach).await;
    api.refuses(&[
        (&release, "InvalidAllocationID.NotFound"),
        ("Action=ReleaseAddress", "MissingParameter"),
        (
            "Action=ReleaseAddress&AllocationId=x",
            "InvalidElasticIpID.Malformed",
        ),
        (
            "Action=AllocateAddress&Domain=standard",
            "UnsupportedOperation",
        ),
        (
            "Action=DescribeAddresses&PublicIp.1=198.18.9.9",
            "InvalidAddress.NotFound",
        ),
        (
            "Action=AssociateAddress&PublicIp=198.18.9.9",
            "InvalidAddress.NotFound",
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_sixth_address_is_refused() {
    let api = Api::new();
    for _ in 0..5 {
        api.ok("Action=AllocateAddress").await;
    }
    let mut all = api.all("publicIp", "Action=DescribeAddresses").await;
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
    api.refuses(&[("Action=AllocateAddress", "AddressLimitExceeded")])
        .await;
}
