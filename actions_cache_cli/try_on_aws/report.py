"""Writes the results of a try as markdown to paste into an issue, without account numbers and tokens."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions_cache.cost import GIGABYTE, PRICES, Saving, entry_saved, total
from actions_cache.domain.merge_plan import MIB
from actions_cache_cli.deployment_check.check import Outcome
from actions_cache_cli.try_on_aws.bench import CONNECTIONS, Measured, Meter, Sizes, middle

ACCOUNT = re.compile(r"(?<![0-9a-f])[0-9]{12}(?![0-9a-f])")


@dataclass
class Result:
    """Holds what is known when a try ends, however it ends."""

    region: str
    architecture: str
    version: str
    when: str
    sizes: Sizes
    ceiling_usd: float
    checks: Sequence[Mapping[str, Any]] = ()
    measured: Measured | None = None
    meter: Meter | None = None
    deploy_seconds: float | None = None
    errors: list[str] = field(default_factory=list)
    left: Sequence[str] = ()

    @property
    def failed(self) -> int:
        return sum(row["outcome"] == Outcome.FAIL for row in self.checks)

    @property
    def is_good(self) -> bool:
        return bool(self.checks) and not (self.failed or self.errors or self.left) and self.measured is not None


def markdown(result: Result) -> str:
    blocks = [_head(result), _errors(result), _numbers(result), _checks(result), _left(result)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(result: Result) -> str:
    if result.is_good:
        verdict = "everything that was tried works"
    else:
        verdict = (
            f"**something is wrong**: {result.failed} checks failed" if result.failed else "**it didn't end well**"
        )
    sizes = result.sizes
    return (
        f"### serverless-actions-cache, tried in {result.region} on {result.when}: {verdict}\n\n"
        f"Version {result.version}, {result.architecture}. {sizes.entries} entries of {sizes.entry_mib} MiB in blocks "
        f"of {sizes.block_mib} MiB, by `make try-on-aws`, on a stack that is deleted again."
    )


def _errors(result: Result) -> str:
    return "\n".join(f"- {_plain(error)}" for error in result.errors)


def _numbers(result: Result) -> str:
    measured, meter = result.measured, result.meter
    rows: list[tuple[str, str]] = []
    if result.deploy_seconds is not None:
        rows.append(("deploy, until CloudFront has it", f"{result.deploy_seconds:.0f} s"))
    if measured is not None:
        size = result.sizes.entry_bytes
        rows += _timed("save, 4 blocks at once", measured.save_seconds, size)
        rows += _timed("merge, from the finalize's answer to S3's URL", measured.merge_seconds, None)
        for count in CONNECTIONS:
            title = f"restore from S3, {count} connection{'s' if count > 1 else ''}"
            rows += _timed(title, measured.restore_seconds[count], size)
        rows += _timed("lookup by a function that has to start", measured.cold_seconds, None)
        rows += _timed("lookup by one that runs", measured.warm_seconds, None)
    if meter is not None:
        rows.append(("requests of the bench", f"{meter.requests:,}"))
        rows.append(("sent and received by the bench", f"{meter.sent / MIB:,.0f} MiB, {meter.received / MIB:,.0f} MiB"))
        rows.append(("its cost, by list prices of us-east-1", f"${counted_usd(meter, result.sizes, measured):.4f}"))
    rows.append(("ceiling calculated before it began", f"${result.ceiling_usd:.2f}"))
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---:|", *lines])


def _timed(title: str, seconds: Sequence[float], size: int | None) -> list[tuple[str, str]]:
    if not seconds:
        return []
    half = middle(seconds)
    speed = f", {size / MIB / half:,.0f} MiB/s" if size is not None and half > 0 else ""
    return [(title, f"{half:.2f} s{speed} (median of {len(seconds)}; {min(seconds):.2f} to {max(seconds):.2f})")]


def counted_usd(meter: Meter, sizes: Sizes, measured: Measured | None) -> float:
    """Price the requests that were counted, and for each entry saved the work that the server does for it.

    Each request counts as one to the API, the most expensive kind.
    """
    saved = len(measured.save_seconds) if measured is not None else 0
    by_server = [
        line
        for line in entry_saved(Saving(sizes.entry_bytes, sizes.block_mib * MIB, 0, 0))
        if not line.what.startswith(("CloudFront, bytes", "CloudFront, requests", "API Gateway"))
    ]
    return (
        PRICES["CloudFront to origin"].of(meter.sent / GIGABYTE)
        + PRICES["S3 to internet"].of(meter.received / GIGABYTE)
        + PRICES["CloudFront request"].of(meter.requests)
        + PRICES["API Gateway"].of(meter.requests)
        + saved * total(by_server)
    )


def _checks(result: Result) -> str:
    if not result.checks:
        return ""
    count = {outcome: sum(row["outcome"] == outcome for row in result.checks) for outcome in Outcome}
    lines = [f"| {row['outcome']} | {_plain(row['title'])} | {_plain(row['detail'])} |" for row in result.checks]
    counted = f"{count[Outcome.OK]} ok, {count[Outcome.FAIL]} failed, {count[Outcome.SKIP]} skipped"
    return "\n".join(
        [
            f"<details><summary>The deployment check: {counted}</summary>",
            "",
            "| | what must be so | what was seen |",
            "|---|---|---|",
            *lines,
            "",
            "</details>",
        ]
    )


def _left(result: Result) -> str:
    if not result.left:
        return ""
    rows = "\n".join(f"- {_plain(one)}" for one in result.left)
    return f"**Not deleted, and to be deleted by hand:**\n\n{rows}"


def _plain(text: str) -> str:
    """Return others' text so that it fits one cell and none of its markup takes effect."""
    kept = "".join(character if character.isprintable() else " " for character in ACCOUNT.sub("<account>", text))
    return kept.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("@", "@\u200b")
