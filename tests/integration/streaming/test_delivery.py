"""The delivery rule under AWS's caps: `run.sh` behind Lambda Web Adapter and API Gateway, both emulated."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from dev.clients.driver import CacheDriver
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import GO, Job, read, send
from dev.emulation.api_gateway import MB, PLAIN_STREAMING, Caps, Gateway, LocalRun
from tests.guarantees.crashes.environment import wait_until
from tests.support.part_list_reader import PartListReader, read_by_list

AWS = Caps()
SMALL = AWS.scaled(sizes=1 / 20, speed=4)
"""Caps of 300 kB at once, then 8 MB/s, and a wall at 10 MB."""
WALL_FAR_OFF = replace(SMALL, max_stream=200 * MB)

BLOCKS = [os.urandom(6 * MB), os.urandom(6 * MB)]
CONTENT = b"".join(BLOCKS)
DIGEST = sha256(CONTENT).hexdigest()
HEADERS = 4096
"""More than the size of a refusal or a redirect."""

SILENCE_SECONDS = 5
"""Silence after which @actions/cache gives up."""


@pytest.fixture
def job(repository: str) -> Callable[[Gateway], Job]:
    return lambda gateway: Job(gateway.url, runtime_token(repository=repository), GO)


@pytest.fixture
def small(unmerged: LocalRun) -> Iterator[Gateway]:
    with unmerged.behind(SMALL) as gateway:
        yield gateway


def just_finalized(job: Job, *blocks: bytes) -> str:
    """Save an entry of these blocks, and return its download URL at the server: it isn't merged."""
    job.save("key", *blocks or BLOCKS)
    url = job.download_url("key")
    assert "/blobs/download/" in url
    return url


# ------------------------------------------------------------------ streams at once


def test_small_archive_streams_at_once_with_its_length(unmerged: LocalRun, job):
    blocks = os.urandom(4 * MB), os.urandom(3 * MB)
    with unmerged.behind(AWS) as gateway:
        reading = read(just_finalized(job(gateway), *blocks))
    assert (reading.status, reading.announced, reading.broken) == (200, 7 * MB, False)
    assert reading.digest == sha256(b"".join(blocks)).hexdigest()
    assert reading.longest_silence < SILENCE_SECONDS
    assert reading.ended_after >= (7 * MB - AWS.lambda_burst) / AWS.per_second - 0.2, "the gateway didn't cap it"


def test_head_has_the_length_and_moves_no_byte(unmerged: LocalRun, job):
    with unmerged.behind(AWS) as gateway:
        reply = send("HEAD", just_finalized(job(gateway)))
        assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, str(len(CONTENT)), b"")
        assert gateway.through_download.sent == 0, "the function that doesn't stream answers it"
        assert not gateway.download.environments


@pytest.mark.parametrize("header", ["Range", "x-ms-range"])
def test_short_range_of_a_long_archive_streams_at_once(small: Gateway, job, header: str):
    first, last = len(BLOCKS[0]) - 50, len(BLOCKS[0]) + 49
    reply = send("GET", just_finalized(job(small)), headers={header: f"bytes={first}-{last}"})
    assert (reply.status, reply.headers["Content-Length"]) == (206, "100")
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert reply.body == CONTENT[first : last + 1]
    assert small.through_download.sent == 100


def test_concurrent_requests_have_an_environment_each(small: Gateway, job):
    blocks = os.urandom(MB), os.urandom(MB)
    with ThreadPoolExecutor(2) as readers:
        url = just_finalized(job(small), *blocks)
        digests = {reading.digest for reading in readers.map(read, [url] * 2)}
        digests.add(read(url).digest)
    assert digests == {sha256(b"".join(blocks)).hexdigest()}
    assert len(small.download.environments) == 2


# ------------------------------------------------------------------ lists its parts


def test_part_list_of_a_long_archive_comes_at_once(small: Gateway, job):
    """It is too long to be streamed, and nothing merges it."""
    url = just_finalized(job(small))
    listed = PartListReader.of(url)
    assert listed.reply.headers["Content-Length"] == str(len(listed.reply.body))
    assert (listed.reply.headers["Vary"], listed.reply.headers["Cache-Control"]) == ("Accept", "no-store")
    assert small.through_download.sent == len(listed.reply.body) < HEADERS
    assert read_by_list(url, range_bytes=MB) == (CONTENT, len(CONTENT))
    assert small.through_download.sent < HEADERS, "no byte but the lists"


def test_part_list_of_a_merged_archive_has_its_object(small: Gateway, job, merge_all: Callable[[], object]):
    url = just_finalized(job(small))
    merge_all()
    assert len(PartListReader.of(url).parts) == 1
    assert read_by_list(url, range_bytes=MB) == (CONTENT, len(CONTENT))


# ------------------------------------------------------------------ waits, and is redirected


def test_long_download_waits_for_the_merge_and_is_redirected(small: Gateway, job, merge_all: Callable[[], object]):
    url = just_finalized(job(small))
    merge = threading.Timer(1, merge_all)
    merge.start()
    reading = read(url)
    merge.join()
    assert (reading.digest, reading.broken) == (DIGEST, False)
    assert len(reading.redirects) == 1
    assert 1 <= reading.headers_after < AWS.headers_seconds
    assert small.through_download.sent < HEADERS


