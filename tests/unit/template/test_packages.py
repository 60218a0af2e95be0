"""Deployed packages are pinned, tested, and no more than necessary."""

import re
from pathlib import Path

import pytest

from dev.bench.imports import LIBRARIES
from dev.local.template import ROOT, Template

FUNCTIONS = ("api", "download", "manage", "merge", "cleanup", "rotate")
TESTED = ROOT / "dev" / "requirements" / "dev.txt"
LAYER = ROOT / "layers" / "core" / "requirements.txt"
HTTP = {"fastapi", "starlette", "aiohttp", "mangum"}


def _pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)", file.read_text(), re.MULTILINE))


def _of_function(name: str) -> dict[str, str]:
    return _pins(ROOT / "functions" / name / "requirements.txt")


def test_aws_libraries_are_in_the_layer_only() -> None:
    aws = {"boto3", "botocore", "s3transfer"}
    assert aws <= _pins(LAYER).keys()
    assert not [name for name in FUNCTIONS if aws & _of_function(name).keys()]


def test_web_framework_is_in_http_functions_only() -> None:
    assert {name for name in FUNCTIONS if HTTP & _of_function(name).keys()} == {"api", "download", "manage"}
    assert not HTTP & _pins(LAYER).keys()


@pytest.mark.parametrize("file", [LAYER, *(ROOT / "functions" / name / "requirements.txt" for name in FUNCTIONS)])
def test_deployed_versions_are_the_tested_ones(file: Path) -> None:
    tested = _pins(TESTED)
    assert {name: tested.get(name) for name in _pins(file)} == _pins(file)


def test_cold_starts_are_benchmarked(template: Template) -> None:
    assert {f"{function.capitalize()}Function" for function in LIBRARIES} == set(template.functions)
