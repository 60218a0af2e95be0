"""The order in which CloudFormation creates resources."""

import re
from collections.abc import Iterator
from typing import Any

from dev.local.template import Template

_IN_SUB = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")


def dependencies(template: Template) -> dict[str, set[str]]:
    """Return, for each logical id, the resources that must exist before it.

    Includes what SAM's transform adds between declared resources: an API's body names the functions of its events.
    Nothing waits for the other resources that it generates (permissions, schedules, event sources).
    """
    resources = template.body["Resources"]
    known = {
        name: {
            other
            for other in (*named_resources(resource), *named_resources(_global_properties(template, resource)))
            if other in resources and other != name
        }
        for name, resource in resources.items()
    }
    for function, properties in template.functions.items():
        for event in properties["Events"].values():
            if event["Type"] == "Api":
                known[function].discard(event["Properties"]["RestApiId"]["Ref"])
                known[event["Properties"]["RestApiId"]["Ref"]].add(function)
    return known


def _global_properties(template: Template, resource: dict[str, Any]) -> Any:
    kind = resource["Type"].removeprefix("AWS::Serverless::")
    return template.body["Globals"].get(kind, {})


def named_resources(value: Any) -> Iterator[str]:
    """Yield everything that a part of the template refers to, parameters included."""
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"Fn::Sub": str(text)}:
            yield from _IN_SUB.findall(text)
        case {"Fn::Sub": [str(text), dict() as own]}:
            yield from (name for name in _IN_SUB.findall(text) if name not in own)
            yield from named_resources(own)
        case dict():
            on = value.get("DependsOn", [])
            yield from [on] if isinstance(on, str) else on
            for inner in value.values():
                yield from named_resources(inner)
        case list():
            for inner in value:
                yield from named_resources(inner)
