"""Records the requests to the table, with the units that each one consumed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dev.services import AllServices


@dataclass(frozen=True)
class TableRequest:
    operation: str
    units: float
    """Read or write units by the emulator's count; MiniStack's isn't DynamoDB's."""
    examined: int
    """Number of items that a query read, whether it returned them or not."""


@contextmanager
def hooked(client: Any, event: str, handler: Callable[..., None]) -> Iterator[None]:
    """Handle an event of a boto3 client: its requests and answers are seen nowhere else."""
    client.meta.events.register(event, handler)
    try:
        yield
    finally:
        client.meta.events.unregister(event, handler)


@contextmanager
def metered(services: AllServices) -> Iterator[list[TableRequest]]:
    """Yield the list of the block's requests, in the order in which they were answered."""
    client = services.table._connection.client
    requests: list[TableRequest] = []

    def want_units(params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def note(parsed: dict[str, Any], model: Any, **_: object) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        units = sum(part["CapacityUnits"] for part in (consumed if isinstance(consumed, list) else [consumed]))
        requests.append(TableRequest(model.name, units, parsed.get("ScannedCount", 0)))

    with (
        hooked(client, "provide-client-params.dynamodb.*", want_units),
        hooked(client, "after-call.dynamodb.*", note),
    ):
        yield requests
