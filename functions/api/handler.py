"""API Gateway's event in, the app's answer out."""

from dataclasses import asdict
from functools import cache
from typing import Any

from fastapi import FastAPI
from mangum import Mangum
from mangum.types import LambdaContext
from starlette.responses import JSONResponse

from actions_cache.aws.clients import trusting
from actions_cache.http.app import new_app
from actions_cache.logs import api_gateway_refusal, handled
from actions_cache.settings import Settings
from functions.api import artifact_cache, cache_service, hook, passthrough, uploads
from functions.api.health import Health
from functions.api.passthrough import ResultsService
from functions.api.services import ApiServices
from functions.api.tokens import TokenReader


@cache
def asgi_app() -> FastAPI:
    control = ApiServices(Settings())
    control.downloads.connect()
    return create_app(control)


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)


def create_app(control: ApiServices) -> FastAPI:
    settings = control.settings
    trust = trusting(settings.extra_ca_certificates)
    tokens = TokenReader(
        settings.token_issuers,
        settings.token_audience,
        settings.token_claims,
        settings.verify_tokens,
        trust,
        control.note_refused,
    )
    app = new_app(control.telemetry, edge_key=settings.edge_key)
    app.include_router(cache_service.routes(control, tokens))
    app.include_router(uploads.routes(control))
    app.include_router(uploads.head_routes(control))
    app.include_router(artifact_cache.routes(control, tokens))
    app.include_router(hook.routes())

    health_of_all = Health(control.check_health)

    @app.get("/health")
    async def health() -> JSONResponse:
        faults = await health_of_all.faults()
        said = {"ok": not faults, "faults": dict(faults), **asdict(control.release)}
        return JSONResponse(said, 503 if faults else 200)

    # The last one, since it matches everything.
    results_url = settings.results_service_url
    app.include_router(passthrough.routes(ResultsService(results_url, trust) if results_url else None, tokens))
    return app
