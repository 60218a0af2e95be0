"""The bucket port's contract (ports.Bucket)."""

import io

import pytest

from actions_cache.domain.archive import Part
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.ranges import PartRange, full_range
from actions_cache.ports import MultipartUpload, ObjectGone, WriteConflict, WrongBytes


@pytest.fixture
def bucket(driver):
    return driver.services.bucket


def test_objects_are_written_once_listed_and_read(bucket):
    written = [bucket.write_once(f"archives/a/{i}", b"body %d" % i) for i in range(3)]
    bucket.write_once("archives/ab/0", b"a neighbour")
    assert list(bucket.list("archives/a/")) == written
    assert bucket.stat("archives/a/1") == written[1]
    assert bucket.read(full_range(written[2])) == b"body 2"
    assert bucket.read(PartRange(written[2], 1, 4)) == b"ody"
    with pytest.raises(WriteConflict):
        bucket.write_once("archives/a/1", b"second")


def test_missing_object_raises_object_gone(bucket):
    missing = full_range(Part("archives/missing", 1, '"etag"'))
    assert bucket.stat("archives/missing") is None
    with pytest.raises(ObjectGone):
        bucket.read(missing)
    with pytest.raises(ObjectGone):
        bucket.copy_part(bucket.start_upload("archives/merged"), 1, missing)


def test_overwritten_object_raises_object_gone(driver, bucket):
    pinned = bucket.write_once("archives/pinned", b"right")
    driver.overwrite("archives/pinned", b"wrong")
    for source in (full_range(pinned), PartRange(pinned, 1, 3)):
        with pytest.raises(ObjectGone) as gone:
            bucket.read(source)
        assert gone.value.part == pinned


def test_other_bytes_are_not_read(bucket, monkeypatch):
    """The ETag shows them, in a whole object."""
    written = bucket.write_once("archives/pinned", b"right")
    monkeypatch.setattr(bucket._s3, "get_object", lambda **_: {"Body": io.BytesIO(b"wrong")})
    with pytest.raises(WrongBytes):
        bucket.read(full_range(written))


def test_truncated_body_is_read_again(bucket, monkeypatch):
    written = bucket.write_once("archives/pinned", b"right")
    bodies = [b"ig", b"igh"]
    monkeypatch.setattr(bucket._s3, "get_object", lambda **_: {"Body": io.BytesIO(bodies.pop(0))})
    assert bucket.read(PartRange(written, 1, 4)) == b"igh"


def test_deletion_takes_many_and_missing_keys(bucket):
    keys = [bucket.write_once(f"archives/{i}", b"x").key for i in range(3)]
    bucket.delete([*keys, *(f"archives/missing-{i}" for i in range(1000))])
    bucket.delete([])
    assert list(bucket.list("archives/")) == []


def test_listing_spans_pages_and_continues_after_any_key(bucket):
    written = [bucket.write_once(f"archives/a/{number}", b"x") for number in range(5)]
    bucket.write_once("archives/b/0", b"x")
    events = bucket._s3.meta.events
    events.register("provide-client-params.s3.ListObjectsV2", pages_of_two)
    try:
        assert list(bucket.list("archives/a/")) == written
        for number, part in enumerate(written):
            assert list(bucket.list("archives/a/", part.key)) == written[number + 1 :]
        bucket.delete([part.key for part in written[:2]])
        assert list(bucket.list("archives/a/", written[1].key)) == written[2:]
    finally:
        events.unregister("provide-client-params.s3.ListObjectsV2", pages_of_two)


def pages_of_two(params, **_):
    return {**params, "MaxKeys": 2}


def test_copied_and_uploaded_parts_form_object(bucket):
    long = bucket.write_once("archives/long", b"L" * (6 * MIB))
    upload = bucket.start_upload("archives/merged")
    parts = [
        bucket.copy_part(upload, 1, full_range(long)),
        bucket.copy_part(upload, 2, PartRange(long, MIB, 6 * MIB)),
        bucket.upload_part(upload, 3, b"tail"),
    ]
    bucket.complete_upload(upload, parts)
    merged = bucket.stat("archives/merged")
    assert merged.size == 11 * MIB + 4
    assert bucket.read(PartRange(merged, merged.size - 5, merged.size)) == b"Ltail"


def test_aborted_upload_leaves_nothing(bucket, driver):
    upload = bucket.start_upload("archives/aborted")
    bucket.upload_part(upload, 1, b"x")
    bucket.abort_upload(upload)
    bucket.abort_upload(upload)
    assert bucket.stat("archives/aborted") is None
    left = driver.s3.list_multipart_uploads(Bucket=driver.services.settings.bucket, Prefix="archives/aborted")
    assert not left.get("Uploads")


def test_copy_is_pinned_by_etag(bucket, monkeypatch):
    source = bucket.write_once("archives/source", b"right")
    calls = []

    def upload_part_copy(**call):
        calls.append(call)
        return {"CopyPartResult": {"ETag": source.etag}}

    monkeypatch.setattr(bucket._s3, "upload_part_copy", upload_part_copy)
    bucket.copy_part(MultipartUpload("archives/b", "id"), 1, full_range(source))
    assert calls[0]["CopySourceIfMatch"] == source.etag


def test_objects_are_stored_as_octet_stream(bucket, driver):
    """A browser that reads the bucket must not show them as pages."""
    bucket.write_once("archives/once", b"<html>")
    upload = bucket.start_upload("archives/merged")
    bucket.complete_upload(upload, [bucket.upload_part(upload, 1, b"<html>")])
    for key in ("archives/once", "archives/merged"):
        head = driver.s3.head_object(Bucket=driver.services.settings.bucket, Key=key)
        assert head["ContentType"] == "application/octet-stream"


def test_upload_bodies_are_sent_unsigned(driver, bucket):
    """TLS and the returned ETag protect them; botocore would hash each byte of a merge once more."""
    signed: list[bytes] = []
    events = driver.services.bucket._s3.meta.events

    def note(request, **_):
        signed.append(request.headers["X-Amz-Content-SHA256"])

    events.register_first("before-send.s3.UploadPart", note)
    try:
        bucket.upload_part(bucket.start_upload("archives/merged"), 1, b"body")
    finally:
        events.unregister("before-send.s3.UploadPart", note)
    assert signed == [b"UNSIGNED-PAYLOAD"]
