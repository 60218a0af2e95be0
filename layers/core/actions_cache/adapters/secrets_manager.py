"""The signing secrets in Secrets Manager, as JSON: `{"current": "...", "next": "...", "previous": "...", ...}`.

Only `current` is required; the template has it generated (domain/keyring.py has the rest).
"""

import re
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from actions_cache.adapters.aws import answers
from actions_cache.adapters.kept_secret import KeptSecret
from actions_cache.domain.keyring import Keyring
from actions_cache.ports import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHED_SECONDS = 300
"""Longer: a rotated secret is believed longer. Shorter: more requests, each a few ms and a part of a cent."""

KEPT_SECONDS = 720
"""How old what was read may be when it can't be read anew. Longer: an outage of Secrets Manager's is survived longer,
and SETTLE (domain/keyring.py) must grow: functions must know a change before the rotation goes on. Shorter: requests
fail sooner."""

_USABLE = re.compile(r"[!-~]{16,256}")
"""Short ones can be guessed from one URL, spaces separate them at the edge, whose values end at 1,024 characters:
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/kvs-with-functions-create-s3-kvp.html."""

_KEYRING: TypeAdapter[Keyring] = TypeAdapter(Keyring)


class SecretsManagerSecrets:
    """See ports.SigningSecrets.

    A URL that doesn't verify is no reason to read again, or anybody could have us ask for each request: by the time
    that a secret signs, every cache has it (domain/keyring.py).
    """

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._secret = KeptSecret(client, secret_id)

    def current(self) -> tuple[str, ...]:
        return parse_keyring(self._secret.text(CACHED_SECONDS, KEPT_SECONDS)).verifying


class SecretsManagerKeyring:
    """See ports.KeyringStore. Reads and writes past any cache."""

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
    if ring is None or not all(map(_USABLE.fullmatch, ring.verifying)):
        raise Unavailable(
            'the signing secret isn\'t JSON like {"current": "..."}, with 16 to 256 ASCII characters and no space in '
            "each: put such a value (aws secretsmanager put-secret-value), then invoke RotateFunction to tell the edge"
        )
    return ring
