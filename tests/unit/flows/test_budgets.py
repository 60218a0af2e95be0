"""Budgets limit what one repository, and all together, may keep, and how fast uploads are created."""

from dataclasses import replace
from itertools import count

import pytest

from actions_cache.activity import NoteRepository
from actions_cache.domain.access import Caller
from actions_cache.domain.budgets import NO_USAGE, Budgets, Usage
from actions_cache.domain.errors import NotFound, TooLarge, TooManyRequests
from actions_cache.domain.eviction import by_last_use
from actions_cache.ports import Unavailable
from dev.clients.driver import REPOSITORY, fail, name
from tests.unit.domain.build import archive


@pytest.fixture(autouse=True)
def no_index_lag(monkeypatch):
    """Wait for no index, since none lags here."""
    monkeypatch.setattr("actions_cache.usage.INDEX_LAG_SECONDS", 0)


def with_settings(driver, **changes):
    """Change the settings; only before a flow was created with them."""
    driver.services.settings = driver.services.settings.model_copy(update=changes)
    return driver


def saved(driver, key, size, repository=REPOSITORY):
    driver.clock.advance(1)
    driver.save(name(key, repository=repository), bytes(size))


def kept(driver, repository=REPOSITORY):
    return {archive.name.key for archive in driver.services.table.stored_archives(repository)}


@pytest.mark.parametrize(("used", "budget", "over"), [(9, 10, 0), (10, 10, 0), (11, 10, 1), (11, None, 0)])
def test_excess_starts_beyond_budget(used, budget, over):
    assert bool(Budgets(repository=budget).over_in_repository(Usage(used, 1))) == over
    assert bool(Budgets(repository_entries=budget).over_in_repository(Usage(1, used))) == over
    assert bool(Budgets(store=budget).over_in_store(Usage(used, 1))) == over
    Budgets().check_entry(10**15)


def test_empty_entries_are_evicted_by_count(driver):
    with_settings(driver, repository_budget_entries=2)
    for key in ("a", "b", "c"):
        saved(driver, key, 0)
    assert kept(driver) == {"b", "c"}
    saved(driver, "of another one", 0, repository="7")
    assert kept(driver) == {"b", "c"}


def test_each_repository_gets_its_turn(driver, monkeypatch):
    with_settings(driver, repository_budget_entries=1)
    monkeypatch.setattr("actions_cache.evict.AT_A_SAVE", 2)
    monkeypatch.setattr(type(driver.services.evict), "after_save", lambda *_: 0)
    for repository, entries in (("42", 9), ("7", 2)):
        driver.services.note_repository(Caller(repository, ()))
        for number in range(entries):
            saved(driver, f"{number}", 0, repository=repository)
    turns = iter([True] * 3)
    driver.services.evict.everywhere(lambda: next(turns, False))
    assert len(kept(driver, "7")) == 1
    turns = iter([True] * 2)
    driver.services.evict.everywhere(lambda: next(turns, False), 0.99)
    assert 1 < len(kept(driver, "42")) < 9


def test_save_over_budget_evicts_least_recent(driver):
    with_settings(driver, repository_budget_bytes=30)
    saved(driver, "of another one", 30, repository="7")
    for key in ("a", "b", "c"):
        saved(driver, key, 10)
    driver.clock.advance(1)
    driver.look_up("a")
    saved(driver, "d", 15)
    assert kept(driver) == {"a", "d"}
    assert driver.services.repositories.usage(REPOSITORY) == Usage(25, 2)
    assert kept(driver, "7") == {"of another one"}, "each has a budget of its own"


@pytest.mark.parametrize(
    ("hits", "order"),
    [
        ({}, "abcd"),
        ({"a": 25}, "bacd"),
        ({"a": 30}, "bacd"),
        ({"a": 31}, "bcad"),
        ({"a": 99, "b": 98, "c": 97}, "dcba"),
        ({"a": 5, "d": 99}, "abcd"),
    ],
)
def test_eviction_order_includes_unnoted_hits(hits, order):
    noted = [archive(id=key, last_used_at=at) for key, at in (("a", 10), ("b", 20), ("c", 30), ("d", 40))]
    used = list(by_last_use(noted, lambda archive: max(archive.last_used_at, hits.get(archive.id, 0))))
    assert "".join(archive.id for _, archive in used) == order
    assert [at for at, _ in used] == sorted(at for at, _ in used)


def test_evicted_entry_readers_keep_grace(driver):
    """No reader is cut off: the sweep deletes the objects when nobody can be reading them any more."""
    with_settings(driver, repository_budget_bytes=10)
    archive_id = driver.upload(name("a"), bytes(10))
    driver.services.finalize(name("a"), 10)
    saved(driver, "b", 10)
    assert driver.look_up("a", version="v1") is None or kept(driver) == {"b"}
    driver.clock.advance(driver.services.settings.grace_seconds - 1)
    driver.clean_up()
    assert driver.keys(archive_id)
    driver.clock.advance(2)
    driver.clean_up()
    assert not driver.keys(archive_id)


def test_store_budget_evicts_oldest_anywhere(driver):
    with_settings(driver, store_budget_bytes=25)
    for repository in ("7", "42", "8"):
        driver.services.note_repository(Caller(repository, ()))
    saved(driver, "a", 10, repository="7")
    saved(driver, "b", 10)
    saved(driver, "c", 10, repository="8")
    assert (kept(driver, "7"), kept(driver), kept(driver, "8")) == (set(), {"b"}, {"c"})


