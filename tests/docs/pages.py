"""The pages that people read: their links, and the commands that they show."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.template import ROOT

PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))

MARKS = ("AWS", "runner", "key", "peer", "long")
"""What a command may be marked with, in a comment at its end: it needs an AWS account, a runner, a secret of the
reader's, another cache server's database, or minutes, as whatever needs a local run that stands."""

_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+# (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    page: str
    text: str
    """Without its comments, in one line."""
    comments: tuple[str, ...]

    @property
    def mark(self) -> str | None:
        return next((mark for comment in self.comments for mark in MARKS if re.match(rf"{mark}\b", comment)), None)


def commands(page: str, text: str) -> Iterator[Command]:
    """Of its blocks of `console`, what stands after each `$`, with its continuation lines; of `sh`, each line."""
    for indent, language, block in _BLOCK.findall(text):
        lines = [line.removeprefix(indent) for line in block.splitlines()]
        if language == "console":
            yield from (_command(page, it) for it in _after_prompts(lines))
        elif language in ("sh", "bash", "shell"):
            yield from (_command(page, line) for line in lines if line.strip() and not line.startswith("#"))


def _after_prompts(lines: list[str]) -> Iterator[str]:
    """What is indented, or follows a backslash, goes on with the command; all else is what it says."""
    typed: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            if typed:
                yield "\n".join(typed)
            typed = [line[2:]]
        elif typed and line.startswith("  "):
            typed.append(line.strip())
        elif typed:
            yield "\n".join(typed)
            typed = []
    if typed:
        yield "\n".join(typed)


def _command(page: str, typed: str) -> Command:
    text = _COMMENT.sub("", typed)
    return Command(page, " ".join(text.replace("\\\n", " ").split()), tuple(_COMMENT.findall(typed)))


def read(path: Path) -> tuple[str, str]:
    return str(path.relative_to(ROOT)), path.read_text()


def all_commands() -> list[Command]:
    return [command for path in PAGES for command in commands(*read(path))]
