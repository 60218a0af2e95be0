"""What a terabyte costs, and what an idle month does: `python -m scripts.cost [--write]` prints it as markdown.

The requests are counted from the design, by the core's own merge plan; the prices are list prices, given below with
where they were last seen. Nothing here was measured on AWS.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import local  # noqa: F401 - puts the core's packages on the path
from actions_cache.domain.archive import Manifest, Part
from actions_cache.domain.delivery import merge_seconds
from actions_cache.domain.happenings import METRICS, ORPHAN_LISTING_FAILURES
from actions_cache.domain.merge_plan import MIB, Copy, Upload, plan_merge
from local.template import ROOT, Template

DOCUMENT = ROOT / "docs" / "cost.md"
BEGIN, END = "<!-- written by: python -m scripts.cost --write -->\n", "<!-- end -->\n"

TERABYTE = 1e12
GIGABYTE = 1e9
"""AWS's has 2^30 bytes, so its bill is up to 7 % lower than this."""

HOURS_A_MONTH = 730
MILLION = 1e6
NOT_CHECKED = "from memory"


@dataclass(frozen=True, slots=True)
class Price:
    usd: float
    per: float
    unit: str
    seen: str
    """Where the price was seen, and when; NOT_CHECKED for none."""

    def of(self, quantity: float) -> float:
        return quantity / self.per * self.usd


def _million(usd: float, unit: str, seen: str) -> Price:
    return Price(usd, MILLION, f"million {unit}", seen)


_CLOUDFRONT = "aws.amazon.com/cloudfront/pricing, a stored copy without a date"
_LETTER = "Amazon's announcement of 2013-04; that it still holds, " + NOT_CHECKED
PRICES: Mapping[str, Price] = {
    "CloudFront to origin": Price(0.02, 1, "GB", "AWS.md; " + NOT_CHECKED),
    "CloudFront to internet": Price(0.085, 1, "GB", _CLOUDFRONT),
    "CloudFront request": Price(0.01, 10_000, "10,000", "factualminds.com, 2026-06"),
    "CloudFront Function": _million(0.10, "runs", "cur.vantage.sh, 2026"),
    "KeyValueStore read": _million(0.03, "reads", NOT_CHECKED),
    "KeyValueStore API": Price(1.00, 1000, "1,000 calls", NOT_CHECKED),
    "S3 write": Price(0.005, 1000, "1,000", _LETTER),
    "S3 read": Price(0.004, 10_000, "10,000", _LETTER),
    "S3 storage": Price(0.023, 1, "GB and month", "AWS.md; " + NOT_CHECKED),
    "S3 to internet": Price(0.09, 1, "GB", "usage.ai, 2026-06"),
    "Lambda call": _million(0.20, "calls", "github.com/api-evangelist/aws-lambda, from AWS's page, 2026-09"),
    "Lambda GB-second": Price(0.0000133334, 1, "GB-second, arm64", "artillery 2.0.28 (npm), prices.js"),
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
    "Metric": Price(0.30, 1, "metric and month, by the hour", "signoz.io, 2026-02; that hours count, " + NOT_CHECKED),
    "Dashboard": Price(3.00, 1, "dashboard and month", "factualminds.com, 2026-06"),
    "Trace": _million(5.00, "traces", "awsnegotiations.com, without a date"),
}
"""List prices in us-east-1, in USD, first tier, without free tiers."""

# Estimates of what one thing needs, from reading the code.
API_CALL_SECONDS, LIST_SECONDS = 0.1, 0.2
LISTED_AT_ONCE = 1000
"""Objects in one answer of ListObjectsV2; a commit lists what arrived."""
WRITE_UNITS, LOOKUP_WRITE_UNITS = 60, 2
"""Of one entry's life: reserve, commit, finalize, claim, run, publish, clean up, remove, and what is counted of it; in
transactions all count twice, and indexes are written too. A lookup is counted, and so is the entry's hit."""
READ_UNITS, LOOKUP_READ_UNITS = 20, 4
QUEUE_REQUESTS = 4
ITEM_BYTES = 4000
"""Of one entry and its archive in the tables, indexes included."""
IDLE_RUN_SECONDS = 0.5
IDLE_RUN_LOG_BYTES = 2000
CALL_LOG_BYTES = 2500
"""Of one call: Lambda's own lines of its start and end, and one or two of ours."""
DUTY_LOG_BYTES, DUTIES = 700, 4
"""A line of cleanup's, and how many an entry has in its life."""
USUAL_VALUES = {"reason": 1, "outcome": 1, "duty": 3, "kind": 2}
"""How many values of a metric's dimension come up in an hour in which jobs run; each counts as a metric."""
MOST_VALUES = {"reason": 2, "outcome": 7, "duty": 7, "kind": 17}
BUSY_HOURS = 22 * 10
"""Of a month, in which jobs run: ten hours a day from Monday to Friday."""
IDLE_POLLS_A_SECOND = 5 / 20
"""Lambda keeps five long polls of 20 s open at a queue, which count as requests."""
AGENDA_SHARDS = 16
"""Queries of each cleanup (adapters/dynamodb_items.py), half a read unit each when nothing is due."""
NEVER_WELL = (ORPHAN_LISTING_FAILURES,)
"""Not sent while all is well."""
ROTATION_KVS_CALLS = 2
"""What RotateFunction asks the KeyValueStore each time: its ETag, and the secrets."""


