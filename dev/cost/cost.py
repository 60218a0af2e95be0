"""The costs of a month, line by line: `python -m dev.cost.cost` prints them as Markdown; `--write` shortens the page's.

The requests are counted from the design, and the prices are list prices; both are in actions_cache/cost.py. Nothing
here was measured on AWS.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actions_cache.aws.dynamodb_items import DUE_SHARDS
from actions_cache.cost import (
    GIGABYTE,
    HOURS_A_MONTH,
    PRICES,
    TERABYTE,
    Line,
    Saving,
    entry_saved,
    stored_a_month,
    total,
)
from actions_cache.domain.budgets import Usage
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import (
    METRICS,
    MONTH_COST,
    ORPHAN_LISTING_FAILURES,
    STORED_BYTES,
    STORED_ENTRIES,
    Metric,
)
from dev.clients.hook import ranges
from dev.cost.ceiling import LINK_BITS_A_SECOND, Spending, ceiling, seconds_until_told, worst_hour
from dev.local.template import ROOT, Template

DOCUMENT = ROOT / "docs" / "deploy" / "cost.md"
BEGIN, END = "<!-- written by: python -m dev.cost.cost --write -->\n", "<!-- end -->\n"

# Estimates of what an idle run needs, from reading the code.
IDLE_RUN_SECONDS = 0.5
IDLE_RUN_LOG_BYTES = 2000
USUAL_VALUES = {"reason": 1, "outcome": 1, "task": 3, "kind": 2, "part": 5, "fall": 1, "hook": 1}
"""Number of values of each dimension in an hour in which jobs run; each value counts as a metric."""
MOST_VALUES = {metric.dimension: len(metric.values) for metric in METRICS if metric.dimension}
BUCKET_METRICS, BUCKET_METRICS_OF_A_LISTING = 13, 7
"""Numbers of S3's request metrics without those of S3 Select, and of those that a listing makes: all requests and
lists, bytes down, the two latencies, the two errors.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html."""
BUSY_HOURS = 22 * 10
"""Hours of a month in which jobs run: ten a day from Monday to Friday."""
NEVER_WELL = (ORPHAN_LISTING_FAILURES,)
"""Metrics that aren't sent while all is well."""
BY_THE_SCHEDULE = (STORED_BYTES, STORED_ENTRIES, MONTH_COST)
"""Metrics that each run of the orphan search sends, whether anything is building or not: in two hours of a day."""
IDLE_POLLS_A_SECOND = 5 / 20
"""Requests of the five long polls of 20 s that Lambda keeps open at a queue."""
ROTATION_KVS_CALLS = 2
"""Calls of RotateFunction to the KeyValueStore in each run: for its ETag, and for the secrets."""


def terabyte_saved(saving: Saving) -> tuple[Line, ...]:
    """Return the cost of a terabyte from its save to its end, without storage and transfer out."""
    return tuple(Line(line.what, line.price, line.quantity * saving.entries) for line in entry_saved(saving))


def transfer_out(saving: Saving, *, outside_aws: bool) -> Line:
    """Return the cost of the restores' bytes on their way to the runners."""
    gigabytes = saving.restores * TERABYTE / GIGABYTE
    if saving.seeks:
        return Line("to runners anywhere, through the edge", "CloudFront to internet", gigabytes)
    if outside_aws:
        return Line("to runners outside AWS, from S3", "S3 to internet", gigabytes)
    return Line("to runners in the region, from S3", "S3 to internet", 0)


def hooked_restores(saving: Saving) -> Line:
    """Return the cost of the ranges of the restores, all of which the runner's hook reads from S3.

    BuildKit reads for itself.
    """
    of_each = 0 if saving.seeks else ranges([math.ceil(saving.entry_bytes)])
    return Line("restores, ranges by the runner's hook", "S3 read", saving.entries * saving.restores * of_each)


def storage_a_month(saving: Saving) -> tuple[Line, ...]:
    """Return the cost of storing a terabyte for a month."""
    return stored_a_month(Usage(int(TERABYTE), math.ceil(saving.entries)))


