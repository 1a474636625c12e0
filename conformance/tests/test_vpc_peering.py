"""VPC peering: two VPCs reach each other by routes, groups and names, nothing behind them, and over kill -9."""

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow

pytestmark = pytest.mark.root

REACHES = """
import socket, sys
s = socket.socket(); s.settimeout(2)
try: s.connect((sys.argv[1], 8001)); print("open")
except OSError: print("closed")
"""


def status(lab, peering):
    (found,) = lab.ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering])["VpcPeeringConnections"]
    return found["Status"]["Code"]


def test_a_connection_carries_until_it_is_deleted(own_lath):
    with Lab(own_lath) as lab:
        ours, our_subnet, _ = lab.vpc("10.74.0.0/16", "10.74.1.0/24")
        theirs, their_subnet, _ = lab.vpc("10.75.0.0/16", "10.75.1.0/24", internet=True)
        for vpc in (ours, theirs):
            lab.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        clients, servers = lab.group(ours), lab.group(theirs)
        client, _ = lab.instance(our_subnet, clients)
        server, address = lab.echo(their_subnet, servers, 8001, public=True)
        public = lab.describe(server)["PublicDnsName"]
        peering = lab.ec2.create_vpc_peering_connection(VpcId=ours, PeerVpcId=theirs)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        for vpc, block in ((ours, "10.75.0.0/16"), (theirs, "10.74.0.0/16")):
            lab.ec2.create_route(RouteTableId=lab.main_table(vpc), DestinationCidrBlock=block, VpcPeeringConnectionId=peering)

        def states():
            (table,) = lab.ec2.describe_route_tables(RouteTableIds=[lab.main_table(ours)])["RouteTables"]
            return [it["State"] for it in table["Routes"] if it.get("VpcPeeringConnectionId") == peering]

        reaches = lambda to=address: lab.run(client, "/usr/bin/python3", "-c", REACHES, to).strip()
        assert states() == ["blackhole"]
        own_lath.kill()
        own_lath.start()
        lab.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
        own_lath.kill()
        own_lath.start()
        wait_for("the connection", lambda: status(lab, peering) == "active")
        assert states() == ["active"] and reaches() == "closed", "no group lets it in"
        # The other side's group is named, and means its members.
        rule = allow("tcp", 8001, group=clients)
        lab.ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=[rule])
        (named,) = lab.ec2.describe_security_group_references(GroupId=[clients])["SecurityGroupReferenceSet"]
        assert (named["ReferencingVpcId"], named["VpcPeeringConnectionId"]) == (theirs, peering)
        assert lab.ec2.describe_stale_security_groups(VpcId=theirs)["StaleSecurityGroupSet"] == []
        wait_for("the way to be open", lambda: reaches() == "open")
        resolved = lambda: lab.run(client, "getent", "ahostsv4", public, check=False).stdout.split()[:1]
        assert resolved() != [address]
        lab.ec2.modify_vpc_peering_connection_options(
            VpcPeeringConnectionId=peering, AccepterPeeringConnectionOptions={"AllowDnsResolutionFromRemoteVpc": True})
        wait_for("the private address", lambda: resolved() == [address])
        own_lath.kill()
        own_lath.start()
        wait_for("the way to be open again", lambda: reaches() == "open")
        lab.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
        wait_for("the way to be closed", lambda: reaches() == "closed")
        assert states() == ["blackhole"] and status(lab, peering) == "deleted"
        (stale,) = lab.ec2.describe_stale_security_groups(VpcId=theirs)["StaleSecurityGroupSet"]
        (pair,) = stale["StaleIpPermissions"][0]["UserIdGroupPairs"]
        assert (stale["GroupId"], pair["GroupId"], pair["PeeringStatus"]) == (servers, clients, "deleted")
        lab.ec2.revoke_security_group_ingress(GroupId=servers, IpPermissions=[rule])
