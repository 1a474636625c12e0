"""Stacks: deployed by the CLI, changed, rolled back, exported, refused to who may not, and interrupted by kill -9."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import code_of, unique

SOON = {"WaiterConfig": {"Delay": 1, "MaxAttempts": 120}}
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
NETWORK = """
AWSTemplateFormatVersion: '2010-09-09'
Description: A network
Parameters:
  Block: {Type: String, Default: 10.40.0.0/16, AllowedPattern: '10\\..*'}
  Name: {Type: String, Default: first}
Conditions:
  IsFirst: !Equals [!Ref Name, first]
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: !Ref Block
      EnableDnsHostnames: true
      Tags: [{Key: Name, Value: !Sub '${AWS::StackName}/${Name}'}]
  Subnet:
    Type: AWS::EC2::Subnet
    Properties:
      VpcId: !Ref Vpc
      CidrBlock: !Select [0, !Cidr [!GetAtt Vpc.CidrBlock, 4, 8]]
      AvailabilityZone: !Select [0, !GetAZs '']
      MapPublicIpOnLaunch: true
  Gateway: {Type: AWS::EC2::InternetGateway}
  Attachment:
    Type: AWS::EC2::VPCGatewayAttachment
    Properties: {VpcId: !Ref Vpc, InternetGatewayId: !Ref Gateway}
  Table:
    Type: AWS::EC2::RouteTable
    Properties: {VpcId: !Ref Vpc}
  Route:
    Type: AWS::EC2::Route
    DependsOn: Attachment
    Properties: {RouteTableId: !Ref Table, DestinationCidrBlock: 0.0.0.0/0, GatewayId: !Ref Gateway}
  Association:
    Type: AWS::EC2::SubnetRouteTableAssociation
    Properties: {RouteTableId: !Ref Table, SubnetId: !Ref Subnet}
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: web
      VpcId: !Ref Vpc
      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 80, ToPort: 80, CidrIp: 10.0.0.0/8}]
  Itself:
    Type: AWS::EC2::SecurityGroupIngress
    Properties: {GroupId: !GetAtt Group.GroupId, IpProtocol: '-1', SourceSecurityGroupId: !Ref Group}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: [{Effect: Allow, Principal: {Service: [ec2.amazonaws.com]}, Action: 'sts:AssumeRole'}]
      Policies:
      - PolicyName: reads
        PolicyDocument: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: 'ec2:DescribeVpcs', Resource: '*'}]}
  Profile:
    Type: AWS::IAM::InstanceProfile
    Properties: {Roles: [!Ref Role]}
  Log:
    Type: AWS::Logs::LogGroup
    Condition: IsFirst
    Properties: {RetentionInDays: 7}
  Lattice: {Type: AWS::VpcLattice::ServiceNetwork, Properties: {AuthType: NONE}}
  Member:
    Type: AWS::VpcLattice::ServiceNetworkVpcAssociation
    Properties: {ServiceNetworkIdentifier: !Ref Lattice, VpcIdentifier: !Ref Vpc, SecurityGroupIds: [!Ref Group]}
Outputs:
  VpcId: {Value: !Ref Vpc, Export: {Name: !Sub '${AWS::StackName}:VPC'}}
  RoleArn: {Value: !GetAtt Role.Arn, Description: Of instances}
