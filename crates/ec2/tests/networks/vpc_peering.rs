use std::time::Duration;

use lath_feed::{Peer, RouteTarget, Snapshot};

use crate::api::Api;

const ABSENT: &str = "pcx-0123456789abcdef0";

fn snapshot(api: &Api) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let view = api.app.cell.db.view();
    let parts = &lath_ec2::CONTRIBUTIONS;
    lath_control::derive_into(&api.app.cell, parts, &view, &mut snapshot);
    snapshot
}

async fn reconcile(api: &Api) {
    let app = std::sync::Arc::clone(&api.app);
    lath_ec2::reconcile_networks(app)
        .await
        .expect("the store is in memory");
}

async fn state(api: &Api, id: &str) -> String {
    let form = format!("Action=DescribeVpcPeeringConnections&VpcPeeringConnectionId.1={id}");
    api.get("code", &form).await
}

/// A connection that works.
async fn active(api: &Api, one: &str, other: &str) -> String {
    let form = format!("Action=CreateVpcPeeringConnection&VpcId={one}&PeerVpcId={other}");
    let id = api.get("vpcPeeringConnectionId", &form).await;
    let accept = format!("Action=AcceptVpcPeeringConnection&VpcPeeringConnectionId={id}");
    assert_eq!(api.get("code", &accept).await, "provisioning");
    api.make_everything_ready();
    reconcile(api).await;
    assert_eq!(state(api, &id).await, "active");
    id
}

#[tokio::test]
async fn a_connection_is_asked_for_accepted_and_works_when_nodes_have_it() {
    let api = Api::new();
    let (one, other) = (api.vpc("10.0.0.0/16").await, api.vpc("10.1.0.0/16").await);
    api.make_everything_ready();
    let form = format!("Action=CreateVpcPeeringConnection&VpcId={one}&PeerVpcId={other}");
    assert_eq!(api.get("code", &form).await, "initiating-request");
    api.refuses(&[(&form, "VpcPeeringConnectionAlreadyExists")])
        .await;
    let all = "Action=DescribeVpcPeeringConnections";
    let id = api.get("vpcPeeringConnectionId", all).await;
    assert_eq!(state(&api, &id).await, "pending-acceptance");
    let table = api.main_table(&one).await;
    let route = format!(
        "Action=CreateRoute&RouteTableId={table}&DestinationCidrBlock=10.1.0.0/16&VpcPeeringConnectionId={id}"
    );
    api.ok(&route).await;
    let target = |snapshot: &Snapshot| {
        let feed = &snapshot.vpcs[&one.parse().unwrap()];
        feed.route_tables[&table.parse().unwrap()].routes[1]
            .target
            .clone()
    };
    assert_eq!(target(&snapshot(&api)), RouteTarget::Blackhole);
    api.ok(&format!(
        "Action=AcceptVpcPeeringConnection&VpcPeeringConnectionId={id}"
    ))
    .await;
    reconcile(&api).await;
    assert_eq!(state(&api, &id).await, "provisioning", "no node has it");
    api.make_everything_ready();
    reconcile(&api).await;
    assert_eq!(state(&api, &id).await, "active");
    let feed = snapshot(&api);
    assert_eq!(target(&feed), RouteTarget::VpcPeering(id.parse().unwrap()));
    let peer = &feed.vpcs[&other.parse().unwrap()].peerings[&id.parse().unwrap()];
    assert_eq!(peer.vpc.as_str(), one);
    let shown = format!("Action=DescribeRouteTables&RouteTableId.1={table}");
    assert!(
        api.all("vpcPeeringConnectionId", &shown)
            .await
            .contains(&id)
    );
    api.refuses(&[(
        &format!("Action=DeleteVpc&VpcId={other}"),
        "DependencyViolation",
    )])
    .await;
    api.ok(&format!(
        "Action=DeleteVpcPeeringConnection&VpcPeeringConnectionId={id}"
    ))
    .await;
    assert_eq!(state(&api, &id).await, "deleted");
    let feed = snapshot(&api);
    assert_eq!(target(&feed), RouteTarget::Blackhole);
    assert!(feed.vpcs[&one.parse().unwrap()].peerings.is_empty());
    assert!(
        api.all("state", &shown)
            .await
            .contains(&"blackhole".to_owned())
    );
    api.ok(&format!("Action=DeleteVpc&VpcId={other}")).await;
    assert_eq!(state(&api, &id).await, "deleted");
}

