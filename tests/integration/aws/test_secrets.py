"""The stores of the secrets: Secrets Manager with moto, and CloudFront's KeyValueStore with an emulator."""

import json
import logging
import socket
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from actions_cache.aws import secrets
from actions_cache.aws.secrets import (
    KEY,
    RETRY_SECONDS,
    SIGNING_CACHED_SECONDS,
    SIGNING_KEPT_SECONDS,
    SIGV4A_CALLS,
    KeyValueStoreSecrets,
    SecretsManagerKeyring,
    SecretsManagerSecrets,
    SecretsManagerTokens,
)
from actions_cache.domain.signing import SETTLE, Keyring, KnownToEdge
from actions_cache.domain.timing import SECOND
from actions_cache.ports import Unavailable, WriteConflict
from dev.clients.driver import CREDENTIALS
from dev.local.emulators import Endpoints
from dev.local.localhost import resolve_names_under_localhost
from tests.aws.rie.permissions import Call, recording

OLD, NEW, NEWEST = "old-" * 16, "new-" * 16, "newest-" * 9
NOW = 1_790_000_000_000
UNREACHABLE = "http://127.0.0.1:9"

# ------------------------------------------------------------------ Secrets Manager


@pytest.fixture
def secretsmanager(monkeypatch: pytest.MonkeyPatch, boto_session: boto3.Session) -> Iterator[Any]:
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    with mock_aws():
        yield boto_session.client("secretsmanager")


@pytest.fixture
def secret_id(secretsmanager: Any) -> str:
    """Return a secret as the template's GenerateSecretString makes it."""
    arn: str = secretsmanager.create_secret(Name="signing", SecretString=json.dumps({"current": OLD}))["ARN"]
    return arn


@pytest.fixture
def keyrings(secretsmanager: Any, secret_id: str) -> SecretsManagerKeyring:
    return SecretsManagerKeyring(secretsmanager, secret_id)


def test_keyring_is_read_as_written(keyrings, secretsmanager, secret_id):
    """Empty slots aren't written."""
    assert keyrings.read() == Keyring(current=OLD)
    for ring in (
        Keyring(current=NEW, changed_at=NOW),
        Keyring(current=NEW, previous=OLD, changed_at=NOW),
        Keyring(current="x" * 16),
        Keyring(current="x" * 256),
        Keyring(current=OLD, next=NEW),
    ):
        keyrings.write(ring)
        assert keyrings.read() == ring
    written = secretsmanager.get_secret_value(SecretId=secret_id)["SecretString"]
    assert json.loads(written) == {"current": OLD, "next": NEW}


def test_current_secret_signs_and_all_verify(keyrings, secretsmanager, secret_id):
    keyrings.write(Keyring(current=NEW, previous=OLD))
    assert SecretsManagerSecrets(secretsmanager, secret_id).current() == (NEW, OLD)


class Ahead:
    """The number of seconds by which the clock of cached secrets is set forward."""

    seconds = 0


@pytest.fixture
def ahead(monkeypatch):
    forward, began = Ahead(), time.time()
    monkeypatch.setattr(secrets, "time", SimpleNamespace(time=lambda: began + forward.seconds))
    return forward


def test_secrets_are_cached_for_limited_time(keyrings, secretsmanager, secret_id, ahead):
    secrets = SecretsManagerSecrets(secretsmanager, secret_id)
    assert secrets.current() == (OLD,)
    keyrings.write(Keyring(current=OLD, next=NEW))
    assert secrets.current() == (OLD,)
    assert keyrings.read().next == NEW
    ahead.seconds = SIGNING_CACHED_SECONDS - 30
    assert secrets.current() == (OLD,)
    ahead.seconds = SIGNING_CACHED_SECONDS
    assert secrets.current() == (OLD, NEW)


def test_replaced_management_token_expires_in_a_minute(secretsmanager, secret_id, ahead):
    old, new = "o" * 64, "n" * 64
    secretsmanager.put_secret_value(SecretId=secret_id, SecretString=json.dumps({"admin": old}))
    secret = SecretsManagerTokens(secretsmanager, secret_id)
    assert secret.tokens().admin == old
    secretsmanager.put_secret_value(SecretId=secret_id, SecretString=json.dumps({"admin": new}))
    ahead.seconds = 30
    assert secret.tokens().admin == old
    ahead.seconds = 60
    assert secret.tokens().admin == new


# ------------------------------------------------------------------ outages of Secrets Manager


