"""No reader is cut off: while cleanup runs without a pause, readers of every speed, at every moment, get every byte.

On real emulators and sockets, by a clock of the lifetimes that is twenty times as fast as the readers'. In real time,
the soak run has slow readers beside cleanup.
"""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle, product
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from actions_cache.archives import transition
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.signing import EXPIRES
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.download_services import DownloadServices
from dev.clients.driver import CacheDriver, SetClock, name, plenty
from dev.clients.wire import send
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.download.handler import create_app
from tests.guarantees.faults.environment import KEY, download_url
from tests.guarantees.faults.slow_reader import Refused, read_at
from tests.support.part_list_reader import NoList, PartListReader, RangeRefused

BLOCKS = [random.Random(i).randbytes(6 * MIB) for i in range(4)]
CONTENT = b"".join(BLOCKS)

HEADERS: Sequence[Mapping[str, str]] = [{}, {"x-ms-range": "bytes=0-"}]
UNHURRIED = 1000 * MIB
"""Bytes a second of a reader that reads as fast as it can."""


PARTS = BLOCKS[:2]
PART_CONTENT = b"".join(PARTS)
RATES = [3 * MIB, 6 * MIB, UNHURRIED]
URL_SECONDS = 40
LONGEST_STREAM_SECONDS = 140
"""Seven of the readers' seconds; the slowest takes four."""


@dataclass
class FastClock(SetClock):
    pace: int = 20
    began: float = field(default_factory=time.monotonic)

    def now(self) -> Millis:
        return self.at + int((time.monotonic() - self.began) * self.pace * SECOND)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.pace)


@dataclass
class Readers:
    """Starts readers, each of another speed, delay and header than the one before."""

    executor: ThreadPoolExecutor
    clock: FastClock
    kinds: Iterator[tuple[float, float, Mapping[str, str]]] = field(
        default_factory=lambda: (
            (rate, waits, headers)
            for rate, (waits, headers) in zip(
                cycle(RATES), cycle(product((0, URL_SECONDS - 10), HEADERS)), strict=False
            )
        )
    )
    """Bytes a second, seconds from the lookup to the request, and headers."""
    _reading: list[Future[bytes | None]] = field(default_factory=list)

    def start(self, url: str) -> None:
        rate, waits, headers = next(self.kinds)
        expires_at = self._ends_at(url)

        def read() -> bytes | None:
            self.clock.sleep(waits)
            try:
                return read_at(url, rate, headers)
            except Refused:
                # On a busy machine it may begin too late.
                if self.clock.now() < expires_at:
                    raise
                return None

        self._reading.append(self.executor.submit(read))

    def start_by_list(self, url: str) -> None:
        """Start a reader that asks for the part list late, and reads by it late again."""
        _, waits, _ = next(self.kinds)
        list_by = self._ends_at(url)

        def read() -> bytes | None:
            self.clock.sleep(waits)
            try:
                reader = PartListReader.of(url)
            except NoList:
                # On a busy machine it may ask too late.
                if self.clock.now() < list_by:
                    raise
                return None
            read_by = self.clock.now() + URL_SECONDS * SECOND
            self.clock.sleep(waits)
            # The store's clock isn't the fast one.
            return b"".join(reader.ranges(MIB, 2)) if self.clock.now() < read_by else None

        self._reading.append(self.executor.submit(read))

    def _ends_at(self, url: str) -> Millis:
        """Return when a URL ends: of ours, what it says; it was made before the lookup was answered."""
        [said] = parse_qs(urlsplit(url).query).get(EXPIRES, [""])
        return int(said) * SECOND if said else self.clock.now() + URL_SECONDS * SECOND

    def check(self, content: bytes) -> None:
        """Check that all got the content, but those that began too late."""
        contents = [got for reading in self._reading if (got := reading.result(60)) is not None]
        assert all(got == content for got in contents)
        assert len(contents) > len(self._reading) / 2


