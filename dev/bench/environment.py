"""Shared by the cases: emulators, a local run at some distance from its bucket, a driver, and the table's rows."""

import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch
from urllib.parse import urlsplit

import boto3

from actions_cache.domain.entry import EntryName
from actions_cache.domain.object_keys import ArchiveKeys
from dev.bench.latency_proxy import latency_proxy
from dev.bench.load_generator import put_all
from dev.clients.driver import CacheDriver, block_ids
from dev.clients.local_server import running_server
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job, put_block_list, random_block_id, with_query
from dev.local import emulators
from dev.local.emulators import Endpoints
from dev.local.template import Template

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MB, MIB = 10**6, 1024 * 1024
PLAIN_BUCKET = "plain"
PRESIGNED_SECONDS = 3600


class Row(NamedTuple):
    """A row of the table: what was measured, beside what, and what it should be."""

    what: str
    beside: str
    """Yardstick, with its unit."""
    ours: str
    ratio: float | None
    aim: str
    more: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (self.what, self.beside, self.ours, ratio, self.aim, self.more)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Emulators:
    endpoints: Endpoints

    @property
    def store_port(self) -> int:
        return urlsplit(self.endpoints.store).port or 80

    def s3(self, endpoint: str) -> "S3Client":
        return self.session().client("s3", endpoint_url=endpoint)

    def session(self) -> boto3.Session:
        keys = self.endpoints.credentials
        return boto3.Session(keys.access_key_id, keys.secret_access_key, region_name=self.endpoints.region)


@contextmanager
def running_emulators(directory: Path) -> Iterator[Emulators]:
    """Start emulators with a bucket for the plain side, and stop them after the block."""
    with emulators.start(directory) as endpoints:
        running = Emulators(endpoints)
        running.s3(endpoints.store).create_bucket(Bucket=PLAIN_BUCKET)
        yield running


@dataclass(frozen=True)
class Environment:
    """A server whose store is `milliseconds` away, and the same store for the plain side, as far away."""

    server: str
    plain: "S3Client"
    hop: "S3Client"
    """Leads to the plain side past one more process that copies each byte and does nothing else."""

    def job(self) -> Job:
        """Return a job of a repository of its own."""
        return Job(self.server, new_token())

    def plain_object(self, key: str, size: int) -> str:
        """Put an object of random bytes, and return a presigned URL of it."""
        put_all([(self.plain_target(key), size)], at_once=1)
        return presigned(self.plain, "get_object", PLAIN_BUCKET, key)

    def plain_target(self, key: str) -> str:
        return presigned(self.plain, "put_object", PLAIN_BUCKET, key)

    def past_the_hop(self, key: str) -> str:
        return presigned(self.hop, "get_object", PLAIN_BUCKET, key)


@contextmanager
def environment(
    emulators: Emulators,
    milliseconds: float,
    merge_workers: int = 0,
    *,
    bytes_per_second: float | None = None,
    merge_trigger: str = "first-download",
) -> Iterator[Environment]:
    """Start a local run. With merge workers, each entry's merge begins with its first download, or as said.

    Args:
        emulators: what it runs on.
        milliseconds: delay of each request to the store.
        merge_workers: number of merge workers.
        bytes_per_second: most that one connection to the store carries each way; None for no cap.
        merge_trigger: value of MERGE_TRIGGER.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        latency_proxy(emulators.store_port, milliseconds, bytes_per_second=bytes_per_second) as endpoint,
        latency_proxy(urlsplit(endpoint).port or 0, 0, copies=True) as hop,
    ):
        settings = {
            **emulators.endpoints.settings_with_store(endpoint),
            "LOCAL_MERGE_WORKERS": str(merge_workers),
            "MERGE_TRIGGER": merge_trigger,
        }
        with running_server(Path(directory), settings) as server:
            yield Environment(server, emulators.s3(endpoint), emulators.s3(hop))


def new_token() -> str:
    """Return the token of a job in a repository of its own."""
    return runtime_token(repository=str(uuid.uuid4().int % 10**12))


def presigned(client: "S3Client", method: str, bucket: str, key: str) -> str:
    return client.generate_presigned_url(method, Params={"Bucket": bucket, "Key": key}, ExpiresIn=PRESIGNED_SECONDS)


def save(job: Job, key: str, block_bytes: int, total: int) -> None:
    """Save an entry in blocks, eight at a time, as @actions/cache does."""
    url = job.reserve(key)
    sizes = [min(block_bytes, total - at) for at in range(0, total, block_bytes)]
    ids = [random_block_id() for _ in sizes]
    put_all([(block_url(url, block_id), size) for block_id, size in zip(ids, sizes, strict=True)], at_once=8)
    put_block_list(url, ids)
    finalized = job.finalize(key, total)
    if not finalized.json.get("ok"):
        raise RuntimeError(f"the entry wasn't saved: {finalized.body!r}")


def block_url(upload_url: str, block_id: str) -> str:
    return with_query(upload_url, last={"comp": "block", "blockid": block_id})


# ---------------------------------------------------------------- without HTTP before the use cases


@contextmanager
def running_driver(emulators: Emulators, **endpoints: str) -> Iterator[CacheDriver]:
    """Provide the use cases in this process, on tables and a bucket of their own.

    Args:
        emulators: where they run.
        endpoints: variables that lead elsewhere than to these emulators.
    """
    with patch.dict(os.environ, emulators.endpoints.environment() | endpoints):
        yield CacheDriver.create(Template.load(), emulators.session(), f"bench-{uuid.uuid4().hex[:8]}")


def bucket_url(driver: CacheDriver, method: str, key: str) -> str:
    return presigned(driver.s3, method, driver.services.settings.bucket, key)


def upload(driver: CacheDriver, entry_name: EntryName, sizes: Sequence[int]) -> list[str]:
    """Upload random blocks up to the block list, and return the keys of the parts."""
    archive_id, ids = driver.reserve(entry_name), block_ids(len(sizes))
    keys = [ArchiveKeys(archive_id).block(block_id, driver.clock.now(), "0") for block_id in ids]
    targets = [(bucket_url(driver, "put_object", key), size) for key, size in zip(keys, sizes, strict=True)]
    put_all(targets, at_once=8)
    driver.services.commit.block_list(archive_id, ids)
    return keys


def peak_memory(process: int) -> int:
    """Return the most bytes of a process that were resident. Not getrusage's: it starts with what the parent had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) * 1024 if found else 0
