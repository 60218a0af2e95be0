"""Headers of answers about blobs: those that every one has, and those of an archive."""

from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING

from fastapi import Request

from actions_cache.domain.archive import OCTET_STREAM
from actions_cache.domain.errors import PreconditionFailed
from actions_cache.domain.ranges import fits_if_match
from actions_cache.domain.timing import SECOND, Millis

if TYPE_CHECKING:
    # Functions that stream nothing don't load it.
    from actions_cache.download import Content

API_VERSION = "2025-11-05"
"""Version of Azure's API that clients ask for; they don't compare the answer's."""

INERT_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
"""Headers that keep a browser from showing a saved file as a page of this origin, which has the management page."""

VARIES = {"Vary": "Accept"}
"""Header of the answers that are others for a client that asks for the part list (http/part_lists.py)."""


def names_media_type(accept: Iterable[str], media_type: str) -> bool:
    """Return whether the values of Accept name a media type, among others or alone, and whatever its weight."""
    ranges = (media_range for value in accept for media_range in value.split(","))
    return any(media_range.partition(";")[0].strip().lower() == media_type for media_range in ranges)


def content_headers(content: "Content") -> dict[str, str]:
    """Return an archive's headers, with a type that no browser shows as a page, whatever a job saved."""
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(content.wanted.size),
        "Content-Type": OCTET_STREAM,
        **VARIES,
        "x-ms-blob-type": "BlockBlob",
        **blob_headers(content.etag, content.stored_at),
    }
    if content.is_partial:
        headers["Content-Range"] = content.wanted.content_range(content.size)
    return headers


def blob_headers(etag: str, last_modified: Millis) -> dict[str, str]:
    return {"ETag": etag, "Last-Modified": formatdate(last_modified / SECOND, usegmt=True)}


def base_headers(request_id: str) -> dict[str, str]:
    """Return the headers of every blob answer, errors included: BuildKit panics without the request id."""
    return {"x-ms-request-id": request_id, "x-ms-version": API_VERSION, **INERT_HEADERS}


def check_if_match(request: Request, content: "Content") -> None:
    """Check If-Match, by which Azure's SDKs pin what they read in ranges.

    Raises:
        PreconditionFailed: it names another archive.
    """
    wanted = request.headers.get("if-match")
    if not fits_if_match(wanted, content.etag):
        raise PreconditionFailed(f"If-Match names {(wanted or '')[:100]}, but the archive's ETag is {content.etag}")
