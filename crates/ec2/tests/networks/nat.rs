//! NAT gateways and endpoints of service networks.

use lath_control::NetworkService;
use lath_ec2::records::{EndpointResource, VpcEndpoint};
use lath_feed::RouteTarget;

use crate::api::Api;
use crate::vpcs::put;

#[tokio::test]
async fn a_nat_gateway_holds_its_address_until_no_node_has_it() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let gateway = api.gateway(&vpc).await;
    let rtb = api.main_table(&vpc).await;
    let ip = api.get("publicIp", "Action=AllocateAddress").await;
    let allocation = api.get("allocationId", "Action=DescribeAddresses").await;
    let create = format!(
        "Action=CreateNatGateway&SubnetId={subnet}&AllocationId={allocation}&ClientToken=once&TagSpecification.1.ResourceType=natgateway&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=nat"
    );
    let nat = api.get("natGatewayId", &create).await;
    assert_eq!(
        api.get("natGatewayId", &create).await,
        nat,
        "the same token"
    );
    let describe = format!("Action=DescribeNatGateways&NatGatewayId.1={nat}");
    assert_eq!(api.get("state", &describe).await, "pending");
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "available");
    assert_eq!(api.get("publicIp", &describe).await, ip);
    let interfaces = "Action=DescribeNetworkInterfaces&Filter.1.Name=interface-type&Filter.1.Value.1=nat_gateway";
    let interface = api.get("networkInterfaceId", interfaces).await;
    assert_eq!(
        api.get("networkInterfaceId", "Action=DescribeAddresses")
            .await,
        interface
    );
    for of_the_gateway in [
        "Action=AssignPrivateIpAddresses&SecondaryPrivateIpAddressCount=1",
        "Action=AssignPrivateIpAddresses&Ipv4PrefixCount=1",
        "Action=UnassignPrivateIpAddresses&PrivateIpAddress.1=10.0.1.9",
        "Action=ModifyNetworkInterfaceAttribute&Description.Value=mine",
        "Action=ModifyNetworkInterfaceAttribute&SourceDestCheck.Value=true",
    ] {
        let change = format!("{of_the_gateway}&NetworkInterfaceId={interface}");
        api.refuses(&[(&change, "AuthFailure")]).await;
    }
    let association = api.get("associationId", "Action=DescribeAddresses").await;

    let route = format!(
        "Action=CreateRoute&RouteTableId={rtb}&DestinationCidrBlock=0.0.0.0/0&NatGatewayId={nat}"
    );
    api.ok(&route).await;
    let by_nat = format!(
        "Action=DescribeRouteTables&Filter.1.Name=route.nat-gateway-id&Filter.1.Value.1={nat}"
    );
    assert_eq!(api.get("routeTableId", &by_nat).await, rtb);
    let snapshot = api.snapshot();
    let feed = &snapshot.vpcs[&vpc.parse().unwrap()];
    let of_nat = &feed.nat_gateways[&nat.parse().unwrap()];
    assert_eq!(of_nat.public.unwrap().to_string(), ip);
    assert!(feed.interfaces.contains_key(&of_nat.interface));
    let target = RouteTarget::NatGateway(nat.parse().unwrap());
    assert_eq!(
        feed.route_tables[&rtb.parse().unwrap()].routes[1].target,
        target
    );

    let release = format!("Action=ReleaseAddress&AllocationId={allocation}");
    let detach = format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}");
    let delete_subnet = format!("Action=DeleteSubnet&SubnetId={subnet}");
    api.refuses(&[
        (&release, "InvalidIPAddress.InUse"),
        (&detach, "DependencyViolation"),
        (&delete_subnet, "DependencyViolation"),
    ])
    .await;
    let taken = api
        .error(&format!(
            "Action=DisassociateAddress&AssociationId={association}"
        ))
        .await;
    assert_eq!((taken.0.as_str(), taken.1), ("AuthFailure", 401));
    let delete = format!("Action=DeleteNatGateway&NatGatewayId={nat}");
    assert_eq!(api.get("natGatewayId", &delete).await, nat);
    assert_eq!(api.get("state", &describe).await, "deleting");
    let table = format!("Action=DescribeRouteTables&RouteTableId.1={rtb}");
    assert!(api.ok(&table).await.contains("<state>blackhole</state>"));
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "deleted");
    for form in [&release, &detach, &delete_subnet, &delete] {
        api.ok(form).await;
    }
}

