"""Each event of events/, and each derived from one, passes through its function's handler, on an empty store.

put-blob and put-block are left out: their bytes go to the bucket without boto3, and so past moto.
"""

import asyncio
import base64
import importlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from actions_cache.domain.access import Caller
from actions_cache.domain.budgets import Usage
from actions_cache.schema import NewerSchema
from actions_cache.settings import Settings
from dev.clients.driver import CREDENTIALS, CacheDriver, SetClock, name
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from functions.merge import handler as merge
from tests.support import lambda_events
from tests.unit.template.test_events import ADMIN_TOKEN, SIGNED_WITH

HANDLERS = {name: f"functions.{name}.handler" for name in ("api", "download", "manage", "merge", "cleanup", "rotate")}


@dataclass(frozen=True)
class Context:
    """The context that Lambda hands to a handler beside the event."""

    function_name: str = "function"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    memory_limit_in_mb: str = "1024"
    aws_request_id: str = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


@pytest.fixture
def event_loop_of_the_runtime() -> Iterator[None]:
    """Provide the event loop that Mangum uses, which would otherwise make one and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def invoke(
    template: Template,
    boto_session: boto3.Session,
    monkeypatch: pytest.MonkeyPatch,
    event_loop_of_the_runtime: None,
) -> Iterator[Callable[[str, str], Any]]:
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    with mock_aws():
        clients = Clients.of(boto_session)
        resources = create(template, clients)
        clients.secretsmanager.put_secret_value(
            SecretId=resources.refs["UrlSigningSecret"], SecretString=json.dumps({"current": SIGNED_WITH})
        )
        clients.secretsmanager.put_secret_value(
            SecretId=resources.refs["AdminSecret"], SecretString=json.dumps({"admin": ADMIN_TOKEN})
        )
        for function in ("ApiFunction", "ManageFunction"):
            for name, value in resources.environment(function).items():
                monkeypatch.setenv(name, value)
        # The tokens in events/ are signed by nobody.
        monkeypatch.setenv("VERIFY_TOKENS", "0")

        def call(function: str, event: str) -> Any:
            module = importlib.import_module(HANDLERS[function])
            for wiring in ("asgi_app", "services"):
                if hasattr(module, wiring):
                    getattr(module, wiring).cache_clear()
            return module.lambda_handler(lambda_events.load(event), Context())

        yield call


NONE_HERE = "no repository example/tools"


@pytest.mark.parametrize(
    ("function", "event", "status", "said"),
    [
        ("api", "create-entry", 200, '"ok":true'),
        ("api", "create-entry-protobuf", 200, ""),
        ("api", "finalize", 404, '"not_found"'),
        ("api", "lookup", 200, '"ok":false'),
        ("api", "put-blocklist", 404, "<Code>"),
        ("api", "health", 200, '"ok":true'),
        ("api", "hook", 200, "ACTIONS_RESULTS_URL"),
        ("api", "unknown-route", 404, '"bad_route"'),
        ("api", "unknown-path", 404, '"bad_route"'),
        ("api", "head-download", 404, ""),
        *(("download", event, 404, "") for event in ("download", "download-range")),
        *(("manage", f"manage-{event}", 404, NONE_HERE) for event in ("list", "delete", "entries")),
        ("manage", "manage-by-id", 404, "no repository '42@https://ghes.example'"),
        ("manage", "manage-iam", 200, '{"role":"read-only"}'),
        ("manage", "manage-page", 200, "<!doctype html>"),
        ("manage", "manage-sign-in", 200, '"role":"admin"'),
    ],
)
def test_function_answers_its_events(
    invoke: Callable[[str, str], Any], function: str, event: str, status: int, said: str
) -> None:
    answer = invoke(function, f"apigateway-{event}")
    body = answer["body"] if said.startswith(("no ", "<")) else answer["body"].replace(": ", ":")
    assert (answer["statusCode"], said in body) == (status, True), answer


def test_background_functions_take_their_events(invoke: Callable[[str, str], Any]) -> None:
    # The worker puts the poison into the dead-letter queue: tests/unit/flows/test_merge_messages.py reads it there.
    for event in ("sqs-merge", "sqs-poison"):
        assert invoke("merge", event) == {"batchItemFailures": []}
    for event in ("scheduler-cleanup", "scheduler-outdated", "scheduler-orphans"):
        assert not any(invoke("cleanup", event).values())


def test_head_response_has_no_body(invoke: Callable[[str, str], Any]) -> None:
    invoke("api", "apigateway-hook")
    event = lambda_events.load("apigateway-hook") | {"httpMethod": "HEAD"}
    answer = importlib.import_module(HANDLERS["api"]).lambda_handler(event, Context())
    assert (answer["statusCode"], answer["body"]) == (200, "")
    assert int(answer["headers"]["content-length"]) > 1000


@pytest.mark.parametrize(
    ("seek_through", "user_agent", "begins"),
    [
        ("api", "go-actions-cache/1.0", "https://abcdef1234.execute-api.eu-central-1.amazonaws.com/v1/blobs/download/"),
        ("api", "@actions/cache-6.3.0", "https://cache.example/blobs/download/"),
        ("edge", "go-actions-cache/1.0", "https://cache.example/blobs/download/"),
    ],
)
@pytest.mark.parametrize("is_merged", [False, True], ids=["in parts", "merged"])
def test_seek_through_api_bypasses_the_edge(
    invoke: Callable[[str, str], Any],
    monkeypatch: pytest.MonkeyPatch,
    seek_through: str,
    user_agent: str,
    begins: str,
    is_merged: bool,
) -> None:
    """Clients that may seek get URLs of the API's own host and stage, which the event names."""
    monkeypatch.setenv("SEEK_THROUGH", seek_through)
    event = lambda_events.load("apigateway-lookup")
    asked = json.loads(base64.b64decode(event["body"]))
    services = AllServices(Settings())
    driver = CacheDriver(services, SetClock(services.clock.now()), boto3.client("s3"), boto3.client("sqs"))
    driver.save(name(asked["key"], "refs/heads/main", asked["version"], "123456789"), b"one", b"two")
    if is_merged:
        driver.merge_all()
        begins = {"https://cache.example/blobs/download/": "https://"}.get(begins, begins)
    for header, value in (("User-Agent", user_agent), ("X-Viewer-Host", "cache.example")):
        event["headers"][header], event["multiValueHeaders"][header] = value, [value]
    module = importlib.import_module(HANDLERS["api"])
    module.asgi_app.cache_clear()
    answer = json.loads(module.lambda_handler(event, Context())["body"])
    assert answer["signed_download_url"].startswith(begins), answer
    assert is_merged or "/blobs/download/" in answer["signed_download_url"]


