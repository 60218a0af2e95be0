"""The upload edge: CloudFront, its two functions, and S3 behind origin access control."""

import uuid
from collections.abc import Mapping

from actions_cache.domain.signing import Direction
from actions_cache_cli.deployment_check import job
from actions_cache_cli.deployment_check.checks.bytes_back import made_up, seek_fault
from actions_cache_cli.deployment_check.checks.reach import url_fault
from actions_cache_cli.deployment_check.context import Context, Upload
from actions_cache_cli.deployment_check.explain import explain
from actions_cache_cli.deployment_check.verdicts import Failed, Skipped, needed
from actions_cache_cli.deployment_check.wire import Reply

PROOF_BYTES = 256 * 1024
"""Large enough that an answer of it is several packets, small enough not to wait for."""

POLICY_ID = "edge"
"""The x-ms-request-id that the template's response headers policy adds to answers without one."""


def reserve(context: Context) -> str:
    if context.job is not None:
        key = f"{context.name}-proof"
        context.proof = Upload(key, context.job.reserve(key))
        if fault := url_fault(context.proof.url, context):
            raise Failed(fault)
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
    block_id, body = job.plain_block_id(0), made_up(0, PROOF_BYTES)
    reply = job.put_block(context.client, proof.url, block_id, body)
    if reply.status not in (job.OK, job.CREATED):
        raise Failed(explain(reply.status, reply.headers, reply.body))
    context.first_put = reply
    proof.blocks[block_id] = body
    return f"{PROOF_BYTES // 1024} KiB were taken"


def created_with_id(context: Context) -> str:
    reply = needed(context.first_put, "the answer of a PUT")
    faults = created_faults(reply.status, reply.headers)
    if faults:
        raise Failed("; ".join(faults))
    return f"201, x-ms-request-id {reply.headers['x-ms-request-id'][:40]}"


def created_faults(status: int, headers: Mapping[str, str]) -> list[str]:
    """What the clients miss in the answer of a PUT that was taken (docs/design/protocol.md#uploads)."""
    request_id = {name.lower(): value for name, value in headers.items()}.get("x-ms-request-id")
    faults = []
    if status != job.CREATED:
        why = (
            "its x-ms-request-id is the response headers policy's, so viewer_response.js doesn't run on this PUT, or "
            "takes the answer for the API's"
            if request_id == POLICY_ID
            else "viewer_response.js doesn't run at viewer-response of this behaviour, or CloudFront runs it on no PUT"
        )
        faults.append(f"the answer was {status}, which @actions/cache takes for an error: {why}")
    if request_id is None:
        faults.append(
            "there was no x-ms-request-id, without which BuildKit crashes: viewer_response.js must add it, and a "
            "response headers policy where functions don't run"
        )
    return faults


def hard_block_id(context: Context) -> str:
    proof = needed(context.proof, "an upload URL")
    needed(context.first_put, "a PUT that S3 takes")
    block_id, body = job.hard_block_id(), made_up(1, PROOF_BYTES)
    accepted(job.put_block(context.client, proof.url, block_id, body))
    proof.blocks[block_id] = body
    return "also of a block id with +, / and ="


def read_object(context: Context) -> str:
    """Needs the secret: the server gives such URLs only for merged entries, and this may be what prevents one."""
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
    if fault := seek_fault(context.client, url, body):
        raise Failed(fault)
    return "206 with the right bytes"


def accepted(reply: Reply) -> None:
    """Raises Failed for an answer other than to a PUT that was taken."""
    if reply.status not in (job.OK, job.CREATED):
        raise Failed(explain(reply.status, reply.headers, reply.body))
    if faults := created_faults(reply.status, reply.headers):
        raise Failed("; ".join(faults))
