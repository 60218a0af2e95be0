"""Append Blob Seal: what was appended until now is what the upload holds."""

from dataclasses import dataclass

from actions_cache.domain.appending import APPENDED_DIGEST
from actions_cache.domain.archive import ArchiveState, committed, why_gone
from actions_cache.domain.commit import whole_blob
from actions_cache.domain.errors import CommittedDifferently, InvalidRequest, NotFound
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Bucket, Clock, Table
from actions_cache.usecases.arrivals import arrivals
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.transition import transition


@dataclass(frozen=True, slots=True)
class Seal:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock

    def __call__(self, archive_id: str) -> None:
        """Commit the upload. Doing so again succeeds, since the answer may have been lost.

        Raises:
            InvalidRequest: the pieces don't follow each other, or a Put Blob replaced them.
            TooLarge: more arrived than a request has time to list.
            CommittedDifferently: the upload was committed as something else.
            NotFound: no append blob was begun, or the upload is gone: never finished in time, or its entry was removed.
        """
        archive = self.table.archive(archive_id)
        if archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None:
            keys = ArchiveKeys(archive_id)
            blob = whole_blob(keys, arrivals(self.bucket, self.clock, keys.parts_prefix))
            if blob is None:
                raise NotFound("there is no append blob to seal; create it first")
            if blob.digest != APPENDED_DIGEST:
                raise InvalidRequest("a Put Blob replaced what was appended; only an append blob can be sealed")
            commit, only_part = self.manifests.commit(keys, blob.parts, APPENDED_DIGEST)
            transition(self.table, archive_id, lambda seen: committed(seen, commit, only_part))
            archive = self.table.archive(archive_id)
        if archive is None or archive.state is ArchiveState.DELETED or archive.commit is None:
            raise NotFound(why_gone(archive))
        if archive.commit.digest != APPENDED_DIGEST:
            raise CommittedDifferently("this upload was committed otherwise than by appending; that stays")
