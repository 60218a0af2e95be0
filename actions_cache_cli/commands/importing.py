"""`import`: what another cache server saved."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import click

from actions_cache.adapters.aws import s3_client
from actions_cache.domain.access import GITHUB, qualified
from actions_cache.domain.entry import EntryFamily, EntryName, check_name
from actions_cache.domain.errors import CacheError
from actions_cache.ports import Unavailable
from actions_cache.usecases.import_entry import Imported, Piece
from actions_cache.wiring.operator import OperatorPlane
from actions_cache_cli.console import CommandFailed, Output, amount, counted
from actions_cache_cli.falcondev.catalogue import Row, read_database, read_rows
from actions_cache_cli.falcondev.storage import Bringer, BucketStorage, FolderStorage, Storage, Unusable
from actions_cache_cli.options import changes, on_server

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

WOULD = "would be imported"
UNUSABLE = "unusable"
FAILED = "failed"


@click.group("import")
def import_() -> None:
    """Take over what another cache server saved."""


@dataclass(frozen=True)
class Chosen:
    """Which entries, and what their repository is called here.

    Args:
        issuer: of the tokens that they were saved with.
        repositories: ids there, with their ids here; empty for all.
        scopes: patterns; empty for all.
    """

    issuer: str
    repositories: dict[str, str]
    scopes: Sequence[str]

    def named(self, rows: Iterable[Row]) -> Iterator[tuple[Row, EntryName]]:
        for row in rows:
            repository = self.repositories.get(row.repoId, "" if self.repositories else row.repoId)
            is_in_scope = not self.scopes or any(fnmatchcase(row.scope, pattern) for pattern in self.scopes)
            if repository and is_in_scope:
                family = EntryFamily(qualified(repository, self.issuer), row.scope, row.version)
                yield row, EntryName(family, row.key)


@dataclass(frozen=True)
class Result:
    name: EntryName
    size: int
    outcome: str
    because: str = ""

    @property
    def is_trouble(self) -> bool:
        return self.outcome in (UNUSABLE, FAILED, Imported.BEING_SAVED)


@import_.command()
@click.option("--database", type=FILE, help="Its SQLite file (DB_SQLITE_PATH).")
@click.option(
    "--rows", type=FILE, help="Its rows as JSON lines, from Postgres or MySQL: docs/operator.md has the query."
)
@click.option("--directory", type=FOLDER, help="Its folder (STORAGE_FILESYSTEM_PATH).")
@click.option("--bucket", help="Its bucket (STORAGE_S3_BUCKET).")
@click.option(
    "--endpoint-url", metavar="URL", help="Where that bucket is, if not in AWS: bytes go through this machine."
)
@click.option("--profile", help="AWS profile for that bucket. Inside AWS yours must be allowed to read it.")
@click.option(
    "--repository", "repositories", multiple=True, metavar="ID[=ID]", help="Only this one; =ID: kept here as that one."
)
@click.option("--scope", "scopes", multiple=True, metavar="PATTERN", help="Only these refs: refs/heads/*, say.")
@click.option("--issuer", default=GITHUB, show_default=True, help="Whose tokens its jobs had; GHES has its own.")
@changes("Import.")
@on_server
def falcondev(
    server: OperatorPlane,
    output: Output,
    *,
    database: Path | None,
    rows: Path | None,
    directory: Path | None,
    bucket: str | None,
    endpoint_url: str | None,
    profile: str | None,
    repositories: tuple[str, ...],
    scopes: tuple[str, ...],
    issuer: str,
    yes: bool,
) -> int:
    """From falcondev-oss/github-actions-cache-server 9.

    Reads its database and its storage, which stay as they are, and saves each entry here as a job would: reserved,
    uploaded, finalized, merged. Entries keep their age and their last use: the newest still wins a lookup by prefix,
    what was unused for longer than UNUSED_ENTRY_SECONDS isn't brought, and a repository over its budget here loses what
    was unused for the longest. What is here already stays, so a run that broke off, or one beside the running server,
    is just run again.

    A bucket in S3 is copied inside S3; a folder, or a bucket elsewhere, goes through this machine.

    Repositories are the ids in jobs' tokens, there as here. An entry moves to another one only by --repository OLD=NEW.

    Exit code: 0 all is here that can be, 1 something isn't.
    """
    found = read_source(database, rows)
    storage = storage_of(server, directory, bucket, endpoint_url, profile)
    chosen = list(Chosen(issuer, parsed(repositories), scopes).named(found))
    results, size = [], 0
    with output.progress("entries", len(chosen)) as bar:
        for row, name in chosen:
            result = one(server, storage, row, name, acts=yes)
            results.append(result)
            size += result.size
            bar.advance(amount(size))
    output.rows(
        ("repository", "scope", "key", "outcome", "because"),
        (
            (it.name.family.repository, it.name.family.scope, it.name.key, it.outcome, it.because)
            for it in results
            if it.is_trouble
        ),
    )
    output.say(summary(results, len(found), acts=yes))
    output.document({"found": len(found), "entries": [as_json(it) for it in results]})
    return 1 if any(it.is_trouble for it in results) else 0


def read_source(database: Path | None, rows: Path | None) -> list[Row]:
    match database, rows:
        case Path(), None:
            return read_database(database)
        case None, Path():
            return read_rows(rows)
    raise CommandFailed("say where its entries are: --database FILE or --rows FILE")


def storage_of(
    server: OperatorPlane, directory: Path | None, bucket: str | None, endpoint_url: str | None, profile: str | None
) -> Storage:
    control = server.control
    to = Bringer(s3_client(control.session, control.calls), control.settings.bucket)
    if directory and not bucket:
        return FolderStorage(directory, to)
    if not bucket or directory:
        raise CommandFailed("say where its objects are: --bucket NAME or --directory DIRECTORY")
    session = boto3.Session(profile_name=profile) if profile else control.session
    s3 = s3_client(session, control.calls, endpoint_url)
    return BucketStorage(s3, bucket, to, inside_s3=endpoint_url is None)


def parsed(repositories: Sequence[str]) -> dict[str, str]:
    pairs = (repository.partition("=") for repository in repositories)
    return {there: here or there for there, _, here in pairs}


def one(server: OperatorPlane, storage: Storage, row: Row, name: EntryName, *, acts: bool) -> Result:
    """What is wrong with one entry keeps no other from coming."""
    size = 0
    try:
        check_name("key", name.key)
        check_name("version", name.family.version)
        if prevents := server.import_entry.prevented(name, row.past):
            return Result(name, size, prevents)
        pieces: Sequence[Piece] = storage.pieces(row)
        size = sum(piece.size for piece in pieces)
        if not acts:
            return Result(name, size, WOULD)
        return Result(name, size, server.import_entry(name, pieces, row.past))
    except Unusable as fault:
        return Result(name, size, UNUSABLE, str(fault))
    except (CacheError, Unavailable, OSError) as fault:
        return Result(name, size, FAILED, str(fault))


def summary(results: Sequence[Result], found: int, *, acts: bool) -> str:
    outcomes = Counter(it.outcome for it in results)
    parts = [f"{number} {outcome}" for outcome, number in outcomes.items()]
    size = amount(sum(it.size for it in results if it.outcome in (Imported.YES, WOULD)))
    line = f"{counted(found, 'entry', 'entries')} there, {len(results)} chosen: {', '.join(parts) or 'none'} ({size})"
    return line if acts else f"{line}; nothing was changed: --yes imports"


def as_json(result: Result) -> dict[str, Any]:
    family = result.name.family
    return {
        "repository": family.repository,
        "scope": family.scope,
        "version": family.version,
        "key": result.name.key,
        "bytes": result.size,
        "outcome": result.outcome,
        "because": result.because or None,
    }
