"""A lookup and a save ask the table for as much among few entries as among many (`make bench`: 100,000)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache import activity
from actions_cache.aws.dynamodb import FIRST_PAGE
from actions_cache.aws.dynamodb_repositories import SHARDS
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.lookup import LookUp, Query
from dev.bench.lookups import FIVE, LOOKUPS, PULL_REQUEST, add_entries
from dev.clients.driver import REPOSITORY, VERSION, CacheDriver, name
from dev.emulation.dynamodb_usage import hooked, metered
from tests.support.fakes import RecordingTelemetry

FEW, MANY = 150, 1_000


def asked_by(driver: CacheDriver, ask, *arguments, **changes) -> tuple[Counter[str], int]:
    """The requests by operation, and how many items they looked at."""
    with metered(driver.services) as asked:
        ask(*arguments, **changes)
    return Counter(one.operation for one in asked), sum(one.examined for one in asked)


def test_lookup_cost_is_independent_of_entry_count(on_emulators: CacheDriver):
    driver = on_emulators
    archive_id = driver.save(name("npm-exact"), b"content").archive_id
    add_entries(driver, archive_id, 0, FEW)

    def costs():
        return {
            what: asked_by(driver, driver.look_up, *keys, **changes) for what, (keys, changes, _) in LOOKUPS.items()
        }

    costs()  # from here on, the process knows the hour's key families
    among_few = costs()
    add_entries(driver, archive_id, FEW, MANY - FEW)
    assert costs() == among_few
    assert {what: requests for what, (requests, _) in among_few.items()} == {
        what: expected for what, (_, _, expected) in LOOKUPS.items()
    }


def test_prefix_of_many_entries_reads_few(on_emulators: CacheDriver):
    driver = on_emulators
    archive_id = driver.save(name("npm-exact"), b"content").archive_id
    add_entries(driver, archive_id, 0, MANY)
    _, examined = asked_by(driver, driver.look_up, "npm-")
    assert examined <= 2 * FIRST_PAGE + 1, "two read units or so, of the 3,000 a second that one partition has"


@pytest.mark.slow
def test_no_item_counts_all_hits_of_an_entry(driver: CacheDriver):
    """An item takes some 1,000 writes a second, and 10,000 runners of a branch ask within one minute."""
    archive_id = driver.save(name("npm-1"), b"content").archive_id
    for _ in range(200):
        driver.look_up("npm-1")
    repositories = driver.services.repositories
    items = [item for item in repositories._items.scan() if item.item.startswith(("hits#", "tally#"))]
    assert repositories.hits_of(REPOSITORY, archive_id).count == 200
    assert max(int(item.hits or 0) for item in items) < 200 / 2


def test_lookup_waits_only_so_long_to_be_counted(driver: CacheDriver, monkeypatch):
    driver.save(name("npm-1"), b"content")
    driver.look_up("npm-1")
    begun, go_on = Event(), Event()

    def hang(*_: object) -> None:
        begun.set()
        go_on.wait(30)

    monkeypatch.setattr(activity, "COUNTING_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(driver.services.repositories, "add_hit", hang)
    monkeypatch.setattr(driver.services.repositories, "add_tally", hang)
    assert driver.look_up("npm-1") is not None
    assert begun.is_set()
    assert driver.look_up("pip-1") is None
    go_on.set()


def test_new_key_family_costs_one_query_and_no_write(on_emulators: CacheDriver):
    driver = on_emulators
    driver.save(name("npm-1"), b"content")
    asked = {key: [asked_by(driver, driver.look_up, key, "npm-")[0] for _ in range(2)] for key in ("npm-1", "pip-1")}
    hit = Counter(BatchGetItem=1, GetItem=1, UpdateItem=2)
    assert asked == {
        "npm-1": [hit, hit],  # the save has met the family
        "pip-1": [hit + Counter(Query=2 + 1), hit + Counter(Query=2)],
    }


def test_save_cost_is_independent_of_entry_count(on_emulators: CacheDriver):
    driver = on_emulators

    def costs(key: str):
        return asked_by(driver, driver.save, name(key), b"one", b"two")

    among_none = costs("first")
    add_entries(driver, "f" * 32, 0, MANY)
    asked, examined = costs("second")
    assert asked == among_none[0]
    assert examined <= SHARDS, "the repository's usage alone is queried"


def test_prefix_queries_run_concurrently(on_emulators: CacheDriver):
    """The answers come only after all questions were asked."""
    driver = on_emulators
    driver.look_up("none")  # from here on, the process knows the key's family
    all_asked = Barrier(18)

    def wait_for_all(**_: object) -> None:
        all_asked.wait(10)

    with hooked(driver.services.table._connection.client, "before-send.dynamodb.Query", wait_for_all):
        assert driver.look_up("none", *FIVE, scopes=PULL_REQUEST) is None


class Entries(dict[EntryName, Entry]):
    """The part of the table port that the match needs."""

    def entries(self, names: Sequence[EntryName]) -> Mapping[EntryName, Entry]:
        return {name: self[name] for name in names if name in self}

    def newest_entry(self, family: EntryFamily, prefix: str) -> Entry | None:
        found = [it for it in self.values() if it.name.family == family and it.name.key.startswith(prefix)]
        return max(found, key=lambda it: it.created_at, default=None)


def one_after_the_other(table: Entries, query: Query) -> Entry | None:
    """The rule in its own words: docs/design/protocol.md#lookup."""
    for scope in query.scopes:
        family = EntryFamily(query.repository, scope, query.version)
        if exact := table.get(EntryName(family, query.key)):
            return exact
        for prefix in (query.key, *query.restore_keys):
            if newest := table.newest_entry(family, prefix):
                return newest
    return None


KEYS = st.text("ab", min_size=1, max_size=3)
SCOPES = st.sampled_from("123")


@pytest.fixture(scope="module")
def executor():
    with ThreadPoolExecutor(4) as executor:
        yield executor


@given(
    saved=st.lists(st.tuples(SCOPES, KEYS), max_size=6, unique=True),
    scopes=st.lists(SCOPES, min_size=1, max_size=4),
    key=KEYS,
    restore_keys=st.lists(KEYS, max_size=3),
)
def test_concurrent_search_equals_sequential_one(executor, saved, scopes, key, restore_keys):
    names = [EntryName(EntryFamily(REPOSITORY, scope, VERSION), saved_key) for scope, saved_key in saved]
    table = Entries({it: Entry(it, f"{number:032x}", 1, number) for number, it in enumerate(names)})
    query = Query(
        REPOSITORY, tuple(scopes), VERSION, key, tuple(restore_keys), can_read_from_s3=False, through_edge=False
    )
    unused: Any = None
    look_up = LookUp(cast("Any", table), unused, unused, unused, unused, unused, unused, RecordingTelemetry(), executor)
    assert look_up._match(query) == one_after_the_other(table, query)
