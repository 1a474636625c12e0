"""One mesh over two regions, which AWS does not have: networks that take VPCs of another region, and what strict mode
says to that."""

import subprocess

import pytest
from botocore.exceptions import ClientError
from lathlab import Lath, wait_for
from lathlab.world import World

pytestmark = pytest.mark.root

DOMAIN = "shop.example.test"
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


def certificate(directory, name):
    """A certificate for a name, which is its own root: (file, PEM, key PEM)."""
    key, cert = directory / f"{name}.key", directory / f"{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", key, "-out", cert, "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{DOMAIN}", "-days", "2"], check=True, capture_output=True)
    return cert.read_bytes(), key.read_bytes()


def test_each_region_presents_its_own_certificate_for_a_service(tmp_path):
    with Lath("--extended", regions=REGIONS) as lath:
        world = World(lath)
        east, west = (world.place(region) for region in REGIONS)
        client = west.launch("client")
        made = {region: certificate(tmp_path, region) for region in REGIONS}
        arns = {region: lath.client("acm", region).import_certificate(Certificate=cert, PrivateKey=key)["CertificateArn"]
                for region, (cert, key) in made.items()}
        service = east.lattice.create_service(name="shop", customDomainName=DOMAIN, certificateArn=arns[EAST])
        wait_for("the service", lambda: east.lattice.get_service(serviceIdentifier=service["id"])["status"] == "ACTIVE")
        east.lattice.create_listener(serviceIdentifier=service["id"], name="https", protocol="HTTPS", port=443,
                                     defaultAction={"fixedResponse": {"statusCode": 404}})
        network = east.lattice.create_service_network(name="secure")
        east.lattice.create_service_network_service_association(serviceNetworkIdentifier=network["id"], serviceIdentifier=service["id"])
        joined(west, network["arn"])
        name = east.lattice.get_service(serviceIdentifier=service["id"])["dnsEntry"]["domainName"]

        def shown(domain):
            """Whose certificate a client in the west sees."""
            words = f"openssl s_client -connect {name}:443 -servername {domain} </dev/null 2>/dev/null | openssl x509 -noout -subject"
            return lath.exec(client["id"], "sh", "-c", words, check=False).stdout.strip().replace(" ", "")

        # Private keys stay in their region: the west has none for the name until it is given one.
        wait_for("the generated name", lambda: shown(name))
        assert shown(DOMAIN) == ""
        given = west.lattice.update_service(serviceIdentifier=service["arn"], certificateArn=arns[WEST])
        assert given["certificateArn"] == arns[WEST]
        wait_for("the west's certificate", lambda: shown(DOMAIN) == f"subject=CN={WEST}")
        acm = lath.client("acm", WEST)
        assert acm.describe_certificate(CertificateArn=arns[WEST])["Certificate"]["InUseBy"] == [service["arn"]]
        with pytest.raises(acm.exceptions.ResourceInUseException):
            acm.delete_certificate(CertificateArn=arns[WEST])
        assert east.lattice.get_service(serviceIdentifier=service["id"])["certificateArn"] == arns[EAST]
        west.lattice.update_service(serviceIdentifier=service["arn"], certificateArn="")
        wait_for("no certificate", lambda: shown(DOMAIN) == "")
        acm.delete_certificate(CertificateArn=arns[WEST])


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
        service = east.create_service(name="shop")["arn"]
        with pytest.raises(west.exceptions.ResourceNotFoundException):
            west.update_service(serviceIdentifier=service, certificateArn="")
