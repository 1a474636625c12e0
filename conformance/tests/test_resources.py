"""Resources: TCP through a resource gateway into another VPC, as clients with sockets and psql see it."""

import pathlib
import shutil
import textwrap

import lathlab
import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow, refusal, unique

pytestmark = pytest.mark.root

CONFLICT, MISSING, INVALID = ("ConflictException", 409), ("ResourceNotFoundException", 404), ("ValidationException", 400)
DOMAIN = "example.test"

# Says by which port and from where it was reached, then what it was told, when it has heard all of it; or resets.
SERVER = '''
import socket, socketserver, struct, sys, threading
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(f"{self.request.getsockname()[1]} {self.client_address[0]}\\n".encode())
        heard = b""
        while (piece := self.request.recv(65536)):
            heard += piece
            if heard == b"reset":
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return self.request.close()
        self.request.sendall(heard + b" and goodbye")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
servers = [Server(("0.0.0.0", int(port)), Echo) for port in sys.argv[1:]]
[threading.Thread(target=server.serve_forever).start() for server in servers]
'''
# Tells all, says that this was all, hears the rest: HOST PORT WORDS. Or waits for a reset.
CLIENT = '''
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[4])) as s:
        s.settimeout(30)
        s.sendall(sys.argv[3].encode())
        if sys.argv[3] != "reset": s.shutdown(socket.SHUT_WR)
        heard = b""
        while (piece := s.recv(65536)): heard += piece
    print(heard.decode())
except OSError as error: print(type(error).__name__)
'''


class World:
    """Clients in VPC A, which is associated with a network; servers in VPC B, behind a gateway."""

    def __init__(self, lab):
        self.lab, self.lattice = lab, lab.lattice
        self.vpc_a, self.subnet_a, group_a = lab.vpc("10.17.0.0/16", "10.17.1.0/24")
        self.vpc_b, self.subnet_b, _ = lab.vpc("10.18.0.0/16", "10.18.1.0/24")
        self.ours = lab.group(self.vpc_b)
        # What a resource's own group lets in: the gateway's group.
        self.group_b = lab.group(self.vpc_b, allow("tcp", (1, 65535), group=self.ours))
        self.client, _ = lab.instance(self.subnet_a, group_a)
        script = f"cat >/srv/echo.py <<'END'\n{textwrap.dedent(SERVER)}\nEND\nnohup python3 /srv/echo.py 7001 7002 7003 7777 >/dev/null 2>&1 &"
        self.server, self.address = lab.instance(self.subnet_b, self.group_b, script=script)
        self.network = lab.network()
        self.guard = lab.group(self.vpc_a, allow("tcp", (1, 65535), cidr="10.17.0.0/16"))
        self.association = lab.lattice.create_service_network_vpc_association(
            serviceNetworkIdentifier=self.network, vpcIdentifier=self.vpc_a, securityGroupIds=[self.guard], privateDnsEnabled=True)["id"]
        lab.later(lab._vpc_dissociated, association=self.association)
        lab.until_association(self.association)
        self.gateway = self.gatewayed(resourceConfigDnsResolution="IN_VPC")
        lab.run(self.client, "sh", "-c", f"cat >/srv/ask.py <<'END'\n{CLIENT}\nEND")

    # ---------------------------------------------------------------------------------------------- making
    def gatewayed(self, **more):
        made = self.lattice.create_resource_gateway(
            name=unique("rg"), vpcIdentifier=self.vpc_b, subnetIds=[self.subnet_b], securityGroupIds=[self.ours],
            ipv4AddressesPerEni=2, **more)
        assert made["status"] == "CREATE_IN_PROGRESS"
        self.lab.later(self.gone, what="resource_gateway", id=made["id"])
        self.until("resource_gateway", made["id"])
        return made["id"]

    def configured(self, kind="SINGLE", ports=("7001",), definition=None, gateway=None, group=None, **more):
        more |= {"portRanges": list(ports)} if ports else {}
        more |= {"resourceConfigurationDefinition": definition or {"ipResource": {"ipAddress": self.address}}} if kind != "GROUP" else {}
        more |= {"resourceConfigurationGroupIdentifier": group} if group else {"resourceGatewayIdentifier": gateway or self.gateway}
        made = self.lattice.create_resource_configuration(name=unique("rc"), type=kind, **more)
        self.lab.later(self.gone, what="resource_configuration", id=made["id"])
        self.until("resource_configuration", made["id"])
        return made["id"]

    def associated(self, configuration, **more):
        made = self.lattice.create_service_network_resource_association(
            resourceConfigurationIdentifier=configuration, serviceNetworkIdentifier=self.network, **more)
        self.lab.later(self.gone, what="service_network_resource_association", id=made["id"])
        return self.until("service_network_resource_association", made["id"])

    def named(self, configuration, **more):
        """A configuration's association and its generated name."""
        association = self.associated(configuration, **more)
        return association, association["dnsEntry"]["domainName"]

    # ---------------------------------------------------------------------------------------------- asking
    def get(self, what, id):
        member = {"resource_gateway": "resourceGatewayIdentifier", "resource_configuration": "resourceConfigurationIdentifier",
                  "service_network_resource_association": "serviceNetworkResourceAssociationIdentifier"}[what]
        return getattr(self.lattice, f"get_{what}")(**{member: id}), member

    def until(self, what, id, status="ACTIVE"):
        def there():
            got = self.get(what, id)[0]
            return got if got["status"] == status else None
        return wait_for(f"{id} to be {status}", there)

    def gone(self, what, id):
        _, member = self.get(what, id)
        getattr(self.lattice, f"delete_{what}")(**{member: id})
        wait_for(f"{id} to go", lambda: refusal(getattr(self.lattice, f"get_{what}"), **{member: id}) == MISSING)

    def ask(self, host, port, words="hello", patience=20):
        return self.lab.run(self.client, "python3", "/srv/ask.py", host, str(port), words, str(patience)).strip()

    def answered(self, host, port):
        """The source address that the server saw, when the port was reached."""
        def reached():
            first, _, rest = self.ask(host, port).partition("\n")
            return first.split(" ")[1] if first.startswith(f"{port} ") and rest == "hello and goodbye" else None
        return wait_for(f"{host}:{port} to answer", reached)

    def interfaces(self, gateway):
        found = self.lab.ec2.describe_network_interfaces(Filters=[{"Name": "description", "Values": [f"*{gateway}"]}])
        return found["NetworkInterfaces"]


