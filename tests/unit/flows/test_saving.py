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


def test_an_entry_is_visible_only_once_it_is_finalized(journey):
    journey.upload(KEY, b"one", b"two")
    assert journey.look_up("linux-npm-1") is None
    journey.services.finalize(KEY, 6)
    assert journey.look_up("linux-npm-1").key == "linux-npm-1"


def test_a_saved_key_cannot_be_reserved_again(journey):
    journey.save(KEY, b"one", b"two")
    with pytest.raises(AlreadyExists, match="linux-npm-1"):
        journey.reserve(KEY)


def test_a_reserved_key_cannot_be_reserved_again_until_the_reservation_expires(journey):
    first = journey.reserve(KEY)
    journey.clock.advance(3599)
    with pytest.raises(AlreadyExists):
        journey.reserve(KEY)
    journey.clock.advance(1)
    assert journey.reserve(KEY) != first


def test_a_key_in_another_scope_version_or_repository_is_another_key(journey):
    journey.reserve(KEY)
    for other in ({"scope": "pr"}, {"version": "v2"}, {"repository": "7"}):
        journey.reserve(name("linux-npm-1", **other))


@pytest.mark.parametrize("size", [5, 7, 0, -1])
def test_finalize_refuses_another_size_and_changes_nothing(journey, size):
    archive_id = journey.upload(KEY, b"one", b"two")
    before = journey.archive(archive_id)
    with pytest.raises(InvalidRequest, match="6 bytes arrived"):
        journey.services.finalize(KEY, size)
    assert journey.archive(archive_id) == before
    assert journey.services.finalize(KEY, 6).archive_id == archive_id


def test_the_same_finalize_again_gives_the_same_entry(journey):
    entry = journey.save(KEY, b"one", b"two")
    assert journey.services.finalize(KEY, 6) == entry
    with pytest.raises(InvalidRequest):
        journey.services.finalize(KEY, 5)


def test_finalize_without_a_reservation_or_after_it_expired_is_refused(journey):
    with pytest.raises(NotFound):
        journey.services.finalize(KEY, 6)
    journey.upload(KEY, b"one", b"two")
    journey.clock.advance(3600)
    with pytest.raises(NotFound):
        journey.services.finalize(KEY, 6)


def test_finalize_before_anything_was_committed_is_refused(journey):
    archive_id = journey.reserve(KEY)
    with pytest.raises(InvalidRequest, match="nothing was uploaded"):
        journey.services.finalize(KEY, 0)
    journey.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidRequest, match="no block list"):
        journey.services.finalize(KEY, 3)


def test_a_late_finalize_touches_only_the_successor_and_only_if_its_size_fits(journey):
    """Finalize names no upload."""
    journey.upload(KEY, b"the first upload")
    journey.clock.advance(3600)
    successor = journey.upload(KEY, b"the second")
    with pytest.raises(InvalidRequest):
        journey.services.finalize(KEY, len(b"the first upload"))
    assert journey.archive(successor).state is ArchiveState.RESERVED


