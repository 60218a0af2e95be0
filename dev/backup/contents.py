"""A backup's file: one JSON document a line, gzipped. Items stand in it as DynamoDB has them.

{"format": 1, "tables": ["EntriesTable", ...]}
{"table": "EntriesTable", "item": {"partition": {"S": "..."}, ...}}
...
{"items": 12345}
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1
ENTRIES, RESERVATIONS, ARCHIVES = "EntriesTable", "ReservationsTable", "ArchivesTable"

Item = dict[str, Any]


class Row(NamedTuple):
    table: str
    """Its logical id in template.yaml."""
    item: Item


class NotABackup(Exception):
    """The message says what is wrong with the file."""


def write(path: Path, tables: Iterable[str], rows: Iterable[Row]) -> int:
    """Beside the file first: one that has the name is whole. Returns how many items are in it."""
    unfinished, count = path.with_name(f"{path.name}.unfinished"), 0
    with gzip.open(unfinished, "wt", encoding="utf-8") as file:
        file.write(json.dumps({"format": FORMAT, "tables": list(tables)}) + "\n")
        for row in rows:
            file.write(json.dumps(row._asdict()) + "\n")
            count += 1
        file.write(json.dumps({"items": count}) + "\n")
    unfinished.replace(path)
    return count


def read(path: Path) -> Iterator[Row]:
    """Raises: NotABackup, as late as at its end, which a file that was cut off lacks."""
    count, last = 0, None
    for document in _documents(path):
        if "item" in document:
            count += 1
            yield Row(document["table"], document["item"])
        last = document
    if last is None or last.get("items") != count:
        raise NotABackup(f"{path} is cut off after {count} items: take another backup")


def tables_in(path: Path) -> list[str]:
    """Raises: NotABackup."""
    head = next(_documents(path), {})
    if head.get("format") != FORMAT:
        raise NotABackup(f"{path} isn't a backup of format {FORMAT}, the only one this release reads")
    return list(head["tables"])


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
    except (EOFError, gzip.BadGzipFile, ValueError) as error:
        raise NotABackup(f"{path} can't be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Fitting:
    """What of a backup fits together.

    Tables are read, or restored by AWS, each by itself, so what was written meanwhile may stand in one and not in the
    other: an entry without its archive would hold its key for ever, and a stored archive without its entry would never
    expire.
    """

    stored: frozenset[str]
    """Archives that have an entry."""
    reserved: frozenset[str]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Fitting":
        entered, stored, reserved = set(), set(), set()
        for table, item in rows:
            if table == ENTRIES:
                entered.add(_archive_id(item))
            elif table == ARCHIVES and _state(item) == "stored":
                stored.add(_archive_id(item))
            elif table == ARCHIVES and _state(item) == "reserved":
                reserved.add(_archive_id(item))
        return cls(frozenset(entered & stored), frozenset(reserved))

    def holds(self, row: Row) -> bool:
        table, item = row
        if table == ENTRIES or (table == ARCHIVES and _state(item) == "stored"):
            return _archive_id(item) in self.stored
        return table != RESERVATIONS or _archive_id(item) in self.reserved


def _archive_id(item: Item) -> str:
    return str(item["archive_id"]["S"])


def _state(item: Item) -> str | None:
    """None for what isn't an archive: the schema version stands among them."""
    return str(item["archive"]["M"]["state"]["S"]) if "archive" in item else None