@pytest.fixture(scope="module")
def world():
    with lathlab.Lath() as lath:
        with Lab(lath) as lab:
            yield World(lab)
        assert lath.client("vpc-lattice").list_resource_gateways()["items"] == []
        assert "panicked at" not in lath.log.read_text(errors="replace")


def test_a_gateway_has_interfaces_and_is_held_by_what_uses_it(world):
    lattice, ec2 = world.lattice, world.lab.ec2
    shown = lattice.get_resource_gateway(resourceGatewayIdentifier=world.gateway)
    assert (shown["vpcId"], shown["subnetIds"], shown["securityGroupIds"]) == (world.vpc_b, [world.subnet_b], [world.ours])
    assert (shown["ipAddressType"], shown["ipv4AddressesPerEni"], shown["resourceConfigDnsResolution"]) == ("IPV4", 2, "IN_VPC")
    (interface,) = world.interfaces(world.gateway)
    assert (interface["SubnetId"], interface["RequesterManaged"]) == (world.subnet_b, True)
    assert [group["GroupId"] for group in interface["Groups"]] == [world.ours]
    assert len(interface["PrivateIpAddresses"]) == 2
    assert refusal(ec2.delete_network_interface, NetworkInterfaceId=interface["NetworkInterfaceId"])[0] != "InvalidNetworkInterfaceID.NotFound"
    for call, arguments in [(ec2.delete_subnet, {"SubnetId": world.subnet_b}), (ec2.delete_security_group, {"GroupId": world.ours})]:
        assert refusal(call, **arguments)[0] == "DependencyViolation"
    other = world.lab.group(world.vpc_b)
    changed = lattice.update_resource_gateway(resourceGatewayIdentifier=shown["arn"], securityGroupIds=[other])
    assert changed["securityGroupIds"] == [other]
    world.until("resource_gateway", world.gateway)
    assert [group["GroupId"] for group in world.interfaces(world.gateway)[0]["Groups"]] == [other]
    lattice.update_resource_gateway(resourceGatewayIdentifier=world.gateway, securityGroupIds=[world.ours])
    world.until("resource_gateway", world.gateway)
    assert world.gateway in [it["id"] for it in lattice.list_resource_gateways()["items"]]