"""


@pytest.fixture(scope="module")
def cfn(lath):
    return lath.client("cloudformation")


def outputs(cfn, name):
    return {it["OutputKey"]: it["OutputValue"] for it in cfn.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])}


def status(cfn, name):
    return cfn.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]


def physical(cfn, name):
    return {it["LogicalResourceId"]: it.get("PhysicalResourceId")
            for it in cfn.describe_stack_resources(StackName=name)["StackResources"]}


def reasons(cfn, name, logical):
    events = cfn.describe_stack_events(StackName=name)["StackEvents"]
    return [it.get("ResourceStatusReason", "") for it in events if it["LogicalResourceId"] == logical and "FAILED" in it["ResourceStatus"]]


def refused(call, **arguments):
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return code_of(error.value), error.value.response["Error"]["Message"]


def deployed(lath, cfn, name, *command, waiter):
    """`deploy` looks every 30 seconds whether it is done: its change set is executed here.

    `deploy` names a change set after the second of the clock, so two within one second have one name, and AWS keeps the
    name of a change set that was executed: the second one is asked for again.
    """
    def named():
        run = lath.aws(*command, "--no-execute-changeset", check=False)
        assert run.returncode == 0 or "AlreadyExistsException" in run.stderr, run.stderr
        return run.returncode == 0

    wait_for("a change set with a name of its own", named)
    [made] = [it for it in cfn.list_change_sets(StackName=name)["Summaries"] if it["ExecutionStatus"] == "AVAILABLE"]
    cfn.execute_change_set(ChangeSetName=made["ChangeSetId"])
    cfn.get_waiter(waiter).wait(StackName=name, **SOON)


def template(**resources):
    return json.dumps({"Resources": resources})


EDGES = """
Parameters:
  Port: {Type: Number, Default: 80}
  Domain: {Type: String, Default: corp.test}
  Associated: {Type: String, Default: 'yes'}
Conditions:
  IsAssociated: !Equals [!Ref Associated, 'yes']
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.42.0.0/16}}
  Peer: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.43.0.0/16}}
  Subnet: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.42.1.0/24}}
  Acl:
    Type: AWS::EC2::NetworkAcl
    Properties: {VpcId: !Ref Vpc, Tags: [{Key: Name, Value: web}]}
  In:
    Type: AWS::EC2::NetworkAclEntry
    Properties:
      NetworkAclId: !Ref Acl
      RuleNumber: 100
      Protocol: 6
      RuleAction: allow
      CidrBlock: 10.0.0.0/8
      PortRange: {From: !Ref Port, To: !Ref Port}
  Echo:
    Type: AWS::EC2::NetworkAclEntry
    Properties: {NetworkAclId: !Ref Acl, RuleNumber: 90, Egress: true, Protocol: 1, RuleAction: deny, CidrBlock: 0.0.0.0/0, Icmp: {Type: 8, Code: -1}}
  Judged:
    Type: AWS::EC2::SubnetNetworkAclAssociation
    Condition: IsAssociated
    Properties: {NetworkAclId: !Ref Acl, SubnetId: !Ref Subnet}
  Options:
    Type: AWS::EC2::DHCPOptions
    Properties: {DomainName: !Ref Domain, DomainNameServers: [10.42.1.53, AmazonProvidedDNS], NetbiosNodeType: 2}
  Told:
    Type: AWS::EC2::VPCDHCPOptionsAssociation
    Condition: IsAssociated
    Properties: {DhcpOptionsId: !Ref Options, VpcId: !Ref Vpc}
  Peering:
    Type: AWS::EC2::VPCPeeringConnection
    Properties: {VpcId: !Ref Vpc, PeerVpcId: !Ref Peer}
Outputs:
  Acl: {Value: !GetAtt Acl.Id}
  Peering: {Value: !GetAtt Peering.Id}
