"""Lambda's entry point of the management API and its page."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from mangum import Mangum
from mangum.types import LambdaContext

from actions_cache.http.app import new_app
from actions_cache.http.errors import GITHUB_REST
from actions_cache.logs import api_gateway_refusal, handled
from actions_cache.management_services import ManagementServices
from actions_cache.services import CoreServices
from actions_cache.settings import Settings
from actions_cache.startup import make_at_start
from functions.manage import github_api, management_api, page, session
from functions.manage.access import IamPaths


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)


@cache
def asgi_app() -> FastAPI:
    return create_app(ManagementServices(CoreServices(Settings())))


DESCRIPTION = """Lists, explains and deletes what this cache keeps.

GitHub's own endpoints are below `/repos` and `/orgs` and, as on GitHub Enterprise, below `/api/v3`; below
`/repositories/{id}` for repositories that are known by their id alone. All routes exist once more below `/iam`, at the
API's own URL, for clients that sign by IAM.
"""


def create_app(services: ManagementServices) -> FastAPI:
    app = new_app(
        services.core.telemetry,
        GITHUB_REST,
        edge_key=services.core.settings.edge_key,
        public_url=services.core.settings.public_url,
        is_for_people=True,
        openapi_url="/manage/openapi.json",
        docs_url=None,
        redoc_url=None,
        title="serverless-actions-cache",
        version="1",
        description=DESCRIPTION,
    )
    app.add_middleware(IamPaths)
    app.state.services = services
    app.state.page = page.read_page()
    app.include_router(github_api.router)
    app.include_router(github_api.router, prefix="/api/v3", include_in_schema=False)
    app.include_router(session.router)
    app.include_router(page.router)
    app.include_router(management_api.router)
    return app


make_at_start(asgi_app)
