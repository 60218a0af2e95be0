"""Estimate what the server costs a month, by AWS's list prices."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from actions_cache.domain.archive import Manifest, Part
from actions_cache.domain.budgets import Tally, Usage
from actions_cache.domain.delivery import merge_seconds
from actions_cache.domain.merge_plan import MIB, Copy, Upload, plan_merge

GIGABYTE = 1e9
"""Bytes of a gigabyte here. AWS's has 2^30 bytes, so its bill is up to 7 % lower than the estimate."""

TERABYTE = 1e12

HOURS_A_MONTH = 730
MILLION = 1e6

IDLE_MONTH_USD = 3.03
"""Cost of a month in which nothing is built. dev/cost/cost.py computes it from the template; a test compares both."""

NOT_CHECKED = "from memory"
"""Source of prices that were looked up nowhere."""


@dataclass(frozen=True, slots=True)
class Price:
    """States a list price: so many dollars per quantity.

    Args:
        seen: where the price was seen, and when; NOT_CHECKED for nowhere.
    """

    usd: float
    per: float
    unit: str
    seen: str

    def of(self, quantity: float) -> float:
        return quantity / self.per * self.usd


def _million(usd: float, unit: str, seen: str) -> Price:
    return Price(usd, MILLION, f"million {unit}", seen)


_CLOUDFRONT = "aws.amazon.com/cloudfront/pricing, a stored copy without a date"
_ANNOUNCEMENT = "Amazon's announcement of 2013-04; that it still holds, " + NOT_CHECKED
PRICES: Mapping[str, Price] = {
    "CloudFront to origin": Price(0.02, 1, "GB", NOT_CHECKED),
    "CloudFront to internet": Price(0.085, 1, "GB", _CLOUDFRONT),
    "CloudFront request": Price(0.01, 10_000, "10,000", "factualminds.com, 2026-06"),
    "CloudFront Function": _million(0.10, "runs", "cur.vantage.sh, 2026"),
    "KeyValueStore read": _million(0.03, "reads", NOT_CHECKED),
    "KeyValueStore API": Price(1.00, 1000, "1,000 calls", NOT_CHECKED),
    "S3 write": Price(0.005, 1000, "1,000", _ANNOUNCEMENT),
    "S3 read": Price(0.004, 10_000, "10,000", _ANNOUNCEMENT),
    "S3 storage": Price(0.023, 1, "GB and month", NOT_CHECKED),
    "S3 to internet": Price(0.09, 1, "GB", "usage.ai, 2026-06"),
    "Lambda call": _million(0.20, "calls", "github.com/api-evangelist/aws-lambda, from AWS's page, 2026-09"),
    "Lambda GB-second": Price(0.0000133334, 1, "GB-second, arm64", "artillery 2.0.28 (npm), prices.js"),
    "Lambda streamed": Price(0.008, 1, "GB, after 6 MB of each answer", NOT_CHECKED),
    "Lambda to internet": Price(0.09, 1, "GB", "as S3 to internet, " + NOT_CHECKED),
    "API Gateway": _million(3.50, "calls", "apigatewaycost.com, 2026"),
    "DynamoDB write": _million(0.625, "units", "airbyte.com, 2025-07"),
    "DynamoDB read": _million(0.125, "units", "airbyte.com, 2025-07"),
    "DynamoDB storage": Price(0.25, 1, "GB and month", NOT_CHECKED),
    "DynamoDB recovery": Price(0.20, 1, "GB and month", NOT_CHECKED),
    "SQS": _million(0.40, "requests", NOT_CHECKED),
    "Scheduler": _million(1.00, "calls", "cloudburn.io, 2026-03"),
    "Secret": Price(0.40, 1, "secret and month", NOT_CHECKED),
    "Secrets Manager": Price(0.05, 10_000, "10,000 calls", NOT_CHECKED),
    "Alarm": Price(0.10, 1, "alarm and month", NOT_CHECKED),
    "Log": Price(0.50, 1, "GB taken in", "factualminds.com, 2026-06"),
    "Log storage": Price(0.03, 1, "GB and month", NOT_CHECKED),
    "Metric": Price(0.30, 1, "metric and month, by the hour", "signoz.io, 2026-02; that hours count, " + NOT_CHECKED),
    "Dashboard": Price(3.00, 1, "dashboard and month", "factualminds.com, 2026-06"),
    "Trace": _million(5.00, "traces", "awsnegotiations.com, without a date"),
}


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    price: str
    quantity: float

    @property
    def usd(self) -> float:
        return PRICES[self.price].of(self.quantity)


def total(lines: Iterable[Line]) -> float:
    return sum(line.usd for line in lines)


