"""Put Block List: the order of the parts, learnt from the list, and what arrived, learnt from the bucket."""

from collections.abc import Sequence
from dataclasses import dataclass

from actions_cache.domain.archive import Archive, ArchiveState, committed
from actions_cache.domain.commit import MAX_BLOCKS, assemble, block_list_digest
from actions_cache.domain.errors import CommittedDifferently, NotFound, TooLarge
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Bucket, Table
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.transition import transition


@dataclass(frozen=True, slots=True)
class CommitBlocks:
    table: Table
    bucket: Bucket
    manifests: Manifests

    def __call__(self, archive_id: str, block_ids: Sequence[str]) -> None:
        """Commits the upload. The same list again succeeds; its answer may have been lost (P5).

        Raises:
            TooLarge: more blocks than Azure allows.
            UnknownBlock: the list names a block that never arrived.
            CommittedDifferently: the upload was committed with another list.
            NotFound: the upload is gone: it was never finished in time, or its entry was removed.
        """
        if len(block_ids) > MAX_BLOCKS:
            raise TooLarge(f"the block list names {len(block_ids)} blocks; at most {MAX_BLOCKS} are allowed")
        digest = block_list_digest(block_ids)
        archive = self.table.archive(archive_id)
        if _is_open(archive):
            keys = ArchiveKeys(archive_id)
            parts = assemble(keys, block_ids, self.bucket.list(keys.blocks_prefix))
            commit, only_part = self.manifests.commit(keys, parts, digest)
            transition(self.table, archive_id, lambda seen: committed(seen, commit, only_part))
            archive = self.table.archive(archive_id)
        _check_committed(archive, digest)


def _is_open(archive: Archive | None) -> bool:
    return archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None


def _check_committed(archive: Archive | None, digest: str) -> None:
    if archive is None or archive.state is ArchiveState.DELETED or archive.commit is None:
        raise NotFound("this upload is gone: its reservation expired, or its entry was removed")
    if archive.commit.digest != digest:
        raise CommittedDifferently("this upload was committed with another block list; what was committed stays")
