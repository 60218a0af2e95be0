"""Each run of the cleanup shares its time between its jobs, and no job keeps the next one from its turn."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actions_cache.cleanup import Reconcile, RunCleanup
from dev.clients.driver import fail


def test_busy_job_leaves_time_for_next() -> None:
    left = [100]
    turns: list[tuple[str, int]] = []

    def clean_up(remaining: Callable[[], int]) -> Counter[str]:
        while remaining() > 0:
            left[0] -= 1
        turns.append(("clean up", left[0]))
        return Counter({"sweep": 1})

    def evict(is_time_left: Callable[[], bool], start: float) -> int:
        assert 0 <= start < 1
        while is_time_left():
            left[0] -= 1
        turns.append(("evict", left[0]))
        return 2

    def note_usages(is_time_left: Callable[[], bool]) -> int:
        while is_time_left():
            left[0] -= 1
        turns.append(("note usages", left[0]))
        return 4

    def migrate(remaining: Callable[[], int]) -> Counter[str]:
        turns.append(("migrate", remaining()))
        return Counter({"archives migrated": 3})

    done = RunCleanup(clean_up, evict, note_usages, migrate)(lambda: left[0])
    assert turns == [("clean up", 40), ("evict", 25), ("note usages", 20), ("migrate", 20)]
    assert done == {"sweep": 1, "entries evicted": 2, "usages noted": 4, "archives migrated": 3}


@dataclass
class Usage:
    """Takes the place of ReconcileUsage: every count is wrong."""

    corrected: list[str] = field(default_factory=list)

    def __call__(self, repository_id: str, _: Callable[[], bool]) -> bool:
        self.corrected.append(repository_id)
        return True

    def store(self) -> bool:
        self.corrected.append("the store")
        return True


def reconcile_of(repositories: str, usage: Usage, publish: Callable[[], None], orphans: list[str]) -> Reconcile:
    def find_orphans(_: Callable[[], int]) -> Counter[str]:
        orphans.append("found")
        return Counter({"archives seen": 1})

    ids = SimpleNamespace(ids=lambda: list(repositories))
    return Reconcile(cast("Any", ids), cast("Any", usage), cast("Any", publish), cast("Any", find_orphans))


def test_usage_correction_stops_at_half_time() -> None:
    usage, left = Usage(), iter([100, 80, 60, 49])
    done = reconcile_of("abcdef", usage, lambda: None, [])(lambda: next(left))
    assert done["usages corrected"] == len(usage.corrected) == 2


def test_cost_is_published_after_usage_is_corrected() -> None:
    usage, orphans = Usage(), list[str]()
    corrected_at_cost: list[str] = []
    done = reconcile_of("a", usage, lambda: corrected_at_cost.extend(usage.corrected), orphans)(lambda: 100)
    assert corrected_at_cost == ["a", "the store"]
    assert orphans == ["found"]
    assert done == {"archives seen": 1, "usages corrected": 2}


@pytest.mark.parametrize("fails", ["count", "cost"])
def test_orphans_are_found_after_failed_correction(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    orphans: list[str] = []
    if fails == "count":
        monkeypatch.setattr(Usage, "store", lambda _: fail(RuntimeError("count")))
    publish: Callable[[], Any] = (lambda: fail(RuntimeError("cost"))) if fails == "cost" else lambda: None
    with pytest.raises(RuntimeError, match=fails):
        reconcile_of("a", Usage(), publish, orphans)(lambda: 100)
    assert orphans == ["found"]
