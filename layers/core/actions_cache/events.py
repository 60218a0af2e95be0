"""The events that the core emits: lines of the log, with the metrics that they count for (docs/operate/metrics.md).

One id leads from a save to the end of its entry: every event about an archive has `archive_id`, and `repository` if
known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from actions_cache.cost import CostPart, Estimate
from actions_cache.domain.archive import Archive, Part, Walk
from actions_cache.domain.budgets import Tally, Usage
from actions_cache.domain.cleanup_schedule import CleanupTask
from actions_cache.domain.delivery import PlainReason
from actions_cache.domain.direct_upload import went_direct
from actions_cache.domain.entry import Entry, EntryName
from actions_cache.domain.errors import CacheError
from actions_cache.domain.object_keys import is_part_key
from actions_cache.domain.part_list import PartList
from actions_cache.domain.refused_job import NotAdmitted
from actions_cache.domain.timing import Millis


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of CloudWatch, perhaps with a dimension.

    CloudWatch charges for every value of a dimension, so a dimension has few: it is never a repository.
    """

    name: str
    dimension: str | None = None
    """The field of the event by whose value the metric is split."""

    @property
    def values(self) -> frozenset[str]:
        """Return all values that the dimension may have; no request can add one."""
        return VALUES[self.dimension] if self.dimension else frozenset()

    def value(self, of_field: object) -> str:
        """Return the dimension's value for this value of the field: one of `values`, or OTHER."""
        return str(of_field) if str(of_field) in self.values else OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as a line of the log."""

    name: str
    """The line's message."""
    fields: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[Metric, float] = field(default_factory=dict)
    """The metrics that the event counts for; those of one event share their dimension."""
    is_error: bool = False
    """True if people should look at it."""
    error: BaseException | None = None
    """The error that is logged with its traceback."""


HITS = Metric("Hits")
MISSES = Metric("Misses", "reason")
BYTES_UP = Metric("BytesUp")
BYTES_DIRECT = Metric("BytesDirect")
BYTES_DOWN = Metric("BytesDown")
TIME_TO_FIRST_BYTE = Metric("TimeToFirstByte")
PARTS_LISTED = Metric("PartsListed")
BYTES_LISTED = Metric("BytesListed")
PLAIN_FALLS = Metric("PlainFalls", "fall")
HOOK_LOOKS = Metric("HookLooks", "hook")
MERGES = Metric("Merges", "outcome")
MERGE_DURATION = Metric("MergeDuration")
CLEANUP = Metric("Cleanup", "task")
BYTES_DISCARDED = Metric("BytesDiscarded")
EVICTIONS = Metric("Evictions")
ORPHAN_LISTING_FAILURES = Metric("OrphanListingFailures")
ERRORS = Metric("Errors", "kind")
STORED_BYTES = Metric("StoredBytes")
STORED_ENTRIES = Metric("StoredEntries")
MONTH_COST = Metric("MonthCost", "part")

METRICS = (
    HITS,
    MISSES,
    BYTES_UP,
    BYTES_DIRECT,
    BYTES_DOWN,
    TIME_TO_FIRST_BYTE,
    PARTS_LISTED,
    BYTES_LISTED,
    PLAIN_FALLS,
    HOOK_LOOKS,
    MERGES,
    MERGE_DURATION,
    CLEANUP,
    BYTES_DISCARDED,
    EVICTIONS,
    ORPHAN_LISTING_FAILURES,
    ERRORS,
    STORED_BYTES,
    STORED_ENTRIES,
    MONTH_COST,
)


class MissReason(StrEnum):
    """The reasons for a miss."""

    NO_MATCH = "no match"
    BROKEN = "broken"
    """An entry matched, but its object was gone or changed, so the entry was removed."""


class Loss(StrEnum):
    """The ways in which an entry loses an object that it needs."""

    GONE = "is gone"
    CHANGED = "was changed"
    """Another object has the key: its ETag isn't the pinned one."""
    UNREADABLE = "can't be read"
    """The object is there as it was pinned, but isn't in the expected form."""


class HookVersion(StrEnum):
    """The versions of the runner's hook that are counted: those that this release knows, and all others together."""

    FIRST = "1"
    UNKNOWN = "unknown"


class RunEnd(StrEnum):
    """The ways in which a run of a merge, or its claim, ends."""

    MERGED = "merged"
    NOT_OURS = "not ours"
    LOST = "lost"
    BROKEN = "broken"
    FAILED = "failed"
    GIVEN_UP = "given up"
    RETAKEN = "retaken"


