"""Judges a job's variables: whether they lead to the server, by which API and way, and what its token allows."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from actions_cache_cli.doctor.address import (
    Address,
    NotAUrl,
    no_proxy,
    proxy_for,
    read_address,
    shown_proxy,
    url_errors,
)
from actions_cache_cli.doctor.report import Finding, ok, trouble, unknown
from actions_cache_cli.doctor.runner import (
    ACTION,
    HOW_IN_A_JOB,
    RUN_STEP,
    Place,
    Runner,
    hook_of,
    read_settings,
    url_error,
)

# ---------------------------------------------------------------- what ACTIONS_RESULTS_URL is, or will be, and why

VARIABLE_TITLE = "what jobs are told"
VARIABLE = "ACTIONS_RESULTS_URL"
CUSTOM = "CUSTOM_ACTIONS_RESULTS_URL"
GITHUBS = "https://results-receiver.actions.githubusercontent.com/"
"""The URL that the runner gives an action, and that a hook is tried with where there is no action."""

WRITE_URL = "write the server's URL as https://HOST/"
WAYS = "point the jobs at it by one of the ways of docs/use/runners.md"


@dataclass(frozen=True)
class Seen:
    """Holds what is known of the variable."""

    place: Place
    variables: Mapping[str, str]
    """The job's variables, or those that the runner would start one with."""
    server: Address | None
    """The expected server; None if nobody named one."""
    by_node: str | None = None
    """The variable in node's processes, which outside of an action began as GITHUBS. None: no node, or unset."""
    node_error: str | None = None
    has_node: bool = False
    runner: Runner | None = None

    @property
    def hook(self) -> str | None:
        return hook_of(self.variables)

    @property
    def custom(self) -> str:
        return self.variables.get(CUSTOM, "")


def judge_variable(seen: Seen) -> list[Finding]:
    if seen.node_error is not None:
        options = f"; NODE_OPTIONS is {seen.variables['NODE_OPTIONS']}" if seen.variables.get("NODE_OPTIONS") else ""
        said = f"no action can start, since node doesn't: {seen.node_error}{options}"
        remedy = "correct NODE_OPTIONS, or put the file there that it names" if options else "mend this node"
        return [trouble(VARIABLE_TITLE, said, remedy)]
    return _in_an_action(seen) if seen.place.kind == ACTION else [_foreseen(seen)]


def _in_an_action(seen: Seen) -> list[Finding]:
    here = seen.variables.get(VARIABLE, "")
    value = (seen.by_node or "") if seen.has_node else here
    if not value:
        said = f"{VARIABLE} isn't set, so clients find no cache; is this an action's environment?"
        return [trouble(VARIABLE_TITLE, said, WAYS)]
    try:
        address = read_address(value)
    except NotAUrl as error:
        return [trouble(VARIABLE_TITLE, f"{VARIABLE} leads nowhere: {error}", WRITE_URL)]
    if not _leads_there(address, seen.server):
        return [_led_away(seen, address)]
    if here == value:
        by = "here and in node's processes" if seen.has_node else "here; there is no node to see what actions get"
        known = "" if seen.server else "; with --url=https://HOST/ it is compared with what it should be"
        return [ok(VARIABLE_TITLE, f"{VARIABLE} is {value}, {by}{known}")]
    return [
        ok(VARIABLE_TITLE, f"{VARIABLE} is {value} in node's processes, by the hook {seen.hook or 'in NODE_OPTIONS'}"),
        trouble(
            "what isn't node",
            f"{VARIABLE} is {here or 'unset'} here: a program that no action starts, as sccache or buildx in a run: "
            f"step, doesn't reach the server",
            "let an action export the variable (docs/use/runners.md)",
        ),
    ]


def _leads_there(address: Address, server: Address | None) -> bool:
    return not address.is_githubs if server is None else address.base == server.base


def _led_away(seen: Seen, address: Address) -> Finding:
    instead = f", not {seen.server.base}" if seen.server else ""
    owner = "GitHub's own" if address.is_githubs else address.base
    said = f"{VARIABLE} is {owner}{instead}: "
    if not address.is_githubs:
        why, remedy = "another server, or another name of this one", "give the runner the expected URL"
    elif seen.place.is_container_job:
        why = "the runner overwrote it, and in a container job neither its NODE_OPTIONS nor its .env count"
        remedy = "give the job's container the hook and its variables (docs/use/runners.md, container jobs)"
    else:
        why, remedy = _why_not(seen)
        why = f"the runner overwrote it. {why}"
    return trouble(VARIABLE_TITLE, said + why, remedy)


