"""Behind a store that fails by script: right bytes, or a broken connection; never a clean end with others.

On a real store, whose requests meet the faults of tests/guarantees/faults. Each fault by itself:
tests/guarantees/slow/readers.
"""

import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.domain.checksum import etag_of_upload
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import RunEnd
from actions_cache.ports import WrongBytes
from tests.guarantees.faults.kinds import (
    INTERNAL_ERROR,
    MISSING,
    SLOW_DOWN,
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
from tests.guarantees.faults.store import always, copies, in_turn, reads_of
from tests.guarantees.faults.storing import one_bit, same, stores
from tests.support.journey import plenty

pytest_plugins = ["tests.guarantees.faults.fixtures"]

CONTENT = b"".join(LONG_PARTS)


def test_faults_that_pass_cost_a_reader_no_byte(on_engines, faulty):
    on_engines.save(KEY, *LONG_PARTS)
    faults = [
        reset_after(0),
        reset_after(MIB + 7),
        ends_after(0),
        ends_after(MIB - 1),
        stalls_after(MIB + 1),
        slow(20 * MIB),
        SLOW_DOWN,
        INTERNAL_ERROR,
    ]
    with download_url(on_engines) as url:
        faulty.on(MANIFEST_READ, in_turn(other_bytes(120), reset_after(10)))
        faulty.on(PARTS_READ, in_turn(*faults))
        assert read(url) == CONTENT
    assert faulty.met == 2 + len(faults)


def test_a_store_that_stays_out_of_order_breaks_the_connection_and_the_entry_outlives_it(on_engines, faulty):
    """Nor is an object lost because one answer says 404: the bucket is asked again before an entry goes."""
    entry = on_engines.save(KEY, *LONG_PARTS)
    last = on_engines.services.manifests.of(on_engines.archive(entry.archive_id)).parts[-1]
    with download_url(on_engines) as url:
        for fault in (SLOW_DOWN, MISSING):
            faulty.on(reads_of(last.key), always(fault))
            assert read(url) is None
            faulty.heal()
        assert read(url) == CONTENT
    assert on_engines.look_up(KEY.key) is not None


def test_a_bit_that_flips_on_its_way_from_the_store_never_ends_a_response_cleanly(on_engines, faulty):
    """As deployed: the local run doesn't check, unless it is told to."""
    on_engines.save(KEY, *LONG_PARTS)
    with download_url(on_engines, check_streamed_parts=True) as url:
        faulty.on(PARTS_READ, in_turn(other_bytes(MIB)))
        assert read(url) in (None, CONTENT)


def test_a_merge_behind_faults_has_the_right_bytes_or_fails_and_succeeds_another_time(on_engines, faulty):
    parts = [*SHORT_PARTS, *LONG_PARTS]
    entry = on_engines.save(KEY, *parts)
    faulty.on(MANIFEST_READ, in_turn(other_bytes(120)))
    faulty.on(PARTS_READ, in_turn(reset_after(1000), ends_after(MIB // 2), other_bytes(MIB // 2), SLOW_DOWN))
    faulty.on(copies, in_turn(reset_after(0), INTERNAL_ERROR, ends_after(20), SLOW_DOWN))
    tries = 0
    while not merge_once(on_engines, entry.archive_id):
        tries += 1
        assert tries < on_engines.services.settings.merge_attempts
    assert faulty.met == 9
    assert merged_content(on_engines, entry.archive_id) == b"".join(parts)


def test_a_copy_of_other_bytes_is_never_published(on_engines, faulty, endpoints):
    entry = on_engines.save(KEY, *LONG_PARTS)
    faulty.on(copies, in_turn(stores(one_bit, endpoints)))
    [message] = on_engines.messages()
    with pytest.raises(WrongBytes):
        on_engines.services.merge(message, plenty)
    assert on_engines.archive(entry.archive_id).merge.state is MergeState.QUEUED
    assert on_engines.services.merge(message, plenty) is RunEnd.MERGED
    assert merged_content(on_engines, entry.archive_id) == CONTENT


def test_the_merged_objects_etag_follows_from_what_the_parts_contained_when_they_came_in(on_engines, faulty, endpoints):
    """The chain from end to end, where copies are answered as S3 does."""
    entry = on_engines.save(KEY, *LONG_PARTS)
    faulty.on(copies, always(stores(same, endpoints)))
    assert merge_once(on_engines, entry.archive_id)
    archive = on_engines.archive(entry.archive_id)
    etags = [part.etag for part in on_engines.services.manifests.of(archive).parts]
    assert archive.object.etag == etag_of_upload(etags)
