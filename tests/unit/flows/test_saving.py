"""All or nothing, and lost answers can be asked again."""

from collections.abc import AsyncIterator

import pytest

from actions_cache.archives import Manifests
from actions_cache.domain.archive import ArchiveState, Part
from actions_cache.domain.errors import (
    AlreadyExists,
    CommittedDifferently,
    InvalidBlockList,
    InvalidRequest,
    NotFound,
    TooLarge,
)
from actions_cache.domain.ranges import ByteRange
from actions_cache.save import ReceivePart
from dev.clients.driver import block_ids, name

KEY = name("linux-npm-1")


def test_entry_is_invisible_until_finalized(driver):
    driver.upload(KEY, b"one", b"two")
    assert driver.look_up("linux-npm-1") is None
    entry = driver.services.finalize(KEY, 6)
    assert driver.look_up("linux-npm-1").key == "linux-npm-1"
    assert driver.services.finalize(KEY, 6) == entry, "Finalize may come again"
    with pytest.raises(InvalidRequest):
        driver.services.finalize(KEY, 5)
    with pytest.raises(AlreadyExists, match="linux-npm-1"):
        driver.reserve(KEY)


def test_reserved_key_is_blocked_until_expiry(driver):
    first = driver.reserve(KEY)
    for other in ({"scope": "pr"}, {"version": "v2"}, {"repository": "7"}):
        driver.reserve(name("linux-npm-1", **other))
    driver.clock.advance(3599)
    with pytest.raises(AlreadyExists):
        driver.reserve(KEY)
    driver.clock.advance(1)
    assert driver.reserve(KEY) != first


@pytest.mark.parametrize("size", [5, 7, 0, -1])
def test_finalize_refuses_wrong_size(driver, size):
    archive_id = driver.upload(KEY, b"one", b"two")
    before = driver.archive(archive_id)
    with pytest.raises(InvalidRequest, match="6 bytes arrived"):
        driver.services.finalize(KEY, size)
    assert driver.archive(archive_id) == before
    assert driver.services.finalize(KEY, 6).archive_id == archive_id


def test_expired_upload_is_gone_for_every_request(driver):
    with pytest.raises(NotFound):
        driver.services.finalize(KEY, 6)
    archive_id = driver.upload(KEY, b"one", b"two")
    driver.clock.advance(3600)
    with pytest.raises(NotFound):
        driver.services.finalize(KEY, 6)
    driver.clean_up()
    with pytest.raises(NotFound):
        driver.services.commit.block_list(archive_id, block_ids(2))
    for asked in (driver.services.commit.seal, driver.services.list_blocks):
        with pytest.raises(NotFound, match="gone"):
            asked(archive_id)


def test_reservation_that_expires_during_finalize_is_over(driver, monkeypatch):
    driver.put_blob(driver.reserve(KEY), b"content")
    driver.clock.advance(3599)
    listed = driver.services.bucket.list

    def slowly(*args):
        driver.clock.advance(1)
        return listed(*args)

    monkeypatch.setattr(driver.services.bucket, "list", slowly)
    with pytest.raises(NotFound):
        driver.services.finalize(KEY, 7)
    assert driver.look_up(KEY.key) is None


def test_finalize_needs_committed_content(driver):
    archive_id = driver.reserve(KEY)
    with pytest.raises(InvalidRequest, match="nothing was uploaded"):
        driver.services.finalize(KEY, 0)
    driver.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidRequest, match="no block list"):
        driver.services.finalize(KEY, 3)


def test_late_finalize_spares_mismatched_successor(driver):
    """Finalize names no upload."""
    driver.upload(KEY, b"the first upload")
    driver.clock.advance(3600)
    successor = driver.upload(KEY, b"the second")
    with pytest.raises(InvalidRequest):
        driver.services.finalize(KEY, len(b"the first upload"))
    assert driver.archive(successor).state is ArchiveState.RESERVED


