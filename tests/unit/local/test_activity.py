"""The lines that a run shows of what jobs do: from the log of the server, whatever stands there."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actions_cache import events
from actions_cache.events import MissReason
from dev.local.activity import MOST_BYTES, MOST_LINES, Activity

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


def told(message: str, **fields: object) -> bytes:
    return json.dumps({"timestamp": "2026-01-01T12:34:56.789+00:00", "message": message, **fields}).encode()


def save(key: str) -> bytes:
    return told("saved", BytesUp=2_000_000, repository="1", key=key)


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


def test_the_words_are_those_that_are_told():
    missed = events.missed("1", (), "k", MissReason.NO_MATCH)
    assert (missed.name, "requested_key" in missed.fields) == ("miss", True)


def test_only_what_jobs_did_is_shown_whatever_else_stands_there(log: Path, activity: Activity):
    append(log, *(line + b"\n" for line in (*NOISE, save("a"), *NOISE, told("miss", asked="b", repository="2"))))
    shown = [line.partition("  ")[2] for line in activity.lines()]
    assert shown == ["save       2.0 MB  repository 1  a", "miss               repository 2  b"]
    assert list(activity.lines()) == []


def test_a_line_is_shown_once_it_is_whole(log: Path, activity: Activity):
    line = save("key")
    append(log, line[:20])
    assert list(activity.lines()) == []
    append(log, line[20:])
    assert list(activity.lines()) == []
    append(log, b"\n")
    assert [line.rpartition("  ")[2] for line in activity.lines()] == ["key"]


def test_of_many_lines_the_first_are_shown_and_the_rest_counted(log: Path, activity: Activity):
    append(log, *(save(f"key {number}") + b"\n" for number in range(MOST_LINES + 30)))
    shown = list(activity.lines())
    assert len(shown) == MOST_LINES + 1
    assert (shown[0].endswith("key 0"), shown[-1]) == (True, "... and 30 more")


def test_no_more_than_the_bound_is_read_at_a_time_and_none_is_lost(log: Path, activity: Activity):
    append(log, b"x" * (MOST_BYTES * 3), b"\n", save("after") + b"\n")
    looks = [[line.rpartition("  ")[2] for line in activity.lines()] for _ in range(5)]
    assert looks == [[], [], [], ["after"], []]
    assert len(activity._unfinished) <= MOST_BYTES


def test_long_names_are_cut(log: Path, activity: Activity):
    append(log, told("hit", BytesDown=1, repository="r" * 2048, key="k" * 512) + b"\n")
    [line] = activity.lines()
    assert len(line) < 250