def _why_not(seen: Seen) -> tuple[str, str]:
    """Say which of the ways was tried and why it does nothing, and what to do."""
    worker = seen.runner.worker if seen.runner else None
    if seen.hook:
        lacks = _what_a_hook_lacks(seen)
        remedy = "write hook.json beside the hook, as docs/use/runners.md shows, and restart the runner"
        return f"NODE_OPTIONS loads {seen.hook}, but it changed nothing{lacks}", remedy
    if seen.custom and worker and worker.honours_custom:
        return f"{CUSTOM} is set here, but not where the runner was started", "put it into its .env and restart it"
    if seen.custom:
        remedy = (
            "use the hook instead (docs/use/runners.md); some images of the fork lack the patch, and self-update "
            "replaces a patched program (--disableupdate)"
        )
        return f"{CUSTOM} is set, but this runner ignores it: its program lacks the patch", remedy
    if seen.place.kind == ACTION and seen.variables.get("GITHUB_WORKFLOW_REF"):
        return "A workflow's env: can't set it", WAYS
    return "Nothing here changes that", WAYS


def _what_a_hook_lacks(seen: Seen) -> str:
    """Return what the project's own hook lacks."""
    settings = read_settings(seen.hook)
    if settings is not None:
        return f"; {settings.path} is beside it, and {settings.error}" if settings.error else ""
    if not seen.custom:
        return f"; there is no hook.json beside it to name the URL, and {CUSTOM} isn't set either"
    error = url_error(seen.custom)
    return f"; {CUSTOM}: {error}" if error else ""


def _foreseen(seen: Seen) -> Finding:
    """Judge the variable that the runner will give an action, where there is none to look at."""
    worker = seen.runner.worker if seen.runner else None
    if seen.has_node and seen.by_node and seen.by_node != GITHUBS:
        return _given(seen, seen.by_node, f"the hook {seen.hook or 'in NODE_OPTIONS'} rewrites it in node's processes")
    if seen.custom and worker and worker.honours_custom:
        return _given(seen, seen.custom, f"this runner's program honours {CUSTOM}")
    if worker and not worker.overwrites:
        own = seen.variables.get(VARIABLE) or ""
        if not own:
            said = f"this runner's program leaves {VARIABLE} alone, and nothing sets it"
            return trouble(VARIABLE_TITLE, said, "put it into the runner's .env and restart it")
        return _given(seen, own, f"this runner's program leaves {VARIABLE} alone")
    if worker or seen.hook:
        why, remedy = _why_not(seen)
        return trouble(VARIABLE_TITLE, f"the runner will set {VARIABLE} to GitHub's own. {why}", remedy)
    outside = "name the runner's directory by --runner, or run this in a job"
    more = HOW_IN_A_JOB if seen.place.kind == RUN_STEP else outside
    without = "" if seen.has_node else "; there is no node here either, to see what a hook does"
    return unknown(VARIABLE_TITLE, f"no runner's program is to be seen here{without}; {more}")


def _given(seen: Seen, url: str, how: str) -> Finding:
    try:
        address = read_address(url)
    except NotAUrl as error:
        return trouble(VARIABLE_TITLE, f"{how}, but its new value leads nowhere: {error}", WRITE_URL)
    if _leads_there(address, seen.server):
        return ok(VARIABLE_TITLE, f"actions get {url}: {how}")
    expected = seen.server.base if seen.server else "a cache server"
    return trouble(VARIABLE_TITLE, f"actions get {url}, not {expected}: {how}", "give the runner the expected URL")


def judge_url(address: Address) -> Finding:
    """Judge whether every client makes the right addresses of the URL."""
    title = "the URL"
    errors = url_errors(address)
    parts = urlsplit(address.given)
    if not (parts.path or parts.query or parts.fragment):
        errors.append(
            f"it has no slash at its end; clients that put paths behind it, as those of the v1 API do, would ask "
            f"{parts.netloc}_apis"
        )
    if errors:
        return trouble(title, f"{address.base}: {'; '.join(errors)}", f"write {address.base}/ (RunnerUrl has it whole)")
    return ok(title, address.given)


# ---------------------------------------------------------------- how clients read the other variables, with sources

GO_TRUE = ("1", "t", "T", "true", "TRUE", "True")
"""Values that Go's strconv.ParseBool takes for true; buildx and BuildKit read ACTIONS_CACHE_SERVICE_V2 with it."""

MODES = {
    "read": "entries are restored and none is saved",
    "write": "entries are restored and saved",
    "write-only": "entries are saved and none is restored",
}


