"""Lookups are counted by key family, in bounds, and shown with what was matched instead."""

import time
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pytest

from actions_cache import activity
from actions_cache.domain.budgets import HOUR, Tally, Usage, hour_of
from actions_cache.domain.key_family import MAX_BYTES, MAX_PAIRS, FamilyPair, key_family
from actions_cache.families import MOST_SHOWN, ReadFamilies
from actions_cache.management_services import ManagementServices
from actions_cache.ports import Unavailable
from dev.clients.driver import REPOSITORY, fail, name

HASHES = [f"{number:07x}" for number in range(9)]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
UNKNOWN = [f"{first}{second}" for first in "xyz" for second in LETTERS]
"""Keys of different families: two letters each."""


@pytest.fixture
def driver(emptied_driver):
    emptied_driver.clock.at += HOUR - emptied_driver.clock.at % HOUR
    return emptied_driver


@pytest.fixture
def read(driver):
    return lambda hours=1: ManagementServices(driver.services).read_families(REPOSITORY, hours)


def test_families_that_miss_most_come_first(driver, read):
    for key in (f"npm-{HASHES[0]}", f"pip-{HASHES[0]}", "yarn-all"):
        driver.save(name(key), b"content")
    driver.look_up(f"npm-{HASHES[0]}")
    driver.look_up(f"npm-{HASHES[1]}", "npm-")
    driver.look_up(f"npm-{HASHES[2]}", "none-", "yarn-")
    driver.look_up(f"npm-{HASHES[3]}", "yarn-")
    for number in range(3):
        driver.look_up(f"pip-{HASHES[1 + number]}")
    driver.look_up("go-1")
    found = read()
    assert list(found.families) == ["pip-*", "go-*", "npm-*", "yarn-all"]
    npm = found.families["npm-*"]
    assert npm.tally == Tally(hits=4, partial_hits=3, bytes_restored=28, saves=1, bytes_saved=7)
    assert (npm.lookups, npm.exact_hits, npm.hit_rate, npm.stored) == (4, 1, 1.0, Usage(7, 1))
    assert npm.matched.most_common() == [("yarn-all", 2), ("npm-*", 1)]
    pip = found.families["pip-*"]
    assert (pip.tally.misses, pip.exact_hits, pip.hit_rate, pip.matched) == (3, 0, 0.0, {})
    assert found.families["yarn-all"].hit_rate is None
    assert found.rest.lookups == 0


def test_beginning_of_a_key_is_a_partial_hit_of_its_family(driver, read):
    driver.save(name("ccache-2026-12-01T04:12:51.123Z"), b"content")
    assert driver.look_up("ccache-") is not None
    [(family, found)] = read().families.items()
    assert (family, found.tally.partial_hits, found.matched) == ("ccache-*", 1, {"ccache-*": 1})


def test_undivided_key_is_an_exact_hit(driver, read):
    driver.save(name("a,b"), b"content")
    driver.look_up("a", "b", undivided_key="a,b")
    [(family, found)] = read().families.items()
    assert (family, found.exact_hits, found.tally.partial_hits) == ("a,b", 1, 0)


def test_only_asked_hours_and_repository_are_counted(driver, read):
    driver.look_up("old-1")
    driver.clock.at += HOUR
    driver.look_up("new-1")
    driver.look_up("other-1", repository="7")
    assert list(read().families) == ["new-*"]
    assert set(read(2).families) == {"new-*", "old-*"}
    assert read(2).since == driver.clock.at - driver.clock.at % HOUR - HOUR


def test_families_beyond_the_bound_are_counted_together(driver, read):
    for key in UNKNOWN[: MAX_PAIRS + 5]:
        driver.look_up(key)
    driver.look_up(UNKNOWN[0])
    found = read()
    assert len(found.families) == MAX_PAIRS
    assert found.families[UNKNOWN[0]].tally.misses == 2
    assert found.rest.tally.misses == 5
    driver.clock.at += HOUR
    driver.look_up(UNKNOWN[MAX_PAIRS])
    assert list(read().families) == [UNKNOWN[MAX_PAIRS]], "each hour begins anew"


def test_bound_holds_for_all_processes_together(driver, read):
    for key in UNKNOWN[: MAX_PAIRS + 5]:
        note = driver.services.note_activity
        fresh = activity.AdmitPair(driver.services.repositories, driver.services.executor)
        replace(note, admit_pair=fresh).miss(REPOSITORY, key)
    assert (len(read().families), read().rest.tally.misses) == (MAX_PAIRS, 5)
    assert len(driver.services.repositories.family_pairs(REPOSITORY, hour_of(driver.clock.at))) == MAX_PAIRS


