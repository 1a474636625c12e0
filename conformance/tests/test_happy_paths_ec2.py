"""Good calls of EC2's operations that other tests meet only when they are refused: what they answer and change."""

import json

import pytest

from lathlab import wait_for
from lathlab.lab import unique

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def place(module_lab):
    """A VPC with a subnet and a group."""
    return module_lab.vpc("10.91.0.0/16", "10.91.1.0/24")


def test_what_there_is(lab):
    names = [it["AttributeName"] for it in lab.ec2.describe_account_attributes()["AccountAttributes"]]
    assert "default-vpc" in names
    [found] = lab.ec2.describe_instance_types(InstanceTypes=["t3.micro"])["InstanceTypes"]
    assert found["VCpuInfo"]["DefaultVCpus"] == 2
    offered = lab.ec2.describe_instance_type_offerings(Filters=[{"Name": "instance-type", "Values": ["t3.micro"]}])
    assert [it["InstanceType"] for it in offered["InstanceTypeOfferings"]] == ["t3.micro"]
    lists = [it["PrefixListName"] for it in lab.ec2.describe_prefix_lists()["PrefixLists"]]
    assert f"com.amazonaws.{lab.lath.region}.vpc-lattice" in lists
    address = lab.ec2.allocate_address(Domain="vpc")["AllocationId"]
    lab.later(lab.ec2.release_address, AllocationId=address)
    assert lab.ec2.describe_addresses_attribute(AllocationIds=[address], Attribute="domain-name")["Addresses"] == []


def test_settings_of_an_instance(lab, place):
    _, subnet, group = place
    instance, _ = lab.instance(subnet, group)
    ids = [instance]
    lab.ec2.modify_instance_attribute(InstanceId=instance, SourceDestCheck={"Value": False})
    attribute = lab.ec2.describe_instance_attribute
    assert attribute(InstanceId=instance, Attribute="sourceDestCheck")["SourceDestCheck"]["Value"] is False
    lab.ec2.reset_instance_attribute(InstanceId=instance, Attribute="sourceDestCheck")
    assert attribute(InstanceId=instance, Attribute="sourceDestCheck")["SourceDestCheck"]["Value"] is True
    [volume] = lab.ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": ids}])["Volumes"]
    assert volume["State"] == "in-use" and volume["Attachments"][0]["InstanceId"] == instance
    assert lab.ec2.monitor_instances(InstanceIds=ids)["InstanceMonitorings"][0]["Monitoring"]["State"] in ("pending", "enabled")
    lab.ec2.unmonitor_instances(InstanceIds=ids)
    assert lab.describe(instance)["Monitoring"]["State"] == "disabled"
    lab.ec2.modify_instance_credit_specification(
        InstanceCreditSpecifications=[{"InstanceId": instance, "CpuCredits": "standard"}])
    [credits] = lab.ec2.describe_instance_credit_specifications(InstanceIds=ids)["InstanceCreditSpecifications"]
    assert credits["CpuCredits"] == "standard"
    lab.ec2.modify_instance_maintenance_options(InstanceId=instance, AutoRecovery="disabled")
    assert lab.describe(instance)["MaintenanceOptions"]["AutoRecovery"] == "disabled"
    lab.ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required")
    assert lab.describe(instance)["MetadataOptions"]["HttpTokens"] == "required"
    lab.ec2.stop_instances(InstanceIds=ids, SkipOsShutdown=True)
    lab.until(instance, "stopped")
    lab.ec2.modify_private_dns_name_options(InstanceId=instance, EnableResourceNameDnsARecord=True)
    assert lab.describe(instance)["PrivateDnsNameOptions"]["EnableResourceNameDnsARecord"] is True
    lab.ec2.modify_instance_capacity_reservation_attributes(
        InstanceId=instance, CapacityReservationSpecification={"CapacityReservationPreference": "none"})
    found = lab.describe(instance)["CapacityReservationSpecification"]
    assert found["CapacityReservationPreference"] == "none"


