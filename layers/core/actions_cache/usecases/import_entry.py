"""An entry that another server saved, with its age: by the same way as a job's (P5), from wherever its bytes stand."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from actions_cache.domain.archive import Archive, ArchiveState, Past, deleted
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import AlreadyExists
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.timing import Millis
from actions_cache.domain.usage import Budgets
from actions_cache.ports import Clock, Repositories, Table, TokenSource
from actions_cache.usecases.commit_blocks import CommitBlocks
from actions_cache.usecases.finalize import Finalize
from actions_cache.usecases.note_repository import note_unnamed
from actions_cache.usecases.reserve import Reserve
from actions_cache.usecases.transition import transition


class Piece(Protocol):
    """Some of the entry's bytes, elsewhere."""

    @property
    def size(self) -> int: ...

    def bring(self, key: str) -> None:
        """Into the bucket, all of them, or an error. Called in a thread."""
        ...


class Imported(StrEnum):
    YES = "imported"
    THERE_ALREADY = "there already"
    BEING_SAVED = "being saved by another"
    TOO_OLD = "unused for too long to be kept here"


@dataclass(frozen=True, slots=True)
class ImportEntry:
    table: Table
    clock: Clock
    tokens: TokenSource
    reserve: Reserve
    commit_blocks: CommitBlocks
    finalize: Finalize
    repositories: Repositories
    budgets: Budgets
    unused_entry: Millis
    concurrency: int

    def __call__(self, name: EntryName, pieces: Sequence[Piece], past: Past) -> Imported:
        """All of it or nothing; what was imported before stays as it is, so a run that broke off is just run again.

        Args:
            name: of the entry.
            pieces: its bytes, in order; at least one.
            past: what it did there.

        Raises:
            CacheError: it can't be an entry here: too large, say.
            Exception: whatever went wrong. The key is free again.
        """
        if prevents := self.prevented(name, past):
            return prevents
        self.budgets.check_entry(sum(piece.size for piece in pieces))
        note_unnamed(self.repositories, name.family.repository, self.clock.now())
        try:
            archive = self.reserve.held(name)
        except AlreadyExists:
            return Imported.THERE_ALREADY if self.table.entry(name) else Imported.BEING_SAVED
        try:
            self._bring(archive.id, pieces)
            self.finalize(name, sum(piece.size for piece in pieces), archive.id, past)
        except BaseException:
            self._abandon(archive)
            raise
        return Imported.YES

    def prevented(self, name: EntryName, past: Past) -> Imported | None:
        """Why it won't be imported, where that can be told before."""
        if self.table.entry(name):
            return Imported.THERE_ALREADY
        if past.last_used_at + self.unused_entry <= self.clock.now():
            return Imported.TOO_OLD
        return None

    def _bring(self, archive_id: str, pieces: Sequence[Piece]) -> None:
        """One piece as a Put Blob would come, which Finalize pins; several as blocks."""
        keys, arrived_at, request_id = ArchiveKeys(archive_id), self.clock.now(), self.tokens.new()
        if len(pieces) == 1:
            pieces[0].bring(keys.blob(arrived_at, request_id))
            return
        block_ids = [base64.b64encode(f"{index:06d}".encode()).decode() for index in range(len(pieces))]
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="import") as executor:
            brought = [
                executor.submit(piece.bring, keys.block(block_id, arrived_at, request_id))
                for piece, block_id in zip(pieces, block_ids, strict=True)
            ]
            try:
                for piece in brought:
                    piece.result()
            finally:
                executor.shutdown(cancel_futures=True)
        self.commit_blocks(archive_id, block_ids)

    def _abandon(self, archive: Archive) -> None:
        """Unless it was saved after all. The schedule deletes what came."""
        now = self.clock.now()
        abandoned = transition(
            self.table,
            archive.id,
            lambda seen: deleted(seen, now) if seen.state is ArchiveState.RESERVED else None,
        )
        if abandoned is not None:
            self.table.drop_reservation(archive.reservation)
