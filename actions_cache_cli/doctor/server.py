"""Who answers there: whether it is this server, whether it is well, and what its clock says."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from actions_cache_cli.doctor.finding import Finding, ok, quoted, trouble, unknown, warning
from actions_cache_cli.doctor.token import CLOCK_MARGIN_SECONDS
from actions_cache_cli.doctor.wire import Reply

OK_STATUS = 200
NO_CONTENT = 204
UNAUTHENTICATED = 401

SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"
ARTIFACTS = "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts"
"""Path of a question that changes nothing, whatever the answer."""
V1 = "/_apis/artifactcache/"
"""What clients of the v1 API put behind ACTIONS_CACHE_URL."""


def judge_health(reply: Reply) -> Finding:
    """Of GET /health."""
    title = "server"
    state = reply.json
    faults = state.get("faults")
    if reply.status == OK_STATUS and state.get("ok") is True and isinstance(faults, dict):
        release = f"version {quoted(str(state.get('version')))}, commit {quoted(str(state.get('commit')))}"
        return ok(title, f"this project's, {release}, and its table, bucket and queue answer")
    if isinstance(faults, dict) and faults:
        named = "; ".join(f"{part}: {quoted(str(fault))}" for part, fault in faults.items())
        return trouble(title, f"this project's, but unwell: {named}; whoever runs it should see its logs")
    return trouble(title, f"what answers isn't this project's server, or not whole: /health says {explain(reply)}")


def judge_dialect(reply: Reply) -> Finding:
    """Of a cache call without a token."""
    title = "cache API"
    said = reply.json
    if reply.status == UNAUTHENTICATED and said.get("code") == "unauthenticated":
        return ok(title, "it refuses a call without a token, in the cache service's words")
    if reply.status == UNAUTHENTICATED and "msg" in said:
        return trouble(title, f"a results service, but not this one: it says {quoted(str(said['msg']))}")
    return trouble(title, f"a call without a token must get a 401 of the cache service, not {explain(reply)}")


def judge_clock(reply: Reply) -> Finding:
    """By the answer's Date, which has whole seconds."""
    title = "clock"
    try:
        server = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return unknown(title, "the answer has no Date")
    # What can be said whatever the way took: the answer was made between question and arrival.
    behind = max(0.0, server - reply.answered_at)
    ahead = max(0.0, reply.asked_at - (server + 1))
    if max(behind, ahead) <= CLOCK_MARGIN_SECONDS:
        return ok(title, f"within {CLOCK_MARGIN_SECONDS} s of the server's")
    way = f"{behind:.0f} s behind" if behind else f"{ahead:.0f} s ahead of"
    return trouble(
        title,
        f"this machine is {way} the server: one of them is wrong (on the machine: timedatectl). BuildKit judges its "
        "token by this clock, and every program certificates; the server judges tokens and URLs by its own",
    )


def judge_others(reply: Reply, *, with_token: bool) -> Finding:
    """Judge the answer of the cache server to a question for the artifact service.

    Args:
        reply: the answer.
        with_token: whether a job's token was sent; the server passes nothing on without one.
    """
    title = "other services"
    said = reply.json
    code, message = str(said.get("code", "")), str(said.get("msg", ""))
    if code == "bad_route":
        return warning(
            title,
            "the cache works, but upload-artifact and job summaries don't: they use the same variable, and this server "
            "passes nothing on. Set its RESULTS_SERVICE_URL to https://results-receiver.actions.githubusercontent.com; "
            "the local run has it unset on purpose",
        )
    if reply.status == 502 and code == "unavailable":  # noqa: PLR2004 - Bad Gateway
        return trouble(title, f"upload-artifact would fail: {quoted(message)}")
    if reply.status == UNAUTHENTICATED and not with_token:
        return unknown(title, "this server only passes on jobs' requests; a job's token tells more")
    if reply.status == UNAUTHENTICATED:
        return unknown(title, f"the token is refused, by this server or behind it: {quoted(message)}")
    if reply.status < 500:  # noqa: PLR2004 - what says no is there
        return ok(title, f"passed on: the artifact service answers with {reply.status}")
    return unknown(title, f"the artifact service's path gets {explain(reply)}")


def explain(reply: Reply) -> str:
    """Of an answer that wasn't the wanted one: who gave it, and what it means."""
    said, text = reply.json, reply.text
    if reply.headers.get("server") == "CloudFront" and "Request blocked" in text:
        return f"{reply.status} of a firewall: the server's web ACL doesn't know this machine's address"
    if reply.headers.get("server") == "CloudFront" and "could not be satisfied" in text:
        return f"{reply.status} of CloudFront's own: no distribution lists this name, or its origin doesn't answer"
    if "code" in said and "msg" in said:
        return f"{reply.status} {said['code']}, {quoted(str(said['msg']))}"
    if "message" in said:
        return f"{reply.status}, {quoted(str(said['message']))}"
    if "<html" in text.lower():
        title = re.search(r"<title>([^<]*)", text, re.IGNORECASE)
        name = quoted(title[1]) if title else "without a title"
        return (
            f"{reply.status} with an HTML page, {name}: this server never sends HTML, so something else answers, a "
            "proxy or sign-in page on the way, or a wrong host"
        )
    if 300 <= reply.status < 400:  # noqa: PLR2004 - redirects
        return f"{reply.status} to {quoted(reply.headers.get('location', ''))}: clients don't follow it in a POST"
    kind = reply.headers.get("content-type", "no content type")
    return f"{reply.status} with {quoted(kind)}, {quoted(text, 60) if text.strip() else 'and no body'}"
