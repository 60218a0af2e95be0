"""People who manage a server list, explain and delete entries, and see usage, activity and failures."""

import random
from itertools import product

import pytest

from actions_cache.domain.access import Caller
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.budgets import HOUR, Repository, Tally
from actions_cache.domain.errors import InvalidRequest, NotFound
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.search import Search
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SECOND
from actions_cache.manage import DELETING_TIME
from actions_cache.management_services import ManagementServices
from actions_cache.ports import Unavailable
from dev.clients.driver import REPOSITORY, SCOPE, VERSION, fail, name, plenty

BRANCH = "refs/heads/feature"


@pytest.fixture
def driver(emptied_driver):
    return emptied_driver


@pytest.fixture
def management(driver, monkeypatch):
    # moto's transactions aren't atomic between threads; tests/integration/aws uses an emulator whose are.
    monkeypatch.setattr("actions_cache.manage.SIDE_BY_SIDE", 1)
    return ManagementServices(driver.services)


def saved(driver, *keys, body=b"content", **where):
    for key in keys:
        driver.clock.advance(1)
        driver.save(name(key, **where), body)


def kept(driver, repository=REPOSITORY):
    return keys(driver.services.table.stored_archives(repository))


def keys(archives):
    return [archive.name.key for archive in archives]


# ---------------------------------------------------------------- listing


def test_listing_reads_only_requested_pages(driver, management, monkeypatch):
    saved(driver, *"abcdef")
    read = []
    stored = type(driver.services.table).stored_archives

    def recording(self, *args, **options):
        for archive in stored(self, *args, **options):
            read.append(archive.name.key)
            yield archive

    monkeypatch.setattr(type(driver.services.table), "stored_archives", recording)
    listing = management.list_entries(REPOSITORY, EntryFilter(), Order(), Page(2, 2))
    assert (listing.total, keys(listing.archives)) == (6, ["d", "c"])
    assert read == ["f", "e", "d", "c"]
    oldest = management.list_entries(
        REPOSITORY, EntryFilter(), Order(SortBy.LAST_USED_AT, Direction.ASCENDING), Page(1, 2)
    )
    assert keys(oldest.archives) == ["a", "b"]


def test_filtered_listing_is_counted_sorted_and_paged(driver, management):
    saved(driver, "npm-1", "yarn-1", "npm-2", "npm-3")
    saved(driver, "npm-4", repository="7")
    order, npm = Order(SortBy.KEY, Direction.DESCENDING), EntryFilter(key_prefix="npm-")
    first, second = (management.list_entries(REPOSITORY, npm, order, Page(number, 2)) for number in (1, 2))
    assert (first.total, keys(first.archives), keys(second.archives)) == (3, ["npm-3", "npm-2"], ["npm-1"])
    for key in ("npm-2", "npm-2", "npm-1"):
        driver.look_up(key)
    by_hits = management.list_entries(REPOSITORY, npm, Order(SortBy.HITS), Page())
    assert keys(by_hits.archives) == ["npm-2", "npm-1", "npm-3"]


# ---------------------------------------------------------------- deleting


@pytest.mark.parametrize("fields", [{}, {"key_prefix": ""}])
def test_empty_filter_deletes_nothing(driver, management, fields):
    saved(driver, "a")
    with pytest.raises(InvalidRequest, match="at least one filter"):
        management.delete_entries(REPOSITORY, EntryFilter(**fields))
    assert kept(driver) == ["a"]


@pytest.mark.parametrize(
    ("fields", "stays"),
    [
        ({"key": "npm-1"}, ["npm-12", "yarn-1"]),
        ({"key": "npm-1", "ref": SCOPE}, ["npm-1", "npm-12", "yarn-1"]),
        ({"key_prefix": "npm-"}, ["yarn-1"]),
        ({"ref": BRANCH}, ["npm-1", "npm-12", "yarn-1"]),
        ({"version": "v2"}, ["npm-1", "npm-1", "npm-12", "yarn-1"]),
        ({"key": "nope"}, ["npm-1", "npm-1", "npm-12", "yarn-1"]),
    ],
    ids=str,
)
def test_filter_deletes_exactly_its_matches(driver, management, fields, stays):
    saved(driver, "npm-1", "npm-12", "yarn-1")
    saved(driver, "npm-1", scope=BRANCH)
    saved(driver, "npm-1", repository="7")
    before = kept(driver)
    dry = management.delete_entries(REPOSITORY, EntryFilter(**fields), dry_run=True)
    assert kept(driver) == before
    deletion = management.delete_entries(REPOSITORY, EntryFilter(**fields))
    assert keys(dry.archives) == keys(deletion.archives)
    assert sorted(kept(driver)) == stays
    assert sorted([*keys(deletion.archives), *stays]) == sorted(before)
    assert kept(driver, "7") == ["npm-1"]
    assert driver.services.repositories.usage(REPOSITORY).entries == len(stays)


