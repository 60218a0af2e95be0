"""Errors as GitHub's REST API words them, for its clients and for this server's own management API."""

import json
from http import HTTPStatus

from actions_cache.domain.errors import CacheError, InvalidRequest, TryAgain
from actions_cache.http import twirp
from actions_cache.http.answer import Answer

DOCUMENTATION = "https://docs.github.com/rest/actions/cache"
"""Of the endpoints that are like GitHub's. Octokit shows it beside the message."""


def error(status: int, message: str, **headers: str) -> Answer:
    body = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8", **headers})


def cache_error(fault: CacheError) -> Answer:
    if isinstance(fault, InvalidRequest):
        return error(HTTPStatus.UNPROCESSABLE_ENTITY, str(fault))
    headers = {"Retry-After": str(fault.retry_after_seconds)} if isinstance(fault, TryAgain) else {}
    return error(twirp.cache_error(fault).status, str(fault), **headers)


def no_route(method: str, path: str) -> Answer:
    return error(HTTPStatus.NOT_FOUND, f"no route for {method} {path}")


def internal_error() -> Answer:
    return error(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error, written to this server's log")
