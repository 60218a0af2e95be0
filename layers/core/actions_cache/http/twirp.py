"""Twirp's errors: JSON in either encoding, without a charset (docs/design/protocol.md#errors)."""

import json

from actions_cache.domain.errors import (
    AlreadyExists,
    CacheError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TooLarge,
    TooManyRequests,
    TryAgain,
    Unauthenticated,
)
from actions_cache.http.answer import Answer

_CODES: tuple[tuple[type[CacheError], int, str], ...] = (
    (InvalidRequest, 400, "invalid_argument"),
    (Unauthenticated, 401, "unauthenticated"),
    (PermissionDenied, 403, "permission_denied"),
    (NotFound, 404, "not_found"),
    (AlreadyExists, 409, "already_exists"),
    # Not twirp's 429 for resource_exhausted: clients would wait and send the same body again.
    (TooLarge, 413, "invalid_argument"),
    (TooManyRequests, 429, "resource_exhausted"),
    (TryAgain, 503, "unavailable"),
)


def error(status: int, code: str, message: str) -> Answer:
    return Answer(status, json.dumps({"code": code, "msg": message}).encode(), {"Content-Type": "application/json"})


def cache_error(fault: CacheError) -> Answer:
    status, code = next(((s, c) for kind, s, c in _CODES if isinstance(fault, kind)), (400, "invalid_argument"))
    answer = error(status, code, str(fault))
    if isinstance(fault, TryAgain):
        return Answer(answer.status, answer.body, {**answer.headers, "Retry-After": str(fault.retry_after_seconds)})
    return answer


def bad_route(message: str) -> Answer:
    return error(404, "bad_route", message)


def no_route(method: str, path: str) -> Answer:
    return bad_route(f"no route for {method} {path}")


def malformed(message: str) -> Answer:
    return error(400, "malformed", message)


def internal_error() -> Answer:
    return error(500, "internal", "an unexpected error, written to this server's log")
