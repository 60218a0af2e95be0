"""What the table was asked, and the read units that it says each request took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dev.services import AllServices


@dataclass(frozen=True)
class QueryParams:
    operation: str
    units: float
    """Read or write units, as the engine reckons them; MiniStack doesn't reckon as DynamoDB does."""
    examined: int
    """Items that a query looked at, whether it gave them or not."""


@contextmanager
def hooked(client: Any, event: str, handler: Callable[..., None]) -> Iterator[None]:
    """What boto3 sends and gets is seen nowhere else."""
    client.meta.events.register(event, handler)
    try:
        yield
    finally:
        client.meta.events.unregister(event, handler)


@contextmanager
def metered(services: AllServices) -> Iterator[list[QueryParams]]:
    """What is asked in the block, in the order in which the answers came."""
    client = services.table._connection.client
    asked: list[QueryParams] = []

    def want_units(params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def note(parsed: dict[str, Any], model: Any, **_: object) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        units = sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))
        asked.append(QueryParams(model.name, units, parsed.get("ScannedCount", 0)))

    with (
        hooked(client, "provide-client-params.dynamodb.*", want_units),
        hooked(client, "after-call.dynamodb.*", note),
    ):
        yield asked