#[tokio::test]
async fn a_request_expires_after_a_week_and_is_shown_for_two_days_more() {
    const DAY: Duration = Duration::from_secs(86_400);
    const SECOND: Duration = Duration::from_secs(1);
    let api = Api::new();
    let (one, other) = (api.vpc("10.0.0.0/16").await, api.vpc("10.1.0.0/16").await);
    let create = format!("Action=CreateVpcPeeringConnection&VpcId={one}&PeerVpcId={other}");
    let id = api.get("vpcPeeringConnectionId", &create).await;
    for (wait, want) in [
        (7 * DAY - SECOND, "pending-acceptance"),
        (SECOND, "expired"),
        (2 * DAY - SECOND, "expired"),
    ] {
        api.hands.advance(wait);
        reconcile(&api).await;
        assert_eq!(state(&api, &id).await, want, "{wait:?}");
    }
    api.hands.advance(SECOND);
    reconcile(&api).await;
    let form = format!("Action=DescribeVpcPeeringConnections&VpcPeeringConnectionId.1={id}");
    api.refuses(&[(&form, "InvalidVpcPeeringConnectionID.NotFound")])
        .await;
}

#[tokio::test]
async fn requests_end_in_other_ways_too() {
    let api = Api::new();
    let (one, other) = (api.vpc("10.0.0.0/16").await, api.vpc("10.1.0.0/16").await);
    let twin = api.vpc("10.0.128.0/17").await;
    let create = |to: &str| format!("Action=CreateVpcPeeringConnection&VpcId={one}&PeerVpcId={to}");
    let overlapping = api.get("vpcPeeringConnectionId", &create(&twin)).await;
    assert_eq!(state(&api, &overlapping).await, "failed");
    let foreign = format!(
        "{}&PeerOwnerId=210987654321",
        create("vpc-0123456789abcdef0")
    );
    let foreign = api.get("vpcPeeringConnectionId", &foreign).await;
    assert_eq!(state(&api, &foreign).await, "failed");
    let asked = api.get("vpcPeeringConnectionId", &create(&other)).await;
    let of = |action: &str, id: &str| {
        format!("Action={action}VpcPeeringConnection&VpcPeeringConnectionId={id}")
    };
    api.ok(&of("Reject", &asked)).await;
    assert_eq!(state(&api, &asked).await, "rejected");
    let again = api.get("vpcPeeringConnectionId", &create(&other)).await;
    let expire = {
        let id = again.clone();
        move |tx: &mut lath_store::Tx| {
            tx.update::<lath_ec2::records::VpcPeering>(&id, |it| {
                it.expires_at = lath_model::Timestamp::from_millis(0);
            });
            Ok::<_, lath_wire::ApiError>(())
        }
    };
    api.app.cell.db.write(expire).await.unwrap();
    reconcile(&api).await;
    assert_eq!(state(&api, &again).await, "expired");
    let elsewhere = format!("{}&PeerRegion=eu-west-1", create(&other));
    let route = |id: &str| {
        format!(
            "Action=CreateRoute&RouteTableId=rtb&DestinationCidrBlock=10.1.0.0/16&VpcPeeringConnectionId={id}"
        )
    };
    let table = api.main_table(&one).await;
    let modify = format!(
        "Action=ModifyVpcPeeringConnectionOptions&VpcPeeringConnectionId={again}&AccepterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc=true"
    );
    api.refuses(&[
        (&of("Accept", &overlapping), "InvalidStateTransition"),
        (&of("Delete", &overlapping), "InvalidStateTransition"),
        (&of("Accept", &asked), "InvalidStateTransition"),
        (&of("Reject", &again), "InvalidStateTransition"),
        (
            &of("Accept", ABSENT),
            "InvalidVpcPeeringConnectionID.NotFound",
        ),
        (
            &of("Accept", "pcx"),
            "InvalidVpcPeeringConnectionId.Malformed",
        ),
        (&create(&one), "InvalidParameterValue"),
        (&create("vpc-0123456789abcdef0"), "InvalidVpcID.NotFound"),
        (&create("vpc"), "InvalidVpcID.Malformed"),
        (
            &format!("Action=CreateVpcPeeringConnection&VpcId={one}"),
            "MissingParameter",
        ),
        (&elsewhere, "UnsupportedOperation"),
        (&modify, "OperationNotPermitted"),
        (
            &route(ABSENT).replace("=rtb&", &format!("={table}&")),
            "InvalidVpcPeeringConnectionID.NotFound",
        ),
    ])
    .await;
}

