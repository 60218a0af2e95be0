"""Builds an archive's headers, for answers with its bytes and for those that only describe it."""

from fastapi import Request

from actions_cache.domain.archive import OCTET_STREAM
from actions_cache.domain.errors import PreconditionFailed
from actions_cache.domain.ranges import fits_if_match
from actions_cache.download import Content
from actions_cache.http import azure


def check_if_match(request: Request, content: Content) -> None:
    """Check If-Match, by which Azure's SDKs pin what they read in pieces.

    Raises:
        PreconditionFailed: it names another archive.
    """
    wanted = request.headers.get("if-match")
    if not fits_if_match(wanted, content.etag):
        raise PreconditionFailed(f"If-Match names {(wanted or '')[:100]}, but the archive's ETag is {content.etag}")


def content_headers(content: Content) -> dict[str, str]:
    """Return the headers, with a type that no browser shows as a page, whatever a job saved."""
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(content.wanted.size),
        "Content-Type": OCTET_STREAM,
        "x-ms-blob-type": "BlockBlob",
        **azure.blob_headers(content.etag, content.stored_at),
    }
    if content.is_partial:
        headers["Content-Range"] = content.wanted.content_range(content.size)
    return headers
