"""Builds and deploys (`make deploy`), with one choice of the architecture for both.

`sam build` and `sam deploy` each take parameters of their own, and functions can't start on another processor than they
were built for. The architecture is the command's, else the one that samconfig.toml has for the deploy, else the
template's default.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.template import ROOT, Template
from scripts.check_build import architecture_of

SAM = ROOT / ".tools" / "sam" / "bin" / "sam"
BUILD = Path(".aws-sam", "build")
PARAMETER = "Architecture"
DEFAULT_ENVIRONMENT = "default"


class Refused(Exception):
    """Raised when nothing was sent. The message says why, and what to do."""


def overrides_of(config: Mapping[str, Any], environment: str) -> dict[str, str]:
    """Return the parameters that samconfig.toml sets for `sam deploy`, in either of its two forms."""
    of_environment = config.get(environment, {})
    for command in ("deploy", "global"):
        found = of_environment.get(command, {}).get("parameters", {}).get("parameter_overrides")
        if found is not None:
            words = shlex.split(found) if isinstance(found, str) else found
            return dict(_pair(word) for word in words)
    return {}


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value.strip('"')


def architecture(asked: str | None, overrides: Mapping[str, str], template: Template) -> str:
    """Return the architecture to build and deploy.

    Raises:
        Refused: there is no such architecture.
    """
    parameter = template.body["Parameters"][PARAMETER]
    chosen = asked or overrides.get(PARAMETER) or parameter["Default"]
    if chosen not in parameter["AllowedValues"]:
        raise Refused(f"{PARAMETER} is {chosen!r}; it can be {' or '.join(parameter['AllowedValues'])}")
    return str(chosen)


def build_command(sam: Path, chosen: str) -> list[str]:
    return [str(sam), "build", "--parameter-overrides", f"{PARAMETER}={chosen}"]


def deploy_command(sam: Path, environment: str | None, overrides: Mapping[str, str], chosen: str) -> list[str]:
    """Return the command. It repeats samconfig.toml's parameters, since those on a command line replace them all."""
    told = {**overrides, PARAMETER: chosen}
    how = ["--config-env", environment] if environment else ["--guided"]
    return [str(sam), "deploy", *how, "--parameter-overrides", *(f'{name}="{value}"' for name, value in told.items())]


def refuse_other(build: Path, chosen: str) -> None:
    """Check that the build can run where it is deployed.

    Raises:
        Refused: it was built for another architecture.
    """
    built = architecture_of(build)
    if built != chosen:
        raise Refused(f"{build} was built for {built or 'no single architecture'}, not for {chosen}; build it again")


def deploy(asked: str | None, environment: str | None, *, root: Path = ROOT, sam: Path = SAM) -> int:
    """Build and deploy.

    Returns:
        The exit code of the command that failed, or 0.

    Raises:
        Refused: nothing was sent.
    """
    config = tomllib.loads((root / "samconfig.toml").read_text())
    if environment is not None and environment not in config:
        raise Refused(
            f"samconfig.toml has no environment {environment}; it has {', '.join(sorted(set(config) - {'version'}))}"
        )
    overrides = overrides_of(config, environment or DEFAULT_ENVIRONMENT)
    chosen = architecture(asked, overrides, Template.load())
    python312 = _output(ROOT / "scripts" / "python312.sh")
    variables = os.environ | {
        "PATH": f"{Path(python312).parent}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        # SAM wants a region even where it asks AWS nothing.
        "AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    }
    finish = [python312, "-m", "scripts.finish_build", str(root / BUILD)]
    for command, directory in ((build_command(sam, chosen), root), (finish, ROOT)):
        if code := subprocess.run(command, cwd=directory, env=variables, check=False).returncode:
            return code
    refuse_other(root / BUILD, chosen)
    command = deploy_command(sam, environment, overrides, chosen)
    return subprocess.run(command, cwd=root, env=variables, check=False).returncode


def _output(command: Path) -> str:
    return subprocess.run([command], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="deploy", description=__doc__)
    parser.add_argument("--architecture", help="arm64 or x86_64; default: samconfig.toml's, else the template's")
    parser.add_argument("--config-env", help="an environment of samconfig.toml; without it each parameter is asked for")
    options = parser.parse_args(arguments)
    try:
        return deploy(options.architecture or None, options.config_env or None)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        return int(failed.returncode)


if __name__ == "__main__":
    sys.exit(main())