def test_unnoted_last_use_counts_as_used(driver, management):
    saved(driver, "used")
    resolution = driver.services.lifetimes.last_use_resolution
    moment = driver.clock.now() + resolution
    driver.clock.advance(resolution / 1000 - 1)
    assert driver.look_up("used")
    assert management.delete_entries(REPOSITORY, EntryFilter(unused_since=moment)).archives == ()
    assert keys(management.delete_entries(REPOSITORY, EntryFilter(unused_since=moment + 1)).archives) == ["used"]


def test_entry_used_before_deletion_stays(driver, management, monkeypatch):
    saved(driver, "a")
    stale = list(driver.services.table.stored_archives(REPOSITORY))
    driver.clock.advance(driver.services.lifetimes.last_use_resolution / 1000)
    since = driver.clock.now()
    driver.clock.advance(1)
    driver.look_up("a")
    monkeypatch.setattr(type(driver.services.table), "stored_archives", lambda *_, **__: iter(stale))
    assert management.delete_entries(REPOSITORY, EntryFilter(unused_since=since + 1)).archives == ()
    monkeypatch.undo()
    assert kept(driver) == ["a"]


def test_deleted_key_can_be_saved_at_once(driver, management):
    """No reader is cut off."""
    saved(driver, "a")
    [archive] = management.delete_entries(REPOSITORY, EntryFilter(key="a")).archives
    saved(driver, "a", body=b"again")
    assert driver.archive(archive.id).state is ArchiveState.DELETED
    assert driver.keys(archive.id)
    driver.clock.advance(driver.services.settings.grace_seconds + 1)
    driver.clean_up()
    assert not driver.keys(archive.id)
    assert kept(driver) == ["a"]


def test_large_deletion_is_split(driver, management, monkeypatch):
    monkeypatch.setattr("actions_cache.manage.AT_ONCE", 2)
    saved(driver, "a", "b", "c")
    driver.clock.advance(1)
    moment = driver.clock.now()
    driver.save(name("at that moment"), b"content")
    for gone, remaining in ((["a", "b"], 1), (["c"], 0)):
        deletion = management.delete_entries(REPOSITORY, EntryFilter(created_before=moment))
        assert (keys(deletion.archives), deletion.remaining) == (gone, remaining)
    assert kept(driver) == ["at that moment"]


def test_deletion_as_of_a_look_spares_later_saves(driver, management):
    saved(driver, "a", "b")
    look = management.delete_entries.select(REPOSITORY, EntryFilter(ref=SCOPE))
    saved(driver, "c")
    assert keys(look.archives) == ["a", "b"]
    deletion = management.delete_entries(REPOSITORY, EntryFilter(ref=SCOPE), as_of=look.as_of)
    assert (keys(deletion.archives), deletion.remaining) == (["a", "b"], 0)
    assert [*management.delete_entries.remove(look)] == [False, False]
    assert kept(driver) == ["c"]


def test_look_counts_as_later_than_all_it_shows(driver, management):
    """Another process's clock, which dated the save, may be ahead."""
    saved(driver, "a")
    driver.clock.advance(-1)
    look = management.delete_entries.select(REPOSITORY, EntryFilter(key="a"))
    assert look.as_of == look.archives[0].stored_at == driver.clock.now() + SECOND
    assert keys(management.delete_entries(REPOSITORY, EntryFilter(key="a"), as_of=look.as_of).archives) == ["a"]


