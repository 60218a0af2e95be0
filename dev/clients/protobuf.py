"""Twirp in protobuf, as OpenDAL, sccache and magic-nix-cache speak it."""

from typing import TypeVar

from google.protobuf.message import Message

from dev.clients.wire import Job

MessageT = TypeVar("MessageT", bound=Message)


def protobuf(job: Job, method: str, message: Message, into: MessageT) -> MessageT:
    reply = job.post(method, message.SerializeToString(), "application/protobuf")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/protobuf"), reply.body
    into.ParseFromString(reply.body)
    return into