@pytest.mark.parametrize("limit", ["repository_budget_bytes", "store_budget_bytes", "max_entry_bytes"])
def test_oversized_entry_is_refused_without_eviction(driver, limit):
    with_settings(driver, **{limit: 10})
    saved(driver, "a", 10)
    with pytest.raises(TooLarge, match=f"has 11 bytes.*{limit.upper()}.* is 10"):
        saved(driver, "b", 11)
    assert kept(driver) == {"a"}
    with pytest.raises(NotFound):
        driver.services.finalize(name("never"), 1)


def test_schedule_evicts_after_crashed_save(driver, monkeypatch):
    """Nothing gets stuck: usage is counted in the transaction that made the entry visible."""
    with_settings(driver, repository_budget_bytes=20, store_budget_bytes=1000)
    driver.services.note_repository(Caller(REPOSITORY, ()))
    monkeypatch.setattr(type(driver.services.evict), "after_save", lambda *_: fail(Unavailable("died")))
    for key in ("a", "b", "c", "d"):
        saved(driver, key, 10)
    assert kept(driver) == {"a", "b", "c", "d"}
    assert driver.services.evict.everywhere(lambda: True) == 2
    assert kept(driver) == {"c", "d"}
    assert driver.services.evict.everywhere(lambda: True) == 0


@pytest.mark.parametrize("wrong", [Usage(100, 3), NO_USAGE - Usage(7, 1)], ids=["too much", "too little"])
def test_wrong_usage_is_corrected(driver, wrong):
    repositories, reconcile = driver.services.repositories, driver.services.reconcile_usage
    driver.services.note_repository(Caller(REPOSITORY, ()))
    saved(driver, "a", 10)
    saved(driver, "b", 5)
    repositories.correct_usage(REPOSITORY, wrong)
    assert reconcile(REPOSITORY)
    assert repositories.usage(REPOSITORY) == repositories.store_usage() == Usage(15, 2)
    assert not reconcile(REPOSITORY)
    repositories.correct_store_usage(wrong)
    assert reconcile.store()
    assert repositories.store_usage() == Usage(15, 2)
    assert not reconcile.store()


def test_changing_usage_is_not_corrected(driver, monkeypatch):
    """The first look is wrong, since an index that lags shows a save that isn't counted yet, say."""
    saved(driver, "a", 10)
    with monkeypatch.context() as changing:
        usages = iter([Usage(5, 1), Usage(10, 1)])
        changing.setattr(type(driver.services.repositories), "usage", lambda *_: next(usages))
        assert not driver.services.reconcile_usage(REPOSITORY)
    assert driver.services.repositories.usage(REPOSITORY) == Usage(10, 1)
    table, looks = type(driver.services.table), count()
    waited: list[float] = []
    read = table.stored_archives
    monkeypatch.setattr(table, "stored_archives", lambda self, id_: iter(()) if next(looks) == 0 else read(self, id_))
    monkeypatch.setattr("actions_cache.usage.time.sleep", waited.append)
    assert not driver.services.reconcile_usage(REPOSITORY)
    assert waited == [0], "as long as the fixture above says"


def test_entry_hit_during_eviction_stays(driver, monkeypatch):
    """No reader is cut off, even if its use came too soon after a noted one to be noted itself."""
    with_settings(driver, repository_budget_bytes=10)
    saved(driver, "a", 10)
    evict = type(driver.services.evict)
    last_use = evict._last_use

    def hit_after_first_look(self, archive):
        used_at = last_use(self, archive)
        if archive.name.key == "a":
            driver.clock.advance(1)
            driver.look_up("a")
        return used_at

    monkeypatch.setattr(evict, "_last_use", hit_after_first_look)
    saved(driver, "b", 10)
    assert "a" in kept(driver)


def test_entry_used_since_listing_stays(driver, monkeypatch):
    with_settings(driver, repository_budget_bytes=10)
    saved(driver, "a", 10)
    stale = [replace(archive, last_used_at=1) for archive in driver.services.table.stored_archives(REPOSITORY)]
    monkeypatch.setattr(type(driver.services.table), "stored_archives", lambda *_, **__: iter(stale))
    saved(driver, "b", 10)
    monkeypatch.undo()
    assert "a" in kept(driver)


def test_create_rate_limit_sets_retry_after(driver):
    with_settings(driver, creates_per_minute=2)
    driver.clock.at -= driver.clock.at % 60_000
    driver.clock.advance(10)
    for _ in range(2):
        driver.services.create_rate_limit.check("42")
    driver.services.create_rate_limit.check("7")
    with pytest.raises(TooManyRequests, match="2 uploads in this minute") as refused:
        driver.services.create_rate_limit.check("42")
    assert refused.value.retry_after_seconds == 50
    driver.clock.advance(50)
    driver.services.create_rate_limit.check("42")


def test_repository_name_is_written_on_change(driver, monkeypatch):
    noted = []
    repositories = type(driver.services.repositories)
    note = repositories.note

    def noting(self, repository):
        noted.append(repository.name)
        note(self, repository)

    monkeypatch.setattr(repositories, "note", noting)
    for name_in_token in ("a/b", "a/b", None, "a/c", "a/c"):
        driver.services.note_repository(Caller("42", (), name_in_token))
    another_process = NoteRepository(driver.services.repositories, driver.clock)
    another_process(Caller("42", (), "a/c"))
    assert noted == ["a/b", "a/c"]
    assert driver.services.repositories.repository("42").name == "a/c"


def test_slow_usage_count_is_abandoned(driver):
    saved(driver, "a", 10)
    driver.services.repositories.correct_usage(REPOSITORY, Usage(100, 3))
    assert not driver.services.reconcile_usage(REPOSITORY, lambda: False)
    assert driver.services.repositories.usage(REPOSITORY) == Usage(110, 4)
    assert driver.services.reconcile_usage(REPOSITORY, lambda: True)
