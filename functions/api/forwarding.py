"""What is passed on to the results service, and what is ours: decisions alone (docs/decisions/0009-passthrough.md)."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from actions_cache.adapters.results_service import RawHeaders
from actions_cache.domain.errors import InvalidRequest
from actions_cache.web.app import ORIGIN_KEY, VIEWER_HOST
from actions_cache.web.artifact_cache import ROOT as ARTIFACT_CACHE
from functions.api.hook import ROOT as HOOK

OUR_SERVICE = "github.actions.results.api.v1.cacheservice"
OUR_PATHS = (
    *("/", "/api", "/blobs", "/health", "/iam", "/manage", "/repos", "/repositories"),
    ARTIFACT_CACHE,
    HOOK,
)
"""With all below them, but for the root. `/api`, `/repos` and `/repositories` are GitHub's REST API, as it looks on
other hosts. Whoever asks there shows a token of those who manage this server, which is for nobody else."""

MAX_ENCODINGS = 3
"""How often a path may be percent-encoded over and over. No client encodes one twice."""

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Of one connection, not of the message (RFC 9110, 7.6.1)."""

_OF_THE_WAY_HERE = frozenset(
    {b"content-length", b"cookie", b"expect", b"forwarded", b"host", b"via", b"x-amz-cf-id"}
    | {VIEWER_HOST.encode(), ORIGIN_KEY.encode()}
)
"""Headers that CloudFront, API Gateway and the connection add; they are set again or meaningless on the next hop. `Via`
and `Forwarded` would reveal this server's internals, and a client's other addresses, to GitHub. No client of the
results service sends a `Cookie`; a browser's would be this server's own session."""

_PREFIXES_OF_THE_WAY_HERE = (b"cloudfront-", b"x-amzn-", b"x-forwarded-")

LOOP_HEADER = b"cdn-loop"
LOOP_MARK = b"serverless-actions-cache"
"""RFC 8586. A request that comes back, since RESULTS_SERVICE_URL leads here, would go round until its time is up."""

_UNTOUCHED = "/%:@!$&'()*+,;=~-._"
"""What a path may hold as it is (RFC 3986, 3.3), and the sign of what is encoded already."""

_VISIBLE = re.compile("[\x21-\x7e]*")


def target_of(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Path and query, as they were sent.

    API Gateway doesn't say whether it hands over a path decoded, and hands over query values decoded: what must be
    encoded is encoded anew.

    Raises: InvalidRequest: it isn't a path, or has characters that no URL has.
    """
    raw = scope["raw_path"]
    path = raw.decode("latin-1") if raw is not None else quote(scope["aws.event"]["path"], safe=_UNTOUCHED)
    query = scope["query_string"].decode("latin-1")
    if not path.startswith("/") or not _VISIBLE.fullmatch(path) or not _VISIBLE.fullmatch(query):
        raise InvalidRequest("the request's target must be a path and a query, of visible ASCII characters")
    return path, query


def is_ours(path: str) -> bool:
    """Return whether the path is this server's own, or could be read so by whoever normalizes it.

    Raises: InvalidRequest: it is encoded so often that nobody can say.
    """
    segments = _segments(_decoded(path))
    normal = "/" + "/".join(segments)
    return OUR_SERVICE in segments or any(normal == ours or normal.startswith(f"{ours}/") for ours in OUR_PATHS)


def _decoded(path: str) -> str:
    for _ in range(MAX_ENCODINGS):
        decoded = unquote(path)
        if decoded == path:
            return path
        path = decoded
    if unquote(path) != path:
        raise InvalidRequest(f"the path is percent-encoded more than {MAX_ENCODINGS} times over")
    return path


def _segments(path: str) -> list[str]:
    """Without empty ones and dots, in lower case; a parameter after `;` is none of the name."""
    segments: list[str] = []
    for segment in re.split(r"[/\\]", path.casefold()):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(name)
    return segments


def end_to_end(headers: RawHeaders) -> RawHeaders:
    """Those of the message itself: without the connection's, and those that it names."""
    named = {
        name.strip() for key, value in headers if key.lower() == b"connection" for name in value.lower().split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP | named]


def request_headers(headers: RawHeaders) -> RawHeaders:
    """What the results service gets: the client's own headers, Authorization included.

    Raises: InvalidRequest: one isn't UTF-8, as which they are sent on.
    """
    kept = [
        (name, value)
        for name, value in end_to_end(headers)
        if name.lower() not in _OF_THE_WAY_HERE and not name.lower().startswith(_PREFIXES_OF_THE_WAY_HERE)
    ]
    for name, value in kept:
        try:
            value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"the header {name.decode('latin-1')} isn't UTF-8") from None
    return [*kept, (LOOP_HEADER, LOOP_MARK)]


def has_been_here(headers: RawHeaders) -> bool:
    return any(name.lower() == LOOP_HEADER and LOOP_MARK in value.lower() for name, value in headers)


_OF_ANOTHER_ORIGIN = frozenset(
    {
        b"alt-svc",
        b"clear-site-data",
        b"content-security-policy",
        b"content-security-policy-report-only",
        b"date",
        b"nel",
        b"refresh",
        b"report-to",
        b"reporting-endpoints",
        b"service-worker-allowed",
        b"set-cookie",
        b"set-cookie2",
        b"strict-transport-security",
        b"x-content-type-options",
    }
)
"""Headers that a browser applies to this server's whole origin, which has the management page; and `Date`, which the
answering server sets itself."""

INERT = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
)
"""Headers that make a browser show another server's answer, if at all, in an origin of its own and without scripts."""


def answer_headers(headers: RawHeaders) -> RawHeaders:
    """Return the headers that the client gets."""
    kept = [(name, value) for name, value in end_to_end(headers) if name.lower() not in _OF_ANOTHER_ORIGIN]
    return [*kept, *INERT]
