//! What VPCs are made of.

use lath_authz::{ResourceType, Scope};
use lath_control::Cell;
use lath_service::{Kind, Resource};
use lath_store::View;

use super::{Facts, arn, fact, ids, own_id, resource_type};
use crate::prefix_lists;
use crate::zone_id;
use crate::{
    Address, DhcpOptions, InternetGateway, ManagedPrefixList, NatGateway, NetworkAcl,
    NetworkInterface, RouteTable, SecurityGroup, Subnet, SubnetCidrReservation, Vpc, VpcEndpoint,
    VpcPeering, options_id,
};

/// A virtual private cloud. No block comes from an IP address manager.
pub const VPC: Kind = Kind::of::<Vpc>(
    ids(
        "vpc",
        "InvalidVpcID.Malformed",
        "InvalidVpcID.NotFound",
        "The vpc ID '{}' does not exist",
    ),
    resource_type!(
        "vpc",
        [
            "ec2:VpcID",
            "ec2:Tenancy",
            "ec2:Ipv4IpamPoolId",
            "ec2:Ipv6IpamPoolId"
        ],
        |_, id| {
            let mut facts = own_id("ec2:VpcID", id);
            if id != "*" {
                facts.push(fact("ec2:Tenancy", "default"));
            }
            facts
        }
    ),
);

/// A subnet. No block comes from an IP address manager.
pub const SUBNET: Kind = Kind::of::<Subnet>(
    ids(
        "subnet",
        "InvalidSubnetID.Malformed",
        "InvalidSubnetID.NotFound",
        "The subnet ID '{}' does not exist",
    ),
    resource_type!(
        "subnet",
        [
            "ec2:SubnetID",
            "ec2:Vpc",
            "ec2:AvailabilityZone",
            "ec2:AvailabilityZoneId",
            "ec2:Ipv4IpamPoolId",
            "ec2:Ipv6IpamPoolId",
        ],
        of_subnet
    ),
);

/// A route table of a VPC.
pub const ROUTE_TABLE: Kind = Kind::of::<RouteTable>(
    ids(
        "rtb",
        "InvalidRouteTableId.Malformed",
        "InvalidRouteTableID.NotFound",
        "The routeTable ID '{}' does not exist",
    ),
    resource_type!("route-table", ["ec2:RouteTableID", "ec2:Vpc"], |at, id| {
        let table = at.view.get::<RouteTable>(id);
        in_vpc(
            at,
            own_id("ec2:RouteTableID", id),
            table.map(|it| it.vpc.to_string()),
        )
    }),
);

/// An internet gateway.
pub const INTERNET_GATEWAY: Kind = Kind::of::<InternetGateway>(
    ids(
        "igw",
        "InvalidInternetGatewayId.Malformed",
        "InvalidInternetGatewayID.NotFound",
        "The internetGateway ID '{}' does not exist",
    ),
    resource_type!("internet-gateway", ["ec2:InternetGatewayID"], |_, id| {
        own_id("ec2:InternetGatewayID", id)
    }),
);

/// A NAT gateway.
pub const NAT_GATEWAY: Kind = Kind::of::<NatGateway>(
    ids(
        "nat",
        "NatGatewayMalformed",
        "NatGatewayNotFound",
        "NatGateway {} was not found",
    ),
    resource_type!("natgateway", [], |_, _| Vec::new()),
);

/// A security group.
pub const SECURITY_GROUP: Kind = Kind::of::<SecurityGroup>(
    ids(
        "sg",
        "InvalidGroupId.Malformed",
        "InvalidGroup.NotFound",
        "The security group '{}' does not exist",
    ),
    resource_type!(
        "security-group",
        ["ec2:SecurityGroupID", "ec2:Vpc"],
        |at, id| {
            let group = at.view.get::<SecurityGroup>(id);
            in_vpc(
                at,
                own_id("ec2:SecurityGroupID", id),
                group.map(|it| it.vpc.to_string()),
            )
        }
    ),
);

/// A rule of a security group.
pub const SECURITY_GROUP_RULE: Kind = Kind::within(
    ids(
        "sgr",
        "InvalidSecurityGroupRuleId.Malformed",
        "InvalidSecurityGroupRuleId.NotFound",
        "The security group rule ID '{}' does not exist",
    ),
    resource_type!("security-group-rule", [], |_, _| Vec::new()),
    has_rule,
);

