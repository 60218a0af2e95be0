"""Tests the local edge: what the distribution and its functions make of requests, on a real store."""

import asyncio
import base64
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

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
PAGE = b"<!doctype html><script>alert()</script>"
MIB = 1024 * 1024


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


# ------------------------------------------------------------------ parts


def test_blob_is_one_object(edge: EdgeFixture):
    reply = edge.put(edge.upload_url, x_ms_blob_type="BlockBlob")

    assert reply.status == 201
    assert all(reply.headers[name] for name in ("x-ms-request-id", "x-ms-version", "ETag", "Last-Modified"))
    assert edge.stored()["Bytes"] == DATA
    assert re.fullmatch(rf"archives/{edge.archive}/parts/blob/\d{{13}}-[A-Za-z0-9_-]{{40,}}", edge.stored()["Key"])


def test_block_has_the_key_that_its_list_looks_for(edge: EdgeFixture):
    block_id = base64.b64encode(b"\xfb\xff\xfe?>" + bytes(16)).decode()

    reply = edge.put(f"{edge.upload_url}&comp=block&blockid={quote(block_id, safe='')}")

    assert reply.status == 201
    assert edge.stored()["Key"].startswith(ArchiveKeys(edge.archive).block_prefix(block_id))


def test_each_upload_has_a_key_and_the_last_sorts_last(edge: EdgeFixture):
    """Parts are write-once."""
    for body in (b"first", b"second"):
        assert edge.put(edge.upload_url, body).status == 201
        time.sleep(0.002)

    earlier, later = sorted(edge.keys())
    assert edge.s3.get_object(Bucket=edge.bucket, Key=earlier)["Body"].read() == b"first"
    assert edge.s3.get_object(Bucket=edge.bucket, Key=later)["Body"].read() == b"second"


def test_empty_blob_is_an_empty_object(edge: EdgeFixture):
    assert edge.put(edge.upload_url, b"").status == 201
    assert edge.stored()["Bytes"] == b""


HOSTILE = {
    "x-amz-acl": "public-read",
    "x-amz-tagging": "a=b",
    "x-amz-meta-owner": "me",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-storage-class": "GLACIER",
    "x-amz-website-redirect-location": "https://elsewhere.example.org/",
    "x-amz-object-lock-mode": "COMPLIANCE",
    "Content-Encoding": "gzip",
    "Content-Type": "text/html",
    "Content-Disposition": "attachment",
    "Cache-Control": "max-age=1",
    "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
    "Authorization": "AWS4-HMAC-SHA256 nonsense",
    "Cookie": "a=b",
    "x-ms-meta-owner": "me",
}


def test_clients_headers_are_not_stored(edge: EdgeFixture):
    """CloudFront signs what it sends, so the bucket would believe all of them."""
    assert send("PUT", edge.upload_url, DATA, HOSTILE).status == 201

    stored = edge.stored()
    assert stored["Bytes"] == DATA
    assert stored["Metadata"] == {}
    assert "TagCount" not in stored
    assert "WebsiteRedirectLocation" not in stored
    for name in ("ContentEncoding", "ContentDisposition", "CacheControl", "StorageClass"):
        assert stored.get(name) in (None, "", "STANDARD"), name
    assert stored["ContentType"] != "text/html"


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


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"seconds": -1}, 403, "AuthenticationFailed"),
        ({"secret": "another"}, 403, "AuthenticationFailed"),
        ({"direction": Direction.DOWNLOAD}, 403, "AuthenticationFailed"),
        ({"subject": "0" * 32}, 403, "AuthenticationFailed"),
    ],
    ids=["expired", "signed with another secret", "for another direction", "for another archive"],
)
def test_invalid_url_is_refused_and_stores_nothing(
    edge: EdgeFixture, change: Mapping[str, Any], status: int, code: str
):
    args: dict[str, Any] = {"direction": Direction.UPLOAD, "subject": edge.archive, **change}
    query = edge.signed(**args).partition("?")[2]

    reply = edge.put(f"{edge.url}/blobs/upload/{edge.archive}?{query}")

    assert (reply.status, reply.headers["x-ms-error-code"]) == (status, code)
    assert reply.headers["x-ms-request-id"]
    assert b"ask the cache service for a new one" in reply.body
    assert edge.keys() == []