def test_different_block_list_or_seal_is_refused(driver):
    archive_id = driver.upload(KEY, b"one", b"two")
    driver.services.commit.block_list(archive_id, block_ids(2))
    with pytest.raises(CommittedDifferently):
        driver.services.commit.block_list(archive_id, block_ids(2)[::-1])
    with pytest.raises(CommittedDifferently, match="otherwise than by appending"):
        driver.services.commit.seal(archive_id)
    driver.services.finalize(KEY, 6)
    driver.services.commit.block_list(archive_id, block_ids(2))
    assert driver.content(archive_id) == b"onetwo"


@pytest.mark.parametrize("is_same", [True, False])
def test_concurrent_block_lists_commit_one(driver, monkeypatch, is_same):
    """The second list comes while the first writes its manifest."""
    archive_id = driver.reserve(KEY)
    for block_id, body in zip(block_ids(2), (b"one", b"two"), strict=True):
        driver.put_block(archive_id, block_id, body)
    commit, write = driver.services.commit, Manifests.write

    def write_after_the_other(self, keys, parts):
        monkeypatch.setattr(Manifests, "write", write)
        commit.block_list(archive_id, block_ids(2) if is_same else block_ids(2)[::-1])
        return write(self, keys, parts)

    monkeypatch.setattr(Manifests, "write", write_after_the_other)
    if is_same:
        commit.block_list(archive_id, block_ids(2))
    else:
        with pytest.raises(CommittedDifferently):
            commit.block_list(archive_id, block_ids(2))
    driver.services.finalize(KEY, 6)
    assert driver.content(archive_id) == (b"onetwo" if is_same else b"twoone")


def test_last_block_counts_until_the_commit(driver):
    """The list alone orders the parts, ids differ by case, and parts are write-once."""
    archive_id, ids = driver.reserve(KEY), ["YWFh", "yWFh", "enp6"]
    for body in (b"first try", b"retry"):
        for block_id, part in zip(ids[::-1], (b"3", b"2", body), strict=True):
            driver.put_block(archive_id, block_id, part)
        driver.clock.advance(1)
    driver.services.commit.block_list(archive_id, ids)
    driver.put_block(archive_id, ids[0], b"late")
    driver.services.commit.block_list(archive_id, ids)
    assert driver.services.finalize(KEY, 7).archive_id == archive_id
    assert driver.content(archive_id) == b"retry23"


def test_block_list_with_unknown_or_too_many_blocks_is_refused(driver):
    archive_id = driver.reserve(KEY)
    driver.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidBlockList):
        driver.services.commit.block_list(archive_id, ["YQ==", "Yg=="])
    with pytest.raises(TooLarge):
        driver.services.commit.block_list(archive_id, ["YQ=="] * 50_001)
    driver.services.commit.block_list(archive_id, ["YQ=="])
    driver.services.finalize(KEY, 3)


def test_finalize_pins_newest_blob(driver):
    archive_id = driver.reserve(KEY)
    driver.put_blob(archive_id, b"first")
    driver.clock.advance(1)
    driver.put_blob(archive_id, b"second try")
    with pytest.raises(InvalidRequest):
        driver.services.finalize(KEY, 5)
    driver.services.finalize(KEY, 10)
    driver.clock.advance(1)
    driver.put_blob(archive_id, b"too late!!")
    assert driver.content(archive_id) == b"second try"


@pytest.mark.parametrize("blocks", [[], [b""], [b"", b""], None], ids=["no block", "empty block", "two", "empty blob"])
def test_empty_archive_is_one_empty_object(driver, blocks):
    if blocks is None:
        # OpenDAL really sends it.
        driver.put_blob(driver.reserve(KEY), b"")
        entry = driver.services.finalize(KEY, 0)
    else:
        entry = driver.save(KEY, *blocks)
    assert entry.size == 0
    assert driver.archive(entry.archive_id).object is not None
    assert driver.content(entry.archive_id) == b""


def test_longest_key_is_saved_and_found(driver):
    long = name("\N{GRINNING FACE}" * 512)
    driver.save(long, b"one")
    assert driver.look_up(long.key).key == long.key
    assert driver.look_up("\N{GRINNING FACE}" * 300).key == long.key
    with pytest.raises(AlreadyExists):
        driver.reserve(long)


# ------------------------------------------------------------------ append blobs


