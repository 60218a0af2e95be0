"""Calculates what a try may cost at most, then saves and restores as a job does and measures the time."""

import hashlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from actions_cache.cost import GIGABYTE, HOURS_A_MONTH, Line, Saving, entry_saved, restored, total
from actions_cache.domain.merge_plan import MIB
from actions_cache_cli.deployment_check.__main__ import TRAFFIC_BYTES
from actions_cache_cli.deployment_check.check import new_job
from actions_cache_cli.deployment_check.diagnoses import explain, explain_error
from actions_cache_cli.doctor.address import NoAnswer
from actions_cache_cli.doctor.probe import (
    CREATED,
    OK_STATUS,
    PARTIAL,
    Client,
    Limits,
    Reply,
    is_s3_url,
    message_of,
    plain_block_id,
    put_block_list,
)
from actions_cache_cli.terminal import CannotStart
from dev.cost.cost import idle_month
from dev.local.template import Template

UPLOADS_AT_ONCE = 4
"""Number of concurrent uploads, as in @actions/cache."""
POLL_SECONDS = 0.25
LIMITS = Limits(silence_seconds=120, transfer_seconds=3600, max_bytes=4 * 1024**3)
"""Limits of an answer, which may be a whole entry."""

COLD_CALLS, WARM_CALLS = 3, 10
CONNECTIONS = (1, 8)
RESTORES = 2
"""Number of restores of an entry with each number of connections."""
POLLS_AN_ENTRY = 240
"""Most lookups while an entry's merge is waited for."""

# ---------------------------------------------------------------- the most that a try may cost

HOURS = 2
"""AWS bills alarms and secrets by the hour; a try takes half of one."""
CHECK_ENTRIES, CHECK_RESTORES, CHECK_BLOCKS = 4, 4, 8
MOST_ENTRIES, LARGEST_BLOCK_MIB = 1000, 128
LARGEST_MIB = 2048
"""Largest entry, which is held in memory twice."""
DEPLOY_REQUESTS = 2000
"""Number of requests to the S3 bucket that sam puts code into, and for deleting everything."""
SAFETY = 1.5
"""Margin for retries, and for the time that the stack takes to delete itself."""


class TooMuch(CannotStart):
    """Raised when the sizes that were asked for cost more than may be spent; the message says what would fit."""


@dataclass(frozen=True)
class Sizes:
    entries: int = 3
    entry_mib: int = 128
    block_mib: int = 32

    def __post_init__(self) -> None:
        if not (
            1 <= self.entries <= MOST_ENTRIES
            and 1 <= self.block_mib <= LARGEST_BLOCK_MIB
            and 1 <= self.entry_mib <= LARGEST_MIB
        ):
            raise TooMuch("say ENTRIES from 1 to 1000, ENTRY_MIB from 1 to 2048, BLOCK_MIB from 1 to 128")

    @property
    def blocks(self) -> list[int]:
        """Return the bytes of each block."""
        count = math.ceil(self.entry_mib / self.block_mib)
        return [min(self.block_mib, self.entry_mib - at * self.block_mib) * MIB for at in range(count)]

    @property
    def entry_bytes(self) -> int:
        return self.entry_mib * MIB

    @property
    def restores(self) -> int:
        """Return the number of restores of one entry."""
        return RESTORES * len(CONNECTIONS)

    @property
    def saving(self) -> Saving:
        return Saving(self.entry_bytes, self.block_mib * MIB, self.restores + POLLS_AN_ENTRY, 0)

    @property
    def uploaded(self) -> int:
        return self.entries * self.entry_bytes + TRAFFIC_BYTES

    @property
    def downloaded(self) -> int:
        return self.entries * self.restores * self.entry_bytes + TRAFFIC_BYTES

    @property
    def requests(self) -> int:
        """Return the most requests that are sent to the server and to S3."""
        gets = RESTORES * sum(CONNECTIONS)
        one = 3 + len(self.blocks) + gets + self.restores + POLLS_AN_ENTRY
        return self.entries * one + COLD_CALLS + WARM_CALLS + CHECK_ENTRIES * (CHECK_BLOCKS + 3 * CHECK_RESTORES)


def lines(sizes: Sizes, template: Template) -> tuple[Line, ...]:
    """Return all that the try may use, each at its price, before the margin."""
    check = Saving(TRAFFIC_BYTES / CHECK_ENTRIES, TRAFFIC_BYTES / CHECK_ENTRIES / CHECK_BLOCKS, CHECK_RESTORES, 1, True)  # noqa: FBT003
    return (
        *_times(sizes.entries, entry_saved(sizes.saving)),
        *_times(COLD_CALLS + WARM_CALLS, restored(Saving())),
        *_times(CHECK_ENTRIES, entry_saved(check)),
        Line("what is restored, to outside AWS", "S3 to internet", sizes.downloaded / GIGABYTE),
        Line("code and deletion", "S3 write", DEPLOY_REQUESTS),
        *(
            Line(f"idle: {line.what}", line.price, line.quantity * HOURS / HOURS_A_MONTH)
            for line in idle_month(template)
        ),
        Line("the rotation's calls at deploy", "KeyValueStore API", 20),
    )


