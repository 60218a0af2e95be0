"""Each function's role allows what the function does, and nothing else."""

import pytest

from dev.local.template import Template
from tests.unit.template.declared import statements

FUNCTIONS = sorted(Template.load().functions)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def test_functions_share_no_role(template: Template) -> None:
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in template.functions.values()]
    assert len(set(roles)) == len(roles)


TRACING = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
"""They know no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_has_no_wildcard(template: Template, function: str) -> None:
    for statement in statements(template, function):
        assert not [action for action in _listed(statement["Action"]) if "*" in str(action)]
        assert "*" not in _listed(statement["Resource"]) or statement["Action"] == TRACING


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_may_send_traces(template: Template, function: str) -> None:
    """The deploy would otherwise fail, since Lambda checks the role for it."""
    assert template.resolve(template.body["Globals"]["Function"]["Tracing"]) == "Active"
    assert [it["Action"] for it in statements(template, function) if it["Sid"] == "Trace"] == [TRACING]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_accesses_archives_only(template: Template, function: str) -> None:
    for statement in statements(template, function):
        if any(str(action).startswith("s3:") and action != "s3:ListBucket" for action in _listed(statement["Action"])):
            assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/archives/*"}


READERS = [
    it for it in FUNCTIONS if any("s3:GetObject" in str(one["Action"]) for one in statements(Template.load(), it))
]


@pytest.mark.parametrize("function", READERS)
def test_reader_may_list_the_bucket(template: Template, function: str) -> None:
    """S3 answers 403 for a missing object, not 404, to a role that can't list the whole bucket."""
    listing = [it for it in statements(template, function) if it["Action"] == "s3:ListBucket"]
    assert [(it["Resource"], it.get("Condition")) for it in listing] == [({"Fn::GetAtt": ["Bucket", "Arn"]}, None)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_logs_into_its_own_group_only(template: Template, function: str) -> None:
    group = template.functions[function]["LoggingConfig"]["LogGroup"]["Ref"]
    logging = [it for it in statements(template, function) if "logs:PutLogEvents" in it["Action"]]
    assert [it["Resource"] for it in logging] == [{"Fn::GetAtt": [group, "Arn"]}]
    assert "RetentionInDays" in template.properties(group)


def test_only_cleanup_deletes_objects(template: Template) -> None:
    """No reader is cut off, whatever goes wrong in another function."""
    deleting = {
        function
        for function in template.functions
        for statement in statements(template, function)
        if "s3:DeleteObject" in _listed(statement["Action"])
    }
    assert deleting == {"CleanupFunction"}