def test_a_resource_is_reached_by_its_ports_and_by_no_others(world):
    lattice = world.lattice
    token = unique("token")
    arguments = {"name": unique("rc"), "type": "SINGLE", "resourceGatewayIdentifier": world.gateway, "clientToken": token,
                 "portRanges": ["7001-7002"], "resourceConfigurationDefinition": {"ipResource": {"ipAddress": world.address}}, "tags": {"a": "b"}}
    made = lattice.create_resource_configuration(**arguments)
    assert lattice.create_resource_configuration(**arguments)["id"] == made["id"]
    assert refusal(lattice.create_resource_configuration, **arguments | {"clientToken": unique("token")}) == CONFLICT
    world.lab.later(world.gone, what="resource_configuration", id=made["id"])
    world.until("resource_configuration", made["id"])
    assert lattice.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"a": "b"}
    association, name = world.named(made["id"])
    assert name == f"{association['id']}.{made['id']}.4232ccc.vpc-lattice-rsc.us-east-1.on.aws"
    assert refusal(lattice.create_service_network_resource_association,
                   resourceConfigurationIdentifier=made["id"], serviceNetworkIdentifier=world.network) == CONFLICT
    address = world.lab.run(world.client, "getent", "ahostsv4", name).split()[0]
    assert address.startswith("129.224.")
    # The resource sees the gateway, by every port, and with all that was said when the client had said all.
    own = {it["PrivateIpAddress"] for it in world.interfaces(world.gateway)[0]["PrivateIpAddresses"]}
    for port in (7001, 7002):
        assert world.answered(name, port) in own
    assert {world.answered(name, 7001) for _ in range(4)} == own
    assert world.ask(name, 7001, "x" * 100000).endswith("x and goodbye")
    assert world.ask(name, 7001, "reset") == "ConnectionResetError"
    for port in (7003, 7777, 22):
        assert world.ask(name, port) == "ConnectionRefusedError", port
    # What is changed is reached as soon as it is said to be.
    changed = lattice.update_resource_configuration(resourceConfigurationIdentifier=made["id"], portRanges=["7003", "7777"])
    assert changed["status"] == "UPDATE_IN_PROGRESS"
    world.until("resource_configuration", made["id"])
    for port in (7003, 7777):
        world.answered(name, port)
    assert world.ask(name, 7001) == "ConnectionRefusedError"
    # What is used is not deleted.
    for call, arguments in [
        (lattice.delete_resource_gateway, {"resourceGatewayIdentifier": world.gateway}),
        (lattice.delete_resource_configuration, {"resourceConfigurationIdentifier": made["id"]}),
        (lattice.delete_service_network, {"serviceNetworkIdentifier": world.network}),
    ]:
        assert refusal(call, **arguments) == CONFLICT
    listed = lattice.list_service_network_resource_associations(resourceConfigurationIdentifier=made["arn"])["items"]
    assert [it["id"] for it in listed] == [association["id"]]
    counted = next(it for it in lattice.list_service_networks()["items"] if it["id"] == world.network)
    assert counted["numberOfAssociatedResourceConfigurations"] == 1
    deleted = lattice.delete_service_network_resource_association(serviceNetworkResourceAssociationIdentifier=association["id"])
    assert deleted["status"] == "DELETE_IN_PROGRESS"
    wait_for("the name to go", lambda: world.ask(name, 7003) == "gaierror")


