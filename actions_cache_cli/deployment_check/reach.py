"""Checks whether there is a server, whom it lets in, and whether it answers in the clients' dialect."""

import base64
import json
import secrets
import socket
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from actions_cache.domain.access import GITHUB
from actions_cache.settings import CLOCK_MARGIN_SECONDS
from actions_cache_cli.deployment_check.check import PLAIN_READER, Context, Failed, Skipped, needed, new_job
from actions_cache_cli.deployment_check.diagnoses import explain
from actions_cache_cli.deployment_check.stack import StackUnreadable, described, shortage
from actions_cache_cli.doctor.address import NO_ADDRESS, NoAnswer, connect, read_address, url_errors
from actions_cache_cli.doctor.probe import (
    FORBIDDEN,
    OK_STATUS,
    SERVICE,
    UNAUTHENTICATED,
    Reply,
    read_health,
    seconds_ahead,
)

# ---------------------------------------------------------------- the server

REFUSED_SHOWN = 5
HOW_TO_SAVE = (
    "needs a token, and the server refuses unsigned ones, as it must: run it in a job with the job's "
    "ACTIONS_RUNTIME_TOKEN (docs/deploy/deploy.md has the workflow), or with STACK= for what the edge does"
)


def url(context: Context) -> str:
    if errors := url_errors(context.address):
        raise Failed("; ".join(errors))
    return context.address.base


