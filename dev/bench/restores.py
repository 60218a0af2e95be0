"""Restores and saves beside plain GETs and PUTs: both sides in turn, so that a busy moment meets either."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from dev.bench.environment import Scene, Store, get_all, put_all, save, scene
from dev.bench.latency_proxy import injector
from dev.bench.row import Row
from dev.bench.source import served_zeros
from dev.clients.wire import random_block_id, with_query

MB, MIB = 10**6, 1024 * 1024
ENTRY_BYTES = 705 * MB
BLOCK_BYTES = 64 * MIB
LAYER_BYTES = 705 * MIB
READERS = 8
LATENCIES = (0, 30, 100)
LAYERS_LATENCY = 30


def restores(store: Store, rounds: int) -> Iterator[Row]:
    for milliseconds in LATENCIES:
        with tempfile.TemporaryDirectory() as directory, scene(store, Path(directory), milliseconds) as at:
            job, away = at.job(), f"{milliseconds} ms a request"
            save(job, "entry", BLOCK_BYTES, ENTRY_BYTES)
            plain, ours = at.plain_object("entry", ENTRY_BYTES), job.download_url("entry")
            hop = at.past_the_hop("entry")
            yield _restore(f"restore of 705 MB, 11 parts, {away}", [plain], [hop], [ours], rounds=rounds, target=0.9)
            yield _first_byte(milliseconds, ours, rounds)
            if milliseconds == 0:
                many = [[url] * READERS for url in (plain, hop, ours)]
                yield _restore(f"{READERS} of these at once", *many, rounds=rounds, target=0.9)
            if milliseconds == LAYERS_LATENCY:
                save(job, "layer", MIB, LAYER_BYTES)
                plain, ours = at.plain_object("layer", LAYER_BYTES), job.download_url("layer")
                hop = at.past_the_hop("layer")
                yield _restore(
                    f"restore of 705 MiB, 705 parts, {away}", [plain], [hop], [ours], rounds=rounds, target=0.8
                )


def restores_while_merging(store: Store, rounds: int) -> Iterator[Row]:
    """Of entries just saved, each once: its merge begins with it. The store copies on the cores that all else has."""
    milliseconds = LAYERS_LATENCY
    with (
        tempfile.TemporaryDirectory() as directory,
        scene(store, Path(directory) / "still", milliseconds) as still,
        scene(store, Path(directory) / "merging", milliseconds, merge_workers=1) as merging,
    ):

        def seconds(at: Scene) -> float:
            job = at.job()
            save(job, "entry", BLOCK_BYTES, ENTRY_BYTES)
            return get_all([job.download_url("entry")])[0].seconds

        alone, beside = in_turn(lambda: seconds(still), lambda: seconds(merging), rounds=rounds)
    what = f"restore of 705 MB while its merge runs, {milliseconds} ms a request"
    yield Row(what, f"with no merge {alone:.2f} s", f"{beside:.2f} s", alone / beside, "≥ 0.90")


def saves(store: Store, rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory, scene(store, Path(directory), 0) as at:
        yield _save(at, "save of 11 blocks of 64 MiB, 8 at once", 11, BLOCK_BYTES, 8, rounds, 0.9)
        yield _save(at, "save of 100 blocks of 1 MiB, one by one", 100, MIB, 1, rounds, 1 / 1.3)


def injector_alone(_store: Store, _rounds: int) -> Iterator[Row]:
    """Else a ratio through it says nothing: it must carry twice what either side does."""
    with served_zeros(ENTRY_BYTES) as port, injector(port, 0) as url:
        transfers = get_all([f"{url}/"] * 2)
        speed = sum(one.size for one in transfers) / max(one.seconds for one in transfers)
    yield Row("the injector alone", "", f"{speed / MIB:,.0f} MiB/s", None, "twice the fastest restore's")


def _restore(
    what: str, plain: Sequence[str], hop: Sequence[str], ours: Sequence[str], *, rounds: int, target: float
) -> Row:
    """Beside the plain GET, and beside the least that a server in between can be."""

    def seconds(urls: Sequence[str]) -> float:
        return max(transfer.seconds for transfer in get_all(urls))

    sides = [partial(seconds, urls) for urls in (plain, hop, ours)]
    for side in sides:
        side()
    by_plain, by_hop, by_ours = in_turn(*sides, rounds=rounds)
    more = f"a hop that only copies {by_hop:.2f} s, {by_plain / by_hop:.2f}; ours in that of it {by_hop / by_ours:.2f}"
    return compared(what, by_plain, by_ours, target, more)


def _first_byte(milliseconds: int, ours: str, rounds: int) -> Row:
    """From the request to us until its first byte: the manifest and a part are asked for in that time."""
    took = statistics.median(get_all([ours])[0].first_byte for _ in range(rounds))
    three = 3 * milliseconds / 1000
    ratio = took / three if three else None
    return Row(
        f"its first byte, {milliseconds} ms a request",
        f"three requests {1000 * three:.0f} ms",
        f"{1000 * took:.0f} ms",
        ratio,
        "≤ 1.00" if three else "",
    )


def _save(at: Scene, what: str, count: int, size: int, at_once: int, rounds: int, target: float) -> Row:
    def plain() -> float:
        return put_all(at.plain_targets([(random_block_id().strip("=").replace("/", "-"), size)] * count), at_once)

    def ours() -> float:
        url = at.job().reserve("entry")
        ids = [random_block_id() for _ in range(count)]
        return put_all([(with_query(url, last={"comp": "block", "blockid": one}), size) for one in ids], at_once)

    plain(), ours()
    by_plain, by_ours = in_turn(plain, ours, rounds=rounds)
    return compared(what, by_plain, by_ours, target)


def compared(what: str, plain: float, ours: float, target: float, more: str = "") -> Row:
    """Args: plain, ours: seconds; target: the least that our speed may be in that of the plain side."""
    return Row(what, f"plain {plain:.2f} s", f"{ours:.2f} s", plain / ours, f"≥ {target:.2f}", more)


def in_turn(*sides: Callable[[], float], rounds: int) -> tuple[float, ...]:
    """The median of each."""
    turns = [tuple(side() for side in sides) for _ in range(rounds)]
    return tuple(statistics.median(of_one) for of_one in zip(*turns, strict=True))
