"""Lists, logs and loops that a stranger could lengthen are bounded, as docs/deploy/security.md lists them."""

from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from actions_cache import activity, archives, events, lookup
from actions_cache.activity import NoteRepository
from actions_cache.domain import merge_plan
from actions_cache.domain.access import GITHUB, Caller
from actions_cache.domain.delivery import PlainReason
from actions_cache.domain.errors import TooLarge, TryAgain
from actions_cache.events import METRICS, Event
from actions_cache.http.app import request_line
from actions_cache.manage import MOST, ListFailures
from actions_cache.ports import WriteConflict
from dev.clients.driver import SetClock, name
from dev.clients.runtime_token import runtime_token
from functions.api import passthrough
from functions.api.passthrough import NoAnswer
from functions.api.tokens import TokenReader
from tests.unit.domain.build import archive, stored_archive


def test_remembered_repositories_are_bounded(monkeypatch):
    monkeypatch.setattr(activity, "MAX_REMEMBERED", 3)
    read = []

    def repository(repository_id):
        read.append(repository_id)
        return SimpleNamespace(name=None)

    note_repository = NoteRepository(cast("Any", SimpleNamespace(repository=repository)), SetClock())
    for repository_id in ("1", "2", "3", "3", "4", "4", "1"):
        note_repository(Caller(repository_id, ()))
        assert len(note_repository._names) <= 3
    assert read == ["1", "2", "3", "4", "1"]


def test_metric_dimensions_have_fixed_values():
    """Each value costs money. `kind` is an exception's name, the others are enumerations."""
    stranger = "x" * 500
    saved = stored_archive(name=name(stranger))
    emitted: list[Event] = [
        events.reserved(saved),
        events.saved(saved),
        events.hit(saved.entry, stranger, is_merged=True),
        events.missed(stranger, (stranger,), stranger, events.MissReason.NO_MATCH),
        events.refused(f"GET /{stranger}", TryAgain(stranger)),
        events.unavailable(stranger, OSError(stranger)),
        events.failed(stranger, OSError(stranger)),
        events.evicted(saved),
        events.bytes_discarded(events.about(saved), 1),
        events.hook_looked(stranger, stranger),
        events.plain_fall(PlainReason.GONE),
    ]
    dimensions = {metric.dimension for metric in METRICS}
    assert dimensions == {None, "reason", "outcome", "task", "part", "kind", "fall", "hook"}
    for event in emitted:
        for metric in event.metrics:
            assert metric.dimension is None or len(str(event.fields[metric.dimension])) < 40


async def test_logged_path_is_truncated(caplog):
    """The client chooses the path, and a URL may have 8,192 bytes."""
    path = f"/{'x' * 8000}"
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {runtime_token()}".encode())],
    }

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    request = Request(scope, receive)
    assert len(request_line(request)) <= 210

    async def silent(*_: object, **__: object):
        raise NoAnswer("timeout")

    results = cast("Any", SimpleNamespace(ask=silent, url="https://results"))
    tokens = TokenReader((GITHUB,), None, verify=False)
    assert (await passthrough.forward(request, tokens, results)).status_code == 502
    [line] = caplog.records
    assert len(line.asked_path) == 200


def test_broken_entries_per_lookup_are_bounded(driver, monkeypatch):
    for number in range(lookup.MAX_BROKEN + 2):
        driver.clock.advance(1)
        entry = driver.save(name(f"npm-{number}"), b"content")
        driver.services.bucket.delete([driver.archive(entry.archive_id).object.key])
    assert driver.look_up("npm-") is None
    left = [*driver.services.table.stored_archives("42")]
    assert len(left) == 2


def test_conflicting_write_retries_are_bounded():
    tried = count()

    def lose(*_: object) -> None:
        next(tried)
        raise WriteConflict

    revisions = count(1)
    table = SimpleNamespace(archive=lambda _: archive(revision=10 * next(revisions)), replace_archive=lose)
    with pytest.raises(TryAgain):
        archives.transition(cast("Any", table), "id", lambda current: replace(current, looked_at=1))
    assert next(tried) == archives.MAX_ROUNDS


def test_listed_failed_merges_are_bounded():
    read = count()

    def failed():
        for number in count():
            next(read)
            yield f"{number:032x}"

    table = SimpleNamespace(failed_archives=failed, archive=lambda _: None)
    assert ListFailures(cast("Any", table), cast("Any", SimpleNamespace(count=lambda: 0)))().archives == ()
    assert next(read) <= MOST + 1


def test_upload_that_cannot_be_merged_in_time_is_not_committed(driver, monkeypatch):
    monkeypatch.setattr(merge_plan, "MERGE_SECONDS", 0)
    with pytest.raises(TooLarge, match="would take some 0 s to merge"):
        driver.upload(name("two-parts"), b"one", b"two")
    driver.upload(name("one-part"), b"one")
    assert driver.services.finalize(name("one-part"), 3).size == 3
