"""Searches of a repository of any size end in time, and report what they left out."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actions_cache.activity import ReadActivity
from actions_cache.archives import READING_TIME, Reading
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import Budgets, Repository, RepositoryUsage, Usage
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.search import Search
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.evict import MOST_ASKED_AT_A_SAVE, Evict
from actions_cache.explain import MatchKeys
from actions_cache.manage import AT_ONCE, DeleteEntries, ListEntries
from actions_cache.ports import Unavailable
from actions_cache.settings import Settings
from actions_cache.usage import NOTED_FOR, READ_ANEW, NoteUsages, PublishCost, ReadUsage, wait_for_index
from dev.clients.driver import SetClock
from tests.support.fakes import RecordingTelemetry
from tests.unit.domain.build import LIFETIMES, NAME, stored_archive

ONE_READ: Millis = 1
"""Time that one read takes here; in Lambda it is 0.4 ms an entry."""

IN_TIME = READING_TIME // ONE_READ
API_GATEWAY: Millis = 29 * SECOND


@dataclass
class Many:
    """Simulates a repository with any number of entries, each of which takes time to read."""

    entries: int
    clock: SetClock = field(default_factory=SetClock)
    read: int = 0

    def stored_archives(self, repository: str, *, newest_use_first: bool = False, at_once: int | None = None) -> Any:
        numbers = range(self.entries)
        for number in reversed(numbers) if newest_use_first else numbers:
            self.clock.at += ONE_READ
            self.read += 1
            yield entry(number)

    def usage(self, repository_id: str) -> Usage:
        return Usage(0, self.entries)

    def archive(self, archive_id: str) -> Archive | None:
        return None

    def entries_of(self, names: Any) -> Any:
        return {}

    def newest_entry(self, *_: Any) -> None:
        return None

    def hits(self, repository_id: str) -> Any:
        for number in range(self.entries):
            self.clock.at += ONE_READ
            yield entry(number).id, SimpleNamespace(count=number)


def entry(number: int) -> Archive:
    name = EntryName(NAME.family, f"npm-{number % 10}-{number}")
    return stored_archive(id=f"{number:032x}", name=name, last_used_at=number)


def listing(many: Many, reading_time: Millis | None = READING_TIME) -> ListEntries:
    table = cast("Any", many)
    return ListEntries(table, table, ThreadPoolExecutor(1), LIFETIMES, many.clock, reading_time)


FIRST = Page(1, 100)
QUESTIONS = {
    "a filter": (EntryFilter(search="NPM-3-"), Order()),
    "another order": (EntryFilter(), Order(SortBy.CREATED_AT)),
    "by hits": (EntryFilter(), Order(SortBy.HITS)),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_incomplete_search_is_reported(question):
    many = Many(10 * IN_TIME)
    began = many.clock.at
    found = listing(many)("42", *QUESTIONS[question], FIRST)
    assert not found.is_whole
    assert many.clock.at - began < API_GATEWAY - 2 * SECOND
    assert len(found.archives) == 100
    assert found.total <= many.read
    assert max(archive.last_used_at for archive in found.archives) >= 9 * IN_TIME, "the last used are read first"


@pytest.mark.parametrize("question", QUESTIONS)
def test_repository_within_budget_is_fully_searched(question):
    """There is time to read as many entries as the default budget allows, at 0.4 ms each."""
    budget = Settings.model_fields["repository_budget_entries"].default
    assert budget * 4 // 10 < READING_TIME
    for entries, reading_time in ((IN_TIME - 100, READING_TIME), (2 * IN_TIME, None)):
        many = Many(entries)
        assert listing(many, reading_time)("42", *QUESTIONS[question], FIRST).is_whole, "commands have no limit"
        assert many.read == many.entries


def test_last_page_is_read_in_time():
    many = Many(IN_TIME - 100)
    last = listing(many)("42", EntryFilter(), Order(), Page(many.entries // 100, 100))
    assert last.is_whole
    assert len(last.archives) == 100
    many = Many(10 * IN_TIME)
    began = many.clock.at
    beyond = listing(many)("42", EntryFilter(), Order(direction=Direction.ASCENDING), Page(1000, 100))
    assert (beyond.is_whole, beyond.archives) == (False, ())
    assert many.clock.at - began < API_GATEWAY


def deleting(many: Many, reading_time: Millis | None = READING_TIME) -> DeleteEntries:
    unused = cast("Any", None)
    return DeleteEntries(cast("Any", many), unused, LIFETIMES, many.clock, reading_time)


def test_incomplete_deletion_is_reported():
    many = Many(10 * IN_TIME)
    began = many.clock.at
    deletion = deleting(many)("42", EntryFilter(key_prefix="npm-3-"), dry_run=True)
    assert not deletion.is_whole
    assert len(deletion.archives) + deletion.remaining <= many.read // 10 + 1
    assert many.clock.at - began < API_GATEWAY - 10 * SECOND
    assert deleting(many, None)("42", EntryFilter(key_prefix="npm-3-"), dry_run=True).is_whole


def test_deletion_of_ten_thousand_is_summed_up_and_split():
    many = Many(IN_TIME - 100)
    deletion = deleting(many)("42", EntryFilter(family="npm-*"), dry_run=True)
    assert deletion.is_whole
    assert deletion.matched.usage.entries == many.entries >= 10_000
    assert (len(deletion.archives), deletion.remaining) == (AT_ONCE, many.entries - AT_ONCE)


def test_entry_not_found_in_time_is_retryable():
    with pytest.raises(TryAgain, match="by its key"):
        deleting(Many(10 * IN_TIME)).numbered("42", 5)
    assert deleting(Many(100)).numbered("42", 5).archives == ()


def test_similar_entries_are_searched_in_time():
    many = Many(10 * IN_TIME)
    table = cast("Any", SimpleNamespace(stored_archives=many.stored_archives, entries=many.entries_of))
    began = many.clock.at
    explained = MatchKeys(table, many.clock, READING_TIME)(Search("42", ("main",), "nothing like it"))
    assert explained.alike == ()
    assert many.clock.at - began < API_GATEWAY


@dataclass
class Repositories:
    """Simulates any number of repositories, each of which takes time to read."""

    count: int
    clock: SetClock = field(default_factory=SetClock)
    searched: int = 0
    counted: int = 0
    noted: dict[str, RepositoryUsage] = field(default_factory=dict)
    unreadable: str = ""

    def ids(self) -> list[str]:
        return [f"{number}" for number in range(self.count)]

    def noted_usages(self) -> dict[str, RepositoryUsage | None]:
        return {repository_id: self.noted.get(repository_id) for repository_id in self.ids()}

    def note_usage(self, usage: RepositoryUsage) -> None:
        if usage.repository.id == self.unreadable:
            raise Unavailable("503")
        self.noted[usage.repository.id] = usage

    def some_ids(self, most: int) -> list[str]:
        return self.ids()[:most]

    def repository(self, repository_id: str) -> Repository:
        self.clock.at += 10
        return Repository(repository_id, f"{'even' if int(repository_id) % 2 == 0 else 'odd'}/{repository_id}", 0)

    def usage(self, repository_id: str) -> Usage:
        self.counted += 1
        return Usage(1, 1)

    def store_usage(self) -> Usage:
        return Usage(self.count, self.count)

    def tallies(self, repository_id: str, since: Millis) -> Any:
        self.clock.at += 10
        return {}

    def stored_archives(self, repository: str, **_: Any) -> Any:
        self.searched += 1
        yield stored_archive(id=f"{int(repository):032x}")


def test_unread_repositories_are_counted():
    repositories = Repositories(5000)
    each = cast("Any", repositories)
    began = repositories.clock.at
    with ThreadPoolExecutor(1) as executor:
        overview = ReadUsage(each, each, Budgets(), executor, repositories.clock, READING_TIME).everywhere()
        assert len(overview.repositories) + overview.unread == 5000
        assert overview.unread > 0 < len(overview.repositories)
        assert repositories.clock.at - began < API_GATEWAY
        whole = ReadUsage(each, each, Budgets(), executor, repositories.clock, None).everywhere()
        assert whole.unread == 0


@pytest.mark.parametrize(
    "ask", [lambda usage: usage.of_owner("even"), lambda usage: usage.by_repository("even", FIRST)], ids=["sum", "page"]
)
def test_incomplete_usage_of_owner_is_refused(ask):
    repositories = Repositories(5000)
    each = cast("Any", repositories)
    began = repositories.clock.at
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(TryAgain, match="more repositories than can be read in time"):
            ask(ReadUsage(each, each, Budgets(), executor, repositories.clock, READING_TIME))
        assert repositories.clock.at - began < API_GATEWAY
        ask(ReadUsage(each, each, Budgets(), executor, repositories.clock, None))


@pytest.mark.parametrize(("count", "read"), [(READ_ANEW, READ_ANEW), (READ_ANEW + 1, 0), (5000, 0)])
def test_lists_of_many_repositories_show_what_was_noted(count: int, read: int):
    """Few are read anew, and all are for the command line."""
    repositories = Repositories(count)
    each = cast("Any", repositories)
    with ThreadPoolExecutor(1) as executor:
        for repository_id in repositories.ids():
            repositories.note_usage(RepositoryUsage(Repository(repository_id, "even/x", 0), Usage(7, 1), 5, noted_at=6))
        usage = ReadUsage(each, each, Budgets(), executor, repositories.clock, READING_TIME)
        overview = usage.everywhere()
        assert (overview.unread, len(overview.repositories)) == (0, count)
        assert repositories.counted == read
        assert {it.noted_at for it in overview.repositories} == ({0} if read else {6})
        assert usage.of_owner("even").entries == (count if count > READ_ANEW else count // 2)
        assert {it.noted_at for it in replace(usage, reading_time=None).everywhere().repositories} == {0}


def test_usages_are_noted_when_they_are_old_and_many():
    repositories = Repositories(READ_ANEW)
    each, time_left = cast("Any", repositories), [True] * 10
    with ThreadPoolExecutor(1) as executor:
        read = ReadUsage(each, each, Budgets(), executor, repositories.clock, None)
        note = NoteUsages(each, read, executor, repositories.clock)
        assert (note(lambda: True), repositories.noted) == (0, {})
        repositories.count, repositories.unreadable = 350, "7"
        assert note(lambda: bool(time_left.pop())) == 349
        first = repositories.clock.at
        assert note(lambda: True) == 0
        assert repositories.noted["3"].usage == Usage(1, 1)
        repositories.unreadable = ""
        assert note(lambda: True) == 1
        repositories.clock.at = max(it.noted_at for it in repositories.noted.values()) + NOTED_FOR - 1000
        assert 0 < note(lambda: len(repositories.noted) > 0) < 350
        repositories.clock.at = first + 2 * NOTED_FOR
        turns = iter([True, False])
        assert note(lambda: next(turns)) == 100, "a run out of time leaves the rest to the next"


def test_page_of_owner_reads_only_its_usages():
    repositories = Repositories(1000)
    each = cast("Any", repositories)
    with ThreadPoolExecutor(1) as executor:
        page = ReadUsage(each, each, Budgets(), executor, repositories.clock, READING_TIME).by_repository("ODD", FIRST)
    assert (page.total, len(page.repositories), repositories.counted) == (500, 100, 100)


def test_incomplete_activity_is_refused():
    repositories = Repositories(5000)
    began = repositories.clock.at
    with ThreadPoolExecutor(1) as executor:
        read = ReadActivity(cast("Any", repositories), repositories.clock, executor)
        with pytest.raises(TryAgain, match="ask for one"):
            read(None, 24)
        assert repositories.clock.at - began < API_GATEWAY
        assert len(read("7", 24)) == 24
        telemetry = RecordingTelemetry()
        PublishCost(cast("Any", lambda hours: read(None, hours)), telemetry)()
    assert telemetry.events == []


def test_save_compares_few_repositories():
    repositories = Repositories(5000)
    each = cast("Any", repositories)
    removed = []

    def remove(archive_id: str, _: object) -> bool:
        removed.append(archive_id)
        return True

    evict = Evict(each, each, cast("Any", remove), Budgets(store=10), LIFETIMES, RecordingTelemetry(), wait_for_index)
    object.__setattr__(
        evict,
        "repositories",
        SimpleNamespace(
            some_ids=repositories.some_ids,
            store_usage=repositories.store_usage,
            hits_of=lambda *_: SimpleNamespace(last_at=0),
        ),
    )
    assert evict.after_save(entry(1)) == MOST_ASKED_AT_A_SAVE == len(removed), "each has one entry"
    assert repositories.searched == MOST_ASKED_AT_A_SAVE


def test_reading_stops_at_deadline():
    clock = SetClock()
    reading = Reading(range(200), clock, clock.at)
    read = []
    for number in reading:
        read.append(number)
        clock.at += number == 99
    assert (read, reading.is_whole) == ([*range(100)], False)
    assert [*Reading(range(3), clock, None)] == [0, 1, 2]
