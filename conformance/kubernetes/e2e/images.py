#!/usr/bin/env python3
"""Makes the container images that upstream's tests use, under the names that the tests have for them, from the programs of
build.sh, Debian packages and this machine's programs, so that nothing is pulled from a registry:

    images.py PROGRAMS KUBERNETES CACHE    puts an OCI archive per image into CACHE/HASH, and prints that path

PROGRAMS is the directory that build.sh printed, KUBERNETES the one that ../build.sh printed. A directory that exists is
complete.
"""

import hashlib
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "images"))

import build  # noqa: E402
from build import ACCOUNTS, GROUPS, Root, digest, libraries_of, packages, run, triplet, write_archive  # noqa: E402

# Names and versions are those of k8s.io/kubernetes/test/utils/image/manifest.go.
TESTS = "registry.k8s.io/e2e-test-images"


def from_package(root, tools, package, program):
    """A program of a Debian package that this machine need not have."""
    scratch = tools["scratch"] / f"packages-{root.path.name}-{package}"
    scratch.mkdir()
    unpacked = packages(scratch, package, *libraries_of(package))
    places = [path for path in (unpacked / "usr/lib" / triplet(), unpacked / "lib" / triplet()) if path.is_dir()]
    root.program(next(path for path in (unpacked / program, unpacked / program.removeprefix("usr/")) if path.exists()),
                 program, places)


def replace(root, source, name):
    """This machine's program where busybox has a smaller one."""
    (root.path / name).unlink(missing_ok=True)
    root.program(source, name)


def base(root, tools):
    """Small programs and a shell. Debian's busybox as a shell takes its own applets before what lies beside it, and hides
    variables such as `data-1` from what it runs; the images of upstream do neither."""
    root.busybox(tools["busybox"])
    replace(root, "/usr/bin/bash", "usr/bin/sh")


def tools_of_networks(root, tools):
    """What tests call in pods to ask and to connect."""
    (root.path / "usr/bin/nc").unlink(missing_ok=True)
    from_package(root, tools, "netcat-openbsd", "usr/bin/nc.openbsd")
    (root.path / "usr/bin/nc").symlink_to("nc.openbsd")
    for source in "/usr/bin/bash", "/usr/bin/curl", "/usr/bin/dig", "/usr/bin/getent":
        replace(root, source, source.lstrip("/"))
    for name in "ip", "ss":
        source = next(path for path in (pathlib.Path("/usr/bin", name), pathlib.Path("/bin", name)) if path.exists())
        replace(root, source, f"usr/bin/{name}")
    root.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")


def agnhost_root(root, tools):
    base(root, tools)
    tools_of_networks(root, tools)
    root.file(tools["programs"] / "agnhost", "agnhost")
    (root.path / "agnhost-2").symlink_to("agnhost")
    root.file("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", mode=0o644)
    for name in "localhost.crt", "localhost.key":
        root.file(tools["programs"] / name, name, mode=0o644)
    (root.path / "uploads").mkdir()
    root.text("etc/passwd", ACCOUNTS + "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n")
    root.text("etc/group", GROUPS + "user-defined-in-image:x:1000:\n"
              "group-defined-in-image:x:50000:user-defined-in-image\n")
    registry(root, tools)


def registry(root, tools):
    """The image that agnhost serves as a registry: pause, as `pause:testing`, below /var/registry."""
    small = Root(tools["scratch"] / f"{root.path.name}-pause")
    pause_program(small, tools)
    archive = tools["scratch"] / f"{root.path.name}-pause.tar"
    write_archive(small, archive, ["pause:testing"], {"Entrypoint": ["/pause"], "User": "65535:65535"})
    unpacked = tools["scratch"] / f"{root.path.name}-pause-archive"
    unpacked.mkdir()
    run("tar", "-xf", str(archive), "-C", str(unpacked))
    place = pathlib.Path("var/registry/pause")
    inner = json.loads((unpacked / "index.json").read_text())["manifests"][0]["digest"]
    index = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": inner,
                       "size": (unpacked / "blobs/sha256" / inner[7:]).stat().st_size,
                       "platform": {"os": "linux", "architecture": build.architecture()}}]})
    data = lambda kind, name: str(place / kind / "sha256" / name[:2] / name / "data")
    root.text(data("manifests", digest(index.encode())[7:]), index)
    root.text(str(place / "manifests/testing"), digest(index.encode()))
    for blob in (unpacked / "blobs/sha256").iterdir():
        kind = "manifests" if blob.name == inner[7:] else "blobs"
        root.file(blob, data(kind, blob.name), mode=0o644)


def pause_program(root, tools):
    program = tools["scratch"] / "pause-program"
    if not program.exists():
        run("gcc", "-static", "-Os", "-s", "-o", str(program), str(HERE.parent / "images/pause.c"))
    root.file(program, "pause")


def agnhost(root, tools):
    root.file(tools["kubernetes"] / "coredns", "coredns")
    return agnhost_config(root, tools)


def agnhost_config(root, tools):
    agnhost_root(root, tools)
    return [f"{TESTS}/agnhost:2.66.1"], {
        "Entrypoint": ["/agnhost"], "Cmd": ["pause"],
        "ExposedPorts": {f"{port}/tcp": {} for port in (80, 8080, 8081, 9376, 5000)}}


