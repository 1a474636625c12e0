"""EC2 as its users live with it: networks, groups, keys and instances, through boto3 and the aws CLI."""

import json
import os
import subprocess

import boto3
import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import allow, refusal, unique

pytestmark = pytest.mark.root


def test_a_vpc_comes_with_a_main_table_a_default_group_and_an_acl(lab):
    vpc, subnet, default = lab.vpc("10.20.0.0/16", "10.20.1.0/24")
    lab.ec2.get_waiter("vpc_available").wait(VpcIds=[vpc])
    lab.ec2.get_waiter("subnet_available").wait(SubnetIds=[subnet])
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    (table,) = lab.ec2.describe_route_tables(Filters=mine)["RouteTables"]
    assert [a["Main"] for a in table["Associations"]] == [True]
    assert [(r["DestinationCidrBlock"], r["GatewayId"], r["State"], r["Origin"]) for r in table["Routes"]] == [
        ("10.20.0.0/16", "local", "active", "CreateRouteTable")]
    (group,) = lab.ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
    assert (group["GroupId"], group["GroupName"]) == (default, "default")
    assert group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == default
    assert group["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    (acl,) = lab.ec2.describe_network_acls(Filters=mine)["NetworkAcls"]
    assert acl["IsDefault"] and acl["Associations"][0]["SubnetId"] == subnet
    (net,) = lab.ec2.describe_subnets(SubnetIds=[subnet])["Subnets"]
    assert net["AvailableIpAddressCount"] == 251 and net["State"] == "available"
    attributes = {name: lab.ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)[key]["Value"] for name, key in [
        ("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")]}
    assert attributes == {"enableDnsSupport": True, "enableDnsHostnames": False}
    lab.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    assert lab.ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]


def test_things_go_only_in_order(lab):
    vpc, subnet, _ = lab.vpc("10.21.0.0/16", "10.21.1.0/24", internet=True)
    one, two = lab.group(vpc), lab.group(vpc)
    lab.ec2.authorize_security_group_ingress(GroupId=one, IpPermissions=[allow(group=two)])
    eni = lab.ec2.create_network_interface(SubnetId=subnet, Groups=[one])["NetworkInterface"]["NetworkInterfaceId"]
    lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=eni)
    gateway = lab.ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])[
        "InternetGateways"][0]["InternetGatewayId"]
    violation = ("DependencyViolation", 400)
    for call, arguments in [
        (lab.ec2.delete_vpc, {"VpcId": vpc}), (lab.ec2.delete_subnet, {"SubnetId": subnet}),
        (lab.ec2.delete_security_group, {"GroupId": one}), (lab.ec2.delete_security_group, {"GroupId": two}),
        (lab.ec2.delete_internet_gateway, {"InternetGatewayId": gateway}),
        (lab.ec2.delete_route_table, {"RouteTableId": lab.main_table(vpc)}),
    ]:
        assert refusal(call, **arguments) == violation, call.__name__
    lab.ec2.delete_network_interface(NetworkInterfaceId=eni)
    lab.ec2.delete_subnet(SubnetId=subnet)
    lab.ec2.delete_security_group(GroupId=one)
    lab.ec2.delete_security_group(GroupId=two)
    assert refusal(lab.ec2.delete_vpc, VpcId=vpc) == violation
    lab.ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    lab.ec2.delete_vpc(VpcId=vpc)
    assert refusal(lab.ec2.describe_vpcs, VpcIds=[vpc]) == ("InvalidVpcID.NotFound", 400)


def test_lists_come_in_pages_that_join_to_the_whole(lab):
    vpc, _, _ = lab.vpc("10.22.0.0/16", "10.22.0.0/24")
    want = {lab.subnet(vpc, f"10.22.{n}.0/24") for n in range(1, 13)}
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    pages = list(lab.ec2.get_paginator("describe_subnets").paginate(Filters=mine, PaginationConfig={"PageSize": 5}))
    ids = [net["SubnetId"] for page in pages for net in page["Subnets"]]
    assert len(pages) == 3 and len(ids) == 13 and want <= set(ids)


