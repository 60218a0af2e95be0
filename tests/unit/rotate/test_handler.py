"""The rotation's function on real engines: its events in, a secret that edge and functions agree on out."""

import io
import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from actions_cache.domain.errors import PermissionDenied
from actions_cache.domain.signing import SETTLE, Direction, check_signature
from actions_cache.domain.timing import SECOND
from actions_cache.logs import logger
from actions_cache.settings import Settings
from actions_cache.urls import UrlSigner
from dev.clients.driver import SetClock, settings_for
from dev.local.emulators import Endpoints, resolve_names_under_localhost
from dev.local.resources import Clients, create
from dev.local.template import ROOT, Template
from functions.rotate import handler
from functions.rotate.cloudformation import RESPONSE_MARGIN_SECONDS, RETRY_SECONDS
from functions.rotate.services import RotateServices
from tests.aws.rie.permissions import Call, recording
from tests.unit.flows.rotation_world import RUN
from tests.unit.rotate.response_url import SIGNED, ResponseUrl, response_url
from tests.unit.rotate.test_cloudformation import context, event

ARCHIVE = "0123456789abcdef0123456789abcdef"


@dataclass
class Stage:
    """Args: plane: what the handler calls; its clock is the test's."""

    plane: RotateServices
    clock: SetClock
    clients: Clients
    calls: list[Call]
    logs: io.StringIO

    @property
    def arn(self) -> str:
        return self.plane.settings.edge_secrets_arn or ""

    def schedule(self) -> str:
        answer = handler.lambda_handler(json.loads((ROOT / "events" / "scheduler-rotate.json").read_text()), context())
        return str(answer["phase"])

    def deploy(self, name: str, url: ResponseUrl, *, tries: bool = True) -> dict[str, Any]:
        """Deploy a resource.

        Args:
            name: its name.
            url: where the answer goes.
            tries: whether there is time for another attempt (tests/unit/rotate/test_new_stack.py).
        """
        handler.lambda_handler(
            event(name, url), context() if tries else context(RESPONSE_MARGIN_SECONDS + RETRY_SECONDS)
        )
        return url.answer

    def ring(self) -> dict[str, Any]:
        arn = self.plane.settings.url_signing_secret_arn
        value: dict[str, Any] = json.loads(self.clients.secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
        return value

    def put_secret(self, value: str) -> None:
        arn = self.plane.settings.url_signing_secret_arn
        self.clients.secretsmanager.put_secret_value(SecretId=arn, SecretString=value)

    def edge(self) -> list[str]:
        """What its functions read; asked past the code under test."""
        kvs = self.plane.session.client("cloudfront-keyvaluestore")
        items = {it["Key"]: it["Value"] for it in kvs.list_keys(KvsARN=self.arn)["Items"]}
        return items.get("url-signing-secrets", "").split()

    def operations(self) -> set[str]:
        """That the function asked for, as IAM names them."""
        keys = {("GET", True): "GetKey", ("GET", False): "DescribeKeyValueStore", ("PUT", True): "PutKey"}
        return {
            f"secretsmanager:{call.target}"
            if call.target
            else f"cloudfront-keyvaluestore:{keys[call.method, '/keys/' in call.path]}"
            for call in self.calls
        }


@pytest.fixture
def stage(
    endpoints: Endpoints, emulator_session: boto3.Session, template: Template, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Wired as on AWS: by the environment alone, with resources of its own, all its calls recorded on their way."""
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)
    resolve_names_under_localhost()
    for variable, value in endpoints.environment().items():
        monkeypatch.setenv(variable, value)
    clients = Clients.of(emulator_session)
    resources = create(template, clients, prefix=f"rotate-{uuid.uuid4().hex[:8]}")
    for variable, value in resources.environment("RotateFunction").items():
        monkeypatch.setenv(variable, value)
    calls: list[Call] = []
    with recording(endpoints.secrets, calls) as secrets_url, recording(endpoints.edge, calls) as edge:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE", edge.replace("127.0.0.1", "localhost"))
        clock, logs = SetClock(), io.StringIO()
        plane = RotateServices(settings_for(resources.environment("RotateFunction")), clock)
        monkeypatch.setattr(handler, "secrets", lambda: plane)
        monkeypatch.setattr(logger.registered_handler, "stream", logs)
        yield Stage(plane, clock, clients, calls, logs)


def test_deploy_ends_when_edge_knows_secret(stage: Stage):
    assert stage.edge() == []
    with response_url() as url:
        assert stage.deploy("create", url)["Status"] == "SUCCESS"
    assert stage.edge() == [stage.ring()["current"]]
    assert stage.ring()["changed_at"] == stage.clock.now()


def test_update_refills_replaced_edge_store(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    with response_url() as url:
        stage.deploy("create", url)
    name = f"another-{uuid.uuid4().hex[:8]}"
    another = stage.clients.cloudfront.create_key_value_store(Name=name)["KeyValueStore"]["ARN"]
    settings = stage.plane.settings.model_copy(update={"edge_secrets_arn": another})
    stage.plane = RotateServices(settings, stage.clock)
    monkeypatch.setattr(handler, "secrets", lambda: stage.plane)
    assert stage.edge() == []
    with response_url() as url:
        assert stage.deploy("update", url)["Status"] == "SUCCESS"
    assert stage.edge() == [stage.ring()["current"]]


def test_deploy_takes_no_due_rotation_step(stage: Stage):
    with response_url() as url:
        stage.deploy("create", url)
    stage.clock.advance(stage.plane.settings.secret_rotation_seconds)
    with response_url() as url:
        assert stage.deploy("update", url)["Status"] == "SUCCESS"
    assert "next" not in stage.ring()
    assert stage.schedule() == "introduced"


def test_delete_touches_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(handler, "secrets", lambda: RotateServices(Settings.model_validate({})))
    with response_url() as url:
        assert stage.deploy("delete", url)["Status"] == "SUCCESS"
    assert stage.calls == []


def test_deploy_fails_if_edge_store_is_missing(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    gone = "arn:aws:cloudfront::000000000000:key-value-store/never"
    settings = stage.plane.settings.model_copy(update={"edge_secrets_arn": gone})
    monkeypatch.setattr(handler, "secrets", lambda: RotateServices(settings, stage.clock))
    with response_url() as url:
        answer = stage.deploy("create", url, tries=False)
    assert answer["Status"] == "FAILED"
    assert "the edge couldn't be told the signing secret" in answer["Reason"]
    assert "ResourceNotFoundException" in answer["Reason"]


def test_deploy_fails_without_edge_store_arn(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    settings = stage.plane.settings.model_copy(update={"edge_secrets_arn": None})
    monkeypatch.setattr(handler, "secrets", lambda: RotateServices(settings))
    with response_url() as url:
        assert "EDGE_SECRETS_ARN is missing" in stage.deploy("create", url)["Reason"]


def test_deploy_fails_on_invalid_keyring(stage: Stage):
    stage.put_secret("as it was before it could rotate")
    with response_url() as url:
        answer = stage.deploy("create", url, tries=False)
    assert answer["Status"] == "FAILED"
    assert "put such a value" in answer["Reason"]
    assert "as it was" not in answer["Reason"] + stage.logs.getvalue()


def test_rotation_keeps_live_urls_valid(stage: Stage):
    """Hour by hour, with the functions' own cache left out: tests/unit/flows has the delays."""
    assert stage.schedule() == "settled"
    first = stage.ring()["current"]
    stage.clock.advance(stage.plane.settings.secret_rotation_seconds)
    phases, signed = [], []
    for _ in range(5):
        phases.append(stage.schedule())
        ring = stage.ring()
        verifying = [ring[slot] for slot in ("current", "next", "previous") if slot in ring]
        assert stage.edge() == verifying
        signer = UrlSigner(Known(verifying), stage.clock)
        expires_at = stage.clock.now() + stage.plane.settings.upload_url_seconds * SECOND
        signed.append((expires_at, signer.sign(Direction.UPLOAD, ARCHIVE, expires_at)))
        for until, url in signed:
            if until > stage.clock.now():
                check(url, stage.clock.now(), stage.edge())
        stage.clock.advance(3600)
    assert phases == ["introduced", "promoted", "promoted", "settled", "settled"]
    assert first not in stage.edge()
    with pytest.raises(PermissionDenied, match="doesn't fit"):
        check(signed[0][1], 0, stage.edge())


@dataclass
class Known:
    secrets: list[str]

    def current(self) -> list[str]:
        return self.secrets


def check(url: str, now: int, secrets: list[str]) -> None:
    query = dict(pair.split("=", 1) for pair in url.partition("?")[2].split("&"))
    check_signature(Direction.UPLOAD, ARCHIVE, query["se"], query["sig"], now, secrets)


def test_function_uses_exactly_its_permissions(stage: Stage, template: Template):
    stage.schedule()
    statements = template.properties("RotateRole")["Policies"][0]["PolicyDocument"]["Statement"]
    actions = [
        action
        for statement in statements
        for action in statement["Action"]
        if not action.startswith(("logs:", "xray:"))
    ]
    assert stage.operations() == set(actions)
    edge_calls = [call for call in stage.calls if call.path.startswith("/key-value-stores/")]
    assert len(edge_calls) == 3
    assert all(call.headers["authorization"].startswith("AWS4-ECDSA-P256-SHA256 ") for call in edge_calls)


def test_secrets_and_urls_are_never_logged(stage: Stage):
    with response_url() as url:
        stage.deploy("create", url)
    secrets = set(stage.edge())
    stage.clock.advance(stage.plane.settings.secret_rotation_seconds)
    for _ in range(4):
        stage.schedule()
        secrets |= set(stage.edge())
        stage.clock.advance(3600)
    stage.put_secret("no keyring any more")
    with response_url() as url:
        stage.deploy("update", url, tries=False)
    logged = stage.logs.getvalue()
    assert len(secrets) == 2
    assert logged.count('"phase":"introduced"') >= 1
    assert "the edge doesn't know the signing secret" in logged
    assert not any(secret in logged for secret in [*secrets, SIGNED, "Signature"])


def test_new_secret_has_template_length(stage: Stage, template: Template):
    stage.schedule()
    stage.clock.advance(stage.plane.settings.secret_rotation_seconds)
    stage.schedule()
    generated = template.properties("UrlSigningSecret")["GenerateSecretString"]["PasswordLength"]
    assert len(stage.ring()["next"]) == generated


def test_timeout_fits_rotation_waits(template: Template):
    assert template.functions["RotateFunction"]["Timeout"] * SECOND <= RUN
    assert 2 * RUN < SETTLE


def test_function_loads_only_needed_libraries():
    code = "import functions.rotate.handler, sys; print(*sys.modules)"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}", "POWERTOOLS_SERVICE_NAME": "test"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "botocore" in loaded
    assert not loaded & {"fastapi", "starlette", "aiohttp", "mangum", "pynamodb", "actions_cache.services"}
