"""What another server saved becomes an entry here, whole or not at all, with its past."""

from dataclasses import dataclass, field, replace

import pytest

from actions_cache.domain.archive import ArchiveState, Past
from actions_cache.domain.errors import InvalidRequest, TooLarge
from actions_cache.domain.timing import SECOND
from actions_cache.domain.usage import Budgets
from actions_cache.usecases.import_entry import Imported, ImportEntry
from actions_cache.wiring.operator import OperatorPlane
from tests.support.journey import Journey, name

DAY = 24 * 3600


@dataclass
class Bytes:
    """A piece that is brought as it is, or not quite."""

    journey: Journey
    body: bytes
    arrives: bytes | None = None
    brought: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.body)

    def bring(self, key: str) -> None:
        self.brought.append(key)
        self.journey.control.bucket.write_once(key, self.body if self.arrives is None else self.arrives)


def importing(journey: Journey) -> ImportEntry:
    return OperatorPlane(journey.control).import_entry


def days_ago(journey: Journey, saved: float, used: float) -> Past:
    now = journey.clock.now()
    return Past(now - int(saved * DAY * SECOND), now - int(used * DAY * SECOND))


@pytest.mark.parametrize("bodies", [[b"whole"], [b"in ", b"two"], [b""]], ids=["one piece", "two", "nothing in it"])
def test_an_entry_comes_with_its_bytes_its_age_and_its_last_use(journey: Journey, bodies: list[bytes]):
    past = days_ago(journey, saved=5, used=2)
    pieces = [Bytes(journey, body) for body in bodies]
    assert importing(journey)(name("npm-1"), pieces, past) is Imported.YES
    journey.merge_all()
    entry = journey.control.table.entry(name("npm-1"))
    archive = journey.archive(entry.archive_id)
    assert journey.content(archive.id) == b"".join(bodies)
    assert (entry.created_at, archive.last_used_at) == (past.saved_at, past.last_used_at)
    assert journey.control.repositories.repository("42") is not None


def test_of_two_that_match_a_prefix_the_newer_wins_whichever_was_imported(journey: Journey):
    journey.save(name("npm-here"), b"newer")
    importing(journey)(name("npm-there"), [Bytes(journey, b"older")], days_ago(journey, saved=1, used=0))
    assert journey.look_up("npm-").entry.name.key == "npm-here"


def test_what_is_here_or_being_saved_stays_as_it_is(journey: Journey):
    past = days_ago(journey, 1, 1)
    journey.save(name("saved"), b"ours")
    journey.reserve(name("reserved"))
    piece = Bytes(journey, b"theirs")
    assert importing(journey)(name("saved"), [piece], past) is Imported.THERE_ALREADY
    assert importing(journey)(name("reserved"), [piece], past) is Imported.BEING_SAVED
    assert piece.brought == []


def test_what_would_expire_at_once_is_not_brought(journey: Journey):
    keeps_days = journey.control.settings.unused_entry_seconds / DAY
    piece = Bytes(journey, b"old")
    assert importing(journey)(name("npm-1"), [piece], days_ago(journey, 30, keeps_days)) is Imported.TOO_OLD
    assert piece.brought == []
    assert importing(journey)(name("npm-1"), [piece], days_ago(journey, 30, keeps_days - 0.1)) is Imported.YES


def test_what_no_eviction_makes_room_for_is_refused_before_anything_is_brought(journey: Journey):
    piece = Bytes(journey, b"four")
    small = replace(importing(journey), budgets=Budgets(entry=3))
    with pytest.raises(TooLarge, match="MAX_ENTRY_BYTES"):
        small(name("npm-1"), [piece], days_ago(journey, 1, 1))
    assert piece.brought == []
    assert journey.control.table.reservation(name("npm-1")) is None


def test_what_arrives_with_another_size_is_no_entry_and_leaves_the_key_free(journey: Journey):
    piece = Bytes(journey, b"all of it", arrives=b"half")
    with pytest.raises(InvalidRequest, match="9, but 4 bytes"):
        importing(journey)(name("npm-1"), [piece], days_ago(journey, 1, 1))
    assert journey.look_up("npm-1") is None
    archive_id = piece.brought[0].split("/")[1]
    assert journey.archive(archive_id).state is ArchiveState.DELETED
    assert importing(journey)(name("npm-1"), [Bytes(journey, b"all of it")], days_ago(journey, 1, 1)) is Imported.YES
    journey.clock.advance(3 * 3600)
    journey.clean_up()
    assert journey.keys(archive_id) == [], "what came of it is swept"
