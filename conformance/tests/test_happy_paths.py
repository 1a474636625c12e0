"""Good calls of operations that other tests meet only when they are refused: what they answer, and what they change."""

import json

import pytest

from lathlab import wait_for
from lathlab.lab import unique

TRUST = json.dumps({"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}})
READ = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}})
LIST = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:List*", "Resource": "*"}})
MANAGED = "arn:aws:iam::aws:policy/ReadOnlyAccess"


@pytest.fixture
def iam(lab):
    return lab.lath.client("iam")


@pytest.fixture
def zones(lab):
    return lab.lath.client("route53")


# ------------------------------------------------------------------------------------------------ IAM
@pytest.fixture
def user(lab, iam):
    name = unique("user")
    iam.create_user(UserName=name)
    lab.later(iam.delete_user, UserName=name)
    return name


@pytest.fixture
def role(lab, iam):
    name = unique("role")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    lab.later(iam.delete_role, RoleName=name)
    return name


@pytest.fixture
def group(lab, iam):
    name = unique("group")
    iam.create_group(GroupName=name)
    lab.later(iam.delete_group, GroupName=name)
    return name


@pytest.fixture
def policy(lab, iam):
    arn = iam.create_policy(PolicyName=unique("policy"), PolicyDocument=READ)["Policy"]["Arn"]
    lab.later(iam.delete_policy, PolicyArn=arn)
    return arn


def keys(tags):
    return [tag["Key"] for tag in tags]


def test_members_of_groups(iam, user, group):
    iam.add_user_to_group(GroupName=group, UserName=user)
    assert [it["UserName"] for it in iam.get_group(GroupName=group)["Users"]] == [user]
    assert [it["GroupName"] for it in iam.list_groups_for_user(UserName=user)["Groups"]] == [group]
    assert group in [it["GroupName"] for it in iam.list_groups()["Groups"]]
    iam.remove_user_from_group(GroupName=group, UserName=user)
    assert iam.get_group(GroupName=group)["Users"] == []


def test_policies_of_groups(iam, group, policy):
    iam.put_group_policy(GroupName=group, PolicyName="inline", PolicyDocument=READ)
    assert iam.get_group_policy(GroupName=group, PolicyName="inline")["PolicyDocument"] == json.loads(READ)
    assert iam.list_group_policies(GroupName=group)["PolicyNames"] == ["inline"]
    iam.delete_group_policy(GroupName=group, PolicyName="inline")
    iam.attach_group_policy(GroupName=group, PolicyArn=policy)
    assert [it["PolicyArn"] for it in iam.list_attached_group_policies(GroupName=group)["AttachedPolicies"]] == [policy]
    found = iam.list_entities_for_policy(PolicyArn=policy)["PolicyGroups"]
    assert [it["GroupName"] for it in found] == [group]
    iam.detach_group_policy(GroupName=group, PolicyArn=policy)
    assert iam.list_attached_group_policies(GroupName=group)["AttachedPolicies"] == []


def test_policies_of_users_and_roles(iam, user, role, policy):
    iam.put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=READ)
    assert iam.get_user_policy(UserName=user, PolicyName="inline")["PolicyDocument"] == json.loads(READ)
    assert iam.list_user_policies(UserName=user)["PolicyNames"] == ["inline"]
    iam.delete_user_policy(UserName=user, PolicyName="inline")
    iam.put_role_policy(RoleName=role, PolicyName="inline", PolicyDocument=READ)
    assert iam.get_role_policy(RoleName=role, PolicyName="inline")["PolicyDocument"] == json.loads(READ)
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["inline"]
    iam.delete_role_policy(RoleName=role, PolicyName="inline")
    iam.attach_user_policy(UserName=user, PolicyArn=policy)
    assert [it["PolicyArn"] for it in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]] == [policy]
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    assert [it["PolicyArn"] for it in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]] == [policy]
    assert iam.get_policy(PolicyArn=policy)["Policy"]["AttachmentCount"] == 2
    iam.detach_user_policy(UserName=user, PolicyArn=policy)
    iam.detach_role_policy(RoleName=role, PolicyArn=policy)