def test_groups_refuse(world):
    lab, lattice = world.lab, world.lattice
    _, name = world.named(world.configured(ports=["7001-7003"]))
    world.answered(name, 7001)
    # The network's: of the association with the clients' VPC, by the port that the client means.
    narrow = lab.group(world.vpc_a, allow("tcp", (7002, 7002), cidr="10.17.0.0/16"))
    update = lattice.update_service_network_vpc_association
    update(serviceNetworkVpcAssociationIdentifier=world.association, securityGroupIds=[narrow])
    lab.until_association(world.association)
    world.answered(name, 7002)
    assert world.ask(name, 7001, patience=1) == "TimeoutError"
    update(serviceNetworkVpcAssociationIdentifier=world.association, securityGroupIds=[world.guard])
    lab.until_association(world.association)
    # The gateway's: what it does not let out is not connected.
    group = lab.ec2.describe_security_groups(GroupIds=[world.ours])["SecurityGroups"][0]
    lab.ec2.revoke_security_group_egress(GroupId=world.ours, IpPermissions=group["IpPermissionsEgress"])
    wait_for("the gateway to be shut in", lambda: world.ask(name, 7001) == "ConnectionResetError")
    lab.ec2.authorize_security_group_egress(GroupId=world.ours, IpPermissions=group["IpPermissionsEgress"])
    world.answered(name, 7001)
    # What the router is to its VPC's own clients, such as their resolver, is nothing that a gateway leads to.
    definition = {"ipResource": {"ipAddress": "10.18.0.2"}}
    _, resolver = world.named(world.configured(ports=["53"], definition=definition))
    assert world.ask(resolver, 53) == "ConnectionResetError"
    # The resource's own.
    lab.ec2.revoke_security_group_ingress(GroupId=world.group_b, IpPermissions=[allow("tcp", (1, 65535), group=world.ours)])
    wait_for("the resource to be shut", lambda: world.ask(name, 7001) == "ConnectionResetError")
    lab.ec2.authorize_security_group_ingress(GroupId=world.group_b, IpPermissions=[allow("tcp", (1, 65535), group=world.ours)])
    world.answered(name, 7001)


def zone(lab, name, vpc=None):
    route53 = lab.lath.client("route53")
    more = {"VPC": {"VPCRegion": "us-east-1", "VPCId": vpc}} if vpc else {}
    made = route53.create_hosted_zone(Name=name, CallerReference=unique("zone"), **more)["HostedZone"]["Id"]
    lab.later(route53.delete_hosted_zone, Id=made)

    def change(action, owner, kind, value):
        route53.change_resource_record_sets(HostedZoneId=made, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": {
            "Name": owner, "Type": kind, "TTL": 1, "ResourceRecords": [{"Value": value}]}}]})

    def record(owner, kind, value):
        change("CREATE", owner, kind, value)
        lab.later(change, action="DELETE", owner=owner, kind=kind, value=value)

    return record


def test_names_lead_to_resources_on_both_sides(world):
    lab, lattice = world.lab, world.lattice
    lab.ec2.modify_vpc_attribute(VpcId=world.vpc_b, EnableDnsHostnames={"Value": True})
    zone(lab, "internal.test", world.vpc_b)("db.internal.test", "A", world.address)
    in_public = zone(lab, DOMAIN)
    in_public("host." + DOMAIN, "A", world.address)
    # A name of the gateway's VPC, which a public gateway does not find; and a public one.
    for gateway, target, reached in [(world.gateway, "db.internal.test", True), (world.gatewayed(), "host." + DOMAIN, True),
                                     (world.gateway, "metadata.internal.test", False)]:
        definition = {"dnsResource": {"domainName": target, "ipAddressType": "IPV4"}}
        _, name = world.named(world.configured(definition=definition, gateway=gateway))
        if reached:
            world.answered(name, 7001)
        else:
            assert world.ask(name, 7001) == "ConnectionResetError"
    # The user's own name for a resource is answered where its domain is proved.
    started = lattice.start_domain_verification(domainName=DOMAIN, tags={"a": "b"})
    lab.later(lattice.delete_domain_verification, domainVerificationIdentifier=started["id"])
    assert (started["status"], started["txtMethodConfig"]["name"][0]) == ("PENDING", "_")
    assert refusal(lattice.start_domain_verification, domainName=DOMAIN) == CONFLICT
    custom = "db." + DOMAIN
    made = world.configured(customDomainName=custom, domainVerificationIdentifier=started["arn"])
    association = world.associated(made)
    # A name leads to one resource of a network.
    twin = world.configured(customDomainName=custom.upper())
    assert refusal(lattice.create_service_network_resource_association,
                   resourceConfigurationIdentifier=twin, serviceNetworkIdentifier=world.network) == CONFLICT
    assert association["domainVerificationStatus"] == "PENDING"
    assert world.ask(custom, 7001) == "gaierror"
    in_public(f"{started['txtMethodConfig']['name']}.{DOMAIN}", "TXT", f'"{started["txtMethodConfig"]["value"]}"')
    wait_for("the domain to be verified", lambda: lattice.get_domain_verification(
        domainVerificationIdentifier=started["id"])["status"] == "VERIFIED")
    world.answered(custom, 7001)
    shown = lattice.get_service_network_resource_association(serviceNetworkResourceAssociationIdentifier=association["id"])
    assert (shown["privateDnsEntry"]["domainName"], shown["domainVerificationStatus"]) == (custom, "VERIFIED")
    assert [it["id"] for it in lattice.list_domain_verifications()["items"]] == [started["id"]]
    assert [it["id"] for it in lattice.list_resource_configurations(domainVerificationIdentifier=started["id"])["items"]] == [made]
    arguments = {"name": unique("rc"), "type": "SINGLE", "portRanges": ["1"], "resourceGatewayIdentifier": world.gateway,
                 "resourceConfigurationDefinition": {"ipResource": {"ipAddress": world.address}}, "domainVerificationIdentifier": started["id"]}
    assert refusal(lattice.create_resource_configuration, customDomainName="db.other.test", **arguments) == INVALID


