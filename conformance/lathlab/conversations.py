"""Conversations with a TLS server that no honest client has, by tlslite-ng, which says what it is told to say.

    conversations.py NAME PORT [OTHER]

NAME is a server's name that resolves, OTHER one that the same port serves with another certificate. Prints what became of
each conversation as JSON: the alert that ended it, "closed", or what the server answered.
"""

import json
import socket
import sys

from tlslite import errors, extensions, messages
from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import AlertDescription, CipherSuite, ContentType, ExtensionType, GroupName, SignatureScheme
from tlslite.mathtls import getRandomBytes

PATIENCE = 30
ANSWER = "answered"


class Line(socket.socket):
    """A socket that damages what it sends while it is told to."""

    damages = False

    def send(self, data, *flags):
        if self.damages:
            data = bytes(data[:-1]) + bytes([data[-1] ^ 1])
        return super().send(data, *flags)


class Client(TLSConnection):
    """Sends for each message what `change` makes of it."""

    change = staticmethod(lambda message: [message])

    def _sendMsg(self, message, *rest, **more):
        for changed in self.change(message):
            yield from super()._sendMsg(changed, *rest, **more)


class Server:
    def __init__(self, name, port):
        self.name, self.port = name, port

    def line(self):
        line = Line(socket.AF_INET, socket.SOCK_STREAM)
        line.settimeout(PATIENCE)
        line.connect((socket.gethostbyname(self.name), self.port))
        return line

    def client(self, version=(3, 4), change=None, session=None, alpn=None, name=None, **settings):
        """A client after its handshake."""
        its = HandshakeSettings()
        its.minVersion = its.maxVersion = version
        its.versions = [version]
        its.keyShares, its.eccCurves = ["secp256r1"], ["secp256r1"]
        its.record_size_limit, its.use_heartbeat_extension = None, False
        for member, value in settings.items():
            setattr(its, member, value)
        client = Client(self.line())
        client.change = change or Client.change
        client.handshakeClientCert(settings=its, session=session, serverName=name or self.name, alpn=alpn)
        return client

    def ask(self, client, text=None):
        text = text or f"GET / HTTP/1.1\r\nHost: {self.name}\r\n\r\n"
        client.write(text.encode())
        head = bytes(client.read(max=4096, min=1))
        return ANSWER if head.startswith(b"HTTP/1.1 ") else repr(head[:40])

    def told(self, conversation):
        """What became of a conversation."""
        try:
            return conversation()
        except errors.TLSRemoteAlert as alert:
            return AlertDescription.toStr(alert.description)
        except errors.TLSLocalAlert as wrong:
            # With a ticket of TLS 1.2, the library knows no other answer than that it was taken.
            refused = ("got certificate", "ciphersuite doesn't match session")
            return "full handshake" if any(words in str(wrong) for words in refused) else str(wrong)
        except (errors.TLSAbruptCloseError, errors.TLSClosedConnectionError, ConnectionError, BrokenPipeError):
            return "closed"

    def said(self, *octets):
        """The records that answer these octets, up to the end or the first flight's."""
        with self.line() as line:
            try:
                for piece in octets:
                    line.sendall(piece)
                head = received(line, 5)
                body = received(line, int.from_bytes(head[3:5], "big"))
            except (EOFError, ConnectionError):
                return "closed"
        if head[0] == ContentType.alert:
            return AlertDescription.toStr(body[1])
        return "server_hello" if head[0] == ContentType.handshake and body[0] == 2 else repr(head + body)[:60]


def received(line, count):
    got = b""
    while len(got) < count:
        piece = line.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


def record(kind, content, version=(3, 1)):
    return bytes([kind, *version]) + len(content).to_bytes(2, "big") + content


