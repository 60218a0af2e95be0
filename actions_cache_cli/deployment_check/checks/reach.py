"""Checks whether there is a server at all, and whom it lets in."""

import socket
import ssl
import time
from urllib.parse import urlsplit

from actions_cache.domain.access import GITHUB
from actions_cache_cli.deployment_check.address import Address, origin
from actions_cache_cli.deployment_check.context import Context
from actions_cache_cli.deployment_check.explain import explain, json_object, quoted
from actions_cache_cli.deployment_check.job import OK, PLAIN_READER, VERSION, Job, post
from actions_cache_cli.deployment_check.room import described, shortage
from actions_cache_cli.deployment_check.stack import StackUnreadable
from actions_cache_cli.deployment_check.tokens import judge_unsigned, unsigned_token
from actions_cache_cli.deployment_check.verdicts import Failed, Skipped, needed
from actions_cache_cli.deployment_check.wire import CONNECT_SECONDS, explain_tls_fault

UNAUTHENTICATED = 401
FORBIDDEN = 403
REFUSED_SHOWN = 5
HOW_TO_SAVE = (
    "needs a token, and the server refuses unsigned ones, as it must: run it in a job with the job's "
    "ACTIONS_RUNTIME_TOKEN (docs/deploy.md has the workflow), or with STACK= for what the edge does"
)


def url(context: Context) -> str:
    if context.address.faults:
        raise Failed("; ".join(context.address.faults))
    return context.address.base


def name(context: Context) -> str:
    """Until the host is known to be reachable nothing is asked of it."""
    context.client.is_cut_off = True
    try:
        found = socket.getaddrinfo(context.address.host, context.address.port, type=socket.SOCK_STREAM)
    except OSError as fault:
        raise Failed(
            f"{context.address.host} has no address ({fault.strerror}): a typing error, or the DNS record of the "
            "custom domain is missing or hasn't spread yet; compare with the stack's outputs"
        ) from fault
    return str(found[0][4][0])


def connection(context: Context) -> str:
    try:
        seen = connect(context.address)
    except socket.gaierror as fault:
        raise Skipped("needs the host's address") from fault
    except ssl.SSLError as fault:
        raise Failed(explain_tls_fault(str(fault), context.address.host)) from fault
    except OSError as fault:
        raise Failed(
            f"{context.address.host} takes no connections on port {context.address.port} "
            f"({fault.strerror or 'no answer'}): the server isn't running, the port is wrong, or a firewall is there"
        ) from fault
    context.client.is_cut_off = False
    return seen


def connect(address: Address) -> str:
    """Raises OSError."""
    with socket.create_connection((address.host, address.port), CONNECT_SECONDS) as plain:
        if not address.is_tls:
            return "connected, without TLS"
        with ssl.create_default_context().wrap_socket(plain, server_hostname=address.host) as secured:
            return f"connected, {secured.version()}"


def health(context: Context) -> str:
    reply = context.client.send("GET", f"{context.address.base}/health")
    state = json_object(reply.body.decode("utf-8", "replace"))
    if reply.status == OK and state.get("ok") is True:
        return f"all three; version {quoted(str(state.get('version')))}, commit {quoted(str(state.get('commit')))}"
    if isinstance(faults := state.get("faults"), dict) and faults:
        named = "; ".join(f"{part}: {quoted(str(fault))}" for part, fault in faults.items())
        raise Failed(f"the API runs, but {named}; see that the stack is whole, and the API's role")
    raise Failed(explain(reply.status, reply.headers, reply.body))


def tokens(context: Context) -> str:
    """Asks with an unsigned token whether one is given or not: it is a lookup, which changes nothing."""
    unsigned = unsigned_token(time.time())
    question = {"key": context.name, "version": VERSION}
    send = (context.client, context.address.base, "GetCacheEntryDownloadURL", question)
    reply = post(*send, unsigned, PLAIN_READER)
    # A server that verifies signatures does so before it looks at TOKEN_CLAIMS.
    refused_by_claims = reply.status == FORBIDDEN and b"cache read denied" in reply.body
    was_accepted = reply.status == OK or refused_by_claims
    if context.given_token:
        context.why_no_job = "needs a token that the server accepts, and yours was refused above"
        with_token = post(*send, context.given_token, PLAIN_READER)
        if with_token.status != OK:
            said = explain(with_token.status, with_token.headers, with_token.body)
            raise Failed(f"your token isn't accepted: {said}; such tokens end with their job")
        context.job = Job(context.client, context.address.base, context.given_token)
    elif reply.status == OK:
        context.job = Job(context.client, context.address.base, unsigned)
    else:
        context.why_no_job = HOW_TO_SAVE
    if not was_accepted and reply.status != UNAUTHENTICATED:
        raise Failed(f"an unsigned token gets no 401: {explain(reply.status, reply.headers, reply.body)}")
    return judge_unsigned(was_accepted=was_accepted, is_loopback=context.address.is_loopback)


def stack(context: Context) -> str:
    if context.stack_fault is not None:
        raise Failed(context.stack_fault)
    if context.stack is None:
        raise Skipped("not asked for; with STACK=name and your AWS credentials the edge is checked without a token")
    other = "" if origin(context.stack.runner_url) == context.address.base else ", other than what is checked"
    return f"its bucket and signing secret; its RunnerUrl is {context.stack.runner_url}{other}"


def room(context: Context) -> str:
    if context.stack is None:
        raise Skipped("needs STACK=name and your AWS credentials")
    if context.stack.room is None:
        raise Skipped("needs the permission lambda:GetAccountSettings")
    if (fault := shortage(context.stack.room)) is not None:
        raise Failed(fault)
    return described(context.stack.room)


def admission(context: Context) -> str:
    stack = needed(context.stack, "STACK=name and your AWS credentials")
    claims = stack.token_claims
    if not claims:
        raise Failed(
            "the stack's parameter TokenClaims is empty, so no job comes in: deploy with repository_id=42, say, or "
            "with any (docs/deploy.md)"
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
    except StackUnreadable as fault:
        raise Skipped(str(fault)) from fault
    if not found:
        return "no job was refused in the last seven days"
    named = [
        f"{it.job.called} ({it.times} times; to let it in, add {' or '.join(it.job.to_admit) or 'nothing known'})"
        for it in found[:REFUSED_SHOWN]
    ]
    more = f"; and {len(found) - len(named)} more, `actions-cache refused` has them" if len(found) > len(named) else ""
    return f"TokenClaims refused {'; '.join(named)}{more}"


def url_fault(given: str, context: Context) -> str | None:
    """What is wrong with a URL that the server made, for a client that asked at this address."""
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
