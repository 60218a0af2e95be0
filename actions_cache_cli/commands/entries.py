"""What commands on a repository's entries have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import click

from actions_cache.domain.archive import Archive
from actions_cache.domain.listing import EntryFilter
from actions_cache.domain.timing import Millis
from actions_cache.http.schemas import EntryResponse, parse_timestamp
from actions_cache_cli.console import Output, amount, moment
from actions_cache_cli.options import Command, Decorated
from actions_cache_cli.services import OperatorServices

TITLES = ("id", "key", "ref", "size", "created", "last used", "hits", "merge")

repository_argument = click.argument("repository", metavar="REPOSITORY")
"""`owner/name`, or the id in tokens."""


def filters(command: Decorated) -> Decorated:
    options: Sequence[Callable[[Decorated], Decorated]] = (
        click.option("--key", help="This key and no other."),
        click.option("--key-prefix", help="Keys that begin so."),
        click.option("--search", help="Keys that hold this somewhere, in any case of letters."),
        click.option("--ref", help="This ref, in full: refs/heads/main."),
        click.option("--version", help="This version, as clients make it of paths and compression."),
        click.option("--older-than", metavar="AGE", help="Saved longer ago than 30d or 12h, or before a time."),
        click.option("--unused-since", metavar="AGE", help="Neither saved nor restored since."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def filtered(command: Command) -> Command:
    """Below `on_server`: of the options of `filters`, the command gets `wanted`, an EntryFilter."""

    @wraps(command)
    def by_filter(
        server: OperatorServices,
        output: Output,
        *,
        key: str | None,
        key_prefix: str | None,
        search: str | None,
        ref: str | None,
        version: str | None,
        older_than: str | None,
        unused_since: str | None,
        **options: Any,
    ) -> int:
        now = server.clock.now()
        wanted = EntryFilter(
            key=key,
            key_prefix=key_prefix,
            search=search,
            ref=ref,
            version=version,
            created_before=_ago("--older-than", older_than, now),
            unused_since=_ago("--unused-since", unused_since, now),
        )
        return command(server, output, wanted=wanted, **options)

    return by_filter


def _ago(option: str, value: str | None, now: Millis) -> Millis | None:
    """Raises: InvalidRequest."""
    return None if value is None else parse_timestamp(option, value, now)


def as_rows(archives: Sequence[Archive], hits: Mapping[str, int]) -> Iterable[tuple[str, ...]]:
    for archive in archives:
        shape = EntryResponse.of(archive, hits)
        yield (
            str(shape.id),
            shape.key,
            shape.ref,
            amount(shape.size),
            moment(archive.stored_at),
            moment(archive.last_used_at),
            str(shape.hits),
            shape.merge,
        )
