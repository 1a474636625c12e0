#!/usr/bin/env python3
"""Builds flannel and the CNI project's plugins from their published modules, once, and packs them as the images that flannel's own
manifest names:

    build.py CACHE    puts flannel.tar, flannel-cni-plugin.tar, plugins.tar and kube-flannel.yml into CACHE/HASH, and prints that path

HASH is that of these sources and of Go's version: a directory that exists is complete. About four minutes of CPU from nothing.
"""

import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "images"))

import build as images  # noqa: E402

FLANNEL, VERSION = "github.com/flannel-io/flannel", "v0.28.10"
# Its backend for Tencent's cloud, which alone needs that cloud's SDK: versions of it are not to be had everywhere.
WITHOUT = "pkg/backend/tencentvpc"
# Flannel's network plugin as it was published last where modules are: of later versions (github.com/flannel-io/cni-plugin) there are
# only archives. It knows CNI up to version 0.4.0.
PLUGIN = "github.com/containernetworking/plugins/plugins/meta/flannel@v0.9.1"
# What it hands pods to, and what images of EKS's nodes have in /opt/cni/bin.
PLUGINS = [f"github.com/containernetworking/plugins/plugins/{it}@v1.10.0" for it in ("main/bridge", "ipam/host-local", "meta/portmap")]


def go(*arguments, cwd, **env):
    run = subprocess.run(["go", *arguments], env=os.environ | {"GOFLAGS": "-trimpath -buildvcs=false"} | env, cwd=cwd, text=True,
                         stdout=subprocess.PIPE, check=True)
    return run.stdout


def module(scratch):
    """Flannel's sources, as its version and the checksum database have them, without a backend."""
    there = re.search(r'"Dir": "([^"]+)"', go("mod", "download", "-json", f"{FLANNEL}@{VERSION}", cwd=scratch))[1]
    sources = scratch / "sources"
    subprocess.run(["cp", "-r", "--no-preserve=mode", there, sources], check=True)
    for path in (sources / WITHOUT).glob("*.go"):
        path.unlink()
    (sources / WITHOUT / "none.go").write_text(f"package {pathlib.Path(WITHOUT).name}\n")
    return sources


def programs_of(scratch):
    """All programs in one directory."""
    into, sources = scratch / "bin", module(scratch)
    into.mkdir()
    # Its backend by UDP is C.
    static = ["-tags", "osusergo,netgo", "-ldflags", "-s -w -extldflags -static"]
    go("build", *static, "-o", into / "flanneld", ".", cwd=sources, CGO_ENABLED="1")
    go("build", "-o", into / "install-conf", "./cmd/install_conf", cwd=sources, CGO_ENABLED="0")
    for package in PLUGIN, *PLUGINS:
        go("install", "-ldflags", "-s -w", package, cwd=scratch, CGO_ENABLED="0", GOBIN=str(into))
    return into


def manifest(sources):
    """Flannel's own, whose plugin speaks the version of CNI that it knows here."""
    text = (sources / "Documentation" / "kube-flannel.yml").read_text()
    return text.replace('"cniVersion": "1.0.0"', '"cniVersion": "0.3.1"')


def busybox(scratch):
    unpacked = images.packages(scratch, "busybox-static")
    return next(path for path in (unpacked / "bin/busybox", unpacked / "usr/bin/busybox") if path.exists())


def iptables(root, scratch):
    """Debian's, over nftables, with its extensions."""
    unpacked = images.packages(scratch, "iptables", *images.libraries_of("iptables"))
    libraries = [path for path in (unpacked / "usr/lib" / images.triplet(), unpacked / "lib" / images.triplet()) if path.is_dir()]
    root.program(next(unpacked.glob("**/xtables-nft-multi")), "usr/sbin/xtables-nft-multi", libraries)
    for name in "iptables", "ip6tables":
        for ending in "", "-save", "-restore":
            (root.path / "usr/sbin" / f"{name}{ending}").symlink_to("xtables-nft-multi")
    for extension in next(unpacked.glob("**/xtables")).iterdir():
        root.program(extension, f"usr/lib/{images.triplet()}/xtables/{extension.name}", libraries)


def flannel(root, programs, scratch):
    """What upstream's image has of what is used here: the daemon, and iptables for its rules."""
    root.busybox(programs["busybox"])
    for name in "flanneld", "install-conf":
        root.file(programs["bin"] / name, f"opt/bin/{name}")
    root.file("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", mode=0o644)
    iptables(root, scratch)
    return [f"ghcr.io/flannel-io/flannel:{VERSION}"], {"Entrypoint": ["/opt/bin/flanneld"]}


def flannel_cni_plugin(root, programs, scratch):
    root.busybox(programs["busybox"])
    root.file(programs["bin"] / "flannel", "flannel")
    named = (scratch / "sources" / "Documentation" / "kube-flannel.yml").read_text()
    return [re.search(r"image: (\S+/flannel-cni-plugin:\S+)", named)[1]], {}


def plugins(root, programs, scratch):
    root.busybox(programs["busybox"])
    for name in "bridge", "host-local", "portmap":
        root.file(programs["bin"] / name, f"plugins/{name}")
    return ["docker.io/library/cni-plugins:latest"], {}


def main(cache):
    cache = pathlib.Path(cache)
    version = subprocess.run(["go", "env", "GOVERSION", "GOARCH"], check=True, capture_output=True).stdout
    sources = [path.read_bytes() for place in (HERE, HERE.parent / "images") for path in sorted(place.glob("*.py"))]
    out = cache / hashlib.sha256(b"\0".join([*sources, version])).hexdigest()[:16]
    if not out.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as scratch:
            scratch = pathlib.Path(scratch)
            programs = {"bin": programs_of(scratch), "busybox": busybox(scratch)}
            made = scratch / "made"
            made.mkdir()
            for image in flannel, flannel_cni_plugin, plugins:
                root = images.Root(scratch / f"root-{image.__name__}")
                names, config = image(root, programs, scratch)
                images.write_archive(root, made / f"{image.__name__.replace('_', '-')}.tar", names, config)
            (made / "kube-flannel.yml").write_text(manifest(scratch / "sources"))
            try:
                made.rename(out)
            except OSError:
                # Another build was first.
                if not out.is_dir():
                    raise
    print(out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