#[tokio::test]
async fn a_nat_gateway_that_cannot_be_made_fails_with_a_reason() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    api.ok("Action=AllocateAddress").await;
    let allocation = api.get("allocationId", "Action=DescribeAddresses").await;
    let create = format!("Action=CreateNatGateway&SubnetId={subnet}&AllocationId={allocation}");
    let body = api.ok(&create).await;
    assert!(
        body.contains("<failureCode>Gateway.NotAttached</failureCode>"),
        "{body}"
    );
    assert_eq!(
        api.get("state", "Action=DescribeNatGateways").await,
        "failed"
    );
    let private = format!("Action=CreateNatGateway&SubnetId={subnet}&ConnectivityType=private");
    api.ok(&private).await;
    api.refuses(&[
        (
            &format!("Action=CreateNatGateway&SubnetId={subnet}"),
            "MissingParameter",
        ),
        (
            &format!("{private}&AllocationId={allocation}"),
            "InvalidParameterCombination",
        ),
        (&format!("{private}x"), "InvalidParameterValue"),
        (
            "Action=CreateNatGateway&SubnetId=subnet-0123456789abcdef0",
            "InvalidSubnetID.NotFound",
        ),
    ])
    .await;
}

#[tokio::test]
async fn endpoints_name_the_services_of_a_network_that_is_there() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    for (rest, code) in [
        (
            "ServiceName=com.amazonaws.us-east-1.s3",
            "UnsupportedOperation",
        ),
        (
            "ServiceName=com.amazonaws.us-west-2.s3",
            "InvalidServiceName",
        ),
        (
            "VpcEndpointType=Interface&ServiceName=x",
            "InvalidServiceName",
        ),
        ("VpcEndpointType=Resource", "MissingParameter"),
        (
            "VpcEndpointType=Resource&ResourceConfigurationArn=arn:aws:vpc-lattice:us-east-1:123456789012:resourceconfiguration/rcfg-0123456789abcdef0",
            "InvalidResourceConfigurationArn.NotFound",
        ),
        (
            "VpcEndpointType=Resource&ServiceNetworkArn=arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/sn-0123456789abcdef0",
            "InvalidParameter",
        ),
        (
            "VpcEndpointType=ServiceNetwork&ResourceConfigurationArn=arn",
            "InvalidParameter",
        ),
        ("VpcEndpointType=x", "InvalidParameterValue"),
        ("VpcEndpointType=ServiceNetwork", "MissingParameter"),
        (
            "VpcEndpointType=ServiceNetwork&ServiceNetworkArn=arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/sn-0123456789abcdef0",
            "InvalidServiceNetworkArn.NotFound",
        ),
    ] {
        let form = format!("Action=CreateVpcEndpoint&VpcId={vpc}&SubnetId.1={subnet}&{rest}");
        api.refuses(&[(&form, code)]).await;
    }
    let service = NetworkService {
        network: "sn-0123456789abcdef0".parse().unwrap(),
        network_name: "net".into(),
        association: "snsa-0123456789abcdef0".parse().unwrap(),
        service: "svc-0123456789abcdef0".parse().unwrap(),
        service_arn: "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-0123456789abcdef0"
            .into(),
    };
    put(&api, service).await;
    put(
        &api,
        Network {
            id: "sn-0123456789abcdef0".into(),
        },
    )
    .await;
    let arn = "arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/sn-0123456789abcdef0";
    let create = format!(
        "Action=CreateVpcEndpoint&VpcEndpointType=ServiceNetwork&VpcId={vpc}&ServiceNetworkArn={arn}&SubnetId.1={subnet}"
    );
    let endpoint = api.get("vpcEndpointId", &create).await;
    let describe = format!("Action=DescribeVpcEndpoints&VpcEndpointId.1={endpoint}");
    assert_eq!(api.get("state", &describe).await, "pending");
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "available");
    assert_eq!(api.get("groupName", &describe).await, "default");
    let associations = format!("Action=DescribeVpcEndpointAssociations&VpcEndpointId.1={endpoint}");
    let name = api.get("dnsName", &associations).await;
    assert!(
        name.starts_with(&endpoint) && name.ends_with(".us-east-1.on.aws"),
        "{name}"
    );
    let snapshot = api.snapshot();
    assert_eq!(snapshot.names[&name].len(), 1);
    let feed = &snapshot.vpcs[&vpc.parse().unwrap()].endpoints[&endpoint.parse().unwrap()];
    assert_eq!(feed.names.values().collect::<Vec<_>>(), [&name]);
    let claims = lath_control::claims_on(&api.app.cell.db.view(), "sn-0123456789abcdef0");
    assert_eq!(claims.len(), 1);
    api.ok(&format!(
        "Action=DeleteVpcEndpoints&VpcEndpointId.1={endpoint}"
    ))
    .await;
    assert_eq!(api.get("state", &describe).await, "deleting");
    api.settle().await;
    api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
        .await;
}

