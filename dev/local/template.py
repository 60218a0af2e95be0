"""Reads template.yaml the way CloudFormation reads it. The local run and the tests build from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

NO_VALUE = "AWS::NoValue"

WITHOUT_DEFAULT = {"TokenClaims": "any"}
"""Values, in the local run, of parameters that a deployer must choose."""


class _Loader(yaml.CSafeLoader):
    """Turns `!Ref X` into `{"Ref": X}`, and so on."""


def _intrinsic(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise yaml.constructor.ConstructorError(None, None, f"!{tag} of a mapping", node.start_mark)
    if tag == "GetAtt":
        value = value.split(".")
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _intrinsic)


@dataclass(frozen=True)
class Template:
    body: dict[str, Any]

    @classmethod
    def load(cls, path: Path = ROOT / "template.yaml") -> "Template":
        return cls(yaml.load(path.read_text(), _Loader))  # noqa: S506 - a SafeLoader, with CloudFormation's tags

    def with_parameters(self, **values: str) -> "Template":
        """Return a template with other defaults, which everything here is resolved with."""
        parameters = {
            name: parameter | {"Default": values[name]} if name in values else parameter
            for name, parameter in self.body["Parameters"].items()
        }
        return Template(self.body | {"Parameters": parameters})

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        return {name: resource for name, resource in self.body["Resources"].items() if resource["Type"] in types}

    def properties(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.body["Resources"][name]["Properties"]
        return properties

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """Properties by logical id."""
        return {name: function["Properties"] for name, function in self.of_type("AWS::Serverless::Function").items()}

    @property
    def custom_resources(self) -> dict[str, dict[str, Any]]:
        """Properties by logical id."""
        resources = self.body["Resources"].items()
        return {name: found["Properties"] for name, found in resources if found["Type"].startswith("Custom::")}

    def environment(self, function: str) -> dict[str, Any]:
        """Return a function's variables; its own override the global ones."""
        everywhere: dict[str, Any] = self.body["Globals"]["Function"]["Environment"]["Variables"]
        own: dict[str, Any] = self.functions[function].get("Environment", {}).get("Variables", {})
        return everywhere | own

    def condition(self, name: str) -> bool:
        """Return whether a condition holds with every parameter at its default."""
        return self._holds(self.body["Conditions"][name])

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Fn::Equals": [one, other]}:
                return str(self.resolve(one)) == str(self.resolve(other))
            case {"Fn::Not": [inner]}:
                return not self._holds(inner)
            case {"Condition": str(name)}:
                return self.condition(name)
        raise ValueError(f"a condition of an unknown kind: {condition}")

    def resolve(self, value: Any, resources: Mapping[str, str] | None = None) -> Any:
        """Return what a value becomes with every parameter at its default; properties of `AWS::NoValue` are dropped.

        Args:
            value: Any value of the template.
            resources: What `Ref` returns for each resource; one that is missing stands for itself.
        """
        known = resources or {}
        match value:
            case {"Fn::If": [name, then, otherwise]}:
                return self.resolve(then if self.condition(name) else otherwise, known)
            case {"Ref": str(name)}:
                parameter = self.body["Parameters"].get(name, {"Default": name})
                return known.get(name) or parameter.get("Default", WITHOUT_DEFAULT.get(name))
            case {"Fn::FindInMap": [first, second, third]}:
                return self.body["Mappings"][first][second][third]
            case {"Fn::GetAtt": [name, attribute]}:
                return known.get(f"{name}.{attribute}", f"{name}.{attribute}")
            case dict():
                resolved = {key: self.resolve(inner, known) for key, inner in value.items()}
                return {key: inner for key, inner in resolved.items() if inner != NO_VALUE}
            case list():
                return [inner for inner in (self.resolve(inner, known) for inner in value) if inner != NO_VALUE]
            case _:
                return value

    def number(self, value: Any) -> int:
        """Return a value as a number; CloudFormation has those of mappings as strings."""
        return int(self.resolve(value))
