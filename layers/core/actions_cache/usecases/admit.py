"""Before a key is reserved: may this repository begin another upload, and what is it called?"""

from dataclasses import dataclass, field

from actions_cache.domain.access import Caller
from actions_cache.domain.errors import TooManyRequests
from actions_cache.domain.repository import Repository
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Clock, Repositories

MINUTE: Millis = 60 * SECOND

MOST_NOTED = 10_000
"""Repositories that a process remembers, some 2 MB. At the limit it forgets all, which costs another read for each."""


@dataclass(frozen=True, slots=True)
class Admit:
    """Args: creates_per_minute: of one repository; None for no limit."""

    repositories: Repositories
    clock: Clock
    creates_per_minute: int | None
    _noted: dict[str, str | None] = field(default_factory=dict)
    """What this process knows to be noted."""

    def __call__(self, caller: Caller) -> None:
        """Raises: TooManyRequests."""
        self._note_name(caller)
        if self.creates_per_minute is None:
            return
        minute, into_it = divmod(self.clock.now(), MINUTE)
        if self.repositories.count_create(caller.repository, minute) > self.creates_per_minute:
            raise TooManyRequests(
                f"this repository has begun {self.creates_per_minute} uploads in this minute, and may begin no more "
                "before the next (CREATES_PER_MINUTE)",
                retry_after_seconds=max(1, (MINUTE - into_it) // SECOND),
            )

    def _note_name(self, caller: Caller) -> None:
        """A token without a name takes none away."""
        repository, name = caller.repository, caller.repository_name
        if repository in self._noted and name in (None, self._noted[repository]):
            return
        known = self.repositories.repository(repository)
        if known is None or name not in (None, known.name):
            self.repositories.note(Repository(repository, name, self.clock.now()))
        if len(self._noted) >= MOST_NOTED:
            self._noted.clear()
        self._noted[repository] = name or (known.name if known else None)
