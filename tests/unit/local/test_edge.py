"""The local edge: what the distribution's own functions make of requests, on a real store."""

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
from actions_cache.http import azure
from dev.local.edge import runtime as runtime_module
from dev.local.edge.app import API_HOST, Edge
from dev.local.edge.distribution import Distribution
from dev.local.edge.origin_bucket import BucketOrigin
from dev.local.edge.runtime import FUNCTIONS, EdgeRuntime
from dev.local.endpoints import Endpoints
from dev.local.template import Template
from tests.support.clients.wire import Reply, block_list_xml, send
from tests.support.serving import served

SECRET = "known-to-edge-and-api"
DATA = bytes(range(256)) * 8
PAGE = b"<!doctype html><script>alert()</script>"
MIB = 1024 * 1024


@dataclass
class KnownValues:
    """A KeyValueStore that holds what a test says."""

    content: Mapping[str, str] = field(default_factory=lambda: {"url-signing-secrets": SECRET})

    async def current(self) -> Mapping[str, str]:
        return self.content


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An API that tells what reached it, under an id of its own."""
    request = Request(scope, receive)
    body = await request.body()
    told = {"path": request.url.path, "query": request.url.query, "headers": dict(request.headers), "size": len(body)}
    await JSONResponse(told, headers={"x-ms-request-id": "api", "x-ms-version": "api"})(scope, receive, send)


@dataclass
class Stage:
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
        return [it["Key"] for it in listed.get("Contents", ())]

    def stored(self) -> dict[str, Any]:
        """The one object there is."""
        [key] = self.keys()
        found: dict[str, Any] = self.s3.get_object(Bucket=self.bucket, Key=key)
        return found | {"Key": key, "Bytes": found["Body"].read()}

    def store(self, name: str, body: bytes = DATA) -> str:
        """Returns: the subject of its URL."""
        subject = f"{self.archive}/{name}"
        self.s3.put_object(Bucket=self.bucket, Key=f"archives/{subject}", Body=body)
        return f"{len(body)}/{subject}"


@pytest.fixture(scope="module")
def bucket(endpoints: Endpoints, engine_session: boto3.Session) -> str:
    name = f"edge-{uuid.uuid4().hex[:8]}"
    engine_session.client("s3", endpoint_url=endpoints.store).create_bucket(Bucket=name)
    return name


@pytest.fixture
def secrets() -> KnownValues:
    return KnownValues()


@pytest.fixture
def stage(
    template: Template, endpoints: Endpoints, engine_session: boto3.Session, bucket: str, secrets: KnownValues
) -> Iterator[Stage]:
    s3 = engine_session.client("s3", endpoint_url=endpoints.store)
    signer = S3Signer(s3, bucket, cast("Any", engine_session.get_credentials()))
    with at_the_edge(template, secrets, BucketOrigin(signer)) as url:
        yield Stage(url, bucket, s3)


def at_the_edge(template: Template, secrets: KnownValues, bucket: BucketOrigin, api: ASGIApp = echo) -> Any:
    edge = Edge(Distribution.of(template), EdgeRuntime(), secrets, bucket, api)
    return served(edge, lifespan="on")


# ------------------------------------------------------------------ parts


def test_a_blob_is_one_object_under_a_key_of_its_own(stage: Stage):
    reply = stage.put(stage.upload_url, x_ms_blob_type="BlockBlob")

    assert reply.status == 201
    assert all(reply.headers[name] for name in ("x-ms-request-id", "x-ms-version", "ETag", "Last-Modified"))
    assert stage.stored()["Bytes"] == DATA
    assert re.fullmatch(rf"archives/{stage.archive}/parts/blob/\d{{13}}-[A-Za-z0-9_-]{{40,}}", stage.stored()["Key"])


def test_a_block_stands_where_the_block_list_looks_for_it(stage: Stage):
    block_id = base64.b64encode(b"\xfb\xff\xfe?>" + bytes(16)).decode()

    reply = stage.put(f"{stage.upload_url}&comp=block&blockid={quote(block_id, safe='')}")

    assert reply.status == 201
    assert stage.stored()["Key"].startswith(ArchiveKeys(stage.archive).block_prefix(block_id))


def test_each_arrival_has_a_key_of_its_own_and_the_later_one_sorts_last(stage: Stage):
    """Parts are write-once."""
    for body in (b"first", b"second"):
        assert stage.put(stage.upload_url, body).status == 201
        time.sleep(0.002)

    earlier, later = sorted(stage.keys())
    assert stage.s3.get_object(Bucket=stage.bucket, Key=earlier)["Body"].read() == b"first"
    assert stage.s3.get_object(Bucket=stage.bucket, Key=later)["Body"].read() == b"second"


def test_an_empty_blob_is_an_empty_object(stage: Stage):
    assert stage.put(stage.upload_url, b"").status == 201
    assert stage.stored()["Bytes"] == b""


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


def test_nothing_of_a_clients_headers_becomes_part_of_what_is_stored(stage: Stage):
    """CloudFront signs what it sends, so the bucket would believe all of them."""
    assert send("PUT", stage.upload_url, DATA, HOSTILE).status == 201

    stored = stage.stored()
    assert stored["Bytes"] == DATA
    assert stored["Metadata"] == {}
    assert "TagCount" not in stored
    assert "WebsiteRedirectLocation" not in stored
    for name in ("ContentEncoding", "ContentDisposition", "CacheControl", "StorageClass"):
        assert stored.get(name) in (None, "", "STANDARD"), name
    assert stored["ContentType"] != "text/html"


def copying_from(stage: Stage) -> Mapping[str, str]:
    secret = ArchiveKeys(uuid.uuid4().hex).blob(1, "of-another-repository")
    stage.s3.put_object(Bucket=stage.bucket, Key=secret, Body=b"another repository's")
    return {"x-amz-copy-source": f"/{stage.bucket}/{secret}"}


def test_no_repository_can_copy_another_ones_bytes_into_its_own_archive(stage: Stage):
    """Repositories and scopes are isolated from each other."""
    assert send("PUT", stage.upload_url, DATA, copying_from(stage)).status == 201
    assert stage.stored()["Bytes"] == DATA


def test_without_the_functions_allow_list_the_copy_would_succeed(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """So the test before this one can fail."""
    source = FUNCTIONS["viewer-request"].read_text()
    careless = source.replace("request.headers = headers;", "")
    assert careless != source
    (tmp_path / "careless.js").write_text(careless)
    monkeypatch.setitem(runtime_module.FUNCTIONS, "viewer-request", tmp_path / "careless.js")

    send("PUT", stage.upload_url, b"", copying_from(stage))

    assert stage.stored()["Bytes"] == b"another repository's"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"seconds": -1}, 403, "AuthenticationFailed"),
        ({"secret": "another"}, 403, "AuthenticationFailed"),
        ({"direction": Direction.DOWNLOAD}, 403, "AuthenticationFailed"),
        ({"subject": "0" * 32}, 403, "AuthenticationFailed"),
    ],
    ids=["expired", "signed by nobody we know", "for another direction", "for another archive"],
)
def test_a_url_that_isnt_good_is_refused_in_azures_words_and_stores_nothing(
    stage: Stage, change: Mapping[str, Any], status: int, code: str
):
    args: dict[str, Any] = {"direction": Direction.UPLOAD, "subject": stage.archive, **change}
    query = stage.signed(**args).partition("?")[2]

    reply = stage.put(f"{stage.url}/blobs/upload/{stage.archive}?{query}")

    assert (reply.status, reply.headers["x-ms-error-code"]) == (status, code)
    assert reply.headers["x-ms-request-id"]
    assert b"ask the cache service for a new one" in reply.body
    assert stage.keys() == []


def test_a_block_over_the_stores_cap_is_refused_before_its_bytes_come(stage: Stage):
    reply = send("PUT", stage.upload_url, b"", {"Content-Length": str(5 * 1024**3 + 1)})

    assert (reply.status, reply.headers["x-ms-error-code"]) == (413, "RequestBodyTooLarge")
    assert b"send more as blocks" in reply.body


# ------------------------------------------------------------------ the API's


def test_a_block_list_goes_to_the_api_with_the_host_that_the_client_asked(stage: Stage):
    url = f"{stage.upload_url}&comp=blocklist"

    reply = send("PUT", url, block_list_xml(["YQ=="]), {"x-viewer-host": "spoofed.example.org"})

    told = reply.json
    assert told["query"] == url.partition("?")[2]
    assert told["headers"]["host"] == API_HOST.decode()
    assert told["headers"]["x-viewer-host"] == stage.url.removeprefix("http://")
    assert (reply.status, reply.headers["x-ms-request-id"]) == (200, "api"), "the API's own answers stay as they are"
    assert stage.keys() == []


def test_of_an_upload_request_the_api_gets_no_header_that_the_policy_doesnt_name(stage: Stage):
    reply = send("PUT", f"{stage.upload_url}&comp=blocklist", b"", {"Authorization": "Bearer x", "x-amz-acl": "y"})
    assert not {"authorization", "x-amz-acl"} & reply.json["headers"].keys()


def test_everything_else_reaches_the_api_whole(stage: Stage):
    headers = {
        "Authorization": "Bearer token",
        "User-Agent": "@actions/cache-6.3.0",
        "Content-Type": "application/json",
    }

    told = send("POST", f"{stage.url}/twirp/a/b?c=%2F&c=d", b"{}", headers).json

    assert (told["path"], told["query"], told["size"]) == ("/twirp/a/b", "c=%2F&c=d", 2)
    assert {name: told["headers"][name.lower()] for name in headers} == headers


# ------------------------------------------------------------------ objects


@pytest.mark.parametrize("name", ["merged/0a1b", "parts/blob/0000000000001-a", "parts/blocks/YQ/0000000000001-a_b-"])
def test_an_object_is_read_whole_and_by_either_kind_of_range(stage: Stage, name: str):
    url = stage.signed(Direction.OBJECT, stage.store(name))

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
        assert reply.headers["ETag"] == f'"{stage.archive}"', "the archive's, as the API gives it"
        assert reply.headers["x-ms-request-id"]


def test_if_match_holds_for_the_archives_etag_and_for_no_other(stage: Stage):
    url = stage.signed(Direction.OBJECT, stage.store("merged/0"))

    assert send("GET", url, headers={"If-Match": f'"{stage.archive}"', "x-ms-range": "bytes=0-0"}).body == DATA[:1]
    for tag, status in ((f'"{stage.archive}"', 206), ('"another"', 200)):
        assert send("GET", url, headers={"If-Range": tag, "Range": "bytes=0-0"}).status == status
    other = send("GET", url, headers={"If-Match": '"another"'})
    assert (other.status, other.headers["x-ms-error-code"]) == (412, "ConditionNotMet")


def test_a_range_behind_the_end_is_told_the_size(stage: Stage):
    """S3's own 416 isn't known to tell it."""
    behind = send("GET", stage.signed(Direction.OBJECT, stage.store("merged/0")), headers={"Range": "bytes=2048-"})
    assert (behind.status, behind.headers["Content-Range"]) == (416, "bytes */2048")


def test_a_path_that_only_normalizes_to_an_upload_is_the_apis(stage: Stage):
    """CloudFront picks the behavior by the normalized path, and sends on the other one, signed for the bucket."""
    query = stage.upload_url.partition("?")[2]
    told = send("PUT", f"{stage.url}/x/../blobs/upload/{stage.archive}?{query}", DATA, HOSTILE).json
    assert told["path"] == f"/x/../blobs/upload/{stage.archive}"
    assert stage.keys() == []


def test_what_the_bucket_refuses_carries_an_id_all_the_same(stage: Stage):
    """No function runs for it, and BuildKit panics without one."""
    missing = send("GET", stage.signed(Direction.OBJECT, f"9/{stage.archive}/merged/never"))

    assert missing.status in (403, 404)
    assert missing.headers["x-ms-request-id"]
    assert b"<Error>" in missing.body


INERT = {name.lower(): value for name, value in azure.INERT.items()}


def inert(reply: Reply) -> dict[str, str]:
    return {name: reply.headers.get(name, "") for name in INERT}


@pytest.mark.parametrize("place", ["parts/blob/1-r", "merged/0"])
def test_what_a_job_saved_is_no_page_of_this_origin(stage: Stage, place: str):
    """The same goes for another tool's object of whatever type."""
    subject = f"{stage.archive}/{place}"
    stage.s3.put_object(Bucket=stage.bucket, Key=f"archives/{subject}", Body=PAGE, ContentType="text/html")
    url = stage.signed(Direction.OBJECT, f"{len(PAGE)}/{subject}")

    for reply in (send("GET", url), send("HEAD", url), send("GET", url, headers={"x-ms-range": "bytes=1-2"})):
        assert reply.headers["Content-Type"] == "application/octet-stream"
        assert inert(reply) == INERT


