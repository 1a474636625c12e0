"""The command line: what people and scripts see of Lath."""

import json
import os
import pathlib
import re
import subprocess

import pytest
from lathlab import Lath, binary, free_port
from lathlab.lab import unique

SHELLS = ("bash", "zsh", "fish")


def lath_command(*args, env=None, stdin=None):
    run = subprocess.run([binary(), *args], capture_output=True, text=True, timeout=60, input=stdin,
                         env={k: v for k, v in os.environ.items() if not k.startswith("LATH_D")} | (env or {}))
    return run.returncode, run.stdout, run.stderr


def test_version():
    code, out, _ = lath_command("version")
    assert code == 0 and re.fullmatch(r"lath \d+\.\d+\.\d+\S*\n", out), out
    code, out, _ = lath_command("version", "--output", "json")
    assert code == 0 and json.loads(out)["version"] == lath_command("version")[1].split()[1]
    assert lath_command("--version")[1] == lath_command("version")[1]


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_name_the_commands(shell):
    code, out, _ = lath_command("completions", shell)
    assert code == 0 and all(word in out for word in ("serve", "doctor", "data-dir"))


def test_bash_accepts_its_completions(tmp_path):
    script = tmp_path / "lath.bash"
    script.write_text(lath_command("completions", "bash")[1])
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_help_names_every_command():
    code, out, _ = lath_command("--help")
    assert code == 0 and all(f"\n  {c}" in out for c in ("serve", "env", "exec", "status", "doctor", "version", "completions"))


def test_the_printed_configuration_is_one(tmp_path):
    import tomllib
    code, out, err = lath_command("serve", "--print-config", "--region", "eu-west-1", "--data-dir", str(tmp_path / "d"))
    assert code == 0, err
    config = tomllib.loads(out)
    assert config["region"] == "eu-west-1" and config["data_dir"] == str(tmp_path / "d")
    assert out.count("\n# ") >= len(config), "every key has a comment"
    file = tmp_path / "lath.toml"
    file.write_text(out)
    assert tomllib.loads(lath_command("serve", "--print-config", "--config", str(file))[1]) == config
    # Flags override the environment, the environment overrides the file.
    table = [((), {"LATH_REGION": "us-west-2"}, "us-west-2"), (("--region", "sa-east-1"), {"LATH_REGION": "us-west-2"}, "sa-east-1")]
    for flags, env, want in table:
        out = lath_command("serve", "--print-config", "--config", str(file), *flags, env=env)[1]
        assert tomllib.loads(out)["region"] == want
    assert not (tmp_path / "d").exists(), "asking makes nothing"


def test_bad_configurations_are_explained(tmp_path):
    def file(text):
        path = tmp_path / f"{unique('c')}.toml"
        path.write_text(text)
        return "--config", str(path)
    table = [
        ("an unknown key", file("lissten = 1"), ["lissten"]),
        ("a wrong type", file("proxy_threads = 'many'"), ["proxy_threads"]),
        ("no TOML", file("]"), ["not a valid configuration"]),
        ("no file", ("--config", str(tmp_path / "none.toml")), ["none.toml", "No such file"]),
        ("an account of three digits", ("--account", "123"), ["123", "twelve digits"]),
        ("no region", ("--region", "Frankfurt"), ["Frankfurt"]),
        ("metrics for all", ("--admin-listen", "0.0.0.0:9"), ["0.0.0.0", "loopback"]),
        ("an unknown flag", ("--unicorn",), ["--unicorn"]),
        ("an image that is no directory", file('[images]\nx = "/nowhere"'), ["/nowhere", "not a directory"]),
    ]
    for name, flags, words in table:
        code, out, err = lath_command("serve", "--data-dir", str(tmp_path / "data"), *flags)
        assert code != 0 and out == "", name
        assert all(word in err for word in words), (name, err)
        assert "panicked" not in err and "RUST_BACKTRACE" not in err and len(err.splitlines()) < 12, (name, err)


def test_a_port_in_use_is_named(lath, tmp_path):
    for flag, other in (("--listen", "--admin-listen"), ("--admin-listen", "--listen")):
        code, _, err = lath_command("serve", "--data-dir", str(tmp_path / "data"), flag, f"127.0.0.1:{lath.port}",
                                    other, f"127.0.0.1:{free_port()}")
        assert code != 0 and str(lath.port) in err and "in use" in err.lower(), err
    assert lath.answers()


