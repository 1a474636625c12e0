#!/usr/bin/env python3
"""Makes the container images that tests, the demo and each cluster use, from Debian packages, this machine's programs and
the programs of Kubernetes, so that nothing is pulled from a registry:

    build.py KUBERNETES CACHE    puts an OCI archive per image into CACHE/HASH, and prints that path; those that only clusters
                                 of kubeadm use are in CACHE/HASH/kubeadm

KUBERNETES is the directory that ../build.sh printed. HASH is that of these sources and of KUBERNETES: a directory that
exists is complete.
"""

import gzip
import hashlib
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def architecture():
    return run("dpkg", "--print-architecture").strip()


# ------------------------------------------------------------------------------------------------ roots
class Root:
    """An image's files, as a directory."""

    def __init__(self, path):
        self.path = path
        for directory in "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "usr/lib", "var/log":
            (path / directory).mkdir(parents=True)
        # As Debian has it, so that programs find the loader and each other under both names.
        for name in "bin", "lib", "lib64", "sbin":
            (path / name).symlink_to(f"usr/{'lib' if name == 'lib64' else name}")
        (path / "tmp").chmod(0o1777)
        (path / "var/run").symlink_to("/run")
        self.text("etc/passwd", ACCOUNTS)
        self.text("etc/group", GROUPS)

    def text(self, name, content, mode=0o644):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
        path.chmod(mode)

    def file(self, source, name, mode=0o755):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(mode)

    def program(self, source, name, libraries=()):
        """A program with the libraries that it is linked with; those of `libraries` come before this machine's."""
        self.file(source, name)
        search = {"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "PATH": "/usr/bin:/bin"}
        for line in run("ldd", str(source), env=search).splitlines():
            if "not found" in line:
                raise SystemExit(f"{source}: {line.strip()}")
            if found := re.search(r"(?:=> )?(/\S+) \(0x", line):
                library = pathlib.Path(found[1])
                # The loader is known by its whole path; libraries by their directory's, which it searches by itself.
                place = library if library.name.startswith("ld-") else pathlib.Path("/usr/lib", triplet(), library.name)
                self.file(library, str(place).lstrip("/"))

    def busybox(self, program):
        self.file(program, "usr/bin/busybox")
        for applet in run(str(program), "--list").split():
            path = self.path / "usr/bin" / applet
            if not path.exists():
                path.symlink_to("busybox")


def triplet():
    return run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip() if shutil.which("dpkg-architecture") else {
        "amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[architecture()]


def packages(scratch, *names):
    """Debian packages, unpacked and not installed; gives where they are."""
    place = scratch / "-".join(names)
    downloads = scratch / f"{place.name}.debs"
    downloads.mkdir()
    run("apt-get", "download", "-qq", *names, cwd=downloads, stderr=subprocess.DEVNULL)
    for package in downloads.iterdir():
        run("dpkg-deb", "-x", str(package), str(place))
    return place


def libraries_of(package):
    """The packages with the libraries that a package needs, but for the C library, which is this machine's."""
    depends = re.findall(r"^ +Depends: (\S+)$", run("apt-cache", "depends", package), re.M)
    return [name for name in depends if re.match(r"lib(?!c6)|zlib", name)]


# --------------------------------------------------------------------------------------------- archives
def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def plain(entry):
    """The same files are the same bytes."""
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def write_archive(root, archive, names, config):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(root.path.iterdir()):
            tar.add(entry, arcname=entry.name, filter=plain)
    packed = gzip.compress(layer.getvalue(), 6, mtime=0)
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    configuration = json.dumps({
        "architecture": architecture(), "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Env": [path], "WorkingDir": "/"} | config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer.getvalue())]},
    }).encode()
    describe = lambda kind, content: {
        "mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(content), "size": len(content)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("config.v1+json", configuration), "layers": [describe("layer.v1.tar+gzip", packed)],
    }).encode()
    index = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [describe("manifest.v1+json", manifest) | {"annotations": {
            "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}} for name in names],
    }).encode()
    with tarfile.open(archive, "w") as tar:
        def put(name, content):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        put("index.json", index)
        for content in packed, configuration, manifest:
            put(f"blobs/sha256/{digest(content)[7:]}", content)


# ----------------------------------------------------------------------------------------------- images
def of_kubeadm(tools, *programs):
    """The names under which kubeadm of this version asks for the images of these programs."""
    kubeadm = str(tools["kubernetes"] / "kubeadm")
    version = run(kubeadm, "version", "-o", "short").strip()
    listed = run(kubeadm, "config", "images", "list", "--kubernetes-version", version).split()
    return [name for name in listed if re.split("[/:]", name)[-2] in programs]


def busybox(root, tools):
    root.busybox(tools["busybox"])
    # It is Debian's version under both names; the recipe of IP targets asks for the second.
    return ["docker.io/library/busybox:latest", "docker.io/library/busybox:1.36"], {"Cmd": ["sh"]}


def curl(root, tools):
    root.busybox(tools["busybox"])
    (root.path / "usr/bin/curl").unlink(missing_ok=True)
    root.program("/usr/bin/curl", "usr/bin/curl")
    root.file("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", mode=0o644)
    # As in the original, options alone are curl's.
    root.text("entrypoint.sh", """\
        #!/bin/sh
        if [ "${1#-}" != "$1" ] || ! command -v "$1" >/dev/null; then set -- curl "$@"; fi
        exec "$@"
        """, mode=0o755)
    return ["docker.io/curlimages/curl:latest"], {"Entrypoint": ["/entrypoint.sh"], "Cmd": ["curl"]}


def nginx(root, tools):
    root.busybox(tools["busybox"])
    unpacked = packages(tools["scratch"], "nginx", *libraries_of("nginx"))
    libraries = [path for path in (unpacked / "usr/lib" / triplet(), unpacked / "lib" / triplet()) if path.is_dir()]
    root.program(unpacked / "usr/sbin/nginx", "usr/sbin/nginx", libraries)
    for directory in "var/lib/nginx", "var/log/nginx", "var/cache/nginx":
        (root.path / directory).mkdir(parents=True)
    root.text("etc/passwd", ACCOUNTS + "nginx:x:101:101:nginx:/nonexistent:/bin/false\n")
    root.text("etc/group", GROUPS + "nginx:x:101:\n")
    root.text("usr/share/nginx/html/index.html", "<h1>Welcome to nginx!</h1>\n")
    root.text("etc/nginx/nginx.conf", """\
        user nginx;
        worker_processes auto;
        pid /run/nginx.pid;
        error_log /dev/stderr notice;
        events { worker_connections 1024; }
        http {
            types { text/html html htm; text/css css; text/javascript js; application/json json; image/svg+xml svg; }
            default_type application/octet-stream;
            access_log /dev/stdout;
            sendfile on;
            keepalive_timeout 65;
            include /etc/nginx/conf.d/*.conf;
        }
        """)
    root.text("etc/nginx/conf.d/default.conf", """\
        server {
            listen 80;
            server_name localhost;
            location / {
                root /usr/share/nginx/html;
                index index.html index.htm;
            }
        }
        """)
    return ["docker.io/library/nginx:latest"], {
        "Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"}


def pause(root, tools):
    program = tools["scratch"] / "pause"
    run("gcc", "-static", "-Os", "-s", "-Wall", "-Werror", "-o", str(program), str(HERE / "pause.c"))
    root.file(program, "pause")
    return ["registry.k8s.io/pause:3.10", *of_kubeadm(tools, "pause")], {"Entrypoint": ["/pause"], "User": "65535:65535"}


def coredns(root, tools):
    root.file(tools["kubernetes"] / "coredns", "coredns")
    root.file("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", mode=0o644)
    return ["registry.k8s.io/coredns/coredns:v1.15.0", *of_kubeadm(tools, "coredns")], {
        "Entrypoint": ["/coredns"], "ExposedPorts": {"53/tcp": {}, "53/udp": {}}}


def control_plane(root, tools):
    """One image for all programs of a control plane, and kube-proxy with what it changes firewalls with."""
    programs = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"]
    for program in programs:
        original = (tools["kubernetes"] / program).resolve()
        path = root.path / "usr/local/bin" / original.name
        if not path.exists():
            root.file(original, f"usr/local/bin/{original.name}")
        if program != original.name:
            (path.parent / program).symlink_to(original.name)
    root.program(shutil.which("nft", path="/usr/sbin:/usr/bin"), "usr/sbin/nft")
    unpacked = packages(tools["scratch"], "iptables", *libraries_of("iptables"))
    libraries = [path for path in (unpacked / "usr/lib" / triplet(), unpacked / "lib" / triplet()) if path.is_dir()]
    root.program(next(unpacked.glob("**/xtables-nft-multi")), "usr/sbin/xtables-nft-multi", libraries)
    for name in "iptables", "ip6tables":
        for ending in "", "-save", "-restore":
            (root.path / "usr/sbin" / f"{name}{ending}").symlink_to("xtables-nft-multi")
    for extension in next(unpacked.glob("**/xtables")).iterdir():
        root.program(extension, f"usr/lib/{triplet()}/xtables/{extension.name}", libraries)
    return of_kubeadm(tools, *programs), {}


IMAGES = [busybox, control_plane, coredns, curl, nginx, pause]
# Images that few tests need: they are large.
APART = {"control_plane": "kubeadm"}


def main(kubernetes, cache):
    kubernetes, cache = pathlib.Path(kubernetes).resolve(), pathlib.Path(cache)
    sources = [path.read_bytes() for path in sorted(HERE.iterdir()) if path.is_file()]
    key = hashlib.sha256(b"\0".join([*sources, kubernetes.name.encode(), architecture().encode()])).hexdigest()[:16]
    out = cache / key
    if not out.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as scratch:
            scratch = pathlib.Path(scratch)
            tools = {"scratch": scratch, "kubernetes": kubernetes,
                     "busybox": packages(scratch, "busybox-static") / "bin/busybox"}
            if not tools["busybox"].exists():
                tools["busybox"] = scratch / "busybox-static/usr/bin/busybox"
            made = scratch / "made"
            made.mkdir()
            for image in IMAGES:
                root = Root(scratch / f"root-{image.__name__}")
                names, config = image(root, tools)
                place = made / APART.get(image.__name__, "")
                place.mkdir(exist_ok=True)
                write_archive(root, place / f"{image.__name__}.tar", names, config)
            made.rename(out)
    print(out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