def test_the_same_block_list_again_succeeds_before_and_after_finalize(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.services.commit_blocks(archive_id, block_ids(2))
    journey.services.finalize(KEY, 6)
    journey.services.commit_blocks(archive_id, block_ids(2))


def test_another_block_list_is_refused_and_what_is_committed_stays(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    with pytest.raises(CommittedDifferently):
        journey.services.commit_blocks(archive_id, block_ids(2)[::-1])
    journey.services.finalize(KEY, 6)
    assert journey.content(archive_id) == b"onetwo"


def test_only_the_block_list_orders_the_parts(journey):
    archive_id = journey.reserve(KEY)
    for block_id, body in zip(["enp6", "YWFh", "bW1t"], [b"3", b"1", b"2"], strict=True):
        journey.put_block(archive_id, block_id, body)
    journey.services.commit_blocks(archive_id, ["YWFh", "bW1t", "enp6"])
    assert journey.content(archive_id) == b"123"


def test_a_block_sent_again_replaces_the_earlier_one(journey):
    archive_id = journey.reserve(KEY)
    for body in (b"first try", b"retry"):
        journey.put_block(archive_id, "YQ==", body)
        journey.put_block(archive_id, "Yg==", b"+")
        journey.clock.advance(1)
    journey.services.commit_blocks(archive_id, ["YQ==", "Yg=="])
    assert journey.content(archive_id) == b"retry+"


def test_a_block_that_arrives_after_the_commit_changes_nothing(journey):
    """Parts are write-once."""
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.clock.advance(1)
    journey.put_block(archive_id, block_ids(2)[0], b"late")
    journey.services.commit_blocks(archive_id, block_ids(2))
    journey.services.finalize(KEY, 6)
    assert journey.content(archive_id) == b"onetwo"


def test_a_list_with_an_unknown_block_commits_nothing(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidBlockList):
        journey.services.commit_blocks(archive_id, ["YQ==", "Yg=="])
    journey.services.commit_blocks(archive_id, ["YQ=="])
    journey.services.finalize(KEY, 3)


def test_more_blocks_than_azure_allows_are_refused(journey):
    archive_id = journey.reserve(KEY)
    with pytest.raises(TooLarge):
        journey.services.commit_blocks(archive_id, ["YQ=="] * 50_001)


def test_a_block_list_for_a_dropped_upload_is_refused(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    journey.clock.advance(3600)
    journey.clean_up()
    with pytest.raises(NotFound):
        journey.services.commit_blocks(archive_id, ["YQ=="])


def test_finalize_pins_the_newest_put_blob(journey):
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
def test_an_empty_archive_is_one_empty_object(journey, blocks):
    entry = journey.save(KEY, *blocks)
    assert entry.size == 0
    assert journey.archive(entry.archive_id).object is not None
    assert journey.content(entry.archive_id) == b""


def test_an_empty_put_blob_is_saved(journey):
    """OpenDAL really sends it."""
    journey.put_blob(journey.reserve(KEY), b"")
    assert journey.services.finalize(KEY, 0).size == 0


def test_a_key_of_2048_bytes_is_saved_found_and_refused_again(journey):
    long = name("\N{GRINNING FACE}" * 512)
    journey.save(long, b"one")
    assert journey.look_up(long.key).key == long.key
    assert journey.look_up("\N{GRINNING FACE}" * 300).key == long.key
    with pytest.raises(AlreadyExists):
        journey.reserve(long)


# ------------------------------------------------------------------ append blobs


def test_a_finalize_of_another_size_pins_nothing_of_an_append_blob_and_writes_nothing(journey):
    archive_id = journey.reserve(KEY)
    for piece in (b"one", b"two"):
        journey.append(archive_id, piece)
    before = journey.archive(archive_id), journey.keys(archive_id)
    with pytest.raises(InvalidRequest, match="6 bytes arrived"):
        journey.services.finalize(KEY, 5)
    assert (journey.archive(archive_id), journey.keys(archive_id)) == before


@pytest.mark.parametrize("sealed", [True, False])
def test_what_is_appended_late_changes_nothing_that_was_pinned_nor_does_a_late_seal(journey, sealed):
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


def test_an_upload_that_is_gone_can_be_neither_sealed_nor_listed(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.clock.advance(3600)
    journey.clean_up()
    for asked in (journey.services.seal, journey.services.list_blocks):
        with pytest.raises(NotFound, match="gone"):
            asked(archive_id)


def test_a_block_list_whose_manifest_is_gone_is_not_found(journey):
    archive_id = journey.upload(KEY, b"one", b"two")
    journey.services.bucket.delete([journey.archive(archive_id).commit.manifest.key])
    with pytest.raises(NotFound, match="gone"):
        journey.services.list_blocks(archive_id)


def test_a_block_list_that_names_a_block_twice_is_refused(journey):
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
def test_another_spelling_of_a_blocks_id_is_not_that_block(journey, spelling):
    """Otherwise a block that arrived once could be named twice: Python reads YR== as the byte of YQ== too."""
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidRequest):
        journey.services.commit_blocks(archive_id, ["YQ==", spelling])
    assert journey.archive(archive_id).commit is None


def test_ids_that_only_the_case_of_letters_tells_apart_are_two_blocks(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", b"one")
    journey.put_block(archive_id, "yQ==", b"two")
    journey.services.commit_blocks(archive_id, ["YQ==", "yQ=="])
    assert journey.services.finalize(KEY, 6).archive_id == archive_id
    assert journey.content(archive_id) == b"onetwo"


def test_a_client_of_a_closed_upload_is_told_why(journey):
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
