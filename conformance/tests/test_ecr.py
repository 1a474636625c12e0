"""ECR: repositories by boto3, images by the API and by OCI distribution, as skopeo and docker push and pull them."""

import base64
import hashlib
import http.client
import json
import shutil
import subprocess

import pytest
from botocore.exceptions import ClientError
from lathlab import Lath, binary, free_port
from lathlab.lab import unique

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PULL = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]


def refused(code):
    return pytest.raises(ClientError, match=code)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def image(mark):
    """The blobs of a small image, and its manifest."""
    layer = f"layer of {mark} ".encode() * 50
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
    describe = lambda kind, content: {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(content), "size": len(content)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": describe("config.v1+json", config),
                           "layers": [describe("layer.v1.tar", layer)]}).encode()
    return [config, layer], manifest


class Registry:
    """A client of the registry as distribution's specification describes it, with a password or without."""

    def __init__(self, lath, ecr=None, host=None):
        self.port, self.host, self.headers = lath.registry_port, host, {}
        if ecr:
            token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
            self.headers["Authorization"] = f"Basic {token}"

    def ask(self, method, path, body=None, **headers):
        headers = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.host:
            headers["Host"] = self.host
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer

    def code(self, *args, **headers):
        answer = self.ask(*args, **headers)
        return answer.status, json.loads(answer.content)["errors"][0]["code"]

    def push(self, name, tag, mark):
        """In pieces, at once, and by one request."""
        blobs, manifest = image(mark)
        for number, blob in enumerate(blobs):
            if number == 0:
                made = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest(blob)}", blob)
            else:
                upload = self.ask("POST", f"/v2/{name}/blobs/uploads/").getheader("Location")
                part = self.ask("PATCH", upload, blob[:100], Content_Range="0-99")
                assert (part.status, part.getheader("Range")) == (202, "0-99")
                assert self.ask("PATCH", upload, b"x", Content_Range="7-7").status == 416
                assert self.ask("GET", upload).getheader("Range") == "0-99"
                made = self.ask("PUT", f"{upload}?digest={digest(blob)}", blob[100:])
            assert made.status == 201, made.content
        put = self.ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, Content_Type=MANIFEST)
        assert put.status == 201, put.content
        assert put.getheader("Docker-Content-Digest") == digest(manifest)
        return digest(manifest)


@pytest.fixture
def repository(lath):
    ecr, name = lath.client("ecr"), unique("team/app")
    yield ecr.create_repository(repositoryName=name)["repository"]
    ecr.delete_repository(repositoryName=name, force=True)


def test_repositories_and_what_belongs_to_them(lath):
    ecr, name = lath.client("ecr"), unique("team/app")
    made = ecr.create_repository(repositoryName=name, tags=[{"Key": "of", "Value": "me"}])["repository"]
    assert made["repositoryUri"] == f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{name}"
    assert made["imageTagMutability"] == "MUTABLE"
    with refused("RepositoryAlreadyExistsException"):
        ecr.create_repository(repositoryName=name)
    with refused("RepositoryNotFoundException"):
        ecr.describe_repositories(registryId="999999999999", repositoryNames=[name])
    assert ecr.describe_repositories(repositoryNames=[name])["repositories"] == [made]
    assert name in [it["repositoryName"] for page in ecr.get_paginator("describe_repositories").paginate(
        PaginationConfig={"PageSize": 1}) for it in page["repositories"]]
    assert ecr.describe_registry()["registryId"] == "000000000000"
    arn = made["repositoryArn"]
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "b", "Value": "2"}])
    ecr.untag_resource(resourceArn=arn, tagKeys=["of"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "b", "Value": "2"}]
    filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
    put = ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
                                       imageTagMutabilityExclusionFilters=filters)
    assert put["imageTagMutabilityExclusionFilters"] == filters
    with refused("RepositoryPolicyNotFoundException"):
        ecr.get_repository_policy(repositoryName=name)
    with refused("InvalidParameterException"):
        ecr.set_repository_policy(repositoryName=name, policyText='{"Statement":[{"Effect":"Maybe"}]}')
    text = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:ListImages"}]})
    ecr.set_repository_policy(repositoryName=name, policyText=text)
    assert ecr.get_repository_policy(repositoryName=name)["policyText"] == text
    assert ecr.delete_repository_policy(repositoryName=name)["policyText"] == text
    assert ecr.delete_repository(repositoryName=name)["repository"]["repositoryName"] == name
    with refused("RepositoryNotFoundException"):
        ecr.delete_repository(repositoryName=name)


