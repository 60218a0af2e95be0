"""Tests how lines are shown and read, on a real pseudo-terminal."""

import os
import pty
import re
import select
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROGRAM = """
import sys
from actions_cache_cli.terminal import Stopped, Terminal
terminal = Terminal()
try:
    print("got", repr(terminal.ask("how much? ", (lambda text: f"<{text}>") if sys.argv[1] == "hint" else None)))
except Stopped:
    print("got the end")
except KeyboardInterrupt:
    print("got an interrupt")
"""


@contextmanager
def asked(how: str) -> Iterator[int]:
    """Yield the terminal's other side."""
    child, master = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, how])
    try:
        yield master
    finally:
        os.close(master)
        os.waitpid(child, 0)


def read_until(master: int, pattern: str, seconds: float = 10) -> str:
    text, end = "", time.monotonic() + seconds
    while not re.search(pattern, text):
        assert time.monotonic() < end, text
        if select.select([master], [], [], 0.1)[0]:
            try:
                text += os.read(master, 4096).decode()
            except OSError:
                break
    return text


@pytest.mark.parametrize("how", ["plain", "hint"])
@pytest.mark.parametrize(
    ("typed", "got"),
    [
        ("100\r", "got '100'"),
        (" 1x\x7f2 \r", "got '12'"),
        ("9\x155\r", "got '5'"),
        ("\r", "got ''"),
        ("\x04", "the end"),
    ],
)
def test_edited_line_is_read(how: str, typed: str, got: str) -> None:
    with asked(how) as master:
        read_until(master, "how much")
        os.write(master, typed.encode())
        assert got in read_until(master, r"got .+\n")


@pytest.mark.parametrize("how", ["plain", "hint"])
def test_early_input_answers_and_interrupt_ends_a_question(how: str) -> None:
    with asked(how) as master:
        os.write(master, b"100\r")
        assert "got '100'" in read_until(master, r"got .+\n")
    with asked(how) as master:
        read_until(master, "how much")
        os.write(master, b"5\x03")
        assert "got an interrupt" in read_until(master, r"got .+\n")


def test_hint_follows_each_key_and_a_paste() -> None:
    with asked("hint") as master:
        read_until(master, re.escape("<>"))
        for key, shown in ((b"1", "<1>"), (b"0", "<10>"), (b"\x7f", "<1>"), (b"\r", "got '1'")):
            os.write(master, key)
            read_until(master, re.escape(shown))
    with asked("hint") as master:
        read_until(master, "<>")
        os.write(master, b"50\r")
        assert "how much? 50  <50>" in read_until(master, "got '50'")


def test_terminal_is_restored() -> None:
    with asked("hint") as master:
        read_until(master, "<>")
        assert not termios.tcgetattr(master)[3] & termios.ECHO
        os.write(master, b"\x03")
        read_until(master, r"got .+\n")
        assert termios.tcgetattr(master)[3] & termios.ECHO


def test_foreign_text_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    from actions_cache_cli.terminal import Terminal  # noqa: PLC0415

    Terminal().say("a name \x1b[2Jof\r\x07 AWS's\nnext")
    assert capsys.readouterr().out == "a name \ufffd[2Jof\ufffd\ufffd AWS's\nnext\n"


def test_errors_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    from actions_cache_cli.terminal import CannotStart, Terminal, WorkFailed, exit_code  # noqa: PLC0415

    for error, code in ((CannotStart("no region"), 2), (WorkFailed("no region"), 1)):

        def fail(error: Exception = error) -> int:
            raise error

        assert exit_code(Terminal(), fail, str) == code
        assert capsys.readouterr() == ("", "error: no region\n")
