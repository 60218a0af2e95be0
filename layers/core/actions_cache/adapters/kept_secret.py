"""Reads a secret every so often; while Secrets Manager fails, the last value stands in."""

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from actions_cache.adapters.aws import answers
from actions_cache.ports import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)

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
