"""Downloads that stream from parts, through Lambda's and API Gateway's response streaming."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from http import HTTPStatus
from urllib.parse import urlsplit

from actions_cache.domain.signing import Direction
from actions_cache_cli.deployment_check import job
from actions_cache_cli.deployment_check.checks.bytes_back import SEEK_IGNORED, body_fault, length_fault, made_up
from actions_cache_cli.deployment_check.checks.edge import accepted
from actions_cache_cli.deployment_check.context import Context, Upload
from actions_cache_cli.deployment_check.explain import explain
from actions_cache_cli.deployment_check.verdicts import Failed, Skipped, needed

MIB = 1024 * 1024
FAULTY_BLOCKS = 3

STREAMS = "/blobs/download/"
LOOKUP_SECONDS = 10
ENOUGH_BLOCKS = 2
"""An entry of one block is one object from the start, and never streams."""


def save(context: Context) -> str:
    """The entry is looked up while it is finalized: a merge may take no longer than one more request."""
    saving, proof = context.saving_job(), needed(context.proof, "an upload URL")
    if len(proof.blocks) < ENOUGH_BLOCKS:
        raise Skipped("needs two blocks, and not both were taken above")
    accepted(job.put_block_list(context.client, proof.url, list(proof.blocks)))
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        early = beside.submit(first_hit, saving, proof.key or "", stop)
        try:
            answer = job.message_of(saving.finalize(proof.key or "", len(proof.content)))
            if not answer.get("ok"):
                raise Failed(f"the finalize says {answer}")
            wait([early], LOOKUP_SECONDS)
        finally:
            stop.set()
    proof.is_finalized, proof.early_url = True, early.result()
    return f"{len(proof.blocks)} blocks, {len(proof.content)} bytes"


def first_hit(saving: job.Job, key: str, stop: threading.Event) -> str | None:
    """The URL from the first lookup that hits. Raises: NoAnswer, Failed."""
    while not stop.is_set():
        answer = saving.look_up(key, job.SEEKING_READER)
        if answer.get("ok"):
            return str(answer.get("signed_download_url"))
    return None


def lengths(context: Context) -> str:
    proof = needed(context.proof, "an upload URL")
    if not proof.is_finalized:
        raise Skipped("needs the small entry, which wasn't saved")
    url, size = streaming_url(context, proof), len(proof.content)
    head = context.client.send("HEAD", url)
    if head.status != HTTPStatus.OK:
        raise Failed(f"HEAD: {explain(head.status, head.headers, head.body)}")
    if fault := described_fault(head.headers, size):
        raise Failed(f"HEAD: {fault}")
    # x-ms-range: such a request is streamed even when the entry is merged by now.
    reply = context.client.send("GET", url, headers={"x-ms-range": "bytes=0-"})
    if reply.status == HTTPStatus.OK:
        raise Failed(f"GET: {SEEK_IGNORED}")
    if reply.status != HTTPStatus.PARTIAL_CONTENT:
        raise Failed(f"GET: {explain(reply.status, reply.headers, reply.body)}")
    if fault := length_fault(reply.headers, size) or body_fault(reply, proof.content):
        raise Failed(f"GET: {fault}")
    return f"{size} bytes announced by HEAD and GET, and right"


def described_fault(headers: Mapping[str, str], size: int) -> str | None:
    """Return what is wrong with the answer to a HEAD, or None."""
    length = {name.lower(): value for name, value in headers.items()}.get("content-length")
    if length == str(size):
        return None
    return (
        f"Content-Length was {(length or 'not there')[:20]}, not {size}: the API function says it, so API Gateway made "
        "one of the body that a HEAD hasn't. Azure's SDK for Python, which no cache client has, is the one to read it; "
        "all others restore. Report it"
    )


def streaming_url(context: Context, upload: Upload) -> str:
    """A URL of the download function. Raises Skipped."""
    url = needed(upload.early_url, "a lookup of the small entry")
    if STREAMS in urlsplit(url).path:
        return url
    if context.stack is None:
        raise Skipped("the entry was merged before it could be looked up, so nothing streams; run it again")
    return context.seeking_base + context.stack.signed_path(Direction.DOWNLOAD, upload.archive_id)


def fault(context: Context) -> str:
    """An entry of which the last part is gone: it must begin to stream, and then break."""
    saving = context.saving_job()
    if context.stack is None:
        raise Skipped(
            "can't be seen from outside: unproven. With STACK= and a token a part is deleted under a reader to see it"
        )
    key = f"{context.name}-broken"
    broken = Upload(key, saving.reserve(key))
    for number in range(FAULTY_BLOCKS):
        block_id, body = job.plain_block_id(number), made_up(100 + number, MIB)
        accepted(job.put_block(context.client, broken.url, block_id, body))
        broken.blocks[block_id] = body
    accepted(job.put_block_list(context.client, broken.url, list(broken.blocks)))
    url = context.seeking_base + context.stack.signed_path(Direction.DOWNLOAD, broken.archive_id)
    last = context.stack.key_of_block(broken.archive_id, list(broken.blocks)[-1])
    context.stack.delete(needed(last, "the part that was uploaded"))
    saving.finalize(key, len(broken.content))
    reply = context.client.send("GET", url, headers={"x-ms-range": "bytes=0-"})
    if reply.status != HTTPStatus.PARTIAL_CONTENT:
        raise Skipped(f"was refused before its first byte, so unproven: {reply.status}")
    if not reply.broken:
        raise Failed(
            f"{len(reply.body)} of {len(broken.content)} bytes came and the answer ended as if it were whole, though "
            "a part is gone: clients that don't count would keep a cut archive; report it, and set StreamMaxBytes in "
            "template.yaml to 1, so that all is merged first"
        )
    return f"it broke after {len(reply.body)} of {len(broken.content)} bytes"
