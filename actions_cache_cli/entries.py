"""Commands that show and delete what repositories keep: list, match, delete, usage, families, refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import click

from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.budgets import HOUR, TALLIES_KEPT, RepositoryUsage, Usage
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.errors import NotFound
from actions_cache.domain.key_family import parse_family
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy, Summary
from actions_cache.domain.refs import full_ref
from actions_cache.domain.search import Search
from actions_cache.domain.timing import Millis
from actions_cache.families import FamilyActivity
from actions_cache.http.schemas import (
    DeletionResponse,
    EntriesResponse,
    EntryResponse,
    ExplanationResponse,
    FamiliesResponse,
    RefusedTokensResponse,
    RepositoriesResponse,
    RepositoryResponse,
    format_timestamp,
    parse_as_of,
    parse_past,
)
from actions_cache.manage import Deletion, Selection
from actions_cache.usage import USUAL_HOURS, Overview
from actions_cache_cli.console import CommandFailed, Output, amount, closing_help, counted, moment
from actions_cache_cli.services import OperatorServices
from actions_cache_cli.table import Column
from actions_cache_cli.target import Command, Decorated, changes, on_server

MOST_SHOWN = 100
"""Entries that `delete` shows one by one; `list` shows all. More: what is summed up below them is further away."""

REFS = "main, '#118' for a pull request, or in full, refs/heads/main"
"""Help on writing refs. A shell takes an unquoted # for a comment."""

WHOLE = ("single", MergeState.MERGED)

ENTRIES = (
    Column.name("key"),
    Column.name("ref"),
    Column.number("size"),
    Column.text("created", is_spare=True),
    Column.text("last used"),
    Column.number("hits"),
    Column.number("id"),
    Column.text("state"),
)
BY_REF = (Column.name("ref"), Column.text("class"), Column.number("entries"), Column.number("size"))
FAMILIES = (
    Column.name("family"),
    *map(Column.number, ("misses", "partial hits", "exact hits", "hit rate", "restored", "kept")),
    Column.name("matched instead"),
)
REFUSED = (
    Column.text("last"),
    Column.number("times"),
    Column.name("repository"),
    Column.text("id"),
    Column.name("owner"),
    Column.name("issuer"),
    Column.text("to let it in, add"),
)
REPOSITORIES = (
    Column.name("repository"),
    Column.number("entries"),
    Column.number("size"),
    Column.number("full"),
    Column.text("last used", is_spare=True),
    Column.text("id"),
)

repository_argument = click.argument("repository", metavar="REPOSITORY")


