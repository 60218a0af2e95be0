"""Right bytes: each fault by itself, on readers of parts and on the merge's sources; tests/guarantees has the mix."""

import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import RunEnd
from tests.guarantees.faults.kinds import (
    INTERNAL_ERROR,
    MISSING,
    SLOW_DOWN,
    Fault,
    ends_after,
    other_bytes,
    reset_after,
    slow,
    stalls_after,
)
from tests.guarantees.faults.scene import (
    KEY,
    LONG_PARTS,
    MANIFEST_READ,
    PARTS_READ,
    SHORT_PARTS,
    download_url,
    merge_once,
    merged_content,
    read,
)
from tests.guarantees.faults.store import always, completions, copies, in_turn, part_uploads, reads_of
from tests.guarantees.faults.storing import one_bit, same, stores

pytest_plugins = ["tests.guarantees.faults.fixtures"]

CONTENT = b"".join(LONG_PARTS)


PASSING: dict[str, Fault] = {
    "reset before the first byte": reset_after(0),
    "reset after a byte": reset_after(1),
    "reset in the middle": reset_after(MIB + 7),
    "reset before the last byte": reset_after(2 * MIB - 1),
    "a clean end before the first byte": ends_after(0),
    "a clean end in the middle": ends_after(MIB - 1),
    "a stall before the second byte": stalls_after(1),
    "a stall in the middle": stalls_after(MIB + 1),
    "slow": slow(4 * MIB),
    "SlowDown": SLOW_DOWN,
    "500": INTERNAL_ERROR,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_costs_a_reader_no_byte(on_engines, faulty, fault):
    on_engines.save(KEY, *LONG_PARTS)
    with download_url(on_engines) as url:
        faulty.on(PARTS_READ, in_turn(fault, fault, fault))
        assert read(url) == CONTENT
    assert faulty.met == 3


def test_a_connection_that_always_breaks_is_resumed_at_its_offset_each_time(on_engines, faulty):
    """Every connection brings 300,000 bytes: were one restarted, the stream would never end."""
    on_engines.save(KEY, *LONG_PARTS)
    with download_url(on_engines) as url:
        faulty.on(PARTS_READ, always(reset_after(300_000)))
        assert read(url) == CONTENT
    assert faulty.met >= len(CONTENT) // 300_000


STAYING: dict[str, Fault] = {
    "reset": reset_after(0),
    "a clean end": ends_after(0),
    "SlowDown": SLOW_DOWN,
    "500": INTERNAL_ERROR,
    "404, though it is there": MISSING,
}


@pytest.mark.parametrize("which", [0, -1], ids=["from the first byte on", "in the last part"])
@pytest.mark.parametrize("fault", STAYING.values(), ids=STAYING)
def test_a_fault_that_stays_is_a_refusal_or_a_broken_connection_and_the_entry_outlives_it(
    on_engines, faulty, fault, which
):
    entry = on_engines.save(KEY, *LONG_PARTS)
    part = on_engines.services.manifests.of(on_engines.archive(entry.archive_id)).parts[which]
    with download_url(on_engines) as url:
        faulty.on(reads_of(part.key), always(fault))
        assert read(url) is None
        faulty.heal()
        assert read(url) == CONTENT
    assert on_engines.look_up(KEY.key) is not None


MERGING = {
    "copies: reset": (LONG_PARTS, copies, reset_after(0)),
    "copies: SlowDown": (LONG_PARTS, copies, SLOW_DOWN),
    "copies: 500": (LONG_PARTS, copies, INTERNAL_ERROR),
    "copies: 404, though it is there": (LONG_PARTS, copies, MISSING),
    "copies: the answer is cut": (LONG_PARTS, copies, ends_after(20)),
    "reads: reset": (SHORT_PARTS, PARTS_READ, reset_after(1000)),
    "reads: a clean end": (SHORT_PARTS, PARTS_READ, ends_after(MIB // 2)),
    "reads: other bytes": (SHORT_PARTS, PARTS_READ, other_bytes(MIB // 2)),
    "reads: SlowDown": (SHORT_PARTS, PARTS_READ, SLOW_DOWN),
    "reads: 404, though it is there": (SHORT_PARTS, PARTS_READ, MISSING),
    "uploads: reset": (SHORT_PARTS, part_uploads, reset_after(0)),
    "uploads: 500": (SHORT_PARTS, part_uploads, INTERNAL_ERROR),
    "completion: the answer is lost": (LONG_PARTS, completions, reset_after(0)),
    "completion: SlowDown": (LONG_PARTS, completions, SLOW_DOWN),
    "manifest: other bytes": (LONG_PARTS, MANIFEST_READ, other_bytes(120)),
    "manifest: 404, though it is there": (LONG_PARTS, MANIFEST_READ, MISSING),
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("parts", "requests", "fault"), MERGING.values(), ids=MERGING)
def test_a_merge_behind_a_fault_has_the_right_bytes_or_fails_and_succeeds_another_time(
    on_engines, faulty, parts, requests, fault, times
):
    entry = on_engines.save(KEY, *parts)
    faulty.on(requests, in_turn(*[fault] * times))
    tries = 0
    while not merge_once(on_engines, entry.archive_id):
        tries += 1
        assert tries <= times
    assert faulty.met > 0
    assert merged_content(on_engines, entry.archive_id) == b"".join(parts)


@pytest.mark.parametrize("denies", [False, True], ids=["and says so", "and denies it"])
@pytest.mark.parametrize(
    ("parts", "requests"), [(LONG_PARTS, copies), (SHORT_PARTS, part_uploads)], ids=["copied", "uploaded"]
)
def test_other_bytes_than_the_parts_are_never_published(on_engines, faulty, endpoints, parts, requests, denies):
    """By the chain of ETags; or by the store, which doesn't complete with an ETag that it hasn't."""
    entry = on_engines.save(KEY, *parts)
    faulty.on(requests, in_turn(stores(one_bit, endpoints, denies=denies)))
    [message] = on_engines.messages()
    with pytest.raises(Exception, match=r"ETag|InvalidPart"):
        on_engines.services.merge(message, lambda: 600_000)
    assert on_engines.archive(entry.archive_id).merge.state is MergeState.QUEUED
    faulty.heal()
    faulty.on(requests, always(stores(same, endpoints)))
    assert on_engines.services.merge(message, lambda: 600_000) is RunEnd.MERGED
    assert merged_content(on_engines, entry.archive_id) == b"".join(parts)
