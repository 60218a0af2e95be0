"""Each function may do what it does, and nothing else."""

import pytest

from dev.local.template import Template
from tests.unit.template.declared import statements

FUNCTIONS = sorted(Template.load().functions)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def test_no_two_functions_share_a_role(template: Template) -> None:
    roles = [properties["Role"]["Fn::GetAtt"][0] for properties in template.functions.values()]
    assert len(set(roles)) == len(roles)


TRACING = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
"""They know no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_action_and_no_resource_is_a_wildcard(template: Template, function: str) -> None:
    for statement in statements(template, function):
        assert not [action for action in _listed(statement["Action"]) if "*" in str(action)]
        assert "*" not in _listed(statement["Resource"]) or statement["Action"] == TRACING


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lambda_may_send_the_traces_it_is_told_to_make(template: Template, function: str) -> None:
    """Else the deploy fails: Lambda checks the role for it."""
    assert template.resolve(template.body["Globals"]["Function"]["Tracing"]) == "Active"
    assert [it["Action"] for it in statements(template, function) if it["Sid"] == "Trace"] == [TRACING]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_objects_are_touched_only_where_archives_are(template: Template, function: str) -> None:
    for statement in statements(template, function):
        if any(str(action).startswith("s3:") and action != "s3:ListBucket" for action in _listed(statement["Action"])):
            assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/archives/*"}


READERS = [
    it for it in FUNCTIONS if any("s3:GetObject" in str(one["Action"]) for one in statements(Template.load(), it))
]


@pytest.mark.parametrize("function", READERS)
def test_a_missing_object_is_told_from_a_forbidden_one(template: Template, function: str) -> None:
    """S3 says 403 for what is missing to a role that can't list, or can only under a prefix: an entry would
    never be found gone."""
    listing = [it for it in statements(template, function) if it["Action"] == "s3:ListBucket"]
    assert [(it["Resource"], it.get("Condition")) for it in listing] == [({"Fn::GetAtt": ["Bucket", "Arn"]}, None)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_logs_into_its_own_group_and_nowhere_else(template: Template, function: str) -> None:
    group = template.functions[function]["LoggingConfig"]["LogGroup"]["Ref"]
    logging = [it for it in statements(template, function) if "logs:PutLogEvents" in it["Action"]]
    assert [it["Resource"] for it in logging] == [{"Fn::GetAtt": [group, "Arn"]}]
    assert "RetentionInDays" in template.properties(group)


def test_only_cleanup_deletes_objects(template: Template) -> None:
    """Whatever goes wrong elsewhere, nobody else can cut a reader off."""
    deleting = {
        function
        for function in template.functions
        for statement in statements(template, function)
        if "s3:DeleteObject" in _listed(statement["Action"])
    }
    assert deleting == {"CleanupFunction"}