"""

VPC = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.41.0.0/16"}}
BAD = {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "192.168.0.0/24"}}


def test_a_template_is_deployed_changed_and_deleted(lath, cfn, tmp_path):
    name, ec2, file = unique("stack"), lath.client("ec2"), tmp_path / "network.yaml"
    file.write_text(NETWORK)
    deploy = ["cloudformation", "deploy", "--stack-name", name, "--template-file", str(file), "--capabilities", "CAPABILITY_IAM"]
    run = lath.aws("cloudformation", "deploy", "--stack-name", name, "--template-file", str(file), check=False)
    assert run.returncode != 0 and "InsufficientCapabilitiesException" in run.stderr
    cfn.delete_stack(StackName=name)
    deployed(lath, cfn, name, *deploy, "--tags", "team=blue", waiter="stack_create_complete")
    stack = cfn.describe_stacks(StackName=name)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE" and stack["Description"] == "A network"
    made = physical(cfn, name)
    assert outputs(cfn, name)["VpcId"] == made["Vpc"] and outputs(cfn, name)["RoleArn"].endswith(f"role/{made['Role']}")
    vpc = ec2.describe_vpcs(VpcIds=[made["Vpc"]])["Vpcs"][0]
    tags = {it["Key"]: it["Value"] for it in vpc["Tags"]}
    assert tags == {"Name": f"{name}/first", "team": "blue", "aws:cloudformation:stack-name": name,
                    "aws:cloudformation:stack-id": stack["StackId"], "aws:cloudformation:logical-id": "Vpc"}
    assert ec2.describe_vpc_attribute(VpcId=made["Vpc"], Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
    rules = ec2.describe_security_groups(GroupIds=[made["Group"]])["SecurityGroups"][0]["IpPermissions"]
    assert {it["IpProtocol"] for it in rules} == {"tcp", "-1"}
    # Nothing to do, and a way to say so.
    assert lath.aws(*deploy, "--tags", "team=blue", "--no-fail-on-empty-changeset", check=False).returncode == 0
    assert refused(cfn.update_stack, StackName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"]) == (
        "ValidationError", "No updates are to be performed.")
    # A tag is changed in place, a subnet is replaced, a log group goes.
    file.write_text(NETWORK.replace("!Select [0, !Cidr", "!Select [1, !Cidr"))
    deployed(lath, cfn, name, *deploy, "--parameter-overrides", "Name=second", waiter="stack_update_complete")
    assert status(cfn, name) == "UPDATE_COMPLETE"
    now = physical(cfn, name)
    assert now["Vpc"] == made["Vpc"] and now["Subnet"] != made["Subnet"] and "Log" not in now
    assert ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [now["Vpc"]]}])["Subnets"][0]["CidrBlock"] == "10.40.1.0/24"
    tags = {it["Key"]: it["Value"] for it in ec2.describe_vpcs(VpcIds=[made["Vpc"]])["Vpcs"][0]["Tags"]}
    assert tags["Name"] == f"{name}/second"
    cfn.update_termination_protection(StackName=name, EnableTerminationProtection=True)
    assert refused(cfn.delete_stack, StackName=name)[1] == f"Stack [{name}] cannot be deleted while TerminationProtection is enabled"
    cfn.update_termination_protection(StackName=name, EnableTerminationProtection=False)
    lath.aws("cloudformation", "delete-stack", "--stack-name", name)
    cfn.get_waiter("stack_delete_complete").wait(StackName=stack["StackId"], **SOON)
    assert refused(ec2.describe_vpcs, VpcIds=[made["Vpc"]])[0] == "InvalidVpcID.NotFound"
    assert refused(lath.client("iam").get_role, RoleName=made["Role"])[0] == "NoSuchEntity"
    assert refused(cfn.describe_stacks, StackName=name) == ("ValidationError", f"Stack with id {name} does not exist")
    assert status(cfn, stack["StackId"]) == "DELETE_COMPLETE"
    assert stack["StackId"] in [it["StackId"] for it in cfn.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]]


def test_what_vpcs_and_subnets_are_given(lath, cfn):
    name, ec2 = unique("stack"), lath.client("ec2")
    arn = cfn.create_stack(StackName=name, TemplateBody=EDGES)["StackId"]
    cfn.get_waiter("stack_create_complete").wait(StackName=name, **SOON)
    made = physical(cfn, name)
    assert outputs(cfn, name) == {"Acl": made["Acl"], "Peering": made["Peering"]}

    def shown():
        """The ACL of the subnet, its entries, and the options of the VPC."""
        [acl] = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [made["Subnet"]]}])["NetworkAcls"]
        entries = {(it["RuleNumber"], it["Egress"]): it for it in acl["Entries"]}
        [vpc] = ec2.describe_vpcs(VpcIds=[made["Vpc"]])["Vpcs"]
        return acl, entries, vpc["DhcpOptionsId"]

    acl, entries, options = shown()
    assert acl["NetworkAclId"] == made["Acl"] and made["Judged"] in [it["NetworkAclAssociationId"] for it in acl["Associations"]]
    assert entries[100, False]["PortRange"] == {"From": 80, "To": 80} and entries[90, True]["IcmpTypeCode"] == {"Type": 8, "Code": -1}
    assert options == made["Options"]
    [peering] = ec2.describe_vpc_peering_connections(VpcPeeringConnectionIds=[made["Peering"]])["VpcPeeringConnections"]
    assert peering["Status"]["Code"] == "active"
    # An entry changes in place, options are replaced.
    changed = [{"ParameterKey": "Port", "ParameterValue": "443"}, {"ParameterKey": "Domain", "ParameterValue": "other.test"}]
    cfn.update_stack(StackName=name, TemplateBody=EDGES, Parameters=changed)
    cfn.get_waiter("stack_update_complete").wait(StackName=name, **SOON)
    acl, entries, options = shown()
    assert acl["NetworkAclId"] == made["Acl"] and entries[100, False]["PortRange"] == {"From": 443, "To": 443}
    assert options == physical(cfn, name)["Options"] != made["Options"]
    assert refused(ec2.describe_dhcp_options, DhcpOptionsIds=[made["Options"]])[0] == "InvalidDhcpOptionID.NotFound"
    # Without the association the subnet has the default ACL again, and the VPC no options.
    cfn.update_stack(StackName=name, TemplateBody=EDGES, Parameters=[*changed, {"ParameterKey": "Associated", "ParameterValue": "no"}])
    cfn.get_waiter("stack_update_complete").wait(StackName=name, **SOON)
    acl, _, options = shown()
    assert acl["IsDefault"] and options == "default"
    cfn.delete_stack(StackName=name)
    cfn.get_waiter("stack_delete_complete").wait(StackName=arn, **SOON)
    assert refused(ec2.describe_network_acls, NetworkAclIds=[made["Acl"]])[0] == "InvalidNetworkAclID.NotFound"


def test_what_fails_is_undone(lath, cfn):
    name, ec2 = unique("stack"), lath.client("ec2")
    cfn.create_stack(StackName=name, TemplateBody=template(Vpc=VPC, Bad=BAD), ClientRequestToken="one")
    wait_for("the rollback", lambda: status(cfn, name) == "ROLLBACK_COMPLETE")
    assert "HandlerErrorCode: InvalidRequest" in reasons(cfn, name, "Bad")[0]
    vpc = physical(cfn, name)["Vpc"]
    assert refused(ec2.describe_vpcs, VpcIds=[vpc])[0] == "InvalidVpcID.NotFound"
    assert "is in ROLLBACK_COMPLETE state and can not be updated" in refused(
        cfn.update_stack, StackName=name, TemplateBody=template(Vpc=VPC))[1]
    cfn.delete_stack(StackName=name)
    # It stays where that is asked for, and goes with the stack.
    kept = unique("stack")
    cfn.create_stack(StackName=kept, TemplateBody=template(Vpc=VPC, Bad=BAD), OnFailure="DO_NOTHING")
    wait_for("the failure", lambda: status(cfn, kept) == "CREATE_FAILED")
    assert ec2.describe_vpcs(VpcIds=[physical(cfn, kept)["Vpc"]])["Vpcs"]
    cfn.delete_stack(StackName=kept)
    # An update that fails leaves what was there before.
    updated = unique("stack")
    cfn.create_stack(StackName=updated, TemplateBody=template(Vpc=VPC))
    cfn.get_waiter("stack_create_complete").wait(StackName=updated, **SOON)
    vpc = physical(cfn, updated)["Vpc"]
    changed = VPC | {"Properties": VPC["Properties"] | {"EnableDnsHostnames": True}}
    cfn.update_stack(StackName=updated, TemplateBody=template(Vpc=changed, Bad=BAD))
    wait_for("the rollback", lambda: status(cfn, updated) == "UPDATE_ROLLBACK_COMPLETE")
    assert physical(cfn, updated) == {"Vpc": vpc}
    assert not ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
    # A resource that is to stay stays.
    cfn.update_stack(StackName=updated, TemplateBody=template(Vpc=VPC | {"DeletionPolicy": "Retain"}, Gateway={"Type": "AWS::EC2::InternetGateway"}))
    cfn.get_waiter("stack_update_complete").wait(StackName=updated, **SOON)
    arn = cfn.describe_stacks(StackName=updated)["Stacks"][0]["StackId"]
    cfn.delete_stack(StackName=updated)
    cfn.get_waiter("stack_delete_complete").wait(StackName=arn, **SOON)
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    ec2.delete_vpc(VpcId=vpc)


def test_an_update_is_cancelled_and_a_rollback_goes_on(lath, cfn):
    name, ec2 = unique("stack"), lath.client("ec2")
    cfn.create_stack(StackName=name, TemplateBody=template(Vpc=VPC))
    cfn.get_waiter("stack_create_complete").wait(StackName=name, **SOON)
    many = {f"Log{number}": {"Type": "AWS::Logs::LogGroup"} for number in range(20)}

    def cancelled():
        """Whether the update was still in progress."""
        wait_for("an end", lambda: not status(cfn, name).endswith("IN_PROGRESS"))
        cfn.update_stack(StackName=name, TemplateBody=template(Vpc=VPC, **many))
        cfn.cancel_update_stack(StackName=name)
        return True

    wait_for("an update that is cancelled", cancelled)
    wait_for("the rollback", lambda: status(cfn, name) == "UPDATE_ROLLBACK_COMPLETE")
    assert list(physical(cfn, name)) == ["Vpc"]
    # A rollback fails where what it goes back to is gone.
    ec2.delete_vpc(VpcId=physical(cfn, name)["Vpc"])
    changed = VPC | {"Properties": VPC["Properties"] | {"EnableDnsHostnames": True}}
    cfn.update_stack(StackName=name, TemplateBody=template(Vpc=changed))
    wait_for("the failure", lambda: status(cfn, name) == "UPDATE_ROLLBACK_FAILED")
    cfn.continue_update_rollback(StackName=name)
    wait_for("the failure again", lambda: status(cfn, name) == "UPDATE_ROLLBACK_FAILED")
    arn = cfn.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    cfn.delete_stack(StackName=name)
    cfn.get_waiter("stack_delete_complete").wait(StackName=arn, **SOON)


def test_exports_change_sets_and_templates(lath, cfn):
    source, user = unique("source"), unique("user")
    exported = json.dumps({"Resources": {"Vpc": VPC}, "Outputs": {
        "Id": {"Value": {"Ref": "Vpc"}, "Export": {"Name": f"{source}-vpc"}}}})
    cfn.create_stack(StackName=source, TemplateBody=exported)
    cfn.get_waiter("stack_create_complete").wait(StackName=source, **SOON)
    subnet = {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Fn::ImportValue": f"{source}-vpc"}, "CidrBlock": "10.41.1.0/24"}}
    cfn.create_change_set(StackName=user, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=template(Subnet=subnet))
    cfn.get_waiter("change_set_create_complete").wait(StackName=user, ChangeSetName="first", **SOON)
    described = cfn.describe_change_set(StackName=user, ChangeSetName="first")
    assert described["Changes"][0]["ResourceChange"] == {
        "Action": "Add", "LogicalResourceId": "Subnet", "ResourceType": "AWS::EC2::Subnet", "Scope": [], "Details": []}
    assert [it["ChangeSetName"] for it in cfn.list_change_sets(StackName=user)["Summaries"]] == ["first"]
    cfn.execute_change_set(StackName=user, ChangeSetName="first")
    cfn.get_waiter("stack_create_complete").wait(StackName=user, **SOON)
    assert cfn.list_imports(ExportName=f"{source}-vpc")["Imports"] == [user]
    assert f"{source}-vpc" in [it["Name"] for it in cfn.list_exports()["Exports"]]
    assert refused(cfn.delete_stack, StackName=source)[1] == f"Export {source}-vpc cannot be deleted as it is in use by {user}"
    moved = subnet | {"Properties": subnet["Properties"] | {"CidrBlock": "10.41.2.0/24"}}
    cfn.create_change_set(StackName=user, ChangeSetName="move", TemplateBody=template(Subnet=moved))
    change = cfn.describe_change_set(StackName=user, ChangeSetName="move")["Changes"][0]["ResourceChange"]
    assert (change["Action"], change["Replacement"], change["Details"][0]["Target"]["Name"]) == ("Modify", "True", "CidrBlock")
    cfn.delete_change_set(StackName=user, ChangeSetName="move")
    cfn.update_stack(StackName=user, TemplateBody=template(Subnet=moved))
    cfn.get_waiter("stack_update_complete").wait(StackName=user, **SOON)
    assert json.loads(json.dumps(cfn.get_template(StackName=user)["TemplateBody"])) == json.loads(template(Subnet=moved))
    assert cfn.get_template_summary(StackName=user)["ResourceTypes"] == ["AWS::EC2::Subnet"]
    assert cfn.validate_template(TemplateBody=NETWORK)["Capabilities"] == ["CAPABILITY_IAM"]
    detail = cfn.describe_stack_resource(StackName=user, LogicalResourceId="Subnet")["StackResourceDetail"]
    assert detail["ResourceStatus"] == "UPDATE_COMPLETE"
    assert [it["LogicalResourceId"] for it in cfn.list_stack_resources(StackName=user)["StackResourceSummaries"]] == ["Subnet"]
    for name in (user, source):
        arn = cfn.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
        cfn.delete_stack(StackName=name)
        cfn.get_waiter("stack_delete_complete").wait(StackName=arn, **SOON)


def test_a_stack_may_do_what_its_caller_or_its_role_may(lath, cfn):
    iam, user, name = lath.client("iam"), unique("user"), unique("stack")
    allow = lambda *actions: json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="stacks", PolicyDocument=allow("cloudformation:*", "iam:PassRole"))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    own = boto3.client("cloudformation", endpoint_url=lath.endpoint, region_name=lath.region,
                       aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    own.create_stack(StackName=name, TemplateBody=template(Vpc=VPC))
    wait_for("the rollback", lambda: status(cfn, name) == "ROLLBACK_COMPLETE")
    [reason] = reasons(cfn, name, "Vpc")
    assert f"user/{user} is not authorized to perform: ec2:CreateVpc" in reason and "HandlerErrorCode: AccessDenied" in reason
    own.delete_stack(StackName=name)
    trust = json.dumps(TRUST).replace("ec2.amazonaws.com", "cloudformation.amazonaws.com")
    role = iam.create_role(RoleName=user, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=user, PolicyName="vpcs", PolicyDocument=allow("ec2:*"))
    own.create_stack(StackName=f"{name}-r", TemplateBody=template(Vpc=VPC), RoleARN=role)
    own.get_waiter("stack_create_complete").wait(StackName=f"{name}-r", **SOON)
    # The role stays the stack's.
    own.delete_stack(StackName=f"{name}-r")
    wait_for("the deletion", lambda: not [it for it in cfn.describe_stacks()["Stacks"] if it["StackName"] == f"{name}-r"])
    iam.put_user_policy(UserName=user, PolicyName="stacks", PolicyDocument=allow("cloudformation:DescribeStacks"))
    assert refused(own.create_stack, StackName=name, TemplateBody=template(Vpc=VPC))[0] == "AccessDenied"


@pytest.mark.root
def test_kill_9_in_between_makes_nothing_twice(own_lath):
    lath = own_lath
    cfn, ec2, name = lath.client("cloudformation"), lath.client("ec2"), unique("stack")
    arn = cfn.create_stack(StackName=name, TemplateBody=NETWORK, Capabilities=["CAPABILITY_IAM"])["StackId"]
    for number in (2, 9):
        wait_for("some resources", lambda: len(physical(cfn, name)) >= number)
        lath.kill()
        lath.start()
    cfn.get_waiter("stack_create_complete").wait(StackName=name, **SOON)
    own = [{"Name": "tag:aws:cloudformation:stack-id", "Values": [arn]}]
    counted = {
        "Vpcs": ec2.describe_vpcs(Filters=own), "Subnets": ec2.describe_subnets(Filters=own),
        "InternetGateways": ec2.describe_internet_gateways(Filters=own), "RouteTables": ec2.describe_route_tables(Filters=own),
        "SecurityGroups": ec2.describe_security_groups(Filters=own)}
    assert {kind: len(answer[kind]) for kind, answer in counted.items()} == dict.fromkeys(counted, 1)
    assert len(lath.client("iam").list_roles()["Roles"]) - len(
        [it for it in lath.client("iam").list_roles()["Roles"] if "/aws-service-role/" in it["Path"]]) == 1
    assert len(lath.client("vpc-lattice").list_service_networks()["items"]) == 1
    cfn.delete_stack(StackName=name)
    wait_for("some to go", lambda: status(cfn, arn) != "CREATE_COMPLETE")
    lath.kill()
    lath.start()
    cfn.get_waiter("stack_delete_complete").wait(StackName=arn, **SOON)
    assert ec2.describe_vpcs(Filters=own)["Vpcs"] == []
