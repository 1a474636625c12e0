"""What clients can make a proxy hold: memory of idle connections and of clients that do not read.

Lath (the real exchange path, `bench_proxy`), nginx and HAProxy, one worker each, on loopback, in one run. Memory is
the proportional set size of the process tree; what the kernel keeps for sockets is the same for all and not counted.
"""

import argparse
import concurrent.futures
import os
import pathlib
import resource
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benches" / "proxy"))

import bench as kit  # noqa: E402

IDLE = int(os.environ.get("IDLE", "8000"))
IDLE_TLS = int(os.environ.get("IDLE_TLS", "2000"))
IDLE_HTTP2 = int(os.environ.get("IDLE_HTTP2", "1000"))
HOSTILE = int(os.environ.get("HOSTILE", "30"))
STREAMS = int(os.environ.get("STREAMS", "250"))
# Longer is not waited for connections to end.
LONGEST = int(os.environ.get("LONGEST", "100"))
BASE = 18000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = b"GET /b/128 HTTP/1.1\r\nHost: svc.local\r\n\r\n"


def held(pid):
    """KiB of the process and its children."""
    total = 0
    for process in kit.tree(pid):
        with open(f"/proc/{process}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def get(stream, path):
    """HEADERS of a GET; RFC 7541, literals without indexing."""
    text = lambda value: bytes([len(value)]) + value
    block = b"\x82\x86" + b"\x04" + text(path) + b"\x01" + text(b"svc.local")
    return frame(1, 0x5, stream, block)


def settings(window):
    return frame(4, 0, 0, struct.pack(">HI", 4, window))


def read_http1(client):
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < 128:
        piece = client.recv(4096)
        assert piece, "closed before it answered"
        answer += piece


def idle_http1(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(REQUEST)
    read_http1(client)
    return client


def idle_tls(port):
    """Asks once under TLS 1.3, by HTTP/1.1."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    client.sendall(REQUEST)
    read_http1(client)
    return client


def idle_http2(port):
    """Asks once and reads until the stream ends."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(PREFACE + settings(65535) + get(1, b"/b/128"))
    stream = client.makefile("rb")
    while True:
        head = stream.read(9)
        assert len(head) == 9, "closed before it answered"
        stream.read(int.from_bytes(head[:3], "big"))
        if head[3] == 4 and not head[4] & 1:
            client.sendall(frame(4, 1, 0))
        if head[3] == 0 and head[4] & 1:
            return client


def idle(name, pid, port, connect, count):
    """Bytes for each idle connection. A tenth of them before, so that what is made once does not count."""
    connections = [connect(port) for _ in range(count // 10)]
    time.sleep(2)
    before = held(pid)
    connections += [connect(port) for _ in range(count)]
    time.sleep(2)
    after = held(pid)
    for connection in connections:
        connection.close()
    time.sleep(3)
    each = (after - before) * 1024 / count
    print(f"{name:8} {count} idle: {each:8.0f} bytes each; {before / 1024:.1f} MiB before, {after / 1024:.1f} with them, "
          f"{held(pid) / 1024:.1f} after", flush=True)
    return each


def open_at(port):
    """Connections that a process still has at this port, from its side."""
    count = 0
    with open("/proc/net/tcp") as table:
        for line in table.read().splitlines()[1:]:
            fields = line.split()
            here = int(fields[1].rsplit(":", 1)[1], 16)
            count += here == port and fields[3] in ("01", "08") and fields[9] != "0"
    return count


def deaf(port):
    """A client with wide windows and many streams that never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    wide = settings((1 << 31) - 1) + frame(8, 0, 0, struct.pack(">I", (1 << 31) - 1 - 65535))
    streams = b"".join(get(1 + 2 * n, b"/b/1000000") for n in range(STREAMS))
    client.sendall(PREFACE + wide)
    client.sendall(streams)
    return client


def hostile(name, pid, port):
    before = peak = held(pid)
    began = time.monotonic()
    clients = [deaf(port) for _ in range(HOSTILE)]
    ended = None
    while time.monotonic() - began < LONGEST:
        peak = max(peak, held(pid))
        if not open_at(port):
            ended = time.monotonic() - began
            break
        time.sleep(0.1)
    time.sleep(3)
    after = held(pid)
    for client in clients:
        client.close()
    lived = "longer than that" if ended is None else f"{ended:.0f} s"
    print(f"{name:8} {HOSTILE} x {STREAMS} streams never read: {before / 1024:.1f} MiB before, {peak / 1024:.1f} at most, "
          f"{after / 1024:.1f} after; lived {lived}", flush=True)


def peers():
    """nginx and HAProxy as the kit has them, but with the client timeouts that their manuals suggest."""
    arguments = argparse.Namespace(workers=1, nofile=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65536),
                                   peers="nginx,haproxy", envoy=None)
    commands = kit.peers(arguments, BASE)
    config = pathlib.Path(kit.TMP, "haproxy.cfg")
    text = config.read_text().replace("timeout client 600s", "timeout client 60s")
    config.write_text(text.replace("maxconn 10100", "maxconn 20000").replace("timeout client 60s", "timeout client 60s\n  timeout http-keep-alive 600s"))
    return commands


def build():
    if ready := os.environ.get("BENCH_PROXY"):
        return pathlib.Path(ready)
    subprocess.run(["cargo", "build", "--locked", "--release", "-p", "lath-proxy", "--example", "bench_proxy"],
                   cwd=ROOT, check=True)
    return pathlib.Path(os.environ["CARGO_TARGET_DIR"], "release", "examples", "bench_proxy")


def backend():
    binary = pathlib.Path(kit.TMP, "backend")
    subprocess.run(["rustc", "--edition", "2021", "-O", "-o", binary, ROOT / "benches" / "proxy" / "backend.rs"], check=True)
    return kit.start([str(binary), str(BASE)], None, f"{kit.TMP}/backend.log")


def memory():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lath = build()
    with tempfile.TemporaryDirectory(prefix="lath-bench.") as directory:
        kit.TMP = directory
        try:
            measure(lath)
        finally:
            kit.cleanup()


def measure(lath):
    commands = peers()
    commands["lath"] = ([str(lath), "--connections", "20000"], {"h1": 9001, "h2": 9002, "tls": 9003})
    backend()
    kit.wait(BASE, "the backend")
    proxies = {}
    for name, (command, ports) in commands.items():
        proxies[name] = kit.start(command, None, f"{kit.TMP}/{name}.log").pid, ports
        kit.wait(ports["h1"], name)
    for kind, connect, count, title in (("h1", idle_http1, IDLE, "HTTP/1.1"), ("tls", idle_tls, IDLE_TLS, "HTTP/1.1 under TLS 1.3"),
                                        ("h2", idle_http2, IDLE_HTTP2, "HTTP/2")):
        print(f"\nidle keep-alive connections, {title}")
        for name, (pid, ports) in proxies.items():
            idle(name, pid, ports[kind], connect, count)
    print("\nclients that do not read, HTTP/2, 1 MB answers")
    with concurrent.futures.ThreadPoolExecutor(len(proxies)) as together:
        runs = [together.submit(hostile, name, pid, ports["h2"]) for name, (pid, ports) in proxies.items()]
        for run in runs:
            run.result()


if __name__ == "__main__":
    memory()
