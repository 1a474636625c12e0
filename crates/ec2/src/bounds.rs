//! What the model of ec2 2016-11-15 says of the values of requests. Written by `cargo xtask constraints`.

use lath_wire::constraint::Rule::{Free, List, Members, Number, Text};
use lath_wire::constraint::{Constraints, HIGH, LOW, Rule};

/// The table.
pub(crate) const CONSTRAINTS: Constraints = Constraints {
    operations: OPERATIONS,
    rules: RULES,
    patterns: PATTERNS,
};

#[rustfmt::skip]
const OPERATIONS: &[(&str, u16)] = &[
    ("CreateLaunchTemplate", 1),
    ("CreateLaunchTemplateVersion", 1),
    ("CreateManagedPrefixList", 11),
    ("CreateNatGateway", 13),
    ("CreateVpcEndpoint", 15),
    ("DeleteLaunchTemplate", 18),
    ("DeleteLaunchTemplateVersions", 18),
    ("DescribeAddressesAttribute", 19),
    ("DescribeDhcpOptions", 21),
    ("DescribeIamInstanceProfileAssociations", 21),
    ("DescribeInstanceCreditSpecifications", 21),
    ("DescribeInstanceTypeOfferings", 21),
    ("DescribeInstanceTypes", 23),
    ("DescribeInternetGateways", 21),
    ("DescribeLaunchTemplateVersions", 18),
    ("DescribeLaunchTemplates", 25),
    ("DescribeManagedPrefixLists", 28),
    ("DescribeNatGateways", 21),
    ("DescribeNetworkAcls", 21),
    ("DescribeNetworkInterfaces", 21),
    ("DescribeRouteTables", 30),
    ("DescribeSecurityGroupRules", 21),
    ("DescribeSecurityGroups", 21),
    ("DescribeSubnets", 21),
    ("DescribeTransitGatewayAttachments", 21),
    ("DescribeTransitGatewayPeeringAttachments", 21),
    ("DescribeTransitGatewayRouteTables", 21),
    ("DescribeTransitGatewayVpcAttachments", 21),
    ("DescribeTransitGateways", 21),
    ("DescribeVpcEndpointAssociations", 28),
    ("DescribeVpcPeeringConnections", 21),
    ("DescribeVpcs", 21),
    ("GetManagedPrefixListEntries", 28),
    ("GetSecurityGroupsForVpc", 21),
    ("GetSubnetCidrReservations", 21),
    ("GetTransitGatewayAttachmentPropagations", 21),
    ("GetTransitGatewayPrefixListReferences", 21),
    ("GetTransitGatewayRouteTableAssociations", 21),
    ("GetTransitGatewayRouteTablePropagations", 21),
    ("ModifyLaunchTemplate", 18),
    ("ModifyManagedPrefixList", 31),
    ("ModifyVpcEndpoint", 15),
    ("RunInstances", 32),
    ("SearchTransitGatewayRoutes", 21),
];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Free,
    Members(&[("LaunchTemplateName", 2), ("VersionDescription", 3), ("LaunchTemplateData", 4)]),
    Text(3, 128, 0),
    Text(0, 255, 0),
    Members(&[("ElasticInferenceAccelerator", 5), ("InstanceRequirements", 8)]),
    List(LOW, HIGH, 6),
    Members(&[("Count", 7)]),
    Number(1, HIGH),
    Members(&[("ExcludedInstanceType", 9), ("AllowedInstanceType", 9)]),
    List(0, 400, 10),
    Text(1, 30, 1),
    Members(&[("Entry", 12)]),
    List(0, 100, 0),
    Members(&[("SecondaryPrivateIpAddressCount", 14)]),
    Number(1, 31),
    Members(&[("DnsOptions", 16)]),
    Members(&[("PrivateDnsSpecifiedDomain", 17)]),
    List(0, 10, 0),
    Members(&[("LaunchTemplateName", 2)]),
    Members(&[("MaxResults", 20)]),
    Number(1, 1000),
    Members(&[("MaxResults", 22)]),
    Number(5, 1000),
    Members(&[("InstanceType", 12), ("MaxResults", 24)]),
    Number(5, 100),
    Members(&[("LaunchTemplateName", 26), ("MaxResults", 27)]),
    List(LOW, HIGH, 2),
    Number(1, 200),
    Members(&[("MaxResults", 29)]),
    Number(1, 100),
    Members(&[("MaxResults", 24)]),
    Members(&[("AddEntry", 12), ("RemoveEntry", 12)]),
    Members(&[("ElasticInferenceAccelerator", 5)]),
];

#[rustfmt::skip]
const PATTERNS: &[&str] = &[
    "",
    r"[a-zA-Z0-9\.\*\-]+",
];