def test_block_over_the_limit_is_refused_at_once(edge: EdgeFixture):
    reply = send("PUT", edge.upload_url, b"", {"Content-Length": str(5 * 1024**3 + 1)})

    assert (reply.status, reply.headers["x-ms-error-code"]) == (413, "RequestBodyTooLarge")
    assert b"send more as blocks" in reply.body


# ------------------------------------------------------------------ the API's


def test_block_list_reaches_the_api_with_the_viewers_host(edge: EdgeFixture):
    url = f"{edge.upload_url}&comp=blocklist"

    reply = send("PUT", url, block_list_xml(["YQ=="]), {"x-viewer-host": "spoofed.example.org"})

    told = reply.json
    assert told["query"] == url.partition("?")[2]
    assert told["headers"]["host"] == API_HOST.decode()
    assert told["headers"]["x-viewer-host"] == edge.url.removeprefix("http://")
    assert (reply.status, reply.headers["x-ms-request-id"]) == (200, "api"), "the API's own answers stay as they are"
    assert edge.keys() == []


def test_upload_headers_are_filtered_by_the_policy(edge: EdgeFixture):
    reply = send("PUT", f"{edge.upload_url}&comp=blocklist", b"", {"Authorization": "Bearer x", "x-amz-acl": "y"})
    assert not {"authorization", "x-amz-acl"} & reply.json["headers"].keys()


def test_other_requests_reach_the_api_unchanged(edge: EdgeFixture):
    headers = {
        "Authorization": "Bearer token",
        "User-Agent": "@actions/cache-6.3.0",
        "Content-Type": "application/json",
    }

    told = send("POST", f"{edge.url}/twirp/a/b?c=%2F&c=d", b"{}", headers).json

    assert (told["path"], told["query"], told["size"]) == ("/twirp/a/b", "c=%2F&c=d", 2)
    assert {name: told["headers"][name.lower()] for name in headers} == headers


# ------------------------------------------------------------------ objects


@pytest.mark.parametrize("name", ["merged/0a1b", "parts/blob/0000000000001-a", "parts/blocks/YQ/0000000000001-a_b-"])
def test_object_is_read_whole_and_by_both_ranges(edge: EdgeFixture, name: str):
    url = edge.signed(Direction.OBJECT, edge.store(name))

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


def test_if_match_needs_the_archives_etag(edge: EdgeFixture):
    url = edge.signed(Direction.OBJECT, edge.store("merged/0"))

    assert send("GET", url, headers={"If-Match": f'"{edge.archive}"', "x-ms-range": "bytes=0-0"}).body == DATA[:1]
    for tag, status in ((f'"{edge.archive}"', 206), ('"another"', 200)):
        assert send("GET", url, headers={"If-Range": tag, "Range": "bytes=0-0"}).status == status
    other = send("GET", url, headers={"If-Match": '"another"'})
    assert (other.status, other.headers["x-ms-error-code"]) == (412, "ConditionNotMet")


def test_range_behind_the_end_gets_the_size(edge: EdgeFixture):
    """S3's own 416 isn't known to tell it."""
    behind = send("GET", edge.signed(Direction.OBJECT, edge.store("merged/0")), headers={"Range": "bytes=2048-"})
    assert (behind.status, behind.headers["Content-Range"]) == (416, "bytes */2048")


def test_path_that_normalizes_to_an_upload_is_the_apis(edge: EdgeFixture):
    """CloudFront picks the behavior by the normalized path, and sends on the other one, signed for the bucket."""
    query = edge.upload_url.partition("?")[2]
    told = send("PUT", f"{edge.url}/x/../blobs/upload/{edge.archive}?{query}", DATA, HOSTILE).json
    assert told["path"] == f"/x/../blobs/upload/{edge.archive}"
    assert edge.keys() == []


def test_refusal_of_the_bucket_has_a_request_id(edge: EdgeFixture):
    """No function runs for it, and BuildKit panics without one."""
    missing = send("GET", edge.signed(Direction.OBJECT, f"9/{edge.archive}/merged/never"))

    assert missing.status in (403, 404)
    assert missing.headers["x-ms-request-id"]
    assert b"<Error>" in missing.body


