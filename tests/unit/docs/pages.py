"""The pages that people read: their links, and the commands that they show."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev.local.template import ROOT

PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md") for path in ROOT.glob(pattern))

NEEDS = {
    "aws": "an AWS account, with a stack or to put one into",
    "runner": "a runner: its machine, its cluster, or Terraform that makes it",
    "local-run": "a server that `make run` started",
    "minutes": "more time than the tests take, or the network",
    "key": "the reader's secret",
}
"""Maps a word after the language in a block's fence to what its commands need and the tests lack. GitHub shows none of
these words, so nobody copies them."""

SHELLS = ("console", "sh", "bash", "shell")

_BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+# (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    page: str
    text: str
    """Command in one line, without its comments."""
    comments: tuple[str, ...]
    needs: tuple[str, ...]
    """Needs named in the fence of the command's block."""


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    needs: tuple[str, ...]
    commands: tuple[Command, ...]


def blocks(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks. In `console` each `$` starts a command, with its continuation lines; in `sh` each line does."""
    for indent, language, words, block in _BLOCK.findall(text):
        lines = [line.removeprefix(indent) for line in block.splitlines()]
        typed = list(_after_prompts(lines)) if language == "console" else []
        if language in SHELLS[1:]:
            typed = [line for line in lines if line.strip() and not line.startswith("#")]
        needs = tuple(words.split())
        yield Block(page, language, needs, tuple(_command(page, text, needs) for text in typed))


def _after_prompts(lines: list[str]) -> Iterator[str]:
    """Yield the commands. An indented line, or one after a backslash, continues a command; the rest is its output."""
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


def _command(page: str, typed: str, needs: tuple[str, ...]) -> Command:
    text = _COMMENT.sub("", typed)
    return Command(page, " ".join(text.replace("\\\n", " ").split()), tuple(_COMMENT.findall(typed)), needs)


def read(path: Path) -> tuple[str, str]:
    return str(path.relative_to(ROOT)), path.read_text()


def all_blocks() -> list[Block]:
    return [block for path in PAGES for block in blocks(*read(path))]


def commands(page: str, text: str) -> list[Command]:
    return [command for block in blocks(page, text) for command in block.commands]