class OtherCleanup(StrEnum):
    """The work of cleanup that isn't in its schedule of tasks."""

    CLOSE_UPLOAD = "close the upload"
    DELETE_ORPHANS = "delete orphans"
    FAILED = "failed"


class Failure(StrEnum):
    """The kinds of errors that aren't refusals of a request, which are CacheErrors."""

    UNAVAILABLE = "Unavailable"
    UNEXPECTED = "Unexpected"
    STREAM_BROKEN = "StreamBroken"


def _names(error_class: type[CacheError]) -> Iterator[str]:
    yield error_class.__name__
    for subclass in error_class.__subclasses__():
        yield from _names(subclass)


VALUES: Mapping[str, frozenset[str]] = {
    "reason": frozenset(MissReason),
    "outcome": frozenset(RunEnd),
    "task": frozenset((*CleanupTask, *OtherCleanup)),
    "kind": frozenset((*_names(CacheError), *Failure)),
    "part": frozenset(CostPart),
    "fall": frozenset(PlainReason),
    "hook": frozenset(HookVersion),
}
"""The values that each dimension may have."""

OTHER = "other"
"""Value of a dimension in place of all unknown values."""

MAX_ERROR_CHARACTERS = 500
"""Most characters of an error's message in the log. Our own messages are shorter, but some quote what a client sent.
Longer: clients can make the log larger. Shorter: messages lose their end."""


def about(archive: Archive) -> dict[str, object]:
    """Return the fields by which the events of an archive are found in the log."""
    return {"archive_id": archive.id, "repository": archive.name.family.repository}


def _named(name: EntryName) -> dict[str, object]:
    return {"repository": name.family.repository, "scope": name.family.scope, "key": name.key}


# ---------------------------------------------------------------- entries


def reserved(archive: Archive) -> Event:
    return Event(name="reserved", fields={**about(archive), **_named(archive.name), "class": archive.entry_class})


def saved(archive: Archive) -> Event:
    parts = archive.commit.part_count if archive.commit else 0
    fields = {**about(archive), **_named(archive.name), "parts": parts}
    metrics = {BYTES_UP: archive.size} | ({BYTES_DIRECT: archive.size} if went_direct(archive) else {})
    return Event(name="saved", fields=fields, metrics=metrics)


def direct_not_offered(archive_id: str, reason: PlainReason) -> Event:
    """Return the event of a client that asked to upload straight into S3, and uploads by the edge."""
    return Event(name="direct upload not offered", fields={"archive_id": archive_id, "fall": reason})


def hit(entry: Entry, requested_key: str, *, is_merged: bool) -> Event:
    """Return the event of a lookup that found an entry.

    Args:
        entry: The entry that was found.
        requested_key: The key that the job requested, which may be only the beginning of the entry's key.
        is_merged: True if the bytes are in one object.
    """
    fields = {**_named(entry.name), "archive_id": entry.archive_id, "requested_key": requested_key, "merged": is_merged}
    return Event(name="hit", fields=fields, metrics={HITS: 1, BYTES_DOWN: entry.size})


def missed(repository: str, scopes: tuple[str, ...], requested_key: str, reason: MissReason) -> Event:
    fields = {"repository": repository, "scopes": scopes, "requested_key": requested_key, "reason": reason}
    return Event(name="miss", fields=fields, metrics={MISSES: 1})


def first_byte(archive: Archive, took: Millis) -> Event:
    return Event(name="first byte", fields=about(archive), metrics={TIME_TO_FIRST_BYTE: took})


def parts_listed(archive: Archive, listed: PartList) -> Event:
    """Return the event of a part list that was given to a reader that reads from S3 by itself."""
    metrics = {PARTS_LISTED: len(listed.parts), BYTES_LISTED: listed.size}
    return Event(name="parts listed", fields=about(archive), metrics=metrics)


def plain_fall(reason: PlainReason, archive: Archive | None = None) -> Event:
    """Return the event of a client that asked for the part list and gets the plain answer.

    Args:
        reason: The reason.
        archive: The archive, unless it is gone.
    """
    fields = {**(about(archive) if archive else {}), "fall": reason}
    return Event(name="parts not listed; the plain answer follows", fields=fields, metrics={PLAIN_FALLS: 1})


