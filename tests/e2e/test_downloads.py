"""Downloads, in parts and merged, by every client's way of asking."""

import uuid
from typing import NamedTuple

import pytest

from dev.clients.wire import ACTIONS_CACHE, GO, Job, Reply, send


def as_client(job: Job, user_agent: str) -> Job:
    return Job(job.server, job.token, user_agent)


# ------------------------------------------------------------------ where a client is sent


def test_client_is_sent_where_it_can_read(job: Job):
    """tests/unit/http/test_private_headers.py has all clients."""
    job.save("key", b"0123456789")
    by_s3, by_server = (as_client(job, user_agent).download_url("key") for user_agent in (ACTIONS_CACHE, GO))

    assert [job.is_ours(url) for url in (by_s3, by_server)] == [False, True]
    assert send("GET", by_s3).body == b"0123456789"
    assert send("GET", by_server, headers={"x-ms-range": "bytes=3-5"}).body == b"345"


@pytest.mark.parametrize("user_agent", [ACTIONS_CACHE, GO])
def test_unmerged_archive_is_served_by_server(unmerged_job: Job, user_agent: str):
    unmerged_job.save("key", b"da", b"ta")

    url = as_client(unmerged_job, user_agent).download_url("key")

    assert unmerged_job.is_ours(url)
    assert send("GET", url).body == b"data"


def test_merge_changes_only_where_a_plain_get_leads(job: Job):
    key, url = as_client(job, GO).save_in_parts(b"0123", b"456789")
    before = send("HEAD", url)
    job.wait_until_merged(key)

    after, redirect = send("HEAD", url), send("GET", url)
    azures = send("GET", url, headers={"x-ms-range": "bytes=2-5"})
    pinned = get(url, If_Match=before.headers["ETag"], Range="bytes=2-5")

    assert redirect.status == 302
    assert redirect.headers["x-ms-request-id"]
    assert redirect.headers["Location"].startswith("http"), "a relative one stops @actions/cache"
    assert send("GET", redirect.headers["Location"]).body == b"0123456789"
    assert [(part.status, part.body) for part in (azures, pinned)] == [(206, b"2345")] * 2, "S3 ignores x-ms-range"
    for name in ("ETag", "Last-Modified", "Content-Length"):
        assert before.headers[name] == after.headers[name]
    assert azures.headers["ETag"] == before.headers["ETag"]


# ------------------------------------------------------------------ ranges

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
BLOCKS = [DATA[:1], DATA[1:1000], b"", DATA[1000:5000], DATA[5000:]]


class Ranged(NamedTuple):
    header: str
    start: int
    end: int
    """End of the range, not included."""


RANGES = [
    Ranged("bytes=0-0", 0, 1),
    Ranged("bytes=0-", 0, SIZE),
    Ranged("bytes=1-999", 1, 1000),
    Ranged("bytes=999-1000", 999, 1001),
    Ranged("bytes=5000-", 5000, SIZE),
    Ranged("bytes=-1", SIZE - 1, SIZE),
    Ranged("bytes=-6000", SIZE - 6000, SIZE),
    Ranged(f"bytes=-{SIZE * 2}", 0, SIZE),
    Ranged(f"bytes={SIZE - 1}-{SIZE * 2}", SIZE - 1, SIZE),
]


@pytest.fixture(scope="module", params=["in parts", "merged"])
def stored(request: pytest.FixtureRequest) -> str:
    """Our URL of DATA, as a client that may send x-ms-range gets it."""
    merged = request.param == "merged"
    job = Job(request.getfixturevalue("server" if merged else "unmerged_server"), user_agent=GO)
    key = f"ranges-{uuid.uuid4()}"
    job.save(key, *BLOCKS)
    if merged:
        job.wait_until_merged(key)
    return job.download_url(key)


def get(url: str, **headers: str) -> Reply:
    """Redirects followed, as clients do."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = send("GET", url, headers=headers)
    return send("GET", reply.headers["Location"], headers=headers) if reply.status == 302 else reply


@pytest.mark.parametrize("header", ["Range", "x_ms_range"])
@pytest.mark.parametrize("wanted", RANGES, ids=lambda wanted: wanted.header)
def test_range_returns_bytes_and_total(stored: str, header: str, wanted: Ranged):
    reply = get(stored, **{header: wanted.header})

    assert reply.status == 206
    assert reply.body == DATA[wanted.start : wanted.end]
    assert reply.headers["Content-Range"] == f"bytes {wanted.start}-{wanted.end - 1}/{SIZE}"
    assert reply.headers["Content-Length"] == str(wanted.end - wanted.start)


@pytest.mark.parametrize("header", ["Range", "x_ms_range"])
@pytest.mark.parametrize("unsatisfiable", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"])
def test_range_past_end_returns_416(stored: str, header: str, unsatisfiable: str):
    reply = get(stored, **{header: unsatisfiable})

    assert reply.status == 416
    assert reply.headers["Content-Range"] == f"bytes */{SIZE}"
    assert reply.headers["x-ms-request-id"]
    assert reply.headers["x-ms-error-code"] == "InvalidRange"


@pytest.mark.parametrize("ignored", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-", "bytes", ""])
def test_invalid_or_multiple_range_is_ignored(stored: str, ignored: str):
    reply = get(stored, x_ms_range=ignored)

    assert (reply.status, reply.body) == (200, DATA)


def test_x_ms_range_overrides_range(stored: str):
    reply = get(stored, Range="bytes=0-9", x_ms_range="bytes=10-19")

    assert (reply.status, reply.body) == (206, DATA[10:20])


@pytest.mark.parametrize("header", ["Range", "x_ms_range"])
def test_range_of_empty_archive_returns_416(job: Job, header: str):
    """OpenDAL learns so that an object is empty."""
    client = as_client(job, GO)
    client.save("key", b"")

    reply = get(client.download_url("key"), **{header: "bytes=0-0"})

    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */0")


# ------------------------------------------------------------------ HEAD, ETag, If-Match


def test_head_returns_size_and_etag(stored: str):
    reply = send("HEAD", stored)

    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == str(SIZE)
    for name in ("ETag", "Last-Modified", "x-ms-request-id", "Accept-Ranges", "x-ms-blob-type"):
        assert reply.headers[name], name


def test_if_match_pins_archive(stored: str):
    etag = send("HEAD", stored).headers["ETag"]

    pinned = get(stored, If_Match=etag, x_ms_range="bytes=0-9")
    other = get(stored, If_Match='"another"', x_ms_range="bytes=0-9")
    other_head = send("HEAD", stored, headers={"If-Match": '"another"'})

    assert (pinned.status, pinned.body) == (206, DATA[:10])
    assert (other.status, other.headers["x-ms-error-code"]) == (412, "ConditionNotMet")
    assert other_head.status == 412
