"""A world of several regions, made with the AWS APIs alone: a VPC with instances in each, joined by peered Transit
Gateways where wanted. The demo, the drills' tests and benchmarks share it; it goes with its Lath.
"""

import json
import pathlib
import subprocess
import textwrap

from . import binary, calls, wait_for
from .lab import AMI_NAME, ECHO, unique

OPEN = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]


class Place:
    """One region's VPC: two subnets in zones a and b, public through an internet gateway, open security group."""

    def __init__(self, world, region, number):
        self.world, self.region, self.net = world, region, f"10.{number}"
        self.ec2, self.lattice = world.client("ec2", region), world.client("vpc-lattice", region)
        ec2 = self.ec2
        self.vpc = ec2.create_vpc(CidrBlock=f"{self.net}.0.0/16")["Vpc"]["VpcId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["RouteTables"]
        self.table = tables[0]["RouteTableId"]
        ec2.create_route(RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        self.subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"{self.net}.{n}.0/24", AvailabilityZone=f"{region}{zone}")
            ["Subnet"]["SubnetId"] for n, zone in ((1, "a"), (2, "b"))]
        for subnet in self.subnets:
            ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
        self.group = ec2.create_security_group(GroupName=unique("open"), Description="open", VpcId=self.vpc)["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=self.group, IpPermissions=OPEN)
        images = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [AMI_NAME]}])["Images"]
        self.image = max(images, key=lambda image: image["CreationDate"])["ImageId"]

    def launch(self, name, user_data="#!/bin/sh\n", subnet=0):
        """An instance, running; gives {"id", "private", "public"}."""
        launched = self.ec2.run_instances(
            ImageId=self.image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=self.subnets[subnet],
            SecurityGroupIds=[self.group], UserData=user_data,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}])
        instance = launched["Instances"][0]["InstanceId"]

        def running():
            found = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
            return found if found["State"]["Name"] == "running" else None

        found = wait_for(f"{name} in {self.region} to run", running)
        return {"id": instance, "private": found["PrivateIpAddress"], "public": found.get("PublicIpAddress"),
                "name": name, "region": self.region}

    def server(self, name, port=80, subnet=0):
        """An instance that answers HTTP with its name, from its first boot on and after every other."""
        script = textwrap.dedent(f"""\
            #!/bin/bash
            mkdir -p /srv /var/lib/cloud/scripts/per-boot
            cat >/srv/echo.py <<'PY'
            {{ECHO}}
            PY
            cat >/var/lib/cloud/scripts/per-boot/echo <<'BOOT'
            #!/bin/bash
            setsid python3 /srv/echo.py {name} {port} >/dev/null 2>&1 </dev/null &
            BOOT
            chmod +x /var/lib/cloud/scripts/per-boot/echo
            /var/lib/cloud/scripts/per-boot/echo
            """).replace("{ECHO}", ECHO)
        instance = self.launch(name, script, subnet)
        wait_for(f"{name} to listen", lambda: self.world.lath.exec(
            instance["id"], "curl", "-sf", "--max-time", "5", f"http://127.0.0.1:{port}/", check=False).returncode == 0)
        return instance

    def transit_gateway(self):
        """A Transit Gateway with this VPC attached; gives its id."""
        made = self.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
        gateway = wait_for("a Transit Gateway", lambda: next(
            (g for g in self.ec2.describe_transit_gateways(TransitGatewayIds=[made])["TransitGateways"]
             if g["State"] == "available"), None))
        self.gateway, self.gateway_table = made, gateway["Options"]["AssociationDefaultRouteTableId"]
        attachment = self.ec2.create_transit_gateway_vpc_attachment(
            TransitGatewayId=made, VpcId=self.vpc, SubnetIds=self.subnets)["TransitGatewayVpcAttachment"]
        self.attachment = attachment["TransitGatewayAttachmentId"]
        wait_for("a VPC attachment", lambda: self.ec2.describe_transit_gateway_vpc_attachments(
            TransitGatewayAttachmentIds=[self.attachment])["TransitGatewayVpcAttachments"][0]["State"] == "available")
        return made

    def peering_state(self, peering):
        found = self.ec2.describe_transit_gateway_peering_attachments(TransitGatewayAttachmentIds=[peering])
        return found["TransitGatewayPeeringAttachments"][0]["State"]


