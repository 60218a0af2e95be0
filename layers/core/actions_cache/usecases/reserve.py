"""CreateCacheEntry: a key is held for an upload."""

from dataclasses import dataclass

from actions_cache.domain import happenings
from actions_cache.domain.archive import Archive, reserved
from actions_cache.domain.entry import EntryName, numbered_archive_id
from actions_cache.domain.errors import AlreadyExists
from actions_cache.domain.signed_url import Direction
from actions_cache.domain.timing import Lifetimes
from actions_cache.ports import Clock, Table, Telemetry, TokenSource, WriteConflict
from actions_cache.usecases.urls import UrlSigner


@dataclass(frozen=True, slots=True)
class Reserve:
    table: Table
    clock: Clock
    tokens: TokenSource
    urls: UrlSigner
    lifetimes: Lifetimes
    telemetry: Telemetry

    def __call__(self, name: EntryName) -> str:
        """Returns: the path, with its query, to upload to.

        Raises: AlreadyExists when the key is saved or validly reserved.
        """
        archive = self._reserved(self.tokens.new(), name)
        return self.urls.sign(Direction.UPLOAD, archive.id, archive.upload_closes_at)

    def numbered(self, name: EntryName) -> int:
        """Returns: the number by which the v1 API's client names the upload; not 0, which is nothing in JavaScript.

        Raises: AlreadyExists when the key is saved or validly reserved.
        """
        number = int(self.tokens.new()[:13], 16) or 1
        self._reserved(numbered_archive_id(number), name)
        return number

    def _reserved(self, archive_id: str, name: EntryName) -> Archive:
        now = self.clock.now()
        archive = reserved(archive_id, name, now, self.lifetimes)
        try:
            self.table.reserve(archive, now)
        except WriteConflict:
            raise AlreadyExists(f"the key {name.key!r} is saved, or being saved by another job") from None
        self.telemetry.tell(happenings.reserved(archive))
        return archive
