"""The contract of ports.Repositories, and the usage that ports.Table counts there."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations

import pytest

from actions_cache.aws.dynamodb_repositories import PAIR_SHARDS, SHARDS
from actions_cache.domain.archive import Merge, MergeState, deleted
from actions_cache.domain.budgets import HOUR, NO_HITS, NO_USAGE, Hits, Repository, RepositoryUsage, Tally, Usage
from actions_cache.domain.key_family import FamilyPair
from actions_cache.domain.listing import EntryFilter
from actions_cache.domain.refused_job import SLOT_PAUSE, SLOTS, Refusals, RefusedJob
from actions_cache.domain.timing import DAY
from actions_cache.management_services import ManagementServices
from actions_cache.ports import WriteConflict
from dev.clients.driver import REPOSITORY
from tests.integration.aws.test_table import publish

EXAMPLE = Repository("42", "Example/Tools", 1_000)


@pytest.fixture
def repositories(driver):
    return driver.services.repositories


def test_repository_is_found_by_id_and_both_names(repositories):
    repositories.note(EXAMPLE)
    repositories.note(Repository("7@https://ghes.example", None, 1_000))
    assert repositories.repository("42") == EXAMPLE
    assert repositories.ids_named("example/TOOLS") == ["42"]
    assert repositories.ids_named("example/tool") == []
    assert {repository_id: repositories.repository(repository_id).name for repository_id in repositories.ids()} == {
        "42": "Example/Tools",
        "7@https://ghes.example": None,
    }
    repositories.note(replace(EXAMPLE, name="example/renamed"))
    assert repositories.ids_named("example/tools") == repositories.ids_named("example/renamed") == ["42"]
    assert repositories.repository("42").name == "example/renamed"


def test_noted_usage_stays_when_the_repository_is_noted_again(repositories):
    repositories.note(Repository("1", "example/tools", 5))
    repositories.note(Repository("2", None, 5))
    assert repositories.noted_usages() == {"1": None, "2": None}
    known = Repository("1", "example/tools", 9)
    repositories.note_usage(RepositoryUsage(known, Usage(7, 2), 8, noted_at=9))
    repositories.note_usage(RepositoryUsage(Repository("2", None, 9), Usage(), None, noted_at=9))
    repositories.note(Repository("1", "example/renamed", 10))
    assert repositories.noted_usages() == {
        "1": RepositoryUsage(replace(known, name="example/renamed"), Usage(7, 2), 8, noted_at=9),
        "2": RepositoryUsage(Repository("2", None, 9), Usage(), None, noted_at=9),
    }
    assert repositories.ids() == ["1", "2"]


def test_refused_jobs_do_not_count_as_repositories(repositories):
    repositories.note(EXAMPLE)
    job = RefusedJob("https://ghes.example", "7", None, "O_x", None, ("repository_id=7", "repository_owner_id=O_x"))
    first = Refusals(job, 2, 1_000)
    repositories.add_refusals(first, DAY)
    assert repositories.refusals() == [first]
    repositories.add_refusals(Refusals(replace(job, owner="octo"), 3, 2_000), DAY)
    assert repositories.refusals() == [Refusals(replace(job, owner="octo"), 5, 2_000)]
    assert (repositories.ids(), repositories.store_usage()) == (["42"], NO_USAGE)


def test_idle_refusal_slot_is_reassigned(repositories):
    one, other = (RefusedJob("https://a.example", number, None, None, None, ()) for number in two_of_a_slot())
    repositories.add_refusals(Refusals(one, 9, 1_000), DAY)
    for too_soon in (1_000, SLOT_PAUSE + 999):
        with pytest.raises(WriteConflict):
            repositories.add_refusals(Refusals(other, 1, too_soon), DAY)
    assert repositories.refusals() == [Refusals(one, 9, 1_000)]
    repositories.add_refusals(Refusals(other, 1, SLOT_PAUSE + 1_000), DAY)
    assert repositories.refusals() == [Refusals(other, 1, SLOT_PAUSE + 1_000)]


def two_of_a_slot() -> tuple[str, str]:
    """Return two repositories' ids that share a slot."""
    slots = {
        number: RefusedJob("https://a.example", number, None, None, None, ()).slot
        for number in map(str, range(SLOTS + 1))
    }
    return next((one, other) for one, other in combinations(slots, 2) if slots[one] == slots[other])