def test_an_image_by_the_api_alone(lath, repository):
    ecr, name = lath.client("ecr"), repository["repositoryName"]
    blobs, manifest = image("api")
    of = {"repositoryName": name}
    with refused("LayersNotFoundException"):
        ecr.put_image(**of, imageManifest=manifest.decode(), imageTag="one")
    for blob in blobs:
        upload = ecr.initiate_layer_upload(**of)["uploadId"]
        with refused("EmptyUploadException"):
            ecr.complete_layer_upload(**of, uploadId=upload, layerDigests=[digest(blob)])
        for first in range(0, len(blob), 400):
            part = blob[first:first + 400]
            told = ecr.upload_layer_part(**of, uploadId=upload, partFirstByte=first, partLastByte=first + len(part) - 1, layerPartBlob=part)
            assert told["lastByteReceived"] == first + len(part) - 1
        with refused("InvalidLayerPartException"):
            ecr.upload_layer_part(**of, uploadId=upload, partFirstByte=1, partLastByte=1, layerPartBlob=b"x")
        assert ecr.complete_layer_upload(**of, uploadId=upload, layerDigests=[digest(blob)])["layerDigest"] == digest(blob)
    with refused("UploadNotFoundException"):
        ecr.complete_layer_upload(**of, uploadId=upload, layerDigests=[digest(blobs[0])])
    put = ecr.put_image(**of, imageManifest=manifest.decode(), imageTag="one")["image"]
    assert put["imageId"] == {"imageDigest": digest(manifest), "imageTag": "one"}
    with refused("ImageAlreadyExistsException"):
        ecr.put_image(**of, imageManifest=manifest.decode(), imageTag="one")
    ecr.put_image(**of, imageManifest=manifest.decode(), imageTag="two")
    absent = "sha256:" + 64 * "0"
    layers = ecr.batch_check_layer_availability(**of, layerDigests=[digest(blobs[1]), absent, "x"])
    assert [it["layerAvailability"] for it in layers["layers"]] == ["AVAILABLE", "UNAVAILABLE"]
    assert layers["failures"][0]["failureCode"] == "InvalidLayerDigest"
    url = ecr.get_download_url_for_layer(**of, layerDigest=digest(blobs[1]))["downloadUrl"]
    path = url.removeprefix(f"http://127.0.0.1:{lath.registry_port}")
    nobody = Registry(lath)
    assert nobody.ask("GET", path).content == blobs[1]
    assert nobody.ask("GET", path.replace(digest(blobs[1]), digest(blobs[0]))).status == 401
    details = ecr.describe_images(**of)["imageDetails"]
    assert [(it["imageTags"], it["imageSizeInBytes"]) for it in details] == [(["one", "two"], sum(map(len, blobs)))]
    got = ecr.batch_get_image(**of, imageIds=[{"imageTag": "two"}, {"imageTag": "none"}, {}])
    assert got["images"][0]["imageManifest"] == manifest.decode()
    assert [it["failureCode"] for it in got["failures"]] == ["ImageNotFound", "MissingDigestAndTag"]
    with refused("RepositoryNotEmptyException"):
        ecr.delete_repository(**of)
    ecr.batch_delete_image(**of, imageIds=[{"imageTag": "one"}])
    assert ecr.list_images(**of)["imageIds"] == [{"imageDigest": digest(manifest), "imageTag": "two"}]
    ecr.batch_delete_image(**of, imageIds=[{"imageDigest": digest(manifest)}])
    assert ecr.list_images(**of)["imageIds"] == []


