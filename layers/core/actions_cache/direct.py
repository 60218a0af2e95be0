"""Direct uploads: offer a multipart upload of the archive's own object, and complete it at the block list.

Reserve offers one to a client that asks for it; CommitUpload completes it (save.py). The archive is one object then.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from actions_cache import events
from actions_cache.archives import transition
from actions_cache.domain.archive import (
    Archive,
    ArchiveState,
    Commit,
    DirectUpload,
    Part,
    committed,
    completing,
)
from actions_cache.domain.delivery import PlainReason, can_reach
from actions_cache.domain.direct_upload import DirectUrls, SentPart, assemble_direct
from actions_cache.domain.errors import CommittedDifferently
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND, Lifetimes
from actions_cache.ports import (
    Bucket,
    Clock,
    MultipartUpload,
    Table,
    Telemetry,
    TokenSource,
    Unavailable,
    UploadedPart,
    WrongBytes,
)


@dataclass(frozen=True, slots=True)
class OfferDirect:
    """Starts the multipart upload that a new archive's blocks may go into, and presigns its URLs."""

    bucket: Bucket
    clock: Clock
    tokens: TokenSource
    lifetimes: Lifetimes
    telemetry: Telemetry

    def __call__(self, archive_id: str, server_url: str) -> tuple[DirectUpload, DirectUrls] | None:
        """Return the upload and its URLs; None if S3 doesn't answer, or the client can't use URLs of this store.

        Args:
            archive_id: the archive, which isn't reserved yet.
            server_url: the beginning of the server's URLs, as the client asks it.
        """
        offer = self._offer(ArchiveKeys(archive_id), server_url)
        if isinstance(offer, PlainReason):
            self.telemetry.emit(events.direct_not_offered(archive_id, offer))
            return None
        return offer

    def _offer(self, keys: ArchiveKeys, server_url: str) -> tuple[DirectUpload, DirectUrls] | PlainReason:
        try:
            upload = self.bucket.start_upload(keys.direct(self.tokens.new()))
        except Unavailable:
            return PlainReason.UNAVAILABLE
        direct = DirectUpload(upload.key, upload.upload_id)
        try:
            blob_key = keys.blob(self.clock.now(), self.tokens.new())
            urls = self.bucket.presign_uploads(upload, blob_key, self.lifetimes.upload_url // SECOND)
        except Unavailable:
            self.withdraw(direct)
            return PlainReason.UNAVAILABLE
        if not can_reach(urls.look, server_url):
            self.withdraw(direct)
            return PlainReason.OUT_OF_REACH
        return direct, urls

    def withdraw(self, direct: DirectUpload) -> None:
        """Abort an upload that no archive knows. What this leaves behind, cleanup finds (FindOrphans)."""
        with suppress(Unavailable):
            self.bucket.abort_upload(MultipartUpload.of(direct))


@dataclass(frozen=True, slots=True)
class CompleteDirect:
    """Makes one object of the parts that arrived in an archive's direct upload, and commits it.

    What the object will be is noted first, with the ETag that follows from its parts. So a list that comes again finds
    what a crashed one had begun, and nothing that arrives later changes it: S3 refuses a part with another ETag, and
    once completed, the upload is gone.
    """

    table: Table
    bucket: Bucket

    def __call__(self, archive_id: str, digest: str, block_ids: Sequence[str]) -> Archive | None:
        """Commit the upload if its blocks went this way, and return the archive as it is then.

        Raises:
            InvalidBlockList: only some of the list's blocks went this way, or they don't fit S3's rules.
            CommittedDifferently: another list has begun to complete it, or a block was sent again with other bytes.
            Unavailable: S3 didn't answer, or not as it should; the same list may succeed.
        """
        archive = self.table.archive(archive_id)
        offered = _offered(archive)
        if offered is None:
            return archive
        upload = MultipartUpload.of(offered)
        sent = self.bucket.sent_parts(upload)
        parts: Sequence[UploadedPart] = ()
        made = offered.object
        if sent:
            parts, made = _assembled(upload, block_ids, sent)
        if made is None:
            return archive
        if offered.object is None:
            archive = self._note(archive_id, digest, made)
            offered = _offered(archive)
        if offered is None or offered.object is None:
            return archive
        if offered.digest != digest:
            raise CommittedDifferently("this upload is being committed with another block list")
        if offered.object != made:
            raise CommittedDifferently("a block was sent again, with other bytes, after this upload's block list")
        self._complete(upload, parts, offered.object)
        return self._commit(archive_id, digest, offered.object)

    def _note(self, archive_id: str, digest: str, made: Part) -> Archive | None:
        noted = transition(self.table, archive_id, lambda current: completing(current, digest, made))
        return noted or self.table.archive(archive_id)

    def _commit(self, archive_id: str, digest: str, made: Part) -> Archive | None:
        commit = Commit(digest, made.size, 1, None)
        written = transition(self.table, archive_id, lambda current: committed(current, commit, made))
        return written or self.table.archive(archive_id)

    def _complete(self, upload: MultipartUpload, parts: Sequence[UploadedPart], made: Part) -> None:
        """Complete the upload, unless it is over, and look at the object: no answer alone tells whether it is there.

        Raises:
            WrongBytes: another object is there.
            Unavailable: none is there, or none yet.
        """
        failure: Unavailable | None = None
        try:
            if parts:
                self.bucket.complete_upload(upload, parts)
        except Unavailable as error:
            failure = error
        found = self.bucket.stat(made.key)
        if found is None:
            raise failure or Unavailable(f"{made.key} isn't there, although its upload is over")
        if found != made:
            raise WrongBytes(made, f"the completed object is {found}")


def _offered(archive: Archive | None) -> DirectUpload | None:
    """Return the archive's direct upload, if the archive may still be committed by it."""
    is_open = archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None
    return archive.direct if archive is not None and is_open else None


def _assembled(
    upload: MultipartUpload, block_ids: Sequence[str], sent: Sequence[SentPart]
) -> tuple[Sequence[UploadedPart], Part]:
    parts, made = assemble_direct(upload.key, block_ids, sent)
    if made is None:
        raise WrongBytes(Part(upload.key, sent[0].size, sent[0].etag), "the ETag of a part isn't an MD5")
    return [UploadedPart(part.number, part.etag) for part in parts], made
