"""What the tests of the template ask it, beyond what the local run does."""

from typing import Any

from dev.local.template import Template


def statements(template: Template, function: str) -> list[dict[str, Any]]:
    """Of the function's role."""
    role = template.properties(template.functions[function]["Role"]["Fn::GetAtt"][0])
    return [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def handler(template: Template, function: str) -> str:
    """The one in Python; a function that streams on AWS has it for where it can't."""
    declared = template.functions[function]["Handler"]
    return str(declared["Fn::If"][2] if isinstance(declared, dict) else declared)


def api_events(template: Template, function: str) -> list[tuple[str, str]]:
    """Method and path of each."""
    events = template.functions[function]["Events"].values()
    return [(it["Properties"]["Method"], it["Properties"]["Path"]) for it in events if it["Type"] == "Api"]
