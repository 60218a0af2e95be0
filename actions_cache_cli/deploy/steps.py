"""Runs the steps of a deploy: the build, `sam deploy` and the deployment check, each as a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from actions_cache_cli.terminal import WorkFailed
from dev.build.package import architecture_of
from dev.local.template import ROOT

SAM = ROOT / ".tools" / "sam" / "bin" / "sam"
SAMS_PYTHON = SAM.with_name("python")
FREE_BYTES = 2_000_000_000
"""Free space that a build wants: it takes a quarter of this, and its cache as much again."""
DEFAULT_ARCHITECTURE = "arm64"
CAPABILITIES = "CAPABILITY_IAM"

TRANSFORM = """
import json, logging, sys
from pathlib import Path
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

class NoPolicies:
    # The template names no managed policy of SAM's.
    load = staticmethod(dict)

logging.disable(logging.WARNING)
template = yaml_parse(Path(sys.argv[1]).read_text())
for resource in template["Resources"].values():
    for key in ("CodeUri", "ContentUri"):
        # The transform wants a place for the code, which only the deploy knows.
        if isinstance(resource.get("Properties", {}).get(key), str):
            resource["Properties"][key] = "s3://bucket/key"
values = {name: row.get("Default", "") for name, row in template["Parameters"].items()}
made = transform(template, values | {"AWS::Region": "us-east-1", "AWS::Partition": "aws"}, NoPolicies())
rows = {
    name: {"type": row["Type"], "condition": row.get("Condition"), "properties": row.get("Properties", {})}
    for name, row in made["Resources"].items()
}
print(json.dumps(rows))
"""
"""A script for sam's own interpreter, which has the transform; it prints what SAM makes of the template as JSON."""


class StepFailed(WorkFailed):
    """Raised when one of the steps fails; the message says which, and what to do."""


