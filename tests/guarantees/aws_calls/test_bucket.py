"""Errors of S3, and of whatever answers in its place, reach the bucket's callers as the port's exceptions."""

import logging
import time
from collections.abc import Iterator
from math import inf
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.exceptions import NoCredentialsError
from yarl import URL

from actions_cache.aws import clients as adapter
from actions_cache.aws.clients import QUICK_CALLS, new_session
from actions_cache.aws.s3 import S3Bucket
from actions_cache.aws.s3_stream import S3Stream, in_words
from actions_cache.domain.archive import Part
from actions_cache.domain.ranges import full_range
from actions_cache.ports import ObjectGone, Unavailable, WriteConflict
from dev.clients.driver import CacheDriver
from tests.guarantees.aws_calls.answers import keys_fail, respond
from tests.guarantees.aws_calls.faulty_aws import Call, FaultyAws, faulty_aws
from tests.guarantees.aws_calls.kinds import KINDS, Kind

LIST, HEAD, PUT, GET, DELETE = (
    Call("s3", operation, 1) for operation in ("ListObjectsV2", "HeadObject", "PutObject", "GetObject", "DeleteObjects")
)
ITEM = Call("dynamodb", "GetItem", 1)


def kind(name: str, service: str = "s3") -> Kind:
    return next(kind for kind in KINDS if (kind.name, kind.service) == (name, service))


