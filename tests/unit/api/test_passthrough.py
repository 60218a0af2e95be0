"""Other paths are passed on to the results service and back, through uvicorn and through Lambda's events."""

import base64
import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from mangum import Mangum

from actions_cache.domain.access import GITHUB, parse_rule
from actions_cache.domain.errors import PermissionDenied
from actions_cache.http.app import new_app
from dev.clients import wire
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Reply
from dev.emulation.asgi_server import served
from functions.api import passthrough
from functions.api.dependencies import LAMBDA_BODY_BYTES as LIMIT
from functions.api.passthrough import ResultsService
from functions.api.tokens import TokenReader
from tests.support.fake_results_service import FakeResultsService, running_results_service
from tests.support.fakes import RecordingTelemetry
from tests.support.token_issuer import running_issuer

TRUSTED = TokenReader((GITHUB,), None, (parse_rule("repository_owner_id=1"),), verify=False)
TOKEN = runtime_token()
JOB = {"Authorization": f"Bearer {TOKEN}"}
PATH = "/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact"
BODY = b'{"name":"a"}'


def app_before(url: str | None, tokens: TokenReader = TRUSTED) -> FastAPI:
    app = new_app(RecordingTelemetry())
    app.state.tokens = tokens
    app.state.results_service = ResultsService(url) if url else None
    app.include_router(passthrough.router)
    return app


def send(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
    """Send a request as a job: with its token, unless the headers name another."""
    return wire.send(method, url, body, {**JOB, **(headers or {})})


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, FakeResultsService]]:
    with running_results_service() as fake_service, served(app_before(fake_service.url)) as url:
        yield url, fake_service


@pytest.fixture
def url(running: tuple[str, FakeResultsService], fake_service: FakeResultsService) -> str:
    return running[0]


@pytest.fixture
def fake_service(running: tuple[str, FakeResultsService]) -> FakeResultsService:
    return running[1].as_new()


