//! What VPCs and subnets of EC2 are given: network ACLs, DHCP options, peering connections.

use serde_json::{Value, json};

use super::ec2::{first, own, tagged, tags};
use super::{Call, Ctx, Kind, NOTHING, State, call, items, text_of};

const EC2: &str = "ec2";

/// An entry as the operations that make and change it take it.
fn entry(ctx: &Ctx<'_>) -> Value {
    json!({
        "NetworkAclId": ctx.p("NetworkAclId"),
        "RuleNumber": ctx.p("RuleNumber"),
        "Egress": is_egress(ctx),
        "Protocol": ctx.text("Protocol"),
        "RuleAction": ctx.p("RuleAction"),
        "CidrBlock": ctx.p("CidrBlock"),
        "Ipv6CidrBlock": ctx.p("Ipv6CidrBlock"),
        "Icmp": ctx.p("Icmp"),
        "PortRange": ctx.p("PortRange"),
    })
}

fn is_egress(ctx: &Ctx<'_>) -> Value {
    match ctx.p("Egress") {
        Value::Null => json!(false),
        value => value,
    }
}

/// The association of a network ACL with a subnet.
fn association(acl: &Value, subnet: &Value) -> Option<String> {
    let all = items(&acl["associationSet"]);
    let own = all.iter().find(|it| it["subnetId"] == *subnet)?;
    Some(text_of(&own["networkAclAssociationId"]))
}

/// Gives a subnet another network ACL.
fn replace(association: Option<String>, acl: &Value) -> Call {
    let input = json!({"AssociationId": association, "NetworkAclId": acl});
    call(EC2, "ReplaceNetworkAclAssociation", input)
}

/// Gives the subnet its VPC's default ACL back, unless it has got another one from elsewhere.
fn give_back(ctx: &Ctx<'_>) -> Vec<Call> {
    let acls = items(&ctx.looked["networkAclSet"]);
    let subnet = ctx.p("SubnetId");
    let is_own = |acl: &&Value| association(acl, &subnet).as_deref() == Some(ctx.id);
    let Some(its) = acls.iter().find(is_own) else {
        return Vec::new();
    };
    let is_default = |acl: &&Value| acl["vpcId"] == its["vpcId"] && acl["default"] == true;
    match acls.iter().find(is_default) {
        Some(default) => vec![replace(Some(ctx.id.to_owned()), &default["networkAclId"])],
        None => Vec::new(),
    }
}

/// An option with one value or a list of them.
fn option(ctx: &Ctx<'_>, key: &str, property: &str) -> Value {
    let values: Vec<String> = items(&ctx.p(property)).iter().map(text_of).collect();
    if values.is_empty() {
        return Value::Null;
    }
    json!({"Key": key, "Value": values})
}

fn options(ctx: &Ctx<'_>) -> Value {
    let known = [
        ("domain-name", "DomainName"),
        ("domain-name-servers", "DomainNameServers"),
        ("ntp-servers", "NtpServers"),
        ("netbios-name-servers", "NetbiosNameServers"),
        ("netbios-node-type", "NetbiosNodeType"),
        (
            "ipv6-address-preferred-lease-time",
            "Ipv6AddressPreferredLeaseTime",
        ),
    ];
    known
        .into_iter()
        .map(|(key, property)| option(ctx, key, property))
        .collect()
}

