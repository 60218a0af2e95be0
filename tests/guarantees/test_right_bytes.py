"""Right bytes: a reader gets exactly what was committed, or a broken connection; never a clean end with other bytes.

On a real store, whose requests meet the faults of tests/guarantees/faults. Short runs mix the faults; with `--long`,
each also comes by itself, and a whole local run reads and merges through them.
"""

import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import urllib3

from actions_cache.domain.archive import MergeState
from actions_cache.domain.checksum import etag_of_upload
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import RunEnd
from actions_cache.ports import WrongBytes
from dev.clients.driver import CacheDriver, plenty
from dev.clients.local_server import running_server
from dev.clients.wire import GO, Job
from dev.local.emulators import Endpoints
from tests.guarantees.faults.environment import (
    KEY,
    LONG_PARTS,
    MANIFEST_READ,
    PARTS_READ,
    SHORT_PARTS,
    download_url,
    merge_once,
    merged_content,
    part_keys,
    read,
)
from tests.guarantees.faults.kinds import (
    INTERNAL_ERROR,
    MISSING,
    SLOW_DOWN,
    Fault,
    ends_after,
    other_bytes,
    reset_after,
    slow,
    stalls_after,
)
from tests.guarantees.faults.store import (
    FaultyStore,
    Requests,
    always,
    completions,
    copies,
    in_turn,
    part_uploads,
    reads_of,
)
from tests.guarantees.faults.uploads import one_bit, same, stores

CONTENT = b"".join(LONG_PARTS)


# ------------------------------------------------------------------ readers behind faults

PASSING: dict[str, Fault] = {
    "reset before the first byte": reset_after(0),
    "reset after a byte": reset_after(1),
    "reset in the middle": reset_after(MIB + 7),
    "reset before the last byte": reset_after(2 * MIB - 1),
    "a clean end before the first byte": ends_after(0),
    "a clean end in the middle": ends_after(MIB - 1),
    "a stall before the second byte": stalls_after(1),
    "a stall in the middle": stalls_after(MIB + 1),
    "slow": slow(4 * MIB),
    "SlowDown": SLOW_DOWN,
    "500": INTERNAL_ERROR,
}
MIX = [
    *(reset_after(0), reset_after(MIB + 7), ends_after(0), ends_after(MIB - 1), stalls_after(MIB + 1)),
    *(slow(20 * MIB), SLOW_DOWN, INTERNAL_ERROR),
]


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(MIX, id="all in turn"),
        *(pytest.param([fault] * 3, id=kind, marks=pytest.mark.long) for kind, fault in PASSING.items()),
    ],
)
def test_passing_faults_cost_a_reader_no_byte(on_emulators: CacheDriver, faulty: FaultyStore, faults: list[Fault]):
    on_emulators.save(KEY, *LONG_PARTS)
    with download_url(on_emulators) as url:
        faulty.on(MANIFEST_READ, in_turn(other_bytes(120), reset_after(10)))
        faulty.on(PARTS_READ, in_turn(*faults))
        assert read(url) == CONTENT
    assert faulty.met == 2 + len(faults)


@pytest.mark.long
def test_stream_resumes_at_its_offset_after_each_break(on_emulators: CacheDriver, faulty: FaultyStore):
    """Each connection brings 300,000 bytes: were one restarted, the stream would never end."""
    on_emulators.save(KEY, *LONG_PARTS)
    with download_url(on_emulators) as url:
        faulty.on(PARTS_READ, always(reset_after(300_000)))
        assert read(url) == CONTENT
    assert faulty.met >= len(CONTENT) // 300_000


STAYING: dict[str, Fault] = {
    "SlowDown": SLOW_DOWN,
    "404, though it is there": MISSING,
    "reset": reset_after(0),
    "a clean end": ends_after(0),
    "500": INTERNAL_ERROR,
}
FIRST, LAST = 0, -1
SHORT = [("SlowDown", LAST), ("404, though it is there", LAST)]
"""Run without --long too."""


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        pytest.param(
            STAYING[kind], part, id=f"{kind}, part {part}", marks=[] if (kind, part) in SHORT else [pytest.mark.long]
        )
        for kind in STAYING
        for part in (FIRST, LAST)
    ],
)
def test_entry_outlives_an_outage_that_breaks_its_readers(
    on_emulators: CacheDriver, faulty: FaultyStore, fault: Fault, part: int
):
    """Nor is an object lost because an answer says 404: the bucket is asked again before an entry goes."""
    entry = on_emulators.save(KEY, *LONG_PARTS)
    key = part_keys(on_emulators, entry.archive_id)[part]
    with download_url(on_emulators) as url:
        faulty.on(reads_of(key), always(fault))
        assert read(url) is None
        faulty.heal()
        assert read(url) == CONTENT
    assert on_emulators.look_up(KEY.key) is not None


