"""Errors of S3, and of anything in its place, reach the bucket's callers in the port's words."""

import logging
import time
from collections.abc import Iterator
from math import inf
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from botocore.exceptions import NoCredentialsError
from yarl import URL

from actions_cache.aws import clients as adapter
from actions_cache.aws.clients import QUICK_CALLS, new_session
from actions_cache.aws.s3 import S3Bucket
from actions_cache.aws.s3_stream import S3Stream, in_words
from actions_cache.domain.archive import Part
from actions_cache.domain.ranges import full_range
from actions_cache.ports import ObjectGone, Unavailable, WriteConflict
from tests.guarantees.aws_calls.kinds import KINDS, Kind, _keys_fail, _respond
from tests.guarantees.aws_calls.meaner import Call, Meaner, meaner_aws
from tests.support.journey import Journey

LIST, HEAD, PUT, GET, DELETE = (
    Call("s3", operation, 1) for operation in ("ListObjectsV2", "HeadObject", "PutObject", "GetObject", "DeleteObjects")
)


def kind(name: str, service: str = "s3") -> Kind:
    return next(it for it in KINDS if (it.name, it.service) == (name, service))


@pytest.fixture
def aws(of_the_module: Journey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meaner]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(adapter, "_told", set())
    with meaner_aws() as aws:
        yield aws


@pytest.fixture
def bucket(of_the_module: Journey, aws: Meaner) -> S3Bucket:
    """Return a bucket with a session as the functions make it."""
    return S3Bucket(new_session().client("s3", config=QUICK_CALLS), of_the_module.services.settings.bucket)


def keys_of(bucket: S3Bucket) -> list[str]:
    return [part.key for part in bucket.list("some/")]


# ---------------------------------------------------------------- deleting


@pytest.fixture
def written(bucket: S3Bucket) -> list[str]:
    return [bucket.write_once(f"some/{time.monotonic_ns()}-{it}", b"bytes").key for it in range(3)]


def test_keys_that_stay_for_now_are_asked_for_again(bucket: S3Bucket, aws: Meaner, written):
    with aws.answering(DELETE, kind("200 with SlowDown for each key"), 3):
        bucket.delete(written)
    assert not set(written) & set(keys_of(bucket))


def test_only_the_keys_that_stayed_are_asked_for_again(bucket: S3Bucket, aws: Meaner, written):
    asked: list[str] = []

    def one_stays(request: Any, operation: str, effect: Any) -> Any:
        asked.append(str(request.body))
        request.body = request.body.replace(written[1].encode(), b"another") if len(asked) == 1 else request.body
        answer = effect()
        if len(asked) > 1:
            return answer
        body = f"<DeleteResult><Error><Key>{written[1]}</Key><Code>InternalError</Code></Error></DeleteResult>"
        return _respond(request, 200, body.encode())

    with aws.answering(DELETE, Kind("one", "s3", frozenset(), "", one_stays), 2):
        bucket.delete(written)
    assert asked[1].count("<Key>") == 1
    assert not set(written) & set(keys_of(bucket))


def test_keys_that_stay_for_good_are_asked_for_once(bucket: S3Bucket, aws: Meaner, written):
    with aws.answering(DELETE, Kind("mfa", "s3", frozenset(), "", _keys_fail("MethodNotAllowed")), inf):
        with pytest.raises(Unavailable, match="MethodNotAllowed"):
            bucket.delete(written)
        assert aws.met == 1


# ---------------------------------------------------------------- writing, reading, listing


def test_a_write_beside_another_of_its_key_is_tried_again(bucket: S3Bucket, aws: Meaner):
    """S3's 409 doesn't say whose key it is."""
    key = f"some/{time.monotonic_ns()}"
    with aws.answering(PUT, kind("409 ConditionalRequestConflict"), 2):
        assert bucket.write_once(key, b"mine").size == 4
    with aws.answering(PUT, kind("409 ConditionalRequestConflict"), inf), pytest.raises(Unavailable):
        bucket.write_once(f"{key}-more", b"mine")
    with pytest.raises(WriteConflict):
        bucket.write_once(key, b"other")


@pytest.mark.parametrize("name", ["403 AccessDenied", "503 SlowDown", "400 ExpiredToken", "no credentials"])
def test_an_object_that_cannot_be_asked_for_is_not_called_gone(bucket: S3Bucket, aws: Meaner, name):
    """Without ListBucket, S3 says 403 of a missing object too."""
    with aws.answering(HEAD, kind(name), inf), pytest.raises(Unavailable):
        bucket.stat("some/missing")
    with aws.answering(GET, kind(name), inf), pytest.raises(Unavailable):
        bucket.read(full_range(Part("some/missing", 4, '"etag"')))
    assert bucket.stat("some/missing") is None
    with pytest.raises(ObjectGone):
        bucket.read(full_range(Part("some/missing", 4, '"etag"')))


