"""`--stack`: what CloudFormation and Lambda say about a server is what the commands work with.

On moto, since the local emulators have neither service; tests/aws/deploy asks an emulator of CloudFormation that
deploys the template.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from actions_cache_cli.__main__ import main
from actions_cache_cli.console import CommandFailed
from actions_cache_cli.deployment_check.stack import StackUnreadable, read_stack
from actions_cache_cli.target import local_settings, services_with, stack_settings
from dev.clients.driver import CREDENTIALS

VARIABLES = {
    **{f"{name.upper()}_TABLE": name for name in ("entries", "reservations", "archives", "repositories")},
    "BUCKET": "bucket",
    "MERGE_QUEUE_URL": "https://sqs/merge",
    "URL_SIGNING_SECRET_ARN": "arn:secret",
    "UNUSED_ENTRY_SECONDS": "86400",
    "PUBLIC_URL": "",
    "OF_A_LATER_VERSION": "1",
}


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    with mock_aws():
        yield boto3.Session()


def deploy(region: boto3.Session, stack: str, outputs: dict[str, str]) -> None:
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    region.client("cloudformation").create_stack(StackName=stack, TemplateBody=json.dumps(template))


def create_function(region: boto3.Session, name: str) -> None:
    trust = {"Version": "2012-10-17", "Statement": []}
    role = region.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("handler.py", "")
    region.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role,
        Handler="handler.handler",
        Code={"ZipFile": archive.getvalue()},
        Environment={"Variables": VARIABLES},
    )


def test_settings_are_the_functions_and_not_the_shells(region: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that a stack leaves empty has its default there."""
    monkeypatch.setenv("STORE_BUDGET_BYTES", "7")
    monkeypatch.setenv("PUBLIC_URL", "https://other.example")
    create_function(region, "cleanup")
    deploy(region, "cache", {"CleanupFunctionName": "cleanup"})
    services = services_with(stack_settings("cache"))
    assert (services.settings.bucket, services.lifetimes.unused_entry) == ("bucket", 86_400_000)
    assert (services.settings.store_budget_bytes, services.settings.public_url) == (0, None)


def test_foreign_stack_is_refused(region: boto3.Session) -> None:
    with pytest.raises(CommandFailed, match=r"AWS says .*is the stack nowhere in this region"):
        stack_settings("nowhere")
    deploy(region, "other", {})
    with pytest.raises(CommandFailed, match="no output CleanupFunctionName"):
        stack_settings("other")


@set_initial_no_auth_action_count(0)
def test_refused_credentials_are_explained(region: boto3.Session) -> None:
    with pytest.raises(
        CommandFailed, match=r"doesn't accept these credentials \(InvalidClientTokenId\).*aws sso login"
    ):
        stack_settings("cache")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "no AWS region is set: set AWS_REGION"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "no AWS credentials were found.*aws sso login"),
        ({"AWS_PROFILE": "nobody"}, r"profile \(nobody\).*set AWS_PROFILE"),
    ],
)
def test_missing_credentials_are_explained(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str):
    for variable in (*CREDENTIALS, "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for file in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(file, "/dev/null")
    for variable, value in {"AWS_EC2_METADATA_DISABLED": "true", **variables}.items():
        monkeypatch.setenv(variable, value)
    for read, error in ((stack_settings, CommandFailed), (read_stack, StackUnreadable)):
        with pytest.raises(error, match=said):
            read("cache")


def test_stack_of_another_version_is_refused() -> None:
    with pytest.raises(CommandFailed, match=r"REPOSITORIES_TABLE is missing.*use the version that was deployed"):
        services_with({name: value for name, value in VARIABLES.items() if name != "REPOSITORIES_TABLE"})


@pytest.mark.parametrize("name", ["file", "round", "has-directory", "has-bytes", "a" * 300])
def test_invalid_data_directory_is_explained(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "has-directory" / "env").mkdir(parents=True)
    (tmp_path / "has-bytes").mkdir()
    (tmp_path / "has-bytes" / "env").write_bytes(b"\xff")
    with pytest.raises(CommandFailed, match="LOCAL_DATA_DIR"):
        local_settings(tmp_path / name)


def test_usage_error_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "one", "\N{RIGHT-TO-LEFT OVERRIDE}two"]) == 2
    assert "\N{REPLACEMENT CHARACTER}two" in capsys.readouterr().err