def test_a_group_brings_its_children(world):
    lattice = world.lattice
    group = world.configured("GROUP", ports=["7001-7002"])
    assert lattice.get_resource_configuration(resourceConfigurationIdentifier=group)["portRanges"] == ["7001-7002"]
    first = world.configured("CHILD", ["7001"], group=group)
    assert refusal(lattice.create_service_network_resource_association,
                   resourceConfigurationIdentifier=first, serviceNetworkIdentifier=world.network) == INVALID
    association = world.associated(group)
    assert (association["isManagedAssociation"], "dnsEntry" in association) == (False, False)
    second = world.configured("CHILD", ["7002"], group=group)
    world.until("service_network_resource_association", association["id"])

    def children():
        listed = lattice.list_service_network_resource_associations(resourceConfigurationIdentifier=group, includeChildren=True)["items"]
        return {it["resourceConfigurationId"]: it for it in listed if it["isManagedAssociation"]}

    found = children()
    assert set(found) == {first, second}
    for child, port in [(first, 7001), (second, 7002)]:
        world.answered(found[child]["dnsEntry"]["domainName"], port)
        assert refusal(lattice.delete_service_network_resource_association,
                       serviceNetworkResourceAssociationIdentifier=found[child]["id"]) == CONFLICT
    assert refusal(lattice.delete_resource_configuration, resourceConfigurationIdentifier=group) == CONFLICT
    listed = lattice.list_resource_configurations(resourceConfigurationGroupIdentifier=group)["items"]
    assert {it["id"] for it in listed} == {first, second}
    lattice.delete_resource_configuration(resourceConfigurationIdentifier=second)
    wait_for("the child to leave", lambda: set(children()) == {first})
    # An ARN names a database, and there is none.
    arn = {"arnResource": {"arn": "arn:aws:rds:us-east-1:000000000000:db:orders"}}
    arguments = {"name": unique("rc"), "type": "ARN", "resourceGatewayIdentifier": world.gateway}
    assert refusal(lattice.create_resource_configuration, resourceConfigurationDefinition=arn, **arguments) == MISSING
    assert lattice.list_resource_endpoint_associations(resourceConfigurationIdentifier=group)["items"] == []
    assert refusal(lattice.delete_resource_endpoint_association,
                   resourceEndpointAssociationIdentifier="rea-0123456789abcdef0") == MISSING


def test_psql_reaches_a_database(world):
    programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or not shutil.which("psql"):
        pytest.skip("SKIPPED: PostgreSQL is not installed (apt-get install postgresql): no psql over a resource was tried")
    bin = programs[-1]
    world.lab.run(world.server, "sh", "-c", textwrap.dedent(f"""
        set -e
        mkdir -p /srv/db && chown 65534 /srv/db && cd /srv/db
        as="setpriv --reuid 65534 --clear-groups"
        echo secret >/srv/password
        $as {bin}/initdb -D /srv/db/data -U shop -A scram-sha-256 --pwfile=/srv/password >/dev/null
        echo "host all all 10.18.0.0/16 scram-sha-256" >>/srv/db/data/pg_hba.conf
        $as {bin}/pg_ctl -D /srv/db/data -o "-h 0.0.0.0 -p 5432 -k /srv/db" -l /srv/db/log -w start >/dev/null
    """))
    _, name = world.named(world.configured(ports=["5432"]))
    sql = "create table orders (id int); insert into orders select generate_series(1, 1000); select sum(id), inet_client_addr() << '10.18.1.0/24' from orders"
    words = f"PGPASSWORD=secret psql -h {name} -U shop -d postgres -Atq -c \"{sql}\""
    assert world.lab.run(world.client, "sh", "-c", words).strip() == "500500|t"


