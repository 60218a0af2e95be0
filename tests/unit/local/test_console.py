"""Tests that output which nobody reads holds nothing up."""

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from dev.local import console
from dev.local.console import mention, say


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def fill(writer: int) -> None:
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)


def test_a_line_is_printable_and_whole(pipe: tuple[int, int]):
    reader, writer = pipe
    mention("one\ntwo \x1b[2J", writer)
    assert os.read(reader, 100).decode() == "one\ufffdtwo \ufffd[2J\n"


def test_a_full_pipe_loses_what_is_mentioned_at_once(pipe: tuple[int, int]):
    fill(pipe[1])
    began = time.monotonic()
    mention("lost", pipe[1])
    assert time.monotonic() - began < 0.5


def test_a_full_pipe_holds_up_what_is_said_but_briefly(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    fill(pipe[1])
    monkeypatch.setattr(console, "STDOUT", pipe[1])
    began = time.monotonic()
    say("lost")
    assert 0.9 < time.monotonic() - began < 5


def test_a_reader_that_is_gone_stops_nothing(pipe: tuple[int, int]):
    os.close(pipe[0])
    mention("lost", pipe[1])
