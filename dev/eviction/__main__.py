"""`make eviction`: replays made-up weeks of jobs by last use alone and by class, for docs/deploy/eviction.md.

It prints its tables in Markdown, the second of which the page has, and makes the page's picture.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from actions_cache.domain.budgets import Budgets
from actions_cache.settings import Settings
from dev.docs import bars
from dev.eviction.replay import Outcome, by_class, by_last_use_alone, replay
from dev.eviction.workloads import WORKLOADS
from dev.local.template import ROOT

PICTURE = ROOT / "docs" / "images" / "eviction.svg"
SEED = 1
GB, GIB = 10**9, 1024**3
GITHUBS_BUDGET = 10 * GB
OTHER_BUDGETS = (20 * GIB, 50 * GIB)
"""Budgets that the first workload is replayed with too, the default among them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload's outcome by last use alone, and by class."""

    plain: Outcome
    ours: Outcome


def compare(seed: int, settings: Settings) -> Mapping[str, Comparison]:
    """Replay each workload with a budget of 10 GB, by both rules."""
    budgets = Budgets(repository=GITHUBS_BUDGET)
    comparisons = {}
    for name, workload in WORKLOADS.items():
        steps = workload(seed)
        plain = replay(steps, by_last_use_alone(settings), budgets)
        comparisons[name] = Comparison(plain, replay(steps, by_class(settings), budgets))
    return comparisons


def with_other_budgets(seed: int, settings: Settings) -> Mapping[int, Comparison]:
    """Replay the first workload with larger budgets, by both rules."""
    steps = next(iter(WORKLOADS.values()))(seed)
    rules = by_last_use_alone(settings), by_class(settings)
    return {
        size: Comparison(*(replay(steps, rule, Budgets(repository=size)) for rule in rules)) for size in OTHER_BUDGETS
    }


# ---------------------------------------------------------------- tables


def table(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    yield "| jobs | restores that miss | of the default branch's jobs | held by refs that few can read |"
    yield "|---|---:|---:|---:|"
    for name, found in comparisons.items():
        for rule, outcome in (("by last use", found.plain), ("by class", found.ours)):
            misses = f"{outcome.misses:,} of {outcome.restores:,} ({outcome.miss_rate:.1%})"
            of_main = f"{outcome.main_misses:,} of {outcome.main_restores:,}"
            yield f"| {name}, {rule} | {misses} | {of_main} | {outcome.share_of_few:.0%} |"


def budget_table(comparisons: Mapping[int, Comparison]) -> Iterator[str]:
    yield "| budget | restores that miss, by last use | by class | the default branch's, by last use | by class |"
    yield "|---|---:|---:|---:|---:|"
    for size, found in comparisons.items():
        rates = [f"{each.miss_rate:.1%}" for each in (found.plain, found.ours)]
        of_main = [f"{each.main_misses:,}" for each in (found.plain, found.ours)]
        yield f"| {size // GIB} GiB | {' | '.join([*rates, *of_main])} |"


# ---------------------------------------------------------------- picture


def picture(comparisons: Mapping[str, Comparison]) -> str:
    """Return an SVG of bars: misses of all jobs and of the default branch's, by each rule."""
    groups = [
        bars.Group(
            name,
            [
                bars.Pair("all jobs", _bar(found.plain.miss_rate), _bar(found.ours.miss_rate)),
                bars.Pair(
                    "the default branch's jobs", _bar(found.plain.main_miss_rate), _bar(found.ours.main_miss_rate)
                ),
            ],
        )
        for name, found in comparisons.items()
    ]
    title = "Restores that miss with a budget of 10 GB: less is better"
    return bars.picture(title, "by last use alone", "by class and end of life", groups)


def _bar(rate: float) -> bars.Bar:
    return bars.Bar(rate, f"{rate:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="eviction", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="of the made-up jobs; the page's is %(default)s")
    options = parser.parse_args()
    settings = Settings.model_construct()
    comparisons = compare(options.seed, settings)
    print(*table(comparisons), "", *budget_table(with_other_budgets(options.seed, settings)), sep="\n")
    if options.seed == SEED:
        PICTURE.write_text(picture(comparisons))


if __name__ == "__main__":
    main()
