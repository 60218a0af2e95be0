"""The rotation's function on real emulators: after each event, edge and functions agree on the secrets."""

import io
import json
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest

from actions_cache.domain.errors import PermissionDenied
from actions_cache.domain.signing import SETTLE, Direction, check_signature
from actions_cache.domain.timing import SECOND
from actions_cache.logs import logger
from actions_cache.settings import Settings
from actions_cache.urls import UrlSigner
from dev.clients.driver import SetClock, settings_for
from dev.local.emulators import Endpoints
from dev.local.localhost import resolve_names_under_localhost
from dev.local.resources import Clients, create
from dev.local.template import ROOT, Template
from functions.rotate import handler
from functions.rotate.cloudformation import RESPONSE_MARGIN_SECONDS, RETRY_SECONDS
from functions.rotate.services import RotateServices
from tests.aws.rie.permissions import Call, recording
from tests.unit.flows.rotation_simulation import RUN
from tests.unit.rotate.response_url import SIGNED, ResponseUrl, response_url
from tests.unit.rotate.test_cloudformation import context, event

ARCHIVE = "0123456789abcdef0123456789abcdef"


@dataclass
class RotateDriver:
    """Sends events to the function, and reads what it wrote and called."""

    services: RotateServices
    clock: SetClock
    clients: Clients
    calls: list[Call]
    logs: io.StringIO

    @property
    def arn(self) -> str:
        return self.services.settings.edge_secrets_arn or ""

    def schedule(self) -> str:
        answer = handler.lambda_handler(json.loads((ROOT / "events" / "scheduler-rotate.json").read_text()), context())
        return str(answer["phase"])

    def deploy(self, name: str, url: ResponseUrl, *, retries: bool = True) -> dict[str, Any]:
        """Send CloudFormation's event, and return the response to it.

        Args:
            name: name of the event.
            url: the URL that the response goes to.
            retries: True if there is time for a second attempt (tests/unit/rotate/test_new_stack.py).
        """
        lambda_context = context() if retries else context(RESPONSE_MARGIN_SECONDS + RETRY_SECONDS)
        handler.lambda_handler(event(name, url), lambda_context)
        return url.answer

    def ring(self) -> dict[str, Any]:
        arn = self.services.settings.url_signing_secret_arn
        value: dict[str, Any] = json.loads(self.clients.secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
        return value

    def put_secret(self, value: str) -> None:
        arn = self.services.settings.url_signing_secret_arn
        self.clients.secretsmanager.put_secret_value(SecretId=arn, SecretString=value)

    def edge(self) -> list[str]:
        """Return the secrets that the edge's functions read, without using the code under test."""
        kvs = self.services.session.client("cloudfront-keyvaluestore")
        items = {item["Key"]: item["Value"] for item in kvs.list_keys(KvsARN=self.arn)["Items"]}
        return items.get("url-signing-secrets", "").split()

    def operations(self) -> set[str]:
        """Return the operations that the function called, as IAM names them."""
        keys = {("GET", True): "GetKey", ("GET", False): "DescribeKeyValueStore", ("PUT", True): "PutKey"}
        return {
            f"secretsmanager:{call.target}"
            if call.target
            else f"cloudfront-keyvaluestore:{keys[call.method, '/keys/' in call.path]}"
            for call in self.calls
        }


@pytest.fixture
def driver(
    endpoints: Endpoints, emulator_session: boto3.Session, template: Template, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RotateDriver]:
    """Configure the function by its environment alone, with resources of its own, and record its calls."""
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
        services = RotateServices(settings_for(resources.environment("RotateFunction")), clock)
        monkeypatch.setattr(handler, "services", lambda: services)
        monkeypatch.setattr(logger.registered_handler, "stream", logs)
        yield RotateDriver(services, clock, clients, calls, logs)


def test_deploy_ends_when_edge_knows_secret(driver: RotateDriver):
    assert driver.edge() == []
    with response_url() as url:
        assert driver.deploy("create", url)["Status"] == "SUCCESS"
    assert driver.edge() == [driver.ring()["current"]]
    assert driver.ring()["changed_at"] == driver.clock.now()
    driver.clock.advance(driver.services.settings.secret_rotation_seconds)
    with response_url() as url:
        assert driver.deploy("update", url)["Status"] == "SUCCESS"
    assert "next" not in driver.ring(), "a deploy takes no step that is due"
    assert driver.schedule() == "introduced"


def test_update_refills_replaced_edge_store(driver: RotateDriver, monkeypatch: pytest.MonkeyPatch):
    with response_url() as url:
        driver.deploy("create", url)
    name = f"another-{uuid.uuid4().hex[:8]}"
    another = driver.clients.cloudfront.create_key_value_store(Name=name)["KeyValueStore"]["ARN"]
    settings = driver.services.settings.model_copy(update={"edge_secrets_arn": another})
    driver.services = RotateServices(settings, driver.clock)
    monkeypatch.setattr(handler, "services", lambda: driver.services)
    assert driver.edge() == []
    with response_url() as url:
        assert driver.deploy("update", url)["Status"] == "SUCCESS"
    assert driver.edge() == [driver.ring()["current"]]


def test_delete_touches_nothing(driver: RotateDriver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(handler, "services", lambda: RotateServices(Settings.model_validate({})))
    with response_url() as url:
        assert driver.deploy("delete", url)["Status"] == "SUCCESS"
    assert driver.calls == []


@pytest.mark.parametrize(
    ("arn", "reason"),
    [
        ("arn:aws:cloudfront::000000000000:key-value-store/never", "ResourceNotFoundException"),
        (None, "EDGE_SECRETS_ARN is missing"),
    ],
)
def test_deploy_fails_without_edge_store(driver: RotateDriver, monkeypatch, arn: str | None, reason: str):
    settings = driver.services.settings.model_copy(update={"edge_secrets_arn": arn})
    monkeypatch.setattr(handler, "services", lambda: RotateServices(settings, driver.clock))
    with response_url() as url:
        answer = driver.deploy("create", url, retries=False)
    assert answer["Status"] == "FAILED"
    assert "the edge couldn't be told the signing secret" in answer["Reason"]
    assert reason in answer["Reason"]


def test_deploy_fails_on_invalid_keyring(driver: RotateDriver):
    driver.put_secret("a secret of an old release")
    with response_url() as url:
        answer = driver.deploy("create", url, retries=False)
    assert answer["Status"] == "FAILED"
    assert "put such a value" in answer["Reason"]
    assert "a secret of" not in answer["Reason"] + driver.logs.getvalue()


def test_rotation_keeps_live_urls_valid(driver: RotateDriver, template: Template):
    """The functions' own cache is left out here: tests/unit/flows/test_rotating.py has the delays."""
    assert driver.schedule() == "settled"
    first = driver.ring()["current"]
    driver.clock.advance(driver.services.settings.secret_rotation_seconds)
    phases, signed = [], []
    for _ in range(5):
        phases.append(driver.schedule())
        ring = driver.ring()
        verifying = [ring[slot] for slot in ("current", "next", "previous") if slot in ring]
        assert driver.edge() == verifying
        signer = UrlSigner(cast("Any", SimpleNamespace(current=lambda: verifying)), driver.clock)  # noqa: B023
        expires_at = driver.clock.now() + driver.services.settings.upload_url_seconds * SECOND
        signed.append((expires_at, signer.sign(Direction.UPLOAD, ARCHIVE, expires_at)))
        for until, url in signed:
            if until > driver.clock.now():
                check(url, driver.clock.now(), driver.edge())
        driver.clock.advance(3600)
    assert phases == ["introduced", "promoted", "promoted", "settled", "settled"]
    assert first not in driver.edge()
    generated = template.properties("UrlSigningSecret")["GenerateSecretString"]["PasswordLength"]
    assert len(driver.ring()["current"]) == generated
    with pytest.raises(PermissionDenied, match="doesn't fit"):
        check(signed[0][1], 0, driver.edge())


def check(url: str, now: int, secrets: list[str]) -> None:
    query = dict(pair.split("=", 1) for pair in url.partition("?")[2].split("&"))
    check_signature(Direction.UPLOAD, ARCHIVE, query["se"], query["sig"], now, secrets)


def test_function_uses_exactly_its_permissions(driver: RotateDriver, template: Template):
    driver.schedule()
    statements = template.properties("RotateRole")["Policies"][0]["PolicyDocument"]["Statement"]
    actions = [
        action
        for statement in statements
        for action in statement["Action"]
        if not action.startswith(("logs:", "xray:"))
    ]
    assert driver.operations() == set(actions)
    edge_calls = [call for call in driver.calls if call.path.startswith("/key-value-stores/")]
    assert len(edge_calls) == 3
    assert all(call.headers["authorization"].startswith("AWS4-ECDSA-P256-SHA256 ") for call in edge_calls)


def test_secrets_and_urls_are_never_logged(driver: RotateDriver):
    with response_url() as url:
        driver.deploy("create", url)
    secrets = set(driver.edge())
    driver.clock.advance(driver.services.settings.secret_rotation_seconds)
    for _ in range(4):
        driver.schedule()
        secrets |= set(driver.edge())
        driver.clock.advance(3600)
    driver.put_secret("no keyring any more")
    with response_url() as url:
        driver.deploy("update", url, retries=False)
    logged = driver.logs.getvalue()
    assert len(secrets) == 2
    assert logged.count('"phase":"introduced"') >= 1
    assert "the edge doesn't know the signing secret" in logged
    assert not any(secret in logged for secret in [*secrets, SIGNED, "Signature"])


def test_timeout_fits_rotation_waits(template: Template):
    assert template.functions["RotateFunction"]["Timeout"] * SECOND <= RUN
    assert 2 * RUN < SETTLE