@dataclass
class Server:
    """Serves downloads by a fast clock, while cleanup runs without a pause."""

    driver: CacheDriver
    clock: FastClock
    url: str
    readers: Readers

    def start_reader(self, key: str) -> None:
        """Look up now, and begin to read now, or when the URL is about to expire."""
        hit = self.driver.look_up(key, can_read_from_s3=False)
        assert hit is not None
        self.readers.start(self.url + hit.url)
        self.readers.start_by_list(self.url + hit.url)

    def has_parts(self, archive_id: str) -> bool:
        return any(key.startswith("parts/") for key in self.driver.keys(archive_id))


@contextmanager
def fast_server(on_emulators: CacheDriver) -> Iterator[Server]:
    clock = FastClock()
    lifetimes = {
        "download_url_seconds": URL_SECONDS,
        "max_stream_seconds": LONGEST_STREAM_SECONDS,
        "read_ahead_bytes": MIB,
        # Renewed by the readers' time.
        "merge_lease_seconds": 3600,
    }
    settings = on_emulators.services.settings.model_copy(update=lifetimes)
    # The limit of a stream goes by the readers' time.
    limits = {"max_stream_seconds": LONGEST_STREAM_SECONDS // clock.pace, "parts_grace_seconds": settings.grace_seconds}
    services, serving = AllServices(settings, clock), AllServices(settings.model_copy(update=limits), clock)
    services.session = serving.session = on_emulators.services.session
    driver = replace(on_emulators, services=services, clock=clock)
    ended = threading.Event()

    def clean_up_all_the_time() -> None:
        while not ended.is_set():
            done = driver.clean_up()
            assert "failed" not in done, done

    with served(create_app(DownloadServices(serving))) as url, ThreadPoolExecutor(32) as executor:
        cleaning = executor.submit(clean_up_all_the_time)
        try:
            yield Server(driver, clock, url, Readers(executor, clock))
        finally:
            ended.set()
            cleaning.result(60)


@pytest.mark.slow
def test_readers_around_a_merge_get_every_byte(on_emulators: CacheDriver):
    """They come from before the merge until after the parts are gone."""
    with fast_server(on_emulators) as server:
        entry = server.driver.save(name("npm"), *PARTS)
        grace = server.driver.services.lifetimes.grace
        for _ in range(4):
            server.start_reader("npm")
        server.clock.sleep(10)
        merge = server.readers.executor.submit(server.driver.merge_all)
        seen_at = 0
        while server.has_parts(entry.archive_id):
            seen_at = server.clock.now()
            server.start_reader("npm")
            server.clock.sleep(15)
        merge.result(60)
        for _ in range(4):
            server.start_reader("npm")
        server.readers.check(PART_CONTENT)
        archive = server.driver.archive(entry.archive_id)
        assert server.clock.now() >= archive.merge.ended_at + grace
        assert seen_at >= archive.merge.ended_at + grace - 60 * SECOND, "watched closely until the end"
        assert server.driver.content(entry.archive_id) == PART_CONTENT


@pytest.mark.slow
def test_readers_of_removed_entries_get_every_byte(on_emulators: CacheDriver):
    """Entries are deleted, deleted and saved again, and evicted. URLs are from before, and begun until they expire."""
    with fast_server(on_emulators) as server:
        driver = server.driver
        deleted, again, evicted = [driver.save(name(key), *PARTS) for key in ("deleted", "again", "evicted")]
        [_, merging, _] = driver.messages()
        driver.services.merge(merging, plenty)
        for _ in range(4):
            for entry in (deleted, again, evicted):
                server.start_reader(entry.name.key)
        for entry in (deleted, again):
            assert driver.services.remove_entry(entry.archive_id, lambda _: True)
        evict(server, evicted.archive_id)
        successor = driver.save(again.name, *PARTS[::-1])
        server.readers.check(PART_CONTENT)
        assert driver.content(successor.archive_id) == b"".join(PARTS[::-1])


def evict(server: Server, archive_id: str) -> None:
    """Make the entry look long unused, so that cleanup evicts it."""
    table = server.driver.services.table
    aged = transition(table, archive_id, lambda seen: replace(seen, last_used_at=0))
    assert aged is not None
    while table.entry(aged.name) is not None:
        server.clock.sleep(1)


# ------------------------------------------------------------------ single readers


def test_reader_whose_parts_go_reads_on_from_the_merged_object(on_emulators: CacheDriver, get):
    """Should a grace ever be too short, the bytes are still the archive's."""
    entry = on_emulators.save(KEY, *BLOCKS)
    with download_url(on_emulators) as url:
        answer = get(url)
        begun = answer.read(MIB)
        on_emulators.merge_all()
        parts = on_emulators.services.manifests.of(on_emulators.archive(entry.archive_id)).parts
        on_emulators.services.bucket.delete([part.key for part in parts])
        assert begun + answer.read() == CONTENT
    assert on_emulators.look_up(KEY.key) is not None


def test_removed_entry_can_be_read_until_its_grace_ends(on_emulators: CacheDriver, get):
    entry = on_emulators.save(KEY, *BLOCKS)
    on_emulators.merge_all()
    with download_url(on_emulators) as url:
        on_emulators.services.remove_entry(entry.archive_id, lambda _: True)
        on_emulators.clean_up()
        assert get(url, x_ms_range="bytes=0-").read() == CONTENT
        on_emulators.clock.advance(on_emulators.services.settings.grace_seconds)
        assert get(url).status == 403


@pytest.mark.slow
def test_stream_breaks_at_its_permitted_time(on_emulators: CacheDriver, get):
    """The grace counts on it."""
    on_emulators.save(KEY, *[b"x" * (20 * MIB)] * 3)
    settings = on_emulators.services.settings.model_copy(update={"max_stream_seconds": 1})
    services = AllServices(settings, on_emulators.clock)
    services.session = on_emulators.services.session
    with download_url(replace(on_emulators, services=services)) as url:
        answer = get(url)
        answer.read(MIB)
        time.sleep(2)
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.read()


# ------------------------------------------------------------------ the last part list


@pytest.mark.parametrize("fate", ["merged", "removed", "merged and removed"])
def test_last_reader_of_last_part_list_gets_every_byte(on_emulators: CacheDriver, fate: str):
    """Looked up at the last moment, listed in the URL's last second, begun in its URLs' last, read for the longest."""
    driver, lifetimes = on_emulators, on_emulators.services.lifetimes
    longest_stream = driver.services.settings.max_stream_seconds * SECOND
    entry = driver.save(KEY, *BLOCKS)
    with download_url(driver) as url:
        if fate != "merged":
            driver.services.remove_entry(entry.archive_id, lambda _: True)
        driver.clock.at += lifetimes.download_url - SECOND
        reader = PartListReader.of(url)
        assert len(reader.parts) == len(BLOCKS)
        if fate != "removed":
            driver.merge_all()
        driver.clock.at += lifetimes.download_url - SECOND + longest_stream
        driver.clean_up()
        assert b"".join(reader.ranges(MIB)) == CONTENT
        archive = driver.archive(entry.archive_id)
        ends_at = (archive.deleted_at or archive.merge.ended_at) + lifetimes.grace
        driver.clock.at = ends_at - 1
        driver.clean_up()
        assert b"".join(reader.ranges(MIB)) == CONTENT
        driver.clock.at = ends_at
        driver.clean_up()
        with pytest.raises(RangeRefused, match="404"):
            list(reader.ranges(MIB))


@pytest.mark.slow
def test_part_list_urls_end_with_a_download_url(on_emulators: CacheDriver):
    """The store refuses them then, by its own clock."""
    settings = on_emulators.services.settings.model_copy(update={"download_url_seconds": 5})
    services = AllServices(settings, on_emulators.clock)
    services.session = on_emulators.services.session
    driver = replace(on_emulators, services=services)
    driver.save(KEY, *BLOCKS)
    with download_url(driver) as url:
        reader = PartListReader.of(url)
    [part, *_] = reader.parts
    assert reader.read(part, 0, 10) == CONTENT[:10]
    deadline = time.monotonic() + 30
    while send("GET", part.url, headers={"Range": "bytes=0-0"}).status != 403:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(RangeRefused, match="ended"):
        list(reader.ranges())