@dataclass(frozen=True, slots=True)
class Saving:
    """How a terabyte is saved and restored."""

    entry_bytes: float = 705e6
    block_bytes: float = 64 * MIB
    restores: float = 3
    """Of each entry."""
    early: float = 0.1
    """What part of the restores comes before the merge is done."""
    seeks: bool = False
    """Whether the client reads by x-ms-range, so through the edge and not from S3 itself."""
    http_gigabytes: float = 1
    merge_gigabytes: float = 1

    @property
    def entries(self) -> float:
        return TERABYTE / self.entry_bytes

    @property
    def manifest(self) -> Manifest:
        """Of one entry."""
        count = math.ceil(self.entry_bytes / self.block_bytes)
        last = self.entry_bytes - (count - 1) * self.block_bytes
        sizes = [*[int(self.block_bytes)] * (count - 1), int(last)]
        return Manifest(tuple(Part(f"{number}", size, "") for number, size in enumerate(sizes)))


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    price: str
    quantity: float

    @property
    def usd(self) -> float:
        return PRICES[self.price].of(self.quantity)


def terabyte_saved(saving: Saving) -> tuple[Line, ...]:
    """What a terabyte costs from its save to its end, without storage and transfer out."""
    manifest = saving.manifest
    parts, steps = len(manifest.parts), plan_merge(manifest)
    copies = sum(isinstance(step, Copy) for step in steps)
    uploads = [step for step in steps if isinstance(step, Upload)]
    read_to_merge = sum(len(step.sources) for step in uploads)
    merging = merge_seconds(manifest.size, parts)
    lists = math.ceil(parts / LISTED_AT_ONCE)

    early = saving.restores * saving.early
    by_edge = saving.restores if saving.seeks else 0
    calls = 3 + saving.restores  # create, block list, finalize; a lookup for each restore
    through_edge = parts + calls + early + by_edge
    blob_requests = parts + 1 + early + by_edge
    per_entry = (
        ("CloudFront, bytes to the bucket", "CloudFront to origin", saving.entry_bytes / GIGABYTE),
        ("CloudFront, requests", "CloudFront request", through_edge),
        ("CloudFront Functions, both", "CloudFront Function", through_edge + blob_requests),
        ("KeyValueStore, reads by them", "KeyValueStore read", parts + by_edge),
        ("S3, PUTs of blocks and manifest", "S3 write", parts + 1),
        ("S3, lists", "S3 write", lists + 1),
        ("S3, copies of the merge", "S3 write", copies),
        ("S3, uploads of the merge", "S3 write", len(uploads)),
        ("S3, create and complete", "S3 write", 2),
        ("S3, GETs of the merge", "S3 read", read_to_merge + 2),
        ("S3, GETs and HEADs of restores", "S3 read", 2 * saving.restores),
        ("API Gateway", "API Gateway", calls + early),
        ("Lambda, API: calls", "Lambda call", calls),
        (
            "Lambda, API: time",
            "Lambda GB-second",
            (calls * API_CALL_SECONDS + lists * LIST_SECONDS) * saving.http_gigabytes,
        ),
        ("Lambda, merge: calls", "Lambda call", 1),
        ("Lambda, merge: time", "Lambda GB-second", merging * saving.merge_gigabytes),
        ("Lambda, downloads that wait for the merge", "Lambda GB-second", early * merging * saving.http_gigabytes),
        ("DynamoDB, writes", "DynamoDB write", WRITE_UNITS + LOOKUP_WRITE_UNITS * saving.restores),
        ("DynamoDB, reads", "DynamoDB read", READ_UNITS + LOOKUP_READ_UNITS * saving.restores),
        ("SQS", "SQS", QUEUE_REQUESTS),
        ("CloudWatch, logs", "Log", ((calls + early + 1) * CALL_LOG_BYTES + DUTIES * DUTY_LOG_BYTES) / GIGABYTE),
        ("X-Ray, were each call traced", "Trace", calls + early + 1),
    )
    return tuple(Line(what, price, quantity * saving.entries) for what, price, quantity in per_entry)


