"""docs/deploy/deploy.md names only what there is."""

import re

from dev.local.template import ROOT, Template

PAGE = (ROOT / "docs" / "deploy" / "deploy.md").read_text()


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
