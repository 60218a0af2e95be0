"""Answers tell caches and browsers to keep nothing, and browsers to use https for the page's host."""

from collections.abc import Iterator

import pytest
import urllib3
from fastapi import FastAPI, Response

from actions_cache.domain.errors import NotFound
from actions_cache.http.app import HSTS_SECONDS, new_app
from actions_cache.http.errors import GITHUB_REST
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


def test_explicit_cache_control_is_kept(url: str):
    assert fetch(url, "/manage/file").headers.getlist("Cache-Control") == ["public"]


def test_blob_responses_have_only_own_headers():
    with served(app(is_for_people=False)) as url:
        reply = fetch(url, "/blobs/x")
    assert [reply.headers.get(name) for name in ("Cache-Control", "Strict-Transport-Security")] == [None, None]


@pytest.mark.parametrize(
    ("host", "proto", "is_sent"),
    [
        (HOST, "https", True),
        (HOST, "http", False),
        ("localhost:8443", "https", False),
        ("page.localhost", "https", False),
    ],
)
def test_hsts_is_sent_over_https_only(url: str, host: str, proto: str, *, is_sent: bool):
    assert (fetch(url, host=host, proto=proto).headers.get("Strict-Transport-Security") is not None) is is_sent


@pytest.mark.parametrize("host", ["[", "[::1", "a]b", "a:b:c", "%"])
def test_invalid_host_is_still_answered(url: str, host: str):
    with urllib3.PoolManager() as http:
        named = {"Host": HOST, "X-Viewer-Host": host, "X-Forwarded-Proto": "https"}
        answer = http.request("GET", f"{url}/manage/role", headers=named, retries=False)
    assert (answer.status, answer.headers.get("Cache-Control")) == (200, "no-store")


def test_public_url_reveals_tls_behind_proxy():
    with served(app(public_url=f"https://{HOST}/")) as url:
        assert fetch(url, host="127.0.0.1:3000", proto="http").headers.get("Strict-Transport-Security") == HSTS


def test_non_browser_response_omits_hsts():
    with served(app(is_for_people=False)) as url:
        reply = fetch(url)
    assert (reply.headers["Cache-Control"], reply.headers.get("Strict-Transport-Security")) == ("no-store", None)
