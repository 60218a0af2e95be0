"""A pull request never costs the default branch its cache, and still keeps a tenth of the budget."""

from collections import Counter
from itertools import count

import pytest

from actions_cache.aws.dynamodb_repositories import SHARDS
from actions_cache.domain.access import Caller
from actions_cache.domain.budgets import Repository, Usage
from actions_cache.domain.cleanup_schedule import CleanupTask
from actions_cache.domain.entry_class import EntryClass
from actions_cache.evict import MOST_ASKED_AT_A_SAVE, SETTLES
from dev.clients.driver import REPOSITORY, CacheDriver, name
from dev.emulation.dynamodb_usage import metered

MAIN, BRANCH, TRANSIENT = EntryClass
SCOPES = {MAIN: "refs/heads/main", BRANCH: "refs/heads/feature", TRANSIENT: "refs/pull/7/merge"}
DAY = 24 * 3600


@pytest.fixture
def driver(driver: CacheDriver) -> CacheDriver:
    """Provide the driver with a budget of 100 bytes."""
    return with_budgets(driver, repository_budget_bytes=100)


def with_budgets(driver: CacheDriver, **budgets: int) -> CacheDriver:
    driver.services.settings = driver.services.settings.model_copy(update=budgets)
    return driver


def save(driver, key, size, entry_class=MAIN, repository=REPOSITORY):
    driver.clock.advance(1)
    driver.save(name(key, SCOPES[entry_class], repository=repository), bytes(size), entry_class=entry_class)


def kept(driver, entry_class=MAIN, repository=REPOSITORY):
    stored = driver.services.table.stored_archives(repository, entry_class=entry_class)
    return {archive.name.key for archive in stored}


def test_flood_of_a_pull_request_costs_main_nothing(driver):
    for key in "abcdefghi":
        save(driver, key, 10)
    driver.clock.advance(3.5 * DAY)
    for number in range(6):
        save(driver, f"flood-{number}", 10, TRANSIENT)
    assert kept(driver) == {*"abcdefghi"}
    assert kept(driver, TRANSIENT) == {"flood-5"}, "the floor is a tenth"


@pytest.mark.parametrize("entry_class", [BRANCH, TRANSIENT])
def test_huge_entry_goes_before_what_main_uses(driver, entry_class):
    for key in "abcdefgh":
        save(driver, key, 10)
    driver.clock.advance(DAY)
    save(driver, "huge", 90, entry_class)
    assert kept(driver) == {*"abcdefgh"}
    assert kept(driver, entry_class) == set()


def test_main_leaves_the_others_their_floor(driver):
    save(driver, "pull", 10, TRANSIENT)
    save(driver, "branch", 10, BRANCH)
    for number in range(10):
        save(driver, f"{number}", 10)
    assert kept(driver, TRANSIENT) == {"pull"}
    assert kept(driver, BRANCH) == {"branch"}
    assert len(kept(driver)) == 8


def test_what_main_forgot_makes_room_for_pull_requests(driver):
    save(driver, "used", 10)
    for key in "abcdefgh":
        save(driver, key, 10)
    driver.clock.advance(5.5 * DAY)
    assert driver.look_up("used")
    for number in range(3):
        save(driver, f"{number}", 10, TRANSIENT)
    assert kept(driver) == {"used", *"cdefgh"}
    assert kept(driver, TRANSIENT) == {"0", "1", "2"}


def test_store_budget_protects_main_of_other_repositories(driver):
    with_budgets(driver, repository_budget_bytes=0, store_budget_bytes=100)
    for repository in ("42", "7"):
        driver.services.note_repository(Caller(repository, ()))
    for key in "abcdefghi":
        save(driver, key, 10, repository="7")
    for number in range(4):
        save(driver, f"flood-{number}", 10, TRANSIENT)
    assert kept(driver, repository="7") == {*"abcdefghi"}
    assert kept(driver, TRANSIENT) == {"flood-3"}


