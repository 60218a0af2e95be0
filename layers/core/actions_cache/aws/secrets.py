"""Read and rotate the secrets: signing keys, management tokens, and what the edge verifies by."""

import logging
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import TypeAdapter, ValidationError

from actions_cache.aws.clients import QUICK_CALLS, answers, error_code
from actions_cache.domain.access import ManagementTokens
from actions_cache.domain.signing import Keyring, KnownToEdge
from actions_cache.ports import Unavailable, WriteConflict

if TYPE_CHECKING:
    from mypy_boto3_cloudfront_keyvaluestore import CloudFrontKeyValueStoreClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)


SIGNING_CACHED_SECONDS = 300
"""Longer: a rotated secret is believed longer. Shorter: more requests, each a few ms and a part of a cent."""

SIGNING_KEPT_SECONDS = 720
"""How old what was read may be when it can't be read anew. Longer: an outage of Secrets Manager's is survived longer,
and SETTLE (domain/signing.py) must grow: functions must know a change before the rotation goes on. Shorter: requests
fail sooner."""

_USABLE_SECRET = re.compile(r"[!-~]{16,256}")
"""Short ones can be guessed from one URL, spaces separate them at the edge, whose values end at 1,024 characters:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/kvs-with-functions-create-s3-kvp.html."""

_KEYRING: TypeAdapter[Keyring] = TypeAdapter(Keyring)


class SecretsManagerSecrets:
    """See urls.SigningSecrets.

    A URL that doesn't verify is no reason to read again, or anybody could have us ask for each request: by the time
    that a secret signs, every cache has it (domain/signing.py).
    """

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._secret = KeptSecret(client, secret_id)

    def current(self) -> tuple[str, ...]:
        return parse_keyring(self._secret.text(SIGNING_CACHED_SECONDS, SIGNING_KEPT_SECONDS)).verifying


class SecretsManagerKeyring:
    """See rotate.KeyringStore. Reads and writes past any cache."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    def read(self) -> Keyring:
        with answers():
            return parse_keyring(self._client.get_secret_value(SecretId=self._secret_id)["SecretString"])

    def write(self, ring: Keyring) -> None:
        value = _KEYRING.dump_json(ring, exclude_none=True).decode()
        with answers():
            self._client.put_secret_value(SecretId=self._secret_id, SecretString=value)


def parse_keyring(value: str) -> Keyring:
    """Raises: Unavailable: it isn't one, and says how it should be, not what it is."""
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


MANAGEMENT_CACHED_SECONDS = 60
"""Longer: a token that was replaced is believed longer. Shorter: more requests, each a few ms and a part of a cent."""

MANAGEMENT_KEPT_SECONDS = 3600
"""How old what was read may be when it can't be read anew. Longer: an outage of Secrets Manager's is survived longer.
Shorter: a token that was replaced during one is believed for less long."""

_USABLE_TOKEN = re.compile(r"[!-~]{32,256}")
"""Shorter ones can be guessed: nothing counts who tries."""

_TOKENS: TypeAdapter[ManagementTokens] = TypeAdapter(ManagementTokens)


class SecretsManagerTokens:
    """See ports.ManagementSecret. A wrong token is no reason to read again, or anybody could have us ask."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._secret = KeptSecret(client, secret_id)

    def tokens(self) -> ManagementTokens:
        return parse_tokens(self._secret.text(MANAGEMENT_CACHED_SECONDS, MANAGEMENT_KEPT_SECONDS))


def parse_tokens(value: str) -> ManagementTokens:
    """Raises: Unavailable: it isn't such a secret, and says how it should be, not what it is."""
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


KEY = "url-signing-secrets"
"""Its value: the secrets, separated by a space. functions/edge/viewer_request.js reads it."""


SIGV4A_CALLS = QUICK_CALLS.merge(Config(signature_version="v4a"))
"""The others' signature would override the one that this service alone asks for."""


class KeyValueStoreSecrets:
    """See rotate.EdgeSecrets. The version is the store's ETag.

    Args:
        client: made with SIGV4A_CALLS.
        arn: of the KeyValueStore.
    """

    def __init__(self, client: "CloudFrontKeyValueStoreClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    def read(self) -> KnownToEdge:
        """The version first: what changes after it makes a write by it fail."""
        with answers():
            version = self._client.describe_key_value_store(KvsARN=self._arn)["ETag"]
            try:
                value = self._client.get_key(KvsARN=self._arn, Key=KEY)["Value"]
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                value = ""
        return KnownToEdge(tuple(value.split()), version)

    def write(self, secrets: Sequence[str], current: KnownToEdge) -> None:
        with answers():
            try:
                self._client.put_key(KvsARN=self._arn, Key=KEY, Value=" ".join(secrets), IfMatch=current.version)
            except ClientError as error:
                if error_code(error) in ("ConflictException", "PreconditionFailed"):
                    raise WriteConflict(KEY) from error
                raise


RETRY_SECONDS = 5
"""Between a read that failed and the next while the last value stands in: one request waits for a store that is down,
not each. Longer: a new value is noticed later after an outage. Shorter: more requests wait."""


class _Known(NamedTuple):
    text: str
    at: float
    """When the read began: whatever was written later may be missing."""

    def is_good(self, seconds: float) -> bool:
        """Return whether it is younger than this. A clock that was set back makes it too old."""
        return 0 <= time.time() - self.at < seconds


class KeptSecret:
    """Holds the text of one secret.

    Ages go by the wall clock: a monotonic one may stand still while Lambda freezes the process.
    """

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id
        self._known: _Known | None = None
        self._failed_at = float("-inf")

    def text(self, cached_seconds: float, kept_seconds: float) -> str:
        """Return it as it was at most so long ago.

        Args:
            cached_seconds: how old it may be.
            kept_seconds: how old it may be when it can't be read anew.

        Raises:
            Unavailable: it can't be read, and none that is young enough is known.
        """
        known = self._known
        if known and known.is_good(cached_seconds):
            return known.text
        has_just_failed = 0 <= time.time() - self._failed_at < RETRY_SECONDS
        if known and has_just_failed and known.is_good(kept_seconds):
            return known.text
        try:
            self._known = self._read()
        except Unavailable as error:
            self._failed_at = time.time()
            if known is None or not known.is_good(kept_seconds):
                raise
            logger.warning("a secret can't be read anew, so its last value stands in: %s", error)
            return known.text
        return self._known.text

    def _read(self) -> _Known:
        began = time.time()
        with answers():
            return _Known(self._client.get_secret_value(SecretId=self._secret_id)["SecretString"], began)