def test_cleanup_corrects_evicts_and_migrates(
    invoke: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions_cache.usage.INDEX_LAG_SECONDS", 0)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 110_000)
    services, dynamodb = AllServices(Settings()), boto3.client("dynamodb")
    driver = CacheDriver(services, SetClock(services.clock.now()), boto3.client("s3"), boto3.client("sqs"))
    services.note_repository(Caller("42", ()))
    archive_id = driver.save(name("npm-1"), b"1").archive_id

    services.repositories.correct_usage("42", Usage(5, 5))
    assert invoke("cleanup", "scheduler-orphans")["usages corrected"] == 1
    services.repositories.correct_store_usage(Usage(5, 5))
    assert invoke("cleanup", "scheduler-orphans")["usages corrected"] == 1
    assert services.repositories.usage("42") == services.repositories.store_usage() == Usage(1, 1)

    key = {"archive_id": {"S": archive_id}}
    dynamodb.update_item(TableName=os.environ["ARCHIVES_TABLE"], Key=key, UpdateExpression="REMOVE repository")
    assert invoke("cleanup", "scheduler-cleanup")["archives migrated"] == 1
    dynamodb.update_item(TableName=os.environ["ARCHIVES_TABLE"], Key=key, UpdateExpression="REMOVE repository")
    assert invoke("cleanup", "scheduler-outdated")["archives migrated"] == 1

    driver.save(name("npm-2"), b"2")
    monkeypatch.setenv("REPOSITORY_BUDGET_BYTES", "1")
    assert invoke("cleanup", "scheduler-cleanup")["entries evicted"] == 1
    assert services.table.entry(name("npm-1")) is None


NOT_AN_EVENT: tuple[object, ...] = (None, {}, [], "text", 0, {"Records": [{}]}, {"requestContext": None}, {"path": "/"})
NO_REQUEST = {"resource": 1, "httpMethod": "GET", "path": "/", "requestContext": {}}
NO_TASKS: tuple[object, ...] = (None, [], "orphans", {"find": "orphan"}, {"find": ["orphans"]}, {"find": ""})
NO_CALLBACKS: tuple[object, ...] = (None, [], "text", {"RequestType": "Create"}, {"ResponseURL": "https://x.example/"})
FOREIGN: dict[str, tuple[str, tuple[object, ...]]] = {
    **dict.fromkeys(("api", "download", "manage"), ("API Gateway", (*NOT_AN_EVENT, NO_REQUEST))),
    "merge": ("merge queue", (*NOT_AN_EVENT, {"Records": [{"messageId": "1"}]}, {"Records": {"messageId": "1"}})),
    "cleanup": ("orphans, outdated", NO_TASKS),
    "rotate": ("ResponseURL", NO_CALLBACKS),
}
"""By function: what it says, and events that aren't for it."""


@pytest.mark.parametrize("function", FOREIGN)
def test_function_explains_foreign_events(function: str) -> None:
    said, events = FOREIGN[function]
    handle = importlib.import_module(HANDLERS[function]).lambda_handler
    for event in events:
        answer = handle(event, Context())
        assert said in answer["message"], event
        assert answer.get("statusCode", 400) == 400
        assert answer.get("batchItemFailures", []) == []


ODD_COUNTS: tuple[object, ...] = (True, -1, "1" * 5000, "٣", {})
ODD_ATTRIBUTES: tuple[object, ...] = (
    *("text", [1], 5, None, {}),
    *({"ApproximateReceiveCount": count} for count in ODD_COUNTS),
)


def test_deliveries_come_from_the_receive_count() -> None:
    assert merge.deliveries_of({"attributes": {"ApproximateReceiveCount": "7"}}) == 7
    assert merge.deliveries_of({}) == 1
    assert [it for it in ODD_ATTRIBUTES if merge.deliveries_of({"attributes": it}) != 1] == []
    empty: Any = {"Records": []}
    assert merge.lambda_handler(empty, Context()) == {"batchItemFailures": []}  # type: ignore[arg-type]


def test_older_release_refuses_newer_schema(invoke: Callable[[str, str], Any]) -> None:
    table = os.environ["ARCHIVES_TABLE"]
    values = {"newest": {"N": "999"}, "oldest": {"N": "0"}, "migrated_up_to": {"S": ""}}
    boto3.client("dynamodb").put_item(TableName=table, Item={"archive_id": {"S": "schema"}, **values})
    lookup = invoke("api", "apigateway-lookup")
    assert (lookup["statusCode"], json.loads(lookup["body"])["code"]) == (503, "unavailable")
    health = invoke("api", "apigateway-health")
    assert health["statusCode"] == 503
    assert "schema version 999" in json.loads(health["body"])["faults"]["schema"]
    assert invoke("download", "apigateway-download")["statusCode"] == 503
    assert invoke("merge", "sqs-merge")["batchItemFailures"]
    with pytest.raises(NewerSchema, match="deploy the newer release"):
        invoke("cleanup", "scheduler-cleanup")
