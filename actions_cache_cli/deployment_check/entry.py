"""Checks the life of an entry that no Lambda could take: its save, its merge, and its restores."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from actions_cache.domain.signing import Direction
from actions_cache.http.direct_uploads import MEDIA_TYPE as DIRECT
from actions_cache_cli.deployment_check.check import SEEKING_READER, Context, Failed, Skipped, Upload, needed
from actions_cache_cli.deployment_check.diagnoses import explain
from actions_cache_cli.deployment_check.edge import (
    MIB,
    accepted,
    finalized,
    made_up,
    restore_error,
    seek_error,
    signed_here,
)
from actions_cache_cli.doctor.probe import (
    FORBIDDEN,
    SERVER,
    SERVICE,
    Reply,
    download,
    identify,
    is_s3_url,
    message_of,
    plain_block_id,
    put_block,
    put_block_list,
)

# ---------------------------------------------------------------- the save, and what must not spoil it

BLOCK_BYTES = (11 * MIB, 5 * MIB, MIB // 2)
"""Sizes over API Gateway's 10 MB, the least that S3 copies in a merge, and a smaller one."""

HOSTILE = {
    "x-amz-copy-source": "/another-bucket/another/object",
    "x-amz-tagging": "verify=deployment",
    "x-amz-storage-class": "GLACIER",
    "x-amz-acl": "public-read",
    "x-amz-meta-verify": "deployment",
    "x-amz-website-redirect-location": "/elsewhere",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "Content-Encoding": "gzip",
    "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Cache-Control": "max-age=31536000",
}
"""Headers that S3 would obey if the edge signed them."""

AZURE_CODE = "AuthenticationFailed"


def upload(context: Context) -> str:
    if context.job is not None:
        context.saved = Upload(context.name, context.job.reserve(context.name))
    elif context.stack is not None:
        context.saved = signed_here(context)
    else:
        raise Skipped(context.why_no_job)
    for number, size in enumerate(BLOCK_BYTES[:2]):
        put(context, context.saved, number, size)
    return f"{BLOCK_BYTES[0] // MIB} MiB in one PUT"


def put(context: Context, entry: Upload, number: int, size: int, headers: dict[str, str] | None = None) -> str:
    """Upload a block of the entry, and return its id.

    Raises:
        NoAnswer: There is no whole answer.
        Failed: The block isn't taken.
    """
    block_id, body = plain_block_id(number), made_up(10 + number, size)
    accepted(put_block(context.client, entry.url, block_id, body, headers))
    entry.blocks[block_id] = body
    return block_id


def altered_urls(context: Context) -> str:
    entry = needed(context.saved or context.proof, "an upload URL")
    attempts = {"another signature": altered(entry.url, "sig"), "another expiry": altered(entry.url, "se")}
    attempts["another archive"] = entry.url.replace(entry.archive_id, f"{'0' * 31}1")
    if context.stack is not None:
        expired = context.stack.signed_path(Direction.UPLOAD, entry.archive_id, seconds=-60)
        attempts["an expired URL"] = context.address.base + expired
    for attempt, url in attempts.items():
        if error := refusal_error(put_block(context.client, url, plain_block_id(9), b"altered")):
            raise Failed(f"{attempt}: {error}")
    unproven = "" if context.stack else "; an expired one with a good signature can't be had without STACK="
    return f"{', '.join(attempts)}: 403 {AZURE_CODE}{unproven}"


def altered(url: str, parameter: str) -> str:
    """Return the URL with one character of a query parameter's value changed."""
    head, name, rest = url.partition(f"{parameter}=")
    return f"{head}{name}{'1' if rest[0] != '1' else '2'}{rest[1:]}"


def refusal_error(reply: Reply) -> str | None:
    """Return what is wrong with the refusal of a bad URL, or None."""
    if reply.status < HTTPStatus.BAD_REQUEST:
        return (
            f"it was answered {reply.status}: whoever guesses an archive's id can write into it; viewer_request.js "
            "isn't at viewer-request of this behaviour, or doesn't check"
        )
    answer = identify(reply)
    is_azures = answer.is_xml and answer.source == SERVER and answer.code == AZURE_CODE
    if reply.status != FORBIDDEN or not is_azures:
        return f"not refused as it should be, 403 {AZURE_CODE}; {explain(reply)}"
    if "x-ms-request-id" not in reply.headers:
        return "the refusal has no x-ms-request-id, without which BuildKit crashes; viewer_request.js must add it"
    return None


