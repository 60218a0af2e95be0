"""Cleanup: the cost of an archive from the end of its use to its last trace, among few and among many."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actions_cache.domain.archive import Commit, Part, committed, reserved, stored
from actions_cache.domain.object_keys import ArchiveKeys
from dev.bench.environment import Emulators, Row, bucket_url, running_driver
from dev.bench.load_generator import put_all
from dev.clients.driver import CacheDriver, name, plenty
from dev.emulation.dynamodb_usage import hooked

FEW, MANY = 50, 200
EXTRAPOLATED = 100_000
"""Number of archives for which the last column estimates the hours of runs."""

GRACES = 3
"""Number of runs, a grace apart, after which nothing is left: an archive stays at most twice its deletion's grace."""

OBJECTS = 2_500
"""Number of one archive's objects: three pages of the listing, and three requests to delete them."""


def cleaning(emulators: Emulators, _rounds: int) -> Iterator[Row]:
    with running_driver(emulators) as driver:
        few_seconds, few_requests = _cleaned(driver, FEW)
        seconds, requests = _cleaned(driver, MANY)
        yield Row(
            f"cleanup of {MANY} expired archives: of each",
            f"of {FEW}: {1000 * few_seconds / FEW:.0f} ms, {few_requests / FEW:.1f} requests",
            f"{1000 * seconds / MANY:.0f} ms, {requests / MANY:.1f} requests",
            (seconds / MANY) / (few_seconds / FEW),
            "about 1",
            f"{60 * MANY / seconds:,.0f} in a minute; "
            f"{EXTRAPOLATED:,} in {EXTRAPOLATED * seconds / MANY / 3600:.1f} h of runs",
        )
        calls = _swept(driver, OBJECTS)
        yield Row(
            f"sweep of an archive of {OBJECTS:,} objects",
            "",
            f"{calls['ListObjectsV2']} listings, {calls['DeleteObjects']} deletions",
            None,
            "1,000 keys a request",
        )


def _cleaned(driver: CacheDriver, count: int) -> tuple[float, int]:
    """Clean up so many archives, unused for too long, until nothing is left; return the seconds and requests."""
    ids = [_stored(driver, number) for number in range(count)]
    keys = [ArchiveKeys(archive_id).blob(1, "1") for archive_id in ids]
    put_all([(bucket_url(driver, "put_object", key), 1) for key in keys], at_once=8)
    services, seconds, failures = driver.services, 0.0, 0
    driver.clock.advance(services.settings.unused_entry_seconds)
    with counted(driver) as calls:
        for _ in range(GRACES):
            began = time.perf_counter()
            failures += services.clean_up(plenty)["failed"]
            seconds += time.perf_counter() - began
            driver.clock.advance(services.settings.grace_seconds)
    if failures or any(services.table.archive(archive_id) for archive_id in ids):
        raise RuntimeError(f"cleanup left something, and failed {failures} times")
    return seconds, calls.total()


def _stored(driver: CacheDriver, number: int) -> str:
    """Put an archive of one object and its entry into the tables, as a save leaves them, and return its id."""
    services, now = driver.services, driver.clock.now()
    archive = reserved(services.tokens.new(), name(f"old-{number}"), now, services.lifetimes)
    services.table.reserve(archive, now)
    current = services.table.archive(archive.id)
    part = Part(ArchiveKeys(archive.id).blob(1, "1"), 1, "etag")
    held = committed(current, Commit("digest", 1, 1, None), part) if current else None
    visible = stored(held, now) if held else None
    if current is None or visible is None:
        raise RuntimeError("the archive wasn't saved")
    return services.table.publish_entry(current, visible).id


def _swept(driver: CacheDriver, objects: int) -> Counter[str]:
    """Delete an abandoned upload of so many objects, and return the requests by operation."""
    archive_id = driver.reserve(name("abandoned"))
    keys = [ArchiveKeys(archive_id).blob(1, str(number)) for number in range(objects)]
    put_all([(bucket_url(driver, "put_object", key), 1) for key in keys], at_once=8)
    driver.clock.advance(driver.services.settings.reservation_seconds)
    with counted(driver) as calls:
        driver.clean_up()
    return calls


@contextmanager
def counted(driver: CacheDriver) -> Iterator[Counter[str]]:
    """Count the block's requests to table and bucket, by operation."""
    calls: Counter[str] = Counter()
    table, bucket = driver.services.table._connection.client, driver.services.bucket._s3

    def note(model: Any, **_: object) -> None:
        calls[model.name] += 1

    with hooked(table, "after-call", note), hooked(bucket, "after-call", note):
        yield calls
