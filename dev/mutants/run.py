"""Run tests on mutants, each in a copy of the checkout, which itself stays as it is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest

from dev.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]

ENVIRONMENTS = (
    *(".venv", ".tools"),
    *(f"{directory}/node_modules" for directory in ("dev/clients", "tests/integration/edge", "tests/e2e/page")),
)
"""Directories that copies share with the checkout, since no mutant is in them."""

TEST_SECONDS = 240
"""Timeout of one test. Longer: a mutant that hangs is noticed later. Shorter: tests on a busy machine fail by it."""

OPTIONS = ("--exitfirst", "--quiet", "--tb=short", "--color=no", f"--timeout={TEST_SECONDS}", "-pno:cacheprovider")
"""Options of every run of pytest."""

COMMON_IMPORTS = (
    *("aiohttp", "aws_lambda_powertools", "boto3", "fastapi", "google.protobuf.json_format", "jwt", "mangum"),
    *("moto.dynamodb.responses", "moto.s3.responses", "moto.sqs.responses", "pydantic_settings", "pynamodb.models"),
)
"""Packages that most tests import, which takes seconds. They are imported once, and each run is a fork that has them.
More: fewer seconds for each run. Fewer: it starts sooner."""

OURS = frozenset({"actions_cache", "actions_cache_cli", "dev", "functions", "tests"})
"""Packages that a run imports from its copy."""

_FIRST_FAILURE = re.compile(r"^(FAILED|ERROR) ([^\[\s]+(?:\[.*?\])?)(?: - (.*))?$", re.MULTILINE)
"""A line of pytest's summary."""

_NO_VERDICTS = re.compile(r"Failed: Timeout|(?:Name|Import|ModuleNotFound|Syntax|UnboundLocal)Error\b")
"""Beginnings of failures that say nothing of the rule: the test was too slow, or the mutant is no program."""


class Verdict(StrEnum):
    KILLED = "killed"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """The tests didn't run to a verdict, so the mutant shows nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    mutant: Mutant
    verdict: Verdict
    why: str
    """The first test that failed, or what went wrong."""


class NotGreen(Exception):
    """Raised when tests fail on the product as it is: they would fail on any mutant. The message is their output."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the checkout."""

    root: Path
    scratch: Path
    """Directory for temporary files of the tests, which they empty."""
    output: Path
    """File with what the last run printed."""

    @classmethod
    def in_directory(cls, directory: Path) -> "Copy":
        return cls(directory / "copy", directory / "scratch", directory / "output")

    @classmethod
    def made_in(cls, directory: Path) -> "Copy":
        """Return a copy of what Git tracks or would track, as it is in the checkout, with links to the environments."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        copy = cls.in_directory(directory)
        for file in filter(None, listed.split("\0")):
            if (ROOT / file).is_file():
                (copy.root / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, copy.root / file)
        for environment in ENVIRONMENTS:
            if (ROOT / environment).exists():
                (copy.root / environment).symlink_to(ROOT / environment)
        return copy

    def copied_to(self, directory: Path) -> "Copy":
        """Return another copy, which needn't compile again what this one has compiled."""
        copy = Copy.in_directory(directory)
        shutil.copytree(self.root, copy.root, symlinks=True)
        return copy

    def check_is_green(self, tests: Sequence[str], processes: int) -> None:
        """Run all tests on the product as it is, which compiles it, too.

        Raises:
            NotGreen: some fail.
        """
        command = [sys.executable, "-m", "pytest", *OPTIONS, f"--numprocesses={processes}", "--dist=loadfile"]
        command += ["--maxfail=0", f"--basetemp={self.scratch}", *tests]
        run = subprocess.run(command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if run.returncode != 0:
            raise NotGreen(run.stdout.decode(errors="replace"))

    def start(self, mutant: Mutant) -> int:
        """Put the defect in, start the mutant's tests, and return their process."""
        (self.root / mutant.file).write_text(mutant.text(self.root))
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            self._run(mutant.tests)
        return process

    def end(self, mutant: Mutant, code: int) -> Result:
        """Take the defect out again, and return what the tests say."""
        shutil.copy2(ROOT / mutant.file, self.root / mutant.file)
        return Result(mutant, *read_verdict(code, self.output.read_text(errors="replace")))

    def _run(self, tests: Sequence[str]) -> NoReturn:
        """Run tests in this process, a fork, as pytest would in one of its own."""
        code = int(pytest.ExitCode.INTERNAL_ERROR)
        try:
            output = os.open(self.output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(output, sys.stdout.fileno())
            os.dup2(output, sys.stderr.fileno())
            os.chdir(self.root)
            for module in [name for name in sys.modules if name.partition(".")[0] in OURS]:
                del sys.modules[module]
            sys.path[:] = [
                str(self.root),
                *(path for path in sys.path if Path(path) not in (ROOT, ROOT / "layers/core")),
            ]
            # Wide enough for pytest to print each failure's first words behind the test's name.
            os.environ["COLUMNS"] = "1000"
            sys.dont_write_bytecode = True
            # Some of the common imports are plugins of pytest, too, whose asserts explain nothing then.
            ignored = "-Wignore::pytest.PytestAssertRewriteWarning"
            code = int(pytest.main([*OPTIONS, ignored, f"--basetemp={self.scratch}", *tests]))
            sys.stdout.flush()
        finally:
            os._exit(code)


def read_verdict(code: int, output: str) -> tuple[Verdict, str]:
    """Return what pytest's exit code and output say of a mutant, and why."""
    if code == 0:
        return Verdict.SURVIVED, "no test failed"
    found = _FIRST_FAILURE.search(output)
    if code != 1 or found is None:
        return Verdict.BROKEN, output.strip().rpartition("\n")[2] or f"pytest ended with {code}"
    kind, test, message = found.groups()
    if kind == "ERROR" or _NO_VERDICTS.match(message or ""):
        return Verdict.BROKEN, f"{test}: {message}"
    return Verdict.KILLED, test


def judge_all(mutants: Sequence[Mutant], directory: Path, workers: int) -> Iterator[Result]:
    """Yield each mutant's result as soon as it is there.

    The calling process may have no other thread, since it is forked.

    Args:
        mutants: the mutants.
        directory: an empty directory for the copies.
        workers: how many mutants are judged at the same time, each in a copy of its own.

    Raises:
        NotGreen: the mutants' tests fail without any mutant.
    """
    first = Copy.made_in(directory / "0")
    first.check_is_green(sorted({test for mutant in mutants for test in mutant.tests}), workers)
    free = [first, *(first.copied_to(directory / str(number)) for number in range(1, workers))]
    for package in COMMON_IMPORTS:
        import_module(package)
    waiting = list(reversed(mutants))
    running: dict[int, tuple[Copy, Mutant]] = {}
    while waiting or running:
        while waiting and free:
            copy, mutant = free.pop(), waiting.pop()
            running[copy.start(mutant)] = copy, mutant
        process, status = os.wait()
        copy, mutant = running.pop(process)
        yield copy.end(mutant, os.waitstatus_to_exitcode(status))
        free.append(copy)
