"""Each example of docs/operate/commands.md is run, in order, and must show the command's output."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from actions_cache.domain.access import GITHUB
from actions_cache.domain.budgets import Repository
from actions_cache.domain.refused_job import RefusedJob
from actions_cache_cli.__main__ import cli
from dev.clients.driver import name
from dev.local.template import ROOT
from tests.unit.cli.conftest import Operated, fail_merge

PAGE = ROOT / "docs" / "operate" / "commands.md"
HOUR = 3600
REFUSED = RefusedJob(GITHUB, "44", "beta/tool", "8", "beta", ("repository_owner_id=8",))
MODULES = b"modules " * 1_000_000


@dataclass(frozen=True)
class Example:
    command: str
    output: str

    @property
    def arguments(self) -> list[str]:
        return shlex.split(self.command)[1:]


def examples(page: str) -> list[Example]:
    found = []
    for block in re.findall(r"^```console[^\n]*\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for command, output in re.findall(r"^\$ (actions-cache .*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            found.append(Example(command, output))
    return found


def same_each_time(output: str) -> str:
    """Replace what differs each time: ids, moments, and the widths of columns."""
    for changing, word in {
        r"[0-9a-f]{32}": "ID",
        r"\b\d{13,16}\b": "NUMBER",
        r"\d{4}-\d\d-\d\d \d\d:\d\d": "MOMENT",
        r"\d{4}-\d\d-\d\dT[\d:.]+Z": "INSTANT",
        " +": " ",
    }.items():
        output = re.sub(changing, word, output)
    return output


@pytest.fixture
def day(operated: Operated) -> Operated:
    """Prepare the data of an operator's day."""
    driver = operated.driver
    for repository, called in (("42", "acme/app"), ("43", "acme/lib")):
        driver.services.repositories.note(Repository(repository, called, driver.clock.now()))
    driver.clock.advance(-4 * HOUR)
    driver.save(name("npm-1"), MODULES)
    driver.clock.advance(2 * HOUR)
    driver.save(name("npm-2"), MODULES + b"and more")
    driver.clock.advance(2 * HOUR)
    damaged = driver.save(name("pip-1"), b"a wheel")
    driver.overwrite(driver.archive(damaged.archive_id).object.key, b"a whale")
    driver.save(name("go-1", repository="43"), b"a module")
    for number in range(2):
        driver.services.bucket.write_once(f"archives/{'0' * 32}/parts/blob/{number}", b"nobody's")
    fail_merge(operated, "cargo-1")
    for keys in (("pip-2",), ("pip-3",), ("npm-3", "npm-"), ("npm-2",)):
        driver.look_up(*keys)
    operated.refuse("repository_owner_id=7", REFUSED)
    return operated


def test_page_examples_match_the_output(day: Operated, tmp_path: Path):
    page = shown = PAGE.read_text()
    for example in examples(page):
        out = day.run(*example.arguments).out
        if same_each_time(out) != same_each_time(example.output):
            shown = shown.replace(f"$ {example.command}\n{example.output}", f"$ {example.command}\n{out}", 1)
    (tmp_path / "operator.md").write_text(shown)
    assert shown == page, f"what the commands show now stands in {tmp_path}/operator.md"


def test_page_names_each_command():
    page = PAGE.read_text()
    lines = [item.arguments for item in examples(page)]
    commands = {words[0] for words in lines} | {" ".join(words[:2]) for words in lines}
    commands |= set(re.findall(r"`((?:dlq )?[a-z]+)[ `]", page))
    wanted = set()
    for command, found in cli.commands.items():
        group = getattr(found, "commands", {})
        wanted |= {f"{command} {name}" for name, sub in group.items() if not sub.hidden} or {command}
    assert wanted - commands == {"doctor"}, "which runners.md shows"
