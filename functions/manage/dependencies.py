"""Parts that all routes share: the services, the documented errors, and the event of a deletion."""

from typing import Annotated, Any

from fastapi import Depends, Request

from actions_cache import events
from actions_cache.domain.budgets import Repository
from actions_cache.http.schemas import GithubError
from actions_cache.manage import Deletion
from actions_cache.management_services import ManagementServices

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": GithubError} for status in (401, 403, 404, 422, 503)
}
"""Errors of every route, for the OpenAPI document."""


async def management_services(request: Request) -> ManagementServices:
    """Return the services that the app was created with."""
    services: ManagementServices = request.app.state.services
    return services


Services = Annotated[ManagementServices, Depends(management_services)]


def emit_deletion(services: ManagementServices, actor: str, repository: Repository, deletion: Deletion) -> None:
    """Emit which entries the actor deleted; emit nothing if none were."""
    if deletion.archives:
        services.core.telemetry.emit(events.entries_deleted(repository.id, actor, deletion.archives))
