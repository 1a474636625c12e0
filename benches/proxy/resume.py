"""Opens connections under TLS one after another, each with the session of the one before: PORT PATH SECONDS. Prints how many
were resumed, how many were not, and the seconds that it took."""

import json
import socket
import ssl
import sys
import time

port, path, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
trusting = ssl.create_default_context()
trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
request = f"GET {path} HTTP/1.1\r\nHost: svc.local\r\nConnection: close\r\n\r\n".encode()


def ask(session):
    """The session after a request, and whether it was resumed."""
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        with trusting.wrap_socket(line, server_hostname="localhost", session=session) as tls:
            tls.sendall(request)
            answer = b""
            while piece := tls.recv(65536):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 "), answer[:60]
            return tls.session, tls.session_reused


session, _ = ask(None)
counts, begin = {True: 0, False: 0}, time.monotonic()
while time.monotonic() - begin < seconds:
    session, resumed = ask(session)
    counts[resumed] += 1
print(json.dumps({"resumed": counts[True], "new": counts[False], "seconds": time.monotonic() - begin}))
