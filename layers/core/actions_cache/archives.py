"""Change an archive's state, read its manifest, claim its merge, remove its entry: the steps that all flows share."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, TypeVar

from actions_cache import events
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Commit, Manifest, MergeState, Part, deleted
from actions_cache.domain.cleanup_schedule import may_complete
from actions_cache.domain.errors import TooLarge, TryAgain
from actions_cache.domain.merge_plan import MergeWorker
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import full_range
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.domain.uploads import MAX_ARRIVALS
from actions_cache.events import Loss
from actions_cache.ports import (
    Bucket,
    Clock,
    MergeMessage,
    MergeQueue,
    ObjectGone,
    Table,
    Telemetry,
    TokenSource,
    Unavailable,
    Unreadable,
    WriteConflict,
)

MAX_ROUNDS = 10
"""Attempts of one optimistic write. Each lost one means that another writer succeeded, so losing this many is no
accident."""

Decision = Callable[[Archive], Archive | None]
"""Decides an archive's next state from its current one; None leaves it as it is."""


def transition(table: Table, archive_id: str, decide: Decision) -> Archive | None:
    """Read an archive, decide, and write it on condition that nobody wrote in between; on a conflict, start again.

    `decide` sees the archive as it is at each attempt, so whatever it decides holds at the write. A write that took
    effect although its answer was lost, so that its retry met a conflict, is recognised by the archive as it is then.

    Returns:
        The archive as written; None if there is none, or `decide` returned None.

    Raises:
        TryAgain: other writers won MAX_ROUNDS times.
    """
    attempted: Archive | None = None
    for _ in range(MAX_ROUNDS):
        current = table.archive(archive_id)
        if current is not None and current == attempted:
            return current
        updated = decide(current) if current else None
        if current is None or updated is None:
            return None
        try:
            return table.replace_archive(current, updated)
        except WriteConflict:
            attempted = replace(updated, revision=current.revision + 1)
    raise TryAgain("too many writers at once")


@dataclass(frozen=True, slots=True)
class Manifests:
    """Writes and reads manifests: JSON in the bucket, with keys relative to the archive's prefix, written once."""

    bucket: Bucket
    tokens: TokenSource
    worker: MergeWorker | None = None
    """The worker that merges what is committed; None if none does."""

    def write(self, keys: ArchiveKeys, parts: Sequence[Part]) -> Part:
        """Write a manifest under a new key each time, so that what an archive points to never changes."""
        rows = [[part.key.removeprefix(keys.prefix), part.size, part.etag] for part in parts]
        body = json.dumps({"parts": rows}, separators=(",", ":")).encode()
        return self.bucket.write_once(keys.manifest(self.tokens.new()), body)

    def commit(self, keys: ArchiveKeys, parts: Sequence[Part], digest: str) -> tuple[Commit, Part | None]:
        """Return what an upload of these parts is committed as, and its only object if it has but one.

        Raises:
            TooLarge: they couldn't be merged in time.
        """
        if self.worker is not None:
            self.worker.check(Manifest(tuple(parts)))
        size = sum(part.size for part in parts)
        if len(parts) == 1:
            return Commit(digest, size, 1, None), parts[0]
        if size == 0:
            # S3 merges no empty parts, so an empty archive is one empty object, however many parts it came in.
            return Commit(digest, 0, 1, None), self.bucket.write_once(keys.merged(self.tokens.new()), b"")
        return Commit(digest, size, len(parts), self.write(keys, parts), parts[0]), None

    def of(self, archive: Archive) -> Manifest:
        """Return the parts as committed, whether or not they are merged by now.

        Raises:
            ObjectGone: the manifest is missing or changed, or no manifest at all.
        """
        if archive.commit is None or archive.commit.manifest is None:
            return Manifest((archive.object,) if archive.object else ())
        keys, manifest = ArchiveKeys(archive.id), archive.commit.manifest
        body = self.bucket.read(full_range(manifest))
        try:
            rows = json.loads(body)["parts"]
            return Manifest(tuple(Part(keys.prefix + key, size, etag) for key, size, etag in rows))
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(manifest) from error


@dataclass(frozen=True, slots=True)
class AbortLeftUploads:
    """Aborts the multipart uploads that runs of an archive's merge left when they died, or lost their claim."""

    table: Table
    bucket: Bucket

    def __call__(self, archive_id: str) -> None:
        """Abort the archive's uploads, but for that of the run that may still publish its object."""
        uploads = [upload for upload, _ in self.bucket.uploads(ArchiveKeys(archive_id).merged_prefix)]
        archive = self.table.archive(archive_id) if uploads else None
        for upload in uploads:
            if archive is None or not may_complete(archive, upload.key):
                self.bucket.abort_upload(upload)


PAGE = 1000
"""Objects in one of S3's lists, and in one deletion."""

LISTING_TIME: Millis = 20 * SECOND
"""Time that a request may spend listing. API Gateway gives up at 29 s, and the result must still be written."""


def pages(bucket: Bucket, prefix: str, after: str = "") -> Iterator[list[Part]]:
    """Yield pages of the prefix's objects after this key; each page is requested only when it is needed."""
    found = iter(bucket.list(prefix, after))
    while page := list(islice(found, PAGE)):
        yield page


