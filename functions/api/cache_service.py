"""Serve the cache service's twirp methods, in both encodings (docs/design/protocol.md#cache-service)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fastapi import APIRouter, Request, Response
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from starlette.concurrency import run_in_threadpool

from actions_cache import events
from actions_cache.domain.access import Caller
from actions_cache.domain.direct_upload import DirectUrls
from actions_cache.domain.entry import MAX_RESTORE_KEYS, EntryFamily, EntryName, check_name
from actions_cache.domain.errors import InvalidRequest, PermissionDenied
from actions_cache.http.app import absolute, base_url, reader_of
from actions_cache.http.direct_uploads import wants_direct, with_direct
from actions_cache.http.errors import TWIRP, respond
from actions_cache.lookup import Query
from functions.api.dependencies import MAX_MESSAGE_BYTES, Services, Tokens, read_body, read_caller
from functions.api.proto.cache_pb2 import (
    CreateCacheEntryRequest,
    CreateCacheEntryResponse,
    FinalizeCacheEntryUploadRequest,
    FinalizeCacheEntryUploadResponse,
    GetCacheEntryDownloadURLRequest,
    GetCacheEntryDownloadURLResponse,
)
from functions.api.services import ApiServices

SERVICE = "github.actions.results.api.v1.CacheService"

router = APIRouter()


@router.post(f"/twirp/{SERVICE}/{{method_name}}")
async def call_method(method_name: str, request: Request, services: Services, tokens: Tokens) -> Response:
    method = METHODS.get(method_name)
    if method is None:
        return respond(TWIRP.bad_route(f"no method {method_name!r} of {SERVICE}"))
    codec = codec_for(request.headers.get("content-type", ""))
    if codec is None:
        return respond(TWIRP.bad_route("the content type must be application/json or application/protobuf"))
    try:
        caller = await read_caller(request, tokens, writes=method.denial is not None)
        message = codec.decode(await read_body(request, MAX_MESSAGE_BYTES), method.request_type())
        answer = await run_in_threadpool(method.answer, message, Call(services, caller, request, codec))
    except MalformedBody as error:
        return respond(TWIRP.malformed(str(error)))
    except PermissionDenied as error:
        if method.denial is None:
            raise
        # With status 200: on an error status, @actions/cache reports that another job is saving the key.
        services.telemetry.emit(events.refused(method_name, error))
        answer = method.denial(ok=False, message=str(error))
    body = with_direct(codec.encode(answer.message), answer.urls) if isinstance(answer, Offer) else codec.encode(answer)
    return Response(body, headers={"Content-Type": codec.content_type})


# ---------------------------------------------------------------- methods


@dataclass(frozen=True, slots=True)
class Call:
    """The context that a method's request comes in."""

    services: ApiServices
    caller: Caller
    http: Request
    codec: "Codec"


@dataclass(frozen=True, slots=True)
class Offer:
    """An answer in JSON that has the URLs of a direct upload, too."""

    message: Message
    urls: DirectUrls


def create_entry(request: CreateCacheEntryRequest, call: Call) -> Message | Offer:
    name = _name_to_write(request.key, request.version, call)
    call.services.note_repository(call.caller)
    call.services.create_rate_limit.check(call.caller.repository)
    server_url = base_url(call.http, call.services.settings.public_url)
    urls = None
    if isinstance(call.codec, JsonCodec) and wants_direct(call.http.headers.getlist("accept")):
        path, urls = call.services.reserve.with_direct(name, call.caller.written_class(), server_url)
    else:
        path = call.services.reserve(name, call.caller.written_class())
    answer = CreateCacheEntryResponse(ok=True, signed_upload_url=absolute(path, server_url))
    return Offer(answer, urls) if urls else answer


def finalize_upload(request: FinalizeCacheEntryUploadRequest, call: Call) -> Message:
    entry = call.services.finalize(_name_to_write(request.key, request.version, call), request.size_bytes)
    return FinalizeCacheEntryUploadResponse(ok=True, entry_id=entry.id)


