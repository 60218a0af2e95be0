"""All commands share their options and exit codes, and their output fits terminals and pipes."""

import fcntl
import os
import re
import shlex
import struct
import subprocess
import sys
import termios
import tomllib
from collections.abc import Iterator
from typing import Any

import boto3
import click
import pytest
from rich.cells import cell_len

from actions_cache.domain.budgets import Repository, Usage
from actions_cache_cli import target
from actions_cache_cli.__main__ import cli, main
from actions_cache_cli.doctor.__main__ import main as run_doctor
from actions_cache_cli.terminal import UNREAD, use_aws_region
from dev.clients.driver import name
from dev.local.template import ROOT
from tests.unit.cli.conftest import Operated, fail_merge, process

CHANGES = {"delete", "reconcile", "verify", "dlq redrive", "dlq replay"}
WITHOUT_SERVER = {"completion", "doctor"}


def leaves(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *path, word)
        else:
            yield " ".join([*path, word]), command


def test_commands_share_their_options():
    common, changing = {"--stack", "--local", "--json", "--wide"}, {"--yes", "--dry-run", "-n"}
    for called, command in leaves(cli):
        options = {option for parameter in command.params for option in parameter.opts}
        assert common & options == (set() if called in WITHOUT_SERVER else common), called
        assert changing & options == (changing if called in CHANGES else set()), called


def help_of(*command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*command, "--help"]) == 0
    return capsys.readouterr().out


def test_help_is_one_page_with_examples_that_parse(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "80")
    for called, command in leaves(cli):
        if called in WITHOUT_SERVER:
            continue
        lines = help_of(*called.split(), capsys=capsys).splitlines()
        assert len(lines) <= 50, called
        assert max(map(len, lines)) <= 80, called
        examples = [shlex.split(line)[1:] for line in lines if line.startswith("    actions-cache ")]
        assert examples, called
        for words in examples:
            own = words[: words.index("|")] if "|" in words else words
            assert own[: len(called.split())] == called.replace("replay", "redrive").split()
            command.make_context(called, own[len(called.split()) :])


def names_of(document: Any) -> set[str]:
    """Return the names of all fields, without the two numbers below `counted` and `stored`."""
    if isinstance(document, list):
        return {name for item in document for name in names_of(item)}
    if not isinstance(document, dict) or document.keys() == {"entries", "bytes"}:
        return set()
    return {*document, *(name for item in document.values() for name in names_of(item))}


def test_help_names_each_field_of_the_json(operated: Operated, capsys: pytest.CaptureFixture[str]):
    driver = operated.driver
    entry = driver.save(name("npm-1"), b"modules")
    driver.overwrite(driver.archive(entry.archive_id).object.key, b"mODULES")
    driver.services.bucket.write_once(f"archives/{'0' * 32}/parts/blob/0", b"nobody's")
    driver.services.repositories.note(Repository("42", None, 0))
    driver.services.repositories.correct_usage("42", Usage(1_000, 3))
    fail_merge(operated, "cargo-1")
    for command in (["verify"], ["reconcile"], ["dlq", "show"], ["dlq", "redrive"]):
        fields = names_of(operated.run.json(*command, code=1))
        said = help_of(*command, capsys=capsys).partition("JSON: ")[2]
        assert fields - set(re.findall(r"\w+", said)) == set()


def test_programs_say_their_version(capsys: pytest.CaptureFixture[str]):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"actions-cache {version}\n"
    with pytest.raises(SystemExit, match="0"):
        run_doctor(["--version"])
    assert capsys.readouterr().out == f"actions-cache-doctor {version}\n"


def test_usage_errors_say_what_to_write(capsys: pytest.CaptureFixture[str]):
    for arguments, said in {
        ("delete", "acme/app", "--key", "k", "--yes", "-n"): "--yes and --dry-run contradict each other",
        ("list", "acme/app", "--ref"): "--ref '#118'",
    }.items():
        assert main(arguments) == 2
        assert said in capsys.readouterr().err


def test_exit_code_says_whether_a_problem_is_left(operated: Operated):
    driver = operated.driver
    codes = {}

    def exits(*arguments: str) -> int:
        codes[arguments] = operated.run(*arguments).code
        return codes[arguments]

    assert exits("verify") == exits("reconcile") == exits("dlq", "show") == exits("dlq", "redrive") == 0
    entry = driver.save(name("npm-1"), b"modules")
    driver.overwrite(driver.archive(entry.archive_id).object.key, b"mODULES")
    driver.services.bucket.write_once(f"archives/{'0' * 32}/parts/blob/0", b"nobody's")
    fail_merge(operated, "cargo-1")
    assert exits("verify") == exits("verify", "--repair", "--dry-run") == exits("reconcile", "-n") == 1
    assert exits("dlq", "show") == exits("dlq", "redrive") == 1
    assert exits("verify", "--repair", "--yes") == exits("reconcile", "--yes") == exits("dlq", "redrive", "--yes") == 0
    assert exits("verify") == exits("reconcile") == exits("dlq", "show") == 0


def on_terminal(columns: int, *arguments: str) -> str:
    """Run a command on a terminal of this width, and return what is written there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "actions_cache_cli", *arguments]
    # COLUMNS would win over the terminal's own width.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=subprocess.DEVNULL) as running:
        os.close(theirs)
        written = b""
        try:
            while chunk := os.read(ours, 65536):
                written += chunk
        except OSError:
            pass  # the terminal's other end is closed
        assert running.wait() == 0
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def test_terminal_gets_cut_lines_and_pipe_whole_ones(operated: Operated, monkeypatch: pytest.MonkeyPatch):
    key, ref = "npm-" + "k" * 508, "refs/heads/" + "b" * 100
    operated.driver.services.repositories.note(Repository("42", "acme/app", operated.driver.clock.now()))
    operated.driver.save(name(key, scope=ref), b"data")
    cut = on_terminal(90, "list", "acme/app", "--local")
    assert max(map(cell_len, cut.splitlines())) == 90
    whole = process("list", "acme/app", "--local").out
    assert {key, ref} <= set(whole.split())
    assert "\x1b" not in whole
    monkeypatch.setattr(target, "terminal_width", lambda: 90)
    assert operated.run("list", "acme/app").out == cut
    assert operated.run("list", "acme/app", "--wide").out == whole


def test_closed_pipe_is_no_trouble(operated: Operated):
    command = [sys.executable, "-m", "actions_cache_cli", "usage", "--local"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == UNREAD


@pytest.mark.parametrize(
    ("region", "default", "used"),
    [("eu-west-1", None, "eu-west-1"), ("eu-west-1", "us-east-2", "eu-west-1"), (None, "us-east-2", "us-east-2")],
)
def test_region_is_the_one_that_the_aws_command_takes(monkeypatch, region, default, used):
    for variable, value in (("AWS_REGION", region), ("AWS_DEFAULT_REGION", default)):
        monkeypatch.setenv(variable, value or "")
    use_aws_region()
    assert boto3.Session().region_name == used
