"""Merge the parts of one archive into one object. A merge reads for itself, never for a reader, and deletes nothing."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from actions_cache import events
from actions_cache.archives import AbortLeftUploads, Manifests, RemoveBroken, transition
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Manifest, Part
from actions_cache.domain.checksum import etag_of, etag_of_upload, etags_conflict
from actions_cache.domain.merge_plan import Copy, Upload, plan_merge
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.events import RunEnd, about
from actions_cache.ports import (
    Bucket,
    Clock,
    MergeMessage,
    MergeQueue,
    MultipartUpload,
    ObjectGone,
    Table,
    Telemetry,
    TokenSource,
    Unavailable,
    UploadedPart,
    WrongBytes,
)

MAX_UPLOADS_IN_FLIGHT = 6
"""Number of parts that are read and uploaded at the same time. Each holds its bytes, some 8 MiB, in memory twice while
they are joined; copies hold none. More: the worker needs more than 256 MiB (docs/design/performance.md). Fewer: reads
that wait for the store hold up the uploads."""

DEADLINE_MARGIN: Millis = 10 * SECOND
"""Time that is left for an orderly end: abort the upload, release the run. More: large merges run out of time sooner.
Less: a worker may be killed on its way out, and its run stays claimed until the lease ends."""

TimeLeft = Callable[[], Millis]
"""Returns how much time the worker still has."""


@dataclass(frozen=True, slots=True)
class DeliveredMessage:
    """A message as the merge queue delivered it."""

    body: str
    message: MergeMessage | None
    """None if the body is no merge message."""
    receipt_handle: str
    deliveries: int
    """Deliveries by the queue so far, this one included."""


@dataclass(frozen=True, slots=True)
class HandleMergeMessage:
    """Decides what becomes of a delivered message: it is done, comes again later, or becomes a dead letter."""

    merge: Callable[[MergeMessage, TimeLeft], RunEnd]
    queue: MergeQueue

    def __call__(self, delivered: DeliveredMessage, remaining: TimeLeft) -> None:
        """Merge, or make a dead letter of a message that no retry can help.

        The queue's own count of deliveries doesn't decide which: it includes those that Lambda had no room for. A
        worker that dies after it wrote the dead letter and before it deleted the message leaves a second dead letter;
        once the first is redriven, redriving the second does nothing.

        Raises:
            Exception: the merge, or writing the dead letter, failed. The queue delivers the message again after a
                back-off; the message's own visibility timeout is for workers that died.
        """
        try:
            self._merge_or_give_up(delivered, remaining)
        except Exception:
            self.queue.deliver_again_in(delivered.receipt_handle, claim.retry_after(delivered.deliveries))
            raise

    def _merge_or_give_up(self, delivered: DeliveredMessage, remaining: TimeLeft) -> None:
        if delivered.message is None:
            self.queue.give_up(delivered.body)
            return
        try:
            self.merge(delivered.message, remaining)
        except GivenUp:
            self.queue.give_up(delivered.body)


class GivenUp(Exception):
    """Raised when every run of the message's claim failed or died, so that the message has to become a dead letter.

    The queue's own count can't decide this: the schedule reclaims dead runs long before the queue delivers their
    message again, and a delivery that Lambda had no room for was no attempt.
    """


class RunLost(Exception):
    """Raised when another run took over, or the entry was removed."""


class OutOfTime(Exception):
    """Raised when the merge doesn't fit into the worker's time. The queue delivers the message again."""


@dataclass(frozen=True, slots=True)
class MergeArchive:
    """Carries out a claim: one run of it at a time, each with an object of its own."""

    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    tokens: TokenSource
    remove_broken: RemoveBroken
    abort_left_uploads: AbortLeftUploads
    lifetimes: Lifetimes
    max_attempts: int
    concurrency: int
    telemetry: Telemetry

    def __call__(self, message: MergeMessage, remaining: TimeLeft) -> RunEnd:
        """Merge the archive, if the message's claim is the current one and no run of it is alive.

        Args:
            message: the message, whose claim token says which claim it carries out.
            remaining: returns how much time the worker still has.

        Returns:
            MERGED; LOST; BROKEN if the entry was removed; NOT_OURS if the archive is merged already, was claimed
            anew, or has a live run.

        Raises:
            GivenUp: the claim has no attempt left.
            Exception: the run failed and is released; the message has to be delivered again.
        """
        run_token = self.tokens.new()
        archive = transition(
            self.table,
            message.archive_id,
            lambda current: claim.started(
                current, message.claim_token, run_token, self.clock.now(), self.lifetimes, self.max_attempts
            ),
        )
        if archive is None:
            return self._not_ours(message)
        started_at = self.clock.now()
        self.telemetry.emit(events.merge_started(archive))
        try:
            merged = self._merge(archive, run_token, remaining)
        except RunLost:
            return self._ended(about(archive), RunEnd.LOST)
        except BaseException as error:
            if isinstance(error, ObjectGone) and self.remove_broken(archive, error):
                return self._ended(about(archive), RunEnd.BROKEN)
            if not self._release(archive, run_token, error) and isinstance(error, Exception):
                return self._ended(about(archive), RunEnd.LOST)
            raise
        published = transition(
            self.table, archive.id, lambda current: claim.published(current, run_token, merged, self.clock.now())
        )
        if published is None:
            return self._ended(about(archive), RunEnd.LOST)
        self.telemetry.emit(events.merged(published, self.clock.now() - started_at))
        return RunEnd.MERGED

    def _not_ours(self, message: MergeMessage) -> RunEnd:
        """Record that this message has nothing to merge.

        Raises:
            GivenUp: its claim has no attempt left.
        """
        archive = self.table.archive(message.archive_id)
        now = self.clock.now()
        if archive and claim.is_given_up(archive, message.claim_token, now, self.lifetimes, self.max_attempts):
            self._ended(about(archive), RunEnd.GIVEN_UP)
            raise GivenUp(f"the merge of {archive.id} was given up: see the errors before")
        return self._ended(about(archive) if archive else {"archive_id": message.archive_id}, RunEnd.NOT_OURS)

    def _release(self, archive: Archive, run_token: str, error: BaseException) -> bool:
        """Release a run that failed, so that another attempt can start.

        Returns:
            False if it was lost: another run took over, and may have aborted its upload, or the entry was removed.
        """
        try:
            released = transition(
                self.table,
                archive.id,
                lambda current: claim.failed(current, run_token, self.clock.now(), self.max_attempts),
            )
        except BaseException:
            self._ended(about(archive), RunEnd.FAILED, error)
            raise
        if released is not None:
            self._ended(about(archive), RunEnd.FAILED, error)
        return released is not None

    def _ended(self, fields: Mapping[str, object], end: RunEnd, error: BaseException | None = None) -> RunEnd:
        self.telemetry.emit(events.merge_ended(fields, end, error))
        return end

    def _merge(self, archive: Archive, run_token: str, remaining: TimeLeft) -> Part:
        """Write the merged object, and return it once the bucket confirms its size and ETag."""
        if archive.merge.attempts > 1:
            # What can't be aborted now is found by cleanup.
            with suppress(Unavailable):
                self.abort_left_uploads(archive.id)
        manifest = self.manifests.of(archive)
        key = ArchiveKeys(archive.id).merged(run_token)
        with self._upload(key) as upload:
            done = self._run_steps(archive.id, run_token, manifest, upload, remaining)
            done.sort(key=lambda part: part.number)
            self.bucket.complete_upload(upload, done)
        merged = self.bucket.stat(key)
        etag = etag_of_upload([part.etag for part in done])
        if merged is None or merged.size != manifest.size or (etag and merged.etag != etag):
            raise WrongBytes(Part(key, manifest.size, etag or "unknown"), f"the merged object is {merged}")
        return merged

    @contextmanager
    def _upload(self, key: str) -> Iterator[MultipartUpload]:
        """Start a multipart upload, and abort it if the block raises."""
        upload = self.bucket.start_upload(key)
        try:
            yield upload
        except BaseException:
            self.bucket.abort_upload(upload)
            raise

    def _run_steps(
        self,
        archive_id: str,
        run_token: str,
        manifest: Manifest,
        upload: MultipartUpload,
        remaining: TimeLeft,
    ) -> list[UploadedPart]:
        """Run all steps concurrently, and meanwhile renew the lease at a third of its life.

        Raises:
            OutOfTime: the steps don't fit into the worker's time.
            RunLost: another run took over.
        """
        # Threads of their own, and no more than needed: each keeps for itself the memory that it once had.
        copies = ThreadPoolExecutor(self.concurrency, thread_name_prefix="merge-copy")
        uploads = ThreadPoolExecutor(min(MAX_UPLOADS_IN_FLIGHT, self.concurrency), thread_name_prefix="merge-upload")
        reads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="merge-read")
        executors = copies, uploads, reads
        try:
            steps = [
                copies.submit(self._copy, step, upload)
                if isinstance(step, Copy)
                else uploads.submit(self._upload_part, step, upload, reads)
                for step in plan_merge(manifest)
            ]
            pending: set[Future[UploadedPart]] = set(steps)
            while pending:
                time_left = remaining() - DEADLINE_MARGIN
                if time_left <= 0:
                    raise OutOfTime(f"the merge of {archive_id} doesn't fit into the worker's time")
                timeout = min(time_left, self.lifetimes.merge_lease // 3) / SECOND
                finished, pending = wait(pending, timeout=timeout, return_when=FIRST_EXCEPTION)
                for step in finished:
                    step.result()
                if pending:
                    self._renew(archive_id, run_token)
            return [step.result() for step in steps]
        finally:
            # Before the upload is aborted: a copy that ends after the abort would leave its bytes behind.
            for executor in executors:
                executor.shutdown(wait=False, cancel_futures=True)
            for executor in executors:
                executor.shutdown()

    def _copy(self, step: Copy, upload: MultipartUpload) -> UploadedPart:
        """Copy a range into the upload.

        Raises:
            WrongBytes: the ETag of the copy shows that it has other bytes than the source.
        """
        copied = self.bucket.copy_part(upload, step.number, step.source)
        if step.source.is_whole and etags_conflict(copied.etag, step.source.part.etag):
            raise WrongBytes(step.source.part, f"the ETag of its copy is {copied.etag}")
        return copied

    def _upload_part(self, step: Upload, upload: MultipartUpload, reads: Executor) -> UploadedPart:
        """Upload ranges that are too small to copy, joined.

        They are read concurrently: one after the other, each would wait for the store's first byte.

        Raises:
            WrongBytes: the ETag shows that other bytes arrived than were sent.
        """
        body = b"".join(reads.map(self.bucket.read, step.sources))
        uploaded = self.bucket.upload_part(upload, step.number, body)
        if etags_conflict(uploaded.etag, sent := etag_of([body])):
            raise WrongBytes(Part(upload.key, len(body), sent), f"part {step.number} arrived with ETag {uploaded.etag}")
        return uploaded

    def _renew(self, archive_id: str, run_token: str) -> None:
        renewed = transition(
            self.table,
            archive_id,
            lambda current: claim.renewed(current, run_token, self.clock.now(), self.lifetimes),
        )
        if renewed is None:
            raise RunLost(archive_id)
