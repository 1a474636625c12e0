"""ACM and ACM PCA as their clients use them: boto3, its waiter and the aws CLI. OpenSSL judges what they issue."""

import json
import subprocess

import pytest
from botocore.exceptions import ClientError
from lathlab import wait_for
from lathlab.lab import unique

KEY_TYPES = {"keyTypes": ["RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"]}


@pytest.fixture
def acm(lath):
    return lath.client("acm")


@pytest.fixture
def pca(lath):
    return lath.client("acm-pca")


def refused(code):
    return pytest.raises(ClientError, match=code)


def openssl(*arguments, cwd, check=True, given=None):
    run = subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, input=given)
    assert not check or run.returncode == 0, run.stderr
    return run.stdout if check else run


def issued(acm, arn):
    def now():
        shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
        assert shown["Status"] in ("PENDING_VALIDATION", "ISSUED"), shown
        return shown if shown["Status"] == "ISSUED" else None
    return wait_for("the certificate to be issued", now)


def believed(path, got, name, root):
    """OpenSSL verifies a certificate and the chain with it for a name, from a root."""
    (path / "leaf.pem").write_text(got["Certificate"])
    (path / "chain.pem").write_text(got.get("CertificateChain", got["Certificate"]))
    (path / "root.pem").write_text(root)
    openssl("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name, "-CAfile", "root.pem",
            "-untrusted", "chain.pem", "leaf.pem", cwd=path)


def own_chain(path, *extensions, days=30, key="rsa:2048", cn="www.example.com"):
    """A root and a leaf below it, by OpenSSL: files root.pem, cert.pem, key.pem."""
    pkey = ["-pkeyopt", "ec_paramgen_curve:P-384"] if key == "ec" else []
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-days", 90,
            "-subj", f"/O=Example/CN=root {unique('r')}", "-addext", "keyUsage=critical,keyCertSign", cwd=path)
    openssl("req", "-new", "-newkey", key, *pkey, "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", f"/CN={cn}", cwd=path)
    own = ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", f"subjectAltName=DNS:{cn}"]
    (path / "ext").write_text("\n".join([*own, *extensions]))
    openssl("x509", "-req", "-in", "csr.pem", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", days,
            "-extfile", "ext", "-out", "cert.pem", cwd=path)
    read = lambda name: (path / name).read_bytes()
    return {"Certificate": read("cert.pem"), "PrivateKey": read("key.pem"), "CertificateChain": read("root.pem")}


