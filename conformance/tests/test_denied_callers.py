"""For every operation and every resource type that the Service Authorization Reference gives it: a caller who may do
everything and is denied that very resource is refused, however the request spells it.

The requests are made from the published models: each member that names a resource of a kind gets the one that
`Everything` has. `TOGETHER` gives what the names do not tell, `NOT_HERE` the pairs that no request of Lath's has.
"""

import fnmatch
import json
import re

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
import lathlab
from lathlab import ROOT
from lathlab.everything import Everything
from lathlab.lab import Lab, code_of, unique

# What the statements leave out, each with its reason.
LISTS = sorted(ROOT.glob("crates/*/tests/authorization.txt"))
REFERENCE = ROOT / "crates" / "authz" / "src" / "reference.txt"
COMPATIBILITY = ROOT / "docs" / "compatibility.md"
# What refusals are called: EC2's, XML's and JSON's.
REFUSED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
FREE = {"sts:GetCallerIdentity", "sts:GetSessionToken", "sts:AssumeRole"}

# What the members' names do not tell: whole arguments in place of those that were guessed, in one or more forms; for an
# operation, or for one resource type of it. `$x` is Everything's x, `$ec2:VpcId` a value of its.
INTERFACE = {"DeviceIndex": 0, "SubnetId": "$ec2:SubnetId", "Groups": ["$ec2:GroupId"]}
RUN = {"ImageId": "$ec2:ImageId", "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro"}
TEMPLATE = {"InstanceType": "t3.micro"}
TEMPLATES = [{"LaunchTemplateId": "$ec2:LaunchTemplateId"}, {"LaunchTemplateName": "$template_name"}]
RULE = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "CidrIpv4": "10.0.0.0/8"}
RULES = [{"IpProtocol": "tcp", "FromPort": 7, "ToPort": 8, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
PEERING = [{"TransitGatewayAttachmentId": "$peering"}]
RECORD = {"Action": "UPSERT", "ResourceRecordSet": {"Name": "a.example", "Type": "A", "TTL": 1, "ResourceRecords": [{"Value": "10.0.0.1"}]}}
TOGETHER = {
    "ec2:RunInstances": [RUN | {"NetworkInterfaces": [INTERFACE]}],
    "ec2:RunInstances subnet": [RUN | {"NetworkInterfaces": [INTERFACE]}, RUN | {"SubnetId": "$ec2:SubnetId"}],
    "ec2:RunInstances security-group": [
        RUN | {"NetworkInterfaces": [INTERFACE]}, RUN | {"SubnetId": "$ec2:SubnetId", "SecurityGroupIds": ["$ec2:GroupId"]}],
    "ec2:RunInstances key-pair": [RUN | {"SubnetId": "$ec2:SubnetId", "KeyName": "$ec2:KeyName"}],
    "ec2:RunInstances launch-template": [
        {"MinCount": 1, "MaxCount": 1, "SubnetId": "$ec2:SubnetId", "LaunchTemplate": {"LaunchTemplateId": "$ec2:LaunchTemplateId"}},
        {"MinCount": 1, "MaxCount": 1, "SubnetId": "$ec2:SubnetId", "LaunchTemplate": {"LaunchTemplateName": "$template_name"}}],
    "ec2:CreateLaunchTemplate": [{"LaunchTemplateName": "new", "LaunchTemplateData": TEMPLATE}],
    "ec2:CreateLaunchTemplateVersion": [it | {"LaunchTemplateData": TEMPLATE} for it in TEMPLATES],
    "ec2:ModifyLaunchTemplate": [it | {"DefaultVersion": "1"} for it in TEMPLATES],
    "ec2:DeleteLaunchTemplate": TEMPLATES,
    "ec2:DeleteLaunchTemplateVersions": [it | {"Versions": ["1"]} for it in TEMPLATES],
    "ec2:ModifySecurityGroupRules": [{"GroupId": "$ec2:GroupId", "SecurityGroupRules": [
        {"SecurityGroupRuleId": "$ec2:SecurityGroupRuleId", "SecurityGroupRule": RULE}]}],
    "ec2:ModifySecurityGroupRules prefix-list": [{"GroupId": "$ec2:GroupId", "SecurityGroupRules": [
        {"SecurityGroupRuleId": "$ec2:SecurityGroupRuleId", "SecurityGroupRule": {
            "IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "PrefixListId": "$ec2:PrefixListId"}}]}],
    "ec2:AuthorizeSecurityGroupIngress": [{"GroupId": "$ec2:GroupId", "IpPermissions": RULES}],
    "ec2:AuthorizeSecurityGroupEgress": [{"GroupId": "$ec2:GroupId", "IpPermissions": RULES}],
    "ec2:RevokeSecurityGroupIngress": [
        {"GroupId": "$ec2:GroupId", "IpPermissions": RULES},
        {"GroupId": "$ec2:GroupId", "SecurityGroupRuleIds": ["$ec2:SecurityGroupRuleId"]}],
    "ec2:RevokeSecurityGroupEgress": [{"GroupId": "$ec2:GroupId", "IpPermissions": RULES}],
    "ec2:AssociateRouteTable internet-gateway": [{"RouteTableId": "$ec2:RouteTableId", "GatewayId": "$ec2:InternetGatewayId"}],
    "ec2:DisassociateRouteTable": [{"AssociationId": "$table_association"}],
    "ec2:ReplaceRouteTableAssociation": [{"AssociationId": "$table_association", "RouteTableId": "$main_table"}],
    "ec2:DisassociateAddress": [{"AssociationId": "$address_association"}, {"PublicIp": "$public_ip"}],
    "ec2:ReleaseAddress": [{"AllocationId": "$ec2:AllocationId"}],
    "ec2:AssociateAddress": [
        {"AllocationId": "$ec2:AllocationId", "NetworkInterfaceId": "$ec2:NetworkInterfaceId"},
        {"PublicIp": "$public_ip", "NetworkInterfaceId": "$ec2:NetworkInterfaceId"}],
    "ec2:AssociateAddress instance": [{"AllocationId": "$ec2:AllocationId", "InstanceId": "$ec2:InstanceId"}],
    "ec2:DisassociateVpcCidrBlock": [{"AssociationId": "$vpc_cidr"}],
    "ec2:DetachNetworkInterface": [{"AttachmentId": "$attachment"}],
    "ec2:ModifyInstanceCreditSpecification": [
        {"InstanceCreditSpecifications": [{"InstanceId": "$ec2:InstanceId", "CpuCredits": "standard"}]}],
    "ec2:ModifyNetworkInterfaceAttribute instance": [{
        "NetworkInterfaceId": "$attached_interface",
        "Attachment": {"AttachmentId": "$attachment", "DeleteOnTermination": False}}],
    "ec2:ModifyVpcEndpoint": [{"VpcEndpointId": "$ec2:VpcEndpointId", "AddSubnetIds": ["$ec2:SubnetId"],
                               "AddSecurityGroupIds": ["$ec2:GroupId"]}],
    "ec2:DeleteVpcEndpoints": [{"VpcEndpointIds": ["$ec2:VpcEndpointId"]}],
    "ec2:ModifyTransitGateway transit-gateway-route-table": [
        {"TransitGatewayId": "$ec2:TransitGatewayId",
         "Options": {"AssociationDefaultRouteTableId": "$ec2:TransitGatewayRouteTableId"}}],
    "ec2:ModifyTransitGatewayVpcAttachment subnet": [
        {"TransitGatewayAttachmentId": "$ec2:TransitGatewayAttachmentId", "AddSubnetIds": ["$ec2:SubnetId"]}],
    "ec2:SearchTransitGatewayRoutes": [
        {"TransitGatewayRouteTableId": "$ec2:TransitGatewayRouteTableId", "Filters": [{"Name": "state", "Values": ["active"]}]}],
    "ec2:DisassociateIamInstanceProfile": [{"AssociationId": "$profile_association"}],
    "ec2:ReplaceIamInstanceProfileAssociation": [
        {"AssociationId": "$profile_association", "IamInstanceProfile": "$ec2:IamInstanceProfile"}],
    "ec2:AcceptTransitGatewayPeeringAttachment": PEERING,
    "ec2:RejectTransitGatewayPeeringAttachment": PEERING,
    "ec2:DeleteTransitGatewayPeeringAttachment": PEERING,
    "ec2:ReplaceNetworkAclAssociation": [{"AssociationId": "$acl_association", "NetworkAclId": "$ec2:NetworkAclId"}],
    "ec2:CreateNatGateway": [{"SubnetId": "$ec2:SubnetId", "AllocationId": "$ec2:AllocationId"}],
    "iam:CreateUser": [{"UserName": "new", "Path": "/of/"}],
    "iam:CreateGroup": [{"GroupName": "new", "Path": "/of/"}],
    # STS looks at a request before it judges the caller.
    "sts:GetAccessKeyInfo": [{"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}],
    "iam:CreateRole": [{"RoleName": "new", "Path": "/of/", "AssumeRolePolicyDocument": "x"}],
    "iam:CreateInstanceProfile": [{"InstanceProfileName": "new", "Path": "/of/"}],
    "iam:CreatePolicy": [{"PolicyName": "new", "Path": "/of/", "PolicyDocument": "x"}],
    "iam:CreateServiceLinkedRole": [{"AWSServiceName": "vpc-lattice.amazonaws.com"}],
    "iam:DeleteServiceLinkedRole": [{"RoleName": "AWSServiceRoleForVpcLattice"}],
    "iam:GetServiceLinkedRoleDeletionStatus": [
        {"DeletionTaskId": "task/aws-service-role/vpc-lattice.amazonaws.com/AWSServiceRoleForVpcLattice/1"}],
    "vpc-lattice:BatchUpdateRule": [
        {"serviceIdentifier": "$vpc-lattice:serviceIdentifier", "listenerIdentifier": "$vpc-lattice:listenerIdentifier",
         "rules": [{"ruleIdentifier": "$vpc-lattice:ruleIdentifier", "priority": 7}]}],
    "route53:ChangeResourceRecordSets": [{"HostedZoneId": "$route53:HostedZoneId", "ChangeBatch": {"Changes": [RECORD]}}],
}
# Resources that are not the ones of the kind that most requests name.
ANOTHER = {
    ("ec2:DetachNetworkInterface", "network-interface"): "arn:aws:ec2:{region}:{account}:network-interface/{attached_interface}",
    ("ec2:AcceptTransitGatewayPeeringAttachment", "transit-gateway-attachment"): "arn:aws:ec2:{region}:{account}:transit-gateway-attachment/{peering}",
    ("ec2:RejectTransitGatewayPeeringAttachment", "transit-gateway-attachment"): "arn:aws:ec2:{region}:{account}:transit-gateway-attachment/{peering}",
    ("ec2:DeleteTransitGatewayPeeringAttachment", "transit-gateway-attachment"): "arn:aws:ec2:{region}:{account}:transit-gateway-attachment/{peering}",
    # Operations on tags take the ARN of a group without the star, and are judged on that.
    ("logs:ListTagsForResource", "log-group"): "arn:aws:logs:{region}:{account}:log-group:{logGroupName}",
    ("logs:TagResource", "log-group"): "arn:aws:logs:{region}:{account}:log-group:{logGroupName}",
    ("logs:UntagResource", "log-group"): "arn:aws:logs:{region}:{account}:log-group:{logGroupName}",
    # What has a name from its caller is made under it.
    ("iam:CreateUser", "user"): "arn:aws:iam::{account}:user/of/new",
    ("iam:CreateGroup", "group"): "arn:aws:iam::{account}:group/of/new",
    ("iam:CreateRole", "role"): "arn:aws:iam::{account}:role/of/new",
    ("iam:CreateInstanceProfile", "instance-profile"): "arn:aws:iam::{account}:instance-profile/of/new",
    ("iam:CreatePolicy", "policy"): "arn:aws:iam::{account}:policy/of/new",
    ("iam:CreateServiceLinkedRole", "role"): "arn:aws:iam::{account}:role/aws-service-role/vpc-lattice.amazonaws.com/*",
    ("iam:DeleteServiceLinkedRole", "role"): "arn:aws:iam::{account}:role/aws-service-role/vpc-lattice.amazonaws.com/AWSServiceRoleForVpcLattice",
    ("iam:GetServiceLinkedRoleDeletionStatus", "role"): "arn:aws:iam::{account}:role/aws-service-role/vpc-lattice.amazonaws.com/AWSServiceRoleForVpcLattice",
    # The side that is asked.
    ("ec2:AcceptVpcPeeringConnection", "vpc"): "arn:aws:ec2:{region}:{account}:vpc/{peer_vpc}",
}
# What requests make before it has a name.
MADE = {
    "ec2:RunInstances": {"instance", "network-interface", "volume"},
    "ec2:AuthorizeSecurityGroupIngress": {"security-group-rule"},
    "ec2:AuthorizeSecurityGroupEgress": {"security-group-rule"},
    "ec2:AllocateAddress": {"elastic-ip"},
    "ec2:CreateDhcpOptions": {"dhcp-options"},
    "ec2:CreateInternetGateway": {"internet-gateway"},
    "ec2:CreateLaunchTemplate": {"launch-template"},
    "ec2:CreateManagedPrefixList": {"prefix-list"},
    "ec2:CreateNatGateway": {"natgateway"},
    "ec2:CreateNetworkAcl": {"network-acl"},
    "ec2:CreateVpcPeeringConnection": {"vpc-peering-connection"},
    "ec2:CreateNetworkInterface": {"network-interface"},
    "ec2:CreateRouteTable": {"route-table"},
    "ec2:CreateSecurityGroup": {"security-group"},
    "ec2:CreateSubnet": {"subnet"},
    "ec2:CreateTransitGateway": {"transit-gateway"},
    "ec2:CreateTransitGatewayPeeringAttachment": {"transit-gateway-attachment"},
    "ec2:CreateTransitGatewayRouteTable": {"transit-gateway-route-table"},
    "ec2:CreateTransitGatewayVpcAttachment": {"transit-gateway-attachment"},
    "ec2:CreateVpc": {"vpc"},
    "ec2:CreateVpcEndpoint": {"vpc-endpoint"},
    "vpc-lattice:CreateAccessLogSubscription": {"AccessLogSubscription"},
    "vpc-lattice:CreateListener": {"Listener"},
    "vpc-lattice:CreateResourceConfiguration": {"ResourceConfiguration"},
    "vpc-lattice:CreateResourceGateway": {"ResourceGateway"},
    "vpc-lattice:CreateRule": {"Rule"},
    "vpc-lattice:CreateService": {"Service"},
    "vpc-lattice:CreateServiceNetwork": {"ServiceNetwork"},
    "vpc-lattice:CreateServiceNetworkResourceAssociation": {"ServiceNetworkResourceAssociation"},
    "vpc-lattice:CreateServiceNetworkServiceAssociation": {"ServiceNetworkServiceAssociation"},
    "vpc-lattice:CreateServiceNetworkVpcAssociation": {"ServiceNetworkVpcAssociation"},
    "vpc-lattice:CreateTargetGroup": {"TargetGroup"},
    "vpc-lattice:StartDomainVerification": {"DomainVerification"},
}
# Actions that are named otherwise than their operations.
ACTIONS = {"vpc-lattice:BatchUpdateRule": "vpc-lattice:UpdateRule", "lambda:Invoke": "lambda:InvokeFunction"}
# Pairs of the reference that requests do not have, beside what the lists leave out.
NOT_HERE = {
    # The reference has rules for those that are tagged.
    ("ec2:AuthorizeSecurityGroupIngress", "security-group-rule"),
    ("ec2:AuthorizeSecurityGroupEgress", "security-group-rule"),
    # Gateways of a whole VPC are refused.
    ("ec2:CreateNatGateway", "vpc"),
    # Endpoints of type Gateway are refused.
    ("ec2:CreateVpcEndpoint", "route-table"),
    ("ec2:ModifyVpcEndpoint", "route-table"),
    # No attribute that is served moves an interface to another subnet.
    ("ec2:ModifyNetworkInterfaceAttribute", "subnet"),
    # An add-on has associations in a cluster only.
    ("eks:UpdateAddon", "podidentityassociation"),
    ("eks:DeleteAddon", "podidentityassociation"),
}


def left_out(action, kind):
    """Whether the lists of differences leave the pair out."""
    if action in ("ec2:CreateTags", "ec2:DeleteTags"):
        return False
    lines = (line for path in LISTS for line in path.read_text().splitlines() if line.endswith(" is not stated"))
    return any(fnmatch.fnmatchcase(f"{action} {kind} is not stated", line) for line in lines)


def reference():
    """The resource types of each action."""
    types, action = {}, None
    for line in REFERENCE.read_text().splitlines():
        first = line.split(" ")[0]
        if line[0] == "@":
            action = first[1:]
            types[action] = []
        elif line[0] not in "#=" and first != "-":
            types[action].append(first.rstrip("!"))
    return types


def served():
    """(service, operation) of everything that is served."""
    found, service = [], None
    for line in COMPATIBILITY.read_text().splitlines():
        if heading := re.match(r"## (\S+)$", line):
            service = heading[1]
        elif row := re.match(r"\| (\w+) \| yes ", line):
            found.append((service, row[1]))
    return found


class Caller:
    """A user who may do everything but what was denied last."""

    def __init__(self, lath):
        self.iam, self.name = lath.client("iam"), unique("denied")
        self.iam.create_user(UserName=self.name)
        key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        self.key = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        self.lath, self.clients = lath, {}

    def denied(self, **statement):
        allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        self.iam.put_user_policy(UserName=self.name, PolicyName="p", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [allow, {"Effect": "Deny", **statement}]}))

    def allowed(self, **statement):
        self.iam.put_user_policy(UserName=self.name, PolicyName="p", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}))

    def call(self, service, operation, arguments, region=None):
        """The code with which a request is refused, or None."""
        region = region or self.lath.region
        if (service, region) not in self.clients:
            self.clients[service, region] = boto3.client(
                service, endpoint_url=self.lath.endpoint, region_name=region, **self.key,
                config=Config(parameter_validation=False, retries={"total_max_attempts": 1}))
        client = self.clients[service, region]
        names = {wire: method for method, wire in client.meta.method_to_api_mapping.items()}
        try:
            getattr(client, names[operation])(**arguments)
        except ClientError as error:
            return code_of(error)
        return None


MODELS = {}


def model(service):
    if service not in MODELS:
        MODELS[service] = botocore.session.get_session().get_service_model(service)
    return MODELS[service]


def guessed(world, service, operation):
    """Arguments by the names of members: what names a resource, and something for what else is required."""
    shape = model(service).operation_model(operation).input_shape
    arguments = {}
    for name, member in (shape.members if shape else {}).items():
        value = world.values.get((service, name))
        if value is None and name not in shape.required_members:
            continue
        if value is not None:
            listed = member.type_name == "list" and not isinstance(value, list)
            arguments[name] = [value] if listed else value
        else:
            arguments[name] = something(member)
    return arguments


def something(member, depth=0):
    """A value of a member's type."""
    kind = member.type_name
    if kind == "structure":
        return {name: something(inner, depth + 1) for name, inner in member.members.items()
                if name in member.required_members}
    if kind == "list":
        return [something(member.member, depth + 1)]
    if kind == "map":
        return {}
    if kind in ("integer", "long", "float", "double"):
        return 1
    if kind == "boolean":
        return False
    if kind == "timestamp":
        return 0
    return member.enum[0] if getattr(member, "enum", None) else "x"


def filled(world, value):
    """`$name` and `$Member` of a request stand for what the world has."""
    if isinstance(value, dict):
        return {key: filled(world, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(world, inner) for inner in value]
    if isinstance(value, str) and value.startswith("$"):
        name = value[1:]
        if hasattr(world, name):
            return getattr(world, name)
        service, _, member = name.partition(":")
        return world.values[service, member]
    return value


@pytest.fixture(scope="module")
def world():
    """On a Lath of its own, which goes with all that is on it."""
    with lathlab.Lath() as lath:
        lab = Lab(lath)
        world = Everything(lab)
        yield world
        lab.ec2.terminate_instances(InstanceIds=[world.values["ec2", "InstanceId"]])
        lab.until(world.values["ec2", "InstanceId"], "terminated")


@pytest.fixture(scope="module")
def caller(world):
    return Caller(world.lath)


def requests(world, service, operation, kind):
    """The request's forms for a resource type: those of the tables, or one that was guessed."""
    action = f"{service}:{operation}"
    if operation in ("CreateTags", "DeleteTags"):
        id = re.split("[:/]", world.arns[service, kind])[-1]
        return [{"Resources": [id], "Tags": [{"Key": "a", "Value": "b"}]}]
    given = TOGETHER.get(f"{action} {kind}", TOGETHER.get(action))
    if given:
        return [filled(world, arguments) for arguments in given]
    arguments = guessed(world, service, operation) | named_by_kind(world, service, operation, kind)
    return [arguments, *(arguments | {member: other} for member, other in spellings(world, service, arguments))]


def named_by_kind(world, service, operation, kind):
    """Members that name resources of several kinds: the one of this kind."""
    arn = world.arns.get((service, kind))
    shape = model(service).operation_model(operation).input_shape
    if arn is None or shape is None:
        return {}
    id = re.split("[:/]", arn)[-1]
    if service == "vpc-lattice":
        named = {"resourceArn": arn, "resourceIdentifier": arn}
    elif service == "route53":
        named = {"Id": id, "ResourceId": id, "ResourceIds": [id], "ResourceType": kind, "HostedZoneId": id,
                 "DelegationSetId": id}
    elif service == "logs":
        named = {"resourceArn": arn.removesuffix(":*")}
    elif service in ("ecr", "eks"):
        named = {"resourceArn": arn}
    else:
        named = {"PolicySourceArn": arn}
    return {member: value for member, value in named.items() if member in shape.members}


def spellings(world, service, arguments):
    """The same resource under other names: an ARN for an id, capitals where names have no case, a path."""
    for member, value in arguments.items():
        if service == "vpc-lattice" and member == "resourceIdentifier":
            yield member, value.rsplit("/", 1)[-1]
        elif service == "vpc-lattice" and member.endswith("Identifier"):
            whole = [arn for (of, _), arn in world.arns.items() if of == service and arn.endswith(f"/{value}")]
            for arn in whole:
                yield member, arn
        elif service == "iam" and member in ("UserName", "GroupName", "RoleName", "InstanceProfileName"):
            yield member, value.upper()
        elif service == "route53" and member in ("HostedZoneId", "Id"):
            for kind in ("hostedzone", "delegationset", "change"):
                if world.arns[service, kind].endswith(f"/{value}"):
                    yield member, f"/{kind}/{value}"
        elif service == "logs" and member == "logGroupIdentifier":
            yield member, world.arns["logs", "log-group"].removesuffix(":*")
            yield member, world.arns["logs", "log-group"]


def arn_of(world, service, operation, kind):
    """The resource to deny: what is made has no name yet."""
    action = f"{service}:{operation}"
    if another := ANOTHER.get((action, kind)):
        names = {member: value for (of, member), value in world.values.items() if of == service and isinstance(value, str)}
        return another.format(**names | vars(world))
    arn = world.arns.get((service, kind))
    if arn and kind in MADE.get(action, ()):
        return re.sub(r"[^/:]+$", "*", arn)
    return arn


@pytest.mark.root
@pytest.mark.parametrize("service", sorted({service for service, _ in served()}))
def test_a_denied_resource_is_refused(world, caller, service):
    types, failed = reference(), []
    for operation in (operation for of, operation in served() if of == service):
        action = f"{service}:{operation}"
        if action in FREE:
            continue
        operated, action = action, ACTIONS.get(action, action)
        kinds = [kind for kind in types.get(action, []) if (operated, kind) not in NOT_HERE and not left_out(action, kind)]
        for kind in kinds or ["*"]:
            arn = "*" if kind == "*" else arn_of(world, service, operation, kind)
            if arn is None:
                continue
            caller.denied(Action=action, Resource=arn)
            for arguments in requests(world, service, operation, kind):
                code = caller.call(service, operation, arguments)
                if code not in REFUSED:
                    failed.append(f"{action} with {arguments} is not refused by a denial of {arn}: {code}")
    assert not failed, "\n".join(failed)


@pytest.mark.root
@pytest.mark.parametrize("region", ["cn-north-1", "cn-northwest-1", "us-gov-west-1"])
def test_a_signature_for_a_region_of_another_partition_is_judged_by_this_ones_arns(world, caller, region):
    user, zone = world.arns["iam", "user"], world.arns["route53", "hostedzone"]
    caller.denied(Action=["iam:*", "route53:*"], Resource=[user, zone])
    for service, operation, arguments in [
        ("iam", "CreateAccessKey", {"UserName": world.values["iam", "UserName"]}),
        ("route53", "DeleteHostedZone", {"Id": world.values["route53", "HostedZoneId"]}),
        # Its trust policy names a service only, and what names no role of this partition names none.
        ("sts", "AssumeRole", {"RoleArn": world.arns["iam", "role"], "RoleSessionName": "xx"}),
        ("sts", "AssumeRole", {"RoleArn": world.arns["iam", "role"].replace("arn:aws:", "arn:aws-cn:"), "RoleSessionName": "xx"}),
    ]:
        assert caller.call(service, operation, arguments, region) in REFUSED, (service, operation)


@pytest.mark.root
def test_a_tag_that_is_given_twice_does_not_pass_for_one_of_the_two(world, caller):
    caller.allowed(Action="ec2:CreateTags", Resource="*", Condition={"StringEquals": {"aws:RequestTag/env": "dev"}})

    def tagged(*tags):
        return caller.call("ec2", "CreateTags", {
            "Resources": [world.values["ec2", "VpcId"]], "Tags": [{"Key": key, "Value": value} for key, value in tags]})

    assert tagged(("env", "dev")) is None
    assert tagged(("env", "prod")) in REFUSED
    assert tagged(("env", "dev"), ("env", "prod")) in REFUSED
    assert tagged(("env", "dev"), ("ENV", "prod")) in REFUSED