def test_boundaries(iam, user, role):
    for name, get, put, delete in (
        ({"UserName": user}, iam.get_user, iam.put_user_permissions_boundary, iam.delete_user_permissions_boundary),
        ({"RoleName": role}, iam.get_role, iam.put_role_permissions_boundary, iam.delete_role_permissions_boundary),
    ):
        kind = "User" if "UserName" in name else "Role"
        put(PermissionsBoundary=MANAGED, **name)
        assert get(**name)[kind]["PermissionsBoundary"]["PermissionsBoundaryArn"] == MANAGED
        delete(**name)
        assert "PermissionsBoundary" not in get(**name)[kind]


def test_versions_of_policies(iam, policy):
    made = iam.create_policy_version(PolicyArn=policy, PolicyDocument=LIST, SetAsDefault=False)["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v2", False)
    iam.set_default_policy_version(PolicyArn=policy, VersionId="v2")
    versions = {it["VersionId"]: it["IsDefaultVersion"] for it in iam.list_policy_versions(PolicyArn=policy)["Versions"]}
    assert versions == {"v1": False, "v2": True}
    found = iam.get_policy_version(PolicyArn=policy, VersionId="v2")["PolicyVersion"]
    assert found["Document"] == json.loads(LIST)
    iam.delete_policy_version(PolicyArn=policy, VersionId="v1")
    assert len(iam.list_policy_versions(PolicyArn=policy)["Versions"]) == 1


def test_tags_of_iam(lab, iam, user, role, policy):
    profile = unique("profile")
    iam.create_instance_profile(InstanceProfileName=profile)
    lab.later(iam.delete_instance_profile, InstanceProfileName=profile)
    provider = iam.create_open_id_connect_provider(Url=f"https://{unique('issuer')}.example")["OpenIDConnectProviderArn"]
    lab.later(iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=provider)
    tags = [{"Key": "env", "Value": "test"}, {"Key": "team", "Value": "shop"}]
    for name, tag, untag, listed in (
        ({"UserName": user}, iam.tag_user, iam.untag_user, iam.list_user_tags),
        ({"RoleName": role}, iam.tag_role, iam.untag_role, iam.list_role_tags),
        ({"PolicyArn": policy}, iam.tag_policy, iam.untag_policy, iam.list_policy_tags),
        ({"InstanceProfileName": profile}, iam.tag_instance_profile, iam.untag_instance_profile,
         iam.list_instance_profile_tags),
        ({"OpenIDConnectProviderArn": provider}, iam.tag_open_id_connect_provider, iam.untag_open_id_connect_provider,
         iam.list_open_id_connect_provider_tags),
    ):
        tag(Tags=tags, **name)
        assert sorted(keys(listed(**name)["Tags"])) == ["env", "team"]
        untag(TagKeys=["env"], **name)
        assert keys(listed(**name)["Tags"]) == ["team"]


def test_instance_profiles(lab, iam, role):
    profile = unique("profile")
    made = iam.create_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    lab.later(iam.delete_instance_profile, InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    found = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]
    assert found["InstanceProfileId"] == made["InstanceProfileId"]
    assert [it["RoleName"] for it in found["Roles"]] == [role]
    assert profile in [it["InstanceProfileName"] for it in iam.list_instance_profiles()["InstanceProfiles"]]
    of_role = iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]
    assert [it["InstanceProfileName"] for it in of_role] == [profile]
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)