def test_usage_follows_publish_and_removal(driver, repositories):
    """Failed writes don't change it."""
    table = driver.services.table
    npm, _ = (publish(driver, key) for key in ("npm", "yarn"))
    with pytest.raises(WriteConflict):
        table.publish_entry(npm, npm)
    assert repositories.usage(REPOSITORY) == repositories.store_usage() == Usage(6, 2)
    removed = deleted(npm, driver.clock.now())
    table.remove_entry(npm, removed)
    with pytest.raises(WriteConflict):
        table.remove_entry(npm, removed)
    assert repositories.usage(REPOSITORY) == repositories.store_usage() == Usage(3, 1)
    assert repositories.usage("7") == NO_USAGE


def test_stored_archives_are_sorted_by_last_use(driver):
    table = driver.services.table
    for key, at in (("b", 2_000), ("a", 1_000), ("c", 3_000)):
        publish(driver, key, at)
    gone = publish(driver, "gone", 500)
    table.remove_entry(gone, deleted(gone, driver.clock.now()))
    assert [archive.name.key for archive in table.stored_archives(REPOSITORY)] == ["a", "b", "c"]
    for page in ({}, {"at_once": 1}):
        newest = table.stored_archives(REPOSITORY, newest_use_first=True, **page)
        assert [archive.name.key for archive in newest] == ["c", "b", "a"]
    assert list(table.stored_archives("7")) == []


def test_failed_merges_are_listed_while_stored(driver):
    table = driver.services.table
    publish(driver, "fine")
    current = publish(driver, "failed")
    failed = table.replace_archive(current, replace(current, merge=Merge(state=MergeState.FAILED, ended_at=1)))
    assert list(table.failed_archives()) == [failed.id]
    assert failed.id in set(table.due_archives(driver.clock.now() + 30 * DAY))
    again = table.replace_archive(failed, replace(failed, merge=Merge()))
    assert list(table.failed_archives()) == []
    failed = table.replace_archive(again, replace(again, merge=Merge(state=MergeState.FAILED, ended_at=1)))
    table.remove_entry(failed, deleted(failed, driver.clock.now()))
    assert list(table.failed_archives()) == []


def test_usage_correction_reaches_store_total(repositories):
    repositories.correct_usage("42", Usage(10, 2))
    repositories.correct_usage("42", NO_USAGE - Usage(4, 1))
    assert repositories.usage("42") == repositories.store_usage() == Usage(6, 1)
    repositories.correct_store_usage(Usage(1, 1))
    assert (repositories.usage("42"), repositories.store_usage()) == (Usage(6, 1), Usage(7, 2))


def test_some_ids_begin_anywhere(repositories):
    ids = {"5", "123456789", "42", "9999999999", "a@ghes.example"}
    for repository_id in ids:
        repositories.note(Repository(repository_id, None, 1))
    assert {*repositories.some_ids(10)} == ids
    found = [repositories.some_ids(2) for _ in range(60)]
    assert {len(some) for some in found} == {2}
    assert {repository_id for some in found for repository_id in some} == ids


def test_counts_add_up(repositories):
    """Creates in a minute, tallies in an hour, and hits of an archive."""
    assert [repositories.count_create("42", minute) for minute in (1, 1, 2, 1)] == [1, 2, 1, 3]
    assert repositories.count_create("7", 1) == 1
    nine, ten, eleven = (hour * HOUR for hour in (9, 10, 11))
    for hour, tally in (
        (nine, Tally(hits=1)),
        (nine, Tally(bytes_restored=5)),
        (ten, Tally(misses=1)),
        (eleven, Tally()),
    ):
        repositories.add_tally("42", hour, tally)
    for at, archive_id in enumerate(("a" * 32, "b" * 32, "a" * 32)):
        repositories.add_hit("42", archive_id, at, 5_000)
    assert repositories.tallies("42", -1)[nine] == Tally(hits=1, bytes_restored=5)
    for since, hours in (
        (ten, {ten, eleven}),
        (ten + 1, {eleven}),
        (ten - 1, {ten, eleven}),
        (-1, {nine, ten, eleven}),
    ):
        assert repositories.tallies("42", since).keys() == hours
    assert dict(repositories.hits("42")) == {"a" * 32: Hits(2, 2), "b" * 32: Hits(1, 1)}
    assert repositories.hits_of("42", "a" * 32) == Hits(2, 2)
    assert (repositories.tallies("7", 0), repositories.hits_of("7", "a" * 32)) == ({}, NO_HITS)


