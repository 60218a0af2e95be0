"""Every error is answered in the client's dialect, without internal details."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import urllib3
from mangum import Mangum

from actions_cache.domain.errors import CacheError, InvalidRequest, NotFound, RangeNotSatisfiable, TooLarge, TryAgain
from actions_cache.domain.refused_job import NotAdmitted, RefusedJob
from actions_cache.events import ERRORS
from actions_cache.http.app import new_app
from actions_cache.ports import Unavailable
from dev.emulation.asgi_server import served
from dev.local.template import ROOT
from tests.support.fakes import RecordingTelemetry

TELEMETRY = RecordingTelemetry()

REFUSED_JOB = RefusedJob("https://a.example", "42", "octo/app", "7", "octo", ("repository_id=42",))
ERRORS_BY_NAME = {
    "invalid": (InvalidRequest("the key is <odd> & long"), 400, "invalid_argument", "InvalidInput"),
    "missing": (NotFound("no such upload"), 404, "not_found", "BlobNotFound"),
    "not admitted": (NotAdmitted("not for octo/app", REFUSED_JOB), 403, "permission_denied", "AuthenticationFailed"),
    "large": (TooLarge("too much"), 413, "invalid_argument", "RequestBodyTooLarge"),
    "range": (RangeNotSatisfiable(7), 416, "invalid_argument", "InvalidRange"),
    "later": (TryAgain("merging", 9), 503, "unavailable", "ServerBusy"),
    "store down": (Unavailable("secret endpoint 10.0.0.1"), 503, "unavailable", "ServerBusy"),
    "bug": (RuntimeError("secret value"), 500, "internal", "InternalError"),
    "new kind": (CacheError("something"), 400, "invalid_argument", "InvalidInput"),
}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    app = new_app(TELEMETRY)

    @app.get("/blobs/{name}")
    @app.get("/twirp/{name}")
    async def fail(name: str) -> None:
        raise ERRORS_BY_NAME[name][0]

    with served(app) as url:
        yield url


def ask(url: str, method: str = "GET") -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager() as http:
        return http.request(method, url.replace(" ", "%20"), retries=False)


@pytest.mark.parametrize("name", ERRORS_BY_NAME)
def test_error_is_in_the_clients_dialect_and_counted_once(base_url, name):
    error, status, twirp_code, code = ERRORS_BY_NAME[name]
    twirp = ask(f"{base_url}/twirp/{name}")
    assert (twirp.status, twirp.headers["Content-Type"]) == (status if status != 416 else 400, "application/json")
    assert json.loads(twirp.data)["code"] == twirp_code
    TELEMETRY.events.clear()
    blob = ask(f"{base_url}/blobs/{name}?sig=secret")
    document = ET.fromstring(blob.data)
    assert (blob.status, blob.headers["x-ms-error-code"], document.findtext("Code")) == (status, code, code)
    assert blob.headers["x-ms-request-id"]
    for message in (json.loads(twirp.data)["msg"], document.findtext("Message") or ""):
        assert "secret" not in message
        assert isinstance(error, Unavailable | RuntimeError) or message == str(error)
    if name == "later":
        assert twirp.headers["Retry-After"] == blob.headers["Retry-After"] == "9"
    if name == "range":
        assert blob.headers["Content-Range"] == "bytes */7"
    [event] = TELEMETRY.events
    kind = {Unavailable: "Unavailable", RuntimeError: "Unexpected"}.get(type(error), type(error).__name__)
    assert TELEMETRY.counted(ERRORS) == [kind]
    assert event.is_error == (not isinstance(error, CacheError))
    assert event.fields["request"] == f"GET /blobs/{name}", "without the query"


def test_unknown_route_is_refused_in_its_dialect(base_url):
    assert json.loads(ask(f"{base_url}/nowhere").data)["code"] == "bad_route"
    assert json.loads(ask(f"{base_url}/twirp/bug", "DELETE").data)["code"] == "bad_route"
    assert ask(f"{base_url}/blobs/bug", "PATCH").headers["x-ms-error-code"] == "UnsupportedHttpVerb"


class LambdaContext:
    aws_request_id = "of-lambda"


def test_response_id_is_lambda_request_id():
    """Mangum hands the context on."""
    event = json.loads((ROOT / "events" / "apigateway-download.json").read_text()) | {"path": "/blobs/none"}
    context: Any = LambdaContext()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    answer = Mangum(new_app(RecordingTelemetry()), lifespan="off")(event, context)
    asyncio.set_event_loop(None)
    loop.close()
    assert answer["headers"]["x-ms-request-id"] == "of-lambda"


def test_adapter_context_counts_only_behind_adapter(base_url, monkeypatch):
    trace = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
    context = {"x-amzn-lambda-context": json.dumps({"request_id": "of-lambda", "xray_trace_id": trace})}
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    with urllib3.PoolManager() as http:
        spoofed = http.request("GET", f"{base_url}/blobs/missing", headers=context)
        assert "_X_AMZN_TRACE_ID" not in os.environ
        monkeypatch.setenv("AWS_LWA_PORT", "8080")
        traced = http.request("GET", f"{base_url}/blobs/missing", headers=context)
    assert spoofed.headers["x-ms-request-id"] != "of-lambda" == traced.headers["x-ms-request-id"]
    # botocore reads it there, so that its calls to SQS carry the trace to the worker.
    assert os.environ.pop("_X_AMZN_TRACE_ID") == trace


def test_refused_job_event_names_job_and_remedy(base_url):
    TELEMETRY.events.clear()
    ask(f"{base_url}/twirp/not admitted")
    [event] = TELEMETRY.events
    assert event.fields == {
        "request": "GET /twirp/not admitted",
        "kind": "NotAdmitted",
        "error": "cache read denied: not for octo/app",
        "repository": "42",
        "repository_name": "octo/app",
        "issuer": "https://a.example",
        "owner": "octo",
        "owner_id": "7",
        "to_admit": ("repository_id=42",),
    }
