"""One mesh over two regions, which AWS does not have: networks that take VPCs of another region, and what strict mode
says to that."""

import pytest
from botocore.exceptions import ClientError
from lathlab import Lath, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

EAST, WEST = REGIONS = ["us-east-1", "us-west-2"]


def joined(place, network):
    """The association of a place's VPC with a network, once the place's region has heard of it."""
    def join():
        try:
            return place.lattice.create_service_network_vpc_association(
                serviceNetworkIdentifier=network, vpcIdentifier=place.vpc)["id"]
        except place.lattice.exceptions.ResourceNotFoundException:
            return None

    association = wait_for("the network to be known", join)
    state = lambda: place.lattice.get_service_network_vpc_association(
        serviceNetworkVpcAssociationIdentifier=association)["status"]
    wait_for("the association", lambda: state() == "ACTIVE")
    return association


def test_a_vpc_of_one_region_calls_services_of_the_others_network():
    with Lath("--extended", regions=REGIONS) as lath:
        world = World(lath)
        east, west = (world.place(region) for region in REGIONS)
        server, client = east.server("shop"), west.launch("client")
        group = world.target_group(east, [server])
        service = world.service(east, [group["arn"]])
        url = f"http://{service['name']}/"
        association = joined(west, service["network"]["arn"])
        answer = wait_for("the shop", lambda: world.call(client, url))
        assert answer["name"] == "shop"
        # A change in its home reaches the other region's proxies.
        listener = east.lattice.list_listeners(serviceIdentifier=service["id"])["items"][0]["id"]
        east.lattice.update_listener(serviceIdentifier=service["id"], listenerIdentifier=listener,
                                     defaultAction={"fixedResponse": {"statusCode": 404}})
        wait_for("the change", lambda: world.call(client, url, "--fail") is None)
        # What another region uses is not deleted, and goes when that is over.
        network = service["network"]["id"]
        wait_for("the owner to know", lambda: east.lattice.get_service_network(
            serviceNetworkIdentifier=network)["numberOfAssociatedVPCs"] == 2)
        with pytest.raises(east.lattice.exceptions.ConflictException):
            east.lattice.delete_service_network(serviceNetworkIdentifier=network)
        west.lattice.delete_service_network_vpc_association(serviceNetworkVpcAssociationIdentifier=association)
        wait_for("the owner to know", lambda: east.lattice.get_service_network(
            serviceNetworkIdentifier=network)["numberOfAssociatedVPCs"] == 1)
        wait_for("silence", lambda: world.call(client, url) is None)


def test_strict_mode_knows_no_other_region():
    with Lath(regions=REGIONS) as lath:
        east, west = (lath.client("vpc-lattice", region) for region in REGIONS)
        network = east.create_service_network(name="mesh")["arn"]
        vpc = lath.client("ec2", WEST).create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        with pytest.raises(ClientError) as refused:
            west.create_service_network_vpc_association(serviceNetworkIdentifier=network, vpcIdentifier=vpc)
        answer = refused.value.response
        assert answer["Error"]["Code"] == "ResourceNotFoundException", answer
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
