"""Bad input loses nothing on a live server, nor do an interrupted upload and an expired URL."""

import socket
import time
from urllib.parse import urlsplit

import pytest

from dev.clients.wire import Job, put_blob, put_block, put_block_list, random_block_id, send, with_query
from tests.e2e.conftest import IMPATIENT_SECONDS
from tests.support.bad_requests import (
    BLOBS,
    CALLS,
    DATA,
    KEY,
    MIB,
    SAVED,
    SAVED_KEY,
    Upload,
    azure_refusal,
    twirp_refusal,
)


@pytest.fixture
def upload(job: Job) -> Upload:
    job.save(SAVED_KEY, SAVED)
    entry_url = Job(job.server, job.token, "curl").download_url(SAVED_KEY)
    upload = Upload(job, job.reserve(KEY), random_block_id(), entry_url)
    assert put_block(upload.url, upload.block_id, DATA).status == 201
    return upload


def assert_nothing_lost(upload: Upload) -> None:
    assert put_block_list(upload.url, [upload.block_id]).status == 201
    assert upload.job.finalize(KEY, len(DATA)).json["ok"]
    assert upload.job.restore(KEY).body == DATA
    assert upload.job.restore(SAVED_KEY).body == SAVED


def test_bad_requests_are_refused_and_lose_nothing(upload: Upload):
    """Each of them is a case of its own in tests/unit/api/test_bad_input.py."""
    expected, refused = {}, {}
    for table, refusal in ((CALLS, twirp_refusal), (BLOBS, azure_refusal)):
        for name, (attempt, *status_and_code) in table.items():
            expected[name] = tuple(status_and_code)
            refused[name] = refusal(attempt(upload))

    assert refused == expected
    assert_nothing_lost(upload)


def test_second_block_list_after_commit_is_refused(upload: Upload):
    assert put_block_list(upload.url, [upload.block_id]).status == 201

    refused = put_block_list(upload.url, [upload.block_id] * 2)

    assert (refused.status, refused.headers["x-ms-error-code"]) == (409, "BlobAlreadyExists")
    assert_nothing_lost(upload)


def test_interrupted_put_keeps_earlier_block(upload: Upload):
    url = urlsplit(with_query(upload.url, last={"comp": "block", "blockid": upload.block_id}))
    with socket.create_connection((url.hostname, url.port)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {MIB}\r\n\r\n"
        connection.sendall(head.encode() + bytes(MIB // 2))

    time.sleep(0.5)
    assert_nothing_lost(upload)


def test_expired_url_is_refused_and_replaceable(impatient_job: Job):
    impatient_job.save("saved", DATA)
    download = Job(impatient_job.server, impatient_job.token, "curl").download_url("saved")
    upload = impatient_job.reserve(KEY)
    time.sleep(IMPATIENT_SECONDS + 1)

    for reply in (put_blob(upload, DATA), put_block_list(upload, []), send("GET", download)):
        assert (reply.status, reply.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
        assert b"expired" in reply.body
    impatient_job.save(KEY, DATA)
    assert impatient_job.restore(KEY).body == DATA
    assert impatient_job.restore("saved").body == DATA