def test_slow_deletion_stops_in_time(driver, management, monkeypatch):
    saved(driver, *"abcd")
    remove = type(management.delete_entries.remove_entry).__call__

    def slow(self, *args):
        driver.clock.advance(DELETING_TIME / SECOND / 2 + 1)
        return remove(self, *args)

    monkeypatch.setattr(type(management.delete_entries.remove_entry), "__call__", slow)
    deletion = management.delete_entries(REPOSITORY, EntryFilter(ref=SCOPE))
    assert (keys(deletion.archives), deletion.remaining) == (["a", "b"], 2)
    assert [*management.delete_entries.remove(deletion.selected)] == [False, False, True, True], "commands have time"


def test_entry_is_deleted_by_number(driver, management):
    saved(driver, "by v2", "stays")
    by_v1 = driver.services.reserve.numbered(name("by v1"))
    stored = driver.services.table.stored_archives(REPOSITORY)
    [number] = [archive.entry.id for archive in stored if archive.name.key == "by v2"]
    assert management.delete_entries.numbered("7", number).archives == (), "it is another repository's"
    assert keys(management.delete_entries.numbered(REPOSITORY, number).archives) == ["by v2"]
    assert management.delete_entries.numbered(REPOSITORY, number).archives == ()
    assert management.delete_entries.numbered(REPOSITORY, by_v1).archives == (), "it isn't saved yet"
    assert kept(driver) == ["stays"]


# ---------------------------------------------------------------- matching


def found(match):
    return match.found.archive_id if match.found else None


def test_match_agrees_with_lookup(driver, management):
    """They agree in every order of scopes, over keys that are each other's beginnings."""
    some = random.Random(8)
    all_keys = ["n", "np", "npm", "npm-", "npm-1", "npm-12", "y"]
    for key, scope, version in some.sample(list(product(all_keys, (SCOPE, BRANCH), (VERSION, "v2"))), 14):
        saved(driver, key, scope=scope, version=version)
    for _ in range(12):
        key, *restore_keys = some.sample(all_keys, some.randint(1, 4))
        scopes = tuple(some.sample((SCOPE, BRANCH, "refs/heads/none"), some.randint(1, 3)))
        hit = driver.look_up(key, *restore_keys, scopes=scopes)
        search = Search(REPOSITORY, scopes, key, tuple(restore_keys))
        [match] = management.match(search, VERSION).matches
        assert found(match) == (hit.entry.archive_id if hit else None), search


def test_match_lists_attempts_and_notes_no_use(driver, management):
    saved(driver, "npm-1", scope=SCOPE)
    before = [*driver.services.table.stored_archives(REPOSITORY)]
    driver.clock.advance(driver.services.lifetimes.last_use_resolution)
    explanation = management.match(Search(REPOSITORY, (BRANCH, SCOPE), "npm-2", ("npm-2", "npm-")), VERSION)
    [match] = explanation.matches
    asked = [("npm-2", True), ("npm-2", False), ("npm-", False)]
    attempts = [(attempt.scope, attempt.key, attempt.is_exact) for attempt in match.attempts]
    assert attempts == [(scope, *one) for scope in (BRANCH, SCOPE) for one in asked]
    assert [attempt.found is not None for attempt in match.attempts] == [False] * 5 + [True]
    assert explanation.alike == ()
    assert [*driver.services.table.stored_archives(REPOSITORY)] == before
    assert [*driver.services.repositories.hits(REPOSITORY)] == []


def test_miss_lists_similar_entries(driver, management):
    saved(driver, "npm-1", scope=BRANCH)
    saved(driver, "npm-2", version="v2")
    saved(driver, "yarn-1")
    explanation = management.match(Search(REPOSITORY, (SCOPE,), "npm-9", ("npm-",)), VERSION)
    assert keys(explanation.alike) == ["npm-2", "npm-1"]


def test_match_without_version_tries_each(driver, management):
    saved(driver, "npm-1", version="v1")
    saved(driver, "npm-2", version="v2", scope=BRANCH)
    explanation = management.match(Search(REPOSITORY, (SCOPE,), "npm-"))
    found_keys = {match.version: match.found.name.key if match.found else None for match in explanation.matches}
    assert found_keys == {"v1": "npm-1", "v2": None}
    assert management.match(Search(REPOSITORY, (SCOPE,), "nope")).matches == ()


# ---------------------------------------------------------------- repositories


