"""Full speed: a stream never waits for a merge, and a reader is sent where it gets its bytes the soonest."""

import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from actions_cache.archives import Manifests, transition
from actions_cache.aws.s3_stream import S3Stream
from actions_cache.domain.archive import Archive, Manifest
from actions_cache.domain.delivery import StreamLimits
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.ranges import PartRange
from actions_cache.events import TIME_TO_FIRST_BYTE
from actions_cache.ports import Chunk
from dev.clients.driver import CacheDriver, plenty
from dev.services import AllServices
from tests.guarantees.faults.environment import KEY, download_url, part_keys
from tests.guarantees.seed_case import FedByTheMerge, SeedCase, deletes_parts_inline
from tests.integration.local_run.local_run import wait_until
from tests.support.fakes import RecordingTelemetry

PARTS = [bytes([i]) * (6 * MIB) for i in range(5)]
CONTENT = b"".join(PARTS)


# ------------------------------------------------------------------ the seed case


def test_readers_never_wait_for_the_single_merge(on_emulators: CacheDriver):
    """Eight readers of an unmerged entry get every byte while it is merged."""
    SeedCase(on_emulators).run()


@pytest.mark.slow
def test_seed_case_notices_parts_deleted_inline(on_emulators: CacheDriver):
    with pytest.raises(AssertionError, match="readers cut off: 13 parts were gone"):
        SeedCase(on_emulators, break_merge=deletes_parts_inline).run()


@pytest.mark.slow
def test_seed_case_notices_readers_fed_by_the_merge(on_emulators: CacheDriver):
    with pytest.raises(AssertionError, match="full speed: 7 readers waited"):
        SeedCase(on_emulators, break_reader=FedByTheMerge, timeout_seconds=2).run()


# ------------------------------------------------------------------ streams


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[PartRange]:
    """Record the ranges that streams request from the store, in order."""
    ranges: list[PartRange] = []
    read = S3Stream.read

    def recording(self: S3Stream, source: PartRange) -> AsyncGenerator[Chunk, None]:
        ranges.append(source)
        return read(self, source)

    monkeypatch.setattr(S3Stream, "read", recording)
    return ranges


def test_only_what_is_read_is_requested(
    on_emulators: CacheDriver, get, requested: list[PartRange], monkeypatch: pytest.MonkeyPatch
):
    """The first part beside the manifest: the reader would otherwise wait for two answers, one after the other."""
    keys = part_keys(on_emulators, on_emulators.save(KEY, *PARTS).archive_id)
    read_manifest = Manifests.of

    def once_requested(self: Manifests, archive: Archive) -> Manifest:
        wait_until(lambda: requested)
        return read_manifest(self, archive)

    with download_url(on_emulators) as url:
        assert get(url, Range=f"bytes={7 * MIB}-{8 * MIB - 1}").read() == PARTS[1][:MIB]
        assert [source.part.key for source in requested] == keys[1:2]
        requested.clear()
        monkeypatch.setattr(Manifests, "of", once_requested)
        assert get(url).read() == CONTENT
    assert requested[0].part.key == keys[0]
    assert len(set(requested)) == len(requested), "nothing twice"


def test_archive_of_an_older_release_is_streamed(on_emulators: CacheDriver, get):
    """The commit of such an archive doesn't name its first part, which is requested once the manifest is read."""
    entry = on_emulators.save(KEY, *PARTS)

    def as_before(seen: Archive) -> Archive:
        assert seen.commit is not None
        return replace(seen, commit=replace(seen.commit, first_part=None))

    assert transition(on_emulators.services.table, entry.archive_id, as_before)
    with download_url(on_emulators) as url:
        assert get(url).read() == CONTENT


