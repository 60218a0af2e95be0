"""Stacks share no physical name, and each name fits its service even for the longest stack name."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.session import Session

from dev.local.template import Template

LONGEST_STACK_NAME = 128
"""The limit is from https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html"""

_REGIONS = Session().get_available_regions("lambda")


@dataclass(frozen=True)
class Stack:
    name: str
    region: str
    id: str

    def value(self, of: Any, parameters: dict[str, Any]) -> str:
        """Return CloudFormation's value for a name in the template."""
        match of:
            case str():
                return of
            case {"Ref": str(name)}:
                return self._pseudo().get(name) or str(parameters[name]["Default"])
            case {"Fn::Sub": str(text)}:
                for name, value in self._pseudo().items():
                    text = text.replace(f"${{{name}}}", value)
                assert "${" not in text, text
                return text
            case {"Fn::Join": [str(by), list() as parts]}:
                return by.join(self.value(part, parameters) for part in parts)
            case {"Fn::Select": [int(at), {"Fn::Split": [str(by), inner]}]}:
                return self.value(inner, parameters).split(by)[at]
        raise AssertionError(f"a name of a kind that isn't known here: {of}")

    def _pseudo(self) -> dict[str, str]:
        return {
            "AWS::StackName": self.name,
            "AWS::Region": self.region,
            "AWS::StackId": f"arn:aws:cloudformation:{self.region}:123456789012:stack/{self.name}/{self.id}",
        }


def stack(name: str = "actions-cache", region: str = "eu-central-1") -> Stack:
    return Stack(name, region, str(uuid.uuid4()))


@dataclass(frozen=True)
class Name:
    """A property that names its resource: where it is, the service's limit, and whether all regions share it."""

    path: tuple[str, ...]
    longest: int
    is_global: bool = False


def edge_name(*path: str, longest: int = 64) -> Name:
    """Return a name of CloudFront's: https://docs.aws.amazon.com/cloudfront/latest/APIReference."""
    return Name(path, longest, is_global=True)


NAMES = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    "AWS::ApiGateway::RestApi": Name(("Name",), 1024),
    "AWS::CloudFront::Distribution": edge_name("DistributionConfig", "Comment", longest=128),
    "AWS::CloudFront::Function": edge_name("Name"),
    "AWS::CloudFront::KeyValueStore": edge_name("Name"),
    "AWS::CloudFront::OriginAccessControl": edge_name("OriginAccessControlConfig", "Name"),
    # No page gives the limit of a policy's name; this is the least of CloudFront's other limits.
    "AWS::CloudFront::OriginRequestPolicy": edge_name("OriginRequestPolicyConfig", "Name"),
    "AWS::CloudFront::ResponseHeadersPolicy": edge_name("ResponseHeadersPolicyConfig", "Name"),
    # A dashboard is seen from every region of the account:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
    "AWS::CloudWatch::Dashboard": Name(("DashboardName",), 255, is_global=True),
    # https://docs.aws.amazon.com/lambda/latest/api/API_PublishLayerVersion.html
    "AWS::Lambda::LayerVersion": Name(("LayerName",), 140),
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
    "AWS::Logs::LogGroup": Name(("LogGroupName",), 512),
}
"""Names that the template gives; CloudFormation makes all others, unique and short enough. A distribution's comment is
not a name, but is made from one."""

NO_NAMES = {
    # These name something inside the resource, or another resource.
    "AWS::ApiGateway::Stage": {"StageName"},
    "AWS::CloudFront::Distribution": {"DomainName", "HeaderName"},
    "AWS::CloudWatch::Alarm": {"MetricName", "Name"},
    "AWS::DynamoDB::Table": {"AttributeName", "IndexName"},
    "AWS::IAM::Role": {"PolicyName"},
    "AWS::Lambda::EventInvokeConfig": {"FunctionName"},
    "AWS::Lambda::EventSourceMapping": {"FunctionName"},
    "AWS::Lambda::Permission": {"FunctionName"},
}


def named(properties: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every property whose key ends with Name, at any depth."""
    if isinstance(properties, dict):
        for key, value in properties.items():
            if key.endswith("Name") and not key.startswith(("Fn::", "aws:")):
                yield (*path, key), value
            yield from named(value, (*path, key))
    elif isinstance(properties, list):
        for value in properties:
            yield from named(value, path)


def names(template: Template, of: Stack) -> dict[str, str]:
    """Return each named resource's name, by its logical id."""
    return {
        logical_id: of.value(_at(resource["Properties"], NAMES[resource["Type"]].path), template.body["Parameters"])
        for logical_id, resource in template.of_type(*NAMES).items()
    }


def _at(properties: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        properties = properties[key]
    return properties


def test_names_in_template_are_known_here(transformed: Template) -> None:
    """Finds a schedule that SAM names itself, for example."""
    for logical_id, resource in transformed.body["Resources"].items():
        kind = resource["Type"]
        # An API's body names operations and headers, never an AWS resource.
        properties = {key: value for key, value in resource.get("Properties", {}).items() if key != "Body"}
        for path, value in named(properties):
            is_its_own = kind in NAMES and path == NAMES[kind].path
            assert is_its_own or path[-1] in NO_NAMES.get(kind, ()), (logical_id, path, value)
    assert {resource["Type"] for resource in transformed.of_type(*NAMES).values()} == set(NAMES)


@pytest.mark.parametrize(
    "other",
    [stack("actions-cache-dev"), stack(region="us-east-1"), stack("actions-cache-api"), stack("actions")],
    ids=lambda it: f"{it.name} {it.region}",
)
def test_two_stacks_share_no_name(transformed: Template, other: Stack) -> None:
    here = stack()
    kinds = {logical_id: resource["Type"] for logical_id, resource in transformed.of_type(*NAMES).items()}
    ours = {(kinds[logical_id], name) for logical_id, name in names(transformed, here).items()}
    theirs = {(kinds[logical_id], name) for logical_id, name in names(transformed, other).items()}
    shared = {kind for kind, _ in ours & theirs}
    if here.region == other.region:
        assert not shared
    # A comment needn't be unique.
    assert not {kind for kind in shared if NAMES[kind].is_global} - {"AWS::CloudFront::Distribution"}


def test_recreated_stack_has_new_edge_names(transformed: Template) -> None:
    """Deletions at the edge take minutes."""
    first, again = names(transformed, stack()), names(transformed, stack())
    edge = [
        logical_id
        for logical_id, resource in transformed.of_type(*NAMES).items()
        if resource["Type"].startswith("AWS::CloudFront::") and resource["Type"] != "AWS::CloudFront::Distribution"
    ]
    assert edge
    assert not [logical_id for logical_id in edge if first[logical_id] == again[logical_id]]


def test_names_fit_for_the_longest_stack_name(transformed: Template) -> None:
    longest = stack("s" * LONGEST_STACK_NAME, max(_REGIONS, key=len))
    for logical_id, name in names(transformed, longest).items():
        limit = NAMES[transformed.body["Resources"][logical_id]["Type"]]
        assert len(name) <= limit.longest, (logical_id, len(name))
    # Exports share one namespace in their account and region.
    assert not [name for name, output in transformed.body["Outputs"].items() if "Export" in output]
