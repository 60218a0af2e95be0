"""Records what each flow asks of each service, from its real requests, in units of the limits that they meet."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from dev.bench.lookups import add_entries
from dev.clients.driver import REPOSITORY, CacheDriver, name
from dev.emulation.dynamodb_usage import hooked

KILOBYTE = 1024
TRANSACTION = 2
"""Write units for each kilobyte in a transaction; a write by itself takes one.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html."""

READS = {"GetItem", "BatchGetItem", "Query"}


@dataclass
class Asked:
    """Holds what one flow asks, as amounts by limit."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests by service and operation."""
    units: Counter[str] = field(default_factory=Counter)
    """DynamoDB's units by partition and direction."""


class Recorder:
    """Counts a driver's requests while a flow runs."""

    def __init__(self, driver: CacheDriver) -> None:
        self._driver = driver
        settings = driver.services.settings
        self._tables = {
            settings.entries_table: "entries",
            settings.reservations_table: "reservations",
            settings.archives_table: "archives",
            settings.repositories_table: "repositories",
        }

    @contextmanager
    def recorded(self) -> Iterator[Asked]:
        asked, services = Asked(), self._driver.services

        def note(params: dict[str, Any], model: Any, **_: object) -> None:
            asked.requests[f"{model.service_model.service_id}: {model.name}"] += 1
            if model.service_model.service_name == "dynamodb":
                body = params["body"]
                self._note_units(model.name, json.loads(body), asked.units)

        with ExitStack() as stack:
            for client in (services.table._connection.client, services.bucket._s3, services.queue._sqs):
                stack.enter_context(hooked(client, "before-call", note))
            yield asked

    def _note_units(self, operation: str, request: Mapping[str, Any], units: Counter[str]) -> None:
        if operation == "TransactWriteItems":
            for item in request["TransactItems"]:
                [(kind, write)] = item.items()
                self._note_write(write, TRANSACTION, units, is_check=kind == "ConditionCheck")
        elif operation in READS:
            tables = request.get("RequestItems") or {request["TableName"]: {"Keys": [request]}}
            for table, wanted in tables.items():
                # Each finds less than the 4 KB of one unit, or nothing, which takes one too.
                for key in wanted["Keys"]:
                    units[f"{self._partition(table, key)}, read"] += 1
        elif operation in ("PutItem", "UpdateItem", "DeleteItem"):
            self._note_write(request, 1, units)

    def _note_write(
        self, write: Mapping[str, Any], factor: int, units: Counter[str], *, is_check: bool = False
    ) -> None:
        table = self._tables[write["TableName"]]
        item = write.get("Item", {})
        size = -(-len(json.dumps(item, separators=(",", ":"))) // KILOBYTE) if item else 1
        units[f"{self._partition(write['TableName'], write)}, write"] += factor * size
        if is_check:
            return
        if table == "entries":
            units["entries of one key's family, write"] += size  # the index by creation is in the same partition
        if table == "archives" and "agenda_shard" in item:
            units["cleanup schedule's index, write"] += 2  # the old place and the new one
            if "repository" in item:
                units["one repository's index of uses, write"] += size

    def _partition(self, table: str, request: Mapping[str, Any]) -> str:
        match self._tables[table]:
            case "repositories":
                return "the store's usage" if '"*"' in json.dumps(request) else "one repository's counts"
            case "entries":
                return "entries of one key's family"
            case other:
                return f"one item of {other}"


def record(driver: CacheDriver) -> Mapping[str, Asked]:
    """Run each flow once in a process that has met repository and key family before, and return what it asked."""
    recorder, clock = Recorder(driver), driver.clock
    driver.save(name("npm-0"), b"one", b"two")
    driver.merge_all()
    add_entries(driver, "f" * 32, 0, 30)
    driver.look_up("npm-0", "npm-")
    driver.look_up("npm-none", "npm-")
    driver.look_up("pip-none", "pip-")

    def save() -> None:
        driver.services.create_rate_limit.check(REPOSITORY)
        driver.save(name("npm-1"), b"one", b"two")

    flows: dict[str, Callable[[], object]] = {
        "save": save,
        "merge": driver.merge_all,
        "lookup, exact hit": lambda: driver.look_up("npm-1", "npm-"),
        "lookup, hit by a prefix": lambda: driver.look_up("npm-none", "npm-"),
        "lookup, miss": lambda: driver.look_up("pip-none", "pip-"),
    }
    found = {}
    for what, flow in flows.items():
        clock.advance(1)
        with recorder.recorded() as asked:
            flow()
        found[what] = asked
    return found
