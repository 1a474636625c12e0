#!/usr/bin/env python3
"""Runs Lath's tests of instances and clusters on a host whose control groups are of version 2 alone: a virtual machine with
Debian's kernel and Debian's packages, which this script makes and boots. No part of `./x test`, because it needs QEMU and takes
minutes (an hour where there is no KVM).

    cgroup_v2.py [--host systemd|bare|container] [PYTEST ARGUMENT...]

    systemd      (default) systemd is the first process, and the tests are a service of it
    bare         the first process is a script: every process is in the root of the hierarchy
    container    as a container of its own control group namespace: processes are in the root of what it sees, which is none

Without arguments it runs the tests of crates/instance, and of conformance/tests those in TESTS below; with arguments, which pytest
gets, these alone, such as conformance/tests/test_kubernetes_deaths.py. It needs root, Debian 12, `apt-get install --no-install-recommends qemu-system-x86 mmdebstrap e2fsprogs`, what
`./x setup` and `./x kubernetes` make, and 4 GB in WORK (${XDG_CACHE_HOME:-~/.cache}/lath/cgroup-v2), 6 GB of memory, 2 processors.
LATH_BIN and LATH_KUBERNETES_BIN are used when they are set. The machine has no network. Exits with 0 when all has passed. The
machine's console is in WORK/console-HOST.log, and WORK/shell-HOST is a socket with a shell of it.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lath"
WORK = CACHE / "cgroup-v2"
TESTS = ["test_cgroup_v2.py"]
# What a host with systemd has beside x's DEBIAN_PACKAGES and CLUSTER_PACKAGES.
HOST = ["linux-image-cloud-amd64", "systemd-sysv", "dbus", "udev", "kmod"]
# A machine that says nothing for so long hangs.
SILENCE = 5400
GUEST = r"""#!/bin/bash
# In the machine: runs everything, and says on the second serial line what came of it.
exec >/dev/ttyS1 2>&1 </dev/null
. /tests/environment
export HOME=/root XDG_CACHE_HOME=/tests/cache LATH_TEST_PATIENCE=${PATIENCE} PYTHONDONTWRITEBYTECODE=1
export PATH=/tests/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin
status=0
part() { echo "== $*"; "$@" || { echo "FAILED ($?): $*"; status=1; }; }
groups() { (cd /sys/fs/cgroup && find . -type d -name 'lath-*' ! -name '*.service'); }
mkdir -p "$(dirname "$VENV")" && ln -sfn /tests/venv "$VENV"
[[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]] || { echo "/sys/fs/cgroup is not of version 2"; status=1; }
echo "kernel $(uname -r), in $(cat /proc/self/cgroup), $(grep ' - cgroup' /proc/self/mountinfo)"
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers); passed on: $(cat /sys/fs/cgroup/cgroup.subtree_control)"
ip link set lo up
(while :; do setsid bash -i </dev/ttyS2 >/dev/ttyS2 2>&1; sleep 1; done) &
part "$LATH_BIN" doctor
for test in /tests/cargo/*; do
    [[ -x $test && $test != */launcher ]] && part "$test" --test-threads=1
