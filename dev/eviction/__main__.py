"""`make eviction`: replays made-up weeks of jobs by last use alone and by class, for docs/deploy/eviction.md.

It prints the page's tables in Markdown, and makes its picture.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from xml.sax.saxutils import escape

from actions_cache.domain.budgets import Budgets
from actions_cache.settings import Settings
from dev.eviction.replay import Outcome, by_class, by_last_use_alone, replay
from dev.eviction.workloads import WORKLOADS
from dev.local.template import ROOT

PICTURE = ROOT / "docs" / "images" / "eviction.svg"
SEED = 1
GB, GIB = 10**9, 1024**3
GITHUBS_BUDGET = 10 * GB
OTHER_BUDGETS = (20 * GIB, 50 * GIB)
"""Budgets that the first workload is replayed with too, the default among them."""

WIDTH, LEFT, BAR, GAP, TOP = 760, 300, 16, 10, 64
SCALE = 9.0
"""Width of one percent."""

COLOURS = {"text": ("#1f2328", "#e6edf3"), "plain": ("#b35900", "#f0883e"), "ours": ("#1a7f37", "#3fb950")}
"""Colours in a light window and in a dark one."""


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
            misses = f"{outcome.misses:,} of {outcome.restores:,} ({outcome.misses / outcome.restores:.1%})"
            of_main = f"{outcome.main_misses:,} of {outcome.main_restores:,}"
            yield f"| {name}, {rule} | {misses} | {of_main} | {outcome.share_of_few:.0%} |"


def budget_table(comparisons: Mapping[int, Comparison]) -> Iterator[str]:
    yield "| budget | restores that miss, by last use | by class | the default branch's, by last use | by class |"
    yield "|---|---:|---:|---:|---:|"
    for size, found in comparisons.items():
        rates = [f"{each.misses / each.restores:.1%}" for each in (found.plain, found.ours)]
        of_main = [f"{each.main_misses:,}" for each in (found.plain, found.ours)]
        yield f"| {size // GIB} GiB | {' | '.join([*rates, *of_main])} |"


# ---------------------------------------------------------------- picture


def picture(comparisons: Mapping[str, Comparison]) -> str:
    """Return an SVG of bars: misses of all jobs and of the default branch's, by each rule."""
    bars, y = [], TOP
    for name, found in comparisons.items():
        bars.append(_text(0, y + 12, name, weight="bold"))
        y += 22
        for whose, rule in product(("all jobs", "the default branch's jobs"), ("plain", "ours")):
            outcome = found.plain if rule == "plain" else found.ours
            missed = outcome.misses / outcome.restores
            if whose != "all jobs":
                missed = outcome.main_misses / outcome.main_restores
            if rule == "plain":
                bars.append(_text(16, y + BAR, whose))
            bars.append(f'<rect class="{rule}" x="{LEFT}" y="{y}" width="{100 * missed * SCALE:.1f}" height="{BAR}"/>')
            bars.append(_text(LEFT + 6 + 100 * missed * SCALE, y + 12, f"{missed:.1%}"))
            y += BAR + (2 if rule == "plain" else GAP)
        y += GAP
    return "\n".join([*_head(y), *bars, "</svg>", ""])


def _head(height: int) -> Sequence[str]:
    def fills(shade: int) -> str:
        return " ".join(f".{name} {{ fill: {shades[shade]}; }}" for name, shades in COLOURS.items())

    title = "Restores that miss with a budget of 10 GB: less is better"
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{title}</title>",
        f"<style>text {{ font: 13px sans-serif; }} {fills(0)}",
        f"@media (prefers-color-scheme: dark) {{ {fills(1)} }}</style>",
        _text(0, 16, title, weight="bold"),
        f'<rect class="plain" x="0" y="30" width="{BAR}" height="{BAR}"/>',
        _text(24, 43, "by last use alone"),
        f'<rect class="ours" x="170" y="30" width="{BAR}" height="{BAR}"/>',
        _text(194, 43, "by class and end of life"),
    ]


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text class="text" x="{x:.1f}" y="{y}" style="font-weight: {weight}">{escape(text)}</text>'


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
