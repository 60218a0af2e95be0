"""docs/deploy/deploy.md says of each parameter what the template says, and names only what there is."""

import re
from typing import Any

from dev.local.template import ROOT, Template

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


def test_named_outputs_and_functions_exist(template: Template) -> None:
    placeholders = set(re.findall(r"<([A-Z]\w+)>", PAGE))
    assert placeholders <= set(template.body["Outputs"])
    assert {"RunnerUrl", "EdgeDomainName", *re.findall(r"`(\w+(?:TableName|BucketName))`", PAGE)} <= set(
        template.body["Outputs"]
    )
    assert set(re.findall(r"remote invoke (\w+)", PAGE)) <= set(template.functions)


def test_resources_said_to_stay_are_retained(template: Template) -> None:
    kept = {row["Type"] for row in template.body["Resources"].values() if "Retain" in row.get("DeletionPolicy", "")}
    assert kept == {"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::DynamoDB::Table"}
    assert len(template.of_type("AWS::DynamoDB::Table")) == len(set(re.findall(r"`(\w+TableName)`", PAGE)))