def test_filters_and_tags_choose(lab):
    vpc, subnet, _ = lab.vpc("10.23.0.0/16", "10.23.1.0/24")
    other = lab.subnet(vpc, "10.23.2.0/24")
    mark = unique("mark")
    wait_for("the subnets", lambda: all(
        it["State"] == "available" for it in lab.ec2.describe_subnets(SubnetIds=[subnet, other])["Subnets"]))
    lab.ec2.create_tags(Resources=[subnet, other], Tags=[{"Key": "Name", "Value": f"{mark}-one"}, {"Key": mark, "Value": "*star"}])
    lab.ec2.create_tags(Resources=[other], Tags=[{"Key": "Name", "Value": f"{mark}-two"}])
    both, first, second, none = {subnet, other}, {subnet}, {other}, set()
    table = [
        ([("tag:Name", [f"{mark}-*"])], both), ([("tag:Name", [f"{mark}-???"])], both), ([("tag:Name", [f"{mark}-one"])], first),
        ([("tag:Name", [f"{mark}-ONE"])], none), ([("tag-key", [mark])], both), ([(f"tag:{mark}", ["\\*star"])], both),
        ([("tag:Name", [f"{mark}-one", f"{mark}-two"])], both), ([("tag:Name", [f"{mark}-*"]), ("cidr-block", ["10.23.2.0/24"])], second),
        ([("tag-key", [mark]), ("state", ["pending"])], none), ([("tag-key", [mark]), ("availability-zone", ["us-east-1?"])], both),
    ]
    for filters, want in table:
        found = lab.ec2.describe_subnets(Filters=[{"Name": n, "Values": v} for n, v in filters])["Subnets"]
        assert {net["SubnetId"] for net in found} == want, filters
    tags = lab.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [other]}])["Tags"]
    assert {(t["Key"], t["Value"], t["ResourceType"]) for t in tags} == {("Name", f"{mark}-two", "subnet"), (mark, "*star", "subnet")}
    # A tag goes only when its value is the one named.
    lab.ec2.delete_tags(Resources=[other], Tags=[{"Key": "Name", "Value": "wrong"}, {"Key": mark}])
    tags = lab.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [other]}])["Tags"]
    assert [t["Key"] for t in tags] == ["Name"]


def test_a_dry_run_says_what_would_happen_and_does_nothing(lab):
    vpc, _, _ = lab.vpc("10.24.0.0/16", "10.24.1.0/24")
    would = ("DryRunOperation", 412)
    count = len(lab.ec2.describe_vpcs()["Vpcs"])
    assert refusal(lab.ec2.create_vpc, CidrBlock="10.0.0.0/16", DryRun=True) == would
    assert refusal(lab.ec2.delete_vpc, VpcId=vpc, DryRun=True)[0] in ("DryRunOperation", "DependencyViolation")
    assert refusal(lab.ec2.create_security_group, GroupName="dry", Description="d", VpcId=vpc, DryRun=True) == would
    assert refusal(lab.ec2.create_subnet, VpcId=vpc, CidrBlock="10.99.0.0/24", DryRun=True) == ("InvalidSubnet.Range", 400)
    assert len(lab.ec2.describe_vpcs()["Vpcs"]) == count


def test_security_group_rules_in_both_their_forms(lab):
    vpc, _, _ = lab.vpc("10.25.0.0/16", "10.25.1.0/24")
    group, other = lab.group(vpc), lab.group(vpc)
    made = lab.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 90, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "all"}],
         "UserIdGroupPairs": [{"GroupId": other}]},
        {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
    ])["SecurityGroupRules"]
    assert len(made) == 3 and all(rule["SecurityGroupRuleId"].startswith("sgr-") for rule in made)
    rules = lab.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    assert {r["SecurityGroupRuleId"] for r in rules if not r["IsEgress"]} == {r["SecurityGroupRuleId"] for r in made}
    assert refusal(lab.ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[
        allow("tcp", (80, 90), cidr="10.0.0.0/8")]) == ("InvalidPermission.Duplicate", 400)
    lab.ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{
        "SecurityGroupRuleId": made[0]["SecurityGroupRuleId"],
        "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "10.1.0.0/16", "Description": "new"}}])
    lab.ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[made[1]["SecurityGroupRuleId"]])
    (shown,) = lab.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    seen = {(p["IpProtocol"], p.get("FromPort"), p.get("ToPort")): p for p in shown["IpPermissions"]}
    assert seen.keys() <= {("tcp", 443, 443), ("tcp", 80, 90), ("icmp", 8, -1)} and ("tcp", 443, 443) in seen
    assert seen[("tcp", 443, 443)]["IpRanges"] == [{"CidrIp": "10.1.0.0/16", "Description": "new"}]


