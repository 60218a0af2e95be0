"""No reader is cut off: while cleanup runs without a pause, readers of every speed, at every moment, get every byte.

On real emulators and sockets. In short runs the clock of the lifetimes is twenty times as fast as the readers'. With
`--long`, a whole local run cleans up each second; the margin for clocks bounds its grace, so one life of an entry takes
two minutes.
"""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle, product

import boto3
import pytest
import urllib3

from actions_cache.archives import transition
from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.download_services import DownloadServices
from actions_cache.settings import Settings
from dev.clients.driver import CacheDriver, SetClock, name, plenty
from dev.clients.wire import GO, Job, send
from dev.emulation.api_gateway import LocalRun, local_run
from dev.emulation.asgi_server import served
from dev.services import AllServices
from functions.download.handler import create_app
from tests.guarantees.faults.environment import KEY, download_url
from tests.guarantees.faults.slow_reader import Refused, read_at
from tests.support.part_list_reader import NoList, PartListReader, RangeRefused

BLOCKS = [random.Random(i).randbytes(6 * MIB) for i in range(4)]
CONTENT, OTHER_CONTENT = b"".join(BLOCKS), b"".join(BLOCKS[::-1])

HEADERS: Sequence[Mapping[str, str]] = [{}, {"x-ms-range": "bytes=0-"}]
UNHURRIED = 1000 * MIB
"""Bytes a second of a reader that reads as fast as it can."""


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
    kinds: Iterator[tuple[float, float, Mapping[str, str]]]
    """Bytes a second, seconds from the lookup to the request, and headers."""
    url_seconds: int
    """Seconds after which a URL expires."""
    _reading: list[Future[bytes | None]] = field(default_factory=list)

    def start(self, url: str) -> None:
        rate, waits, headers = next(self.kinds)
        expires_at = self.clock.now() + self.url_seconds * SECOND

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
        list_by = self.clock.now() + self.url_seconds * SECOND

        def read() -> bytes | None:
            self.clock.sleep(waits)
            try:
                reader = PartListReader.of(url)
            except NoList:
                # On a busy machine it may ask too late.
                if self.clock.now() < list_by:
                    raise
                return None
            read_by = self.clock.now() + self.url_seconds * SECOND
            self.clock.sleep(waits)
            # The store's clock isn't the fast one.
            return b"".join(reader.ranges(MIB, 2)) if self.clock.now() < read_by else None

        self._reading.append(self.executor.submit(read))

    def check(self, content: bytes) -> int:
        """Check that all got the content but those that began too late, and return the number of the others."""
        contents = [got for reading in self._reading if (got := reading.result(60)) is not None]
        assert all(got == content for got in contents)
        assert len(contents) > len(self._reading) / 2
        return len(contents)


# ------------------------------------------------------------------ a fast clock

PARTS = BLOCKS[:2]
PART_CONTENT = b"".join(PARTS)
RATES = [3 * MIB, 6 * MIB, UNHURRIED]
URL_SECONDS = 40
LONGEST_STREAM_SECONDS = 140
"""Seven of the readers' seconds; the slowest takes four."""


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

    kinds = zip(cycle(RATES), cycle(product((0, URL_SECONDS - 10), HEADERS)), strict=False)
    with served(create_app(DownloadServices(serving))) as url, ThreadPoolExecutor(32) as executor:
        cleaning = executor.submit(clean_up_all_the_time)
        each = ((rate, waits, headers) for rate, (waits, headers) in kinds)
        try:
            yield Server(driver, clock, url, Readers(executor, clock, each, URL_SECONDS))
        finally:
            ended.set()
            cleaning.result(60)


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


# ------------------------------------------------------------------ a whole local run

