"""Define the management API's responses, and the format of timestamps.

The models named `Github...` are as in GitHub's documentation.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from actions_cache.domain.access import Role
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import Repository, RepositoryUsage, Tally, Usage
from actions_cache.domain.entry import Entry
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.listing import Summary
from actions_cache.domain.refused_job import Refusals
from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.explain import Attempt, Explanation, Match
from actions_cache.families import Families, FamilyActivity
from actions_cache.manage import Deletion, Failures, Listing
from actions_cache.usage import CostOfNow, Overview, OwnedPage

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Usd = Annotated[float, Field(description="US dollars")]


class GithubCache(BaseModel):
    id: int
    ref: str
    key: str
    version: str
    last_accessed_at: Time
    created_at: Time
    size_in_bytes: int

    @classmethod
    def from_archive(cls, archive: Archive) -> Self:
        return cls(
            id=archive.entry.id,
            ref=archive.name.family.scope,
            key=archive.name.key,
            version=archive.name.family.version,
            last_accessed_at=format_timestamp(archive.last_used_at),
            created_at=format_timestamp(archive.stored_at),
            size_in_bytes=archive.size,
        )


class GithubCaches(BaseModel):
    total_count: int
    actions_caches: list[GithubCache]

    @classmethod
    def from_listing(cls, listing: Listing) -> Self:
        return cls(
            total_count=listing.total,
            actions_caches=[GithubCache.from_archive(archive) for archive in listing.archives],
        )


class GithubUsage(BaseModel):
    full_name: str
    active_caches_size_in_bytes: int
    active_caches_count: int

    @classmethod
    def from_usage(cls, repository: Repository, usage: Usage) -> Self:
        return cls(
            full_name=repository.name or repository.id,
            active_caches_size_in_bytes=usage.bytes,
            active_caches_count=usage.entries,
        )


class GithubOrgUsage(BaseModel):
    total_active_caches_size_in_bytes: int
    total_active_caches_count: int

    @classmethod
    def from_usage(cls, usage: Usage) -> Self:
        return cls(total_active_caches_size_in_bytes=usage.bytes, total_active_caches_count=usage.entries)


class GithubUsages(BaseModel):
    total_count: int
    repository_cache_usages: list[GithubUsage]

    @classmethod
    def from_page(cls, page: OwnedPage) -> Self:
        return cls(
            total_count=page.total,
            repository_cache_usages=[GithubUsage.from_usage(*owned) for owned in page.repositories],
        )


class GithubError(BaseModel):
    message: str
    documentation_url: str
    status: str


class RoleResponse(BaseModel):
    role: Role


class RepositoryResponse(BaseModel):
    id: str = Field(description="as in tokens; with `@` and the issuer where that isn't github.com")
    name: str | None = Field(description="`owner/repository`, if a token has named it")
    bytes: int
    entries: int
    budget_bytes: int | None = Field(description="null for no limit")
    last_used_at: Time | None = Field(description="of its last save or restore")
    noted_at: Time | None = Field(
        description="when this was noted, up to six hours ago, as in lists of more than 100 repositories; null if now"
    )

    @classmethod
    def from_usage(cls, usage: RepositoryUsage, budget: int | None) -> Self:
        last_used_at = usage.last_used_at
        return cls(
            id=usage.repository.id,
            name=usage.repository.name,
            bytes=usage.usage.bytes,
            entries=usage.usage.entries,
            budget_bytes=budget,
            last_used_at=None if last_used_at is None else format_timestamp(last_used_at),
            noted_at=format_timestamp(usage.noted_at) if usage.noted_at else None,
        )


class StoreResponse(BaseModel):
    bytes: int
    entries: int
    budget_bytes: int | None


class RepositoriesResponse(BaseModel):
    repositories: list[RepositoryResponse] = Field(description="the largest first")
    unread: int = Field(description="number of further repositories, which there was no time to read")
    store: StoreResponse

    @classmethod
    def from_overview(cls, overview: Overview) -> Self:
        store, budgets = overview.store, overview.budgets
        return cls(
            repositories=[RepositoryResponse.from_usage(usage, budgets.repository) for usage in overview.repositories],
            unread=overview.unread,
            store=StoreResponse(bytes=store.bytes, entries=store.entries, budget_bytes=budgets.store),
        )


class EntryResponse(BaseModel):
    id: int
    key: str
    ref: str
    version: str
    size: int
    created_at: Time
    last_used_at: Time
    hits: int
    entry_class: EntryClass = Field(description="which decides how long the entry lives (docs/deploy/eviction.md)")
    merge: str = Field(description="`single` (came as one object), unmerged, queued, running, merged or failed")

    @classmethod
    def from_archive(cls, archive: Archive, hits: Mapping[str, int]) -> Self:
        came_as_one = archive.commit is not None and archive.commit.part_count == 1
        return cls(
            id=archive.entry.id,
            key=archive.name.key,
            ref=archive.name.family.scope,
            version=archive.name.family.version,
            size=archive.size,
            created_at=format_timestamp(archive.stored_at),
            last_used_at=format_timestamp(archive.last_used_at),
            hits=hits.get(archive.id, 0),
            entry_class=archive.entry_class,
            merge="single" if came_as_one else archive.merge.state,
        )


class EntriesResponse(BaseModel):
    total: int = Field(description="number on all pages, as far as they could be read in time")
    more: bool = Field(description="true if there was no time for the entries unused the longest: narrow the search")
    page: int
    per_page: int
    entries: list[EntryResponse]


class UsageResponse(BaseModel):
    entries: int
    bytes: int

    @classmethod
    def from_usage(cls, usage: Usage) -> Self:
        return cls(entries=usage.entries, bytes=usage.bytes)


class RefUsageResponse(UsageResponse):
    ref: str


class ClassUsageResponse(UsageResponse):
    entry_class: EntryClass


class SummaryResponse(UsageResponse):
    classes: list[ClassUsageResponse] = Field(description="the same by class")
    refs: list[RefUsageResponse] = Field(description="the same by ref, the refs with the most bytes first")
    other_refs: UsageResponse = Field(description="what is in further refs")

    @classmethod
    def from_summary(cls, summary: Summary) -> Self:
        usage = summary.usage
        classes = [
            ClassUsageResponse(
                entry_class=entry_class, entries=usage.entries_of(entry_class), bytes=usage.bytes_of(entry_class)
            )
            for entry_class in EntryClass
            if usage.entries_of(entry_class)
        ]
        return cls(
            entries=usage.entries,
            bytes=usage.bytes,
            classes=classes,
            refs=[
                RefUsageResponse(ref=ref, entries=of_ref.entries, bytes=of_ref.bytes)
                for ref, of_ref in summary.by_ref.items()
            ],
            other_refs=UsageResponse.from_usage(summary.other_refs),
        )


class DeletionResponse(BaseModel):
    dry_run: bool
    as_of: Time = Field(description="say it with the deletion, and what is saved after this preview stays")
    matched: SummaryResponse = Field(description="all entries that the filter matched before this call")
    deleted: list[EntryResponse] = Field(description="with dry_run, the entries that this call would delete")
    remaining: int = Field(description="least number of further entries that the filter matches: ask again")
    more: bool = Field(description="true if there was no time to look at all entries: narrow the filter")

    @classmethod
    def from_deletion(cls, deletion: Deletion, hits: Mapping[str, int], *, dry_run: bool) -> Self:
        return cls(
            dry_run=dry_run,
            as_of=format_timestamp(deletion.selected.as_of),
            matched=SummaryResponse.from_summary(deletion.matched),
            deleted=[EntryResponse.from_archive(archive, hits) for archive in deletion.archives],
            remaining=deletion.remaining,
            more=not deletion.is_whole,
        )


class FoundResponse(BaseModel):
    id: int
    key: str
    ref: str
    version: str
    size: int
    created_at: Time

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        family = entry.name.family
        return cls(
            id=entry.id,
            key=entry.name.key,
            ref=family.scope,
            version=family.version,
            size=entry.size,
            created_at=format_timestamp(entry.created_at),
        )


class AttemptResponse(BaseModel):
    ref: str
    key: str
    exact: bool = Field(description="false if the newest entry whose key begins so was looked for")
    found: FoundResponse | None

    @classmethod
    def from_attempt(cls, attempt: Attempt) -> Self:
        found = FoundResponse.from_entry(attempt.found) if attempt.found else None
        return cls(ref=attempt.scope, key=attempt.key, exact=attempt.is_exact, found=found)


class MatchResponse(BaseModel):
    version: str
    found: FoundResponse | None = Field(description="the entry that would be restored")
    attempts: list[AttemptResponse] = Field(description="in the order of a lookup, up to the first that found an entry")

    @classmethod
    def from_match(cls, match: Match) -> Self:
        found = FoundResponse.from_entry(match.found) if match.found else None
        return cls(
            version=match.version,
            found=found,
            attempts=[AttemptResponse.from_attempt(attempt) for attempt in match.attempts],
        )


class ExplanationResponse(BaseModel):
    matches: list[MatchResponse] = Field(description="one for each version")
    alike: list[FoundResponse] = Field(
        description="if nothing is found: entries of any version and ref whose key begins so"
    )

    @classmethod
    def from_explanation(cls, explanation: Explanation) -> Self:
        return cls(
            matches=[MatchResponse.from_match(match) for match in explanation.matches],
            alike=[FoundResponse.from_entry(archive.entry) for archive in explanation.alike],
        )


class HourResponse(BaseModel):
    hour: Time = Field(description="its beginning")
    hits: int
    misses: int
    saves: int
    bytes_restored: int
    bytes_saved: int

    @classmethod
    def from_tally(cls, hour: Millis, tally: Tally) -> Self:
        return cls(
            hour=format_timestamp(hour),
            hits=tally.hits,
            misses=tally.misses,
            saves=tally.saves,
            bytes_restored=tally.bytes_restored,
            bytes_saved=tally.bytes_saved,
        )


class ActivityResponse(BaseModel):
    repository: str | None = Field(description="its id; null for all of them together")
    hours: list[HourResponse]


class HitRateResponse(BaseModel):
    repository: str = Field(description="its id")
    hits: int
    misses: int


class HitRatesResponse(BaseModel):
    hours: int
    hit_rates: list[HitRateResponse] = Field(description="one for each repository that was asked for")

    @classmethod
    def from_tallies(cls, hours: int, tallies: Mapping[str, Tally]) -> Self:
        rates = [HitRateResponse(repository=of, hits=it.hits, misses=it.misses) for of, it in tallies.items()]
        return cls(hours=hours, hit_rates=rates)


class FailedMergeResponse(BaseModel):
    repository: str
    entry: EntryResponse
    attempts: int
    failed_at: Time

    @classmethod
    def from_archive(cls, archive: Archive) -> Self:
        return cls(
            repository=archive.name.family.repository,
            entry=EntryResponse.from_archive(archive, {}),
            attempts=archive.merge.attempts,
            failed_at=format_timestamp(archive.merge.ended_at),
        )


class FailuresResponse(BaseModel):
    failed_merges: list[FailedMergeResponse] = Field(description="the latest first; they restore, from their parts")
    dead_letters: int = Field(description="approximate number of messages in the dead-letter queue")

    @classmethod
    def from_failures(cls, failures: Failures) -> Self:
        return cls(
            failed_merges=[FailedMergeResponse.from_archive(archive) for archive in failures.archives],
            dead_letters=failures.dead_letters,
        )


class MatchedFamilyResponse(BaseModel):
    family: str
    hits: int


class FamilyActivityResponse(BaseModel):
    lookups: int
    exact_hits: int
    partial_hits: int = Field(description="restores by another key than the job's first")
    misses: int
    hit_rate: float | None = Field(description="share of lookups that restored something; null if there was none")
    matched: list[MatchedFamilyResponse] = Field(
        description="families of the entries that partial hits restored, the most frequent first"
    )
    bytes_restored: int
    saves: int
    bytes_saved: int
    stored_entries: int = Field(description="now")
    stored_bytes: int

    @classmethod
    def from_activity(cls, activity: FamilyActivity, **fields: Any) -> Self:
        tally = activity.tally
        return cls(
            **fields,
            lookups=activity.lookups,
            exact_hits=activity.exact_hits,
            partial_hits=tally.partial_hits,
            misses=tally.misses,
            hit_rate=activity.hit_rate,
            matched=[
                MatchedFamilyResponse(family=family, hits=hits) for family, hits in activity.matched.most_common()
            ],
            bytes_restored=tally.bytes_restored,
            saves=tally.saves,
            bytes_saved=tally.bytes_saved,
            stored_entries=activity.stored.entries,
            stored_bytes=activity.stored.bytes,
        )


class FamilyResponse(FamilyActivityResponse):
    family: str = Field(description="keys with `*` for hashes, numbers, versions and dates")


class FamiliesResponse(BaseModel):
    repository: str = Field(description="its id")
    since: Time = Field(description="beginning of the first hour that is counted")
    families: list[FamilyResponse] = Field(description="at most 64, those with the most misses first")
    rest: FamilyActivityResponse = Field(description="all other families together")
    more: bool = Field(description="true if there was no time for the earliest hours or the entries unused the longest")

    @classmethod
    def from_families(cls, repository_id: str, families: Families) -> Self:
        return cls(
            repository=repository_id,
            since=format_timestamp(families.since),
            families=[
                FamilyResponse.from_activity(activity, family=family) for family, activity in families.families.items()
            ],
            rest=FamilyActivityResponse.from_activity(families.rest),
            more=not families.is_whole,
        )


class RefusalsResponse(BaseModel):
    issuer: str
    repository_id: str
    repository: str | None = Field(description="`owner/repository`, if the token names it")
    owner_id: str | None = Field(description="a number if the token has one, else the node id")
    owner: str | None
    times: int = Field(description="approximate number in the last seven days")
    last_at: Time
    to_admit: list[str] = Field(
        description="values, each of which alone would admit these jobs if added to TOKEN_CLAIMS; may be empty"
    )

    @classmethod
    def from_refusals(cls, refusals: Refusals) -> Self:
        job = refusals.job
        return cls(
            issuer=job.issuer,
            repository_id=job.repository_id,
            repository=job.repository,
            owner_id=job.owner_id,
            owner=job.owner,
            times=refusals.times,
            last_at=format_timestamp(refusals.last_at),
            to_admit=list(job.to_admit),
        )


class RefusedTokensResponse(BaseModel):
    refused_tokens: list[RefusalsResponse] = Field(
        description="jobs that TOKEN_CLAIMS keeps out, by repository, the latest first; not always all of them"
    )

    @classmethod
    def from_refused(cls, refused: Sequence[Refusals]) -> Self:
        return cls(refused_tokens=[RefusalsResponse.from_refusals(refusals) for refusals in refused])


class RequestsResponse(BaseModel):
    hits: int
    misses: int
    saves: int
    bytes_restored: int
    bytes_saved: int
    bytes_direct: int = Field(description="those of `bytes_saved` whose blocks went straight into S3, past the edge")


class CostResponse(BaseModel):
    stored_bytes: int
    stored_entries: int
    hours: int = Field(description="the last hours, whose requests these are; the month goes on like them")
    requests: RequestsResponse
    month_usd: Usd
    by_part: dict[str, Usd]
    by_service: dict[str, Usd]
    transfer_out_usd: Usd = Field(description="not in the sum: if every runner is outside AWS's region")

    @classmethod
    def from_cost(cls, cost: CostOfNow) -> Self:
        done, month = cost.done, cost.month
        return cls(
            stored_bytes=cost.stored.bytes,
            stored_entries=cost.stored.entries,
            hours=cost.hours,
            requests=RequestsResponse(
                hits=done.hits,
                misses=done.misses,
                saves=done.saves,
                bytes_restored=done.bytes_restored,
                bytes_saved=done.bytes_saved,
                bytes_direct=done.bytes_direct,
            ),
            month_usd=month.total,
            by_part=dict(month.by_part),
            by_service=dict(month.by_service),
            transfer_out_usd=month.transfer_out,
        )


_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhdw])")
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY}


def format_timestamp(at: Millis) -> str:
    """Return a time as GitHub's documentation shows it: `2019-01-24T22:45:36.000Z`."""
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{at % SECOND:03d}Z"


