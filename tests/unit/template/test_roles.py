"""Each function's role allows what the function does, and nothing else."""

import pytest

from dev.local.template import Template
from tests.unit.template.declared import statements

FUNCTIONS = sorted(Template.load().functions)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


TRACING = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
"""They know no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html."""


OF_THE_BUCKET = ("s3:ListBucket", "s3:ListBucketMultipartUploads")
"""Actions whose resource is the bucket, and not objects:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html."""


READERS = [
    it for it in FUNCTIONS if any("s3:GetObject" in str(one["Action"]) for one in statements(Template.load(), it))
]


@pytest.mark.parametrize("function", READERS)
def test_reader_may_list_the_bucket(template: Template, function: str) -> None:
    """S3 answers 403 for a missing object, not 404, to a role that can't list the whole bucket."""
    listing = [it for it in statements(template, function) if it["Action"] == "s3:ListBucket"]
    assert [(it["Resource"], it.get("Condition")) for it in listing] == [({"Fn::GetAtt": ["Bucket", "Arn"]}, None)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_role_allows_its_own_resources_only(template: Template, function: str) -> None:
    for statement in statements(template, function):
        actions = _listed(statement["Action"])
        assert not [action for action in actions if "*" in str(action)]
        assert "*" not in _listed(statement["Resource"]) or statement["Action"] == TRACING
        if any(str(action).startswith("s3:") and action not in OF_THE_BUCKET for action in actions):
            assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/archives/*"}
    # Lambda checks the role for tracing, or the deploy fails.
    assert template.resolve(template.body["Globals"]["Function"]["Tracing"]) == "Active"
    assert [it["Action"] for it in statements(template, function) if it["Sid"] == "Trace"] == [TRACING]
    group = template.functions[function]["LoggingConfig"]["LogGroup"]["Ref"]
    logging = [it for it in statements(template, function) if "logs:PutLogEvents" in it["Action"]]
    assert [it["Resource"] for it in logging] == [{"Fn::GetAtt": [group, "Arn"]}]
    assert "RetentionInDays" in template.properties(group)


def test_only_cleanup_deletes_objects(template: Template) -> None:
    """No reader is cut off, whatever goes wrong in another function, since none has another's role."""
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in template.functions.values()]
    assert len(set(roles)) == len(roles)
    deleting = {
        function
        for function in template.functions
        for statement in statements(template, function)
        if "s3:DeleteObject" in _listed(statement["Action"])
    }
    assert deleting == {"CleanupFunction"}
