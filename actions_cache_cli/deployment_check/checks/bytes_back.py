"""Checks whether what comes back is what was sent."""

from collections.abc import Mapping
from http import HTTPStatus
from random import Random

from actions_cache_cli.deployment_check.explain import explain
from actions_cache_cli.deployment_check.wire import Client, Reply

SEEK_FROM, SEEK_BYTES = 1000, 5000

SEEK_IGNORED = (
    "x-ms-range was answered with 200: BuildKit, which seeks so, would restore wrong bytes without an error. Deploy "
    "with SeekThrough=api (docs/settings.md), which leads such clients past the edge, and run this check again; and "
    "report it: viewer_request.js must make it a Range that reaches S3, and CloudFront must pass a 206 on"
)


def made_up(number: int, size: int) -> bytes:
    """Bytes of one block: no two blocks', and no two places', are alike, so that any mix-up shows."""
    return Random(number).randbytes(size)  # noqa: S311 - not a secret


def restore_fault(reply: Reply, wanted: bytes) -> str | None:
    """What is wrong with the answer of a plain GET, None if nothing."""
    if reply.status != HTTPStatus.OK:
        return explain(reply.status, reply.headers, reply.body)
    if fault := length_fault(reply.headers, len(wanted)):
        return fault
    return body_fault(reply, wanted)


def length_fault(headers: Mapping[str, str], size: int) -> str | None:
    length = {name.lower(): value for name, value in headers.items()}.get("content-length")
    if length is None:
        return (
            "there was no Content-Length, so a client can't see that an archive ended early: what streams through "
            "Lambda and API Gateway must keep it; until it does, set StreamMaxBytes in template.yaml to 1, so that all "
            "is merged first"
        )
    if length != str(size):
        return f"Content-Length was {length[:20]}, not {size}; something on the way changes the body"
    return None


def body_fault(reply: Reply, wanted: bytes) -> str | None:
    if reply.broken or len(reply.body) < len(wanted):
        how = "and the connection broke" if reply.broken else "and the answer ended as if it were whole"
        return (
            f"{len(reply.body)} of {len(wanted)} bytes came, {how}: see the download function's log, and the limits "
            "that AWS sets to streams (docs/delivery.md)"
        )
    if reply.body != wanted:
        at = next((i for i, (a, b) in enumerate(zip(reply.body, wanted, strict=False)) if a != b), len(wanted))
        return (
            f"the bytes differ from those sent, from byte {at} of {len(wanted)} on: something on the way changes "
            "them (compression, a proxy), or another object was read; don't use this deployment until it is found"
        )
    return None


def seek_fault(client: Client, url: str, whole: bytes) -> str | None:
    """What is wrong with how `url` answers x-ms-range, None if nothing. Raises: NoAnswer."""
    end = SEEK_FROM + SEEK_BYTES
    reply = client.send("GET", url, headers={"x-ms-range": f"bytes={SEEK_FROM}-{end - 1}"})
    return seek_answer_fault(reply, whole)


def seek_answer_fault(reply: Reply, whole: bytes) -> str | None:
    """Of an answer to a GET of the bytes from SEEK_FROM on, SEEK_BYTES of them."""
    if reply.status == HTTPStatus.OK:
        return SEEK_IGNORED
    if reply.status != HTTPStatus.PARTIAL_CONTENT:
        return explain(reply.status, reply.headers, reply.body)
    end = SEEK_FROM + SEEK_BYTES
    wanted = f"bytes {SEEK_FROM}-{end - 1}/{len(whole)}"
    content_range = {name.lower(): value for name, value in reply.headers.items()}.get("content-range")
    if content_range != wanted:
        return f"Content-Range was {content_range!r}, not {wanted!r}; another range or object was read"
    return body_fault(reply, whole[SEEK_FROM:end])
