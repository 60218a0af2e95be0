"""Requests signed by IAM are admitted, but only if API Gateway has checked the signature."""

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from mangum import Mangum

from tests.support.lambda_events import load
from tests.unit.manage.conftest import Manager
from tests.unit.template.test_handlers import Context

if TYPE_CHECKING:
    from mangum.types import LambdaContext

IDENTITY = {"userArn": "arn:aws:iam::123456789012:user/operator", "accessKey": "AKIAIOSFODNN7EXAMPLE"}


@pytest.fixture(autouse=True)
def event_loop_of_the_runtime() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def send(manager: Manager, method: str, path: str, resource: str, identity: dict[str, Any], **query: str) -> Any:
    event = load("apigateway-manage-iam")
    event |= {"httpMethod": method, "path": path, "resource": resource}
    event |= {"queryStringParameters": query, "multiValueQueryStringParameters": {k: [v] for k, v in query.items()}}
    event["requestContext"]["identity"] = {"sourceIp": "203.0.113.7", **identity}
    event["requestContext"]["path"] = f"/v1{path}"
    response = Mangum(manager.app, lifespan="off")(event, cast("LambdaContext", Context()))
    return response["statusCode"], response["headers"], json.loads(response["body"] or "null")


SIGNED = "/iam/{path+}"


def test_iam_request_may_read_and_delete(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    manager.save("npm-1")
    status, _, body = send(manager, "GET", "/iam/manage/role", SIGNED, IDENTITY)
    assert (status, body) == (200, {"role": "read-only"})
    path = "/iam/repos/example/tools/actions/caches"
    assert send(manager, "DELETE", path, SIGNED, IDENTITY, key="npm-1")[0] == 200
    [record] = [record for record in caplog.records if record.message == "entries deleted"]
    assert vars(record)["by"] == IDENTITY["userArn"]
    assert send(manager, "GET", path, SIGNED, IDENTITY)[2]["total_count"] == 0


def test_page_links_keep_stage_and_signed_path(manager: Manager) -> None:
    manager.save("npm-1", "npm-2")
    path = "/iam/repos/example/tools/actions/caches"
    _, headers, _ = send(manager, "GET", path, SIGNED, IDENTITY, per_page="1")
    assert f'amazonaws.com/v1{path}?per_page=1&page=2>; rel="next"' in headers["link"]


@pytest.mark.parametrize(
    ("path", "resource", "identity", "status"),
    [
        ("/manage/role", "/manage/{path+}", IDENTITY, 401),
        ("/iam/manage/role", "/{path+}", IDENTITY, 404),
        ("/iam/manage/role", "/manage/{path+}", IDENTITY, 404),
        ("/iam/manage/role", SIGNED, {"userArn": None}, 404),
        ("/iam/manage/role", SIGNED, {}, 404),
        ("/manage/role", SIGNED, IDENTITY, 401),
        ("/iamanage/role", SIGNED, IDENTITY, 404),
    ],
)
def test_identity_counts_on_signed_resource_only(
    manager: Manager, path: str, resource: str, identity: dict[str, Any], status: int
) -> None:
    assert send(manager, "GET", path, resource, identity)[0] == status


def test_iam_headers_need_api_gateway(manager: Manager) -> None:
    assert manager.ask("GET", "/iam/manage/role", None, **{"x-amzn-identity": IDENTITY["userArn"]}).status == 404