def test_a_name_in_a_public_zone_gets_a_certificate(lath, lab, acm, tmp_path):
    route53 = lath.client("route53")
    name = f"{unique('zone')}.example"
    zone = route53.create_hosted_zone(Name=name, CallerReference=unique("ref"))["HostedZone"]["Id"]
    asked = {"DomainName": name, "SubjectAlternativeNames": [f"*.{name}"], "ValidationMethod": "DNS", "IdempotencyToken": "one",
             "Tags": [{"Key": "team", "Value": "shop"}]}
    arn = acm.request_certificate(**asked)["CertificateArn"]
    assert acm.request_certificate(**asked)["CertificateArn"] == arn
    assert acm.request_certificate(**asked | {"IdempotencyToken": "two"})["CertificateArn"] != arn
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["Status"], shown["Type"], shown["KeyAlgorithm"]) == ("PENDING_VALIDATION", "AMAZON_ISSUED", "RSA-2048")
    with refused("RequestInProgressException"):
        acm.get_certificate(CertificateArn=arn)
    records = {option["ResourceRecord"]["Name"]: option["ResourceRecord"] for option in shown["DomainValidationOptions"]}
    assert len(shown["DomainValidationOptions"]) == 2 and len(records) == 1
    (record,) = records.values()
    assert record["Type"] == "CNAME" and record["Value"].endswith(".acm-validations.aws.")
    proof = {"Name": record["Name"], "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": record["Value"]}]}
    change = lambda action: route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": proof}]})
    change("CREATE")
    acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["Status"], shown["Subject"], shown["RenewalEligibility"]) == ("ISSUED", f"CN={name}", "INELIGIBLE")
    assert [it["Name"] for it in shown["ExtendedKeyUsages"]] == ["TLS_WEB_SERVER_AUTHENTICATION", "TLS_WEB_CLIENT_AUTHENTICATION"]
    root = lath.cli("ca", "--data-dir", str(lath.data))
    believed(tmp_path, acm.get_certificate(CertificateArn=arn), f"shop.{name}", root)
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == asked["Tags"]
    pages = acm.get_paginator("list_certificates").paginate(CertificateStatuses=["ISSUED"], PaginationConfig={"PageSize": 1})
    listed = [it for page in pages for it in page["CertificateSummaryList"] if it["CertificateArn"] == arn]
    assert listed[0]["SubjectAlternativeNameSummaries"] == [name, f"*.{name}"]
    with refused("ValidationException"):
        acm.export_certificate(CertificateArn=arn, Passphrase=b"secret")
    with refused("InvalidStateException"):
        acm.resend_validation_email(CertificateArn=arn, Domain=name, ValidationDomain=name)
    acm.update_certificate_options(CertificateArn=arn, Options={"CertificateTransparencyLoggingPreference": "DISABLED"})
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert shown["Options"]["CertificateTransparencyLoggingPreference"] == "DISABLED"
    acm.delete_certificate(CertificateArn=arn)
    with refused("ResourceNotFoundException"):
        acm.describe_certificate(CertificateArn=arn)

    # One that may be exported is revoked then.
    arn = acm.request_certificate(DomainName=name, ValidationMethod="DNS", Options={"Export": "ENABLED"})["CertificateArn"]
    issued(acm, arn)
    with refused("ConflictException"):
        acm.revoke_certificate(CertificateArn=arn, RevocationReason="KEY_COMPROMISE")
    acm.export_certificate(CertificateArn=arn, Passphrase=b"secret")
    acm.revoke_certificate(CertificateArn=arn, RevocationReason="KEY_COMPROMISE")
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["Status"], shown["RevocationReason"]) == ("REVOKED", "KEY_COMPROMISE")
    change("DELETE")
    route53.delete_hosted_zone(Id=zone)


def test_private_certificates_are_exported_and_renewed(lath, acm, pca, tmp_path):
    route53 = lath.client("route53")
    zone = route53.create_hosted_zone(Name="internal.example", CallerReference=unique("ref"))["HostedZone"]["Id"]
    of_lath = [it for page in pca.get_paginator("list_certificate_authorities").paginate()
               for it in page["CertificateAuthorities"]
               if it["CertificateAuthorityConfiguration"]["Subject"].get("Organization") == "Lath"]
    (authority,) = of_lath
    arn = acm.request_certificate(DomainName="db.internal.example", CertificateAuthorityArn=authority["Arn"],
                                  KeyAlgorithm="EC_secp384r1")["CertificateArn"]
    # Instances trust this authority, so that it signs no name that is not proved.
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert shown["Status"] == "PENDING_VALIDATION"
    record = shown["DomainValidationOptions"][0]["ResourceRecord"]
    proof = {"Name": record["Name"], "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": record["Value"]}]}
    change = lambda action: route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": proof}]})
    change("CREATE")
    shown = issued(acm, arn)
    assert (shown["Type"], shown["KeyAlgorithm"], shown["CertificateAuthorityArn"]) == ("PRIVATE", "EC-secp384r1", authority["Arn"])
    with refused("ValidationException"):
        acm.renew_certificate(CertificateArn=arn)
    got = acm.export_certificate(CertificateArn=arn, Passphrase=b"let me in")
    (tmp_path / "key.pem").write_text(got["PrivateKey"])
    key = openssl("pkey", "-in", "key.pem", "-passin", "pass:let me in", "-pubout", cwd=tmp_path)
    believed(tmp_path, got, "db.internal.example", lath.cli("ca", "--data-dir", str(lath.data)))
    assert key == openssl("x509", "-in", "leaf.pem", "-pubkey", "-noout", cwd=tmp_path)
    assert openssl("pkey", "-in", "key.pem", "-passin", "pass:other", cwd=tmp_path, check=False).returncode != 0
    acm.renew_certificate(CertificateArn=arn)
    renewed = wait_for("the renewal", lambda: (it := acm.describe_certificate(CertificateArn=arn)["Certificate"])
                       and it["RenewalSummary"]["RenewalStatus"] == "SUCCESS" and it)
    assert renewed["Serial"] != shown["Serial"] and renewed["RenewalEligibility"] == "ELIGIBLE"
    change("DELETE")
    route53.delete_hosted_zone(Id=zone)
    log = lath.log.read_text(errors="replace")
    assert "PRIVATE KEY" not in log and "let me in" not in log
    assert b"PRIVATE KEY" not in (lath.data / lath.region / "state.redb").read_bytes() if (lath.data / lath.region).exists() else True


