"""The hook's look at the server: quick, for anybody, counted by the hook's version, and without a call to AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from actions_cache.events import HOOK_LOOKS
from actions_cache.http.app import new_app
from actions_cache.http.headers import INERT_HEADERS
from dev.clients.wire import Reply, send
from dev.emulation.asgi_server import served
from dev.local.template import ROOT
from functions.api import hook
from tests.support.fakes import RecordingTelemetry
from tests.support.sockets import listening


@dataclass
class Server:
    url: str
    telemetry: RecordingTelemetry

    def look(self, user_agent: str = "", method: str = "GET") -> Reply:
        return send(method, f"{self.url}/runner/status", headers={"User-Agent": user_agent})


@pytest.fixture
def server() -> Iterator[Server]:
    telemetry = RecordingTelemetry()
    app = new_app(telemetry)
    # Nothing of AWS is in these services.
    app.state.services = SimpleNamespace(telemetry=telemetry)
    app.include_router(hook.router)
    with served(app) as url:
        yield Server(url, telemetry)


def test_look_is_answered_without_a_token(server: Server) -> None:
    reply = server.look()
    assert (reply.status, reply.body) == (200, b'{"ok":true}')
    expected = {
        **INERT_HEADERS,
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Content-Length": "11",
    }
    assert {name: reply.headers.get_all(name) for name in expected} == {name: [it] for name, it in expected.items()}
    assert server.telemetry.events == [], "no hook's look"


@pytest.mark.parametrize(
    ("user_agent", "counted"),
    [
        ("actions-cache-hook/1 (fast)", ["1"]),
        ("actions-cache-hook/1 (protect)", ["1"]),
        ("actions-cache-hook/2.10 (fast)", ["unknown"]),
        ("actions-cache-hook/1", []),
        ("actions-cache-hook/1 (slow)", []),
        ("actions-cache-hook/\N{SUPERSCRIPT ONE} (fast)".encode().decode("latin-1"), []),
        (f"actions-cache-hook/{'1' * 17} (fast)", []),
        ("actions-cache-hook/1 (fast) curl/8", []),
        ("@actions/cache-6.3.0", []),
    ],
)
def test_look_is_counted_by_known_versions_alone(server: Server, user_agent: str, counted: list[str]) -> None:
    """Each version is billed as a metric, and anybody can send any."""
    assert server.look(user_agent).status == 200
    assert server.telemetry.counted(HOOK_LOOKS) == counted


def test_look_is_logged_with_version_and_mode(server: Server) -> None:
    server.look("actions-cache-hook/2.10 (protect)")
    [event] = server.telemetry.events
    assert event.fields == {"hook": "unknown", "version": "2.10", "mode": "protect"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_refused(server: Server, method: str) -> None:
    assert server.look(method=method).status in (404, 405)


# ------------------------------------------------------------------ without AWS

COLD_START = """
import json, os, sys, time
from types import SimpleNamespace
from functions.api.handler import lambda_handler
event = json.loads(sys.argv[1])
event["path"] = sys.argv[2]
answer = lambda_handler(event, SimpleNamespace(
    function_name="api", memory_limit_in_mb=1024, invoked_function_arn="arn:a", aws_request_id="1"
))
print(json.dumps([answer["statusCode"], answer["body"]]))
"""


def first_answer(path: str) -> tuple[list[Any], int]:
    """Answer one request in a new process, and return the answer, and how many connections went to AWS.

    The credentials are in the environment, as on Lambda, and nothing answers as AWS.
    """
    connections: list[object] = []
    with listening(connections.append) as port:
        names = ("ENTRIES_TABLE", "RESERVATIONS_TABLE", "ARCHIVES_TABLE", "REPOSITORIES_TABLE", "BUCKET")
        resources = {name: name.lower() for name in (*names, "MERGE_QUEUE_URL", "URL_SIGNING_SECRET_ARN")}
        keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
        environment = {
            **resources,
            **keys,
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_CONFIG_FILE": os.devnull,
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "HTTP_PROXY": f"http://127.0.0.1:{port}",
            "NO_PROXY": "127.0.0.1",
            "TOKEN_CLAIMS": "any",
            "POWERTOOLS_SERVICE_NAME": "test",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}",
        }
        event = (ROOT / "events" / "apigateway-health.json").read_text()
        command = [sys.executable, "-c", COLD_START, event, path]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(ran.stdout.splitlines()[-1]), len(connections)


def test_cold_look_calls_no_service_of_aws() -> None:
    """The init phase makes the clients of boto3, and their first call connects."""
    assert first_answer("/runner/status") == ([200, '{"ok":true}'], 0)


def test_health_would_call_aws() -> None:
    """So that the test of the look can fail."""
    [status, _], connections = first_answer("/health")
    assert status == 503
    assert connections > 0
