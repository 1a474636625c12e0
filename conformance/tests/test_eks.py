"""EKS by boto3: what is refused, and the life of a cluster with everything that it can have."""

import json

import pytest
from lathlab import Lath, host_state, wait_for
from lathlab.lab import Lab, refusal, unique

QUICK = {"Delay": 1, "MaxAttempts": 400}


def trust(service, *actions):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions or ["sts:AssumeRole"])}]})


def role(lath, service, *actions):
    """The ARN of a new role that a service may assume."""
    made = lath.client("iam").create_role(RoleName=unique("eks"), AssumeRolePolicyDocument=trust(service, *actions))
    return made["Role"]["Arn"]


def network(lab, cidr):
    """A VPC with a subnet in each of two zones."""
    vpc = lab.ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
    lab.later(lab.ec2.delete_vpc, VpcId=vpc)
    subnets = []
    for number, zone in enumerate("ab"):
        subnet = lab.ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"{cidr}.{number}.0/24", AvailabilityZone=f"{lab.lath.region}{zone}")["Subnet"]["SubnetId"]
        lab.later(lab.ec2.delete_subnet, SubnetId=subnet)
        subnets.append(subnet)
    return vpc, subnets


def test_a_host_without_kubernetes_says_what_is_missing():
    with Lath(environment={"LATH_KUBERNETES_BIN": ""}) as lath, Lab(lath) as lab:
        eks = lath.client("eks")
        _, subnets = network(lab, "10.60")
        request = {"name": "c", "roleArn": role(lath, "eks.amazonaws.com"), "resourcesVpcConfig": {"subnetIds": subnets}}
        with pytest.raises(eks.exceptions.InvalidParameterException, match="LATH_KUBERNETES_BIN"):
            eks.create_cluster(**request)
        assert eks.list_clusters()["clusters"] == []
        bad = request | {"resourcesVpcConfig": {"subnetIds": subnets[:1]}}
        with pytest.raises(eks.exceptions.InvalidParameterException, match="at least two different AZs"):
            eks.create_cluster(**bad)
        bad = request | {"roleArn": role(lath, "ec2.amazonaws.com")}
        with pytest.raises(eks.exceptions.InvalidParameterException, match="could not be assumed"):
            eks.create_cluster(**bad)


