"""The tokens of those who manage this server, in Secrets Manager, as JSON: `{"admin": "...", "read_only": "..."}`.

Only `admin` is required; the template has it generated. Without the other, domain/role.py says what it is.
"""

import re
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from actions_cache.adapters.kept_secret import KeptSecret
from actions_cache.domain.role import ManagementTokens
from actions_cache.ports import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHED_SECONDS = 60
"""Longer: a token that was replaced is believed longer. Shorter: more requests, each a few ms and a part of a cent."""

KEPT_SECONDS = 3600
"""How old what was read may be when it can't be read anew. Longer: an outage of Secrets Manager's is survived longer.
Shorter: a token that was replaced during one is believed for less long."""

_USABLE = re.compile(r"[!-~]{32,256}")
"""Shorter ones can be guessed: nothing counts who tries."""

_TOKENS: TypeAdapter[ManagementTokens] = TypeAdapter(ManagementTokens)


class SecretsManagerTokens:
    """See ports.ManagementSecret. A wrong token is no reason to read again, or anybody could have us ask."""

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._secret = KeptSecret(client, secret_id)

    def tokens(self) -> ManagementTokens:
        return parse_tokens(self._secret.text(CACHED_SECONDS, KEPT_SECONDS))


def parse_tokens(value: str) -> ManagementTokens:
    """Raises: Unavailable: it isn't such a secret, and says how it should be, not what it is."""
    try:
        tokens = _TOKENS.validate_json(value)
    except ValidationError:
        tokens = None
    if tokens is None or not all(map(_USABLE.fullmatch, (tokens.admin, tokens.for_reading))):
        raise Unavailable(
            'the management secret isn\'t JSON like {"admin": "...", "read_only": "..."}, with 32 to 256 ASCII '
            "characters and no space in each: put such a value (aws secretsmanager put-secret-value)"
        )
    return tokens