#[tokio::test]
async fn groups_and_names_cross_a_connection() {
    let api = Api::new();
    let (one, other) = (api.vpc("10.0.0.0/16").await, api.vpc("10.1.0.0/16").await);
    let (ours, theirs) = (api.group(&one, "a").await, api.group(&other, "b").await);
    let allow = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={ours}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={theirs}"
    );
    api.refuses(&[(&allow, "InvalidGroup.NotFound")]).await;
    let id = active(&api, &one, &other).await;
    api.ok(&allow).await;
    let references = format!("Action=DescribeSecurityGroupReferences&GroupId.1={theirs}");
    assert_eq!(api.get("referencingVpcId", &references).await, one);
    assert_eq!(api.get("vpcPeeringConnectionId", &references).await, id);
    let backwards = references.replace(&theirs, &ours);
    assert!(api.all("groupId", &backwards).await.is_empty());
    let stale = format!("Action=DescribeStaleSecurityGroups&VpcId={one}");
    assert!(api.all("groupId", &stale).await.is_empty());
    let rules = |snapshot: &Snapshot| {
        let group = &snapshot.security_groups[&ours.parse().unwrap()];
        group
            .ingress
            .iter()
            .map(|it| it.peer.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rules(&snapshot(&api)),
        [Peer::Group(theirs.parse().unwrap())]
    );
    let modify = format!(
        "Action=ModifyVpcPeeringConnectionOptions&VpcPeeringConnectionId={id}&AccepterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc=true"
    );
    assert_eq!(
        api.get("allowDnsResolutionFromRemoteVpc", &modify).await,
        "true"
    );
    let feed = snapshot(&api);
    let names =
        |vpc: &str| feed.vpcs[&vpc.parse().unwrap()].peerings[&id.parse().unwrap()].shares_names;
    // The accepter's names are private to the requester, not the other way round.
    assert_eq!((names(&one), names(&other)), (true, false));
    let classic = modify.replace(
        "AllowDnsResolutionFromRemoteVpc",
        "AllowEgressFromLocalClassicLinkToRemoteVpc",
    );
    api.refuses(&[(&classic, "UnsupportedOperation")]).await;
    api.ok(&format!(
        "Action=DeleteVpcPeeringConnection&VpcPeeringConnectionId={id}"
    ))
    .await;
    assert!(rules(&snapshot(&api)).is_empty(), "the rule counts no more");
    assert_eq!(api.all("groupId", &stale).await, [ours, theirs]);
    assert_eq!(api.get("peeringStatus", &stale).await, "deleted");
    assert_eq!(api.get("vpcPeeringConnectionId", &stale).await, id);
    assert!(api.all("groupId", &references).await.is_empty());
    let of_the_other = stale.replace(&one, &other);
    assert!(api.all("groupId", &of_the_other).await.is_empty());
    api.refuses(&[
        ("Action=DescribeSecurityGroupReferences", "MissingParameter"),
        (
            "Action=DescribeSecurityGroupReferences&GroupId.1=sg-0123456789abcdef0",
            "InvalidGroup.NotFound",
        ),
        (
            "Action=DescribeSecurityGroupReferences&GroupId.1=group",
            "InvalidGroupId.Malformed",
        ),
        (
            "Action=DescribeStaleSecurityGroups&VpcId=vpc-0123456789abcdef0",
            "InvalidVpcID.NotFound",
        ),
        ("Action=DescribeStaleSecurityGroups", "MissingParameter"),
    ])
    .await;
}
