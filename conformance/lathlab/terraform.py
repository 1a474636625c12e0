"""Terraform of the machine, with providers from a directory: nothing is downloaded."""

import pathlib
import shutil
import subprocess

import pytest

PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0"
# Where images of build machines keep providers, so that nothing is downloaded.
MIRRORS = [pathlib.Path("/opt/tf-plugins"), pathlib.Path("/usr/share/terraform/plugins"),
           pathlib.Path.home() / ".terraform.d" / "plugins"]
NO_DIFFERENCE, DIFFERENCE = 0, 2


class Terraform:
    """A copy of a stack with a state of its own."""

    def __init__(self, stack, directory, env):
        mirror = next((it for it in MIRRORS if (it / PROVIDER).exists()), None)
        if not shutil.which("terraform") or mirror is None:
            pytest.skip(f"SKIPPED: needs terraform on the PATH and {PROVIDER} in one of {', '.join(map(str, MIRRORS))}")
        self.directory = shutil.copytree(stack, directory / stack.name)
        config = directory / "terraform.rc"
        config.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n')
        self.env = env | {"TF_CLI_CONFIG_FILE": str(config), "TF_IN_AUTOMATION": "1", "TF_VAR_endpoint": env["AWS_ENDPOINT_URL"]}
        self.run("init")

    def run(self, *arguments, want=0, **variables):
        env = self.env | {f"TF_VAR_{name}": str(value) for name, value in variables.items()}
        run = subprocess.run(["terraform", *arguments, "-no-color"], cwd=self.directory, env=env, text=True, capture_output=True,
                             timeout=1800)
        assert run.returncode == want, f"terraform {' '.join(arguments)}: {run.returncode}\n{run.stdout[-6000:]}{run.stderr[-3000:]}"
        return run.stdout

    def apply(self, **variables):
        self.run("apply", "-auto-approve", **variables)
        self.run("plan", "-detailed-exitcode", want=NO_DIFFERENCE, **variables)
