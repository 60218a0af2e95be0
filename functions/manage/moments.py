"""Moments, as clients write and read them."""

import re
from datetime import UTC, datetime

from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.timing import DAY, SECOND, Millis

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhdw])")
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY}


def shown(at: Millis) -> str:
    """As GitHub's documents have it: `2019-01-24T22:45:36.000Z`."""
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{at % SECOND:03d}Z"


def parse_moment(field: str, text: str, now: Millis) -> Millis:
    """Of `30d` ago (s, m, h, d, w), or of an ISO 8601 time with its zone. Raises InvalidRequest."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - int(ago["count"]) * _UNITS[ago["unit"]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidRequest(
            f"{field}: {text[:50]!r} is neither an age like 30d or 12h, nor a time like 2026-01-31T00:00:00Z"
        )
    return int(at.timestamp()) * SECOND + at.microsecond // 1000
