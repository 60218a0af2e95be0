"""Implements RFC 9110's preconditions on an archive's ETag. functions/edge/viewer_request.js has a twin.

A URL always has the same bytes, so headers that only save bytes (If-None-Match, If-Modified-Since) or ask for a date
(If-Unmodified-Since) are ignored: that hurts nobody, and a 304 would be an answer without a body.
"""


def fits_if_match(header: str | None, etag: str) -> bool:
    """Return whether If-Match lets the request through (section 13.1.1): weak tags never do."""
    tags = ["*"] if header is None else [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in tags


def range_applies(if_range: str | None, etag: str) -> bool:
    """Return whether `Range` is honoured (section 13.1.5); otherwise the client gets the whole, to begin anew.

    A date never fits: the edge, which answers for the same archive, doesn't know its date.
    """
    return if_range is None or if_range.strip() == etag
