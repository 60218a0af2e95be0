"""The dialect: errors, misses and conflicts as the clients read them; clocks; and tidying up."""

import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from actions_cache.settings import CLOCK_MARGIN_SECONDS
from actions_cache_cli.deployment_check.context import Context
from actions_cache_cli.deployment_check.explain import explain, json_object
from actions_cache_cli.deployment_check.job import PLAIN_READER, SERVICE, VERSION, message_of, post
from actions_cache_cli.deployment_check.verdicts import Failed, Skipped
from actions_cache_cli.deployment_check.wire import Reply

PROTOBUF = "application/protobuf"


def errors(context: Context) -> str:
    base = context.address.base
    no_route = post(context.client, base, "NoSuchMethod", {}, "none", PLAIN_READER)
    headers = {"Content-Type": PROTOBUF, "User-Agent": PLAIN_READER}
    no_token = context.client.send("POST", f"{base}{SERVICE}GetCacheEntryDownloadURL", b"", headers)
    for reply, status, code in (
        (no_route, HTTPStatus.NOT_FOUND, "bad_route"),
        (no_token, HTTPStatus.UNAUTHORIZED, "unauthenticated"),
    ):
        if fault := error_fault(reply, status, code):
            raise Failed(fault)
    return "404 bad_route and 401 unauthenticated, each exactly application/json"


def error_fault(reply: Reply, status: int, code: str) -> str | None:
    """What is wrong with an error's answer, None if nothing (docs/design/protocol.md#errors)."""
    message = json_object(reply.body.decode("utf-8", "replace"))
    if reply.status != status or message.get("code") != code or "msg" not in message:
        said = explain(reply.status, reply.headers, reply.body)
        return f"wanted {status} {code} as JSON; {said}; clients retry for 30 s and more what they can't read"
    kind = {name.lower(): value for name, value in reply.headers.items()}.get("content-type")
    if kind != "application/json":
        return f"an error's content type is {kind!r}; some clients compare it with application/json, without a charset"
    return None


def miss(context: Context) -> str:
    reply = context.saving_job().call("GetCacheEntryDownloadURL", {"key": f"{context.name}-none", "version": VERSION})
    answer = message_of(reply)
    if answer.get("ok") is not False:
        raise Failed(f"a key that was never saved is answered {answer}; clients take it for a hit")
    return "as clients want it"


def second_create(context: Context) -> str:
    context.saved_entry()
    reply = context.saving_job().call("CreateCacheEntry", {"key": context.name, "version": VERSION})
    if reply.status == HTTPStatus.OK:
        raise Failed("the same key could be reserved again: a saved entry must not change")
    if fault := error_fault(reply, HTTPStatus.CONFLICT, "already_exists"):
        raise Failed(fault)
    return "409 already_exists"


def clocks(context: Context) -> str:
    before = time.time()
    reply = context.client.send("GET", f"{context.address.base}/health")
    date = reply.headers.get("Date")
    if date is None:
        raise Skipped("the server sends no Date")
    return clock_verdict(date, (before + time.time()) / 2)


def clock_verdict(date: str, now: float) -> str:
    """Args: now: by this machine, in seconds since 1970, when `date` was written. Raises Failed."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        raise Failed(f"the server's Date isn't one: {date[:40]!r}") from None
    ahead = now - theirs
    if abs(ahead) > CLOCK_MARGIN_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        raise Failed(
            f"this machine is {abs(ahead):.0f} s {side} the server; AWS keeps its clocks right, so set this one: "
            "URLs and tokens expire by it"
        )
    return f"within {CLOCK_MARGIN_SECONDS} s of each other"


def tidy(context: Context) -> str:
    """Entries stay: they show later that cleanup works."""
    orphans = [upload for upload in (context.proof, context.saved) if upload is not None and upload.key is None]
    if context.stack is None or not orphans:
        raise Skipped("nothing of that kind was put; entries expire by themselves")
    count = sum(context.stack.delete_archive(upload.archive_id) for upload in orphans)
    return f"{count} objects"
