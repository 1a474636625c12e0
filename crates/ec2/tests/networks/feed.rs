use lath_ec2::CONTRIBUTIONS;
use lath_feed::{Peer, RouteTarget, Snapshot, Traffic};

use crate::api::Api;

fn snapshot(api: &Api) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let view = api.app.cell.db.view();
    lath_control::derive_into(&api.app.cell, &CONTRIBUTIONS, &view, &mut snapshot);
    snapshot
}

#[tokio::test]
async fn nodes_learn_all_that_the_api_was_told() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.0.1.0/24").await;
    let gateway = api.gateway(&vpc).await;
    let table = api.main_table(&vpc).await;
    api.ok(&format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0&GatewayId={gateway}"
    ))
    .await;
    let group = api.group(&vpc, "web").await;
    api.ok(&format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=81&IpPermissions.1.Groups.1.GroupId={group}")).await;
    let interface = api.interface(&subnet).await;
    api.ok(&format!(
        "Action=AssignPrivateIpAddresses&NetworkInterfaceId={interface}&Ipv4Prefix.1=10.0.1.32/28"
    ))
    .await;

    let snapshot = snapshot(&api);
    let feed = &snapshot.vpcs[&vpc.parse().unwrap()];
    assert_eq!(feed.cidrs, ["10.0.0.0/16".parse().unwrap()]);
    assert_eq!(feed.internet_gateway.as_ref().unwrap().as_str(), gateway);
    let own = &feed.subnets[&subnet.parse().unwrap()];
    assert_eq!(own.route_table.as_str(), table);
    let routes = &feed.route_tables[&own.route_table].routes;
    assert_eq!(routes[0].target, RouteTarget::Local);
    assert_eq!(
        routes[1].target,
        RouteTarget::InternetGateway(gateway.parse().unwrap())
    );
    let interface = &feed.interfaces[&interface.parse().unwrap()];
    assert_eq!(interface.addresses[0].private.to_string(), "10.0.1.4");
    assert_eq!(interface.prefixes, ["10.0.1.32/28".parse().unwrap()]);
    assert!(interface.source_dest_check && interface.attachment.is_none());
    let rules = &snapshot.security_groups[&group.parse().unwrap()];
    assert_eq!(rules.ingress[0].traffic, Traffic::Tcp(80, 81));
    assert_eq!(rules.ingress[0].peer, Peer::Group(group.parse().unwrap()));
    assert_eq!(rules.egress[0].traffic, Traffic::All);
    let names: Vec<_> = snapshot
        .prefix_lists
        .values()
        .map(|list| list.name.as_str())
        .collect();
    assert!(
        names.contains(&"com.amazonaws.us-east-1.vpc-lattice"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_route_whose_target_is_gone_is_a_black_hole() {
    let api = Api::new();
    let vpc = api.vpc("10.0.0.0/16").await;
    let gateway = api.gateway(&vpc).await;
    let table = api.main_table(&vpc).await;
    api.ok(&format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0&GatewayId={gateway}"
    ))
    .await;
    api.ok(&format!(
        "Action=DetachInternetGateway&InternetGatewayId={gateway}&VpcId={vpc}"
    ))
    .await;
    let snapshot = snapshot(&api);
    let feed = &snapshot.vpcs[&vpc.parse().unwrap()];
    assert_eq!(
        feed.route_tables[&table.parse().unwrap()].routes[1].target,
        RouteTarget::Blackhole
    );
}