def endpoint_at(world, group, **to):
    """An endpoint in the clients' subnet that works, and what is at it."""
    ec2 = world.lab.ec2
    made = ec2.create_vpc_endpoint(VpcId=world.vpc_a, SubnetIds=[world.subnet_a], SecurityGroupIds=[group], **to)["VpcEndpoint"]
    id = made["VpcEndpointId"]
    # A failed one stays until it is deleted.
    world.lab.later(deleted_endpoint, world=world, id=id)
    wait_for("the endpoint to work", lambda: endpoint(world, id)["State"] == "available")
    return id, wait_for("what is at the endpoint", lambda: ec2.describe_vpc_endpoint_associations(VpcEndpointIds=[id])["VpcEndpointAssociations"])


def endpoint(world, id):
    return world.lab.ec2.describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"][0]


def deleted_endpoint(world, id):
    assert world.lab.ec2.delete_vpc_endpoints(VpcEndpointIds=[id])["Unsuccessful"] == []
    wait_for("the endpoint to go", lambda: endpoint(world, id)["State"] == "deleted")


def test_an_endpoint_leads_to_a_resource(world):
    lab, lattice, ec2 = world.lab, world.lattice, world.lab.ec2
    own = "own.example.test"
    configuration = world.configured(ports=["7001-7002"], customDomainName=own)
    arn = lattice.get_resource_configuration(resourceConfigurationIdentifier=configuration)["arn"]
    group = lab.group(world.vpc_a, allow("tcp", (1, 65535), cidr="10.17.0.0/16"))
    id, (shown,) = endpoint_at(world, group, VpcEndpointType="Resource", ResourceConfigurationArn=arn, PrivateDnsEnabled=True,
                               DnsOptions={"PrivateDnsPreference": "ALL_DOMAINS"})
    name = shown["DnsEntry"]["DnsName"]
    assert name == f"{id}.{configuration}.4232ccc.vpc-lattice-rsc.us-east-1.on.aws"
    assert (shown["AssociatedResourceArn"], shown["AssociatedResourceAccessibility"]) == (arn, "Accessible")
    assert shown["PrivateDnsEntry"]["DnsName"] == own
    assert (endpoint(world, id)["VpcEndpointType"], endpoint(world, id)["ResourceConfigurationArn"]) == ("Resource", arn)
    # At the endpoint's own address, by either name and each of its ports; the resource sees the gateway.
    (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=endpoint(world, id)["NetworkInterfaceIds"])["NetworkInterfaces"]
    assert lab.run(world.client, "getent", "ahostsv4", name).split()[0] == interface["PrivateIpAddress"]
    gateway = {it["PrivateIpAddress"] for it in world.interfaces(world.gateway)[0]["PrivateIpAddresses"]}
    for host, port in [(name, 7001), (name, 7002), (own, 7002)]:
        assert world.answered(host, port) in gateway
    assert world.ask(name, 7003, patience=1) == "TimeoutError"
    # The endpoint's groups judge the port that the client means.
    narrow = lab.group(world.vpc_a, allow("tcp", (7002, 7002), cidr="10.17.0.0/16"))
    ec2.modify_vpc_endpoint(VpcEndpointId=id, AddSecurityGroupIds=[narrow], RemoveSecurityGroupIds=[group])
    wait_for("the group to refuse", lambda: world.ask(name, 7001, patience=1) == "TimeoutError")
    world.answered(name, 7002)
    # It is held by the endpoint, until its owner parts them.
    assert refusal(lattice.delete_resource_configuration, resourceConfigurationIdentifier=configuration) == CONFLICT
    (association,) = lattice.list_resource_endpoint_associations(resourceConfigurationIdentifier=configuration)["items"]
    assert (association["vpcEndpointId"], association["resourceConfigurationArn"]) == (id, arn)
    assert association["id"].startswith("rea-")
    parted = lattice.delete_resource_endpoint_association(resourceEndpointAssociationIdentifier=association["arn"])
    assert parted["vpcEndpointId"] == id
    assert (endpoint(world, id)["State"], endpoint(world, id)["LastError"]["Code"]) == ("failed", "ResourceEndpointAssociationDeleted")
    assert lattice.list_resource_endpoint_associations(resourceConfigurationIdentifier=configuration)["items"] == []
    wait_for("the name to go", lambda: world.ask(name, 7002) == "gaierror")


