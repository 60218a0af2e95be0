"""The merge of one archive: from its own reads, never a reader's, and deleting nothing."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from actions_cache import events
from actions_cache.archives import Manifests, RemoveBroken, transition
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
    MultipartUpload,
    ObjectGone,
    Table,
    Telemetry,
    TokenSource,
    UploadedPart,
    WrongBytes,
)

MAX_UPLOADS_IN_FLIGHT = 6
"""Each holds its bytes, some 8 MiB, in memory twice while they are joined; copies hold none. More: the worker needs
more than 256 MiB (docs/performance.md); fewer: reads that wait for the store hold up the uploads."""

DEADLINE_MARGIN: Millis = 10 * SECOND
"""What an orderly end takes: abort the upload, release the run."""


class RunLost(Exception):
    """Another run took over, or the entry was removed."""


class GivenUp(Exception):
    """Raised when every run of the message's claim failed or died.

    It belongs in the dead-letter queue, for people to see.

    The queue's own count can't decide this: the schedule reclaims dead runs long before the queue delivers their
    message again, and a delivery that Lambda had no room for was no attempt.
    """


class OutOfTime(Exception):
    """The worker's time runs out; the message comes again."""


@dataclass(frozen=True, slots=True)
class MergeArchive:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    tokens: TokenSource
    remove_broken: RemoveBroken
    lifetimes: Lifetimes
    max_attempts: int
    concurrency: int
    telemetry: Telemetry

    def __call__(self, message: MergeMessage, remaining: Callable[[], Millis]) -> RunEnd:
        """Merges, if the message's claim is current and no run of it lives.

        Args:
            message: its claim token says which claim it carries out.
            remaining: how much time the worker still has.

        Returns:
            MERGED, LOST, BROKEN (its entry was removed), or NOT_OURS: merged, claimed anew, or a run is under way.

        Raises:
            GivenUp: nothing is left to try.
            Exception: whatever went wrong; the run is released and the message is to be delivered again.
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
        except ObjectGone as gone:
            if self.remove_broken(archive, gone):
                return self._ended(about(archive), RunEnd.BROKEN)
            self._fail(archive, run_token, gone)
            raise
        except BaseException as error:
            self._fail(archive, run_token, error)
            raise
        published = transition(
            self.table, archive.id, lambda current: claim.published(current, run_token, merged, self.clock.now())
        )
        if published is None:
            return self._ended(about(archive), RunEnd.LOST)
        self.telemetry.emit(events.merged(published, self.clock.now() - started_at))
        return RunEnd.MERGED

    def _ended(self, fields: Mapping[str, object], end: RunEnd) -> RunEnd:
        self.telemetry.emit(events.merge_ended(fields, end))
        return end

    def _not_ours(self, message: MergeMessage) -> RunEnd:
        """Raises GivenUp."""
        archive = self.table.archive(message.archive_id)
        now = self.clock.now()
        if archive and claim.is_given_up(archive, message.claim_token, now, self.lifetimes, self.max_attempts):
            self.telemetry.emit(events.merge_ended(about(archive), RunEnd.GIVEN_UP))
            raise GivenUp(f"the merge of {archive.id} was given up: see the errors before")
        fields = about(archive) if archive else {"archive_id": message.archive_id}
        return self._ended(fields, RunEnd.NOT_OURS)

    def _fail(self, archive: Archive, run_token: str, error: BaseException) -> None:
        self.telemetry.emit(events.merge_ended(about(archive), RunEnd.FAILED, error))
        transition(
            self.table,
            archive.id,
            lambda current: claim.failed(current, run_token, self.clock.now(), self.max_attempts),
        )

    def _merge(self, archive: Archive, run_token: str, remaining: Callable[[], Millis]) -> Part:
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
        """A multipart upload that is aborted on every way out but the good one."""
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
        remaining: Callable[[], Millis],
    ) -> list[UploadedPart]:
        """All steps, side by side; meanwhile the lease is renewed, at a third of its life.

        Raises:
            OutOfTime: they don't fit into the worker's time.
            RunLost: another run took over.
        """
        # Threads of their own, and no more than needed: each keeps for itself what it once had of memory.
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
        """Raises WrongBytes: by its ETag, what the upload has now isn't what the step was to bring."""
        copied = self.bucket.copy_part(upload, step.number, step.source)
        if step.source.is_whole and etags_conflict(copied.etag, step.source.part.etag):
            raise WrongBytes(step.source.part, f"the ETag of its copy is {copied.etag}")
        return copied

    def _upload_part(self, step: Upload, upload: MultipartUpload, reads: Executor) -> UploadedPart:
        """Its sources are read side by side: one after the other, each would wait for the store's first byte.

        Raises: WrongBytes: by its ETag, what the upload has now isn't what was sent.
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
