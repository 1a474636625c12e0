"""Transit Gateways by packets, in one region: an attachment's packets follow the table it is associated with, and
nothing else."""

import json

import pytest
from lathlab import wait_for
from lathlab.lab import ECHO

pytestmark = pytest.mark.root

OPEN = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
SERVER = f"mkdir -p /srv; cat >/srv/echo.py <<'END'\n{ECHO}\nEND\nsetsid python3 /srv/echo.py NAME 80 >/dev/null 2>&1 &\n"


class Transit:
    """A gateway without default tables, and tables and attachments of it by name."""

    def __init__(self, lab):
        self.lab, self.ec2, self.spokes = lab, lab.ec2, {}
        self.id = self.ec2.create_transit_gateway(Options={
            "DefaultRouteTableAssociation": "disable", "DefaultRouteTablePropagation": "disable",
        })["TransitGateway"]["TransitGatewayId"]
        lab.later(self.ec2.delete_transit_gateway, TransitGatewayId=self.id)
        self.until("the gateway", lambda: self.ec2.describe_transit_gateways(
            TransitGatewayIds=[self.id])["TransitGateways"][0])
        self.tables = {name: self.table() for name in ("one", "two")}

    @staticmethod
    def until(what, get, state="available"):
        wait_for(f"{what} to be {state}", lambda: get()["State"] == state)

    def table(self):
        made = self.ec2.create_transit_gateway_route_table(TransitGatewayId=self.id)[
            "TransitGatewayRouteTable"]["TransitGatewayRouteTableId"]
        self.lab.later(self.ec2.delete_transit_gateway_route_table, TransitGatewayRouteTableId=made)
        self.until("a table", lambda: self.ec2.describe_transit_gateway_route_tables(
            TransitGatewayRouteTableIds=[made])["TransitGatewayRouteTables"][0])
        return made

    def spoke(self, name, cidr):
        """A VPC, attached, all of whose private traffic goes to the gateway, and a server of this name in it."""
        net = cidr.rsplit(".", 2)[0]
        vpc, subnet, _ = self.lab.vpc(cidr, f"{net}.1.0/24")
        attachment = self.ec2.create_transit_gateway_vpc_attachment(
            TransitGatewayId=self.id, VpcId=vpc, SubnetIds=[subnet])[
            "TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
        self.lab.later(self.ec2.delete_transit_gateway_vpc_attachment, TransitGatewayAttachmentId=attachment)
        route = {"RouteTableId": self.lab.main_table(vpc), "DestinationCidrBlock": "10.0.0.0/8"}
        self.until("an attachment", lambda: self.ec2.describe_transit_gateway_vpc_attachments(
            TransitGatewayAttachmentIds=[attachment])["TransitGatewayVpcAttachments"][0])
        self.ec2.create_route(**route, TransitGatewayId=self.id)
        self.lab.later(self.ec2.delete_route, **route)
        instance, _ = self.lab.instance(subnet, self.lab.group(vpc, OPEN), address=f"{net}.1.10",
                                        script=SERVER.replace("NAME", name))
        self.spokes[name] = {"attachment": attachment, "instance": instance, "address": f"{net}.1.10", "cidr": cidr}

    # ------------------------------------------------------------------------------------------- tables
    def pair(self, name, table):
        return {"TransitGatewayRouteTableId": self.tables[table],
                "TransitGatewayAttachmentId": self.spokes[name]["attachment"]}

    def association(self, name):
        found = self.ec2.describe_transit_gateway_attachments(
            TransitGatewayAttachmentIds=[self.spokes[name]["attachment"]])["TransitGatewayAttachments"][0]
        return found.get("Association", {}).get("State")

    def associate(self, name, table):
        self.ec2.associate_transit_gateway_route_table(**self.pair(name, table))
        wait_for("the association", lambda: self.association(name) == "associated")

    def dissociate(self, name, table):
        self.ec2.disassociate_transit_gateway_route_table(**self.pair(name, table))
        wait_for("the association to go", lambda: self.association(name) is None)

    def propagate(self, name, table):
        self.ec2.enable_transit_gateway_route_table_propagation(**self.pair(name, table))

    def withdraw(self, name, table):
        self.ec2.disable_transit_gateway_route_table_propagation(**self.pair(name, table))

    def route(self, table, cidr, to=None):
        target = {"TransitGatewayAttachmentId": self.spokes[to]["attachment"]} if to else {"Blackhole": True}
        self.ec2.create_transit_gateway_route(
            TransitGatewayRouteTableId=self.tables[table], DestinationCidrBlock=cidr, **target)

    def unroute(self, table, cidr):
        self.ec2.delete_transit_gateway_route(
            TransitGatewayRouteTableId=self.tables[table], DestinationCidrBlock=cidr)

    # ------------------------------------------------------------------------------------------ packets
    def answer(self, client, address):
        """The name of who answers a client at an address; None when nobody does."""
        run = self.lab.run(self.spokes[client]["instance"], "curl", "-s", "--max-time", "1", f"http://{address}/",
                           check=False)
        return json.loads(run.stdout)["name"] if run.returncode == 0 else None

    def reaches(self, client, name):
        return self.answer(client, self.spokes[name]["address"]) == name

    def becomes(self, client, name, reached=True):
        words = "reaches" if reached else "loses"
        wait_for(f"{client} {words} {name}", lambda: self.reaches(client, name) is reached)


@pytest.fixture(scope="module")
def transit(module_lab):
    made = Transit(module_lab)
    # The last has the addresses of another: each is right in its own VPC.
    for name, cidr in (("a", "10.91.0.0/16"), ("b", "10.92.0.0/16"), ("c", "10.93.0.0/16"), ("twin", "10.92.0.0/16")):
        made.spoke(name, cidr)
    for name in made.spokes:
        wait_for(f"the server {name}", lambda name=name: made.answer(name, "127.0.0.1") == name)
    return made


def test_packets_cross_by_associations_and_propagations_and_by_nothing_else(transit):
    assert not transit.reaches("a", "b"), "no attachment has a table"
    for name in "ab":
        transit.propagate(name, "one")
    assert not transit.reaches("a", "b"), "routes alone lead nobody"
    for name in "ab":
        transit.associate(name, "one")
    transit.becomes("a", "b")
    transit.becomes("b", "a")
    assert not transit.reaches("c", "a") and not transit.reaches("a", "c"), "c shares no table with them"

    # Two tables, each with what the other side needs: there by one, back by the other.
    transit.dissociate("b", "one")
    transit.becomes("a", "b", False)
    transit.associate("b", "two")
    assert not transit.reaches("a", "b"), "b's answers find no way back"
    transit.propagate("a", "two")
    transit.becomes("a", "b")
    transit.becomes("b", "a")

    # c sees a by the second table, and is seen by none until the first knows it.
    transit.associate("c", "two")
    assert not transit.reaches("c", "a")
    transit.propagate("c", "one")
    transit.becomes("c", "a")
    assert not transit.reaches("c", "b") and not transit.reaches("b", "c"), "their table leads to neither"

    transit.withdraw("b", "one")
    transit.becomes("a", "b", False)
    assert transit.reaches("a", "c"), "only b was withdrawn"
    transit.propagate("b", "one")
    transit.becomes("a", "b")


def test_the_longest_prefix_and_black_holes_decide(transit):
    transit.becomes("a", "b")
    transit.route("one", "10.92.1.0/24")
    transit.becomes("a", "b", False)
    transit.route("one", "10.92.1.10/32", to="b")
    transit.becomes("a", "b")
    transit.unroute("one", "10.92.1.10/32")
    transit.becomes("a", "b", False)
    transit.unroute("one", "10.92.1.0/24")
    transit.becomes("a", "b")
    # A static route beats a propagated one of the same length; what is led astray is not answered.
    transit.route("one", "10.92.0.0/16", to="c")
    transit.becomes("a", "b", False)
    transit.unroute("one", "10.92.0.0/16")
    transit.becomes("a", "b")


def test_vpcs_with_equal_addresses_are_told_apart_by_the_tables(transit):
    """a asks one address; which of the two VPCs that have it answers is the table's word."""
    address = transit.spokes["b"]["address"]
    transit.associate("twin", "two")
    transit.becomes("a", "b")
    transit.route("one", "10.92.1.0/24", to="twin")
    wait_for("the twin to answer", lambda: transit.answer("a", address) == "twin")
    transit.unroute("one", "10.92.1.0/24")
    wait_for("b to answer again", lambda: transit.answer("a", address) == "b")
