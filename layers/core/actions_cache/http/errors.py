"""Errors in the dialect of each kind of client: twirp, Azure Blob Storage, the v1 API, GitHub's REST API.

What clients make of each is in docs/design/protocol.md#errors.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Protocol
from xml.etree import ElementTree as ET

from fastapi import Response

from actions_cache.domain.errors import (
    AlreadyExists,
    CacheError,
    CommittedDifferently,
    InvalidBlockList,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooLarge,
    TooManyRequests,
    TryAgain,
    Unauthenticated,
)

V1_ROOT = "/_apis/artifactcache"
"""Every path of the v1 API begins with this."""

INTERNAL_ERROR = "an unexpected error, written to this server's log"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer that isn't bound to a framework."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, headers: Mapping[str, str]) -> "Answer":
        return replace(self, headers={**self.headers, **headers})


def respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


class Dialect(Protocol):
    """Renders errors as one kind of client reads them."""

    def error(self, status: int, code: str, message: str) -> Answer: ...

    def cache_error(self, error: CacheError) -> Answer:
        """Return the answer to a refused request; an error without a code of its own is the request's."""
        ...

    def no_route(self, method: str, path: str) -> Answer: ...

    def internal_error(self) -> Answer: ...


def dialect_of(path: str) -> Dialect:
    """Return the dialect that clients of a path read."""
    if path.startswith(f"{V1_ROOT}/"):
        return V1
    return AZURE if is_blob(path) else TWIRP


def is_blob(path: str) -> bool:
    """Return whether clients of Azure Blob Storage ask for this path."""
    return path.startswith("/blobs/")


Codes = Sequence[tuple[type[CacheError], int, str]]
"""Status and code by kind of error; the first kind that an error is an instance of counts."""


def _status_and_code(codes: Codes, error: CacheError) -> tuple[int, str]:
    return next((status, code) for kind, status, code in codes if isinstance(error, kind))


def _retry_after(error: CacheError) -> dict[str, str]:
    return {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, TryAgain) else {}


class Twirp:
    """Renders JSON without a charset, whatever the encoding of the request."""

    codes: Codes = (
        (InvalidRequest, 400, "invalid_argument"),
        (Unauthenticated, 401, "unauthenticated"),
        (PermissionDenied, 403, "permission_denied"),
        (NotFound, 404, "not_found"),
        (AlreadyExists, 409, "already_exists"),
        # Not twirp's 429 for resource_exhausted: clients would wait and send the same body again.
        (TooLarge, 413, "invalid_argument"),
        (TooManyRequests, 429, "resource_exhausted"),
        (TryAgain, 503, "unavailable"),
        (CacheError, 400, "invalid_argument"),
    )

    def error(self, status: int, code: str, message: str) -> Answer:
        return Answer(status, json.dumps({"code": code, "msg": message}).encode(), {"Content-Type": "application/json"})

    def cache_error(self, error: CacheError) -> Answer:
        return self.error(*_status_and_code(self.codes, error), str(error)).with_headers(_retry_after(error))

    def bad_route(self, message: str) -> Answer:
        return self.error(404, "bad_route", message)

    def no_route(self, method: str, path: str) -> Answer:
        return self.bad_route(f"no route for {method} {path}")

    def malformed(self, message: str) -> Answer:
        return self.error(400, "malformed", message)

    def internal_error(self) -> Answer:
        return self.error(500, "internal", INTERNAL_ERROR)


class Azure:
    """Renders the XML of Azure Blob Storage."""

    codes: Codes = (
        (InvalidBlockList, 400, "InvalidBlockList"),
        (InvalidRequest, 400, "InvalidInput"),
        (PermissionDenied, 403, "AuthenticationFailed"),
        (NotFound, 404, "BlobNotFound"),
        (CommittedDifferently, 409, "BlobAlreadyExists"),
        (PreconditionFailed, 412, "ConditionNotMet"),
        (TooLarge, 413, "RequestBodyTooLarge"),
        (RangeNotSatisfiable, 416, "InvalidRange"),
        # The JavaScript client asks again on 500 and 503 only.
        (TryAgain, 503, "ServerBusy"),
        (CacheError, 400, "InvalidInput"),
    )

    not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
    """Matches characters that XML 1.0 can't hold; a message that quotes its request may have some."""

    def error(self, status: int, code: str, message: str) -> Answer:
        document = ET.Element("Error")
        ET.SubElement(document, "Code").text = code
        ET.SubElement(document, "Message").text = self.not_xml.sub("\N{REPLACEMENT CHARACTER}", message)
        body: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
        return Answer(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code})

    def cache_error(self, error: CacheError) -> Answer:
        answer = self.error(*_status_and_code(self.codes, error), str(error))
        if isinstance(error, RangeNotSatisfiable):
            return answer.with_headers({"Content-Range": f"bytes */{error.size}"})
        return answer.with_headers(_retry_after(error))

    def no_route(self, method: str, path: str) -> Answer:  # noqa: ARG002 - paths of signed URLs aren't repeated
        return self.error(405, "UnsupportedHttpVerb", f"{method} isn't supported here")

    def internal_error(self) -> Answer:
        return self.error(500, "InternalError", INTERNAL_ERROR)


class ArtifactCache:
    """Renders the v1 API's errors: twirp's statuses, and JSON with a message for users."""

    taken = "ArtifactCacheItemAlreadyExistsException"
    """The real service's name for a key that is taken: BuildKit goes by it, and not by the status."""

    def error(self, status: int, code: str, message: str) -> Answer:
        body = json.dumps({"message": message, "typeKey": code}).encode()
        return Answer(status, body, {"Content-Type": "application/json"})

    def cache_error(self, error: CacheError) -> Answer:
        status, _ = _status_and_code(Twirp.codes, error)
        code = self.taken if isinstance(error, AlreadyExists) else type(error).__name__
        return self.error(status, code, str(error)).with_headers(_retry_after(error))

    def no_route(self, method: str, path: str) -> Answer:
        return self.error(404, "NotFound", f"no route for {method} {path}")

    def internal_error(self) -> Answer:
        return self.error(500, "InternalError", INTERNAL_ERROR)


class GitHubRest:
    """Renders errors for clients of GitHub's REST API, and of this server's own management API."""

    documentation = "https://docs.github.com/rest/actions/cache"
    """Describes the endpoints that are like GitHub's. Octokit shows it beside the message."""

    def error(self, status: int, code: str, message: str) -> Answer:  # noqa: ARG002 - GitHub's errors have no codes
        body = {"message": message, "documentation_url": self.documentation, "status": str(status)}
        return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def cache_error(self, error: CacheError) -> Answer:
        status, code = _status_and_code(Twirp.codes, error)
        if isinstance(error, InvalidRequest):
            status = HTTPStatus.UNPROCESSABLE_ENTITY
        return self.error(status, code, str(error)).with_headers(_retry_after(error))

    def no_route(self, method: str, path: str) -> Answer:
        return self.error(404, "not_found", f"no route for {method} {path}")

    def internal_error(self) -> Answer:
        return self.error(500, "internal", INTERNAL_ERROR)


TWIRP = Twirp()
AZURE = Azure()
V1 = ArtifactCache()
GITHUB_REST = GitHubRest()
