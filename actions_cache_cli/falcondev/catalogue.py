"""The entries in its database: SQLite's file, or rows that its database server printed as JSON."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from actions_cache.domain.archive import Past
from actions_cache.domain.timing import Millis
from actions_cache_cli.console import CommandFailed

QUERY = """
SELECT e.key, e.version, e.scope, e."repoId", e."updatedAt", l."folderName", l."partCount", l."mergedAt",
  l."lastDownloadedAt"
FROM cache_entries e JOIN storage_locations l ON l.id = e."locationId"
"""


class Row(BaseModel):
    """An entry there, and where its bytes stand."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    version: str
    scope: str
    repoId: str  # noqa: N815 - its column's name, as the three below
    updatedAt: Millis  # noqa: N815
    folderName: str  # noqa: N815
    partCount: int  # noqa: N815
    mergedAt: Millis | None = None  # noqa: N815
    lastDownloadedAt: Millis | None = None  # noqa: N815

    @property
    def past(self) -> Past:
        return Past(self.updatedAt, max(self.updatedAt, self.lastDownloadedAt or 0))


_ROWS = TypeAdapter(list[Row])


def read_database(path: Path) -> list[Row]:
    """Of its SQLite file, which may be in use. Raises: CommandFailed."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return in_order(_ROWS.validate_python([dict(row) for row in database.execute(QUERY)]))
    except sqlite3.Error as error:
        raise CommandFailed(
            f"{path} can't be read as the SQLite database of github-actions-cache-server 9 ({error}). Databases of "
            "earlier versions don't say whose their entries are; its own upgrade empties them too."
        ) from error
    except ValidationError as error:
        raise CommandFailed(f"{path}: {_first(error)}") from error


def read_rows(path: Path) -> list[Row]:
    """Of one JSON object a line, with QUERY's columns. Raises: CommandFailed."""
    rows = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} can't be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(Row.model_validate(json.loads(line)))
        except ValidationError as error:
            raise CommandFailed(f"{path}, line {number}: {_first(error)}") from error
        except (ValueError, RecursionError) as error:
            raise CommandFailed(f"{path}, line {number}, isn't JSON: {error}") from error
    return in_order(rows)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Oldest first; of two of one name, which nothing there forbids, the newer."""
    newest = {(row.repoId, row.scope, row.version, row.key): row for row in sorted(rows, key=lambda row: row.updatedAt)}
    return sorted(newest.values(), key=lambda row: row.updatedAt)


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