def test_settings_of_an_interface(lab, place):
    _, subnet, _ = place
    made = lab.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=made)
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=made, Description={"Value": "changed"})
    found = lab.ec2.describe_network_interface_attribute(NetworkInterfaceId=made, Attribute="description")
    assert found["Description"]["Value"] == "changed"
    added = lab.ec2.assign_private_ip_addresses(NetworkInterfaceId=made, SecondaryPrivateIpAddressCount=1)
    [address] = [it["PrivateIpAddress"] for it in added["AssignedPrivateIpAddresses"]]
    lab.ec2.unassign_private_ip_addresses(NetworkInterfaceId=made, PrivateIpAddresses=[address])
    [found] = lab.ec2.describe_network_interfaces(NetworkInterfaceIds=[made])["NetworkInterfaces"]
    assert address not in [it["PrivateIpAddress"] for it in found["PrivateIpAddresses"]]


def test_an_interface_that_is_attached_fails_no_status_check(lab, place):
    _, subnet, group = place
    instance, _ = lab.instance(subnet, group)

    def check():
        [found] = lab.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"]
        return found["InstanceStatus"]["Status"]

    wait_for("the instance to be healthy", lambda: check() == "ok")
    made = lab.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=made)
    seen = set()
    attachment = lab.ec2.attach_network_interface(
        NetworkInterfaceId=made, InstanceId=instance, DeviceIndex=1)["AttachmentId"]
    for _ in range(40):
        seen.add(check())
    assert seen == {"ok"}
    lab.ec2.detach_network_interface(AttachmentId=attachment)
    available = lambda: lab.ec2.describe_network_interfaces(NetworkInterfaceIds=[made])["NetworkInterfaces"][0]["Status"]
    wait_for("the interface to be free", lambda: available() == "available")


def test_changes_of_networks(lab):
    vpc, subnet, group = lab.vpc("10.92.0.0/16", "10.92.1.0/24", internet=True)
    block = lab.ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="10.93.0.0/16")["CidrBlockAssociation"]["AssociationId"]
    lab.ec2.disassociate_vpc_cidr_block(AssociationId=block)
    main = lab.main_table(vpc)
    tables = [lab.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
    for table in tables:
        lab.later(lab.ec2.delete_route_table, RouteTableId=table)
    association = lab.ec2.associate_route_table(RouteTableId=tables[0], SubnetId=subnet)["AssociationId"]
    association = lab.ec2.replace_route_table_association(
        AssociationId=association, RouteTableId=tables[1])["NewAssociationId"]
    lab.later(lab.ec2.disassociate_route_table, AssociationId=association)
    [found] = lab.ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])["RouteTables"]
    assert found["RouteTableId"] == tables[1]
    interface = lab.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=interface)
    lab.ec2.replace_route(RouteTableId=main, DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=interface)
    [found] = lab.ec2.describe_route_tables(RouteTableIds=[main])["RouteTables"]
    routes = {it["DestinationCidrBlock"]: it.get("NetworkInterfaceId") for it in found["Routes"]}
    assert routes["0.0.0.0/0"] == interface
    lab.ec2.delete_route(RouteTableId=main, DestinationCidrBlock="0.0.0.0/0")


