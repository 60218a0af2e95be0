"""Serve this server's own management API, which the page and the command line use."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from actions_cache.domain.budgets import Repository
from actions_cache.domain.errors import NotFound
from actions_cache.domain.search import Search
from actions_cache.http.schemas import (
    ActivityResponse,
    CostResponse,
    DeletionResponse,
    EntriesResponse,
    EntryResponse,
    ExplanationResponse,
    FailuresResponse,
    FamiliesResponse,
    HitRatesResponse,
    HourResponse,
    RefusedTokensResponse,
    RepositoriesResponse,
    RepositoryResponse,
    RoleResponse,
)
from actions_cache.manage import Deletion
from actions_cache.management_services import ManagementServices
from functions.manage import query_params
from functions.manage.access import Admin, Reader
from functions.manage.dependencies import ERROR_RESPONSES, Services, emit_deletion
from functions.manage.query_params import EntryNumber

router = APIRouter(prefix="/manage", tags=["Management"], responses=ERROR_RESPONSES)
_repository_router = APIRouter()


def find_repository(repository: str, services: Services) -> Repository:
    """Return the repository that the path names.

    Raises:
        NotFound: it has saved nothing here.
        InvalidRequest: several repositories have the name.
    """
    return services.find_repository(repository)


# In a handler's parameters it comes after the caller's role: strangers don't learn which repositories there are.
FoundRepository = Annotated[Repository, Depends(find_repository)]


@router.get("/role")
def role(role: Reader) -> RoleResponse:
    """Return the caller's role."""
    return RoleResponse(role=role)


@router.get("/repositories")
def repositories(_: Reader, services: Services) -> RepositoriesResponse:
    return RepositoriesResponse.from_overview(services.read_usage.everywhere())


@_repository_router.get("/entries")
def entries(
    request: Request,
    _: Reader,
    found: FoundRepository,
    services: Services,
    params: Annotated[query_params.ListEntries, Query()],
) -> EntriesResponse:
    query_params.check_given_once(name for name, _ in request.query_params.multi_items())
    entry_filter, order, page = params.to_query(services.core.clock.now())
    listing = services.list_entries(found.id, entry_filter, order, page)
    hits = services.list_entries.hits(found.id, listing)
    return EntriesResponse(
        total=listing.total,
        more=not listing.is_whole,
        page=page.number,
        per_page=page.size,
        entries=[EntryResponse.from_archive(archive, hits) for archive in listing.archives],
    )


@_repository_router.delete("/entries")
def delete_entries(
    request: Request,
    actor: Admin,
    found: FoundRepository,
    services: Services,
    params: Annotated[query_params.DeleteEntries, Query()],
) -> DeletionResponse:
    """Delete entries that match all given filters, of which there must be one, at most 500 at once.

    Unless `dry_run` is false, nothing is deleted: `matched` sums up what would be. `remaining` and `more` say what is
    left.
    """
    query_params.check_given_once(name for name, _ in request.query_params.multi_items())
    now = services.core.clock.now()
    as_of = params.to_as_of(now)
    entry_filter = params.to_filter(now if as_of is None else min(as_of, now))
    deletion = services.delete_entries(found.id, entry_filter, dry_run=params.dry_run, as_of=as_of)
    return _deletion_response(services, actor, found, deletion, dry_run=params.dry_run)


@_repository_router.delete("/entries/{number}")
def delete_entry(
    actor: Admin,
    found: FoundRepository,
    services: Services,
    number: EntryNumber,
    params: Annotated[query_params.DeleteOne, Query()],
) -> DeletionResponse:
    deletion = services.delete_entries.numbered(found.id, number, dry_run=params.dry_run)
    if not deletion.archives:
        raise NotFound(f"no entry has the id {number}")
    return _deletion_response(services, actor, found, deletion, dry_run=params.dry_run)


def _deletion_response(
    services: ManagementServices, actor: str, repository: Repository, deletion: Deletion, *, dry_run: bool
) -> DeletionResponse:
    if not dry_run:
        emit_deletion(services, actor, repository, deletion)
    hits = services.list_entries.hits_of(repository.id, deletion.archives)
    return DeletionResponse.from_deletion(deletion, hits, dry_run=dry_run)


@_repository_router.get("")
def repository(_: Reader, found: FoundRepository, services: Services) -> RepositoryResponse:
    return RepositoryResponse.from_usage(services.read_usage(found), services.core.budgets.repository)


# The id may contain slashes if its issuer isn't github.com, so the route that ends with it comes last.
router.include_router(_repository_router, prefix="/repositories/{repository:path}")


@router.get("/match")
def match(_: Reader, services: Services, params: Annotated[query_params.MatchKeys, Query()]) -> ExplanationResponse:
    """Explain what a key would restore. No use is noted, and no object in the bucket is looked at."""
    repository_id = services.find_repository(params.repository).id
    search = Search(repository_id, tuple(params.ref), params.key, tuple(params.restore_key))
    return ExplanationResponse.from_explanation(services.match(search, params.version))


@router.get("/activity")
def activity(_: Reader, services: Services, params: Annotated[query_params.ReadActivity, Query()]) -> ActivityResponse:
    """Return the activity by the hour, the earliest first; the last hour isn't over yet."""
    repository_id = services.find_repository(params.repository).id if params.repository else None
    tallies = services.read_activity(repository_id, params.hours)
    hours = [HourResponse.from_tally(hour, tally) for hour, tally in tallies.items()]
    return ActivityResponse(repository=repository_id, hours=hours)


@router.get("/hit-rates")
def hit_rates(_: Reader, services: Services, params: Annotated[query_params.ReadHitRates, Query()]) -> HitRatesResponse:
    """Return the hits and misses of a few repositories, as of those that a page of a list shows."""
    ids = dict.fromkeys(params.repository)
    return HitRatesResponse.from_tallies(params.hours, services.read_activity.of_each(ids, params.hours))


@router.get("/families")
def families(_: Reader, services: Services, params: Annotated[query_params.ReadFamilies, Query()]) -> FamiliesResponse:
    """Return lookups and bytes by key family, the families that miss most first, and what they matched instead.

    A family is the keys that differ only in hashes, numbers, versions and dates.
    """
    repository_id = services.find_repository(params.repository).id
    return FamiliesResponse.from_families(repository_id, services.read_families(repository_id, params.hours))


@router.get("/failures")
def failures(_: Reader, services: Services) -> FailuresResponse:
    return FailuresResponse.from_failures(services.list_failures())


@router.get("/refused-tokens")
def refused_tokens(_: Reader, services: Services) -> RefusedTokensResponse:
    """Return jobs of the last seven days that TOKEN_CLAIMS keeps out, and what it lacks for each."""
    return RefusedTokensResponse.from_refused(services.list_refused())


@router.get("/cost")
def cost(_: Reader, services: Services, params: Annotated[query_params.EstimateCost, Query()]) -> CostResponse:
    """Estimate, by list prices, the cost of a month that goes on like the last hours."""
    return CostResponse.from_cost(services.estimate_cost(params.hours))
