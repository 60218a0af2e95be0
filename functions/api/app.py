"""The API: reserve, commit, finalize, look up, whether all is well; and what isn't ours, passed on."""

from dataclasses import asdict

from fastapi import FastAPI
from starlette.responses import JSONResponse

from actions_cache.adapters.results_service import ResultsService
from actions_cache.adapters.tls import trusting
from actions_cache.web.app import new_app
from actions_cache.wiring.data import DataPlane
from actions_cache.wiring.requests import Requests
from functions.api import artifact_cache, cache_service, describing, hook, passthrough, uploads
from functions.api.health import Health
from functions.api.tokens import TokenReader


def create_app(control: Requests, data: DataPlane) -> FastAPI:
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
    app.include_router(uploads.routes(control, data))
    app.include_router(describing.routes(data))
    app.include_router(artifact_cache.routes(control, data, tokens))
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