class Store:
    """A client of Secrets Manager, which can be made to fail."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.is_down = False
        self.reads = 0

    def get_secret_value(self, **arguments: Any) -> Any:
        self.reads += 1
        if self.is_down:
            raise EndpointConnectionError(endpoint_url=UNREACHABLE)
        return self._client.get_secret_value(**arguments)


@pytest.fixture
def store(secretsmanager: Any) -> Store:
    return Store(secretsmanager)


@pytest.fixture(params=["signing", "management"])
def kept(request, secretsmanager, secret_id, store):
    """Return a function that reads a cached secret, and for how many seconds its last value is used."""
    if request.param == "signing":
        return SecretsManagerSecrets(store, secret_id).current, SIGNING_KEPT_SECONDS
    secretsmanager.put_secret_value(SecretId=secret_id, SecretString=json.dumps({"admin": OLD}))
    return SecretsManagerTokens(store, secret_id).tokens, secrets.MANAGEMENT_KEPT_SECONDS


def test_last_value_is_used_in_an_outage_for_a_while(kept, store, ahead, caplog):
    """A clock that was set back ends that too."""
    read, kept_seconds = kept
    value = read()
    store.is_down = True
    ahead.seconds = kept_seconds - 1
    assert read() == value
    assert "its last value stands in" in caplog.text
    assert OLD not in caplog.text
    for ahead.seconds in (kept_seconds, kept_seconds + RETRY_SECONDS + 1, -1):
        with pytest.raises(Unavailable):
            read()


def test_value_can_expire_during_refresh(kept, store, ahead):
    read, kept_seconds = kept
    read()
    ahead.seconds = kept_seconds - 1

    def times_out(**_: Any) -> None:
        ahead.seconds += 10
        raise EndpointConnectionError(endpoint_url=UNREACHABLE)

    store.get_secret_value = times_out
    with pytest.raises(Unavailable):
        read()


def test_outage_is_retried_at_intervals(kept, store, ahead):
    read, _ = kept
    read()
    store.is_down = True
    ahead.seconds = SIGNING_CACHED_SECONDS
    for _ in range(9):
        read()
    assert store.reads == 2
    ahead.seconds += RETRY_SECONDS
    read()
    assert store.reads == 3


def test_new_value_is_read_after_outage(keyrings, secret_id, store, ahead):
    secrets = SecretsManagerSecrets(store, secret_id)
    secrets.current()
    store.is_down = True
    ahead.seconds = SIGNING_CACHED_SECONDS
    secrets.current()
    keyrings.write(Keyring(current=OLD, next=NEW))
    store.is_down = False
    ahead.seconds += RETRY_SECONDS
    assert secrets.current() == (OLD, NEW)


def test_invalid_new_value_has_no_fallback(secretsmanager, secret_id, ahead):
    """It may have been meant to replace a leaked one."""
    secrets = SecretsManagerSecrets(secretsmanager, secret_id)
    secrets.current()
    secretsmanager.put_secret_value(SecretId=secret_id, SecretString="{}")
    ahead.seconds = SIGNING_CACHED_SECONDS
    with pytest.raises(Unavailable, match="put such a value"):
        secrets.current()


def test_bounds_fit_the_rotation_and_the_edge():
    """A value has at most 1,024 characters:
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/kvs-with-functions-create-s3-kvp.html."""
    run_timeout_seconds = 60
    assert SIGNING_CACHED_SECONDS < SIGNING_KEPT_SECONDS <= SETTLE // SECOND - run_timeout_seconds
    secrets.parse_keyring(json.dumps(dict.fromkeys(("current", "next", "previous"), "x" * 256)))
    assert len(" ".join(["x" * 256] * 3)) <= 1024


GOOD = "x" * 16


@pytest.mark.parametrize(
    "value",
    [
        "a plain string of before",
        "[]",
        "{}",
        '{"next": "' + NEW + '"}',
        '{"current": ""}',
        '{"current": null}',
        '{"current": "' + GOOD[1:] + '"}',
        '{"current": "' + "x" * 257 + '"}',
        '{"current": "two words ' + GOOD + '"}',
        '{"current": "' + GOOD + '\\n"}',
        '{"current": "' + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 16 + '"}',
        '{"current": "' + GOOD + '", "next": ""}',
        '{"current": "' + GOOD + '", "previous": "a b"}',
        '{"current": "' + GOOD + '", "changed_at": "yesterday"}',
    ],
)
def test_unsafe_secret_is_refused_without_quoting(secretsmanager, secret_id, keyrings, value):
    secretsmanager.put_secret_value(SecretId=secret_id, SecretString=value)
    for read in (keyrings.read, SecretsManagerSecrets(secretsmanager, secret_id).current):
        with pytest.raises(Unavailable, match=r'JSON like \{"current".* put such a value') as raised:
            read()
        assert raised.value.__cause__ is None
        assert not any(text in str(raised.value) for text in ("xxxx", "two words", "plain", "yesterday"))


def test_missing_or_unreachable_secret_is_unavailable(secretsmanager, boto_session):
    missing = SecretsManagerKeyring(secretsmanager, "missing")
    for ask in (
        missing.read,
        lambda: missing.write(Keyring(current=OLD)),
        SecretsManagerSecrets(secretsmanager, "missing").current,
    ):
        with pytest.raises(Unavailable, match="ResourceNotFound"):
            ask()
    client = boto_session.client("secretsmanager", endpoint_url=UNREACHABLE, config=Config(retries={"max_attempts": 0}))
    with pytest.raises(Unavailable):
        SecretsManagerKeyring(client, "any").read()


# ------------------------------------------------------------------ CloudFront's KeyValueStore


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def edge_session(
    endpoints: Endpoints, emulator_session: boto3.Session, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> Iterator[boto3.Session]:
    """Return a session that finds the emulator by environment variables alone, and whose calls are recorded."""
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)
    resolve_names_under_localhost()
    with recording(endpoints.edge, calls) as proxy:
        url = proxy.replace("127.0.0.1", "localhost")
        for variable, value in endpoints.environment().items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE", url)
        yield emulator_session


@pytest.fixture
def arn(edge_session: boto3.Session) -> str:
    made = edge_session.client("cloudfront").create_key_value_store(Name=f"test-{uuid.uuid4().hex[:8]}")
    return str(made["KeyValueStore"]["ARN"])


@pytest.fixture
def kvs(edge_session: boto3.Session) -> Any:
    return edge_session.client("cloudfront-keyvaluestore", config=SIGV4A_CALLS)


@pytest.fixture
def edge(kvs: Any, arn: str) -> KeyValueStoreSecrets:
    return KeyValueStoreSecrets(kvs, arn)


def test_edge_store_keeps_secrets_in_order(edge, kvs, arn, caplog):
    """They are separated by a space, and nowhere else."""
    caplog.set_level(logging.INFO)
    known = edge.read()
    assert (known.secrets, bool(known.version)) == ((), True)
    edge.write([OLD], known)
    edge.write([NEW, OLD], edge.read())
    assert edge.read().secrets == (NEW, OLD)
    assert kvs.get_key(KvsARN=arn, Key="url-signing-secrets")["Value"] == f"{NEW} {OLD}"
    assert OLD not in repr(edge.read()) + caplog.text


def test_stale_edge_write_conflicts(edge):
    known = edge.read()
    edge.write([NEW], edge.read())
    with pytest.raises(WriteConflict):
        edge.write([NEWEST], known)
    assert edge.read().secrets == (NEW,)


def test_change_during_read_makes_write_conflict(edge, kvs, arn):
    def overtake(**_: Any) -> None:
        kvs.meta.events.unregister("before-call.cloudfront-keyvaluestore.GetKey", overtake)
        version = kvs.describe_key_value_store(KvsARN=arn)["ETag"]
        kvs.put_key(KvsARN=arn, Key=KEY, Value=NEW, IfMatch=version)

    kvs.meta.events.register("before-call.cloudfront-keyvaluestore.GetKey", overtake)
    known = edge.read()
    assert known.secrets == (NEW,)
    with pytest.raises(WriteConflict):
        edge.write([NEWEST], known)


def test_missing_key_value_store_is_unavailable(kvs):
    gone = KeyValueStoreSecrets(kvs, "arn:aws:cloudfront::000000000000:key-value-store/never")
    with pytest.raises(Unavailable, match="ResourceNotFound"):
        gone.read()
    with pytest.raises(Unavailable, match="ResourceNotFound"):
        gone.write([OLD], KnownToEdge((), "version"))


def test_unreachable_key_value_store_is_unavailable(edge_session, arn, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE", "http://localhost:9")
    client = edge_session.client("cloudfront-keyvaluestore", config=Config(retries={"max_attempts": 0}))
    with pytest.raises(Unavailable):
        KeyValueStoreSecrets(client, arn).read()


def test_edge_requests_are_signed_with_sigv4a(edge, calls):
    edge.write([OLD], edge.read())
    data = [call for call in calls if call.path.startswith("/key-value-stores/")]
    assert [call.method for call in data] == ["GET", "GET", "PUT"]
    for call in data:
        assert call.headers["host"].startswith("000000000000.localhost:")
        assert call.headers["authorization"].startswith("AWS4-ECDSA-P256-SHA256 ")
        assert call.headers["x-amz-region-set"] == "*"
