"""docs/operate/operations.md: its snippets are what functions and template take, and what it names exists."""

import json
import re

import pytest
import yaml

from actions_cache.domain.access import GITHUB
from actions_cache.settings import Settings
from dev.local.template import ROOT, Template
from tests.support.lambda_events import load
from tests.unit.test_settings import REQUIRED

OF_URLS = ["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts"]
"""What presigned URLs are for."""

PAGE = (ROOT / "docs" / "operate" / "operations.md").read_text()


def block(language: str, beginning: str) -> str:
    [found] = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if text.startswith(beginning)]
    return str(found)


def test_multi_issuer_example_deploys_and_starts(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(line.split("=", 1) for line in block("ini", "TokenIssuers=").splitlines())
    for name, value in values.items():
        assert re.fullmatch(template.body["Parameters"][name]["AllowedPattern"], value), name
        monkeypatch.setenv(re.sub("(?<!^)(?=[A-Z])", "_", name).upper(), value)
    settings = Settings(**REQUIRED)
    assert len(settings.token_issuers) == 2
    assert all(rule.issuer for rule in settings.token_claims), "each says whose it is"
    assert {rule.issuer for rule in settings.token_claims} == set(settings.token_issuers)
    assert GITHUB in settings.token_issuers


def test_policy_examples_are_valid() -> None:
    assert json.loads(block("json", "{"))["Statement"][0]["Action"] == OF_URLS
    [statement] = yaml.safe_load(block("yaml", "- Sid").replace("!Sub ", ""))
    assert (statement["Effect"], statement["Action"]) == ("Deny", OF_URLS)


def test_named_resources_and_parameters_exist(template: Template) -> None:
    named = set(re.findall(r"<([A-Z]\w+)>", PAGE))
    assert named <= set(template.body["Outputs"]) | set(template.functions)
    parameters = set(template.body["Parameters"])
    for name in ("CleanupPaused", "RunnerAddresses", "WebAclArn", "ExtraCaParameter"):
        assert name in PAGE
        assert name in parameters
    assert set(re.findall(r"remote invoke (\w+)", PAGE)) <= set(template.functions)
    events = [json.loads(event) for event in re.findall(r"--event '([^']*)'", PAGE)]
    assert events == [load("scheduler-outdated"), load("scheduler-orphans")]