def test_repository_is_found_by_name_or_id(driver, management):
    driver.services.note_repository(Caller("42", (), "Example/Tools"))
    for name_or_id in ("example/tools", "Example/Tools", "42"):
        assert management.find_repository(name_or_id).id == "42"
    for name_or_id in ("example/other", "43", "42@https://ghes.example", "a/b/c", "", "9" * 2049):
        with pytest.raises(NotFound, match="has saved anything here"):
            management.find_repository(name_or_id)


def test_old_repository_name_works_until_reused(driver, management):
    note, ghes = driver.services.note_repository, "42@https://ghes.example"
    note(Caller("42", (), "example/old"))
    driver.services.repositories.note(Repository("42", "example/new", 2))
    assert management.find_repository("example/old").id == management.find_repository("example/new").id == "42"
    note(Caller("7", (), "example/old"))
    assert management.find_repository("example/old").id == "7"
    note(Caller(ghes, (), "example/new"))
    with pytest.raises(InvalidRequest, match="42, 42@https://ghes"):
        management.find_repository("example/new")
    assert management.find_repository(ghes).name == "example/new"


def test_overview_lists_largest_repository_first(driver, management):
    for repository in ("7", "42", "8"):
        driver.services.note_repository(Caller(repository, ()))
    saved(driver, "a", body=bytes(10), repository="7")
    saved(driver, "a", body=bytes(30))
    used_at = driver.clock.now()
    overview = management.read_usage.everywhere()
    usages = overview.repositories
    assert [(usage.repository.id, usage.usage.bytes) for usage in usages] == [("42", 30), ("7", 10), ("8", 0)]
    assert [usage.last_used_at for usage in usages] == [used_at, used_at - 1000, None]
    assert (overview.store.bytes, overview.store.entries) == (40, 2)


# ---------------------------------------------------------------- activity, failures, cost


def test_activity_covers_each_hour_and_repository(driver, management):
    for repository in ("7", "42"):
        driver.services.note_repository(Caller(repository, ()))
    driver.clock.at -= driver.clock.at % HOUR
    now = driver.clock.now()
    for repository, hour in (("7", now), ("42", now), ("42", now - 2 * HOUR), ("42", now - 3 * HOUR)):
        driver.services.repositories.add_tally(repository, hour, Tally(hits=1))
    assert [tally.hits for tally in management.read_activity("42", 3).values()] == [1, 0, 1]
    together = management.read_activity(None, 3)
    assert list(together) == [now - 2 * HOUR, now - HOUR, now]
    assert [tally.hits for tally in together.values()] == [1, 0, 2]
    assert management.estimate_cost(3).done == Tally(hits=3)


def fail_merge(driver, monkeypatch, before_attempt=lambda: None):
    entry = driver.save(name("broken"), b"a", b"b")
    [message] = driver.messages()
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
        for _ in range(driver.services.settings.merge_attempts):
            before_attempt()
            with pytest.raises(Unavailable):
                driver.services.merge(message, plenty)
    return entry.archive_id


def test_failed_merge_is_listed_until_deleted(driver, management, monkeypatch):
    driver.save(name("fine"), b"a", b"b")
    driver.merge_all()
    listed = []
    archive_id = fail_merge(driver, monkeypatch, lambda: listed.extend(management.list_failures().archives))
    assert listed == []
    assert management.list_failures().archives == (driver.archive(archive_id),)
    management.delete_entries(REPOSITORY, EntryFilter(key="broken"))
    assert (management.list_failures().archives, management.list_failures().dead_letters) == ((), 0)
    driver.sqs.send_message(QueueUrl=driver.services.settings.merge_dead_letter_queue_url, MessageBody="poison")
    assert management.list_failures().dead_letters == 1


def test_failed_merge_is_retried_later(driver, management, monkeypatch):
    """Cleanup looks at it too, though it is in another shard of the cleanup schedule."""
    archive_id = fail_merge(driver, monkeypatch)
    driver.clock.advance(FAILED_MERGE_RETRY / SECOND + 1)
    driver.look_up("broken")
    driver.clean_up()
    driver.merge_all()
    assert driver.archive(archive_id).merge.state is MergeState.MERGED
    assert management.list_failures().archives == ()
