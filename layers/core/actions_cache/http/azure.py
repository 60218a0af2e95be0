"""Azure Blob Storage's answers, as its clients read them (docs/design/protocol.md#uploads)."""

import re
from email.utils import formatdate
from xml.etree import ElementTree as ET

from actions_cache.domain.errors import (
    CacheError,
    CommittedDifferently,
    InvalidBlockList,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooLarge,
    TryAgain,
)
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.http.answer import Answer

API_VERSION = "2025-11-05"
"""What the clients ask for; they don't compare it."""

INERT = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
"""Headers that keep a browser from showing a saved file as a page of this origin, which has the management page."""

_CODES: tuple[tuple[type[CacheError], int, str], ...] = (
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
)


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can't hold, and a message that quotes its request may."""


def base_headers(request_id: str) -> dict[str, str]:
    """On every answer: BuildKit panics without the request id."""
    return {"x-ms-request-id": request_id, "x-ms-version": API_VERSION, **INERT}


def blob_headers(etag: str, last_modified: Millis) -> dict[str, str]:
    return {"ETag": etag, "Last-Modified": formatdate(last_modified / SECOND, usegmt=True)}


def error(status: int, code: str, message: str) -> Answer:
    document = ET.Element("Error")
    ET.SubElement(document, "Code").text = code
    ET.SubElement(document, "Message").text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", message)
    body: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return Answer(status, body, {"Content-Type": "application/xml", "x-ms-error-code": code})


def cache_error(fault: CacheError) -> Answer:
    """Raises nothing: what has no code of its own is the request's fault."""
    status, code = next(((s, c) for kind, s, c in _CODES if isinstance(fault, kind)), (400, "InvalidInput"))
    answer = error(status, code, str(fault))
    extra: dict[str, str] = {}
    if isinstance(fault, RangeNotSatisfiable):
        extra["Content-Range"] = f"bytes */{fault.size}"
    if isinstance(fault, TryAgain):
        extra["Retry-After"] = str(fault.retry_after_seconds)
    return Answer(answer.status, answer.body, {**answer.headers, **extra})


def no_route(method: str, path: str) -> Answer:  # noqa: ARG001 - the signature in it is nobody else's to read
    return error(405, "UnsupportedHttpVerb", f"{method} isn't supported here")


def internal_error() -> Answer:
    return error(500, "InternalError", "an unexpected error, written to this server's log")