def raw(url: str, request: bytes) -> bytes:
    """Send a raw request, and return the raw answer."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def refusal(reply: Reply) -> tuple[int, str]:
    assert reply.headers["Content-Type"] == "application/json"
    return reply.status, reply.json["code"]


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_each_method_reaches_results_service(url, fake_service, method):
    body = b"" if method in ("POST", "PUT", "PATCH") else None
    send(method, f"{url}{PATH}?a=%2F&b", body)
    [asked] = fake_service.asked
    assert asked.line == f"{method} {PATH}?a=%2F&b HTTP/1.1".encode()
    length = [] if method in ("GET", "HEAD") else [b"0"]
    assert (asked.header(b"content-length"), asked.header(b"transfer-encoding")) == (length, [])


def test_request_is_forwarded_byte_for_byte(url, fake_service):
    body = bytes(range(256))
    headers = {**JOB, "Content-Type": "application/protobuf", "User-Agent": "u"}
    dropped = {"X-Forwarded-For": "10.0.0.1", "Connection": "close", "Cookie": "__Secure-actions-cache-session=s"}
    reply = send("POST", f"{url}{PATH}", body, headers | dropped)
    [asked] = fake_service.asked
    assert asked.body == body
    assert sorted(asked.headers) == sorted(
        [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        + [(b"Host", urlsplit(fake_service.url).netloc.encode()), (b"Content-Length", b"256")]
        + [(b"cdn-loop", b"serverless-actions-cache")]
    )
    assert (reply.status, reply.body, reply.headers["X-GitHub-Request-Id"]) == (200, b"{}", "1")
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["//evil.example/x", "/@evil.example/x", "/x/../y", "/a%2fb", "/%2F%2Fevil.example"])
def test_no_path_reaches_another_host(url, fake_service, path):
    head = f"Host: evil.example\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}"
    raw(url, f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
    [asked] = fake_service.asked
    assert asked.line == f"GET {path} HTTP/1.1".encode()
    assert asked.header(b"host") == [urlsplit(fake_service.url).netloc.encode()]


OWN = [
    *("/", "/blobs/upload/0", "/health", "/repos/o/r/actions/caches", "/_apis/artifactcache/cache", "/x/../health"),
    *("/x/..%2fblobs/upload/0", "/twirp/github.actions.results.api.v1.CacheService/DeleteEverything"),
    "//twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry",
]
INVALID = ["http://evil.example/blobs/x", "*"]


@pytest.mark.parametrize("target", [*OWN, *INVALID])
def test_own_and_invalid_targets_are_never_forwarded(url, fake_service, target):
    method = "POST" if target in OWN else "OPTIONS"
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    status = raw(url, head.encode()).split(b" ")[1]
    assert status in ((b"404", b"405") if target in OWN else (b"400", b"404", b"405"))
    assert fake_service.asked == []


def test_missing_service_url_disables_forwarding():
    with served(app_before(None)) as url:
        reply = send("POST", f"{url}{PATH}", BODY)
    assert refusal(reply) == (404, "bad_route")
    assert "RESULTS_SERVICE_URL" in reply.json["msg"]


def test_service_url_loop_is_reported(url, fake_service):
    reply = send("POST", f"{url}{PATH}", BODY, {"CDN-Loop": "serverless-actions-cache"})
    assert refusal(reply) == (502, "unavailable")
    assert "leads back" in reply.json["msg"]
    assert fake_service.asked == []


# ---------------------------------------------------------------- answers


PACKED = gzip.compress(b"{}")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def answer_of(status: str, body: bytes = b"", *headers: str) -> bytes:
    rows = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*rows, "", ""]).encode() + body


def test_cookies_are_not_shared_between_jobs(fake_service):
    """The service is requested by name, since aiohttp keeps no cookies of an address."""
    with served(app_before(fake_service.url.replace("127.0.0.1", "localhost"))) as url:
        for _ in range(2):
            send("POST", f"{url}{PATH}", BODY)
    assert [asked.header(b"cookie") for asked in fake_service.asked] == [[], []]


@pytest.mark.parametrize(
    ("answer", "status", "body", "header"),
    [
        (answer_of("403 Forbidden", b'{"code":"x"}'), 403, b'{"code":"x"}', ("Content-Length", "12")),
        (answer_of("302 Found", b"", "Location: http://x.example/"), 302, b"", ("Location", "http://x.example/")),
        (answer_of("200 OK", PACKED, "Content-Encoding: gzip"), 200, PACKED, ("Content-Encoding", "gzip")),
        (CHUNKED, 200, b"abcde", ("Content-Length", "5")),
        (b"HTTP/1.1 204 No Content\r\nETag: x\r\n\r\n", 204, b"", ("ETag", "x")),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, b"", ("ETag", "x")),
    ],
    ids=["error", "redirect", "compressed", "chunked", "no content", "not modified"],
)
def test_response_is_returned_unchanged(url, fake_service, answer, status, body, header):
    fake_service.answer = answer
    reply = send("GET", f"{url}/a", headers={"Accept-Encoding": "gzip"})
    assert (reply.status, reply.body, reply.headers[header[0]]) == (status, body, header[1])
    assert reply.headers["Transfer-Encoding"] is None
    assert len(fake_service.asked) == 1, "a redirect is left to the client"


def test_head_response_keeps_content_length(url, fake_service):
    fake_service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    reply = send("HEAD", f"{url}/a")
    assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, "1234", b"")


def test_response_is_inert_in_browser(url, fake_service):
    fake_service.answer = answer_of(
        "200 OK",
        b"<script>alert(1)</script>",
        "Content-Type: text/html",
        "Set-Cookie: actions-cache-session=x; path=/manage",
        "Clear-Site-Data: *",
        "Strict-Transport-Security: max-age=1; includeSubDomains",
        "Content-Security-Policy: script-src 'unsafe-inline'",
        "X-Content-Type-Options: other",
        "Refresh: 0;url=/",
    )
    reply = send("GET", f"{url}/a")
    assert reply.body == b"<script>alert(1)</script>"
    dropped = ("Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Refresh")
    assert [reply.headers[name] for name in dropped] == [None] * 4
    assert reply.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert reply.headers.get_all("Content-Security-Policy") == ["default-src 'none'; sandbox"]


ADMIN_TOKEN = "0123456789abcdef" * 4

NO_TOKENS = {
    "none": [],
    "the admin's": [f"Bearer {ADMIN_TOKEN}"],
    "the admin's, as gh sends it": [f"token {ADMIN_TOKEN}"],
    "a job's by another scheme": [f"token {TOKEN}"],
    "three segments of nothing": ["Bearer a.b.c"],
    "of no issuer's claims": [f"Bearer {runtime_token(repository_id=None)}"],
    "expired": [f"Bearer {runtime_token(exp=1)}"],
    "two": [f"Bearer {TOKEN}", f"Bearer {ADMIN_TOKEN}"],
    "the admin's first": [f"Bearer {ADMIN_TOKEN}", f"Bearer {TOKEN}"],
}


@pytest.mark.parametrize("headers", NO_TOKENS.values(), ids=NO_TOKENS)
@pytest.mark.parametrize("path", [PATH, "/graphql", "/user", "/managex"])
def test_request_without_job_token_is_refused(url, fake_service, path, headers):
    rows = "".join(f"Authorization: {value}\r\n" for value in headers)
    answer = raw(
        url, f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rows}Content-Length: 0\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401")
    assert json.loads(body)["code"] == "unauthenticated"
    assert fake_service.asked == []


def test_refused_job_keeps_its_artifacts(url, fake_service):
    """TRUSTED asks for an owner that the token lacks."""
    with pytest.raises(PermissionDenied):
        TRUSTED.read(JOB["Authorization"])
    assert send("POST", f"{url}{PATH}", BODY).status == 200
    assert len(fake_service.asked) == 1


def test_token_needs_trusted_issuer(fake_service):
    with running_issuer() as issuer, running_issuer() as stranger:
        tokens = TokenReader((issuer.url,), None)
        with served(app_before(fake_service.url, tokens)) as url:
            answers = [
                send("POST", f"{url}{PATH}", BODY, {"Authorization": authorization}).status
                for authorization in (issuer.sign(), stranger.sign(), f"Bearer {runtime_token(iss=issuer.url)}")
            ]
    assert answers == [200, 401, 401]
    assert len(fake_service.asked) == 1


# ---------------------------------------------------------------- limits


def test_request_body_size_is_bounded(url, fake_service):
    assert send("POST", f"{url}/a", bytes(LIMIT)).status == 200
    assert refusal(send("POST", f"{url}/a", bytes(LIMIT + 1))) == (413, "invalid_argument")
    assert [len(asked.body) for asked in fake_service.asked] == [LIMIT]


@pytest.mark.parametrize(("byte", "most"), [(b"\xff", LIMIT), (b'"', 2_999_999)], ids=["binary", "text"])
def test_response_size_is_bounded_in_lambdas_encoding(url, fake_service, byte, most):
    """A quotation mark leaves as two bytes."""
    fake_service.answer = answer_of("200 OK", byte * most)
    assert len(send("GET", f"{url}/a").body) == most
    fake_service.answer = answer_of("200 OK", byte * (most + 1))
    assert refusal(send("GET", f"{url}/a")) == (502, "unavailable")


# ---------------------------------------------------------------- a failing service


FAILURES: dict[str, bytes | None] = {
    "closes the connection": b"",
    "speaks no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "breaks off in its headers": b"HTTP/1.1 200 OK\r\nContent-",
    "breaks off in its body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "breaks off in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "says nothing": None,
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_failing_service_gives_502_in_time(url, fake_service, answer, monkeypatch):
    monkeypatch.setattr(passthrough, "TOTAL_SECONDS", 0.5)
    fake_service.answer = answer
    began = time.monotonic()
    reply = send("POST", f"{url}{PATH}", BODY)
    assert refusal(reply) == (502, "unavailable")
    assert fake_service.url in reply.json["msg"]
    assert time.monotonic() - began < 5
    assert len(fake_service.asked) == 1, "a request that isn't idempotent is sent once"


def test_dripping_service_gives_502_in_time(url, fake_service, monkeypatch):
    monkeypatch.setattr(passthrough, "TOTAL_SECONDS", 0.5)
    fake_service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    fake_service.drips = True
    assert refusal(send("POST", f"{url}{PATH}", BODY)) == (502, "unavailable")


@pytest.mark.parametrize("gone", ["http://127.0.0.1:1", "http://no-such-host.invalid", "https://127.0.0.1:1"])
def test_unreachable_service_gives_502(gone):
    assert passthrough.CONNECT_SECONDS < passthrough.TOTAL_SECONDS <= 25, "before API Gateway's 29 s"
    with served(app_before(gone)) as url:
        assert refusal(send("POST", f"{url}{PATH}", BODY)) == (502, "unavailable")


# ---------------------------------------------------------------- through Lambda


@pytest.fixture
def invoke(fake_service: FakeResultsService) -> Callable[..., Any]:
    """Invoke the same app each time, as a warm Lambda does."""
    app = app_before(fake_service.url)

    def call(path: str, body: bytes = b"", headers: dict[str, list[str]] | None = None, **event: Any) -> Any:
        request = {
            "resource": "/{path+}",
            "path": path,
            "httpMethod": "POST",
            "headers": {},
            "multiValueHeaders": headers or {"Authorization": [JOB["Authorization"]]},
            "multiValueQueryStringParameters": None,
            "queryStringParameters": None,
            "requestContext": {"identity": {"sourceIp": "127.0.0.1"}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
            **event,
        }
        return Mangum(app, lifespan="off")(request, cast("Any", None))

    return call


def test_lambda_forwards_cold_and_warm(invoke, fake_service):
    body = bytes(range(256))
    for _ in range(2):
        answer = invoke(PATH, body, {"Authorization": [f"Bearer {TOKEN}"], "X-Amzn-Trace-Id": ["Root=1"]})
        assert (answer["statusCode"], answer["body"]) == (200, "{}")
        assert "set-cookie" not in answer["multiValueHeaders"]
    for asked in fake_service.asked:
        assert (asked.line, asked.body) == (f"POST {PATH} HTTP/1.1".encode(), body)
        assert asked.header(b"authorization") == [f"Bearer {TOKEN}".encode()]
        assert asked.header(b"x-amzn-trace-id") == []


def test_lambda_encodes_decoded_target_again(invoke, fake_service):
    invoke("/a b?c", multiValueQueryStringParameters={"q": ["a b\n", "ä"]})
    [asked] = fake_service.asked
    assert asked.line == b"POST /a%20b%3Fc?q=a+b%0A&q=%C3%A4 HTTP/1.1"
    assert invoke("/a HTTP/1.1\r\nHost: evil.example\r\n\r\n")["statusCode"] == 404
    assert len(fake_service.asked) == 1, "a line break isn't forwarded"


def test_binary_and_largest_responses_fit_lambda(invoke, fake_service):
    fake_service.answer = answer_of("200 OK", PACKED, "Content-Encoding: gzip", "Content-Type: application/json")
    answer = invoke(PATH)
    assert (answer["isBase64Encoded"], base64.b64decode(answer["body"])) == (True, PACKED)
    for body in (b"\xff" * LIMIT, b'"' * 2_999_999, "ä".encode() * (LIMIT // 2)):
        fake_service.answer = answer_of("200 OK", body, "Content-Type: application/json")
        answer = invoke(PATH)
        assert answer["statusCode"] == 200
        assert len(json.dumps(answer, ensure_ascii=False).encode()) < 6 * 1024 * 1024