def test_errors_of_blobs_are_no_pages_either(stage: Stage):
    missing = send("GET", stage.signed(Direction.OBJECT, f"9/{stage.archive}/merged/never"))
    unsigned = send("GET", f"{stage.url}/blobs/object/9/{stage.archive}/merged/0?se=1&sig=x")
    too_long = send("GET", f"{stage.url}/blobs/object/{'x' * 9000}")
    assert [inert(reply) for reply in (missing, unsigned, too_long)] == [INERT] * 3


@pytest.mark.parametrize("headers", [{}, {"x-ms-blob-type": "AppendBlob"}, {"content-type": "text/html"}], ids=str)
def test_a_part_is_stored_with_the_type_that_no_page_has(stage: Stage, headers: dict[str, str]):
    body = b"" if "x-ms-blob-type" in headers else PAGE
    assert send("PUT", stage.upload_url, body, headers).status == 201
    assert stage.stored()["ContentType"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/blobs/download/x", "application/xml", "<Code>InvalidUri</Code>"),
        ("/twirp/service/method", "application/json", '"code": "invalid_argument"'),
        ("/_apis/artifactcache/cache", "application/json", '"typeKey"'),
        ("/repos/a/b/actions/caches", "application/json; charset=utf-8", '"documentation_url"'),
        ("/manage/role", "application/json; charset=utf-8", '"documentation_url"'),
        ("/", "application/json", '"msg"'),
    ],
)
def test_what_the_edge_refuses_by_itself_is_said_as_the_path_wants_it(stage: Stage, path: str, kind: str, said: str):
    reply = send("POST", f"{stage.url}{path}?a={'x' * 9000}", b"")
    assert (reply.status, reply.headers["Content-Type"]) == (414, kind)
    assert said in reply.body.decode()
    assert "8192" in reply.body.decode()


