"""What attackers say to HTTPS listeners: conversations by tlslite-ng, floods of handshakes, keys that are asked for."""

import json
import pathlib
import shlex
import subprocess

import lathlab
import pytest
from lathlab import wait_for
from lathlab.lab import Lab, allow, fixed, unique

pytestmark = pytest.mark.root

CONVERSATIONS = pathlib.Path(lathlab.__file__).with_name("conversations.py")
OTHER = "other.example.test"

GREETINGS = {
    # Versions: RFC 8446 section 4.2.1, RFC 8996, RFC 7507.
    "ssl2": "decode_error", "ssl3": "protocol_version", "tls1.0": "protocol_version", "tls1.1": "protocol_version",
    "only old versions named": "protocol_version", "tls1.2": "server_hello", "a version to come": "server_hello",
    "fallback": "inappropriate_fallback",
    # Records and messages: RFC 8446 section 5.
    "in octets": "server_hello", "15 KB": "server_hello", "17 KB": "decode_error", "empty record": "decode_error",
    "a record of 16385 octets": "record_overflow", "an alert first": "unexpected_message", "data first": "unexpected_message",
    "a change of ciphers first": "unexpected_message", "heartbeat first": "unexpected_message", "another message first": "decode_error",
    "cut": "decode_error",
    # Names: RFC 6066 section 3, RFC 8446 section 9.2.
    "no name": "missing_extension", "an empty list of names": "decode_error", "an empty name": "decode_error",
    "an address for a name": "unrecognized_name", "an unknown name": "unrecognized_name", "a name twice": "decode_error",
    # What is too weak.
    "RSA's key exchange": "handshake_failure", "CBC": "handshake_failure", "NULL, EXPORT, RC4, anonymous": "handshake_failure",
    "only SHA-1": "handshake_failure", "only an old curve": "handshake_failure", "only compressed": "illegal_parameter",
    # Other protocols get no answer that could be taken for theirs (ALPACA, https://alpaca-attack.com).
    "FTP in ALPN": "no_application_protocol", "SMTP": "decode_error", "SSH": "decode_error", "HTTP": "decode_error",
    "HTTP/2": "decode_error",
}
HANDSHAKES = {
    "TLS 1.3": "answered", "TLS 1.2": "answered", "HTTP/1.1 in ALPN": "answered", "asked again for a share": "answered",
    "an extension twice": "illegal_parameter", "a share of zeros": "illegal_parameter", "a share off the curve": "illegal_parameter",
    "a wrong Finished": "decrypt_error", "a wrong Finished of 1.2": "decrypt_error",
    "data before Finished": "unexpected_message", "data before Finished of 1.2": "unexpected_message",
    # RFC 8446 appendix D.4: the one octet is ignored, anything else is not.
    "a change of ciphers before Finished": "answered", "another change of ciphers before Finished": "unexpected_message",
    "early data announced": "answered",
}
PROMISES = {
    "downgrade is marked": True, "extended master secret": True, "secure renegotiation": True, "heartbeats": False, "compression": 0,
    "early data is offered": False, "tickets": True,
}
RECORDS = {
    "a damaged record": "bad_record_mac", "a record of 20000 octets": "decode_error", "a short record": "bad_record_mac",
    "plain data": "bad_record_mac", "an unknown kind": "decode_error", "a heartbeat": "decode_error",
    "a change of ciphers": "unexpected_message", "an alert in pieces": "decode_error", "10 empty records": "data",
    "1000 empty records": "closed",
}
RECORDS_OF_13 = {
    "a new hello": "unexpected_message", "no content": "closed", "new keys": "data", "a strange change of keys": "illegal_parameter",
    "a hello request": "unexpected_message",
}
RESUMED, NEW = [[True, "answered"]] * 2, [[False, "answered"]] * 2
TICKETS = {
    "1.3": {"whole, twice": RESUMED, "damaged": [NEW] * 3, "made up": NEW, "elsewhere": NEW},
    "1.2": {"whole, twice": RESUMED, "damaged": ["full handshake"] * 3, "made up": "full handshake", "elsewhere": "full handshake"},
}

# Holds so many connections, of which each sends this much of a ClientHello that never ends, until it is told to go: HOST COUNT OCTETS.
SLOW = '''
import socket, sys
host, count, octets = socket.gethostbyname(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
hello = b"\\x16\\3\\1\\x3f\\xff\\1\\0\\x3f\\xf0" + bytes(octets)
held = []
for _ in range(count):
    try:
        line = socket.create_connection((host, 443), 30)
        line.sendall(hello)
        held.append(line)
    except OSError: pass
print("held", flush=True)
sys.stdin.readline()
'''
# Shakes hands, again and again, on four threads, until it is told to go: HOST.
BUSY = '''
import socket, ssl, sys, threading
host = socket.gethostbyname(sys.argv[1])
trusting = ssl.create_default_context(); trusting.check_hostname = False; trusting.verify_mode = ssl.CERT_NONE
done, over = [], threading.Event()
def shake():
    while not over.is_set():
        try:
            with socket.create_connection((host, 443), 30) as line, trusting.wrap_socket(line, server_hostname=sys.argv[1]): done.append(1)
        except OSError: pass
threads = [threading.Thread(target=shake) for _ in range(4)]
[thread.start() for thread in threads]
while len(done) < 20: pass
print("busy", flush=True)
sys.stdin.readline()
over.set()
[thread.join() for thread in threads]
'''


