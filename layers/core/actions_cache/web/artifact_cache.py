"""The v1 API's errors: JSON with a message, which its clients show (WIRE.md section 7)."""

import json

from actions_cache.domain.errors import (
    AlreadyExists,
    CacheError,
    NotFound,
    PermissionDenied,
    TooLarge,
    TryAgain,
    Unauthenticated,
)
from actions_cache.web.answer import Answer

ROOT = "/_apis/artifactcache"

_STATUSES: tuple[tuple[type[CacheError], int], ...] = (
    (Unauthenticated, 401),
    (PermissionDenied, 403),
    (NotFound, 404),
    (AlreadyExists, 409),
    (TooLarge, 413),
    (TryAgain, 503),
)


def error(status: int, message: str, kind: str) -> Answer:
    body = json.dumps({"message": message, "typeKey": kind}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def cache_error(fault: CacheError) -> Answer:
    status = next((status for kind, status in _STATUSES if isinstance(fault, kind)), 400)
    answer = error(status, str(fault), type(fault).__name__)
    if isinstance(fault, TryAgain):
        return Answer(answer.status, answer.body, {**answer.headers, "Retry-After": str(fault.retry_after_seconds)})
    return answer


def unavailable() -> Answer:
    return cache_error(TryAgain("the storage behind this cache doesn't answer; try again"))


def no_route(method: str, path: str) -> Answer:
    return error(404, f"no route for {method} {path}", "NotFound")


def internal_error() -> Answer:
    return error(500, "an unexpected error, written to this server's log", "InternalError")
