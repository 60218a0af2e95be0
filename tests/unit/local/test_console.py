"""Tests what the run's terminal shows of the server's log; tests/integration/local_run has full and closed pipes."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dev.local.console import MAX_BYTES, MAX_LINES, NOTHING_SAVED, Activity

NOISE = [
    *(
        b"Traceback (most recent call last):",
        b"[" * 100_000,
        b"null",
        b'"saved"',
        b'{"message":["saved"]}',
        b"\xff\xfe",
    ),
    b'{"message":"first byte","repository":"1"}',
    b'{"message":"saved","timestamp":"yesterday","BytesUp":1,"repository":"1","key":"k"}',
    b'{"message":"saved","timestamp":"2026-01-01T00:00:00+00:00","repository":"1","key":"k"}',
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


def test_only_events_of_jobs_are_shown(log: Path, activity: Activity):
    missed = logged("miss", requested_key="b", repository="2")
    append(log, *(line + b"\n" for line in (*NOISE, save("a"), *NOISE, missed)))
    shown = [line.partition("  ")[2] for line in activity.lines()]
    assert shown == ["save       1.9 MiB  repository 1  a", "miss                repository 2  b"]
    assert list(activity.lines()) == []


def test_line_is_shown_once_it_is_complete(log: Path, activity: Activity):
    line = save("key")
    for piece, shown in ((line[:20], []), (line[20:], []), (b"\n", ["key"])):
        append(log, piece)
        assert [line.rpartition("  ")[2] for line in activity.lines()] == shown


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


def test_full_store_is_shown_as_an_error(log: Path, activity: Activity):
    append(log, logged(NOTHING_SAVED, reason="the disk has 3 MiB left") + b"\n")
    assert list(activity.lines()) == ["error: nothing can be saved: the disk has 3 MiB left"]
