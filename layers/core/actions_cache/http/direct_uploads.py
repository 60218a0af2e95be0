"""Direct uploads over HTTP: version 1 of the protocol in docs/design/direct-uploads.md."""

import json
from collections.abc import Iterable

from actions_cache.domain.direct_upload import DirectUrls
from actions_cache.http.headers import names_media_type

MEDIA_TYPE = "application/vnd.actions-cache.direct.v1+json"
"""Media type by which a client asks for the URLs. The answer is the usual JSON, with one more field."""


def wants_direct(accept: Iterable[str]) -> bool:
    return names_media_type(accept, MEDIA_TYPE)


def with_direct(answer: bytes, urls: DirectUrls) -> bytes:
    """Return CreateCacheEntry's answer in JSON with the URLs."""
    blob = {"url": urls.blob, "headers": dict(urls.blob_headers)}
    parts = {"url": urls.part, "signatures": urls.signatures}
    return json.dumps(
        {**json.loads(answer), "direct": {"version": 1, "look": urls.look, "blob": blob, "parts": parts}}
    ).encode()
