"""Serve the cache service's twirp methods, in both encodings (docs/design/protocol.md#cache-service)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from fastapi import APIRouter, Request, Response
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from starlette.concurrency import run_in_threadpool

from actions_cache import events, logs
from actions_cache.domain.access import Caller
from actions_cache.domain.entry import MAX_RESTORE_KEYS, EntryFamily, EntryName, check_name
from actions_cache.domain.errors import InvalidRequest, PermissionDenied
from actions_cache.domain.refused_job import NotAdmitted
from actions_cache.http import twirp
from actions_cache.http.app import Reader, absolute, base_url, reader_of, respond
from actions_cache.lookup import Query
from functions.api.proto.cache_pb2 import (
    CreateCacheEntryRequest,
    CreateCacheEntryResponse,
    FinalizeCacheEntryUploadRequest,
    FinalizeCacheEntryUploadResponse,
    GetCacheEntryDownloadURLRequest,
    GetCacheEntryDownloadURLResponse,
)
from functions.api.services import ApiServices
from functions.api.tokens import TokenReader
from functions.api.uploads import read_body

MessageT = TypeVar("MessageT", bound=Message)


class MalformedBody(Exception):
    """The body isn't the message that the method takes."""


class Codec(Protocol):
    @property
    def content_type(self) -> str: ...

    def decode(self, body: bytes, into: MessageT) -> MessageT:
        """Raises MalformedBody."""
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
        """snake_case, 64-bit numbers as strings: Go fails on anything else (docs/design/protocol.md#encodings)."""
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
    """Parameters, as in `application/json; charset=utf-8`, don't matter."""
    return _CODECS.get(content_type.partition(";")[0].strip().lower())


SERVICE = "github.actions.results.api.v1.CacheService"
MAX_BODY_BYTES = 256 * 1024

WRITES: dict[str, Callable[..., Message]] = {
    "CreateCacheEntry": CreateCacheEntryResponse,
    "FinalizeCacheEntryUpload": FinalizeCacheEntryUploadResponse,
}
"""The answer, by method, that denies a write to a job that may not write."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a method sees of its request beside the message."""

    caller: Caller
    base_url: str
    """Beginning of an upload's URL."""
    reader: Reader


@dataclass
class CacheService:
    services: ApiServices

    def create(self, request: CreateCacheEntryRequest, call: Call) -> Message:
        try:
            name = _name_to_write(request.key, request.version, call)
            self.services.note_repository(call.caller)
            self.services.create_rate_limit.check(call.caller.repository)
            path = self.services.reserve(name)
        except PermissionDenied as error:
            return self.denied("CreateCacheEntry", error)
        return CreateCacheEntryResponse(ok=True, signed_upload_url=absolute(path, call.base_url))

    def finalize(self, request: FinalizeCacheEntryUploadRequest, call: Call) -> Message:
        try:
            entry = self.services.finalize(_name_to_write(request.key, request.version, call), request.size_bytes)
        except PermissionDenied as error:
            return self.denied("FinalizeCacheEntryUpload", error)
        return FinalizeCacheEntryUploadResponse(ok=True, entry_id=entry.id)

    def denied(self, method_name: str, error: PermissionDenied) -> Message:
        """Answer with status 200: on an error status, @actions/cache reports that another job is saving the key."""
        self.services.telemetry.emit(events.refused(method_name, error))
        return WRITES[method_name](ok=False, message=str(error))

    def look_up(self, request: GetCacheEntryDownloadURLRequest, call: Call) -> GetCacheEntryDownloadURLResponse:
        if len(request.restore_keys) > MAX_RESTORE_KEYS:
            raise InvalidRequest(
                f"restore_keys has {len(request.restore_keys)} keys; at most {MAX_RESTORE_KEYS} are allowed"
            )
        query = Query(
            repository=call.caller.repository,
            scopes=call.caller.readable_scopes(),
            version=check_name("version", request.version),
            key=check_name("key", request.key),
            restore_keys=tuple(check_name("a restore key", key) for key in request.restore_keys),
            can_read_from_s3=call.reader.can_read_from_s3,
            through_edge=call.reader.through_edge,
        )
        hit = self.services.look_up(query)
        if hit is None:
            return GetCacheEntryDownloadURLResponse(ok=False)
        url = absolute(hit.url, call.reader.base_url)
        return GetCacheEntryDownloadURLResponse(ok=True, signed_download_url=url, matched_key=hit.key)

    @cached_property
    def methods(self) -> dict[str, tuple[type[Message], Callable[..., Message]]]:
        return {
            "CreateCacheEntry": (CreateCacheEntryRequest, self.create),
            "FinalizeCacheEntryUpload": (FinalizeCacheEntryUploadRequest, self.finalize),
            "GetCacheEntryDownloadURL": (GetCacheEntryDownloadURLRequest, self.look_up),
        }


def _name_to_write(key: str, version: str, call: Call) -> EntryName:
    """Its scope is the token's to say. Raises PermissionDenied where the token may write none."""
    check_name("key", key)
    check_name("version", version)
    return EntryName(EntryFamily(call.caller.repository, call.caller.writable_scope(), version), key)


def encoded(message: Message, codec: Codec) -> Response:
    return Response(codec.encode(message), headers={"Content-Type": codec.content_type})


def routes(services: ApiServices, tokens: TokenReader) -> APIRouter:
    router = APIRouter()
    service = CacheService(services)

    @router.post(f"/twirp/{SERVICE}/{{method_name}}")
    async def call_method(method_name: str, request: Request) -> Response:
        if method_name not in service.methods:
            return respond(twirp.bad_route(f"no method {method_name!r} of {SERVICE}"))
        codec = codec_for(request.headers.get("content-type", ""))
        if codec is None:
            return respond(twirp.bad_route("the content type must be application/json or application/protobuf"))
        try:
            caller = await run_in_threadpool(tokens.read, request.headers.get("authorization"))
        except NotAdmitted as refusal:
            if method_name not in WRITES:
                raise
            return encoded(service.denied(method_name, refusal.of_a_write), codec)
        logs.append(repository=caller.repository)
        message_type, method = service.methods[method_name]
        try:
            message = codec.decode(await read_body(request, MAX_BODY_BYTES), message_type())
        except MalformedBody as error:
            return respond(twirp.malformed(str(error)))
        call = Call(caller, base_url(request, services.settings.public_url), reader_of(request, services.settings))
        return encoded(await run_in_threadpool(method, message, call), codec)

    return router
