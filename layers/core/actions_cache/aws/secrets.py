"""The secrets: signing keys and management tokens in Secrets Manager, and the edge's copy of the signing keys."""

import logging
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import TypeAdapter, ValidationError

from actions_cache.aws.clients import QUICK_CALLS, error_code, translate_errors
from actions_cache.domain.access import ManagementTokens
from actions_cache.domain.signing import Keyring, KnownToEdge
from actions_cache.ports import Unavailable, WriteConflict

if TYPE_CHECKING:
    from mypy_boto3_cloudfront_keyvaluestore import CloudFrontKeyValueStoreClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)

SIGNING_CACHED_SECONDS = 300
"""Seconds for which a function uses the signing secrets that it read. Longer: a replaced secret verifies longer.
Shorter: more reads, which take a few ms and cost a fraction of a cent each."""

SIGNING_KEPT_SECONDS = 720
"""Seconds for which a function uses the signing secrets that it read if it can't read them again. Longer: requests
survive a longer outage of Secrets Manager, but SETTLE (domain/signing.py) must grow, since every function must know a
change before the rotation goes on. Shorter: requests fail sooner."""

_USABLE_SECRET = re.compile(r"[!-~]{16,256}")
"""Form of a signing secret. Shorter ones could be guessed from one URL; spaces separate secrets at the edge, where all
of them must fit 1,024 characters:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/kvs-with-functions-create-s3-kvp.html."""

_KEYRING: TypeAdapter[Keyring] = TypeAdapter(Keyring)

MANAGEMENT_CACHED_SECONDS = 60
"""Seconds for which a function uses the management tokens that it read. Longer: a replaced token is accepted longer.
Shorter: more reads, which take a few ms and cost a fraction of a cent each."""

MANAGEMENT_KEPT_SECONDS = 3600
"""Seconds for which a function uses the management tokens that it read if it can't read them again. Longer: management
survives a longer outage of Secrets Manager. Shorter: a token that is replaced during an outage is accepted less
long."""

_USABLE_TOKEN = re.compile(r"[!-~]{32,256}")
"""Form of a management token. Shorter ones could be guessed, since nothing limits the number of attempts."""

_TOKENS: TypeAdapter[ManagementTokens] = TypeAdapter(ManagementTokens)

RETRY_SECONDS = 5
"""Seconds from a failed read to the next one, during which the last value is used: not every request waits for Secrets
Manager during an outage. Longer: a new value is noticed later after an outage. Shorter: more requests wait."""

KEY = "url-signing-secrets"
"""Key in the edge's KeyValueStore. Its value is the signing secrets, separated by spaces, which
functions/edge/viewer_request.js reads."""

SIGV4A_CALLS = QUICK_CALLS.merge(Config(signature_version="v4a"))
"""Configuration of the KeyValueStore's client: this service alone requires SigV4A, and QUICK_CALLS sets SigV4."""


# ---------------------------------------------------------------- secrets that functions cache


class SecretsManagerSecrets:
    """See urls.SigningSecrets.

    A URL that doesn't verify is no reason to read again, or anybody could make each request cause a read. When a secret
    begins to sign, every cache has it (domain/signing.py).
    """

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._secret = KeptSecret(client, secret_id)

    def current(self) -> tuple[str, ...]:
        return parse_keyring(self._secret.text(SIGNING_CACHED_SECONDS, SIGNING_KEPT_SECONDS)).verifying


