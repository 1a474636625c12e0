"""Who reaches whom: security groups, VPCs with equal CIDRs, routes, the host, metadata and names."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow

pytestmark = pytest.mark.root

# From one instance to another: a TCP connection, an echo over UDP is not needed for what is tested.
CONNECT = """
import socket, sys
s = socket.socket(); s.settimeout(2)
try: s.connect((sys.argv[1], int(sys.argv[2]))); print("open")
except ConnectionRefusedError: print("refused")
except OSError as error: print("closed")
"""


def connects(lab, instance, address, port):
    """`open`, `refused` (the way is open, nobody listens) or `closed`."""
    return lab.run(instance, "/usr/bin/python3", "-c", CONNECT, address, str(port)).strip()


class Plain:
    """A VPC with a server and a caller in each of two groups."""

    def __init__(self, lab):
        self.vpc, self.subnet, self.default = lab.vpc("10.60.0.0/16", "10.60.1.0/24", internet=True)
        self.other_subnet = lab.subnet(self.vpc, "10.60.2.0/24")
        self.server_group, self.friends, self.strangers = (lab.group(self.vpc) for _ in range(3))
        self.server, self.address = lab.echo(self.subnet, self.server_group, 8001)
        self.friend, self.friend_address = lab.instance(self.subnet, self.friends)
        self.stranger, self.stranger_address = lab.instance(self.other_subnet, self.strangers, public=True, script="echo secret >/srv/secret")

    def both(self, lab):
        """What the friend and the stranger meet, who try at the same time: a closed way takes its timeout."""
        with ThreadPoolExecutor() as aside:
            return tuple(aside.map(lambda caller: connects(lab, caller, self.address, 8001), (self.friend, self.stranger)))


@pytest.fixture(scope="module")
def plain(lath):
    with Lab(lath) as lab:
        yield Plain(lab)


def test_groups_let_in_what_their_rules_name_and_changes_show_at_once(lab, plain):
    prefix = lab.ec2.create_managed_prefix_list(PrefixListName="reach", MaxEntries=2, AddressFamily="IPv4",
                                                Entries=[{"Cidr": f"{plain.stranger_address}/32"}])["PrefixList"]["PrefixListId"]
    lab.later(lab.ec2.delete_managed_prefix_list, PrefixListId=prefix)
    table = [
        ("no rule", None, "closed", "closed"),
        ("everyone by address", allow("tcp", 8001, cidr="0.0.0.0/0"), "open", "open"),
        ("one by address", allow("tcp", 8001, cidr=f"{plain.friend_address}/32"), "open", "closed"),
        ("the subnet", allow("tcp", 8001, cidr="10.60.2.0/24"), "closed", "open"),
        ("another port", allow("tcp", 8002, cidr="0.0.0.0/0"), "closed", "closed"),
        ("another protocol", allow("udp", 8001, cidr="0.0.0.0/0"), "closed", "closed"),
        ("a range of ports", allow("tcp", (8000, 9000), cidr="0.0.0.0/0"), "open", "open"),
        ("members of a group", allow("tcp", 8001, group=plain.friends), "open", "closed"),
        ("members of the own group only", allow(group=plain.server_group), "closed", "closed"),
        ("a prefix list", allow("tcp", 8001, prefix_list=prefix), "closed", "open"),
        ("everything", allow(cidr="0.0.0.0/0"), "open", "open"),
    ]
    for name, rule, friend, stranger in table:
        if rule:
            lab.ec2.authorize_security_group_ingress(GroupId=plain.server_group, IpPermissions=[rule])
        try:
            want = (friend, stranger)
            wait_for(f"{name}: {want}", lambda: plain.both(lab) == want)
        finally:
            if rule:
                lab.ec2.revoke_security_group_ingress(GroupId=plain.server_group, IpPermissions=[rule])


def test_egress_is_restricted_too(lab, plain):
    everything = [allow(cidr="0.0.0.0/0")]
    rule = allow("tcp", 8001, cidr="0.0.0.0/0")
    lab.ec2.authorize_security_group_ingress(GroupId=plain.server_group, IpPermissions=[rule])
    lab.later(lab.ec2.revoke_security_group_ingress, GroupId=plain.server_group, IpPermissions=[rule])
    wait_for("the way to be open", lambda: connects(lab, plain.friend, plain.address, 8001) == "open")
    lab.ec2.revoke_security_group_egress(GroupId=plain.friends, IpPermissions=everything)
    wait_for("the way out to be closed", lambda: connects(lab, plain.friend, plain.address, 8001) == "closed")
    lab.ec2.authorize_security_group_egress(GroupId=plain.friends, IpPermissions=everything)
    wait_for("the way out to be open", lambda: connects(lab, plain.friend, plain.address, 8001) == "open")


def test_network_acls_judge_what_crosses_the_edge_of_a_subnet(lab, plain):
    rule = allow("tcp", 8001, cidr="0.0.0.0/0")
    lab.ec2.authorize_security_group_ingress(GroupId=plain.server_group, IpPermissions=[rule])
    lab.later(lab.ec2.revoke_security_group_ingress, GroupId=plain.server_group, IpPermissions=[rule])
    wait_for("the way to be open", lambda: plain.both(lab) == ("open", "open"))
    acl = lab.ec2.create_network_acl(VpcId=plain.vpc)["NetworkAcl"]["NetworkAclId"]
    lab.later(lab.ec2.delete_network_acl, NetworkAclId=acl)
    mine = [{"Name": "association.subnet-id", "Values": [plain.subnet]}]
    (default,) = lab.ec2.describe_network_acls(Filters=mine)["NetworkAcls"]
    association = next(it["NetworkAclAssociationId"] for it in default["Associations"] if it["SubnetId"] == plain.subnet)
    association = lab.ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)["NewAssociationId"]
    lab.later(lab.ec2.replace_network_acl_association, AssociationId=association, NetworkAclId=default["NetworkAclId"])

    def entry(number, egress, action, ports):
        lab.ec2.create_network_acl_entry(
            NetworkAclId=acl, RuleNumber=number, Egress=egress, RuleAction=action, Protocol="6", CidrBlock="10.60.0.0/16",
            PortRange={"From": ports[0], "To": ports[1]})

    def becomes(name, stranger):
        # The friend is in the server's own subnet.
        wait_for(name, lambda: plain.both(lab) == ("open", stranger))

    becomes("a new ACL denies", "closed")
    entry(100, False, "allow", (8001, 8001))
    becomes("requests come in, and no answers go out", "closed")
    entry(100, True, "allow", (1024, 65535))
    becomes("requests come in, and answers go out", "open")
    entry(99, False, "deny", (8000, 8002))
    becomes("the lower number decides", "closed")
    lab.ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=99, Egress=False)
    becomes("the entry is gone", "open")


def test_vpcs_with_equal_addresses_do_not_see_each_other(lab, plain):
    vpc, subnet, _ = lab.vpc("10.60.0.0/16", "10.60.1.0/24")
    group = lab.group(vpc, allow(cidr="0.0.0.0/0"))
    # The server's own address, in another VPC.
    twin, address = lab.echo(subnet, group, 8001, address=plain.address)
    neighbour, _ = lab.instance(subnet, group)
    assert address == plain.address
    lab.run(twin, "sh", "-c", "echo twin >/srv/who")
    seen = lab.ask(neighbour, f"http://{address}:8001/from-neighbour")
    assert seen["path"] == "/from-neighbour"
    assert connects(lab, plain.stranger, plain.address, 8001) == "closed", "the groups of the first VPC still hold"
    assert connects(lab, neighbour, plain.stranger_address, 22) == "closed", "an address that only the first VPC has"
    assert lab.run(plain.server, "cat", "/srv/who", check=False).returncode != 0, "files are an instance's own"


def test_routes_lead_and_blackholes_swallow(lab, plain):
    table = lab.main_table(plain.vpc)
    (shown,) = lab.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    states = {r["DestinationCidrBlock"]: r["State"] for r in shown["Routes"]}
    assert states == {"10.60.0.0/16": "active", "0.0.0.0/0": "active"}
    eni = lab.ec2.create_network_interface(SubnetId=plain.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    lab.ec2.create_route(RouteTableId=table, DestinationCidrBlock="192.0.2.0/24", NetworkInterfaceId=eni)
    lab.later(lab.ec2.delete_route, RouteTableId=table, DestinationCidrBlock="192.0.2.0/24")
    lab.ec2.delete_network_interface(NetworkInterfaceId=eni)

    def state():
        (shown,) = lab.ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
        return [r["State"] for r in shown["Routes"] if r["DestinationCidrBlock"] == "192.0.2.0/24"]

    wait_for("the blackhole", lambda: state() == ["blackhole"])
    assert connects(lab, plain.friend, "192.0.2.1", 80) == "closed"


def test_instances_reach_neither_the_host_nor_its_api(lab, plain):
    gateway = lab.run(plain.stranger, "sh", "-c", "ip -j route show default").strip()
    next_hop = json.loads(gateway)[0]["gateway"] if gateway not in ("", "[]") else "10.60.2.1"
    addresses = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, text=True, check=True).stdout)
    host = {a["local"] for link in addresses for a in link["addr_info"]}
    for address in sorted({next_hop, "169.254.169.254", *host}):
        for port in (lab.lath.port, lab.lath.admin_port, 22):
            # 127.0.0.1 is the instance's own: refused there, never open.
            assert connects(lab, plain.stranger, address, port) != "open", (address, port)


def test_instances_reach_the_apis_at_an_address_of_their_vpc(lab, plain):
    iam = lab.lath.client("iam")
    iam.create_user(UserName="inside")
    statement = {"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*", "Condition": {"StringEquals": {"aws:SourceVpc": plain.vpc}}}
    iam.put_user_policy(UserName="inside", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}))
    key = iam.create_access_key(UserName="inside")["AccessKey"]
    lab.later(iam.delete_user, UserName="inside")
    lab.later(iam.delete_user_policy, UserName="inside", PolicyName="p")
    lab.later(iam.delete_access_key, UserName="inside", AccessKeyId=key["AccessKeyId"])
    signed = ("--aws-sigv4", "aws:amz:us-east-1:ec2", "--user", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    question = "?Action=DescribeVpcs&Version=2016-11-15"
    status, said = lab.curl(plain.friend, f"http://169.254.170.24/{question}", *signed)
    assert status == 200 and plain.vpc in said, said
    import subprocess
    outside = subprocess.run(["curl", "-s", *signed, f"http://127.0.0.1:{lab.lath.port}/{question}"], capture_output=True, text=True, check=True).stdout
    assert "UnauthorizedOperation" in outside, "the key works in its VPC only"
    status, said = lab.curl(plain.friend, f"http://169.254.170.24/{question}")
    assert status == 403 and "MissingAuthenticationToken" in said, said
    for path in ("_lath/health", "_lath/status", "_lath/metrics"):
        assert lab.curl(plain.friend, f"http://169.254.170.24/{path}")[0] != 200, "what is Lath's own is not for VPCs"
    assert connects(lab, plain.friend, "169.254.170.23", 80) != "open", "no agent of pod identities outside of clusters"


def test_an_instance_sees_only_its_own_files_and_processes(lab, plain):
    assert lab.run(plain.stranger, "cat", "/srv/secret") == "secret\n"
    assert lab.run(plain.friend, "cat", "/srv/secret", check=False).returncode != 0
    data = str(lab.lath.data)
    for path in (data, "/root/.cache", "/var/lib/lath/root-key.json"):
        assert lab.run(plain.friend, "ls", path, check=False).returncode != 0, path
    commands = lab.run(plain.friend, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "serve" not in commands and "pytest" not in commands


def test_names_resolve_inside(lab, plain):
    for server in ("169.254.169.253", "10.60.0.2"):
        own = lab.run(plain.friend, "dig", "+short", "+tries=2", f"@{server}", f"ip-{plain.address.replace('.', '-')}.ec2.internal").strip()
        assert own == plain.address, server
        status = lab.run(plain.friend, "dig", "+tries=2", f"@{server}", "no-such-instance.ec2.internal")
        assert "NXDOMAIN" in status, server
    assert "10.60.0.2" in lab.run(plain.friend, "cat", "/etc/resolv.conf")
    assert lab.run(plain.friend, "hostname").startswith(f"ip-{plain.friend_address.replace('.', '-')}")


def test_instances_learn_dhcp_options_when_they_boot(lab):
    vpc, subnet, group = lab.vpc("10.61.0.0/16", "10.61.1.0/24")
    options = lab.ec2.create_dhcp_options(DhcpConfigurations=[
        {"Key": "domain-name", "Values": ["corp.test lab.test"]},
        {"Key": "domain-name-servers", "Values": ["10.61.1.53", "AmazonProvidedDNS"]},
    ])["DhcpOptions"]["DhcpOptionsId"]
    lab.later(lab.ec2.delete_dhcp_options, DhcpOptionsId=options)
    lab.ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=vpc)
    lab.later(lab.ec2.associate_dhcp_options, DhcpOptionsId="default", VpcId=vpc)
    instance, address = lab.instance(subnet, group)
    label = f"ip-{address.replace('.', '-')}"

    def told():
        lines = lab.run(instance, "cat", "/etc/resolv.conf", check=False).stdout.splitlines()
        return [line for line in lines if not line.startswith("options")]

    assert told() == ["search corp.test lab.test", "nameserver 10.61.1.53", "nameserver 10.61.0.2"]
    assert lab.run(instance, "cat", "/etc/hostname").strip() == f"{label}.corp.test"
    base = "http://169.254.169.254/latest"
    token = lab.run(instance, "curl", "-sS", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", f"{base}/api/token")
    asked = lab.curl(instance, f"{base}/meta-data/local-hostname", "-H", f"X-aws-ec2-metadata-token: {token}")
    assert asked == (200, f"{label}.corp.test lab.test")
    assert lab.describe(instance)["PrivateDnsName"] == f"{label}.ec2.internal"
    lab.ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc)
    lab.ec2.reboot_instances(InstanceIds=[instance])
    wait_for("the options of the next boot", lambda: told() == ["nameserver 169.254.169.253"])


def test_the_metadata_service_knows_who_asks(lab, plain):
    base = "http://169.254.169.254/latest"
    token = lab.run(plain.stranger, "curl", "-sS", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", f"{base}/api/token")
    shown = lab.describe(plain.stranger)
    table = [
        ("meta-data/instance-id", plain.stranger), ("meta-data/local-ipv4", plain.stranger_address),
        ("meta-data/public-ipv4", shown["PublicIpAddress"]), ("meta-data/ami-id", shown["ImageId"]),
        ("meta-data/instance-type", "t3.micro"), ("meta-data/placement/region", "us-east-1"),
        ("user-data", "#!/bin/bash\necho secret >/srv/secret"),
    ]
    for path, want in table:
        status, got = lab.curl(plain.stranger, f"{base}/{path}", "-H", f"X-aws-ec2-metadata-token: {token}")
        assert (status, got) == (200, want), path
    identity = json.loads(lab.curl(plain.stranger, f"{base}/dynamic/instance-identity/document", "-H", f"X-aws-ec2-metadata-token: {token}")[1])
    assert identity["instanceId"] == plain.stranger and identity["accountId"] == "000000000000"
    refused = ("-H", "X-aws-ec2-metadata-token: forged")
    assert lab.curl(plain.stranger, f"{base}/meta-data/instance-id", *refused)[0] == 401
    assert lab.curl(plain.friend, f"{base}/meta-data/instance-id", "-H", f"X-aws-ec2-metadata-token: {token}")[0] == 401
    # IMDSv2 only, once it is asked for.
    lab.ec2.modify_instance_metadata_options(InstanceId=plain.friend, HttpTokens="required")
    wait_for("401 without a token", lambda: lab.curl(plain.friend, f"{base}/meta-data/instance-id")[0] == 401)


def test_the_mtu_inside_is_awss(lab, plain):
    links = json.loads(lab.run(plain.friend, "ip", "-j", "link"))
    assert [link["mtu"] for link in links if link["ifname"] != "lo"] == [9001], links
