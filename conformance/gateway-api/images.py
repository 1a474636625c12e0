#!/usr/bin/env python3
"""Makes the images of the backends of upstream's conformance suite, under the names that the suite has for them, so that nothing is
pulled from a registry:

    images.py PROGRAMS KUBERNETES CACHE    puts an OCI archive per image into CACHE/HASH, and prints that path

PROGRAMS is the directory that build.sh printed, KUBERNETES the one that ../kubernetes/build.sh printed. A directory that exists is
complete.
"""

import hashlib
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = HERE.parent / "kubernetes" / "images"
sys.path.insert(0, str(IMAGES))

import build  # noqa: E402

# The suite's manifests name releases of one program; that of the suite's own version stands for all.
ECHO = [f"registry.k8s.io/gateway-api/echo-basic:{version}" for version in ("v1.5.1", "v1.6.0-dev.2", "v1.6.0-dev.3")]
# A backend of UDP: its pod has to be ready before many tests begin. Its configuration names a plugin that the nodes' CoreDNS does not
# have, so this image leaves the pod's arguments out: there are no tests of UDP.
COREDNS = ["registry.k8s.io/coredns/coredns:v1.12.2"]


def main(programs, kubernetes, cache):
    programs, kubernetes, cache = pathlib.Path(programs).resolve(), pathlib.Path(kubernetes).resolve(), pathlib.Path(cache)
    sources = [(HERE / "images.py").read_bytes(), (IMAGES / "build.py").read_bytes(), programs.name.encode(), kubernetes.name.encode()]
    out = cache / hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]
    if not out.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as scratch:
            scratch = pathlib.Path(scratch)
            made = scratch / "made"
            made.mkdir()
            echo = build.Root(scratch / "echo-basic")
            echo.file(programs / "echo-basic", "echo-basic")
            build.write_archive(echo, made / "echo-basic.tar", ECHO, {"Entrypoint": ["/echo-basic"], "User": "65532:65532"})
            coredns = build.Root(scratch / "coredns")
            coredns.file(kubernetes / "coredns", "coredns")
            coredns.program("/bin/sh", "usr/bin/sh")
            coredns.text("Corefile", ".:53 {\n    errors\n    log\n}\n")
            build.write_archive(coredns, made / "coredns.tar", COREDNS, {"Entrypoint": ["/bin/sh", "-c", "exec /coredns -conf /Corefile"]})
            made.rename(out)
    print(out)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
