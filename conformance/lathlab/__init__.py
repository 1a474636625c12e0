"""A Lath of one's own for tests, the demo and benchmarks: started, watched, killed and looked after.

Knows Lath only from outside: its command line, its ports, the kernel objects it makes.
"""

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import weakref

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPE = ROOT / "conformance" / "recipes" / "ip-targets.sh"
# Machines are noisy: a wait fails only when the thing will never happen.
PATIENCE = float(os.environ.get("LATH_TEST_PATIENCE", "60"))


class Dead(Exception):
    """Lath itself is not there: waiting is of no use."""


def wait_for(what, check, patience=None, pause=0.1):
    """Repeats check() until it gives something true, and gives that; fails with the last thing seen."""
    end = time.monotonic() + (patience or PATIENCE)
    seen = None
    while time.monotonic() < end:
        try:
            got = check()
            if got:
                return got
            seen = got
        except Dead:
            raise
        except Exception as error:  # the thing waited for may not be there at all yet
            seen = error
        time.sleep(pause)
    raise AssertionError(f"waited in vain for {what}; last seen: {seen!r}")


def free_port():
    """One that the kernel gives to nobody by itself: a client that asks for the port of a server that was killed would
    otherwise be given that very port now and then, connect to itself, and hold it."""
    lowest_given = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", random.randrange(lowest_given // 3, lowest_given)))
            return s.getsockname()[1]
    raise AssertionError("no free port")


def free_dns_port(count):
    """The first of so many ports in a row that nobody has, by UDP and TCP."""
    for _ in range(200):
        first = free_port()
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError, OverflowError):
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    taken.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
            return first
    raise AssertionError(f"no {count} free ports in a row")


def binary():
    path = os.environ.get("LATH_BIN")
    if not path:
        raise Dead("LATH_BIN is not set: run this through ./x")
    return path


# Every Lath that runs, for what is shown when a test fails.
RUNNING = weakref.WeakSet()