def idle_month(template: Template) -> tuple[Line, ...]:
    """Return the cost of a month in which nothing is building and nothing is stored."""
    expressions = schedules(template)
    runs = {name: sum(runs_a_month(template, one) for one in several) for name, several in expressions.items()}
    memory = {name: float(default_of(template, template.functions[name]["MemorySize"])) / 1024 for name in runs}
    seconds = {name: count * IDLE_RUN_SECONDS * memory[name] for name, count in runs.items()}
    all_runs = sum(runs.values())
    secrets = template.of_type("AWS::SecretsManager::Secret").values()
    by_default = [secret for secret in secrets if "Condition" not in secret or template.condition(secret["Condition"])]
    rotations, cleanups = runs["RotateFunction"], runs["CleanupFunction"]
    metrics = custom_metrics(BY_THE_SCHEDULE, MOST_VALUES) * orphan_runs_a_month(template)
    dashboards = template.of_type("AWS::CloudWatch::Dashboard")
    return (
        Line("the secrets: of URLs, of those who manage", "Secret", len(by_default)),
        Line("reading the one, at each rotation", "Secrets Manager", rotations),
        Line("the KeyValueStore, asked at each run", "KeyValueStore API", rotations * ROTATION_KVS_CALLS),
        Line("alarms", "Alarm", len(template.of_type("AWS::CloudWatch::Alarm"))),
        Line("Lambda's polling of the merge queue", "SQS", IDLE_POLLS_A_SECOND * HOURS_A_MONTH * 3600),
        Line("scheduled runs: Scheduler", "Scheduler", all_runs),
        Line("scheduled runs: calls", "Lambda call", all_runs),
        Line("scheduled runs: time", "Lambda GB-second", sum(seconds.values())),
        # One a shard, half a read unit each when nothing is due.
        Line("scheduled runs: queries", "DynamoDB read", cleanups * len(DUE_SHARDS) / 2),
        Line("scheduled runs: logs", "Log", all_runs * IDLE_RUN_LOG_BYTES / GIGABYTE),
        Line("scheduled runs: traces", "Trace", all_runs),
        Line("the dashboard, if wanted", "Dashboard", len(dashboards) if template.condition("HasDashboard") else 0),
        Line("custom metrics: what is stored, what the month costs", "Metric", metrics / HOURS_A_MONTH),
        Line(
            "S3's request metrics, while cleanup lists the bucket",
            "Metric",
            BUCKET_METRICS_OF_A_LISTING * orphan_runs_a_month(template) / HOURS_A_MONTH,
        ),
    )


def metrics_month(hours: float, values: Mapping[str, int]) -> Line:
    """Return the cost of the custom metrics of a month, of which they are sent in so many hours.

    The schedule's own metrics aren't counted, since an idle month has them too.
    """
    count = custom_metrics((metric for metric in METRICS if metric not in (*NEVER_WELL, *BY_THE_SCHEDULE)), values)
    return Line(f"{count} custom metrics, in {hours:,.0f} hours of it", "Metric", count * hours / HOURS_A_MONTH)


def bucket_metrics_month(hours: float) -> Line:
    """Return the cost of S3's request metrics of a month, in so many hours of which the bucket is read or written."""
    what = f"{BUCKET_METRICS} request metrics of S3, in {hours:,} hours of it"
    return Line(what, "Metric", BUCKET_METRICS * hours / HOURS_A_MONTH)


def custom_metrics(metrics: Iterable[Metric], values: Mapping[str, int]) -> int:
    """Return the number of metrics that are billed: each value of a dimension counts."""
    return sum(values[metric.dimension] if metric.dimension else 1 for metric in metrics)


def orphan_runs_a_month(template: Template) -> float:
    schedules = (event["Properties"] for event in template.functions["CleanupFunction"]["Events"].values())
    [expression] = [
        schedule["ScheduleExpression"]
        for schedule in schedules
        if json.loads(schedule.get("Input", "{}")) == {"find": "orphans"}
    ]
    return runs_a_month(template, expression)


