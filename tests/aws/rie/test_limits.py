"""Lambda's limits, met with an answer in the client's dialect: an error of the platform's own would be none."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actions_cache.system import SystemClock
from dev.clients.driver import name
from tests.aws.rie.conftest import Stage
from tests.aws.rie.emulator import BuiltFunction
from tests.support import lambda_events

MOST = 4_500_000
"""What of a body fits into Lambda's 6 MB as base64; the template says it."""


@pytest.fixture(scope="module")
def too_long(stage: Stage) -> tuple[str, bytes]:
    """Download URL and bytes of an unmerged entry that no answer holds; its message stays in the queue."""
    body = os.urandom(MOST + 300_000)
    return _saved(stage, "too-long", body[:1_000_000], body[1_000_000:]), body


@pytest.fixture
def silent_store() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _saved(stage: Stage, key: str, *parts: bytes) -> str:
    stage.driver.clock.at = SystemClock().now()
    stage.driver.save(name(key), *parts)
    return stage.url_of(key)


def test_largest_fitting_response_is_delivered(stage: Stage) -> None:
    body = os.urandom(MOST)
    url = _saved(stage, "just-fits", body[:2_000_000], body[2_000_000:])
    answer = stage.download.invoke(lambda_events.blob("download", url))
    assert (answer["statusCode"], lambda_events.body_of(answer) == body) == (200, True)


def test_oversized_download_returns_503_after_wait(stage: Stage, too_long: tuple[str, bytes]) -> None:
    answer = stage.download.invoke(lambda_events.blob("download", too_long[0]))
    assert (answer["statusCode"], b"<Code>ServerBusy</Code>" in lambda_events.body_of(answer)) == (503, True)
    assert int(answer["headers"]["retry-after"]) > 0


def test_range_of_oversized_archive_is_delivered(stage: Stage, too_long: tuple[str, bytes]) -> None:
    url, body = too_long
    answer = stage.download.invoke(
        lambda_events.blob("download-range", url, headers={"x-ms-range": "bytes=999998-1000001"})
    )
    assert (answer["statusCode"], lambda_events.body_of(answer)) == (206, body[999_998:1_000_002])
    described = stage.api.invoke(lambda_events.blob("head-download", url))
    assert described["headers"]["content-length"] == str(len(body))


def test_merged_oversized_archive_redirects_to_s3(stage: Stage, too_long: tuple[str, bytes]) -> None:
    stage.driver.merge_all()
    answer = stage.download.invoke(lambda_events.blob("download", too_long[0]))
    assert (answer["statusCode"], "X-Amz-Signature" in answer["headers"]["location"]) == (302, True)


def test_oversized_x_ms_range_returns_503(stage: Stage, too_long: tuple[str, bytes]) -> None:
    """Who sends it is served from here, merged or not, since S3 ignores it: docs/design/protocol.md#x-ms-range."""
    stage.driver.merge_all()
    answer = stage.download.invoke(
        lambda_events.blob("download-range", too_long[0], headers={"x-ms-range": "bytes=0-"})
    )
    assert (answer.get("statusCode"), "<Error>" in str(answer.get("body"))) == (503, True), answer


def test_hanging_s3_returns_503_before_timeout(stage: Stage, silent_store: str, tmp_path: Path) -> None:
    """Lambda's own timeout would be API Gateway's 504 in a dialect that no blob client reads."""
    unmerged = _saved(stage, "hanging", b"a", b"b")
    asked = {
        "ApiFunction": lambda_events.call("finalize", key="hanging-blob", size_bytes="1"),
        "DownloadFunction": lambda_events.blob("download", unmerged),
    }
    stage.api.invoke(lambda_events.call("create-entry", key="hanging-blob"))

    def answer(function: str) -> tuple[int | None, bool]:
        environment = stage.environment(function, AWS_ENDPOINT_URL_S3=silent_store)
        built = BuiltFunction(stage.template, function, environment, tmp_path / f"{function}.log")
        try:
            said = built.invoke(asked[function])
        finally:
            built.stop()
        return said.get("statusCode"), "unavailable" in str(said.get("body")) or "ServerBusy" in str(said.get("body"))

    with ThreadPoolExecutor() as both:
        assert list(both.map(answer, asked)) == [(503, True)] * 2
