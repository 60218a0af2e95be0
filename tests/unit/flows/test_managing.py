"""What those who manage see of a repository, and what they delete."""

import random
from itertools import product

import pytest

from actions_cache.domain.access import Caller
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.budgets import HOUR, Repository, Tally
from actions_cache.domain.errors import InvalidRequest, NotFound
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SECOND
from actions_cache.explain import Question
from actions_cache.management_services import ManagementServices
from actions_cache.ports import Unavailable
from tests.support.journey import REPOSITORY, SCOPE, VERSION, fail, name, plenty

BRANCH = "refs/heads/feature"


@pytest.fixture
def journey(emptied):
    return emptied


@pytest.fixture
def management(journey, monkeypatch):
    # moto's transactions aren't, between threads; tests/integration/aws has the real engine for that.
    monkeypatch.setattr("actions_cache.manage.SIDE_BY_SIDE", 1)
    return ManagementServices(journey.services)


def saved(journey, *keys, body=b"content", **where):
    for key in keys:
        journey.clock.advance(1)
        journey.save(name(key, **where), body)


def kept(journey, repository=REPOSITORY):
    return [it.name.key for it in journey.services.table.stored_archives(repository)]


def keys(archives):
    return [it.name.key for it in archives]


# ---------------------------------------------------------------- listing


def test_listing_reads_only_requested_pages(journey, management, monkeypatch):
    saved(journey, *"abcdef")
    read = []
    stored = type(journey.services.table).stored_archives

    def noted(self, *args, **options):
        for archive in stored(self, *args, **options):
            read.append(archive.name.key)
            yield archive

    monkeypatch.setattr(type(journey.services.table), "stored_archives", noted)
    listing = management.list_entries(REPOSITORY, EntryFilter(), Order(), Page(2, 2))
    assert (listing.total, keys(listing.archives)) == (6, ["d", "c"])
    assert read == ["f", "e", "d", "c"]
    oldest = management.list_entries(
        REPOSITORY, EntryFilter(), Order(SortBy.LAST_USED_AT, Direction.ASCENDING), Page(1, 2)
    )
    assert keys(oldest.archives) == ["a", "b"]


def test_filtered_listing_is_counted_and_paged(journey, management):
    saved(journey, "npm-1", "yarn-1", "npm-2", "npm-3")
    saved(journey, "npm-4", repository="7")
    order = Order(SortBy.KEY, Direction.DESCENDING)
    first = management.list_entries(REPOSITORY, EntryFilter(key_prefix="npm-"), order, Page(1, 2))
    second = management.list_entries(REPOSITORY, EntryFilter(key_prefix="npm-"), order, Page(2, 2))
    assert (first.total, keys(first.archives), keys(second.archives)) == (3, ["npm-3", "npm-2"], ["npm-1"])


def test_entries_are_sorted_by_hits(journey, management):
    saved(journey, "a", "b", "c")
    for key in ("b", "b", "c"):
        journey.look_up(key)
    by_hits = Order(SortBy.HITS)
    assert keys(management.list_entries(REPOSITORY, EntryFilter(), by_hits, Page()).archives) == ["b", "c", "a"]


# ---------------------------------------------------------------- deleting


@pytest.mark.parametrize("wanted", [{}, {"key_prefix": ""}])
def test_empty_filter_deletes_nothing(journey, management, wanted):
    saved(journey, "a")
    with pytest.raises(InvalidRequest, match="at least one filter"):
        management.delete_entries(REPOSITORY, EntryFilter(**wanted))
    assert kept(journey) == ["a"]