def hello(name, version=(3, 3), suites=None, versions=None, more=(), compressions=None):
    """A ClientHello as TLS 1.2 has it, with these extensions besides."""
    suites = suites or [CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
    its = [extensions.SNIExtension().create(name)] if isinstance(name, bytes) else list(name or [])
    its += [extensions.SupportedGroupsExtension().create([GroupName.secp256r1]),
            extensions.SignatureAlgorithmsExtension().create(
                [SignatureScheme.ecdsa_secp256r1_sha256, SignatureScheme.rsa_pss_rsae_sha256])]
    if versions:
        its.append(extensions.SupportedVersionsExtension().create(versions))
    made = messages.ClientHello().create(version, getRandomBytes(32), bytearray(), suites, extensions=its + list(more))
    if compressions is not None:
        made.compression_methods = compressions
    return bytes(made.write())


def other(kind, content=b""):
    return extensions.TLSExtension(extType=kind).create(bytearray(content))


def on_hello(change):
    """A change of the ClientHello alone."""
    def changed(message):
        if isinstance(message, messages.ClientHello):
            change(message)
        return [message]
    return changed


def before_finished(*inserted):
    return lambda message: [*inserted, message] if isinstance(message, messages.Finished) else [message]


def wrong_finished(message):
    if isinstance(message, messages.Finished):
        message.verify_data[0] ^= 1
    return [message]


def greetings(server):
    """What is answered to bytes in the clear."""
    name = server.name.encode()
    whole = hello(name)
    message = lambda body: b"\1" + len(body).to_bytes(3, "big") + body
    padded = hello(name, more=[other(ExtensionType.client_hello_padding, b"\0" * 15000)])
    pieces = b"".join(record(22, padded[at:at + 8000]) for at in range(0, len(padded), 8000))
    rsa, cbc = [0x002F, 0x009C], [0xC009, 0xC013, 0xC023]
    return {
        "ssl2": server.said(bytes.fromhex("802e0100020015000000100700c0030080010080060040040080020080") + bytes(16)),
        "ssl3": server.said(record(22, hello(name, (3, 0)), (3, 0))),
        "tls1.0": server.said(record(22, hello(name, (3, 1)))),
        "tls1.1": server.said(record(22, hello(name, (3, 2)))),
        "only old versions named": server.said(record(22, hello(name, versions=[(3, 2), (3, 1)]))),
        "tls1.2": server.said(record(22, whole)),
        "a version to come": server.said(record(22, hello(name, (3, 9)))),
        "fallback": server.said(record(22, hello(name, suites=[0xC02B, 0xC02F, 0x5600]))),
        "in octets": server.said(*[record(22, bytes([octet])) for octet in whole]),
        "15 KB": server.said(pieces),
        "17 KB": server.said(record(22, b"\1\0\x44\0" + bytes(16000)), record(22, bytes(1404))),
        "empty record": server.said(record(22, b"") + record(22, whole)),
        "a record of 16385 octets": server.said(record(22, b"\1\0\x3f\xfd" + bytes(16381))),
        "an alert first": server.said(record(21, b"\1\0")),
        "data first": server.said(record(23, b"GET / HTTP/1.1\r\n\r\n")),
        "a change of ciphers first": server.said(record(20, b"\1")),
        "heartbeat first": server.said(record(24, b"\1\x40\0", (3, 2))),
        "another message first": server.said(record(22, b"\2" + whole[1:])),
        "cut": server.said(record(22, message(whole[4:-3]))),
        "no name": server.said(record(22, hello(None))),
        "an empty list of names": server.said(record(22, hello([other(0, b"\0\0")]))),
        "an empty name": server.said(record(22, hello([other(0, b"\0\3\0\0\0")]))),
        "an address for a name": server.said(record(22, hello(b"10.0.0.1"))),
        "an unknown name": server.said(record(22, hello(b"unknown.example.test"))),
        "a name twice": server.said(record(22, hello(name, more=[extensions.SNIExtension().create(name)]))),
        "RSA's key exchange": server.said(record(22, hello(name, suites=rsa))),
        "CBC": server.said(record(22, hello(name, suites=cbc))),
        "NULL, EXPORT, RC4, anonymous": server.said(record(22, hello(name, suites=[0x0001, 0x0003, 0x0005, 0xC018, 0xC007]))),
        "only SHA-1": server.said(record(22, hello(name).replace(b"\4\3\x08\4", b"\2\3\2\1"))),
        "only an old curve": server.said(record(22, hello(name).replace(b"\0\x0a\0\4\0\2\0\x17", b"\0\x0a\0\4\0\2\0\x13"))),
        "only compressed": server.said(record(22, hello(name, compressions=[1]))),
        "FTP in ALPN": server.said(record(22, hello(name, more=[extensions.ALPNExtension().create([b"ftp"])]))),
        "SMTP": server.said(b"EHLO client.example.test\r\n"),
        "SSH": server.said(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "HTTP": server.said(f"GET / HTTP/1.1\r\nHost: {server.name}\r\n\r\n".encode()),
        "HTTP/2": server.said(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    }


def twice(kind):
    return on_hello(lambda message: message.extensions.append(message.getExtension(kind)))


def zero_share(message):
    share = message.getExtension(ExtensionType.key_share).client_shares[0]
    share.group, share.key_exchange = GroupName.x25519, bytearray(32)
    message.getExtension(ExtensionType.supported_groups).groups.insert(0, GroupName.x25519)


def off_curve(message):
    share = message.getExtension(ExtensionType.key_share).client_shares[0]
    share.key_exchange = bytearray(share.key_exchange[:-1]) + bytearray([share.key_exchange[-1] ^ 1])


def handshakes(server):
    """What becomes of handshakes that are damaged on their way."""
    done = lambda *positional, **named: server.told(lambda: server.ask(server.client(*positional, **named)))
    data, ccs = messages.ApplicationData().create(bytearray(b"GET / HTTP/1.1\r\n\r\n")), messages.ChangeCipherSpec().create()
    garbled = messages.ChangeCipherSpec().create()
    garbled.type = 2
    return {
        "TLS 1.3": done(), "TLS 1.2": done((3, 3)),
        "HTTP/1.1 in ALPN": done(alpn=[b"http/1.1"]),
        "asked again for a share": done(keyShares=[]),
        "an extension twice": done(change=twice(ExtensionType.supported_groups)),
        "a share of zeros": done(change=on_hello(zero_share)),
        "a share off the curve": done(change=on_hello(off_curve)),
        "a wrong Finished": done(change=wrong_finished), "a wrong Finished of 1.2": done((3, 3), change=wrong_finished),
        "data before Finished": done(change=before_finished(data)),
        "data before Finished of 1.2": done((3, 3), change=before_finished(data)),
        "a change of ciphers before Finished": done(change=before_finished(ccs)),
        "another change of ciphers before Finished": done(change=before_finished(garbled)),
        "early data announced": done(change=on_hello(lambda it: it.extensions.append(other(ExtensionType.early_data)))),
    }


def promises(server):
    """What the server says of itself."""
    old, new = server.client((3, 3)), server.client()
    seen, original = {}, messages.ServerHello.parse

    def parse(self, parser):
        seen["hello"] = original(self, parser)
        return seen["hello"]

    messages.ServerHello.parse = parse
    try:
        server.client((3, 3)).close()
    finally:
        messages.ServerHello.parse = original
    kinds = {it.extType for it in seen["hello"].extensions or []}
    server.ask(new)
    return {
        "downgrade is marked": bytes(seen["hello"].random[-8:]) == b"DOWNGRD\1",
        "extended master secret": old.extendedMasterSecret,
        "secure renegotiation": ExtensionType.renegotiation_info in kinds,
        "heartbeats": ExtensionType.heartbeat in kinds,
        "compression": seen["hello"].compression_method,
        "early data is offered": any(it.getExtension(ExtensionType.early_data) for it in new.tickets),
        "tickets": bool(new.tickets),
    }


def records(server):
    """What becomes of a connection whose handshake is over."""
    def after(deed, version=(3, 4)):
        def conversation():
            client = server.client(version)
            deed(client)
            client.read(max=1, min=1)
            return "data"
        return server.told(conversation)

    def send(kind, content):
        def deed(client):
            for _ in client._recordLayer.sendRecord(messages.Message(kind, bytearray(content))):
                pass
        return deed

    def damaged(client):
        client.sock.socket.damages = True
        client.write(b"GET / HTTP/1.1\r\n\r\n")

    def in_clear(octets):
        return lambda client: client.sock.socket.sendall(octets)

    def empty(count):
        def deed(client):
            for _ in range(count):
                send(23, b"")(client)
            client.write(f"GET / HTTP/1.1\r\nHost: {server.name}\r\n\r\n".encode())
        return deed

    def updated(client):
        for _ in client.send_keyupdate_request(1):
            pass
        client.write(f"GET / HTTP/1.1\r\nHost: {server.name}\r\n\r\n".encode())

    whole = hello(server.name.encode())
    out = {}
    for version, label in [((3, 4), ""), ((3, 3), " of 1.2")]:
        out |= {
            f"a damaged record{label}": after(damaged, version),
            f"a record of 20000 octets{label}": after(in_clear(record(23, bytes(20000), (3, 3))), version),
            f"a short record{label}": after(in_clear(record(23, b"x", (3, 3))), version),
            f"plain data{label}": after(in_clear(record(23, b"GET / HTTP/1.1\r\n\r\n", (3, 3))), version),
            f"an unknown kind{label}": after(send(99, b"x"), version),
            f"a heartbeat{label}": after(send(24, b"\1\x40\0"), version),
            f"a change of ciphers{label}": after(in_clear(record(20, b"\1", (3, 3))), version),
            f"an alert in pieces{label}": after(send(21, b"\2"), version),
            f"10 empty records{label}": after(empty(10), version),
            f"1000 empty records{label}": after(empty(1000), version),
        }
    out |= {
        "a new hello": after(send(22, whole)),
        "no content": after(lambda client: in_clear(record(23, sealed(client), (3, 3)))(client)),
        "new keys": after(updated),
        "a strange change of keys": after(send(22, b"\x18\0\0\1\2")),
        "a hello request": after(send(22, b"\0\0\0\0")),
    }
    return out


def sealed(client):
    """A sealed record of TLS 1.3 that is nothing but padding."""
    layer = client._recordLayer
    state = layer._writeState
    nonce = layer._getNonce(state, state.getSeqNumBytes())
    header = bytearray([23, 3, 3, 0, 32])
    return bytes(state.encContext.seal(nonce, bytearray(16), header))


def renegotiation(server):
    """A client of TLS 1.2 that wants to shake hands again, again and again, does not get it."""
    client = server.client((3, 3))
    whole = hello(server.name.encode())
    seen = []

    def conversation():
        for _ in range(3):
            for _ in client._recordLayer.sendRecord(messages.Message(ContentType.handshake, bytearray(whole))):
                pass
            for got in client._getNextRecord():
                if got not in (0, 1):
                    break
            header, parser = got
            if header.type != ContentType.alert:
                return f"type {header.type}"
            alert = messages.Alert().parse(parser)
            seen.append(f"{alert.level} {AlertDescription.toStr(alert.description)}")
        return "goes on"
    return [server.told(conversation), seen]


def tickets(server, elsewhere):
    """Whether sessions are resumed: as they were, damaged, and at another certificate."""
    out = {}
    for version, label in [((3, 4), "1.3"), ((3, 3), "1.2")]:
        def again(change=lambda ticket: None, name=None):
            first = server.client(version)
            server.ask(first)
            its = first.session.tickets if version == (3, 4) else first.session.tls_1_0_tickets
            for ticket in its:
                change(ticket)
            first.session.serverName = name or server.name
            answers = []
            for _ in range(2):
                second = server.client(version, session=first.session, name=name)
                answers.append([second.resumed, server.ask(second)])
            return answers

        def damage(at):
            def change(ticket):
                ticket.ticket[at] ^= 1
            return change

        def empty(ticket):
            ticket.ticket = bytearray(b"x")

        out[label] = {
            "whole, twice": server.told(again),
            "damaged": [server.told(lambda at=at: again(damage(at))) for at in (0, 20, -1)],
            "made up": server.told(lambda: again(empty)),
            "elsewhere": server.told(lambda: again(name=elsewhere)) if elsewhere else None,
        }
    return out


def main():
    server = Server(sys.argv[1], int(sys.argv[2]))
    elsewhere = sys.argv[3] if len(sys.argv) > 3 else None
    print(json.dumps({
        "greetings": greetings(server), "handshakes": handshakes(server), "promises": promises(server),
        "records": records(server), "renegotiation": renegotiation(server), "tickets": tickets(server, elsewhere)}, indent=1))


if __name__ == "__main__":
    main()
