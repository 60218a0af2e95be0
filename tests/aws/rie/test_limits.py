"""Clients get an answer in their dialect at Lambda's limits, and not an error of the platform."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actions_cache.system import SystemClock
from dev.clients.driver import name
from tests.aws.rie.conftest import BuiltStack
from tests.aws.rie.emulator import BuiltFunction
from tests.support import lambda_events

MOST = 4_500_000
"""Largest body that fits into Lambda's 6 MB as base64, as the template says."""


@pytest.fixture(scope="module")
def too_long(built: BuiltStack) -> tuple[str, bytes]:
    """Return URL and bytes of an unmerged entry too long for an answer; its message stays in the queue."""
    body = os.urandom(MOST + 300_000)
    return _saved(built, "too-long", body[:1_000_000], body[1_000_000:]), body


@pytest.fixture
def silent_store() -> Iterator[str]:
    """Listen, and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _saved(built: BuiltStack, key: str, *parts: bytes) -> str:
    built.driver.clock.at = SystemClock().now()
    built.driver.save(name(key), *parts)
    return built.url_of(key)


def test_largest_body_that_fits_is_delivered(built: BuiltStack) -> None:
    body = os.urandom(MOST)
    url = _saved(built, "just-fits", body[:2_000_000], body[2_000_000:])
    answer = built.download.invoke(lambda_events.blob("download", url))
    assert (answer["statusCode"], lambda_events.body_of(answer) == body) == (200, True)


def test_longer_body_is_answered_with_server_busy(built: BuiltStack, too_long: tuple[str, bytes]) -> None:
    answer = built.download.invoke(lambda_events.blob("download", too_long[0]))
    assert (answer["statusCode"], b"<Code>ServerBusy</Code>" in lambda_events.body_of(answer)) == (503, True)
    assert int(answer["headers"]["retry-after"]) > 0


def test_range_of_a_longer_body_is_delivered(built: BuiltStack, too_long: tuple[str, bytes]) -> None:
    url, body = too_long
    answer = built.download.invoke(
        lambda_events.blob("download-range", url, headers={"x-ms-range": "bytes=999998-1000001"})
    )
    assert (answer["statusCode"], lambda_events.body_of(answer)) == (206, body[999_998:1_000_002])
    described = built.api.invoke(lambda_events.blob("head-download", url))
    assert described["headers"]["content-length"] == str(len(body))


def test_merged_entry_is_redirected_to_s3(built: BuiltStack, too_long: tuple[str, bytes]) -> None:
    built.driver.merge_all()
    answer = built.download.invoke(lambda_events.blob("download", too_long[0]))
    assert (answer["statusCode"], "X-Amz-Signature" in answer["headers"]["location"]) == (302, True)


def test_client_of_x_ms_range_is_not_redirected(built: BuiltStack, too_long: tuple[str, bytes]) -> None:
    """S3 ignores `x-ms-range`, so its clients are served by the function, merged or not."""
    built.driver.merge_all()
    answer = built.download.invoke(
        lambda_events.blob("download-range", too_long[0], headers={"x-ms-range": "bytes=0-"})
    )
    assert (answer.get("statusCode"), "<Error>" in str(answer.get("body"))) == (503, True), answer


def test_silent_s3_is_answered_for_in_time(built: BuiltStack, silent_store: str, tmp_path: Path) -> None:
    """Lambda's own timeout would be API Gateway's 504 in a dialect that no blob client reads."""
    unmerged = _saved(built, "hanging", b"a", b"b")
    asked = {
        "ApiFunction": lambda_events.call("finalize", key="hanging-blob", size_bytes="1"),
        "DownloadFunction": lambda_events.blob("download", unmerged),
    }
    built.api.invoke(lambda_events.call("create-entry", key="hanging-blob"))

    def answer(function: str) -> tuple[int | None, bool]:
        environment = built.environment(function, AWS_ENDPOINT_URL_S3=silent_store)
        emulated = BuiltFunction(built.template, function, environment, tmp_path / f"{function}.log")
        try:
            said = emulated.invoke(asked[function])
        finally:
            emulated.stop()
        return said.get("statusCode"), "unavailable" in str(said.get("body")) or "ServerBusy" in str(said.get("body"))

    with ThreadPoolExecutor() as executor:
        assert list(executor.map(answer, asked)) == [(503, True)] * 2
