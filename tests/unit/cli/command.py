"""Commands as their user types them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from actions_cache_cli.__main__ import main
from dev.local.template import ROOT


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """All of standard output is one."""
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


@dataclass(frozen=True)
class Run:
    """In this process, since each one of its own takes a second or two to begin; `process` is the real thing."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Answer:
        self.capsys.readouterr()
        code = main([*arguments, "--local"])
        out, err = self.capsys.readouterr()
        return Answer(code, out, err)

    def json(self, *arguments: str, code: int = 0) -> Any:
        answer = self(*arguments, "--json")
        assert answer.code == code, answer
        return answer.document


def process(*arguments: str, **variables: str) -> Answer:
    """With the variables that the test has set."""
    done = subprocess.run(
        [sys.executable, "-m", "actions_cache_cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
