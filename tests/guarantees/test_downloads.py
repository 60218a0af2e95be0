"""Over HTTP, on a real store: right bytes or a broken connection, and no reader is cut off."""

import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import urllib3

from actions_cache.archives import Manifests, transition
from actions_cache.aws.s3_stream import S3Stream
from actions_cache.domain.archive import Archive, Manifest
from actions_cache.domain.delivery import StreamLimits
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.ranges import PartRange
from actions_cache.download_services import DownloadServices
from actions_cache.events import TIME_TO_FIRST_BYTE
from actions_cache.ports import Chunk
from dev.services import AllServices
from functions.download.handler import create_app
from tests.integration.local_run.local_run import wait_until
from tests.support.journey import Journey, name, plenty
from tests.support.serving import served
from tests.support.told import Told

KEY = name("npm-1")
PARTS = [bytes([i]) * (6 * MIB) for i in range(5)]
CONTENT = b"".join(PARTS)
SIZE = len(CONTENT)


@contextmanager
def downloads(journey: Journey, **changes: object) -> Iterator[str]:
    """The download function on a port; `changes` are fields of its use case."""
    data = DownloadServices(journey.services)
    data.download = replace(data.download, **changes)  # type: ignore[arg-type]
    with served(create_app(data)) as base_url:
        yield base_url


@pytest.fixture
def get() -> Iterator[Callable[..., urllib3.BaseHTTPResponse]]:
    with urllib3.PoolManager() as http:

        def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
            named = {header.replace("_", "-"): value for header, value in headers.items()}
            return http.request("GET", url, headers=named, redirect=False, retries=False, preload_content=False)

        yield get


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[PartRange]:
    """What streams ask the store for, in order."""
    ranges: list[PartRange] = []
    read = S3Stream.read

    def noting(self: S3Stream, source: PartRange) -> AsyncGenerator[Chunk, None]:
        ranges.append(source)
        return read(self, source)

    monkeypatch.setattr(S3Stream, "read", noting)
    return ranges


def url_of(journey: Journey, base_url: str) -> str:
    hit = journey.look_up(KEY.key, user_agent="Go-http-client/1.1")
    assert hit is not None
    return base_url + hit.url


def part_keys(journey: Journey, archive_id: str) -> list[str]:
    return [part.key for part in journey.services.manifests.of(journey.archive(archive_id)).parts]


def test_a_part_that_is_gone_breaks_the_connection_and_the_next_lookup_misses(on_engines, get):
    entry = on_engines.save(KEY, *PARTS)
    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        on_engines.services.bucket.delete([part_keys(on_engines, entry.archive_id)[-1]])
        answer = get(url)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.read()
    assert on_engines.look_up(KEY.key) is None
    on_engines.save(KEY, b"the key is free again")


def test_a_part_replaced_by_other_bytes_of_its_length_is_never_given(on_engines, get):
    entry = on_engines.save(KEY, *PARTS)
    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        on_engines.overwrite(part_keys(on_engines, entry.archive_id)[2], b"X" * (6 * MIB))
        with pytest.raises(urllib3.exceptions.ProtocolError):
            get(url).read()
    assert on_engines.look_up(KEY.key) is None


def test_an_archive_whose_first_part_is_gone_is_no_archive(on_engines, get):
    """Found before the first byte, so it is said with a status."""
    entry = on_engines.save(KEY, *PARTS)
    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        on_engines.services.bucket.delete([part_keys(on_engines, entry.archive_id)[0]])
        assert get(url).status == 404
        assert get(url).status == 404


def test_an_archive_whose_manifest_is_gone_is_no_archive(on_engines, get):
    """Though its first part, of more ranges than are read ahead, is asked for meanwhile."""
    entry = on_engines.save(KEY, *PARTS)
    commit = on_engines.archive(entry.archive_id).commit
    with downloads(on_engines, read_ahead_bytes=MIB) as base_url:
        url = url_of(on_engines, base_url)
        on_engines.services.bucket.delete([commit.manifest.key])
        assert get(url).status == 404
    assert on_engines.look_up(KEY.key) is None


def test_the_first_part_is_asked_for_while_the_manifest_is_read(on_engines, get, asked, monkeypatch):
    """Or a reader waits for two answers of the store, one after the other."""
    entry = on_engines.save(KEY, *PARTS)
    read_manifest = Manifests.of

    def when_asked(self: Manifests, archive: Archive) -> Manifest:
        wait_until(lambda: asked)
        return read_manifest(self, archive)

    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        monkeypatch.setattr(Manifests, "of", when_asked)
        assert get(url).read() == CONTENT
    assert asked[0].part.key == part_keys(on_engines, entry.archive_id)[0]
    assert len(set(asked)) == len(asked), "nothing twice"


def test_a_range_behind_the_first_part_asks_for_nothing_of_it(on_engines, get, asked):
    entry = on_engines.save(KEY, *PARTS)
    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        assert get(url, Range=f"bytes={7 * MIB}-{8 * MIB - 1}").read() == PARTS[1][:MIB]
    assert [source.part.key for source in asked] == part_keys(on_engines, entry.archive_id)[1:2]


def test_an_archive_that_an_older_release_committed_is_read_once_its_manifest_is(on_engines, get):
    entry = on_engines.save(KEY, *PARTS)

    def as_before(seen: Archive) -> Archive:
        assert seen.commit is not None
        return replace(seen, commit=replace(seen.commit, first_part=None))

    assert transition(on_engines.services.table, entry.archive_id, as_before)
    with downloads(on_engines) as base_url:
        assert get(url_of(on_engines, base_url)).read() == CONTENT


