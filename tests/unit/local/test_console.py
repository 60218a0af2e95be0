"""Tests the lines of the run's terminal, whatever stands in the server's log and whoever reads them."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actions_cache import events
from actions_cache.events import MissReason
from dev.local import console
from dev.local.console import MAX_BYTES, MAX_LINES, NOTHING_SAVED, Activity, mention, say


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


def test_line_is_printable(pipe: tuple[int, int]):
    reader, writer = pipe
    mention("one\ntwo \x1b[2J", writer)
    assert os.read(reader, 100).decode() == "one\ufffdtwo \ufffd[2J\n"


def test_full_pipe_loses_a_mention_at_once(pipe: tuple[int, int]):
    fill(pipe[1])
    began = time.monotonic()
    mention("lost", pipe[1])
    assert time.monotonic() - began < 0.5


def test_full_pipe_holds_up_a_line_briefly(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    fill(pipe[1])
    monkeypatch.setattr(console, "STDOUT", pipe[1])
    began = time.monotonic()
    say("lost")
    assert 0.9 < time.monotonic() - began < 5


def test_closed_pipe_raises_nothing(pipe: tuple[int, int]):
    os.close(pipe[0])
    mention("lost", pipe[1])


# ------------------------------------------------------------------ activity

NOISE = [
    b"Traceback (most recent call last):",
    b"[" * 100_000,
    b"null",
    b'"saved"',
    b'{"message":["saved"]}',
    b'{"message":"first byte","repository":"1"}',
    b'{"message":"saved","timestamp":"yesterday","BytesUp":1,"repository":"1","key":"k"}',
    b'{"message":"saved","timestamp":"2026-01-01T00:00:00+00:00","repository":"1","key":"k"}',
    b"\xff\xfe",
]


def logged(message: str, **fields: object) -> bytes:
    return json.dumps({"timestamp": "2026-01-01T12:34:56.789+00:00", "message": message, **fields}).encode()


def save(key: str) -> bytes:
    return logged("saved", BytesUp=2_000_000, repository="1", key=key)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "server.log"
    path.touch()
    return path


@pytest.fixture
def activity(log: Path) -> Iterator[Activity]:
    with closing(Activity(log)) as activity:
        yield activity


def append(log: Path, *parts: bytes) -> None:
    with log.open("ab") as file:
        file.write(b"".join(parts))


def test_miss_event_has_the_fields_that_are_shown():
    missed = events.missed("1", (), "k", MissReason.NO_MATCH)
    assert (missed.name, "requested_key" in missed.fields) == ("miss", True)


def test_only_events_of_jobs_are_shown(log: Path, activity: Activity):
    missed = logged("miss", requested_key="b", repository="2")
    append(log, *(line + b"\n" for line in (*NOISE, save("a"), *NOISE, missed)))
    shown = [line.partition("  ")[2] for line in activity.lines()]
    assert shown == ["save       2.0 MB  repository 1  a", "miss               repository 2  b"]
    assert list(activity.lines()) == []


def test_line_is_shown_once_it_is_complete(log: Path, activity: Activity):
    line = save("key")
    append(log, line[:20])
    assert list(activity.lines()) == []
    append(log, line[20:])
    assert list(activity.lines()) == []
    append(log, b"\n")
    assert [line.rpartition("  ")[2] for line in activity.lines()] == ["key"]


def test_lines_beyond_the_limit_are_counted(log: Path, activity: Activity):
    append(log, *(save(f"key {number}") + b"\n" for number in range(MAX_LINES + 30)))
    shown = list(activity.lines())
    assert len(shown) == MAX_LINES + 1
    assert (shown[0].endswith("key 0"), shown[-1]) == (True, "... and 30 more")


def test_reads_are_bounded_and_lose_nothing(log: Path, activity: Activity):
    append(log, b"x" * (MAX_BYTES * 3), b"\n", save("after") + b"\n")
    looks = [[line.rpartition("  ")[2] for line in activity.lines()] for _ in range(5)]
    assert looks == [[], [], [], ["after"], []]
    assert len(activity._unfinished) <= MAX_BYTES


def test_long_names_are_cut(log: Path, activity: Activity):
    append(log, logged("hit", BytesDown=1, repository="r" * 2048, key="k" * 512) + b"\n")
    [line] = activity.lines()
    assert len(line) < 250


def test_full_store_is_shown_as_an_error(log: Path, activity: Activity):
    append(log, logged(NOTHING_SAVED, reason="the disk has 3 MiB left") + b"\n")
    assert list(activity.lines()) == ["error: nothing can be saved: the disk has 3 MiB left"]
