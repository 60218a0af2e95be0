"""GitHub's REST endpoints for caches: each translated in, one use case, translated out.

https://docs.github.com/rest/actions/cache
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from actions_cache.domain import happenings
from actions_cache.domain.entry import MAX_NUMBER
from actions_cache.domain.errors import NotFound
from actions_cache.domain.repository import Repository
from actions_cache.domain.role import Role
from actions_cache.usecases.delete_entries import Deletion
from actions_cache.usecases.list_entries import Listing
from actions_cache.wiring.management import ManagementPlane
from functions.manage.access import Doorkeeper, name_of
from functions.manage.asked import Digits, GithubDelete, GithubList
from functions.manage.links import links
from functions.manage.shapes import GithubCaches, GithubError, GithubUsage

Number = Annotated[int, Digits, Path(ge=0, lt=MAX_NUMBER)]

FAULTS: dict[int | str, dict[str, Any]] = {status: {"model": GithubError} for status in (401, 403, 404, 422, 503)}


def routes(management: ManagementPlane, doorkeeper: Doorkeeper) -> APIRouter:
    """By `owner/repository`, and by the id, which GitHub has too."""
    router = APIRouter(tags=["GitHub's REST endpoints"], responses=FAULTS)

    def by_name(owner: str, repo: str) -> Repository:
        return management.find_repository(f"{owner}/{repo}")

    def by_id(repository_id: str) -> Repository:
        return management.find_repository(repository_id)

    router.include_router(_of_one(management, doorkeeper, by_name), prefix="/repos/{owner}/{repo}/actions")
    # Greedy: an id of an issuer that isn't github.com has slashes.
    router.include_router(_of_one(management, doorkeeper, by_id), prefix="/repositories/{repository_id:path}/actions")
    return router


def _of_one(management: ManagementPlane, doorkeeper: Doorkeeper, find: Callable[..., Repository]) -> APIRouter:
    router = APIRouter()
    settings = management.control.settings
    Reader = Annotated[Role, Depends(doorkeeper.reader)]  # noqa: N806 - a type
    Admin = Annotated[Role, Depends(doorkeeper.admin)]  # noqa: N806 - a type
    Found = Annotated[Repository, Depends(find)]  # noqa: N806 - a type

    @router.get("/caches")
    def list_caches(
        request: Request, response: Response, _: Reader, found: Found, asked: Annotated[GithubList, Query()]
    ) -> GithubCaches:
        wanted, order, page = asked.wanted()
        listing = management.list_entries(found.id, wanted, order, page)
        response.headers.update(links(request, settings.public_url, page, listing.total))
        return GithubCaches.of(listing)

    @router.delete("/caches")
    def delete_by_key(
        request: Request, role: Admin, found: Found, asked: Annotated[GithubDelete, Query()]
    ) -> GithubCaches:
        deletion = management.delete_entries(found.id, asked.wanted())
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
    management: ManagementPlane, request: Request, role: Role, repository: Repository, deletion: Deletion
) -> None:
    """Who deleted what; nothing where nothing was."""
    if deletion.archives:
        by = name_of(request, role)
        management.control.telemetry.tell(happenings.entries_deleted(repository.id, by, deletion.archives))
