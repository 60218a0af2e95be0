"""Checks the edge and streams: CloudFront, its functions, S3 behind origin access control, and Lambda's streaming."""

import base64
import secrets
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from http import HTTPStatus
from random import Random
from urllib.parse import urlsplit

from actions_cache.domain.signing import Direction
from actions_cache_cli.deployment_check.check import SEEKING_READER, Client, Context, Failed, Skipped, Upload, needed
from actions_cache_cli.deployment_check.diagnoses import explain
from actions_cache_cli.deployment_check.reach import url_error
from actions_cache_cli.doctor.probe import (
    CREATED,
    OK_STATUS,
    Job,
    Reply,
    message_of,
    plain_block_id,
    put_block,
    put_block_list,
)

# ---------------------------------------------------------------- the upload edge

PROOF_BYTES = 256 * 1024
"""Bytes of a block: enough for an answer of several packets, and few enough not to wait for."""

POLICY_ID = "edge"
"""The x-ms-request-id that the template's response headers policy adds to answers without one."""


def reserve(context: Context) -> str:
    if context.job is not None:
        key = f"{context.name}-proof"
        context.proof = Upload(key, context.job.reserve(key))
        if error := url_error(context.proof.url, context):
            raise Failed(error)
        return "reserved by the cache service"
    if context.stack is None:
        raise Skipped(context.why_no_job)
    context.proof = signed_here(context)
    return "signed here with the stack's secret; no table knows this archive"


def signed_here(context: Context) -> Upload:
    stack = needed(context.stack, "the stack")
    return Upload(None, context.address.base + stack.signed_path(Direction.UPLOAD, uuid.uuid4().hex))


def put_without_hash(context: Context) -> str:
    proof = needed(context.proof, "an upload URL")
    block_id, body = plain_block_id(0), made_up(0, PROOF_BYTES)
    reply = put_block(context.client, proof.url, block_id, body)
    if reply.status not in (OK_STATUS, CREATED):
        raise Failed(explain(reply))
    context.first_put = reply
    proof.blocks[block_id] = body
    return f"{PROOF_BYTES // 1024} KiB were taken"


def created_with_id(context: Context) -> str:
    reply = needed(context.first_put, "the answer of a PUT")
    errors = created_errors(reply.status, reply.headers)
    if errors:
        raise Failed("; ".join(errors))
    return f"201, x-ms-request-id {reply.headers['x-ms-request-id'][:40]}"


def created_errors(status: int, headers: Mapping[str, str]) -> list[str]:
    """Return what clients miss in the answer to a PUT that was taken."""
    request_id = headers.get("x-ms-request-id")
    errors = []
    if status != CREATED:
        why = (
            "its x-ms-request-id is the response headers policy's, so viewer_response.js doesn't run on this PUT, or "
            "takes the answer for the API's"
            if request_id == POLICY_ID
            else "viewer_response.js doesn't run at viewer-response of this behaviour, or CloudFront runs it on no PUT"
        )
        errors.append(f"the answer was {status}, which @actions/cache takes for an error: {why}")
    if request_id is None:
        errors.append(
            "there was no x-ms-request-id, without which BuildKit crashes: viewer_response.js must add it, and a "
            "response headers policy where functions don't run"
        )
    return errors


def odd_block_id(context: Context) -> str:
    proof = needed(context.proof, "an upload URL")
    needed(context.first_put, "a PUT that S3 takes")
    block_id, body = new_odd_block_id(), made_up(1, PROOF_BYTES)
    accepted(put_block(context.client, proof.url, block_id, body))
    proof.blocks[block_id] = body
    return "also of a block id with +, / and ="


def new_odd_block_id() -> str:
    """Return an id with +, / and =, as the random ids of OpenDAL and sccache have."""
    return base64.b64encode(b"\xfb\xff\xbe" + secrets.token_bytes(13)).decode()


def read_object(context: Context) -> str:
    """Read a block by a URL that is signed here: the server gives such URLs only for merged entries."""
    stack = context.stack
    if stack is None:
        raise Skipped("needs STACK= to sign such a URL; the merged entry is read this way below")
    if stack.api_url is not None:
        raise Skipped("with SeekThrough=api no client seeks through the edge")
    proof = needed(context.proof, "an upload URL")
    block_id, body = next(iter(proof.blocks.items()), (None, b""))
    key = stack.key_of_block(proof.archive_id, needed(block_id, "a block that S3 took"))
    if key is None:
        raise Failed(
            "the block was acknowledged, but isn't in the bucket where the server looks: viewer_request.js must make "
            "keys as layers/core/actions_cache/domain/object_keys.py does"
        )
    url = context.address.base + stack.object_path(key, len(body))
    if error := seek_error(context.client, url, body):
        raise Failed(error)
    return "206 with the right bytes"


