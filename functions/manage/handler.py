"""API Gateway's event in, the app's answer out."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from mangum import Mangum
from mangum.types import LambdaContext

from actions_cache.invocation import api_gateway_refusal
from actions_cache.logs import handled
from actions_cache.settings import Settings
from actions_cache.wiring.insight import Insight
from actions_cache.wiring.management import ManagementPlane
from functions.manage.app import create_app


@cache
def asgi_app() -> FastAPI:
    return create_app(ManagementPlane(Insight(Settings())))


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)
