"""The edge makes of a URL what the core makes of it. The runtime is the process that the local run starts."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from actions_cache.domain.errors import InvalidRequest, RangeNotSatisfiable
from actions_cache.domain.object_keys import ArchiveKeys, check_block_id, object_subject
from actions_cache.domain.ranges import fits_if_match, parse_range, range_applies
from actions_cache.domain.signing import Direction, signed_path
from actions_cache.http.errors import AZURE
from actions_cache.http.headers import base_headers
from functions.api.uploads import block_id_of

ROOT = Path(__file__).parents[3]
KEYS = ArchiveKeys("0123456789abcdef0123456789abcdef")
REQUEST_ID = "JzrC_x-9=="
SAFE_REQUEST_ID = "JzrC_x-9"
SECRETS = ("älteres-geheimnis", "newer-secret")
FAR_FUTURE = 99_999_999_999_000

block_ids = st.binary(min_size=1, max_size=64).map(lambda raw: base64.b64encode(raw).decode())
texts = st.text(alphabet="AQg01+/=-_ %\néß€", max_size=100)


class Edge:
    """The process; one call at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, url: str, **headers: str) -> dict[str, Any]:
        """`url` as it goes over the wire."""
        path, _, query = url.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&")]
        sent = {"host": "cache.example", "content-length": "5"} | headers
        request = {
            "method": method,
            "uri": path,
            "querystring": {name: {"value": value} for name, _, value in pairs},
            "headers": {name: {"value": value} for name, value in sent.items()},
            "cookies": {},
        }
        context = {"eventType": "viewer-request", "requestId": REQUEST_ID}
        self.send({"id": 1, "run": "viewer-request", "event": {"context": context, "request": request}})
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def put_block(self, sent_block_id: str) -> dict[str, Any]:
        return self.ask("PUT", f"{upload_url()}&comp=block&blockid={sent_block_id}")


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    process = subprocess.Popen(
        ["node", ROOT / "dev/local/edge/runtime.mjs", f"viewer-request={ROOT / 'functions/edge/viewer_request.js'}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        running = Edge(process)
        running.send({"kvs": {"url-signing-secrets": " ".join(SECRETS)}})
        yield running
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def upload_url(secret: str = SECRETS[1]) -> str:
    return signed_path(Direction.UPLOAD, KEYS.archive_id, FAR_FUTURE, secret)


def check_arrival(answer: dict[str, Any], key: Callable[[int], str]) -> None:
    """Check the rewritten path against the core's key at that time, whose digits are as many at any time."""
    uri: str = answer["request"]["uri"]
    millis = uri.rpartition("/")[2].partition("-")[0]
    assert len(millis) == 13
    assert uri == "/" + key(int(millis))


@given(block_id=block_ids)
@example(block_id=base64.b64encode(b"\xfb\xff\xbe" * 21).decode())
def test_edge_api_and_core_agree_on_block_key(edge: Edge, block_id: str) -> None:
    """API Gateway decodes a raw `+` to a space, as query decoders do; the edge sees it undecoded."""
    for sent in (quote(block_id, safe=""), quote(block_id, safe="+/="), block_id, block_id.replace("+", " ")):
        check_arrival(edge.put_block(sent), lambda millis: KEYS.block(block_id, millis, SAFE_REQUEST_ID))
        request = Request({"type": "http", "query_string": f"comp=block&blockid={sent}".encode(), "headers": []})
        assert block_id_of(request) == block_id


tags = st.sampled_from(['"{id}"', 'W/"{id}"', '"x"', "*", "", " ", ",", "Wed, 21 Oct 2015 07:28:00 GMT"])


@given(sent=st.lists(tags, min_size=1, max_size=3).map(", ".join))
def test_edge_and_core_match_etags_alike(edge: Edge, sent: str) -> None:
    header, etag = sent.replace("{id}", KEYS.archive_id), f'"{KEYS.archive_id}"'
    url = signed_path(Direction.OBJECT, object_subject(KEYS.merged("3f2a"), 9), FAR_FUTURE, SECRETS[0])
    answer = edge.ask("GET", url, **{"if-match": header})
    assert ("request" in answer) == fits_if_match(header, etag)
    ranged = edge.ask("GET", url, **{"if-range": header, "range": "bytes=0-1"})
    assert ("range" in ranged["request"]["headers"]) == range_applies(header, etag)


def test_edge_and_core_agree_on_blob_keys(edge: Edge) -> None:
    check_arrival(edge.ask("PUT", upload_url()), lambda millis: KEYS.blob(millis, SAFE_REQUEST_ID))
    for kind in ("AppendBlob", "appendblob"):
        begun = edge.ask("PUT", upload_url(), **{"x-ms-blob-type": kind, "content-length": "0"})
        check_arrival(begun, lambda millis: KEYS.new_append(millis, SAFE_REQUEST_ID))


@pytest.mark.parametrize("offset", [None, "0", "007", "67108864", "999999999999999", "1" * 16, "", "-1", "x", "../.."])
def test_edge_and_core_agree_on_append_block_key(edge: Edge, offset: str | None) -> None:
    headers = {} if offset is None else {"x-ms-blob-condition-appendpos": offset}
    answer = edge.ask("PUT", f"{upload_url()}&comp=appendblock", **headers)
    check_arrival(answer, lambda millis: KEYS.appended(offset, millis, SAFE_REQUEST_ID))


@given(block_id=block_ids | texts)
@example(block_id="")
@example(block_id="QQ")
@example(block_id="QQ==\n")
@example(block_id="QR==")
@example(block_id=base64.b64encode(bytes(65)).decode())
@example(block_id=base64.b64encode(bytes(66)).decode())
def test_edge_and_core_accept_same_block_ids(edge: Edge, block_id: str) -> None:
    try:
        # A space is what a decoded `+` may have become.
        check_block_id(block_id.replace(" ", "+"))
    except InvalidRequest:
        taken_by_core = False
    else:
        taken_by_core = True
    answer = edge.put_block(quote(block_id, safe=""))
    assert ("request" in answer) == taken_by_core
    if not taken_by_core:
        assert answer["response"]["statusCode"] == 400


@pytest.mark.parametrize("secret", SECRETS)
def test_edge_accepts_core_signatures(edge: Edge, secret: str) -> None:
    assert "request" in edge.ask("PUT", upload_url(secret))
    for key in (KEYS.merged("3f2a"), KEYS.blob(1, "r"), KEYS.block("+/+/", 1, "r-_")):
        url = signed_path(Direction.OBJECT, object_subject(key, 1), FAR_FUTURE, secret)
        assert edge.ask("GET", url)["request"]["uri"] == f"/{key}"


offsets = st.one_of(st.just(""), st.integers(0, 120).map(str), st.just("9" * 30), st.just("007"))
ranges = st.one_of(st.builds("bytes={}-{}".format, offsets, offsets), st.text("bytes=- 0123456789,", max_size=14))


@given(header=ranges, size=st.integers(1, 100))
@example(header="bytes=-0", size=1)
@example(header=" BYTES = 1 - 2 ", size=100)
def test_edge_and_core_parse_ranges_alike(edge: Edge, header: str, size: int) -> None:
    url = signed_path(Direction.OBJECT, object_subject(KEYS.merged("3f2a"), size), FAR_FUTURE, SECRETS[0])
    answer = edge.ask("GET", url, **{"x-ms-range": header})
    try:
        wanted = parse_range(header, size)
    except RangeNotSatisfiable:
        refused = answer["response"]
        assert (refused["statusCode"], refused["headers"]["content-range"]["value"]) == (416, f"bytes */{size}")
    else:
        sent = answer["request"]["headers"].get("range")
        assert sent == (None if wanted is None else {"value": f"bytes={wanted.start}-{wanted.end - 1}"})


def test_edge_refuses_signatures_for_other_uses(edge: Edge) -> None:
    download = urlsplit(signed_path(Direction.DOWNLOAD, KEYS.archive_id, FAR_FUTURE, SECRETS[0])).query
    other = urlsplit(signed_path(Direction.UPLOAD, "f" * 32, FAR_FUTURE, SECRETS[0])).query
    unknown = urlsplit(upload_url("another-secret")).query
    for query in (download, other, unknown):
        answer = edge.ask("PUT", f"/blobs/upload/{KEYS.archive_id}?{query}")
        assert answer["response"]["statusCode"] == 403


def test_edge_and_core_errors_match(edge: Edge) -> None:
    forged = edge.ask("PUT", f"/blobs/upload/{KEYS.archive_id}?se=1&sig=x")["response"]
    message = "the signature of this upload URL doesn't fit; ask the cache service for a new one"
    expected = AZURE.error(403, "AuthenticationFailed", message)
    headers = {**expected.headers, **base_headers(REQUEST_ID)}
    assert forged["statusCode"] == expected.status
    assert forged["headers"] == {name.lower(): {"value": value} for name, value in headers.items()}
    # The declarations quote differently.
    assert forged["body"].partition("?>")[2].encode() == expected.body.partition(b"?>")[2].strip()
    expired = signed_path(Direction.UPLOAD, KEYS.archive_id, 1_000_000_000_000, SECRETS[0])
    refusal = "this upload URL has expired; ask the cache service for a new one"
    assert refusal in edge.ask("PUT", expired)["response"]["body"]
