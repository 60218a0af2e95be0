"""Tests the local edge: what the distribution and its functions make of requests, on a real store."""

import asyncio
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from actions_cache.aws.s3_stream import S3Signer
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.signing import Direction, signed_path
from actions_cache.http.headers import INERT_HEADERS
from dev.clients.wire import Reply, block_list_xml, send
from dev.emulation.asgi_server import served
from dev.local.edge import runtime
from dev.local.edge.app import API_HOST, BucketOrigin, Distribution, Edge
from dev.local.edge.runtime import FUNCTIONS, EdgeRuntime
from dev.local.emulators import Endpoints
from dev.local.template import Template

SECRET = "known-to-edge-and-api"
DATA = bytes(range(256)) * 8


@dataclass
class KnownValues:
    """A KeyValueStore with the content that a test sets."""

    content: Mapping[str, str] = field(default_factory=lambda: {"url-signing-secrets": SECRET})

    async def current(self) -> Mapping[str, str]:
        return self.content


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve an API that answers with what reached it, under an id of its own."""
    request = Request(scope, receive)
    body = await request.body()
    told = {"path": request.url.path, "query": request.url.query, "headers": dict(request.headers), "size": len(body)}
    await JSONResponse(told, headers={"x-ms-request-id": "api", "x-ms-version": "api"})(scope, receive, send)


@dataclass
class EdgeFixture:
    url: str
    bucket: str
    s3: Any
    archive: str = field(default_factory=lambda: uuid.uuid4().hex)

    def signed(self, direction: Direction, subject: str, seconds: int = 60, secret: str = SECRET) -> str:
        return self.url + signed_path(direction, subject, int(time.time() + seconds) * 1000, secret)

    @property
    def upload_url(self) -> str:
        return self.signed(Direction.UPLOAD, self.archive)

    def put(self, url: str, body: bytes = DATA, **headers: str) -> Reply:
        return send("PUT", url, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def keys(self) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"archives/{self.archive}/")
        return [item["Key"] for item in listed.get("Contents", ())]

    def stored(self) -> dict[str, Any]:
        """Return the one object there is."""
        [key] = self.keys()
        found: dict[str, Any] = self.s3.get_object(Bucket=self.bucket, Key=key)
        return found | {"Key": key, "Bytes": found["Body"].read()}

    def store(self, name: str, body: bytes = DATA) -> str:
        """Store an object, and return the subject of its URL."""
        subject = f"{self.archive}/{name}"
        self.s3.put_object(Bucket=self.bucket, Key=f"archives/{subject}", Body=body)
        return f"{len(body)}/{subject}"


@pytest.fixture(scope="module")
def bucket(endpoints: Endpoints, emulator_session: boto3.Session) -> str:
    name = f"edge-{uuid.uuid4().hex[:8]}"
    emulator_session.client("s3", endpoint_url=endpoints.store).create_bucket(Bucket=name)
    return name


@pytest.fixture
def secrets() -> KnownValues:
    return KnownValues()


@pytest.fixture
def edge(
    template: Template, endpoints: Endpoints, emulator_session: boto3.Session, bucket: str, secrets: KnownValues
) -> Iterator[EdgeFixture]:
    s3 = emulator_session.client("s3", endpoint_url=endpoints.store)
    signer = S3Signer(s3, bucket, cast("Any", emulator_session.get_credentials()))
    with serve_edge(template, secrets, BucketOrigin(signer)) as url:
        yield EdgeFixture(url, bucket, s3)


def serve_edge(template: Template, secrets: KnownValues, bucket: BucketOrigin, api: ASGIApp = echo) -> Any:
    distribution = Edge(Distribution.of(template), EdgeRuntime(), secrets, bucket, api)
    return served(distribution, lifespan="on")


# ------------------------------------------------------------------ parts: tests/integration/edge has each rule


HOSTILE = {
    "x-amz-acl": "public-read",
    "x-amz-tagging": "a=b",
    "x-amz-meta-owner": "me",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-storage-class": "GLACIER",
    "x-amz-website-redirect-location": "https://elsewhere.example.org/",
    "Content-Encoding": "gzip",
    "Content-Type": "text/html",
    "Content-Disposition": "attachment",
    "Cache-Control": "max-age=1",
    "Authorization": "AWS4-HMAC-SHA256 nonsense",
    "x-ms-meta-owner": "me",
}


def test_part_is_stored_without_the_clients_headers(edge: EdgeFixture):
    """CloudFront signs what it sends, so the bucket would believe all of them."""
    assert edge.put(edge.signed(Direction.DOWNLOAD, edge.archive).replace("download", "upload")).status == 403
    assert edge.keys() == []
    assert send("PUT", edge.upload_url, DATA, HOSTILE).status == 201

    stored = edge.stored()
    assert re.fullmatch(rf"archives/{edge.archive}/parts/blob/\d{{13}}-[A-Za-z0-9_-]{{40,}}", stored["Key"])
    assert (stored["Bytes"], stored["Metadata"], stored["ContentType"]) == (DATA, {}, "application/octet-stream")
    assert not {"TagCount", "WebsiteRedirectLocation"} & stored.keys()
    for name in ("ContentEncoding", "ContentDisposition", "CacheControl", "StorageClass"):
        assert stored.get(name) in (None, "", "STANDARD"), name


def copying_from(edge: EdgeFixture) -> Mapping[str, str]:
    secret = ArchiveKeys(uuid.uuid4().hex).blob(1, "of-another-repository")
    edge.s3.put_object(Bucket=edge.bucket, Key=secret, Body=b"another repository's")
    return {"x-amz-copy-source": f"/{edge.bucket}/{secret}"}


def test_copy_from_another_archive_is_ignored(edge: EdgeFixture):
    """No repository gets at another's bytes."""
    assert send("PUT", edge.upload_url, DATA, copying_from(edge)).status == 201
    assert edge.stored()["Bytes"] == DATA