def test_long_download_without_its_merge_is_to_be_retried(unmerged: LocalRun, job):
    with unmerged.behind(SMALL, {"MERGE_WAIT_SECONDS": "1"}) as gateway:
        reply = send("GET", just_finalized(job(gateway)))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert b"<Code>ServerBusy</Code>" in reply.body
        assert b"too large to be streamed" in reply.body
        assert gateway.through_download.sent < HEADERS


def test_download_within_the_wall_streams_without_its_merge(unmerged: LocalRun, job):
    slow, blocks = AWS.scaled(sizes=1 / 20), (bytes(2_300_000), bytes(2_300_000))
    with unmerged.behind(slow, {"MERGE_WAIT_SECONDS": "1"}) as gateway:
        reading = read(just_finalized(job(gateway), *blocks))
        assert reading.headers_after >= 1
        assert (reading.size, reading.broken) == (4_600_000, False)
        assert reading.longest_silence < SILENCE_SECONDS


def test_wait_beyond_api_gateways_timeout_is_its_504(unmerged: LocalRun, job):
    short = replace(SMALL, headers_seconds=1)
    with unmerged.behind(short, {"MERGE_WAIT_SECONDS": "2"}) as gateway:
        reply = send("GET", just_finalized(job(gateway)))
        assert (reply.status, json.loads(reply.body)["code"]) == (504, "deadline_exceeded")


# ------------------------------------------------------------------ no answer without a body


def test_redirect_has_a_body_so_that_it_ends(unmerged: LocalRun, job, merge_all: Callable[[], object]):
    """Also that of an empty archive."""
    with unmerged.behind(replace(SMALL, total_seconds=30)) as gateway:
        url = just_finalized(job(gateway))
        merge_all()
        job(gateway).save("empty", b"")
        empty = job(gateway).download_url("empty")
        for redirected, content in ((url, CONTENT), (empty, b"")):
            reply = send("GET", redirected)
            assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (302, "text/plain")
            assert reply.body
            whole = send("GET", reply.headers["Location"])
            assert (whole.headers["Content-Length"], whole.body) == (str(len(content)), content)
        assert send("GET", empty, headers={"x-ms-range": "bytes=0-"}).status == 416


# ------------------------------------------------------------------ never a clean end with fewer bytes


def test_plain_streaming_breaks_at_the_wall(unmerged: LocalRun, job):
    with unmerged.behind(SMALL, PLAIN_STREAMING) as gateway:
        reading = read(just_finalized(job(gateway)))
    assert (reading.status, reading.announced) == (200, len(CONTENT))
    assert (reading.size, reading.broken) == (SMALL.max_stream, True)
    assert reading.ended_after >= (SMALL.max_stream - SMALL.lambda_burst) / SMALL.per_second - 0.2


@pytest.mark.parametrize("missing", [1, 150, 235, 600])
def test_adapters_error_text_completes_no_body(unmerged: LocalRun, job, stored: CacheDriver, missing: int):
    """The last part is missing, and so short that the error text may have its exact length."""
    with unmerged.behind(WALL_FAR_OFF, PLAIN_STREAMING) as gateway:
        url = just_finalized(job(gateway), os.urandom(3 * MB), os.urandom(missing))
        archive = stored.archive(urlsplit(url).path.rpartition("/")[2])
        last = stored.services.manifests.of(archive).parts[-1]
        stored.services.bucket.delete([last.key])
        reading = read(url)
    assert (reading.status, reading.announced, reading.broken) == (200, 3 * MB + missing, True)
    assert 0 < reading.size < reading.announced


def test_crash_in_mid_stream_breaks_the_connection(unmerged: LocalRun, job):
    with unmerged.behind(WALL_FAR_OFF, PLAIN_STREAMING) as gateway:
        url = just_finalized(job(gateway), *BLOCKS, *BLOCKS)

        reading = read(url, on_first_byte=lambda: os.kill(gateway.download.environments[0].process.pid, signal.SIGKILL))
        assert (reading.status, reading.broken) == (200, True)
        assert 0 < reading.size < reading.announced
        # The emulation learns of the crash a moment later; Lambda sends no request to a dead environment.
        wait_until(lambda: not gateway.download.environments[0].is_alive)
        assert send("GET", url, headers={"Range": "bytes=0-9"}).body == CONTENT[:10]


def test_stream_beyond_its_longest_time_breaks(unmerged: LocalRun, job):
    """The grace of parts counts on it, so that no reader is cut off."""
    slow = replace(WALL_FAR_OFF, per_second=2 * AWS.per_second)
    with unmerged.behind(slow, PLAIN_STREAMING | {"MAX_STREAM_SECONDS": "1"}) as gateway:
        url = just_finalized(job(gateway), *BLOCKS, *BLOCKS)
        began = time.monotonic()
        reading = read(url)
        assert (reading.status, reading.broken) == (200, True)
        assert time.monotonic() - began >= 1
