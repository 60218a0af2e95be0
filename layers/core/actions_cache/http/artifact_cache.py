"""The v1 API's errors: twirp's statuses, and JSON with a message for users (docs/design/protocol.md#v1-api)."""

import json

from actions_cache.domain.errors import AlreadyExists, CacheError
from actions_cache.http import twirp
from actions_cache.http.answer import Answer

ROOT = "/_apis/artifactcache"

TAKEN = "ArtifactCacheItemAlreadyExistsException"
"""The real service's word for a key that is taken: BuildKit goes by it, and not by the status."""


def error(answer: Answer, message: str, kind: str) -> Answer:
    """What twirp answers, in this API's words."""
    return Answer(answer.status, json.dumps({"message": message, "typeKey": kind}).encode(), answer.headers)


def cache_error(fault: CacheError) -> Answer:
    return error(
        twirp.cache_error(fault), str(fault), TAKEN if isinstance(fault, AlreadyExists) else type(fault).__name__
    )


def no_route(method: str, path: str) -> Answer:
    return error(twirp.no_route(method, path), f"no route for {method} {path}", "NotFound")


def internal_error() -> Answer:
    return error(twirp.internal_error(), "an unexpected error, written to this server's log", "InternalError")
