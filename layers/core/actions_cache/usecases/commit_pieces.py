"""The v1 API's commit: the pieces that arrived become the archive, and its entry visible."""

from dataclasses import dataclass

from actions_cache.domain.archive import Archive, ArchiveState, committed, why_gone
from actions_cache.domain.entry import Entry
from actions_cache.domain.errors import NotFound
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.pieces import assemble_pieces, pieces_digest
from actions_cache.ports import Bucket, Clock, Table
from actions_cache.usecases.arrivals import arrivals
from actions_cache.usecases.finalize import Finalize
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.transition import transition


@dataclass(frozen=True, slots=True)
class CommitPieces:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    finalize: Finalize

    def __call__(self, archive: Archive, size: int) -> Entry:
        """Commit and finalize. Doing so again succeeds, since the answer may have been lost.

        Args:
            archive: as it was read, the caller's own.
            size: what the client says it sent.

        Raises:
            InvalidRequest: the pieces aren't `size` bytes without a gap. Nothing was changed.
            TooLarge: more arrived than a request has time to list.
            NotFound: the upload is gone, or took longer than its reservation.
        """
        if archive.state is ArchiveState.DELETED:
            raise NotFound(why_gone(archive))
        if archive.commit is None:
            keys = ArchiveKeys(archive.id)
            parts = assemble_pieces(keys, size, arrivals(self.bucket, self.clock, keys.pieces_prefix))
            commit, only_part = self.manifests.commit(keys, parts, pieces_digest(size))
            transition(self.table, archive.id, lambda seen: committed(seen, commit, only_part))
        return self.finalize(archive.name, size, archive.id)