#[tokio::test]
async fn an_endpoint_of_a_resource_works_once_lattice_says_what_is_at_it() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let configuration = "rcfg-0123456789abcdef0";
    let id = configuration.to_owned();
    put(&api, Configuration { id }).await;
    let arn =
        format!("arn:aws:vpc-lattice:us-east-1:123456789012:resourceconfiguration/{configuration}");
    let create = format!(
        "Action=CreateVpcEndpoint&VpcEndpointType=Resource&VpcId={vpc}&ResourceConfigurationArn={arn}&SubnetId.1={subnet}"
    );
    api.refuses(&[
        (
            &format!("{create}&DnsOptions.PrivateDnsPreference=x"),
            "InvalidParameterValue",
        ),
        (
            &format!("{create}&DnsOptions.PrivateDnsPreference=SPECIFIED_DOMAINS_ONLY"),
            "InvalidParameter",
        ),
    ])
    .await;
    let endpoint = api.get("vpcEndpointId", &create).await;
    let describe = format!("Action=DescribeVpcEndpoints&VpcEndpointId.1={endpoint}");
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "pending");
    let resource = EndpointResource {
        arn: arn.clone(),
        association: None,
        group_arn: None,
        private_name: None,
    };
    let lead = |tx: &mut lath_store::Tx| {
        let known = tx.get::<VpcEndpoint>(&endpoint).unwrap();
        let wanted = [(configuration.parse().unwrap(), resource.clone())].into();
        lath_ec2::managed::set_endpoint_resources(tx, &known, wanted);
        Ok::<_, lath_wire::ApiError>(())
    };
    api.app.cell.db.write(lead).await.unwrap();
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "available");
    assert_eq!(api.get("resourceConfigurationArn", &describe).await, arn);
    let associations = format!("Action=DescribeVpcEndpointAssociations&VpcEndpointId.1={endpoint}");
    let name = api.get("dnsName", &associations).await;
    assert_eq!(
        name,
        format!("{endpoint}.{configuration}.4232ccc.vpc-lattice-rsc.us-east-1.on.aws")
    );
    assert_eq!(api.snapshot().names[&name].len(), 1);
    // Another subnet, another address; the first one goes with its subnet.
    let zoned = format!(
        "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.2.0/24&AvailabilityZone=us-east-1b"
    );
    let second = api.get("subnetId", &zoned).await;
    api.ok(&format!(
        "Action=ModifyVpcEndpoint&VpcEndpointId={endpoint}&AddSubnetId.1={second}&RemoveSubnetId.1={subnet}"
    ))
    .await;
    assert!(
        api.snapshot()
            .names
            .get(&name)
            .is_none_or(|it| it.is_empty()),
        "it is free again"
    );
    api.app.cell.db.write(lead).await.unwrap();
    let addresses = api.snapshot().names[&name].clone();
    assert_eq!(addresses.len(), 1);
    assert!(
        addresses.iter().all(|it| it.octets()[2] == 2),
        "{addresses:?}"
    );
    assert_eq!(
        lath_control::claims_on(&api.app.cell.db.view(), configuration).len(),
        1
    );
    api.ok(&format!(
        "Action=DeleteVpcEndpoints&VpcEndpointId.1={endpoint}"
    ))
    .await;
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "deleted");
    assert!(lath_control::claims_on(&api.app.cell.db.view(), configuration).is_empty());
}

/// As Lattice keeps it, likewise.
#[derive(serde::Serialize, serde::Deserialize)]
struct Configuration {
    id: String,
}

impl lath_store::Record for Configuration {
    const KIND: &'static str = "lattice.resource-configuration";
    fn id(&self) -> String {
        self.id.clone()
    }
}

/// The part of Lattice's record that a check for existence reads.
#[derive(serde::Serialize, serde::Deserialize)]
struct Network {
    id: String,
}

impl lath_store::Record for Network {
    const KIND: &'static str = "lattice.service-network";
    fn id(&self) -> String {
        self.id.clone()
    }
}
