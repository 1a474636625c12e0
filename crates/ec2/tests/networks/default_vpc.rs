use std::sync::Arc;

use lath_control::Cell;
use lath_ec2::records::{InternetGateway, NetworkAcl, RouteTable, SecurityGroup, Subnet, Vpc};
use lath_feed::{RouteTarget, Snapshot};
use lath_store::{Db, Kinds, Memory, Record, Store, Tx};
use lath_wire::ApiError;

use crate::api::Api;

fn snapshot(api: &Api) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let view = api.app.cell.db.view();
    let parts = &lath_ec2::CONTRIBUTIONS;
    lath_control::derive_into(&api.app.cell, parts, &view, &mut snapshot);
    snapshot
}

#[tokio::test]
async fn a_default_vpc_is_whole_and_there_is_one() {
    let api = Api::new();
    api.refuses(&[
        ("Action=CreateDefaultVpc&DryRun=true", "DryRunOperation"),
        (
            "Action=CreateDefaultSubnet&AvailabilityZone=us-east-1a",
            "DefaultVpcDoesNotExist",
        ),
    ])
    .await;
    let vpc = api.get("vpcId", "Action=CreateDefaultVpc").await;
    let described = api.ok(&format!("Action=DescribeVpcs&VpcId.1={vpc}")).await;
    for text in [
        "<isDefault>true</isDefault>",
        "<cidrBlock>172.31.0.0/16</cidrBlock>",
    ] {
        assert!(described.contains(text), "{text} in {described}");
    }
    let subnets = "Action=DescribeSubnets&Filter.1.Name=default-for-az&Filter.1.Value.1=true";
    let mut blocks = api.all("cidrBlock", subnets).await;
    blocks.sort();
    assert_eq!(
        blocks,
        ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"]
    );
    let public = api.all("mapPublicIpOnLaunch", subnets).await;
    assert_eq!(public, ["true"; 3]);
    let mut zones = api.all("availabilityZone", subnets).await;
    zones.sort();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    let acl = "Action=DescribeNetworkAcls";
    assert_eq!(api.all("subnetId", acl).await.len(), 3);
    let snapshot = snapshot(&api);
    let feed = &snapshot.vpcs[&vpc.parse().unwrap()];
    let gateway = feed.internet_gateway.clone().unwrap();
    let [table] = &feed.route_tables.values().collect::<Vec<_>>()[..] else {
        panic!("one table");
    };
    let target = RouteTarget::InternetGateway(gateway);
    assert!(
        table
            .routes
            .iter()
            .any(|it| it.target == target && it.destination.to_string() == "0.0.0.0/0")
    );
    // What names no VPC means this one.
    let form = "Action=CreateSecurityGroup&GroupName=web&GroupDescription=d";
    let group = api.get("groupId", form).await;
    let form = format!("Action=DescribeSecurityGroups&GroupId.1={group}");
    assert_eq!(api.get("vpcId", &form).await, vpc);
    api.refuses(&[
        ("Action=CreateDefaultVpc", "DefaultVpcAlreadyExists"),
        ("Action=CreateDefaultSubnet", "MissingParameter"),
        (
            "Action=CreateDefaultSubnet&AvailabilityZone=us-east-1a",
            "DefaultSubnetAlreadyExistsInAvailabilityZone",
        ),
        (
            "Action=CreateDefaultSubnet&AvailabilityZone=eu-west-1a",
            "InvalidParameterValue",
        ),
        (
            "Action=CreateDefaultSubnet&AvailabilityZone=us-east-1a&Ipv6Native=true",
            "UnsupportedOperation",
        ),
    ])
    .await;
}

#[tokio::test]
async fn default_subnets_and_vpcs_that_were_deleted_are_made_again() {
    let api = Api::new();
    let vpc = api.get("vpcId", "Action=CreateDefaultVpc").await;
    let zone = "Filter.1.Name=availability-zone&Filter.1.Value.1=us-east-1b";
    let form = format!("Action=DescribeSubnets&{zone}");
    let subnet = api.get("subnetId", &form).await;
    let block = api.get("cidrBlock", &form).await;
    api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
        .await;
    let again = "Action=CreateDefaultSubnet&AvailabilityZone=us-east-1b";
    assert_eq!(api.get("cidrBlock", again).await, block);
    for subnet in api.all("subnetId", "Action=DescribeSubnets").await {
        api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
            .await;
    }
    let gateway = api
        .get("internetGatewayId", "Action=DescribeInternetGateways")
        .await;
    let form = format!("Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}");
    api.ok(&form).await;
    api.ok(&format!("Action=DeleteVpc&VpcId={vpc}")).await;
    api.get("vpcId", "Action=CreateDefaultVpc").await;
}

#[tokio::test]
async fn a_new_state_begins_with_one_and_another_does_not() {
    let api = Api::new();
    let furnish = || lath_ec2::furnish_default_vpc(&api.app.cell);
    assert!(furnish().await.unwrap());
    assert!(!furnish().await.unwrap(), "it is there");
    let all = "Action=DescribeVpcs&Filter.1.Name=is-default&Filter.1.Value.1=true";
    assert_eq!(api.all("vpcId", all).await.len(), 1);
    let used = Api::new();
    used.vpc("10.0.0.0/16").await;
    let furnished = lath_ec2::furnish_default_vpc(&used.app.cell).await;
    assert!(!furnished.unwrap());
    assert!(used.all("vpcId", all).await.is_empty());
}

fn forget<R: Record>(tx: &mut Tx) {
    let ids: Vec<_> = tx.view().list::<R>().map(|it| it.id()).collect();
    for id in ids {
        tx.delete::<R>(&id);
    }
}

#[tokio::test]
async fn a_state_whose_records_were_all_deleted_is_not_new() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    for is_new in [true, false] {
        let kinds = lath_ec2::kinds(Kinds::default());
        let (mut cell, _observed) = Cell::for_test();
        cell.db = Db::open(Arc::clone(&store), kinds).await.unwrap();
        let furnished = lath_ec2::furnish_default_vpc(&cell).await;
        assert_eq!(furnished.unwrap(), is_new);
        let clear = |tx: &mut Tx| {
            forget::<Subnet>(tx);
            forget::<SecurityGroup>(tx);
            forget::<NetworkAcl>(tx);
            forget::<RouteTable>(tx);
            forget::<InternetGateway>(tx);
            forget::<Vpc>(tx);
            Ok::<_, ApiError>(())
        };
        cell.db.write(clear).await.unwrap();
        assert!(cell.db.view().is_empty());
    }
}

#[tokio::test]
async fn its_internet_gateway_counts() {
    let api = Api::new();
    for _ in 0..5 {
        api.ok("Action=CreateInternetGateway").await;
    }
    let create = "Action=CreateDefaultVpc";
    api.refuses(&[(create, "InternetGatewayLimitExceeded")])
        .await;
    let gateways = "Action=DescribeInternetGateways";
    let gateway = api.get("internetGatewayId", gateways).await;
    let form = format!("Action=DeleteInternetGateway&InternetGatewayId={gateway}");
    api.ok(&form).await;
    api.ok(create).await;
}