def hostile_headers(context: Context) -> str:
    entry = needed(context.saved, "an upload URL")
    if len(entry.blocks) < len(BLOCK_BYTES) - 1:
        raise Skipped("needs the blocks before it, and they weren't taken above")
    try:
        block_id = put(context, entry, len(BLOCK_BYTES) - 1, BLOCK_BYTES[-1], HOSTILE)
    except Failed as failed:
        # Without them the entry can still be saved and restored.
        put(context, entry, len(BLOCK_BYTES) - 1, BLOCK_BYTES[-1])
        raise Failed(
            f"a PUT with them fails, so a client's headers reach S3 and are signed for; viewer_request.js must let "
            f"none through: {failed}"
        ) from failed
    if context.stack is None:
        return f"{len(HOSTILE)} of them; the restore below shows the bytes, STACK= would show the object's attributes"
    key = needed(context.stack.key_of_block(entry.archive_id, block_id), "the object, which isn't in the bucket")
    if traces := hostile_traces(dict(context.stack.describe(key))):
        raise Failed(f"S3 obeyed {', '.join(traces)} of a client; viewer_request.js must let no such header through")
    return f"{len(HOSTILE)} of them left no trace on the object"


def hostile_traces(described: dict[str, object]) -> list[str]:
    """Return the traces of HOSTILE in S3's description of an object."""
    suspects = (
        "Metadata",
        "TagCount",
        "StorageClass",
        "WebsiteRedirectLocation",
        "CacheControl",
        "SSECustomerAlgorithm",
    )
    traces = [name for name in suspects if described.get(name)]
    traces += ["ContentEncoding"] if described.get("ContentEncoding") else []
    return traces + (["ServerSideEncryption"] if described.get("ServerSideEncryption") == "aws:kms" else [])


def block_list(context: Context) -> str:
    context.saving_job()
    entry = needed(context.saved, "an upload URL")
    if len(entry.blocks) != len(BLOCK_BYTES):
        raise Skipped("needs all blocks, and not all were taken above")
    accepted(put_block_list(context.client, entry.url, list(entry.blocks)))
    entry.is_committed = True
    return f"{len(entry.blocks)} blocks"


def wrong_size(context: Context) -> str:
    saving, entry = context.saving_job(), committed(context)
    reply = saving.finalize(context.name, len(entry.content) + 1)
    if reply.status == HTTPStatus.OK and message_of("FinalizeCacheEntryUpload", reply).get("ok"):
        raise Failed("a size one byte too large was accepted, so a cut upload would be saved as whole")
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Failed(explain(reply))
    # By its name: the small entry's key begins with this one's, so a lookup finds that one.
    if saving.look_up(context.name).get("matched_key") == context.name:
        raise Failed("it was refused, and yet the entry can be found")
    return f"{reply.status}, and nothing is visible"


def finalize(context: Context) -> str:
    entry = committed(context)
    answer = finalized(context.saving_job().finalize(context.name, len(entry.content)))
    if not isinstance(answer.get("entry_id"), str):
        raise Failed(f"entry_id is {answer.get('entry_id')!r}; BuildKit's client takes a JSON string only")
    entry.is_finalized = True
    # At once, before the merge is done: later lookups tell whether it is.
    context.unmerged_url = context.saving_job().download_url(context.name)
    return f"{len(entry.content)} bytes"


def committed(context: Context) -> Upload:
    """Return the large entry with its block list.

    Raises:
        Skipped: It has none.
    """
    entry = needed(context.saved, "an upload URL")
    if not entry.is_committed:
        raise Skipped("needs the block list, which wasn't taken above")
    return entry


# ---------------------------------------------------------------- the restores

POLL_SECONDS = 1.0


def found(context: Context) -> str:
    context.saved_entry()
    url = needed(context.unmerged_url, "the lookup after the finalize")
    return "at S3 already" if is_s3_url(url) else "at a download URL of this server"


def unmerged(context: Context) -> str:
    entry = context.saved_entry()
    url = needed(context.unmerged_url, "the lookup after the finalize")
    reply, source = download(context.client, url)
    if error := restore_error(reply, entry.content):
        raise Failed(error)
    how = "by a redirect to S3" if source != url else "from S3" if is_s3_url(url) else "streamed"
    return f"{len(reply.body)} bytes, {how}, every one as sent"


def merge(context: Context) -> str:
    context.saved_entry()
    began = time.monotonic()
    while not is_s3_url(context.saving_job().download_url(context.name)):
        if time.monotonic() - began > context.merge_seconds:
            raise Failed(
                f"not after {context.merge_seconds:.0f} s: see the log group of the MergeFunction, and whether "
                "messages stand in the merge queue or its dead-letter queue"
            )
        time.sleep(POLL_SECONDS)
    return f"{time.monotonic() - began:.0f} s after the restore"


