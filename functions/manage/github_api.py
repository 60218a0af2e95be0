"""GitHub's REST endpoints for caches: each translated in, one use case, translated out.

https://docs.github.com/rest/actions/cache
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.datastructures import URL

from actions_cache import events
from actions_cache.domain.access import Role
from actions_cache.domain.budgets import Repository
from actions_cache.domain.entry import MAX_NUMBER
from actions_cache.domain.errors import NotFound
from actions_cache.domain.listing import Page
from actions_cache.http.app import base_url, came_through_edge, signer
from actions_cache.http.schemas import GithubCaches, GithubError, GithubUsage
from actions_cache.manage import Deletion, Listing
from actions_cache.management_services import ManagementServices
from functions.manage.access import Authenticator, name_of
from functions.manage.query_params import Digits, GithubDelete, GithubList

Number = Annotated[int, Digits, Path(ge=0, lt=MAX_NUMBER)]

FAULTS: dict[int | str, dict[str, Any]] = {status: {"model": GithubError} for status in (401, 403, 404, 422, 503)}


def routes(management: ManagementServices, authenticator: Authenticator) -> APIRouter:
    """By `owner/repository`, and by the id, which GitHub has too."""
    router = APIRouter(tags=["GitHub's REST endpoints"], responses=FAULTS)

    def by_name(owner: str, repo: str) -> Repository:
        return management.find_repository(f"{owner}/{repo}")

    def by_id(repository_id: str) -> Repository:
        return management.find_repository(repository_id)

    router.include_router(_of_one(management, authenticator, by_name), prefix="/repos/{owner}/{repo}/actions")
    # Greedy: an id of an issuer that isn't github.com has slashes.
    router.include_router(
        _of_one(management, authenticator, by_id), prefix="/repositories/{repository_id:path}/actions"
    )
    return router


def _of_one(management: ManagementServices, authenticator: Authenticator, find: Callable[..., Repository]) -> APIRouter:
    router = APIRouter()
    settings = management.core.settings
    Reader = Annotated[Role, Depends(authenticator.reader)]  # noqa: N806 - a type
    Admin = Annotated[Role, Depends(authenticator.admin)]  # noqa: N806 - a type
    Found = Annotated[Repository, Depends(find)]  # noqa: N806 - a type

    @router.get("/caches")
    def list_caches(
        request: Request, response: Response, _: Reader, found: Found, asked: Annotated[GithubList, Query()]
    ) -> GithubCaches:
        wanted, order, page = asked.to_filter()
        listing = management.list_entries(found.id, wanted, order, page)
        response.headers.update(links(request, settings.public_url, page, listing.total))
        return GithubCaches.of(listing)

    @router.delete("/caches")
    def delete_by_key(
        request: Request, role: Admin, found: Found, asked: Annotated[GithubDelete, Query()]
    ) -> GithubCaches:
        deletion = management.delete_entries(found.id, asked.to_filter())
        note_deletion(management, request, role, found, deletion)
        if not deletion.archives:
            raise NotFound(f"no cache has the key {asked.key!r}" + (f" and the ref {asked.ref!r}" if asked.ref else ""))
        return GithubCaches.of(Listing(len(deletion.archives), deletion.archives))

    @router.delete("/caches/{number}", status_code=204)
    def delete_by_id(request: Request, role: Admin, found: Found, number: Number) -> None:
        deletion = management.delete_entries.numbered(found.id, number)
        note_deletion(management, request, role, found, deletion)
        if not deletion.archives:
            raise NotFound(f"no cache has the id {number}")

    @router.get("/cache/usage")
    def usage(_: Reader, found: Found) -> GithubUsage:
        return GithubUsage.of(management.read_usage(found))

    return router


def note_deletion(
    management: ManagementServices, request: Request, role: Role, repository: Repository, deletion: Deletion
) -> None:
    """Who deleted what; nothing where nothing was."""
    if deletion.archives:
        by = name_of(request, role)
        management.core.telemetry.emit(events.entries_deleted(repository.id, by, deletion.archives))


def links(request: Request, public_url: str | None, page: Page, total: int) -> dict[str, str]:
    """A header, or none where there is one page."""
    last = page.last_of(total)
    numbers = {"prev": page.number - 1, "next": page.number + 1, "last": last, "first": 1}
    format_timestamp = {
        rel: number
        for rel, number in numbers.items()
        if 1 <= number <= last
        and not (rel in ("prev", "first") and page.number == 1)
        and not (rel in ("next", "last") and page.number >= last)
    }
    url = _asked(request, public_url)
    written = [f'<{url.include_query_params(page=number)}>; rel="{rel}"' for rel, number in format_timestamp.items()]
    return {"Link": ", ".join(written)} if written else {}


def _asked(request: Request, public_url: str | None) -> URL:
    """Absolute: gh takes no other. At the API's own URL the stage is part of the path.

    Who signs by IAM is there whatever the public URL is, and has to stay where the signature is checked.
    """
    event = request.scope.get("aws.event")
    if event and (signer(request) or not (public_url or came_through_edge(request))):
        url = str(request.base_url).rstrip("/") + event["requestContext"]["path"]
    else:
        url = base_url(request, public_url) + request.url.path
    return URL(url).replace(query=request.url.query)
