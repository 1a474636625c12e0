//! Transit Gateways in one region.

use std::sync::Arc;

use lath_feed::{Condition, Observed, RouteTarget, Snapshot, TransitPeer, TransitTarget};

use crate::api::Api;

impl Api {
    /// A node that made everything of the newest state, until nothing changes any more.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            let before = self.app.cell.db.view().revision();
            self.observe_everything();
            lath_ec2::reconcile_networks(Arc::clone(&self.app))
                .await
                .expect("the store is in memory");
            if self.app.cell.db.view().revision() == before {
                return;
            }
        }
        panic!("it does not settle");
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let (cell, view) = (&self.app.cell, self.app.cell.db.view());
        lath_control::compile(cell, &view, &lath_ec2::CONTRIBUTIONS)
    }

    /// Says of all that the snapshot has that it works, and nothing of anything else.
    pub(crate) fn observe_everything(&self) {
        let snapshot = self.snapshot();
        let version = snapshot.version;
        let ready = Condition::Ready { version };
        let mut observed = Observed {
            applied_version: version,
            ..Observed::default()
        };
        for (id, vpc) in &snapshot.vpcs {
            observed.vpcs.insert(id.clone(), ready.clone());
            for nat in vpc.nat_gateways.keys() {
                observed.nat_gateways.insert(nat.clone(), ready.clone());
            }
            for endpoint in vpc.endpoints.keys() {
                observed
                    .vpc_endpoints
                    .insert(endpoint.clone(), ready.clone());
            }
        }
        for (id, gateway) in &snapshot.transit_gateways {
            observed.transit_gateways.insert(id.clone(), ready.clone());
            for attachment in gateway.attachments.keys() {
                let known = &mut observed.transit_attachments;
                known.insert(attachment.clone(), ready.clone());
            }
        }
        self.observed.send_replace(Arc::new(observed));
    }

    pub(crate) async fn transit(&self) -> String {
        let id = self
            .get("transitGatewayId", "Action=CreateTransitGateway")
            .await;
        self.settle().await;
        id
    }

    pub(crate) async fn default_table(&self, gateway: &str) -> String {
        let form = format!("Action=DescribeTransitGateways&TransitGatewayIds.1={gateway}");
        self.get("associationDefaultRouteTableId", &form).await
    }

    pub(crate) async fn attach(&self, gateway: &str, vpc: &str, subnet: &str) -> String {
        let form = format!(
            "Action=CreateTransitGatewayVpcAttachment&TransitGatewayId={gateway}&VpcId={vpc}&SubnetIds.1={subnet}"
        );
        let id = self.get("transitGatewayAttachmentId", &form).await;
        self.settle().await;
        id
    }

    async fn search(&self, table: &str, filter: &str, value: &str) -> Vec<String> {
        let form = format!(
            "Action=SearchTransitGatewayRoutes&TransitGatewayRouteTableId={table}&Filter.1.Name={filter}&Filter.1.Value.1={value}"
        );
        self.all("destinationCidrBlock", &form).await
    }
}

#[tokio::test]
async fn a_gateway_is_pending_until_a_node_has_it_and_gone_when_no_node_has() {
    let api = Api::new();
    let id = api
        .get(
            "transitGatewayId",
            "Action=CreateTransitGateway&Options.AmazonSideAsn=64513",
        )
        .await;
    let describe = format!("Action=DescribeTransitGateways&TransitGatewayIds.1={id}");
    assert_eq!(api.get("state", &describe).await, "pending");
    let attach = format!("Action=DeleteTransitGateway&TransitGatewayId={id}");
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "available");
    assert_eq!(api.get("amazonSideAsn", &describe).await, "64513");
    let table = api.default_table(&id).await;
    let tables =
        format!("Action=DescribeTransitGatewayRouteTables&TransitGatewayRouteTableIds.1={table}");
    assert_eq!(api.get("state", &tables).await, "available");
    assert_eq!(
        api.get("defaultAssociationRouteTable", &tables).await,
        "true"
    );
    assert_eq!(api.get("state", &attach).await, "deleting");
    api.refuses(&[(&attach, "IncorrectState")]).await;
    assert_eq!(api.get("state", &describe).await, "deleting");
    api.settle().await;
    assert_eq!(api.get("state", &describe).await, "deleted");
    assert_eq!(api.get("state", &tables).await, "deleted");
    api.refuses(&[(&attach, "InvalidTransitGatewayID.NotFound")])
        .await;
}

