"""What a change, a page and a start cost as the state grows: one control plane in a process of its own, with a stand-in for
its node that obeys everything at once (`crates/feed/examples/standin.rs`), because 10,000 networks do not fit on a machine.
CPU time is the control plane's, from the call to the snapshot compiled and shipped and the answer of the stand-in taken.
"""

import base64
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import threading
import time
import urllib.parse
import uuid

from lathlab import Lath, wait_for

SIZES = [int(size) for size in os.environ.get("SIZES", "10,1000,10000").split(",")]
WRITES = int(os.environ.get("WRITES", "30"))
PAGES = int(os.environ.get("PAGES", "30"))
REGION = "us-east-1"


def spent(pid):
    """Milliseconds of CPU that the threads of a process have used. Threads that ended meanwhile are not counted: a control
    plane has none that end."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e6


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


class Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Control:
    """One region's control plane and the stand-in for its node."""

    def __init__(self):
        self.lath = Lath("--extended", regions=[REGION])
        self.local = threading.local()
        self.process = self.node = None

    def prepare(self):
        """`lath serve` makes the files; what it runs is stopped again."""
        self.lath.start()
        self.keys = self.lath.env()
        self.lath.stop()
        self.cell = self.lath.data / REGION / "cell.json"
        self.sockets = self.lath.data / REGION / "run"
        return self

    def start(self):
        """Milliseconds of CPU and of time until the API answers."""
        self.local = threading.local()
        began = time.monotonic()
        log = open(self.lath.directory / "control.log", "ab")
        self.process = subprocess.Popen([os.environ["LATH_BIN"], "control", "--cell", str(self.cell)],
                                        stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for("the control plane", lambda: self.ec2("DescribeAccountAttributes"), pause=0.01)
        took = (spent(self.process.pid), (time.monotonic() - began) * 1000)
        self.node = subprocess.Popen([os.environ["STANDIN"], str(self.sockets / "feed.sock"), REGION])
        return took

    def stop(self):
        for process in (self.node, self.process):
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait()
        self.process = self.node = None

    def call(self, service, method, path, headers=None, body=b""):
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        keys = Credentials(self.keys["AWS_ACCESS_KEY_ID"], self.keys["AWS_SECRET_ACCESS_KEY"])
        request = AWSRequest(method, f"http://localhost{path}", headers=headers or {}, data=body)
        SigV4Auth(keys, service, REGION).add_auth(request)
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = Socket(self.sockets / "api.sock")
        try:
            connection.request(method, path, body=body, headers=dict(request.headers))
            reply = connection.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException):
            self.local.connection = None
            raise
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:500]}")
        return text

    def ec2(self, action, **members):
        body = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15"} | members).encode()
        return self.call("ec2", "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, body)

    def lattice(self, method, path, **members):
        body = json.dumps(members).encode() if members else b""
        text = self.call("vpc-lattice", method, path, {"Content-Type": "application/json"}, body)
        return json.loads(text or "{}")

    def route53(self, method, path, body=""):
        return self.call("route53", method, f"/2013-04-01/{path}", {"Content-Type": "application/xml"}, body.encode())

    def settled(self):
        """Waits until the control plane has used no CPU to speak of for a while."""
        quiet, last = 0, spent(self.process.pid)
        while quiet < 4:
            time.sleep(0.1)
            now = spent(self.process.pid)
            quiet = quiet + 1 if now - last < 1.5 else 0
            last = now

    def cost(self, calls):
        """Milliseconds of CPU per call, with all that follows from it, less what passes without calls."""
        self.settled()
        began, before = time.monotonic(), spent(self.process.pid)
        time.sleep(1)
        idle = (spent(self.process.pid) - before) / (time.monotonic() - began)
        began, before = time.monotonic(), spent(self.process.pid)
        for call in calls:
            call()
            time.sleep(0.01)
        time.sleep(0.3)
        used = spent(self.process.pid) - before - idle * (time.monotonic() - began)
        return used / len(calls)


def found(text, name):
    return re.search(rf"<{name}>([^<]*)</{name}>", text).group(1)


def unique():
    return uuid.uuid4().hex[:12]


class Kind:
    """One kind of object: how to make many, one write, one page."""
    title = write_title = page_title = ""

    def __init__(self, control):
        self.control = control
        self.count = 0
        self.prepare()

    def prepare(self):
        pass

    def grow(self, size):
        """So many of them: one call makes `batch`."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            missing = range(self.count, size, self.batch)
            list(pool.map(lambda first: self.make(first, min(self.batch, size - first)), missing))
        self.count = size

    batch = 1

    def start_of_page(self):
        """Where a page in the middle begins, found once."""
        return None


class Vpcs(Kind):
    title, write_title, page_title = "VPCs", "CreateSubnet", "DescribeVpcs, 5"

    def make(self, first, count):
        self.vpc = found(self.control.ec2("CreateVpc", CidrBlock="10.0.0.0/16"), "vpcId")

    def write(self, n):
        self.control.ec2("CreateSubnet", VpcId=self.vpc, CidrBlock=f"10.0.{n}.0/24")

    def page(self, token):
        return self.control.ec2("DescribeVpcs", MaxResults="5", **({"NextToken": token} if token else {}))


class Groups(Kind):
    title, write_title, page_title = "security groups", "a rule", "DescribeSecurityGroups, 5"

    def prepare(self):
        self.vpc = found(self.control.ec2("CreateVpc", CidrBlock="10.1.0.0/16"), "vpcId")

    def make(self, first, count):
        text = self.control.ec2("CreateSecurityGroup", GroupName=f"group-{unique()}", GroupDescription="bench", VpcId=self.vpc)
        self.group = found(text, "groupId")

    def write(self, n):
        rule = {"IpPermissions.1.IpProtocol": "tcp", "IpPermissions.1.FromPort": str(1000 + n),
                "IpPermissions.1.ToPort": str(1000 + n), "IpPermissions.1.IpRanges.1.CidrIp": "10.0.0.0/8"}
        self.control.ec2("AuthorizeSecurityGroupIngress", GroupId=self.group, **rule)

    def page(self, token):
        return self.control.ec2("DescribeSecurityGroups", MaxResults="5", **({"NextToken": token} if token else {}))


class Lattice(Kind):
    def page(self, token):
        rest = f"&nextToken={urllib.parse.quote(token)}" if token else ""
        return json.dumps(self.control.lattice("GET", f"{self.path}?maxResults=5{rest}"))

    def network(self):
        vpc = found(self.control.ec2("CreateVpc", CidrBlock="10.2.0.0/16"), "vpcId")
        network = self.control.lattice("POST", "/servicenetworks", name=f"network-{unique()}")["id"]
        self.control.lattice("POST", "/servicenetworkvpcassociations", serviceNetworkIdentifier=network, vpcIdentifier=vpc)
        return vpc, network

    def service(self):
        service = self.control.lattice("POST", "/services", name=f"service-{unique()}")["id"]
        wait_for("a service", lambda: self.control.lattice("GET", f"/services/{service}")["status"] == "ACTIVE", pause=0.02)
        return service

    def listener(self, service):
        made = self.control.lattice("POST", f"/services/{service}/listeners", name="http", protocol="HTTP", port=80,
                                    defaultAction={"fixedResponse": {"statusCode": 404}})
        return f"/services/{service}/listeners/{made['id']}"

    def rule(self, listener, priority):
        return self.control.lattice("POST", f"{listener}/rules", name=f"r-{unique()}", priority=priority,
                                    match={"httpMatch": {"pathMatch": {"match": {"exact": f"/{unique()}"}}}},
                                    action={"fixedResponse": {"statusCode": 404}})["id"]


class Services(Lattice):
    title, write_title, page_title, path = "services", "CreateService", "ListServices, 5", "/services"

    def make(self, first, count):
        self.control.lattice("POST", "/services", name=f"service-{unique()}")

    def write(self, n):
        self.control.lattice("POST", "/services", name=f"service-{unique()}")


class Rules(Lattice):
    """Each ten of them in a service."""
    title, write_title, page_title = "rules", "UpdateRule", "ListRules, 5"
    batch = 10

    def make(self, first, count):
        # Several threads make some at once.
        listener = self.listener(self.service())
        rules = [self.rule(listener, n + 1) for n in range(count)]
        self.last = f"{listener}/rules", rules[-1]

    def write(self, n):
        path, rule = self.last
        self.control.lattice("PATCH", f"{path}/{rule}", priority=50 + n)

    @property
    def path(self):
        return self.last[0]


class Targets(Lattice):
    """Each hundred of them in a group."""
    title, write_title, page_title = "targets", "RegisterTargets", "ListTargetGroups, 5"
    path = "/targetgroups"
    batch = 100

    def prepare(self):
        self.vpc, _ = self.network()

    def make(self, first, count):
        group = self.control.lattice("POST", "/targetgroups", name=f"group-{unique()}", type="IP", config={
            "protocol": "HTTP", "port": 80, "vpcIdentifier": self.vpc, "healthCheck": {"enabled": False}})["id"]
        wait_for("a group", lambda: self.control.lattice("GET", f"/targetgroups/{group}")["status"] == "ACTIVE", pause=0.02)
        targets = [{"id": f"10.2.{n // 200}.{n % 200 + 4}", "port": 80} for n in range(count)]
        self.control.lattice("POST", f"/targetgroups/{group}/registertargets", targets=targets)
        self.group = group

    def write(self, n):
        self.control.lattice("POST", f"/targetgroups/{self.group}/registertargets",
                             targets=[{"id": "10.2.9.9", "port": 1000 + n}])


class Records(Kind):
    """All in one zone."""
    title, write_title, page_title = "DNS records", "ChangeResourceRecordSets", "ListResourceRecordSets, 5"
    batch = 100

    def prepare(self):
        body = ("<CreateHostedZoneRequest xmlns='https://route53.amazonaws.com/doc/2013-04-01/'><Name>bench.example.</Name>"
                f"<CallerReference>{unique()}</CallerReference></CreateHostedZoneRequest>")
        self.zone = found(self.control.route53("POST", "hostedzone", body), "Id").rsplit("/", 1)[1]

    def change(self, names):
        changes = "".join(
            f"<Change><Action>UPSERT</Action><ResourceRecordSet><Name>{name}.bench.example.</Name><Type>A</Type><TTL>60</TTL>"
            "<ResourceRecords><ResourceRecord><Value>198.18.0.1</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>"
            for name in names)
        body = ("<ChangeResourceRecordSetsRequest xmlns='https://route53.amazonaws.com/doc/2013-04-01/'><ChangeBatch>"
                f"<Changes>{changes}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>")
        self.control.route53("POST", f"hostedzone/{self.zone}/rrset", body)

    def make(self, first, count):
        self.change([f"n{n:06}" for n in range(first, first + count)])

    def write(self, n):
        self.change([f"w{unique()}"])

    def page(self, token):
        rest = f"&name={token}" if token else ""
        return self.control.route53("GET", f"hostedzone/{self.zone}/rrset?maxitems=5{rest}")

    def start_of_page(self):
        return f"n{self.count // 2:06}.bench.example."


KINDS = [Services, Targets, Rules, Records, Groups, Vpcs]


def middle(kind):
    """The token of a page in the middle."""
    token = kind.start_of_page()
    if token is None:
        reply = kind.page(None)
        token = re.search(r'(?:<nextToken>|"nextToken": ")([^<"]+)', reply)
        token = token and token.group(1)
        if token:
            # The token names the last key: one in the middle of the ids.
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            halfway = re.sub(r"-[0-9a-f]{17}$", "-80000000000000000", text)
            token = base64.urlsafe_b64encode(halfway.encode()).decode().rstrip("=")
    return token


def measure(kind, size, control):
    kind.grow(size)
    control.settled()
    write = control.cost([lambda n=n: kind.write(n) for n in range(WRITES)])
    first = control.cost([lambda: kind.page(None) for _ in range(PAGES)])
    token = middle(kind)
    deep = control.cost([lambda: kind.page(token) for _ in range(PAGES)])
    memory = resident(control.process.pid)
    control.stop()
    cpu, _ = control.start()
    control.settled()
    return {"write": write, "page": first, "page in the middle": deep, "start": cpu, "memory": memory,
            "memory after a start": resident(control.process.pid)}


def standin():
    """Builds the stand-in, unless there is one."""
    if "STANDIN" not in os.environ:
        root = pathlib.Path(__file__).resolve().parents[1]
        subprocess.run(["cargo", "build", "--locked", "--release", "-p", "lath-feed", "--example", "standin"], cwd=root, check=True)
        os.environ["STANDIN"] = str(pathlib.Path(os.environ["CARGO_TARGET_DIR"]) / "release" / "examples" / "standin")


def scale():
    """A table for each kind: what each size costs, and the largest by the smallest."""
    standin()
    chosen = os.environ.get("KINDS")
    for maker in KINDS:
        if chosen and maker.__name__.lower() not in chosen.lower().split(","):
            continue
        control = Control().prepare()
        try:
            control.start()
            kind = maker(control)
            columns = {}
            for size in SIZES:
                columns[size] = measure(kind, size, control)
                print(f"   {maker.title} {size}: {columns[size]}", flush=True)
            print(f"\n| {maker.title} | {' | '.join(map(str, SIZES))} | largest / smallest |\n|---|{'---|' * len(SIZES)}---|")
            names = {"write": f"{maker.write_title}: CPU ms", "page": f"{maker.page_title}: CPU ms",
                     "page in the middle": "a page in the middle: CPU ms", "start": "start: CPU ms",
                     "memory": "memory: MiB", "memory after a start": "memory after a start: MiB"}
            for key, name in names.items():
                row = [columns[size][key] for size in SIZES]
                print(f"| {name} | {' | '.join(f'{v:.2f}' for v in row)} | {row[-1] / max(row[0], 1e-3):.2f} |")
            print(flush=True)
        finally:
            control.stop()
            subprocess.run(["rm", "-rf", str(control.lath.directory)], check=True)
