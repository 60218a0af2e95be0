"""With --stack: the tables are the stack's, and nothing is restored under a cleanup that would delete what is newer."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws

from dev.backup.__main__ import main
from dev.local.template import Template
from tests.conftest import CREDENTIALS


@pytest.fixture(params=["false", "true"])
def paused(request: pytest.FixtureRequest, template: Template, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A stack with the template's tables and this parameter."""
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    body = {
        "Parameters": {"CleanupPaused": template.body["Parameters"]["CleanupPaused"]},
        "Resources": template.of_type("AWS::DynamoDB::Table"),
    }
    with mock_aws():
        boto3.client("cloudformation").create_stack(
            StackName="cache",
            TemplateBody=yaml.safe_dump(body),
            Parameters=[{"ParameterKey": "CleanupPaused", "ParameterValue": request.param}],
        )
        yield request.param


def test_a_stack_that_cleans_up_is_refused_and_one_that_doesnt_is_restored(
    paused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "backup.gz")
    assert main(["save", "--stack", "cache", file]) == 0
    assert main(["restore", "--stack", "cache", file]) == (0 if paused == "true" else 1)
    said = capsys.readouterr()
    assert ("0 items restored" in said.out) is (paused == "true")
    assert ("CleanupPaused=true first" in said.err) is (paused == "false")


@pytest.mark.parametrize("paused", ["true"], indirect=True)
@pytest.mark.usefixtures("paused")
def test_a_stack_that_isnt_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["save", "--stack", "other", str(tmp_path / "backup.gz")]) == 1
    assert "other" in capsys.readouterr().err
