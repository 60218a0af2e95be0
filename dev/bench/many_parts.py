"""Block list, finalize and lookup of archives of a thousand parts and of ten thousand."""

import time
from collections import Counter
from collections.abc import Iterator

from dev.bench.cleaning import counted
from dev.bench.environment import Store
from dev.bench.row import Row
from dev.bench.workbench import Workbench, workbench
from dev.clients.driver import name

FEW, MANY = 1_000, 10_000


def many_parts(store: Store, _rounds: int) -> Iterator[Row]:
    with workbench(store) as bench:
        (few_seconds, few), (many_seconds, many) = _committed(bench, FEW), _committed(bench, MANY)
        yield Row(
            f"block list, finalize and lookup of {MANY:,} parts, processor time",
            f"{FEW:,} parts: {few_seconds:.2f} s, {_told(few)}",
            f"{many_seconds:.2f} s, {_told(many)}",
            many_seconds / few_seconds,
            f"at most {MANY // FEW}",
        )


def _committed(bench: Workbench, parts: int) -> tuple[float, Counter[str]]:
    """Seconds of processor time, which the engines' speed doesn't touch, and requests."""
    key, driver = f"parts-{parts}", bench.driver
    ids = bench.put_blocks(name(key), [1] * parts)
    with counted(driver) as calls:
        began = time.process_time()
        driver.services.commit_blocks(*ids)
        driver.services.finalize(name(key), parts)
        if driver.look_up(key) is None:
            raise RuntimeError("the entry wasn't saved")
        return time.process_time() - began, calls


def _told(calls: Counter[str]) -> str:
    listings = calls["ListObjectsV2"]
    return f"{listings} listings, {calls.total() - listings} other requests"
