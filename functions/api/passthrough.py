"""Every path that isn't ours, passed on to the real results service (docs/design/protocol.md#results-service)."""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from actions_cache.adapters.results_service import AnswerTooLarge, NoAnswer, RawAnswer, ResultsService
from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.web import twirp
from actions_cache.web.app import respond
from functions.api.bodies import LAMBDA_BODY_BYTES, read_body
from functions.api.forwarding import answer_headers, has_been_here, is_ours, request_headers, target_of
from functions.api.tokens import TokenReader

logger = logging.getLogger(__name__)

MAX_LOGGED_PATH = 200
"""Characters of a path that are logged; a client may send 8,192."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""Methods that API Gateway has routes for. Browsers send OPTIONS, but no client of the results service does."""

MAX_TEXT_BYTES = 6_000_000
"""What of Lambda's 6 MB a text may take that goes as a JSON string."""


def routes(service: ResultsService | None, tokens: TokenReader) -> APIRouter:
    """Return the last routes of an app: they match everything.

    Args:
        service: the service that requests go to; None passes nothing on.
        tokens: decides which tokens are passed on.
    """
    router = APIRouter()

    async def forward(request: Request) -> Response:
        path, query = target_of(request.scope)
        if is_ours(path):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if service is None:
            message = f"no route for {request.method} {request.url.path}, and no RESULTS_SERVICE_URL to pass it on to"
            return respond(twirp.bad_route(message))
        headers = request.headers.raw
        if has_been_here(headers):
            return _bad_gateway("RESULTS_SERVICE_URL leads back to this server; set it to GitHub's results service")
        await run_in_threadpool(check_token, tokens, request.headers.getlist("authorization"))
        body = await read_body(request, LAMBDA_BODY_BYTES)
        try:
            answer = await service.ask(
                request.method, (path, query), request_headers(headers), body, max_answer_bytes=LAMBDA_BODY_BYTES
            )
        except NoAnswer as fault:
            # Not the query: URLs carry signatures.
            logger.warning(
                "the results service doesn't answer", extra={"fault": str(fault), "asked_path": path[:MAX_LOGGED_PATH]}
            )
            return _bad_gateway(f"the results service at {service.url} doesn't answer; this isn't about the cache")
        except AnswerTooLarge:
            return _too_large(service)
        return _passed_on(answer) if _fits(answer.body) else _too_large(service)

    router.add_route("/{path:path}", forward, methods=METHODS)
    return router


def check_token(tokens: TokenReader, authorizations: Sequence[str]) -> None:
    """Check that a job has a verified token of a trusted issuer.

    TOKEN_CLAIMS isn't checked: a job that may not use this cache still keeps its artifacts and its summary, which the
    runner sends to the same address.

    Raises:
        Unauthenticated: there is no job's token (the admin's isn't one), or more than one.
        TryAgain: the issuer's keys can't be fetched now.
    """
    if len(authorizations) > 1:
        raise Unauthenticated("the request has more than one Authorization header; send the job's token alone")
    with suppress(PermissionDenied):
        tokens.read(next(iter(authorizations), None))


def _passed_on(answer: RawAnswer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer_headers(answer.headers))
    has_length = any(name.lower() == b"content-length" for name, _ in answer.headers)
    if answer.body and not has_length:
        # It came in chunks, which end here.
        response.raw_headers.append((b"content-length", str(len(answer.body)).encode()))
    return response


def _fits(body: bytes) -> bool:
    """Text leaves a Lambda as a JSON string, whose escapes may make it much longer."""
    try:
        return len(json.dumps(body.decode(), ensure_ascii=False).encode()) <= MAX_TEXT_BYTES
    except UnicodeDecodeError:
        return True


def _too_large(service: ResultsService) -> Response:
    return _bad_gateway(f"the answer of {service.url} is over {LAMBDA_BODY_BYTES} bytes, or 6 MB as Lambda counts")


def _bad_gateway(message: str) -> Response:
    return respond(twirp.error(HTTPStatus.BAD_GATEWAY, "unavailable", message))
