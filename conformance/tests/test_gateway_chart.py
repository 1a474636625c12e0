"""The Helm chart of the Gateway API controller has the rights, probes and limits of its manifest. With helm, it is rendered too."""

import shutil
import subprocess

import pytest
from lathlab import ROOT

GATEWAY = ROOT / "packaging" / "gateway"
CHART = GATEWAY / "chart"
SAME = ("livenessProbe:", "readinessProbe:", "securityContext:", "terminationGracePeriodSeconds:", "selector:")


def lines(path):
    return [line.strip() for line in path.read_text().splitlines()]


def rules(found):
    return [line for line in found if line.startswith("- {apiGroups:")]


def test_the_chart_has_what_the_manifest_has():
    manifest, rights, deployment = (
        lines(path) for path in (GATEWAY / "controller.yaml", CHART / "templates" / "rights.yaml", CHART / "templates" / "deployment.yaml"))
    assert rules(rights) == rules(manifest) != []
    # Secrets are read in extended mode alone.
    secrets = [rules(lines(path)) for path in (GATEWAY / "extended" / "secrets.yaml", CHART / "templates" / "secrets.yaml")]
    assert secrets[0] == secrets[1] != []
    same = [line for line in manifest if line.startswith(SAME)]
    assert len(same) >= len(SAME)
    assert [line for line in same if line not in deployment] == []
    # The webhook is the same but for its namespace, and that it can be left out.
    webhook = [line.replace("{{ .Release.Namespace }}", "aws-application-networking-system") for line in
               lines(CHART / "templates" / "webhook.yaml") if not line.startswith("{{-")]
    assert len(webhook) > 10 and [line for line in webhook if line not in manifest] == []
    # Kinds have one definition.
    assert (CHART / "crds" / "kinds.yaml").resolve() == (GATEWAY / "kinds.yaml").resolve()


def test_the_chart_is_rendered():
    if not shutil.which("helm"):
        pytest.skip("SKIPPED: no helm")
    values = ["--set", "cluster.name=prod,cluster.vpcId=vpc-1,cluster.region=us-east-1", "--set-string", "cluster.accountId=123456789012"]
    made = subprocess.run(["helm", "template", "gateway", CHART, "--include-crds", *values], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("kind: Deployment") == 1 and "targetgrouppolicies.application-networking.k8s.aws" in made.stdout
    # Without the cluster's name it says what is missing.
    refused = subprocess.run(["helm", "template", "gateway", CHART], capture_output=True, text=True)
    assert refused.returncode != 0 and "cluster.name" in refused.stderr
