"""What clusters need beside Lath: the programs of Kubernetes, a container runtime, images. All of it is made once and kept
(`./x test` does it before the tests, `./x kubernetes` alone); whoever runs pytest by hand gets it here.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from . import ROOT, Dead, Lath, binary

HERE = ROOT / "conformance" / "kubernetes"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lath"
# The manifests of the Gateway API controller, and its kinds.
GATEWAY_CONTROLLER = ROOT / "packaging" / "gateway"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.2.1"
MCS_API = "sigs.k8s.io/mcs-api@v0.5.2"


class Kubernetes:
    """The programs and images of clusters."""

    def __init__(self, programs, images):
        self.programs, self.images = pathlib.Path(programs), pathlib.Path(images)
        said = subprocess.run([self.programs / "kubelet", "--version"], capture_output=True, text=True, check=True).stdout
        # What EKS calls a version.
        self.version = re.search(r"v(\d+\.\d+)\.", said)[1]

    def environment(self):
        """For `lath serve`, and for scripts that call kubectl."""
        return {"LATH_KUBERNETES_BIN": str(self.programs), "PATH": f"{self.programs}:{os.environ['PATH']}"}

    def scripts_environment(self, directory):
        """environment() for scripts that end a pipe of kubectl at the first line that matches (`grep -q`). kubectl writes the
        names of contexts one by one, so that the second one may find the pipe closed, and with pipefail the answer is no, now
        and then. Here the names come in one piece."""
        place = pathlib.Path(directory) / "bin"
        place.mkdir(parents=True, exist_ok=True)
        program = place / "kubectl"
        program.write_text(f"""#!/bin/sh
if [ "$1 $2" != "config get-contexts" ]; then exec {self.programs}/kubectl "$@"; fi
names=$({self.programs}/kubectl "$@") && printf '%s\\n' "$names"
""")
        program.chmod(0o755)
        environment = self.environment()
        return environment | {"PATH": f"{place}:{environment['PATH']}"}

    @contextlib.contextmanager
    def lath(self, *flags, kubeadm=False, archives=(), **more):
        """A Lath with clusters, whose nodes find the images, and those of other archives; with `kubeadm` also those of the control
        planes that it makes."""
        lath = Lath(*flags, environment=self.environment(), **more)
        try:
            own = [*self.images.glob("*.tar"), *(self.images.glob("kubeadm/*.tar") if kubeadm else ())]
            for archive in [*sorted(own), *archives]:
                lath.cli("image", "load", "--data-dir", str(lath.data), str(archive))
            with lath:
                yield lath
        finally:
            shutil.rmtree(lath.directory, ignore_errors=True)

    def kubectl(self, env, *arguments, context=None, check=True, content=None):
        """Runs kubectl with the kubeconfig of an environment; gives its output, or with check=False the whole outcome."""
        where = [f"--context={context}"] if context else []
        run = subprocess.run([self.programs / "kubectl", *where, *arguments], env=env, input=content, text=True,
                             capture_output=True, timeout=900)
        if check and run.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {run.returncode}\n{run.stdout}{run.stderr}")
        return run.stdout if check else run


def prepared():
    """The programs and images; builds what is not there. Raises Dead with the reason where that is not possible."""
    missing = [name for name in ("containerd", "runc") if not (shutil.which(name) or pathlib.Path("/usr/sbin", name).exists())]
    if missing:
        raise Dead(f"no {' and no '.join(missing)}: apt-get install containerd runc")
    programs = os.environ.get("LATH_KUBERNETES_BIN")
    if not programs:
        if not shutil.which("go"):
            raise Dead("LATH_KUBERNETES_BIN is not set, and there is no Go to build the programs: ./x kubernetes")
        programs = made(HERE / "build.sh", CACHE / "kubernetes")
    return Kubernetes(programs, made(HERE / "images" / "build.py", programs, CACHE / "kubernetes-images"))


def made(program, *arguments):
    run = subprocess.run([program, *arguments], capture_output=True, text=True)
    if run.returncode != 0:
        raise Dead(f"{program} failed:\n{run.stderr[-2000:]}")
    return run.stdout.splitlines()[-1]


def module(name):
    """The directory of a Go module."""
    with tempfile.TemporaryDirectory() as nowhere:
        run = subprocess.run(["go", "mod", "download", "-json", name], cwd=nowhere, capture_output=True, text=True, check=True)
    return pathlib.Path(re.search(r'"Dir": "([^"]+)"', run.stdout)[1])


def gateway_api():
    """The kinds of the Gateway API (CustomResourceDefinitions), as its module publishes them."""
    return module(GATEWAY_API) / "config" / "crd" / "standard"


def mcs_api():
    """The kinds of Services across clusters."""
    return module(MCS_API) / "config" / "crd"


def gateway_controller(directory):
    """The image of the Gateway API controller, of the program under test: an archive in the directory."""
    archive = pathlib.Path(directory) / "gateway-controller.tar"
    subprocess.run([sys.executable, GATEWAY_CONTROLLER / "image.py", binary(), archive], check=True)
    return archive


def processes(group, program):
    """Host pids of a program in the control groups of a workload."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            inside = group in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            continue
        if inside and pathlib.Path(argv[0]).name == program:
            found.append(int(pid))
    return found


def kill(group, program):
    """SIGKILL to a program of a workload."""
    pids = processes(group, program)
    assert pids, f"no {program} in {group}"
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def parent(pid):
    """The process that began another."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def traces(words):
    """Control groups and processes that still carry one of these words, such as the id of a node that was terminated."""
    found = []
    for directory, below, _ in os.walk("/sys/fs/cgroup"):
        found += [f"control group {directory}/{name}" for name in below if any(word in name for word in words)]
        if directory.count("/") > 7:
            below.clear()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(word in pathlib.Path(f"/proc/{pid}/cgroup").read_text() for word in words):
                found.append(f"process {pid} {pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()!r}")
    return found