RUN_URL_SECONDS = 8
SETTINGS = {
    "DOWNLOAD_URL_SECONDS": str(RUN_URL_SECONDS),
    "MAX_STREAM_SECONDS": "20",
    "UNUSED_ENTRY_SECONDS": "12",
    "UPLOAD_URL_SECONDS": "10",
    "RESERVATION_SECONDS": "30",
    "CLEANUP_INTERVAL_SECONDS": "1",
    "ORPHANS_INTERVAL_SECONDS": "1",
    "READ_AHEAD_BYTES": str(MIB),
    "MERGE_TRIGGER": "first-download",
    "LOCAL_MERGE_WORKERS": "1",
}
GRACE_SECONDS = 2 * RUN_URL_SECONDS + 20 + 30

KINDS = [
    (rate, waits, headers)
    for waits in (0.0, 1.5, 4.0)
    for rate in (2 * MIB, 3 * MIB, 6 * MIB, 24 * MIB, UNHURRIED)
    for headers in HEADERS
]
"""The slowest reads for 12 of the 20 seconds of a stream."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    with local_run(tmp_path_factory.mktemp("readers"), SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def services(run: LocalRun) -> Iterator[AllServices]:
    """Provide the run's own tables and bucket, for what no client can do or see."""
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in run.variables().items():
            environment.setenv(variable, value)
        services = AllServices(Settings())
        services.session = boto3.Session()
        yield services


@pytest.fixture
def readers() -> Iterator[Readers]:
    with ThreadPoolExecutor(64) as executor:
        yield Readers(executor, FastClock(pace=1), cycle(KINDS), RUN_URL_SECONDS)


def archive_of(job: Job, services: AllServices, key: str) -> str:
    found: str = job.download_url(key).partition("?")[0].rpartition("/")[2]
    assert services.table.archive(found) is not None
    return found


def has_parts(services: AllServices, archive_id: str) -> bool:
    return any(True for _ in services.bucket.list(f"archives/{archive_id}/parts/"))


@pytest.mark.long
def test_readers_of_a_local_run_around_a_merge_get_every_byte(run: LocalRun, services: AllServices, readers: Readers):
    """They come from before the claim until after the parts are gone."""
    job = Job(run.url, user_agent=GO)
    job.save("npm", *BLOCKS)
    archive_id = archive_of(job, services, "npm")
    assert services.table.archive(archive_id).merge.state is MergeState.UNMERGED
    began = time.monotonic()
    while has_parts(services, archive_id):
        readers.start(job.download_url("npm"))
        time.sleep(0.5)
        assert time.monotonic() - began < 2 * GRACE_SECONDS
    gone_after = time.time() - services.table.archive(archive_id).merge.ended_at / 1000
    for _ in range(6):
        readers.start(job.download_url("npm"))
    number = readers.check(CONTENT)
    assert gone_after >= GRACE_SECONDS
    assert number >= len(KINDS), "each kind"


@pytest.mark.long
@pytest.mark.parametrize("is_merged", [False, True], ids=["parts", "one object"])
def test_readers_of_a_local_runs_removed_entries_get_every_byte(
    run: LocalRun, services: AllServices, readers: Readers, is_merged: bool
):
    job = Job(run.url, user_agent=GO)
    names = [f"{fate} {is_merged}" for fate in ("deleted", "saved again", "evicted")]
    for key in names:
        job.save(key, *BLOCKS)
    archives = [archive_of(job, services, key) for key in names]
    if is_merged:
        for key, archive in zip(names, archives, strict=True):
            read_at(job.download_url(key), UNHURRIED)
            while services.table.archive(archive).object is None:
                time.sleep(0.2)
    for _ in range(20):
        for key in names:
            readers.start(job.download_url(key))
    for archive in archives[:2]:
        assert services.remove_entry(archive, lambda _: True)
    job.save(names[1], *BLOCKS[::-1])
    assert read_at(job.download_url(names[1]), UNHURRIED) == OTHER_CONTENT
    assert readers.check(CONTENT) > 30
    while services.table.entry(services.table.archive(archives[2]).name) is not None:
        time.sleep(0.5)
    assert not job.look_up(names[0])["ok"]