class Exposed:
    """A service under TLS, two clients of its VPC, and a Lath whose environment asks for a log of keys."""

    def __init__(self, lath, lab, keys):
        self.lath, self.lab, self.keys = lath, lab, keys
        vpc, subnet, group = lab.vpc("10.11.0.0/16", "10.11.1.0/24")
        self.clients = [lab.instance(subnet, group)[0] for _ in range(2)]
        network = lab.network(vpc)
        service, self.name = lab.service(network)
        self.listen(service)
        self.network = network
        lab.eventually(self.clients[0], f"https://{self.name}/", status=404)

    def listen(self, service):
        made = self.lab.lattice.create_listener(
            serviceIdentifier=service, name=unique("tls"), protocol="HTTPS", port=443, defaultAction=fixed(404))["id"]
        self.lab.later(self.lab.lattice.delete_listener, serviceIdentifier=service, listenerIdentifier=made)

    def put(self, client, name, text):
        self.lab.run(client, "sh", "-c", f"mkdir -p /srv && cat >/srv/{name} <<'END'\n{text}\nEND")

    def begun(self, client, script, *arguments):
        """A program in an instance that said its first word; it ends when its input does."""
        self.put(client, "attack.py", script)
        command = [lathlab.binary(), "exec", "--data-dir", str(self.lath.data), client, "--", "python3", "/srv/attack.py", *map(str, arguments)]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert running.stdout.readline(), "it died"
        return running

    def metric(self, name):
        (line,) = [line for line in self.lath.metrics().splitlines() if line.startswith(f"{name} ")]
        return float(line.rsplit(" ", 1)[1])

    def is_served(self, client, times=20):
        """Whether each of so many new connections of a client is answered."""
        words = shlex.join(["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code} ", f"https://{self.name}/"])
        said = self.lab.run(client, "sh", "-c", f"for i in $(seq {times}); do {words}; done", check=False).stdout
        return said.split() == ["404"] * times, said


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "log"
    with lathlab.Lath(environment={"SSLKEYLOGFILE": str(keys)}) as lath:
        with Lab(lath) as lab:
            yield Exposed(lath, lab, keys)
        log = lath.log.read_text(errors="replace")
        # Clients cannot fill the log.
        assert "panicked at" not in log and "Received a" not in log, log


def test_conversations_end_as_the_rfcs_say(exposed, tmp_path):
    lab, client = exposed.lab, exposed.clients[0]
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", key, "-out", cert, "-subj", f"/CN={OTHER}",
                    "-addext", f"subjectAltName=DNS:{OTHER}", "-days", "2"], check=True, capture_output=True)
    acm = exposed.lath.client("acm")
    arn = acm.import_certificate(Certificate=cert.read_bytes(), PrivateKey=key.read_bytes())["CertificateArn"]
    lab.later(acm.delete_certificate, CertificateArn=arn)
    service, _ = lab.service(exposed.network, customDomainName=OTHER, certificateArn=arn)
    exposed.listen(service)
    lab.eventually(client, f"https://{OTHER}/", "-k", "--connect-to", f"::{exposed.name}:443", status=404)
    lab.give(client, "tlslite", "ecdsa", "six.py")
    exposed.put(client, "conversations.py", CONVERSATIONS.read_text())
    run = lab.run(client, "env", "PYTHONPATH=/srv/lib", "python3", "/srv/conversations.py", exposed.name, "443", OTHER, check=False)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["greetings"] == GREETINGS
    assert seen["handshakes"] == HANDSHAKES
    assert seen["promises"] == PROMISES
    assert seen["records"] == RECORDS | RECORDS_OF_13 | {f"{name} of 1.2": told for name, told in RECORDS.items()}
    assert seen["renegotiation"] == ["closed", ["1 no_renegotiation"]]
    assert seen["tickets"] == TICKETS
    # The server is none the worse for it, and nothing of its keys is told to whoever asks by the environment.
    assert exposed.is_served(client, 1)[0]
    assert not exposed.keys.exists()


def test_slow_handshakes_are_bounded_and_others_are_served(exposed):
    attacker, client = exposed.clients
    running = exposed.begun(attacker, SLOW, exposed.name, 1500, 8000)
    try:
        # A quarter of 4096 is one client's.
        wait_for("the oldest to be shed", lambda: 900 < exposed.metric("lath_proxy_connections_open") <= 1025)
        served, said = exposed.is_served(client)
        assert served, said
    finally:
        running.communicate("\n")
    wait_for("the rest to go", lambda: exposed.metric("lath_proxy_connections_open") <= 1)


def test_a_flood_of_handshakes_leaves_others_served(exposed):
    attacker, client = exposed.clients
    running = exposed.begun(attacker, BUSY, exposed.name)
    try:
        served, said = exposed.is_served(client)
        assert served, said
    finally:
        running.communicate("\n")
