"""Every operation that is served, with bad input: the exact code and status that AWS answers."""

import re

import pytest
from botocore.exceptions import ClientError
from lathlab import ROOT
from lathlab.lab import Lab, code_of, fixed, status_of

COMPATIBILITY = ROOT / "docs" / "compatibility.md"

# Well-formed ids of things that do not exist.
VPC, SUBNET, IGW, RTB, SG = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0", "igw-0123456789abcdef0", "rtb-0123456789abcdef0", "sg-0123456789abcdef0"
ENI, I, AMI, PL, EIP = "eni-0123456789abcdef0", "i-0123456789abcdef0", "ami-0123456789abcdef0", "pl-0123456789abcdef0", "eipalloc-0123456789abcdef0"
ACL = "acl-0123456789abcdef0"
ACL_ENTRY = {"RuleNumber": 100, "Protocol": "-1", "RuleAction": "allow", "Egress": True, "CidrBlock": "0.0.0.0/0"}
PCX, DOPT = "pcx-0123456789abcdef0", "dopt-0123456789abcdef0"
SN, SVC, TG, LISTENER, RULE = "sn-0123456789abcdef0", "svc-0123456789abcdef0", "tg-0123456789abcdef0", "listener-0123456789abcdef0", "rule-0123456789abcdef0"
LT, LT_NAME = {"LaunchTemplateId": "lt-0123456789abcdef0"}, {"LaunchTemplateName": "no-such-template"}
NO_LT, NO_LT_NAME = "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException"
SNVA, SNSA, ALS = "snva-0123456789abcdef0", "snsa-0123456789abcdef0", "als-0123456789abcdef0"
RGW, RCFG, SNRA, REA, DV = "rgw-0123456789abcdef0", "rcfg-0123456789abcdef0", "snra-0123456789abcdef0", "rea-0123456789abcdef0", "dv-0123456789abcdef0"
LATTICE_ARN = f"arn:aws:vpc-lattice:us-east-1:000000000000:service/{SVC}"
NO_GROUP = "arn:aws:logs:us-east-1:000000000000:log-group:/no/such"

