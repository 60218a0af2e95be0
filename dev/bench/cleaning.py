"""Cleanup: the cost of an archive from the end of its use to its last trace, and whether a million fit into a day."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from actions_cache.cleanup_batch import DEADLINE_MARGIN
from actions_cache.domain.archive import Commit, Merge, MergeState, Part, committed, reserved, stored
from actions_cache.domain.merge_plan import FULL_CORE_MB
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND
from actions_cache.services import LOOKUP_THREADS
from dev.bench.environment import Emulators, Row, bucket_url, running_driver
from dev.bench.load_generator import put_all
from dev.clients.driver import CacheDriver, block_ids, name, plenty
from dev.emulation.dynamodb_usage import hooked
from dev.local.template import Template

FEW, MANY = 50, 200

A_DAY = 1_000_000
"""Archives whose whole life is to fit into a day's runs."""

REQUEST_SECONDS = 0.010
"""Assumed duration of a request on AWS."""

PARTS = 11
"""Parts of each archive, as of 705 MB in blocks of 64 MiB."""

VISITS = {"sweep": 4 * 3600, "expire": 7 * 24 * 3600, "sweep again and forget": 4 * 3600}
"""Visits of an archive's life after its merge, with the seconds that pass before each."""

OBJECTS = 2_500
"""Number of one archive's objects: three pages of the listing, and three requests to delete them."""


@dataclass(frozen=True)
class Day:
    """Sums up the seconds that a day's runs at the default interval have for the archives' tasks."""

    runs: int
    promised: float
    """Even if eviction and migration use up their shares."""
    at_most: float
    """If these have nothing to do."""
    share: float
    """Share of a processor that the function's memory buys."""

    @classmethod
    def of(cls, template: Template) -> "Day":
        minutes = template.body["Parameters"]["CleanupIntervalMinutes"]["Default"]
        function = template.functions["CleanupFunction"]
        timeout, margin = function["Timeout"], DEADLINE_MARGIN / SECOND
        runs = 24 * 60 // minutes
        promised, at_most = (runs * (seconds - margin) for seconds in (timeout * 3 / 5, timeout))
        return cls(runs, promised, at_most, min(1.0, function["MemorySize"] / FULL_CORE_MB))


@dataclass(frozen=True)
class Life:
    """Sums up the visits of an archive's whole life, on average."""

    seconds: float
    processor_seconds: float
    requests: float

    @property
    def on_aws(self) -> float:
        """Return the seconds of a run at REQUEST_SECONDS a request, if waiting and computing never overlapped."""
        day = Day.of(Template.load())
        return self.requests * REQUEST_SECONDS / LOOKUP_THREADS + self.processor_seconds / day.share


def cleaning(emulators: Emulators, _rounds: int) -> Iterator[Row]:
    day = Day.of(Template.load())
    with running_driver(emulators) as driver:
        few, many = measured(driver, FEW), measured(driver, MANY)
        yield Row(
            f"cleanup of {MANY} archives' lives: of each",
            f"of {FEW}: {1000 * few.processor_seconds:.1f} ms of processor time, {few.requests:.1f} requests",
            f"{1000 * many.processor_seconds:.1f} ms of processor time, {many.requests:.1f} requests",
            many.requests / few.requests,
            "at most 1",
            f"{1000 * many.seconds:.0f} ms on emulators",
        )
        yield Row(
            f"{A_DAY:,} lives, at {1000 * REQUEST_SECONDS:.0f} ms a request",
            f"a day's {day.runs} runs: {day.promised:,.0f} s, up to {day.at_most:,.0f} s",
            f"{A_DAY * many.on_aws:,.0f} s",
            A_DAY * many.on_aws / day.promised,
            "at most 1",
            f"{day.share:.2f} of a processor",
        )
        calls = _swept(driver, OBJECTS)
        yield Row(
            f"sweep of an archive of {OBJECTS:,} objects",
            "",
            f"{calls['ListObjectsV2']} listings, {calls['DeleteObjects']} deletions",
            None,
            "1,000 keys a request",
        )


def measured(driver: CacheDriver, count: int) -> Life:
    """Take so many merged archives through the visits of their lives, and return what each took."""
    stored_keys = dict(_stored(driver, number) for number in range(count))
    put_all([(bucket_url(driver, "put_object", key), 1) for keys in stored_keys.values() for key in keys], at_once=8)
    services, failures = driver.services, 0
    seconds, processor = 0.0, 0.0
    with counted(driver) as calls:
        for passes in VISITS.values():
            driver.clock.advance(passes)
            began, computed = time.perf_counter(), time.process_time()
            failures += services.clean_up(plenty)["failed"]
            seconds += time.perf_counter() - began
            processor += time.process_time() - computed
    if failures or services.table.known_archives([*stored_keys][:100]):
        raise RuntimeError(f"cleanup left something, and failed {failures} times")
    return Life(seconds / count, processor / count, calls.total() / count)


def _stored(driver: CacheDriver, number: int) -> tuple[str, list[str]]:
    """Put a merged archive and its entry into the tables, as a save and a merge leave them.

    Returns:
        The archive's id, and the keys of its objects.
    """
    services, now = driver.services, driver.clock.now()
    archive = reserved(services.tokens.new(), name(f"old-{number}"), now, services.lifetimes)
    services.table.reserve(archive, now)
    keys = ArchiveKeys(archive.id)
    parts = [Part(keys.block(block_id, now, "1"), 1, "etag") for block_id in block_ids(PARTS)]
    manifest, merged = Part(keys.manifest("1"), 1, "etag"), Part(keys.merged("1"), PARTS, "etag")
    current = services.table.archive(archive.id)
    held = committed(current, Commit("digest", PARTS, PARTS, manifest, parts[0]), None) if current else None
    visible = stored(held, now) if held else None
    if current is None or visible is None:
        raise RuntimeError("the archive wasn't saved")
    published = services.table.publish_entry(current, visible)
    merge = Merge(state=MergeState.MERGED, ended_at=now)
    services.table.replace_archive(published, replace(published, object=merged, merge=merge))
    return archive.id, [part.key for part in (*parts, manifest, merged)]


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
