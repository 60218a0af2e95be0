"""All or nothing, and lost answers can be asked again."""

import pytest

from actions_cache.domain.archive import ArchiveState
from actions_cache.domain.errors import (
    AlreadyExists,
    CommittedDifferently,
    InvalidBlockList,
    InvalidRequest,
    NotFound,
    TooLarge,
)
from tests.support.journey import block_ids, name

KEY = name("linux-npm-1")


def test_entry_is_invisible_until_finalized(journey):
    journey.upload(KEY, b"one", b"two")
    assert journey.look_up("linux-npm-1") is None
    journey.services.finalize(KEY, 6)
    assert journey.look_up("linux-npm-1").key == "linux-npm-1"


def test_saved_key_cannot_be_reserved(journey):
    journey.save(KEY, b"one", b"two")
    with pytest.raises(AlreadyExists, match="linux-npm-1"):
        journey.reserve(KEY)


def test_reserved_key_is_blocked_until_expiry(journey):
    first = journey.reserve(KEY)
    journey.clock.advance(3599)
    with pytest.raises(AlreadyExists):
        journey.reserve(KEY)
    journey.clock.advance(1)
    assert journey.reserve(KEY) != first


def test_reservation_blocks_only_its_own_family(journey):
    journey.reserve(KEY)
    for other in ({"scope": "pr"}, {"version": "v2"}, {"repository": "7"}):
        journey.reserve(name("linux-npm-1", **other))


@pytest.mark.parametrize("size", [5, 7, 0, -1])
def test_finalize_refuses_wrong_size(journey, size):
    archive_id = journey.upload(KEY, b"one", b"two")
    before = journey.archive(archive_id)
    with pytest.raises(InvalidRequest, match="6 bytes arrived"):
        journey.services.finalize(KEY, size)
    assert journey.archive(archive_id) == before
    assert journey.services.finalize(KEY, 6).archive_id == archive_id


def test_repeated_finalize_returns_same_entry(journey):
    entry = journey.save(KEY, b"one", b"two")
    assert journey.services.finalize(KEY, 6) == entry
    with pytest.raises(InvalidRequest):
        journey.services.finalize(KEY, 5)


def test_finalize_needs_live_reservation(journey):
    with pytest.raises(NotFound):
        journey.services.finalize(KEY, 6)
    journey.upload(KEY, b"one", b"two")
    journey.clock.advance(3600)
    with pytest.raises(NotFound):
        journey.services.finalize(KEY, 6)


def test_finalize_needs_committed_content(journey):
    archive_id = journey.reserve(KEY)
    with pytest.raises(InvalidRequest, match="nothing was uploaded"):
        journey.services.finalize(KEY, 0)
    journey.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidRequest, match="no block list"):
        journey.services.finalize(KEY, 3)


def test_late_finalize_spares_mismatched_successor(journey):
    """Finalize names no upload."""
    journey.upload(KEY, b"the first upload")
    journey.clock.advance(3600)
    successor = journey.upload(KEY, b"the second")
    with pytest.raises(InvalidRequest):
        journey.services.finalize(KEY, len(b"the first upload"))
    assert journey.archive(successor).state is ArchiveState.RESERVED