@pytest.mark.parametrize("kind", ("rsa", "ed25519"))
def test_key_pairs_are_keys_that_ssh_keygen_takes(lab, tmp_path, kind):
    name, file = unique("key"), tmp_path / "key.pem"
    key = lab.ec2.create_key_pair(KeyName=name, KeyType=kind)
    lab.later(lab.ec2.delete_key_pair, KeyName=name)
    # OpenSSH takes RSA's format without a newline at its end, but not its own.
    file.write_text(key["KeyMaterial"])
    os.chmod(file, 0o600)
    public = keygen("-y", "-f", file)
    (shown,) = lab.ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
    assert shown["PublicKey"].split()[:2] == public.split()[:2]
    assert shown["KeyFingerprint"] == key["KeyFingerprint"] and shown["KeyType"] == kind
    if kind == "ed25519":  # as AWS: the SHA-256 of the public key, as OpenSSH writes it, padded
        (tmp_path / "key.pub").write_text(public)
        assert key["KeyFingerprint"].rstrip("=") == keygen("-lf", tmp_path / "key.pub").split()[1].removeprefix("SHA256:")
    else:  # as AWS: the SHA-1 of the private key in DER (PKCS#8)
        import hashlib
        der = subprocess.run(["openssl", "pkcs8", "-in", file, "-topk8", "-nocrypt", "-outform", "DER"], capture_output=True, check=True).stdout
        digest = hashlib.sha1(der).hexdigest()
        assert key["KeyFingerprint"] == ":".join(digest[n:n + 2] for n in range(0, 40, 2))