def ceiling_usd(sizes: Sizes, template: Template) -> float:
    return SAFETY * total(lines(sizes, template))


def check(sizes: Sizes, template: Template, most_usd: float) -> float:
    """Return the ceiling in dollars.

    Raises:
        TooMuch: It is more than may be spent.
    """
    usd = ceiling_usd(sizes, template)
    if usd > most_usd:
        raise TooMuch(
            f"{sizes.entries} entries of {sizes.entry_mib} MiB may cost ${usd:.2f}, and MAX_USD is {most_usd:.2f}: "
            "say fewer ENTRIES, a smaller ENTRY_MIB, or more MAX_USD"
        )
    return usd


def _times(count: float, several: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(Line(line.what, line.price, line.quantity * count) for line in several)


# ---------------------------------------------------------------- the measurements


class BenchFailed(Exception):
    """Raised when something can't be measured; the message says what happened."""


class OverCeiling(Exception):
    """Raised before a request that would go beyond what was calculated."""


@dataclass
class Meter:
    """Counts requests and bytes, and lets none go beyond what was calculated."""

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
            OverCeiling: It would go beyond the ceiling.
        """
        with self._lock:
            self.requests += 1
            self.sent += sent
            self.received += received
            if self.requests > self.most_requests or self.sent > self.most_sent or self.received > self.most_received:
                raise OverCeiling(
                    f"stopped at {self.requests} requests, {self.sent} bytes sent and {self.received} received: more "
                    "would go beyond what was calculated"
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
        chill: Function that has Lambda start the API's function anew at its next call.
    """

    base: str
    token: str
    sizes: Sizes
    meter: Meter
    chill: Callable[[], None]
    say: Callable[[str], None]
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        self._client = Client(LIMITS)
        self._job = new_job(self._client, self.base, self.token)

    def run(self) -> Measured:
        """Save and restore all entries, time the starts, and return what was measured.

        Raises:
            BenchFailed: Something can't be measured.
            OverCeiling: The next request would go beyond the ceiling.
            NoAnswer: The server can't be reached.
            Refused: The server refuses a step.
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
            list(several.map(lambda block: self._put(url, *block), zip(ids, bodies, strict=True)))
        self.meter.count()
        reply = put_block_list(self._client, url, ids)
        if reply.status != CREATED:
            raise BenchFailed(f"the block list of {key}: {explain(reply)}")
        self.meter.count()
        answer = message_of("FinalizeCacheEntryUpload", self._job.finalize(key, self.sizes.entry_bytes))
        if not answer.get("ok"):
            raise BenchFailed(f"the finalize of {key} says {answer}")
        self.measured.save_seconds.append(time.monotonic() - began)
        return digest.digest()

    def _put(self, url: str, block_id: str, body: bytes) -> None:
        self.meter.count(sent=len(body))
        reply = self._ask("PUT", f"{url}&comp=block&blockid={block_id}", body)
        if reply.status != CREATED:
            raise BenchFailed(f"a block: {explain(reply)}")

    def _merged(self, key: str) -> str:
        """Wait until the parts are one object, and return the lookup's S3 URL for it."""
        began = time.monotonic()
        for _ in range(POLLS_AN_ENTRY):
            self.meter.count()
            url = self._job.download_url(key)
            if is_s3_url(url):
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
            pieces = list(several.map(lambda part: self._get(url, *part), ranges))
        self.measured.restore_seconds[connections].append(time.monotonic() - began)
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if digest.digest() != wanted:
            raise BenchFailed(f"what {connections} connections restored isn't what was saved")

    def _get(self, url: str, start: int, end: int) -> bytes:
        self.meter.count(received=end - start)
        reply = self._ask("GET", url, headers={"Range": f"bytes={start}-{end - 1}"})
        if reply.status not in (OK_STATUS, PARTIAL) or len(reply.body) != end - start:
            raise BenchFailed(f"bytes {start} to {end}: {explain(reply)}")
        return reply.body

    def _starts(self) -> None:
        """Time lookups that find nothing: by a function that has to start, and by one that runs."""
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

    def _ask(self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """Return a whole answer; after S3's 503 SlowDown or a broken connection try once more, and count that too."""
        for is_last in (False, True):
            try:
                reply = self._client.ask(method, url, body, headers)
            except NoAnswer as error:
                if is_last:
                    raise BenchFailed(f"{method} to {urlsplit(url).hostname}: {explain_error(error)}") from error
            else:
                if is_last or reply.status < 500:  # noqa: PLR2004
                    return reply
            self.meter.count(sent=len(body or b""))
        raise AssertionError


def middle(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)