class Lath:
    """One `lath serve` with a data directory of its own; with regions, a supervisor and the processes of each. It may have
    so many `descriptors` open. `environment` is added to that of `lath serve`;
    without `LATH_DEFAULT_VPC` there it begins without default VPCs."""

    def __init__(self, *flags, directory=None, region="us-east-1", regions=None, descriptors=None, environment=None):
        self.descriptors = descriptors
        # Most tests count on what they made themselves.
        self.environment = {"LATH_DEFAULT_VPC": "false"} | (environment or {})
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="lath-lab-"))
        self.data = self.directory / "data"
        self.port, self.admin_port = free_port(), free_port()
        self.dns_port = free_dns_port(len(regions or [1]))
        self.registry_port = free_dns_port(len(regions or [1]))
        self.flags = list(flags)
        self.process = None
        self.log = self.directory / "serve.log"
        self.regions = list(regions or [])
        self.region = self.regions[0] if regions else region

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def command(self):
        return [
            binary(), "serve", "--data-dir", str(self.data),
            "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}",
            "--dns-listen", f"127.0.0.1:{self.dns_port}", "--registry-listen", f"127.0.0.1:{self.registry_port}",
            *(["--regions", ",".join(self.regions)] if self.regions else ["--region", self.region]), *self.flags,
        ]

    def begin(self):
        """Starts it and does not wait."""
        RUNNING.add(self)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=os.environ | self.environment, preexec_fn=self.limit_descriptors)

    def start(self):
        self.begin()
        wait_for("lath serve to answer", self.answers)
        return self

    def limit_descriptors(self):
        if self.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def answers(self):
        if self.process.poll() is not None:
            raise Dead(f"lath serve ended with {self.process.returncode}:\n{self.tail()}")
        with urllib.request.urlopen(f"{self.endpoint}/_lath/health", timeout=5) as reply:
            return reply.status == 200

    def tail(self, lines=60):
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def complaints(self, lines=15):
        """The last warnings and errors of its log, and what its status names."""
        found = []
        with contextlib.suppress(OSError):
            log = self.log.read_text(errors="replace").splitlines()
            found = [line for line in log if " WARN " in line or " ERROR " in line or "lath: " in line][-lines:]
        with contextlib.suppress(Exception):
            found += [f"status: {it}" for it in self.status().get("trouble", [])]
        return "\n".join(line[:400] for line in found)

    def stop(self):
        """A clean stop; gives the exit status."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"lath serve did not stop:\n{self.tail()}") from None

    def kill(self):
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait()

    def env(self):
        """The environment in which the aws CLI and boto3 talk to this Lath."""
        out = self.cli("env", "--data-dir", str(self.data), "--output", "json")
        keys = json.loads(out)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        nowhere = str(self.directory / "no-aws-config")
        return clean | keys | {
            "AWS_PAGER": "", "AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "2",
        }

    def cli(self, *args, check=True):
        """Runs the lath command."""
        run = subprocess.run([binary(), *args], capture_output=True, text=True, timeout=PATIENCE)
        if check and run.returncode != 0:
            raise AssertionError(f"lath {' '.join(args)}: {run.returncode}\n{run.stdout}{run.stderr}")
        return run.stdout if check else run

    def exec(self, instance, *command, check=True):
        """Runs a command in an instance."""
        return self.cli("exec", "--data-dir", str(self.data), instance, "--", *command, check=check)

    def aws(self, *args, check=True):
        """Runs the stock aws CLI; gives its answer, decoded."""
        run = subprocess.run(["aws", *args, "--output", "json"], capture_output=True, text=True,
                             timeout=PATIENCE, env=self.env())
        if not check:
            return run
        if run.returncode != 0:
            raise AssertionError(f"aws {' '.join(args)}: {run.returncode}\n{run.stderr}\n{self.tail()}")
        from . import calls
        calls.command(*args[:2])
        return json.loads(run.stdout) if run.stdout.strip() else None

    def client(self, service, region=None, **more):
        """A boto3 client."""
        import boto3
        from botocore.config import Config
        env = self.env()
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=region or self.region,
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            config=Config(**({"retries": {"max_attempts": 1}} | more)),
        )

    def status(self):
        return json.loads(self.cli("status", "--data-dir", str(self.data), "--output", "json"))

    def dns(self, region=None):
        """Where a region answers for public hosted zones: (address, port)."""
        status = self.status()
        at = next((r["dns"] for r in status["regions"] if r["name"] == region), status["dns"])
        address, port = at.rsplit(":", 1)
        return address, int(port)

    def processes(self):
        """Every process of every region, by (region, role)."""
        return {(region["name"], process["role"]): process
                for region in self.status()["regions"] for process in region["processes"]}

    def pid(self, region, role):
        return self.processes()[region, role]["pid"]

    def kill_process(self, region, role):
        """SIGKILL to one process of a region; returns its pid when the supervisor has seen it."""
        pid = self.pid(region, role)
        os.kill(pid, signal.SIGKILL)
        wait_for("the supervisor to see it", lambda: self.pid(region, role) != pid)
        return pid

    def kill_everything(self):
        """SIGKILL to the supervisor and to every process that it started."""
        pids = [process["pid"] for process in self.processes().values() if process["pid"]]
        self.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as reply:
            return reply.read().decode()

    def remnants(self):
        """Everything that still exists in the kernel or on the disk because of this Lath."""
        here = str(self.directory)
        left = []
        with open("/proc/self/mounts") as mounts:
            left += [f"mount {m.split()[1]}" for m in mounts if here in m]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if int(pid) in (os.getpid(), self.process.pid if self.process else -1):
                continue
            with contextlib.suppress(OSError):
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if words and words[0].endswith(b"lath") and here.encode() in b" ".join(words):
                    left.append(f"process {pid} {b' '.join(words).decode()}")
        return left

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


def host_state():
    """The host's links and nft tables, to compare before and after."""
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    state = {f"link {link['ifname']}" for link in links}
    if os.geteuid() == 0 and shutil.which("nft"):
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        state |= {f"nft {line}" for line in tables.splitlines()}
    return state


def recipe(lath, *phases, directory, poll="1", patience=900, **settings):
    """Runs phases of the recipe as a user would; gives its output."""
    env = lath.env() | {"STATE_DIR": str(directory), "POLL": poll, "WAIT_TIMEOUT": "300"} | settings
    from . import calls
    run = subprocess.run([str(RECIPE), *phases], env=calls.noting(env), capture_output=True, text=True, timeout=patience)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(phases)}: {run.returncode}\n{run.stdout}\n{run.stderr}\n{lath.tail()}")
    return run.stdout
