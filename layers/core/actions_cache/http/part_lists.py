"""Part lists over HTTP: version 1 of the protocol in docs/design/parts-protocol.md."""

import json
from collections.abc import Iterable

from actions_cache.domain.part_list import PartList
from actions_cache.http.headers import VARIES, names_media_type

MEDIA_TYPE = "application/vnd.actions-cache.parts.v1+json"


def wants_parts(accept: Iterable[str]) -> bool:
    return names_media_type(accept, MEDIA_TYPE)


def part_list_body(listed: PartList) -> bytes:
    rows = [[part.path, part.size, part.etag, part.signature] for part in listed.parts]
    message = {"version": 1, "size": listed.size, "base": listed.base, "query": listed.query, "parts": rows}
    return json.dumps(message, separators=(",", ":")).encode()


def part_list_headers(body: bytes) -> dict[str, str]:
    return {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Cache-Control": "no-store", **VARIES}
