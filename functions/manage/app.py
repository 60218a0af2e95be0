"""Management: GitHub's REST endpoints for caches, and an API of this server's own."""

from fastapi import FastAPI

from actions_cache.web import github
from actions_cache.web.app import new_app
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
        public_url=management.control.settings.public_url,
        is_for_people=True,
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
    return app
