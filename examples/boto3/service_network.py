#!/usr/bin/env python3
"""Two VPCs with the same addresses and no route between them, joined by a VPC Lattice service network.

Uses boto3 alone, so the same program works against AWS:

    eval "$(sudo lath env)"
    python3 service_network.py create            # prints {"client": "i-...", "url": "http://..."}
    sudo lath exec CLIENT -- curl -s URL
    python3 service_network.py delete
"""

import argparse
import json
import time

import boto3

CIDR = "10.0.0.0/16"
PORT = 8080
SERVER = f"""#!/bin/bash
mkdir -p /srv/shop && cd /srv/shop && echo "the shop is open" >index.html
nohup python3 -m http.server {PORT} >/var/log/shop.log 2>&1 </dev/null &
"""


class Example:
    """What the example makes. Its parts are found again by name, so that a second run completes the first."""

    def __init__(self, name):
        self.name = name
        self.ec2 = boto3.client("ec2")
        self.lattice = boto3.client("vpc-lattice")

    def create(self):
        clients, client_subnet = self.vpc("clients")
        shop, shop_subnet = self.vpc("shop")
        self.ec2.authorize_security_group_ingress(GroupId=self.default_group(shop), IpPermissions=[
            # AWS: the prefix list com.amazonaws.REGION.vpc-lattice is narrower.
            {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
        client = self.instance(client_subnet, "client")
        server = self.instance(shop_subnet, "server", UserData=SERVER)

        group = self.lattice.create_target_group(name=self.name, type="IP", config={
            "port": PORT, "protocol": "HTTP", "vpcIdentifier": shop,
            "healthCheck": {"enabled": True, "path": "/", "healthCheckIntervalSeconds": 5, "healthyThresholdCount": 2}})["id"]
        self.until("the target group", lambda: self.lattice.get_target_group(targetGroupIdentifier=group)["status"] == "ACTIVE")
        self.lattice.register_targets(targetGroupIdentifier=group, targets=[{"id": server["PrivateIpAddress"], "port": PORT}])
        service = self.lattice.create_service(name=self.name)["id"]
        self.until("the service", lambda: self.lattice.get_service(serviceIdentifier=service)["status"] == "ACTIVE")
        self.lattice.create_listener(serviceIdentifier=service, name="http", protocol="HTTP", port=80, defaultAction={
            "forward": {"targetGroups": [{"targetGroupIdentifier": group, "weight": 100}]}})
        network = self.lattice.create_service_network(name=self.name)["id"]
        self.lattice.create_service_network_service_association(serviceNetworkIdentifier=network, serviceIdentifier=service)
        self.lattice.create_service_network_vpc_association(serviceNetworkIdentifier=network, vpcIdentifier=clients)
        self.until("the associations", lambda: all(
            it["status"] == "ACTIVE" for it in [*self.services_of(network), *self.vpcs_of(network)]))
        self.until("a healthy target", lambda: [
            it["status"] for it in self.lattice.list_targets(targetGroupIdentifier=group)["items"]] == ["HEALTHY"])
        domain = self.lattice.get_service(serviceIdentifier=service)["dnsEntry"]["domainName"]
        self.ec2.get_waiter("instance_running").wait(InstanceIds=[client["InstanceId"]])
        return {"client": client["InstanceId"], "url": f"http://{domain}/"}

    def vpc(self, role):
        tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": f"{self.name}-{role}"}, {"Key": "example", "Value": self.name}]}]
        vpc = self.ec2.create_vpc(CidrBlock=CIDR, TagSpecifications=tags)["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        return vpc, self.ec2.create_subnet(VpcId=vpc, CidrBlock=CIDR.replace("/16", "/24"))["Subnet"]["SubnetId"]

    def default_group(self, vpc):
        return self.ec2.describe_security_groups(Filters=[
            {"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}])["SecurityGroups"][0]["GroupId"]

    def instance(self, subnet, role, **more):
        images = self.ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-2023.*-x86_64"]}])
        image = max(images["Images"], key=lambda it: it["CreationDate"])["ImageId"]
        return self.ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnet, TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": f"{self.name}-{role}"}]}], **more)["Instances"][0]

    def services_of(self, network):
        return self.lattice.list_service_network_service_associations(serviceNetworkIdentifier=network)["items"]

    def vpcs_of(self, network):
        return self.lattice.list_service_network_vpc_associations(serviceNetworkIdentifier=network)["items"]

    def named(self, operation):
        pages = self.lattice.get_paginator(operation).paginate()
        return [it["id"] for page in pages for it in page["items"] if it["name"] == self.name]

    def delete(self):
        for network in self.named("list_service_networks"):
            for it in self.services_of(network):
                self.lattice.delete_service_network_service_association(serviceNetworkServiceAssociationIdentifier=it["id"])
            for it in self.vpcs_of(network):
                self.lattice.delete_service_network_vpc_association(serviceNetworkVpcAssociationIdentifier=it["id"])
            self.until("the associations to go", lambda: not self.services_of(network) and not self.vpcs_of(network))
            self.lattice.delete_service_network(serviceNetworkIdentifier=network)
        for service in self.named("list_services"):
            self.lattice.delete_service(serviceIdentifier=service)
        self.until("the service to go", lambda: not self.named("list_services"))
        for group in self.named("list_target_groups"):
            targets = [{"id": it["id"], "port": it["port"]} for it in self.lattice.list_targets(targetGroupIdentifier=group)["items"]]
            if targets:
                self.lattice.deregister_targets(targetGroupIdentifier=group, targets=targets)
            self.until("the targets to go", lambda: not self.lattice.list_targets(targetGroupIdentifier=group)["items"])
            self.lattice.delete_target_group(targetGroupIdentifier=group)
        for vpc in self.ec2.describe_vpcs(Filters=[{"Name": "tag:example", "Values": [self.name]}])["Vpcs"]:
            here = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
            reservations = self.ec2.describe_instances(Filters=here)["Reservations"]
            instances = [it["InstanceId"] for reservation in reservations for it in reservation["Instances"]]
            if instances:
                self.ec2.terminate_instances(InstanceIds=instances)
                self.ec2.get_waiter("instance_terminated").wait(InstanceIds=instances)
            for subnet in self.ec2.describe_subnets(Filters=here)["Subnets"]:
                self.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
            self.ec2.delete_vpc(VpcId=vpc["VpcId"])

    @staticmethod
    def until(what, holds, patience=300):
        end = time.monotonic() + patience
        while not holds():
            if time.monotonic() > end:
                raise SystemExit(f"waited in vain for {what}")
            time.sleep(1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("action", choices=["create", "delete"])
    arguments.add_argument("--name", default="example")
    chosen = arguments.parse_args()
    example = Example(chosen.name)
    if chosen.action == "create":
        print(json.dumps(example.create()))
    else:
        example.delete()


if __name__ == "__main__":
    main()
