//! Networks of EC2. What EC2 makes is found again by the tags that CloudFormation gives it with the call that makes it.

use serde_json::{Value, json};

use super::{Call, Ctx, Kind, NOTHING, State, call, items, tag_list, text_of};

const EC2: &str = "ec2";

/// A tag specification of what a call makes.
pub(super) fn tagged(ctx: &Ctx<'_>, resource_type: &str) -> Value {
    json!([{"ResourceType": resource_type, "Tag": ctx.tag_list("Key", "Value")}])
}

/// The filters that find it by those tags.
pub(super) fn own(ctx: &Ctx<'_>) -> Value {
    json!([
        {"Name": "tag:aws:cloudformation:stack-id", "Value": [ctx.stack_arn]},
        {"Name": "tag:aws:cloudformation:logical-id", "Value": [ctx.logical]},
    ])
}

/// What an update does to tags.
pub(super) fn tags(ctx: &Ctx<'_>) -> Vec<Call> {
    let (set, gone) = ctx.changed_tags();
    let mut calls = Vec::new();
    if !set.is_empty() {
        let tags = tag_list(&set, "Key", "Value");
        calls.push(call(
            EC2,
            "CreateTags",
            json!({"ResourceId": [ctx.id], "Tag": tags}),
        ));
    }
    if !gone.is_empty() {
        let tags: Vec<Value> = gone.iter().map(|key| json!({"Key": key})).collect();
        calls.push(call(
            EC2,
            "DeleteTags",
            json!({"ResourceId": [ctx.id], "Tag": tags}),
        ));
    }
    calls
}

/// The newest of what was found: a token may have been spent on one that a former piece of work removed.
pub(super) fn first(answer: &Value, set: &str, id: &str) -> Option<String> {
    let gone = |it: &&Value| {
        let state = it
            .get("state")
            .or_else(|| it.pointer("/instanceState/name"));
        !matches!(
            state.and_then(Value::as_str),
            Some("deleted" | "deleting" | "failed" | "terminated" | "shutting-down")
        )
    };
    let found = answer.get(set)?.as_array()?.iter().find(gone)?;
    Some(found.get(id)?.as_str()?.to_owned())
}

/// `available` and what comes before it.
pub(super) fn by_state(item: &Value) -> State {
    match item.get("state").and_then(Value::as_str) {
        Some("deleted") => State::Gone,
        Some("failed") => {
            let why = item.get("failureMessage").map(text_of);
            State::Failed(why.unwrap_or_else(|| "it failed".into()))
        }
        Some("pending" | "deleting") => State::Pending,
        _ => State::Ready,
    }
}

/// The value of a boolean attribute, as the operations that modify attributes take it.
fn switch(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        value => json!({"Value": value}),
    }
}

macro_rules! found {
    ($operation:literal, $set:literal, $id:literal) => {
        (
            Some((|ctx: &Ctx<'_>| call(EC2, $operation, json!({"Filter": own(ctx)}))) as fn(&Ctx<'_>) -> Call),
            (|_: &Ctx<'_>, answer: &Value| first(answer, $set, $id)) as fn(&Ctx<'_>, &Value) -> Option<String>,
        )
    };
}

const FOUND_VPC: Find = found!("DescribeVpcs", "vpcSet", "vpcId");
const FOUND_SUBNET: Find = found!("DescribeSubnets", "subnetSet", "subnetId");
const FOUND_GATEWAY: Find = found!(
    "DescribeInternetGateways",
    "internetGatewaySet",
    "internetGatewayId"
);
const FOUND_TABLE: Find = found!("DescribeRouteTables", "routeTableSet", "routeTableId");
const FOUND_NAT: Find = found!("DescribeNatGateways", "natGatewaySet", "natGatewayId");
const FOUND_ADDRESS: Find = found!("DescribeAddresses", "addressesSet", "allocationId");
const FOUND_ENDPOINT: Find = found!("DescribeVpcEndpoints", "vpcEndpointSet", "vpcEndpointId");