def test_identity_providers(lab, iam):
    name = unique("issuer") + ".example/id/X"
    made = iam.create_open_id_connect_provider(Url=f"https://{name}", ClientIDList=["sts.amazonaws.com"],
                                               ThumbprintList=["A" * 40], Tags=[{"Key": "env", "Value": "test"}])
    arn = made["OpenIDConnectProviderArn"]
    lab.later(iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=arn)
    assert arn.endswith(f":oidc-provider/{name}") and made["Tags"] == [{"Key": "env", "Value": "test"}]
    with pytest.raises(iam.exceptions.EntityAlreadyExistsException, match=f"Provider with url https://{name} already exists."):
        iam.create_open_id_connect_provider(Url=f"https://{name}")
    for _ in range(2):
        iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="app")
    for _ in range(2):
        iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="sts.amazonaws.com")
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == (name, ["app"], ["a" * 40])
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ThumbprintList"] == ["b" * 40]
    assert arn in [it["Arn"] for it in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    for _ in range(2):
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert arn not in [it["Arn"] for it in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]


def test_changes_of_users_groups_and_roles(iam, user, role, group):
    iam.update_user(UserName=user, NewPath="/moved/")
    assert iam.get_user(UserName=user)["User"]["Path"] == "/moved/"
    iam.update_group(GroupName=group, NewPath="/moved/")
    assert iam.get_group(GroupName=group)["Group"]["Path"] == "/moved/"
    iam.update_role(RoleName=role, MaxSessionDuration=7200)
    assert iam.get_role(RoleName=role)["Role"]["MaxSessionDuration"] == 7200
    assert iam.update_role_description(RoleName=role, Description="of a test")["Role"]["Description"] == "of a test"
    trust = json.loads(TRUST)
    trust["Statement"]["Principal"] = {"AWS": "*"}
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"] == trust


def test_credentials_of_users(lab, iam, user):
    key = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    assert [it["AccessKeyId"] for it in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]] == [key]
    iam.update_access_key(UserName=user, AccessKeyId=key, Status="Inactive")
    used = iam.get_access_key_last_used(AccessKeyId=key)
    assert used["UserName"] == user and used["AccessKeyLastUsed"]["ServiceName"] == "N/A"
    assert lab.lath.client("sts").get_access_key_info(AccessKeyId=key)["Account"]
    iam.delete_access_key(UserName=user, AccessKeyId=key)


def test_credentials_that_users_cannot_have_here(iam, user):
    assert iam.list_mfa_devices(UserName=user)["MFADevices"] == []
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
    assert iam.list_ssh_public_keys(UserName=user)["SSHPublicKeys"] == []
    assert iam.list_signing_certificates(UserName=user)["Certificates"] == []
    assert iam.list_service_specific_credentials(UserName=user)["ServiceSpecificCredentials"] == []


def test_the_account(iam, user):
    assert user in [it["UserName"] for it in iam.list_users()["Users"]]
    summary = iam.get_account_summary()["SummaryMap"]
    assert summary["Users"] >= 1


def test_a_service_linked_role_goes(lab, iam):
    name = iam.create_service_linked_role(AWSServiceName="elasticloadbalancing.amazonaws.com")["Role"]["RoleName"]
    task = iam.delete_service_linked_role(RoleName=name)["DeletionTaskId"]
    get = iam.get_service_linked_role_deletion_status
    wait_for("the role to go", lambda: get(DeletionTaskId=task)["Status"] == "SUCCEEDED")


def test_a_user_is_simulated(iam, user):
    arn = iam.get_user(UserName=user)["User"]["Arn"]
    iam.put_user_policy(UserName=user, PolicyName="inline", PolicyDocument=READ)
    found = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["ec2:DescribeVpcs", "ec2:CreateVpc"])
    decisions = {it["EvalActionName"]: it["EvalDecision"] for it in found["EvaluationResults"]}
    assert decisions == {"ec2:DescribeVpcs": "allowed", "ec2:CreateVpc": "implicitDeny"}
    iam.delete_user_policy(UserName=user, PolicyName="inline")


def test_sessions_and_passwords(lab):
    session = lab.lath.client("sts").get_session_token(DurationSeconds=900)["Credentials"]
    assert session["AccessKeyId"].startswith("ASIA") and session["SessionToken"]
    password = lab.lath.client("secretsmanager").get_random_password(PasswordLength=20, ExcludePunctuation=True)
    assert len(password["RandomPassword"]) == 20 and password["RandomPassword"].isalnum()