def test_repeated_block_list_is_accepted(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.services.commit_blocks(archive_id, block_ids(2))
    journey.services.finalize(KEY, 6)
    journey.services.commit_blocks(archive_id, block_ids(2))


def test_different_block_list_is_refused(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    with pytest.raises(CommittedDifferently):
        journey.services.commit_blocks(archive_id, block_ids(2)[::-1])
    journey.services.finalize(KEY, 6)
    assert journey.content(archive_id) == b"onetwo"


def test_block_list_alone_orders_parts(journey):
    archive_id = journey.reserve(KEY)
    for block_id, body in zip(["enp6", "YWFh", "bW1t"], [b"3", b"1", b"2"], strict=True):
        journey.put_block(archive_id, block_id, body)
    journey.services.commit_blocks(archive_id, ["YWFh", "bW1t", "enp6"])
    assert journey.content(archive_id) == b"123"


def test_resent_block_replaces_earlier_one(journey):
    archive_id = journey.reserve(KEY)
    for body in (b"first try", b"retry"):
        journey.put_block(archive_id, "YQ==", body)
        journey.put_block(archive_id, "Yg==", b"+")
        journey.clock.advance(1)
    journey.services.commit_blocks(archive_id, ["YQ==", "Yg=="])
    assert journey.content(archive_id) == b"retry+"


def test_block_after_commit_changes_nothing(journey):
    """Parts are write-once."""
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.clock.advance(1)
    journey.put_block(archive_id, block_ids(2)[0], b"late")
    journey.services.commit_blocks(archive_id, block_ids(2))
    journey.services.finalize(KEY, 6)
    assert journey.content(archive_id) == b"onetwo"


def test_block_list_with_unknown_block_is_refused(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidBlockList):
        journey.services.commit_blocks(archive_id, ["YQ==", "Yg=="])
    journey.services.commit_blocks(archive_id, ["YQ=="])
    journey.services.finalize(KEY, 3)


def test_block_count_is_bounded(journey):
    archive_id = journey.reserve(KEY)
    with pytest.raises(TooLarge):
        journey.services.commit_blocks(archive_id, ["YQ=="] * 50_001)


def test_block_list_of_expired_upload_is_refused(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    journey.clock.advance(3600)
    journey.clean_up()
    with pytest.raises(NotFound):
        journey.services.commit_blocks(archive_id, ["YQ=="])


def test_finalize_pins_newest_blob(journey):
    archive_id = journey.reserve(KEY)
    journey.put_blob(archive_id, b"first")
    journey.clock.advance(1)
    journey.put_blob(archive_id, b"second try")
    with pytest.raises(InvalidRequest):
        journey.services.finalize(KEY, 5)
    journey.services.finalize(KEY, 10)
    journey.clock.advance(1)
    journey.put_blob(archive_id, b"too late!!")
    assert journey.content(archive_id) == b"second try"


@pytest.mark.parametrize("blocks", [[], [b""], [b"", b""]], ids=["empty list", "one empty block", "two empty blocks"])
def test_empty_archive_is_one_empty_object(journey, blocks):
    entry = journey.save(KEY, *blocks)
    assert entry.size == 0
    assert journey.archive(entry.archive_id).object is not None
    assert journey.content(entry.archive_id) == b""


def test_empty_blob_is_saved(journey):
    """OpenDAL really sends it."""
    journey.put_blob(journey.reserve(KEY), b"")
    assert journey.services.finalize(KEY, 0).size == 0


def test_longest_key_is_saved_and_found(journey):
    long = name("\N{GRINNING FACE}" * 512)
    journey.save(long, b"one")
    assert journey.look_up(long.key).key == long.key
    assert journey.look_up("\N{GRINNING FACE}" * 300).key == long.key
    with pytest.raises(AlreadyExists):
        journey.reserve(long)


# ------------------------------------------------------------------ append blobs


def test_wrong_size_pins_nothing_of_append_blob(journey):
    archive_id = journey.reserve(KEY)
    for piece in (b"one", b"two"):
        journey.append(archive_id, piece)
    before = journey.archive(archive_id), journey.keys(archive_id)
    with pytest.raises(InvalidRequest, match="6 bytes arrived"):
        journey.services.finalize(KEY, 5)
    assert (journey.archive(archive_id), journey.keys(archive_id)) == before


@pytest.mark.parametrize("sealed", [True, False])
def test_late_append_changes_nothing(journey, sealed):
    archive_id = journey.reserve(KEY)
    for piece in (b"one", b"two"):
        journey.append(archive_id, piece)
    if sealed:
        journey.services.seal(archive_id)
        journey.append(archive_id, b"late")
    journey.services.finalize(KEY, 6)
    journey.append(archive_id, b"later")
    journey.services.seal(archive_id)
    assert journey.content(archive_id) == b"onetwo"


def test_expired_upload_cannot_be_sealed_or_listed(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.clock.advance(3600)
    journey.clean_up()
    for asked in (journey.services.seal, journey.services.list_blocks):
        with pytest.raises(NotFound, match="gone"):
            asked(archive_id)


def test_block_listing_needs_manifest(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.services.bucket.delete([journey.archive(archive_id).commit.manifest.key])
    with pytest.raises(NotFound, match="gone"):
        journey.services.list_blocks(archive_id)


def test_duplicate_block_is_refused(journey):
    """A few bytes could become any number of them: 59 sent, 50,000 times named, were 2.95 MB."""
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    journey.put_block(archive_id, "Yg==", b"two")
    for named in (["YQ=="] * 2, ["YQ==", "Yg==", "YQ=="], ["YQ=="] * 50_000):
        with pytest.raises(InvalidBlockList, match="'YQ==' twice"):
            journey.services.commit_blocks(archive_id, named)
    assert journey.archive(archive_id).commit is None
    journey.services.commit_blocks(archive_id, ["YQ==", "Yg=="])
    assert journey.services.finalize(KEY, 6).size == 6


@pytest.mark.parametrize("spelling", ["YQ", "YQ=", "YQ===", "YR==", "yq==", " YQ=="])
def test_misspelled_block_id_is_refused(journey, spelling):
    """Otherwise a block that arrived once could be named twice: Python reads YR== as the byte of YQ== too."""
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidRequest):
        journey.services.commit_blocks(archive_id, ["YQ==", spelling])
    assert journey.archive(archive_id).commit is None


def test_block_ids_are_case_sensitive(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    journey.put_block(archive_id, "yQ==", b"two")
    journey.services.commit_blocks(archive_id, ["YQ==", "yQ=="])
    assert journey.services.finalize(KEY, 6).archive_id == archive_id
    assert journey.content(archive_id) == b"onetwo"


def test_closed_upload_error_explains_reason(journey):
    journey.services.settings = journey.services.settings.model_copy(update={"max_open_upload_bytes": 5})
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.clock.advance(300)
    journey.clean_up()
    with pytest.raises(NotFound, match="MAX_OPEN_UPLOAD_BYTES"):
        journey.services.commit_blocks(archive_id, block_ids(2))
    with pytest.raises(NotFound, match="MAX_OPEN_UPLOAD_BYTES"):
        journey.services.list_blocks(archive_id)
    with pytest.raises(NotFound, match="MAX_OPEN_UPLOAD_BYTES"):
        journey.services.seal(archive_id)
    with pytest.raises(NotFound):
        journey.services.finalize(KEY, 6)
    assert journey.keys(archive_id) == []
    assert journey.save(KEY, b"a").archive_id != archive_id