def test_pushes_and_pulls_are_judged(lath, repository):
    ecr, iam, name = lath.client("ecr"), lath.client("iam"), repository["repositoryName"]
    owner = Registry(lath, ecr)
    made = owner.push(name, "v1", "push")
    assert ecr.list_images(repositoryName=name)["imageIds"] == [{"imageDigest": made, "imageTag": "v1"}]
    blobs, manifest = image("push")
    # Who one is.
    nobody = Registry(lath)
    answer = nobody.ask("GET", "/v2/")
    assert (answer.status, answer.getheader("WWW-Authenticate")) == (
        401, 'Basic realm="https://000000000000.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com"')
    nobody.headers["Authorization"] = "Basic " + base64.b64encode(b"AWS:rubbish").decode()
    assert nobody.code("GET", f"/v2/{name}/manifests/v1") == (401, "UNAUTHORIZED")
    by_name = Registry(lath, ecr, host="000000000000.dkr.ecr.us-east-1.amazonaws.com")
    assert by_name.ask("GET", f"/v2/{name}/manifests/v1").content == manifest
    by_name.host = "999999999999.dkr.ecr.us-east-1.amazonaws.com"
    assert by_name.ask("GET", f"/v2/{name}/manifests/v1").status == 421
    # What one may.
    user = unique("ecr")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]

    def allow(*actions, resource="*"):
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": list(actions), "Resource": resource}]}))

    import boto3
    theirs = boto3.client("ecr", endpoint_url=lath.endpoint, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                          aws_secret_access_key=key["SecretAccessKey"])
    with refused("AccessDeniedException"):
        theirs.get_authorization_token()
    allow(*PULL)
    reader = Registry(lath, theirs)
    assert reader.ask("GET", f"/v2/{name}/manifests/{made}").content == manifest
    assert reader.ask("GET", f"/v2/{name}/blobs/{digest(blobs[1])}").content == blobs[1]
    assert reader.code("POST", f"/v2/{name}/blobs/uploads/") == (403, "DENIED")
    assert reader.code("PUT", f"/v2/{name}/manifests/v2", manifest) == (403, "DENIED")
    assert reader.code("GET", f"/v2/{name}/tags/list") == (403, "DENIED")
    # The repository's own policy allows more, or denies.
    say = lambda effect, action: ecr.set_repository_policy(repositoryName=name, policyText=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Sid": "s", "Effect": effect, "Action": action, "Principal": {
            "AWS": f"arn:aws:iam::000000000000:user/{user}"}}]}))
    say("Allow", "ecr:ListImages")
    assert json.loads(reader.ask("GET", f"/v2/{name}/tags/list").content)["tags"] == ["v1"]
    say("Deny", "ecr:BatchGetImage")
    assert reader.code("GET", f"/v2/{name}/manifests/v1") == (403, "DENIED")
    # Blobs are shared in the store, and each repository has its own.
    other = unique("other")
    ecr.create_repository(repositoryName=other)
    blob = digest(blobs[1])
    assert owner.ask("HEAD", f"/v2/{other}/blobs/{blob}").status == 404
    assert owner.code("PUT", f"/v2/{other}/manifests/v1", manifest) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert owner.ask("POST", f"/v2/{other}/blobs/uploads/?mount={blob}&from={name}").status == 201
    assert owner.ask("HEAD", f"/v2/{other}/blobs/{blob}").status == 200
    allow(*PULL, "ecr:InitiateLayerUpload", resource=["*"])
    say("Deny", "ecr:GetDownloadUrlForLayer")
    mount = reader.ask("POST", f"/v2/{other}/blobs/uploads/?mount={blob}&from={name}")
    assert mount.status == 202, "a blob that one may not read is not mounted"
    # The password ends with the key.
    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert reader.code("GET", f"/v2/{name}/manifests/v1") == (401, "UNAUTHORIZED")
    # What repositories there are, and what is none.
    assert other in json.loads(owner.ask("GET", "/v2/_catalog").content)["repositories"]
    assert owner.code("GET", "/v2/none/manifests/v1") == (404, "NAME_UNKNOWN")
    assert owner.code("PUT", f"/v2/{name}/manifests/v1", b"{}") == (400, "MANIFEST_INVALID")
    # Tags that do not move.
    ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    with pytest.raises(AssertionError, match="TAG_INVALID"):
        owner.push(name, "v1", "another")
    assert owner.ask("PUT", f"/v2/{name}/manifests/v1", manifest).status == 201, "the same image again"
    assert owner.ask("DELETE", f"/v2/{name}/manifests/{made}").status == 202
    assert owner.code("GET", f"/v2/{name}/manifests/v1") == (404, "MANIFEST_UNKNOWN")
    ecr.delete_repository(repositoryName=other, force=True)
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=user, PolicyName="p")
    iam.delete_user(UserName=user)


