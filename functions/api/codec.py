"""Twirp's two encodings of one schema. `json_format` takes both cases of names, and numbers as strings."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

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