def hook_looked(version: str, mode: str) -> Event:
    """Return the event of a job's look at this server, by the hook on its runner.

    Args:
        version: The hook's version, as it says.
        mode: Its mode.
    """
    known = HookVersion(version) if version in set(HookVersion) else HookVersion.UNKNOWN
    return Event(
        name="the hook looked", fields={"hook": known, "version": version, "mode": mode}, metrics={HOOK_LOOKS: 1}
    )


def entry_removed(archive: Archive) -> Event:
    return Event(name="entry removed", fields={**about(archive), **_named(archive.name)})


def entry_broken(archive: Archive, lost: Part, loss: Loss) -> Event:
    """Return the event of an entry that was removed because it lost an object.

    Args:
        archive: The archive of the entry.
        lost: The part, manifest or merged object.
        loss: The way in which the object was lost.
    """
    fields = {**about(archive), "object": lost.key}
    return Event(name=f"the entry's object {loss}, so the entry was removed", fields=fields, is_error=True)


def entries_deleted(repository: str, deleted_by: str, archives: Sequence[Archive]) -> Event:
    """Return the event of a deletion on request, which records in one line who deleted which entries."""
    ids, size = [archive.id for archive in archives], sum(archive.size for archive in archives)
    return Event(
        name="entries deleted", fields={"repository": repository, "by": deleted_by, "archive_ids": ids, "bytes": size}
    )


def evicted(archive: Archive) -> Event:
    fields = {
        **about(archive),
        **_named(archive.name),
        "bytes": archive.size,
        "class": archive.entry_class,
        "last_used_at": archive.last_used_at,
    }
    return Event(name="entry evicted: over budget", fields=fields, metrics={EVICTIONS: 1})


def over_budget(saved: Archive, error: Exception) -> Event:
    """Return the event of a save for which there was no room in the budget."""
    return Event(name="over budget; the schedule evicts", fields=about(saved), is_error=True, error=error)


# ---------------------------------------------------------------- merges


def merge_claimed(archive: Archive, *, is_retaken: bool) -> Event:
    """Return the event of a new claim.

    Args:
        archive: The archive with the claim.
        is_retaken: True if the claim replaces one that went stale.
    """
    if not is_retaken:
        return Event(name="merge claimed", fields=about(archive))
    fields = {**about(archive), "outcome": RunEnd.RETAKEN}
    return Event(name="merge retaken", fields=fields, metrics={MERGES: 1})


def merge_unclaimed(archive: Archive, error: Exception) -> Event:
    fields = about(archive)
    return Event(name="merge not claimed; the schedule will", fields=fields, is_error=True, error=error)


def merge_started(archive: Archive) -> Event:
    return Event(name="merge started", fields={**about(archive), "run_token": archive.merge.run_token})


def merged(archive: Archive, took: Millis) -> Event:
    fields = {**about(archive), "bytes": archive.size, "took_ms": took, "outcome": RunEnd.MERGED}
    return Event(name="merged", fields=fields, metrics={MERGES: 1, MERGE_DURATION: took})


def merge_ended(fields: Mapping[str, object], end: RunEnd, error: BaseException | None = None) -> Event:
    """Return the event of a run that didn't merge its archive.

    Args:
        fields: `about` the archive, or as many of these fields as are known.
        end: The way in which the run ended.
        error: The error that ended it, if any.
    """
    is_error = end in (RunEnd.BROKEN, RunEnd.FAILED, RunEnd.GIVEN_UP)
    name = f"merge {end}"
    return Event(name=name, fields={**fields, "outcome": end}, metrics={MERGES: 1}, is_error=is_error, error=error)


# ---------------------------------------------------------------- cleanup


def task_done(archive: Archive, task: CleanupTask) -> Event:
    return Event(name=task, fields={**about(archive), "task": task}, metrics={CLEANUP: 1})


def task_failed(archive_id: str, error: Exception) -> Event:
    fields = {"archive_id": archive_id, "task": OtherCleanup.FAILED}
    name = "cleanup failed on an archive"
    return Event(name=name, fields=fields, metrics={CLEANUP: 1}, is_error=True, error=error)


def upload_closed(archive: Archive, walk: Walk) -> Event:
    """Return the event of an upload that was closed because too much had arrived.

    Args:
        archive: The archive of the upload.
        walk: The pass over the arrivals, which may not have reached the last one.
    """
    fields = {**about(archive), **_named(archive.name), "objects": walk.objects, "bytes": walk.bytes}
    return Event(
        name="open upload closed: too much arrived",
        fields={**fields, "task": OtherCleanup.CLOSE_UPLOAD},
        metrics={CLEANUP: 1},
        is_error=True,
    )


