"""Networks, instances and services for one test: made in a line each, removed in the order AWS allows."""

import base64
import itertools
import json
import subprocess
import sysconfig
import textwrap
import uuid

from botocore.exceptions import ClientError

from . import binary, wait_for

AMI_NAME = "al2023-ami-2023.*-x86_64"
# What a delete answers while something still hangs on the thing.
STILL_USED = ("DependencyViolation", "ConflictException", "IncorrectState", "InvalidIPAddress.InUse", "ResourceInUse")

ECHO = '''
import http.server, json, sys, time
name, port = sys.argv[1], int(sys.argv[2])
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            body = b""
            while (size := int(self.rfile.readline().split(b";")[0], 16)):
                body += self.rfile.read(size); self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        if self.path.startswith("/slow"): time.sleep(2)
        if self.path.startswith("/status/"): status = int(self.path.split("/")[2])
        else: status = 200
        if self.path.startswith("/big/"): out = b"x" * int(self.path.split("/")[2])
        else: out = json.dumps({"name": name, "method": self.command, "path": self.path, "peer": self.client_address[0],
            "headers": [[k.lower(), v] for k, v in self.headers.items()], "length": len(body)}).encode()
        self.send_response(status)
        if status in (204, 304): out = b""  # they have no body; what followed the head would be the next answer
        else: self.send_header("content-length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(out)
    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = answer
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True
Server(("0.0.0.0", port), Echo).serve_forever()
'''

_numbers = itertools.count()


def unique(prefix):
    """A name that no other test uses; fit for every kind of resource."""
    return f"{prefix}-{uuid.uuid4().hex[:6]}{next(_numbers)}"


def code_of(error):
    return error.response["Error"]["Code"]


