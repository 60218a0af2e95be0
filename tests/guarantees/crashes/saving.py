"""A save over the wire, asked again by another server where the first one died or didn't answer."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException

from actions_cache.domain.timing import SECOND
from tests.guarantees.crashes.gate import Call, Gate, Point
from tests.guarantees.crashes.world import Watch, World
from tests.support.clients.wire import Job, Reply, put_block, put_block_list, random_block_id

KEY = "npm-1"
PARTS = (b"a" * 1000, b"b" * 1000, b"c" * 1000)
CONTENT = b"".join(PARTS)


@dataclass(frozen=True)
class Saved:
    calls: list[Call]
    """Of the server behind the gate."""
    was_visible: bool | None
    """True if the entry was visible before anybody asked again; None where nobody had to."""


def save(world: World, point: Point | None) -> Saved:
    """A whole save. What must hold is checked, whatever happened at the point."""
    gate = Gate()
    with world.stage.server(gate) as server:
        gate.count_from_now(point)
        with world.watched(KEY, CONTENT) as watch:
            saving = _Save(world, server, watch)
            is_saved = saving.run()
            assert gate.struck.is_set() == (point is not None)
            calls = list(gate.calls)
            if is_saved:
                world.merge_in_the_end(by_schedule=True)
    if is_saved:
        world.check_no_orphan_is_left(KEY, CONTENT)
    else:
        _check_that_the_key_becomes_free(world)
    return Saved(calls, saving.was_visible)


@dataclass
class _Save:
    world: World
    server: str
    """The one behind the gate; the witness is asked again."""
    watch: Watch
    was_visible: bool | None = None

    def run(self) -> bool:
        """Return whether it was saved. With the reservation's answer lost, nobody knows the upload's URL."""
        created = self._ask(lambda server: Job(server).create(KEY))
        if created.status == 409:
            return False
        assert created.status == 200, created.body
        path = created.json["signed_upload_url"].partition("/blobs/")[2]
        ids = [random_block_id() for _ in PARTS]
        for block_id, part in zip(ids, PARTS, strict=True):
            self._expect(201, partial(_put_block, path, block_id, part))
        self._expect(201, lambda server: put_block_list(f"{server}/blobs/{path}", ids))
        finalized = self._expect(200, lambda server: Job(server).finalize(KEY, len(CONTENT)))
        assert finalized.json["ok"], finalized.body
        assert self.world.check_all_or_nothing(KEY, len(CONTENT))
        self.watch.must_be_there = True
        hit = self._expect(200, lambda server: Job(server).call("GetCacheEntryDownloadURL", key=KEY))
        assert hit.json["ok"]
        self.watch.start()
        return True

    def _expect(self, status: int, request: Callable[[str], Reply]) -> Reply:
        reply = self._ask(request)
        assert reply.status == status, reply.body
        return reply

    def _ask(self, request: Callable[[str], Reply]) -> Reply:
        """Again where there was no answer, or one after which every client asks again.

        Readers only begin then: they would claim the merge before the server does.
        """
        with suppress(OSError, HTTPException):
            reply = request(self.server)
            if reply.status != 503:
                return reply
        if self.was_visible is None:
            self.was_visible = bool(self.world.archives()) and self.world.check_all_or_nothing(KEY, len(CONTENT))
        self.watch.start()
        return request(self.world.witness)


def _put_block(path: str, block_id: str, body: bytes, server: str) -> Reply:
    return put_block(f"{server}/blobs/{path}", block_id, body)


def _check_that_the_key_becomes_free(world: World) -> None:
    """When the reservation is over, before any cleanup; and nothing is left in the end."""
    assert world.job.create(KEY).status == 409
    world.advance(world.services.lifetimes.reservation / SECOND + 1)
    assert world.job.create(KEY).status == 200
    world.check_nothing_is_left()
