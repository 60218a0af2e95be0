"""Resources are created in an order that works, and only in regions that have everything."""

from typing import Any

import pytest
from botocore.loaders import create_loader

from dev.local.template import Template
from tests.unit.template.dependencies import named_resources

USED_AT_CREATION = {
    # CloudFront associates no store that is still being provisioned.
    ("AWS::CloudFront::Function", "AWS::CloudFront::KeyValueStore"),
    # A distribution takes no function before it is published.
    ("AWS::CloudFront::Distribution", "AWS::CloudFront::Function"),
    # Its role uses the store and the secret.
    ("Custom::EdgeSecrets", "AWS::CloudFront::KeyValueStore"),
    ("Custom::EdgeSecrets", "AWS::SecretsManager::Secret"),
    ("Custom::EdgeSecrets", "AWS::Lambda::Function"),
    ("Custom::EdgeSecrets", "AWS::IAM::Role"),
    # Lambda tries the role, and writes into the group from the first call on.
    ("AWS::Lambda::Function", "AWS::IAM::Role"),
    ("AWS::Lambda::Function", "AWS::Logs::LogGroup"),
    # Lambda checks that the function's role may receive, and reads the queue.
    ("AWS::Lambda::EventSourceMapping", "AWS::IAM::Role"),
    ("AWS::Lambda::EventSourceMapping", "AWS::SQS::Queue"),
    # A redrive policy names a queue that exists.
    ("AWS::SQS::Queue", "AWS::SQS::Queue"),
}
"""Pairs of types: creating the first may fail until the second is complete. A Ref or GetAtt waits only until the other
is configured, DependsOn until it is complete:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-resource-configuration-complete.html"""


def used(template: Template, logical_id: str) -> set[str]:
    """Return the resources that one refers to, directly or through others."""
    found: set[str] = set()
    following = {logical_id}
    while following:
        named = {
            name
            for it in following
            for name in named_resources(template.body["Resources"][it])
            if name in template.body["Resources"] and name != it
        }
        following = named - found
        found |= following
    return found


def complete_before(template: Template, logical_id: str) -> set[str]:
    """Return what is certainly complete when a resource starts: what its DependsOn names, and theirs."""
    resources = template.body["Resources"]
    earlier = used(template, logical_id) | {logical_id}
    return {it for one in earlier for it in explicit(resources[one])}


def explicit(resource: dict[str, Any]) -> list[str]:
    on = resource.get("DependsOn", [])
    return [on] if isinstance(on, str) else list(on)


def test_resources_used_at_creation_are_complete(transformed: Template) -> None:
    resources = transformed.body["Resources"]
    met = set()
    for logical_id, resource in resources.items():
        complete = complete_before(transformed, logical_id)
        for other in used(transformed, logical_id):
            pair = (resource["Type"], resources[other]["Type"])
            if pair in USED_AT_CREATION and _is_its_own(transformed, logical_id, other):
                met.add(pair)
                assert other in complete, f"{logical_id} may start before {other} is complete"
    assert met == USED_AT_CREATION
    # An update that replaces the store doesn't leave it empty either.
    assert "EdgeKnowsSecret" in complete_before(transformed, "ViewerRequest")
    # AWS's own transform generates the API's document, on the day of the deploy.
    assert not transformed.properties("Api").get("FailOnWarnings", False)


def _is_its_own(template: Template, logical_id: str, other: str) -> bool:
    """Return whether a resource uses the other one itself, or a function's role along with the function."""
    resource, kind = template.body["Resources"][logical_id], template.body["Resources"][other]["Type"]
    if other in named_resources(resource):
        return True
    functions = {it for it in named_resources(resource) if it in template.of_type("AWS::Lambda::Function")}
    if resource["Type"] not in ("Custom::EdgeSecrets", "AWS::Lambda::EventSourceMapping"):
        return False
    return kind == "AWS::IAM::Role" and any(
        other in named_resources(template.body["Resources"][it]) for it in functions
    )


def test_indexed_tables_are_created_one_by_one(transformed: Template) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-dynamodb-table.html"""
    indexed = {
        logical_id
        for logical_id, table in transformed.of_type("AWS::DynamoDB::Table").items()
        if table["Properties"].keys() & {"GlobalSecondaryIndexes", "LocalSecondaryIndexes"}
    }
    assert len(indexed) > 1
    # Each but the first waits for the one before it, so that no two are under way at once.
    chain = [indexed & complete_before(transformed, logical_id) for logical_id in indexed]
    assert sorted(len(before) for before in chain) == list(range(len(indexed)))


PARTITIONS = {
    it["id"]: [region for region in it["regions"] if "global" not in region]
    for it in create_loader().load_data("partitions")["partitions"]
}


def holds(template: Template, assertion: Any, region: str) -> bool:
    """Return whether a rule's assertion holds in this region."""
    match assertion:
        case {"Fn::Not": [inner]}:
            return not holds(template, inner, region)
        case {"Fn::Contains": [list() as values, {"Ref": "AWS::Region"}]}:
            return region in values
    raise AssertionError(f"a function of a kind that isn't known here: {assertion}")


@pytest.mark.parametrize("partition", sorted(PARTITIONS))
def test_only_commercial_regions_are_deployable(template: Template, partition: str) -> None:
    [rule] = template.body["Rules"]["OnlyCommercialRegions"]["Assertions"]
    for region in PARTITIONS[partition]:
        assert holds(template, rule["Assert"], region) is (partition == "aws"), region
    assert "isn't supported" in rule["AssertDescription"]