@pytest.mark.parametrize("name", ["HTML from a proxy", "nothing from a proxy", "a page that breaks off"])
def test_what_is_no_listing_is_not_read_as_an_empty_one(bucket: S3Bucket, aws: Meaner, written, name):
    """A commit would refuse what arrived, and a sweep would leave it."""
    with aws.answering(LIST, kind(name), inf), pytest.raises(Unavailable):
        keys_of(bucket)
    assert set(written) <= set(keys_of(bucket))


@pytest.mark.parametrize("name", ["HTML from a proxy", "nothing from a proxy"])
def test_what_is_no_item_is_not_read_as_a_missing_one(of_the_module: Journey, aws: Meaner, name):
    """A restore would miss, a Finalize would find no upload."""
    of_the_module.services.check_schema()
    for operation, ask in {
        "GetItem": lambda: of_the_module.services.table.archive("a" * 32),
        "BatchGetItem": lambda: of_the_module.services.table.known_archives(["a" * 32]),
        "Query": of_the_module.services.repositories.ids,
    }.items():
        with aws.answering(Call("dynamodb", operation, 1), kind(name, "dynamodb"), inf), pytest.raises(Unavailable):
            ask()


def test_credentials_that_lack_are_an_outage(of_the_module: Journey, monkeypatch: pytest.MonkeyPatch):
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
    ("call", "name", "permission"),
    [
        (HEAD, "403 AccessDenied", "s3:GetObject, or s3:ListBucket if the object is missing"),
        (DELETE, "200 with AccessDenied for each key", "s3:DeleteObject"),
        (PUT, "403 AccessDenied", "s3:PutObject"),
    ],
)
def test_a_permission_that_lacks_is_named_once(
    bucket: S3Bucket, aws: Meaner, caplog: pytest.LogCaptureFixture, call, name, permission
):
    ask = {
        HEAD: lambda: bucket.stat("k"),
        DELETE: lambda: bucket.delete(["k"]),
        PUT: lambda: bucket.write_once("k", b""),
    }
    with aws.answering(call, kind(name), inf):
        for _ in range(2):
            with pytest.raises(Unavailable):
                ask[call]()
    said = [record for record in caplog.records if "lacks a permission" in record.getMessage()]
    assert [(record.levelno, record.getMessage().partition(": ")[2]) for record in said] == [
        (logging.ERROR, permission)
    ]


def test_the_permission_is_the_one_that_aws_names(
    of_the_module: Journey, aws: Meaner, caplog: pytest.LogCaptureFixture
):
    refused = kind("AccessDenied in a role's first seconds", "dynamodb")
    with aws.answering(Call("dynamodb", "GetItem", 1), refused, inf), pytest.raises(Unavailable):
        of_the_module.services.repositories.repository("77")
    assert "lacks a permission: dynamodb:GetItem" in caplog.text


# ---------------------------------------------------------------- the stream's own requests


class FixedSigner:
    """Signs nothing, and leads to the test's server."""

    def __init__(self, url: str) -> None:
        self._url = URL(url)

    def signed(self, _: str, key: str, headers: dict[str, str]) -> tuple[URL, dict[str, str]]:
        return self._url / key, {**headers, "X-Amz-Security-Token": "the-roles-own"}


async def nothing() -> Any:
    yield b"body"


async def test_a_redirect_of_a_put_gets_no_credentials():
    """They are signed for another host."""
    came: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        came.append(request.path)
        await request.read()
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [socket] = site._server.sockets
    stream = S3Stream(FixedSigner(f"http://127.0.0.1:{socket.getsockname()[1]}"))  # type: ignore[arg-type]
    try:
        with pytest.raises(Unavailable, match="307"):
            await stream.write("key", 4, nothing())
    finally:
        await stream.close()
        await runner.cleanup()
    assert came == ["/key"]


def test_an_http_clients_error_never_quotes_request_headers():
    request = aiohttp.RequestInfo(URL("http://store/key"), "PUT", {"X-Amz-Security-Token": "the-roles-own"}, URL())  # type: ignore[arg-type]
    error = aiohttp.ClientResponseError(request, (), status=400, message="Bad status line")
    assert "the-roles-own" in repr(error), "why it isn't told as it is"
    assert in_words(error) == "ClientResponseError: Bad status line"