def arrivals(bucket: Bucket, clock: Clock, prefix: str) -> Iterator[Part]:
    """Yield the objects under the prefix, as many as a request has time for.

    Raises:
        TooLarge: more arrived than any client needs to send.
        TryAgain: the bucket is slow.
    """
    until = clock.now() + LISTING_TIME
    for number, part in enumerate(bucket.list(prefix)):
        if number == MAX_ARRIVALS:
            raise TooLarge(
                f"more than {MAX_ARRIVALS} parts arrived for this upload, including those sent again; "
                "reserve another key, and send fewer and larger parts"
            )
        if number % PAGE == 0 and clock.now() > until:
            raise TryAgain(f"the parts of this upload couldn't be listed within {LISTING_TIME // SECOND} s")
        yield part


@dataclass(frozen=True, slots=True)
class ClaimMerge:
    """Gives the merge of an archive to one worker: one conditional write, then one message."""

    table: Table
    queue: MergeQueue
    clock: Clock
    tokens: TokenSource
    lifetimes: Lifetimes
    max_attempts: int
    telemetry: Telemetry

    def __call__(self, archive_id: str) -> bool:
        """Claim the merge, and return whether this call won it. If not, a merge is under way or not needed.

        Raises:
            Unavailable: the message couldn't be sent; the claim is released.
        """
        token = self.tokens.new()
        return self._claim(
            archive_id,
            token,
            lambda current: claim.claimed(current, token, self.clock.now(), self.lifetimes, self.max_attempts),
        )

    def again(self, dead_letter: MergeMessage) -> bool:
        """Claim the merge that a dead letter names, with all attempts again (domain/claim.py, `redriven`)."""
        token = self.tokens.new()
        return self._claim(
            dead_letter.archive_id,
            token,
            lambda current: claim.redriven(current, dead_letter.claim_token, token, self.clock.now()),
        )

    def _claim(self, archive_id: str, token: str, decide: Decision) -> bool:
        before = MergeState.UNMERGED

        def claimed(current: Archive) -> Archive | None:
            nonlocal before
            before = current.merge.state
            return decide(current)

        won = transition(self.table, archive_id, claimed)
        if won is None:
            return False
        try:
            self.queue.send(MergeMessage(archive_id, token))
        except Unavailable:
            transition(self.table, archive_id, lambda current: claim.released(current, token))
            raise
        transition(self.table, archive_id, lambda current: claim.sent(current, token, self.clock.now()))
        self.telemetry.emit(events.merge_claimed(won, is_retaken=before is not MergeState.UNMERGED))
        return True


@dataclass(frozen=True, slots=True)
class RemoveEntry:
    """Removes an entry: a tombstone first, its objects after its readers' grace."""

    table: Table
    clock: Clock
    telemetry: Telemetry

    def __call__(self, archive_id: str, still_wanted: Callable[[Archive], bool]) -> bool:
        """Remove the archive's entry if `still_wanted` holds at the write, and return whether it was removed."""
        current = self.table.archive(archive_id)
        if current is None or not current.is_stored or not still_wanted(current):
            return False
        updated = deleted(current, self.clock.now())
        if updated is None:
            return False
        try:
            self.table.remove_entry(current, updated)
        except WriteConflict:
            return False
        self.telemetry.emit(events.entry_removed(updated))
        return True


@dataclass(frozen=True, slots=True)
class RemoveBroken:
    """Removes the entry of an archive whose object is gone, changed or unreadable, so that the next lookup misses."""

    bucket: Bucket
    remove_entry: RemoveEntry
    telemetry: Telemetry

    def __call__(self, archive: Archive, gone: ObjectGone) -> Loss | None:
        """Remove the entry, but only if the bucket confirms the loss and the archive still needs the object.

        Returns:
            Why the entry was removed; None if it wasn't, or others removed it.
        """
        lost, loss = gone.part, self._loss(gone)
        if loss is None or not self.remove_entry(archive.id, lambda current: _needs(current, lost)):
            return None
        self.telemetry.emit(events.entry_broken(archive, lost, loss))
        return loss

    def _loss(self, gone: ObjectGone) -> Loss | None:
        """Ask the bucket, and return None if the object is there as it was pinned."""
        if isinstance(gone, Unreadable):
            return Loss.UNREADABLE
        existing = self.bucket.stat(gone.part.key)
        if existing is None:
            return Loss.GONE
        return None if existing.etag == gone.part.etag else Loss.CHANGED


def _needs(archive: Archive, lost: Part) -> bool:
    return archive.object is None or archive.object == lost


READING_TIME: Millis = 12 * SECOND
"""Time that a request may spend reading. API Gateway gives up at 29 s, and the result must still be deleted, sorted or
shown. It suffices for some 30,000 entries, at 0.4 ms each in a function with 1,024 MB: more than a repository's default
budget of entries."""

READ_AT_ONCE = 1000
"""Entries in a page where a repository is read whole; DynamoDB ends a page at 1 MB."""

LOOK_EVERY = 50
"""Items between two looks at the clock."""

T = TypeVar("T")


@dataclass
class Reading(Generic[T]):
    """Iterates over items until the time is up.

    Args:
        items: to be read.
        until: when to stop; None if there is time for everything.
        is_whole: False once items were left out.
    """

    items: Iterable[T]
    clock: Clock
    until: Millis | None
    is_whole: bool = True

    def __iter__(self) -> Iterator[T]:
        for number, item in enumerate(self.items):
            if self.until is not None and number % LOOK_EVERY == 0 and self.clock.now() > self.until:
                self.is_whole = False
                return
            yield item