def is_ghes(variables: Mapping[str, str]) -> bool:
    """Return whether @actions/cache (internal/config.js) takes this for GHES and uses v1, whatever else is set."""
    host = (urlsplit(variables.get("GITHUB_SERVER_URL") or "https://github.com").hostname or "").upper()
    return host != "GITHUB.COM" and not host.endswith((".GHE.COM", ".LOCALHOST"))


def uses_v1(variables: Mapping[str, str]) -> bool:
    """Return whether @actions/cache uses v1; any text in ACTIONS_CACHE_SERVICE_V2 is a yes (internal/config.js)."""
    return is_ghes(variables) or not variables.get("ACTIONS_CACHE_SERVICE_V2")


def judge_version(variables: Mapping[str, str], server: Address | None) -> Finding:
    """Judge which of the two cache APIs the job's clients use, and whether it leads to the server.

    Args:
        variables: An action's variables, not those of a `run:` step.
        server: The expected server.
    """
    title = "v1 or v2"
    value = variables.get("ACTIONS_CACHE_SERVICE_V2", "")
    if is_ghes(variables):
        why = f"v1, since GITHUB_SERVER_URL is {variables['GITHUB_SERVER_URL']} (GHES)"
    elif value in GO_TRUE:
        return ok(title, f"v2 (ACTIONS_CACHE_SERVICE_V2 is {value})")
    elif value:
        return trouble(
            title,
            f"ACTIONS_CACHE_SERVICE_V2 is {value!r}: @actions/cache takes any text for yes and uses v2, buildx takes "
            "it for no and uses v1",
            "set it to true",
        )
    else:
        why = "v1, since ACTIONS_CACHE_SERVICE_V2 isn't set, as github.com's runners set it for each action"
    url = variables.get("ACTIONS_CACHE_URL", "")
    if not url:
        return trouble(
            title,
            f"{why}; but ACTIONS_CACHE_URL isn't set, so actions/cache says that no cache service is there",
            "set ACTIONS_CACHE_SERVICE_V2=true, or on GHES ACTIONS_CACHE_URL to the server",
        )
    try:
        address = read_address(url)
    except NotAUrl as error:
        return trouble(title, f"{why}; and ACTIONS_CACHE_URL leads nowhere: {error}", WRITE_URL)
    if server is not None and address.base != server.base:
        said = f"{why}; so clients ask ACTIONS_CACHE_URL, which is {address.base}, not {server.base}"
        return trouble(title, said, f"set ACTIONS_CACHE_URL to {server.base}/")
    if not url.endswith("/"):
        said = f"{why}; and ACTIONS_CACHE_URL ends without a slash, which v1's clients need"
        return trouble(title, said, f"write {url}/")
    return ok(title, f"{why}; ACTIONS_CACHE_URL is {url}")


def judge_mode(variables: Mapping[str, str]) -> Finding | None:
    """Judge ACTIONS_CACHE_MODE as @actions/cache 6 (internal/config.js) reads it; it ignores an unknown mode."""
    title = "cache mode"
    mode = variables.get("ACTIONS_CACHE_MODE", "").strip().lower()
    if mode == "none":
        return trouble(
            title,
            "ACTIONS_CACHE_MODE is none: @actions/cache asks no server at all",
            "change it where it is set, in the workflow or by a policy",
        )
    return ok(title, f"ACTIONS_CACHE_MODE is {mode}: {MODES[mode]}") if mode in MODES else None