def test_full_hour_is_read_no_more(driver, monkeypatch):
    for key in UNKNOWN[:MAX_PAIRS]:
        driver.look_up(key)
    monkeypatch.setattr(driver.services.repositories, "family_pairs", lambda *_: pytest.fail("it was read"))
    for key in UNKNOWN[MAX_PAIRS:]:
        driver.look_up(key)


def test_process_remembers_a_bounded_number_of_repositories(driver, monkeypatch):
    monkeypatch.setattr(activity, "MAX_PAIRS_OF", 3)
    admit = driver.services.note_activity.admit_pair
    for number in range(10):
        assert admit(str(number), 0, FamilyPair("npm-*"))
        assert len(admit._pairs) <= 3


def test_what_is_shown_is_bounded(driver, read):
    hour = driver.clock.at
    for start in range(0, len(UNKNOWN), 10):
        for key in UNKNOWN[start : start + 10]:
            driver.services.repositories.add_tally(REPOSITORY, hour, Tally(misses=1), FamilyPair(key))
    found = read()
    assert len(found.families) == MOST_SHOWN < len(UNKNOWN)
    assert found.rest.tally.misses == len(UNKNOWN) - MOST_SHOWN


def test_reading_ends_in_time(driver, monkeypatch):
    driver.save(name("npm-1"), b"content")
    services = driver.services
    reading = ReadFamilies(services.table, services.repositories, services.clock, reading_time=-1)
    assert not reading(REPOSITORY, 1).is_whole
    assert replace(reading, reading_time=None)(REPOSITORY, 1).is_whole


def test_unread_families_leave_hit_and_count_alone(driver, read, monkeypatch):
    driver.save(name("npm-1"), b"content")
    driver.clock.at += HOUR
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.repositories, "family_pairs", lambda *_: fail(Unavailable("503")))
        assert driver.look_up("npm-1") is not None
    assert read().rest.tally == Tally(hits=1, bytes_restored=7)
    driver.look_up("npm-1")
    assert read().families["npm-*"].tally.hits == 1


def test_slow_read_of_families_delays_no_hit_for_long(driver, read, monkeypatch):
    monkeypatch.setattr(activity, "PAIRS_WAIT_SECONDS", 0.05)
    driver.save(name("npm-1"), b"content")
    driver.clock.at += HOUR
    answer, answered = Event(), Event()

    def slow(*_):
        answer.wait(60)
        answered.set()
        return {FamilyPair("npm-*")}

    monkeypatch.setattr(driver.services.repositories, "family_pairs", slow)
    begun = time.monotonic()
    assert driver.look_up("npm-1") is not None
    assert time.monotonic() - begun < timedelta(seconds=30).total_seconds()
    answer.set()
    assert answered.wait(60)
    monkeypatch.setattr(driver.services.repositories, "family_pairs", lambda *_: {FamilyPair("npm-*")})
    driver.look_up("npm-1")
    assert (read().rest.tally.hits, read().families["npm-*"].tally.hits) == (1, 1)


def test_lost_count_loses_no_lookup(driver, monkeypatch):
    driver.save(name("npm-1"), b"content")
    monkeypatch.setattr(driver.services.repositories, "add_tally", lambda *_: fail(Unavailable("503")))
    assert driver.look_up("npm-1") is not None
    assert driver.look_up("none") is None


@pytest.mark.parametrize("character", ["\N{GRINNING FACE}", "1", "a/", "\x00", "*"])
def test_hostile_keys_are_counted(driver, read, character):
    key = character * (512 // len(character))
    assert driver.look_up(key) is None
    [(family, found)] = read().families.items()
    assert (family, found.tally.misses) == (key_family(key), 1)


def test_longest_item_costs_one_write_unit(driver):
    """DynamoDB counts names and values, and a unit for each KB of the item."""
    repository = "9" * 18 + "@https://" + "ghes." * 12 + "example/_services/token"
    asked, matched = ("\N{GRINNING FACE}" * (MAX_BYTES // 4 - 1) + last for last in "ab")
    most = Tally(hits=10**9, partial_hits=10**9, misses=10**9, saves=10**9, bytes_restored=10**18, bytes_saved=10**18)
    repositories = driver.services.repositories
    repositories.add_tally(repository, driver.clock.at, most, FamilyPair(asked, matched))
    [item] = repositories._items.query(repository)
    # A number takes a byte for each two digits, and one more; here it takes one for each digit.
    size = sum(
        len(attribute) + len(str(value).encode())
        for attribute, kinds in item.serialize().items()
        for value in kinds.values()
    )
    assert 400 < size < 1024