def test_flooding_repository_is_always_compared(driver, monkeypatch):
    monkeypatch.setattr("actions_cache.evict.MOST_ASKED_AT_A_SAVE", 1)
    with_budgets(driver, repository_budget_bytes=0, store_budget_bytes=100)
    for repository in ("42", "7", "8", "9"):
        driver.services.note_repository(Caller(repository, ()))
    save(driver, "own", 10)
    for key in "abcdefgh":
        save(driver, key, 10, repository="7")
    for number in range(2):
        save(driver, f"flood-{number}", 10, TRANSIENT)
    assert kept(driver, repository="7") == {*"abcdefgh"}
    assert (kept(driver), kept(driver, TRANSIENT)) == ({"own"}, {"flood-1"})


def test_class_that_a_sample_lacks_is_left_to_the_schedule(driver, monkeypatch):
    monkeypatch.setattr("actions_cache.evict.MOST_ASKED_AT_A_SAVE", 1)
    with_budgets(driver, repository_budget_bytes=0, store_budget_bytes=100)
    for repository in ("42", "7"):
        driver.services.note_repository(Caller(repository, ()))
    for key in "abc":
        save(driver, key, 30, TRANSIENT, repository="7")
    save(driver, "own", 30)
    assert kept(driver) == {"own"}
    assert kept(driver, TRANSIENT, repository="7") == {*"abc"}
    monkeypatch.undo()
    object.__setattr__(driver.services.evict, "settle", lambda: None)
    driver.services.evict.everywhere(lambda: True)
    assert kept(driver) == {"own"}
    assert kept(driver, TRANSIENT, repository="7") == {*"bc"}


@pytest.mark.slow
def test_store_budget_costs_a_save_the_same_among_many_repositories(driver, monkeypatch):
    monkeypatch.setattr("actions_cache.aws.dynamodb_repositories.secrets.randbelow", lambda _: 0)
    with_budgets(driver, repository_budget_bytes=0, store_budget_bytes=100)
    save(driver, "first", 90)
    noted = 0

    def cost(key: str, repositories: int) -> tuple[int, int]:
        """Make room by a save, and return its requests, and the items that they looked at."""
        nonlocal noted
        while noted < repositories:
            noted += 1
            driver.services.repositories.note(Repository(f"{noted * 2_654_435_761 % 10**9}", None, 1))
        with metered(driver.services) as asked:
            save(driver, key, 90)
        assert kept(driver) == {key}
        return len(asked), sum(each.examined for each in asked)

    requests, examined = cost("among ten", 10)
    of_many, examined_of_many = cost("among many", 300)
    assert of_many <= requests
    assert examined_of_many <= examined + MOST_ASKED_AT_A_SAVE


def lagging(monkeypatch, driver):
    """Let the index show no transient archives, and return how to end that."""
    table = type(driver.services.table)
    stored_archives = table.stored_archives

    def without_transient(self, repository, *, entry_class=None, **options):
        shown = stored_archives(self, repository, entry_class=entry_class, **options)
        return iter(()) if entry_class is TRANSIENT else shown

    monkeypatch.setattr(table, "stored_archives", without_transient)
    return lambda: monkeypatch.setattr(table, "stored_archives", stored_archives)


def test_saved_entry_is_evicted_though_the_index_lags(driver, monkeypatch):
    for key in "abcdefghi":
        save(driver, key, 10)
    lagging(monkeypatch, driver)
    save(driver, "huge", 90, TRANSIENT)
    assert kept(driver) == {*"abcdefghi"}
    assert driver.services.repositories.usage(REPOSITORY) == Usage(90, 9)


def test_save_leaves_to_the_schedule_what_the_index_does_not_show(driver, monkeypatch):
    for key in "abcdefgh":
        save(driver, key, 10)
    with monkeypatch.context() as saving:
        saving.setattr(type(driver.services.evict), "after_save", lambda *_: 0)
        save(driver, "huge", 90, TRANSIENT)
    arrive = lagging(monkeypatch, driver)
    save(driver, "i", 10)
    assert kept(driver) == {*"abcdefghi"}
    driver.services.note_repository(Caller(REPOSITORY, ()))
    settled = []

    def settle():
        settled.append(1)
        arrive()

    object.__setattr__(driver.services.evict, "settle", settle)
    driver.services.evict.everywhere(lambda: True)
    assert kept(driver) == {*"abcdefghi"}
    assert kept(driver, TRANSIENT) == set()
    assert settled == [1]