#[tokio::test]
async fn deleted_gateways_are_out_of_the_quota() {
    let api = Api::new();
    for _ in 0..5 {
        api.transit().await;
    }
    api.refuses(&[("Action=CreateTransitGateway", "TransitGatewayLimitExceeded")])
        .await;
    let first = api
        .get("transitGatewayId", "Action=DescribeTransitGateways")
        .await;
    api.ok(&format!(
        "Action=DeleteTransitGateway&TransitGatewayId={first}"
    ))
    .await;
    api.settle().await;
    api.transit().await;
}

#[tokio::test]
async fn an_attached_vpc_is_reached_by_its_propagated_block_and_by_routes_of_its_tables() {
    let api = Api::new();
    let (vpc, gateway) = (api.vpc("10.1.0.0/16").await, api.transit().await);
    let subnet = api.subnet(&vpc, "10.1.1.0/24").await;
    let rtb = api.main_table(&vpc).await;
    let route = format!(
        "Action=CreateRoute&RouteTableId={rtb}&DestinationCidrBlock=10.2.0.0/16&TransitGatewayId={gateway}"
    );
    api.refuses(&[(&route, "InvalidTransitGatewayID.NotFound")])
        .await;
    let attachment = api.attach(&gateway, &vpc, &subnet).await;
    api.ok(&route).await;
    let table = api.default_table(&gateway).await;
    assert_eq!(
        api.search(&table, "type", "propagated").await,
        ["10.1.0.0/16"]
    );
    assert_eq!(
        api.search(&table, "route-search.longest-prefix-match", "10.1.9.9")
            .await,
        ["10.1.0.0/16"]
    );
    assert_eq!(
        api.search(&table, "attachment.resource-id", &vpc).await,
        ["10.1.0.0/16"]
    );
    assert!(api.search(&table, "state", "blackhole").await.is_empty());

    let described = format!(
        "Action=DescribeTransitGatewayAttachments&TransitGatewayAttachmentIds.1={attachment}"
    );
    let body = api.ok(&described).await;
    assert!(
        body.contains("<state>associated</state>") && body.contains("<state>available</state>")
    );
    let interfaces = "Action=DescribeNetworkInterfaces&Filter.1.Name=interface-type&Filter.1.Value.1=transit_gateway";
    let interface = api.get("networkInterfaceId", interfaces).await;
    assert_eq!(api.get("requesterManaged", interfaces).await, "true");

    let snapshot = api.snapshot();
    let feed = &snapshot.transit_gateways[&gateway.parse().unwrap()];
    let attached = &feed.attachments[&attachment.parse().unwrap()];
    assert!(matches!(&attached.to, TransitPeer::Vpc { vpc: it, .. } if it.as_str() == vpc));
    assert_eq!(attached.route_table.as_ref().unwrap().as_str(), table);
    let routes = &feed.route_tables[&table.parse().unwrap()].routes;
    let to_vpc = TransitTarget::Attachment(attachment.parse().unwrap());
    assert_eq!(routes[&"10.1.0.0/16".parse().unwrap()], to_vpc);
    let leads = |snapshot: &Snapshot| {
        let vpc = &snapshot.vpcs[&vpc.parse().unwrap()];
        vpc.route_tables[&rtb.parse().unwrap()].routes[1]
            .target
            .clone()
    };
    assert_eq!(
        leads(&snapshot),
        RouteTarget::TransitGateway(gateway.parse().unwrap())
    );

    api.refuses(&[
        (&format!("Action=DeleteTransitGateway&TransitGatewayId={gateway}"), "IncorrectState"),
        (&format!("Action=DeleteSubnet&SubnetId={subnet}"), "DependencyViolation"),
        (&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={interface}"), "InvalidParameterValue"),
        (
            &format!("Action=CreateTransitGatewayVpcAttachment&TransitGatewayId={gateway}&VpcId={vpc}&SubnetIds.1={subnet}"),
            "DuplicateTransitGatewayAttachment",
        ),
        (
            &format!("Action=DeleteTransitGatewayRouteTable&TransitGatewayRouteTableId={table}"),
            "IncorrectState",
        ),
        (
            &format!("Action=SearchTransitGatewayRoutes&TransitGatewayRouteTableId={table}"),
            "MissingParameter",
        ),
    ])
    .await;
    let delete =
        format!("Action=DeleteTransitGatewayVpcAttachment&TransitGatewayAttachmentId={attachment}");
    assert_eq!(api.get("state", &delete).await, "deleting");
    api.refuses(&[(&delete, "IncorrectState")]).await;
    assert_eq!(leads(&api.snapshot()), RouteTarget::Blackhole);
    api.settle().await;
    api.refuses(&[(&delete, "InvalidTransitGatewayAttachmentID.NotFound")])
        .await;
    let gone = format!(
        "Action=DescribeTransitGatewayVpcAttachments&TransitGatewayAttachmentIds.1={attachment}"
    );
    assert_eq!(api.get("state", &gone).await, "deleted");
    api.ok(&format!("Action=DeleteSubnet&SubnetId={subnet}"))
        .await;
    api.ok(&format!(
        "Action=DeleteTransitGateway&TransitGatewayId={gateway}"
    ))
    .await;
}

#[tokio::test]
async fn static_routes_come_before_propagated_ones_and_turn_black() {
    let api = Api::new();
    let gateway = api.transit().await;
    let table = api.default_table(&gateway).await;
    let mut attachments = Vec::new();
    for net in ["10.1", "10.2"] {
        let vpc = api.vpc(&format!("{net}.0.0/16")).await;
        let subnet = api.subnet(&vpc, &format!("{net}.1.0/24")).await;
        attachments.push(api.attach(&gateway, &vpc, &subnet).await);
    }
    let on_table = |action: &str, rest: &str| {
        format!("Action={action}&TransitGatewayRouteTableId={table}&{rest}")
    };
    let create = on_table(
        "CreateTransitGatewayRoute",
        &format!(
            "DestinationCidrBlock=10.1.0.0/16&TransitGatewayAttachmentId={}",
            attachments[1]
        ),
    );
    assert_eq!(api.get("type", &create).await, "static");
    assert_eq!(
        api.search(&table, "type", "propagated").await,
        ["10.2.0.0/16"]
    );
    api.ok(&on_table(
        "CreateTransitGatewayRoute",
        "DestinationCidrBlock=10.9.0.0/16&Blackhole=true&TransitGatewayAttachmentId=",
    ))
    .await;
    assert_eq!(
        api.search(&table, "state", "blackhole").await,
        ["10.9.0.0/16"]
    );
    for (rest, code) in [
        (
            "CreateTransitGatewayRoute&DestinationCidrBlock=10.9.0.0/16&Blackhole=true",
            "RouteAlreadyExists",
        ),
        (
            "CreateTransitGatewayRoute&DestinationCidrBlock=10.8.0.0/16",
            "MissingParameter",
        ),
        (
            "CreateTransitGatewayRoute&DestinationCidrBlock=x&Blackhole=true",
            "InvalidParameterValue",
        ),
        (
            "CreateTransitGatewayRoute&DestinationCidrBlock=10.8.0.0/16&TransitGatewayAttachmentId=tgw-attach-0123456789abcdef0",
            "InvalidTransitGatewayAttachmentID.NotFound",
        ),
        (
            "ReplaceTransitGatewayRoute&DestinationCidrBlock=10.8.0.0/16&Blackhole=true",
            "InvalidRoute.NotFound",
        ),
        (
            "DeleteTransitGatewayRoute&DestinationCidrBlock=10.8.0.0/16",
            "InvalidRoute.NotFound",
        ),
        (
            "SearchTransitGatewayRoutes&Filter.1.Name=x&Filter.1.Value.1=y",
            "InvalidParameterValue",
        ),
        (
            "ExportTransitGatewayRoutes&S3Bucket=b",
            "UnsupportedOperation",
        ),
    ] {
        let form = format!("Action={rest}&TransitGatewayRouteTableId={table}");
        api.refuses(&[(&form, code)]).await;
    }
    api.ok(&format!(
        "Action=DeleteTransitGatewayVpcAttachment&TransitGatewayAttachmentId={}",
        attachments[1]
    ))
    .await;
    assert_eq!(
        api.search(&table, "state", "blackhole").await,
        ["10.1.0.0/16", "10.9.0.0/16"]
    );
    api.ok(&on_table(
        "ReplaceTransitGatewayRoute",
        &format!(
            "DestinationCidrBlock=10.1.0.0/16&TransitGatewayAttachmentId={}",
            attachments[0]
        ),
    ))
    .await;
    assert_eq!(api.search(&table, "state", "active").await, ["10.1.0.0/16"]);
    let delete = on_table(
        "DeleteTransitGatewayRoute",
        "DestinationCidrBlock=10.1.0.0/16",
    );
    assert_eq!(api.get("state", &delete).await, "deleted");
    assert_eq!(
        api.search(&table, "type", "propagated").await,
        ["10.1.0.0/16"]
    );
}

#[tokio::test]
async fn attachments_move_between_tables_only_by_way_of_none() {
    let api = Api::new();
    let gateway = api.transit().await;
    let vpc = api.vpc("10.1.0.0/16").await;
    let subnet = api.subnet(&vpc, "10.1.1.0/24").await;
    let attachment = api.attach(&gateway, &vpc, &subnet).await;
    let old = api.default_table(&gateway).await;
    let create = format!("Action=CreateTransitGatewayRouteTable&TransitGatewayId={gateway}");
    let new = api.get("transitGatewayRouteTableId", &create).await;
    let link = |action: &str, table: &str| {
        format!(
            "Action={action}&TransitGatewayRouteTableId={table}&TransitGatewayAttachmentId={attachment}"
        )
    };
    let associate = link("AssociateTransitGatewayRouteTable", &new);
    api.refuses(&[(&associate, "IncorrectState")]).await;
    api.settle().await;
    api.refuses(&[
        (&associate, "Resource.AlreadyAssociated"),
        (
            &link("DisassociateTransitGatewayRouteTable", &new),
            "InvalidAssociation.NotFound",
        ),
        (
            &link("EnableTransitGatewayRouteTablePropagation", &old),
            "TransitGatewayRouteTablePropagation.Duplicate",
        ),
        (
            &link("DisableTransitGatewayRouteTablePropagation", &new),
            "TransitGatewayRouteTablePropagation.NotFound",
        ),
    ])
    .await;
    let disassociate = link("DisassociateTransitGatewayRouteTable", &old);
    assert_eq!(api.get("state", &disassociate).await, "disassociating");
    api.refuses(&[(&associate, "Resource.AlreadyAssociated")])
        .await;
    api.settle().await;
    assert_eq!(api.get("state", &associate).await, "associating");
    api.ok(&link("EnableTransitGatewayRouteTablePropagation", &new))
        .await;
    api.settle().await;
    let associations =
        format!("Action=GetTransitGatewayRouteTableAssociations&TransitGatewayRouteTableId={new}");
    assert_eq!(api.get("state", &associations).await, "associated");
    let of = format!(
        "Action=GetTransitGatewayAttachmentPropagations&TransitGatewayAttachmentId={attachment}"
    );
    assert_eq!(api.all("transitGatewayRouteTableId", &of).await.len(), 2);
    api.ok(&link("DisableTransitGatewayRouteTablePropagation", &old))
        .await;
    api.settle().await;
    assert_eq!(
        api.all("transitGatewayRouteTableId", &of).await,
        std::slice::from_ref(&new)
    );
    assert!(api.search(&old, "type", "propagated").await.is_empty());
    let delete = format!("Action=DeleteTransitGatewayRouteTable&TransitGatewayRouteTableId={new}");
    api.refuses(&[(&delete, "IncorrectState")]).await;
}

#[tokio::test]
async fn zones_have_one_subnet_each() {
    let api = Api::new();
    let (vpc, gateway) = (api.vpc("10.1.0.0/16").await, api.transit().await);
    let mut subnets = Vec::new();
    for (net, zone) in [(1, "a"), (2, "a"), (3, "b")] {
        let form = format!(
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.1.{net}.0/24&AvailabilityZone=us-east-1{zone}"
        );
        subnets.push(api.get("subnetId", &form).await);
    }
    let create = format!(
        "Action=CreateTransitGatewayVpcAttachment&TransitGatewayId={gateway}&VpcId={vpc}&SubnetIds.1={}&SubnetIds.2={}",
        subnets[0], subnets[1]
    );
    api.refuses(&[(&create, "DuplicateSubnetsInSameZone")])
        .await;
    let attachment = api.attach(&gateway, &vpc, &subnets[0]).await;
    let modify = |rest: &str| {
        format!(
            "Action=ModifyTransitGatewayVpcAttachment&TransitGatewayAttachmentId={attachment}&{rest}"
        )
    };
    api.refuses(&[
        (
            &modify(&format!("AddSubnetIds.1={}", subnets[1])),
            "DuplicateSubnetsInSameZone",
        ),
        (
            &modify(&format!("RemoveSubnetIds.1={}", subnets[0])),
            "InvalidParameterValue",
        ),
        (
            &modify("Options.Ipv6Support=enable"),
            "UnsupportedOperation",
        ),
        (&modify("Options.DnsSupport=on"), "InvalidParameterValue"),
    ])
    .await;
    let form = modify(&format!(
        "AddSubnetIds.1={}&AddSubnetIds.2={}&RemoveSubnetIds.1={}",
        subnets[1], subnets[2], subnets[0]
    ));
    assert_eq!(api.get("state", &form).await, "modifying");
    api.settle().await;
    let described = api.ok("Action=DescribeTransitGatewayVpcAttachments").await;
    assert!(described.contains("<state>available</state>"));
    assert!(described.contains(&subnets[2]) && !described.contains(&subnets[0]));
    api.ok(&format!("Action=DeleteSubnet&SubnetId={}", subnets[0]))
        .await;
}

#[tokio::test]
async fn a_peering_within_a_region_has_two_ids_and_takes_either() {
    let api = Api::new();
    let (one, two) = (api.transit().await, api.transit().await);
    let create = format!(
        "Action=CreateTransitGatewayPeeringAttachment&TransitGatewayId={one}&PeerTransitGatewayId={two}&PeerAccountId=123456789012&PeerRegion=us-east-1&TagSpecification.1.ResourceType=transit-gateway-peering-attachment&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=p"
    );
    let mine = api.get("transitGatewayAttachmentId", &create).await;
    api.refuses(&[(&create, "DuplicateTransitGatewayAttachment")])
        .await;
    let all = "Action=DescribeTransitGatewayPeeringAttachments";
    assert_eq!(api.all("transitGatewayAttachmentId", all).await.len(), 2);
    assert_eq!(
        api.all("key", all).await,
        ["Name"],
        "tags are the requester's"
    );
    let accept =
        format!("Action=AcceptTransitGatewayPeeringAttachment&TransitGatewayAttachmentId={mine}");
    api.ok(&accept).await;
    api.settle().await;
    assert_eq!(api.all("state", all).await, ["available", "available"]);
    api.refuses(&[(&accept, "IncorrectState")]).await;
    let snapshot = api.snapshot();
    let feed = &snapshot.transit_gateways[&one.parse().unwrap()];
    let attached = &feed.attachments[&mine.parse().unwrap()];
    assert!(matches!(&attached.to, TransitPeer::Local { gateway, .. } if gateway.as_str() == two));
    let table = api.default_table(&one).await;
    api.ok(&format!("Action=CreateTransitGatewayRoute&TransitGatewayRouteTableId={table}&DestinationCidrBlock=10.2.0.0/16&TransitGatewayAttachmentId={mine}")).await;
    api.refuses(&[(
        &format!("Action=EnableTransitGatewayRouteTablePropagation&TransitGatewayRouteTableId={table}&TransitGatewayAttachmentId={mine}"),
        "InvalidParameterValue",
    )])
    .await;
    api.ok(&format!(
        "Action=DeleteTransitGatewayPeeringAttachment&TransitGatewayAttachmentId={mine}"
    ))
    .await;
    api.settle().await;
    assert_eq!(api.all("state", all).await, ["deleted", "deleted"]);
}

#[tokio::test]
async fn bad_requests_get_awss_errors() {
    let api = Api::new();
    for (form, code) in [
        (
            "CreateTransitGateway&Options.AmazonSideAsn=1",
            "InvalidParameterValue",
        ),
        (
            "CreateTransitGateway&Options.MulticastSupport=enable",
            "UnsupportedOperation",
        ),
        ("CreateTransitGateway&DryRun=true", "DryRunOperation"),
        (
            "DescribeTransitGateways&TransitGatewayIds.1=None",
            "InvalidTransitGatewayID.Malformed",
        ),
        (
            "DescribeTransitGateways&TransitGatewayIds.1=tgw-0123456789abcdef0",
            "InvalidTransitGatewayID.NotFound",
        ),
        (
            "DescribeTransitGateways&MaxResults=4",
            "InvalidParameterValue",
        ),
        (
            "DescribeTransitGateways&Filter.1.Name=x&Filter.1.Value.1=y",
            "InvalidParameterValue",
        ),
        (
            "AcceptTransitGatewayPeeringAttachment&TransitGatewayAttachmentId=tgw-attach-0123456789abcdef0",
            "InvalidTransitGatewayAttachmentID.NotFound",
        ),
        (
            "DeleteTransitGatewayRouteTable&TransitGatewayRouteTableId=tgw-rtb-0123456789abcdef0",
            "InvalidRouteTableID.NotFound",
        ),
        (
            "CreateVpcEndpoint&VpcId=vpc-0123456789abcdef0&ServiceName=s",
            "InvalidVpcID.NotFound",
        ),
        (
            "DeleteNatGateway&NatGatewayId=nat-0123456789abcdef0",
            "NatGatewayNotFound",
        ),
        (
            "DescribeNatGateways&NatGatewayId.1=x",
            "NatGatewayMalformed",
        ),
        (
            "DescribeVpcEndpoints&VpcEndpointId.1=vpce-0123456789abcdef0",
            "InvalidVpcEndpointId.NotFound",
        ),
    ] {
        api.refuses(&[(&format!("Action={form}"), code)]).await;
    }
    let gateway = api.transit().await;
    let peer = |rest: &str| {
        format!(
            "Action=CreateTransitGatewayPeeringAttachment&TransitGatewayId={gateway}&PeerTransitGatewayId=tgw-0123456789abcdef0&{rest}"
        )
    };
    api.refuses(&[
        (
            &peer("PeerAccountId=123456789012&PeerRegion=mars-north-1"),
            "InvalidParameterValue",
        ),
        (
            &peer("PeerAccountId=12&PeerRegion=us-east-1"),
            "InvalidParameterValue",
        ),
        (
            &peer("PeerAccountId=123456789012&PeerRegion=us-east-1"),
            "InvalidTransitGatewayID.NotFound",
        ),
    ])
    .await;
}

#[tokio::test]
async fn groups_are_named_across_the_gateway_that_lets_them() {
    let api = Api::new();
    let (one, other) = (api.vpc("10.0.0.0/16").await, api.vpc("10.1.0.0/16").await);
    let near = api.subnet(&one, "10.0.1.0/24").await;
    let far = api.subnet(&other, "10.1.1.0/24").await;
    let (ours, theirs) = (api.group(&one, "a").await, api.group(&other, "b").await);
    api.settle().await;
    let allow = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={ours}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={theirs}"
    );
    // Whichever id comes first: one gateway joins the two and lets no rule of one name groups of the other.
    let mut gateways = Vec::new();
    for references in ["disable", "enable", "disable"] {
        let form = format!(
            "Action=CreateTransitGateway&Options.SecurityGroupReferencingSupport={references}"
        );
        let gateway = api.get("transitGatewayId", &form).await;
        api.settle().await;
        api.attach(&gateway, &one, &near).await;
        api.attach(&gateway, &other, &far).await;
        api.settle().await;
        gateways.push(gateway);
        if references == "enable" {
            api.ok(&allow).await;
        }
    }
    let asked = format!("Action=DescribeSecurityGroupReferences&GroupId.1={theirs}");
    assert_eq!(api.get("referencingVpcId", &asked).await, one);
    assert_eq!(api.get("transitGatewayId", &asked).await, gateways[1]);
    assert!(api.all("vpcPeeringConnectionId", &asked).await.is_empty());
}
