"""Answer API Gateway's events with the API's app."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from mangum import Mangum
from mangum.types import LambdaContext

from actions_cache.aws.clients import create_ssl_context
from actions_cache.http.app import new_app
from actions_cache.logs import api_gateway_refusal, handled
from actions_cache.settings import Settings
from actions_cache.startup import make_at_start
from functions.api import artifact_cache, cache_service, health, hook, passthrough, uploads
from functions.api.health import Health
from functions.api.passthrough import ResultsService
from functions.api.services import ApiServices
from functions.api.tokens import TokenReader


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)


@cache
def asgi_app() -> FastAPI:
    services = ApiServices(Settings())
    services.downloads.connect()
    return create_app(services)


def create_app(services: ApiServices) -> FastAPI:
    settings = services.settings
    trust = create_ssl_context(settings.extra_ca_certificates)
    results_url = settings.results_service_url
    app = new_app(services.telemetry, edge_key=settings.edge_key)
    app.state.services = services
    app.state.health = Health(services.check_health)
    app.state.results_service = ResultsService(results_url, trust) if results_url else None
    app.state.tokens = TokenReader(
        settings.token_issuers,
        settings.token_audience,
        settings.token_claims,
        settings.verify_tokens,
        trust,
        services.note_refused,
    )
    # The pass-through comes last, since it matches every path.
    for routes in (cache_service, uploads, artifact_cache, hook, health, passthrough):
        app.include_router(routes.router)
    return app


make_at_start(asgi_app)