@pytest.mark.parametrize("hidden", [set(), {"earlier", "later"}], ids=["as the index is read", "while it settles"])
def test_room_that_another_makes_meanwhile_costs_nobody(driver, monkeypatch, hidden):
    """Another eviction may come after the usage was read: what is first in the index then was never to go."""
    for key in "abcdefghi":
        save(driver, key, 10)
    with monkeypatch.context() as saving:
        saving.setattr(type(driver.services.evict), "after_save", lambda *_: 0)
        for key in (*(["first"] if hidden else []), "earlier", "later"):
            save(driver, key, 10, TRANSIENT)
    driver.services.note_repository(Caller(REPOSITORY, ()))
    table = type(driver.services.table)
    stored_archives = table.stored_archives
    [earlier] = [it for it in driver.services.table.stored_archives(REPOSITORY) if it.name.key == "earlier"]

    def make_room():
        driver.services.remove_entry(earlier.id, lambda _: True)
        hidden.clear()

    def shown(self, repository, **options):
        if not hidden:
            make_room()
        return iter([it for it in stored_archives(self, repository, **options) if it.name.key not in hidden])

    object.__setattr__(driver.services.evict, "settle", make_room)
    monkeypatch.setattr(table, "stored_archives", shown)
    driver.services.evict.everywhere(lambda: True)
    monkeypatch.undo()
    assert (kept(driver), kept(driver, TRANSIENT)) == ({*"abcdefghi"}, {"later"})


def test_flood_that_the_index_never_shows_costs_main_nothing(driver, monkeypatch):
    """Whenever a list was read, another eviction takes away what the usage counts, and another save brings more."""
    for key in "abcdefghi":
        save(driver, key, 10)
    driver.services.note_repository(Caller(REPOSITORY, ()))
    monkeypatch.setattr(type(driver.services.evict), "after_save", lambda *_: 0)
    lagging(monkeypatch, driver)
    sizes = count(50)
    usage = driver.services.repositories.usage

    def flooded(repository):
        counted = usage(repository)
        return counted + Usage(size := next(sizes), 1, transient_bytes=size, transient_entries=1)

    monkeypatch.setattr(driver.services.repositories, "usage", flooded)
    settled = []
    object.__setattr__(driver.services.evict, "settle", lambda: settled.append(1))
    assert driver.services.evict.everywhere(lambda: True) == 0
    assert (kept(driver), len(settled)) == ({*"abcdefghi"}, SETTLES)


def test_wrong_count_that_stays_does_not_stop_evictions(driver, monkeypatch):
    for key in "abcdefghi":
        save(driver, key, 10)
    driver.services.note_repository(Caller(REPOSITORY, ()))
    usage, wrong = driver.services.repositories.usage, Usage(25, 1, transient_bytes=25, transient_entries=1)
    monkeypatch.setattr(driver.services.repositories, "usage", lambda repository: usage(repository) + wrong)
    settled = []
    object.__setattr__(driver.services.evict, "settle", lambda: settled.append(1))
    assert driver.services.evict.everywhere(lambda: True) == 2
    assert (kept(driver), len(settled)) == ({*"cdefghi"}, 1)


def test_transient_entry_expires_first(driver):
    for entry_class in EntryClass:
        save(driver, entry_class, 10, entry_class)
    for days, left in ((3, {MAIN, BRANCH}), (2, {MAIN}), (2, set())):
        driver.clock.advance(days * DAY)
        assert driver.clean_up()[CleanupTask.EXPIRE_ENTRY] == 1
        assert {each for each in EntryClass if kept(driver, each)} == left
    assert driver.services.repositories.usage(REPOSITORY) == Usage()


def test_evictions_cost_few_requests(driver):
    """A query for the saved class and the first look, and five requests for each eviction, however much is kept."""
    for number in range(12):
        save(driver, f"main-{number}", 8)
    save(driver, "pull", 8, TRANSIENT)
    with metered(driver.services) as within_budget:
        save(driver, "small", 0, TRANSIENT)
    with metered(driver.services) as evicting:
        save(driver, "large", 30, TRANSIENT)
    assert (len(kept(driver)), kept(driver, TRANSIENT)) == (11, set())
    more = Counter(each.operation for each in evicting) - Counter(each.operation for each in within_budget)
    assert more == {"Query": 3 + 3 + 1 + 3 * 2, "GetItem": 3, "TransactWriteItems": 3}
    assert max(each.examined for each in evicting) <= SHARDS