def test_certificates_are_imported_and_imported_again(lath, acm, tmp_path):
    brought = own_chain(tmp_path)
    arn = lath.aws("acm", "import-certificate", "--certificate", f"fileb://{tmp_path}/cert.pem", "--private-key",
                   f"fileb://{tmp_path}/key.pem", "--certificate-chain", f"fileb://{tmp_path}/root.pem",
                   "--tags", "Key=a,Value=b")["CertificateArn"]
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["Type"], shown["Status"], shown["Issuer"]) == ("IMPORTED", "ISSUED", "Example")
    serial = openssl("x509", "-in", "cert.pem", "-serial", "-noout", cwd=tmp_path).strip().removeprefix("serial=")
    assert shown["Serial"].replace(":", "").upper().lstrip("0") == serial.lstrip("0")
    got = acm.get_certificate(CertificateArn=arn)
    assert got["CertificateChain"].split() == brought["CertificateChain"].decode().split()
    believed(tmp_path, got, "www.example.com", brought["CertificateChain"].decode())

    (tmp_path / "two").mkdir()
    again = own_chain(tmp_path / "two")
    with refused("not permitted on re-import"):
        acm.import_certificate(CertificateArn=arn, Tags=[{"Key": "c"}], **again)
    with refused("key type"):
        (tmp_path / "ec").mkdir()
        acm.import_certificate(CertificateArn=arn, **own_chain(tmp_path / "ec", key="ec"))
    assert acm.import_certificate(CertificateArn=arn, **again)["CertificateArn"] == arn
    assert acm.describe_certificate(CertificateArn=arn)["Certificate"]["Serial"] != shown["Serial"]
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "a", "Value": "c"}, {"Key": "d"}])
    acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": "a", "Value": "other"}, {"Key": "d"}])
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "a", "Value": "c"}]

    for words, bad in [
        ("does not match", brought | {"PrivateKey": again["PrivateKey"]}),
        ("Could not validate", brought | {"CertificateChain": again["CertificateChain"]}),
        ("not a valid self signed", {key: value for key, value in brought.items() if key != "CertificateChain"}),
        ("more than one certificate", brought | {"Certificate": brought["Certificate"] + again["Certificate"]}),
    ]:
        with refused(words):
            acm.import_certificate(**bad)
    acm.delete_certificate(CertificateArn=arn)


def csr(path, name, *more):
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", *more, cwd=path)
    return (path / "leaf.csr").read_bytes()