done
cd /tests/tree
(( ${#PYTEST[@]} )) && part /tests/venv/bin/python -m pytest -p no:cacheprovider -ra --durations=10 --durations-min=1 "${PYTEST[@]}"
left=$(groups)
[[ -z $left ]] || { echo "FAILED: control groups are left: $left"; status=1; }
echo "lath-tests: $status"
sync
"""
# What containers' first processes are given: groups of their own, seen as if they were all.
CONTAINER = r"""
mkdir /sys/fs/cgroup/container
for it in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$it" >/sys/fs/cgroup/cgroup.subtree_control; done
sh -c 'echo $$ >/sys/fs/cgroup/container/cgroup.procs
    exec unshare --cgroup --mount sh -c "umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /tests/guest"'
"""
INIT = r"""#!/bin/bash
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /tests; mount -o ro /dev/vdb /tests
if [[ $(</proc/cmdline) == *lath.host=container* ]]; then
    %s
else
    /tests/guest
fi
echo o >/proc/sysrq-trigger
sleep 1000
"""
UNIT = """[Unit]
Description=Lath's tests
ConditionKernelCommandLine=lath.host=systemd
[Service]
Type=oneshot
ExecStartPre=/bin/mkdir -p /tests
ExecStartPre=/bin/mount -o ro /dev/vdb /tests
ExecStart=/tests/guest
ExecStopPost=/bin/systemctl poweroff --force --force
TimeoutStartSec=infinity
LimitNOFILE=1048576
TasksMax=infinity
[Install]
WantedBy=multi-user.target
"""


def run(*command, **more):
    return subprocess.run([str(it) for it in command], check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def packages():
    """What x installs."""
    text = (ROOT / "x").read_text()
    lists = [re.search(rf"^{name}=\(([^)]*)\)", text, re.M)[1].split() for name in ("DEBIAN_PACKAGES", "CLUSTER_PACKAGES")]
    return sorted({*HOST, *lists[0], *lists[1]})


def image(directory, path, size):
    """A file system with these files."""
    path.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", directory, path, size)


def make_root():
    """The machine's disk, kernel and first file system; made once for a list of packages."""
    wanted = "\n".join([*packages(), UNIT, INIT % CONTAINER])
    stamp = WORK / "root.made"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("== a root file system of Debian's packages")
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        root = pathlib.Path(scratch) / "root"
        root.mkdir()
        archive = WORK / "packages.tar"
        known = WORK / "packages"
        if not archive.exists() or not known.exists() or known.read_text() != "\n".join(packages()):
            run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages())}", "bookworm", archive)
            known.write_text("\n".join(packages()))
        run("tar", "-C", root, "--exclude=./dev/*", "-xf", archive)
        for name in "vmlinuz", "initrd.img":
            shutil.copyfile(next((root / "boot").glob(f"{name}-*")), WORK / name)
        # Nodes and instances are copies of this file system.
        (root / "etc/fstab").write_text("")
        (root / "etc/hostname").write_text("cgroup-v2\n")
        (root / "etc/systemd/system/lath-tests.service").write_text(UNIT)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "lath-tests.service").symlink_to("/etc/systemd/system/lath-tests.service")
        init = root / "usr/sbin/lath-init"
        init.write_text(INIT % CONTAINER)
        init.chmod(0o755)
        image(root, WORK / "root.ext4", "8G")
    stamp.write_text(wanted)


def stripped(program, place):
    run("strip", "-o", place, program)


def built_tests():
    """Test programs of crates/instance by name, and the launcher that they use."""
    command = ["cargo", "test", "--locked", "-p", "lath-instance", "--no-run", "--message-format=json"]
    found = {}
    for line in run(*command, cwd=ROOT).splitlines():
        said = json.loads(line)
        if said.get("reason") == "compiler-artifact" and said.get("executable"):
            name = said["target"]["name"]
            found["launcher" if name == "lath-instance-launcher" and not said["profile"]["test"] else name] = said["executable"]
    found.pop("lath-instance-launcher", None)
    return found


def make_tests(pytest, instances):
    """The disk with Lath, what it is tested with, and what to do."""
    print("== a disk with Lath and its tests", flush=True)
    programs_of_instances = {} if pytest and not instances else built_tests()
    if instances:
        programs_of_instances = {it: programs_of_instances[it] for it in ["launcher", *instances.split(",")]}
    elif not pytest:
        pytest = [f"conformance/tests/{it}" for it in TESTS]
    lath = os.environ.get("LATH_BIN")
    if not lath:
        run("cargo", "build", "--locked", "--bin", "lath", cwd=ROOT)
        target = os.environ.get("CARGO_TARGET_DIR") or ROOT / "target"
        lath = pathlib.Path(target) / "debug" / "lath"
    programs = os.environ.get("LATH_KUBERNETES_BIN") or run(
        ROOT / "conformance/kubernetes/build.sh", CACHE / "kubernetes").splitlines()[-1]
    programs = pathlib.Path(programs).resolve()
    images = pathlib.Path(run(ROOT / "conformance/kubernetes/images/build.py", programs, CACHE / "kubernetes-images").splitlines()[-1])
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        place = pathlib.Path(scratch)
        stripped(lath, place / "lath")
        (place / "cargo").mkdir()
        for name, program in programs_of_instances.items():
            stripped(program, place / "cargo" / name)
        shutil.copytree(programs, place / "cache/lath/kubernetes" / programs.name, symlinks=True)
        shutil.copytree(images, place / "cache/lath/kubernetes-images" / images.name)
        shutil.copytree(CACHE / "venv", place / "venv", symlinks=True)
        files = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        for name in filter(None, files):
            if (ROOT / name).is_file() and not name.startswith(("crates/", "fuzz/", "docs/")):
                (place / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, place / "tree" / name)
        quoted = " ".join("'" + it.replace("'", "'\\''") + "'" for it in pytest)
        (place / "environment").write_text(
            f"PATIENCE={60 if has_kvm() else 600}\nexport LATH_BIN=/tests/lath LATH_TEST_LAUNCHER=/tests/cargo/launcher VENV={CACHE / 'venv'}\n"
            f"export LATH_KUBERNETES_BIN=/tests/cache/lath/kubernetes/{programs.name}\nPYTEST=({quoted})\n")
        (place / "guest").write_text(GUEST)
        (place / "guest").chmod(0o755)
        size = int(run("du", "-sm", place).split()[0])
        image(place, WORK / "tests.ext4", f"{size + size // 4 + 64}M")