def look_up(request: GetCacheEntryDownloadURLRequest, call: Call) -> Message:
    if len(request.restore_keys) > MAX_RESTORE_KEYS:
        raise InvalidRequest(
            f"restore_keys has {len(request.restore_keys)} keys; at most {MAX_RESTORE_KEYS} are allowed"
        )
    reader = reader_of(call.http, call.services.settings, request.version)
    query = Query(
        repository=call.caller.repository,
        scopes=call.caller.readable_scopes(),
        version=check_name("version", request.version),
        key=check_name("key", request.key),
        restore_keys=tuple(check_name("a restore key", key) for key in request.restore_keys),
        can_read_from_s3=reader.can_read_from_s3,
        through_edge=reader.through_edge,
    )
    hit = call.services.look_up(query)
    if hit is None:
        return GetCacheEntryDownloadURLResponse(ok=False)
    url = absolute(hit.url, reader.base_url)
    return GetCacheEntryDownloadURLResponse(ok=True, signed_download_url=url, matched_key=hit.key)


def _name_to_write(key: str, version: str, call: Call) -> EntryName:
    """Return the entry's name, whose scope comes from the token.

    Raises:
        PermissionDenied: the token may write no scope.
    """
    check_name("key", key)
    check_name("version", version)
    return EntryName(EntryFamily(call.caller.repository, call.caller.writable_scope(), version), key)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the service.

    Args:
        request_type: the message that it takes.
        answer: makes the answer; it may block.
        denial: the answer that denies a write to a job that may not write; None for a method that only reads.
    """

    request_type: type[Message]
    answer: Callable[..., Message | Offer]
    denial: Callable[..., Message] | None = None


METHODS: Mapping[str, Method] = {
    "CreateCacheEntry": Method(CreateCacheEntryRequest, create_entry, CreateCacheEntryResponse),
    "FinalizeCacheEntryUpload": Method(
        FinalizeCacheEntryUploadRequest, finalize_upload, FinalizeCacheEntryUploadResponse
    ),
    "GetCacheEntryDownloadURL": Method(GetCacheEntryDownloadURLRequest, look_up),
}


# ---------------------------------------------------------------- encodings

MessageT = TypeVar("MessageT", bound=Message)


class MalformedBody(Exception):
    """Raised when the body isn't the message that the method takes."""


class Codec(Protocol):
    @property
    def content_type(self) -> str: ...

    def decode(self, body: bytes, into: MessageT) -> MessageT:
        """Return the message.

        Raises:
            MalformedBody: the body isn't one.
        """
        ...

    def encode(self, message: Message) -> bytes: ...


@dataclass(frozen=True, slots=True)
class JsonCodec:
    content_type: str = "application/json"

    def decode(self, body: bytes, into: MessageT) -> MessageT:
        try:
            return json_format.Parse(body, into, ignore_unknown_fields=True, max_recursion_depth=10)
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedBody(f"the body isn't a {into.DESCRIPTOR.name}: {str(error)[:200]}") from error

    def encode(self, message: Message) -> bytes:
        """Return JSON in snake_case, with 64-bit numbers as strings: Go fails on anything else.

        See docs/design/protocol.md#encodings.
        """
        return json_format.MessageToJson(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
        ).encode()


@dataclass(frozen=True, slots=True)
class ProtobufCodec:
    content_type: str = "application/protobuf"

    def decode(self, body: bytes, into: MessageT) -> MessageT:
        try:
            into.ParseFromString(body)
        except DecodeError as error:
            raise MalformedBody(f"the body isn't a {into.DESCRIPTOR.name}: {str(error)[:200]}") from error
        return into

    def encode(self, message: Message) -> bytes:
        return message.SerializeToString()


_CODECS: dict[str, Codec] = {codec.content_type: codec for codec in (JsonCodec(), ProtobufCodec())}


def codec_for(content_type: str) -> Codec | None:
    """Return the codec; parameters, as in `application/json; charset=utf-8`, don't matter."""
    return _CODECS.get(content_type.partition(";")[0].strip().lower())
