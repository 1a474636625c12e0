#!/usr/bin/env python3
"""Prints the published models of AWS services (from the installed botocore) as one JSON document.

    tests/model/dump.py ec2 vpc-lattice cloudwatch logs sts secretsmanager route53 iam > model.json

The document holds facts for `lath_oracle`: operations (method, path, status, input, output) and shapes
(members with their names on the wire for requests, `in`, and replies, `out`).
"""

import json
import sys

import botocore
from botocore.session import Session


def wire_names(protocol, name, member):
    """A member's name in requests and in replies. See botocore/serialize.py and parsers.py."""
    serialization = member.serialization
    located = serialization.get("name", name)
    if protocol == "ec2":
        sent = serialization.get("queryName")
        if not sent:
            sent = located[0].upper() + located[1:]
        return sent, located
    if protocol == "json":
        return name, name
    return located, located


def structure(protocol, shape):
    members = []
    for name, member in shape.members.items():
        sent, answered = wire_names(protocol, name, member)
        members.append(
            {
                "name": name,
                "in": sent,
                "out": answered,
                "location": member.serialization.get("location", "body"),
                "required": name in shape.required_members,
                "shape": member.name,
            }
        )
    return {"type": "structure", "union": bool(getattr(shape, "is_tagged_union", False)), "members": members}


def described(protocol, shape):
    bounds = {name: shape.metadata[name] for name in ("min", "max", "pattern", "sensitive") if name in shape.metadata}
    return kind(protocol, shape) | bounds


def kind(protocol, shape):
    if shape.type_name == "structure":
        return structure(protocol, shape)
    if shape.type_name == "list":
        return {
            "type": "list",
            "member": shape.member.name,
            "item": shape.member.serialization.get("name"),
            "flattened": bool(shape.serialization.get("flattened")),
        }
    if shape.type_name == "map":
        return {"type": "map", "key": shape.key.name, "value": shape.value.name}
    if shape.type_name == "string":
        return {"type": "string", "enum": list(shape.enum) or None}
    if shape.type_name == "timestamp":
        return {"type": "timestamp", "format": shape.serialization.get("timestampFormat")}
    return {"type": shape.type_name}


def service(session, name):
    model = session.get_service_model(name)
    protocol = model.metadata["protocol"]
    operations = {}
    for operation_name in model.operation_names:
        operation = model.operation_model(operation_name)
        http = operation.http
        operations[operation_name] = {
            "method": http.get("method", "POST"),
            "uri": http.get("requestUri", "/"),
            "status": http.get("responseCode", 200),
            "input": operation.input_shape.name if operation.input_shape else None,
            "output": operation.output_shape.name if operation.output_shape else None,
        }
    shapes = {shape: described(protocol, model.shape_for(shape)) for shape in model.shape_names}
    return {"protocol": protocol, "version": model.api_version, "operations": operations, "shapes": shapes}


def main():
    names = sys.argv[1:]
    if not names:
        sys.exit(__doc__)
    session = Session()
    services = {name: service(session, name) for name in names}
    json.dump({"botocore": botocore.__version__, "services": services}, sys.stdout)
    print()


main()
