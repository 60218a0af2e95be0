"""Estimates what one token can cost in an hour; `python -m dev.cost.cost --ceiling` prints it.

One job has the token and the URLs that it is given, on a runner with a fast link and as many connections as it likes.
The bounds come from the template, or from the constants below. Nothing here was measured on AWS.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from actions_cache.cost import (
    GIGABYTE,
    HOURS_A_MONTH,
    ITEM_BYTES,
    LIST_SECONDS,
    LOOKUP_READ_UNITS,
    LOOKUP_WRITE_UNITS,
    QUEUE_REQUESTS,
    READ_UNITS,
    WRITE_UNITS,
    Line,
    total,
)
from actions_cache.domain.merge_plan import MIN_UPLOAD_PART_BYTES
from actions_cache.events import METRICS
from dev.local.template import Template
from functions.api.dependencies import LAMBDA_BODY_BYTES

HOUR = 3600

LINK_BITS_A_SECOND = 10e9
LINK_GIGABYTES = LINK_BITS_A_SECOND / 8 * HOUR / GIGABYTE
"""Gigabytes that the link carries in an hour, each way."""

# AWS's default quotas and rates; most can be raised on request.
EDGE_REQUESTS_A_SECOND = 250_000
"""Quota of a distribution:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html."""
ACCOUNT_REQUESTS_A_SECOND = 10_000
"""Quota of all REST APIs of an account in a region:
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html."""
LAMBDA_CONCURRENCY = 1000
"""Quota of an account in a region: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
BUCKET_WRITES_A_SECOND, BUCKET_READS_A_SECOND = 3500, 5500
"""Rates of a prefix at first, lists among the reads; S3 raises them under lasting load:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html."""
TABLE_READ_UNITS_A_SECOND = 40_000
"""Quota of a table: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html."""

# Estimates from reading the code.
EDGE_ANSWER_BYTES = 600
"""Bytes of a refusal, headers included."""
HEALTH_READ_UNITS = 5
PLATFORM_LOG_BYTES = 1500
"""Bytes of Lambda's own two lines of a request, its start and its report, as JSON."""
LONGEST_LINE_BYTES = 7500
"""Bytes of a hit's line with two keys of 512 characters that JSON escapes; a test writes such a line."""
TRACED = 1.0
"""Traced share of the requests. X-Ray samples 5%, but obeys a client that asks for a trace by X-Amzn-Trace-Id:
https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader."""

NOTHING = "nothing"
DISCARDED_ALARM = "BytesDiscardedAlarm"
ACCOUNTS_CONCURRENCY = "the account's concurrency of Lambda"


class Shared(StrEnum):
    """Names what several lines compete for; the sum has only the dearest line of each name."""

    UP = "the link up"
    DOWN = "the link down"
    EDGE = "the edge's requests"
    BUCKET_WRITES = "the bucket's writes"
    BUCKET_READS = "the bucket's reads"
    CALLS = "the method of the cache service's calls"
    READS = "the other GETs"
    CONCURRENCY = "Lambda's concurrency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Describes a line of the worst hour."""

    what: str
    quantity: float
    """Quantity in an hour."""
    unit: str
    bound: str
    """Parameter or quota that limits the quantity."""
    lines: tuple[Line, ...]
    shared: Shared | None = None
    told_by: str | None = None
    """Alarm that reports it."""

    @property
    def usd(self) -> float:
        return total(self.lines)


def ceiling(spendings: Iterable[Spending]) -> float:
    """Return the cost of all lines together in an hour, in USD; only the dearest of competing lines counts."""
    dearest: dict[str, float] = {}
    for spending in spendings:
        name = spending.shared or spending.what
        dearest[name] = max(dearest.get(name, 0), spending.usd)
    return sum(dearest.values())


def seconds_until_told(template: Template) -> Mapping[str, float]:
    """Return the seconds that each alarm takes from the moment when its metric first exceeds the threshold."""
    told = {}
    for name in template.of_type("AWS::CloudWatch::Alarm"):
        alarm = template.properties(name)
        told[name] = alarm["Period"] * alarm["EvaluationPeriods"]
        if alarm["MetricName"] == "ApproximateAgeOfOldestMessage":
            told[name] += alarm["Threshold"]
        if name == DISCARDED_ALARM:
            told[name] += _seconds_until_swept(template)
    return told


def worst_hour(template: Template) -> tuple[Spending, ...]:
    """Return the lines of the worst hour, with the template's defaults."""
    return (*_requests(template), *_bucket(template), *_bytes(template), *_work(template), *_seeing(template))


# ---------------------------------------------------------------- requests


