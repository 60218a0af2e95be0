"""The contract of ports.Table."""

from dataclasses import replace

import pytest
from pynamodb.connection.base import Connection

from actions_cache.aws import dynamodb
from actions_cache.domain.archive import ArchiveState, Commit, Part, committed, reserved, stored
from actions_cache.domain.cleanup_schedule import LOOK_EVERY
from actions_cache.ports import WriteConflict
from dev.clients.driver import name

ONE_PART = Part("archives/x/parts/blob/1", 3, '"etag"')


@pytest.fixture
def table(driver):
    return driver.services.table


@pytest.fixture
def now(driver):
    return driver.clock.now()


def new_archive(driver, entry_name):
    return reserved(driver.services.tokens.new(), entry_name, driver.clock.now(), driver.services.lifetimes)


def finished(current, at):
    updated = committed(current, Commit("d", 3, 1, None), ONE_PART)
    assert updated is not None
    return stored(updated, at)


def publish(driver, key, at=None):
    """Save an entry with two writes to the table, without objects in the bucket."""
    archive = new_archive(driver, name(key))
    driver.services.table.reserve(archive, archive.reserved_at)
    current = driver.services.table.archive(archive.id)
    return driver.services.table.publish_entry(current, finished(current, at or driver.clock.now()))


def test_archive_is_read_as_written(driver, table, now):
    archive = new_archive(driver, name("npm \N{GRINNING FACE}"))
    table.reserve(archive, now)
    assert table.archive(archive.id) == replace(archive, revision=1)
    updated = committed(table.archive(archive.id), Commit("d", 2**40, 10_000, ONE_PART), None)
    assert table.replace_archive(table.archive(archive.id), updated) == table.archive(archive.id)
    assert table.archive("f" * 32) is None
    table.check()


def test_stale_write_conflicts(driver, table, now):
    archive = new_archive(driver, name("npm"))
    table.reserve(archive, now)
    current = table.archive(archive.id)
    table.replace_archive(current, replace(current, swept_at=1))
    for lost in (
        lambda: table.replace_archive(current, replace(current, swept_at=2)),
        lambda: table.forget_archive(current),
        lambda: table.publish_entry(
            current, replace(current, state=ArchiveState.STORED, commit=Commit("d", 0, 1, None))
        ),
    ):
        with pytest.raises(WriteConflict):
            lost()
    assert table.archive(archive.id).swept_at == 1


def test_name_is_reserved_once(driver, table, now):
    """Then by the next, when the reservation has expired, whose reservation the first one can't drop."""
    first, second = (new_archive(driver, name("npm")) for _ in range(2))
    table.reserve(first, now)
    with pytest.raises(WriteConflict):
        table.reserve(second, now)
    assert table.archive(second.id) is None
    assert table.reservation(name("npm")).archive_id == first.id
    table.reserve(second, first.reservation_expires_at)
    table.drop_reservation(first.reservation)
    assert table.reservation(name("npm")).archive_id == second.id
    assert table.archive(first.id) is not None
    table.drop_reservation(second.reservation)
    table.drop_reservation(second.reservation)
    assert table.reservation(name("npm")) is None


def test_publishing_replaces_reservation_with_entry(driver, table, now):
    archive = publish(driver, "npm")
    assert table.reservation(name("npm")) is None
    assert table.entry(name("npm")) == archive.entry
    elsewhere = name("npm", scope="refs/heads/other")
    assert table.entries([elsewhere, name("npm")]) == {name("npm"): archive.entry}
    assert table.entries([elsewhere]) == {}
    with pytest.raises(WriteConflict):
        table.reserve(new_archive(driver, name("npm")), now)


def test_publishing_needs_own_reservation(driver, table):
    first = new_archive(driver, name("npm"))
    table.reserve(first, first.reserved_at)
    table.reserve(new_archive(driver, name("npm")), first.reservation_expires_at)
    current = table.archive(first.id)
    with pytest.raises(WriteConflict):
        table.publish_entry(current, finished(current, first.reserved_at))
    assert table.entry(name("npm")) is None
    assert table.archive(first.id) == current


def test_publishing_spares_existing_entry(driver, table, now):
    """A reservation and an entry of one name can't both be written, but a backup may restore them."""
    saved = publish(driver, "npm").entry
    archive = new_archive(driver, name("npm"))
    table._reservation_item(archive.reservation).save()
    table._archive_item(archive, archive).save()
    current = table.archive(archive.id)
    with pytest.raises(WriteConflict):
        table.publish_entry(current, finished(current, now))
    assert table.entry(name("npm")) == saved


def test_removal_keeps_entry_of_newer_archive(driver, table):
    old = publish(driver, "npm")
    table.remove_entry(old, replace(old, state=ArchiveState.DELETED))
    new = publish(driver, "npm")
    stale = table.archive(old.id)
    with pytest.raises(WriteConflict):
        table.remove_entry(stale, replace(stale, deleted_at=9))
    assert table.entry(name("npm")).archive_id == new.id