def transfer_out(saving: Saving, *, outside_aws: bool) -> Line:
    """What the restores' bytes cost on their way to the runners."""
    gigabytes = saving.restores * TERABYTE / GIGABYTE
    if saving.seeks:
        return Line("to runners anywhere, through the edge", "CloudFront to internet", gigabytes)
    if outside_aws:
        return Line("to runners outside AWS, from S3", "S3 to internet", gigabytes)
    return Line("to runners in the region, from S3", "S3 to internet", 0)


def storage_a_month(saving: Saving) -> tuple[Line, ...]:
    """Of a terabyte."""
    items = saving.entries * ITEM_BYTES / GIGABYTE
    return (
        Line("S3, storage", "S3 storage", TERABYTE / GIGABYTE),
        Line("tables, storage", "DynamoDB storage", items),
        Line("tables, point-in-time recovery", "DynamoDB recovery", items),
    )


def idle_month(template: Template) -> tuple[Line, ...]:
    """What a month costs in which nobody builds and nothing is stored."""
    expressions = schedules(template)
    runs = {name: sum(runs_a_month(template, one) for one in several) for name, several in expressions.items()}
    memory = {name: float(default_of(template, template.functions[name]["MemorySize"])) / 1024 for name in runs}
    seconds = {name: count * IDLE_RUN_SECONDS * memory[name] for name, count in runs.items()}
    all_runs = sum(runs.values())
    rotations, cleanups = runs["RotateFunction"], runs["CleanupFunction"]
    return (
        Line("the signing secret", "Secret", len(template.of_type("AWS::SecretsManager::Secret"))),
        Line("reading it, at each run", "Secrets Manager", rotations),
        Line("the KeyValueStore, asked at each run", "KeyValueStore API", rotations * ROTATION_KVS_CALLS),
        Line("alarms", "Alarm", len(template.of_type("AWS::CloudWatch::Alarm"))),
        Line("Lambda's polling of the merge queue", "SQS", IDLE_POLLS_A_SECOND * HOURS_A_MONTH * 3600),
        Line("scheduled runs: Scheduler", "Scheduler", all_runs),
        Line("scheduled runs: calls", "Lambda call", all_runs),
        Line("scheduled runs: time", "Lambda GB-second", sum(seconds.values())),
        Line("scheduled runs: queries", "DynamoDB read", cleanups * AGENDA_SHARDS / 2),
        Line("scheduled runs: logs", "Log", all_runs * IDLE_RUN_LOG_BYTES / GIGABYTE),
        Line("scheduled runs: traces", "Trace", all_runs),
        Line("the dashboard", "Dashboard", len(template.of_type("AWS::CloudWatch::Dashboard"))),
        Line("custom metrics: none is sent", "Metric", 0),
    )


def metrics_month(hours: float, values: Mapping[str, int]) -> Line:
    """What a month's custom metrics cost, in so many hours of which each came up; the others cost nothing."""
    count = sum(values[metric.dimension] if metric.dimension else 1 for metric in METRICS if metric not in NEVER_WELL)
    return Line(f"{count} custom metrics, in {hours:,.0f} hours of it", "Metric", count * hours / HOURS_A_MONTH)


def schedules(template: Template) -> dict[str, list[str]]:
    """The expressions of each function that schedules call."""
    expressions: dict[str, list[str]] = {}
    for name, function in template.functions.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "ScheduleV2":
                expression = default_of(template, event["Properties"]["ScheduleExpression"])
                expressions.setdefault(name, []).append(expression)
    return expressions


def runs_a_month(template: Template, expression: str) -> float:
    """Of `rate(5 minutes)` and the like, with a parameter's default for its name. Raises ValueError for others."""
    for name, parameter in template.body["Parameters"].items():
        expression = expression.replace(f"${{{name}}}", str(parameter.get("Default", "")))
    count, _, unit = expression.removeprefix("rate(").removesuffix(")").partition(" ")
    hours = {"minute": 1 / 60, "hour": 1, "day": 24}.get(unit.removesuffix("s"))
    if hours is None or not count.isdecimal():
        raise ValueError(f"{expression!r} is no rate(N minutes|hours|days)")
    return HOURS_A_MONTH / (int(count) * hours)


def default_of(template: Template, value: Any) -> str:
    """A property's value, where it is a parameter its default."""
    if isinstance(value, dict):
        if "Ref" in value:
            return str(template.body["Parameters"][value["Ref"]]["Default"])
        return str(value["Fn::Sub"])
    return str(value)


def total(lines: Sequence[Line]) -> float:
    return sum(line.usd for line in lines)


LARGE_IDLE_USD = 1.0


