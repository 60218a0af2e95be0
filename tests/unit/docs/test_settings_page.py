"""docs/deploy/settings.md has one row for each setting and parameter, in the template's groups."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from actions_cache.settings import Settings
from dev.local.options import Options
from dev.local.template import ROOT, Template

PAGE = (ROOT / "docs" / "deploy" / "settings.md").read_text()
GROUPS = ("Set these", "Rarely", "Never")
DIRECTION = re.compile(r"(?:^|[.;] )`?[^.:;]+`?: ")
"""The beginning of what one direction costs, as in `Longer: `."""


@dataclass(frozen=True)
class Row:
    parameter: str | None
    variables: tuple[str, ...]
    default: str
    trade_off: str


def rows(group: str) -> list[Row]:
    section = PAGE.partition(f"## {group}\n")[2].partition("\n## ")[0]
    return [_row(line) for line in section.splitlines() if line.startswith("| `")]


def _row(line: str) -> Row:
    names, default, said = (cell.strip() for cell in line.strip("|").split(" | "))
    named = re.findall(r"`(\w+)`", names)
    parameters = [name for name in named if not name.isupper()]
    _, _, trade_off = said.partition("<br>")
    return Row(next(iter(parameters), None), tuple(name for name in named if name.isupper()), default, trade_off)


ROWS = {group: rows(group) for group in GROUPS}
ALL = [row for group in ROWS.values() for row in group]


def test_parameters_stand_in_the_template_groups(template: Template) -> None:
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for group in template.body["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        label = re.split(r":| without", group["Label"]["default"])[0]
        groups[label] += group["Parameters"]
    assert {group: [row.parameter for row in found if row.parameter] for group, found in ROWS.items()} == groups


def test_parameters_have_the_template_defaults(template: Template) -> None:
    for row in ALL:
        if row.parameter:
            assert row.default.startswith(_default(template.body["Parameters"][row.parameter])), row


def _default(parameter: dict[str, Any]) -> str:
    if "Default" not in parameter:
        return "none"
    return f"`{parameter['Default']}`" if str(parameter["Default"]) else "empty"


def test_parameters_name_the_variable_they_set(template: Template) -> None:
    functions = [template.body["Globals"]["Function"], *template.functions.values()]
    environments = [function.get("Environment", {"Variables": {}})["Variables"] for function in functions]
    set_by = {value["Ref"]: name for each in environments for name, value in each.items() if _is_reference(value)}
    for row in ALL:
        if row.parameter in set_by:
            assert row.variables == (set_by[row.parameter],)


def _is_reference(value: object) -> bool:
    return isinstance(value, dict) and "Ref" in value


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.parameter or row.variables[0])
def test_trade_off_names_both_directions(row: Row) -> None:
    assert len(DIRECTION.findall(row.trade_off)) >= 2


def test_each_setting_is_documented_and_exists() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    assert {name for name in settings if f"`{name}`" not in PAGE} == set()
    local = {name.upper() for name in Options.model_fields}
    named = {name for row in (*ALL, *rows("The local run alone")) for name in row.variables}
    assert named - settings - local == set()


def test_constants_have_the_defaults_of_the_code() -> None:
    for row in ALL:
        if row.parameter is None:
            for name, said in zip(row.variables, row.default.split("<br>"), strict=True):
                default = Settings.model_fields[name.lower()].default
                shown = "none" if default is None else f"`{str(default).lower()}`"
                assert said.startswith(shown), name
