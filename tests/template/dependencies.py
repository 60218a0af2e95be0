"""Which resource waits for which, as CloudFormation sees it: after SAM's transform, which adds some."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.template import Template

_IN_SUB = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")


def transformed(template: Template) -> dict[str, Any]:
    """The resources as CloudFormation gets them. Needs AWS_DEFAULT_REGION."""
    body = deepcopy(template.body)
    parameters = {name: str(it.get("Default", "")) for name, it in body["Parameters"].items()}
    for function in body["Resources"].values():
        if "CodeUri" in function.get("Properties", {}):
            function["Properties"]["CodeUri"] = "s3://packaged/code"
        if "ContentUri" in function.get("Properties", {}):
            function["Properties"]["ContentUri"] = "s3://packaged/layer"
    resources: dict[str, Any] = Translator({}, Parser()).translate(body, parameters)["Resources"]
    return resources


def dependencies(resources: Mapping[str, Any]) -> dict[str, set[str]]:
    """By logical id: what must be there before it."""
    return {name: {other for other in _named(resource) if other in resources} for name, resource in resources.items()}


def _named(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"Fn::GetAtt": str(path)}:
            yield path.partition(".")[0]
        case {"Fn::Sub": str(text)}:
            yield from _IN_SUB.findall(text)
        case {"Fn::Sub": [str(text), dict() as own]}:
            yield from (name for name in _IN_SUB.findall(text) if name not in own)
            yield from _named(own)
        case dict():
            on = value.get("DependsOn", [])
            yield from [on] if isinstance(on, str) else on
            for inner in value.values():
                yield from _named(inner)
        case list():
            for inner in value:
                yield from _named(inner)
