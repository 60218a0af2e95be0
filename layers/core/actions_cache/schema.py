"""Checks whether this release may work on the tables, asked before it does."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from actions_cache.activity import note_unnamed
from actions_cache.archives import MAX_ROUNDS, transition
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.schema import admitted, begun_anew, is_whole, migrated, refusal
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Clock, Repositories, SchemaVersion, Table, Unavailable, WriteConflict

logger = logging.getLogger(__name__)


class NewerSchema(Unavailable):
    """A newer release has written into the tables; the message says what to do."""


@dataclass(frozen=True, slots=True)
class CheckSchema:
    schema: SchemaVersion

    def __call__(self) -> None:
        """Says in the tables which shape this release writes, where they don't say so yet.

        Raises: NewerSchema.
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
                continue  # Another function starts too.
            return
        raise Unavailable("too many functions note the tables' version at once")


DEADLINE_MARGIN: Millis = 10 * SECOND
"""A page of the scan, and one write."""

RETRY: Millis = 12 * 3600 * SECOND
"""What can't be migrated now can't in five minutes either, and each try reads the whole table."""


@dataclass(frozen=True, slots=True)
class Migrate:
    table: Table
    repositories: Repositories
    clock: Clock
    schema: SchemaVersion

    def __call__(self, remaining: Callable[[], Millis], *, again: bool = False) -> Counter[str]:
        """Does nothing where all archives have today's shape.

        Args:
            remaining: how much time the worker still has.
            again: looks at all archives even so, for due times by other settings than they were written with.

        Returns: how many archives it saw, rewrote and failed on, and whether it left some for another run.
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
                done["archives migrated" if self._rewritten(archive_id) else "archives not migrated"] += 1
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

    def _rewritten(self, archive_id: str) -> bool:
        try:
            archive = transition(self.table, archive_id, lambda archive: archive)
            if archive is not None and archive.is_stored:
                note_unnamed(self.repositories, archive.name.family.repository, self.clock.now())
        except (Unavailable, TryAgain, ValueError):
            logger.exception("an archive stays as an older release wrote it", extra={"archive_id": archive_id})
            return False
        return True