def status_of(error):
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def refusal(call, **arguments):
    """The (code, status) with which a call is refused."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        return code_of(error), status_of(error)
    raise AssertionError(f"{call.__name__}({arguments}) was not refused: {answer}")


class Lab:
    """Everything a test makes on a Lath, removed when the test ends."""

    def __init__(self, lath):
        self.lath = lath
        self.ec2, self.lattice = lath.client("ec2"), lath.client("vpc-lattice")
        self.logs, self.cloudwatch = lath.client("logs"), lath.client("cloudwatch")
        self._undo = []

    # ------------------------------------------------------------------------------------------ cleaning
    def later(self, call, **arguments):
        """When the lab is cleaned: the call, again while the thing is still in use, no matter if it is gone."""
        self._undo.append((call, arguments))

    def clean(self):
        """Tries everything, newest first, again and again: what is in use goes when its users are gone."""
        left, self._undo, failures = self._undo[::-1], [], []

        def another_round():
            nonlocal left
            waiting = []
            for call, arguments in left:
                try:
                    if not self._done(call, arguments):
                        waiting.append((call, arguments))
                except Exception as error:  # the rest must still be removed
                    failures.append(error)
            left = waiting
            return not left

        try:
            wait_for("everything to be removed", another_round)
        except AssertionError:
            failures += [f"still in use: {call.__name__}({arguments})" for call, arguments in left]
        assert not failures, failures

    @staticmethod
    def _done(call, arguments):
        try:
            call(**arguments)
        except ClientError as error:
            if "NotFound" in code_of(error):
                return True
            if any(word in code_of(error) for word in STILL_USED):
                return False
            raise
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clean()

    # -------------------------------------------------------------------------------------------- EC2
    def vpc(self, cidr="10.0.0.0/16", subnet="10.0.1.0/24", internet=False):
        """A VPC with one subnet and its default group: (vpc, subnet, group)."""
        vpc = self.ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
        self.later(self.ec2.delete_vpc, VpcId=vpc)
        net = self.subnet(vpc, subnet)
        if internet:
            gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
            self.later(self.ec2.delete_internet_gateway, InternetGatewayId=gateway)
            self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
            self.later(self.ec2.detach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc)
            table = self.main_table(vpc)
            self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        default = self.ec2.describe_security_groups(Filters=[
            {"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]},
        ])["SecurityGroups"][0]["GroupId"]
        return vpc, net, default

    def subnet(self, vpc, cidr):
        subnet = self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
        self.later(self.ec2.delete_subnet, SubnetId=subnet)
        return subnet

    def main_table(self, vpc):
        return self.ec2.describe_route_tables(Filters=[
            {"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]},
        ])["RouteTables"][0]["RouteTableId"]

    def default_acl(self, vpc):
        return self.ec2.describe_network_acls(Filters=[
            {"Name": "vpc-id", "Values": [vpc]}, {"Name": "default", "Values": ["true"]},
        ])["NetworkAcls"][0]["NetworkAclId"]

    def group(self, vpc, *rules):
        """A security group with these ingress rules (IpPermissions)."""
        group = self.ec2.create_security_group(
            GroupName=unique("group"), Description="made by a test", VpcId=vpc)["GroupId"]
        self.later(self.ec2.delete_security_group, GroupId=group)
        if rules:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=list(rules))
        return group

    def image(self):
        images = self.ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": [AMI_NAME]}])["Images"]
        return max(images, key=lambda image: image["CreationDate"])["ImageId"]

    def launch(self, subnet, *groups, script=None, public=False, **more):
        """Starts an instance and does not wait; gives its description."""
        interface = {"DeviceIndex": 0, "SubnetId": subnet, "AssociatePublicIpAddress": public}
        if groups:
            interface["Groups"] = list(groups)
        if address := more.pop("address", None):
            interface["PrivateIpAddress"] = address
        if script:
            more["UserData"] = "#!/bin/bash\n" + script
        instance = self.ec2.run_instances(
            ImageId=self.image(), InstanceType="t3.micro", MinCount=1, MaxCount=1,
            NetworkInterfaces=[interface], **more)["Instances"][0]
        self.later(self._terminated, instance=instance["InstanceId"])
        return instance

    def instance(self, subnet, *groups, **more):
        """Starts an instance and waits until it runs: (id, private address)."""
        started = self.launch(subnet, *groups, **more)
        self.until(started["InstanceId"], "running")
        return started["InstanceId"], started["PrivateIpAddress"]

    def describe(self, instance):
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def state(self, instance):
        return self.describe(instance)["State"]["Name"]

    def until(self, instance, state):
        try:
            wait_for(f"{instance} to be {state}", lambda: self.state(instance) == state)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.describe(instance)}\n{self.lath.tail()}") from None

    def _terminated(self, instance):
        self.ec2.terminate_instances(InstanceIds=[instance])
        self.until(instance, "terminated")

    def console(self, instance):
        output = self.ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
        # boto3 decodes the base64 itself.
        return output if isinstance(output, str) else base64.b64decode(output).decode()

    def run(self, instance, *command, check=True):
        """Runs a command in an instance; its output, or with check=False the whole outcome."""
        return self.lath.exec(instance, *command, check=check)

    def give(self, instance, *packages):
        """Copies these packages or modules of the tests' Python into /srv/lib of an instance."""
        there = sysconfig.get_path("purelib")
        packed = subprocess.run(["tar", "-C", there, "-cf", "-", *packages], check=True, capture_output=True).stdout
        self.unpack(instance, packed, "/srv/lib")

    def unpack(self, instance, packed, directory):
        """Unpacks a tar archive in an instance."""
        command = [binary(), "exec", "--data-dir", str(self.lath.data), instance, "--", "sh", "-c", f"mkdir -p {directory} && tar -C {directory} -xf -"]
        subprocess.run(command, input=packed, check=True, capture_output=True)

    # ---------------------------------------------------------------------------------------- backends
    def echo(self, subnet, group, *ports, **more):
        """An instance whose servers answer what they were asked, one a port: (id, address)."""
        lines = [f"cat >/srv/echo.py <<'END'\n{textwrap.dedent(ECHO)}\nEND"]
        lines += [f"nohup /usr/bin/python3 /srv/echo.py port-{port} {port} >/dev/null 2>&1 &" for port in ports]
        instance, address = self.instance(subnet, group, script="\n".join(lines), **more)
        for port in ports:
            probe = ("curl", "-s", "-o", "/dev/null", "--max-time", "5", f"http://127.0.0.1:{port}/")
            wait_for(f"the server at {port}", lambda: self.run(instance, *probe, check=False).returncode == 0)
        return instance, address

    # --------------------------------------------------------------------------------------- VPC Lattice
    def network(self, *vpcs, groups=(), **more):
        """A service network with these VPCs associated, working."""
        name = unique("net")
        network = self.lattice.create_service_network(name=name, **more)["id"]
        self.later(self.lattice.delete_service_network, serviceNetworkIdentifier=network)
        made = [self.associate_vpc(network, vpc, groups, wait=False) for vpc in vpcs]
        for association in made:
            self.until_association(association)
        return network

    def associate_vpc(self, network, vpc, groups=(), wait=True):
        more = {"securityGroupIds": list(groups)} if groups else {}
        made = self.lattice.create_service_network_vpc_association(
            serviceNetworkIdentifier=network, vpcIdentifier=vpc, **more)["id"]
        self.later(self._vpc_dissociated, association=made)
        if wait:
            self.until_association(made)
        return made

    def until_association(self, association):
        get = self.lattice.get_service_network_vpc_association
        wait_for(f"{association} to be active", lambda: get(
            serviceNetworkVpcAssociationIdentifier=association)["status"] == "ACTIVE")

    def _vpc_dissociated(self, association):
        self._gone(
            lambda: self.lattice.delete_service_network_vpc_association(
                serviceNetworkVpcAssociationIdentifier=association),
            lambda: self.lattice.get_service_network_vpc_association(
                serviceNetworkVpcAssociationIdentifier=association))

    def _service_dissociated(self, association):
        self._gone(
            lambda: self.lattice.delete_service_network_service_association(
                serviceNetworkServiceAssociationIdentifier=association),
            lambda: self.lattice.get_service_network_service_association(
                serviceNetworkServiceAssociationIdentifier=association))

    @staticmethod
    def _gone(delete, get):
        delete()

        def absent():
            try:
                get()
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return True
                raise
            return False
        wait_for("a deleted thing to be gone", absent)

    def service(self, *networks, **more):
        """A service, active, in these networks: (id, domain name)."""
        made = self.lattice.create_service(name=unique("web"), **more)["id"]
        self.later(self._service_deleted, service=made)
        get = self.lattice.get_service
        wait_for(f"{made} to be active", lambda: get(serviceIdentifier=made)["status"] == "ACTIVE")
        for network in networks:
            self.associate_service(network, made)
        return made, get(serviceIdentifier=made)["dnsEntry"]["domainName"]

    def _service_deleted(self, service):
        self._gone(lambda: self.lattice.delete_service(serviceIdentifier=service),
                   lambda: self.lattice.get_service(serviceIdentifier=service))

    def associate_service(self, network, service):
        made = self.lattice.create_service_network_service_association(
            serviceNetworkIdentifier=network, serviceIdentifier=service)["id"]
        self.later(self._service_dissociated, association=made)
        get = self.lattice.get_service_network_service_association
        wait_for(f"{made} to be active", lambda: get(
            serviceNetworkServiceAssociationIdentifier=made)["status"] == "ACTIVE")
        return made

    def listener(self, service, action=None, port=80, name=None):
        made = self.lattice.create_listener(
            serviceIdentifier=service, name=name or unique("port"), protocol="HTTP", port=port,
            defaultAction=action or fixed(404))["id"]
        self.later(self.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made)
        return made

    def rule(self, service, listener, priority, match, action, name=None):
        return self.lattice.create_rule(
            serviceIdentifier=service, listenerIdentifier=listener, name=name or unique("way"),
            priority=priority, match={"httpMatch": match}, action=action)["id"]

    def targets(self, vpc, *targets, port=80, check=None, kind="IP", version="HTTP1"):
        """A target group, active, with these (address, port) registered. Health checks only when asked for."""
        config = {"protocol": "HTTP", "port": port, "vpcIdentifier": vpc, "protocolVersion": version,
                  "healthCheck": check or {"enabled": False}}
        made = self.lattice.create_target_group(name=unique("group"), type=kind, config=config)["id"]
        self.later(self._group_deleted, group=made)
        get = self.lattice.get_target_group
        wait_for(f"{made} to be active", lambda: get(targetGroupIdentifier=made)["status"] == "ACTIVE")
        if targets:
            self.register(made, *targets)
        return made

    def register(self, group, *targets):
        out = self.lattice.register_targets(
            targetGroupIdentifier=group, targets=[{"id": id, "port": port} for id, port in targets])
        assert out["unsuccessful"] == [], out

    def deregister(self, group, *targets):
        out = self.lattice.deregister_targets(
            targetGroupIdentifier=group, targets=[{"id": id, "port": port} for id, port in targets])
        assert out["unsuccessful"] == [], out

    def health(self, group):
        items = self.lattice.list_targets(targetGroupIdentifier=group)["items"]
        return {(target["id"], target["port"]): target["status"] for target in items}

    def _group_deleted(self, group):
        left = [{"id": id, "port": port} for id, port in self.health(group)]
        if left:
            self.lattice.deregister_targets(targetGroupIdentifier=group, targets=left)
        self._gone(lambda: self.lattice.delete_target_group(targetGroupIdentifier=group),
                   lambda: self.lattice.get_target_group(targetGroupIdentifier=group))

    # ---------------------------------------------------------------------------------------- requests
    def curl(self, instance, url, *options):
        """One request from an instance: (status, body); status 0 when there was no answer."""
        run = self.run(instance, "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *options, url, check=False)
        body, _, status = run.stdout.rpartition("\n")
        return int(status or 0), body

    def ask(self, instance, url, *options):
        """One request that an echo server answers; what it saw."""
        status, body = self.curl(instance, url, *options)
        assert status == 200, (status, body, url)
        return json.loads(body)

    def eventually(self, instance, url, *options, status=200):
        """Asks until the answer has this status; gives the body."""
        def asked():
            got = self.curl(instance, url, *options)
            return (got,) if got[0] == status else None
        return wait_for(f"{status} from {url}", asked)[0][1]


def forward(*groups):
    """An action that forwards to (group, weight) pairs or plain groups."""
    pairs = [group if isinstance(group, tuple) else (group, 1) for group in groups]
    return {"forward": {"targetGroups": [
        {"targetGroupIdentifier": group, "weight": weight} for group, weight in pairs]}}


def fixed(status):
    return {"fixedResponse": {"statusCode": status}}


def path(how, value, case=False):
    return {"pathMatch": {"match": {how: value}, "caseSensitive": case}}


def header(name, how, value, case=False):
    return {"headerMatches": [{"name": name, "match": {how: value}, "caseSensitive": case}]}


def allow(protocol="-1", ports=None, cidr=None, group=None, prefix_list=None):
    """One IpPermission."""
    rule = {"IpProtocol": protocol}
    if ports:
        rule["FromPort"], rule["ToPort"] = ports if isinstance(ports, tuple) else (ports, ports)
    if cidr:
        rule["IpRanges"] = [{"CidrIp": cidr}]
    if group:
        rule["UserIdGroupPairs"] = [{"GroupId": group}]
    if prefix_list:
        rule["PrefixListIds"] = [{"PrefixListId": prefix_list}]
    return rule


class Region(Lab):
    """What a test makes in one region of a Lath."""

    def __init__(self, lath, region):
        super().__init__(lath)
        self.region = region
        self.ec2, self.lattice = lath.client("ec2", region), lath.client("vpc-lattice", region)
        self.logs, self.cloudwatch = lath.client("logs", region), lath.client("cloudwatch", region)
