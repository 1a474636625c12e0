#!/usr/bin/env python3
"""Makes the images of the backends of upstream's conformance suite from the program of build.sh, under the names that the
suite has for them, so that nothing is pulled from a registry:

    images.py PROGRAMS CACHE    puts an OCI archive per image into CACHE/HASH, and prints that path

A directory that exists is complete.
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
NAMES = [f"registry.k8s.io/gateway-api/echo-basic:{version}" for version in ("v1.5.1", "v1.6.0-dev.2", "v1.6.0-dev.3")]


def main(programs, cache):
    programs, cache = pathlib.Path(programs).resolve(), pathlib.Path(cache)
    sources = [(HERE / "images.py").read_bytes(), (IMAGES / "build.py").read_bytes(), programs.name.encode()]
    out = cache / hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]
    if not out.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as scratch:
            scratch = pathlib.Path(scratch)
            root = build.Root(scratch / "root")
            root.file(programs / "echo-basic", "echo-basic")
            made = scratch / "made"
            made.mkdir()
            build.write_archive(root, made / "echo-basic.tar", NAMES, {"Entrypoint": ["/echo-basic"], "User": "65532:65532"})
            made.rename(out)
    print(out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
