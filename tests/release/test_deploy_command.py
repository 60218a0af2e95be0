"""`make deploy` builds and deploys one architecture, wherever it was chosen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.template import ROOT, Template
from scripts import finish_build
from scripts.check_build import architecture_of
from scripts.deploy import BUILD, Refused, architecture, deploy, overrides_of

MACHINES = {"arm64": 183, "x86_64": 62}

SAMCONFIG = """
version = 0.1
[default.deploy.parameters]
parameter_overrides = "Architecture=\\"x86_64\\" TokenAudience=\\"\\" LogLevel=\\"DEBUG\\""
[prod.deploy.parameters]
parameter_overrides = ["LogRetentionDays=90"]
[intel.global.parameters]
parameter_overrides = ["Architecture=x86_64", "LogRetentionDays=90"]
"""

SAM = """#!{python}
import json, pathlib, sys
asked = sys.argv[1:]
with open("asked", "a") as file: file.write(json.dumps(asked) + "\\n")
if asked[0] == "build":
    chosen = {always!r} or asked[-1].partition("=")[2]
    layer = pathlib.Path(".aws-sam/build/CoreLayer/python/actions_cache")
    layer.mkdir(parents=True)
    machine = {machines!r}[chosen]
    (layer / "library.so").write_bytes(bytes(18) + machine.to_bytes(2, "little"))
    pathlib.Path(".aws-sam/build/template.yaml").write_text(pathlib.Path("built.yaml").read_text())
"""

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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "samconfig.toml").write_text(SAMCONFIG)
    (tmp_path / "built.yaml").write_text(BUILT)
    return tmp_path


def sam(project: Path, always: str = "") -> Path:
    """Install a program in sam's place.

    Args:
        project: the project's directory.
        always: the architecture it builds for, whatever it is told.
    """
    place = project / "sam"
    place.write_text(SAM.format(python=sys.executable, always=always, machines=MACHINES))
    place.chmod(0o755)
    return place


def asked(project: Path) -> list[list[str]]:
    return [json.loads(line) for line in (project / "asked").read_text().splitlines()]


@pytest.mark.parametrize(
    ("said", "environment", "chosen", "others"),
    [
        (None, "prod", "arm64", {'LogRetentionDays="90"'}),
        ("x86_64", "prod", "x86_64", {'LogRetentionDays="90"'}),
        (None, "intel", "x86_64", {'LogRetentionDays="90"'}),
        (None, None, "x86_64", {'TokenAudience=""', 'LogLevel="DEBUG"'}),
    ],
    ids=["default", "said", "samconfig", "saved answers"],
)
def test_one_choice_reaches_build_and_deploy(
    project: Path, said: str | None, environment: str | None, chosen: str, others: set[str]
) -> None:
    assert deploy(said, environment, root=project, sam=sam(project)) == 0
    built, deployed = asked(project)
    assert built == ["build", "--parameter-overrides", f"Architecture={chosen}"]
    how = ["--config-env", environment] if environment else ["--guided"]
    assert deployed[: len(how) + 2] == ["deploy", *how, "--parameter-overrides"]
    assert set(deployed[len(how) + 2 :]) == {f'Architecture="{chosen}"', *others}
    assert architecture_of(project / BUILD) == chosen
    parameters = Template.load(project / BUILD / "template.yaml").body["Parameters"]
    assert parameters["Architecture"]["AllowedValues"] == [chosen]


def test_what_was_built_for_another_processor_is_not_sent(project: Path) -> None:
    with pytest.raises(Refused, match="built for arm64, not for x86_64"):
        deploy("x86_64", "prod", root=project, sam=sam(project, always="arm64"))
    assert [command[0] for command in asked(project)] == ["build"]


@pytest.mark.parametrize("name", ["arm64", "x86_64"])
def test_built_template_leaves_no_other_choice(tmp_path: Path, name: str) -> None:
    """A bare `sam deploy`, or an answer to its question, must not deploy the other one."""
    library(tmp_path / "CoreLayer" / "a.so", name)
    (tmp_path / "template.yaml").write_text(BUILT)
    for _ in range(2):
        finish_build.pin_architecture(tmp_path)
        parameters = Template.load(tmp_path / "template.yaml").body["Parameters"]
        assert (parameters["Architecture"]["Default"], parameters["Architecture"]["AllowedValues"]) == (name, [name])
        assert parameters["CleanupPaused"] == parameters["StreamDownloads"] == {"Type": "String"}


def test_build_for_several_processors_is_none_for_any(tmp_path: Path) -> None:
    library(tmp_path / "CoreLayer" / "a.so", "arm64")
    assert architecture_of(tmp_path) == "arm64"
    library(tmp_path / "ApiFunction" / "b.so", "x86_64")
    assert architecture_of(tmp_path) is None
    (tmp_path / "template.yaml").write_text(BUILT)
    with pytest.raises(ValueError, match="can't be made one"):
        finish_build.pin_architecture(tmp_path)


def test_libraries_of_this_interpreter_are_told_by_their_header() -> None:
    here = {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert architecture_of(Path(sys.prefix) / "lib") == here


def test_what_is_said_goes_before_what_is_written(template: Template) -> None:
    written = {"Architecture": "x86_64"}
    assert architecture("arm64", written, template) == "arm64"
    assert architecture(None, written, template) == "x86_64"
    assert architecture(None, {}, template) == "arm64"


@pytest.mark.parametrize("said", ["x86", "ARM64"])
def test_processor_that_lambda_lacks_is_refused(template: Template, said: str) -> None:
    with pytest.raises(Refused, match="arm64 or x86_64"):
        architecture(said, {}, template)


def test_environment_that_is_not_there_is_refused(project: Path) -> None:
    with pytest.raises(Refused, match="no environment staging; it has default, intel, prod"):
        deploy(None, "staging", root=project, sam=sam(project))
    assert not (project / "asked").exists()


def test_projects_own_environments_are_read() -> None:
    import tomllib  # noqa: PLC0415

    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert overrides_of(config, "prod")["LogRetentionDays"] == "90"
    assert overrides_of(config, "default") == {}


def test_make_passes_variable_on(tmp_path: Path) -> None:
    """The variable comes from the command line or the environment."""
    dry = ["make", "--dry-run", "--old-file", ".venv/.ready", "--old-file", ".tools/sam/.ready", "deploy"]
    ran = subprocess.run(
        [*dry, "CONFIG=prod"],
        cwd=ROOT,
        env=os.environ | {"ARCHITECTURE": "x86_64"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '--config-env "prod" --architecture "x86_64"' in ran.stdout