def agnhost_previous(root, tools):
    """Tests that change an image by another need two that differ."""
    _, config = agnhost_config(root, tools)
    root.text("etc/previous", "This stands for an older agnhost.\n")
    return [f"{TESTS}/agnhost:2.55"], config


def busybox(root, tools):
    root.busybox(tools["busybox"])
    # `sh` by its name alone is as in base(); tests that call /bin/sh compare its words with busybox's.
    root.program("/usr/bin/bash", "usr/local/bin/sh")
    return [f"{TESTS}/busybox:1.37.0-2"], {"Cmd": ["sh"]}


def etcd(root, tools):
    root.file(tools["programs"] / "etcd", "usr/local/bin/etcd")
    return ["registry.k8s.io/etcd:3.7.0-0"], {}


def glibc_dns_testing(root, tools):
    base(root, tools)
    tools_of_networks(root, tools)
    return [f"{TESTS}/glibc-dns-testing:2.1.1"], {"Cmd": ["bash"]}


def ipc_utils(root, tools):
    base(root, tools)
    replace(root, "/usr/bin/ipcs", "usr/bin/ipcs")
    replace(root, "/usr/bin/ipcmk", "usr/bin/ipcmk")
    return [f"{TESTS}/ipc-utils:1.4"], {"Cmd": ["sh"]}


def pictures(name, root, tools):
    root.file(tools["programs"] / "agnhost", "agnhost")
    root.text("data.json", json.dumps({"image": f"{name}.jpg"}) + "\n")
    # No test looks at the picture.
    root.text(f"{name}.jpg", name)
    return [f"{TESTS}/{name}:1.8"], {"Entrypoint": ["/agnhost"], "Cmd": ["test-webserver"]}


def kitten(root, tools):
    return pictures("kitten", root, tools)


def nautilus(root, tools):
    return pictures("nautilus", root, tools)


def nginx(root, tools):
    _, config = build.nginx(root, tools)
    return [f"{TESTS}/nginx:1.27.0-2"], config


def nginx_new(root, tools):
    scratch = tools["scratch"] / "newer"
    scratch.mkdir()
    _, config = build.nginx(root, tools | {"scratch": scratch})
    root.text("etc/newer", "This stands for a newer nginx.\n")
    return [f"{TESTS}/nginx:1.28.0-2"], config


def nonewprivs(root, tools):
    base(root, tools)
    root.file(tools["programs"] / "nnp", "usr/local/bin/nnp", mode=0o6755)
    return [f"{TESTS}/nonewprivs:1.4"], {"Cmd": ["nnp"]}


def nonroot(root, tools):
    base(root, tools)
    return [f"{TESTS}/nonroot:1.5"], {"Cmd": ["sh"], "User": "1234"}


def pause(root, tools):
    pause_program(root, tools)
    return ["registry.k8s.io/pause:3.10.2"], {"Entrypoint": ["/pause"], "User": "65535:65535"}


def regression_issue_74839(root, tools):
    root.file(tools["programs"] / "regression-issue-74839", "regression-issue-74839")
    return [f"{TESTS}/regression-issue-74839:1.5"], {"Entrypoint": ["/regression-issue-74839"]}


def resource_consumer(root, tools):
    base(root, tools)
    for program in "consumer", "consume-cpu":
        root.file(tools["programs"] / program, program)
    from_package(root, tools, "stress", "usr/bin/stress")
    return [f"{TESTS}/resource-consumer:1.14"], {"Entrypoint": ["/consumer"], "ExposedPorts": {"8080/tcp": {}}}


def sample_apiserver(root, tools):
    root.file(tools["programs"] / "kube-sample-apiserver", "sample-apiserver")
    return [f"{TESTS}/sample-apiserver:1.29.2"], {"Entrypoint": ["/sample-apiserver"]}


IMAGES = [agnhost, agnhost_previous, busybox, etcd, glibc_dns_testing, ipc_utils, kitten, nautilus, nginx, nginx_new,
          nonewprivs, nonroot, pause, regression_issue_74839, resource_consumer, sample_apiserver]


def main(programs, kubernetes, cache):
    programs, kubernetes, cache = pathlib.Path(programs).resolve(), pathlib.Path(kubernetes).resolve(), pathlib.Path(cache)
    sources = [path.read_bytes() for path in (HERE / "images.py", HERE.parent / "images/build.py",
                                              HERE.parent / "images/pause.c")]
    names = [programs.name.encode(), kubernetes.name.encode(), build.architecture().encode()]
    out = cache / hashlib.sha256(b"\0".join([*sources, *names])).hexdigest()[:16]
    if not out.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as scratch:
            scratch = pathlib.Path(scratch)
            tools = {"scratch": scratch, "programs": programs, "kubernetes": kubernetes,
                     "busybox": packages(scratch, "busybox-static") / "bin/busybox"}
            if not tools["busybox"].exists():
                tools["busybox"] = scratch / "busybox-static/usr/bin/busybox"
            made = scratch / "made"
            made.mkdir()
            for image in IMAGES:
                name = image.__name__.replace("_", "-")
                root = Root(scratch / f"root-{name}")
                references, config = image(root, tools)
                write_archive(root, made / f"{name}.tar", references, config)
            made.rename(out)
    print(out)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
