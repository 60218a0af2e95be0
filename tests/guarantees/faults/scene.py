"""Archives to read and merge behind a store that fails by script, and what came of it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

import pytest

from actions_cache import part_stream
from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.download_services import DownloadServices
from actions_cache.events import RunEnd
from dev.local.emulators import Endpoints
from functions.download.handler import create_app
from tests.guarantees.faults.store import FaultyStore, reads_of
from tests.support.clients.wire import GO, send
from tests.support.journey import Journey, name, plenty
from tests.support.serving import served

KEY = name("npm-1")
LONG_PARTS = [random.Random(i).randbytes(6 * MIB) for i in range(4)]
"""S3 copies them."""
SHORT_PARTS = [random.Random(i).randbytes(MIB + i) for i in range(12)]
"""Under S3's floor for copies: the worker reads and uploads them."""

PARTS_READ = reads_of("/parts/")
MANIFEST_READ = reads_of("/manifest/")


@contextmanager
def faulty_store(endpoints: Endpoints) -> Iterator[FaultyStore]:
    """What use cases do on real engines goes through it, from their first call on; a journey's own client doesn't.

    Stalls are told sooner, and outages given up on, than outside tests.
    """
    store = FaultyStore(endpoints)
    with store.served() as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL_S3", url)
        patched.setattr(part_stream, "STALL_SECONDS", 0.5)
        patched.setattr(part_stream, "MAX_FRUITLESS_TRIES", 4)
        yield store


@contextmanager
def download_url(journey: Journey, **settings: object) -> Iterator[str]:
    """Of KEY's entry, at a download function of its own."""
    journey.services.settings = journey.services.settings.model_copy(update=settings)
    with served(create_app(DownloadServices(journey.services))) as base_url:
        hit = journey.look_up(KEY.key, user_agent=GO)
        assert hit is not None
        yield base_url + hit.url


def read(url: str) -> bytes | None:
    """What a response that ended as announced brought; None for a broken connection or a refusal."""
    try:
        reply = send("GET", url)
    except (HTTPException, OSError):
        return None
    return reply.body if reply.status == 200 else None


def merge_once(journey: Journey, archive_id: str) -> bool:
    """Return whether it was merged. If not, its message is back in the queue, as the queue itself would have it."""
    [message] = journey.messages()
    try:
        outcome = journey.services.merge(message, plenty)
    except Exception:  # noqa: BLE001 - whatever it is, the message comes again
        assert journey.archive(archive_id).merge.state is MergeState.QUEUED
        journey.services.queue.send(message)
        return False
    assert outcome is RunEnd.MERGED
    return True


def merged_content(journey: Journey, archive_id: str) -> bytes:
    """Past the faulty store."""
    merged = journey.archive(archive_id).object
    assert merged is not None
    content: bytes = journey.s3.get_object(Bucket=journey.services.settings.bucket, Key=merged.key)["Body"].read()
    return content
