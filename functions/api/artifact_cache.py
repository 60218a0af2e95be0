"""Serve the v1 API, for GHES, Gitea and act (docs/design/protocol.md#v1-api).

Chunks come through here, so on AWS one may have what fits into Lambda's 6 MB (docs/use/clients.md).
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from actions_cache.domain.access import Caller
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import (
    MAX_NAME_CHARACTERS,
    MAX_NUMBER,
    MAX_RESTORE_KEYS,
    Entry,
    EntryFamily,
    EntryName,
    check_name,
    numbered_archive_id,
)
from actions_cache.domain.errors import InvalidRequest, NotFound
from actions_cache.domain.timing import SECOND
from actions_cache.domain.uploads import check_takes_chunks, parse_content_range
from actions_cache.http.app import Reader, absolute, reader_of
from actions_cache.http.errors import V1_ROOT
from actions_cache.lookup import Hit, Query
from functions.api.dependencies import MAX_MESSAGE_BYTES, JobCaller, Services, read_body
from functions.api.services import ApiServices

router = APIRouter(prefix=V1_ROOT)


@router.get("/cache")
async def look_up(request: Request, caller: JobCaller, services: Services) -> Response:
    reader = reader_of(request, services.settings, request.query_params.get("version", ""))
    query = _query(request, caller, reader)
    hit = await run_in_threadpool(services.look_up, query)
    if hit is None:
        return Response(status_code=204)
    return JSONResponse(_found(hit, absolute(hit.url, reader.base_url)))


@router.get("/caches")
async def list_similar(request: Request, caller: JobCaller, services: Services) -> Response:
    """Return the entries that @actions/cache prints in a job's debug log after a miss."""
    prefix = check_name("key", request.query_params.get("key", ""))
    found = await run_in_threadpool(services.list_similar, caller.repository, caller.readable_scopes(), prefix)
    return JSONResponse({"totalCount": len(found), "artifactCaches": [_described(entry) for entry in found]})


@router.post("/caches")
async def reserve(request: Request, caller: JobCaller, services: Services) -> Response:
    wanted = await _body(request, ReserveRequest)
    name = EntryName(
        EntryFamily(caller.repository, caller.writable_scope(), check_name("version", wanted.version)),
        check_name("key", wanted.key),
    )
    return JSONResponse({"cacheId": await run_in_threadpool(_reserve, services, name, caller, wanted.size)}, 201)


@router.patch("/caches/{number}")
async def receive_chunk(number: str, request: Request, caller: JobCaller, services: Services) -> Response:
    place = parse_content_range(request.headers.get("content-range"))
    archive = await run_in_threadpool(_own_upload, services, number, caller)
    check_takes_chunks(archive, services.clock.now())
    await services.receive_part.chunk(archive.id, place, request.stream())
    return Response(status_code=204)


@router.post("/caches/{number}")
async def commit(number: str, request: Request, caller: JobCaller, services: Services) -> Response:
    wanted = await _body(request, CommitRequest)
    archive = await run_in_threadpool(_own_upload, services, number, caller)
    await run_in_threadpool(services.finalize.chunks, archive, wanted.size)
    return Response(status_code=204)


def _reserve(services: ApiServices, name: EntryName, caller: Caller, size: int | None) -> int:
    services.budgets.check_entry(size or 0)
    services.note_repository(caller)
    services.create_rate_limit.check(caller.repository)
    return services.reserve.numbered(name, caller.written_class())


def _own_upload(services: ApiServices, number: str, caller: Caller) -> Archive:
    """Return the upload of this number.

    Raises:
        NotFound: it isn't one that the caller may write.
    """
    scope = caller.writable_scope()
    archive = services.table.archive(numbered_archive_id(_number(number)))
    if archive is None or (archive.name.family.repository, archive.name.family.scope) != (caller.repository, scope):
        raise NotFound(f"no upload {number[:20]}: it was never reserved, or its reservation expired")
    return archive


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_NUMBER)) and int(text) < MAX_NUMBER):
        raise NotFound("uploads are named by the number that their reservation gave")
    return int(text)


def _query(request: Request, caller: Caller, reader: Reader) -> Query:
    """Return the query of `keys`, a list that clients join by commas and then percent-encode whole, commas included.

    So a comma inside a key can't be told from a separator. @actions/cache refuses keys that hold one, other clients
    don't, so the undivided text is looked up as well, as an exact key.
    """
    text = request.query_params.get("keys", "")
    keys = [key for key in text.split(",") if key]
    if len(keys) > 1 + MAX_RESTORE_KEYS:
        raise InvalidRequest(f"keys has {len(keys)} of them; at most {1 + MAX_RESTORE_KEYS} are allowed")
    return Query(
        repository=caller.repository,
        scopes=caller.readable_scopes(),
        version=check_name("version", request.query_params.get("version", "")),
        key=check_name("keys", keys[0] if keys else ""),
        restore_keys=tuple(check_name("keys", key) for key in keys[1:]),
        can_read_from_s3=reader.can_read_from_s3,
        through_edge=reader.through_edge,
        undivided_key=text if "," in text and len(text) <= MAX_NAME_CHARACTERS else None,
    )


def _found(hit: Hit, url: str) -> Mapping[str, Any]:
    return {**_described(hit.entry), "archiveLocation": url}


def _described(entry: Entry) -> Mapping[str, Any]:
    family = entry.name.family
    return {
        "cacheKey": entry.name.key,
        "scope": family.scope,
        "cacheVersion": family.version,
        "creationTime": datetime.fromtimestamp(entry.created_at / SECOND, UTC).isoformat(),
    }


# ---------------------------------------------------------------- bodies

MAX_SIZE = 2**63 - 1
"""Largest value that v2's `size_bytes` can hold."""

Size = Annotated[int, Field(ge=0, le=MAX_SIZE)]


class ReserveRequest(BaseModel):
    model_config = ConfigDict(strict=True)

    key: str
    version: str
    size: Size | None = Field(None, alias="cacheSize")
    """The size as far as the client knows it yet."""


class CommitRequest(BaseModel):
    model_config = ConfigDict(strict=True)

    size: Size


BodyT = TypeVar("BodyT", bound=BaseModel)


async def _body(request: Request, model: type[BodyT]) -> BodyT:
    """Return the request's body as a model.

    Raises:
        InvalidRequest: it isn't one.
        TooLarge: it is longer than any model.
    """
    try:
        return model.model_validate(json.loads(await read_body(request, MAX_MESSAGE_BYTES)))
    except ValidationError as validation:
        error = validation.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, error['loc'])) or 'the body'}: {error['msg']}") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("the body isn't JSON") from None
