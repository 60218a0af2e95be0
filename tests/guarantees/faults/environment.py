"""Drives readers and merges behind a store that fails by script, and tells what came of them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException

import pytest

from actions_cache import part_stream
from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.download_services import DownloadServices
from actions_cache.events import RunEnd
from dev.clients.driver import CacheDriver, name, plenty
from dev.clients.wire import send
from dev.emulation.asgi_server import served
from dev.local.emulators import Endpoints
from functions.download.handler import create_app
from tests.guarantees.faults.store import FaultyStore, reads_of

KEY = name("npm-1")
LONG_PARTS = [random.Random(i).randbytes(6 * MIB) for i in range(4)]
"""Parts that S3 copies."""
SHORT_PARTS = [random.Random(i).randbytes(MIB + i) for i in range(12)]
"""Parts under S3's minimum for copies, which the worker reads and uploads."""

PARTS_READ = reads_of("/parts/")
MANIFEST_READ = reads_of("/manifest/")


@contextmanager
def faulty_store(endpoints: Endpoints) -> Iterator[FaultyStore]:
    """Lead the use cases' requests through a faulty store, from their first call on; not those of a driver's client.

    Stalls are noticed, and outages given up on, sooner than outside tests.
    """
    store = FaultyStore(endpoints)
    with store.served() as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL_S3", url)
        patched.setattr(part_stream, "STALL_SECONDS", 0.5)
        patched.setattr(part_stream, "MAX_ATTEMPTS_WITHOUT_PROGRESS", 4)
        yield store


@contextmanager
def download_url(driver: CacheDriver, **changes: object) -> Iterator[str]:
    """Serve a download function, and yield the URL of KEY's entry there.

    Args:
        driver: The driver whose control plane is served.
        changes: Changed fields of the use case that downloads.
    """
    data = DownloadServices(driver.services)
    data.download = replace(data.download, **changes)  # type: ignore[arg-type]
    with served(create_app(data)) as base_url:
        hit = driver.look_up(KEY.key, can_read_from_s3=False)
        assert hit is not None
        yield base_url + hit.url


def part_keys(driver: CacheDriver, archive_id: str) -> list[str]:
    return [part.key for part in driver.services.manifests.of(driver.archive(archive_id)).parts]


def read(url: str) -> bytes | None:
    """Return the body of a response that ended as announced, or None for a broken connection or a refusal."""
    try:
        reply = send("GET", url)
    except (HTTPException, OSError):
        return None
    return reply.body if reply.status == 200 else None


def merge_once(driver: CacheDriver, archive_id: str) -> bool:
    """Return whether the merge succeeded; otherwise its message is back in the queue, as the queue would have it."""
    [message] = driver.messages()
    try:
        outcome = driver.services.merge(message, plenty)
    except Exception:  # noqa: BLE001 - the message comes again whatever it is
        assert driver.archive(archive_id).merge.state is MergeState.QUEUED
        driver.services.queue.send(message)
        return False
    assert outcome is RunEnd.MERGED
    return True


def merged_content(driver: CacheDriver, archive_id: str) -> bytes:
    """Read the merged object past the faulty store."""
    merged = driver.archive(archive_id).object
    assert merged is not None
    content: bytes = driver.s3.get_object(Bucket=driver.services.settings.bucket, Key=merged.key)["Body"].read()
    return content
