"""Checks whether this release may work on the tables, asked before it does."""

from dataclasses import dataclass

from actions_cache.domain.schema import admitted, refusal
from actions_cache.ports import SchemaVersion, Unavailable, WriteConflict
from actions_cache.usecases.transition import MAX_ROUNDS


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
            seen = self.schema.read()
            if (reason := refusal(seen)) is not None:
                raise NewerSchema(reason)
            by = admitted(seen)
            if by == seen:
                return
            try:
                self.schema.write(seen, by)
            except WriteConflict:
                continue  # Another function starts too.
            return
        raise Unavailable("too many functions note the tables' version at once")
