"""Requests to Lattice services, signed as its user guide says: the body is not."""

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def credentials(made):
    """Of what CreateAccessKey or AssumeRole made."""
    return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made.get("SessionToken"))


def signed(url, given, region="us-east-1", method="GET"):
    """Options that make curl send the request signed."""
    request = AWSRequest(method, url, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    SigV4Auth(given, "vpc-lattice-svcs", region).add_auth(request)
    headers = [word for name, value in request.headers.items() for word in ("-H", f"{name}: {value}")]
    return ["-X", method, *headers]