def has_kvm():
    """Whether this machine runs Debian's kernel by itself: other modules that give /dev/kvm run those alone that were made for them."""
    return os.access("/dev/kvm", os.W_OK) and any(pathlib.Path("/sys/module", it).exists() for it in ("kvm_intel", "kvm_amd"))


def boot(host, memory):
    """Boots the machine, and prints what it says; gives the status of its tests, or None."""
    fast = has_kvm()
    # What is emulated is slower with wide vectors and five levels of page tables.
    accelerator = ["-enable-kvm", "-cpu", "host"] if fast else ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem"]
    said = WORK / f"said-{host}.log"
    said.write_text("")
    init = "" if host == "systemd" else "init=/usr/sbin/lath-init"
    command = [
        "qemu-system-x86_64", *accelerator, "-machine", "q35", "-m", memory, "-smp", "2", "-nodefaults", "-display", "none", "-nic", "none",
        "-no-reboot", "-kernel", WORK / "vmlinuz", "-initrd", WORK / "initrd.img",
        "-append", f"root=/dev/vda rw console=ttyS0 quiet panic=-1 lath.host={host} {init}",
        "-drive", f"file={WORK / 'root.ext4'},format=raw,if=virtio,snapshot=on",
        "-drive", f"file={WORK / 'tests.ext4'},format=raw,if=virtio,readonly=on",
        "-serial", f"file:{WORK / f'console-{host}.log'}", "-serial", f"file:{said}",
        "-serial", f"unix:{WORK / f'shell-{host}'},server=on,wait=off",
    ]
    print(f"== a host of the kind {host}{'' if fast else ', slowly: its processors are emulated'}", flush=True)
    machine = subprocess.Popen([str(it) for it in command], env=os.environ | {"TMPDIR": str(WORK)}, stdin=subprocess.DEVNULL)
    status, silent_since = None, time.monotonic()
    try:
        with open(said, errors="replace") as lines:
            while True:
                ended = machine.poll() is not None
                if text := lines.read():
                    silent_since = time.monotonic()
                    sys.stdout.write(text.replace("\r", ""))
                    sys.stdout.flush()
                if ended:
                    break
                if time.monotonic() - silent_since > SILENCE:
                    print("the machine is silent: it is ended")
                    break
                time.sleep(0.5)
    finally:
        machine.kill()
        machine.wait()
    if found := re.findall(r"^lath-tests: (\d+)", said.read_text(errors="replace"), re.M):
        status = int(found[-1])
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=["systemd", "bare", "container"], default="systemd")
    parser.add_argument("--memory", default="6G")
    parser.add_argument("--instances", metavar="NAME,...", help="these test programs of crates/instance alone, such as node,limits")
    arguments, pytest = parser.parse_known_args()
    missing = [it for it in ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "strip") if not shutil.which(it)]
    if os.geteuid() != 0 or missing:
        raise SystemExit(f"SKIPPED: this needs root{' and ' + ', '.join(missing) if missing else ''}\n{__doc__}")
    WORK.mkdir(parents=True, exist_ok=True)
    make_root()
    make_tests(pytest, arguments.instances)
    status = boot(arguments.host, arguments.memory)
    if status is None:
        console = (WORK / f"console-{arguments.host}.log").read_text(errors="replace").splitlines()[-40:]
        raise SystemExit("the machine ended before its tests did:\n" + "\n".join(console))
    raise SystemExit(status)


if __name__ == "__main__":
    main()