# ------------------------------------------------------------------------------------------------ Route 53
@pytest.fixture
def zone(lab, zones):
    made = zones.create_hosted_zone(Name=f"{unique('zone')}.example", CallerReference=unique("ref"))["HostedZone"]
    lab.later(zones.delete_hosted_zone, Id=made["Id"])
    return made


def test_counts_and_lists_of_zones(zones, zone):
    assert zones.get_hosted_zone_count()["HostedZoneCount"] >= 1
    found = zones.list_hosted_zones_by_name(DNSName=zone["Name"], MaxItems="1")["HostedZones"]
    assert [it["Id"] for it in found] == [zone["Id"]]
    assert zones.get_dnssec(HostedZoneId=zone["Id"])["Status"]["ServeSignature"] == "NOT_SIGNING"
    assert zones.list_cidr_collections()["CidrCollections"] == []
    id = zone["Id"].removeprefix("/hostedzone/")
    zones.change_tags_for_resource(ResourceType="hostedzone", ResourceId=id, AddTags=[{"Key": "env", "Value": "test"}])
    [found] = zones.list_tags_for_resources(ResourceType="hostedzone", ResourceIds=[id])["ResourceTagSets"]
    assert (found["ResourceId"], found["Tags"]) == (id, [{"Key": "env", "Value": "test"}])


def test_health_checks_are_counted_and_listed(lab, zones):
    before = zones.get_health_check_count()["HealthCheckCount"]
    check = zones.create_health_check(CallerReference=unique("ref"), HealthCheckConfig={
        "FullyQualifiedDomainName": "check.example", "Port": 80, "Type": "TCP"})["HealthCheck"]["Id"]
    lab.later(zones.delete_health_check, HealthCheckId=check)
    assert zones.get_health_check_count()["HealthCheckCount"] == before + 1
    assert check in [it["Id"] for it in zones.list_health_checks()["HealthChecks"]]
    zones.get_health_check_last_failure_reason(HealthCheckId=check)


def test_reusable_delegation_sets(lab, zones):
    made = zones.create_reusable_delegation_set(CallerReference=unique("ref"))["DelegationSet"]["Id"]
    lab.later(zones.delete_reusable_delegation_set, Id=made)
    assert made in [it["Id"] for it in zones.list_reusable_delegation_sets()["DelegationSets"]]
    limit = zones.get_reusable_delegation_set_limit(DelegationSetId=made, Type="MAX_ZONES_BY_REUSABLE_DELEGATION_SET")
    assert limit["Count"] == 0 and limit["Limit"]["Value"] > 0


def test_vpc_association_authorizations(lab, zones):
    vpc, *_ = lab.vpc()
    at = {"VPCRegion": lab.lath.region, "VPCId": vpc}
    zone = zones.create_hosted_zone(
        Name=f"{unique('zone')}.example", CallerReference=unique("ref"), VPC=at)["HostedZone"]["Id"]
    lab.later(zones.delete_hosted_zone, Id=zone)
    other, *_ = lab.vpc()
    at = {"VPCRegion": lab.lath.region, "VPCId": other}
    zones.create_vpc_association_authorization(HostedZoneId=zone, VPC=at)
    assert zones.list_vpc_association_authorizations(HostedZoneId=zone)["VPCs"] == [at]
    zones.delete_vpc_association_authorization(HostedZoneId=zone, VPC=at)
    assert zones.list_vpc_association_authorizations(HostedZoneId=zone)["VPCs"] == []


# ------------------------------------------------------------------------------------------------ Logs, Lattice
def test_log_groups_have_tags_in_the_old_way_and_protection(lab):
    name = unique("/tests/group")
    lab.logs.create_log_group(logGroupName=name)
    lab.later(lab.logs.delete_log_group, logGroupName=name)
    lab.logs.tag_log_group(logGroupName=name, tags={"env": "test", "team": "shop"})
    lab.logs.untag_log_group(logGroupName=name, tags=["team"])
    assert lab.logs.list_tags_log_group(logGroupName=name)["tags"] == {"env": "test"}
    for protected in (True, False):
        lab.logs.put_log_group_deletion_protection(logGroupIdentifier=name, deletionProtectionEnabled=protected)
        [found] = lab.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        assert found.get("deletionProtectionEnabled", False) is protected


