"""kill -9 of `lath serve`: nothing acknowledged is lost, what ran goes on, nothing is left in the end."""

import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from lathlab import Lath, host_state, wait_for
from lathlab.lab import Lab, allow, fixed, unique

pytestmark = pytest.mark.root

REACHES = """
import socket, sys
s = socket.socket(); s.settimeout(2)
try: s.connect((sys.argv[1], 8001)); print("open")
except OSError: print("closed")
"""


def test_every_acknowledged_write_outlives_kill_9(own_lath):
    with Lab(own_lath) as lab:
        vpc, _, _ = lab.vpc("10.70.0.0/16", "10.70.1.0/24")
        acknowledged, stop = [], threading.Event()

        def write(kind):
            ec2, lattice = own_lath.client("ec2"), own_lath.client("vpc-lattice")
            while not stop.is_set():
                name = unique(kind)
                try:
                    if kind == "group":
                        ec2.create_security_group(GroupName=name, Description="d", VpcId=vpc)
                    elif kind == "tag":
                        ec2.create_tags(Resources=[vpc], Tags=[{"Key": kind, "Value": name}])
                    else:
                        lattice.create_service_network(name=name)
                except (ClientError, BotoCoreError) as error:
                    # Quotas bound how much a round can write; anything else is the kill.
                    if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                        return
                    time.sleep(0.05)
                    continue
                acknowledged.append((kind, name))

        writers = [threading.Thread(target=write, args=(kind,)) for kind in ("group", "tag", "tag", "net")]
        for writer in writers:
            writer.start()
        for _ in range(3):
            seen = len(acknowledged)
            wait_for("some writes", lambda: len(acknowledged) > seen + 10 or not any(w.is_alive() for w in writers))
            own_lath.kill()
            own_lath.start()
        stop.set()
        for writer in writers:
            writer.join()
        groups = {g["GroupName"] for page in lab.ec2.get_paginator("describe_security_groups").paginate() for g in page["SecurityGroups"]}
        networks = {n["name"]: n["id"] for page in lab.lattice.get_paginator("list_service_networks").paginate() for n in page["items"]}
        tags = {t["Value"] for t in lab.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [vpc]}])["Tags"]}
        lost = [(kind, name) for kind, name in acknowledged
                if kind != "tag" and name not in (groups if kind == "group" else networks)]
        assert acknowledged and lost == []
        # The tag has one value: the last one written, or one of a write that was under way.
        assert len(tags) == 1
        for group in lab.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]:
            if group["GroupName"] != "default":
                lab.ec2.delete_security_group(GroupId=group["GroupId"])


def test_instances_and_their_connections_outlive_kill_9_and_nothing_is_left(tmp_path):
    before = host_state()
    with Lath() as lath, Lab(lath) as lab:
        vpc, subnet, _ = lab.vpc("10.71.0.0/16", "10.71.1.0/24", internet=True)
        group = lab.group(vpc, allow("tcp", 8001, cidr="10.71.0.0/16"))
        server, address = lab.echo(subnet, group, 8001)
        caller, _ = lab.instance(subnet, group)
        service, domain = lab.service(lab.network(vpc))
        lab.listener(service, fixed(404))
        lab.eventually(caller, f"http://{domain}/", status=404)
        # One connection, one request every 100 ms, over the kill; it ends when the file appears.
        script = ("import http.client,os,time\nc=http.client.HTTPConnection('%s',8001,timeout=30)\nn=0\n"
                  "while not os.path.exists('/srv/stop'):\n c.request('GET','/');c.getresponse().read();n+=1;time.sleep(.1)\n"
                  "print('requests',n,'port',c.sock.getsockname()[1],flush=True)\n" % address)
        lab.run(caller, "/usr/bin/python3", "-c", f"open('/srv/long.py','w').write({script!r})")
        lab.run(caller, "bash", "-c", "nohup /usr/bin/python3 /srv/long.py >/srv/out 2>&1 </dev/null & echo $! >/srv/pid")
        pid = lab.run(caller, "cat", "/srv/pid").strip()
        began = lab.run(caller, "cut", "-d ", "-f22", f"/proc/{pid}/stat")
        for _ in range(2):
            lath.kill()
            lath.start()
            wait_for("the instances to be adopted", lambda: [i["state"] for i in lath.status()["instances"]] == ["running"] * 2)
        assert lab.run(caller, "cut", "-d ", "-f22", f"/proc/{pid}/stat") == began, "the same process"
        lab.eventually(caller, f"http://{domain}/", status=404)
        lab.run(caller, "touch", "/srv/stop")
        out = wait_for("the client's end", lambda: lab.run(caller, "cat", "/srv/out"))
        assert out.startswith("requests "), out
        lab.clean()
        wait_for("every mount and process to be gone", lambda: lath.remnants() == [])
        assert lath.stop() == 0, lath.tail()
        assert lath.remnants() == []
    assert host_state() == before


def test_what_was_ordered_before_a_kill_is_done_after_it(own_lath):
    with Lab(own_lath) as lab:
        vpc, subnet, group = lab.vpc("10.72.0.0/16", "10.72.1.0/24")
        started = lab.launch(subnet, group)["InstanceId"]
        own_lath.kill()
        own_lath.start()
        lab.until(started, "running")
        lab.ec2.terminate_instances(InstanceIds=[started])
        own_lath.kill()
        own_lath.start()
        lab.until(started, "terminated")
        wait_for("its processes and files to be gone", lambda: own_lath.status()["instances"] == [])


def test_sigterm_stops_cleanly_and_the_next_start_restores(own_lath):
    before = host_state()
    with Lab(own_lath) as lab:
        vpc, subnet, group = lab.vpc("10.73.0.0/16", "10.73.1.0/24", internet=True)
        instance, _ = lab.instance(subnet, group)
        lab.run(instance, "sh", "-c", "echo kept >/srv/kept")
        assert own_lath.stop() == 0, own_lath.tail()
        assert own_lath.remnants() == []
        assert host_state() - before == set()
        own_lath.start()
        wait_for("the instance", lambda: lab.run(instance, "cat", "/srv/kept", check=False).stdout == "kept\n")


def test_network_acls_hold_while_lath_is_gone_and_after_it(own_lath):
    with Lab(own_lath) as lab:
        vpc, subnet, _ = lab.vpc("10.71.0.0/16", "10.71.1.0/24")
        group = lab.group(vpc, allow(cidr="0.0.0.0/0"))
        server, address = lab.echo(subnet, group, 8001)
        client, _ = lab.instance(lab.subnet(vpc, "10.71.2.0/24"), group)
        reaches = lambda: lab.run(client, "/usr/bin/python3", "-c", REACHES, address).strip()
        wait_for("the server", lambda: reaches() == "open")
        default = lab.default_acl(vpc)
        entry = {"NetworkAclId": default, "RuleNumber": 100, "Protocol": "-1", "Egress": False, "CidrBlock": "0.0.0.0/0"}
        lab.ec2.replace_network_acl_entry(RuleAction="deny", **entry)
        own_lath.kill()
        own_lath.start()
        wait_for("the denial", lambda: reaches() == "closed")
        assert reaches() == "closed"
        (found,) = lab.ec2.describe_network_acls(NetworkAclIds=[default])["NetworkAcls"]
        assert {(it["Egress"], it["RuleNumber"], it["RuleAction"]) for it in found["Entries"]} == {
            (True, 100, "allow"), (True, 32767, "deny"), (False, 100, "deny"), (False, 32767, "deny")}
        lab.ec2.replace_network_acl_entry(RuleAction="allow", **entry)
        wait_for("the way to be open again", lambda: reaches() == "open")