@pytest.mark.parametrize(
    ("wanted", "stays"),
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
def test_filter_deletes_exactly_its_matches(journey, management, wanted, stays):
    saved(journey, "npm-1", "npm-12", "yarn-1")
    saved(journey, "npm-1", scope=BRANCH)
    saved(journey, "npm-1", repository="7")
    before = kept(journey)
    deletion = management.delete_entries(REPOSITORY, EntryFilter(**wanted))
    assert sorted(kept(journey)) == stays
    assert sorted([*keys(deletion.archives), *stays]) == sorted(before)
    assert kept(journey, "7") == ["npm-1"]
    assert journey.services.repositories.usage(REPOSITORY).entries == len(stays)


def test_dry_run_deletes_nothing(journey, management):
    saved(journey, "npm-1", "npm-2", "yarn-1")
    deletion = management.delete_entries(REPOSITORY, EntryFilter(key_prefix="npm-"), dry_run=True)
    assert keys(deletion.archives) == ["npm-1", "npm-2"]
    assert len(kept(journey)) == 3


def test_created_before_excludes_its_moment(journey, management):
    saved(journey, "old")
    journey.clock.advance(1)
    moment = journey.clock.now()
    journey.save(name("at"), b"content")
    management.delete_entries(REPOSITORY, EntryFilter(created_before=moment))
    assert kept(journey) == ["at"]


def test_unnoted_last_use_counts_as_used(journey, management):
    saved(journey, "used")
    resolution = journey.services.lifetimes.last_use_resolution
    moment = journey.clock.now() + resolution
    journey.clock.advance(resolution / 1000 - 1)
    assert journey.look_up("used")
    assert management.delete_entries(REPOSITORY, EntryFilter(unused_since=moment)).archives == ()
    assert keys(management.delete_entries(REPOSITORY, EntryFilter(unused_since=moment + 1)).archives) == ["used"]


def test_entry_used_before_deletion_stays(journey, management, monkeypatch):
    saved(journey, "a")
    stale = list(journey.services.table.stored_archives(REPOSITORY))
    journey.clock.advance(journey.services.lifetimes.last_use_resolution / 1000)
    since = journey.clock.now()
    journey.clock.advance(1)
    journey.look_up("a")
    monkeypatch.setattr(type(journey.services.table), "stored_archives", lambda *_, **__: iter(stale))
    assert management.delete_entries(REPOSITORY, EntryFilter(unused_since=since + 1)).archives == ()
    monkeypatch.undo()
    assert kept(journey) == ["a"]


def test_deleted_key_can_be_saved_at_once(journey, management):
    """No reader is cut off."""
    saved(journey, "a")
    [archive] = management.delete_entries(REPOSITORY, EntryFilter(key="a")).archives
    saved(journey, "a", body=b"again")
    assert journey.archive(archive.id).state is ArchiveState.DELETED
    assert journey.keys(archive.id)
    journey.clock.advance(journey.services.settings.grace_seconds + 1)
    journey.clean_up()
    assert not journey.keys(archive.id)
    assert kept(journey) == ["a"]


def test_large_deletion_is_split(journey, management, monkeypatch):
    monkeypatch.setattr("actions_cache.manage.AT_ONCE", 2)
    saved(journey, "a", "b", "c")
    first = management.delete_entries(REPOSITORY, EntryFilter(ref=SCOPE))
    assert (keys(first.archives), first.remaining) == (["a", "b"], 1)
    second = management.delete_entries(REPOSITORY, EntryFilter(ref=SCOPE))
    assert (keys(second.archives), second.remaining) == (["c"], 0)


def test_entry_is_deleted_by_number(journey, management):
    saved(journey, "by v2", "stays")
    by_v1 = journey.services.reserve.numbered(name("by v1"))
    [number] = [it.entry.id for it in journey.services.table.stored_archives(REPOSITORY) if it.name.key == "by v2"]
    assert keys(management.delete_entries.numbered(REPOSITORY, number).archives) == ["by v2"]
    assert management.delete_entries.numbered(REPOSITORY, number).archives == ()
    assert management.delete_entries.numbered(REPOSITORY, by_v1).archives == (), "it isn't saved yet"
    assert kept(journey) == ["stays"]


def test_number_is_valid_in_its_repository_only(journey, management):
    saved(journey, "a")
    [archive] = journey.services.table.stored_archives(REPOSITORY)
    assert management.delete_entries.numbered("7", archive.entry.id).archives == ()
    assert kept(journey) == ["a"]


# ---------------------------------------------------------------- matching


def found(match):
    return match.found.archive_id if match.found else None


def test_match_agrees_with_lookup(journey, management):
    """In every order of scopes, over keys that are each other's beginnings."""
    some = random.Random(8)
    all_keys = ["n", "np", "npm", "npm-", "npm-1", "npm-12", "y"]
    for key, scope, version in some.sample(list(product(all_keys, (SCOPE, BRANCH), (VERSION, "v2"))), 14):
        saved(journey, key, scope=scope, version=version)
    for _ in range(12):
        key, *restore_keys = some.sample(all_keys, some.randint(1, 4))
        scopes = tuple(some.sample((SCOPE, BRANCH, "refs/heads/none"), some.randint(1, 3)))
        hit = journey.look_up(key, *restore_keys, scopes=scopes)
        question = Question(REPOSITORY, scopes, VERSION, key, tuple(restore_keys))
        [match] = management.match(question).matches
        assert found(match) == (hit.entry.archive_id if hit else None), question


def test_match_lists_attempts_and_notes_no_use(journey, management):
    saved(journey, "npm-1", scope=SCOPE)
    before = [*journey.services.table.stored_archives(REPOSITORY)]
    journey.clock.advance(journey.services.lifetimes.last_use_resolution)
    explanation = management.match(Question(REPOSITORY, (BRANCH, SCOPE), VERSION, "npm-2", ("npm-2", "npm-")))
    [match] = explanation.matches
    assert [(it.scope, it.key, it.is_exact, it.found is not None) for it in match.attempts] == [
        (BRANCH, "npm-2", True, False),
        (BRANCH, "npm-2", False, False),
        (BRANCH, "npm-", False, False),
        (SCOPE, "npm-2", True, False),
        (SCOPE, "npm-2", False, False),
        (SCOPE, "npm-", False, True),
    ]
    assert explanation.alike == ()
    assert [*journey.services.table.stored_archives(REPOSITORY)] == before
    assert [*journey.services.repositories.hits(REPOSITORY)] == []


def test_miss_lists_similar_entries(journey, management):
    saved(journey, "npm-1", scope=BRANCH)
    saved(journey, "npm-2", version="v2")
    saved(journey, "yarn-1")
    explanation = management.match(Question(REPOSITORY, (SCOPE,), VERSION, "npm-9", ("npm-",)))
    assert keys(explanation.alike) == ["npm-2", "npm-1"]


def test_match_without_version_tries_each(journey, management):
    saved(journey, "npm-1", version="v1")
    saved(journey, "npm-2", version="v2", scope=BRANCH)
    explanation = management.match(Question(REPOSITORY, (SCOPE,), None, "npm-"))
    assert {it.version: it.found.name.key if it.found else None for it in explanation.matches} == {
        "v1": "npm-1",
        "v2": None,
    }
    assert management.match(Question(REPOSITORY, (SCOPE,), None, "nope")).matches == ()


# ---------------------------------------------------------------- repositories


def test_repository_is_found_by_name_or_id(journey, management):
    journey.services.admit(Caller("42", (), "Example/Tools"))
    for said in ("example/tools", "Example/Tools", "42"):
        assert management.find_repository(said).id == "42"
    for said in ("example/other", "43", "42@https://ghes.example", "a/b/c", "", "9" * 2049):
        with pytest.raises(NotFound, match="has saved anything here"):
            management.find_repository(said)


def test_old_repository_name_works_until_reused(journey, management):
    journey.services.admit(Caller("42", (), "example/old"))
    journey.services.repositories.note(Repository("42", "example/new", 2))
    assert management.find_repository("example/old").id == management.find_repository("example/new").id == "42"
    journey.services.admit(Caller("7", (), "example/old"))
    assert management.find_repository("example/old").id == "7"
    assert management.find_repository("example/new").id == "42"


def test_ambiguous_repository_name_needs_id(journey, management):
    for repository in ("42", "42@https://ghes.example"):
        journey.services.admit(Caller(repository, (), "example/tools"))
    with pytest.raises(InvalidRequest, match="42, 42@https://ghes"):
        management.find_repository("example/tools")
    assert management.find_repository("42@https://ghes.example").name == "example/tools"


def test_overview_lists_largest_repository_first(journey, management):
    for repository in ("7", "42", "8"):
        journey.services.admit(Caller(repository, ()))
    saved(journey, "a", body=bytes(10), repository="7")
    saved(journey, "a", body=bytes(30))
    used_at = journey.clock.now()
    overview = management.read_usage.everywhere()
    assert [(it.repository.id, it.usage.bytes) for it in overview.repositories] == [("42", 30), ("7", 10), ("8", 0)]
    assert [it.last_used_at for it in overview.repositories] == [used_at, used_at - 1000, None]
    assert (overview.store.bytes, overview.store.entries) == (40, 2)


# ---------------------------------------------------------------- activity, failures, cost


def test_activity_covers_each_hour_and_repository(journey, management):
    for repository in ("7", "42"):
        journey.services.admit(Caller(repository, ()))
    journey.clock.at -= journey.clock.at % HOUR
    now = journey.clock.now()
    for repository, hour in (("7", now), ("42", now), ("42", now - 2 * HOUR), ("42", now - 3 * HOUR)):
        journey.services.repositories.add_tally(repository, hour, Tally(hits=1))
    assert [it.hits for it in management.read_activity("42", 3).values()] == [1, 0, 1]
    everybody = management.read_activity(None, 3)
    assert list(everybody) == [now - 2 * HOUR, now - HOUR, now]
    assert [it.hits for it in everybody.values()] == [1, 0, 2]
    assert management.estimate_cost(3).done == Tally(hits=3)


def test_failed_merge_is_listed_until_deleted(journey, management, monkeypatch):
    journey.save(name("fine"), b"a", b"b")
    journey.merge_all()
    entry = journey.save(name("broken"), b"a", b"b")
    [message] = journey.messages()
    monkeypatch.setattr(journey.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
    for _ in range(journey.services.settings.merge_attempts):
        assert management.list_failures().archives == ()
        with pytest.raises(Unavailable):
            journey.services.merge(message, plenty)
    assert management.list_failures().archives == (journey.archive(entry.archive_id),)
    management.delete_entries(REPOSITORY, EntryFilter(key="broken"))
    assert management.list_failures().archives == ()


def test_failed_merge_is_retried_later(journey, management, monkeypatch):
    """It stands in another shard of the agenda, where cleanup looks too."""
    entry = journey.save(name("broken"), b"a", b"b")
    [message] = journey.messages()
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
        for _ in range(journey.services.settings.merge_attempts):
            with pytest.raises(Unavailable):
                journey.services.merge(message, plenty)
    journey.clock.advance(FAILED_MERGE_RETRY / SECOND + 1)
    journey.look_up("broken")
    journey.clean_up()
    journey.merge_all()
    assert journey.archive(entry.archive_id).merge.state is MergeState.MERGED
    assert management.list_failures().archives == ()


def test_dead_letters_are_counted(journey, management):
    assert management.list_failures().dead_letters == 0
    journey.sqs.send_message(QueueUrl=journey.services.settings.merge_dead_letter_queue_url, MessageBody="poison")
    assert management.list_failures().dead_letters == 1