@pytest.fixture
def aws(module_driver: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(adapter, "_logged", set())
    with faulty_aws() as aws:
        yield aws


@pytest.fixture
def bucket(module_driver: CacheDriver, aws: FaultyAws) -> S3Bucket:
    """Return a bucket with a session as the functions make it."""
    return S3Bucket(new_session().client("s3", config=QUICK_CALLS), module_driver.services.settings.bucket)


def keys_of(bucket: S3Bucket) -> list[str]:
    return [part.key for part in bucket.list("some/")]


# ---------------------------------------------------------------- deleting


@pytest.fixture
def written(bucket: S3Bucket) -> list[str]:
    return [bucket.write_once(f"some/{time.monotonic_ns()}-{i}", b"bytes").key for i in range(3)]


def test_only_keys_that_stayed_are_deleted_again(bucket: S3Bucket, aws: FaultyAws, written):
    asked: list[str] = []

    def one_stays(request: Any, operation: str, effect: Any) -> Any:
        asked.append(str(request.body))
        if len(asked) > 1:
            return effect()
        request.body = request.body.replace(written[1].encode(), b"another")
        effect()
        body = f"<DeleteResult><Error><Key>{written[1]}</Key><Code>InternalError</Code></Error></DeleteResult>"
        return respond(request, 200, body.encode())

    with aws.answering(DELETE, Kind("one", "s3", frozenset(), "", one_stays), 2):
        bucket.delete(written)
    assert asked[1].count("<Key>") == 1
    assert not set(written) & set(keys_of(bucket))


def test_keys_that_stay_for_good_are_deleted_once(bucket: S3Bucket, aws: FaultyAws, written):
    with aws.answering(DELETE, Kind("mfa", "s3", frozenset(), "", keys_fail("MethodNotAllowed")), inf):
        with pytest.raises(Unavailable, match="MethodNotAllowed"):
            bucket.delete(written)
        assert aws.met == 1


# ---------------------------------------------------------------- writing, reading, listing


def test_write_in_conflict_is_tried_again(bucket: S3Bucket, aws: FaultyAws):
    """S3's 409 doesn't tell who wins."""
    key = f"some/{time.monotonic_ns()}"
    with aws.answering(PUT, kind("409 ConditionalRequestConflict"), 2):
        assert bucket.write_once(key, b"mine").size == 4
    with aws.answering(PUT, kind("409 ConditionalRequestConflict"), inf), pytest.raises(Unavailable):
        bucket.write_once(f"{key}-more", b"mine")
    with pytest.raises(WriteConflict):
        bucket.write_once(key, b"other")


@pytest.mark.parametrize("name", ["403 AccessDenied", "503 SlowDown", "400 ExpiredToken", "no credentials"])
def test_refused_object_is_not_called_gone(bucket: S3Bucket, aws: FaultyAws, name):
    """S3 answers 403 for a missing object too if the caller lacks ListBucket."""
    with aws.answering(HEAD, kind(name), inf), pytest.raises(Unavailable):
        bucket.stat("some/missing")
    with aws.answering(GET, kind(name), inf), pytest.raises(Unavailable):
        bucket.read(full_range(Part("some/missing", 4, '"etag"')))
    assert bucket.stat("some/missing") is None
    with pytest.raises(ObjectGone):
        bucket.read(full_range(Part("some/missing", 4, '"etag"')))


@pytest.mark.parametrize("name", ["HTML from a proxy", "nothing from a proxy", "a page that breaks off"])
def test_broken_listing_is_not_read_as_an_empty_one(bucket: S3Bucket, aws: FaultyAws, written, name):
    """A commit would refuse what arrived, and a sweep would leave it."""
    with aws.answering(LIST, kind(name), inf), pytest.raises(Unavailable):
        keys_of(bucket)
    assert set(written) <= set(keys_of(bucket))


@pytest.mark.parametrize("name", ["HTML from a proxy", "nothing from a proxy"])
def test_broken_item_is_not_read_as_a_missing_one(module_driver: CacheDriver, aws: FaultyAws, name):
    """A restore would miss, a Finalize would find no upload."""
    module_driver.services.check_schema()
    for operation, ask in {
        "GetItem": lambda: module_driver.services.table.archive("a" * 32),
        "BatchGetItem": lambda: module_driver.services.table.known_archives(["a" * 32]),
        "Query": module_driver.services.repositories.ids,
    }.items():
        with aws.answering(Call("dynamodb", operation, 1), kind(name, "dynamodb"), inf), pytest.raises(Unavailable):
            ask()


def test_missing_credentials_are_an_outage(module_driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    """Presigning makes no request, but still needs them."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    client = session.client("s3", config=QUICK_CALLS)

    def lack(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(vars(client)["_request_signer"]._credentials, "get_frozen_credentials", lack)
    with pytest.raises(Unavailable, match="credentials"):
        S3Bucket(client, "bucket").presign_download(Part("key", 1, '"etag"'), 60)


# ---------------------------------------------------------------- permissions


@pytest.mark.parametrize(
    ("call", "refusal", "permission"),
    [
        (HEAD, kind("403 AccessDenied"), "s3:GetObject, or s3:ListBucket if the object is missing"),
        (DELETE, kind("200 with AccessDenied for each key"), "s3:DeleteObject"),
        (PUT, kind("403 AccessDenied"), "s3:PutObject"),
        (ITEM, kind("AccessDenied in a role's first seconds", "dynamodb"), "dynamodb:GetItem"),
    ],
)
def test_missing_permission_is_logged_once(
    module_driver: CacheDriver, bucket: S3Bucket, aws: FaultyAws, caplog, call: Call, refusal: Kind, permission: str
):
    ask = {
        HEAD: lambda: bucket.stat("k"),
        DELETE: lambda: bucket.delete(["k"]),
        PUT: lambda: bucket.write_once("k", b""),
        ITEM: lambda: module_driver.services.repositories.repository("77"),
    }
    with aws.answering(call, refusal, inf):
        for _ in range(2):
            with pytest.raises(Unavailable):
                ask[call]()
    [logged] = [record for record in caplog.records if "lacks a permission" in record.getMessage()]
    assert (logged.levelno, logged.getMessage().partition(": ")[2]) == (logging.ERROR, permission)


# ---------------------------------------------------------------- the stream's own requests


class FixedSigner:
    """Signs nothing, and leads to the test's server."""

    def __init__(self, url: URL) -> None:
        self._url = url

    def signed(self, _: str, key: str, headers: dict[str, str]) -> tuple[URL, dict[str, str]]:
        return self._url / key, {**headers, "X-Amz-Security-Token": "the-roles-own"}


async def nothing() -> Any:
    yield b"body"


async def test_redirect_of_a_put_gets_no_credentials():
    """The signature is for another host."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        await request.read()
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(application) as server:
        stream = S3Stream(FixedSigner(server.make_url("/")))  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match="307"):
            await stream.write("key", 4, nothing())
        await stream.close()
    assert paths == ["/key"]


def test_http_error_never_quotes_request_headers():
    request = aiohttp.RequestInfo(URL("http://store/key"), "PUT", {"X-Amz-Security-Token": "the-roles-own"}, URL())  # type: ignore[arg-type]
    error = aiohttp.ClientResponseError(request, (), status=400, message="Bad status line")
    assert "the-roles-own" in repr(error), "so it isn't quoted as it is"
    assert in_words(error) == "ClientResponseError: Bad status line"