def test_copy_succeeds_without_the_allow_list(edge: EdgeFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """This shows that the test before it can fail."""
    source = FUNCTIONS["viewer-request"].read_text()
    careless = source.replace("request.headers = headers;", "")
    assert careless != source
    (tmp_path / "careless.js").write_text(careless)
    monkeypatch.setitem(runtime.FUNCTIONS, "viewer-request", tmp_path / "careless.js")

    send("PUT", edge.upload_url, b"", copying_from(edge))

    assert edge.stored()["Bytes"] == b"another repository's"


# ------------------------------------------------------------------ the API's


def test_block_list_reaches_the_api_with_the_viewers_host(edge: EdgeFixture):
    url = f"{edge.upload_url}&comp=blocklist"
    headers = {"x-viewer-host": "spoofed.example.org", "Authorization": "Bearer x", "x-amz-acl": "y"}

    reply = send("PUT", url, block_list_xml(["YQ=="]), headers)

    told = reply.json
    assert told["query"] == url.partition("?")[2]
    assert told["headers"]["host"] == API_HOST.decode()
    assert told["headers"]["x-viewer-host"] == edge.url.removeprefix("http://")
    assert not {"authorization", "x-amz-acl"} & told["headers"].keys(), "the origin request policy passes on few"
    assert (reply.status, reply.headers["x-ms-request-id"]) == (200, "api"), "the API's own answers stay as they are"
    assert edge.keys() == []


def test_other_requests_reach_the_api_unchanged(edge: EdgeFixture):
    headers = {"Authorization": "Bearer token", "User-Agent": "u", "x-odd": 'caf\xe9 "quoted" \\ back', "x-empty": ""}

    told = send("POST", f"{edge.url}/twirp/a/b?c=%2F&c=d&e=%C3%A9&f=%22&g", b"{}", headers).json

    assert (told["path"], told["query"], told["size"]) == ("/twirp/a/b", "c=%2F&c=d&e=%C3%A9&f=%22&g=", 2)
    assert {name: told["headers"][name.lower()] for name in headers} == headers


# ------------------------------------------------------------------ objects


def test_object_is_read_whole_and_by_both_ranges(edge: EdgeFixture):
    url = edge.signed(Direction.OBJECT, edge.store("parts/blocks/YQ/0000000000001-a_b-"))

    whole = send("GET", url)
    azure = send("GET", url, headers={"x-ms-range": "bytes=10-19", "Range": "bytes=0-1"})
    plain = send("GET", url, headers={"Range": "bytes=2040-"})
    head = send("HEAD", url)

    assert (whole.status, whole.body) == (200, DATA)
    assert (azure.status, azure.body) == (206, DATA[10:20])
    assert azure.headers["Content-Range"] == f"bytes 10-19/{len(DATA)}"
    assert (plain.status, plain.body) == (206, DATA[2040:])
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(DATA)))
    for reply in (whole, azure, plain, head):
        assert reply.headers["ETag"] == f'"{edge.archive}"', "the archive's, as the API gives it"
        assert reply.headers["x-ms-request-id"]


