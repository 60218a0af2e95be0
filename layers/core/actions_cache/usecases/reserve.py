"""CreateCacheEntry: a key is held for an upload."""

from dataclasses import dataclass

from actions_cache.domain.archive import reserved
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import AlreadyExists
from actions_cache.domain.signed_url import Direction
from actions_cache.domain.timing import Lifetimes
from actions_cache.ports import Clock, Table, TokenSource, WriteConflict
from actions_cache.usecases.urls import UrlSigner


@dataclass(frozen=True, slots=True)
class Reserve:
    table: Table
    clock: Clock
    tokens: TokenSource
    urls: UrlSigner
    lifetimes: Lifetimes

    def __call__(self, name: EntryName) -> str:
        """Returns: the path, with its query, to upload to.

        Raises: AlreadyExists when the key is saved or validly reserved.
        """
        now = self.clock.now()
        archive = reserved(self.tokens.new(), name, now, self.lifetimes)
        try:
            self.table.reserve(archive, now)
        except WriteConflict:
            raise AlreadyExists(f"the key {name.key!r} is saved, or being saved by another job") from None
        return self.urls.sign(Direction.UPLOAD, archive.id, archive.upload_closes_at)