def _requests(template: Template) -> tuple[Spending, ...]:
    rate, rest = _job_rate(template), _rest_rate(template)
    creates = _set(template, "CreatesPerMinute") * 60
    refused_at_edge = EDGE_REQUESTS_A_SECOND * HOUR

    def call(what: str, shared: Shared | None = None, *more: Line, methods: int = 1) -> Spending:
        count = rate * HOUR * methods
        return Spending(
            what=what,
            quantity=count,
            unit="requests",
            bound="`RequestsPerSecond`",
            lines=(*_through_api(count), *more),
            shared=shared,
            told_by=_flood_alarm(template, count),
        )

    by_method = rate * HOUR
    return (
        Spending(
            what="requests that the edge refuses",
            quantity=refused_at_edge,
            unit="requests",
            bound="CloudFront's quota; with a web ACL `RequestsPerAddress`",
            lines=(
                *_at_edge(refused_at_edge, functions=1),
                Line("answers", "CloudFront to internet", refused_at_edge * EDGE_ANSWER_BYTES / GIGABYTE),
            ),
            shared=Shared.EDGE,
        ),
        call(
            "lookups",
            Shared.CALLS,
            Line("reads", "DynamoDB read", by_method * LOOKUP_READ_UNITS),
            Line("tally", "DynamoDB write", by_method * LOOKUP_WRITE_UNITS),
        ),
        call(f"creates, of which {creates:,} are accepted", Shared.CALLS, Line("count", "DynamoDB write", by_method)),
        call("finalizes without an upload", Shared.CALLS, Line("reads", "DynamoDB read", by_method * 2)),
        call("block lists", None, Line("archive", "DynamoDB read", by_method)),
        call("Get Block List", Shared.READS, Line("archive", "DynamoDB read", by_method)),
        call("v1's calls, refused requests, and requests passed on", Shared.READS, methods=3),
        call(
            "downloads through the function, GET and HEAD", None, Line("archive", "DynamoDB read", by_method), methods=2
        ),
        Spending(
            what="/health, management, and methods that no job uses",
            quantity=rest * HOUR,
            unit="requests",
            bound="the template's throttle of other methods",
            lines=(*_through_api(rest * HOUR), Line("tables", "DynamoDB read", rest * HOUR * HEALTH_READ_UNITS)),
            told_by=_flood_alarm(template, rest * HOUR),
        ),
    )


def _at_edge(count: float, *, functions: int) -> tuple[Line, ...]:
    return (
        Line("requests", "CloudFront request", count),
        Line("functions", "CloudFront Function", count * functions),
        Line("secrets", "KeyValueStore read", count),
    )


def _through_api(count: float) -> tuple[Line, ...]:
    """Return the cost of each request without Lambda's time, logs and traces, which have lines of their own."""
    return (
        Line("edge", "CloudFront request", count),
        Line("function", "CloudFront Function", count),
        Line("API", "API Gateway", count),
        Line("calls", "Lambda call", count),
    )


# ---------------------------------------------------------------- the bucket


def _bucket(template: Template) -> tuple[Spending, ...]:
    writes, reads = BUCKET_WRITES_A_SECOND * HOUR, BUCKET_READS_A_SECOND * HOUR
    at_once, _ = _concurrency(template, "ApiConcurrency")
    lists = min(BUCKET_READS_A_SECOND, at_once / LIST_SECONDS) * HOUR
    attempts = _mapped(template, "Merge", "Queue", "Attempts")
    copies = LINK_GIGABYTES * GIGABYTE / MIN_UPLOAD_PART_BYTES * attempts
    return (
        Spending(
            what="PUTs of empty blocks",
            quantity=writes,
            unit="requests",
            bound="S3's rate; with a web ACL `RequestsPerAddress`",
            lines=(*_at_edge(writes, functions=2), Line("PUTs", "S3 write", writes)),
            shared=Shared.BUCKET_WRITES,
        ),
        Spending(
            what="object reads of one byte, through the edge",
            quantity=reads,
            unit="requests",
            bound="S3's rate; with a web ACL `RequestsPerAddress`",
            lines=(*_at_edge(reads, functions=2), Line("GETs", "S3 read", reads)),
            shared=Shared.BUCKET_READS,
        ),
        Spending(
            what="looks at a direct upload, by its presigned URL",
            quantity=reads,
            unit="requests",
            bound="S3's rate",
            lines=(Line("lists", "S3 write", reads),),
            shared=Shared.BUCKET_READS,
        ),
        Spending(
            what="listings of an upload, for block lists and finalizes",
            quantity=lists,
            unit="listings",
            bound="S3's rate, Lambda's concurrency",
            lines=(Line("lists", "S3 write", lists),),
            shared=Shared.BUCKET_READS,
            told_by="ApiThrottledAlarm" if lists < reads else None,
        ),
        Spending(
            what="merges: copies of 5 MiB parts, in failing runs",
            quantity=copies,
            unit="copies",
            bound="the link, the attempts at a merge",
            lines=(Line("copies", "S3 write", copies),),
        ),
    )