def test_an_authority_of_ones_own_signs(acm, pca, tmp_path):
    days = lambda count: {"Type": "DAYS", "Value": count}
    template = lambda name: f"arn:aws:acm-pca:::template/{name}/V1"
    configuration = lambda name, key, way: {"KeyAlgorithm": key, "SigningAlgorithm": way, "Subject": {"Country": "US", "CommonName": name}}

    def make(kind, name, key, way):
        asked = {"CertificateAuthorityType": kind, "CertificateAuthorityConfiguration": configuration(name, key, way),
                 "IdempotencyToken": unique("t"), "Tags": [{"Key": "a", "Value": "b"}]}
        arn = pca.create_certificate_authority(**asked)["CertificateAuthorityArn"]
        assert pca.create_certificate_authority(**asked)["CertificateAuthorityArn"] == arn
        with refused("InvalidStateException"):
            pca.get_certificate_authority_certificate(CertificateAuthorityArn=arn)
        return arn, pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode()

    def sign(by, request, way, name, life):
        made = pca.issue_certificate(CertificateAuthorityArn=by, Csr=request, SigningAlgorithm=way, TemplateArn=template(name), Validity=life)
        return pca.get_certificate(CertificateAuthorityArn=by, CertificateArn=made["CertificateArn"])

    root, request = make("ROOT", "root", "RSA_2048", "SHA512WITHRSA")
    with refused("InvalidStateException"):
        sign(root, csr(tmp_path, "a.example"), "SHA256WITHRSA", "EndEntityCertificate", days(1))
    own = sign(root, request, "SHA512WITHRSA", "RootCACertificate", days(3650))["Certificate"]
    other, _ = make("ROOT", "other", "EC_prime256v1", "SHA256WITHECDSA")
    with refused("CertificateMismatchException"):
        pca.import_certificate_authority_certificate(CertificateAuthorityArn=other, Certificate=own.encode())
    pca.import_certificate_authority_certificate(CertificateAuthorityArn=root, Certificate=own.encode())

    below, request = make("SUBORDINATE", "below", "EC_secp384r1", "SHA384WITHECDSA")
    got = sign(root, request, "SHA256WITHRSA", "SubordinateCACertificate_PathLen0", days(1825))
    with refused("InvalidRequestException|MalformedCertificateException"):
        pca.import_certificate_authority_certificate(CertificateAuthorityArn=below, Certificate=got["Certificate"].encode())
    pca.import_certificate_authority_certificate(
        CertificateAuthorityArn=below, Certificate=got["Certificate"].encode(), CertificateChain=got["CertificateChain"].encode())
    assert pca.describe_certificate_authority(CertificateAuthorityArn=below)["CertificateAuthority"]["Status"] == "ACTIVE"
    shown = pca.get_certificate_authority_certificate(CertificateAuthorityArn=below)
    assert (shown["Certificate"].strip(), shown["CertificateChain"].strip()) == (got["Certificate"].strip(), got["CertificateChain"].strip())
    assert pca.get_certificate_authority_certificate(CertificateAuthorityArn=root)["Certificate"].strip() == own.strip()
    leaf = sign(below, csr(tmp_path, "b.example"), "SHA384WITHECDSA", "EndEntityServerAuthCertificate", days(90))
    believed(tmp_path, leaf, "b.example", own)
    with refused("InvalidArgsException"):
        sign(below, csr(tmp_path, "c.example"), "SHA384WITHECDSA", "SubordinateCACertificate_PathLen0", days(1))
    with refused("ValidationException"):
        sign(below, csr(tmp_path, "c.example"), "SHA384WITHECDSA", "EndEntityCertificate", {"Type": "YEARS", "Value": 20})
    with refused("MalformedCSRException"):
        sign(below, b"junk", "SHA384WITHECDSA", "EndEntityCertificate", days(1))

    # ACM's private certificates come from it, and go when it revokes them.
    arn = acm.request_certificate(DomainName="shop.internal.example", CertificateAuthorityArn=below)["CertificateArn"]
    shown = issued(acm, arn)
    believed(tmp_path, acm.get_certificate(CertificateArn=arn), "shop.internal.example", own)
    pca.revoke_certificate(CertificateAuthorityArn=below, CertificateSerial=shown["Serial"], RevocationReason="SUPERSEDED")
    assert acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"] == "REVOKED"
    with refused("RequestAlreadyProcessedException"):
        pca.revoke_certificate(CertificateAuthorityArn=below, CertificateSerial=shown["Serial"], RevocationReason="SUPERSEDED")

    pca.tag_certificate_authority(CertificateAuthorityArn=below, Tags=[{"Key": "c", "Value": "d"}])
    pca.untag_certificate_authority(CertificateAuthorityArn=below, Tags=[{"Key": "a"}])
    assert pca.list_tags(CertificateAuthorityArn=below)["Tags"] == [{"Key": "c", "Value": "d"}]
    with refused("InvalidStateException"):
        pca.delete_certificate_authority(CertificateAuthorityArn=below)
    pca.update_certificate_authority(CertificateAuthorityArn=below, Status="DISABLED")
    pca.delete_certificate_authority(CertificateAuthorityArn=below, PermanentDeletionTimeInDays=7)
    assert pca.describe_certificate_authority(CertificateAuthorityArn=below)["CertificateAuthority"]["Status"] == "DELETED"
    pca.restore_certificate_authority(CertificateAuthorityArn=below)
    assert pca.describe_certificate_authority(CertificateAuthorityArn=below)["CertificateAuthority"]["Status"] == "DISABLED"
    failed = acm.request_certificate(DomainName="late.example", CertificateAuthorityArn=below)["CertificateArn"]
    wait_for("the failure", lambda: acm.describe_certificate(CertificateArn=failed)["Certificate"].get("FailureReason") == "PCA_INVALID_STATE")