def test_flipped_bit_never_ends_a_response_cleanly(on_emulators: CacheDriver, faulty: FaultyStore):
    """Parts are checked as deployed; the local run checks them only on request."""
    on_emulators.save(KEY, *LONG_PARTS)
    with download_url(on_emulators, checks_parts=True) as url:
        faulty.on(PARTS_READ, in_turn(other_bytes(MIB)))
        assert read(url) in (None, CONTENT)


# ------------------------------------------------------------------ readers of what is gone or replaced


@pytest.mark.parametrize("happens", ["missing", "replaced"])
def test_lost_part_breaks_the_connection_and_its_entry_goes(on_emulators: CacheDriver, get, happens: str):
    """A replaced part has other bytes, of the same length."""
    entry = on_emulators.save(KEY, *LONG_PARTS)
    with download_url(on_emulators) as url:
        last = part_keys(on_emulators, entry.archive_id)[-1]
        if happens == "missing":
            on_emulators.services.bucket.delete([last])
        else:
            on_emulators.overwrite(last, b"X" * (6 * MIB))
        answer = get(url)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.read()
    assert on_emulators.look_up(KEY.key) is None
    on_emulators.save(KEY, b"the key is free again")


@pytest.mark.parametrize("lacks", ["first part", "manifest"])
def test_archive_without_its_beginning_is_not_found(on_emulators: CacheDriver, get, lacks: str):
    """It is noticed before the first byte, so the status can tell, though the first part is requested beside it."""
    entry = on_emulators.save(KEY, *LONG_PARTS)
    manifest = on_emulators.archive(entry.archive_id).commit.manifest.key
    lost = manifest if lacks == "manifest" else part_keys(on_emulators, entry.archive_id)[0]
    with download_url(on_emulators, read_ahead_bytes=MIB) as url:
        on_emulators.services.bucket.delete([lost])
        assert [get(url).status for _ in range(2)] == [404, 404]
    assert on_emulators.look_up(KEY.key) is None


# ------------------------------------------------------------------ merges behind faults


@dataclass(frozen=True)
class MergeFaults:
    parts: list[bytes]
    rules: list[tuple[Requests, list[Fault]]]
    fewest_met: int = 1
    most_failures: int = 1
    """Number of attempts that may fail."""


