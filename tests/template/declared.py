"""What template.yaml declares, read the way CloudFormation reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


class _Loader(yaml.SafeLoader):
    """Turns `!Ref X` into `{"Ref": X}`, and so on."""


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
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
    def load(cls) -> "Template":
        return cls(yaml.load((ROOT / "template.yaml").read_text(), _Loader))

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        return {name: it for name, it in self.body["Resources"].items() if it["Type"] in types}

    def properties(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.body["Resources"][name]["Properties"]
        return properties

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """Properties by logical id."""
        return {name: it["Properties"] for name, it in self.of_type("AWS::Serverless::Function").items()}

    def statements(self, function: str) -> list[dict[str, Any]]:
        """Of the function's role."""
        role = self.properties(self.functions[function]["Role"]["Fn::GetAtt"][0])
        return [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]

    def environment(self, function: str) -> dict[str, Any]:
        """The function's own variables over the global ones."""
        everywhere: dict[str, Any] = self.body["Globals"]["Function"]["Environment"]["Variables"]
        own: dict[str, Any] = self.functions[function].get("Environment", {}).get("Variables", {})
        return everywhere | own

    def api_events(self, function: str) -> list[tuple[str, str]]:
        """Method and path of each."""
        events = self.functions[function]["Events"].values()
        return [(it["Properties"]["Method"], it["Properties"]["Path"]) for it in events if it["Type"] == "Api"]

    def resolve(self, value: Any) -> Any:
        """What a value becomes with every parameter at its default; a resource stands for itself by its name."""
        match value:
            case {"Ref": str(name)}:
                return self.body["Parameters"].get(name, {"Default": name})["Default"]
            case {"Fn::FindInMap": [first, second, third]}:
                return self.body["Mappings"][first][second][third]
            case _:
                return value

    def number(self, value: Any) -> int:
        """Of a mapping's value, say: CloudFormation has those as strings."""
        return int(self.resolve(value))