def accepted(reply: Reply) -> None:
    """Accept the answer to a PUT that was taken.

    Raises:
        Failed: It is another answer.
    """
    if reply.status not in (OK_STATUS, CREATED):
        raise Failed(explain(reply))
    if errors := created_errors(reply.status, reply.headers):
        raise Failed("; ".join(errors))


# ---------------------------------------------------------------- streams from parts

MIB = 1024 * 1024
BROKEN_BLOCKS = 3

STREAMS = "/blobs/download/"
LOOKUP_SECONDS = 10
ENOUGH_BLOCKS = 2
"""An entry of one block is one object from the start, and never streams."""


def save(context: Context) -> str:
    """Save the small entry, and look it up meanwhile: a merge may take no longer than one more request."""
    saving, proof = context.saving_job(), needed(context.proof, "an upload URL")
    if len(proof.blocks) < ENOUGH_BLOCKS:
        raise Skipped("needs two blocks, and not both were taken above")
    accepted(put_block_list(context.client, proof.url, list(proof.blocks)))
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        early = beside.submit(first_hit, saving, proof.key or "", stop)
        try:
            finalized(saving.finalize(proof.key or "", len(proof.content)))
            wait([early], LOOKUP_SECONDS)
        finally:
            stop.set()
    proof.is_finalized, proof.early_url = True, early.result()
    return f"{len(proof.blocks)} blocks, {len(proof.content)} bytes"


def first_hit(saving: Job, key: str, stop: threading.Event) -> str | None:
    """Look the key up until it is found or `stop` is set, and return its URL."""
    while not stop.is_set():
        answer = saving.look_up(key, SEEKING_READER)
        if answer.get("ok"):
            return str(answer.get("signed_download_url"))
    return None


def finalized(reply: Reply) -> Mapping[str, object]:
    """Return the answer to a finalize that made an entry visible.

    Raises:
        Refused: It is no twirp answer.
        Failed: The entry wasn't made visible.
    """
    answer = message_of("FinalizeCacheEntryUpload", reply)
    if not answer.get("ok"):
        raise Failed(f"the finalize says {answer}")
    return answer


def lengths(context: Context) -> str:
    proof = needed(context.proof, "an upload URL")
    if not proof.is_finalized:
        raise Skipped("needs the small entry, which wasn't saved")
    url, size = streaming_url(context, proof), len(proof.content)
    head = context.client.send("HEAD", url)
    if head.status != HTTPStatus.OK:
        raise Failed(f"HEAD: {explain(head)}")
    if error := head_error(head.headers, size):
        raise Failed(f"HEAD: {error}")
    # x-ms-range: such a request is streamed even when the entry is merged by now.
    reply = context.client.send("GET", url, headers={"x-ms-range": "bytes=0-"})
    if reply.status == HTTPStatus.OK:
        raise Failed(f"GET: {SEEK_IGNORED}")
    if reply.status != HTTPStatus.PARTIAL_CONTENT:
        raise Failed(f"GET: {explain(reply)}")
    if error := length_error(reply.headers, size) or body_error(reply, proof.content):
        raise Failed(f"GET: {error}")
    return f"{size} bytes announced by HEAD and GET, and right"


def head_error(headers: Mapping[str, str], size: int) -> str | None:
    """Return what is wrong with the answer to a HEAD, or None."""
    length = headers.get("content-length")
    if length == str(size):
        return None
    return (
        f"Content-Length was {(length or 'not there')[:20]}, not {size}: the API function says it, so API Gateway made "
        "one of the body that a HEAD hasn't. Azure's SDK for Python, which no cache client has, is the one to read it; "
        "all others restore. Report it"
    )


def streaming_url(context: Context, upload: Upload) -> str:
    """Return a URL of the download function.

    Raises:
        Skipped: There is none, because the entry is merged.
    """
    url = needed(upload.early_url, "a lookup of the small entry")
    if STREAMS in urlsplit(url).path:
        return url
    if context.stack is None:
        raise Skipped("the entry was merged before it could be looked up, so nothing streams; run it again")
    return context.seeking_base + context.stack.signed_path(Direction.DOWNLOAD, upload.archive_id)


