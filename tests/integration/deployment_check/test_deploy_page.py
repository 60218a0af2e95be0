"""docs/deploy/deploy.md says of each parameter what the template says, and names only what there is."""

import re
from typing import Any

import pytest
import yaml

from dev.local.template import ROOT, Template
from tests.unit.docs.pages import commands

PAGE = (ROOT / "docs" / "deploy" / "deploy.md").read_text()
COLUMNS = 4


def rows() -> list[list[str]]:
    """The cells of the table of parameters."""
    table = PAGE.partition("## Parameters")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def default(parameter: dict[str, Any]) -> str:
    if "Default" not in parameter:
        return "none, say it"
    return f"`{parameter['Default']}`" if str(parameter["Default"]) else "empty"


def test_each_parameter_has_a_row(template: Template) -> None:
    parameters = template.body["Parameters"]
    wanted = [[f"`{name}`", default(row), row["Description"]] for name, row in parameters.items()]
    assert [row[:-1] for row in rows()] == wanted
    assert all(len(row) == COLUMNS and len(row[-1].split()) > COLUMNS for row in rows())


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", PAGE))))
def test_each_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_named_outputs_and_functions_exist(template: Template) -> None:
    placeholders = set(re.findall(r"<([A-Z]\w+)>", PAGE))
    assert placeholders <= set(template.body["Outputs"])
    assert {"RunnerUrl", "EdgeDomainName", *re.findall(r"`(\w+(?:TableName|BucketName))`", PAGE)} <= set(
        template.body["Outputs"]
    )
    assert set(re.findall(r"remote invoke (\w+)", PAGE)) <= set(template.functions)


def test_each_command_block_is_marked_aws() -> None:
    found = commands("docs/deploy/deploy.md", PAGE)
    assert len(found) > 10
    assert [item.text for item in found if "aws" not in item.needs] == []


def test_workflow_checks_the_deployment() -> None:
    (workflow,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    *_, last = yaml.safe_load(workflow)["jobs"]["verify"]["steps"]
    assert last["run"].startswith("make verify-deployment URL=")


def test_links_resolve() -> None:
    for link in re.findall(r"\]\((?!https://)([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (ROOT / "docs" / "deploy" / link).exists(), link


def test_resources_said_to_stay_are_retained(template: Template) -> None:
    kept = {row["Type"] for row in template.body["Resources"].values() if "Retain" in row.get("DeletionPolicy", "")}
    assert kept == {"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::DynamoDB::Table"}
    assert len(template.of_type("AWS::DynamoDB::Table")) == len(set(re.findall(r"`(\w+TableName)`", PAGE)))
