"""API Gateway's event in, the app's answer out."""

from dataclasses import asdict
from functools import cache
from typing import Any

from fastapi import FastAPI
from mangum import Mangum
from mangum.types import LambdaContext
from starlette.responses import JSONResponse

from actions_cache.aws.clients import create_ssl_context
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
    services = ApiServices(Settings())
    services.downloads.connect()
    return create_app(services)


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)


def create_app(services: ApiServices) -> FastAPI:
    settings = services.settings
    trust = create_ssl_context(settings.extra_ca_certificates)
    tokens = TokenReader(
        settings.token_issuers,
        settings.token_audience,
        settings.token_claims,
        settings.verify_tokens,
        trust,
        services.note_refused,
    )
    app = new_app(services.telemetry, edge_key=settings.edge_key)
    app.include_router(cache_service.routes(services, tokens))
    app.include_router(uploads.routes(services))
    app.include_router(uploads.head_routes(services))
    app.include_router(artifact_cache.routes(services, tokens))
    app.include_router(hook.routes())

    health_of_all = Health(services.check_health)

    @app.get("/health")
    async def health() -> JSONResponse:
        faults = await health_of_all.faults()
        said = {"ok": not faults, "faults": dict(faults), **asdict(services.release)}
        return JSONResponse(said, 503 if faults else 200)

    # The last one, since it matches everything.
    results_url = settings.results_service_url
    app.include_router(passthrough.routes(ResultsService(results_url, trust) if results_url else None, tokens))
    return app
