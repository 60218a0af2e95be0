"""Restore times by size and latency, beside the plain GET: docs/restore.png."""

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from dev.bench.environment import Store, get_all, save, scene
from dev.bench.restores import BLOCK_BYTES, LATENCIES, MB, MIB, in_turn
from dev.bench.row import Row
from dev.local.template import ROOT

PICTURE = ROOT / "docs" / "restore.png"
SIZES = (128 * MIB, 256 * MIB, 512 * MIB, 1024 * MIB)
"""Two blocks and more: what one block makes is the plain GET itself."""

SIDES = {
    "o--": "plain GET of one object",
    "o:": "the same past a process that copies (no bound)",
    "o-": "unmerged, from its parts",
}
"""How each is drawn, in the order in which they are measured."""

Times = dict[int, list[tuple[float, ...]]]
"""Seconds of each side: by latency, for each size."""


def plots(store: Store, rounds: int) -> Iterator[Row]:
    times: Times = {}
    for milliseconds in LATENCIES:
        with tempfile.TemporaryDirectory() as directory, scene(store, Path(directory), milliseconds) as at:
            times[milliseconds] = []
            for size in SIZES:
                job = at.job()
                save(job, "entry", BLOCK_BYTES, size)
                urls = at.plain_object("entry", size), at.past_the_hop("entry"), job.download_url("entry")
                times[milliseconds].append(in_turn(*(partial(_seconds, url) for url in urls), rounds=rounds))
    _draw(times)
    ratio = statistics.median(plain / ours for turns in times.values() for plain, _, ours in turns)
    yield Row(f"{PICTURE.relative_to(ROOT)}", "plain", "unmerged", ratio, "≥ 0.90", "the median of all its points")


def _seconds(url: str) -> float:
    return get_all([url])[0].seconds


def _draw(times: Times) -> None:
    figure = Figure(figsize=(4 * len(times), 3.5), layout="constrained")
    pictures = figure.subplots(1, len(times), sharey=True)
    megabytes = [size / MB for size in SIZES]
    for axes, (milliseconds, turns) in zip(pictures, times.items(), strict=True):
        for style, label, seconds in zip(SIDES, SIDES.values(), zip(*turns, strict=True), strict=True):
            axes.plot(megabytes, seconds, style, label=label)
        axes.set(title=f"{milliseconds} ms a request", xlabel="MB", xlim=(0, None))
        axes.grid(alpha=0.3)
    # Shared by all, so only when all is drawn: a limit ends the scaling.
    pictures[0].set(ylabel="seconds", ylim=(0, None))
    pictures[0].legend()
    figure.savefig(PICTURE, dpi=100)
