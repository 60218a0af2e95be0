"""Talks to the person who deploys or tries, and turns errors into exit codes.

Names from AWS and GitHub are others' text, so every line is made safe.
"""

import codecs
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import TextIO

from actions_cache_cli.doctor.report import printable

ERASE_LINE = "\r\x1b[K"
BACKSPACES, KILL, END_OF_INPUT, INTERRUPT = ("\x7f", "\b"), "\x15", "\x04", "\x03"


DONE, FAILED, CANNOT_START, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
"""Exit codes. 141 is what a shell shows for a program whose reader has gone (128 + SIGPIPE)."""
YES = ("y", "yes")


def use_aws_region() -> None:
    """Take the region from AWS_REGION, as the `aws` command does; boto3 reads AWS_DEFAULT_REGION only."""
    if region := os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = region


class CannotStart(Exception):
    """Raised before anything is changed, because something that was said can't be used or something is missing."""


class WorkFailed(Exception):
    """Raised when a step fails; the message says which, and what to do."""


class Stopped(Exception):
    """Raised when the input ends before a question is answered, or the answer is no."""


def exit_code(terminal: "Terminal", work: Callable[[], int], stopped: Callable[[], str], failed: str = "") -> int:
    """Do the work, say its error in words on standard error, and return the exit code.

    Args:
        terminal: Where an interruption is said.
        work: The work, which returns the exit code if nothing stops it.
        stopped: Returns what to say after an interruption: what it leaves, and how to go on.
        failed: What to add to the error of a step.
    """
    try:
        return work()
    except CannotStart as error:
        Terminal(sys.stderr).say(f"error: {error}")
        return CANNOT_START
    except WorkFailed as error:
        Terminal(sys.stderr).say(f"error: {error}{failed}")
        return FAILED
    except (Stopped, KeyboardInterrupt):
        terminal.say(f"\nstopped; {stopped()}")
        return INTERRUPTED


class Terminal:
    """A terminal, or a pipe, where somebody reads and perhaps answers.

    Args:
        out: Where lines are written; None for standard output.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    @property
    def is_interactive(self) -> bool:
        """Return whether somebody can answer."""
        return sys.stdin.isatty() and self._stream.isatty()

    def say(self, text: str = "") -> None:
        """Write lines, none of which can move the cursor or colour anything."""
        for line in text.split("\n"):
            self._write(f"{printable(line)}\n")

    def ask(self, prompt: str, hint: Callable[[str], str] | None = None) -> str:
        """Read one line.

        Args:
            prompt: Text before the cursor.
            hint: Function that returns what to show beside the text while it is typed.

        Raises:
            Stopped: The input ended.
        """
        prompt = printable(prompt)
        if hint is not None and self.is_interactive:
            return self._ask_with_hint(prompt, hint)
        self._write(prompt)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            line = "\N{REPLACEMENT CHARACTER}\n"  # which no question takes
        if not line:
            self._write("\n")
            raise Stopped
        return line.strip()

    def _ask_with_hint(self, prompt: str, hint: Callable[[str], str]) -> str:
        typed = ""
        with _each_key():
            self._draw(prompt, typed, hint)
            for key in _keys():
                if key in "\r\n":
                    self._draw(prompt, typed, hint)
                    self._write("\n")
                    return typed.strip()
                if key == INTERRUPT:
                    raise KeyboardInterrupt
                if key == END_OF_INPUT:
                    break
                if key in BACKSPACES:
                    typed = typed[:-1]
                elif key == KILL:
                    typed = ""
                elif key.isprintable():
                    typed += key
                self._draw(prompt, typed, hint)
        self._write("\n")
        raise Stopped

    def _draw(self, prompt: str, typed: str, hint: Callable[[str], str]) -> None:
        beside = printable(hint(typed.strip()))
        # The cursor goes back to the end of what was typed.
        back = f"\x1b[{len(beside) + 2}D" if beside else ""
        self._write(f"{ERASE_LINE}{prompt}{typed}{f'  {beside}' if beside else ''}{back}")

    @property
    def _stream(self) -> TextIO:
        return self._out or sys.stdout

    def _write(self, text: str) -> None:
        # The reader may be gone, which stops nothing that AWS does.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def _keys() -> Iterator[str]:
    """Read key by key until the input ends, and nothing ahead: what follows a line answers the next question."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while data := os.read(sys.stdin.fileno(), 1):
        yield from decoder.decode(data)


@contextlib.contextmanager
def _each_key() -> Iterator[None]:
    """Have keys as they are typed, and the terminal as it was afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        # Not by its default, which would drop what was typed before the question was asked.
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