/// A network ACL.
pub const NETWORK_ACL: Kind = Kind::of::<NetworkAcl>(
    ids(
        "acl",
        "InvalidNetworkAclId.Malformed",
        "InvalidNetworkAclID.NotFound",
        "The networkAcl ID '{}' does not exist",
    ),
    resource_type!("network-acl", ["ec2:NetworkAclID", "ec2:Vpc"], |at, id| {
        let acl = at.view.get::<NetworkAcl>(id);
        in_vpc(
            at,
            own_id("ec2:NetworkAclID", id),
            acl.map(|it| it.vpc.to_string()),
        )
    }),
);

/// A set of DHCP options.
pub const DHCP_OPTIONS: Kind = Kind {
    exists: are_options,
    ..Kind::of::<DhcpOptions>(
        ids(
            "dopt",
            "InvalidDhcpOptionsId.Malformed",
            "InvalidDhcpOptionID.NotFound",
            "The dhcpOption ID '{}' does not exist",
        ),
        resource_type!("dhcp-options", ["ec2:DhcpOptionsID"], |_, id| own_id(
            "ec2:DhcpOptionsID",
            id
        )),
    )
};

/// A network interface. None is managed by an AWS service or lent to another account.
pub const NETWORK_INTERFACE: Kind = Kind::of::<NetworkInterface>(
    ids(
        "eni",
        "InvalidNetworkInterfaceId.Malformed",
        "InvalidNetworkInterfaceID.NotFound",
        "The networkInterface ID '{}' does not exist",
    ),
    resource_type!(
        "network-interface",
        [
            "ec2:NetworkInterfaceID",
            "ec2:Vpc",
            "ec2:Subnet",
            "ec2:AvailabilityZone",
            "ec2:ManagedResourceOperator",
            "ec2:AuthorizedService",
            "ec2:AuthorizedUser",
            "ec2:Permission",
        ],
        of_interface
    ),
);

/// An elastic address.
pub const ELASTIC_IP: Kind = Kind::of::<Address>(
    ids(
        "eipalloc",
        "InvalidElasticIpID.Malformed",
        "InvalidAllocationID.NotFound",
        "The allocation ID '{}' does not exist",
    ),
    resource_type!(
        "elastic-ip",
        ["ec2:AllocationId", "ec2:Domain", "ec2:PublicIpAddress"],
        of_address
    ),
);

/// A VPC endpoint. Each is for a service network or a resource of its own region, and no AWS service owns one.
pub const VPC_ENDPOINT: Kind = Kind::of::<VpcEndpoint>(
    ids(
        "vpce",
        "InvalidVpcEndpointId.Malformed",
        "InvalidVpcEndpointId.NotFound",
        "The Vpc Endpoint Id '{}' does not exist",
    ),
    resource_type!(
        "vpc-endpoint",
        [
            "ec2:VpceServiceName",
            "ec2:VpceServiceOwner",
            "ec2:VpceMultiRegion",
            "ec2:VpceServiceRegion",
        ],
        |at, _| {
            vec![
                fact("ec2:VpceServiceRegion", at.region()),
                fact("ec2:VpceMultiRegion", "false"),
            ]
        }
    ),
);

/// A VPC peering connection.
pub const VPC_PEERING: Kind = Kind::of::<VpcPeering>(
    ids(
        "pcx",
        "InvalidVpcPeeringConnectionId.Malformed",
        "InvalidVpcPeeringConnectionID.NotFound",
        "The vpcPeeringConnection ID '{}' does not exist",
    ),
    resource_type!(
        "vpc-peering-connection",
        [
            "ec2:VpcPeeringConnectionID",
            "ec2:AccepterVpc",
            "ec2:RequesterVpc",
        ],
        |at, id| {
            let mut facts = own_id("ec2:VpcPeeringConnectionID", id);
            if let Some(peering) = at.view.get::<VpcPeering>(id) {
                let vpc = |id: &lath_model::id::VpcId| arn(at, "vpc", id);
                facts.push(fact("ec2:AccepterVpc", vpc(&peering.accepter.vpc)));
                facts.push(fact("ec2:RequesterVpc", vpc(&peering.requester.vpc)));
            }
            facts
        }
    ),
);

