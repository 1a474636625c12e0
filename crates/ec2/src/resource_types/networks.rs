//! What VPCs are made of.

use lath_authz::Scope;

use super::{Facts, arn, fact, own_id, resource_types};
use crate::networks::prefix_lists;
use crate::records::{Address, NetworkInterface, RouteTable, SecurityGroup, Subnet};
use crate::zones::zone_id;

resource_types! {
    /// A virtual private cloud. No block comes from an IP address manager.
    VPC = "vpc", ["ec2:VpcID", "ec2:Tenancy", "ec2:Ipv4IpamPoolId", "ec2:Ipv6IpamPoolId"] => |_, id| {
        let mut facts = own_id("ec2:VpcID", id);
        if id != "*" {
            facts.push(fact("ec2:Tenancy", "default"));
        }
        facts
    };

    /// A subnet. No block comes from an IP address manager.
    SUBNET = "subnet", [
        "ec2:SubnetID", "ec2:Vpc", "ec2:AvailabilityZone", "ec2:AvailabilityZoneId",
        "ec2:Ipv4IpamPoolId", "ec2:Ipv6IpamPoolId",
    ] => of_subnet;

    /// A route table of a VPC.
    ROUTE_TABLE = "route-table", ["ec2:RouteTableID", "ec2:Vpc"] => |at, id| {
        let table = at.view.get::<RouteTable>(id);
        in_vpc(at, own_id("ec2:RouteTableID", id), table.map(|it| it.vpc.to_string()))
    };

    /// An internet gateway.
    INTERNET_GATEWAY = "internet-gateway", ["ec2:InternetGatewayID"] => |_, id| {
        own_id("ec2:InternetGatewayID", id)
    };

    /// A NAT gateway.
    NAT_GATEWAY = "natgateway", [] => |_, _| Vec::new();

    /// A security group.
    SECURITY_GROUP = "security-group", ["ec2:SecurityGroupID", "ec2:Vpc"] => |at, id| {
        let group = at.view.get::<SecurityGroup>(id);
        in_vpc(at, own_id("ec2:SecurityGroupID", id), group.map(|it| it.vpc.to_string()))
    };

    /// A rule of a security group.
    SECURITY_GROUP_RULE = "security-group-rule", [] => |_, _| Vec::new();

    /// A network ACL.
    NETWORK_ACL = "network-acl", ["ec2:NetworkAclID", "ec2:Vpc"] => |at, id| {
        let mut vpcs = at.view.list::<crate::records::Vpc>();
        let vpc = vpcs.find(|vpc| vpc.network_acl.as_str() == id);
        in_vpc(at, own_id("ec2:NetworkAclID", id), vpc.map(|it| it.id.to_string()))
    };

    /// A set of DHCP options.
    DHCP_OPTIONS = "dhcp-options", ["ec2:DhcpOptionsID"] => |_, id| own_id("ec2:DhcpOptionsID", id);

    /// A network interface. None is managed by an AWS service or lent to another account.
    NETWORK_INTERFACE = "network-interface", [
        "ec2:NetworkInterfaceID", "ec2:Vpc", "ec2:Subnet", "ec2:AvailabilityZone",
        "ec2:ManagedResourceOperator", "ec2:AuthorizedService", "ec2:AuthorizedUser", "ec2:Permission",
    ] => of_interface;

    /// An elastic address.
    ELASTIC_IP = "elastic-ip", ["ec2:AllocationId", "ec2:Domain", "ec2:PublicIpAddress"] => of_address;

    /// A VPC endpoint. Each is for a service network of its own region, and no AWS service owns one.
    VPC_ENDPOINT = "vpc-endpoint", [
        "ec2:VpceServiceName", "ec2:VpceServiceOwner", "ec2:VpceMultiRegion", "ec2:VpceServiceRegion",
    ] => |at, _| {
        vec![
            fact("ec2:VpceServiceRegion", at.region()),
            fact("ec2:VpceMultiRegion", "false"),
        ]
    };
}

/// A managed prefix list: of the account, or one of AWS's.
pub(crate) const PREFIX_LIST: lath_authz::ResourceType = lath_authz::ResourceType {
    name: "prefix-list",
    arn: |at, id| prefix_lists::arn(at.region(), at.account(), id),
    keys: &[
        lath_authz::RESOURCE_TAG,
        "ec2:ResourceTag/${TagKey}",
        "ec2:IpamPrefixListResolverTargetId",
    ],
    facts: super::of_tags,
};

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
