"""Signed URLs for clients, which are checked and never stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from actions_cache.domain.archive import Archive, Part
from actions_cache.domain.delivery import Source
from actions_cache.domain.object_keys import object_subject
from actions_cache.domain.part_list import PartList
from actions_cache.domain.signing import Direction, check_signature, signed_path
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.ports import Bucket, Clock


class SigningSecrets(Protocol):
    """Reads the secrets that sign and verify URLs."""

    def current(self) -> Sequence[str]:
        """Return at least one secret: the first one signs, and all of them verify."""
        ...


@dataclass(frozen=True, slots=True)
class UrlSigner:
    """Signs and checks URLs that lead to our functions or to the edge."""

    secrets: SigningSecrets
    clock: Clock

    def sign(self, direction: Direction, subject: str, expires_at: Millis) -> str:
        """Return a path with its query."""
        return signed_path(direction, subject, expires_at, self.secrets.current()[0])

    def check(self, direction: Direction, subject: str, expires: str, signature: str) -> None:
        """Check the values of a URL.

        Raises:
            PermissionDenied: the URL was altered or signed for something else, or has expired.
        """
        check_signature(direction, subject, expires, signature, self.clock.now(), self.secrets.current())


@dataclass(frozen=True, slots=True)
class SourceUrls:
    """Makes URLs for an archive's bytes. A download may start within the same time with each of them."""

    bucket: Bucket
    urls: UrlSigner
    clock: Clock
    lifetimes: Lifetimes

    def url(self, source: Source, archive: Archive) -> str:
        """Return an absolute URL, or a path and query for our functions or the edge."""
        expires_at = self.clock.now() + self.lifetimes.download_url
        if source is Source.SERVER or archive.object is None:
            return self.urls.sign(Direction.DOWNLOAD, archive.id, expires_at)
        if source is Source.CLOUDFRONT:
            return self.urls.sign(Direction.OBJECT, object_subject(archive.object.key, archive.size), expires_at)
        return self.bucket.presign_download(archive.object, self.lifetimes.download_url // SECOND)

    def part_list(self, parts: Sequence[Part]) -> PartList:
        return self.bucket.presign_parts(parts, self.lifetimes.download_url // SECOND)
