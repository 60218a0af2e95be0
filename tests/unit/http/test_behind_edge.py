"""A server with a web ACL answers only requests through the edge, and never passes its key on."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import pytest
from fastapi import FastAPI
from mangum import Mangum

from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND
from actions_cache.download_services import DownloadServices
from actions_cache.http.app import ORIGIN_KEY, new_app
from actions_cache.management_services import ManagementServices
from dev.clients.driver import CacheDriver
from dev.clients.wire import send
from dev.emulation.asgi_server import served
from dev.local.template import Template
from dev.services import AllServices
from functions.api import handler as api
from functions.api.passthrough import request_headers
from functions.download import handler as download
from functions.manage import handler as manage
from tests.support.fakes import RecordingTelemetry
from tests.support.lambda_events import load
from tests.unit.template.test_handlers import Context

if TYPE_CHECKING:
    from mangum.types import LambdaContext

KEY = "5d5e2c30-1b7e-11f0-8a6d-0e0b1c2d3e4f"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = new_app(RecordingTelemetry(), edge_key=KEY)

    @app.get("/{path:path}")
    async def answer(path: str) -> str:
        return path

    with served(app) as url:
        yield url


@pytest.mark.parametrize("path", ["/health", "/twirp/any/thing", "/blobs/upload/0", "/no/route"])
def test_request_past_edge_is_refused_in_dialect(url: str, path: str):
    assert send("GET", url + path, headers={ORIGIN_KEY: KEY}).status == 200
    for headers in ({}, {ORIGIN_KEY: ""}, {ORIGIN_KEY: KEY[:-1]}, {ORIGIN_KEY: f"{KEY}, {KEY}"}):
        refused = send("GET", url + path, headers=headers)
        assert refused.status == 403
        if path.startswith("/blobs/"):
            assert b"<Code>" in refused.body
            assert refused.headers["x-ms-request-id"]
        else:
            assert json.loads(refused.body)["code"] == "permission_denied"
        assert b"RunnerUrl" in refused.body


def with_key(driver: CacheDriver) -> AllServices:
    settings = driver.services.settings.model_copy(update={"edge_key": KEY})
    services = AllServices(settings, driver.clock)
    services.session = driver.services.session
    return services


APPS: dict[str, Callable[[AllServices], FastAPI]] = {
    "api": api.create_app,
    "download": lambda services: download.create_app(DownloadServices(services)),
    "manage": lambda services: manage.create_app(ManagementServices(services)),
}


def route_of(function: str, driver: CacheDriver) -> tuple[str, int]:
    """Return a path, and the status of its answer through the edge."""
    if function == "download":
        expires_at = driver.clock.now() + 60 * SECOND
        return driver.services.urls.sign(Direction.DOWNLOAD, "0" * 32, expires_at), 404
    return {"api": ("/health", 200), "manage": ("/manage/role", 401)}[function]


@pytest.mark.parametrize("function", APPS)
def test_each_function_answers_only_through_edge(emptied_driver: CacheDriver, function: str):
    path, status = route_of(function, emptied_driver)
    with served(APPS[function](with_key(emptied_driver))) as url:
        assert send("GET", url + path, headers={ORIGIN_KEY: KEY}).status == status
        for past in ({}, {ORIGIN_KEY: KEY[1:]}):
            assert send("GET", url + path, headers=past).status == 403
        assert b"RunnerUrl" in send("GET", url + path).body, "refused for this reason alone"


@pytest.mark.parametrize(("resource", "status"), [("/iam/{path+}", 200), ("/manage/{path+}", 403)])
def test_iam_signed_request_needs_no_edge_key(emptied_driver: CacheDriver, resource: str, status: int):
    """CloudFront can't sign for its viewers. API Gateway authorizes this resource alone, at the API's own URL."""
    event = load("apigateway-manage-iam") | {"resource": resource}
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # Mangum takes this one
    try:
        app = Mangum(APPS["manage"](with_key(emptied_driver)), lifespan="off")
        assert app(event, cast("LambdaContext", Context()))["statusCode"] == status
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    sent = request_headers([(ORIGIN_KEY.encode(), KEY.encode()), (b"accept", b"*/*")])
    assert ORIGIN_KEY.encode() not in {name.lower() for name, _ in sent}, "the key is never passed on"


def test_edge_key_is_shared_only_with_web_acl(template: Template):
    variable = template.body["Globals"]["Function"]["Environment"]["Variables"]["EDGE_KEY"]["Fn::If"]
    origins = template.properties("Edge")["DistributionConfig"]["Origins"]
    [api] = [origin for origin in origins if origin["Id"] == "api"]
    condition, [header], _ = api["OriginCustomHeaders"]["Fn::If"]
    assert (condition, header["HeaderName"]) == ("HasWebAcl", ORIGIN_KEY)
    assert variable[:2] == ["HasWebAcl", header["HeaderValue"]]
    assert header["HeaderValue"] == {"Fn::Sub": "{{resolve:secretsmanager:${EdgeKey}:SecretString:key}}"}
    key = template.body["Resources"]["EdgeKey"]
    generated = key["Properties"]["GenerateSecretString"]
    assert (key["Condition"], generated["GenerateStringKey"]) == ("HasWebAcl", "key"), "a generated secret"
    assert generated["PasswordLength"] >= 32
    assert template.properties("Edge")["DistributionConfig"]["WebACLId"]["Fn::If"][0] == "HasWebAcl"
    assert not template.condition("HasWebAcl")
    assert all("OriginCustomHeaders" not in origin for origin in origins if origin["Id"] != "api")
