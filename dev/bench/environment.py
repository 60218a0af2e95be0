"""What is measured: a local run on a store of its own, with the injector in between, and a bucket beside it."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3

from dev.bench.latency_proxy import injector
from dev.bench.load_generator import Transfer
from dev.clients.local_server import running_server
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job, put_block_list, random_block_id, with_query
from dev.local import emulators
from dev.local.emulators import Endpoints

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PLAIN_BUCKET = "plain"
PRESIGNED_SECONDS = 3600


@dataclass(frozen=True)
class Store:
    """The engine, and a bucket for the plain side."""

    endpoints: Endpoints

    @property
    def port(self) -> int:
        return urlsplit(self.endpoints.store).port or 80

    def client(self, endpoint: str) -> "S3Client":
        keys = self.endpoints.credentials
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            region_name=self.endpoints.region,
        )


@contextmanager
def store(directory: Path) -> Iterator[Store]:
    with emulators.start(directory) as endpoints:
        one = Store(endpoints)
        one.client(endpoints.store).create_bucket(Bucket=PLAIN_BUCKET)
        yield one


@dataclass(frozen=True)
class Scene:
    """A server whose store is `milliseconds` away, and the same store for the plain side, as far away."""

    server: str
    plain_client: "S3Client"
    hop_client: "S3Client"
    """Of what plain_client asks, past one more process that copies each byte and does nothing else."""

    def job(self) -> Job:
        """Of a repository of its own."""
        return Job(self.server, runtime_token(repository=str(uuid.uuid4().int % 10**12)))

    def plain_object(self, key: str, size: int) -> str:
        """A presigned URL of one object of random bytes."""
        put_all(self.plain_targets([(key, size)]), at_once=1)
        return presigned(self.plain_client, "get_object", PLAIN_BUCKET, key)

    def past_the_hop(self, key: str) -> str:
        """A presigned URL of a plain object."""
        return presigned(self.hop_client, "get_object", PLAIN_BUCKET, key)

    def plain_targets(self, objects: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        return [(presigned(self.plain_client, "put_object", PLAIN_BUCKET, key), size) for key, size in objects]


def presigned(client: "S3Client", method: str, bucket: str, key: str) -> str:
    """Args: method: as boto3 calls it."""
    where = {"Bucket": bucket, "Key": key}
    return client.generate_presigned_url(method, Params=where, ExpiresIn=PRESIGNED_SECONDS)


def save(job: Job, key: str, block_bytes: int, total: int) -> None:
    """In blocks, eight at a time, as @actions/cache does."""
    url = job.reserve(key)
    sizes = [min(block_bytes, total - at) for at in range(0, total, block_bytes)]
    ids = [random_block_id() for _ in sizes]
    urls = [with_query(url, last={"comp": "block", "blockid": one}) for one in ids]
    put_all(list(zip(urls, sizes, strict=True)), at_once=8)
    put_block_list(url, ids)
    finalized = job.finalize(key, total)
    if not finalized.json.get("ok"):
        raise RuntimeError(f"the entry wasn't saved: {finalized.body!r}")


@contextmanager
def scene(behind: Store, directory: Path, milliseconds: float, merge_workers: int = 0) -> Iterator[Scene]:
    """With workers, each entry's merge begins with its first download."""
    keys = behind.endpoints.credentials
    with (
        injector(behind.port, milliseconds) as endpoint,
        injector(urlsplit(endpoint).port or 0, 0, copies=True) as hop,
    ):
        settings = {
            "STORE_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_REGION": behind.endpoints.region,
            "LOCAL_MERGE_WORKERS": str(merge_workers),
            "MERGE_TRIGGER": "first-download",
        }
        with running_server(directory, settings) as server:
            yield Scene(server, behind.client(endpoint), behind.client(hop))


def put_all(targets: Sequence[tuple[str, int]], at_once: int) -> float:
    """Seconds, by a process of its own. Args: targets: URLs, and how many bytes go to each."""
    return exchange_all([("PUT", url, size) for url, size in targets], at_once)


def exchange_all(exchanges: Sequence[tuple[str, str, int]], at_once: int) -> float:
    """See load.exchange_all; by a process of its own."""
    return float(_output(_start(["many", "--at-once", str(at_once)]), json.dumps(exchanges)))


def get_all(urls: Sequence[str], pause: float = 0) -> list[Transfer]:
    """All at once, each by a process of its own. Args: pause: see load.get."""
    processes = [_start(["get", url, "--pause", str(pause)]) for url in urls]
    return [Transfer(**json.loads(_output(process))) for process in processes]


def _start(arguments: Sequence[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dev.bench.load_generator", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _output(process: "subprocess.Popen[str]", standard_input: str = "") -> str:
    output, _ = process.communicate(standard_input)
    if process.returncode:
        raise RuntimeError(f"the load generator failed: {process.args!r}")
    return output