def test_network_acls(lab):
    vpc, subnet, _ = lab.vpc("10.94.0.0/16", "10.94.1.0/24")
    acl = lab.ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]
    assert not acl["IsDefault"] and {it["RuleAction"] for it in acl["Entries"]} == {"deny"}
    acl = acl["NetworkAclId"]
    lab.later(lab.ec2.delete_network_acl, NetworkAclId=acl)
    entry = {"NetworkAclId": acl, "RuleNumber": 100, "Egress": False}
    lab.ec2.create_network_acl_entry(Protocol="6", RuleAction="allow", CidrBlock="10.0.0.0/8", PortRange={"From": 80, "To": 81}, **entry)
    lab.ec2.replace_network_acl_entry(
        Protocol="1", RuleAction="deny", CidrBlock="10.0.0.0/8", IcmpTypeCode={"Type": 8, "Code": -1}, **entry)
    mine = [{"Name": "association.subnet-id", "Values": [subnet]}]
    find = lambda: lab.ec2.describe_network_acls(Filters=mine)["NetworkAcls"][0]
    default = find()
    association = default["Associations"][0]["NetworkAclAssociationId"]
    association = lab.ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)["NewAssociationId"]
    found = find()
    assert found["NetworkAclId"] == acl
    assert [it["IcmpTypeCode"] for it in found["Entries"] if it["RuleNumber"] == 100] == [{"Type": 8, "Code": -1}]
    lab.ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=default["NetworkAclId"])
    lab.ec2.delete_network_acl_entry(**entry)
    assert {it["RuleNumber"] for it in lab.ec2.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"][0]["Entries"]} == {32767}


def test_dhcp_options(lab):
    vpc, _, _ = lab.vpc("10.99.0.0/16", "10.99.1.0/24")
    [found] = lab.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    [of_region] = lab.ec2.describe_dhcp_options(DhcpOptionsIds=[found["DhcpOptionsId"]])["DhcpOptions"]
    assert {it["Key"] for it in of_region["DhcpConfigurations"]} == {"domain-name", "domain-name-servers"}
    given = [
        {"Key": "domain-name", "Values": ["corp.test"]},
        {"Key": "domain-name-servers", "Values": ["10.99.1.53", "AmazonProvidedDNS"]},
        {"Key": "netbios-node-type", "Values": ["2"]},
        {"Key": "ntp-servers", "Values": ["10.99.1.123"]},
    ]
    tags = [{"ResourceType": "dhcp-options", "Tags": [{"Key": "Name", "Value": "corp"}]}]
    made = lab.ec2.create_dhcp_options(DhcpConfigurations=given, TagSpecifications=tags)["DhcpOptions"]
    assert [{"Key": it["Key"], "Values": [value["Value"] for value in it["Values"]]} for it in made["DhcpConfigurations"]] == given
    options = made["DhcpOptionsId"]
    assert lab.ec2.describe_dhcp_options(Filters=[{"Name": "tag:Name", "Values": ["corp"]}])["DhcpOptions"] == [made]
    for to in (options, "default", of_region["DhcpOptionsId"]):
        lab.ec2.associate_dhcp_options(DhcpOptionsId=to, VpcId=vpc)
        assert lab.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["DhcpOptionsId"] == to
    lab.ec2.delete_dhcp_options(DhcpOptionsId=options)


def test_vpc_peering(lab):
    vpc, _, _ = lab.vpc("10.96.0.0/16", "10.96.1.0/24")
    peer, _, _ = lab.vpc("10.97.0.0/16", "10.97.1.0/24")

    def asked():
        made = lab.ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=peer)["VpcPeeringConnection"]
        return made["VpcPeeringConnectionId"]

    status = lambda it: lab.ec2.describe_vpc_peering_connections(
        VpcPeeringConnectionIds=[it])["VpcPeeringConnections"][0]["Status"]["Code"]
    refused = asked()
    lab.ec2.reject_vpc_peering_connection(VpcPeeringConnectionId=refused)
    assert status(refused) == "rejected"
    made = asked()
    lab.ec2.get_waiter("vpc_peering_connection_exists").wait(VpcPeeringConnectionIds=[made])
    lab.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=made)
    wait_for("the connection", lambda: status(made) == "active")
    names = lab.ec2.modify_vpc_peering_connection_options(
        VpcPeeringConnectionId=made, RequesterPeeringConnectionOptions={"AllowDnsResolutionFromRemoteVpc": True})
    assert names["RequesterPeeringConnectionOptions"]["AllowDnsResolutionFromRemoteVpc"]
    lab.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=made)
    lab.ec2.get_waiter("vpc_peering_connection_deleted").wait(VpcPeeringConnectionIds=[made])


