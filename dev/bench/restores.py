"""Restores and saves beside plain GETs and PUTs: the sides take turns, so that a busy moment meets each of them."""

import statistics
from collections.abc import Callable, Iterator, Sequence

from dev.bench.environment import MB, MIB, Emulators, Environment, Row, block_url, environment, save
from dev.bench.load_generator import get_all, put_all
from dev.clients.wire import random_block_id

ENTRY_BYTES = 705 * MB
BLOCK_BYTES = 64 * MIB
LAYER_BYTES = 705 * MIB
READERS = 8
LATENCIES = (0, 30, 100)
LAYERS_LATENCY = 30


def restores(emulators: Emulators, rounds: int) -> Iterator[Row]:
    for milliseconds in LATENCIES:
        with environment(emulators, milliseconds) as at:
            away = f"{milliseconds} ms a request"
            sides = _saved(at, "entry", BLOCK_BYTES, ENTRY_BYTES)
            yield _restore(f"restore of 705 MB, 11 parts, {away}", sides, rounds=rounds, aim=0.9)
            yield _first_byte(milliseconds, sides[-1], rounds)
            if milliseconds == 0:
                yield _restore(f"{READERS} of these at once", sides, readers=READERS, rounds=rounds, aim=0.9)
            if milliseconds == LAYERS_LATENCY:
                layers = _saved(at, "layer", MIB, LAYER_BYTES)
                yield _restore(f"restore of 705 MiB, 705 parts, {away}", layers, rounds=rounds, aim=0.8)


def restores_while_merging(emulators: Emulators, rounds: int) -> Iterator[Row]:
    """Restore entries just saved, whose merge begins with it. The store copies on the cores that all else shares."""
    milliseconds = LAYERS_LATENCY
    with (
        environment(emulators, milliseconds) as still,
        environment(emulators, milliseconds, merge_workers=1) as merging,
    ):

        def seconds(at: Environment) -> float:
            job = at.job()
            save(job, "entry", BLOCK_BYTES, ENTRY_BYTES)
            return get_all([job.download_url("entry")])[0].seconds

        alone, beside = in_turn(lambda: seconds(still), lambda: seconds(merging), rounds=rounds)
    what = f"restore of 705 MB while its merge runs, {milliseconds} ms a request"
    yield Row(what, f"with no merge {alone:.2f} s", f"{beside:.2f} s", alone / beside, "≥ 0.90")


def saves(emulators: Emulators, rounds: int) -> Iterator[Row]:
    with environment(emulators, 0) as at:
        yield _save(at, "save of 11 blocks of 64 MiB, 8 at once", [BLOCK_BYTES] * 11, 8, rounds, 0.9)
        yield _save(at, "save of 100 blocks of 1 MiB, one by one", [MIB] * 100, 1, rounds, 1 / 1.3)


def _saved(at: Environment, key: str, block_bytes: int, total: int) -> list[str]:
    """Save an entry and a plain object, and return the URLs of the plain side, the one past the hop, and ours."""
    job = at.job()
    save(job, key, block_bytes, total)
    return [at.plain_object(key, total), at.past_the_hop(key), job.download_url(key)]


def _restore(what: str, sides: Sequence[str], *, readers: int = 1, rounds: int, aim: float) -> Row:
    """Compare with the plain GET, and with a hop that only copies: the least that a server in between can be.

    Args:
        what: names the row.
        sides: the URLs that `_saved` returns.
        readers: number of readers at once.
        rounds: turns of each side.
        aim: least ratio of our speed to the plain side's.
    """

    def timed(url: str) -> Callable[[], float]:
        return lambda: max(transfer.seconds for transfer in get_all([url] * readers))

    in_turn(*map(timed, sides), rounds=1)  # to warm up
    plain, hop, ours = in_turn(*map(timed, sides), rounds=rounds)
    more = f"a hop that only copies {hop:.2f} s, {plain / hop:.2f}; ours in that of it {hop / ours:.2f}"
    return _compared(what, plain, ours, aim, more)


def _first_byte(milliseconds: int, ours: str, rounds: int) -> Row:
    """Measure from the request to us to its first byte: manifest and first part are read in that time."""
    took = statistics.median(get_all([ours])[0].first_byte for _ in range(rounds))
    three = 3 * milliseconds / 1000
    return Row(
        f"its first byte, {milliseconds} ms a request",
        f"three requests {1000 * three:.0f} ms",
        f"{1000 * took:.0f} ms",
        took / three if three else None,
        "≤ 1.00" if three else "",
    )


def _save(at: Environment, what: str, sizes: Sequence[int], at_once: int, rounds: int, aim: float) -> Row:
    def plain() -> float:
        keys = [random_block_id().strip("=").replace("/", "-") for _ in sizes]
        return put_all([(at.plain_target(key), size) for key, size in zip(keys, sizes, strict=True)], at_once)

    def ours() -> float:
        url = at.job().reserve("entry")
        return put_all([(block_url(url, random_block_id()), size) for size in sizes], at_once)

    in_turn(plain, ours, rounds=1)
    by_plain, by_ours = in_turn(plain, ours, rounds=rounds)
    return _compared(what, by_plain, by_ours, aim)


def _compared(what: str, plain: float, ours: float, aim: float, more: str = "") -> Row:
    return Row(what, f"plain {plain:.2f} s", f"{ours:.2f} s", plain / ours, f"≥ {aim:.2f}", more)


def in_turn(*sides: Callable[[], float], rounds: int) -> tuple[float, ...]:
    """Return the median of each side."""
    turns = [tuple(side() for side in sides) for _ in range(rounds)]
    return tuple(statistics.median(side) for side in zip(*turns, strict=True))
