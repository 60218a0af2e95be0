"""Restores by the hook of all sizes, layouts of parts and numbers of connections, while connections break off."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from dev.clients.hook import range_bytes, ranges
from tests.support.hooked_downloads import (
    MIB,
    MIN_BYTES,
    SCALE,
    WINDOW_BYTES,
    install_hook,
    is_whole,
    run_downloads,
)
from tests.support.scripted_store import Archive, Ask, Reply, Rule, scripted_store


def sizes(connections: int) -> Sequence[int]:
    """Return the sizes at the boundaries of the hook's rules, and one more and one less."""
    longest = range_bytes(connections) // SCALE
    boundaries = (MIB, MIN_BYTES, longest, 2 * longest, WINDOW_BYTES, WINDOW_BYTES + longest)
    return (0, 1, *(boundary + more for boundary in boundaries for more in (-1, 0, 1)))


def unreliable(random: Random, connections: int) -> Rule:
    """Return the rule by which a third of all connections break off anywhere, or are refused for the moment."""

    def rule(ask: Ask, reply: Reply) -> Reply:
        # What the client itself asks for is mended only where the hook takes it over, by its answer.
        is_clients = ask.kind == "first" and (connections == 1 or len(reply.body) < MIN_BYTES)
        if ask.kind in {"list", "stream"} or is_clients or random.random() < 2 / 3:
            return reply
        if ask.kind == "range" and random.random() < 0.1:
            return Reply(503, reply.headers)
        start = 0 if ask.kind == "first" else -1
        return replace(reply, cut=random.randint(start, len(reply.body)), then=random.choice(["reset", "close"]))

    return rule


def split(size: int, random: Random) -> Sequence[int]:
    """Return the sizes of parts that have this size in all: some of one byte, some longer than a range."""
    cuts = {random.randint(1, size - 1) for _ in range(random.choice([0, 1, 3, 20]))} if size > 1 else set[int]()
    cuts |= {cut + 1 for cut in cuts if cut + 1 < size and random.random() < 0.5}
    edges = [0, *sorted(cuts), size]
    return [end - start for start, end in pairwise(edges) if end > start]


def archives(random: Random, connections: int) -> Iterator[tuple[str, Archive]]:
    for size in (*sizes(connections), *(random.randint(1, 3 * WINDOW_BYTES) for _ in range(12))):
        for name, rules in {"well": (), "badly": (unreliable(random, connections),)}.items():
            yield f"merged-{size}-{name}", Archive(size, rules=rules)
            # A server lists no archive without a byte.
            yield f"unmerged-{size}-{name}", Archive(size, split(size, random), rules, knows_lists=size > 0)


@pytest.mark.parametrize("connections", [1, 2, *(pytest.param(many, marks=pytest.mark.slow) for many in (8, 32))])
def test_archives_of_all_sizes_are_whole(tmp_path: Path, connections: int) -> None:
    with scripted_store(dict(archives(Random(connections), connections))) as store:
        hook = install_hook(tmp_path / "hook", store.url, connections=connections)
        run = run_downloads(tmp_path / "run", store, dict.fromkeys(store.archives, "quickly"), hook=hook, at_once=8)
    broken = {name: run.results[name] for name, it in store.archives.items() if not is_whole(it, run.results[name])}
    assert (broken, run.unhandled, run.left) == ({}, [], [])


def test_well_archives_are_read_by_the_expected_ranges(tmp_path: Path) -> None:
    """`make cost` and docs/design/scale.md count them so."""
    random = Random(1)
    stored: dict[str, Archive] = {}
    for size in (MIN_BYTES, WINDOW_BYTES, 3 * WINDOW_BYTES + 1):
        parts = split(size, random)
        stored |= {f"merged-{size}": Archive(size), f"unmerged-{size}": Archive(size, parts)}
    with scripted_store(stored) as store:
        hook = install_hook(tmp_path / "hook", store.url)
        run_downloads(tmp_path / "run", store, dict.fromkeys(store.archives, "quickly"), hook=hook, at_once=1)
        asked = {name: len(archive.asked("first", "range")) for name, archive in store.archives.items()}
    assert asked == {name: ranges(it.parts or [it.size], scale=SCALE) for name, it in stored.items()}
