"""Queries of the template that only tests need."""

import re
from typing import Any

from dev.local.template import Template


def statements(template: Template, function: str) -> list[dict[str, Any]]:
    """Return the statements of the function's role."""
    role = template.properties(template.functions[function]["Role"]["Fn::GetAtt"][0])
    return [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def bucket_statement(template: Template, sid: str) -> dict[str, Any]:
    """Return a statement of the bucket's policy."""
    bucket_statements = template.properties("BucketPolicy")["PolicyDocument"]["Statement"]
    return next(one for one in bucket_statements if one["Sid"] == sid)


def handler(template: Template, function: str) -> str:
    """Return the Python handler; a function that streams has it for platforms that can't."""
    declared = template.functions[function]["Handler"]
    return str(declared["Fn::If"][2] if isinstance(declared, dict) else declared)


def api_events(template: Template, function: str) -> list[tuple[str, str]]:
    """Return method and path of each event that comes from the API."""
    events = template.functions[function]["Events"].values()
    return [(it["Properties"]["Method"], it["Properties"]["Path"]) for it in events if it["Type"] == "Api"]


def accepts(template: Template, parameter: str, value: str) -> bool:
    """Return whether CloudFormation would accept the value: it wants the whole value to match."""
    return re.fullmatch(template.body["Parameters"][parameter]["AllowedPattern"], value) is not None
