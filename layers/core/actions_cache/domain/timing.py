"""Time as the tables keep it, and how long things live."""

from dataclasses import dataclass

Millis = int
"""Milliseconds, since 1970 for a moment (`..._at`, `..._until`)."""

SECOND: Millis = 1000
DAY: Millis = 24 * 3600 * SECOND

SEND_TIMEOUT: Millis = 60 * SECOND
"""A claimer that hasn't noted its message as sent by then has died: no send takes twice botocore's retries."""

FAILED_MERGE_RETRY: Millis = DAY
"""A failed merge has raised its alarm; once a day it may try whether what ailed it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """The settings' seconds, as the domain reckons with them."""

    upload_url: Millis
    download_url: Millis
    reservation: Millis
    grace: Millis
    unused_entry: Millis
    merge_lease: Millis
    queue_retention: Millis

    @property
    def last_use_resolution(self) -> Millis:
        """A use is noted once in a hundredth of what keeps an entry alive, not at each lookup."""
        return self.unused_entry // 100

    @property
    def late_arrival(self) -> Millis:
        """A PUT that began in its URL's last second gets as long again to end."""
        return self.upload_url
