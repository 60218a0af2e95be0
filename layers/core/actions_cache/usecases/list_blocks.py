"""Get Block List: what an upload was committed as, and what arrived and wasn't committed."""

from collections.abc import Iterable
from dataclasses import dataclass

from actions_cache.domain.archive import Archive, ArchiveState, Part
from actions_cache.domain.commit import newest_arrivals
from actions_cache.domain.errors import NotFound
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Bucket, ObjectGone, Table
from actions_cache.usecases.manifests import Manifests


@dataclass(frozen=True, slots=True)
class Block:
    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Blocks:
    committed: tuple[Block, ...]
    """In the order of the block list. None of an upload that was committed by something else."""
    uncommitted: tuple[Block, ...]
    """In the order of their ids, as at Azure. None once the upload is committed: what comes later is thrown away."""


@dataclass(frozen=True, slots=True)
class ListBlocks:
    table: Table
    bucket: Bucket
    manifests: Manifests

    def __call__(self, archive_id: str) -> Blocks:
        """Raises: NotFound: the upload is gone, or nothing came."""
        archive = self.table.archive(archive_id)
        if archive is None or archive.state is ArchiveState.DELETED:
            raise NotFound("this upload is gone: its reservation expired, or its entry was removed")
        keys = ArchiveKeys(archive_id)
        if archive.commit is not None:
            return Blocks(_blocks(keys, self._committed(archive)), ())
        arrived = newest_arrivals(self.bucket.list(keys.parts_prefix)).values()
        if not arrived:
            raise NotFound("nothing was uploaded here")
        return Blocks((), tuple(sorted(_blocks(keys, arrived), key=lambda block: block.id)))

    def _committed(self, archive: Archive) -> tuple[Part, ...]:
        try:
            return self.manifests.of(archive).parts
        except ObjectGone:
            raise NotFound("the blocks of this upload were merged since, and are gone") from None


def _blocks(keys: ArchiveKeys, parts: Iterable[Part]) -> tuple[Block, ...]:
    ids = ((keys.block_id(part.key), part.size) for part in parts)
    return tuple(Block(block_id, size) for block_id, size in ids if block_id is not None)