type Find = (
    Option<fn(&Ctx<'_>) -> Call>,
    fn(&Ctx<'_>, &Value) -> Option<String>,
);

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "AWS::EC2::VPC",
        properties: "CidrBlock! EnableDnsHostnames EnableDnsSupport InstanceTenancy! Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateVpc",
                json!({
                    "CidrBlock": ctx.p("CidrBlock"),
                    "InstanceTenancy": ctx.p("InstanceTenancy"),
                    "TagSpecification": tagged(ctx, "vpc"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["vpc"]["vpcId"]),
        find: FOUND_VPC.0,
        found: FOUND_VPC.1,
        complete: |ctx| {
            let mut calls = tags(ctx);
            for name in ["EnableDnsSupport", "EnableDnsHostnames"] {
                if ctx.changes(&[name]) {
                    let value = match (name, ctx.p(name)) {
                        ("EnableDnsSupport", Value::Null) => json!(true),
                        (_, Value::Null) => json!(false),
                        (_, value) => value,
                    };
                    calls.push(call(
                        EC2,
                        "ModifyVpcAttribute",
                        json!({"VpcId": ctx.id, name: switch(&value)}),
                    ));
                }
            }
            calls
        },
        read: Some(|ctx| call(EC2, "DescribeVpcs", json!({"VpcId": [ctx.id]}))),
        item: "/vpcSet/0",
        state: |_, item| by_state(item),
        remove: |ctx| vec![call(EC2, "DeleteVpc", json!({"VpcId": ctx.id}))],
        attributes: &[
            ("VpcId", "/vpcId"),
            ("CidrBlock", "/cidrBlock"),
            ("CidrBlockAssociations", "/cidrBlockAssociationSet"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::Subnet",
        properties: "AvailabilityZone! CidrBlock! VpcId!* MapPublicIpOnLaunch PrivateDnsNameOptionsOnLaunch Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateSubnet",
                json!({
                    "AvailabilityZone": ctx.p("AvailabilityZone"),
                    "CidrBlock": ctx.p("CidrBlock"),
                    "VpcId": ctx.p("VpcId"),
                    "TagSpecification": tagged(ctx, "subnet"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["subnet"]["subnetId"]),
        find: FOUND_SUBNET.0,
        found: FOUND_SUBNET.1,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.changes(&["MapPublicIpOnLaunch"]) {
                let value = match ctx.p("MapPublicIpOnLaunch") {
                    Value::Null => json!(false),
                    value => value,
                };
                calls.push(call(
                    EC2,
                    "ModifySubnetAttribute",
                    json!({"SubnetId": ctx.id, "MapPublicIpOnLaunch": switch(&value)}),
                ));
            }
            if ctx.changes(&["PrivateDnsNameOptionsOnLaunch"]) {
                let options = ctx.p("PrivateDnsNameOptionsOnLaunch");
                for (name, member) in [
                    ("HostnameType", "PrivateDnsHostnameTypeOnLaunch"),
                    (
                        "EnableResourceNameDnsARecord",
                        "EnableResourceNameDnsARecordOnLaunch",
                    ),
                    (
                        "EnableResourceNameDnsAAAARecord",
                        "EnableResourceNameDnsAAAARecordOnLaunch",
                    ),
                ] {
                    let value = options.get(name).cloned().unwrap_or(Value::Null);
                    let value = if name == "HostnameType" {
                        value
                    } else {
                        switch(&value)
                    };
                    if !value.is_null() {
                        calls.push(call(
                            EC2,
                            "ModifySubnetAttribute",
                            json!({"SubnetId": ctx.id, member: value}),
                        ));
                    }
                }
            }
            calls
        },
        read: Some(|ctx| call(EC2, "DescribeSubnets", json!({"SubnetId": [ctx.id]}))),
        item: "/subnetSet/0",
        state: |_, item| by_state(item),
        remove: |ctx| vec![call(EC2, "DeleteSubnet", json!({"SubnetId": ctx.id}))],
        attributes: &[
            ("SubnetId", "/subnetId"),
            ("AvailabilityZone", "/availabilityZone"),
            ("AvailabilityZoneId", "/availabilityZoneId"),
            ("CidrBlock", "/cidrBlock"),
            ("VpcId", "/vpcId"),
        ],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::InternetGateway",
        properties: "Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateInternetGateway",
                json!({"TagSpecification": tagged(ctx, "internet-gateway")}),
            )
        },
        id: |_, answer| text_of(&answer["internetGateway"]["internetGatewayId"]),
        find: FOUND_GATEWAY.0,
        found: FOUND_GATEWAY.1,
        complete: tags,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeInternetGateways",
                json!({"InternetGatewayId": [ctx.id]}),
            )
        }),
        item: "/internetGatewaySet/0",
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteInternetGateway",
                json!({"InternetGatewayId": ctx.id}),
            )]
        },
        attributes: &[("InternetGatewayId", "/internetGatewayId")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::VPCGatewayAttachment",
        properties: "InternetGatewayId!* VpcId!*",
        make: |ctx| {
            call(
                EC2,
                "AttachInternetGateway",
                json!({
                    "InternetGatewayId": ctx.p("InternetGatewayId"),
                    "VpcId": ctx.p("VpcId"),
                }),
            )
            .done_by(&["Resource.AlreadyAssociated"])
        },
        id: |ctx, _| format!("IGW|{}", ctx.text("VpcId")),
        remove: |ctx| {
            vec![
                call(
                    EC2,
                    "DetachInternetGateway",
                    json!({
                        "InternetGatewayId": ctx.p("InternetGatewayId"),
                        "VpcId": ctx.p("VpcId"),
                    }),
                )
                .done_by(&["Gateway.NotAttached"]),
            ]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::RouteTable",
        properties: "VpcId!* Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateRouteTable",
                json!({
                    "VpcId": ctx.p("VpcId"),
                    "ClientToken": ctx.token,
                    "TagSpecification": tagged(ctx, "route-table"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["routeTable"]["routeTableId"]),
        find: FOUND_TABLE.0,
        found: FOUND_TABLE.1,
        complete: tags,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeRouteTables",
                json!({"RouteTableId": [ctx.id]}),
            )
        }),
        item: "/routeTableSet/0",
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteRouteTable",
                json!({"RouteTableId": ctx.id}),
            )]
        },
        attributes: &[("RouteTableId", "/routeTableId")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::Route",
        properties: "RouteTableId!* DestinationCidrBlock! DestinationIpv6CidrBlock! DestinationPrefixListId! GatewayId NatGatewayId \
                     InstanceId NetworkInterfaceId TransitGatewayId VpcPeeringConnectionId",
        make: |ctx| {
            call(EC2, "CreateRoute", ctx.properties.clone()).done_by(&["RouteAlreadyExists"])
        },
        id: |ctx, _| {
            let names = [
                "DestinationCidrBlock",
                "DestinationIpv6CidrBlock",
                "DestinationPrefixListId",
            ];
            let to = names
                .iter()
                .map(|it| ctx.text(it))
                .find(|it| !it.is_empty());
            format!("{}|{}", ctx.text("RouteTableId"), to.unwrap_or_default())
        },
        complete: |ctx| match ctx.old {
            Some(_) => vec![call(EC2, "ReplaceRoute", ctx.properties.clone())],
            None => Vec::new(),
        },
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteRoute",
                json!({
                    "RouteTableId": ctx.p("RouteTableId"),
                    "DestinationCidrBlock": ctx.p("DestinationCidrBlock"),
                    "DestinationIpv6CidrBlock": ctx.p("DestinationIpv6CidrBlock"),
                    "DestinationPrefixListId": ctx.p("DestinationPrefixListId"),
                }),
            )]
        },
        attributes: &[("CidrBlock", "/destinationCidrBlock")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::SubnetRouteTableAssociation",
        properties: "RouteTableId!* SubnetId!*",
        make: |ctx| {
            call(
                EC2,
                "AssociateRouteTable",
                json!({
                    "RouteTableId": ctx.p("RouteTableId"),
                    "SubnetId": ctx.p("SubnetId"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["associationId"]),
        find: Some(|ctx| {
            let filter = json!([{"Name": "association.subnet-id", "Value": [ctx.p("SubnetId")]}]);
            call(
                EC2,
                "DescribeRouteTables",
                json!({"RouteTableId": [ctx.p("RouteTableId")], "Filter": filter}),
            )
        }),
        found: |ctx, answer| {
            let all = items(answer.pointer("/routeTableSet/0/associationSet")?);
            let own = all.iter().find(|it| it["subnetId"] == ctx.p("SubnetId"))?;
            Some(text_of(&own["routeTableAssociationId"]))
        },
        remove: |ctx| {
            vec![call(
                EC2,
                "DisassociateRouteTable",
                json!({"AssociationId": ctx.id}),
            )]
        },
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::EIP",
        properties: "Domain! InstanceId Tags",
        make: |ctx| {
            call(
                EC2,
                "AllocateAddress",
                json!({"Domain": "vpc", "TagSpecification": tagged(ctx, "elastic-ip")}),
            )
        },
        id: |_, answer| text_of(&answer["allocationId"]),
        find: FOUND_ADDRESS.0,
        found: FOUND_ADDRESS.1,
        complete: |ctx| {
            let mut calls = tags(ctx);
            if ctx.changes(&["InstanceId"]) && !ctx.p("InstanceId").is_null() {
                calls.push(call(
                    EC2,
                    "AssociateAddress",
                    json!({
                        "AllocationId": ctx.id,
                        "InstanceId": ctx.p("InstanceId"),
                        "AllowReassociation": true,
                    }),
                ));
            } else if ctx.changes(&["InstanceId"]) && !ctx.attribute("AssociationId").is_empty() {
                let input = json!({"AssociationId": ctx.attribute("AssociationId")});
                calls.push(
                    call(EC2, "DisassociateAddress", input)
                        .done_by(&["InvalidAssociationID.NotFound"]),
                );
            }
            calls
        },
        read: Some(|ctx| call(EC2, "DescribeAddresses", json!({"AllocationId": [ctx.id]}))),
        item: "/addressesSet/0",
        remove: |ctx| {
            let mut calls = Vec::new();
            let association = ctx.attribute("AssociationId");
            if !association.is_empty() {
                calls.push(call(
                    EC2,
                    "DisassociateAddress",
                    json!({"AssociationId": association}),
                ));
            }
            calls.push(call(EC2, "ReleaseAddress", json!({"AllocationId": ctx.id})));
            calls
        },
        attributes: &[
            ("AllocationId", "/allocationId"),
            ("PublicIp", "/publicIp"),
            ("AssociationId", "/associationId"),
        ],
        reference: |ctx| ctx.attribute("PublicIp"),
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::NatGateway",
        properties: "AllocationId! SubnetId!* ConnectivityType! PrivateIpAddress! Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateNatGateway",
                json!({
                    "AllocationId": ctx.p("AllocationId"),
                    "SubnetId": ctx.p("SubnetId"),
                    "ConnectivityType": ctx.p("ConnectivityType"),
                    "PrivateIpAddress": ctx.p("PrivateIpAddress"),
                    "ClientToken": ctx.token,
                    "TagSpecification": tagged(ctx, "natgateway"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["natGateway"]["natGatewayId"]),
        find: FOUND_NAT.0,
        found: FOUND_NAT.1,
        complete: tags,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeNatGateways",
                json!({"NatGatewayId": [ctx.id]}),
            )
        }),
        item: "/natGatewaySet/0",
        state: |_, item| by_state(item),
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteNatGateway",
                json!({"NatGatewayId": ctx.id}),
            )]
        },
        attributes: &[("NatGatewayId", "/natGatewayId")],
        ..NOTHING
    },
    Kind {
        name: "AWS::EC2::VPCEndpoint",
        properties: "VpcId!* ServiceName!* VpcEndpointType! PolicyDocument! PrivateDnsEnabled! RouteTableIds! SubnetIds! \
                     SecurityGroupIds! Tags",
        make: |ctx| {
            call(
                EC2,
                "CreateVpcEndpoint",
                json!({
                    "VpcId": ctx.p("VpcId"),
                    "ServiceName": ctx.p("ServiceName"),
                    "VpcEndpointType": ctx.p("VpcEndpointType"),
                    "PolicyDocument": ctx.document("PolicyDocument"),
                    "PrivateDnsEnabled": ctx.p("PrivateDnsEnabled"),
                    "RouteTableId": ctx.p("RouteTableIds"),
                    "SubnetId": ctx.p("SubnetIds"),
                    "SecurityGroupId": ctx.p("SecurityGroupIds"),
                    "ClientToken": ctx.token,
                    "TagSpecification": tagged(ctx, "vpc-endpoint"),
                }),
            )
        },
        id: |_, answer| text_of(&answer["vpcEndpoint"]["vpcEndpointId"]),
        find: FOUND_ENDPOINT.0,
        found: FOUND_ENDPOINT.1,
        complete: tags,
        read: Some(|ctx| {
            call(
                EC2,
                "DescribeVpcEndpoints",
                json!({"VpcEndpointId": [ctx.id]}),
            )
        }),
        item: "/vpcEndpointSet/0",
        state: |_, item| by_state(item),
        remove: |ctx| {
            vec![call(
                EC2,
                "DeleteVpcEndpoints",
                json!({"VpcEndpointId": [ctx.id]}),
            )]
        },
        attributes: &[
            ("Id", "/vpcEndpointId"),
            ("CreationTimestamp", "/creationTimestamp"),
        ],
        ..NOTHING
    },
];