def test_default_vpc(lab):
    vpc = lab.ec2.create_default_vpc()["Vpc"]
    assert vpc["IsDefault"] and vpc["CidrBlock"] == "172.31.0.0/16"
    mine = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = lab.ec2.describe_subnets(Filters=mine)["Subnets"]
    lab.ec2.delete_subnet(SubnetId=subnets[0]["SubnetId"])
    again = lab.ec2.create_default_subnet(AvailabilityZone=subnets[0]["AvailabilityZone"])["Subnet"]
    assert again["CidrBlock"] == subnets[0]["CidrBlock"]
    # No other test counts on it.
    for subnet in lab.ec2.describe_subnets(Filters=mine)["Subnets"]:
        lab.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    [gateway] = lab.ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc["VpcId"]]}])["InternetGateways"]
    lab.ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc["VpcId"])
    lab.ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    lab.ec2.delete_vpc(VpcId=vpc["VpcId"])


def test_descriptions_of_rules(lab, place):
    vpc, *_ = place
    def rule(text):
        return [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": text}]}]
    group = lab.group(vpc, *rule("before"))
    lab.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=rule("before"))
    lab.ec2.update_security_group_rule_descriptions_ingress(GroupId=group, IpPermissions=rule("in"))
    lab.ec2.update_security_group_rule_descriptions_egress(GroupId=group, IpPermissions=rule("out"))
    rules = lab.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    lab.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=rule("out"))
    assert {(it["IsEgress"], it.get("Description")) for it in rules if it["FromPort"] == 80} == {(False, "in"), (True, "out")}


def test_an_endpoint_of_a_service_network(lab, place):
    vpc, subnet, group = place
    network = lab.network()
    arn = lab.lattice.get_service_network(serviceNetworkIdentifier=network)["arn"]
    other = lab.group(vpc)
    made = lab.ec2.create_vpc_endpoint(
        VpcId=vpc, VpcEndpointType="ServiceNetwork", ServiceNetworkArn=arn, SubnetIds=[subnet],
        SecurityGroupIds=[group])["VpcEndpoint"]["VpcEndpointId"]

    def found():
        return lab.ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-endpoint-id", "Values": [made]}])["VpcEndpoints"]

    wait_for("the endpoint to work", lambda: found()[0]["State"].lower() == "available")
    lab.ec2.modify_vpc_endpoint(VpcEndpointId=made, AddSecurityGroupIds=[other])
    assert {it["GroupId"] for it in found()[0]["Groups"]} == {group, other}
    associations = lab.lattice.list_service_network_vpc_endpoint_associations(serviceNetworkIdentifier=network)["items"]
    assert [it["vpcEndpointId"] for it in associations] == [made]
    shown = lab.ec2.describe_vpc_endpoint_associations(VpcEndpointIds=[made])["VpcEndpointAssociations"]
    assert {it["VpcEndpointId"] for it in shown} <= {made}
    assert lab.ec2.delete_vpc_endpoints(VpcEndpointIds=[made])["Unsuccessful"] == []
    wait_for("the endpoint to go", lambda: all(it["State"].lower() == "deleted" for it in found()))