/// Connections that work, or may come to: one that failed is as good as gone, and cannot be deleted.
const LIVING: &[&str] = &[
    "initiating-request",
    "pending-acceptance",
    "provisioning",
    "active",
    "deleting",
];

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::EC2::NetworkAcl",
        properties: "VpcId!* Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateNetworkAcl",
                json!({
                    "VpcId": ctx.p("VpcId"),
                    "ClientToken": ctx.token,
                    "TagSpecification": tagged(ctx, "network-acl"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["networkAcl"]["networkAclId"]),
        find: Some(|ctx| call(EC2, "DescribeNetworkAcls", json!({"Filter": own(ctx)}))),
        found: |_, answer| first(answer, "networkAclSet", "networkAclId"),
        complete: tags,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeNetworkAcls",
                json!({"NetworkAclId": [ctx.id]}),
            )
        }),
        item: "/networkAclSet/0",
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteNetworkAcl",
                json!({"NetworkAclId": ctx.id}),
            )]
        },
        attributes: &[("Id", "/networkAclId")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::NetworkAclEntry",
        properties: "NetworkAclId!* RuleNumber!* Egress! Protocol* RuleAction* CidrBlock Ipv6CidrBlock Icmp PortRange",
        make: |ctx| {
            call(EC2, "CreateNetworkAclEntry", entry(ctx))
                .done_by(&["NetworkAclEntryAlreadyExists"])
        },
        id: |ctx, _| {
            let (acl, number) = (ctx.text("NetworkAclId"), ctx.text("RuleNumber"));
            format!("{acl}|{number}|{}", text_of(&is_egress(ctx)))
        },
        complete: |ctx| match ctx.old {
            Some(_) => vec![call(EC2, "ReplaceNetworkAclEntry", entry(ctx))],
            None => Vec::new(),
        },
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteNetworkAclEntry",
                json!({
                    "NetworkAclId": ctx.p("NetworkAclId"),
                    "RuleNumber": ctx.p("RuleNumber"),
                    "Egress": is_egress(ctx),
                }),
            )]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::SubnetNetworkAclAssociation",
        properties: "NetworkAclId!* SubnetId!*",
        look: Some(|_| call(EC2, "DescribeNetworkAcls", json!({}))),
        make: |ctx| {
            let acls = items(&ctx.looked["networkAclSet"]);
            let subnet = ctx.p("SubnetId");
            let now = acls.iter().find_map(|acl| association(acl, &subnet));
            replace(now, &ctx.p("NetworkAclId"))
        },
        id: |_, answer| text_of(&answer["newAssociationId"]),
        find: Some(|ctx| {
            let acl = json!([ctx.p("NetworkAclId")]);
            call(EC2, "DescribeNetworkAcls", json!({"NetworkAclId": acl}))
        }),
        found: |ctx, answer| association(answer.pointer("/networkAclSet/0")?, &ctx.p("SubnetId")),
        remove: give_back,
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::DHCPOptions",
        properties: "DomainName! DomainNameServers! NtpServers! NetbiosNameServers! NetbiosNodeType! \
                     Ipv6AddressPreferredLeaseTime! Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateDhcpOptions",
                json!({
                    "DhcpConfiguration": options(ctx),
                    "TagSpecification": tagged(ctx, "dhcp-options"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["dhcpOptions"]["dhcpOptionsId"]),
        find: Some(|ctx| call(EC2, "DescribeDhcpOptions", json!({"Filter": own(ctx)}))),
        found: |_, answer| first(answer, "dhcpOptionsSet", "dhcpOptionsId"),
        complete: tags,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeDhcpOptions",
                json!({"DhcpOptionsId": [ctx.id]}),
            )
        }),
        item: "/dhcpOptionsSet/0",
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteDhcpOptions",
                json!({"DhcpOptionsId": ctx.id}),
            )]
        },
        attributes: &[("DhcpOptionsId", "/dhcpOptionsId")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::VPCDHCPOptionsAssociation",
        properties: "DhcpOptionsId* VpcId!*",
        make: |ctx| call(EC2, "AssociateDhcpOptions", ctx.properties.clone()),
        id: |ctx, _| format!("{}|{}", ctx.text("DhcpOptionsId"), ctx.text("VpcId")),
        complete: |ctx| match ctx.old {
            Some(_) => vec![call(EC2, "AssociateDhcpOptions", ctx.properties.clone())],
            None => Vec::new(),
        },
        remove: |ctx| {
            vec![call(
                EC2,
                "AssociateDhcpOptions",
                json!({"DhcpOptionsId": "default", "VpcId": ctx.p("VpcId")}),
            )]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::VPCPeeringConnection",
        properties: "VpcId!* PeerVpcId!* PeerOwnerId! PeerRegion! Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateVpcPeeringConnection",
                json!({
                    "VpcId": ctx.p("VpcId"),
                    "PeerVpcId": ctx.p("PeerVpcId"),
                    "PeerOwnerId": ctx.p("PeerOwnerId"),
                    "PeerRegion": ctx.p("PeerRegion"),
                    "TagSpecification": tagged(ctx, "vpc-peering-connection"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["vpcPeeringConnection"]["vpcPeeringConnectionId"]),
        find: Some(|ctx| {
            let mut filters = items(&own(ctx));
            filters.push(json!({"Name": "status-code", "Value": LIVING}));
            call(
                EC2,
                "DescribeVpcPeeringConnections",
                json!({"Filter": filters}),
            )
        }),
        found: |_, answer| first(answer, "vpcPeeringConnectionSet", "vpcPeeringConnectionId"),
        complete: |ctx| match ctx.old {
            Some(_) => tags(ctx),
            None => vec![
                call(
                    EC2,
                    "AcceptVpcPeeringConnection",
                    json!({"VpcPeeringConnectionId": ctx.id}),
                )
                .done_by(&["InvalidStateTransition"]),
            ],
        },
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeVpcPeeringConnections",
                json!({"Filter": [
                    {"Name": "vpc-peering-connection-id", "Value": [ctx.id]},
                    {"Name": "status-code", "Value": LIVING},
                ]}),
            )
        }),
        item: "/vpcPeeringConnectionSet/0",
        state: |_, item| match item.pointer("/status/code").and_then(Value::as_str) {
            Some("active") => State::Ready,
            _ => State::Pending,
        },
        remove: |ctx| {
            vec![
                call(
                    EC2,
                    "DeleteVpcPeeringConnection",
                    json!({"VpcPeeringConnectionId": ctx.id}),
                )
                .done_by(&["InvalidStateTransition"]),
            ]
        },
        attributes: &[("Id", "/vpcPeeringConnectionId")],
        ..NOTHING
    },
];