# Estimates from reading the code.
API_CALL_SECONDS, LIST_SECONDS = 0.1, 0.2
LISTED_AT_ONCE = 1000
"""Number of objects in one answer of ListObjectsV2, by which a commit lists the arrived parts."""
WRITE_UNITS, LOOKUP_WRITE_UNITS = 70, 2
"""Write units of one entry's life, and of one lookup. An entry is reserved, committed, finalized, claimed, merged,
published, cleaned up, removed and counted; transactions count twice, and indexes are written too. A lookup is counted,
and so is its entry's hit."""
READ_UNITS, LOOKUP_READ_UNITS = 20, 4
"""Read units of one entry's life, and of one lookup."""
QUEUE_REQUESTS = 4
ITEM_BYTES = 4000
"""Bytes of one entry and its archive in the tables, indexes included."""
CALL_LOG_BYTES = 2500
"""Bytes that one call logs: Lambda's own lines of its start and end, and one or two of ours."""
TASK_LOG_BYTES, TASKS = 700, 4
"""Bytes that one cleanup task logs, and the number of tasks in an entry's life."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Describes how a terabyte is saved and restored.

    Args:
        restores: number of restores of each entry.
        early: share of the restores that come before the merge is done.
        seeks: true if the client reads by x-ms-range, so through the edge and not from S3 itself.
        direct: true if the runner's hook sends the blocks straight to S3, where they become one object at once.
        http_gigabytes: memory of the functions that answer requests.
        merge_gigabytes: memory of the function that merges.
    """

    entry_bytes: float = 705e6
    block_bytes: float = 64 * MIB
    restores: float = 3
    early: float = 0.1
    seeks: bool = False
    direct: bool = False
    http_gigabytes: float = 1
    merge_gigabytes: float = 1

    @property
    def entries(self) -> float:
        return TERABYTE / self.entry_bytes

    @property
    def manifest(self) -> Manifest:
        """Return the manifest of one entry."""
        count = math.ceil(self.entry_bytes / self.block_bytes)
        last = self.entry_bytes - (count - 1) * self.block_bytes
        sizes = [*[int(self.block_bytes)] * (count - 1), int(last)]
        return Manifest(tuple(Part(f"{number}", size, "") for number, size in enumerate(sizes)))


def entry_saved(saving: Saving) -> tuple[Line, ...]:
    """Return the cost of one entry from its save to its end, without storage and transfer out."""
    manifest = saving.manifest
    parts = len(manifest.parts)
    is_direct = saving.direct
    is_merged = parts > 1 and not is_direct  # a single part is the object itself, and has no manifest
    steps = plan_merge(manifest) if is_merged else ()
    copies = sum(isinstance(step, Copy) for step in steps)
    uploads = [step for step in steps if isinstance(step, Upload)]
    read_to_merge = sum(len(step.sources) for step in uploads)
    merging = merge_seconds(manifest.size, parts) if is_merged else 0
    lists = math.ceil(parts / LISTED_AT_ONCE)

    early = 0 if is_direct else saving.restores * saving.early
    by_edge = saving.restores if saving.seeks else 0
    calls = 3 + saving.restores  # create, block list, finalize; a lookup for each restore
    parts_by_edge = 0 if is_direct else parts
    bytes_by_edge = 0 if is_direct else saving.entry_bytes
    through_edge = parts_by_edge + calls + early + by_edge
    blob_requests = parts_by_edge + 1 + early + by_edge
    lines = (
        ("CloudFront, bytes to the bucket", "CloudFront to origin", bytes_by_edge / GIGABYTE),
        ("CloudFront, requests", "CloudFront request", through_edge),
        ("CloudFront Functions, both", "CloudFront Function", through_edge + blob_requests),
        ("KeyValueStore, reads by them", "KeyValueStore read", parts_by_edge + by_edge),
        ("S3, PUTs of blocks and manifest", "S3 write", parts + is_merged),
        ("S3, lists", "S3 write", lists + 1 + is_direct),
        ("S3, copies of the merge", "S3 write", copies),
        ("S3, uploads of the merge", "S3 write", len(uploads)),
        ("S3, create and complete", "S3 write", 1 + (parts > 1) if is_direct else 2 * is_merged),
        ("S3, GETs of the merge", "S3 read", read_to_merge + 2 * is_merged + is_direct),
        ("S3, GETs and HEADs of restores", "S3 read", 2 * saving.restores),
        ("API Gateway", "API Gateway", calls + early),
        ("Lambda, API: calls", "Lambda call", calls),
        (
            "Lambda, API: time",
            "Lambda GB-second",
            (calls * API_CALL_SECONDS + lists * LIST_SECONDS) * saving.http_gigabytes,
        ),
        ("Lambda, merge: calls", "Lambda call", int(is_merged)),
        ("Lambda, merge: time", "Lambda GB-second", merging * saving.merge_gigabytes),
        ("Lambda, downloads that wait for the merge", "Lambda GB-second", early * merging * saving.http_gigabytes),
        ("DynamoDB, writes", "DynamoDB write", WRITE_UNITS + LOOKUP_WRITE_UNITS * saving.restores),
        ("DynamoDB, reads", "DynamoDB read", READ_UNITS + LOOKUP_READ_UNITS * saving.restores),
        ("SQS", "SQS", QUEUE_REQUESTS * is_merged),
        (
            "CloudWatch, logs",
            "Log",
            ((calls + early + (not is_direct)) * CALL_LOG_BYTES + TASKS * TASK_LOG_BYTES) / GIGABYTE,
        ),
        ("X-Ray, were each call traced", "Trace", calls + early + (not is_direct)),
    )
    return tuple(Line(what, price, quantity) for what, price, quantity in lines)