def keygen(*arguments):
    return subprocess.run(["ssh-keygen", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def test_an_imported_key_keeps_its_material(lab, tmp_path):
    keygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", tmp_path / "mine")
    name = unique("import")
    made = lab.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=(tmp_path / "mine.pub").read_bytes())
    lab.later(lab.ec2.delete_key_pair, KeyName=name)
    # As AWS: the MD5 of the public key in DER.
    import hashlib
    der = subprocess.run(["bash", "-c", f"ssh-keygen -e -m pkcs8 -f {tmp_path}/mine.pub | openssl pkey -pubin -outform DER"],
                         capture_output=True, check=True).stdout
    digest = hashlib.md5(der).hexdigest()
    assert made["KeyFingerprint"] == ":".join(digest[n:n + 2] for n in range(0, 32, 2))


def test_an_instance_lives_stops_starts_and_ends(lab):
    vpc, subnet, group = lab.vpc("10.26.0.0/16", "10.26.1.0/24", internet=True)
    script = "echo 'USER-DATA ran' | tee /dev/console; echo once >>/srv/ran; hostname"
    token = unique("token")
    run = lambda: lab.launch(subnet, group, public=True, script=script, ClientToken=token, TagSpecifications=[  # noqa: E731
        {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": token}]}])
    made = run()
    instance = made["InstanceId"]
    assert made["State"] == {"Code": 0, "Name": "pending"}
    # The same token again: the same instance.
    assert run()["InstanceId"] == instance
    lab.until(instance, "running")
    shown = lab.describe(instance)
    assert shown["PrivateIpAddress"].startswith("10.26.1.") and shown["PublicIpAddress"]
    assert shown["SecurityGroups"][0]["GroupId"] == group and shown["SubnetId"] == subnet and shown["VpcId"] == vpc
    wait_for("the user data's words", lambda: "USER-DATA ran" in lab.console(instance))
    assert shown["PrivateDnsName"].startswith("ip-10-26-1-")
    lab.run(instance, "sh", "-c", "echo kept >/srv/kept")

    def pid_one():
        # When process 1 began, in ticks since the host's boot.
        return lab.run(instance, "sh", "-c", "set -- $(sed 's/.*) //' /proc/1/stat); echo ${20}", check=False).stdout

    before = pid_one()
    lab.ec2.reboot_instances(InstanceIds=[instance])
    wait_for("the reboot", lambda: pid_one() not in ("", before))
    lab.until(instance, "running")
    answer = lab.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == ("running", "stopping")
    lab.until(instance, "stopped")
    shown = lab.describe(instance)
    assert "PublicIpAddress" not in shown and shown["PrivateIpAddress"] == made["PrivateIpAddress"]
    # What can change only while it is stopped.
    lab.ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.small"})
    lab.ec2.start_instances(InstanceIds=[instance])
    lab.until(instance, "running")
    assert lab.describe(instance)["InstanceType"] == "t3.small"
    wait_for("the disk", lambda: lab.run(instance, "cat", "/srv/kept", check=False).stdout == "kept\n")
    # User data runs at the first boot only, as cloud-init's does.
    assert lab.run(instance, "cat", "/srv/ran") == "once\n"
    lab.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": True})
    assert refusal(lab.ec2.terminate_instances, InstanceIds=[instance]) == ("OperationNotPermitted", 400)
    lab.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.until(instance, "terminated")
    assert refusal(lab.ec2.start_instances, InstanceIds=[instance]) == ("IncorrectInstanceState", 400)
    # A terminated instance holds nothing: the subnet can go while it is still shown.
    lab.ec2.delete_subnet(SubnetId=subnet)


def test_the_clis_waiters_and_status_checks(lab):
    _, subnet, group = lab.vpc("10.27.0.0/16", "10.27.1.0/24")
    instance = lab.launch(subnet, group)["InstanceId"]
    lab.lath.aws("ec2", "wait", "instance-running", "--instance-ids", instance)
    wait_for("status checks", lambda: [
        (s["InstanceStatus"]["Status"], s["SystemStatus"]["Status"])
        for s in lab.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"]] == [("ok", "ok")])
    lab.lath.aws("ec2", "wait", "instance-status-ok", "--instance-ids", instance)
    out = lab.lath.aws("ec2", "describe-instances", "--filters", f"Name=instance-id,Values={instance}",
                       "Name=instance-state-name,Values=running", "--query", "Reservations[].Instances[].State.Name")
    assert out == ["running"]


def test_instances_are_described_in_pages_and_by_many_filters(lab):
    vpc, subnet, group = lab.vpc("10.28.0.0/16", "10.28.1.0/24")
    first, address = lab.instance(subnet, group, address="10.28.1.77")
    assert address == "10.28.1.77"
    for name, value in [
        ("vpc-id", vpc), ("subnet-id", subnet), ("private-ip-address", address), ("instance.group-id", group),
        ("network-interface.addresses.private-ip-address", address), ("instance-type", "t3.*"), ("image-id", lab.image()),
    ]:
        found = lab.ec2.describe_instances(Filters=[{"Name": name, "Values": [value]}, {"Name": "vpc-id", "Values": [vpc]}])
        assert [i["InstanceId"] for r in found["Reservations"] for i in r["Instances"]] == [first], name
    assert refusal(lab.launch, subnet=subnet, address="10.28.1.77") == ("InvalidIPAddress.InUse", 400)
    assert refusal(lab.launch, subnet=subnet, address="10.28.1.3") == ("InvalidParameterValue", 400)


def test_an_elastic_address_moves_between_interfaces(lab):
    vpc, subnet, group = lab.vpc("10.29.0.0/16", "10.29.1.0/24", internet=True)
    address = lab.ec2.allocate_address(Domain="vpc")
    lab.later(lab.ec2.release_address, AllocationId=address["AllocationId"])
    enis = [lab.ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"] for _ in range(2)]
    for eni in enis:
        lab.later(lab.ec2.delete_network_interface, NetworkInterfaceId=eni)
    for eni in enis:
        association = lab.ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=eni)["AssociationId"]
        (shown,) = lab.ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
        assert shown["NetworkInterfaceId"] == eni and shown["AssociationId"] == association
    assert refusal(lab.ec2.release_address, AllocationId=address["AllocationId"]) == ("InvalidIPAddress.InUse", 400)
    lab.ec2.disassociate_address(AssociationId=association)


def test_prefix_lists_have_versions(lab):
    name = unique("list")
    made = lab.ec2.create_managed_prefix_list(PrefixListName=name, MaxEntries=3, AddressFamily="IPv4",
                                              Entries=[{"Cidr": "10.0.0.0/8", "Description": "ten"}])["PrefixList"]
    identifier = made["PrefixListId"]
    lab.later(lab.ec2.delete_managed_prefix_list, PrefixListId=identifier)
    wait_for("the list", lambda: lab.ec2.describe_managed_prefix_lists(PrefixListIds=[identifier])["PrefixLists"][0]["State"].endswith("complete"))
    lab.ec2.modify_managed_prefix_list(PrefixListId=identifier, CurrentVersion=1, AddEntries=[{"Cidr": "11.0.0.0/8"}],
                                       RemoveEntries=[{"Cidr": "10.0.0.0/8"}])
    entries = lambda **more: [e["Cidr"] for e in lab.ec2.get_managed_prefix_list_entries(PrefixListId=identifier, **more)["Entries"]]  # noqa: E731
    wait_for("the change", lambda: entries() == ["11.0.0.0/8"])
    assert entries(TargetVersion=1) == ["10.0.0.0/8"]
    assert refusal(lab.ec2.modify_managed_prefix_list, PrefixListId=identifier, CurrentVersion=1,
                   AddEntries=[{"Cidr": "12.0.0.0/8"}])[0] in ("PrefixListVersionMismatch", "IncorrectState")


def test_awss_own_lists_and_images_are_there(lab):
    out = lab.lath.aws("ec2", "describe-managed-prefix-lists", "--filters", "Name=prefix-list-name,Values=com.amazonaws.us-east-1.vpc-lattice")
    (one,) = out["PrefixLists"]
    assert one["OwnerId"] == "AWS" and "MaxEntries" not in one
    cidrs = [e["Cidr"] for e in lab.ec2.get_managed_prefix_list_entries(PrefixListId=one["PrefixListId"])["Entries"]]
    assert cidrs == ["169.254.171.0/24"]
    assert refusal(lab.ec2.delete_managed_prefix_list, PrefixListId=one["PrefixListId"])[1] in (400, 403)
    images = lab.lath.aws("ec2", "describe-images", "--owners", "amazon", "--filters", "Name=name,Values=al2023-ami-2023.*-x86_64",
                          "Name=state,Values=available", "--query", "sort_by(Images,&CreationDate)[-1].ImageId")
    assert images == lab.image()


def test_the_sixth_vpc_is_one_too_many(own_lab):
    for n in range(5):
        own_lab.vpc(f"10.{n}.0.0/16", f"10.{n}.0.0/24")
    try:
        own_lab.ec2.create_vpc(CidrBlock="10.6.0.0/16")
        raise AssertionError("not refused")
    except ClientError as error:
        assert error.response["Error"] | {"Message": ""} == {"Code": "VpcLimitExceeded", "Message": ""}


def test_the_cli_prints_tables_and_json_of_everything(lab):
    vpc, _, _ = lab.vpc("10.30.0.0/16", "10.30.1.0/24")
    for command in ("describe-vpcs", "describe-subnets", "describe-route-tables", "describe-security-groups", "describe-instances",
                    "describe-network-interfaces", "describe-internet-gateways", "describe-regions", "describe-availability-zones"):
        assert isinstance(lab.lath.aws("ec2", command), dict), command
    assert vpc in json.dumps(lab.lath.aws("ec2", "describe-vpcs"))


def test_an_instance_holds_the_role_of_its_profile(lab):
    _, subnet, _ = lab.vpc("10.31.0.0/16", "10.31.1.0/24")
    iam, name = lab.lath.client("iam"), unique("app")
    trust = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    lab.later(iam.delete_role, RoleName=name)
    lab.later(iam.delete_instance_profile, InstanceProfileName=name)
    lab.later(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=name)
    instance, _ = lab.instance(subnet, IamInstanceProfile={"Name": name})
    assert lab.describe(instance)["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{name}")

    def keys():
        script = ("T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token); "
                  "curl -s -H \"X-aws-ec2-metadata-token: $T\" "
                  f"http://169.254.169.254/latest/meta-data/iam/security-credentials/{name}")
        return lab.run(instance, "sh", "-c", script)

    found = json.loads(keys())
    assert found["Code"] == "Success"
    sts = boto3.client("sts", endpoint_url=lab.lath.endpoint, region_name=lab.lath.region, aws_access_key_id=found["AccessKeyId"],
                       aws_secret_access_key=found["SecretAccessKey"], aws_session_token=found["Token"])
    assert sts.get_caller_identity()["Arn"].endswith(f":assumed-role/{name}/{instance}")

    mine = [{"Name": "instance-id", "Values": [instance]}]
    (one,) = lab.ec2.describe_iam_instance_profile_associations(Filters=mine)["IamInstanceProfileAssociations"]
    assert one["State"] == "associated"
    assert refusal(lab.ec2.associate_iam_instance_profile, InstanceId=instance, IamInstanceProfile={"Name": name})[0] == "IncorrectState"
    lab.ec2.disassociate_iam_instance_profile(AssociationId=one["AssociationId"])
    wait_for("the credentials to go", lambda: "404" in keys())


# Says that it was asked to end.
LAST_WORDS = ("setsid sh -c 'trap \"echo bye >/srv/bye; exit 0\" TERM; echo up >/srv/up; while :; do sleep 0.1; done' "
              ">/dev/null 2>&1 &")


def test_a_stop_asks_processes_to_end_unless_it_skips_the_shutdown(lab):
    _, subnet, _ = lab.vpc("10.32.0.0/16", "10.32.1.0/24")

    def has(instance, path):
        return lab.run(instance, "test", "-e", path, check=False).returncode == 0

    asked, cut = (lab.instance(subnet, script=LAST_WORDS)[0] for _ in range(2))
    for instance, more in (asked, {"Force": True}), (cut, {"SkipOsShutdown": True}):
        wait_for("the process", lambda: has(instance, "/srv/up"))
        lab.ec2.stop_instances(InstanceIds=[instance], **more)
        lab.until(instance, "stopped")
        lab.ec2.start_instances(InstanceIds=[instance])
        lab.until(instance, "running")
        assert has(instance, "/srv/up"), "its files stay"
    assert has(asked, "/srv/bye") and not has(cut, "/srv/bye")
    # The next stop is an ordinary one again; a termination may skip the shutdown as well.
    lab.ec2.terminate_instances(InstanceIds=[cut], SkipOsShutdown=True)
    lab.until(cut, "terminated")


def test_a_type_bounds_the_interfaces_and_addresses_of_its_instances(lab):
    _, subnet, group = lab.vpc("10.33.0.0/16", "10.33.1.0/24")
    ec2 = lab.ec2
    instance, _ = lab.instance(subnet)  # a t3.micro: two interfaces of two addresses

    def interface(**more):
        made = ec2.create_network_interface(SubnetId=subnet, Groups=[group], **more)["NetworkInterface"]["NetworkInterfaceId"]
        lab.later(ec2.delete_network_interface, NetworkInterfaceId=made)
        return made

    def attach(interface, index):
        return ec2.attach_network_interface(NetworkInterfaceId=interface, InstanceId=instance, DeviceIndex=index)["AttachmentId"]

    crowded, second, third = interface(SecondaryPrivateIpAddressCount=2), interface(), interface()
    assert refusal(ec2.attach_network_interface, NetworkInterfaceId=crowded, InstanceId=instance, DeviceIndex=1) == (
        "PrivateIpAddressLimitExceeded", 400)
    prefixed = interface(Ipv4PrefixCount=10)
    launch = {"ImageId": lab.image(), "InstanceType": "t3.nano", "MinCount": 1, "MaxCount": 1,
              "NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": prefixed}]}
    assert refusal(ec2.run_instances, **launch) == ("PrivateIpAddressLimitExceeded", 400)
    attachment = attach(second, 1)
    with pytest.raises(ClientError) as error:
        attach(third, 2)
    assert error.value.response["Error"] == {
        "Code": "AttachmentLimitExceeded", "Message": "Interface count 3 exceeds the limit for t3.micro"}
    ec2.assign_private_ip_addresses(NetworkInterfaceId=second, SecondaryPrivateIpAddressCount=1)
    assert refusal(ec2.assign_private_ip_addresses, NetworkInterfaceId=second, SecondaryPrivateIpAddressCount=1) == (
        "PrivateIpAddressLimitExceeded", 400)
    # Detached, it is bounded by no type.
    ec2.detach_network_interface(AttachmentId=attachment)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=second, SecondaryPrivateIpAddressCount=5)
