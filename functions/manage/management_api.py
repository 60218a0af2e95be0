"""This server's own management API, for the page and the command line; beside GitHub's endpoints (rest.py)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from actions_cache.domain.access import Role
from actions_cache.domain.budgets import Repository
from actions_cache.domain.errors import NotFound
from actions_cache.explain import Question
from actions_cache.http.schemas import (
    ActivityResponse,
    CostResponse,
    DeletionResponse,
    EntriesResponse,
    EntryResponse,
    ExplanationResponse,
    FailuresResponse,
    HourResponse,
    RefusedTokensResponse,
    RepositoriesResponse,
    RepositoryResponse,
    RoleResponse,
)
from actions_cache.manage import Deletion
from actions_cache.management_services import ManagementServices
from functions.manage import query_params
from functions.manage.access import Authenticator
from functions.manage.github_api import FAULTS, Number, note_deletion


def routes(management: ManagementServices, authenticator: Authenticator) -> APIRouter:
    router = APIRouter(prefix="/manage", tags=["Management"], responses=FAULTS)

    def named(repository: str) -> Repository:
        return management.find_repository(repository)

    Reader = Annotated[Role, Depends(authenticator.reader)]  # noqa: N806 - a type
    Admin = Annotated[Role, Depends(authenticator.admin)]  # noqa: N806 - a type
    Found = Annotated[Repository, Depends(named)]  # noqa: N806 - a type

    def answered(
        request: Request, role: Role, found: Repository, deletion: Deletion, *, dry_run: bool
    ) -> DeletionResponse:
        if not dry_run:
            note_deletion(management, request, role, found, deletion)
        hits = management.list_entries.hits_of(found.id, deletion.archives)
        return DeletionResponse.of(deletion, hits, dry_run=dry_run)

    @router.get("/role")
    def role(role: Reader) -> RoleResponse:
        """What the token is good for."""
        return RoleResponse(role=role)

    @router.get("/repositories")
    def repositories(_: Reader) -> RepositoriesResponse:
        return RepositoriesResponse.of(management.read_usage.everywhere())

    # An id of an issuer that isn't github.com has slashes: greedy, so what goes on behind it comes first.
    of_one = APIRouter()

    @of_one.get("/entries")
    def entries(_: Reader, found: Found, query: Annotated[query_params.ListEntries, Query()]) -> EntriesResponse:
        wanted, order, page = query.to_filter()
        listing = management.list_entries(found.id, wanted, order, page)
        hits = management.list_entries.hits(found.id, listing)
        shapes = [EntryResponse.of(it, hits) for it in listing.archives]
        return EntriesResponse(
            total=listing.total, more=not listing.is_whole, page=page.number, per_page=page.size, entries=shapes
        )

    @of_one.delete("/entries")
    def delete_entries(
        request: Request, role: Admin, found: Found, query: Annotated[query_params.DeleteEntries, Query()]
    ) -> DeletionResponse:
        """Delete entries that match all given filters, of which there must be one, at most 500 at once.

        `remaining` and `more` say what is left.
        """
        wanted = query.to_filter(management.core.clock.now())
        deletion = management.delete_entries(found.id, wanted, dry_run=query.dry_run)
        return answered(request, role, found, deletion, dry_run=query.dry_run)

    @of_one.delete("/entries/{number}")
    def delete_entry(
        request: Request, role: Admin, found: Found, number: Number, query: Annotated[query_params.DeleteOne, Query()]
    ) -> DeletionResponse:
        deletion = management.delete_entries.numbered(found.id, number, dry_run=query.dry_run)
        if not deletion.archives:
            raise NotFound(f"no entry has the id {number}")
        return answered(request, role, found, deletion, dry_run=query.dry_run)

    @of_one.get("")
    def repository(_: Reader, found: Found) -> RepositoryResponse:
        return RepositoryResponse.of(management.read_usage(found), management.core.budgets.repository)

    router.include_router(of_one, prefix="/repositories/{repository:path}")

    @router.get("/match")
    def match(_: Reader, query: Annotated[query_params.MatchKeys, Query()]) -> ExplanationResponse:
        """What a key would restore, and why. Notes no use, and looks at no object in the bucket."""
        found = management.find_repository(query.repository)
        question = Question(found.id, tuple(query.ref), query.version, query.key, tuple(query.restore_key))
        return ExplanationResponse.of(management.match(question))

    @router.get("/activity")
    def activity(_: Reader, query: Annotated[query_params.ReadActivity, Query()]) -> ActivityResponse:
        """By the hour, the earliest first; the last one is still running."""
        repository_id = management.find_repository(query.repository).id if query.repository else None
        hours = management.read_activity(repository_id, query.hours)
        return ActivityResponse(repository=repository_id, hours=[HourResponse.of(*it) for it in hours.items()])

    @router.get("/failures")
    def failures(_: Reader) -> FailuresResponse:
        return FailuresResponse.of(management.list_failures())

    @router.get("/refused-tokens")
    def refused_tokens(_: Reader) -> RefusedTokensResponse:
        """Return jobs of the last seven days that TOKEN_CLAIMS keeps out, and what it lacks for each."""
        return RefusedTokensResponse.of(management.list_refused())

    @router.get("/cost")
    def cost(_: Reader, query: Annotated[query_params.EstimateCost, Query()]) -> CostResponse:
        """An estimate by list prices, of a month that goes on like the last hours."""
        return CostResponse.of(management.estimate_cost(query.hours))

    return router
