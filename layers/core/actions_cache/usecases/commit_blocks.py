"""Put Block List: the order of the parts, learnt from the list, and what arrived, learnt from the bucket."""

from collections.abc import Sequence
from dataclasses import dataclass

from actions_cache.domain.archive import Archive, ArchiveState, committed, why_gone
from actions_cache.domain.commit import MAX_BLOCKS, assemble, block_list_digest, check_names_each_once
from actions_cache.domain.errors import CommittedDifferently, NotFound, TooLarge
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Bucket, Clock, Table
from actions_cache.usecases.arrivals import arrivals
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.transition import transition


@dataclass(frozen=True, slots=True)
class CommitBlocks:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock

    def __call__(self, archive_id: str, block_ids: Sequence[str]) -> None:
        """Commit the upload. Doing so again with the same list succeeds, since its answer may have been lost.

        Raises:
            TooLarge: more blocks than Azure allows, or more arrived than a request has time to list.
            InvalidBlockList: the list names a block that never arrived, or names one twice.
            CommittedDifferently: the upload was committed with another list.
            NotFound: the upload is gone: it was never finished in time, or its entry was removed.
        """
        if len(block_ids) > MAX_BLOCKS:
            raise TooLarge(f"the block list names {len(block_ids)} blocks; at most {MAX_BLOCKS} are allowed")
        digest = block_list_digest(block_ids)
        archive = self.table.archive(archive_id)
        if _is_open(archive):
            check_names_each_once(block_ids)
            keys = ArchiveKeys(archive_id)
            parts = assemble(keys, block_ids, arrivals(self.bucket, self.clock, keys.blocks_prefix))
            commit, only_part = self.manifests.commit(keys, parts, digest)
            transition(self.table, archive_id, lambda seen: committed(seen, commit, only_part))
            archive = self.table.archive(archive_id)
        _check_committed(archive, digest)


def _is_open(archive: Archive | None) -> bool:
    return archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None


def _check_committed(archive: Archive | None, digest: str) -> None:
    if archive is None or archive.state is ArchiveState.DELETED or archive.commit is None:
        raise NotFound(why_gone(archive))
    if archive.commit.digest != digest:
        raise CommittedDifferently("this upload was committed with another block list; what was committed stays")