def test_a_role_reads_until_its_session_ends(lath, repository):
    iam, sts, name = lath.client("iam"), lath.client("sts"), repository["repositoryName"]
    made = Registry(lath, lath.client("ecr")).push(name, "v1", "role")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "000000000000"}}]}
    role = iam.create_role(RoleName=unique("ecr"), AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": PULL, "Resource": "*"}]}
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="p", PolicyDocument=json.dumps(policy))
    user = unique("ecr")
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    assume = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(assume))
    import boto3
    sts = boto3.client("sts", endpoint_url=lath.endpoint, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                       aws_secret_access_key=key["SecretAccessKey"])
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    theirs = boto3.client("ecr", endpoint_url=lath.endpoint, region_name="us-east-1", aws_access_key_id=session["AccessKeyId"],
                          aws_secret_access_key=session["SecretAccessKey"], aws_session_token=session["SessionToken"])
    token = theirs.get_authorization_token()["authorizationData"][0]
    assert token["expiresAt"] <= session["Expiration"], "the session's end is the password's"
    reader = Registry(lath, theirs)
    assert reader.ask("GET", f"/v2/{name}/manifests/v1").getheader("Docker-Content-Digest") == made
    assert reader.code("POST", f"/v2/{name}/blobs/uploads/") == (403, "DENIED")
    iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="p")
    iam.delete_role(RoleName=role["RoleName"])
    assert reader.code("GET", f"/v2/{name}/manifests/v1") == (401, "UNAUTHORIZED")
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=user, PolicyName="p")
    iam.delete_user(UserName=user)


def pulled_by_a_node(lath, host, name, made):
    """Nodes ask their mirror, which serves the same files, by `?ns=` and without a password."""
    port = free_port()
    mirror = subprocess.Popen([binary(), "image", "serve", "--data-dir", str(lath.data), "--listen", f"127.0.0.1:{port}"],
                              stdout=subprocess.PIPE)
    try:
        mirror.stdout.readline()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("HEAD", f"/v2/{name}/manifests/v1?ns={host}")
        assert connection.getresponse().getheader("Docker-Content-Digest") == made
    finally:
        mirror.kill()
        mirror.wait()


def test_a_kill_loses_nothing():
    with Lath() as lath:
        ecr = lath.client("ecr")
        ecr.create_repository(repositoryName="app")
        registry = Registry(lath, ecr)
        made = registry.push("app", "v1", "kill")
        upload = registry.ask("POST", "/v2/app/blobs/uploads/").getheader("Location")
        registry.ask("PATCH", upload, b"half")
        lath.kill()
        lath.start()
        assert registry.ask("GET", upload).getheader("Range") == "0-3", "the upload goes on, and the password counts"
        assert registry.ask("PUT", f"{upload}?digest={digest(b'half way')}", b" way").status == 201
        assert registry.ask("GET", "/v2/app/manifests/v1").getheader("Docker-Content-Digest") == made
        pulled_by_a_node(lath, "000000000000.dkr.ecr.us-east-1.amazonaws.com", "app", made)
        ecr.delete_repository(repositoryName="app", force=True)
        ecr.create_repository(repositoryName="app")
        assert ecr.list_images(repositoryName="app")["imageIds"] == []
        assert "app" not in lath.cli("image", "list", "--data-dir", str(lath.data))


def test_skopeo_pushes_and_pulls(lath, repository, tmp_path):
    if not shutil.which("skopeo"):
        pytest.skip("SKIPPED: skopeo is not installed: apt-get install skopeo")
    name = repository["repositoryName"]
    blobs, manifest = image("skopeo")
    source = tmp_path / "source"
    (source / "blobs/sha256").mkdir(parents=True)
    for content in [*blobs, manifest]:
        (source / "blobs/sha256" / digest(content).removeprefix("sha256:")).write_bytes(content)
    (source / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (source / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest), "annotations": {
            "org.opencontainers.image.ref.name": "v1"}}]}))
    password = subprocess.run([shutil.which("aws"), "ecr", "get-login-password"], env=lath.env(), check=True, capture_output=True,
                              text=True, timeout=60).stdout.strip()
    at = f"docker://127.0.0.1:{lath.registry_port}/{name}:v1"

    def skopeo(*words):
        run = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        return run.stdout

    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"--dest-creds=AWS:{password}", f"oci:{source}:v1", at)
    told = json.loads(skopeo("inspect", "--tls-verify=false", f"--creds=AWS:{password}", at))
    assert told["Digest"] == digest(manifest) and told["RepoTags"] == ["v1"]
    back = tmp_path / "back"
    skopeo("copy", "--preserve-digests", "--src-tls-verify=false", f"--src-creds=AWS:{password}", at, f"oci:{back}:v1")
    assert (back / "blobs/sha256" / digest(blobs[1]).removeprefix("sha256:")).read_bytes() == blobs[1]
    denied = subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--creds=AWS:rubbish", at], capture_output=True, timeout=60)
    assert denied.returncode != 0
    skopeo("delete", "--tls-verify=false", f"--creds=AWS:{password}", at)
    assert lath.client("ecr").list_images(repositoryName=name)["imageIds"] == []