def test_entries_are_removed_all_or_none(driver, table):
    """Of two repositories, whose usage and the store's are counted in the same transaction."""
    published = [publish(driver, f"npm-{number}") for number in range(3)]
    removals = [(archive, replace(archive, state=ArchiveState.DELETED)) for archive in published]
    stale = replace(published[0], revision=7)
    with pytest.raises(WriteConflict):
        table.remove_entries([*removals[1:], (stale, stale)])
    usage = driver.services.repositories.store_usage
    assert (usage().entries, usage().bytes) == (3, 9)
    table.remove_entries(removals)
    assert (usage().entries, usage().bytes) == (0, 0)
    assert table.archives([archive.id for archive in published]) == {
        after.id: replace(after, revision=before.revision + 1) for before, after in removals
    }
    assert table.entry(name("npm-1")) is None


def test_archives_are_read_together(driver, table, now, batches):
    archives = [new_archive(driver, name(f"npm-{i}")) for i in range(3)]
    for archive in archives:
        table.reserve(archive, now)
    found = table.archives([*(archive.id for archive in archives), "f" * 32])
    assert found == {archive.id: replace(archive, revision=1) for archive in archives}
    assert {read["ConsistentRead"] for read in batches} == {True}


def test_noted_batch_is_the_last_one(driver, table, now):
    assert table.noted_batch() == frozenset()
    table.note_batch(["a" * 32, "b" * 32])
    assert table.noted_batch() == {"a" * 32, "b" * 32}
    table.note_batch([])
    assert table.noted_batch() == frozenset()
    assert list(table.all_archives("")) == list(table.due_archives(now + 10**12)) == []


@pytest.mark.parametrize(("first", "page"), [(1, 1), (1, 2), (2, 2), (2, 4), (3, 3), (11, 100)])
def test_newest_entry_is_found_by_prefix(driver, table, now, monkeypatch, first, page):
    monkeypatch.setattr(dynamodb, "FIRST_PAGE", first)
    monkeypatch.setattr(dynamodb, "PREFIX_PAGE", page)
    for i, key in enumerate(["npm-b", "npm-c", "npm-a", "yarn-1", "npm", "np", "zzz"]):
        publish(driver, key, now + i)
    family = name("").family
    assert table.newest_entry(family, "npm-").name.key == "npm-a"
    assert table.newest_entry(family, "npm").name.key == "npm"
    assert table.newest_entry(family, "n").name.key == "np"
    assert table.newest_entry(family, "npm-c").name.key == "npm-c"
    assert table.newest_entry(family, "npm-d") is None


def test_long_prefix_distinguishes_keys(driver, table, now):
    long = "\N{GRINNING FACE}" * 400
    publish(driver, long + "one", now)
    publish(driver, long + "two", now + 1)
    family = name("").family
    assert table.newest_entry(family, long + "o").name.key == long + "one"
    assert table.newest_entry(family, long).name.key == long + "two"
    assert table.newest_entry(family, long + "x") is None
    assert table.entry(name(long + "one")).name.key == long + "one"


def test_due_archives_are_all_found(driver, table, now, monkeypatch):
    monkeypatch.setattr(dynamodb, "PREFIX_PAGE", 2)
    archives = [new_archive(driver, name(f"npm-{i}")) for i in range(40)]
    for archive in archives:
        table.reserve(archive, now)
    first_look = archives[0].reserved_at + LOOK_EVERY
    assert list(table.due_archives(first_look - 1)) == []
    assert sorted(table.due_archives(first_look)) == sorted(archive.id for archive in archives)


@pytest.fixture
def batches(monkeypatch):
    """Record batch reads, and process one key of each: DynamoDB may leave others unprocessed.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html.
    """
    reads = []
    call = Connection._make_api_call

    def for_one_key(connection, operation, request):
        if operation != "BatchGetItem":
            return call(connection, operation, request)
        [(table_name, read)] = request["RequestItems"].items()
        reads.append(read)
        one, others = ({table_name: {**read, "Keys": keys}} for keys in (read["Keys"][:1], read["Keys"][1:]))
        answer = call(connection, operation, {**request, "RequestItems": one})
        return {**answer, "UnprocessedKeys": others if read["Keys"][1:] else {}}

    monkeypatch.setattr(Connection, "_make_api_call", for_one_key)
    return reads


def test_known_archives_are_read_consistently(driver, table, now, batches):
    """An archive that a batch leaves out, or that a replica doesn't know yet, would otherwise count as forgotten."""
    archives = [new_archive(driver, name(f"npm-{i}")) for i in range(3)]
    for archive in archives:
        table.reserve(archive, now)
    ids = [archive.id for archive in archives]
    assert table.known_archives([*ids, "f" * 32]) == set(ids)
    assert [read["ConsistentRead"] for read in batches] == [True] * 4
    assert {name for read in batches for name in read["ExpressionAttributeNames"].values()} == {"archive_id"}