def test_wrong_size_pins_nothing_of_append_blob(driver):
    archive_id = driver.reserve(KEY)
    for piece in (b"one", b"two"):
        driver.append(archive_id, piece)
    before = driver.archive(archive_id), driver.keys(archive_id)
    with pytest.raises(InvalidRequest, match="6 bytes arrived"):
        driver.services.finalize(KEY, 5)
    assert (driver.archive(archive_id), driver.keys(archive_id)) == before


def test_block_listing_needs_manifest(driver):
    archive_id = driver.upload(KEY, b"one", b"two")
    driver.services.bucket.delete([driver.archive(archive_id).commit.manifest.key])
    with pytest.raises(NotFound, match="gone"):
        driver.services.list_blocks(archive_id)


@pytest.mark.parametrize("sealed", [True, False])
def test_late_append_changes_nothing(driver, sealed):
    archive_id = driver.reserve(KEY)
    for piece in (b"one", b"two"):
        driver.append(archive_id, piece)
    if sealed:
        driver.services.commit.seal(archive_id)
        driver.append(archive_id, b"late")
    driver.services.finalize(KEY, 6)
    driver.append(archive_id, b"later")
    driver.services.commit.seal(archive_id)
    assert driver.content(archive_id) == b"onetwo"


def test_duplicate_block_is_refused(driver):
    """A few bytes could become any number of them: 59 sent, 50,000 times named, were 2.95 MB."""
    archive_id = driver.reserve(KEY)
    driver.put_block(archive_id, "YQ==", b"one")
    driver.put_block(archive_id, "Yg==", b"two")
    for named in (["YQ=="] * 2, ["YQ==", "Yg==", "YQ=="], ["YQ=="] * 50_000):
        with pytest.raises(InvalidBlockList, match="'YQ==' twice"):
            driver.services.commit.block_list(archive_id, named)
    assert driver.archive(archive_id).commit is None
    driver.services.commit.block_list(archive_id, ["YQ==", "Yg=="])
    assert driver.services.finalize(KEY, 6).size == 6


@pytest.mark.parametrize("spelling", ["YQ", "YQ=", "YQ===", "YR==", "yq==", " YQ=="])
def test_misspelled_block_id_is_refused(driver, spelling):
    """A block that arrived once could otherwise be named twice: Python reads YR== as the byte of YQ== too."""
    archive_id = driver.reserve(KEY)
    driver.put_block(archive_id, "YQ==", b"one")
    with pytest.raises(InvalidRequest):
        driver.services.commit.block_list(archive_id, ["YQ==", spelling])
    assert driver.archive(archive_id).commit is None


def test_closed_upload_error_explains_reason(driver):
    driver.services.settings = driver.services.settings.model_copy(update={"max_open_upload_bytes": 5})
    archive_id = driver.upload(KEY, b"one", b"two")
    driver.clock.advance(300)
    driver.clean_up()
    services = driver.services
    for asked in (lambda it: services.commit.block_list(it, block_ids(2)), services.list_blocks, services.commit.seal):
        with pytest.raises(NotFound, match="MAX_OPEN_UPLOAD_BYTES"):
            asked(archive_id)
    with pytest.raises(NotFound):
        services.finalize(KEY, 6)
    assert driver.keys(archive_id) == []
    assert driver.save(KEY, b"a").archive_id != archive_id


class Writer:
    """Takes what is written, to its end."""

    written = b""

    async def write(self, key: str, size: int, body: AsyncIterator[bytes]) -> Part:
        self.written = b"".join([piece async for piece in body])
        return Part(key, size, '"etag"')


@pytest.mark.parametrize(
    "pieces", [[b"01"], [b"01", b"23"], [b"0123"], []], ids=["short", "long", "long piece", "none"]
)
async def test_chunk_of_other_length_is_never_complete(driver, pieces):
    """Its length is known only at its end, after which the store would keep it."""
    writer = Writer()
    receive = ReceivePart(writer, driver.services.clock, driver.services.tokens)

    async def body(pieces):
        for piece in pieces:
            yield piece

    await receive.chunk("x", ByteRange(0, 3), body([b"01", b"2"]))
    assert writer.written == b"012"
    with pytest.raises(InvalidRequest, match="announces 3 bytes"):
        await receive.chunk("x", ByteRange(0, 3), body(pieces))
