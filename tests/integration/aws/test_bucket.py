"""The bucket port's contract (ports.Bucket)."""

import io
import time
from contextlib import suppress

import pytest

from actions_cache.domain.archive import Part
from actions_cache.domain.checksum import etag_of, etag_of_upload
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.ranges import PartRange, full_range
from actions_cache.domain.timing import SECOND
from actions_cache.ports import MultipartUpload, ObjectGone, Unavailable, UploadedPart, WriteConflict, WrongBytes
from dev.clients.wire import send


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


def test_unfinished_uploads_are_listed_by_prefix(bucket):
    """Neither those of other archives, nor those that were completed or aborted."""
    left = [bucket.start_upload(f"archives/a/merged/{run}") for run in "12"]
    bucket.upload_part(left[0], 1, b"x")
    aborted, completed = (bucket.start_upload(f"archives/a/merged/{run}") for run in "34")
    bucket.start_upload("archives/a0/merged/5")
    bucket.abort_upload(aborted)
    bucket.complete_upload(completed, [bucket.upload_part(completed, 1, b"x")])
    found = list(bucket.uploads("archives/a/"))
    assert {upload for upload, _ in found} == set(left)
    assert all(started_at <= (time.time() + 60) * SECOND for _, started_at in found)
    assert list(bucket.uploads("archives/b/")) == []


def test_listing_of_uploads_spans_pages(request, bucket):
    if request.node.callspec.params["engine"] == "moto":
        pytest.skip("moto lists all uploads in one page, and refuses to be asked for fewer")
    started = {bucket.start_upload(f"archives/many/merged/{run}") for run in range(5)}
    events = bucket._s3.meta.events
    events.register("provide-client-params.s3.ListMultipartUploads", uploads_by_two)
    try:
        assert {upload for upload, _ in bucket.uploads("archives/many/")} == started
    finally:
        events.unregister("provide-client-params.s3.ListMultipartUploads", uploads_by_two)


def uploads_by_two(params, **_):
    return {**params, "MaxUploads": 2}


def put(url, body, **headers):
    return send("PUT", url, body, headers).status


def part_url(urls, number):
    return f"{urls.part}&partNumber={number}&X-Amz-Signature={urls.signatures[number - 1]}"


@pytest.fixture
def stored(request, driver):
    """Return the emulator's bucket."""
    if request.node.callspec.params["engine"] == "moto":
        pytest.skip("presigned URLs are for others than boto3, and moto is within the process")
    return driver.services.bucket


def test_presigned_urls_fill_a_multipart_upload(stored):
    upload = stored.start_upload("archives/a/parts/direct/1")
    urls = stored.presign_uploads(upload, "archives/a/parts/blob/1", 60)
    assert stored.sent_parts(upload) == []
    for number, body in ((2, b"tail"), (1, b"M" * 5 * MIB), (1, b"M" * 5 * MIB)):
        assert put(part_url(urls, number), body) == 200
    sent = stored.sent_parts(upload)
    assert [(part.number, part.size, part.etag) for part in sent] == [
        (1, 5 * MIB, etag_of([b"M" * 5 * MIB])),
        (2, 4, etag_of([b"tail"])),
    ]
    assert send("GET", urls.look).status == 200
    stored.complete_upload(upload, [UploadedPart(part.number, part.etag) for part in sent])
    assert stored.stat(upload.key) == Part(upload.key, 5 * MIB + 4, etag_of_upload([part.etag for part in sent]) or "")
    assert put(part_url(urls, 1), b"L" * 5 * MIB) == 404, "it is over"
    assert send("GET", urls.look).status == 404
    assert stored.sent_parts(upload) is None
    assert stored.read(full_range(stored.stat(upload.key))).endswith(b"Mtail")


def test_complete_never_takes_a_part_that_came_later(stored):
    """S3 refuses then; SeaweedFS takes the part that was meant."""
    upload = stored.start_upload("archives/a/parts/direct/1")
    urls = stored.presign_uploads(upload, "archives/a/parts/blob/1", 60)
    assert put(part_url(urls, 1), b"first") == 200
    [sent] = stored.sent_parts(upload)
    assert put(part_url(urls, 1), b"other") == 200
    with suppress(Unavailable):
        stored.complete_upload(upload, [UploadedPart(1, sent.etag)])
    assert stored.stat(upload.key) in (None, Part(upload.key, 5, etag_of_upload([sent.etag]) or ""))


def test_presigned_url_opens_one_part(stored):
    upload = stored.start_upload("archives/a/parts/direct/1")
    urls = stored.presign_uploads(upload, "archives/a/parts/blob/1", 60)
    whole = part_url(urls, 1)
    others = [
        whole.replace("partNumber=1", "partNumber=2"),
        whole.replace("/direct/1", "/direct/2"),
        whole.replace("archives/a/", "archives/b/"),
        whole.replace("X-Amz-Expires=60", "X-Amz-Expires=99"),
        whole.replace(upload.upload_id, stored.start_upload("archives/a/parts/direct/1").upload_id),
        whole.replace(urls.signatures[0], urls.signatures[1]),
        urls.blob.replace("/blob/1", "/blob/2"),
    ]
    headers = dict(urls.blob_headers)
    assert {put(url, b"x", **(headers if "/blob/" in url else {})) for url in others} == {403}
    assert send("DELETE", urls.look).status == 403
    assert send("POST", urls.look, b"<CompleteMultipartUpload/>").status == 403
    assert stored.sent_parts(upload) == []


def test_presigned_put_writes_once(stored, driver):
    upload = stored.start_upload("archives/a/parts/direct/1")
    urls = stored.presign_uploads(upload, "archives/a/parts/blob/1", 60)
    headers = dict(urls.blob_headers)
    assert put(urls.blob, b"content") == 403, "without the headers that are signed"
    assert put(urls.blob, b"content", **headers | {"content-type": "text/html"}) == 403
    assert put(urls.blob, b"content", **headers) == 200
    assert put(urls.blob, b"other", **headers) == 412
    head = driver.s3.head_object(Bucket=driver.services.settings.bucket, Key="archives/a/parts/blob/1")
    assert (head["ContentLength"], head["ContentType"]) == (7, "application/octet-stream")


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
