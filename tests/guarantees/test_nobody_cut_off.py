"""While cleanup runs all the time, no reader loses a byte, whatever its speed and whenever it began.

On real engines and sockets. The clock that the lifetimes go by is twenty times as fast as the readers'.
"""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle

from actions_cache.archives import transition
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.download_services import DownloadServices
from dev.services import AllServices
from functions.download.handler import create_app
from tests.guarantees.faults.slow_reader import Refused, read_at
from tests.support.clients.wire import GO
from tests.support.journey import Journey, SetClock, name, plenty
from tests.support.serving import served

PACE = 20
PARTS = [random.Random(i).randbytes(6 * MIB) for i in range(2)]
CONTENT = b"".join(PARTS)
RATES = [3 * MIB, 6 * MIB, 1000 * MIB]

DOWNLOAD_URL_SECONDS = 40
LONGEST_STREAM_SECONDS = 140
"""Seven of the readers' seconds; the slowest takes four."""


@dataclass
class FastClock(SetClock):
    began: float = field(default_factory=time.monotonic)

    def now(self) -> Millis:
        return self.at + int((time.monotonic() - self.began) * PACE * SECOND)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / PACE)


@dataclass
class Scene:
    """Readers come one after the other, at every moment, until it ends."""

    journey: Journey
    clock: FastClock
    server: str
    executor: ThreadPoolExecutor
    _rates: Iterator[float] = field(default_factory=lambda: cycle(RATES))
    _kinds: Iterator[tuple[dict[str, str], float]] = field(
        default_factory=lambda: cycle(
            [
                ({}, 0),
                ({"x-ms-range": "bytes=0-"}, 0),
                ({}, DOWNLOAD_URL_SECONDS - 10),
                ({"x-ms-range": "bytes=0-"}, DOWNLOAD_URL_SECONDS - 10),
            ]
        )
    )

    def reader(self, key: str) -> "Future[bytes | None]":
        """Looks up now, and begins now, or when its URL is about to expire."""
        hit = self.journey.look_up(key, user_agent=GO)
        assert hit is not None
        return self.reader_of(hit.url)

    def reader_of(self, url: str) -> "Future[bytes | None]":
        headers, waits = next(self._kinds)
        rate = next(self._rates)
        expires_at = self.clock.now() + DOWNLOAD_URL_SECONDS * SECOND

        def read() -> bytes | None:
            self.clock.sleep(waits)
            try:
                return read_at(self.server + url, rate, headers)
            except Refused:
                # On a busy machine it may begin too late.
                if self.clock.now() < expires_at:
                    raise
                return None

        return self.executor.submit(read)

    def objects(self, archive_id: str, kind: str) -> list[str]:
        return [key for key in self.journey.keys(archive_id) if key.startswith(kind)]


@contextmanager
def scene(on_engines: Journey) -> Iterator[Scene]:
    """With cleanup at work without a pause."""
    clock = FastClock()
    times = {
        "download_url_seconds": DOWNLOAD_URL_SECONDS,
        "max_stream_seconds": LONGEST_STREAM_SECONDS,
        "read_ahead_bytes": MIB,
        # Renewed by the readers' time.
        "merge_lease_seconds": 3600,
    }
    settings = on_engines.services.settings.model_copy(update=times)
    services = AllServices(settings, clock)
    # The stream's limit goes by the readers' time.
    serving = AllServices(
        settings.model_copy(
            update={
                "max_stream_seconds": LONGEST_STREAM_SECONDS // PACE,
                "parts_grace_seconds": settings.grace_seconds,
            }
        ),
        clock,
    )
    services.session = serving.session = on_engines.services.session
    journey = replace(on_engines, services=services, clock=clock)
    ended = threading.Event()

    def clean_up_all_the_time() -> None:
        while not ended.is_set():
            done = journey.clean_up()
            assert "failed" not in done, done

    with served(create_app(DownloadServices(serving))) as server, ThreadPoolExecutor(32) as executor:
        cleaning = executor.submit(clean_up_all_the_time)
        try:
            yield Scene(journey, clock, server, executor)
        finally:
            ended.set()
            cleaning.result(60)


def assert_all_read(readers: "list[Future[bytes | None]]") -> None:
    """But for those that began too late; most must not have."""
    contents = [content for reader in readers if (content := reader.result(60)) is not None]
    assert all(content == CONTENT for content in contents)
    assert len(contents) > len(readers) / 2


def test_readers_from_before_the_merge_until_after_the_parts_are_gone_get_every_byte(on_engines):
    with scene(on_engines) as it:
        entry = it.journey.save(name("npm"), *PARTS)
        grace = it.journey.services.lifetimes.grace
        readers = [it.reader("npm") for _ in range(4)]
        it.clock.sleep(10)
        merge = it.executor.submit(it.journey.merge_all)
        seen_at = 0
        while it.objects(entry.archive_id, "parts/"):
            seen_at = it.clock.now()
            readers.append(it.reader("npm"))
            it.clock.sleep(15)
        merge.result(60)
        readers += [it.reader("npm") for _ in range(4)]
        assert_all_read(readers)
        archive = it.journey.archive(entry.archive_id)
        gone_at = it.clock.now()
        assert gone_at >= archive.merge.ended_at + grace
        assert seen_at >= archive.merge.ended_at + grace - 60 * SECOND, "watched closely until the end"
        assert it.journey.content(entry.archive_id) == CONTENT


def evict(it: Scene, archive_id: str) -> None:
    """As if no job had looked it up for long; cleanup does the rest."""
    aged = transition(it.journey.services.table, archive_id, lambda seen: replace(seen, last_used_at=0))
    assert aged is not None
    while it.journey.services.table.entry(aged.name) is not None:
        it.clock.sleep(1)


def test_readers_of_an_entry_that_is_deleted_and_saved_again_or_evicted_get_its_bytes(on_engines):
    """Each has a URL from before, and begins any time until that expires."""
    with scene(on_engines) as it:
        deleted, again, evicted = [it.journey.save(name(key), *PARTS) for key in ("deleted", "again", "evicted")]
        [_, merging, _] = it.journey.messages()
        it.journey.services.merge(merging, plenty)
        readers = [it.reader(entry.name.key) for _ in range(4) for entry in (deleted, again, evicted)]
        for entry in (deleted, again):
            assert it.journey.services.remove_entry(entry.archive_id, lambda _: True)
        evict(it, evicted.archive_id)
        successor = it.journey.save(again.name, *PARTS[::-1])
        assert_all_read(readers)
        assert it.journey.content(successor.archive_id) == b"".join(PARTS[::-1])
