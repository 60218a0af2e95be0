"""Check that this release knows the tables' schema version, and migrate archives to the newest one."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from actions_cache.activity import note_unnamed
from actions_cache.archives import MAX_ROUNDS, transition
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.schema import Schema, admitted, begun_anew, is_whole, migrated, refusal
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Clock, Repositories, Table, Unavailable, WriteConflict

logger = logging.getLogger(__name__)

DEADLINE_MARGIN: Millis = 10 * SECOND
"""Time that is left for a page of the scan and one write. Less: the function may be stopped before it has noted how far
it came. More: less is migrated in one run."""

RETRY: Millis = 12 * 3600 * SECOND
"""Time until failed migrations are tried again. Each try reads the whole table, and an archive that can't be migrated
now can't in five minutes either."""


class NewerSchema(Unavailable):
    """Raised when a newer release has written into the tables; the message says what to do."""


class SchemaVersion(Protocol):
    """Stores the version of the tables' items, with the archives so that a backup of them has both."""

    def read(self) -> Schema | None:
        """Return the version; None if the tables are new and nothing has said so yet."""
        ...

    def write(self, current: Schema | None, updated: Schema) -> None:
        """Replace the version that was read.

        Raises:
            WriteConflict: something else was written since it was read.
        """
        ...


@dataclass(frozen=True, slots=True)
class CheckSchema:
    schema: SchemaVersion

    def __call__(self) -> None:
        """Record in the tables the schema version that this release writes, unless they have it already.

        Raises:
            NewerSchema: a newer release has written into the tables.
            Unavailable: other functions record it at the same time, again and again.
        """
        for _ in range(MAX_ROUNDS):
            current = self.schema.read()
            if (reason := refusal(current)) is not None:
                raise NewerSchema(reason)
            updated = admitted(current)
            if updated == current:
                return
            try:
                self.schema.write(current, updated)
            except WriteConflict:
                continue  # another function starts too
            return
        raise Unavailable("too many functions note the tables' version at once")


@dataclass(frozen=True, slots=True)
class Migrate:
    table: Table
    repositories: Repositories
    clock: Clock
    schema: SchemaVersion

    def __call__(self, remaining: Callable[[], Millis], *, again: bool = False) -> Counter[str]:
        """Rewrite archives of older schema versions; do nothing if there are none.

        Args:
            remaining: returns the time that this run still has.
            again: true to look at all archives even so, since changed settings change their due times.

        Returns:
            The numbers of archives looked at, migrated and not migrated, and whether some are left for another run.
        """
        done: Counter[str] = Counter()
        current = self.schema.read()
        updated = admitted(current)
        if not again and (is_whole(updated) or self.clock.now() < updated.again_at):
            return done
        for archive_id, is_outdated in self.table.all_archives(updated.migrated_up_to):
            if remaining() < DEADLINE_MARGIN:
                done["left for another run"] = 1
                break
            done["archives looked at"] += 1
            if is_outdated:
                done["archives migrated" if self._rewrite(archive_id) else "archives not migrated"] += 1
            if not done["archives not migrated"]:
                updated = replace(updated, migrated_up_to=archive_id)
        else:
            updated = (
                migrated(updated)
                if not done["archives not migrated"]
                else begun_anew(updated, self.clock.now() + RETRY)
            )
        try:
            self.schema.write(current, updated)
        except WriteConflict:
            logger.info("another migration runs too")
        return +done

    def _rewrite(self, archive_id: str) -> bool:
        """Rewrite the archive, and return whether that succeeded."""
        try:
            archive = transition(self.table, archive_id, lambda archive: archive)
            if archive is not None and archive.is_stored:
                note_unnamed(self.repositories, archive.name.family.repository, self.clock.now())
        except (Unavailable, TryAgain, ValueError):
            logger.exception("an archive stays as an older release wrote it", extra={"archive_id": archive_id})
            return False
        return True