def name(context: Context) -> str:
    # Until the host is known to be reachable nothing is asked of it.
    context.client.is_cut_off = True
    try:
        found = socket.getaddrinfo(context.address.host, context.address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failed(
            f"{context.address.host} has no address ({error.strerror}): a typing error, or the DNS record of the "
            "custom domain is missing or hasn't spread yet; compare with the stack's outputs"
        ) from error
    return str(found[0][4][0])


def connection(context: Context) -> str:
    try:
        _, version = connect(context.address, with_tls=context.address.is_tls)
    except NoAnswer as error:
        if error.kind == NO_ADDRESS:
            raise Skipped("needs the host's address") from error
        raise
    context.client.is_cut_off = False
    return f"connected, {version or 'without TLS'}"


def health(context: Context) -> str:
    reply = context.client.ask("GET", f"{context.address.base}/health")
    state = read_health(reply)
    if state.is_ok:
        return f"all three; {state.release}"
    if state.errors:
        raise Failed(f"the API runs, but {state.errors}; see that the stack is whole, and the API's role")
    raise Failed(explain(reply))


def clocks(context: Context) -> str:
    reply = context.client.ask("GET", f"{context.address.base}/health")
    if "date" not in reply.headers:
        raise Skipped("the server sends no Date")
    ahead = seconds_ahead(reply)
    if ahead is None:
        raise Failed(f"the server's Date isn't one: {reply.headers['date'][:40]!r}")
    if abs(ahead) > CLOCK_MARGIN_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        raise Failed(
            f"this machine is {abs(ahead):.0f} s {side} the server; AWS keeps its clocks right, so set this one: "
            "URLs and tokens expire by it"
        )
    return f"within {CLOCK_MARGIN_SECONDS} s of each other"


# ---------------------------------------------------------------- whom it lets in

UNSIGNED_SECONDS = 3600
READ_WRITE = 3
SCOPE = "refs/heads/verify-deployment"


def tokens(context: Context) -> str:
    """Look up with an unsigned token, whether another is given or not; a lookup changes nothing."""
    job = new_job(context.client, context.address.base, unsigned_token(time.time()))
    reply = job.call("GetCacheEntryDownloadURL", {"key": context.name})
    # A server that verifies signatures does so before it looks at TOKEN_CLAIMS.
    refused_by_claims = reply.status == FORBIDDEN and b"cache read denied" in reply.body
    was_accepted = reply.status == OK_STATUS or refused_by_claims
    if context.given_token:
        context.why_no_job = "needs a token that the server accepts, and yours was refused above"
        given = new_job(context.client, context.address.base, context.given_token)
        with_token = given.call("GetCacheEntryDownloadURL", {"key": context.name})
        if with_token.status != OK_STATUS:
            raise Failed(f"your token isn't accepted: {explain(with_token)}; such tokens end with their job")
        context.job = given
    elif reply.status == OK_STATUS:
        context.job = job
    else:
        context.why_no_job = HOW_TO_SAVE
    if not was_accepted and reply.status != UNAUTHENTICATED:
        raise Failed(f"an unsigned token gets no 401: {explain(reply)}")
    return judge_unsigned(was_accepted=was_accepted, is_loopback=context.address.is_loopback)


def unsigned_token(now: float) -> str:
    """Return a job's token for a repository that doesn't exist, which nobody signed.

    Args:
        now: Seconds since 1970.
    """
    claims: dict[str, Any] = {
        "iss": "https://token.actions.githubusercontent.com",
        "nbf": int(now) - 60,
        "exp": int(now) + UNSIGNED_SECONDS,
        "repository_id": str(secrets.randbelow(10**12)),
        "ac": json.dumps([{"Scope": SCOPE, "Permission": READ_WRITE}]),
    }
    header = {"alg": "RS256", "typ": "JWT"}
    rows = [json.dumps(header).encode(), json.dumps(claims).encode(), b"not a signature"]
    return ".".join(base64.urlsafe_b64encode(row).rstrip(b"=").decode() for row in rows)


def judge_unsigned(*, was_accepted: bool, is_loopback: bool) -> str:
    """Say what it means that an unsigned token was accepted or not; a server that accepts it accepts anybody's.

    Raises:
        Failed: It was accepted, and not by a local run.
    """
    if not was_accepted:
        return "an unsigned token is refused"
    if is_loopback:
        return "not here, and on a loopback address they needn't be: this is the local run"
    raise Failed(
        "an unsigned token was accepted, so signatures aren't verified: anybody can read and write anybody's cache "
        "here; set VERIFY_TOKENS to true (the template never turns it off) and remove what was saved until now"
    )


def stack(context: Context) -> str:
    if context.stack_error is not None:
        raise Failed(context.stack_error)
    if context.stack is None:
        raise Skipped("not asked for; with STACK=name and your AWS credentials the edge is checked without a token")
    runner_url = context.stack.runner_url
    other = "" if read_address(runner_url).base == context.address.base else ", other than what is checked"
    return f"its bucket and signing secret; its RunnerUrl is {runner_url}{other}"


def concurrency(context: Context) -> str:
    if context.stack is None:
        raise Skipped("needs STACK=name and your AWS credentials")
    if context.stack.concurrency is None:
        raise Skipped("needs the permission lambda:GetAccountSettings")
    if (missing := shortage(context.stack.concurrency)) is not None:
        raise Failed(missing)
    return described(context.stack.concurrency)


def admission(context: Context) -> str:
    stack = needed(context.stack, "STACK=name and your AWS credentials")
    claims = stack.token_claims
    if not claims:
        raise Failed(
            "the stack's parameter TokenClaims is empty, so no job comes in: deploy with repository_id=42, say, or "
            "with any (docs/deploy/deploy.md)"
        )
    if GITHUB in stack.anybody_of:
        return f"TokenClaims is {claims}: every job on github.com may store at your cost"
    if stack.anybody_of:
        return f"TokenClaims is {claims}: every job of {', '.join(stack.anybody_of)}"
    return f"TokenClaims is {claims}"


def refused(context: Context) -> str:
    stack = needed(context.stack, "STACK=name and your AWS credentials")
    try:
        found = stack.refused()
    except StackUnreadable as error:
        raise Skipped(str(error)) from error
    if not found:
        return "no job was refused in the last seven days"
    named = [
        f"{row.job.called} ({row.times} times; to let it in, add {' or '.join(row.job.to_admit) or 'nothing known'})"
        for row in found[:REFUSED_SHOWN]
    ]
    more = f"; and {len(found) - len(named)} more, `actions-cache refused` has them" if len(found) > len(named) else ""
    return f"TokenClaims refused {'; '.join(named)}{more}"


def url_error(given: str, context: Context) -> str | None:
    """Return what is wrong with a URL that the server made for a client that asked at this address."""
    host = urlsplit(given).hostname or ""
    if given.startswith(f"{context.address.base}/") or context.address.is_loopback:
        return None
    if ".execute-api." in host:
        return (
            "the server makes URLs of the API's own host, where blocks over 10 MB can't go: viewer_request.js must "
            "pass the viewer's Host as x-viewer-host, and the origin request policy must forward it"
        )
    if given.startswith("http:"):
        return "the server makes http URLs; it must see X-Forwarded-Proto, or have the parameter PublicUrl"
    return None


# ---------------------------------------------------------------- the dialect


def errors(context: Context) -> str:
    base = context.address.base
    no_route = new_job(context.client, base, "none").call("NoSuchMethod", {})
    headers = {"Content-Type": "application/protobuf", "User-Agent": PLAIN_READER}
    no_token = context.client.ask("POST", f"{base}{SERVICE}GetCacheEntryDownloadURL", b"", headers)
    for reply, status, code in (
        (no_route, HTTPStatus.NOT_FOUND, "bad_route"),
        (no_token, HTTPStatus.UNAUTHORIZED, "unauthenticated"),
    ):
        if wrong := dialect_error(reply, status, code):
            raise Failed(wrong)
    return "404 bad_route and 401 unauthenticated, each exactly application/json"


def dialect_error(reply: Reply, status: int, code: str) -> str | None:
    """Return what is wrong with an error's answer, or None."""
    message = reply.json
    if reply.status != status or message.get("code") != code or "msg" not in message:
        return f"wanted {status} {code} as JSON; {explain(reply)}; clients retry for 30 s and more what they can't read"
    kind = reply.headers.get("content-type")
    if kind != "application/json":
        return f"an error's content type is {kind!r}; some clients compare it with application/json, without a charset"
    return None


def miss(context: Context) -> str:
    message = context.saving_job().look_up(f"{context.name}-none")
    if message.get("ok") is not False:
        raise Failed(f"a key that was never saved is answered {message}; clients take it for a hit")
    return "as clients want it"


def second_create(context: Context) -> str:
    context.saved_entry()
    reply = context.saving_job().call("CreateCacheEntry", {"key": context.name})
    if reply.status == HTTPStatus.OK:
        raise Failed("the same key could be reserved again: a saved entry must not change")
    if wrong := dialect_error(reply, HTTPStatus.CONFLICT, "already_exists"):
        raise Failed(wrong)
    return "409 already_exists"


def tidy(context: Context) -> str:
    """Delete what was uploaded beside entries; entries stay, and show later that cleanup works."""
    orphans = [upload for upload in (context.proof, context.saved) if upload is not None and upload.key is None]
    if context.stack is None or not orphans:
        raise Skipped("nothing of that kind was put; entries expire by themselves")
    count = sum(context.stack.delete_archive(upload.archive_id) for upload in orphans)
    return f"{count} objects"