def judge_way(address: Address, variables: Mapping[str, str]) -> Finding | None:
    """Judge whether requests go through a proxy; None if no proxy is set at all."""
    title = "proxy"
    proxy = proxy_for(address, variables)
    if proxy is not None:
        near = [item for item in no_proxy(variables) if _looks_meant(item, address.host)]
        if near:
            return trouble(
                title,
                f"NO_PROXY has {near[0]}, which @actions/cache doesn't take for {address.host}: it knows names and "
                f"their endings, no *, so clients go through {shown_proxy(proxy)}",
                f"write {address.host} there",
            )
        shown = shown_proxy(proxy)
        if not shown.startswith("http://"):
            return unknown(title, f"{shown} is asked by TLS or by another protocol, which this check can't do")
        return ok(title, f"@actions/cache goes through {shown}, and so do the requests below")
    if any(variables.get(name) for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY")):
        return ok(title, f"one is set, but not for {address.host}")
    return None


def _looks_meant(item: str, host: str) -> bool:
    """Return whether the item means the host in the form `*.example.com`, which other programs take."""
    return item.startswith("*") and host.lower().endswith(item.lstrip("*").lower())


# ---------------------------------------------------------------- the token, without its issuer's keys

TOKEN_TITLE = "token"  # noqa: S105 - the title of a line
RUN_IN_JOB = "run this in a job that is running, with that job's own token, whole"
READ = 1
WRITE = 2
CLOCK_MARGIN_SECONDS = 30
"""The difference between clocks that the server allows."""

FAR = 10**12
"""Seconds that stand for any longer time, so that a huge number can't overflow."""

GITHUB = "https://token.actions.githubusercontent.com"
_GITHUBS_ID = re.compile("[1-9][0-9]{0,63}")
_OTHERS_ID = re.compile("(?!0$)[A-Za-z0-9_-]{1,64}")
"""Repository id from another issuer, as the server accepts it."""


@dataclass(frozen=True)
class Token:
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    error: str | None
    """Reason why the server won't take it; None if nothing speaks against it."""
    describes: str = ""
    """Repository and issuer."""


def read_token(text: str, now: float) -> Token:
    """Read a JWT; one that can't be read is a token with an error.

    Args:
        text: The JWT.
        now: Seconds since 1970.
    """
    try:
        claims = json.loads(_decoded(text.split(".")[1])) if text.count(".") == 2 else None  # noqa: PLR2004 - a JWT's
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        return Token((), (), "isn't a JWT; it must be the job's own ACTIONS_RUNTIME_TOKEN, whole")
    readable, writable = _scopes(claims.get("ac"))
    describes = f"repository_id {claims.get('repository_id')}, issuer {claims.get('iss')}"
    return Token(readable, writable, _error(claims, readable + writable, now), describes)


def _error(claims: dict[str, Any], scopes: tuple[str, ...], now: float) -> str | None:
    expires, begins = _seconds(claims.get("exp")), _seconds(claims.get("nbf"))
    if expires is None:
        return "has no exp that is a number, so the server refuses it"
    if begins is None and claims.get("nbf") is not None:
        return "has an nbf that is no number, so the server refuses it"
    if expires + CLOCK_MARGIN_SECONDS < now:
        return f"expired {now - expires:.0f} s ago by this machine's clock; tokens end with their job"
    if begins is not None and begins - CLOCK_MARGIN_SECONDS > now:
        return f"begins in {begins - now:.0f} s by this machine's clock; see the clock"
    if not _is_repository(claims.get("repository_id"), claims.get("iss")):
        return "names no repository_id that the server takes; it must be the job's own ACTIONS_RUNTIME_TOKEN"
    if not scopes:
        return "has no ac claim that names a scope; it must be the job's own ACTIONS_RUNTIME_TOKEN"
    return None


def _seconds(value: object) -> float | None:
    """Return a claim's time; None if it isn't a number, as true and Infinity aren't."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return max(-FAR, min(value, FAR))


def _is_repository(named: object, issuer: object) -> bool:
    if isinstance(named, bool) or not isinstance(named, (int, str)):
        return False
    is_githubs = str(issuer or GITHUB).rstrip("/") == GITHUB
    return (_GITHUBS_ID if is_githubs else _OTHERS_ID).fullmatch(str(named)) is not None


def _scopes(ac: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        rows = json.loads(ac) if isinstance(ac, str) else []
        bits = [(str(row["Scope"]), _permission(row["Permission"])) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError):
        return (), ()
    return tuple(s for s, bit in bits if bit & READ), tuple(s for s, bit in bits if bit & WRITE)


def _permission(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a number of bits")
    return value


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def judge_token(token: Token | None) -> Finding:
    """Judge the job's token; None if there is none."""
    if token is None:
        return unknown(TOKEN_TITLE, "none here, so nothing can be looked up or saved; run it in a job")
    if token.error is not None:
        return trouble(TOKEN_TITLE, f"ACTIONS_RUNTIME_TOKEN {token.error}", RUN_IN_JOB)
    if not token.readable:
        said = f"it may read no scope, so every lookup is refused; {token.describes}"
        return trouble(TOKEN_TITLE, said, "see what whoever issues it puts into `ac`; GitHub's own tokens read a scope")
    reads = f"reads {', '.join(token.readable)}"
    if not token.writable:
        return ok(
            TOKEN_TITLE,
            f"read-only, so jobs like this one restore and don't save: GitHub gives such tokens to untrusted events, "
            f"such as pull requests from forks; {reads}; {token.describes}",
        )
    return ok(TOKEN_TITLE, f"{reads}; saves under {token.writable[0]}; {token.describes}")