def test_a_manifest_is_no_object_whatever_its_signature(stage: Stage):
    assert send("GET", stage.signed(Direction.OBJECT, stage.store("manifest/m"))).status == 404


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_an_object_is_only_read(stage: Stage, method: str):
    subject = stage.store("merged/0")
    assert send(method, stage.signed(Direction.OBJECT, subject), b"").status == 405
    assert stage.stored()["Bytes"] == DATA


# ------------------------------------------------------------------ secrets and faults


def test_both_secrets_of_a_rotation_verify_and_a_retired_one_no_more(stage: Stage, secrets: KnownValues):
    def status(secret: str) -> int:
        return stage.put(stage.signed(Direction.UPLOAD, stage.archive, secret=secret)).status

    secrets.content = {"url-signing-secrets": f"{SECRET} next"}
    assert (status(SECRET), status("next")) == (201, 201)
    secrets.content = {"url-signing-secrets": "next"}
    assert (status(SECRET), status("next")) == (403, 201)


def test_an_edge_that_knows_no_secret_yet_asks_to_come_again(stage: Stage, secrets: KnownValues):
    secrets.content = {}

    reply = stage.put(stage.upload_url)

    assert (reply.status, reply.headers["x-ms-error-code"]) == (503, "ServerBusy")
    assert stage.keys() == []