def test_a_second_server_on_the_same_data_is_refused_and_harms_nothing(lath):
    code, _, err = lath_command("serve", "--data-dir", str(lath.data), "--listen", f"127.0.0.1:{free_port()}",
                                "--admin-listen", f"127.0.0.1:{free_port()}")
    assert code != 0, err
    assert str(lath.data) in err, err
    assert lath.answers() and lath.status()["pid"] == lath.process.pid
    assert lath.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_env_prints_what_a_shell_and_a_program_need(lath):
    text = lath.cli("env", "--data-dir", str(lath.data))
    values = json.loads(lath.cli("env", "--data-dir", str(lath.data), "--output", "json"))
    assert values["AWS_ENDPOINT_URL"] == lath.endpoint
    shell = subprocess.run(["bash", "-ec", f'{text}\necho "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_REGION"'],
                           capture_output=True, text=True, check=True)
    assert shell.stdout.split() == [values[k] for k in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")]


def test_env_writes_a_profile_that_the_aws_cli_takes(lath, tmp_path):
    config, credentials = tmp_path / "aws" / "config", tmp_path / "aws" / "credentials"
    config.parent.mkdir()
    config.write_text("[profile mine]\nregion = eu-west-1\n")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env = clean | {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    for _ in range(2):
        subprocess.run([binary(), "env", "--data-dir", str(lath.data), "--profile", "lathlab"], env=env, check=True, capture_output=True)
    assert "[profile mine]\nregion = eu-west-1" in config.read_text()
    assert config.read_text().count("[profile lathlab]") == 1
    assert oct(credentials.stat().st_mode & 0o777) == "0o600"
    run = subprocess.run(["aws", "--profile", "lathlab", "sts", "get-caller-identity", "--query", "Account", "--output", "text"],
                         env=env, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "000000000000"), run.stderr
    code, _, err = lath_command("env", "--data-dir", str(lath.data), "--profile", "a]b", env=env)
    assert code != 0 and "a]b" in err


def test_commands_without_a_server_say_so(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    for command in (("env",), ("status",), ("exec", "i-0123456789abcdef0"), ("exec", "web")):
        code, out, err = lath_command(command[0], "--data-dir", nowhere, *command[1:])
        assert code != 0 and out == "" and err.startswith("lath: "), (command, err)
        assert not pathlib.Path(nowhere).exists(), "asking makes nothing"


def test_the_data_directory_is_private(lath):
    assert oct(lath.data.stat().st_mode & 0o777) == "0o700"
    secret = lath.client("sts")._request_signer._credentials.secret_key
    for path in lath.data.iterdir():
        if path.is_file() and secret.encode() in path.read_bytes():
            assert oct(path.stat().st_mode & 0o777) == "0o600", path
    assert secret not in lath.log.read_text(errors="replace")


@pytest.mark.root
def test_doctor_tells_what_works():
    code, text, err = lath_command("doctor")
    assert code in (0, 1) and text, err
    code, out, _ = lath_command("doctor", "--output", "json")
    report = json.loads(out)
    assert report, out


@pytest.mark.root
def test_status_shows_what_exists(lab):
    vpc, subnet, group = lab.vpc("10.66.0.0/16", "10.66.1.0/24")
    name = unique("named")
    lab.ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": name}])
    network = lab.network(vpc)
    service, domain = lab.service(network)
    lab.listener(service)
    status = lab.lath.status()
    assert status["endpoint"] == lab.lath.endpoint and status["pid"] == lab.lath.process.pid
    mine = [v for v in status["vpcs"] if v["id"] == vpc][0]
    assert (mine["name"], mine["cidrs"], mine["subnets"], mine["service_network"]) == (name, ["10.66.0.0/16"], 1, network)
    assert [s["domain_name"] for s in status["services"] if s["id"] == service] == [domain]
    text = lab.lath.cli("status", "--data-dir", str(lab.lath.data))
    assert all(word in text for word in (vpc, name, network, service, "http:80")), text


@pytest.mark.root
def test_exec_gives_the_commands_output_and_status(lab):
    _, subnet, group = lab.vpc("10.67.0.0/16", "10.67.1.0/24")
    name = unique("exec")
    instance, _ = lab.instance(subnet, group)
    lab.ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": name}])
    for command, want in [(("true",), 0), (("false",), 1), (("sh", "-c", "exit 42"), 42), (("no-such-command",), 127),
                          (("/etc/passwd",), 126), (("sh", "-c", "kill -9 $$"), 137)]:
        assert lab.run(instance, *command, check=False).returncode == want, command
    run = lab.run(instance, "sh", "-c", "echo out; echo err >&2; id -u; pwd", check=False)
    assert run.stdout.split()[:2] == ["out", "0"] and run.stderr == "err\n"
    assert lab.run(name, "hostname") == lab.run(instance, "hostname")
    data = str(lab.lath.data)
    code, out, _ = lath_command("exec", "--data-dir", data, instance, "--", "cat", stdin="through\n")
    assert (code, out) == (0, "through\n")
    code, _, err = lath_command("exec", "--data-dir", data, "i-0123456789abcdef0", "--", "true")
    assert code != 0 and "i-0123456789abcdef0" in err
    code, _, err = lath_command("exec", "--data-dir", data, "nobody", "--", "true")
    assert code != 0 and "nobody" in err and "lath status" in err
    lab.ec2.stop_instances(InstanceIds=[instance])
    lab.until(instance, "stopped")
    run = lab.run(instance, "true", check=False)
    assert run.returncode != 0 and instance in run.stderr


def test_a_terminal_is_not_needed_and_lath_dies_of_a_closed_pipe_quietly(lath):
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {binary()} status --data-dir {lath.data} --output json | true"],
                         capture_output=True, text=True)
    assert "panicked" not in run.stderr, run.stderr


def test_logs_as_json():
    with Lath("--log-json") as lath:
        lath.stop()
        lines = [json.loads(line) for line in lath.log.read_text().splitlines() if line]
        assert lines and all(line.get("level") for line in lines)