def schedules(template: Template) -> dict[str, list[str]]:
    """Return the schedule expressions of each function that has any."""
    expressions: dict[str, list[str]] = {}
    for name, function in template.functions.items():
        for event in function.get("Events", {}).values():
            if event["Type"] == "ScheduleV2":
                expression = default_of(template, event["Properties"]["ScheduleExpression"])
                expressions.setdefault(name, []).append(expression)
    return expressions


def runs_a_month(template: Template, expression: str) -> float:
    """Return the runs of `rate(5 minutes)` and the like; a parameter's name stands for its default.

    Raises:
        ValueError: the expression is of another kind.
    """
    for name, parameter in template.body["Parameters"].items():
        expression = expression.replace(f"${{{name}}}", str(parameter.get("Default", "")))
    count, _, unit = expression.removeprefix("rate(").removesuffix(")").partition(" ")
    hours = {"minute": 1 / 60, "hour": 1, "day": 24}.get(unit.removesuffix("s"))
    if hours is None or not count.isdecimal():
        raise ValueError(f"{expression!r} is no rate(N minutes|hours|days)")
    return HOURS_A_MONTH / (int(count) * hours)


def default_of(template: Template, value: Any) -> str:
    """Return a property's value, or a parameter's default where it refers to one."""
    if isinstance(value, dict):
        if "Ref" in value:
            return str(template.body["Parameters"][value["Ref"]]["Default"])
        return str(value["Fn::Sub"])
    return str(value)


LARGE_IDLE_USD = 1.0

SHOWN_IDLE_USD = 0.2
"""Least cost of a line of an idle month that the page shows by itself."""
SHOWN_HOUR_USD = 75.0
"""Least cost of a line of the worst hour that the page shows."""
OTHER_MONTHS_TERABYTES = (10, 50)
"""Terabytes saved in the page's other months."""


def dollars(usd: float) -> str:
    return "0" if usd == 0 else "< 0.01" if usd < 0.005 else f"{usd:,.2f}"


def markdown(columns: Mapping[str, Saving], template: Template) -> str:
    """Return every line: months by size, a terabyte, an idle month, the worst hour, and the prices."""
    tables = [
        _month_table(columns, template),
        _terabyte_table(columns),
        _idle_table(template),
        _metrics_table(),
        _ceiling_table(template),
        _price_table(),
    ]
    return "\n\n".join("\n".join(rows) for rows in tables) + "\n"


def page_tables(columns: Mapping[str, Saving], template: Template) -> str:
    """Return the page's tables: a month by size, an idle month, and the dearest lines of the worst hour."""
    tables = [_month_table(columns, template), _short_idle_table(template), _short_ceiling_table(template)]
    return "\n\n".join("\n".join(rows) for rows in tables) + "\n"


def _month_table(columns: Mapping[str, Saving], template: Template) -> list[str]:
    plain, hooked, seeking = columns.values()
    idle = total(idle_month(template))
    seen = idle + metrics_month(BUSY_HOURS, USUAL_VALUES).usd + bucket_metrics_month(BUSY_HOURS).usd
    cases = (
        ("actions/cache, runners in the bucket's region", plain, 0),
        ("the same, saved by the runner's hook", hooked, hooked_restores(hooked).usd),
        ("actions/cache, runners elsewhere", plain, transfer_out(plain, outside_aws=True).usd),
        ("BuildKit's 1 MiB blocks, runners anywhere", seeking, transfer_out(seeking, outside_aws=True).usd),
    )
    more = [f"{terabytes} TB" for terabytes in OTHER_MONTHS_TERABYTES]
    head = ("1 TB saved in a month", "saves, lookups", "restores", "storage", "idle, metrics", "**in all**", *more)
    rows = [
        "## In six lines",
        "",
        f"USD a month. {_assumed(plain)} All of it is stored for the whole month.",
        "",
        _row(*head),
        _row("---", *["---:"] * (len(head) - 1)),
    ]
    for what, saving, restored in cases:
        saved, stored = total(terabyte_saved(saving)), total(storage_a_month(saving))
        each = saved + restored + stored
        others = [f"{each * terabytes + seen:,.0f}" for terabytes in OTHER_MONTHS_TERABYTES]
        parts = (*map(dollars, (saved, restored, stored, seen)), f"**{each + seen:,.0f}**")
        rows.append(_row(what, *parts, *others))
    rows.append(_row("nothing saved", "0", "0", "0", dollars(idle), f"**{idle:,.0f}**", *["" for _ in more]))
    return rows


