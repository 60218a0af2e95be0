"""Times as the tables store them, and the lifetimes of what is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from actions_cache.domain.entry_class import EntryClass

Millis = int
"""Milliseconds: a duration, or for names that end in `_at` or `_until`, a time since 1970."""

SECOND: Millis = 1000
DAY: Millis = 24 * 3600 * SECOND

SEND_TIMEOUT: Millis = 60 * SECOND
"""Time after which a claim counts as abandoned if its message wasn't noted as sent: no send takes longer, even with
botocore's retries. Longer: a merge waits longer after a crash. Shorter: a slow send is overtaken, and its message
void."""

FAILED_MERGE_RETRY: Millis = DAY
"""Time after which a failed merge, which has raised its alarm, may be claimed again. Longer: archives stay unmerged
after the cause is gone. Shorter: more runs fail while it lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """The durations from the settings, in milliseconds."""

    upload_url: Millis
    download_url: Millis
    """Life of a URL by which a download may begin: of this server's, and of the presigned ones that these lead to."""
    reservation: Millis
    grace: Millis
    """Time for which parts are kept after their last reader may have been sent to them (settings.grace_seconds)."""
    unused: Mapping[EntryClass, Millis] = field(hash=False)
    """How long an entry of each class lives after its last use."""
    merge_lease: Millis
    queue_retention: Millis

    @property
    def unused_entry(self) -> Millis:
        """Return how long any entry lives at most after its last use."""
        return max(self.unused.values())

    def use_resolution(self, entry_class: EntryClass) -> Millis:
        """Return the shortest time between two noted uses of an entry, so that not every lookup writes."""
        return self.unused[entry_class] // 100

    @property
    def last_use_resolution(self) -> Millis:
        """Return the longest time for which an entry's use may not be noted, whatever its class."""
        return self.unused_entry // 100

    @property
    def late_arrival(self) -> Millis:
        """Return how long after the expiry of its URL a PUT may still end: as long as the URL was valid."""
        return self.upload_url