def test_path_that_normalizes_to_an_upload_is_the_apis(edge: EdgeFixture):
    """CloudFront picks the behavior by the normalized path, and sends on the other one, signed for the bucket."""
    query = edge.upload_url.partition("?")[2]
    told = send("PUT", f"{edge.url}/x/../blobs/upload/{edge.archive}?{query}", DATA, HOSTILE).json
    assert told["path"] == f"/x/../blobs/upload/{edge.archive}"
    assert edge.keys() == []


def test_errors_of_blobs_are_no_pages_and_have_an_id(edge: EdgeFixture):
    """No function runs for the bucket's own, and BuildKit panics without an id."""
    missing = send("GET", edge.signed(Direction.OBJECT, f"9/{edge.archive}/merged/never"))
    unsigned = send("GET", f"{edge.url}/blobs/object/9/{edge.archive}/merged/0?se=1&sig=x")
    too_long = send("GET", f"{edge.url}/blobs/object/{'x' * 9000}")
    assert missing.status in (403, 404)
    for reply in (missing, unsigned, too_long):
        assert {name: reply.headers.get(name, "") for name in INERT_HEADERS} == INERT_HEADERS
        assert reply.headers["x-ms-request-id"]


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/blobs/download/x", "application/xml", "<Code>InvalidUri</Code>"),
        ("/twirp/service/method", "application/json", '"code": "invalid_argument"'),
        ("/_apis/artifactcache/cache", "application/json", '"typeKey"'),
        ("/orgs/a/actions/cache/usage", "application/json; charset=utf-8", '"documentation_url"'),
        ("/repos/a/b/actions/caches", "application/json; charset=utf-8", '"documentation_url"'),
        ("/manage/role", "application/json; charset=utf-8", '"documentation_url"'),
        ("/", "application/json", '"msg"'),
    ],
)
def test_edges_refusal_is_in_the_dialect_of_the_path(edge: EdgeFixture, path: str, kind: str, said: str):
    reply = send("POST", f"{edge.url}{path}?a={'x' * 9000}", b"")
    assert (reply.status, reply.headers["Content-Type"]) == (414, kind)
    assert said in reply.body.decode()
    assert "8192" in reply.body.decode()


# ------------------------------------------------------------------ secrets and faults


def test_both_secrets_of_a_rotation_verify(edge: EdgeFixture, secrets: KnownValues):
    def status(secret: str) -> int:
        return edge.put(edge.signed(Direction.UPLOAD, edge.archive, secret=secret)).status

    secrets.content = {"url-signing-secrets": f"{SECRET} next"}
    assert (status(SECRET), status("next")) == (201, 201)
    secrets.content = {"url-signing-secrets": "next"}
    assert (status(SECRET), status("next")) == (403, 201)


def test_unreachable_bucket_asks_to_retry(template: Template, emulator_session: boto3.Session, secrets: KnownValues):
    s3 = emulator_session.client("s3", endpoint_url="http://127.0.0.1:9")
    signer = S3Signer(s3, "none", cast("Any", emulator_session.get_credentials()))
    with serve_edge(template, secrets, BucketOrigin(signer)) as url:
        unreached = EdgeFixture(url, "none", s3)
        assert unreached.put(unreached.upload_url).status == 503


def test_runtime_is_restarted(edge: EdgeFixture, monkeypatch: pytest.MonkeyPatch):
    started: list[Any] = []
    start = asyncio.create_subprocess_exec

    async def noted(*args: Any, **options: Any) -> Any:
        started.append(await start(*args, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    assert edge.put(edge.upload_url).status == 201
    started[0].kill()
    deadline = time.monotonic() + 10
    while edge.put(edge.upload_url).status != 201:
        assert time.monotonic() < deadline
    assert len(started) == 2
