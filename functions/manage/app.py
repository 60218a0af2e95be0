"""Management: GitHub's REST endpoints for caches, and an API of this server's own."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from actions_cache.domain.errors import InvalidRequest
from actions_cache.web import github
from actions_cache.web.app import new_app, respond
from actions_cache.wiring.management import ManagementPlane
from functions.manage import api, page, rest, session
from functions.manage.access import Doorkeeper
from functions.manage.iam import IamPaths

DESCRIPTION = """Lists, explains and deletes what this cache keeps.

GitHub's own endpoints stand below `/repos` and, as on GitHub Enterprise, below `/api/v3/repos`; below
`/repositories/{id}` for repositories that are known by their id alone. All of it stands once more below `/iam`, at the
API's own URL, for those who sign by IAM.
"""


def create_app(management: ManagementPlane) -> FastAPI:
    app = new_app(
        management.control.telemetry,
        github,
        edge_key=management.control.settings.edge_key,
        openapi_url="/manage/openapi.json",
        docs_url=None,
        redoc_url=None,
        title="serverless-actions-cache",
        version="1",
        description=DESCRIPTION,
    )
    app.add_middleware(IamPaths)
    doorkeeper = Doorkeeper(management)
    app.include_router(rest.routes(management, doorkeeper))
    app.include_router(rest.routes(management, doorkeeper), prefix="/api/v3", include_in_schema=False)
    app.include_router(session.routes(management))
    app.include_router(page.routes())
    app.include_router(api.routes(management, doorkeeper))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, fault: RequestValidationError) -> Response:  # noqa: ARG001 - the framework's
        return respond(github.cache_error(InvalidRequest("; ".join(map(_said, fault.errors())))))

    return app


def _said(error: dict[str, Any]) -> str:
    _, *place = error["loc"]
    where = ".".join(map(str, place))
    return f"{where}: {error['msg']}" if where else str(error["msg"])