def test_the_aws_cli_makes_a_hierarchy(lath, tmp_path):
    pca = lambda *arguments: lath.aws("acm-pca", *arguments)
    where = {name: tmp_path / name for name in ("config", "root.csr", "root.pem")}
    where["config"].write_text(json.dumps({"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": {"CommonName": "cli"}}))
    root = pca("create-certificate-authority", "--certificate-authority-type", "ROOT", "--certificate-authority-configuration",
               f"file://{where['config']}")["CertificateAuthorityArn"]
    on = ("--certificate-authority-arn", root)
    where["root.csr"].write_text(pca("get-certificate-authority-csr", *on)["Csr"])
    assert "verify OK" in openssl("req", "-in", "root.csr", "-verify", "-noout", cwd=tmp_path, check=False).stderr
    made = pca("issue-certificate", *on, "--csr", f"fileb://{where['root.csr']}", "--signing-algorithm", "SHA256WITHECDSA", "--template-arn",
               "arn:aws:acm-pca:::template/RootCACertificate/V1", "--validity", "Value=10,Type=YEARS")["CertificateArn"]
    where["root.pem"].write_text(pca("get-certificate", *on, "--certificate-arn", made)["Certificate"])
    lath.aws("acm-pca", "import-certificate-authority-certificate", *on, "--certificate", f"fileb://{where['root.pem']}")
    assert pca("describe-certificate-authority", *on)["CertificateAuthority"]["Status"] == "ACTIVE"
    arn = lath.aws("acm", "request-certificate", "--domain-name", "cli.internal.example", *on)["CertificateArn"]
    acm = lath.client("acm")
    issued(acm, arn)
    believed(tmp_path, acm.get_certificate(CertificateArn=arn), "cli.internal.example", where["root.pem"].read_text())


def test_the_account_is_configured(acm):
    assert acm.get_account_configuration()["ExpiryEvents"]["DaysBeforeExpiry"] == 45
    acm.put_account_configuration(ExpiryEvents={"DaysBeforeExpiry": 30}, IdempotencyToken="a")
    assert acm.get_account_configuration()["ExpiryEvents"]["DaysBeforeExpiry"] == 30


@pytest.mark.root
def test_certificates_outlive_a_kill_and_instances_trust_their_root(own_lath, own_lab, tmp_path):
    lath, lab = own_lath, own_lab
    acm, pca = lath.client("acm"), lath.client("acm-pca")
    (authority,) = pca.list_certificate_authorities()["CertificateAuthorities"]
    ask = lambda: acm.request_certificate(DomainName="a.example", CertificateAuthorityArn=authority["Arn"])["CertificateArn"]
    # The first is issued before the kill or after; no request is lost.
    arns = [ask(), ask()]
    route53 = lath.client("route53")
    zone = route53.create_hosted_zone(Name="a.example", CallerReference=unique("ref"))["HostedZone"]["Id"]
    for arn in arns:
        record = acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"][0]["ResourceRecord"]
        proof = {"Name": record["Name"], "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": record["Value"]}]}
        route53.change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": proof}]})
    lath.kill()
    lath.start()
    acm = lath.client("acm")
    for arn in arns:
        issued(acm, arn)
        assert acm.export_certificate(CertificateArn=arn, Passphrase=b"secret")["PrivateKey"]
    lath.cli("ca", "--data-dir", str(lath.data), "--output", str(tmp_path / "root.pem"))
    root = (tmp_path / "root.pem").read_text()
    vpc, subnet, _ = lab.vpc("10.0.0.0/16", "10.0.1.0/24")
    instance = lab.launch(subnet, lab.group(vpc))["InstanceId"]
    lab.until(instance, "running")
    believed(tmp_path, acm.get_certificate(CertificateArn=arns[0]), "a.example", root)
    leaf = (tmp_path / "leaf.pem").read_text()
    lab.run(instance, "sh", "-c", f"cat > /tmp/leaf.pem <<'END'\n{leaf}END\nopenssl verify /tmp/leaf.pem")