READS = [reset_after(1000), ends_after(MIB // 2), other_bytes(MIB // 2), SLOW_DOWN]
COPIES = [reset_after(0), INTERNAL_ERROR, ends_after(20), SLOW_DOWN]
ALL_IN_TURN = MergeFaults(
    [*SHORT_PARTS, *LONG_PARTS],
    [(MANIFEST_READ, [other_bytes(120)]), (PARTS_READ, READS), (copies, COPIES)],
    fewest_met=9,
    most_failures=4,
)
BY_ITSELF: dict[str, tuple[list[bytes], Requests, Fault]] = {
    "copies: reset": (LONG_PARTS, copies, reset_after(0)),
    "copies: SlowDown": (LONG_PARTS, copies, SLOW_DOWN),
    "copies: 500": (LONG_PARTS, copies, INTERNAL_ERROR),
    "copies: 404, though it is there": (LONG_PARTS, copies, MISSING),
    "copies: the answer is cut": (LONG_PARTS, copies, ends_after(20)),
    "reads: reset": (SHORT_PARTS, PARTS_READ, reset_after(1000)),
    "reads: a clean end": (SHORT_PARTS, PARTS_READ, ends_after(MIB // 2)),
    "reads: other bytes": (SHORT_PARTS, PARTS_READ, other_bytes(MIB // 2)),
    "reads: SlowDown": (SHORT_PARTS, PARTS_READ, SLOW_DOWN),
    "reads: 404, though it is there": (SHORT_PARTS, PARTS_READ, MISSING),
    "uploads: reset": (SHORT_PARTS, part_uploads, reset_after(0)),
    "uploads: 500": (SHORT_PARTS, part_uploads, INTERNAL_ERROR),
    "completion: the answer is lost": (LONG_PARTS, completions, reset_after(0)),
    "completion: SlowDown": (LONG_PARTS, completions, SLOW_DOWN),
    "manifest: other bytes": (LONG_PARTS, MANIFEST_READ, other_bytes(120)),
    "manifest: 404, though it is there": (LONG_PARTS, MANIFEST_READ, MISSING),
}


def each_by_itself() -> Iterable[object]:
    for kind, (parts, requests, fault) in BY_ITSELF.items():
        for times in (1, 2):
            faults = MergeFaults(parts, [(requests, [fault] * times)], most_failures=times)
            yield pytest.param(faults, id=f"{kind}, {times} times", marks=pytest.mark.long)


@pytest.mark.parametrize("faults", [pytest.param(ALL_IN_TURN, id="all in turn"), *each_by_itself()])
def test_merge_behind_faults_fails_or_has_the_right_bytes(
    on_emulators: CacheDriver, faulty: FaultyStore, faults: MergeFaults
):
    entry = on_emulators.save(KEY, *faults.parts)
    for requests, in_order in faults.rules:
        faulty.on(requests, in_turn(*in_order))
    failures = 0
    while not merge_once(on_emulators, entry.archive_id):
        failures += 1
        assert failures <= faults.most_failures
    assert faulty.met >= faults.fewest_met
    assert merged_content(on_emulators, entry.archive_id) == b"".join(faults.parts)


@pytest.mark.parametrize(
    ("parts", "requests", "denies"),
    [
        pytest.param(LONG_PARTS, copies, False, id="copied"),
        pytest.param(LONG_PARTS, copies, True, id="copied, and denied", marks=pytest.mark.long),
        pytest.param(SHORT_PARTS, part_uploads, False, id="uploaded", marks=pytest.mark.long),
        pytest.param(SHORT_PARTS, part_uploads, True, id="uploaded, and denied", marks=pytest.mark.long),
    ],
)
def test_merge_of_other_bytes_is_never_published(
    on_emulators: CacheDriver,
    faulty: FaultyStore,
    endpoints: Endpoints,
    parts: list[bytes],
    requests: Requests,
    denies: bool,
):
    """The chain of ETags shows them; or the store, which doesn't complete with an ETag that it hasn't."""
    entry = on_emulators.save(KEY, *parts)
    faulty.on(requests, in_turn(stores(one_bit, endpoints, denies=denies)))
    [message] = on_emulators.messages()
    with pytest.raises(Exception, match=r"ETag|InvalidPart") as error:
        on_emulators.services.merge(message, plenty)
    assert denies or error.type is WrongBytes
    assert on_emulators.archive(entry.archive_id).merge.state is MergeState.QUEUED
    faulty.heal()
    faulty.on(requests, always(stores(same, endpoints)))
    assert on_emulators.services.merge(message, plenty) is RunEnd.MERGED
    assert merged_content(on_emulators, entry.archive_id) == b"".join(parts)


def test_other_merged_object_is_never_published(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    """Size and ETag of the whole object are checked once it is complete."""
    entry, bucket = driver.save(KEY, b"one", b"two"), driver.services.bucket
    stat = bucket.stat
    [message] = driver.messages()
    changes: list[dict[str, Any]] = [{"size": 5}, {"etag": '"another"'}]
    for change in changes:
        with monkeypatch.context() as patch:
            patch.setattr(bucket, "stat", lambda key, change=change: (found := stat(key)) and replace(found, **change))
            with pytest.raises(WrongBytes):
                driver.services.merge(message, plenty)
        assert driver.archive(entry.archive_id).object is None
    assert driver.services.merge(message, plenty) is RunEnd.MERGED


def test_merged_etag_follows_from_the_parts(on_emulators: CacheDriver, faulty: FaultyStore, endpoints: Endpoints):
    """The chain goes from what came in to the merged object, if copies are answered as S3 does."""
    entry = on_emulators.save(KEY, *LONG_PARTS)
    faulty.on(copies, always(stores(same, endpoints)))
    assert merge_once(on_emulators, entry.archive_id)
    archive = on_emulators.archive(entry.archive_id)
    etags = [part.etag for part in on_emulators.services.manifests.of(archive).parts]
    assert archive.object.etag == etag_of_upload(etags)


# ------------------------------------------------------------------ a whole local run

BLOCKS = [random.Random(i).randbytes(12 * MIB) for i in range(5)]
READERS = 8


@pytest.mark.long
def test_local_run_behind_faults_serves_every_byte(endpoints: Endpoints, tmp_path: Path):
    """Edge, functions, queue and worker are as they are; readers come before and after a merge."""
    content, faulty = b"".join(BLOCKS), FaultyStore(endpoints)
    with faulty.served() as store_url:
        settings = endpoints.settings_with_store(store_url)
        with running_server(tmp_path / "run", settings) as server, ThreadPoolExecutor(READERS) as executor:
            job = Job(server, user_agent=GO)
            faulty.on(copies, always(INTERNAL_ERROR))
            job.save("npm", *BLOCKS)
            url = job.download_url("npm")
            faulty.on(MANIFEST_READ, in_turn(other_bytes(120), SLOW_DOWN))
            faults = [reset_after(MIB), ends_after(MIB), SLOW_DOWN, INTERNAL_ERROR, reset_after(0), stalls_after(MIB)]
            faulty.on(PARTS_READ, in_turn(*faults * READERS))
            assert list(executor.map(read, [url] * READERS)) == [content] * READERS
            assert faulty.met >= len(faults) * READERS

            faulty.heal()
            faulty.on(copies, in_turn(SLOW_DOWN, stores(one_bit, endpoints), reset_after(0), ends_after(20)))
            job.wait_until_merged("npm")
            faulty.on(reads_of("/merged/"), in_turn(reset_after(MIB), ends_after(MIB)))
            assert [read(job.download_url("npm")) == expected for expected in (None, None, content)] == [True] * 3
            assert Job(server).restore("npm").body == content