/// A managed prefix list: of the account, or one of AWS's.
pub const PREFIX_LIST: Kind = Kind::of::<ManagedPrefixList>(
    ids(
        "pl",
        "InvalidPrefixListId.Malformed",
        "InvalidPrefixListID.NotFound",
        "The prefix list ID '{}' does not exist",
    ),
    ResourceType {
        name: "prefix-list",
        arn: |at, id| prefix_lists::arn(at.region(), at.account(), id),
        keys: &[
            lath_authz::RESOURCE_TAG,
            "ec2:ResourceTag/${TagKey}",
            "ec2:IpamPrefixListResolverTargetId",
        ],
        facts: super::of_tags,
    },
);

/// A CIDR reservation of a subnet.
pub const SUBNET_CIDR_RESERVATION: Kind = Kind::of::<SubnetCidrReservation>(
    ids(
        "scr",
        "InvalidSubnetCidrReservationID.Malformed",
        "InvalidSubnetCidrReservationID.NotFound",
        "The subnet CIDR reservation ID '{}' does not exist",
    ),
    resource_type!("subnet-cidr-reservation", [], |_, _| Vec::new()),
);

fn has_rule(_: &Cell, view: &View, id: &str) -> bool {
    view.has::<SecurityGroup>("rule", id)
}

/// The region's have no record.
fn are_options(cell: &Cell, view: &View, id: &str) -> bool {
    options_id(cell).as_str() == id || view.get::<DhcpOptions>(id).is_some()
}

fn in_vpc(at: &Scope<'_>, mut facts: Facts, vpc: Option<String>) -> Facts {
    facts.extend(vpc.map(|id| fact("ec2:Vpc", arn(at, "vpc", id))));
    facts
}

fn of_subnet(at: &Scope<'_>, id: &str) -> Facts {
    let mut facts = own_id("ec2:SubnetID", id);
    let Some(subnet) = at.view.get::<Subnet>(id) else {
        return facts;
    };
    let zone = &subnet.availability_zone;
    facts.push(fact("ec2:AvailabilityZone", zone));
    facts.push(fact("ec2:AvailabilityZoneId", zone_id(zone)));
    in_vpc(at, facts, Some(subnet.vpc.to_string()))
}

fn of_interface(at: &Scope<'_>, id: &str) -> Facts {
    let mut facts = own_id("ec2:NetworkInterfaceID", id);
    let Some(interface) = at.view.get::<NetworkInterface>(id) else {
        return facts;
    };
    facts.push(fact("ec2:AvailabilityZone", &interface.availability_zone));
    facts.push(fact("ec2:Subnet", arn(at, "subnet", &interface.subnet)));
    in_vpc(at, facts, Some(interface.vpc.to_string()))
}

fn of_address(at: &Scope<'_>, id: &str) -> Facts {
    let Some(address) = at.view.get::<Address>(id) else {
        return Vec::new();
    };
    vec![
        fact("ec2:AllocationId", id),
        fact("ec2:Domain", "vpc"),
        fact("ec2:PublicIpAddress", address.ip.to_string()),
    ]
}

impl Resource for Vpc {
    const RESOURCE: Kind = VPC;
}

impl Resource for Subnet {
    const RESOURCE: Kind = SUBNET;
}

impl Resource for NetworkAcl {
    const RESOURCE: Kind = NETWORK_ACL;
}

impl Resource for RouteTable {
    const RESOURCE: Kind = ROUTE_TABLE;
}

impl Resource for InternetGateway {
    const RESOURCE: Kind = INTERNET_GATEWAY;
}

impl Resource for SecurityGroup {
    const RESOURCE: Kind = SECURITY_GROUP;
}

impl Resource for ManagedPrefixList {
    const RESOURCE: Kind = PREFIX_LIST;
}

impl Resource for NetworkInterface {
    const RESOURCE: Kind = NETWORK_INTERFACE;
}

impl Resource for Address {
    const RESOURCE: Kind = ELASTIC_IP;
}

impl Resource for NatGateway {
    const RESOURCE: Kind = NAT_GATEWAY;
}

impl Resource for VpcPeering {
    const RESOURCE: Kind = VPC_PEERING;
}

impl Resource for VpcEndpoint {
    const RESOURCE: Kind = VPC_ENDPOINT;
}

impl Resource for SubnetCidrReservation {
    const RESOURCE: Kind = SUBNET_CIDR_RESERVATION;
}

impl Resource for DhcpOptions {
    const RESOURCE: Kind = DHCP_OPTIONS;
}