class SecretsManagerTokens:
    """Reads the management tokens. A wrong token is no reason to read them again, or anybody could cause reads."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._secret = KeptSecret(client, secret_id)

    def tokens(self) -> ManagementTokens:
        return parse_tokens(self._secret.text(MANAGEMENT_CACHED_SECONDS, MANAGEMENT_KEPT_SECONDS))


class _Known(NamedTuple):
    """A secret that was read."""

    text: str
    at: float
    """Time at which the read began; later writes may be missing."""

    def is_younger_than(self, seconds: float) -> bool:
        """Return whether the secret is younger. If the clock was set back, it counts as too old."""
        return 0 <= time.time() - self.at < seconds


class KeptSecret:
    """The cached text of one secret.

    Its age is measured by the wall clock, since a monotonic one may stop while Lambda freezes the process.
    """

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id
        self._known: _Known | None = None
        self._failed_at = float("-inf")

    def text(self, cached_seconds: float, kept_seconds: float) -> str:
        """Return the secret's text, which may have this age.

        Args:
            cached_seconds: The highest age.
            kept_seconds: The highest age if the secret can't be read again.

        Raises:
            Unavailable: the secret can't be read, and no text of this age is known.
        """
        known = self._known
        if known and known.is_younger_than(cached_seconds):
            return known.text
        has_just_failed = 0 <= time.time() - self._failed_at < RETRY_SECONDS
        if known and has_just_failed and known.is_younger_than(kept_seconds):
            return known.text
        try:
            self._known = self._read()
        except Unavailable as error:
            self._failed_at = time.time()
            if known is None or not known.is_younger_than(kept_seconds):
                raise
            logger.warning("a secret can't be read anew, so its last value stands in: %s", error)
            return known.text
        return self._known.text

    def _read(self) -> _Known:
        began = time.time()
        with translate_errors():
            return _Known(self._client.get_secret_value(SecretId=self._secret_id)["SecretString"], began)


# ---------------------------------------------------------------- rotation


class SecretsManagerKeyring:
    """See rotate.KeyringStore. Reads and writes bypass every cache."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def read(self) -> Keyring:
        with translate_errors():
            return parse_keyring(self._client.get_secret_value(SecretId=self._secret_id)["SecretString"])

    def write(self, ring: Keyring) -> None:
        value = _KEYRING.dump_json(ring, exclude_none=True).decode()
        with translate_errors():
            self._client.put_secret_value(SecretId=self._secret_id, SecretString=value)


class KeyValueStoreSecrets:
    """See rotate.EdgeSecrets. The version is the store's ETag."""

    def __init__(self, client: "CloudFrontKeyValueStoreClient", arn: str) -> None:
        """Use a KeyValueStore.

        Args:
            client: A client that was made with SIGV4A_CALLS.
            arn: The KeyValueStore's ARN.
        """
        self._client = client
        self._arn = arn

    def read(self) -> KnownToEdge:
        with translate_errors():
            # The version is read first, so that a change after it makes a write with this version fail.
            version = self._client.describe_key_value_store(KvsARN=self._arn)["ETag"]
            try:
                value = self._client.get_key(KvsARN=self._arn, Key=KEY)["Value"]
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                value = ""
        return KnownToEdge(tuple(value.split()), version)

    def write(self, secrets: Sequence[str], current: KnownToEdge) -> None:
        with translate_errors():
            try:
                self._client.put_key(KvsARN=self._arn, Key=KEY, Value=" ".join(secrets), IfMatch=current.version)
            except ClientError as error:
                if error_code(error) in ("ConflictException", "PreconditionFailed"):
                    raise WriteConflict(KEY) from error
                raise


# ---------------------------------------------------------------- their values


def parse_keyring(value: str) -> Keyring:
    """Return the keyring with this value.

    Raises:
        Unavailable: the value isn't a keyring. The message has the required form, but not the value.
    """
    try:
        ring = _KEYRING.validate_json(value)
    except ValidationError:
        ring = None
    if ring is None or not all(map(_USABLE_SECRET.fullmatch, ring.verifying)):
        raise Unavailable(
            'the signing secret isn\'t JSON like {"current": "..."}, with 16 to 256 ASCII characters and no space in '
            "each: put such a value (aws secretsmanager put-secret-value), then invoke RotateFunction to tell the edge"
        )
    return ring


def parse_tokens(value: str) -> ManagementTokens:
    """Return the management tokens with this value.

    Raises:
        Unavailable: the value isn't such tokens. The message has the required form, but not the value.
    """
    try:
        tokens = _TOKENS.validate_json(value)
    except ValidationError:
        tokens = None
    if tokens is None or not all(map(_USABLE_TOKEN.fullmatch, (tokens.admin, tokens.for_reading))):
        raise Unavailable(
            'the management secret isn\'t JSON like {"admin": "...", "read_only": "..."}, with 32 to 256 ASCII '
            "characters and no space in each: put such a value (aws secretsmanager put-secret-value)"
        )
    return tokens
