"""Nobody keeps others out: a Lath with few descriptors, and clients that open many connections."""

import contextlib
import socket

import lathlab
import pytest

FEW = 256


@pytest.fixture
def few():
    """Lath, that may have few files open, and every process that it starts."""
    with lathlab.Lath(descriptors=FEW) as lath:
        yield lath


def silent(stack, port, count, said=b""):
    """So many connections that say no more than that."""
    for _ in range(count):
        stream = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        with contextlib.suppress(OSError):  # it may have been hung up on already
            stream.sendall(said)


@pytest.mark.root
def test_silent_connections_leave_the_api_open(few):
    ec2 = few.client("ec2")
    with contextlib.ExitStack() as stack:
        for said in (b"", b"POST / HT", b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\na", b"PRI * HTTP/2.0\r\n"):
            silent(stack, few.port, 100, said)
        silent(stack, few.admin_port, 100)
        assert ec2.describe_vpcs()["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert few.answers()
        assert "lath" in few.metrics()
    lines = few.log.read_text(errors="replace").splitlines()
    noise = [line for line in lines if "too many connections" in line or "accepted" in line]
    assert 0 < len(noise) < 40, "\n".join(noise[:60])