INERT = {name.lower(): value for name, value in INERT_HEADERS.items()}


def inert(reply: Reply) -> dict[str, str]:
    return {name: reply.headers.get(name, "") for name in INERT}


@pytest.mark.parametrize("place", ["parts/blob/1-r", "merged/0"])
def test_saved_page_is_served_as_bytes(edge: EdgeFixture, place: str):
    """The same goes for another tool's object of whatever type."""
    subject = f"{edge.archive}/{place}"
    edge.s3.put_object(Bucket=edge.bucket, Key=f"archives/{subject}", Body=PAGE, ContentType="text/html")
    url = edge.signed(Direction.OBJECT, f"{len(PAGE)}/{subject}")

    for reply in (send("GET", url), send("HEAD", url), send("GET", url, headers={"x-ms-range": "bytes=1-2"})):
        assert reply.headers["Content-Type"] == "application/octet-stream"
        assert inert(reply) == INERT


def test_errors_of_blobs_are_no_pages(edge: EdgeFixture):
    missing = send("GET", edge.signed(Direction.OBJECT, f"9/{edge.archive}/merged/never"))
    unsigned = send("GET", f"{edge.url}/blobs/object/9/{edge.archive}/merged/0?se=1&sig=x")
    too_long = send("GET", f"{edge.url}/blobs/object/{'x' * 9000}")
    assert [inert(reply) for reply in (missing, unsigned, too_long)] == [INERT] * 3


@pytest.mark.parametrize("headers", [{}, {"x-ms-blob-type": "AppendBlob"}, {"content-type": "text/html"}], ids=str)
def test_part_is_stored_as_bytes(edge: EdgeFixture, headers: dict[str, str]):
    body = b"" if "x-ms-blob-type" in headers else PAGE
    assert send("PUT", edge.upload_url, body, headers).status == 201
    assert edge.stored()["ContentType"] == "application/octet-stream"


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


def test_manifest_is_not_served(edge: EdgeFixture):
    assert send("GET", edge.signed(Direction.OBJECT, edge.store("manifest/m"))).status == 404


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_object_is_read_only(edge: EdgeFixture, method: str):
    subject = edge.store("merged/0")
    assert send(method, edge.signed(Direction.OBJECT, subject), b"").status == 405
    assert edge.stored()["Bytes"] == DATA


# ------------------------------------------------------------------ secrets and faults


def test_both_secrets_of_a_rotation_verify(edge: EdgeFixture, secrets: KnownValues):
    def status(secret: str) -> int:
        return edge.put(edge.signed(Direction.UPLOAD, edge.archive, secret=secret)).status

    secrets.content = {"url-signing-secrets": f"{SECRET} next"}
    assert (status(SECRET), status("next")) == (201, 201)
    secrets.content = {"url-signing-secrets": "next"}
    assert (status(SECRET), status("next")) == (403, 201)


def test_edge_without_a_secret_asks_to_retry(edge: EdgeFixture, secrets: KnownValues):
    secrets.content = {}

    reply = edge.put(edge.upload_url)

    assert (reply.status, reply.headers["x-ms-error-code"]) == (503, "ServerBusy")
    assert edge.keys() == []


def test_unreachable_bucket_asks_to_retry(template: Template, emulator_session: boto3.Session, secrets: KnownValues):
    s3 = emulator_session.client("s3", endpoint_url="http://127.0.0.1:9")
    signer = S3Signer(s3, "none", cast("Any", emulator_session.get_credentials()))
    with serve_edge(template, secrets, BucketOrigin(signer)) as url:
        reply = EdgeFixture(url, "none", s3).put(EdgeFixture(url, "none", s3).upload_url)
    assert reply.status == 503


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


def test_headers_and_query_pass_unchanged(edge: EdgeFixture):
    odd = {"x-odd": 'caf\xe9 "quoted" \\ back', "x-empty": ""}

    told = send("GET", f"{edge.url}/anything?a=%C3%A9&b=%22&c&d=", headers=odd).json

    assert {name: told["headers"][name] for name in odd} == odd
    assert told["query"] == "a=%C3%A9&b=%22&c=&d="
