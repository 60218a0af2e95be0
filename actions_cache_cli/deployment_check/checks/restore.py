"""The entry comes back: from its parts, from S3, and in pieces."""

import time
from http import HTTPStatus
from urllib.parse import urlsplit

from actions_cache_cli.deployment_check import job
from actions_cache_cli.deployment_check.checks.bytes_back import restore_fault, seek_fault
from actions_cache_cli.deployment_check.context import Context
from actions_cache_cli.deployment_check.verdicts import Failed, Skipped, needed
from actions_cache_cli.deployment_check.wire import Reply

POLL_SECONDS = 1.0


def found(context: Context) -> str:
    context.saved_entry()
    url = needed(context.unmerged_url, "the lookup after the finalize")
    return "at S3 already" if is_stores(url) else "at a download URL of this server"


def unmerged(context: Context) -> str:
    entry = context.saved_entry()
    url = needed(context.unmerged_url, "the lookup after the finalize")
    reply, was_redirected = get(context, url)
    if fault := restore_fault(reply, entry.content):
        raise Failed(fault)
    how = "by a redirect to S3" if was_redirected else "from S3" if is_stores(url) else "streamed"
    return f"{len(reply.body)} bytes, {how}, every one as sent"


def merge(context: Context) -> str:
    context.saved_entry()
    began = time.monotonic()
    while not is_stores(context.saving_job().download_url(context.name)):
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
    if not is_stores(url):
        raise Skipped("needs the merged entry")
    reply, _ = get(context, url)
    if fault := restore_fault(reply, entry.content):
        raise Failed(fault)
    return f"{len(reply.body)} bytes, every one as sent"


def seek(context: Context) -> str:
    entry = context.saved_entry()
    url = context.saving_job().download_url(context.name, job.SEEKING_READER)
    if is_stores(url):
        raise Failed(
            "a client that may send x-ms-range is given S3's own URL, and S3 ignores it: BuildKit would restore wrong "
            "bytes without an error; only clients known to read plainly may get one"
        )
    if fault := seek_fault(context.client, url, entry.content):
        raise Failed(fault)
    return "206 with the right bytes"


def is_stores(url: str) -> bool:
    """Return whether a URL leads to S3 itself, and not to this server, by the edge or past it."""
    return "X-Amz-Signature=" in urlsplit(url).query


def get(context: Context, url: str) -> tuple[Reply, bool]:
    """As @actions/cache does, one redirect followed. Raises: NoAnswer, Failed."""
    reply = context.client.send("GET", url)
    if reply.status not in (HTTPStatus.FOUND, HTTPStatus.TEMPORARY_REDIRECT):
        return reply, False
    target = reply.headers.get("Location", "")
    if not target.startswith(("https://", "http://")):
        raise Failed("the redirect's Location isn't absolute, and @actions/cache follows no other")
    return context.client.send("GET", target), True