def test_a_reader_whose_parts_went_goes_on_with_the_merged_object(on_engines, get):
    """Should a grace ever be too short, the bytes are still the archive's."""
    entry = on_engines.save(KEY, *PARTS)
    with downloads(on_engines) as base_url:
        answer = get(url_of(on_engines, base_url))
        begun = answer.read(MIB)
        on_engines.merge_all()
        on_engines.services.bucket.delete(part_keys(on_engines, entry.archive_id))
        assert begun + answer.read() == CONTENT
    assert on_engines.look_up(KEY.key) is not None


def test_readers_of_a_removed_entry_finish_in_its_grace_and_nobody_starts_after_it(on_engines, get):
    entry = on_engines.save(KEY, *PARTS)
    on_engines.merge_all()
    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        on_engines.services.remove_entry(entry.archive_id, lambda _: True)
        on_engines.clean_up()
        assert get(url, x_ms_range="bytes=0-").read() == CONTENT
        on_engines.clock.advance(on_engines.services.settings.grace_seconds)
        assert get(url).status == 403


def test_a_stream_ends_with_its_permitted_time_by_breaking(on_engines, get):
    """No reader is cut off: the grace counts on it."""
    on_engines.save(KEY, *[b"x" * (20 * MIB)] * 3)
    settings = on_engines.services.settings.model_copy(update={"max_stream_seconds": 1})
    services = AllServices(settings, on_engines.clock)
    services.session = on_engines.services.session
    with served(create_app(DownloadServices(services))) as base_url:
        answer = get(url_of(on_engines, base_url))
        answer.read(MIB)
        time.sleep(2)
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.read()


def test_a_merged_archive_is_redirected_to_but_not_for_who_asks_by_x_ms_range(on_engines, get):
    on_engines.save(KEY, *PARTS)
    on_engines.merge_all()
    with downloads(on_engines) as base_url:
        url = url_of(on_engines, base_url)
        redirected = get(url)
        assert redirected.status == 302
        assert get(redirected.headers["Location"]).read() == CONTENT
        ranged = get(url, x_ms_range="bytes=1000-", Range="bytes=5-6")
        assert (ranged.status, ranged.headers["Content-Range"]) == (
            206,
            f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}",
        )
        assert ranged.read() == CONTENT[1000:]


def test_the_time_to_the_first_byte_is_told_once_from_the_request_on(on_engines, get, monkeypatch):
    told, manifests = Told(), type(on_engines.services.manifests)
    read = manifests.of

    def read_slowly(self, archive):
        on_engines.clock.advance(2)
        return read(self, archive)

    on_engines.save(KEY, *PARTS)
    monkeypatch.setattr(manifests, "of", read_slowly)
    with downloads(on_engines, telemetry=told) as base_url:
        assert get(url_of(on_engines, base_url)).read() == CONTENT
    assert told.counted(TIME_TO_FIRST_BYTE) == [2000]


def test_the_first_download_claims_the_merge_if_nobody_has(on_engines, get):
    settings = on_engines.services.settings.model_copy(update={"merge_trigger": "first-download"})
    services = AllServices(settings, on_engines.clock)
    services.session = on_engines.services.session
    lazy = replace(on_engines, services=services)
    lazy.save(KEY, *PARTS)
    assert lazy.messages() == []
    with downloads(lazy) as base_url:
        url = url_of(lazy, base_url)
        assert [get(url).read() == CONTENT for _ in range(2)] == [True, True]
    assert len(lazy.messages()) == 1


LAMBDA = StreamLimits(max_bytes=8 * MIB, burst_bytes=6 * MIB, bytes_per_second=2 * MIB)


def test_where_streaming_is_slow_a_download_waits_for_the_merge_and_is_redirected(on_engines, get):
    on_engines.save(KEY, *PARTS)
    on_engines.clock.now = lambda: time.time_ns() // 10**6
    with downloads(on_engines, limits=LAMBDA) as base_url:
        url = url_of(on_engines, base_url)
        [message] = on_engines.messages()
        merge = threading.Timer(1, on_engines.services.merge, [message, plenty])
        merge.start()
        began = time.monotonic()
        assert get(url).status == 302
        assert 1 <= time.monotonic() - began < 10
        merge.join()


def test_unmerged_large_download_returns_503(on_engines, get):
    on_engines.save(KEY, *PARTS)
    on_engines.clock.now = lambda: time.time_ns() // 10**6
    with downloads(on_engines, limits=LAMBDA, merge_wait_seconds=1) as base_url:
        url = url_of(on_engines, base_url)
        answer = get(url)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        small = get(url, x_ms_range="bytes=0-99")
        assert (small.status, small.read()) == (206, CONTENT[:100])


def test_through_the_edge_a_long_range_is_had_from_there_and_a_short_one_at_once(on_engines, get):
    """Lambda could stream the long one only slowly or not at all, and S3 itself would ignore x-ms-range."""
    on_engines.save(KEY, *PARTS)
    on_engines.merge_all()
    with downloads(on_engines, limits=LAMBDA) as base_url:
        url = url_of(on_engines, base_url)
        edge = {"x_viewer_host": "cache.example.org"}
        short = get(url, x_ms_range=f"bytes=0-{6 * MIB - 1}", **edge)
        long = get(url, x_ms_range=f"bytes=0-{6 * MIB}", **edge)
        assert (short.status, short.read() == CONTENT[: 6 * MIB]) == (206, True)
        assert long.status == 302
        assert long.headers["Location"].startswith("http://cache.example.org/blobs/object/")
        assert get(url, x_ms_range=f"bytes=0-{8 * MIB}").status == 503, "no edge, and more than can be streamed"
