"""Answers tell caches and browsers to keep nothing, and browsers to use https for the page's host."""

from collections.abc import Iterator

import pytest
import urllib3
from fastapi import FastAPI, Response

from actions_cache.domain.errors import NotFound
from actions_cache.http.app import HESTIA_VERSION, HSTS_SECONDS, client_reads_from_s3, new_app
from actions_cache.http.errors import GITHUB_REST
from dev.clients import hestia, wire
from dev.emulation.asgi_server import served
from tests.support.fakes import RecordingTelemetry

HOST = "cache.example.com"
HSTS = f"max-age={HSTS_SECONDS}"


def app(*, is_for_people: bool = True, public_url: str | None = None) -> FastAPI:
    made = new_app(RecordingTelemetry(), GITHUB_REST, is_for_people=is_for_people, public_url=public_url)

    @made.get("/manage/{name}")
    @made.get("/blobs/{name}")
    async def answer(name: str) -> Response:
        if name == "missing":
            raise NotFound("nothing there")
        if name == "odd":
            raise RuntimeError
        return Response("{}", headers={"Cache-Control": "public"} if name == "file" else {})

    return made


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(app()) as url:
        yield url


def fetch(url: str, path: str = "/manage/role", host: str = HOST, proto: str = "https") -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager() as http:
        return http.request("GET", f"{url}{path}", headers={"Host": host, "X-Forwarded-Proto": proto}, retries=False)


@pytest.mark.parametrize("path", ["/manage/role", "/manage/missing", "/manage/odd", "/nothing"])
def test_management_forbids_caching_and_needs_https(url: str, path: str):
    reply = fetch(url, path)
    assert reply.headers.getlist("Cache-Control") == ["no-store"]
    assert reply.headers.getlist("Strict-Transport-Security") == [HSTS]
    assert "includeSubDomains" not in HSTS
    assert fetch(url, "/manage/file").headers.getlist("Cache-Control") == ["public"], "an explicit one is kept"


def test_browsers_alone_are_told_to_use_https():
    with served(app(is_for_people=False)) as url:
        replies = [fetch(url, path).headers for path in ("/blobs/x", "/manage/role")]
    assert [reply.get("Cache-Control") for reply in replies] == [None, "no-store"]
    assert [reply.get("Strict-Transport-Security") for reply in replies] == [None, None]
    with served(app(public_url=f"https://{HOST}/")) as url:
        behind_a_proxy = fetch(url, host="127.0.0.1:3000", proto="http")
    assert behind_a_proxy.headers.get("Strict-Transport-Security") == HSTS


SEEN = [(HOST, "https"), (HOST, "http"), ("localhost:8443", "https"), ("page.localhost", "https")]


@pytest.mark.parametrize(("host", "proto"), SEEN)
def test_hsts_is_sent_over_https_only(url: str, host: str, proto: str):
    is_sent = fetch(url, host=host, proto=proto).headers.get("Strict-Transport-Security") is not None
    assert is_sent is ((host, proto) == SEEN[0])


@pytest.mark.parametrize("host", ["[", "[::1", "a]b", "a:b:c", "%"])
def test_invalid_host_is_still_answered(url: str, host: str):
    with urllib3.PoolManager() as http:
        named = {"Host": HOST, "X-Viewer-Host": host, "X-Forwarded-Proto": "https"}
        answer = http.request("GET", f"{url}/manage/role", headers=named, retries=False)
    assert (answer.status, answer.headers.get("Cache-Control")) == (200, "no-store")


KNOWN = ("@actions/cache-6.3.0", "actions/cache", "hestia", "opendal/0.47.12", "sccache/0.16.0")
UNKNOWN = (
    *("Go-http-client/1.1", "go-actions-cache/1.0", "gha-cache/0.1.0", "azsdk-python-storage-blob/12.31"),
    *("", "curl @actions/cache-6.3.0"),
)


@pytest.mark.parametrize("user_agent", [*KNOWN, *UNKNOWN])
def test_only_known_clients_can_read_from_s3(user_agent: str):
    assert client_reads_from_s3(user_agent, wire.VERSION) is (user_agent in KNOWN)


def test_nameless_hestia_is_known_by_its_version():
    assert hestia.VERSION == HESTIA_VERSION
    assert client_reads_from_s3("", hestia.VERSION)
    assert not client_reads_from_s3("", hestia.VERSION[:-1])
