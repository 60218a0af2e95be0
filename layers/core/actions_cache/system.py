"""The machine's own clock and randomness."""

import secrets
import time

from actions_cache.domain.timing import Millis


class SystemClock:
    def now(self) -> Millis:
        return time.time_ns() // 1_000_000


class RandomTokens:
    def new(self) -> str:
        return secrets.token_hex(16)