# ---------------------------------------------------------------- bytes


def _bytes(template: Template) -> tuple[Spending, ...]:
    up, down = LINK_GIGABYTES, _streamed_gigabytes(template)
    passed_on = up * GIGABYTE / LAMBDA_BODY_BYTES
    stored = 2 * up * _seconds_until_swept(template) / HOUR / HOURS_A_MONTH

    def out(what: str, price: str, quantity: float, bound: str, *more: Line) -> Spending:
        return Spending(
            what=what,
            quantity=quantity,
            unit="GB",
            bound=bound,
            lines=(Line(what, price, quantity), *more),
            shared=Shared.DOWN,
            told_by=_downloads_alarm(template, quantity),
        )

    return (
        Spending(
            what="bytes up, to the bucket",
            quantity=up,
            unit="GB",
            bound=_open_uploads_bound(template),
            lines=(Line("to the bucket", "CloudFront to origin", up),),
            shared=Shared.UP,
            told_by=DISCARDED_ALARM if DISCARDED_ALARM in template.body["Resources"] else None,
        ),
        Spending(
            what="bytes up, passed on to the results service",
            quantity=up,
            unit="GB",
            bound=f"{NOTHING}; none without `ResultsServiceUrl`",
            lines=(
                Line("to the API", "CloudFront to origin", up),
                Line("from the API", "Lambda to internet", up),
            ),
            shared=Shared.UP,
            told_by=_flood_alarm(template, passed_on),
        ),
        out("bytes down, through the edge", "CloudFront to internet", up, NOTHING),
        out(
            "bytes down, from S3 to another region or the internet",
            "S3 to internet",
            up,
            f"{NOTHING}; `RunnerAddresses`",
        ),
        out(
            "bytes down, through the function",
            "CloudFront to internet",
            down,
            "the link, Lambda's concurrency, 2 MB/s a stream",
            Line("streamed", "Lambda streamed", down),
        ),
        Spending(
            what="storage of uploads and their merged copies, until they are swept",
            quantity=stored,
            unit="GB-months",
            bound="`UploadUrlSeconds`, twice; `CleanupIntervalMinutes`",
            lines=(Line("stored", "S3 storage", stored),),
        ),
    )


def _open_uploads_bound(template: Template) -> str:
    bounded = "MaxOpenUploadBytes" in template.body["Parameters"]
    return "`MaxOpenUploadBytes` each, `CreatesPerMinute`" if bounded else NOTHING


def _seconds_until_swept(template: Template) -> float:
    """Return how long parts without an entry stay: until their URL has expired and its last uploads have ended."""
    return 2 * _set(template, "UploadUrlSeconds") + 60 * _set(template, "CleanupIntervalMinutes")


def _streamed_gigabytes(template: Template) -> float:
    pace = _mapped(template, "Http", "Streamed", "StreamBytesPerSecond")
    return min(LINK_GIGABYTES, _concurrency(template, "DownloadConcurrency")[0] * pace * HOUR / GIGABYTE)


# ---------------------------------------------------------------- work


def _work(template: Template) -> tuple[Spending, ...]:
    creates = _set(template, "CreatesPerMinute") * 60
    reads = TABLE_READ_UNITS_A_SECOND * HOUR
    merge_seconds = (
        creates
        * _mapped(template, "Merge", "Worker", "TimeoutSeconds")
        * _mapped(template, "Merge", "Queue", "Attempts")
    )

    def time(what: str, parameter: str, memory: str, alarm: str, most: float = math.inf) -> Spending:
        functions, bound = _concurrency(template, parameter)
        seconds = min(functions * HOUR, most) * _set(template, memory) / 1024
        return Spending(
            what=what,
            quantity=seconds,
            unit="GB-seconds",
            bound=bound,
            lines=(Line("time", "Lambda GB-second", seconds),),
            shared=Shared.CONCURRENCY if bound == ACCOUNTS_CONCURRENCY else None,
            told_by=alarm,
        )

    return (
        time("the API's time", "ApiConcurrency", "HttpMemory", "ApiThrottledAlarm"),
        time("the download function's time", "DownloadConcurrency", "HttpMemory", "DownloadThrottledAlarm"),
        time("the merges' time", "MergeWorkers", "MergeMemory", "MergeBacklogAlarm", merge_seconds),
        Spending(
            what="saves, from create to eviction",
            quantity=creates,
            unit="entries",
            bound="`CreatesPerMinute`",
            lines=(
                Line("writes", "DynamoDB write", creates * WRITE_UNITS),
                Line("reads", "DynamoDB read", creates * READ_UNITS),
                Line("items", "DynamoDB storage", creates * ITEM_BYTES / GIGABYTE),
                Line("messages", "SQS", creates * QUEUE_REQUESTS),
                Line("calls", "Lambda call", creates),
            ),
        ),
        Spending(
            what="DynamoDB reads of lookups, thousands of entries each",
            quantity=reads,
            unit="read units",
            bound="DynamoDB's quota of a table",
            lines=(Line("reads", "DynamoDB read", reads),),
        ),
    )


