"""The architecture that is built is the one that is deployed."""

import os
import sys
from pathlib import Path

import pytest

from actions_cache_cli.deploy.steps import StepFailed, Steps
from dev.build import package
from dev.build.package import architecture_of
from dev.local.template import Template

MACHINES = {"arm64": 183, "x86_64": 62}

BUILT = """Parameters:
  CleanupPaused:
    Type: String
  Architecture:
    Type: String
    Default: arm64
    AllowedValues:
    - arm64
    - x86_64
    Description: Processor of the functions.
  StreamDownloads:
    Type: String
"""


def library(place: Path, name: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(bytes(18) + MACHINES[name].to_bytes(2, "little"))


@pytest.mark.parametrize("name", ["arm64", "x86_64"])
def test_built_template_allows_only_built_architecture(tmp_path: Path, name: str) -> None:
    """A bare `sam deploy`, or an answer to its question, can't deploy the other architecture then."""
    library(tmp_path / "CoreLayer" / "a.so", name)
    (tmp_path / "template.yaml").write_text(BUILT)
    for _ in range(2):
        package.pin_architecture(tmp_path)
        parameters = Template.load(tmp_path / "template.yaml").body["Parameters"]
        assert (parameters["Architecture"]["Default"], parameters["Architecture"]["AllowedValues"]) == (name, [name])
        assert parameters["CleanupPaused"] == parameters["StreamDownloads"] == {"Type": "String"}


def test_build_for_several_processors_is_refused(tmp_path: Path) -> None:
    library(tmp_path / "CoreLayer" / "a.so", "arm64")
    assert architecture_of(tmp_path) == "arm64"
    library(tmp_path / "ApiFunction" / "b.so", "x86_64")
    assert architecture_of(tmp_path) is None
    (tmp_path / "template.yaml").write_text(BUILT)
    with pytest.raises(ValueError, match="can't be made one"):
        package.pin_architecture(tmp_path)


def test_architecture_is_read_from_library_headers() -> None:
    here = {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert architecture_of(Path(sys.prefix) / "lib") == here


@pytest.mark.parametrize("chosen", ["arm64", "x86_64"])
def test_build_for_another_processor_is_not_deployed(tmp_path: Path, chosen: str) -> None:
    [other] = set(MACHINES) - {chosen}
    steps = Steps(print, tmp_path, sam="/no/such/sam")
    library(steps.built_template(chosen).parent / "CoreLayer" / "a.so", other)
    with pytest.raises(StepFailed, match=f"built for {other}, not for {chosen}"):
        steps.deploy("actions-cache", "eu-west-1", chosen, {}, {})