def dollars(usd: float) -> str:
    return "0" if usd == 0 else "< 0.01" if usd < 0.005 else f"{usd:,.2f}"  # noqa: PLR2004 - half a cent


def markdown(columns: Mapping[str, Saving], template: Template) -> str:
    """The tables: a terabyte in each way of saving, an idle month, and the prices."""
    tables = [_terabyte_table(columns), _idle_table(template), _metrics_table(), _price_table()]
    return "\n\n".join("\n".join(rows) for rows in tables) + "\n"


def _terabyte_table(columns: Mapping[str, Saving]) -> list[str]:
    saved = [terabyte_saved(saving) for saving in columns.values()]
    first = next(iter(columns.values()))
    how = (
        f"{first.entries:,.0f} entries of {first.entry_bytes / 1e6:,.0f} MB, each restored {first.restores:g} times; "
        f"{first.early:.0%} of the restores come before the merge is done. USD."
    )
    rows = [
        "## A terabyte saved",
        "",
        how,
        "",
        _row("", *columns),
        _row("---", *["---:"] * len(columns)),
    ]
    rows += [_row(lines[0].what, *(dollars(line.usd) for line in lines)) for lines in zip(*saved, strict=True)]
    rows.append(_row("**saved, merged and looked up**", *(f"**{total(lines):,.2f}**" for lines in saved)))
    for where, outside in (("restores, runners in the region", False), ("restores, runners elsewhere", True)):
        out = [transfer_out(saving, outside_aws=outside).usd for saving in columns.values()]
        rows.append(_row(where, *map(dollars, out)))
    rows.append(_row("storage, a month of it", *(dollars(total(storage_a_month(it))) for it in columns.values())))
    return rows


def _idle_table(template: Template) -> list[str]:
    lines = idle_month(template)
    rows = ["## An idle month", "", "Nobody builds, nothing is stored. USD.", "", _row("", "USD"), _row("---", "---:")]
    rows += [_row(line.what, dollars(line.usd)) for line in lines]
    rows.append(_row("**idle**", f"**{total(lines):,.2f}**"))
    large = [f"{line.what} (${line.usd:,.2f})" for line in lines if line.usd > LARGE_IDLE_USD]
    return [*rows, "", f"Over ${LARGE_IDLE_USD:.0f} a month: {', '.join(large) or 'nothing'}."]


def _metrics_table() -> list[str]:
    cases = (
        ("jobs on workdays, ten hours a day", metrics_month(BUSY_HOURS, USUAL_VALUES)),
        ("jobs at every hour", metrics_month(HOURS_A_MONTH, USUAL_VALUES)),
        ("everything that can happen, at every hour", metrics_month(HOURS_A_MONTH, MOST_VALUES)),
    )
    rows = ["## A month's metrics", "", _row("", "custom metrics", "USD"), _row("---", "---", "---:")]
    return rows + [_row(when, line.what, dollars(line.usd)) for when, line in cases]


def _price_table() -> list[str]:
    rows = ["## The prices", "", _row("", "USD", "per", "seen"), _row("---", "---:", "---", "---")]
    return rows + [_row(name, f"{price.usd:g}", price.unit, price.seen) for name, price in PRICES.items()]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def documented(document: str, tables: str) -> str:
    """The document with the tables in their place. Raises ValueError where the place isn't marked."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{DOCUMENT.name} lacks the line {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def usual_columns(saving: Saving, template: Template) -> dict[str, Saving]:
    """@actions/cache as given, and BuildKit beside it, with the template's memory."""
    plain = replace(
        saving,
        http_gigabytes=float(default_of(template, {"Ref": "HttpMemory"})) / 1024,
        merge_gigabytes=float(default_of(template, {"Ref": "MergeMemory"})) / 1024,
    )
    return {
        f"actions/cache, {saving.block_bytes / MIB:g} MiB blocks": plain,
        "BuildKit, 1 MiB blocks": replace(plain, block_bytes=MIB, seeks=True),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--entry-mb", type=float, default=705)
    parser.add_argument("--block-mib", type=float, default=64)
    parser.add_argument("--restores", type=float, default=3, help="of each entry")
    parser.add_argument("--early", type=float, default=0.1, help="part of the restores that comes before the merge")
    parser.add_argument("--write", action="store_true", help="into docs/cost.md")
    options = parser.parse_args(arguments)
    template = Template.load()
    saving = Saving(options.entry_mb * 1e6, options.block_mib * MIB, options.restores, options.early)
    tables = markdown(usual_columns(saving, template), template)
    if options.write:
        DOCUMENT.write_text(documented(DOCUMENT.read_text(), tables))
    else:
        sys.stdout.write(tables)


if __name__ == "__main__":
    main()