def filters(command: Decorated) -> Decorated:
    """Add the options that choose entries; `filtered` reads them."""
    options: Sequence[Callable[[Decorated], Decorated]] = (
        click.option("--key", help="Exactly this key."),
        click.option("--key-prefix", help="Keys that begin with this."),
        click.option("--search", help="Keys that contain this, in upper or lower case."),
        click.option("--ref", help=f"This ref: {REFS}."),
        click.option("--version", help="This version, which clients make of paths and compression."),
        click.option("--class", "entry_class", type=click.Choice([it.value for it in EntryClass]), help="This class."),
        click.option("--family", help="This key family, as `families` shows it: 'npm-*'."),
        click.option("--older-than", metavar="AGE", help="Saved longer ago than 30d or 12h, or before a time."),
        click.option("--unused-since", metavar="AGE", help="Neither saved nor restored since then."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def filtered(command: Command) -> Command:
    """Give a command one EntryFilter, `wanted`, for the options of `filters`. It stands below `on_server`."""

    @wraps(command)
    def run(
        server: OperatorServices,
        output: Output,
        *,
        key: str | None,
        key_prefix: str | None,
        search: str | None,
        ref: str | None,
        version: str | None,
        entry_class: str | None,
        family: str | None,
        older_than: str | None,
        unused_since: str | None,
        as_of: str | None = None,
        **options: Any,
    ) -> int:
        now = server.clock.now()
        if as_of is not None:
            options["as_of"] = parse_as_of(as_of, now)
            now = min(options["as_of"], now)
        wanted = EntryFilter(
            key=key,
            key_prefix=key_prefix,
            search=search,
            ref=None if ref is None else full_ref(ref),
            version=version,
            entry_class=None if entry_class is None else EntryClass(entry_class),
            family=None if family is None else parse_family("--family", family),
            created_before=_ago("--older-than", older_than, now),
            unused_since=_ago("--unused-since", unused_since, now),
        )
        return command(server, output, wanted=wanted, **options)

    return run


def _ago(option: str, value: str | None, now: Millis) -> Millis | None:
    return None if value is None else parse_past(option, value, now)


def show_entries(output: Output, archives: Sequence[Archive], hits: Mapping[str, int]) -> None:
    shapes = [EntryResponse.from_archive(archive, hits) for archive in archives]
    output.rows(
        ENTRIES,
        (
            (
                shape.key,
                output.ref(shape.ref),
                amount(shape.size),
                moment(archive.stored_at),
                moment(archive.last_used_at),
                str(shape.hits),
                str(shape.id),
                "" if shape.merge in WHOLE else f"merge {shape.merge}",
            )
            for archive, shape in zip(archives, shapes, strict=True)
        ),
    )


@click.command(
    "list",
    epilog=closing_help(
        "list acme/app",
        "list acme/app --ref '#118' --sort size",
        "list acme/app --key-prefix npm- --unused-since 30d --json",
    ),
)
@repository_argument
@filters
@click.option("--sort", type=click.Choice([key.value for key in SortBy]), default="last_used_at", show_default=True)
@click.option("--ascending", is_flag=True, help="Smallest or oldest first.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@click.option("--per-page", type=click.IntRange(1, 10_000), default=30, show_default=True)
@on_server
@filtered
def list_(
    server: OperatorServices,
    output: Output,
    *,
    repository: str,
    wanted: EntryFilter,
    sort: str,
    ascending: bool,
    page: int,
    per_page: int,
) -> int:
    """Show a repository's entries, one page of them.

    REPOSITORY is owner/name, or the id in its jobs' tokens (with @ and the issuer if that isn't github.com). An entry
    is shown if it matches all options that are given.
    """
    management = server.management
    order = Order(SortBy(sort), Direction.ASCENDING if ascending else Direction.DESCENDING)
    shown = Page(page, per_page)
    found = management.find_repository(repository)
    listing = management.list_entries(found.id, wanted, order, shown)
    hits = management.list_entries.hits(found.id, listing)
    show_entries(output, listing.archives, hits)
    total, last = counted(listing.total, "entry", "entries"), shown.last_of(listing.total)
    if page > last:
        output.say(f"there is no page {page}: {total} {'is' if listing.total == 1 else 'are'} {counted(last, 'page')}")
    else:
        output.say(f"page {page} of {last}, {total} in all")
    entries = [EntryResponse.from_archive(archive, hits) for archive in listing.archives]
    output.document(
        EntriesResponse(total=listing.total, more=False, page=page, per_page=per_page, entries=entries).model_dump()
    )
    return 0


@click.command(
    epilog=closing_help(
        "match acme/app npm-3 npm- --ref main",
        "match acme/app npm-3 --ref '#118' --ref main --version 5a1f...",
    )
)
@repository_argument
@click.argument("key")
@click.argument("restore_keys", nargs=-1, metavar="[RESTORE_KEY]...")
@click.option(
    "--ref",
    "refs",
    multiple=True,
    required=True,
    help=f"A ref that the job may read: {REFS}. Repeat it in the job's order: its own, its base, the default branch.",
)
@click.option("--version", help="As clients make it of paths and compression. Default: each that such a key has.")
@on_server
def match(
    server: OperatorServices,
    output: Output,
    *,
    repository: str,
    key: str,
    restore_keys: tuple[str, ...],
    refs: tuple[str, ...],
    version: str | None,
) -> int:
    """Show what a job would restore for a key, and why.

    It searches as a lookup does, and counts as no use: in each ref first for the key itself, then for the newest entry
    whose key begins with it, then for each restore key in the same way.

    Exit codes: 0: something would be restored. 1: nothing.
    """
    management = server.management
    found = management.find_repository(repository)
    explanation = management.match(Search(found.id, tuple(map(full_ref, refs)), key, restore_keys), version)
    output.rows(
        (Column.text("version"), Column.name("ref"), Column.text("asked"), Column.name("key"), Column.name("found")),
        (
            (
                match.version[:12],
                output.ref(attempt.scope),
                "the key" if attempt.is_exact else "newest that begins",
                attempt.key,
                attempt.found.name.key if attempt.found else "nothing",
            )
            for match in explanation.matches
            for attempt in match.attempts
        ),
    )
    restores = [match.found for match in explanation.matches if match.found]
    for entry in restores:
        size, saved = amount(entry.size), moment(entry.created_at)
        key, ref = output.brief(entry.name.key), output.ref(entry.name.family.scope)
        output.say(f"restores {key} of {ref}: {size}, saved {saved}")
    if not explanation.matches:
        output.say(f"restores nothing: no ref of {repository} has a key that begins with any of these")
    elif not restores:
        output.say("restores nothing")
    output.rows(
        (Column.name("key that begins so"), Column.name("ref"), Column.text("version")),
        (
            (archive.name.key, output.ref(archive.name.family.scope), archive.name.family.version[:12])
            for archive in explanation.alike
        ),
    )
    output.document(ExplanationResponse.from_explanation(explanation).model_dump())
    return 0 if restores else 1


@click.command(
    epilog=closing_help(
        "delete acme/app --ref '#118'",
        "delete acme/app --family 'npm-*' --older-than 30d --dry-run",
        "delete acme/app --id 2752621961931971 --yes",
    )
)
@repository_argument
@click.option("--id", "number", type=click.IntRange(1), help="The entry with this id, as list shows it.")
@filters
@click.option("--as-of", metavar="TIME", help="The time that an earlier look shows: what was saved since then stays.")
@changes("Delete.")
@on_server
@filtered
def delete(
    server: OperatorServices,
    output: Output,
    *,
    repository: str,
    number: int | None,
    wanted: EntryFilter,
    yes: bool,
    as_of: Millis | None = None,
) -> int:
    """Delete entries of a repository.

    At least one option must say which. An entry goes if it matches all that are given, and still does when its turn
    comes. What would go is shown first, and summed up by ref and class; with --yes, just that is deleted.

    Lookups miss the entries at once. A job that is reading one can finish: its objects stay for a while. Nothing brings
    a deleted entry back.
    """
    if number is not None and not (wanted.asks_nothing and as_of is None):
        raise CommandFailed("--id names one entry; it goes with no other filter")
    management = server.management
    found = management.find_repository(repository)
    if number is not None:
        selected = management.delete_entries.numbered(found.id, number, dry_run=True).selected
        if not selected.archives:
            raise NotFound(f"no entry of {repository} has the id {number}")
    else:
        selected = management.delete_entries.select(found.id, wanted, as_of)
    hits = management.list_entries.hits_of(found.id, selected.archives)
    summary = Summary.of(selected.archives)
    show_entries(output, selected.archives[:MOST_SHOWN], hits)
    if len(selected.archives) > MOST_SHOWN:
        output.say(f"and {len(selected.archives) - MOST_SHOWN} more, which `list` shows")
    output.rows(BY_REF, as_usage_rows(output, summary))
    if yes:
        removed = remove(server, output, selected)
        output.say(f"{total_of(Summary.of(removed).usage)} deleted")
        if len(removed) < len(selected.archives):
            stayed = len(selected.archives) - len(removed)
            output.say(f"{counted(stayed, 'entry', 'entries')} stayed: used, deleted or being written meanwhile")
    else:
        removed = selected.archives
        output.say(f"{total_of(summary.usage)}; nothing was changed: --yes deletes")
        output.say(f"--yes --as-of {format_timestamp(selected.as_of)} spares what is saved from now on")
    document = DeletionResponse.from_deletion(Deletion(selected, removed), hits, dry_run=not yes)
    output.document(document.model_dump())
    return 0


def remove(server: OperatorServices, output: Output, selected: Selection) -> tuple[Archive, ...]:
    """Remove the selected entries, and return the archives of those that this call has removed."""
    removed = []
    with output.progress("entries", len(selected.archives)) as bar:
        tried = server.management.delete_entries.remove(selected)
        for archive, is_removed in zip(selected.archives, tried, strict=True):
            if is_removed:
                removed.append(archive)
            bar.advance()
    return tuple(removed)


def as_usage_rows(output: Output, summary: Summary) -> Iterable[tuple[str, ...]]:
    """Return a row for each ref and class; an entry's class is of the job that saved it, so a ref may have several."""
    by_ref = [(output.ref(ref), usage) for ref, usage in summary.by_ref.items()]
    for ref, usage in [*by_ref, ("all others", summary.other_refs)]:
        for entry_class in EntryClass:
            if entries := usage.entries_of(entry_class):
                yield ref, entry_class, str(entries), amount(usage.bytes_of(entry_class))


def total_of(usage: Usage) -> str:
    return f"{counted(usage.entries, 'entry', 'entries')} ({amount(usage.bytes)})"


@click.command(epilog=closing_help("usage", "usage acme/app", "usage --json | jq .store.bytes"))
@click.argument("repository", required=False)
@on_server
def usage(server: OperatorServices, output: Output, *, repository: str | None) -> int:
    """Show how much each repository keeps, the largest first.

    Sizes stand beside the budgets (REPOSITORY_BUDGET_BYTES, STORE_BUDGET_BYTES). Uploads in progress don't count, and
    neither do deleted entries whose objects stay a while for jobs that are reading them.
    """
    management = server.management
    if repository is not None:
        of_one = management.read_usage(management.find_repository(repository))
        budget = server.budgets.repository
        show_usage(output, [of_one], budget)
        output.document(RepositoryResponse.from_usage(of_one, budget).model_dump())
        return 0
    overview: Overview = management.read_usage.everywhere()
    show_usage(output, list(overview.repositories), overview.budgets.repository)
    count = counted(len(overview.repositories), "repository", "repositories")
    output.say(
        f"{count}, {counted(overview.store.entries, 'entry', 'entries')}, "
        f"{of_budget(overview.store.bytes, overview.budgets.store)}"
    )
    output.document(RepositoriesResponse.from_overview(overview).model_dump())
    return 0


def show_usage(output: Output, usages: list[RepositoryUsage], budget: int | None) -> None:
    output.rows(
        REPOSITORIES,
        (
            (
                row.repository.name or row.repository.id,
                str(row.usage.entries),
                of_budget(row.usage.bytes, budget),
                "" if budget is None else f"{row.usage.bytes / budget:.0%}",
                "" if row.last_used_at is None else moment(row.last_used_at),
                row.repository.id,
            )
            for row in usages
        ),
    )


@click.command(epilog=closing_help("families acme/app", "families acme/app --hours 24"))
@repository_argument
@click.option(
    "--hours",
    type=click.IntRange(1, TALLIES_KEPT // HOUR),
    default=USUAL_HOURS,
    show_default=True,
    help="The last hours, this one included.",
)
@on_server
def families(server: OperatorServices, output: Output, *, repository: str, hours: int) -> int:
    """Show which kinds of keys hit and miss.

    A family is the keys that differ only in hashes, numbers, versions and dates, for which * stands. A partial hit
    restored another key than the job's first; the last column has the family of most of these. The families that miss
    most come first. In each hour the first 64 are counted by themselves, and at most 64 are shown: `all others` has the
    rest.
    """
    management = server.management
    found = management.find_repository(repository)
    read = management.read_families(found.id, hours)
    output.rows(
        FAMILIES,
        [
            *(as_family_row(family, activity) for family, activity in read.families.items()),
            *([as_family_row("all others", read.rest)] if read.rest != FamilyActivity() else []),
        ],
    )
    output.say(f"lookups since {moment(read.since)}")
    output.document(FamiliesResponse.from_families(found.id, read).model_dump())
    return 0


def as_family_row(family: str, activity: FamilyActivity) -> tuple[str, ...]:
    most = activity.matched.most_common(1)
    return (
        family,
        str(activity.tally.misses),
        str(activity.tally.partial_hits),
        str(activity.exact_hits),
        "" if activity.hit_rate is None else f"{activity.hit_rate:.0%}",
        amount(activity.tally.bytes_restored),
        amount(activity.stored.bytes),
        most[0][0] if most else "",
    )


def of_budget(size: int, budget: int | None) -> str:
    return amount(size) if budget is None else f"{amount(size)} of {amount(budget)}"


@click.command(epilog=closing_help("refused", "refused --json | jq -r '.refused_tokens[].repository'"))
@on_server
def refused(server: OperatorServices, output: Output) -> int:
    """Show jobs that were refused, and how to admit them.

    Their tokens were good, but TOKEN_CLAIMS (the parameter TokenClaims) names other jobs. Any value of the last column,
    added to it, admits such jobs. Any job on github.com can get onto this list, under any repository name, so add only
    what you know. The list has 64 repositories of the last seven days, the last one first; strangers can crowd others
    out, so the log has all of them.
    """
    found = server.management.list_refused()
    output.rows(
        REFUSED,
        (
            (
                moment(row.last_at),
                str(row.times),
                row.job.repository or "",
                row.job.repository_id,
                row.job.owner or row.job.owner_id or "",
                row.job.issuer,
                " or ".join(row.job.to_admit),
            )
            for row in found
        ),
    )
    output.say(f"jobs of {counted(len(found), 'repository', 'repositories')} were refused")
    output.document(RefusedTokensResponse.from_refused(found).model_dump())
    return 0