def parse_timestamp(field: str, text: str, now: Millis) -> Millis:
    """Return the time that a text means: an age such as `30d` (s, m, h, d, w), or an ISO 8601 time with its zone.

    Args:
        field: name of the parameter, for the error.
        text: its value.
        now: the time that ages are counted back from.

    Raises:
        InvalidRequest: the text is neither.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - int(ago["count"]) * _UNITS[ago["unit"]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidRequest(
            f"{field}: {text[:50]!r} is neither an age like 30d or 12h, nor a time like 2026-01-31T00:00:00Z"
        )
    return int(at.timestamp()) * SECOND + at.microsecond // 1000


def parse_past(field: str, text: str, now: Millis) -> Millis:
    """Return the past time that a text means, as parse_timestamp reads it.

    Raises:
        InvalidRequest: the text is no time, or not before now: every entry is older.
    """
    at = parse_timestamp(field, text, now)
    if at >= now:
        raise InvalidRequest(f"{field}: {text[:50]!r} leaves no entry out: give at least 1s, or a past time")
    return at


CLOCKS_DIFFER: Millis = 60 * SECOND
"""Time by which the clock of the process that gave an `as_of` may be ahead of this one's."""


def parse_as_of(text: str, now: Millis) -> Millis:
    """Return the time of an earlier preview.

    Raises:
        InvalidRequest: the text is no time, or in the future.
    """
    at = parse_timestamp("as_of", text, now)
    if at > now + CLOCKS_DIFFER:
        raise InvalidRequest(f"as_of: {text[:50]!r} is in the future; give the as_of of a preview")
    return at