def test_resource_policies_and_subscriptions_of_lattice(lab):
    network = lab.network()
    arn = lab.lattice.get_service_network(serviceNetworkIdentifier=network)["arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Resource": arn, "Action": [
            "vpc-lattice:CreateServiceNetworkVpcAssociation", "vpc-lattice:CreateServiceNetworkServiceAssociation",
            "vpc-lattice:GetServiceNetwork"]}]})
    lab.lattice.put_resource_policy(resourceArn=arn, policy=policy)
    assert json.loads(lab.lattice.get_resource_policy(resourceArn=arn)["policy"]) == json.loads(policy)
    lab.lattice.delete_resource_policy(resourceArn=arn)
    assert lab.lattice.list_service_network_vpc_endpoint_associations(serviceNetworkIdentifier=network)["items"] == []
    groups = [unique("/tests/access"), unique("/tests/access")]
    arns = []
    for name in groups:
        lab.logs.create_log_group(logGroupName=name)
        lab.later(lab.logs.delete_log_group, logGroupName=name)
        [found] = lab.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        arns.append(found["arn"])
    made = lab.lattice.create_access_log_subscription(resourceIdentifier=network, destinationArn=arns[0])["id"]
    lab.later(lab.lattice.delete_access_log_subscription, accessLogSubscriptionIdentifier=made)
    lab.lattice.update_access_log_subscription(accessLogSubscriptionIdentifier=made, destinationArn=arns[1])
    found = lab.lattice.get_access_log_subscription(accessLogSubscriptionIdentifier=made)["destinationArn"]
    assert found.removesuffix(":*") == arns[1].removesuffix(":*")


def test_changes_of_lattice(lab):
    name = unique("service")
    service = lab.lattice.create_service(name=name)
    lab.later(lab.lattice.delete_service, serviceIdentifier=service["id"])
    get = lab.lattice.get_service
    wait_for("the service to be active", lambda: get(serviceIdentifier=service["id"])["status"] == "ACTIVE")
    lab.lattice.update_service(serviceIdentifier=service["id"], authType="AWS_IAM")
    assert get(serviceIdentifier=service["id"])["authType"] == "AWS_IAM"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "vpc-lattice-svcs:Invoke", "Resource": "*"}]})
    lab.lattice.put_auth_policy(resourceIdentifier=service["id"], policy=policy)
    assert json.loads(lab.lattice.get_auth_policy(resourceIdentifier=service["id"])["policy"]) == json.loads(policy)
    lab.lattice.delete_auth_policy(resourceIdentifier=service["id"])
    fixed = {"fixedResponse": {"statusCode": 404}}
    listener = lab.lattice.create_listener(
        serviceIdentifier=service["id"], name="http", protocol="HTTP", port=80, defaultAction=fixed)["id"]
    fixed = {"fixedResponse": {"statusCode": 500}}
    lab.lattice.update_listener(serviceIdentifier=service["id"], listenerIdentifier=listener, defaultAction=fixed)
    [found] = lab.lattice.list_listeners(serviceIdentifier=service["id"])["items"]
    assert found["id"] == listener
    lab.lattice.tag_resource(resourceArn=service["arn"], tags={"env": "test", "team": "shop"})
    lab.lattice.untag_resource(resourceArn=service["arn"], tagKeys=["team"])
    assert lab.lattice.list_tags_for_resource(resourceArn=service["arn"])["tags"] == {"env": "test"}
    lab.lattice.delete_listener(serviceIdentifier=service["id"], listenerIdentifier=listener)


def test_clusters_are_listed(lab):
    assert lab.lath.client("eks").list_clusters()["clusters"] == []