def test_only_short_lived_counters_expire(driver, repositories):
    repositories.note(EXAMPLE)
    publish(driver, "npm")
    repositories.count_create("42", 1)
    repositories.add_tally("42", HOUR, Tally(hits=1))
    repositories.add_hit("42", "a" * 32, 1, 5_000)
    ending = {item.item.partition("#")[0]: item.expires_at is not None for item in repositories._items.scan()}
    assert {kind for kind, ends in ending.items() if ends} == {"creates", "tally", "hits"}
    assert {"profile", "repository", "usage"} <= ending.keys()


def test_concurrent_deletions_keep_usage_exact(on_emulators):
    archives = [publish(on_emulators, f"key-{number}") for number in range(20)]
    management = ManagementServices(on_emulators.services)
    gone = management.delete_entries(REPOSITORY, EntryFilter(key_prefix="key-1"))
    assert (len(gone.archives), gone.remaining) == (11, 0)
    assert on_emulators.services.repositories.usage(REPOSITORY) == Usage(3 * (len(archives) - 11), len(archives) - 11)


def test_concurrent_writers_keep_usage_exact(on_emulators, monkeypatch):
    """There is one shard, in which the transactions meet; their entries don't conflict."""
    monkeypatch.setattr("actions_cache.aws.dynamodb_repositories.SHARDS", 1)
    assert SHARDS > 1
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: publish(on_emulators, f"key-{number}"), range(24)))
    assert on_emulators.services.repositories.usage(REPOSITORY) == Usage(72, 24)


NPM = FamilyPair("npm-*")
NPM_FROM_YARN = FamilyPair("npm-*", "yarn-*")


def test_tallies_are_kept_apart_by_key_family(repositories):
    for pair in (NPM, NPM, NPM_FROM_YARN, None):
        repositories.add_tally("42", HOUR, Tally(hits=1, partial_hits=1), pair)
    repositories.add_tally("42", 2 * HOUR, Tally(misses=1), NPM)
    repositories.add_tally("7", HOUR, Tally(misses=1), FamilyPair("pip-*"))
    pieces = list(repositories.tallies_by_family("42", HOUR))
    assert pieces[0] == (NPM, Tally(misses=1)), "the latest hour comes first"
    assert {pair: sum((tally for each, tally in pieces if each == pair), Tally()) for pair, _ in pieces} == {
        NPM: Tally(hits=2, partial_hits=2, misses=1),
        NPM_FROM_YARN: Tally(hits=1, partial_hits=1),
        None: Tally(hits=1, partial_hits=1),
    }
    assert list(repositories.tallies_by_family("42", 2 * HOUR)) == pieces[:1]
    assert repositories.tallies("42", 0) == {HOUR: Tally(hits=4, partial_hits=4), 2 * HOUR: Tally(misses=1)}


def test_families_of_an_hour_are_known(repositories):
    for hour, pair in ((HOUR, NPM), (HOUR, NPM), (HOUR, NPM_FROM_YARN), (HOUR, None), (2 * HOUR, FamilyPair("go"))):
        repositories.add_tally("42", hour, Tally(misses=1), pair)
    assert repositories.family_pairs("42", HOUR) == {NPM, NPM_FROM_YARN}
    assert repositories.family_pairs("42", 3 * HOUR) == repositories.family_pairs("7", HOUR) == set()


def test_one_family_is_counted_in_few_items(repositories):
    for _ in range(40):
        repositories.add_tally("42", HOUR, Tally(misses=1), NPM)
    assert 1 < len(list(repositories.tallies_by_family("42", HOUR))) <= PAIR_SHARDS


def test_tallies_of_older_releases_are_counted_without_family(repositories):
    hour = f"tally#{HOUR:015d}#7"
    repositories._items("42", hour, hits=2, misses=1, saves=0, bytes_restored=5, bytes_saved=0).save()
    assert list(repositories.tallies_by_family("42", 0)) == [(None, Tally(hits=2, misses=1, bytes_restored=5))]