def test_time_to_first_byte_is_emitted_once(on_emulators: CacheDriver, get, monkeypatch: pytest.MonkeyPatch):
    """It counts from the request on."""
    telemetry, read = RecordingTelemetry(), Manifests.of

    def read_slowly(self: Manifests, archive: Archive) -> Manifest:
        on_emulators.clock.advance(2)
        return read(self, archive)

    on_emulators.save(KEY, *PARTS)
    with download_url(on_emulators, telemetry=telemetry) as url:
        monkeypatch.setattr(Manifests, "of", read_slowly)
        assert get(url).read() == CONTENT
    assert telemetry.counted(TIME_TO_FIRST_BYTE) == [2000]


def test_first_download_claims_an_unclaimed_merge(on_emulators: CacheDriver, get):
    settings = on_emulators.services.settings.model_copy(update={"merge_trigger": "first-download"})
    services = AllServices(settings, on_emulators.clock)
    services.session = on_emulators.services.session
    lazy = replace(on_emulators, services=services)
    lazy.save(KEY, *PARTS)
    assert lazy.messages() == []
    with download_url(lazy) as url:
        assert [get(url).read() == CONTENT for _ in range(2)] == [True, True]
    assert len(lazy.messages()) == 1


# ------------------------------------------------------------------ merged objects

LAMBDA = StreamLimits(max_bytes=8 * MIB, burst_bytes=6 * MIB, bytes_per_second=2 * MIB)


def test_merged_archive_is_redirected_to(on_emulators: CacheDriver, get):
    """S3 itself would ignore x-ms-range, so a request with it is streamed."""
    on_emulators.save(KEY, *PARTS)
    on_emulators.merge_all()
    with download_url(on_emulators) as url:
        redirected = get(url)
        assert redirected.status == 302
        assert get(redirected.headers["Location"]).read() == CONTENT
        ranged = get(url, x_ms_range="bytes=1000-", Range="bytes=5-6")
        content_range = f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"
        assert (ranged.status, ranged.headers["Content-Range"]) == (206, content_range)
        assert ranged.read() == CONTENT[1000:]


def test_download_waits_for_the_merge_where_streaming_is_slow(on_emulators: CacheDriver, get):
    on_emulators.save(KEY, *PARTS)
    on_emulators.clock.now = lambda: time.time_ns() // 10**6  # type: ignore[method-assign]
    with download_url(on_emulators, limits=LAMBDA) as url:
        [message] = on_emulators.messages()
        merge = threading.Timer(1, on_emulators.services.merge, [message, plenty])
        merge.start()
        began = time.monotonic()
        assert get(url).status == 302
        assert 1 <= time.monotonic() - began < 10
        merge.join()


def test_download_is_refused_for_now_if_the_merge_is_late(on_emulators: CacheDriver, get):
    """A short range can be streamed all the same."""
    on_emulators.save(KEY, *PARTS)
    on_emulators.clock.now = lambda: time.time_ns() // 10**6  # type: ignore[method-assign]
    with download_url(on_emulators, limits=LAMBDA, merge_wait_seconds=1) as url:
        answer = get(url)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        small = get(url, x_ms_range="bytes=0-99")
        assert (small.status, small.read()) == (206, CONTENT[:100])


def test_edge_serves_long_ranges_and_the_function_short_ones(on_emulators: CacheDriver, get):
    """Lambda could stream the long one only slowly or not at all, and S3 itself would ignore x-ms-range."""
    on_emulators.save(KEY, *PARTS)
    on_emulators.merge_all()
    with download_url(on_emulators, limits=LAMBDA) as url:
        edge = {"x_viewer_host": "cache.example.org"}
        short = get(url, x_ms_range=f"bytes=0-{6 * MIB - 1}", **edge)
        long = get(url, x_ms_range=f"bytes=0-{6 * MIB}", **edge)
        assert (short.status, short.read() == CONTENT[: 6 * MIB]) == (206, True)
        assert long.status == 302
        assert long.headers["Location"].startswith("http://cache.example.org/blobs/object/")
        assert get(url, x_ms_range=f"bytes=0-{8 * MIB}").status == 503, "no edge, and more than can be streamed"
