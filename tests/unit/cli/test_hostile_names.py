"""No command sends names that jobs and strangers chose to a terminal unescaped."""

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable

import pytest

from actions_cache.domain.budgets import Repository
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache_cli.console import CommandFailed, Output
from actions_cache_cli.deployment_check import __main__ as report
from actions_cache_cli.deployment_check.check import Check, Failed, run
from actions_cache_cli.doctor.report import REPLACEMENT, as_json, printable, trouble
from dev.clients.driver import REPOSITORY
from dev.demo.screen import Screen
from dev.local import console
from dev.local.template import ROOT
from tests.unit.cli.conftest import Operated

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x08\r\x7f\x9b31m\u202egnp\u2066\u200f\u2028\u061c\x00\ttail"
"""Escape sequences of both kinds, direction marks, and unusual line breaks."""
HALF = "\ud83d"
NEW_LINE = "\n::stop-commands::x"


def harmful(text: str) -> set[str]:
    """Return the characters that a terminal obeys, or that reorder text."""
    return {item for item in text if item != "\n" and unicodedata.category(item) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.mark.parametrize("text", [HOSTILE, HALF, NEW_LINE, "plain ä 日本 🎉", "", "\U000e0001", '"\\'])
def test_printable_text_and_json_hold_nothing_harmful(text: str):
    shown, written = printable(text), as_json({"key": text, text: [text]})
    assert harmful(shown) == harmful(written) == set()
    assert "\n" not in shown
    assert [item for item in shown if item != REPLACEMENT] == [item for item in text if item.isprintable()]
    assert printable(text, keeps_lines=True).count("\n") == text.count("\n")
    assert json.loads(written) == {"key": text, text: [text]}
    written.encode()


@pytest.fixture
def hostile(operated: Operated) -> Operated:
    """Provide an attacker's repository, refs, versions and keys, stored without any check."""
    driver = operated.driver
    for ref in ("refs/heads/main", f"refs/heads/{HOSTILE}"):
        for version in ("v" * 64, HOSTILE):
            driver.save(EntryName(EntryFamily(REPOSITORY, ref, version), f"key-{HOSTILE}{NEW_LINE}"), b"data")
    driver.services.repositories.note(Repository(REPOSITORY, f"acme/{HOSTILE}", 0))
    return operated


COMMANDS = [
    ["list", REPOSITORY],
    ["match", REPOSITORY, f"key-{HOSTILE}{NEW_LINE}", "--ref", "refs/heads/main"],
    ["match", REPOSITORY, "key-", f"other-{HOSTILE}", "--ref", f"refs/heads/{HOSTILE}"],
    ["match", REPOSITORY, f"none-{HOSTILE}", "--ref", HOSTILE, "--version", HOSTILE],
    ["usage"],
    ["usage", REPOSITORY],
    ["usage", HOSTILE],
    ["families", REPOSITORY],
    ["delete", REPOSITORY, "--key-prefix", "key-"],
    ["delete", REPOSITORY, "--key", HOSTILE],
    ["delete", HOSTILE, "--id", "1"],
    ["delete", REPOSITORY, "--older-than", HOSTILE],
    ["verify"],
    ["reconcile"],
    ["dlq", "show"],
    ["delete", REPOSITORY, "--key-prefix", "key-", "--yes"],
]


def test_commands_escape_hostile_names(hostile: Operated, monkeypatch: pytest.MonkeyPatch):
    hostile.driver.sqs.send_message(QueueUrl=hostile.dead_letter_queue_url, MessageBody="odd \x85 \u202e x")
    for arguments in COMMANDS:
        answer = hostile.run(*[argument.replace("\x00", "") for argument in arguments])
        assert harmful(answer.out + answer.err) == set(), arguments
        assert "::stop-commands::" not in [line[:17] for line in answer.out.splitlines()], arguments
        if "--yes" not in arguments:
            as_document = hostile.run(*[argument.replace("\x00", "") for argument in arguments], "--json")
            assert harmful(as_document.out + as_document.err) == set(), arguments


def refuse(_: object) -> str:
    raise Failed(f"the server says {HOSTILE}{HALF}{NEW_LINE}")


def by_verification() -> None:
    result = run(Check("a title", refuse), None)  # type: ignore[arg-type]
    sys.stdout.write(report.line(result) + "\n" + report.results_as_json(f"https://{HOSTILE}/", [result]) + "\n")


PRINTERS: dict[str, Callable[[], None]] = {
    "the local run": lambda: console.say(HOSTILE + HALF),
    "the local run's errors": lambda: console.complain(HOSTILE),
    "the demo": lambda: Screen().failure(f"[red]{HOSTILE}", [HOSTILE + HALF]),
    "the doctor": lambda: print(trouble("t", HOSTILE + HALF, HOSTILE + NEW_LINE).text),  # noqa: T201 - as the doctor does
    "the deployment check": by_verification,
    "an operator's line": lambda: Output(as_json=False).say(HOSTILE + HALF),
    "an operator's error": lambda: CommandFailed(HOSTILE + HALF + NEW_LINE).show(),
}


@pytest.mark.parametrize("show", PRINTERS.values(), ids=PRINTERS)
def test_every_printer_escapes_text(capfd: pytest.CaptureFixture[str], show: Callable[[], None]):
    show()
    out, err = capfd.readouterr()
    assert "tail" in out + err
    assert harmful(out + err) == set()


PRINTS = re.compile(r"\b(?:print|click\.echo|console\.print)\(|\bstd(?:out|err)\.write\(|\bos\.write\(")
SAFE = re.compile(r"printable\(|one_line\(|as_json\(|summary\(|markup=|print\(file\)|\"stopped")


OWN_WORDS = {
    "dev/demo/screen.py": 4,
    "dev/eviction/__main__.py": 1,
    "dev/mutants/__main__.py": 4,
    "actions_cache_cli/console.py": 1,
    "actions_cache_cli/doctor/__main__.py": 3,
    "actions_cache_cli/doctor/runner.py": 2,
    "dev/local/triggers.py": 1,
    "dev/local/lambda_runtime.py": 1,
    "dev/build/package.py": 3,
    "dev/docs/clients_page.py": 1,
    "dev/cost/cost.py": 2,
    "dev/scale/__main__.py": 1,
    "actions_cache_cli/deploy/steps.py": 1,
    "dev/build/edge.py": 1,
    "dev/docs/record_demo.py": 2,
    "dev/sam_local/serve.py": 1,
    "dev/docs/demo/__main__.py": 1,
    "dev/docs/screenshots.py": 1,
    "actions_cache_cli/try_on_aws/__main__.py": 1,
    "actions_cache_cli/deployment_check/__main__.py": 2,
}
"""Lines of a file that print without `printable`: its own words, and text that is printable already."""


def test_every_print_is_reviewed():
    """A new line that prints is reviewed: text that others had a say in goes through `printable`."""
    found = Counter(
        str(path.relative_to(ROOT))
        for folder in ("actions_cache_cli", "dev")
        for path in (ROOT / folder).rglob("*.py")
        if path.parent.name != "bench"  # prints figures alone
        for line in path.read_text().splitlines()
        if PRINTS.search(line) and not SAFE.search(line)
    )
    assert found == OWN_WORDS