def test_endpoints_of_networks_and_groups_have_an_address_for_each_resource(world):
    lab, lattice = world.lab, world.lattice
    first, second = world.configured(), world.configured(ports=["7002"])
    association = world.associated(first)
    group = lab.group(world.vpc_a, allow("tcp", (1, 65535), cidr="10.17.0.0/16"))
    network = lattice.get_service_network(serviceNetworkIdentifier=world.network)["arn"]
    # Other tests' resources may be in the network, too.
    id, shown = endpoint_at(world, group, VpcEndpointType="ServiceNetwork", ServiceNetworkArn=network)
    assert {it["ServiceNetworkArn"] for it in shown} == {network}

    def names():
        found = lab.ec2.describe_vpc_endpoint_associations(VpcEndpointIds=[id])["VpcEndpointAssociations"]
        return {it["AssociatedResourceArn"].rsplit("/")[-1]: it["DnsEntry"]["DnsName"] for it in found}

    name = names()[first]
    assert name == f"{id}-{association['id']}.{first}.4232ccc.vpc-lattice-rsc.us-east-1.on.aws"
    world.answered(name, 7001)
    # A resource that comes later has another address, and a restart changes none.
    world.associated(second)
    wait_for("the second resource", lambda: {first, second} <= set(names()))
    world.answered(names()[second], 7002)
    places = {lab.run(world.client, "getent", "ahostsv4", it).split()[0] for it in names().values()}
    assert len(places) == len(names())
    lab.lath.kill()
    lab.lath.start()
    world.answered(names()[second], 7002)
    assert {lab.run(world.client, "getent", "ahostsv4", it).split()[0] for it in names().values()} == places
    # An endpoint of a group has its children.
    family = world.configured("GROUP", ports=["7001-7003"])
    child = world.configured("CHILD", ["7003"], group=family)
    arn = lattice.get_resource_configuration(resourceConfigurationIdentifier=family)["arn"]
    _, (shown,) = endpoint_at(world, group, VpcEndpointType="Resource", ResourceConfigurationArn=arn)
    assert (shown["AssociatedResourceArn"].rsplit("/")[-1], shown["ResourceConfigurationGroupArn"]) == (child, arn)
    world.answered(shown["DnsEntry"]["DnsName"], 7003)


def test_a_killed_lath_loses_nothing(world):
    configuration = world.configured(ports=["7001-7002"])
    association, name = world.named(configuration)
    world.answered(name, 7002)
    before = world.lab.run(world.client, "getent", "ahostsv4", name).split()[0]
    changing = world.lattice.create_resource_gateway(
        name=unique("rg"), vpcIdentifier=world.vpc_b, subnetIds=[world.subnet_b], ipv4AddressesPerEni=1)["id"]
    world.lab.later(world.gone, what="resource_gateway", id=changing)
    world.lab.lath.kill()
    world.lab.lath.start()
    world.until("resource_gateway", changing)
    world.answered(name, 7002)
    assert world.lab.run(world.client, "getent", "ahostsv4", name).split()[0] == before
    assert world.get("service_network_resource_association", association["id"])[0]["status"] == "ACTIVE"


def test_deletion_leaves_nothing(world):
    gateway = world.gatewayed()
    configuration = world.configured(gateway=gateway)
    association, name = world.named(configuration)
    world.answered(name, 7001)
    for what, id in [("service_network_resource_association", association["id"]), ("resource_configuration", configuration),
                     ("resource_gateway", gateway)]:
        world.gone(what, id)
    assert world.interfaces(gateway) == []
    assert world.ask(name, 7001) == "gaierror"