def restored(saving: Saving) -> tuple[Line, ...]:
    """Return the cost that one restore adds."""
    with_one, without = (entry_saved(replace(saving, restores=count)) for count in (1, 0))
    pairs = zip(with_one, without, strict=True)
    return tuple(Line(one.what, one.price, one.quantity - other.quantity) for one, other in pairs)


def missed(saving: Saving) -> tuple[Line, ...]:
    """Return the cost of a lookup that finds nothing."""
    return (
        Line("CloudFront, requests", "CloudFront request", 1),
        Line("CloudFront Functions", "CloudFront Function", 1),
        Line("API Gateway", "API Gateway", 1),
        Line("Lambda, API: calls", "Lambda call", 1),
        Line("Lambda, API: time", "Lambda GB-second", API_CALL_SECONDS * saving.http_gigabytes),
        Line("DynamoDB, reads", "DynamoDB read", LOOKUP_READ_UNITS),
        Line("DynamoDB, writes", "DynamoDB write", 1),
        Line("CloudWatch, logs", "Log", CALL_LOG_BYTES / GIGABYTE),
        Line("X-Ray, were each call traced", "Trace", 1),
    )


def stored_a_month(usage: Usage) -> tuple[Line, ...]:
    items = usage.entries * ITEM_BYTES / GIGABYTE
    return (
        Line("S3, storage", "S3 storage", usage.bytes / GIGABYTE),
        Line("tables, storage", "DynamoDB storage", items),
        Line("tables, point-in-time recovery", "DynamoDB recovery", items),
    )


class CostPart(StrEnum):
    STORAGE = "storage"
    SAVES = "saves"
    RESTORES = "restores"
    MISSES = "misses"
    IDLE = "idle"
    """Cost that arises even when nothing is building."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimates the cost of a month, in USD.

    Args:
        transfer_out: not in the total: cost of the restored bytes if every runner is outside AWS's region.
    """

    by_part: Mapping[CostPart, float]
    by_service: Mapping[str, float]
    transfer_out: float

    @property
    def total(self) -> float:
        return sum(self.by_part.values())


def month_like(stored: Usage, done: Tally, hours: float) -> Estimate:
    """Estimate the cost of a month that keeps so much all the time, and goes on as these hours did."""
    scale = HOURS_A_MONTH / hours
    entry_bytes = done.bytes_saved / done.saves if done.saves else stored.bytes / max(1, stored.entries)
    saving = Saving(entry_bytes=max(1, entry_bytes), restores=0)
    direct = done.saves * done.bytes_direct / max(1, done.bytes_saved)
    parts = {
        CostPart.STORAGE: stored_a_month(stored),
        CostPart.SAVES: (
            *_times((done.saves - direct) * scale, entry_saved(saving)),
            *_times(direct * scale, entry_saved(replace(saving, direct=True))),
        ),
        CostPart.RESTORES: _times(done.hits * scale, restored(saving)),
        CostPart.MISSES: _times(done.misses * scale, missed(saving)),
    }
    services: dict[str, float] = {}
    for line in (line for lines in parts.values() for line in lines):
        services[_service(line)] = services.get(_service(line), 0) + line.usd
    by_part = {name: total(lines) for name, lines in parts.items()} | {CostPart.IDLE: IDLE_MONTH_USD}
    out = PRICES["S3 to internet"].of(done.bytes_restored * scale / GIGABYTE)
    return Estimate(by_part, services | {"idle": IDLE_MONTH_USD}, out)


def _times(count: float, lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(Line(line.what, line.price, line.quantity * count) for line in lines)


_SERVICES = (
    ("CloudFront", "CloudFront"),
    ("KeyValueStore", "CloudFront"),
    ("S3", "S3"),
    ("Lambda", "Lambda"),
    ("API Gateway", "API Gateway"),
    ("DynamoDB", "DynamoDB"),
    ("SQS", "SQS"),
    ("Log", "CloudWatch"),
    ("Trace", "X-Ray"),
)


def _service(line: Line) -> str:
    """Return the AWS service, which the price's name begins with."""
    return next(service for beginning, service in _SERVICES if line.price.startswith(beginning))