def _concurrency(template: Template, parameter: str) -> tuple[int, str]:
    """Return how many functions may run at a time, and what limits them. A parameter of 0 reserves nothing."""
    said = template.body["Parameters"].get(parameter, {"Default": 0})
    reserved = int(said["Default"])
    return (reserved, f"`{parameter}`") if reserved else (LAMBDA_CONCURRENCY, ACCOUNTS_CONCURRENCY)


# ---------------------------------------------------------------- seeing


def _seeing(template: Template) -> tuple[Spending, ...]:
    requests = _api_rate(template) * HOUR
    log_gigabytes = requests * (_platform_log_bytes(template) + LONGEST_LINE_BYTES) / GIGABYTE
    metrics = sum(len(metric.values) or 1 for metric in METRICS)
    is_traced = template.resolve({"Ref": "Traces"}) == "true"
    traces = requests * TRACED if is_traced else 0
    alarm = _flood_alarm(template, requests)
    return (
        Spending(
            what="log lines, with the longest keys and messages",
            quantity=log_gigabytes,
            unit="GB",
            bound="`RequestsPerSecond`, the length of a key; `LogLevel`, `LogRetentionDays`",
            lines=(
                Line("lines", "Log", log_gigabytes),
                Line("kept", "Log storage", log_gigabytes * _set(template, "LogRetentionDays") * 24 / HOURS_A_MONTH),
            ),
            told_by=alarm,
        ),
        Spending(
            what="metrics, with all values of their dimensions",
            quantity=metrics,
            unit="metrics",
            bound="fixed sets of values",
            lines=(Line("metrics", "Metric", metrics / HOURS_A_MONTH),),
        ),
        Spending(
            what="traces, one a request",
            quantity=traces,
            unit="traces",
            bound="`RequestsPerSecond`; `Traces`",
            lines=(Line("traces", "Trace", traces),),
            told_by=alarm,
        ),
    )


def _platform_log_bytes(template: Template) -> int:
    level = template.body["Globals"]["Function"]["LoggingConfig"].get("SystemLogLevel", "INFO")
    return 0 if template.resolve(level) == "WARN" else PLATFORM_LOG_BYTES


# ---------------------------------------------------------------- what the template says


def _set(template: Template, parameter: str) -> int:
    return template.number({"Ref": parameter})


def _mapped(template: Template, *place: str) -> int:
    return template.number({"Fn::FindInMap": list(place)})


def _job_rate(template: Template) -> int:
    """Return the requests a second of each method that jobs use."""
    return min(_set(template, "RequestsPerSecond"), ACCOUNT_REQUESTS_A_SECOND)


def _rest_rate(template: Template) -> int:
    """Return the requests a second of all other methods together."""
    return _mapped(template, "Http", "Throttle", "RequestsPerSecond") * _rest_methods(template)


def _rest_methods(template: Template) -> int:
    events = (event for function in template.functions.values() for event in function["Events"].values())
    return sum(1 for event in events if event["Type"] == "Api") - _job_methods(template)


def _job_methods(template: Template) -> int:
    return len(template.properties("Api")["MethodSettings"]) - 1


def _api_rate(template: Template) -> int:
    """Return the requests a second of all methods together."""
    return min(_job_rate(template) * _job_methods(template) + _rest_rate(template), ACCOUNT_REQUESTS_A_SECOND)


def _flood_alarm(template: Template, requests_an_hour: float) -> str | None:
    alarm = template.properties("RequestFloodAlarm")
    return "RequestFloodAlarm" if requests_an_hour * alarm["Period"] / HOUR >= alarm["Threshold"] else None


def _downloads_alarm(template: Template, gigabytes_an_hour: float) -> str | None:
    threshold = _set(template, "DownloadAlarmGigabytes")
    period = template.properties("DownloadsAlarm")["Period"]
    return "DownloadsAlarm" if 0 < threshold < gigabytes_an_hour * period / HOUR else None