def bytes_discarded(fields: Mapping[str, object], size: int) -> Event:
    """Return the event of parts that arrived and never belonged to an entry.

    Args:
        fields: `about` the archive, or as many of these fields as are known.
        size: Bytes of the parts.
    """
    return Event(name="bytes discarded that no entry had", fields=fields, metrics={BYTES_DISCARDED: size})


def orphans_deleted(archive_id: str, page: Sequence[Part]) -> Iterator[Event]:
    """Yield the events of a page of orphans."""
    fields = {"archive_id": archive_id, "objects": len(page)}
    yield Event(
        name="orphaned objects deleted", fields={**fields, "task": OtherCleanup.DELETE_ORPHANS}, metrics={CLEANUP: 1}
    )
    yield bytes_discarded(fields, sum(part.size for part in page if is_part_key(part.key)))


def orphans_remain(error: Exception, archive_id: str | None = None) -> Event:
    """Return the event of a failure to delete orphaned objects.

    Args:
        error: The error.
        archive_id: The id in the objects' keys; None if they couldn't be listed.
    """
    return Event(
        name="orphaned objects stay",
        fields={"archive_id": archive_id} if archive_id else {},
        metrics={ORPHAN_LISTING_FAILURES: 1},
        is_error=True,
        error=error,
    )


# ---------------------------------------------------------------- usage and cost


def cost_estimated(usage: Usage, done: Tally, hours: int, month: Estimate) -> Iterator[Event]:
    """Yield the event of what is stored, then one for each part of the cost: an event has one value of a dimension.

    Args:
        usage: What is stored.
        done: The work of the last hours, from which the month is estimated.
        hours: The number of these hours.
        month: The estimated cost.
    """
    fields = {**asdict(done), "hours": hours, "month_usd": month.total, "transfer_out_usd": month.transfer_out}
    metrics = {STORED_BYTES: usage.bytes, STORED_ENTRIES: usage.entries}
    yield Event(name="what is stored", fields=fields, metrics=metrics)
    for part, usd in month.by_part.items():
        yield _month_cost(part, usd)


def _month_cost(part: CostPart, usd: float) -> Event:
    return Event(name="what the month costs", fields={"part": part}, metrics={MONTH_COST: usd})


# ---------------------------------------------------------------- errors


def refused(request: str, error: CacheError) -> Event:
    """Return the event of a refused request.

    Args:
        request: Method and path, without the query, which may contain a signature.
        error: The error that the client is told.
    """
    fields: dict[str, object] = {"request": request, "kind": type(error).__name__, "error": _message(error)}
    if isinstance(error, NotAdmitted):
        job = error.job
        fields |= {"repository": job.repository_id, "repository_name": job.repository, "issuer": job.issuer}
        fields |= {"owner": job.owner, "owner_id": job.owner_id, "to_admit": job.to_admit}
    return Event(name="refused", fields=fields, metrics={ERRORS: 1})


def unavailable(request: str, error: Exception) -> Event:
    fields = {"request": request, "kind": Failure.UNAVAILABLE, "error": _message(error)}
    return Event(name="a dependency doesn't answer", fields=fields, metrics={ERRORS: 1}, is_error=True)


def failed(request: str, error: Exception) -> Event:
    fields = {"request": request, "kind": Failure.UNEXPECTED}
    return Event(name="unexpected error", fields=fields, metrics={ERRORS: 1}, is_error=True, error=error)


def stream_broken(sent: int, size: int, error: BaseException) -> Event:
    """Return the event of a stream that couldn't be completed, so that its connection was broken.

    Args:
        sent: Number of bytes that were sent.
        size: Number of bytes of the complete stream.
        error: The error that broke it.
    """
    message = f"{type(error).__name__}: {_message(error)}"
    fields = {"kind": Failure.STREAM_BROKEN, "sent": sent, "bytes": size, "error": message}
    return Event(name="stream broken off", fields=fields, metrics={ERRORS: 1}, is_error=True)


def client_gone(request: str) -> Event:
    """Return the event of a client that disconnected.

    That is no error: jobs are cancelled, and clients that read concurrently drop connections that they don't need.
    """
    return Event(name="the client went away", fields={"request": request})


def _message(error: BaseException) -> str:
    return str(error)[:MAX_ERROR_CHARACTERS]
