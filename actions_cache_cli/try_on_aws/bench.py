"""Saves and restores as a job does, timed: whole entries, by one connection and by eight, and from cold."""

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from actions_cache_cli.deployment_check.explain import explain
from actions_cache_cli.deployment_check.job import CREATED, OK, Job, message_of, plain_block_id, put_block_list
from actions_cache_cli.deployment_check.wire import Client
from actions_cache_cli.try_on_aws.ceiling import COLD_CALLS, CONNECTIONS, POLLS_AN_ENTRY, RESTORES, WARM_CALLS, Sizes

PARTIAL = 206
UPLOADS_AT_ONCE = 4
"""Number of concurrent uploads, as in @actions/cache."""
POLL_SECONDS = 0.25
READ_BYTES = 1024 * 1024
CUT_SECONDS = 120


class BenchFailed(Exception):
    """Raised when something can't be measured; the message says what happened."""


class OverCeiling(Exception):
    """Raised before a request that would go beyond what was reckoned."""


@dataclass
class Meter:
    """Counts requests and bytes, and lets none go beyond what was reckoned."""

    most_requests: int
    most_sent: int
    most_received: int
    requests: int = 0
    sent: int = 0
    received: int = 0
    _lock: Any = field(default_factory=Lock)

    def count(self, *, sent: int = 0, received: int = 0) -> None:
        """Count one request before it is made, with the bytes that it takes.

        Raises:
            OverCeiling: it would go beyond the ceiling.
        """
        with self._lock:
            self.requests += 1
            self.sent += sent
            self.received += received
            if self.requests > self.most_requests or self.sent > self.most_sent or self.received > self.most_received:
                raise OverCeiling(
                    f"stopped at {self.requests} requests, {self.sent} bytes sent and {self.received} received: more "
                    "would go beyond what was reckoned"
                )


@dataclass
class Measured:
    save_seconds: list[float] = field(default_factory=list)
    merge_seconds: list[float] = field(default_factory=list)
    restore_seconds: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    cold_seconds: list[float] = field(default_factory=list)
    warm_seconds: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """Times saves and restores.

    Args:
        chill: Has Lambda start the API's function anew at its next call.
    """

    base: str
    token: str
    sizes: Sizes
    meter: Meter
    chill: Callable[[], None]
    say: Callable[[str], None]
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        self._job = Job(Client(), self.base, self.token)
        self._pool = urllib3.PoolManager(
            maxsize=max(CONNECTIONS), timeout=urllib3.Timeout(connect=10, read=CUT_SECONDS), retries=False
        )

    def run(self) -> Measured:
        """Save and restore all entries, time the starts, and return what was measured.

        Raises:
            BenchFailed: something can't be measured.
            OverCeiling: the next request would go beyond the ceiling.
            NoAnswer: the server can't be reached.
            Failed: the server answers wrongly.
        """
        for number in range(self.sizes.entries):
            key = f"try-{number}-{os.urandom(4).hex()}"
            wanted = self._save(key)
            url = self._merged(key)
            for count in CONNECTIONS:
                for _ in range(RESTORES):
                    self._restore(url, count, wanted)
            self.say(f"... entry {number + 1} of {self.sizes.entries} is saved, merged and restored")
        self._starts()
        return self.measured

    def _save(self, key: str) -> bytes:
        """Save an entry, and return the digest of its bytes."""
        bodies = [os.urandom(size) for size in self.sizes.blocks]
        digest = hashlib.sha256()
        for body in bodies:
            digest.update(body)
        ids = [plain_block_id(number) for number in range(len(bodies))]
        began = time.monotonic()
        self.meter.count()
        url = self._job.reserve(key)
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as several:
            list(several.map(lambda it: self._put(url, *it), zip(ids, bodies, strict=True)))
        self.meter.count()
        reply = put_block_list(self._job.client, url, ids)
        if reply.status != CREATED:
            raise BenchFailed(f"the block list of {key}: {explain(reply.status, reply.headers, reply.body)}")
        self.meter.count()
        answer = message_of(self._job.finalize(key, self.sizes.entry_bytes))
        if not answer.get("ok"):
            raise BenchFailed(f"the finalize of {key} says {answer}")
        self.measured.save_seconds.append(time.monotonic() - began)
        return digest.digest()

    def _put(self, url: str, block_id: str, body: bytes) -> None:
        self.meter.count(sent=len(body))
        reply = self._ask("PUT", f"{url}&comp=block&blockid={block_id}", body)
        if reply.status != CREATED:
            raise BenchFailed(f"a block: {explain(reply.status, reply.headers, reply.data)}")

    def _merged(self, key: str) -> str:
        """Wait until the parts are one object, and return the look-up's S3 URL for it."""
        began = time.monotonic()
        for _ in range(POLLS_AN_ENTRY):
            self.meter.count()
            url = self._job.download_url(key)
            if "X-Amz-Signature=" in urlsplit(url).query:
                self.measured.merge_seconds.append(time.monotonic() - began)
                return url
            time.sleep(POLL_SECONDS)
        raise BenchFailed(f"{key} wasn't merged in {time.monotonic() - began:.0f} s; see the log of the MergeFunction")

    def _restore(self, url: str, connections: int, wanted: bytes) -> None:
        size = self.sizes.entry_bytes
        step = -(-size // connections)
        ranges = [(start, min(size, start + step)) for start in range(0, size, step)]
        began = time.monotonic()
        with ThreadPoolExecutor(connections) as several:
            pieces = list(several.map(lambda it: self._get(url, *it), ranges))
        self.measured.restore_seconds[connections].append(time.monotonic() - began)
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.digest() != wanted:
            raise BenchFailed(f"what {connections} connections restored isn't what was saved")

    def _get(self, url: str, start: int, end: int) -> bytes:
        self.meter.count(received=end - start)
        reply = self._ask("GET", url, headers={"Range": f"bytes={start}-{end - 1}"})
        if reply.status not in (OK, PARTIAL) or len(reply.data) != end - start:
            raise BenchFailed(f"bytes {start} to {end}: {explain(reply.status, reply.headers, reply.data[:2000])}")
        return reply.data

    def _starts(self) -> None:
        """Time look-ups that find nothing: by a function that has to start, and by one that runs."""
        for _ in range(COLD_CALLS):
            self.chill()
            self.measured.cold_seconds.append(self._miss())
        for _ in range(WARM_CALLS):
            self.measured.warm_seconds.append(self._miss())

    def _miss(self) -> float:
        self.meter.count()
        began = time.monotonic()
        if self._job.look_up("try-no-such-key").get("ok"):
            raise BenchFailed("a key that nobody saved was found")
        return time.monotonic() - began

    def _ask(
        self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Return a whole answer. S3 may say 503 SlowDown, or a connection break: it is tried once more, and counted."""
        for is_last in (False, True):
            try:
                reply = self._pool.request(method, url, body=body, headers=headers, redirect=False)
            except HTTPError as fault:
                if is_last:
                    raise BenchFailed(f"{method} to {urlsplit(url).hostname}: {fault}") from fault
            else:
                if is_last or reply.status < 500:  # noqa: PLR2004
                    return reply
            self.meter.count(sent=len(body or b""))
        raise AssertionError


def middle(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)
