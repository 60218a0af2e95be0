"""A local run that cleans up every second cuts off no reader: readers of every speed, at every moment, of every fate.

Its shortest grace is bounded by the margin for clocks, so one life of an entry takes two minutes.
"""

import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle

import boto3
import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.settings import Settings
from dev.services import AllServices
from tests.guarantees.faults.slow_reader import Refused, read_at
from tests.integration.streaming.local_run import LocalRun, local_run
from tests.support.clients.wire import GO, Job

BLOCKS = [random.Random(i).randbytes(6 * MIB) for i in range(4)]
CONTENT, OTHER_CONTENT = b"".join(BLOCKS), b"".join(BLOCKS[::-1])

URL_SECONDS = 8
LIFETIMES = {
    "DOWNLOAD_URL_SECONDS": str(URL_SECONDS),
    "MAX_STREAM_SECONDS": "20",
    "UNUSED_ENTRY_SECONDS": "12",
    "UPLOAD_URL_SECONDS": "10",
    "RESERVATION_SECONDS": "30",
    "CLEANUP_INTERVAL_SECONDS": "1",
    "ORPHANS_INTERVAL_SECONDS": "1",
}
GRACE_SECONDS = 2 * URL_SECONDS + 20 + 30
OTHERS = {"READ_AHEAD_BYTES": str(MIB), "MERGE_TRIGGER": "first-download", "LOCAL_MERGE_WORKERS": "1"}

RATES = [2 * MIB, 3 * MIB, 6 * MIB, 24 * MIB, 1000 * MIB]
"""Bytes a second: the slowest takes 12 of the 20 seconds."""

STARTS_AFTER = [0.0, 1.5, 4.0]
"""Seconds from the lookup: its URL may be begun for 8."""

HEADERS = [{}, {"x-ms-range": "bytes=0-"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    with local_run(tmp_path_factory.mktemp("readers"), LIFETIMES | OTHERS) as running:
        yield running


@pytest.fixture(scope="module")
def services(run: LocalRun) -> Iterator[AllServices]:
    """The run's own tables and bucket, for what no client can do, or see."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in run.variables().items():
            environment.setenv(name, value)
        plane = AllServices(Settings())
        plane.session = boto3.Session()
        yield plane


class Readers:
    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._threads = executor
        self._kinds = cycle([(rate, after, headers) for after in STARTS_AFTER for rate in RATES for headers in HEADERS])
        self._reading: list[Future[bytes | None]] = []

    def start(self, url: str) -> None:
        rate, after, headers = next(self._kinds)

        expires_at = time.monotonic() + URL_SECONDS

        def read() -> bytes | None:
            time.sleep(after)
            try:
                return read_at(url, rate, headers)
            except Refused:
                # On a busy machine it may begin too late.
                if time.monotonic() < expires_at:
                    raise
                return None

        self._reading.append(self._threads.submit(read))

    def assert_all_got(self, content: bytes) -> int:
        """How many there were, but for those that began too late."""
        contents = [got for reading in self._reading if (got := reading.result(60)) is not None]
        assert all(got == content for got in contents)
        return len(contents)


@contextmanager
def readers() -> Iterator[Readers]:
    with ThreadPoolExecutor(64) as executor:
        yield Readers(executor)


def archive_id(job: Job, services: AllServices, key: str) -> str:
    url = job.download_url(key)
    found: str = url.partition("?")[0].rpartition("/")[2]
    assert services.table.archive(found) is not None
    return found


def parts_left(services: AllServices, archive: str) -> int:
    return sum(1 for _ in services.bucket.list(f"archives/{archive}/parts/"))


def test_readers_from_before_the_claim_until_after_the_parts_are_gone(run, services):
    job = Job(run.url, user_agent=GO)
    job.save("npm", *BLOCKS)
    archive = archive_id(job, services, "npm")
    assert services.table.archive(archive).merge.state is MergeState.UNMERGED
    with readers() as started:
        began = time.monotonic()
        while parts_left(services, archive):
            started.start(job.download_url("npm"))
            time.sleep(0.5)
            assert time.monotonic() - began < 2 * GRACE_SECONDS
        gone_after = time.time() - services.table.archive(archive).merge.ended_at / 1000
        for _ in range(6):
            started.start(job.download_url("npm"))
        number = started.assert_all_got(CONTENT)
    assert gone_after >= GRACE_SECONDS
    assert number >= len(RATES) * len(STARTS_AFTER) * len(HEADERS), "each kind"


@pytest.mark.parametrize("is_merged", [False, True], ids=["from parts", "from one object"])
def test_readers_of_what_is_deleted_and_saved_again_or_evicted(run, services, is_merged, request):
    job = Job(run.url, user_agent=GO)
    names = [f"{fate} {request.node.callspec.id}" for fate in ("deleted", "saved again", "evicted")]
    for key in names:
        job.save(key, *BLOCKS)
    archives = [archive_id(job, services, key) for key in names]
    if is_merged:
        for key, archive in zip(names, archives, strict=True):
            read_at(job.download_url(key), 1000 * MIB)
            while services.table.archive(archive).object is None:
                time.sleep(0.2)
    with readers() as started:
        for _ in range(20):
            for key in names:
                started.start(job.download_url(key))
        for archive in archives[:2]:
            assert services.remove_entry(archive, lambda _: True)
        job.save(names[1], *BLOCKS[::-1])
        assert read_at(job.download_url(names[1]), 1000 * MIB) == OTHER_CONTENT
        assert started.assert_all_got(CONTENT) > 30
    while services.table.entry(services.table.archive(archives[2]).name) is not None:
        time.sleep(0.5)
    assert not job.look_up(names[0])["ok"]