def _assumed(saving: Saving) -> str:
    return (
        f"{saving.entries:,.0f} entries of {saving.entry_bytes / 1e6:,.0f} MB, each restored {saving.restores:g} "
        f"times; {saving.early:.0%} of the restores come before the merge is done."
    )


def _short_idle_table(template: Template) -> list[str]:
    lines = idle_month(template)
    shown = [line for line in lines if line.usd >= SHOWN_IDLE_USD]
    seen = [
        metrics_month(hours, values).usd + bucket_metrics_month(hours).usd
        for hours, values in ((BUSY_HOURS, USUAL_VALUES), (HOURS_A_MONTH, MOST_VALUES))
    ]
    rows = ["## An idle month", "", _row("", "USD"), _row("---", "---:")]
    rows += [_row(line.what, dollars(line.usd)) for line in shown]
    rows.append(_row("all else", dollars(total(lines) - total(shown))))
    rows.append(_row("**idle**", f"**{total(lines):,.2f}**"))
    rows.append(_row("metrics, while jobs run ten hours a workday", f"+ {dollars(seen[0])}"))
    rows.append(_row("metrics, if everything happens at every hour", f"+ {dollars(seen[1])}"))
    return rows


def _short_ceiling_table(template: Template) -> list[str]:
    spendings, told = worst_hour(template), seconds_until_told(template)
    dearest: dict[str, Spending] = {}
    for spending in spendings:
        name = spending.shared or spending.what
        dearest[name] = max(dearest.get(name, spending), spending, key=lambda one: one.usd)
    shown = [one for one in spendings if one in dearest.values() and one.usd >= SHOWN_HOUR_USD]
    rows = _ceiling_head(spendings)
    rows += [_spending_row(spending, told) for spending in sorted(shown, key=lambda one: -one.usd)]
    rows.append(_row("all else", "", "", dollars(ceiling(spendings) - sum(one.usd for one in shown)), "", ""))
    return [*rows, _ceiling_sum(spendings)]


def _terabyte_table(columns: Mapping[str, Saving]) -> list[str]:
    saved = [terabyte_saved(saving) for saving in columns.values()]
    first = next(iter(columns.values()))
    rows = [
        "## A terabyte saved",
        "",
        f"{_assumed(first)} USD.",
        "",
        _row("", *columns),
        _row("---", *["---:"] * len(columns)),
    ]
    rows += [_row(lines[0].what, *(dollars(line.usd) for line in lines)) for lines in zip(*saved, strict=True)]
    rows.append(_row("**saved, merged and looked up**", *(f"**{total(lines):,.2f}**" for lines in saved)))
    for where, outside in (("restores, runners in the region", False), ("restores, runners elsewhere", True)):
        out = [transfer_out(saving, outside_aws=outside).usd for saving in columns.values()]
        rows.append(_row(where, *map(dollars, out)))
    hooked = [hooked_restores(saving) for saving in columns.values()]
    rows.append(_row(hooked[0].what, *(dollars(line.usd) for line in hooked)))
    rows.append(
        _row("storage, a month of it", *(dollars(total(storage_a_month(saving))) for saving in columns.values()))
    )
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
    rows += [_row(when, line.what, dollars(line.usd)) for when, line in cases]
    for when, hours in (
        ("the bucket read or written, ten hours a day", BUSY_HOURS),
        ("the same, at every hour", HOURS_A_MONTH),
    ):
        line = bucket_metrics_month(hours)
        rows.append(_row(when, line.what, dollars(line.usd)))
    return rows