class World:
    """Places by region, on a Lath that serves those regions."""

    def __init__(self, lath):
        self.lath, self.env = lath, lath.env()
        self.places = {}

    def client(self, service, region):
        import boto3
        from botocore.config import Config
        return boto3.client(
            service, endpoint_url=self.lath.endpoint, region_name=region,
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 2}, parameter_validation=False))

    def place(self, region):
        if region not in self.places:
            self.places[region] = Place(self, region, len(self.places) + 1)
        return self.places[region]

    def call(self, instance, url, *curl):
        """The body that curl gets in an instance, decoded; None when it gets none."""
        run = self.lath.exec(instance["id"], "curl", "-sS", "--max-time", "5", *curl, url, check=False)
        if run.returncode != 0:
            return None
        return json.loads(run.stdout)

    # ------------------------------------------------------------------------------------------ joining
    def peer(self, one, other):
        """Joins two places by peered Transit Gateways with routes both ways; gives the peering's id."""
        for place in one, other:
            place.transit_gateway()
        account = self.client("sts", one.region).get_caller_identity()["Account"]
        peering = one.ec2.create_transit_gateway_peering_attachment(
            TransitGatewayId=one.gateway, PeerTransitGatewayId=other.gateway, PeerAccountId=account,
            PeerRegion=other.region)["TransitGatewayPeeringAttachment"]["TransitGatewayAttachmentId"]
        wait_for("the peering to arrive", lambda: other.peering_state(peering) == "pendingAcceptance")
        other.ec2.accept_transit_gateway_peering_attachment(TransitGatewayAttachmentId=peering)
        for place in one, other:
            wait_for("the peering", lambda place=place: place.peering_state(peering) == "available")
        for place, far in (one, other), (other, one):
            place.ec2.create_transit_gateway_route(
                TransitGatewayRouteTableId=place.gateway_table, DestinationCidrBlock=f"{far.net}.0.0/16",
                TransitGatewayAttachmentId=peering)
            place.ec2.create_route(RouteTableId=place.table, DestinationCidrBlock=f"{far.net}.0.0/16",
                                   TransitGatewayId=place.gateway)
        return peering

    # ------------------------------------------------------------------------------------------ Route 53
    def failover_zone(self, name, primary, secondary, interval_ms=None, interval=10, threshold=1, ttl=1):
        """A public zone whose record `app` answers the primary's public address while its check is healthy, else the
        secondary's. Checks of less than 10 s are an extension. Gives {"zone", "name", "checks"}."""
        route53 = self.client("route53", primary["region"])
        zone = route53.create_hosted_zone(Name=name, CallerReference=unique("zone"))["HostedZone"]["Id"]
        checks = []
        for instance in primary, secondary:
            check = route53.create_health_check(CallerReference=unique("check"), HealthCheckConfig={
                "Type": "HTTP", "IPAddress": instance["public"], "Port": 80, "ResourcePath": "/",
                "RequestInterval": interval, "FailureThreshold": threshold})["HealthCheck"]["Id"]
            if interval_ms:
                route53.change_tags_for_resource(
                    ResourceType="healthcheck", ResourceId=check,
                    AddTags=[{"Key": "lath:request-interval-ms", "Value": str(interval_ms)}])
            checks.append(check)
        changes = [{"Action": "CREATE", "ResourceRecordSet": {
            "Name": f"app.{name}", "Type": "A", "TTL": ttl, "SetIdentifier": role.lower(), "Failover": role,
            "HealthCheckId": check, "ResourceRecords": [{"Value": instance["public"]}]}}
            for role, check, instance in (("PRIMARY", checks[0], primary), ("SECONDARY", checks[1], secondary))]
        change = route53.change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": changes})["ChangeInfo"]["Id"]
        wait_for("the records to be served", lambda: route53.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC")
        for check in checks:
            wait_for("a healthy check", lambda check=check: self.healthy(route53, check))
        return {"zone": zone, "name": f"app.{name}", "checks": checks}

    @staticmethod
    def healthy(route53, check):
        """Whether every observer sees success."""
        seen = route53.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
        return bool(seen) and all(o["StatusReport"]["Status"].startswith("Success") for o in seen)

    # ------------------------------------------------------------------------------------------ Lattice
    def target_group(self, place, instances, interval_ms=None):
        tags = {"lath:health-check-interval-ms": str(interval_ms)} if interval_ms else {}
        group = place.lattice.create_target_group(name=unique("servers"), type="INSTANCE", tags=tags, config={
            "port": 80, "protocol": "HTTP", "vpcIdentifier": place.vpc,
            "healthCheck": {"enabled": True, "path": "/", "healthCheckIntervalSeconds": 5,
                            "healthCheckTimeoutSeconds": 2, "healthyThresholdCount": 2,
                            "unhealthyThresholdCount": 2}})
        wait_for("a target group", lambda: place.lattice.get_target_group(
            targetGroupIdentifier=group["id"])["status"] == "ACTIVE")
        place.lattice.register_targets(targetGroupIdentifier=group["id"], targets=[{"id": i["id"]} for i in instances])
        return group

    def service(self, place, groups, networks=()):
        """A Lattice service that shares requests evenly among the groups (ARNs), in a new network with the place's
        VPC; gives {"name", "network"}."""
        lattice = place.lattice
        network = lattice.create_service_network(name=unique("mesh"))
        service = lattice.create_service(name=unique("shop"))
        wait_for("a service", lambda: lattice.get_service(serviceIdentifier=service["id"])["status"] == "ACTIVE")
        lattice.create_listener(serviceIdentifier=service["id"], name="http", protocol="HTTP", port=80, defaultAction={
            "forward": {"targetGroups": [{"targetGroupIdentifier": g, "weight": 100} for g in groups]}})
        pair = {"serviceNetworkIdentifier": network["id"]}
        mine = lattice.create_service_network_vpc_association(vpcIdentifier=place.vpc, **pair)
        its = lattice.create_service_network_service_association(serviceIdentifier=service["id"], **pair)
        wait_for("the VPC's association", lambda: lattice.get_service_network_vpc_association(
            serviceNetworkVpcAssociationIdentifier=mine["id"])["status"] == "ACTIVE")
        wait_for("the service's association", lambda: lattice.get_service_network_service_association(
            serviceNetworkServiceAssociationIdentifier=its["id"])["status"] == "ACTIVE")
        name = lattice.get_service(serviceIdentifier=service["id"])["dnsEntry"]["domainName"]
        return {"name": name, "network": network, "id": service["id"]}


RECIPES = pathlib.Path(__file__).resolve().parents[1] / "recipes"


def script(lath, name, *phases, directory, patience=1500, **settings):
    """Runs phases of a script of conformance/recipes as a user would; gives its output."""
    env = lath.env() | {"STATE_DIR": str(directory), "POLL": "1", "WAIT_TIMEOUT": "300",
                        "EXEC": f"{binary()} exec --data-dir {lath.data}"} | settings
    # The recipe names the regions of its calls itself, and its two regions where it must.
    run = subprocess.run([str(RECIPES / name), *phases], env=calls.noting(env), capture_output=True, text=True, timeout=patience)
    if run.returncode != 0:
        words = f"{name} {' '.join(phases)}"
        raise AssertionError(f"{words}: {run.returncode}\n{run.stdout}\n{run.stderr}\n{lath.tail()}")
    return run.stdout
