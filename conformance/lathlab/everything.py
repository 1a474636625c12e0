"""One of every kind of resource on a Lath, under the names that AWS's Service Authorization Reference has for them."""

import json

from . import wait_for
from .lab import fixed, unique

TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
ONE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*"}]}


class Everything:
    """`arns` has a resource of each type, by service and type; `values` what a request's members of a name are."""

    def __init__(self, lab):
        self.lab, self.lath = lab, lab.lath
        self.account = self.lath.client("sts").get_caller_identity()["Account"]
        self.region = self.lath.region
        self.arns, self.values = {}, {}
        for part in (self._networks, self._instances, self._transit, self._iam, self._lattice, self._route53, self._observe):
            part()

    def _ec2(self, kind, id, *members, account=None):
        self.arns["ec2", kind] = f"arn:aws:ec2:{self.region}:{self.account if account is None else account}:{kind}/{id}"
        self.values.update({("ec2", member): id for member in members})
        return id

    def _networks(self):
        lab, ec2 = self.lab, self.lab.ec2
        vpc, subnet, _ = lab.vpc("10.90.0.0/16", "10.90.1.0/24", internet=True)
        self._ec2("vpc", vpc, "VpcId")
        self._ec2("subnet", subnet, "SubnetId", "SubnetIds")
        group = lab.group(vpc, {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]})
        self._ec2("security-group", group, "GroupId", "GroupIds", "SecurityGroupIds", "Groups", "SecurityGroupId")
        rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
        rule = next(it for it in rules if not it["IsEgress"])["SecurityGroupRuleId"]
        self._ec2("security-group-rule", rule, "SecurityGroupRuleId", "SecurityGroupRuleIds")
        gateway = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])
        self._ec2("internet-gateway", gateway["InternetGateways"][0]["InternetGatewayId"], "InternetGatewayId")
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        lab.later(ec2.delete_route_table, RouteTableId=table)
        self._ec2("route-table", table, "RouteTableId")
        associated = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
        lab.later(ec2.disassociate_route_table, AssociationId=associated)
        self.table_association = associated
        self.main_table = lab.main_table(vpc)
        nacl = ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"][0]
        self._ec2("network-acl", nacl["NetworkAclId"], "NetworkAclId")
        self.acl_association = nacl["Associations"][0]["NetworkAclAssociationId"]
        options = ec2.create_dhcp_options(DhcpConfigurations=[{"Key": "domain-name", "Values": ["corp.test"]}])["DhcpOptions"]["DhcpOptionsId"]
        lab.later(ec2.delete_dhcp_options, DhcpOptionsId=options)
        self._ec2("dhcp-options", options, "DhcpOptionsId")
        address = ec2.allocate_address(Domain="vpc")
        lab.later(ec2.release_address, AllocationId=address["AllocationId"])
        self._ec2("elastic-ip", address["AllocationId"], "AllocationId")
        self.public_ip = address["PublicIp"]
        interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
        lab.later(ec2.delete_network_interface, NetworkInterfaceId=interface["NetworkInterfaceId"])
        self._ec2("network-interface", interface["NetworkInterfaceId"], "NetworkInterfaceId")
        self.address_association = ec2.associate_address(
            AllocationId=address["AllocationId"], NetworkInterfaceId=interface["NetworkInterfaceId"])["AssociationId"]
        lab.later(ec2.disassociate_address, AssociationId=self.address_association)
        nat = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
        lab.later(self._nat_deleted, nat=nat)
        self._ec2("natgateway", nat, "NatGatewayId")
        prefixes = ec2.create_managed_prefix_list(
            PrefixListName=unique("list"), AddressFamily="IPv4", MaxEntries=3, Entries=[{"Cidr": "10.1.0.0/16"}])["PrefixList"]
        lab.later(ec2.delete_managed_prefix_list, PrefixListId=prefixes["PrefixListId"])
        self._ec2("prefix-list", prefixes["PrefixListId"], "PrefixListId")
        peer, _, _ = lab.vpc("10.95.0.0/16", "10.95.1.0/24")
        pcx = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=peer)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        lab.later(ec2.delete_vpc_peering_connection, VpcPeeringConnectionId=pcx)
        self._ec2("vpc-peering-connection", pcx, "VpcPeeringConnectionId")
        # The sides of one that is to be made, and the one that was asked.
        self.values["ec2", "PeerVpcId"], self.peer_vpc = vpc, peer
        self.vpc_cidr = ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="10.91.0.0/16")["CidrBlockAssociation"]["AssociationId"]

    def _nat_deleted(self, nat):
        self.lab.ec2.delete_nat_gateway(NatGatewayId=nat)
        wait_for("the NAT gateway to go", lambda: self.lab.ec2.describe_nat_gateways(NatGatewayIds=[nat])["NatGateways"][0]["State"] == "deleted")

    def _instances(self):
        lab, ec2 = self.lab, self.lab.ec2
        self._ec2("image", lab.image(), "ImageId", account="")
        key = unique("key")
        ec2.create_key_pair(KeyName=key)
        lab.later(ec2.delete_key_pair, KeyName=key)
        self._ec2("key-pair", key, "KeyName")
        iam = self.lath.client("iam")
        role, profile = unique("role"), unique("profile")
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST), Path="/of/")
        iam.create_instance_profile(InstanceProfileName=profile, Path="/of/")
        iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
        self.arns["iam", "role"] = f"arn:aws:iam::{self.account}:role/of/{role}"
        self.arns["iam", "instance-profile"] = f"arn:aws:iam::{self.account}:instance-profile/of/{profile}"
        self.values["iam", "RoleName"], self.values["iam", "InstanceProfileName"] = role, profile
        self.values["ec2", "IamInstanceProfile"] = {"Name": profile}
        subnet, group = self.values["ec2", "SubnetId"], self.values["ec2", "GroupId"]
        template = ec2.create_launch_template(
            LaunchTemplateName=unique("template"), LaunchTemplateData={"ImageId": lab.image(), "InstanceType": "t3.micro"})["LaunchTemplate"]
        self._ec2("launch-template", template["LaunchTemplateId"], "LaunchTemplateId")
        self.template_name = template["LaunchTemplateName"]
        started = lab.launch(subnet, group, IamInstanceProfile={"Name": profile})["InstanceId"]
        lab.until(started, "running")
        self._ec2("instance", started, "InstanceId", "InstanceIds")
        shown = lab.describe(started)
        self._ec2("volume", shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"], "VolumeId", "VolumeIds")
        self.profile_association = ec2.describe_iam_instance_profile_associations(
            Filters=[{"Name": "instance-id", "Values": [started]}])["IamInstanceProfileAssociations"][0]["AssociationId"]
        self.attached_interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
        lab.later(ec2.delete_network_interface, NetworkInterfaceId=self.attached_interface)
        self.attachment = ec2.attach_network_interface(
            NetworkInterfaceId=self.attached_interface, InstanceId=started, DeviceIndex=1)["AttachmentId"]
        lab.later(ec2.detach_network_interface, AttachmentId=self.attachment, Force=True)

    def _transit(self):
        lab, ec2 = self.lab, self.lab.ec2

        def gateway():
            made = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
            wait_for("the gateway", lambda: ec2.describe_transit_gateways(
                TransitGatewayIds=[made])["TransitGateways"][0]["State"] == "available")
            return made

        tgw, peer = gateway(), gateway()
        self._ec2("transit-gateway", tgw, "TransitGatewayId")
        self.values["ec2", "PeerTransitGatewayId"] = peer
        attached = ec2.create_transit_gateway_vpc_attachment(
            TransitGatewayId=tgw, VpcId=self.values["ec2", "VpcId"], SubnetIds=[self.values["ec2", "SubnetId"]])
        attached = attached["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
        wait_for("the attachment", lambda: ec2.describe_transit_gateway_vpc_attachments(
            TransitGatewayAttachmentIds=[attached])["TransitGatewayVpcAttachments"][0]["State"] == "available")
        self._ec2("transit-gateway-attachment", attached, "TransitGatewayAttachmentId")
        table = ec2.create_transit_gateway_route_table(TransitGatewayId=tgw)["TransitGatewayRouteTable"]["TransitGatewayRouteTableId"]
        self._ec2("transit-gateway-route-table", table, "TransitGatewayRouteTableId")
        self.peering = ec2.create_transit_gateway_peering_attachment(
            TransitGatewayId=tgw, PeerTransitGatewayId=peer, PeerAccountId=self.account, PeerRegion=self.region)[
            "TransitGatewayPeeringAttachment"]["TransitGatewayAttachmentId"]

    def _iam(self):
        iam, account = self.lath.client("iam"), self.account
        user, group, policy = unique("user"), unique("group"), unique("policy")
        iam.create_user(UserName=user, Path="/of/")
        iam.create_group(GroupName=group, Path="/of/")
        self.arns["iam", "policy"] = iam.create_policy(
            PolicyName=policy, Path="/of/", PolicyDocument=json.dumps(ONE))["Policy"]["Arn"]
        self.arns["iam", "user"] = f"arn:aws:iam::{account}:user/of/{user}"
        self.arns["iam", "group"] = f"arn:aws:iam::{account}:group/of/{group}"
        self.values.update({("iam", "UserName"): user, ("iam", "GroupName"): group, ("iam", "PolicyArn"): self.arns["iam", "policy"]})
        iam.create_service_linked_role(AWSServiceName="vpc-lattice.amazonaws.com")
        self.values["iam", "AccessKeyId"] = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]

    def _lattice(self):
        lab, lattice = self.lab, self.lab.lattice
        network = lattice.create_service_network(name=unique("net"))["id"]
        vpc = lab.associate_vpc(network, self.values["ec2", "VpcId"])
        service, _ = lab.service(authType="NONE")
        member = lab.associate_service(network, service)
        listener = lab.listener(service)
        rule = lab.rule(service, listener, 5, {"method": "GET"}, fixed(404))
        targets = lab.targets(self.values["ec2", "VpcId"])
        group = f"/lattice/{unique('log')}"
        lab.logs.create_log_group(logGroupName=group)
        endpoint = lab.ec2.create_vpc_endpoint(
            VpcEndpointType="ServiceNetwork", VpcId=self.values["ec2", "VpcId"], SubnetIds=[self.values["ec2", "SubnetId"]],
            ServiceNetworkArn=lattice.get_service_network(serviceNetworkIdentifier=network)["arn"])["VpcEndpoint"]
        self._ec2("vpc-endpoint", endpoint["VpcEndpointId"], "VpcEndpointId")
        log = lattice.create_access_log_subscription(
            resourceIdentifier=network, destinationArn=f"arn:aws:logs:{self.region}:{self.account}:log-group:{group}:*")["id"]
        gateway = lattice.create_resource_gateway(
            name=unique("rg"), vpcIdentifier=self.values["ec2", "VpcId"], subnetIds=[self.values["ec2", "SubnetId"]], ipv4AddressesPerEni=1)["id"]
        wait_for("the gateway", lambda: lattice.get_resource_gateway(resourceGatewayIdentifier=gateway)["status"] == "ACTIVE")
        domain = lattice.start_domain_verification(domainName="example.test")["id"]
        resource = lattice.create_resource_configuration(name=unique("rc"), type="GROUP", resourceGatewayIdentifier=gateway)["id"]
        wait_for("the configuration", lambda: lattice.get_resource_configuration(resourceConfigurationIdentifier=resource)["status"] == "ACTIVE")
        joined = lattice.create_service_network_resource_association(
            resourceConfigurationIdentifier=resource, serviceNetworkIdentifier=network)["id"]
        arn = f"arn:aws:vpc-lattice:{self.region}:{self.account}:"
        ids = {
            "ResourceGateway": (f"resourcegateway/{gateway}", gateway, "resourceGatewayIdentifier"),
            "ResourceConfiguration": (f"resourceconfiguration/{resource}", resource, "resourceConfigurationIdentifier"),
            "ServiceNetworkResourceAssociation": (
                f"servicenetworkresourceassociation/{joined}", joined, "serviceNetworkResourceAssociationIdentifier"),
            # No endpoint of this kind is made: what names none is judged all the same.
            "ResourceEndpointAssociation": (
                "resourceendpointassociation/rea-0123456789abcdef0", "rea-0123456789abcdef0", "resourceEndpointAssociationIdentifier"),
            "DomainVerification": (f"domainverification/{domain}", domain, "domainVerificationIdentifier"),
            "ServiceNetwork": (f"servicenetwork/{network}", network, "serviceNetworkIdentifier"),
            "ServiceNetworkVpcAssociation": (
                f"servicenetworkvpcassociation/{vpc}", vpc, "serviceNetworkVpcAssociationIdentifier"),
            "Service": (f"service/{service}", service, "serviceIdentifier"),
            "ServiceNetworkServiceAssociation": (
                f"servicenetworkserviceassociation/{member}", member, "serviceNetworkServiceAssociationIdentifier"),
            "Listener": (f"service/{service}/listener/{listener}", listener, "listenerIdentifier"),
            "Rule": (f"service/{service}/listener/{listener}/rule/{rule}", rule, "ruleIdentifier"),
            "TargetGroup": (f"targetgroup/{targets}", targets, "targetGroupIdentifier"),
            "AccessLogSubscription": (f"accesslogsubscription/{log}", log, "accessLogSubscriptionIdentifier"),
        }
        for kind, (resource, id, member) in ids.items():
            self.arns["vpc-lattice", kind] = arn + resource
            self.values["vpc-lattice", member] = id
        self.values["vpc-lattice", "resourceConfigurationGroupIdentifier"] = resource
        self.values["vpc-lattice", "vpcIdentifier"] = self.values["ec2", "VpcId"]

    def _route53(self):
        route53 = self.lath.client("route53")
        zone = route53.create_hosted_zone(Name=f"{unique('zone')}.example", CallerReference=unique("ref"))
        check = route53.create_health_check(CallerReference=unique("ref"), HealthCheckConfig={
            "Type": "CALCULATED", "HealthThreshold": 0, "ChildHealthChecks": []})["HealthCheck"]["Id"]
        set_ = route53.create_reusable_delegation_set(CallerReference=unique("ref"))["DelegationSet"]["Id"].split("/")[-1]
        collection = route53.create_cidr_collection(Name=unique("c"), CallerReference=unique("ref"))["Collection"]["Id"]
        zone, change = (it["Id"].split("/")[-1] for it in (zone["HostedZone"], zone["ChangeInfo"]))
        self.change = change
        for kind, id in {"hostedzone": zone, "healthcheck": check, "delegationset": set_, "cidrcollection": collection,
                         "change": change}.items():
            self.arns["route53", kind] = f"arn:aws:route53:::{kind}/{id}"
        self.arns["route53", "vpc"] = self.arns["ec2", "vpc"]
        self.values.update({("route53", "HostedZoneId"): zone, ("route53", "HealthCheckId"): check, ("route53", "CollectionId"): collection})

    def _observe(self):
        logs, cloudwatch = self.lab.logs, self.lab.cloudwatch
        group, stream, board = f"/all/{unique('g')}", unique("stream"), unique("board")
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        cloudwatch.put_dashboard(DashboardName=board, DashboardBody=json.dumps({"widgets": []}))
        arn = f"arn:aws:logs:{self.region}:{self.account}:log-group:{group}"
        self.arns["logs", "log-group"], self.arns["logs", "log-stream"] = f"{arn}:*", f"{arn}:log-stream:{stream}"
        self.arns["cloudwatch", "dashboard"] = f"arn:aws:cloudwatch::{self.account}:dashboard/{board}"
        self.values.update({
            ("logs", "logGroupName"): group, ("logs", "logStreamName"): stream, ("logs", "logGroupIdentifier"): group,
            ("cloudwatch", "DashboardName"): board, ("cloudwatch", "DashboardNames"): [board]})
        for kind, name in {"cluster": "cluster/c", "nodegroup": "nodegroup/c/n/*", "addon": "addon/c/a/*",
                           "podidentityassociation": "podidentityassociation/c/p",
                           "access-entry": f"access-entry/c/role/{self.account}/r/*", "fargateprofile": "fargateprofile/c/f/*",
                           "identityproviderconfig": "identityproviderconfig/c/x/x/*", "capability": "capability/c/*/k/*",
                           "eks-anywhere-subscription": "eks-anywhere-subscription/s"}.items():
            self.arns["eks", kind] = f"arn:aws:eks:{self.region}:{self.account}:{name}"
        self.arns["ecr", "repository"] = f"arn:aws:ecr:{self.region}:{self.account}:repository/r1"
        for service, kind, member in (("acm", "certificate", "CertificateArn"), ("acm-pca", "certificate-authority", "CertificateAuthorityArn")):
            arn = f"arn:aws:{service}:{self.region}:{self.account}:{kind}/c"
            self.arns[service, kind] = self.values[service, member] = arn
        arn = f"arn:aws:lambda:{self.region}:{self.account}:function:f1"
        self.arns["lambda", "function"] = self.values["lambda", "Resource"] = arn
        self.values.update({("lambda", "FunctionName"): "f1", ("lambda", "StatementId"): "s1"})
        self.arns["cloudformation", "stack"] = f"arn:aws:cloudformation:{self.region}:{self.account}:stack/s1/*"
        self.values.update({("cloudformation", "StackName"): "s1", ("cloudformation", "ChangeSetName"): "c1"})
        self.values.update({("ecr", "repositoryName"): "r1", ("ecr", "repositoryNames"): ["r1"]})
        self.values.update({("eks", "name"): "c", ("eks", "clusterName"): "c", ("eks", "nodegroupName"): "n", ("eks", "addonName"): "a", ("eks", "associationId"): "p",
                            ("eks", "principalArn"): f"arn:aws:iam::{self.account}:role/r", ("eks", "fargateProfileName"): "f",
                            ("eks", "capabilityName"): "k", ("eks", "id"): "s"})