# ------------------------------------------------------------------------------------------------ Transit Gateways
@pytest.fixture(scope="module")
def transit(module_lab, place):
    """A gateway with the VPC attached: (gateway, table, attachment)."""
    lab, (vpc, subnet, _) = module_lab, place
    gateway = lab.ec2.create_transit_gateway(Description="test")["TransitGateway"]["TransitGatewayId"]
    lab.later(lab.ec2.delete_transit_gateway, TransitGatewayId=gateway)
    find = lambda: lab.ec2.describe_transit_gateways(TransitGatewayIds=[gateway])["TransitGateways"][0]
    wait_for("the gateway to be available", lambda: find()["State"] == "available")
    attachment = lab.ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=gateway, VpcId=vpc, SubnetIds=[subnet])
    attachment = attachment["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    lab.later(lab.ec2.delete_transit_gateway_vpc_attachment, TransitGatewayAttachmentId=attachment)
    state = lambda: lab.ec2.describe_transit_gateway_vpc_attachments(TransitGatewayAttachmentIds=[attachment])[
        "TransitGatewayVpcAttachments"][0]["State"]
    wait_for("the attachment to be available", lambda: state() == "available")
    return gateway, find()["Options"]["AssociationDefaultRouteTableId"], attachment


def test_propagations_of_a_transit_gateway(lab, transit):
    _, table, attachment = transit
    of_table = lab.ec2.get_transit_gateway_route_table_propagations(TransitGatewayRouteTableId=table)
    found = of_table["TransitGatewayRouteTablePropagations"]
    assert [it["TransitGatewayAttachmentId"] for it in found] == [attachment]
    of_attachment = lab.ec2.get_transit_gateway_attachment_propagations(TransitGatewayAttachmentId=attachment)
    found = of_attachment["TransitGatewayAttachmentPropagations"]
    assert [it["TransitGatewayRouteTableId"] for it in found] == [table]


def test_prefix_lists_in_a_table_of_a_transit_gateway(lab, transit):
    _, table, attachment = transit
    made = lab.ec2.create_managed_prefix_list(
        PrefixListName=unique("list"), AddressFamily="IPv4", MaxEntries=2, Entries=[{"Cidr": "10.94.0.0/16"}])
    made = made["PrefixList"]["PrefixListId"]
    lab.later(lab.ec2.delete_managed_prefix_list, PrefixListId=made)
    named = {"TransitGatewayRouteTableId": table, "PrefixListId": made}
    lab.ec2.create_transit_gateway_prefix_list_reference(TransitGatewayAttachmentId=attachment, **named)
    get = lab.ec2.get_transit_gateway_prefix_list_references

    def found():
        return get(TransitGatewayRouteTableId=table)["TransitGatewayPrefixListReferences"]

    assert [(it["PrefixListId"], it["Blackhole"]) for it in found()] == [(made, False)]
    lab.ec2.modify_transit_gateway_prefix_list_reference(Blackhole=True, **named)
    assert [(it["PrefixListId"], it["Blackhole"]) for it in found()] == [(made, True)]
    lab.ec2.delete_transit_gateway_prefix_list_reference(**named)
    wait_for("the reference to go", lambda: not found())


def test_a_peering_is_rejected(lab, transit):
    gateway, *_ = transit
    other = lab.ec2.create_transit_gateway(Description="other")["TransitGateway"]
    lab.later(lab.ec2.delete_transit_gateway, TransitGatewayId=other["TransitGatewayId"])
    find = lambda: lab.ec2.describe_transit_gateways(TransitGatewayIds=[other["TransitGatewayId"]])["TransitGateways"][0]
    wait_for("the gateway to be available", lambda: find()["State"] == "available")
    peering = lab.ec2.create_transit_gateway_peering_attachment(
        TransitGatewayId=gateway, PeerTransitGatewayId=other["TransitGatewayId"], PeerAccountId=other["OwnerId"],
        PeerRegion=lab.lath.region)["TransitGatewayPeeringAttachment"]["TransitGatewayAttachmentId"]
    state = lambda: lab.ec2.describe_transit_gateway_peering_attachments(TransitGatewayAttachmentIds=[peering])[
        "TransitGatewayPeeringAttachments"][0]["State"]
    wait_for("the peering to wait", lambda: state() == "pendingAcceptance")
    lab.ec2.reject_transit_gateway_peering_attachment(TransitGatewayAttachmentId=peering)
    wait_for("the peering to be rejected", lambda: state() == "rejected")


def test_reserved_blocks_and_prefixes_of_a_subnet(lab, place):
    vpc, subnet, group = place
    groups = lab.ec2.get_security_groups_for_vpc(VpcId=vpc)["SecurityGroupForVpcs"]
    assert group in [it["GroupId"] for it in groups] and {it["PrimaryVpcId"] for it in groups} == {vpc}
    reserve = {"SubnetId": subnet, "Cidr": "10.91.1.64/28", "ReservationType": "prefix"}
    made = lab.ec2.create_subnet_cidr_reservation(**reserve)["SubnetCidrReservation"]
    [shown] = lab.ec2.get_subnet_cidr_reservations(SubnetId=subnet)["SubnetIpv4CidrReservations"]
    assert shown == made and made["Cidr"] == "10.91.1.64/28"
    interface = lab.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=interface)
    given = lab.ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, Ipv4PrefixCount=1)
    assert [it["Ipv4Prefix"] for it in given["AssignedIpv4Prefixes"]] == ["10.91.1.64/28"]
    [found] = lab.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    assert found["Ipv4Prefixes"] == [{"Ipv4Prefix": "10.91.1.64/28"}]
    lab.ec2.unassign_private_ip_addresses(NetworkInterfaceId=interface, Ipv4Prefixes=["10.91.1.64/28"])
    id_ = made["SubnetCidrReservationId"]
    assert lab.ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=id_)["DeletedSubnetCidrReservation"] == made
    assert lab.ec2.get_subnet_cidr_reservations(SubnetId=subnet)["SubnetIpv4CidrReservations"] == []