def test_what_needs_no_cluster(lab):
    eks = lab.lath.client("eks")
    policies = [it["name"] for it in eks.list_access_policies()["accessPolicies"]]
    assert "AmazonEKSClusterAdminPolicy" in policies
    names = {it["addonName"] for it in eks.describe_addon_versions()["addons"]}
    assert {"aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "metrics-server", "vpc-cni"} == names
    coredns = eks.describe_addon_versions(addonName="coredns")["addons"][0]["addonVersions"][0]["addonVersion"]
    schema = eks.describe_addon_configuration(addonName="coredns", addonVersion=coredns)["configurationSchema"]
    assert "replicaCount" in json.loads(schema)["properties"]
    eks.describe_cluster_versions()
    assert eks.list_eks_anywhere_subscriptions()["subscriptions"] == []
    name = unique("far")
    config = {"roleArn": role(lab.lath, "ssm.amazonaws.com"), "provider": "OTHER"}
    made = eks.register_cluster(name=name, connectorConfig=config)["cluster"]
    assert made["status"] == "PENDING" and made["connectorConfig"]["activationCode"]
    assert name not in eks.list_clusters()["clusters"]
    assert name in eks.list_clusters(include=["all"])["clusters"]
    assert eks.describe_cluster(name=name)["cluster"]["connectorConfig"]["provider"] == "OTHER"
    assert eks.deregister_cluster(name=name)["cluster"]["status"] == "DELETING"
    assert refusal(eks.describe_cluster, name=name) == ("ResourceNotFoundException", 404)


@pytest.mark.root
def test_a_cluster_lives_with_all_that_it_can_have(kubernetes):
    before = host_state()
    with kubernetes.lath() as lath:
        with Lab(lath) as lab:
            life(kubernetes, lab)
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() - before == set()


def life(kubernetes, lab):
    lath, eks = lab.lath, lab.lath.client("eks")
    assert [it["clusterVersion"] for it in eks.describe_cluster_versions(defaultOnly=True)["clusterVersions"]] == [kubernetes.version]
    accepted = {it["clusterVersion"]: it for it in eks.describe_cluster_versions()["clusterVersions"]}
    assert accepted["1.29"]["kubernetesPatchVersion"] == accepted[kubernetes.version]["kubernetesPatchVersion"]
    assert accepted["1.29"]["versionStatus"] == "EXTENDED_SUPPORT"
    vpc, subnets = network(lab, "10.61")
    name, nodes = "prod", "workers"
    made = eks.create_cluster(
        name=name, version="1.29", roleArn=role(lath, "eks.amazonaws.com"), resourcesVpcConfig={"subnetIds": subnets},
        accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"}, tags={"env": "test"})["cluster"]
    assert (made["status"], "endpoint" in made) == ("CREATING", False)
    eks.get_waiter("cluster_active").wait(name=name, WaiterConfig=QUICK)
    cluster = eks.describe_cluster(name=name)["cluster"]
    assert cluster["version"] == kubernetes.version
    held(lab, vpc, subnets, cluster)
    group(lath, eks, name, nodes, subnets)
    configured(eks, cluster)
    entries(lath, eks, name)
    addons(eks, name)
    identities(lath, eks, name)
    nothing(eks, name)
    tagged(eks, cluster["arn"])
    scaled(lab, eks, name, nodes)
    assert refusal(eks.delete_cluster, name=name) == ("ResourceInUseException", 409)
    assert eks.delete_nodegroup(clusterName=name, nodegroupName=nodes)["nodegroup"]["status"] == "DELETING"
    eks.get_waiter("nodegroup_deleted").wait(clusterName=name, nodegroupName=nodes, WaiterConfig=QUICK)
    assert eks.delete_cluster(name=name)["cluster"]["status"] == "DELETING"
    eks.get_waiter("cluster_deleted").wait(name=name, WaiterConfig=QUICK)
    groups = lab.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    assert [it["GroupName"] for it in groups] == ["default"]


def held(lab, vpc, subnets, cluster):
    """What a cluster has in its VPC is the user's to see, and not to delete."""
    interfaces = lab.ec2.describe_network_interfaces(
        Filters=[{"Name": "description", "Values": ["Amazon EKS prod"]}])["NetworkInterfaces"]
    assert {it["SubnetId"] for it in interfaces} == set(subnets)
    assert all(it["RequesterManaged"] for it in interfaces)
    own = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
    assert refusal(lab.ec2.delete_security_group, GroupId=own) == ("DependencyViolation", 400)
    assert refusal(lab.ec2.delete_subnet, SubnetId=subnets[0]) == ("DependencyViolation", 400)
    assert refusal(lab.ec2.delete_vpc, VpcId=vpc) == ("DependencyViolation", 400)


def group(lath, eks, name, nodes, subnets):
    made = eks.create_nodegroup(
        clusterName=name, nodegroupName=nodes, nodeRole=role(lath, "ec2.amazonaws.com"), subnets=subnets,
        scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 1}, labels={"tier": "web"})["nodegroup"]
    assert made["status"] == "CREATING"
    eks.get_waiter("nodegroup_active").wait(clusterName=name, nodegroupName=nodes, WaiterConfig=QUICK)
    assert eks.list_nodegroups(clusterName=name)["nodegroups"] == [nodes]
    shown = eks.describe_nodegroup(clusterName=name, nodegroupName=nodes)["nodegroup"]
    assert shown["labels"] == {"tier": "web"} and shown["instanceTypes"] == ["t3.medium"]


def updated(eks, name, update, **of):
    """Waits until an update is over, and successful."""
    def over():
        status = eks.describe_update(name=name, updateId=update["update"]["id"], **of)["update"]
        assert status["status"] in ("InProgress", "Successful"), status
        return status["status"] == "Successful"

    wait_for("the update to end", over, patience=400)
    assert update["update"]["id"] in eks.list_updates(name=name, **of)["updateIds"]


def configured(eks, cluster):
    name = cluster["name"]
    logging = {"clusterLogging": [{"types": ["api", "audit"], "enabled": True}]}
    updated(eks, name, eks.update_cluster_config(name=name, logging=logging))
    eks.get_waiter("cluster_active").wait(name=name, WaiterConfig=QUICK)
    assert refusal(eks.update_cluster_config, name=name, logging=logging) == ("InvalidParameterException", 400)
    access = {"endpointPrivateAccess": True, "publicAccessCidrs": ["127.0.0.0/8"]}
    updated(eks, name, eks.update_cluster_config(name=name, resourcesVpcConfig=access))
    config = eks.describe_cluster(name=name)["cluster"]["resourcesVpcConfig"]
    assert (config["endpointPrivateAccess"], config["publicAccessCidrs"]) == (True, ["127.0.0.0/8"])
    updated(eks, name, eks.update_cluster_config(name=name, deletionProtection=True))
    assert refusal(eks.delete_cluster, name=name) == ("InvalidRequestException", 400)
    updated(eks, name, eks.update_cluster_config(name=name, deletionProtection=False))
    assert refusal(eks.update_cluster_version, name=name, version="1.20") == ("InvalidParameterException", 400)


def entries(lath, eks, name):
    arn = role(lath, "ec2.amazonaws.com")
    made = eks.create_access_entry(clusterName=name, principalArn=arn, kubernetesGroups=["viewers"])["accessEntry"]
    assert made["username"].endswith("/{{SessionName}}")
    # The creator's, and the node role's.
    assert len(eks.list_access_entries(clusterName=name)["accessEntries"]) == 3
    changed = eks.update_access_entry(clusterName=name, principalArn=arn, kubernetesGroups=["editors"])["accessEntry"]
    assert changed["kubernetesGroups"] == ["editors"]
    view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
    scope = {"type": "namespace", "namespaces": ["shop"]}
    eks.associate_access_policy(clusterName=name, principalArn=arn, policyArn=view, accessScope=scope)
    [policy] = eks.list_associated_access_policies(clusterName=name, principalArn=arn)["associatedAccessPolicies"]
    assert policy["accessScope"] == scope
    eks.disassociate_access_policy(clusterName=name, principalArn=arn, policyArn=view)
    eks.describe_access_entry(clusterName=name, principalArn=arn)
    eks.delete_access_entry(clusterName=name, principalArn=arn)
    assert refusal(eks.describe_access_entry, clusterName=name, principalArn=arn) == ("ResourceNotFoundException", 404)


def addons(eks, name):
    of = {"clusterName": name, "addonName": "coredns"}
    assert eks.create_addon(**of, configurationValues='{"replicaCount": 1}')["addon"]["status"] == "CREATING"
    eks.get_waiter("addon_active").wait(**of, WaiterConfig=QUICK)
    assert eks.list_addons(clusterName=name)["addons"] == ["coredns"]
    update = eks.update_addon(**of, configurationValues='{"replicaCount": 2}')
    updated(eks, name, update, addonName="coredns")
    assert eks.delete_addon(**of, preserve=True)["addon"]["status"] == "DELETING"
    eks.get_waiter("addon_deleted").wait(**of, WaiterConfig=QUICK)


def identities(lath, eks, name):
    arn = role(lath, "pods.eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession")
    account = {"namespace": "shop", "serviceAccount": "cart"}
    made = eks.create_pod_identity_association(clusterName=name, roleArn=arn, **account)["association"]
    of = {"clusterName": name, "associationId": made["associationId"]}
    assert refusal(eks.create_pod_identity_association, clusterName=name, roleArn=arn, **account) == ("ResourceInUseException", 409)
    assert eks.describe_pod_identity_association(**of)["association"]["roleArn"] == arn
    other = role(lath, "pods.eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession")
    assert eks.update_pod_identity_association(**of, roleArn=other)["association"]["roleArn"] == other
    [listed] = eks.list_pod_identity_associations(clusterName=name, namespace="shop")["associations"]
    assert listed["associationId"] == made["associationId"]
    eks.delete_pod_identity_association(**of)


def nothing(eks, name):
    """What a cluster of Lath's has none of."""
    assert eks.list_fargate_profiles(clusterName=name)["fargateProfileNames"] == []
    assert eks.list_identity_provider_configs(clusterName=name)["identityProviderConfigs"] == []
    assert eks.list_capabilities(clusterName=name)["capabilities"] == []
    assert refusal(eks.create_fargate_profile, clusterName=name, fargateProfileName="f", podExecutionRoleArn="r") == (
        "InvalidParameterException", 400)
    [insight] = eks.list_insights(clusterName=name)["insights"]
    shown = eks.describe_insight(clusterName=name, id=insight["id"])["insight"]
    assert shown["insightStatus"]["status"] == "PASSING", shown


def tagged(eks, arn):
    eks.tag_resource(resourceArn=arn, tags={"team": "shop"})
    eks.untag_resource(resourceArn=arn, tagKeys=["env"])
    assert eks.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "shop"}


def scaled(lab, eks, name, nodes):
    of = {"clusterName": name, "nodegroupName": nodes}
    instances = lambda: {
        it["InstanceId"] for reservation in lab.ec2.describe_instances(Filters=[
            {"Name": "tag:eks:nodegroup-name", "Values": [nodes]},
            {"Name": "instance-state-name", "Values": ["pending", "running"]}])["Reservations"]
        for it in reservation["Instances"]}
    first = instances()
    assert len(first) == 1
    update = eks.update_nodegroup_config(**of, scalingConfig={"desiredSize": 2})
    updated(eks, name, update, nodegroupName=nodes)
    assert len(instances()) == 2 and first < instances()
    update = eks.update_nodegroup_version(**of, force=True)
    updated(eks, name, update, nodegroupName=nodes)
    assert len(instances()) == 2 and not first & instances()