ALL_TCP = [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
BAD_PORTS = [{"IpProtocol": "tcp", "FromPort": 9, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
BAD_FILTER = [{"Name": "no-such-filter", "Values": ["x"]}]

# `$vpc`, `$subnet`, ... stand for things that exist, made once for the whole table.
EC2 = [
    ("AcceptVpcPeeringConnection", {"VpcPeeringConnectionId": PCX}, "InvalidVpcPeeringConnectionID.NotFound"),
    ("AllocateAddress", {"Domain": "moon"}, "InvalidParameterValue"),
    ("AllocateAddress", {"DryRun": True}, "DryRunOperation", 412),
    ("AssignPrivateIpAddresses", {"NetworkInterfaceId": ENI, "SecondaryPrivateIpAddressCount": 1}, "InvalidNetworkInterfaceID.NotFound"),
    ("AssociateAddress", {"AllocationId": EIP, "NetworkInterfaceId": "$eni"}, "InvalidAllocationID.NotFound"),
    ("AssociateDhcpOptions", {"DhcpOptionsId": DOPT, "VpcId": "$vpc"}, "InvalidDhcpOptionID.NotFound"),
    ("AssociateDhcpOptions", {"DhcpOptionsId": "default", "VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("AssociateRouteTable", {"RouteTableId": RTB, "SubnetId": "$subnet"}, "InvalidRouteTableID.NotFound"),
    ("AssociateVpcCidrBlock", {"VpcId": VPC, "CidrBlock": "10.1.0.0/16"}, "InvalidVpcID.NotFound"),
    ("AttachInternetGateway", {"InternetGatewayId": IGW, "VpcId": "$vpc"}, "InvalidInternetGatewayID.NotFound"),
    ("AttachNetworkInterface", {"NetworkInterfaceId": ENI, "InstanceId": I, "DeviceIndex": 1}, ("InvalidNetworkInterfaceID.NotFound", "InvalidInstanceID.NotFound")),
    ("AuthorizeSecurityGroupEgress", {"GroupId": SG, "IpPermissions": ALL_TCP}, "InvalidGroup.NotFound"),
    ("AuthorizeSecurityGroupIngress", {"GroupId": SG, "IpPermissions": ALL_TCP}, "InvalidGroup.NotFound"),
    ("AuthorizeSecurityGroupIngress", {"GroupId": "$group", "IpPermissions": BAD_PORTS}, "InvalidParameterValue"),
    ("AuthorizeSecurityGroupIngress", {"GroupId": "sg-1", "IpPermissions": ALL_TCP}, "InvalidGroupId.Malformed"),
    ("CreateDefaultSubnet", {"AvailabilityZone": "us-east-1a"}, "DefaultVpcDoesNotExist"),
    ("CreateDefaultSubnet", {"AvailabilityZone": "us-east-9a"}, "InvalidParameterValue"),
    ("CreateDefaultVpc", {"DryRun": True}, "DryRunOperation", 412),
    ("CreateDhcpOptions", {"DhcpConfigurations": [{"Key": "netbios-node-type", "Values": ["3"]}]}, "InvalidParameterValue"),
    ("CreateInternetGateway", {"DryRun": True}, "DryRunOperation", 412),
    ("CreateInternetGateway", {"TagSpecifications": [{"ResourceType": "vpc", "Tags": [{"Key": "a"}]}]}, "InvalidParameterValue"),
    ("CreateKeyPair", {"KeyName": "$key"}, "InvalidKeyPair.Duplicate"),
    ("CreateKeyPair", {}, "MissingParameter"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "a b", "LaunchTemplateData": {"KeyName": "k"}}, "InvalidLaunchTemplateName.MalformedException"),
    ("CreateLaunchTemplate", {"LaunchTemplateName": "empty", "LaunchTemplateData": {}}, "MissingParameter"),
    ("CreateLaunchTemplateVersion", LT | {"LaunchTemplateData": {"KeyName": "k"}}, NO_LT),
    ("CreateLaunchTemplateVersion", LT | LT_NAME | {"LaunchTemplateData": {"KeyName": "k"}}, "InvalidParameterCombination"),
    ("CreateManagedPrefixList", {"PrefixListName": "com.amazonaws.x", "MaxEntries": 1, "AddressFamily": "IPv4"}, "InvalidParameterValue"),
    ("CreateNetworkAcl", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("CreateNetworkAclEntry", {"NetworkAclId": ACL} | ACL_ENTRY, "InvalidNetworkAclID.NotFound"),
    ("CreateNetworkAclEntry", {"NetworkAclId": "$acl"} | ACL_ENTRY, "NetworkAclEntryAlreadyExists"),
    ("CreateNetworkAclEntry", {"NetworkAclId": "$acl"} | ACL_ENTRY | {"RuleNumber": 32767}, "InvalidParameterValue"),
    ("CreateNetworkInterface", {"SubnetId": SUBNET}, "InvalidSubnetID.NotFound"),
    ("CreateRoute", {"RouteTableId": RTB, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": IGW}, "InvalidRouteTableID.NotFound"),
    ("CreateRoute", {"RouteTableId": "$table", "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": IGW}, "InvalidInternetGatewayID.NotFound"),
    ("CreateRouteTable", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("CreateSecurityGroup", {"GroupName": "default", "Description": "d", "VpcId": "$vpc"}, "InvalidParameterValue"),
    ("CreateSecurityGroup", {"GroupName": "g", "Description": "d", "VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("CreateSubnet", {"VpcId": "$vpc", "CidrBlock": "10.250.1.0/24"}, "InvalidSubnet.Conflict"),
    ("CreateSubnet", {"VpcId": "$vpc", "CidrBlock": "192.168.0.0/24"}, "InvalidSubnet.Range"),
    ("CreateTags", {"Resources": [VPC], "Tags": [{"Key": "a", "Value": "b"}]}, "InvalidVpcID.NotFound"),
    ("CreateTags", {"Resources": ["$vpc"], "Tags": [{"Key": "aws:a", "Value": "b"}]}, "InvalidParameterValue"),
    ("CreateTags", {"Resources": ["unicorn"], "Tags": [{"Key": "a", "Value": "b"}]}, "InvalidID"),
    ("CreateVpc", {"CidrBlock": "10.0.0.0/8"}, "InvalidVpc.Range"),
    ("CreateVpc", {"CidrBlock": "ten"}, "InvalidParameterValue"),
    ("CreateVpc", {}, "MissingParameter"),
    ("DeleteDhcpOptions", {"DhcpOptionsId": DOPT}, "InvalidDhcpOptionID.NotFound"),
    ("DeleteDhcpOptions", {"DhcpOptionsId": "dopt"}, "InvalidDhcpOptionsId.Malformed"),
    ("DeleteInternetGateway", {"InternetGatewayId": IGW}, "InvalidInternetGatewayID.NotFound"),
    ("DeleteKeyPair", {}, "MissingParameter"),
    ("DeleteLaunchTemplate", LT, NO_LT),
    ("DeleteLaunchTemplate", LT_NAME, NO_LT_NAME),
    ("DeleteLaunchTemplate", {"LaunchTemplateId": "lt"}, "InvalidLaunchTemplateId.Malformed"),
    ("DeleteLaunchTemplate", {}, "MissingParameter"),
    ("DeleteLaunchTemplateVersions", LT_NAME | {"Versions": ["1"]}, NO_LT_NAME),
    ("DeleteManagedPrefixList", {"PrefixListId": PL}, "InvalidPrefixListID.NotFound"),
    ("DeleteNetworkAcl", {"NetworkAclId": ACL}, "InvalidNetworkAclID.NotFound"),
    ("DeleteNetworkAcl", {"NetworkAclId": "$acl"}, "InvalidParameterValue"),
    ("DeleteNetworkAclEntry", {"NetworkAclId": "$acl", "RuleNumber": 7, "Egress": True}, "InvalidNetworkAclEntry.NotFound"),
    ("DeleteNetworkInterface", {"NetworkInterfaceId": ENI}, "InvalidNetworkInterfaceID.NotFound"),
    ("DeleteRoute", {"RouteTableId": "$table", "DestinationCidrBlock": "1.0.0.0/8"}, "InvalidRoute.NotFound"),
    ("DeleteRouteTable", {"RouteTableId": RTB}, "InvalidRouteTableID.NotFound"),
    ("DeleteRouteTable", {"RouteTableId": "$table"}, "DependencyViolation"),
    ("DeleteSecurityGroup", {"GroupId": SG}, "InvalidGroup.NotFound"),
    ("DeleteSecurityGroup", {"GroupId": "$default"}, "CannotDelete"),
    ("DeleteSubnet", {"SubnetId": SUBNET}, "InvalidSubnetID.NotFound"),
    ("DeleteSubnet", {"SubnetId": "$subnet"}, "DependencyViolation"),
    ("DeleteTags", {"Resources": ["unicorn"]}, "InvalidID"),
    ("DeleteVpc", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("DeleteVpc", {"VpcId": "vpc"}, "InvalidVpcID.Malformed"),
    ("DeleteVpc", {"VpcId": "$vpc"}, "DependencyViolation"),
    ("DescribeAccountAttributes", {"AttributeNames": ["unicorns"]}, "InvalidParameterValue"),
    ("DescribeAddresses", {"AllocationIds": [EIP]}, "InvalidAllocationID.NotFound"),
    ("DescribeAddressesAttribute", {"AllocationIds": [EIP]}, "InvalidAllocationID.NotFound"),
    ("DescribeAvailabilityZones", {"ZoneNames": ["us-east-1z"]}, "InvalidParameterValue"),
    ("DescribeDhcpOptions", {"DhcpOptionsIds": [DOPT]}, "InvalidDhcpOptionID.NotFound"),
    ("DescribeImages", {"ImageIds": [AMI]}, "InvalidAMIID.NotFound"),
    ("DescribeImages", {"ImageIds": ["ami"]}, "InvalidAMIID.Malformed"),
    ("DescribeInstanceAttribute", {"InstanceId": I, "Attribute": "userData"}, "InvalidInstanceID.NotFound"),
    ("DescribeInstanceCreditSpecifications", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("DescribeInstanceStatus", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("DescribeInstanceTypeOfferings", {"LocationType": "moon"}, "InvalidParameterValue"),
    ("DescribeInstanceTypes", {"InstanceTypes": ["t9.unicorn"]}, "InvalidInstanceType"),
    ("DescribeInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("DescribeInstances", {"InstanceIds": ["i-x"]}, "InvalidInstanceID.Malformed"),
    ("DescribeInternetGateways", {"InternetGatewayIds": [IGW]}, "InvalidInternetGatewayID.NotFound"),
    ("DescribeKeyPairs", {"KeyNames": ["no-such-key"]}, "InvalidKeyPair.NotFound"),
    ("DescribeLaunchTemplateVersions", {"Versions": ["1"]}, "InvalidParameterValue"),
    ("DescribeLaunchTemplateVersions", {}, "MissingParameter"),
    ("DescribeLaunchTemplateVersions", LT, NO_LT),
    ("DescribeLaunchTemplates", {"LaunchTemplateIds": ["lt-0123456789abcdef0"]}, NO_LT),
    ("DescribeLaunchTemplates", {"LaunchTemplateNames": ["no-such-template"]}, NO_LT_NAME),
    ("DescribeManagedPrefixLists", {"PrefixListIds": [PL]}, "InvalidPrefixListID.NotFound"),
    ("DescribeNetworkAcls", {"NetworkAclIds": ["acl-0123456789abcdef0"]}, "InvalidNetworkAclID.NotFound"),
    ("DescribeNetworkInterfaceAttribute", {"NetworkInterfaceId": ENI, "Attribute": "groupSet"}, "InvalidNetworkInterfaceID.NotFound"),
    ("DescribeNetworkInterfaces", {"NetworkInterfaceIds": [ENI]}, "InvalidNetworkInterfaceID.NotFound"),
    ("DescribePrefixLists", {"PrefixListIds": [PL]}, "InvalidPrefixListID.NotFound"),
    ("DescribeRegions", {"RegionNames": ["eu-nowhere-1"]}, "InvalidParameterValue"),
    ("DescribeRouteTables", {"RouteTableIds": [RTB]}, "InvalidRouteTableID.NotFound"),
    ("DescribeSecurityGroupReferences", {"GroupId": [SG]}, "InvalidGroup.NotFound"),
    ("DescribeStaleSecurityGroups", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("DescribeSecurityGroupRules", {"SecurityGroupRuleIds": ["sgr-0123456789abcdef0"]}, "InvalidSecurityGroupRuleId.NotFound"),
    ("DescribeSecurityGroups", {"GroupIds": [SG]}, "InvalidGroup.NotFound"),
    ("DescribeSecurityGroups", {"Filters": BAD_FILTER}, "InvalidParameterValue"),
    ("DescribeSubnets", {"SubnetIds": [SUBNET]}, "InvalidSubnetID.NotFound"),
    ("CreateSubnetCidrReservation", {"SubnetId": SUBNET, "Cidr": "10.0.0.0/28", "ReservationType": "prefix"}, "InvalidSubnetID.NotFound"),
    ("CreateSubnetCidrReservation", {"SubnetId": "$subnet", "Cidr": "10.0.0.0/28", "ReservationType": "prefix"}, "InvalidParameterValue"),
    ("DeleteSubnetCidrReservation", {"SubnetCidrReservationId": "scr-0123456789abcdef0"}, "InvalidSubnetCidrReservationID.NotFound"),
    ("GetSubnetCidrReservations", {"SubnetId": SUBNET}, "InvalidSubnetID.NotFound"),
    ("GetSecurityGroupsForVpc", {"VpcId": VPC}, "InvalidVpcID.NotFound"),
    ("DescribeTags", {"Filters": BAD_FILTER}, "InvalidParameterValue"),
    ("DescribeVolumes", {"VolumeIds": ["vol-0123456789abcdef0"]}, "InvalidVolume.NotFound"),
    ("DescribeVpcAttribute", {"VpcId": VPC, "Attribute": "enableDnsSupport"}, "InvalidVpcID.NotFound"),
    ("DescribeVpcs", {"VpcIds": [VPC]}, "InvalidVpcID.NotFound"),
    ("DescribeVpcs", {"MaxResults": 4}, "InvalidParameterValue"),
    ("DescribeVpcs", {"NextToken": "rubbish"}, "InvalidNextToken"),
    ("DetachInternetGateway", {"InternetGatewayId": "$igw", "VpcId": "$vpc"}, "Gateway.NotAttached"),
    ("DetachNetworkInterface", {"AttachmentId": "eni-attach-0123456789abcdef0"}, "InvalidAttachmentID.NotFound"),
    ("DisassociateAddress", {"AssociationId": "eipassoc-0123456789abcdef0"}, "InvalidAssociationID.NotFound"),
    ("DisassociateRouteTable", {"AssociationId": "rtbassoc-0123456789abcdef0"}, "InvalidAssociationID.NotFound"),
    ("AssociateIamInstanceProfile", {"InstanceId": I, "IamInstanceProfile": {"Name": "none"}}, "InvalidInstanceID.NotFound"),
    ("DescribeIamInstanceProfileAssociations", {"AssociationIds": ["iip-assoc-0123456789abcdef0"]}, "InvalidAssociationID.NotFound"),
    ("DisassociateIamInstanceProfile", {"AssociationId": "iip-assoc-0123456789abcdef0"}, "InvalidAssociationID.NotFound"),
    ("ReplaceIamInstanceProfileAssociation", {"AssociationId": "iip-assoc-0123456789abcdef0", "IamInstanceProfile": {"Name": "none"}},
     "InvalidAssociationID.NotFound"),
    ("ModifyInstanceCapacityReservationAttributes",
     {"InstanceId": I, "CapacityReservationSpecification": {"CapacityReservationPreference": "none"}}, "InvalidInstanceID.NotFound"),
    ("ModifyInstanceCreditSpecification", {"InstanceCreditSpecifications": []}, ("MissingParameter", "InvalidParameterValue")),
    ("ModifyInstanceMaintenanceOptions", {"InstanceId": I, "AutoRecovery": "default"}, "InvalidInstanceID.NotFound"),
    ("ModifyPrivateDnsNameOptions", {"InstanceId": I, "EnableResourceNameDnsARecord": True}, "InvalidInstanceID.NotFound"),
    ("MonitorInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("UnmonitorInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("DisassociateVpcCidrBlock", {"AssociationId": "vpc-cidr-assoc-0123456789abcdef0"}, "InvalidVpcCidrBlockAssociationID.NotFound"),
    ("GetConsoleOutput", {"InstanceId": I}, "InvalidInstanceID.NotFound"),
    ("GetLaunchTemplateData", {"InstanceId": I}, "InvalidInstanceID.NotFound"),
    ("GetManagedPrefixListEntries", {"PrefixListId": PL}, "InvalidPrefixListID.NotFound"),
    ("ImportKeyPair", {"KeyName": "import", "PublicKeyMaterial": b"not a key"}, "InvalidKey.Format"),
    ("ModifyInstanceAttribute", {"InstanceId": I, "DisableApiTermination": {"Value": True}}, "InvalidInstanceID.NotFound"),
    ("ModifyInstanceMetadataOptions", {"InstanceId": I, "HttpTokens": "required"}, "InvalidInstanceID.NotFound"),
    ("ModifyLaunchTemplate", LT | {"DefaultVersion": "1"}, NO_LT),
    ("ModifyManagedPrefixList", {"PrefixListId": PL}, "InvalidPrefixListID.NotFound"),
    ("ModifyNetworkInterfaceAttribute", {"NetworkInterfaceId": ENI, "SourceDestCheck": {"Value": False}}, "InvalidNetworkInterfaceID.NotFound"),
    ("ModifySecurityGroupRules", {"GroupId": SG, "SecurityGroupRules": [{"SecurityGroupRuleId": "sgr-0123456789abcdef0", "SecurityGroupRule": {}}]}, "InvalidGroup.NotFound"),
    ("ModifySubnetAttribute", {"SubnetId": SUBNET, "MapPublicIpOnLaunch": {"Value": True}}, "InvalidSubnetID.NotFound"),
    ("ModifyVpcAttribute", {"VpcId": VPC, "EnableDnsSupport": {"Value": True}}, "InvalidVpcID.NotFound"),
    ("RebootInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("ReleaseAddress", {"AllocationId": EIP}, "InvalidAllocationID.NotFound"),
    ("ReplaceNetworkAclAssociation", {"AssociationId": "aclassoc-0123456789abcdef0", "NetworkAclId": "$acl"}, "InvalidAssociationID.NotFound"),
    ("ReplaceNetworkAclEntry", {"NetworkAclId": "$acl"} | ACL_ENTRY | {"RuleNumber": 7}, "InvalidNetworkAclEntry.NotFound"),
    ("ReplaceRoute", {"RouteTableId": "$table", "DestinationCidrBlock": "1.0.0.0/8", "GatewayId": "$igw"}, ("InvalidParameterValue", "InvalidRoute.NotFound")),
    ("ReplaceRouteTableAssociation", {"AssociationId": "rtbassoc-0123456789abcdef0", "RouteTableId": "$table"}, "InvalidAssociationID.NotFound"),
    ("ResetInstanceAttribute", {"InstanceId": I, "Attribute": "sourceDestCheck"}, "InvalidInstanceID.NotFound"),
    ("RevokeSecurityGroupEgress", {"GroupId": "$group", "IpPermissions": ALL_TCP}, "InvalidPermission.NotFound"),
    ("RevokeSecurityGroupIngress", {"GroupId": "$group", "IpPermissions": ALL_TCP}, "InvalidPermission.NotFound"),
    ("RunInstances", {"MinCount": 1, "MaxCount": 1, "LaunchTemplate": LT}, NO_LT),
    ("RunInstances", {"MinCount": 1, "MaxCount": 1, "LaunchTemplate": LT_NAME}, NO_LT_NAME),
    ("RunInstances", {"ImageId": AMI, "MinCount": 1, "MaxCount": 1}, "InvalidAMIID.NotFound"),
    ("RunInstances", {"ImageId": "$image", "MinCount": 2, "MaxCount": 1, "SubnetId": "$subnet"}, "InvalidParameterValue"),
    ("RunInstances", {"ImageId": "$image", "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "SubnetId": SUBNET}, "InvalidSubnetID.NotFound"),
    ("RunInstances", {"ImageId": "$image", "MinCount": 1, "MaxCount": 1, "SubnetId": "$subnet", "InstanceType": "t3.micro", "SecurityGroupIds": [SG]}, "InvalidGroup.NotFound"),
    ("RunInstances", {"ImageId": "$image", "MinCount": 1, "MaxCount": 1, "SubnetId": "$subnet", "InstanceType": "t3.micro", "KeyName": "none"}, "InvalidKeyPair.NotFound"),
    ("RunInstances", {"ImageId": "$image", "MinCount": 1, "MaxCount": 1, "SubnetId": "$subnet", "InstanceType": "t9.unicorn"}, "InvalidParameterValue"),
    ("RunInstances", {"ImageId": "$image", "MinCount": 1, "MaxCount": 1, "SubnetId": "$subnet", "InstanceType": "t3.micro", "DryRun": True}, "DryRunOperation", 412),
    ("StartInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("StopInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("TerminateInstances", {"InstanceIds": [I]}, "InvalidInstanceID.NotFound"),
    ("UnassignPrivateIpAddresses", {"NetworkInterfaceId": ENI, "PrivateIpAddresses": ["10.0.0.9"]}, "InvalidNetworkInterfaceID.NotFound"),
    ("CreateRoute", {"RouteTableId": "$table", "DestinationCidrBlock": "1.0.0.0/8", "VpcPeeringConnectionId": PCX}, "InvalidVpcPeeringConnectionID.NotFound"),
    ("CreateVpcPeeringConnection", {"VpcId": "$vpc", "PeerVpcId": "$vpc"}, "InvalidParameterValue"),
    ("CreateVpcPeeringConnection", {"VpcId": "$vpc", "PeerVpcId": VPC}, "InvalidVpcID.NotFound"),
    ("CreateVpcPeeringConnection", {"VpcId": "$vpc", "PeerVpcId": VPC, "PeerRegion": "eu-west-1"}, "UnsupportedOperation"),
    ("DeleteVpcPeeringConnection", {"VpcPeeringConnectionId": PCX}, "InvalidVpcPeeringConnectionID.NotFound"),
    ("DescribeVpcPeeringConnections", {"VpcPeeringConnectionIds": [PCX]}, "InvalidVpcPeeringConnectionID.NotFound"),
    ("DescribeVpcPeeringConnections", {"VpcPeeringConnectionIds": ["pcx"]}, "InvalidVpcPeeringConnectionId.Malformed"),
    ("ModifyVpcPeeringConnectionOptions", {"VpcPeeringConnectionId": PCX, "AccepterPeeringConnectionOptions": {"AllowDnsResolutionFromRemoteVpc": True}}, "InvalidVpcPeeringConnectionID.NotFound"),
    ("RejectVpcPeeringConnection", {"VpcPeeringConnectionId": PCX}, "InvalidVpcPeeringConnectionID.NotFound"),
    ("UpdateSecurityGroupRuleDescriptionsEgress", {"GroupId": SG, "IpPermissions": ALL_TCP}, "InvalidGroup.NotFound"),
    ("UpdateSecurityGroupRuleDescriptionsIngress", {"GroupId": SG, "IpPermissions": ALL_TCP}, "InvalidGroup.NotFound"),
]

ABSENT_CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/00000000-0000-0000-0000-000000000000"
INVALID, MISSING, CONFLICT = ("ValidationException", 400), ("ResourceNotFoundException", 404), ("ConflictException", 409)
HTTP_ACTION = {"defaultAction": fixed(404)}
# A document that is right, so that only what it is put on is wrong.
ANYONE = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}'
NEW_GATEWAY = {"name": "gateway", "vpcIdentifier": "$vpc", "subnetIds": ["$subnet"]}
NEW_RESOURCE = {"name": "resource", "type": "SINGLE", "portRanges": ["80"], "resourceGatewayIdentifier": RGW,
                "resourceConfigurationDefinition": {"ipResource": {"ipAddress": "10.0.0.1"}}}
LATTICE = [
    ("CreateResourceConfiguration", NEW_RESOURCE, *MISSING),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"portRanges": ["80-70"]}, *INVALID),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"portRanges": ["http"]}, *INVALID),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"portRanges": []}, *INVALID),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"type": "GROUP"}, *INVALID),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"resourceConfigurationDefinition": {"ipResource": {"ipAddress": "192.0.2.1"}}}, *INVALID),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"resourceConfigurationDefinition": {"ipResource": {"ipAddress": "10.0.0.1"}, "dnsResource": {"domainName": "a.test"}}}, *INVALID),
    ("CreateResourceConfiguration", NEW_RESOURCE | {"name": "rcfg-a"}, *INVALID),
    ("CreateResourceConfiguration", {"name": "child", "type": "CHILD", "portRanges": ["80"], "resourceConfigurationGroupIdentifier": RCFG, "resourceConfigurationDefinition": {"ipResource": {"ipAddress": "10.0.0.1"}}}, *MISSING),
    ("CreateResourceGateway", NEW_GATEWAY | {"vpcIdentifier": VPC}, *MISSING),
    ("CreateResourceGateway", NEW_GATEWAY | {"subnetIds": [SUBNET]}, *MISSING),
    ("CreateResourceGateway", NEW_GATEWAY | {"securityGroupIds": [SG]}, *MISSING),
    ("CreateResourceGateway", NEW_GATEWAY | {"subnetIds": []}, *INVALID),
    ("CreateResourceGateway", NEW_GATEWAY | {"ipAddressType": "IPV6"}, *INVALID),
    ("CreateResourceGateway", NEW_GATEWAY | {"ipv4AddressesPerEni": 63}, *INVALID),
    ("CreateServiceNetworkResourceAssociation", {"serviceNetworkIdentifier": "$network", "resourceConfigurationIdentifier": RCFG}, *MISSING),
    ("CreateServiceNetworkResourceAssociation", {"serviceNetworkIdentifier": SN, "resourceConfigurationIdentifier": RCFG}, *MISSING),
    ("CreateServiceNetworkResourceAssociation", {"serviceNetworkIdentifier": "$network", "resourceConfigurationIdentifier": "rcfg"}, *INVALID),
    ("DeleteDomainVerification", {"domainVerificationIdentifier": DV}, *MISSING),
    ("DeleteResourceConfiguration", {"resourceConfigurationIdentifier": RCFG}, *MISSING),
    ("DeleteResourceEndpointAssociation", {"resourceEndpointAssociationIdentifier": REA}, *MISSING),
    ("DeleteResourceGateway", {"resourceGatewayIdentifier": RGW}, *MISSING),
    ("DeleteServiceNetworkResourceAssociation", {"serviceNetworkResourceAssociationIdentifier": SNRA}, *MISSING),
    ("GetDomainVerification", {"domainVerificationIdentifier": DV}, *MISSING),
    ("GetDomainVerification", {"domainVerificationIdentifier": "unicorn"}, *INVALID),
    ("GetResourceConfiguration", {"resourceConfigurationIdentifier": RCFG}, *MISSING),
    ("GetResourceGateway", {"resourceGatewayIdentifier": RGW}, *MISSING),
    ("GetServiceNetworkResourceAssociation", {"serviceNetworkResourceAssociationIdentifier": SNRA}, *MISSING),
    ("ListDomainVerifications", {"maxResults": 101}, *INVALID),
    ("ListResourceConfigurations", {"resourceGatewayIdentifier": "unicorn"}, *INVALID),
    ("ListResourceEndpointAssociations", {"resourceConfigurationIdentifier": "unicorn"}, *INVALID),
    ("ListResourceGateways", {"nextToken": "rubbish"}, *INVALID),
    ("ListServiceNetworkResourceAssociations", {"serviceNetworkIdentifier": "unicorn"}, *INVALID),
    ("StartDomainVerification", {"domainName": "no domain"}, *INVALID),
    ("UpdateResourceConfiguration", {"resourceConfigurationIdentifier": RCFG, "portRanges": ["81"]}, *MISSING),
    ("UpdateResourceConfiguration", {"resourceConfigurationIdentifier": RCFG, "portRanges": ["0"]}, *INVALID),
    ("UpdateResourceGateway", {"resourceGatewayIdentifier": RGW, "securityGroupIds": []}, *MISSING),
    ("BatchUpdateRule", {"serviceIdentifier": SVC, "listenerIdentifier": LISTENER, "rules": [{"ruleIdentifier": RULE, "priority": 1}]}, *MISSING),
    ("BatchUpdateRule", {"serviceIdentifier": "$service", "listenerIdentifier": "$listener", "rules": []}, *INVALID),
    ("CreateAccessLogSubscription", {"resourceIdentifier": SN, "destinationArn": NO_GROUP}, *MISSING),
    ("CreateAccessLogSubscription", {"resourceIdentifier": "$network", "destinationArn": "nowhere"}, *INVALID),
    ("CreateListener", {"serviceIdentifier": SVC, "name": "http", "protocol": "HTTP"} | HTTP_ACTION, *MISSING),
    ("CreateListener", {"serviceIdentifier": "$service", "name": "other", "protocol": "HTTP", "port": 80} | HTTP_ACTION, *CONFLICT),
    ("CreateListener", {"serviceIdentifier": "$service", "name": "other", "protocol": "HTTP", "port": 70000} | HTTP_ACTION, *INVALID),
    ("CreateListener", {"serviceIdentifier": "$service", "name": "pass", "protocol": "TLS_PASSTHROUGH"} | HTTP_ACTION, *INVALID),
    ("CreateRule", {"serviceIdentifier": "$service", "listenerIdentifier": "$listener", "name": "rule", "priority": 0, "match": {"httpMatch": {"method": "GET"}}, "action": fixed(404)}, *INVALID),
    ("CreateRule", {"serviceIdentifier": "$service", "listenerIdentifier": LISTENER, "name": "rule", "priority": 1, "match": {"httpMatch": {"method": "GET"}}, "action": fixed(404)}, *MISSING),
    ("CreateService", {"name": "UPPER"}, *INVALID),
    ("CreateService", {"name": "web", "customDomainName": "web.example.test", "certificateArn": ABSENT_CERTIFICATE}, *INVALID),
    ("CreateService", {"name": "$service_name"}, *CONFLICT),
    ("CreateServiceNetwork", {"name": "a"}, *INVALID),
    ("CreateServiceNetwork", {"name": "$network_name"}, *CONFLICT),
    ("CreateServiceNetworkServiceAssociation", {"serviceNetworkIdentifier": SN, "serviceIdentifier": "$service"}, *MISSING),
    ("CreateServiceNetworkVpcAssociation", {"serviceNetworkIdentifier": "$network", "vpcIdentifier": VPC}, *MISSING),
    ("CreateServiceNetworkVpcAssociation", {"serviceNetworkIdentifier": "$network", "vpcIdentifier": "vpc"}, *INVALID),
    ("CreateTargetGroup", {"name": "group", "type": "IP", "config": {"protocol": "TCP", "protocolVersion": "HTTP1", "port": 443, "vpcIdentifier": "$vpc"}}, *INVALID),
    ("CreateTargetGroup", {"name": "group", "type": "IP"}, *INVALID),
    ("CreateTargetGroup", {"name": "group", "type": "IP", "config": {"protocol": "HTTP", "port": 80, "vpcIdentifier": VPC}}, *MISSING),
    ("DeleteAccessLogSubscription", {"accessLogSubscriptionIdentifier": ALS}, *MISSING),
    ("DeleteListener", {"serviceIdentifier": "$service", "listenerIdentifier": LISTENER}, *MISSING),
    ("DeleteRule", {"serviceIdentifier": "$service", "listenerIdentifier": "$listener", "ruleIdentifier": RULE}, *MISSING),
    ("DeleteService", {"serviceIdentifier": SVC}, *MISSING),
    ("DeleteServiceNetwork", {"serviceNetworkIdentifier": SN}, *MISSING),
    ("DeleteServiceNetworkServiceAssociation", {"serviceNetworkServiceAssociationIdentifier": SNSA}, *MISSING),
    ("DeleteServiceNetworkVpcAssociation", {"serviceNetworkVpcAssociationIdentifier": SNVA}, *MISSING),
    ("DeleteTargetGroup", {"targetGroupIdentifier": TG}, *MISSING),
    ("DeregisterTargets", {"targetGroupIdentifier": TG, "targets": [{"id": "10.0.0.1"}]}, *MISSING),
    ("GetAccessLogSubscription", {"accessLogSubscriptionIdentifier": ALS}, *MISSING),
    ("GetListener", {"serviceIdentifier": "$service", "listenerIdentifier": LISTENER}, *MISSING),
    ("GetRule", {"serviceIdentifier": "$service", "listenerIdentifier": "$listener", "ruleIdentifier": RULE}, *MISSING),
    ("GetService", {"serviceIdentifier": SVC}, *MISSING),
    ("GetService", {"serviceIdentifier": "unicorn"}, *INVALID),
    ("GetServiceNetwork", {"serviceNetworkIdentifier": SN}, *MISSING),
    ("GetServiceNetworkServiceAssociation", {"serviceNetworkServiceAssociationIdentifier": SNSA}, *MISSING),
    ("GetServiceNetworkVpcAssociation", {"serviceNetworkVpcAssociationIdentifier": SNVA}, *MISSING),
    ("GetTargetGroup", {"targetGroupIdentifier": TG}, *MISSING),
    ("ListAccessLogSubscriptions", {"resourceIdentifier": "unicorn"}, *INVALID),
    ("ListListeners", {"serviceIdentifier": SVC}, *MISSING),
    ("ListRules", {"serviceIdentifier": "$service", "listenerIdentifier": LISTENER}, *MISSING),
    ("ListServiceNetworkServiceAssociations", {}, *INVALID),
    ("ListServiceNetworkVpcAssociations", {}, *INVALID),
    ("ListServiceNetworkVpcEndpointAssociations", {"serviceNetworkIdentifier": "unicorn"}, *INVALID),
    ("ListServiceNetworks", {"maxResults": 101}, *INVALID),
    ("ListServices", {"nextToken": "rubbish"}, *INVALID),
    ("ListTagsForResource", {"resourceArn": LATTICE_ARN}, *MISSING),
    ("ListTargetGroups", {"targetGroupType": "MOON"}, *INVALID),
    ("ListTargets", {"targetGroupIdentifier": TG}, *MISSING),
    ("RegisterTargets", {"targetGroupIdentifier": TG, "targets": [{"id": "10.0.0.1"}]}, *MISSING),
    ("RegisterTargets", {"targetGroupIdentifier": TG, "targets": []}, *INVALID),
    ("TagResource", {"resourceArn": LATTICE_ARN, "tags": {"a": "b"}}, *MISSING),
    ("UntagResource", {"resourceArn": LATTICE_ARN, "tagKeys": ["a"]}, *MISSING),
    ("UpdateAccessLogSubscription", {"accessLogSubscriptionIdentifier": ALS, "destinationArn": NO_GROUP}, *MISSING),
    ("UpdateListener", {"serviceIdentifier": "$service", "listenerIdentifier": LISTENER} | HTTP_ACTION, *MISSING),
    ("UpdateRule", {"serviceIdentifier": "$service", "listenerIdentifier": "$listener", "ruleIdentifier": RULE, "priority": 3}, *MISSING),
    ("UpdateService", {"serviceIdentifier": "$service", "certificateArn": ABSENT_CERTIFICATE}, *INVALID),
    ("UpdateService", {"serviceIdentifier": SVC, "authType": "NONE"}, *MISSING),
    ("UpdateServiceNetwork", {"serviceNetworkIdentifier": "$network", "authType": "MOON"}, *INVALID),
    ("UpdateServiceNetworkVpcAssociation", {"serviceNetworkVpcAssociationIdentifier": SNVA, "securityGroupIds": [SG]}, *MISSING),
    ("UpdateTargetGroup", {"targetGroupIdentifier": TG, "healthCheck": {"enabled": False}}, *MISSING),
    ("DeleteAuthPolicy", {"resourceIdentifier": SVC}, *MISSING),
    ("DeleteAuthPolicy", {"resourceIdentifier": "$network"}, *MISSING),
    ("DeleteResourcePolicy", {"resourceArn": LATTICE_ARN}, *MISSING),
    ("GetAuthPolicy", {"resourceIdentifier": SVC}, *MISSING),
    ("GetAuthPolicy", {"resourceIdentifier": "$service"}, *MISSING),
    ("GetResourcePolicy", {"resourceArn": LATTICE_ARN}, *MISSING),
    ("PutAuthPolicy", {"resourceIdentifier": SN, "policy": ANYONE}, *MISSING),
    ("PutAuthPolicy", {"resourceIdentifier": "$network", "policy": "{"}, *INVALID),
    ("PutResourcePolicy", {"resourceArn": LATTICE_ARN, "policy": ANYONE}, *MISSING),
]

NOW = 1_700_000_000
STATISTICS = {"Namespace": "N", "MetricName": "m", "StartTime": NOW, "EndTime": NOW + 600, "Period": 60, "Statistics": ["Sum"]}
METRIC_QUERY = {"Id": "m", "MetricStat": {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}}
METRIC_DATA = {"StartTime": NOW, "EndTime": NOW + 600, "MetricDataQueries": [METRIC_QUERY]}
CLOUDWATCH = [
    ("DeleteDashboards", {"DashboardNames": ["no-such-dashboard"]}, "ResourceNotFound", 404),
    ("GetDashboard", {"DashboardName": "no-such-dashboard"}, "ResourceNotFound", 404),
    ("GetMetricData", {"StartTime": NOW, "EndTime": NOW - 1, "MetricDataQueries": []}, ("ValidationError", "MissingParameter", "InvalidParameterValue"), 400),
    ("GetMetricData", METRIC_DATA | {"LabelOptions": {"Timezone": "Berlin"}}, "ValidationError", 400),
    ("GetMetricData", METRIC_DATA | {"MetricDataQueries": [METRIC_QUERY | {"Label": "at ${LAST_TIME}"}]}, "ValidationError", 400),
    ("GetMetricStatistics", STATISTICS | {"EndTime": NOW - 1}, ("InvalidParameterValue", "InvalidParameterCombination"), 400),
    ("GetMetricStatistics", STATISTICS | {"Period": 7}, "InvalidParameterValue", 400),
    ("ListDashboards", {"NextToken": "rubbish"}, ("InvalidParameterValue", "InvalidNextToken"), 400),
    ("ListMetrics", {"NextToken": "rubbish"}, ("InvalidParameterValue", "InvalidNextToken"), 400),
    ("PutDashboard", {"DashboardName": "d", "DashboardBody": "not json"}, "InvalidParameterInput", 400),
    ("PutMetricData", {"Namespace": "AWS/Mine", "MetricData": [{"MetricName": "m", "Value": 1}]}, "InvalidParameterValue", 400),
]

GROUP = {"logGroupName": "/no/such"}
STREAM = GROUP | {"logStreamName": "s"}
LOGS_MISSING, LOGS_INVALID = ("ResourceNotFoundException", 400), ("InvalidParameterException", 400)
NO_GROUP_TAGS = {"resourceArn": NO_GROUP}
LOGS = [
    ("CreateLogGroup", {"logGroupName": "a b"}, *LOGS_INVALID),
    ("CreateLogGroup", {"logGroupName": "$log_group"}, "ResourceAlreadyExistsException", 400),
    ("CreateLogStream", STREAM, *LOGS_MISSING),
    ("CreateLogStream", {"logGroupName": "$log_group", "logStreamName": "a:b"}, *LOGS_INVALID),
    ("DeleteLogGroup", GROUP, *LOGS_MISSING),
    ("DeleteLogStream", STREAM, *LOGS_MISSING),
    ("DeleteRetentionPolicy", GROUP, *LOGS_MISSING),
    ("DescribeLogGroups", {"limit": 51}, *LOGS_INVALID),
    ("DescribeLogStreams", GROUP, *LOGS_MISSING),
    ("FilterLogEvents", GROUP, *LOGS_MISSING),
    ("FilterLogEvents", {"logGroupName": "$log_group", "filterPattern": "{ $.x = "}, *LOGS_INVALID),
    ("GetLogEvents", STREAM, *LOGS_MISSING),
    ("ListTagsForResource", NO_GROUP_TAGS, *LOGS_MISSING),
    ("ListTagsForResource", {"resourceArn": NO_GROUP + ":*"}, *LOGS_INVALID),
    ("ListTagsLogGroup", GROUP, *LOGS_MISSING),
    ("PutLogEvents", STREAM | {"logEvents": [{"timestamp": NOW * 1000, "message": "x"}]}, *LOGS_MISSING),
    ("PutLogEvents", {"logGroupName": "$log_group", "logStreamName": "s", "logEvents": []}, *LOGS_INVALID),
    ("PutLogGroupDeletionProtection", {"logGroupIdentifier": "/no/such", "deletionProtectionEnabled": True}, *LOGS_MISSING),
    ("PutRetentionPolicy", {"logGroupName": "$log_group", "retentionInDays": 2}, *LOGS_INVALID),
    ("PutRetentionPolicy", GROUP | {"retentionInDays": 3}, *LOGS_MISSING),
    ("TagLogGroup", GROUP | {"tags": {"a": "b"}}, *LOGS_MISSING),
    ("TagResource", NO_GROUP_TAGS | {"tags": {"a": "b"}}, *LOGS_MISSING),
    ("UntagLogGroup", GROUP | {"tags": ["a"]}, *LOGS_MISSING),
    ("UntagResource", NO_GROUP_TAGS | {"tagKeys": ["a"]}, *LOGS_MISSING),
]

SECRETS = [
    # A constraint of the model, which AWS's front door checks for json services; the others are the service's own.
    ("GetRandomPassword", {"PasswordLength": 5000}, "ValidationException", 400),
    ("GetRandomPassword", {"PasswordLength": 2, "RequireEachIncludedType": True}, "InvalidParameterException", 400),
    ("GetRandomPassword", {"ExcludeCharacters": "".join(map(chr, range(33, 127)))}, ("InvalidParameterException", "InvalidRequestException"), 400),
]

NO_ZONE, NO_CHECK, NO_COLLECTION = "Z0NOSUCHZONE", "00000000-0000-0000-0000-000000000000", "11111111-1111-1111-1111-111111111111"
ZONE_MISSING, CHECK_MISSING = ("NoSuchHostedZone", 404), ("NoSuchHealthCheck", 404)
COLLECTION_MISSING, SET_MISSING, BAD_INPUT = ("NoSuchCidrCollectionException", 404), ("NoSuchDelegationSet", 400), ("InvalidInput", 400)
R53_VPC = {"VPCRegion": "us-east-1", "VPCId": VPC}
A_RECORD = {"Name": "a.errors.example.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}


def batch(action, **record):
    return {"Changes": [{"Action": action, "ResourceRecordSet": A_RECORD | record}]}


HTTP_CHECK = {"Type": "HTTP", "FullyQualifiedDomainName": "web.example.com"}
ROUTE53 = [
    ("AssociateVPCWithHostedZone", {"HostedZoneId": NO_ZONE, "VPC": R53_VPC}, *ZONE_MISSING),
    ("AssociateVPCWithHostedZone", {"HostedZoneId": "$zone", "VPC": {"VPCRegion": "us-east-1", "VPCId": "$vpc"}}, "PublicZoneVPCAssociation", 400),
    ("ChangeCidrCollection", {"Id": NO_COLLECTION, "Changes": [{"LocationName": "a", "Action": "PUT", "CidrList": ["10.0.0.0/8"]}]}, *COLLECTION_MISSING),
    ("ChangeResourceRecordSets", {"HostedZoneId": NO_ZONE, "ChangeBatch": batch("CREATE")}, *ZONE_MISSING),
    ("ChangeResourceRecordSets", {"HostedZoneId": "$zone", "ChangeBatch": batch("DELETE")}, "InvalidChangeBatch", 400),
    ("ChangeResourceRecordSets", {"HostedZoneId": "$zone", "ChangeBatch": batch("CREATE", Name="a.example.org.")}, "InvalidChangeBatch", 400),
    ("ChangeResourceRecordSets", {"HostedZoneId": "$zone", "ChangeBatch": batch("CREATE", HealthCheckId=NO_CHECK)}, *CHECK_MISSING),
    ("ChangeResourceRecordSets", {"HostedZoneId": "$zone", "ChangeBatch": batch("CREATE", Weight=1)}, *BAD_INPUT),
    ("ChangeResourceRecordSets", {"HostedZoneId": "$zone", "ChangeBatch": {"Changes": []}}, *BAD_INPUT),
    ("ChangeResourceRecordSets", {"HostedZoneId": "$zone", "ChangeBatch": batch("MAKE")}, *BAD_INPUT),
    ("ChangeTagsForResource", {"ResourceType": "hostedzone", "ResourceId": NO_ZONE, "AddTags": [{"Key": "a"}]}, *ZONE_MISSING),
    ("ChangeTagsForResource", {"ResourceType": "hostedzone", "ResourceId": "$zone", "AddTags": [{"Key": "lath:request-interval-ms", "Value": "500"}]}, *BAD_INPUT),
    ("CreateCidrCollection", {"Name": "a b", "CallerReference": "r"}, *BAD_INPUT),
    ("CreateHealthCheck", {"CallerReference": "r", "HealthCheckConfig": {"Type": "HTTP"}}, *BAD_INPUT),
    ("CreateHealthCheck", {"CallerReference": "r", "HealthCheckConfig": HTTP_CHECK | {"IPAddress": "10.0.0.1"}}, *BAD_INPUT),
    ("CreateHealthCheck", {"CallerReference": "r", "HealthCheckConfig": {"Type": "CLOUDWATCH_METRIC"}}, *BAD_INPUT),
    ("CreateHostedZone", {"Name": "a..b", "CallerReference": "r"}, "InvalidDomainName", 400),
    ("CreateHostedZone", {"Name": "a.example", "CallerReference": "errors-zone"}, "HostedZoneAlreadyExists", 409),
    ("CreateHostedZone", {"Name": "a.example", "CallerReference": "r", "VPC": R53_VPC}, "InvalidVPCId", 400),
    ("CreateReusableDelegationSet", {"CallerReference": "r", "HostedZoneId": NO_ZONE}, "HostedZoneNotFound", 400),
    ("CreateVPCAssociationAuthorization", {"HostedZoneId": NO_ZONE, "VPC": R53_VPC}, *ZONE_MISSING),
    ("DeleteCidrCollection", {"Id": NO_COLLECTION}, *COLLECTION_MISSING),
    ("DeleteHealthCheck", {"HealthCheckId": NO_CHECK}, *CHECK_MISSING),
    ("DeleteHostedZone", {"Id": NO_ZONE}, *ZONE_MISSING),
    ("DeleteReusableDelegationSet", {"Id": "N1"}, *SET_MISSING),
    ("DeleteVPCAssociationAuthorization", {"HostedZoneId": NO_ZONE, "VPC": R53_VPC}, *ZONE_MISSING),
    ("DisassociateVPCFromHostedZone", {"HostedZoneId": "$zone", "VPC": R53_VPC}, "VPCAssociationNotFound", 404),
    ("GetAccountLimit", {"Type": "MAX_UNICORNS"}, *BAD_INPUT),
    ("GetChange", {"Id": "C1"}, "NoSuchChange", 404),
    ("GetGeoLocation", {"CountryCode": "XX"}, "NoSuchGeoLocation", 404),
    ("GetHealthCheck", {"HealthCheckId": NO_CHECK}, *CHECK_MISSING),
    ("GetHealthCheckLastFailureReason", {"HealthCheckId": NO_CHECK}, *CHECK_MISSING),
    ("GetHealthCheckStatus", {"HealthCheckId": NO_CHECK}, *CHECK_MISSING),
    ("GetHostedZone", {"Id": NO_ZONE}, *ZONE_MISSING),
    ("GetDNSSEC", {"HostedZoneId": NO_ZONE}, *ZONE_MISSING),
    ("GetHostedZone", {"Id": "Z" * 33}, *BAD_INPUT),
    ("GetHostedZoneLimit", {"HostedZoneId": "$zone", "Type": "MAX_VPCS_ASSOCIATED_BY_ZONE"}, "HostedZoneNotPrivate", 400),
    ("GetReusableDelegationSet", {"Id": "N1"}, *SET_MISSING),
    ("GetReusableDelegationSetLimit", {"DelegationSetId": "N1", "Type": "MAX_ZONES_BY_REUSABLE_DELEGATION_SET"}, *SET_MISSING),
    ("ListCidrBlocks", {"CollectionId": NO_COLLECTION}, *COLLECTION_MISSING),
    ("ListCidrCollections", {"NextToken": "rubbish"}, "InvalidPaginationToken", 400),
    ("ListCidrLocations", {"CollectionId": NO_COLLECTION}, *COLLECTION_MISSING),
    ("ListGeoLocations", {"StartSubdivisionCode": "WA"}, *BAD_INPUT),
    ("ListHealthChecks", {"MaxItems": "none"}, *BAD_INPUT),
    ("ListHostedZones", {"MaxItems": "0"}, *BAD_INPUT),
    ("ListHostedZones", {"DelegationSetId": "N1"}, *SET_MISSING),
    ("ListHostedZonesByName", {"HostedZoneId": NO_ZONE}, *BAD_INPUT),
    ("ListHostedZonesByVPC", {"VPCId": "vpc", "VPCRegion": "us-east-1"}, "InvalidVPCId", 400),
    ("ListResourceRecordSets", {"HostedZoneId": NO_ZONE}, *ZONE_MISSING),
    ("ListResourceRecordSets", {"HostedZoneId": "$zone", "StartRecordType": "A"}, *BAD_INPUT),
    ("ListReusableDelegationSets", {"MaxItems": "-1"}, *BAD_INPUT),
    ("ListTagsForResource", {"ResourceType": "healthcheck", "ResourceId": NO_CHECK}, *CHECK_MISSING),
    ("ListTagsForResources", {"ResourceType": "healthcheck", "ResourceIds": [NO_CHECK]}, *CHECK_MISSING),
    ("ListVPCAssociationAuthorizations", {"HostedZoneId": NO_ZONE}, *ZONE_MISSING),
    ("TestDNSAnswer", {"HostedZoneId": "$zone", "RecordName": "example.org", "RecordType": "A"}, *BAD_INPUT),
    ("UpdateHealthCheck", {"HealthCheckId": NO_CHECK}, *CHECK_MISSING),
    ("UpdateHostedZoneComment", {"Id": NO_ZONE, "Comment": "c"}, *ZONE_MISSING),
]

# GetCallerIdentity takes nothing that could be wrong: its errors are those of signatures (test_wire.py).
STS = [
    ("AssumeRole", {"RoleArn": "arn:aws:iam::000000000000:role/none", "RoleSessionName": "s1"}, "AccessDenied", 403),
    ("AssumeRole", {"RoleArn": "arn:aws:iam::000000000000:role/none", "RoleSessionName": "s"}, "ValidationError"),
    ("AssumeRoleWithWebIdentity", {"RoleArn": "arn:aws:iam::000000000000:role/none", "RoleSessionName": "s1", "WebIdentityToken": "junk"}, "InvalidIdentityToken"),
    ("AssumeRoleWithWebIdentity", {"RoleArn": "arn:aws:iam::000000000000:role/none", "RoleSessionName": "s1", "WebIdentityToken": "jun"}, "ValidationError"),
    ("DecodeAuthorizationMessage", {"EncodedMessage": "junk"}, "InvalidAuthorizationMessageException"),
    ("GetAccessKeyInfo", {"AccessKeyId": "XXXXXXXXXXXXXXXXXXXX"}, "ValidationError"),
    ("GetSessionToken", {"DurationSeconds": 1}, "ValidationError"),
]


def iam_table():
    """Almost every operation of IAM names something; here, what is not there."""
    policy = "arn:aws:iam::000000000000:policy/none"
    document = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:b","Resource":"*"}}'
    tags, keys = {"Tags": [{"Key": "a", "Value": "b"}]}, {"TagKeys": ["a"]}
    rows = []

    def absent(names, given):
        rows.extend((name, given | more, "NoSuchEntity", 404) for name, more in names.items())

    for kind in ("Role", "User", "Group"):
        absent({f"Attach{kind}Policy": {"PolicyArn": policy}, f"Detach{kind}Policy": {"PolicyArn": policy},
                f"ListAttached{kind}Policies": {}, f"List{kind}Policies": {}, f"Delete{kind}": {}, f"Get{kind}": {},
                f"Put{kind}Policy": {"PolicyName": "p", "PolicyDocument": document},
                f"Get{kind}Policy": {"PolicyName": "p"}, f"Delete{kind}Policy": {"PolicyName": "p"}},
               {f"{kind}Name": "none"})
        rows.append((f"Create{kind}", {f"{kind}Name": "a b", "AssumeRolePolicyDocument": "{}"} if kind == "Role"
                     else {f"{kind}Name": "a b"}, "ValidationError"))
        rows.append((f"List{kind}s", {"MaxItems": 0}, "ValidationError"))
    for kind in ("Role", "User"):
        absent({f"Tag{kind}": tags, f"Untag{kind}": keys, f"List{kind}Tags": {}, f"Delete{kind}PermissionsBoundary": {},
                f"Put{kind}PermissionsBoundary": {"PermissionsBoundary": policy}, f"Update{kind}": {}},
               {f"{kind}Name": "none"})
    absent({"UpdateRoleDescription": {"Description": "d"}, "UpdateAssumeRolePolicy": {"PolicyDocument": document},
            "ListInstanceProfilesForRole": {}, "DeleteServiceLinkedRole": {}}, {"RoleName": "none"})
    absent({"UpdateGroup": {"NewPath": "/new/"}}, {"GroupName": "none"})
    absent({"AddUserToGroup": {}, "RemoveUserFromGroup": {}}, {"GroupName": "none", "UserName": "none"})
    absent({"ListGroupsForUser": {}, "CreateAccessKey": {}, "ListAccessKeys": {},
            "UpdateAccessKey": {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "Status": "Active"},
            "DeleteAccessKey": {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}}, {"UserName": "none"})
    absent(dict.fromkeys(["ListSSHPublicKeys", "ListMFADevices", "ListSigningCertificates", "ListServiceSpecificCredentials",
                          "GetLoginProfile", "DeleteLoginProfile"], {}), {"UserName": "none"})
    absent({"GetAccessKeyLastUsed": {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}}, {})
    absent({"GetPolicy": {}, "DeletePolicy": {}, "TagPolicy": tags, "UntagPolicy": keys, "ListPolicyTags": {},
            "CreatePolicyVersion": {"PolicyDocument": document}, "GetPolicyVersion": {"VersionId": "v1"},
            "ListPolicyVersions": {}, "DeletePolicyVersion": {"VersionId": "v1"}, "ListEntitiesForPolicy": {},
            "SetDefaultPolicyVersion": {"VersionId": "v1"}}, {"PolicyArn": policy})
    absent({"GetInstanceProfile": {}, "DeleteInstanceProfile": {}, "TagInstanceProfile": tags, "ListInstanceProfileTags": {},
            "UntagInstanceProfile": keys, "AddRoleToInstanceProfile": {"RoleName": "none"},
            "RemoveRoleFromInstanceProfile": {"RoleName": "none"}}, {"InstanceProfileName": "none"})
    provider = {"OpenIDConnectProviderArn": "arn:aws:iam::000000000000:oidc-provider/none.example"}
    absent({"GetOpenIDConnectProvider": {}, "AddClientIDToOpenIDConnectProvider": {"ClientID": "c"},
            "RemoveClientIDFromOpenIDConnectProvider": {"ClientID": "c"}, "TagOpenIDConnectProvider": tags,
            "UntagOpenIDConnectProvider": keys, "ListOpenIDConnectProviderTags": {},
            "UpdateOpenIDConnectProviderThumbprint": {"ThumbprintList": ["a" * 40]}}, provider)
    absent({"GetServiceLinkedRoleDeletionStatus": {"DeletionTaskId": "none"},
            "SimulatePrincipalPolicy": {"PolicySourceArn": "arn:aws:iam::000000000000:user/none", "ActionNames": ["a:b"]}}, {})
    return rows + [
        ("CreatePolicy", {"PolicyName": "p", "PolicyDocument": "{}"}, "MalformedPolicyDocument"),
        ("CreateInstanceProfile", {"InstanceProfileName": "a b"}, "ValidationError"),
        ("CreateOpenIDConnectProvider", {"Url": "example.com"}, "ValidationError"),
        ("CreateOpenIDConnectProvider", {"Url": "http://example.com"}, "InvalidInput"),
        ("CreateOpenIDConnectProvider", {"Url": "https://example.com:8443"}, "InvalidInput"),
        ("CreateOpenIDConnectProvider", {"Url": "https://example.com", "ThumbprintList": ["a" * 40] * 6}, "InvalidInput"),
        ("DeleteOpenIDConnectProvider", {"OpenIDConnectProviderArn": "arn:aws:iam::000000000000:role/some-role"}, "ValidationError"),
        ("CreateServiceLinkedRole", {"AWSServiceName": "moon.amazonaws.com"}, "InvalidInput"),
        ("ListInstanceProfiles", {"MaxItems": 0}, "ValidationError"),
        ("ListPolicies", {"Scope": "Moon"}, "ValidationError"),
        ("SimulateCustomPolicy", {"PolicyInputList": ["{}"], "ActionNames": ["a:b"]}, "InvalidInput"),
    ]


# Transit Gateways, NAT gateways and endpoints.
TGW, ATTACH, TGW_RTB, NAT, VPCE = "tgw-0123456789abcdef0", "tgw-attach-0123456789abcdef0", "tgw-rtb-0123456789abcdef0", "nat-0123456789abcdef0", "vpce-0123456789abcdef0"
NO_TGW, NO_ATTACH, NO_TABLE = "InvalidTransitGatewayID.NotFound", "InvalidTransitGatewayAttachmentID.NotFound", "InvalidRouteTableID.NotFound"
BY_ATTACH, BY_TABLE = {"TransitGatewayAttachmentId": ATTACH}, {"TransitGatewayRouteTableId": TGW_RTB}
PEER = {"TransitGatewayId": TGW, "PeerTransitGatewayId": TGW, "PeerAccountId": "000000000000", "PeerRegion": "us-east-1"}
TGW_CIDR = {"DestinationCidrBlock": "10.0.0.0/8"}
EC2 += [
    ("AcceptTransitGatewayPeeringAttachment", BY_ATTACH, NO_ATTACH),
    ("AcceptTransitGatewayVpcAttachment", BY_ATTACH, NO_ATTACH),
    ("AssociateTransitGatewayRouteTable", BY_TABLE | BY_ATTACH, NO_TABLE),
    ("CreateNatGateway", {"SubnetId": "$subnet"}, "MissingParameter"),
    ("CreateNatGateway", {"SubnetId": SUBNET, "AllocationId": EIP}, "InvalidSubnetID.NotFound"),
    ("CreateRoute", {"RouteTableId": "$table", "DestinationCidrBlock": "10.0.0.0/9", "NatGatewayId": NAT}, "InvalidNatGatewayID.NotFound"),
    ("CreateRoute", {"RouteTableId": "$table", "DestinationCidrBlock": "10.0.0.0/9", "TransitGatewayId": TGW}, NO_TGW),
    ("CreateTransitGateway", {"DryRun": True}, "DryRunOperation", 412),
    ("CreateTransitGateway", {"Options": {"AmazonSideAsn": 1}}, "InvalidParameterValue"),
    ("CreateTransitGatewayPeeringAttachment", PEER, NO_TGW),
    ("CreateTransitGatewayPrefixListReference", BY_TABLE | {"PrefixListId": PL, "Blackhole": True}, NO_TABLE),
    ("CreateTransitGatewayRoute", BY_TABLE | TGW_CIDR | {"Blackhole": True}, NO_TABLE),
    ("CreateTransitGatewayRouteTable", {"TransitGatewayId": TGW}, NO_TGW),
    ("CreateTransitGatewayVpcAttachment", {"TransitGatewayId": TGW, "VpcId": "$vpc", "SubnetIds": ["$subnet"]}, NO_TGW),
    ("CreateVpcEndpoint", {"VpcId": "$vpc", "ServiceName": "com.amazonaws.us-east-1.unicorn"}, "InvalidServiceName"),
    ("CreateVpcEndpoint", {"VpcId": "$vpc", "ServiceName": "com.amazonaws.us-east-1.s3"}, "UnsupportedOperation"),
    ("CreateVpcEndpoint", {"VpcId": "$vpc", "VpcEndpointType": "Resource"}, "MissingParameter"),
    ("CreateVpcEndpoint", {"VpcId": "$vpc", "VpcEndpointType": "Resource", "ResourceConfigurationArn": "arn:aws:x"},
     "InvalidResourceConfigurationArn.NotFound"),
    ("DeleteNatGateway", {"NatGatewayId": NAT}, "NatGatewayNotFound"),
    ("DeleteTransitGateway", {"TransitGatewayId": TGW}, NO_TGW),
    ("DeleteTransitGateway", {"TransitGatewayId": "None"}, "InvalidTransitGatewayID.Malformed"),
    ("DeleteTransitGatewayPeeringAttachment", BY_ATTACH, NO_ATTACH),
    ("DeleteTransitGatewayPrefixListReference", BY_TABLE | {"PrefixListId": PL}, NO_TABLE),
    ("DeleteTransitGatewayRoute", BY_TABLE | TGW_CIDR, NO_TABLE),
    ("DeleteTransitGatewayRouteTable", BY_TABLE, NO_TABLE),
    ("DeleteTransitGatewayVpcAttachment", BY_ATTACH, NO_ATTACH),
    ("DeleteVpcEndpoints", {}, "MissingParameter"),
    ("DescribeNatGateways", {"NatGatewayIds": [NAT]}, "NatGatewayNotFound"),
    ("DescribeTransitGatewayAttachments", {"TransitGatewayAttachmentIds": [ATTACH]}, NO_ATTACH),
    ("DescribeTransitGatewayPeeringAttachments", {"TransitGatewayAttachmentIds": [ATTACH]}, NO_ATTACH),
    ("DescribeTransitGatewayRouteTables", {"TransitGatewayRouteTableIds": [TGW_RTB]}, NO_TABLE),
    ("DescribeTransitGatewayVpcAttachments", {"TransitGatewayAttachmentIds": [ATTACH]}, NO_ATTACH),
    ("DescribeTransitGateways", {"TransitGatewayIds": [TGW]}, NO_TGW),
    ("DescribeVpcEndpointAssociations", {"VpcEndpointIds": [VPCE]}, "InvalidVpcEndpointId.NotFound"),
    ("DescribeVpcEndpoints", {"VpcEndpointIds": [VPCE]}, "InvalidVpcEndpointId.NotFound"),
    ("DisableTransitGatewayRouteTablePropagation", BY_TABLE | BY_ATTACH, NO_TABLE),
    ("DisassociateTransitGatewayRouteTable", BY_TABLE | BY_ATTACH, NO_TABLE),
    ("EnableTransitGatewayRouteTablePropagation", BY_TABLE | BY_ATTACH, NO_TABLE),
    ("ExportTransitGatewayRoutes", BY_TABLE | {"S3Bucket": "b"}, NO_TABLE),
    ("GetTransitGatewayAttachmentPropagations", BY_ATTACH, NO_ATTACH),
    ("GetTransitGatewayPrefixListReferences", BY_TABLE, NO_TABLE),
    ("GetTransitGatewayRouteTableAssociations", BY_TABLE, NO_TABLE),
    ("GetTransitGatewayRouteTablePropagations", BY_TABLE, NO_TABLE),
    ("ModifyTransitGateway", {"TransitGatewayId": TGW}, NO_TGW),
    ("ModifyTransitGatewayPrefixListReference", BY_TABLE | {"PrefixListId": PL, "Blackhole": True}, NO_TABLE),
    ("ModifyTransitGatewayVpcAttachment", BY_ATTACH, NO_ATTACH),
    ("ModifyVpcEndpoint", {"VpcEndpointId": VPCE}, "InvalidVpcEndpointId.NotFound"),
    ("RejectTransitGatewayPeeringAttachment", BY_ATTACH, NO_ATTACH),
    ("RejectTransitGatewayVpcAttachment", BY_ATTACH, NO_ATTACH),
    ("ReplaceTransitGatewayRoute", BY_TABLE | TGW_CIDR | {"Blackhole": True}, NO_TABLE),
    ("SearchTransitGatewayRoutes", BY_TABLE | {"Filters": [{"Name": "type", "Values": ["static"]}]}, NO_TABLE),
]

CLUSTER, NO_CLUSTER = {"clusterName": "none"}, ("ResourceNotFoundException", 404)
PRINCIPAL = {"principalArn": "arn:aws:iam::000000000000:role/r"}
VIEW_POLICY = {"policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"}
PROVIDER = {"identityProviderConfig": {"type": "oidc", "name": "p"}}
INVALID = ("InvalidParameterException", 400)
EKS = [
    ("AssociateAccessPolicy", CLUSTER | PRINCIPAL | VIEW_POLICY | {"accessScope": {"type": "cluster"}}, *NO_CLUSTER),
    ("AssociateEncryptionConfig", CLUSTER | {"encryptionConfig": [{"resources": ["secrets"]}]}, *NO_CLUSTER),
    ("AssociateIdentityProviderConfig", CLUSTER | {"oidc": {"identityProviderConfigName": "p", "issuerUrl": "https://example.com",
                                                            "clientId": "c"}}, *NO_CLUSTER),
    ("CreateAccessEntry", CLUSTER | PRINCIPAL, *NO_CLUSTER),
    ("CreateAddon", CLUSTER | {"addonName": "coredns"}, *NO_CLUSTER),
    ("CreateCluster", {"name": "a.b", "roleArn": "r", "resourcesVpcConfig": {}}, *INVALID),
    ("CreateCluster", {"name": "c", "roleArn": "r", "resourcesVpcConfig": {}}, *INVALID),
    ("CreateFargateProfile", CLUSTER | {"fargateProfileName": "f", "podExecutionRoleArn": "r"}, *NO_CLUSTER),
    ("CreateNodegroup", CLUSTER | {"nodegroupName": "n", "subnets": ["$subnet"], "nodeRole": "r"}, *NO_CLUSTER),
    ("CreatePodIdentityAssociation", CLUSTER | {"namespace": "n", "serviceAccount": "s", "roleArn": "r"}, *NO_CLUSTER),
    ("DeleteAccessEntry", CLUSTER | PRINCIPAL, *NO_CLUSTER),
    ("DeleteAddon", CLUSTER | {"addonName": "a"}, *NO_CLUSTER),
    ("DeleteCapability", CLUSTER | {"capabilityName": "a"}, *NO_CLUSTER),
    ("DeleteCluster", {"name": "none"}, *NO_CLUSTER),
    ("DeleteEksAnywhereSubscription", {"id": "none"}, *NO_CLUSTER),
    ("DeleteFargateProfile", CLUSTER | {"fargateProfileName": "f"}, *NO_CLUSTER),
    ("DeleteNodegroup", CLUSTER | {"nodegroupName": "n"}, *NO_CLUSTER),
    ("DeletePodIdentityAssociation", CLUSTER | {"associationId": "a-1"}, *NO_CLUSTER),
    ("DeregisterCluster", {"name": "none"}, *NO_CLUSTER),
    ("DescribeAccessEntry", CLUSTER | PRINCIPAL, *NO_CLUSTER),
    ("DescribeAddon", CLUSTER | {"addonName": "a"}, *NO_CLUSTER),
    ("DescribeAddonConfiguration", {"addonName": "none", "addonVersion": "v1"}, *INVALID),
    ("DescribeAddonVersions", {"nextToken": "rubbish"}, *INVALID),
    ("DescribeCapability", CLUSTER | {"capabilityName": "a"}, *NO_CLUSTER),
    ("DescribeCluster", {"name": "none"}, *NO_CLUSTER),
    ("DescribeClusterVersions", {"nextToken": "rubbish"}, *INVALID),
    ("DescribeEksAnywhereSubscription", {"id": "none"}, *NO_CLUSTER),
    ("DescribeFargateProfile", CLUSTER | {"fargateProfileName": "f"}, *NO_CLUSTER),
    ("DescribeIdentityProviderConfig", CLUSTER | PROVIDER, *NO_CLUSTER),
    ("DescribeInsight", CLUSTER | {"id": "i"}, *NO_CLUSTER),
    ("DescribeNodegroup", CLUSTER | {"nodegroupName": "n"}, *NO_CLUSTER),
    ("DescribePodIdentityAssociation", CLUSTER | {"associationId": "a-1"}, *NO_CLUSTER),
    ("DescribeUpdate", {"name": "none", "updateId": "u"}, *NO_CLUSTER),
    ("DisassociateAccessPolicy", CLUSTER | PRINCIPAL | VIEW_POLICY, *NO_CLUSTER),
    ("DisassociateIdentityProviderConfig", CLUSTER | PROVIDER, *NO_CLUSTER),
    ("ListAccessEntries", CLUSTER, *NO_CLUSTER),
    ("ListAccessPolicies", {"nextToken": "rubbish"}, *INVALID),
    ("ListAddons", CLUSTER, *NO_CLUSTER),
    ("ListAssociatedAccessPolicies", CLUSTER | PRINCIPAL, *NO_CLUSTER),
    ("ListCapabilities", CLUSTER, *NO_CLUSTER),
    ("ListClusters", {"nextToken": "rubbish"}, *INVALID),
    ("ListEksAnywhereSubscriptions", {"nextToken": "rubbish"}, *INVALID),
    ("ListFargateProfiles", CLUSTER, *NO_CLUSTER),
    ("ListIdentityProviderConfigs", CLUSTER, *NO_CLUSTER),
    ("ListInsights", CLUSTER, *NO_CLUSTER),
    ("ListNodegroups", CLUSTER, *NO_CLUSTER),
    ("ListPodIdentityAssociations", CLUSTER, *NO_CLUSTER),
    ("ListTagsForResource", {"resourceArn": "arn:aws:eks:us-east-1:000000000000:cluster/none"}, "NotFoundException", 404),
    ("ListUpdates", {"name": "none"}, *NO_CLUSTER),
    ("RegisterCluster", {"name": "a", "connectorConfig": {"roleArn": "r", "provider": "OTHER"}}, *INVALID),
    ("TagResource", {"resourceArn": "rubbish", "tags": {"a": "b"}}, "BadRequestException", 400),
    ("UntagResource", {"resourceArn": "rubbish", "tagKeys": ["a"]}, "BadRequestException", 400),
    ("UpdateAccessEntry", CLUSTER | PRINCIPAL, *NO_CLUSTER),
    ("UpdateAddon", CLUSTER | {"addonName": "a"}, *NO_CLUSTER),
    ("UpdateClusterConfig", {"name": "none"}, *NO_CLUSTER),
    ("UpdateClusterVersion", {"name": "none", "version": "1.37"}, *NO_CLUSTER),
    ("UpdateNodegroupConfig", CLUSTER | {"nodegroupName": "n"}, *NO_CLUSTER),
    ("UpdateNodegroupVersion", CLUSTER | {"nodegroupName": "n"}, *NO_CLUSTER),
    ("UpdatePodIdentityAssociation", CLUSTER | {"associationId": "a-1"}, *NO_CLUSTER),
]

NO_REPOSITORY = ("RepositoryNotFoundException", 400)
REPOSITORY, IMAGE = {"repositoryName": "none"}, {"imageIds": [{"imageTag": "latest"}]}
NO_DIGEST = "sha256:" + 64 * "0"
NO_UPLOAD = "01234567-89ab-cdef-0123-456789abcdef"
ECR = [
    ("BatchCheckLayerAvailability", REPOSITORY | {"layerDigests": [NO_DIGEST]}, *NO_REPOSITORY),
    ("BatchDeleteImage", REPOSITORY | IMAGE, *NO_REPOSITORY),
    ("BatchGetImage", REPOSITORY | IMAGE, *NO_REPOSITORY),
    ("BatchGetImage", REPOSITORY | {"imageIds": []}, *INVALID),
    ("CompleteLayerUpload", REPOSITORY | {"uploadId": NO_UPLOAD, "layerDigests": [NO_DIGEST]}, *NO_REPOSITORY),
    ("CreateRepository", {"repositoryName": "Capital"}, *INVALID),
    ("CreateRepository", {"repositoryName": "r1", "imageScanningConfiguration": {"scanOnPush": True}}, *INVALID),
    ("DeleteRepository", REPOSITORY, *NO_REPOSITORY),
    ("DeleteRepositoryPolicy", REPOSITORY, *NO_REPOSITORY),
    ("DescribeImages", REPOSITORY, *NO_REPOSITORY),
    ("DescribeRepositories", {"repositoryNames": ["none"]}, *NO_REPOSITORY),
    ("DescribeRepositories", {"nextToken": "rubbish"}, *INVALID),
    ("GetAuthorizationToken", {"registryIds": ["999999999999"]}, *INVALID),
    ("GetDownloadUrlForLayer", REPOSITORY | {"layerDigest": NO_DIGEST}, *NO_REPOSITORY),
    ("GetRepositoryPolicy", REPOSITORY, *NO_REPOSITORY),
    ("InitiateLayerUpload", REPOSITORY, *NO_REPOSITORY),
    ("ListImages", REPOSITORY, *NO_REPOSITORY),
    ("ListTagsForResource", {"resourceArn": "arn:aws:ecr:us-east-1:000000000000:repository/none"}, *NO_REPOSITORY),
    ("PutImage", REPOSITORY | {"imageManifest": "{}"}, *NO_REPOSITORY),
    ("PutImageTagMutability", REPOSITORY | {"imageTagMutability": "IMMUTABLE"}, *NO_REPOSITORY),
    ("SetRepositoryPolicy", REPOSITORY | {"policyText": "{}"}, *NO_REPOSITORY),
    ("TagResource", {"resourceArn": "rubbish", "tags": [{"Key": "a", "Value": "b"}]}, *INVALID),
    ("UntagResource", {"resourceArn": "rubbish", "tagKeys": ["a"]}, *INVALID),
    ("UploadLayerPart", REPOSITORY | {"uploadId": NO_UPLOAD, "partFirstByte": 0, "partLastByte": 0, "layerPartBlob": b"x"}, *NO_REPOSITORY),
]

NO_CERTIFICATE = ("ResourceNotFoundException", 400)
BAD = ("ValidationException", 400)
CERTIFICATE = {"CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/none"}
RUBBISH = {"CertificateArn": "rubbish"}
ACM = [
    ("AddTagsToCertificate", CERTIFICATE | {"Tags": [{"Key": "a"}]}, *NO_CERTIFICATE),
    ("AddTagsToCertificate", RUBBISH | {"Tags": [{"Key": "a"}]}, *BAD),
    ("DeleteCertificate", CERTIFICATE, *NO_CERTIFICATE),
    ("DescribeCertificate", CERTIFICATE, *NO_CERTIFICATE),
    ("DescribeCertificate", RUBBISH, *BAD),
    ("ExportCertificate", CERTIFICATE | {"Passphrase": b"four"}, *NO_CERTIFICATE),
    ("ExportCertificate", CERTIFICATE | {"Passphrase": b"odd"}, *BAD),
    ("GetCertificate", CERTIFICATE, *NO_CERTIFICATE),
    ("ImportCertificate", CERTIFICATE | {"Certificate": b"x", "PrivateKey": b"x"}, *NO_CERTIFICATE),
    ("ImportCertificate", {"Certificate": b"x", "PrivateKey": b"x"}, *BAD),
    ("ImportCertificate", {"Certificate": b"x", "PrivateKey": 6000 * b"x"}, *BAD),
    ("ImportCertificate", {"Certificate": b"x", "PrivateKey": b"x", "Tags": [{"Key": "aws:a"}]}, "InvalidTagException", 400),
    ("ListCertificates", {"MaxItems": 0}, *BAD),
    ("ListCertificates", {"SortBy": "CREATED_AT"}, *BAD),
    ("ListCertificates", {"NextToken": "rubbish"}, *BAD),
    ("ListTagsForCertificate", CERTIFICATE, *NO_CERTIFICATE),
    ("PutAccountConfiguration", {"IdempotencyToken": "a", "ExpiryEvents": {"DaysBeforeExpiry": 0}}, *BAD),
    ("RemoveTagsFromCertificate", CERTIFICATE | {"Tags": [{"Key": "a"}]}, *NO_CERTIFICATE),
    ("RenewCertificate", CERTIFICATE, *NO_CERTIFICATE),
    ("RequestCertificate", {"DomainName": "nodots", "ValidationMethod": "DNS"}, *BAD),
    ("RequestCertificate", {"DomainName": "a.example"}, *INVALID),
    ("RequestCertificate", {"DomainName": "a.example", "ValidationMethod": "EMAIL"}, *INVALID),
    ("RequestCertificate", {"DomainName": "a.example", "ValidationMethod": "DNS", "KeyAlgorithm": "RSA_4096"}, *INVALID),
    ("RequestCertificate", {"DomainName": "a.example", "ValidationMethod": "DNS", "IdempotencyToken": "a b"}, *BAD),
    ("RequestCertificate", {"DomainName": "a.example", "ValidationMethod": "DNS", "SubjectAlternativeNames": [f"{n}.example" for n in "bcdefghijk" ]},
     "LimitExceededException", 400),
    ("RequestCertificate", {"DomainName": "a.example", "ValidationMethod": "DNS",
                            "DomainValidationOptions": [{"DomainName": "a.example", "ValidationDomain": "b.example"}]},
     "InvalidDomainValidationOptionsException", 400),
    ("ResendValidationEmail", CERTIFICATE | {"Domain": "a.example", "ValidationDomain": "a.example"}, *NO_CERTIFICATE),
    ("RevokeCertificate", CERTIFICATE | {"RevocationReason": "KEY_COMPROMISE"}, *NO_CERTIFICATE),
    ("UpdateCertificateOptions", CERTIFICATE | {"Options": {"Export": "ENABLED"}}, *NO_CERTIFICATE),
]

OF_PCA = {"CertificateAuthorityArn": "arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/none"}
SUBJECT = {"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": {"CommonName": "a"}}
BAD_ARGS = ("InvalidArgsException", 400)
PCA = [
    ("CreateCertificateAuthority", {"CertificateAuthorityType": "ROOT", "CertificateAuthorityConfiguration": SUBJECT | {"Subject": {}}}, *BAD_ARGS),
    ("CreateCertificateAuthority", {"CertificateAuthorityType": "ROOT", "CertificateAuthorityConfiguration": SUBJECT | {"KeyAlgorithm": "SM2"}}, *BAD_ARGS),
    ("CreateCertificateAuthority", {"CertificateAuthorityType": "ROOT", "CertificateAuthorityConfiguration": SUBJECT | {"SigningAlgorithm": "SHA256WITHRSA"}}, *BAD_ARGS),
    ("CreateCertificateAuthority", {"CertificateAuthorityType": "ROOT", "CertificateAuthorityConfiguration": SUBJECT,
                                    "RevocationConfiguration": {"OcspConfiguration": {"Enabled": True}}}, *BAD_ARGS),
    ("DeleteCertificateAuthority", OF_PCA, *NO_CERTIFICATE),
    ("DeleteCertificateAuthority", OF_PCA | {"PermanentDeletionTimeInDays": 6}, *BAD),
    ("DescribeCertificateAuthority", OF_PCA, *NO_CERTIFICATE),
    ("DescribeCertificateAuthority", {"CertificateAuthorityArn": "rubbish"}, *BAD),
    ("GetCertificate", OF_PCA | {"CertificateArn": OF_PCA["CertificateAuthorityArn"] + "/certificate/none"}, *NO_CERTIFICATE),
    ("GetCertificateAuthorityCertificate", OF_PCA, *NO_CERTIFICATE),
    ("GetCertificateAuthorityCsr", OF_PCA, *NO_CERTIFICATE),
    ("ImportCertificateAuthorityCertificate", OF_PCA | {"Certificate": b"x"}, *NO_CERTIFICATE),
    ("IssueCertificate", OF_PCA | {"Csr": b"x", "SigningAlgorithm": "SHA256WITHECDSA", "Validity": {"Type": "DAYS", "Value": 1}}, *NO_CERTIFICATE),
    ("IssueCertificate", OF_PCA | {"Csr": b"x", "SigningAlgorithm": "SHA256WITHECDSA", "Validity": {"Type": "DAYS", "Value": 0}}, *BAD),
    ("ListCertificateAuthorities", {"NextToken": "rubbish"}, "InvalidNextTokenException", 400),
    ("ListCertificateAuthorities", {"MaxResults": 0}, *BAD),
    ("ListTags", OF_PCA, *NO_CERTIFICATE),
    ("RestoreCertificateAuthority", OF_PCA, *NO_CERTIFICATE),
    ("RevokeCertificate", OF_PCA | {"CertificateSerial": "00", "RevocationReason": "SUPERSEDED"}, *NO_CERTIFICATE),
    ("TagCertificateAuthority", OF_PCA | {"Tags": [{"Key": "a"}]}, *NO_CERTIFICATE),
    ("UntagCertificateAuthority", OF_PCA | {"Tags": [{"Key": "a"}]}, *NO_CERTIFICATE),
    ("UpdateCertificateAuthority", OF_PCA | {"Status": "DISABLED"}, *NO_CERTIFICATE),
]

NO_STACK = {"StackName": "none"}
NO_TEMPLATE = "Resources: {A: {Type: 'AWS::No::Such'}}"
CLOUDFORMATION = [
    ("CancelUpdateStack", NO_STACK, "ValidationError"),
    ("ContinueUpdateRollback", NO_STACK, "ValidationError"),
    ("CreateChangeSet", NO_STACK | {"ChangeSetName": "c", "TemplateBody": NO_TEMPLATE}, "ValidationError"),
    ("CreateChangeSet", {"StackName": "n", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": "Resources: {}"}, "ValidationError"),
    ("CreateStack", {"StackName": "9", "TemplateBody": NO_TEMPLATE}, "ValidationError"),
    ("CreateStack", {"StackName": "n", "TemplateBody": NO_TEMPLATE}, "ValidationError"),
    ("CreateStack", {"StackName": "n", "TemplateBody": "x" * 51201}, "ValidationError"),
    ("CreateStack", {"StackName": "n", "TemplateURL": "https://s3.amazonaws.com/b/k"}, "ValidationError"),
    ("CreateStack", {"StackName": "n", "TemplateBody": "Resources: {A: {Type: 'AWS::IAM::InstanceProfile', Properties: {Roles: [a]}}}"}, "InsufficientCapabilitiesException"),
    ("DeleteChangeSet", NO_STACK | {"ChangeSetName": "c"}, "ValidationError"),
    ("DeleteStack", NO_STACK | {"DeletionMode": "FORCE_DELETE_STACK"}, "ValidationError"),
    ("DescribeChangeSet", {"ChangeSetName": "arn:aws:cloudformation:us-east-1:000000000000:changeSet/a/b"}, "ChangeSetNotFound", 404),
    ("DescribeStackEvents", NO_STACK, "ValidationError"),
    ("DescribeStackResource", NO_STACK | {"LogicalResourceId": "A"}, "ValidationError"),
    ("DescribeStackResources", {}, "ValidationError"),
    ("DescribeStacks", NO_STACK, "ValidationError"),
    ("DescribeStacks", {"NextToken": "rubbish"}, "ValidationError"),
    ("ExecuteChangeSet", NO_STACK | {"ChangeSetName": "c"}, "ValidationError"),
    ("GetTemplate", NO_STACK, "ValidationError"),
    ("GetTemplateSummary", {"TemplateBody": "[]"}, "ValidationError"),
    ("ListChangeSets", NO_STACK, "ValidationError"),
    ("ListExports", {"NextToken": "rubbish"}, "ValidationError"),
    ("ListImports", {"ExportName": "none"}, "ValidationError"),
    ("ListStackResources", NO_STACK, "ValidationError"),
    ("ListStacks", {"NextToken": "rubbish"}, "ValidationError"),
    ("UpdateStack", NO_STACK | {"TemplateBody": NO_TEMPLATE}, "ValidationError"),
    ("UpdateTerminationProtection", NO_STACK | {"EnableTerminationProtection": True}, "ValidationError"),
    ("ValidateTemplate", {"TemplateBody": "{"}, "ValidationError"),
]

EKS_AUTH = [
    ("AssumeRoleForPodIdentity", CLUSTER | {"token": "a.b.c"}, *NO_CLUSTER),
    ("AssumeRoleForPodIdentity", CLUSTER | {"token": "a.b"}, "InvalidParameterException", 400),
]


NO_FUNCTION = {"FunctionName": "no-such-function"}
NO_SUCH = ("ResourceNotFoundException", 404)
BAD_VALUE = ("InvalidParameterValueException", 400)
NO_FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:no-such-function"
NEW_FUNCTION = {"FunctionName": "f", "Runtime": "python3.12", "Handler": "a.b", "Role": "arn:aws:iam::000000000000:role/none",
                "Code": {"ZipFile": b"PK"}}
LAMBDA = [
    ("AddPermission", NO_FUNCTION | {"StatementId": "a", "Action": "lambda:InvokeFunction", "Principal": "*"}, *NO_SUCH),
    ("AddPermission", NO_FUNCTION | {"StatementId": "a b", "Action": "lambda:InvokeFunction", "Principal": "*"}, "ValidationException", 400),
    ("CreateFunction", NEW_FUNCTION, *BAD_VALUE),
    ("CreateFunction", NEW_FUNCTION | {"FunctionName": "a b"}, "ValidationException", 400),
    ("CreateFunction", NEW_FUNCTION | {"MemorySize": 127}, "ValidationException", 400),
    ("CreateFunction", NEW_FUNCTION | {"Timeout": 901}, "ValidationException", 400),
    ("CreateFunction", NEW_FUNCTION | {"Runtime": "nodejs20.x"}, *BAD_VALUE),
    ("CreateFunction", NEW_FUNCTION | {"Code": {"S3Bucket": "bucket", "S3Key": "key"}}, *BAD_VALUE),
    ("CreateFunction", NEW_FUNCTION | {"PackageType": "Image", "Code": {"ImageUri": "x"}}, *BAD_VALUE),
    ("CreateFunction", NEW_FUNCTION | {"VpcConfig": {"SubnetIds": [SUBNET], "SecurityGroupIds": [SG]}}, *BAD_VALUE),
    ("CreateFunction", NEW_FUNCTION | {"Environment": {"Variables": {"AWS_REGION": "x"}}}, *BAD_VALUE),
    ("DeleteFunction", NO_FUNCTION, *NO_SUCH),
    ("DeleteFunctionConcurrency", NO_FUNCTION, *NO_SUCH),
    ("GetFunction", NO_FUNCTION, *NO_SUCH),
    ("GetFunction", {"FunctionName": NO_FUNCTION_ARN}, *NO_SUCH),
    ("GetFunction", {"FunctionName": "a b"}, "ValidationException", 400),
    ("GetFunctionConcurrency", NO_FUNCTION, *NO_SUCH),
    ("GetFunctionConfiguration", NO_FUNCTION | {"Qualifier": "1"}, *NO_SUCH),
    ("GetPolicy", NO_FUNCTION, *NO_SUCH),
    ("Invoke", NO_FUNCTION, *NO_SUCH),
    ("ListFunctions", {"Marker": "rubbish"}, *BAD_VALUE),
    ("ListTags", {"Resource": NO_FUNCTION_ARN}, *NO_SUCH),
    ("PutFunctionConcurrency", NO_FUNCTION | {"ReservedConcurrentExecutions": 1}, *NO_SUCH),
    ("PutFunctionConcurrency", NO_FUNCTION | {"ReservedConcurrentExecutions": -1}, "ValidationException", 400),
    ("RemovePermission", NO_FUNCTION | {"StatementId": "a"}, *NO_SUCH),
    ("TagResource", {"Resource": NO_FUNCTION_ARN, "Tags": {"a": "b"}}, *NO_SUCH),
    ("UntagResource", {"Resource": NO_FUNCTION_ARN, "TagKeys": ["a"]}, *NO_SUCH),
    ("UpdateFunctionCode", NO_FUNCTION | {"ZipFile": b"PK"}, *NO_SUCH),
    ("UpdateFunctionConfiguration", NO_FUNCTION | {"Timeout": 5}, *NO_SUCH),
    ("UpdateFunctionConfiguration", NO_FUNCTION | {"MemorySize": 1}, "ValidationException", 400),
]

IAM = iam_table()
TABLES = {"cloudformation": CLOUDFORMATION, "iam": IAM, "ec2": EC2, "eks": EKS, "eks-auth": EKS_AUTH, "ecr": ECR, "acm": ACM, "acm-pca": PCA, "lambda": LAMBDA, "vpc-lattice": LATTICE, "cloudwatch": CLOUDWATCH, "logs": LOGS, "secretsmanager": SECRETS, "sts": STS, "route53": ROUTE53}
NOTHING_TO_REFUSE = {("sts", "GetCallerIdentity"), ("iam", "GetAccountSummary"), ("iam", "ListVirtualMFADevices"),
                     ("iam", "ListOpenIDConnectProviders"), ("ecr", "DescribeRegistry"), ("acm", "GetAccountConfiguration"),
                     ("lambda", "GetAccountSettings"), ("route53", "GetCheckerIpRanges"), ("route53", "GetHealthCheckCount"),
                     ("route53", "GetHostedZoneCount")}


def served():
    """(service, operation) of everything that the compatibility table marks as served."""
    service, found = None, set()
    for line in COMPATIBILITY.read_text().splitlines():
        if line.startswith("## "):
            service = line[3:].strip()
        elif match := re.match(r"\| (\w+) \| (yes|partly)", line):
            found.add((service, match[1]))
    return found


def test_every_operation_that_is_served_stands_in_the_tables():
    if not COMPATIBILITY.exists():
        pytest.skip(f"SKIPPED: {COMPATIBILITY} is not there: nothing says which operations are served")
    listed = {(service, row[0]) for service, rows in TABLES.items() for row in rows}
    want = served()
    assert len(want) > 100, "the compatibility table reads differently now"
    assert want - listed - NOTHING_TO_REFUSE == set(), "served, but no bad input is tried"
    assert listed - want == set(), "tried, but not served"


@pytest.fixture(scope="module")
def things(lath):
    """What the `$names` of the tables stand for."""
    with Lab(lath) as lab:
        vpc, subnet, default = lab.vpc("10.250.0.0/16", "10.250.1.0/24")
        eni = lab.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
        lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=eni)
        igw = lab.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        lab.later(lab.ec2.delete_internet_gateway, InternetGatewayId=igw)
        lab.ec2.create_key_pair(KeyName="errors-key")
        lab.later(lab.ec2.delete_key_pair, KeyName="errors-key")
        lab.logs.create_log_group(logGroupName="/errors")
        lab.later(lab.logs.delete_log_group, logGroupName="/errors")
        lab.logs.create_log_stream(logGroupName="/errors", logStreamName="s")
        route53 = lath.client("route53")
        zone = route53.create_hosted_zone(Name="errors.example", CallerReference="errors-zone")["HostedZone"]["Id"].rsplit("/")[-1]
        lab.later(route53.delete_hosted_zone, Id=zone)
        network = lab.network()
        service, _ = lab.service()
        listener = lab.listener(service)
        yield {
            "$vpc": vpc, "$subnet": subnet, "$default": default, "$eni": eni, "$igw": igw, "$key": "errors-key",
            "$group": lab.group(vpc), "$table": lab.main_table(vpc), "$acl": lab.default_acl(vpc), "$image": lab.image(), "$log_group": "/errors",
            "$zone": zone, "$network": network, "$service": service, "$listener": listener,
            "$network_name": lab.lattice.get_service_network(serviceNetworkIdentifier=network)["name"],
            "$service_name": lab.lattice.get_service(serviceIdentifier=service)["name"],
        }


def filled(value, things):
    if isinstance(value, str):
        return things[value] if value.startswith("$") else value
    if isinstance(value, list):
        return [filled(one, things) for one in value]
    if isinstance(value, dict):
        return {key: filled(one, things) for key, one in value.items()}
    return value


def method(operation):
    import botocore
    return botocore.xform_name(operation)


@pytest.mark.parametrize("service", [name for name, rows in TABLES.items() if rows])
def test_bad_input_gets_awss_code_and_status(lath, things, service):
    client = lath.client(service, parameter_validation=False)
    wrong = []
    for operation, parameters, codes, *status in TABLES[service]:
        codes = (codes,) if isinstance(codes, str) else codes
        want = status[0] if status else 400
        try:
            getattr(client, method(operation))(**filled(parameters, things))
        except ClientError as error:
            message = error.response["Error"].get("Message", "")
            if code_of(error) not in codes or status_of(error) != want or not message:
                wrong.append((operation, parameters, code_of(error), status_of(error), message))
        else:
            wrong.append((operation, parameters, "was not refused"))
    assert wrong == [], "\n".join(map(str, wrong))