@dataclass(frozen=True)
class Steps:
    """The programs that a deploy runs.

    Args:
        say: Function that shows one line of a program's output.
        root: The checkout.
        build_command: The command that builds.
        sam: Path of the program `sam`.
    """

    say: Callable[[str], None]
    root: Path = ROOT
    build_command: Sequence[str] = field(default_factory=lambda: [str(ROOT / "dev" / "build" / "build.sh")])
    sam: str = str(SAM)

    def check_machine(self) -> None:
        """Check that this machine can build.

        Raises:
            StepFailed: Python 3.12 is missing, or too little disk space is free.
        """
        python = subprocess.run(
            [self.root / "dev" / "build" / "python312.sh"], capture_output=True, text=True, check=False
        )
        if python.returncode != 0:
            raise StepFailed(python.stderr.strip() or "Python 3.12, the functions' runtime, wasn't found")
        free = shutil.disk_usage(self.root).free
        if free < FREE_BYTES:
            raise StepFailed(
                f"{free / 1e9:.1f} GB are free where this checkout is, and a build wants {FREE_BYTES / 1e9:.0f} GB"
            )

    def made_of_template(self) -> dict[str, dict[str, Any]]:
        """Return type, condition and properties of each resource that SAM makes of the template.

        Raises:
            StepFailed: SAM can't read the template.
        """
        made = subprocess.run(
            [SAMS_PYTHON, "-c", TRANSFORM, self.root / "template.yaml"],
            env=os.environ | {"AWS_DEFAULT_REGION": "us-east-1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            reason = (made.stderr.strip() or "no reason given").splitlines()[-1]
            raise StepFailed(f"template.yaml can't be read: {reason}")
        resources: dict[str, dict[str, Any]] = json.loads(made.stdout)
        return resources

    def built_template(self, architecture: str) -> Path:
        base = self.root / ".aws-sam"
        place = base if architecture == DEFAULT_ARCHITECTURE else base / architecture
        return place / "build" / "template.yaml"

    def build(self, architecture: str) -> None:
        """Build for the architecture.

        Raises:
            StepFailed: The build fails.
        """
        if self._run([*self.build_command, architecture], {}, self.say) != 0:
            raise StepFailed("the build failed, as shown above; nothing was changed in your account")

    def deploy(
        self, stack: str, region: str, architecture: str, parameters: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Deploy what was built.

        Raises:
            StepFailed: The deploy fails, or the build is for another architecture.
        """
        self._refuse_other(architecture)
        command = [
            *(self.sam, "deploy", "--template-file", str(self.built_template(architecture))),
            *("--stack-name", stack, "--region", region, "--resolve-s3", "--s3-prefix", stack),
            *("--capabilities", CAPABILITIES, "--no-confirm-changeset", "--no-fail-on-empty-changeset"),
            "--no-progressbar",
            *("--parameter-overrides", *(f"{name}={quoted(value)}" for name, value in parameters.items())),
            *(("--tags", *(f"{name}={quoted(value)}" for name, value in tags.items())) if tags else ()),
        ]
        self.deploy_log.parent.mkdir(exist_ok=True)
        with self.deploy_log.open("w") as log:
            progress = Progress(self.say, log)
            if self._run(command, {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": region}, progress.hear) != 0:
                for line in progress.errors:
                    self.say(line)
                raise StepFailed(
                    f"the deploy failed (all that sam said is in {self.deploy_log.relative_to(self.root)})"
                )

    def _refuse_other(self, architecture: str) -> None:
        """Raise StepFailed if the build can't run on the processor that is deployed."""
        build = self.built_template(architecture).parent
        built = architecture_of(build)
        if built != architecture:
            raise StepFailed(
                f"{build} was built for {built or 'no single architecture'}, not for {architecture}; build it again"
            )

    def check(self, stack: str, region: str, url: str) -> None:
        """Run the deployment check, and show its lines.

        Raises:
            StepFailed: The check finds an error.
        """
        command = [sys.executable, "-m", "actions_cache_cli.deployment_check", "--stack", stack, "--url", url]
        if self._run(command, {"AWS_DEFAULT_REGION": region, "AWS_REGION": region}, self.say) != 0:
            raise StepFailed(
                "it is deployed, and the check found errors, above. A new distribution may take some minutes to be "
                f"everywhere; to check again: make verify-deployment STACK={stack}"
            )

    def checked(self, stack: str, region: str, url: str, token: str) -> list[Mapping[str, Any]]:
        """Run the deployment check with a job's token, and return its rows.

        Raises:
            StepFailed: The check couldn't run.
        """
        command = [sys.executable, "-m", "actions_cache_cli.deployment_check", "--json", "--stack", stack, "--url", url]
        lines: list[str] = []
        self._run(command, {"AWS_DEFAULT_REGION": region, "AWS_REGION": region, "TOKEN": token}, lines.append)
        try:
            # The lines before the document are for people.
            document = json.loads("\n".join(lines[lines.index("{") :]))
        except ValueError:
            raise StepFailed(
                f"the deployment check couldn't run: {lines[-1] if lines else 'it said nothing'}"
            ) from None
        rows: list[Mapping[str, Any]] = document["checks"]
        return rows

    @property
    def deploy_log(self) -> Path:
        return self.root / ".aws-sam" / "deploy.log"

    def _run(self, command: Sequence[str], environment: dict[str, str], hear: Callable[[str], None]) -> int:
        """Run a program, and hand over its output line by line."""
        with subprocess.Popen(
            command,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    hear(without_colours(line.rstrip("\n")).expandtabs())
            except BaseException:
                process.terminate()
                raise
        return process.returncode


@dataclass
class Progress:
    """Finds in sam's hundreds of lines how far it is and what went wrong, and logs all of them."""

    say: Callable[[str], None]
    log: TextIO
    done: int = 0
    said_at: float = field(default_factory=time.monotonic)
    errors: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        self.log.write(f"{line}\n")
        if line.startswith("Error:") or self.errors:
            self.errors.append(line)
        self.done += bool(ONE_DONE.match(line))
        if time.monotonic() - self.said_at > PROGRESS_SECONDS:
            self.said_at = time.monotonic()
            self.say(f"... {self.done} resources are done")


ONE_DONE = re.compile(r"(CREATE|UPDATE|DELETE)_COMPLETE\b")
PROGRESS_SECONDS = 10
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def without_colours(line: str) -> str:
    return COLOURS.sub("", line)


def quoted(value: str) -> str:
    """Quote the value as `sam deploy` splits its overrides: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-cli-command-reference-sam-deploy.html."""
    return '"' + value.replace('"', '\\"') + '"'
