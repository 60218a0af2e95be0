"""Get Block List: what an upload was committed as, and what arrived and wasn't committed."""

from collections.abc import Iterable
from dataclasses import dataclass

from actions_cache.domain.archive import Archive, ArchiveState, Part, why_gone
from actions_cache.domain.commit import newest_arrivals
from actions_cache.domain.errors import NotFound
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Bucket, Clock, ObjectGone, Table
from actions_cache.usecases.arrivals import arrivals
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.remove_entry import RemoveBroken


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
    clock: Clock
    remove_broken: RemoveBroken

    def __call__(self, archive_id: str) -> Blocks:
        """Return what can be known of the upload now.

        Raises:
            NotFound: the upload is gone, or nothing came.
            TooLarge: more arrived than a request has time to list.
        """
        archive = self.table.archive(archive_id)
        if archive is None or archive.state is ArchiveState.DELETED:
            raise NotFound(why_gone(archive))
        keys = ArchiveKeys(archive_id)
        if archive.commit is not None:
            return Blocks(_blocks(keys, self._committed(archive)), ())
        arrived = newest_arrivals(arrivals(self.bucket, self.clock, keys.parts_prefix)).values()
        if not arrived:
            raise NotFound("nothing was uploaded here")
        return Blocks((), tuple(sorted(_blocks(keys, arrived), key=lambda block: block.id)))

    def _committed(self, archive: Archive) -> tuple[Part, ...]:
        try:
            return self.manifests.of(archive).parts
        except ObjectGone as gone:
            if archive.object is None and self.remove_broken(archive, gone):
                raise NotFound("the list of this upload's blocks is gone, so its entry was removed") from gone
            raise NotFound("the blocks of this upload were merged since, and are gone") from None


def _blocks(keys: ArchiveKeys, parts: Iterable[Part]) -> tuple[Block, ...]:
    ids = ((keys.block_id(part.key), part.size) for part in parts)
    return tuple(Block(block_id, size) for block_id, size in ids if block_id is not None)
