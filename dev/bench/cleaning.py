"""Cleanup: what an archive costs from the end of its use to the last trace of it, among few and among many."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actions_cache.domain.archive import Commit, Part, committed, reserved, stored
from actions_cache.domain.object_keys import ArchiveKeys
from dev.bench.environment import Store, put_all
from dev.bench.row import Row
from dev.bench.workbench import Workbench, workbench
from dev.clients.driver import CacheDriver, name, plenty
from dev.emulation.dynamodb_usage import hooked

FEW, MANY = 50, 200
LIKE = 100_000
"""Archives that the figures are reckoned up to."""

GRACES = 3
"""After so many, twice that of the deletion at the most, nothing of an archive is left to be done."""

OBJECTS = 2_500
"""Of one archive: three pages of the listing, and three requests to delete them."""


def cleaning(store: Store, _rounds: int) -> Iterator[Row]:
    with workbench(store) as bench:
        by_count = [(count, *_cleaned(bench, count)) for count in (FEW, MANY)]
        (_, few_seconds, few_requests), (_, seconds, requests) = by_count
        yield Row(
            f"cleanup of {MANY} expired archives: of each",
            f"of {FEW}: {1000 * few_seconds / FEW:.0f} ms, {few_requests / FEW:.1f} requests",
            f"{1000 * seconds / MANY:.0f} ms, {requests / MANY:.1f} requests",
            (seconds / MANY) / (few_seconds / FEW),
            "about 1",
            f"{60 * MANY / seconds:,.0f} in a minute; {LIKE:,} in {LIKE * seconds / MANY / 3600:.1f} h of runs",
        )
        calls = _swept(bench, OBJECTS)
        yield Row(
            f"sweep of an archive of {OBJECTS:,} objects",
            "",
            f"{calls['ListObjectsV2']} listings, {calls['DeleteObjects']} deletions",
            None,
            "1,000 keys a request",
        )


def _cleaned(bench: Workbench, count: int) -> tuple[float, int]:
    """Seconds and requests until nothing of so many archives, unused for too long, is left."""
    driver = bench.driver
    ids = [_stored(driver, number) for number in range(count)]
    put_all([(bench.presigned("put_object", ArchiveKeys(it).blob(1, "1")), 1) for it in ids], at_once=8)
    services, seconds, failures = driver.services, 0.0, 0
    driver.clock.advance(services.settings.unused_entry_seconds)
    with counted(driver) as calls:
        for _ in range(GRACES):
            began = time.perf_counter()
            failures += services.clean_up(plenty)["failed"]
            seconds += time.perf_counter() - began
            driver.clock.advance(services.settings.grace_seconds)
    if failures or any(services.table.archive(it) for it in ids):
        raise RuntimeError(f"cleanup left something, and failed {failures} times")
    return seconds, calls.total()


def _stored(driver: CacheDriver, number: int) -> str:
    """An archive of one object and its entry, as a save leaves them in the tables. Returns its id."""
    services, now = driver.services, driver.clock.now()
    archive = reserved(services.tokens.new(), name(f"old-{number}"), now, services.lifetimes)
    services.table.reserve(archive, now)
    seen = services.table.archive(archive.id)
    part = Part(ArchiveKeys(archive.id).blob(1, "1"), 1, "etag")
    held = committed(seen, Commit("digest", 1, 1, None), part) if seen else None
    visible = stored(held, now) if held else None
    if seen is None or visible is None:
        raise RuntimeError("the archive wasn't saved")
    return services.table.publish_entry(seen, visible).id


def _swept(bench: Workbench, objects: int) -> Counter[str]:
    """The requests that deleting what was uploaded to one abandoned archive takes."""
    driver = bench.driver
    archive_id = driver.reserve(name("abandoned"))
    keys = [ArchiveKeys(archive_id).blob(1, str(number)) for number in range(objects)]
    put_all([(bench.presigned("put_object", it), 1) for it in keys], at_once=8)
    driver.clock.advance(driver.services.settings.reservation_seconds)
    with counted(driver) as calls:
        driver.clean_up()
    return calls


@contextmanager
def counted(driver: CacheDriver) -> Iterator[Counter[str]]:
    """Requests to table and bucket in the block, by operation."""
    calls: Counter[str] = Counter()
    table, bucket = driver.services.table._connection.client, driver.services.bucket._s3  # noqa: SLF001 - seen nowhere else

    def note(model: Any, **_: object) -> None:
        calls[model.name] += 1

    with hooked(table, "after-call", note), hooked(bucket, "after-call", note):
        yield calls
