"""Serve GitHub's REST endpoints for caches (https://docs.github.com/rest/actions/cache)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.datastructures import URL

from actions_cache.domain.budgets import Repository
from actions_cache.domain.errors import NotFound
from actions_cache.domain.listing import Page
from actions_cache.http.app import base_url, came_through_edge, signer
from actions_cache.http.schemas import GithubCaches, GithubOrgUsage, GithubUsage, GithubUsages
from actions_cache.manage import Listing
from functions.manage.access import Admin, Reader
from functions.manage.dependencies import ERROR_RESPONSES, Services, emit_deletion
from functions.manage.query_params import EntryNumber, GithubDelete, GithubList, GithubPage

router = APIRouter(tags=["GitHub's REST endpoints"], responses=ERROR_RESPONSES)
_repository_router = APIRouter()


async def take_name(request: Request, owner: str, repo: str) -> None:
    """Note that the path names the repository as `owner/repository`."""
    request.state.repository = f"{owner}/{repo}"


async def take_id(request: Request, repository_id: str) -> None:
    """Note that the path names the repository by its id."""
    request.state.repository = repository_id


def find_repository(request: Request, services: Services) -> Repository:
    """Return the repository that the path names.

    Raises:
        NotFound: it has saved nothing here.
        InvalidRequest: several repositories have the name.
    """
    return services.find_repository(request.state.repository)


# In a handler's parameters it comes after the caller's role: strangers don't learn which repositories there are.
FoundRepository = Annotated[Repository, Depends(find_repository)]


@_repository_router.get("/caches")
def list_caches(
    request: Request,
    response: Response,
    _: Reader,
    repository: FoundRepository,
    services: Services,
    params: Annotated[GithubList, Query()],
) -> GithubCaches:
    entry_filter, order, page = params.to_query()
    listing = services.list_entries(repository.id, entry_filter, order, page)
    response.headers.update(page_links(request, services.core.settings.public_url, page, listing.total))
    return GithubCaches.from_listing(listing)


@_repository_router.delete("/caches")
def delete_by_key(
    actor: Admin, repository: FoundRepository, services: Services, params: Annotated[GithubDelete, Query()]
) -> GithubCaches:
    deletion = services.delete_entries(repository.id, params.to_filter())
    emit_deletion(services, actor, repository, deletion)
    if not deletion.archives:
        of_ref = f" and the ref {params.ref!r}" if params.ref else ""
        raise NotFound(f"no cache has the key {params.key!r}{of_ref}")
    return GithubCaches.from_listing(Listing(len(deletion.archives), deletion.archives))


@_repository_router.delete("/caches/{number}", status_code=204)
def delete_by_id(actor: Admin, repository: FoundRepository, services: Services, number: EntryNumber) -> None:
    deletion = services.delete_entries.numbered(repository.id, number)
    emit_deletion(services, actor, repository, deletion)
    if not deletion.archives:
        raise NotFound(f"no cache has the id {number}")


@_repository_router.get("/cache/usage")
def usage(_: Reader, repository: FoundRepository, services: Services) -> GithubUsage:
    return GithubUsage.from_usage(repository, services.read_usage(repository).usage)


router.include_router(_repository_router, prefix="/repos/{owner}/{repo}/actions", dependencies=[Depends(take_name)])
# The id may contain slashes if its issuer isn't github.com.
router.include_router(
    _repository_router, prefix="/repositories/{repository_id:path}/actions", dependencies=[Depends(take_id)]
)


@router.get("/orgs/{org}/actions/cache/usage")
def org_usage(_: Reader, org: str, services: Services) -> GithubOrgUsage:
    return GithubOrgUsage.from_usage(services.read_usage.of_owner(org))


@router.get("/orgs/{org}/actions/cache/usage-by-repository")
def org_usage_by_repository(
    request: Request,
    response: Response,
    _: Reader,
    org: str,
    services: Services,
    params: Annotated[GithubPage, Query()],
) -> GithubUsages:
    page = params.to_page()
    owned = services.read_usage.by_repository(org, page)
    response.headers.update(page_links(request, services.core.settings.public_url, page, owned.total))
    return GithubUsages.from_page(owned)


def page_links(request: Request, public_url: str | None, page: Page, total: int) -> dict[str, str]:
    """Return the Link header to other pages; empty if there is only one page."""
    last = page.last_of(total)
    numbers: dict[str, int] = {}
    if 1 < page.number <= last + 1:
        numbers["prev"] = page.number - 1
    if page.number < last:
        numbers |= {"next": page.number + 1, "last": last}
    if page.number > 1:
        numbers["first"] = 1
    url = _requested_url(request, public_url)
    links = [f'<{url.include_query_params(page=number)}>; rel="{rel}"' for rel, number in numbers.items()]
    return {"Link": ", ".join(links)} if links else {}


def _requested_url(request: Request, public_url: str | None) -> URL:
    """Return the requested URL, absolute since gh follows no other.

    At the API's own URL the stage is part of the path. A client that signs by IAM has to stay at that URL, whatever the
    public URL is: only there is its signature checked.
    """
    event = request.scope.get("aws.event")
    if event and (signer(request) or not (public_url or came_through_edge(request))):
        url = str(request.base_url).rstrip("/") + event["requestContext"]["path"]
    else:
        url = base_url(request, public_url) + request.url.path
    return URL(url).replace(query=request.url.query)