def _ceiling_table(template: Template) -> list[str]:
    spendings, told = worst_hour(template), seconds_until_told(template)
    rows = [_spending_row(spending, told) for spending in spendings]
    return [*_ceiling_head(spendings), *rows, _ceiling_sum(spendings)]


def _ceiling_head(spendings: Sequence[Spending]) -> list[str]:
    unheard, gigabits = sum(spending.told_by is None for spending in spendings), LINK_BITS_A_SECOND / 1e9
    return [
        "## What one token can cost in an hour",
        "",
        f"One job, with its token and URLs, on a machine with {gigabits:g} Gbit/s each way, against the template's",
        "defaults. Of lines that compete (for the link, a throttle, S3's rate, Lambda's concurrency) the sum has only",
        f"the dearest. {unheard} of {len(spendings)} lines set off no alarm.",
        "",
        _row("", "in an hour", "bounded by", "USD an hour", "alarm, and when", "USD by then"),
        _row("---", "---:", "---", "---:", "---", "---:"),
    ]


def _ceiling_sum(spendings: Sequence[Spending]) -> str:
    return _row("**all of it**", "", "", f"**{ceiling(spendings):,.0f}**", "", "")


def _spending_row(spending: Spending, told: Mapping[str, float]) -> str:
    alarm, by_then = "none", ""
    if spending.told_by:
        seconds = told[spending.told_by]
        alarm, by_then = f"`{spending.told_by}`, {seconds / 60:g} min", dollars(spending.usd * seconds / 3600)
    quantity = f"{_amount(spending.quantity)} {spending.unit}"
    return _row(spending.what, quantity, spending.bound, dollars(spending.usd), alarm, by_then)


def _amount(quantity: float) -> str:
    millions = quantity / 1e6
    return f"{millions:,.1f} million" if millions >= 1 else f"{quantity:,.0f}"


def _price_table() -> list[str]:
    rows = ["## The prices", "", _row("", "USD", "per", "seen"), _row("---", "---:", "---", "---")]
    return rows + [_row(name, f"{price.usd:g}", price.unit, price.seen) for name, price in PRICES.items()]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def documented(document: str, tables: str) -> str:
    """Return the document with the tables in their place.

    Raises:
        ValueError: the place isn't marked.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{DOCUMENT.name} lacks the line {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def usual_columns(saving: Saving, template: Template) -> dict[str, Saving]:
    """Return the saving by @actions/cache without and with the hook, and by BuildKit; memory is the template's."""
    plain = replace(
        saving,
        http_gigabytes=float(default_of(template, {"Ref": "HttpMemory"})) / 1024,
        merge_gigabytes=float(default_of(template, {"Ref": "MergeMemory"})) / 1024,
    )
    return {
        f"actions/cache, {saving.block_bytes / MIB:g} MiB blocks": plain,
        "the same with the hook": replace(plain, direct=True),
        "BuildKit, 1 MiB blocks": replace(plain, block_bytes=MIB, seeks=True),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--entry-mb", type=float, default=705)
    parser.add_argument("--block-mib", type=float, default=64)
    parser.add_argument("--restores", type=float, default=3, help="of each entry")
    parser.add_argument("--early", type=float, default=0.1, help="part of the restores that comes before the merge")
    parser.add_argument("--ceiling", action="store_true", help="only what one token can cost in an hour")
    parser.add_argument("--write", action="store_true", help="the tables of docs/deploy/cost.md")
    options = parser.parse_args(arguments)
    template = Template.load()
    if options.ceiling:
        sys.stdout.write("\n".join(_ceiling_table(template)) + "\n")
        return
    saving = Saving(options.entry_mb * 1e6, options.block_mib * MIB, options.restores, options.early)
    columns = usual_columns(saving, template)
    if options.write:
        DOCUMENT.write_text(documented(DOCUMENT.read_text(), page_tables(columns, template)))
    else:
        sys.stdout.write(markdown(columns, template))


if __name__ == "__main__":
    main()
