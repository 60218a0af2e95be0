"""Bad input loses nothing on a live server, nor does an interrupted upload."""

import socket
import time
from urllib.parse import urlsplit

import pytest

from dev.clients.wire import Job, put_block, put_block_list, random_block_id, with_query
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


def test_interrupted_put_keeps_earlier_block(upload: Upload):
    url = urlsplit(with_query(upload.url, last={"comp": "block", "blockid": upload.block_id}))
    with socket.create_connection((url.hostname, url.port)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {MIB}\r\n\r\n"
        connection.sendall(head.encode() + bytes(MIB // 2))

    time.sleep(0.5)
    assert_nothing_lost(upload)
