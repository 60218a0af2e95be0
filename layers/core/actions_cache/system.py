"""The clock and the random numbers of the machine."""

import secrets
import time

from actions_cache.domain.timing import Millis


class SystemClock:
    """See ports.Clock."""

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000


class RandomTokens:
    """See ports.TokenSource."""

    def new(self) -> str:
        return secrets.token_hex(16)
