#!/usr/bin/env python3
"""Makes the image of the Gateway API controller, an OCI archive for `lath image load` or any registry's tools:

    image.py LATH ARCHIVE    LATH is the program, ARCHIVE what is written

The image has the program with the libraries of this machine that it is linked with, and nothing else: no shell.
"""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "conformance" / "kubernetes" / "images" / "build.py"
NAME = "docker.io/library/lath-gateway-controller:latest"


def main(lath, archive):
    spec = importlib.util.spec_from_file_location("build", BUILD)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        program = scratch / "lath"
        # A program of development is ten times larger for what a debugger wants.
        subprocess.run(["strip", "--strip-all", "-o", str(program), lath], check=True)
        root = build.Root(scratch / "root")
        root.program(program, "usr/bin/lath")
        authorities = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        if authorities.exists():
            root.file(authorities, str(authorities).lstrip("/"), mode=0o644)
        build.write_archive(root, archive, [NAME], {"Entrypoint": ["/usr/bin/lath"], "User": "65534:65534"})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
