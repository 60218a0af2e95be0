"""Whether table, bucket and queue answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actions_cache.ports import Bucket, MergeQueue, Table, Unavailable


@dataclass(frozen=True, slots=True)
class CheckHealth:
    table: Table
    bucket: Bucket
    queue: MergeQueue

    def __call__(self) -> Mapping[str, str]:
        """What is wrong, by component; empty when all is well."""
        checks: Mapping[str, Callable[[], None]] = {
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
