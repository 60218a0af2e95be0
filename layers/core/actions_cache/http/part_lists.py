"""Part lists over HTTP: version 1 of the protocol in docs/design/parts-protocol.md."""

import json
from collections.abc import Iterable

from actions_cache.domain.part_list import PartList
from actions_cache.http.headers import VARIES

MEDIA_TYPE = "application/vnd.actions-cache.parts.v1+json"


def wants_parts(accept: Iterable[str]) -> bool:
    """Return whether the values of Accept name the media type, among others or alone, and whatever its weight."""
    ranges = (media_range for value in accept for media_range in value.split(","))
    return any(media_range.partition(";")[0].strip().lower() == MEDIA_TYPE for media_range in ranges)


def part_list_body(listed: PartList) -> bytes:
    rows = [[part.path, part.size, part.etag, part.signature] for part in listed.parts]
    message = {"version": 1, "size": listed.size, "base": listed.base, "query": listed.query, "parts": rows}
    return json.dumps(message, separators=(",", ":")).encode()


def part_list_headers(body: bytes) -> dict[str, str]:
    return {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Cache-Control": "no-store", **VARIES}