def lost_part(context: Context) -> str:
    """Read an entry whose last part is gone: it must begin to stream, and then break."""
    saving = context.saving_job()
    if context.stack is None:
        raise Skipped(
            "can't be seen from outside: unproven. With STACK= and a token a part is deleted under a reader to see it"
        )
    key = f"{context.name}-broken"
    broken = Upload(key, saving.reserve(key))
    for number in range(BROKEN_BLOCKS):
        block_id, body = plain_block_id(number), made_up(100 + number, MIB)
        accepted(put_block(context.client, broken.url, block_id, body))
        broken.blocks[block_id] = body
    accepted(put_block_list(context.client, broken.url, list(broken.blocks)))
    url = context.seeking_base + context.stack.signed_path(Direction.DOWNLOAD, broken.archive_id)
    last = context.stack.key_of_block(broken.archive_id, list(broken.blocks)[-1])
    context.stack.delete(needed(last, "the part that was uploaded"))
    saving.finalize(key, len(broken.content))
    reply = context.client.send("GET", url, headers={"x-ms-range": "bytes=0-"})
    if reply.status != HTTPStatus.PARTIAL_CONTENT:
        raise Skipped(f"was refused before its first byte, so unproven: {reply.status}")
    if not reply.is_broken:
        raise Failed(
            f"{len(reply.body)} of {len(broken.content)} bytes came and the answer ended as if it were whole, though "
            "a part is gone: clients that don't count would keep a cut archive; report it, and set StreamMaxBytes in "
            "template.yaml to 1, so that all is merged first"
        )
    return f"it broke after {len(reply.body)} of {len(broken.content)} bytes"


# ---------------------------------------------------------------- is what comes back what was sent?

SEEK_FROM, SEEK_BYTES = 1000, 5000

SEEK_IGNORED = (
    "x-ms-range was answered with 200: BuildKit, which seeks so, would restore wrong bytes without an error. Deploy "
    "with SeekThrough=api (docs/deploy/settings.md), which leads such clients past the edge, and run this check again; "
    "and report it: viewer_request.js must make it a Range that reaches S3, and CloudFront must pass a 206 on"
)


def made_up(number: int, size: int) -> bytes:
    """Return the bytes of one block. No two blocks and no two places are alike, so that any mix-up shows."""
    return Random(number).randbytes(size)  # noqa: S311 - not a secret


def restore_error(reply: Reply, wanted: bytes) -> str | None:
    """Return what is wrong with the answer to a plain GET, or None."""
    if reply.status != HTTPStatus.OK:
        return explain(reply)
    if error := length_error(reply.headers, len(wanted)):
        return error
    return body_error(reply, wanted)


def length_error(headers: Mapping[str, str], size: int) -> str | None:
    length = headers.get("content-length")
    if length is None:
        return (
            "there was no Content-Length, so a client can't see that an archive ended early: what streams through "
            "Lambda and API Gateway must keep it; until it does, set StreamMaxBytes in template.yaml to 1, so that all "
            "is merged first"
        )
    if length != str(size):
        return f"Content-Length was {length[:20]}, not {size}; something on the way changes the body"
    return None


def body_error(reply: Reply, wanted: bytes) -> str | None:
    if reply.is_broken or len(reply.body) < len(wanted):
        how = "and the connection broke" if reply.is_broken else "and the answer ended as if it were whole"
        return (
            f"{len(reply.body)} of {len(wanted)} bytes came, {how}: see the download function's log, and the limits "
            "that AWS sets to streams (docs/design/delivery.md)"
        )
    if reply.body != wanted:
        at = next((i for i, (a, b) in enumerate(zip(reply.body, wanted, strict=False)) if a != b), len(wanted))
        return (
            f"the bytes differ from those sent, from byte {at} of {len(wanted)} on: something on the way changes "
            "them (compression, a proxy), or another object was read; don't use this deployment until it is found"
        )
    return None


def seek_error(client: Client, url: str, whole: bytes) -> str | None:
    """Return what is wrong with the answer to x-ms-range at `url`, or None."""
    end = SEEK_FROM + SEEK_BYTES
    reply = client.send("GET", url, headers={"x-ms-range": f"bytes={SEEK_FROM}-{end - 1}"})
    return seek_answer_error(reply, whole)


def seek_answer_error(reply: Reply, whole: bytes) -> str | None:
    """Return what is wrong with the answer to a GET of SEEK_BYTES bytes from SEEK_FROM on, or None."""
    if reply.status == HTTPStatus.OK:
        return SEEK_IGNORED
    if reply.status != HTTPStatus.PARTIAL_CONTENT:
        return explain(reply)
    end = SEEK_FROM + SEEK_BYTES
    wanted = f"bytes {SEEK_FROM}-{end - 1}/{len(whole)}"
    content_range = reply.headers.get("content-range")
    if content_range != wanted:
        return f"Content-Range was {content_range!r}, not {wanted!r}; another range or object was read"
    return body_error(reply, whole[SEEK_FROM:end])