def test_a_bucket_that_doesnt_answer_is_said_so_that_the_client_sends_again(
    template: Template, engine_session: boto3.Session, secrets: KnownValues
):
    s3 = engine_session.client("s3", endpoint_url="http://127.0.0.1:9")
    signer = S3Signer(s3, "none", cast("Any", engine_session.get_credentials()))
    with at_the_edge(template, secrets, BucketOrigin(signer)) as url:
        reply = Stage(url, "none", s3).put(Stage(url, "none", s3).upload_url)
    assert reply.status == 503


def test_the_runtime_starts_again_should_it_end(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    started: list[Any] = []
    start = asyncio.create_subprocess_exec

    async def noted(*args: Any, **options: Any) -> Any:
        started.append(await start(*args, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    assert stage.put(stage.upload_url).status == 201
    started[0].kill()
    deadline = time.monotonic() + 10
    while stage.put(stage.upload_url).status != 201:
        assert time.monotonic() < deadline
    assert len(started) == 2


def test_any_header_and_query_pass_as_they_were_sent(stage: Stage):
    odd = {"x-odd": 'caf\xe9 "quoted" \\ back', "x-empty": ""}

    told = send("GET", f"{stage.url}/anything?a=%C3%A9&b=%22&c&d=", headers=odd).json

    assert {name: told["headers"][name] for name in odd} == odd
    assert told["query"] == "a=%C3%A9&b=%22&c=&d="
