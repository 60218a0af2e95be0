"""Of the classes above their floor, the entry nearest to the end of its life goes first."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain import eviction
from actions_cache.domain.archive import ends_at, used
from actions_cache.domain.budgets import FLOOR_DIVISOR, NO_USAGE, Budgets, Usage, total
from actions_cache.domain.cleanup_schedule import CleanupTask, next_task
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.eviction import Candidates, by_last_use
from actions_cache.domain.timing import DAY
from tests.unit.domain.build import LIFETIMES, NOW, merged_archive, stored_archive

MAIN, BRANCH, TRANSIENT = EntryClass
LIVES = replace(LIFETIMES, unused={MAIN: 7 * DAY, BRANCH: 5 * DAY, TRANSIENT: 2 * DAY})
ALL = frozenset(EntryClass)


def entry(archive_id, entry_class, days_ago):
    return stored_archive(id=archive_id, saved_as=entry_class, last_used_at=NOW - int(days_ago * DAY))


def candidates(*archives, hits=None):
    def of_class(entry_class):
        found = [archive for archive in archives if archive.saved_as is entry_class]
        return iter(sorted(found, key=lambda archive: archive.last_used_at))

    return Candidates(of_class, lambda archive: (hits or {}).get(archive.id, archive.last_used_at), LIVES)


def order(found, classes=ALL):
    return "".join(archive.id for _, archive in iter(lambda: found.take(classes), None))


def test_nearest_end_of_life_goes_first():
    entries = [entry("m", MAIN, 6), entry("n", MAIN, 4), entry("b", BRANCH, 3), entry("t", TRANSIENT, 0.5)]
    assert order(candidates(*entries)) == "mtbn"
    assert order(candidates(*entries, entry("u", TRANSIENT, 1.5))) == "umtbn"


def test_only_classes_that_give_way_are_taken_and_read():
    read = []

    def of_class(entry_class):
        read.append(entry_class)
        return iter([entry("t", TRANSIENT, 0), entry("u", TRANSIENT, 0)])

    found = Candidates(of_class, lambda archive: archive.last_used_at, LIVES)
    assert not found.lacking({TRANSIENT})
    assert found.take({TRANSIENT})
    assert read == [TRANSIENT]


def test_unnoted_hits_postpone_the_end():
    entries = [entry("m", MAIN, 6), entry("t", TRANSIENT, 1)]
    assert order(candidates(*entries, hits={"m": NOW, "t": NOW})) == "tm"
    assert order(candidates(*entries, hits={"t": NOW})) == "mt"


def test_class_lacks_entries_from_the_last_one_on():
    found = candidates(entry("m", MAIN, 6), entry("t", TRANSIENT, 6))
    assert found.lacking({MAIN, TRANSIENT}) == set()
    assert found.lacking(ALL) == {BRANCH}
    assert order(found, {TRANSIENT})[0] == "t"
    assert found.lacking({TRANSIENT}) == {TRANSIENT}


def test_wrongly_counted_class_does_not_stop_evictions():
    assert order(candidates(entry("m", MAIN, 6)), {TRANSIENT}) == "m"
    assert candidates().take(ALL) is None


def test_reads_of_entries_used_since_are_bounded(monkeypatch):
    monkeypatch.setattr(eviction, "MOST_HELD", 3)
    reads = count()

    def last_use(archive):
        next(reads)
        return NOW + archive.last_used_at

    noted = [stored_archive(id=f"{number}", last_used_at=number) for number in range(50)]
    _, first = next(by_last_use(noted, last_use))
    assert (first.id, next(reads)) == ("0", 3)


# ---------------------------------------------------------------- floors


def usage(main=0, branch=0, transient=0):
    return Usage(main + branch + transient, 3, branch, 1, transient, 1)


@pytest.mark.parametrize(
    ("kept", "over"),
    [
        (usage(main=100), set()),
        (usage(main=101), {MAIN}),
        (usage(main=91, transient=10), {MAIN}),
        (usage(main=91, transient=11), {MAIN, TRANSIENT}),
        (usage(main=10, branch=10, transient=81), {TRANSIENT}),
        (usage(main=10, branch=11, transient=80), {BRANCH, TRANSIENT}),
    ],
)
def test_no_class_takes_a_tenth_from_another(kept, over):
    assert Budgets(repository=100).over_in_repository(kept) == over
    assert Budgets(store=100).over_in_store(kept) == over


def test_floors_count_what_is_exceeded():
    """With 20 of 10 entries but few bytes, the class with few entries and many bytes keeps them."""
    kept = Usage(90, 20, transient_bytes=80, transient_entries=1)
    assert Budgets(repository=100, repository_entries=10).over_in_repository(kept) == {MAIN}


amounts = st.integers(-50, 1000)


@given(amounts, amounts, amounts, amounts, st.integers(1, 500))
def test_some_class_gives_way_while_a_budget_is_exceeded(whole, branch, transient, entries, budget):
    """Even if the usage of classes is counted wrong."""
    kept = Usage(whole, entries, branch, 0, transient, 0)
    assert bool(Budgets(repository=budget).over_in_repository(kept)) is (whole > budget)
    assert len(EntryClass) < FLOOR_DIVISOR


def test_usage_of_classes_adds_up():
    archives = [merged_archive(saved_as=entry_class) for entry_class in (MAIN, BRANCH, TRANSIENT, None)]
    kept = total(map(Usage.of, archives))
    assert [kept.bytes_of(each) for each in EntryClass] == [60, 30, 30]
    assert [kept.entries_of(each) for each in EntryClass] == [2, 1, 1]
    assert kept - total(map(Usage.of, archives)) == NO_USAGE


# ---------------------------------------------------------------- expiry


@pytest.mark.parametrize(("entry_class", "days"), [(MAIN, 7), (BRANCH, 5), (TRANSIENT, 2)])
def test_expiry_and_eviction_know_the_same_end(entry_class, days):
    archive = merged_archive(saved_as=entry_class, swept_at=NOW + 9 * DAY)
    end = NOW + days * DAY
    assert next_task(archive, LIVES, merges_at_finalize=True) == (end, CleanupTask.EXPIRE_ENTRY)
    assert ends_at(archive, NOW, LIVES) == end


def test_uses_are_noted_within_a_hundredth_of_the_life():
    for entry_class, life in LIVES.unused.items():
        archive = merged_archive(saved_as=entry_class)
        assert used(archive, NOW + life // 100 - 1, LIVES) is None
        assert used(archive, NOW + life // 100, LIVES)