def test_tables_and_attachments_of_a_transit_gateway(lab, transit):
    gateway, table, attachment = transit
    shown = lab.ec2.describe_transit_gateway_attachments(TransitGatewayAttachmentIds=[attachment])
    assert [it["TransitGatewayId"] for it in shown["TransitGatewayAttachments"]] == [gateway]
    made = lab.ec2.create_transit_gateway_route_table(TransitGatewayId=gateway)["TransitGatewayRouteTable"]
    made = made["TransitGatewayRouteTableId"]
    state = lambda: lab.ec2.describe_transit_gateway_route_tables(TransitGatewayRouteTableIds=[made])[
        "TransitGatewayRouteTables"][0]["State"]
    wait_for("the table to be available", lambda: state() == "available")
    named = {"TransitGatewayRouteTableId": made, "TransitGatewayAttachmentId": attachment}
    lab.ec2.enable_transit_gateway_route_table_propagation(**named)
    get = lambda: lab.ec2.get_transit_gateway_route_table_propagations(TransitGatewayRouteTableId=made)[
        "TransitGatewayRouteTablePropagations"]
    wait_for("the propagation to work", lambda: [it["State"] for it in get()] == ["enabled"])
    lab.ec2.disable_transit_gateway_route_table_propagation(**named)
    wait_for("the propagation to go", lambda: not get())
    lab.ec2.delete_transit_gateway_route_table(TransitGatewayRouteTableId=made)
    wait_for("the table to go", lambda: state() == "deleted")


def test_a_nat_gateway_and_a_subnets_settings(lab):
    _, subnet, _ = lab.vpc("10.95.0.0/16", "10.95.1.0/24", internet=True)
    lab.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    assert lab.ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["MapPublicIpOnLaunch"] is True
    address = lab.ec2.allocate_address(Domain="vpc")["AllocationId"]
    lab.later(lab.ec2.release_address, AllocationId=address)
    made = lab.ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    state = lambda: lab.ec2.describe_nat_gateways(NatGatewayIds=[made])["NatGateways"][0]["State"]
    wait_for("the gateway to be available", lambda: state() == "available")
    lab.ec2.delete_nat_gateway(NatGatewayId=made)
    wait_for("the gateway to go", lambda: state() == "deleted")


def test_an_instances_profile_is_replaced(lab, place):
    _, subnet, group = place
    iam = lab.lath.client("iam")
    names = [unique("profile") for _ in range(2)]
    for name in names:
        iam.create_instance_profile(InstanceProfileName=name)
        lab.later(iam.delete_instance_profile, InstanceProfileName=name)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}))
        lab.later(iam.delete_role, RoleName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        lab.later(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=name)
    instance, _ = lab.instance(subnet, group)
    made = lab.ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": names[0]})
    made = made["IamInstanceProfileAssociation"]["AssociationId"]
    lab.ec2.replace_iam_instance_profile_association(AssociationId=made, IamInstanceProfile={"Name": names[1]})
    wait_for("the profile", lambda: lab.describe(instance)["IamInstanceProfile"]["Arn"].endswith(names[1]))
