"""Direct uploads: blocks that go straight into the bucket, and the object that their block list makes of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from moto.s3 import models as moto_s3

from actions_cache.domain import direct_upload
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.budgets import Tally
from actions_cache.domain.errors import AlreadyExists, CommittedDifferently, InvalidBlockList, InvalidRequest, NotFound
from actions_cache.events import BYTES_DIRECT, BYTES_UP
from actions_cache.ports import MultipartUpload, Unavailable, WrongBytes
from dev.clients.driver import CacheDriver, block_ids, counted_ids, fail, name
from tests.support.fakes import RecordingTelemetry

KEY = name("linux-npm-1")
LEAST = 100
"""Least bytes of a part, for these tests; S3's are 5 MiB."""
BLOCKS = (b"a" * LEAST, b"b" * LEAST, b"tail")
CONTENT = b"".join(BLOCKS)
IDS = counted_ids(len(BLOCKS))


@pytest.fixture(autouse=True)
def fresh(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take short parts, and abort what earlier tests left."""
    monkeypatch.setattr(direct_upload, "MIN_UPLOAD_PART_BYTES", LEAST)
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", LEAST)
    bucket = driver.services.settings.bucket
    for upload in driver.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
        driver.s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def sent(driver: CacheDriver, *blocks: bytes) -> str:
    archive_id = driver.reserve_direct(KEY)
    for number, block in enumerate(blocks or BLOCKS, 1):
        driver.put_part(archive_id, number, block)
    return archive_id


def upload_of(driver: CacheDriver, archive_id: str) -> MultipartUpload:
    direct = driver.archive(archive_id).direct
    assert direct is not None
    return MultipartUpload.of(direct)


def uploads(driver: CacheDriver) -> list[str]:
    listed = driver.s3.list_multipart_uploads(Bucket=driver.services.settings.bucket)
    return [upload["UploadId"] for upload in listed.get("Uploads", ())]


def test_direct_upload_is_one_object_at_finalize(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    assert driver.look_up(KEY.key) is None
    driver.services.telemetry = telemetry = RecordingTelemetry()
    driver.services.commit.block_list(archive_id, IDS)
    entry = driver.services.finalize(KEY, len(CONTENT))
    archive = driver.archive(archive_id)
    assert telemetry.counted(BYTES_DIRECT) == telemetry.counted(BYTES_UP) == [len(CONTENT)]
    [tally] = driver.services.repositories.tallies(KEY.family.repository, 0).values()
    assert tally == Tally(misses=1, saves=1, bytes_saved=len(CONTENT), bytes_direct=len(CONTENT))
    assert (archive.object.size, archive.commit.part_count, archive.direct) == (len(CONTENT), 1, None)
    assert archive.merge.state is MergeState.UNMERGED
    assert driver.messages() == []
    assert driver.content(archive_id) == CONTENT
    assert len(driver.keys(archive_id)) == 1
    hit = driver.look_up(KEY.key)
    assert hit.entry == entry
    assert "X-Amz-Signature" in hit.url
    assert driver.services.repositories.usage(KEY.family.repository).bytes == len(CONTENT)


def test_direct_entry_outlives_its_sweep(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    driver.services.commit.block_list(archive_id, IDS)
    driver.services.finalize(KEY, len(CONTENT))
    driver.clock.advance(7201)
    assert driver.clean_up()["sweep"] == 1
    assert driver.content(archive_id) == CONTENT
    driver.clock.advance(30 * 24 * 3600)
    driver.clean_up()
    driver.clock.advance(24 * 3600)
    driver.clean_up()
    assert driver.services.table.archive(archive_id) is None
    assert driver.keys(archive_id) == []


def test_same_block_list_may_come_again_and_no_other(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    for _ in range(2):
        driver.services.commit.block_list(archive_id, IDS)
    with pytest.raises(CommittedDifferently):
        driver.services.commit.block_list(archive_id, IDS[:2])
    driver.services.finalize(KEY, len(CONTENT))
    driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT


def test_wrong_size_changes_nothing(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    driver.services.commit.block_list(archive_id, IDS)
    with pytest.raises(InvalidRequest, match=f"{len(CONTENT)} bytes arrived"):
        driver.services.finalize(KEY, len(CONTENT) - 1)
    driver.services.finalize(KEY, len(CONTENT))


def test_block_sent_again_replaces_the_first(driver: CacheDriver) -> None:
    archive_id = sent(driver, b"x" * LEAST, *BLOCKS[1:])
    driver.put_part(archive_id, 1, BLOCKS[0])
    driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT


def test_block_that_isnt_listed_is_left_out(driver: CacheDriver) -> None:
    archive_id = sent(driver, *BLOCKS, b"more")
    driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT


def test_late_block_changes_nothing(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    upload = upload_of(driver, archive_id)
    driver.services.commit.block_list(archive_id, IDS)
    with pytest.raises(Unavailable):
        driver.services.bucket.upload_part(upload, 1, b"x" * LEAST)
    assert driver.content(archive_id) == CONTENT


REFUSED = {
    "a block never came": (BLOCKS[:2], IDS, "didn't go straight"),
    "other order": (BLOCKS, [IDS[1], IDS[0], IDS[2]], "in order"),
    "a gap": (BLOCKS, [IDS[0], IDS[2]], "in order"),
    "not from the beginning": (BLOCKS, IDS[1:], "in order"),
    "twice": (BLOCKS, [*IDS, IDS[2]], "in order"),
    "nothing": (BLOCKS, [], "empty"),
    "ids of another form": (BLOCKS, block_ids(3), "in order"),
    "ids that aren't base64": (BLOCKS, ["?", *IDS[1:]], "in order"),
    "ids of two uploads": (BLOCKS, [*IDS[:2], counted_ids(3, "1" * 36)[2]], "in order"),
    "a short block": ((b"a" * (LEAST - 1), *BLOCKS[1:]), IDS, "all blocks but the last"),
}


@pytest.mark.parametrize(("blocks", "ids", "why"), REFUSED.values(), ids=REFUSED)
def test_list_that_doesnt_fit_is_refused(
    driver: CacheDriver, blocks: tuple[bytes, ...], ids: list[str], why: str
) -> None:
    archive_id = sent(driver, *blocks)
    before = driver.archive(archive_id)
    with pytest.raises(InvalidBlockList, match=why):
        driver.services.commit.block_list(archive_id, ids)
    assert driver.archive(archive_id) == before
    assert driver.keys(archive_id) == []


def test_ways_are_never_mixed(driver: CacheDriver) -> None:
    archive_id = sent(driver, *BLOCKS[:2])
    driver.put_block(archive_id, IDS[2], BLOCKS[2])
    with pytest.raises(InvalidBlockList, match="one way"):
        driver.services.commit.block_list(archive_id, IDS)


def test_unused_direct_upload_is_aborted_by_the_sweep(driver: CacheDriver) -> None:
    """A small archive, or a hook that couldn't reach S3."""
    archive_id = driver.reserve_direct(KEY)
    for block_id, block in zip(IDS, BLOCKS, strict=True):
        driver.put_block(archive_id, block_id, block)
    driver.services.commit.block_list(archive_id, IDS)
    driver.services.finalize(KEY, len(CONTENT))
    assert driver.archive(archive_id).commit.part_count == 3
    assert len(uploads(driver)) == 1
    driver.clock.advance(7201)
    driver.clean_up()
    assert uploads(driver) == []
    assert driver.content(archive_id) == CONTENT


def test_dead_clients_upload_is_aborted_when_its_reservation_ends(driver: CacheDriver) -> None:
    archive_id = sent(driver, *BLOCKS[:2])
    driver.clock.advance(3600)
    driver.clean_up()
    assert driver.archive(archive_id).state is ArchiveState.DELETED
    assert uploads(driver) == []
    driver.clock.advance(3601)
    driver.clean_up()
    assert driver.services.table.archive(archive_id) is None


def test_part_that_ends_after_the_abort_is_aborted_too(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 may keep a part that was on its way: https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html."""
    sent(driver)
    aborted: list[MultipartUpload] = []
    monkeypatch.setattr(driver.services.bucket, "abort_upload", aborted.append)
    driver.clock.advance(3600)
    driver.clean_up()
    driver.clock.advance(3601)
    driver.clean_up()
    assert len(aborted) == 2


def test_too_much_in_a_direct_upload_closes_it(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    clean_up = replace(driver.services.clean_up, open_upload_bytes=len(CONTENT) - 1)
    driver.clock.advance(300)
    clean_up(lambda: 600_000)
    assert driver.archive(archive_id).closed_at
    clean_up(lambda: 600_000)
    assert uploads(driver) == []
    with pytest.raises(NotFound, match="closed"):
        driver.services.commit.block_list(archive_id, IDS)


def test_reserved_key_leaves_no_upload(driver: CacheDriver) -> None:
    driver.reserve(KEY)
    with pytest.raises(AlreadyExists):
        driver.reserve_direct(KEY)
    assert uploads(driver) == []


@pytest.mark.parametrize("broken", ["start_upload", "presign_uploads"])
def test_save_goes_by_the_edge_without_s3(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    driver.services.telemetry = telemetry = RecordingTelemetry()
    monkeypatch.setattr(driver.services.bucket, broken, lambda *_: fail(Unavailable("no S3")))
    path, urls = driver.services.reserve.with_direct(KEY, None, "https://cache.example.com")
    assert path.startswith("/blobs/upload/")
    assert urls is None
    assert uploads(driver) == []
    assert [event.fields["fall"] for event in telemetry.events if "fall" in event.fields] == ["unavailable"]


def test_store_that_a_client_cant_reach_is_not_offered(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = driver.services.reserve.with_direct(name("other"), None, "https://cache.example.com")[1]
    assert urls is not None
    there = replace(urls, look=urls.look.replace("https://", "http://127.0.0.1/"))
    monkeypatch.setattr(driver.services.bucket, "presign_uploads", lambda *_: there)
    assert driver.services.reserve.with_direct(KEY, None, "https://cache.example.com")[1] is None
    assert len(uploads(driver)) == 1


def test_one_put_to_the_direct_url_is_a_put_blob(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    presign = driver.services.bucket.presign_uploads

    def presigned(upload: MultipartUpload, blob_key: str, seconds: int) -> object:
        keys.append(blob_key)
        return presign(upload, blob_key, seconds)

    monkeypatch.setattr(driver.services.bucket, "presign_uploads", presigned)
    archive_id = driver.reserve_direct(KEY)
    driver.services.bucket.write_once(keys[0], b"content")
    driver.services.finalize(KEY, 7)
    assert driver.content(archive_id) == b"content"
    driver.clock.advance(7201)
    driver.clean_up()
    assert driver.content(archive_id) == b"content"


# ---------------------------------------------------------------- crashes, and answers that are lost


def dies_after(method: Callable[..., object]) -> Callable[..., None]:
    def call(*given: object) -> None:
        method(*given)
        raise SystemExit

    return call


def dies_before(_: object) -> Callable[..., None]:
    return lambda *_: fail(SystemExit())


def crashed_at_complete(
    driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, dies: Callable[..., Callable[..., None]]
) -> str:
    """Send an archive whose block list's process dies as it completes the upload; return the archive's id."""
    archive_id = sent(driver)
    bucket = driver.services.bucket
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(bucket, "complete_upload", dies(bucket.complete_upload))
        driver.services.commit.block_list(archive_id, IDS)
    return archive_id


@pytest.mark.parametrize("dies", [dies_before, dies_after])
def test_crash_around_complete_is_mended_by_the_next_list(
    driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, dies: Callable[..., Callable[..., None]]
) -> None:
    archive_id = crashed_at_complete(driver, monkeypatch, dies)
    with pytest.raises(InvalidRequest, match="no block list"):
        driver.services.finalize(KEY, len(CONTENT))
    for other in (counted_ids(3, "2" * 36), IDS[:2]):
        with pytest.raises(CommittedDifferently):
            driver.services.commit.block_list(archive_id, other)
    driver.services.commit.block_list(archive_id, IDS)
    driver.services.finalize(KEY, len(CONTENT))
    assert driver.content(archive_id) == CONTENT


@pytest.mark.parametrize("dies", [dies_before, dies_after])
def test_crash_that_nobody_mends_leaves_nothing(
    driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, dies: Callable[..., Callable[..., None]]
) -> None:
    archive_id = crashed_at_complete(driver, monkeypatch, dies)
    for _ in range(2):
        driver.clock.advance(3601)
        driver.clean_up()
    assert (driver.keys(archive_id), uploads(driver)) == ([], [])
    assert driver.services.table.archive(archive_id) is None


def test_lost_answer_of_complete_is_looked_up(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_id = sent(driver)
    bucket = driver.services.bucket
    complete = bucket.complete_upload

    def lost(*given: object) -> None:
        complete(*given)  # type: ignore[arg-type]
        raise Unavailable("timeout")

    monkeypatch.setattr(bucket, "complete_upload", lost)
    driver.services.commit.block_list(archive_id, IDS)
    driver.services.finalize(KEY, len(CONTENT))
    assert driver.content(archive_id) == CONTENT


def test_failed_complete_commits_nothing(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_id = sent(driver)
    bucket = driver.services.bucket
    with monkeypatch.context() as patch, pytest.raises(Unavailable, match="timeout"):
        patch.setattr(bucket, "complete_upload", lambda *_: fail(Unavailable("timeout")))
        driver.services.commit.block_list(archive_id, IDS)
    assert driver.archive(archive_id).commit is None
    driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT


def test_upload_that_is_gone_without_its_object_commits_nothing(driver: CacheDriver) -> None:
    archive_id = sent(driver)
    bucket, upload = driver.services.bucket, upload_of(driver, archive_id)
    complete = bucket.complete_upload
    bucket.complete_upload = lambda *_: bucket.abort_upload(upload)  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Unavailable, match="isn't there"):
            driver.services.commit.block_list(archive_id, IDS)
    assert driver.archive(archive_id).commit is None
    bucket.complete_upload = complete  # type: ignore[method-assign]


def test_other_bytes_after_the_list_are_refused(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was completed is what the list found, or nothing."""
    archive_id = sent(driver)
    bucket = driver.services.bucket
    complete = bucket.complete_upload

    def raced(*given: object) -> None:
        driver.put_part(archive_id, 2, b"c" * LEAST)
        complete(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(bucket, "complete_upload", raced)
        driver.services.commit.block_list(archive_id, IDS)
    with pytest.raises(CommittedDifferently, match="other bytes"):
        driver.services.commit.block_list(archive_id, IDS)
    driver.put_part(archive_id, 2, BLOCKS[1])
    driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT


def test_object_of_other_bytes_is_never_committed(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_id = sent(driver)
    upload = upload_of(driver, archive_id)
    monkeypatch.setattr(
        driver.services.bucket, "complete_upload", lambda *_: driver.overwrite(upload.key, CONTENT[::-1])
    )
    with pytest.raises(WrongBytes):
        driver.services.commit.block_list(archive_id, IDS)
    assert driver.archive(archive_id).commit is None


def test_two_lists_at_once_commit_one(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_id = sent(driver)
    bucket = driver.services.bucket
    listed = bucket.sent_parts

    def raced(upload: MultipartUpload) -> object:
        found = listed(upload)
        monkeypatch.setattr(bucket, "sent_parts", listed)
        driver.services.commit.block_list(archive_id, IDS[:2])
        return found

    monkeypatch.setattr(bucket, "sent_parts", raced)
    with pytest.raises(CommittedDifferently):
        driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT[: 2 * LEAST]


def test_list_that_is_noted_first_wins(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first list's process dies before it completes the upload, while the second list is under way."""
    archive_id = sent(driver)
    bucket = driver.services.bucket
    listed = bucket.sent_parts

    def raced(upload: MultipartUpload) -> object:
        found = listed(upload)
        monkeypatch.setattr(bucket, "sent_parts", listed)
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(bucket, "complete_upload", lambda *_: fail(SystemExit()))
            driver.services.commit.block_list(archive_id, IDS)
        return found

    monkeypatch.setattr(bucket, "sent_parts", raced)
    with pytest.raises(CommittedDifferently):
        driver.services.commit.block_list(archive_id, IDS[:2])
    driver.services.commit.block_list(archive_id, IDS)
    assert driver.content(archive_id) == CONTENT


@pytest.mark.parametrize("moment", ["sent_parts", "complete_upload"])
def test_removed_upload_is_not_committed(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Its reservation ends while the block list is under way."""
    archive_id = sent(driver)
    usual = getattr(driver.services.bucket, moment)

    def late(*given: object) -> object:
        found = usual(*given)
        monkeypatch.setattr(driver.services.bucket, moment, usual)
        driver.clock.advance(3600)
        driver.clean_up()
        return found

    with monkeypatch.context() as patch, pytest.raises((NotFound, Unavailable)):
        patch.setattr(driver.services.bucket, moment, late)
        driver.services.commit.block_list(archive_id, IDS)
    driver.clock.advance(3601)
    driver.clean_up()
    assert (driver.keys(archive_id), uploads(driver)) == ([], [])


def test_etags_that_arent_md5s_are_refused(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_id = sent(driver)
    bucket = driver.services.bucket
    listed = bucket.sent_parts
    monkeypatch.setattr(
        bucket, "sent_parts", lambda upload: [replace(part, etag='"kms-1"') for part in listed(upload) or ()]
    )
    with pytest.raises(WrongBytes, match="MD5"):
        driver.services.commit.block_list(archive_id, IDS)