def merged(context: Context) -> str:
    entry = context.saved_entry()
    url = context.saving_job().download_url(context.name)
    if not is_s3_url(url):
        raise Skipped("needs the merged entry")
    reply, _ = download(context.client, url)
    if error := restore_error(reply, entry.content):
        raise Failed(error)
    return f"{len(reply.body)} bytes, every one as sent"


CONNECTIONS = 8
"""Connections by which the runner's hook reads, unless told otherwise."""


def speed(context: Context) -> str:
    """Return the speed of a restore by one connection and by several: what the runner's hook gains from here.

    Each side's connections are open already, and its time includes each request's first byte.
    """
    entry = context.saved_entry()
    url = context.saving_job().download_url(context.name)
    if not is_s3_url(url):
        raise Skipped("needs the merged entry")
    size = len(entry.content)
    step = -(-size // CONNECTIONS)
    starts = range(0, size, step)

    def read(start: int, length: int) -> Reply:
        return context.client.send("GET", url, headers={"Range": f"bytes={start}-{min(start + length, size) - 1}"})

    with ThreadPoolExecutor(CONNECTIONS) as executor:
        list(executor.map(lambda start: read(start, 1), starts))
        began = time.monotonic()
        whole = read(0, size)
        by_one = time.monotonic() - began
        began = time.monotonic()
        ranges = list(executor.map(lambda start: read(start, step), starts))
        by_many = time.monotonic() - began
    if whole.body != entry.content or b"".join(reply.body for reply in ranges) != entry.content:
        raise Failed("the bytes of its ranges aren't those that were sent")
    one, many = (size / MIB / seconds for seconds in (by_one, by_many))
    return f"{one:.0f} MiB/s by 1 connection, {many:.0f} MiB/s by {CONNECTIONS}, of {size / MIB:.0f} MiB from here"


def seek(context: Context) -> str:
    entry = context.saved_entry()
    url = context.saving_job().download_url(context.name, SEEKING_READER)
    if is_s3_url(url):
        raise Failed(
            "a client that may send x-ms-range is given S3's own URL, and S3 ignores it: BuildKit would restore wrong "
            "bytes without an error; only clients known to read plainly may get one"
        )
    if error := seek_error(context.client, url, entry.content):
        raise Failed(error)
    return "206 with the right bytes"


# ---------------------------------------------------------------- saves past the edge

DIRECT_BYTES = 4096


def direct(context: Context) -> str:
    """Save an entry of one part straight into S3, as the runner's hook does (docs/design/direct-uploads.md)."""
    job, client, key = context.saving_job(), context.client, f"{context.name}-direct"
    headers = {"Content-Type": "application/json", "User-Agent": job.user_agent, "Accept": DIRECT}
    asked = json.dumps({"version": job.version, "key": key}).encode()
    reply = client.ask("POST", f"{job.base}{SERVICE}CreateCacheEntry", asked, headers | job.authorization)
    reserved = message_of("CreateCacheEntry", reply)
    offer = reserved.get("direct")
    if not offer:
        raise Failed(
            "the server offers no upload into S3, so the hook saves through the edge; the log of the ApiFunction says "
            "why (direct upload not offered), and its role must allow s3:PutObject and s3:ListBucket"
        )
    looked = client.send("GET", offer["look"])
    if looked.status != HTTPStatus.OK:
        raise Failed(
            f"S3 doesn't take the server's URLs from here, so the hook saves through the edge; {explain(looked)}; "
            "RunnerAddresses must have this address, and a VPC's endpoint must allow the bucket"
        )
    body = made_up(20, DIRECT_BYTES)
    part = client.ask(
        "PUT", f"{offer['parts']['url']}&partNumber=1&X-Amz-Signature={offer['parts']['signatures'][0]}", body
    )
    if part.status != HTTPStatus.OK:
        raise Failed(f"S3 takes no part: {explain(part)}")
    accepted(put_block_list(client, str(reserved["signed_upload_url"]), [plain_block_id(0)]))
    finalized(job.finalize(key, len(body)))
    url = job.download_url(key)
    if not is_s3_url(url):
        raise Failed("the entry isn't one object right after its save, so its blocks went another way")
    restored, _ = download(client, url)
    if error := restore_error(restored, body):
        raise Failed(error)
    return f"{len(body)} bytes past the edge, one object at once, every byte as sent"
