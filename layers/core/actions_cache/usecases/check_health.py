"""Checks whether table, bucket and queue answer, and this release may work on the tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actions_cache.ports import Bucket, MergeQueue, Table, Unavailable
from actions_cache.usecases.check_schema import CheckSchema


@dataclass(frozen=True, slots=True)
class CheckHealth:
    check_schema: CheckSchema
    table: Table
    bucket: Bucket
    queue: MergeQueue

    def __call__(self) -> Mapping[str, str]:
        """What is wrong, by component; empty when all is well."""
        checks: Mapping[str, Callable[[], None]] = {
            "schema": self.check_schema,
            "table": self.table.check,
            "bucket": self.bucket.check,
            "queue": self.queue.check,
        }
        return {name: fault for name, check in checks.items() if (fault := _fault(check))}


def _fault(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Unavailable as error:
        return str(error)
    return None
